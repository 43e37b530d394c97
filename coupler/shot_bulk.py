"""Shot streams in bulk: batches one way over PUSH and PULL, credits back over a link.

The state machines of `shot_sender` and `shot_receiver` decide, as in `shot_link`; here many frames
cross per call, and none is answered by itself. The link carries two functions: where the bulk goes,
and how far the receiver is. Delivered and reported missing shots add up to those sent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.closing import Closing
from cudaq_target.coupler.dispatch import BAD_REQUEST, Call, Function, Reply
from cudaq_target.coupler.endpoint import Endpoint, Scheme, parse_endpoint
from cudaq_target.coupler.errors import HandlerStuckError, RemoteCallError
from cudaq_target.coupler.frame import HEADER_BYTES, Status, function_id
from cudaq_target.coupler.link import Answer, Missing
from cudaq_target.coupler.link_errors import (
    EndpointError,
    LinkError,
    LinkLostError,
    LinkTimeoutError,
    ServerFailedError,
)
from cudaq_target.coupler.payload import ShotBatch, row_words, shots_that_fit
from cudaq_target.coupler.serving import PATIENCE_S
from cudaq_target.coupler.shot_link import MAX_STREAMS, Publisher
from cudaq_target.coupler.shot_receiver import ShotReceiver
from cudaq_target.coupler.shot_sender import kind_of
from cudaq_target.coupler.stream import (
    BULK_CREDIT,
    BULK_ENDPOINT,
    CREDIT_BYTES,
    SHOT_BATCH,
    SHOT_END,
    SHOT_GAP,
    Credit,
    Gap,
)
from cudaq_target.coupler.transports.interface import TransportOptions
from cudaq_target.coupler.transports.zmq_bulk import BulkPort, BulkWire

if TYPE_CHECKING:
    from collections.abc import Callable

    from cudaq_target.coupler.link import Link
    from cudaq_target.coupler.security import ClientSecurity, ServerSecurity
    from cudaq_target.coupler.shot_sender import ShotSender
    from cudaq_target.coupler.transports.zmq_bulk import Received

_LOG = logging.getLogger(__name__)
_IDLE_S: Final = 0.02
_PAUSE_S: Final = 0.001
_MESSAGES: Final = {function_id(name): name for name in (SHOT_GAP, SHOT_END)}
_REASONS: Final[dict[int, str]] = {
    Status.INTERNAL_ERROR: "the consumer at the other end failed; its log says how",
    Status.UNKNOWN_FUNCTION: "the server takes no bulk; serve the functions of a BulkSink",
}
# What a sender hands over at once; credits are looked at in between.
_RUN_SHOTS: Final = 8192


class BulkSink(Closing):
    """Receives bulk streams on a thread of its own; its functions go to one server."""

    def __init__(
        self,
        consume: Callable[[ShotBatch], None],
        endpoint: str | Endpoint,
        *,
        security: ServerSecurity | None = None,
        options: TransportOptions | None = None,
        window: int = 1 << 16,
    ) -> None:
        """Listen.

        Args:
            consume: Called in the sink's thread with shots in the order of their stream; while it
                works, senders are held up. The rows are its own. Where it raises, it is not given
                that batch again; the sender is told, and may go on.
            endpoint: `ipc://path` or `tcp://host:port`, another one than the server's; port 0
                takes a free one.
            security: As the server's.
            options: Geometry, the same at both ends; `slot_bytes` is the longest frame.
            window: Shots that may be on their way per stream.

        Raises:
            EndpointError: `endpoint` has another form, or is not of this machine.
            InsecureEndpointError: Strangers could connect.
            AddressInUseError: Another server listens there.
        """
        place = parse_endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        if place.scheme not in {Scheme.IPC, Scheme.TCP}:
            reason = f"{place.scheme} has no bulk"
            raise EndpointError(str(place), reason, "Use ipc:// or tcp://")
        self._consume = consume
        self._window = window
        self._receivers: OrderedDict[int, ShotReceiver] = OrderedDict()
        # Written by this sink's thread and read by the server's: whole objects, replaced at once.
        self._credits: dict[int, bytes] = {}
        self._port = BulkPort(place, options or TransportOptions(), security)
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._failed: set[int] = set()
        self.n_refused = 0
        self.n_failures = 0
        self._thread = threading.Thread(target=self._run, name=f"bulk {self.endpoint}", daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, with the port that was chosen."""
        return self._port.endpoint

    @property
    def receivers(self) -> dict[int, ShotReceiver]:
        """Streams by number; of those that ended, the last `MAX_STREAMS` are kept."""
        return dict(self._receivers)

    def functions(self) -> tuple[Function, ...]:
        """The rows of the function table."""
        return (
            Function(BULK_ENDPOINT, self._on_endpoint, 0, 0),
            Function(BULK_CREDIT, self._on_credit, 8, 8),
        )

    def counters(self) -> dict[str, int]:
        """Frames that came, numbers that were skipped, and what was dropped."""
        counted = {"refused": self.n_refused, "consumer_failures": self.n_failures}
        return self._port.end.counters() | counted

    def close(self) -> None:
        """Stop listening; what has not been received is not acknowledged.

        Raises:
            HandlerStuckError: The consumer does not return; the thread ends when it does.
            ServerFailedError: It had stopped with an error before.
        """
        self._stop.set()
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            raise HandlerStuckError("consumer", PATIENCE_S)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise ServerFailedError(str(self.endpoint), repr(failure)) from failure

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                received = self._port.end.receive(_IDLE_S)
                if received is None:
                    self._port.tend()
                else:
                    self._take(received)
        except Exception as error:  # noqa: BLE001 - `close` raises it in the thread of the owner
            _LOG.exception("the bulk of %s stopped", self.endpoint)
            self._failure = error
        finally:
            self._port.close()

    def _take(self, received: Received) -> None:
        if len(received) == 2:
            kind, payload = received
            session = int.from_bytes(payload[:8], "little")
            receiver = self._receivers.get(session)
            if receiver is None or kind not in _MESSAGES:
                self.n_refused += 1
                return
            receiver.receive(_MESSAGES[kind], payload)
        else:
            session, first, n_qubits, rows = received
            receiver = self._receiver_of(session, n_qubits)
            if receiver is None:
                self.n_refused += 1
                return
            receiver.receive_batch(ShotBatch(session, first, n_qubits, rows))
        for batch in receiver.take():
            self._give(batch)
        self._credits[session] = receiver.credit().to_bytes()

    def _give(self, batch: ShotBatch) -> None:
        try:
            self._consume(batch)
        except Exception:  # noqa: BLE001 - foreign code: the sender is told, the stream goes on
            if self.n_failures == 0:
                _LOG.exception("a consumer of shots failed; further failures are counted only")
            self.n_failures += 1
            self._failed.add(batch.session)

    def _receiver_of(self, session: int, n_qubits: int) -> ShotReceiver | None:
        receiver = self._receivers.get(session)
        if receiver is None and self._make_room():
            receiver = ShotReceiver(session, n_qubits, window=self._window)
            self._receivers[session] = receiver
        return receiver

    def _make_room(self) -> bool:
        """Forget a stream that ended; False where all of them go on."""
        if len(self._receivers) < MAX_STREAMS:
            return True
        ended = next((key for key, one in self._receivers.items() if one.is_complete), None)
        if ended is None:
            return False
        del self._receivers[ended], self._credits[ended]
        return True

    def _on_endpoint(self, call: Call) -> Reply:
        text = str(self.endpoint).encode()
        if len(text) > len(call.result):
            return BAD_REQUEST
        call.result[: len(text)] = text
        return Reply(Status.OK, len(text))

    def _on_credit(self, call: Call) -> Reply:
        session = int.from_bytes(call.arguments[:8], "little")
        credit = self._credits.get(session)
        if session in self._failed:
            self._failed.discard(session)
            return Reply(Status.INTERNAL_ERROR)
        if credit is None:
            return Reply(Status.NOT_READY)
        call.result[:CREDIT_BYTES] = credit
        return Reply(Status.OK, CREDIT_BYTES)


