"""Shot streams over links: a publisher in the client, a sink behind a server.

The state machines of `shot_sender` and `shot_receiver` decide; here their messages travel as calls
whose results are credits. A stream survives the loss of its server: shots that the old server
acknowledged are reported missing to the new one, all others come again.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.dispatch import BAD_REQUEST, Call, Function, Reply
from cudaq_target.coupler.errors import RemoteCallError
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.link import Answer, Missing
from cudaq_target.coupler.link_errors import LinkError, LinkTimeoutError
from cudaq_target.coupler.payload import (
    BATCH_HEADER_BYTES,
    ShotBatch,
    read_shot_batch,
    row_words,
)
from cudaq_target.coupler.shot_receiver import ShotReceiver
from cudaq_target.coupler.stream import (
    CREDIT_BYTES,
    SHOT_BATCH,
    SHOT_END,
    SHOT_GAP,
    Credit,
    Gap,
)

if TYPE_CHECKING:
    from cudaq_target.coupler.link import Link
    from cudaq_target.coupler.shot_sender import ShotSender

MAX_STREAMS: Final = 32
_PAUSE_S: Final = 0.002
_REASONS: Final[dict[int, str]] = {
    Status.INTERNAL_ERROR: "the consumer at the other end failed; its log says how",
    Status.UNKNOWN_FUNCTION: "the server takes no shots; serve the functions of a ShotSink",
}


class ShotSink:
    """Receives the streams of any number of clients; its functions go to one server."""

    def __init__(self, consume: Callable[[ShotBatch], None], *, window: int = 4096) -> None:
        """Serve streams that clients start.

        Args:
            consume: Called in the server's thread with each batch, in the order of its stream;
                while it works, its clients wait. The rows are its own. Where it raises, it is not
                given that batch again; the client is told, and may go on.
            window: Shots that may be on their way per stream.
        """
        self._consume = consume
        self._window = window
        self._receivers: OrderedDict[int, ShotReceiver] = OrderedDict()
        self._taken: deque[ShotBatch] = deque()

    @property
    def receivers(self) -> dict[int, ShotReceiver]:
        """Streams by number; of those that ended, the last `MAX_STREAMS` are kept."""
        return dict(self._receivers)

    def functions(self) -> tuple[Function, ...]:
        """The rows of the function table."""
        return (
            Function(SHOT_BATCH, self._on_batch, BATCH_HEADER_BYTES),
            Function(SHOT_GAP, lambda call: self._on_message(SHOT_GAP, call), 24, 24),
            Function(SHOT_END, lambda call: self._on_message(SHOT_END, call), 16, 16),
        )

    def _on_batch(self, call: Call) -> Reply:
        if int.from_bytes(call.arguments[:8], "little") not in self._receivers:
            batch = read_shot_batch(call.arguments)
            if batch is None or batch.n_qubits == 0:
                return BAD_REQUEST
            if not self._make_room():
                return Reply(Status.BUSY)
            self._receivers[batch.session] = ShotReceiver(
                batch.session, batch.n_qubits, window=self._window
            )
        return self._on_message(SHOT_BATCH, call)

    def _on_message(self, function: str, call: Call) -> Reply:
        session = int.from_bytes(call.arguments[:8], "little")
        receiver = self._receivers.get(session)
        if receiver is None:
            return Reply(Status.NOT_READY)
        if not receiver.receive(function, call.arguments):
            return BAD_REQUEST
        self._taken.extend(receiver.take())
        while self._taken:
            self._consume(self._taken.popleft())
        call.result[:CREDIT_BYTES] = receiver.credit().to_bytes()
        return Reply(Status.OK, CREDIT_BYTES)

    def _make_room(self) -> bool:
        """Forget a stream that ended; False where all of them go on."""
        if len(self._receivers) < MAX_STREAMS:
            return True
        ended = next((key for key, one in self._receivers.items() if one.is_complete), None)
        if ended is None:
            return False
        del self._receivers[ended]
        return True


class Publisher(ABC):
    """What all publishers of shots share: pumping until every shot is accounted for."""

    _link: Link
    _sender: ShotSender
    last_error: LinkError | None

    @abstractmethod
    def pump(self, wait_s: float = 0.0) -> None:
        """Send what may be sent now, and take in what came back.

        Args:
            wait_s: How long to wait where nothing can be sent (s).
        """

    def drain(self, timeout_s: float) -> None:
        """Pump until every shot is accounted for, through any number of losses.

        Args:
            timeout_s: How long at most (s).

        Raises:
            LinkTimeoutError: Shots are left; `last_error` says what stood in the way.
            RemoteCallError: As for `pump`.
        """
        until = time.monotonic() + timeout_s
        while not self._sender.is_done:
            if time.monotonic() > until:
                name = f"shots of stream {self._sender.session:#x}"
                raise LinkTimeoutError(str(self._link.endpoint), name, timeout_s, 1)
            try:
                self.pump(wait_s=0.05)
            except LinkError as error:
                self.last_error = error
                time.sleep(_PAUSE_S)


class ShotPublisher(Publisher):
    """Sends what a `ShotSender` holds over a link, and brings it the credits."""

    def __init__(self, link: Link, sender: ShotSender, *, timeout_s: float = 0.5) -> None:
        """Nothing is sent before the first `pump`.

        Args:
            link: Used by this publisher alone.
            sender: Holds the shots.
            timeout_s: How long an acknowledgement may take before it counts as lost (s).
        """
        self._link = link
        self._sender = sender
        self._timeout_s = timeout_s
        self._is_greeted = False
        self.n_losses = 0
        self.last_error: LinkError | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the server knew the stream when it was last heard of."""
        return self._is_greeted

    def pump(self, wait_s: float = 0.0) -> None:
        """Send what may be sent now and take the answers that are there.

        Args:
            wait_s: How long to wait for an answer where nothing can be sent (s).

        Raises:
            LinkError: The server is gone or does not answer. The shots are kept: `pump` again.
            RemoteCallError: The server takes no shots, or its consumer failed; what it was given
                is not sent again.
        """
        if not self._is_greeted:
            self._greet()
        while self._link.n_free > 0:
            message = self._sender.poll(time.monotonic_ns())
            if message is None:
                break
            try:
                self._link.submit(message.function, message.payload, self._timeout_s)
            except LinkError as error:
                self._lose(error)
                raise
        is_waiting = self._link.n_in_flight > 0
        outcome = self._link.collect(wait_s if is_waiting else 0.0)
        while outcome is not None:
            self._take(outcome)
            outcome = self._link.collect()
        if not is_waiting and wait_s > 0.0:
            time.sleep(min(wait_s, _PAUSE_S))  # the sender waits for its time to try again

    def _greet(self) -> None:
        """Get a first credit from a server that may never have heard of this stream."""
        sender = self._sender
        oldest = sender.n_sent - sender.n_held
        none = np.empty((0, row_words(sender.n_qubits)), dtype=np.uint64)
        hello = ShotBatch(sender.session, oldest, sender.n_qubits, none).to_bytes()
        self._take_credit(self._link.call(SHOT_BATCH, hello, self._timeout_s))
        if oldest > 0:  # a server that knows the stream knows this, too
            gap = Gap(sender.session, 0, oldest).to_bytes()
            self._take_credit(self._link.call(SHOT_GAP, gap, self._timeout_s))
        sender.restart()
        self._is_greeted = True

    def _take(self, outcome: Answer | Missing) -> None:
        if isinstance(outcome, Answer):
            self._take_credit(outcome)
            return
        if self._is_greeted:  # the other requests of one loss say nothing new
            self._lose(outcome.error)
            raise outcome.error

    def _lose(self, error: LinkError) -> None:
        """Start anew at the next `pump`: what is not acknowledged may be lost."""
        self._is_greeted = False
        self.n_losses += 1
        self.last_error = error

    def _take_credit(self, answer: Answer) -> None:
        if answer.status == Status.NOT_READY:  # another server, which knows nothing yet
            self._is_greeted = False
        elif answer.status not in {Status.OK, Status.BUSY, Status.CANCELLED, Status.BAD_REQUEST}:
            raise RemoteCallError(
                "the stream of shots", answer.status, _REASONS.get(answer.status, "")
            )
        credit = Credit.from_bytes(answer.result) if answer.status == Status.OK else None
        if credit is not None:
            self._sender.on_credit(credit, time.monotonic_ns())