class BulkPublisher(Publisher):
    """Sends what a `ShotSender` holds in bulk, and brings it the credits over a link."""

    def __init__(
        self,
        link: Link,
        sender: ShotSender,
        *,
        security: ClientSecurity | None = None,
        options: TransportOptions | None = None,
        timeout_s: float = 0.5,
    ) -> None:
        """Nothing is sent before the first `pump`.

        Args:
            link: To the server with the sink's functions; used by this publisher alone.
            sender: Holds the shots; its `max_batch` is the length of a frame.
            security: As the link's.
            options: Those of the sink.
            timeout_s: How long a credit may take before the link counts as lost (s).

        Raises:
            ValueError: A batch of `sender` is longer than a frame.
        """
        self._options = options or TransportOptions()
        n_fit = shots_that_fit(sender.n_qubits, self._options.slot_bytes - HEADER_BYTES)
        if sender.max_batch > n_fit:
            message = (
                f"batches of {sender.max_batch} shots of {sender.n_qubits} qubits do not fit into "
                f"frames of {self._options.slot_bytes} bytes; {n_fit} do"
            )
            raise ValueError(message)
        self._link = link
        self._sender = sender
        self._security = security
        self._timeout_s = timeout_s
        self._ask = sender.session.to_bytes(8, "little")
        self._wire: BulkWire | None = None
        self._is_asking = False
        self._counted: dict[str, int] = {}
        self.n_losses = 0
        self.last_error: LinkError | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the sink knew the stream when it was last heard of."""
        return self._wire is not None

    def counters(self) -> dict[str, int]:
        """Frames that were sent and times that there was no room, over all connections."""
        counted = dict(self._counted)
        for name, n_times in (self._wire.end.counters() if self._wire else {}).items():
            counted[name] = counted.get(name, 0) + n_times
        return counted

    def pump(self, wait_s: float = 0.0) -> None:
        """Send what may be sent now and take the credit that is there.

        Args:
            wait_s: How long to wait for a credit or for room where nothing can be sent (s).

        Raises:
            LinkError: The server is gone or does not answer. The shots are kept: `pump` again.
            RemoteCallError: The server takes no bulk, or its consumer failed; what that was given
                is not sent again.
        """
        try:
            if self._wire is None:
                self._greet()
            is_full = self._push()
            is_news = self._take_credit(0.0 if is_full else wait_s)
        except LinkError as error:
            self._lose(error)
            raise
        if wait_s > 0.0 and self._wire is not None:
            if is_full:
                self._wire.await_room(min(wait_s, _PAUSE_S))
            elif not is_news:
                time.sleep(min(wait_s, _PAUSE_S))

    def close(self) -> None:
        """Give the bulk connection back; the link stays."""
        if self._wire is not None:
            self._counted = self.counters()
            self._wire.close()
            self._wire = None

    def _push(self) -> bool:
        """Send until nothing is left to send now; True where the queue is full before that."""
        assert self._wire is not None
        end, sender = self._wire.end, self._sender
        while (said := sender.poll_run(time.monotonic_ns(), _RUN_SHOTS)) is not None:
            if isinstance(said, ShotBatch) and said.n_shots > 0:
                n_sent = end.send_rows(
                    said.session, said.first_shot_id, said.n_qubits, said.rows, sender.max_batch
                )
                is_sent = n_sent == said.n_shots
            else:
                n_sent, is_sent = 0, end.send(function_id(kind_of(said)), said.to_bytes())
            if not is_sent:
                sender.take_back(said, n_sent)
                return True
        return False

    def _take_credit(self, wait_s: float) -> bool:
        """Ask how far the receiver is, one question at a time; whether an answer came."""
        if not self._is_asking:
            self._link.submit(BULK_CREDIT, self._ask, self._timeout_s)
            self._is_asking = True
        outcome = self._link.collect(wait_s)
        if outcome is None:
            return False
        self._is_asking = False
        if isinstance(outcome, Missing):
            raise outcome.error
        if outcome.status == Status.NOT_READY:  # another server, which knows nothing yet
            raise LinkLostError(str(self._link.endpoint), 0, "it does not know the stream")
        _check(outcome)
        credit = Credit.from_bytes(outcome.result) if outcome.status == Status.OK else None
        return credit is not None and self._sender.on_credit(credit, time.monotonic_ns())

    def _greet(self) -> None:
        """Connect to a sink that may never have heard of this stream, and get a first credit."""
        answer = self._link.call(BULK_ENDPOINT, b"", self._timeout_s)
        _check(answer)
        place = parse_endpoint(answer.result.decode(errors="replace"))
        if place.scheme is self._link.endpoint.scheme is Scheme.TCP:  # it may bind all addresses
            place = Endpoint(Scheme.TCP, self._link.endpoint.place, place.port)
        wire = self._wire = BulkWire(place, self._options, self._security, self._timeout_s)
        sender = self._sender
        oldest = sender.n_sent - sender.n_held
        none = np.empty((0, row_words(sender.n_qubits)), dtype=np.uint64)
        hello = ShotBatch(sender.session, oldest, sender.n_qubits, none).to_bytes()
        wire.end.send(function_id(SHOT_BATCH), hello)
        if oldest > 0:  # a sink that knows the stream knows this, too
            gap = Gap(sender.session, 0, oldest).to_bytes()
            wire.end.send(function_id(SHOT_GAP), gap)
        until = time.monotonic() + self._timeout_s
        while time.monotonic() < until:
            answer = self._link.call(BULK_CREDIT, self._ask, self._timeout_s)
            credit = Credit.from_bytes(answer.result) if answer.status == Status.OK else None
            if credit is not None and credit.next_shot_id >= oldest:
                sender.on_credit(credit, time.monotonic_ns())
                sender.restart()
                return
            time.sleep(_PAUSE_S)
        raise LinkTimeoutError(str(place), "the first credit", self._timeout_s, 1)

    def _lose(self, error: LinkError) -> None:
        """Start anew at the next `pump`: what is not acknowledged may be lost."""
        self.close()
        while self._link.n_in_flight or self._is_asking:
            if self._link.collect(self._timeout_s) is None:
                break
            self._is_asking = False
        self._is_asking = False
        self.n_losses += 1
        self.last_error = error


def _check(answer: Answer) -> None:
    if answer.status not in {Status.OK, Status.BUSY, Status.CANCELLED, Status.NOT_READY}:
        reason = _REASONS.get(answer.status, "")
        raise RemoteCallError("the bulk of shots", answer.status, reason)
