"""The client's end: numbered requests, each with one answer or one typed error."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from cudaq_target.coupler.closing import Closing
from cudaq_target.coupler.counters import Counters
from cudaq_target.coupler.endpoint import Endpoint, Scheme, parse_endpoint
from cudaq_target.coupler.errors import FrameTooLongError
from cudaq_target.coupler.frame import (
    HEADER_BYTES,
    Refusal,
    ResponseHeader,
    function_id,
    read_response,
    write_request_header,
)
from cudaq_target.coupler.link_errors import (
    EndpointError,
    InsecureEndpointError,
    LinkBusyError,
    LinkError,
    LinkLostError,
    LinkOwnerError,
    LinkTimeoutError,
)
from cudaq_target.coupler.sessions import Answer, Match, RequestWindow, Window
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from cudaq_target.coupler.security import ClientSecurity
    from cudaq_target.coupler.shm import LinkCore
    from cudaq_target.coupler.transports.interface import Wire

__all__ = ["Answer", "Link", "Missing", "connect", "open_wire"]

# Deadlines and repeats are looked at this often while answers are awaited.
_CHECK_NS: Final = 5_000_000
_LOOK_S: Final = 0.02  # and so often while nothing comes
_FOREVER_NS: Final = (1 << 63) - 1


class Missing(NamedTuple):
    """A request without an answer.

    Attributes:
        request_id: Of the request.
        error: Why.
    """

    request_id: int
    error: LinkError


class _Sent:
    """A frame that may have to be sent again; one object per slot, used again and again."""

    __slots__ = ("n_bytes", "n_sent", "sent_ns", "slot")

    def __init__(self, slot: memoryview) -> None:
        self.slot = slot
        self.n_bytes = 0
        self.n_sent = 0
        self.sent_ns = 0


class Link(Closing):
    """A session with a server; used by one thread of the process that made it."""

    def __init__(self, wire: Wire, n_slots: int) -> None:
        """Number requests from 0.

        Args:
            wire: Carries the frames; closed by `close`.
            n_slots: Requests in flight at most.
        """
        self._wire = wire
        self._core: LinkCore | None = wire.core
        self._window: Window = wire.core or RequestWindow(n_slots)
        self._n_slots = n_slots
        # Only frames that may have to be sent again are kept.
        n_kept = 1 if wire.resend_after_s is None else n_slots
        self._frames = [_Sent(memoryview(bytearray(wire.slot_bytes))) for _ in range(n_kept)]
        self._repeats: dict[int, _Sent] = {}
        self._landing = memoryview(bytearray(wire.slot_bytes))
        self._outcomes: deque[Answer | Missing] = deque()
        self._ids: dict[str, int] = {}
        self._next_check_ns = 0
        self._pid = os.getpid()
        self._is_closed = False
        self._counters = Counters()

    @property
    def counters(self) -> Counters:
        """What was received, and what went wrong, up to now."""
        if self._core is not None:
            n_answers = self._core.take_count()
            self._counters.received += n_answers
            self._counters.answered += n_answers
        return self._counters

    @property
    def endpoint(self) -> Endpoint:
        """The server."""
        return self._wire.endpoint

    @property
    def slot_bytes(self) -> int:
        """Longest frame (bytes)."""
        return self._wire.slot_bytes

    @property
    def n_in_flight(self) -> int:
        """Requests sent and not answered."""
        return self._window.n_open

    @property
    def n_free(self) -> int:
        """Requests that `submit` takes now, as far as this end knows."""
        n_held = self._window.n_open + len(self._outcomes)
        return max(0, min(self._window.n_free, self._n_slots - n_held))

    def transport_counters(self) -> dict[str, int]:
        """What the transport met, by name."""
        return self._wire.counters.as_dict()

    def call(
        self,
        function: str | int,
        arguments: Buffer = b"",
        timeout_s: float = 1.0,
        *,
        timestamp_ns: int = 0,
    ) -> Answer:
        """Call a function and wait for its answer.

        Args:
            function: Its name, or its id.
            arguments: Argument bytes.
            timeout_s: How long to wait (s).
            timestamp_ns: A stamp that the answer carries back (ns).

        Returns:
            The answer, whatever its status; outcomes of `submit` stay for `collect`.

        Raises:
            LinkTimeoutError: No answer came in time.
            LinkLostError: The server is gone.
            LinkBusyError: Nothing could be sent within `timeout_s`.
            FrameTooLongError: The arguments do not fit into a slot.
        """
        wanted = None
        if self._core is not None and not self._outcomes:
            got = self._core.call(function, arguments, timeout_s, timestamp_ns)
            if type(got) is Answer:
                return got
            wanted = got if isinstance(got, int) else None
        return self._call(wanted, function, arguments, timeout_s, timestamp_ns)

    def _call(
        self,
        wanted: int | None,
        function: str | int,
        arguments: Buffer,
        timeout_s: float,
        timestamp_ns: int,
    ) -> Answer:
        """The long way, on all transports; `wanted` is the request where it was sent already."""
        if wanted is not None:
            until_ns = self._window.asked(wanted)[2]
        else:
            until_ns = time.monotonic_ns() + int(1e9 * timeout_s)
            wanted = self._submit_in_time(function, arguments, timeout_s, timestamp_ns, until_ns)
            if self._window.n_open == 1 and not self._outcomes:
                answer = self._receive_alone(wanted, timeout_s)
                if answer is not None:
                    return answer
        while True:
            self._step(max(0.0, (until_ns - time.monotonic_ns()) / 1e9))
            for place in range(len(self._outcomes) - 1, -1, -1):
                outcome = self._outcomes[place]
                if outcome.request_id == wanted:
                    del self._outcomes[place]
                    if isinstance(outcome, Missing):
                        raise outcome.error
                    return outcome

    def submit(
        self,
        function: str | int,
        arguments: Buffer = b"",
        timeout_s: float = 1.0,
        *,
        timestamp_ns: int = 0,
    ) -> int:
        """Send a request without waiting for its answer.

        Args:
            function: Its name, or its id.
            arguments: Argument bytes.
            timeout_s: When `collect` gives it up (s).
            timestamp_ns: A stamp that the answer carries back (ns).

        Returns:
            The request id, which `collect` returns exactly once.

        Raises:
            LinkBusyError: There is no room; collect answers, or wait. Nothing was sent.
            LinkLostError: The server is gone; `collect` says so for each request in flight.
            FrameTooLongError: The arguments do not fit into a slot.
        """
        if self._core is not None and not self._outcomes:
            request_id = self._core.submit(function, arguments, timeout_s, timestamp_ns)
            if request_id is not None:
                return request_id
        return self._submit(function, arguments, timeout_s, timestamp_ns)

    def _submit(
        self, function: str | int, arguments: Buffer, timeout_s: float, timestamp_ns: int
    ) -> int:
        self._check_owner()
        body = memoryview(arguments)
        n_bytes = HEADER_BYTES + body.nbytes
        if n_bytes > self._wire.slot_bytes:
            raise FrameTooLongError(n_bytes, self._wire.slot_bytes)
        if self.n_free <= 0:
            self._counters.busy += 1
            reason = f"{self._window.n_open} of {self._n_slots} requests are in flight"
            raise LinkBusyError(str(self.endpoint), reason)
        now_ns = time.monotonic_ns()
        request_id = self._window.open(now_ns + int(1e9 * timeout_s), function, timeout_s)
        assert request_id is not None  # `n_free` has looked at its slot
        sent = self._frames[request_id % len(self._frames)]
        write_request_header(sent.slot, self._id(function), body.nbytes, request_id, timestamp_ns)
        sent.slot[HEADER_BYTES:n_bytes] = body.cast("B") if body.format != "B" else body
        sent.n_bytes, sent.n_sent, sent.sent_ns = n_bytes, 1, now_ns
        try:
            self._wire.send(sent.slot, n_bytes)
        except LinkBusyError:
            self._window.close(request_id)
            self._counters.busy += 1
            raise
        except LinkLostError as error:
            self._window.close(request_id)
            raise self._lose_all(error.reason) from None
        if self._wire.resend_after_s is not None:
            self._repeats[request_id] = sent
        return request_id

    def collect(self, timeout_s: float = 0.0) -> Answer | Missing | None:
        """Give the outcome of one submitted request.

        Args:
            timeout_s: How long to wait for one (s).

        Returns:
            An answer, or why there will be none; None where neither came in time.
        """
        begin_ns = time.monotonic_ns() if timeout_s > 0.0 else 0
        if self._core is not None and not self._outcomes:
            answer = self._core.collect(min(timeout_s, _LOOK_S))
            if type(answer) is Answer:
                return answer
        self._check_owner()
        if not self._outcomes:
            until_ns = begin_ns + int(1e9 * timeout_s)
            self._step(min(timeout_s, _LOOK_S))
            while not self._outcomes and (left_ns := until_ns - time.monotonic_ns()) > 0:
                self._step(min(left_ns / 1e9, _LOOK_S))
        return self._outcomes.popleft() if self._outcomes else None

    def caller(self, timeout_s: float = 1.0) -> Callable[[str, bytes], tuple[int, bytes]]:
        """The form of `call` that `control_client.ControlClient` takes.

        Args:
            timeout_s: How long each call waits (s).
        """

        def call(function: str, arguments: bytes) -> tuple[int, bytes]:
            answer = self.call(function, arguments, timeout_s)
            return answer.status, answer.result

        return call

    def close(self) -> None:
        """End the session; unanswered requests stay unanswered.

        Raises:
            LinkInUseError: A call waits, in another thread or below this handler of a signal.
        """
        if not self._is_closed and os.getpid() == self._pid:
            self._wire.close()
            self._is_closed = True

    def __repr__(self) -> str:
        return f"Link({str(self.endpoint)!r}, {self.n_in_flight} in flight)"

    def _submit_in_time(
        self,
        function: str | int,
        arguments: Buffer,
        timeout_s: float,
        timestamp_ns: int,
        until_ns: int,
    ) -> int:
        while True:
            try:
                return self.submit(function, arguments, timeout_s, timestamp_ns=timestamp_ns)
            except LinkBusyError:
                # Uncollected outcomes fill the window: waiting would not help.
                if time.monotonic_ns() >= until_ns or len(self._outcomes) >= self._n_slots:
                    raise
                self._counters.backpressure_stalls += 1
                self._step(0.001)
                if not self._window.n_open:
                    time.sleep(0.001)

    def _receive_alone(self, wanted: int, timeout_s: float) -> Answer | None:
        """The answer to the only request in flight, if it comes next: the usual case, short."""
        wire = self._wire
        if wire.resend_after_s is not None:
            timeout_s = min(timeout_s, wire.resend_after_s)
        try:
            n_bytes = wire.receive_into(self._landing, timeout_s)
        except LinkLostError as error:
            self._lose_all(error.reason)
            return None
        if n_bytes is None:
            return None
        header = read_response(self._landing, n_bytes, wire.slot_bytes, exact=wire.exact)
        if isinstance(header, Refusal) or header.request_id != wanted:
            self._take(n_bytes)
            return None
        self._window.close(wanted)
        self._repeats.pop(wanted, None)
        self._counters.received += 1
        self._counters.answered += 1
        return self._answer(header)

    def _answer(self, header: ResponseHeader) -> Answer:
        result = bytes(self._landing[HEADER_BYTES : HEADER_BYTES + header.result_len])
        return Answer(header.request_id, header.status, result, header.timestamp_ns)

    def _step(self, timeout_s: float) -> None:
        """Receive at most one answer, and see to deadlines and repeats."""
        if not self._window.n_open and timeout_s > 0.0:
            timeout_s = min(timeout_s, 0.001)
        resend_after_s = self._wire.resend_after_s
        if resend_after_s is not None:
            timeout_s = min(timeout_s, resend_after_s)
        try:
            n_bytes = self._wire.receive_into(self._landing, timeout_s)
        except LinkLostError as error:
            self._lose_all(error.reason)
            return
        if n_bytes is not None:
            self._take(n_bytes)
        now_ns = time.monotonic_ns()
        if n_bytes is None or now_ns >= self._next_check_ns:
            self._next_check_ns = now_ns + _CHECK_NS
            self._expire(now_ns)
            if resend_after_s is not None:
                self._resend(now_ns, int(1e9 * resend_after_s))

    def _take(self, n_bytes: int) -> None:
        wire = self._wire
        header = read_response(self._landing, n_bytes, wire.slot_bytes, exact=wire.exact)
        self._counters.received += 1
        if isinstance(header, Refusal):
            self._counters.count(header.counter)
            return
        match = Match(self._window.close(header.request_id))
        self._counters.count(match.value)
        if match is Match.OURS:
            self._repeats.pop(header.request_id, None)
            self._outcomes.append(self._answer(header))

    def _expire(self, now_ns: int) -> None:
        for request_id in self._window.expired(now_ns):
            function, timeout_s, _ = self._window.asked(request_id)
            sent = self._repeats.pop(request_id, None)
            self._counters.deadline_misses += 1
            n_sent = 1 if sent is None else sent.n_sent
            error = LinkTimeoutError(str(self.endpoint), _name_of(function), timeout_s, n_sent)
            self._outcomes.append(Missing(request_id, error))

    def _resend(self, now_ns: int, after_ns: int) -> None:
        for sent in self._repeats.values():
            # Twice the wait each time: a server that is slow is not helped by more datagrams.
            if now_ns - sent.sent_ns >= after_ns << min(sent.n_sent - 1, 4):
                sent.sent_ns = now_ns
                sent.n_sent += 1
                try:
                    self._wire.send(sent.slot, sent.n_bytes)
                except LinkBusyError:
                    return
                except LinkLostError as error:
                    self._lose_all(error.reason)
                    return

    def _lose_all(self, reason: str) -> LinkLostError:
        """Give up every request in flight; their late answers will be recognised as such."""
        lost = self._window.expired(_FOREVER_NS)
        self._repeats.clear()
        error = LinkLostError(str(self.endpoint), len(lost), reason)
        self._outcomes.extend(Missing(request_id, error) for request_id in lost)
        return error

    def _id(self, function: str | int) -> int:
        if isinstance(function, int):
            return function
        known = self._ids.get(function)
        if known is None:
            known = self._ids[function] = function_id(function)
        return known

    def _check_owner(self) -> None:
        if self._is_closed:
            raise LinkLostError(str(self.endpoint), 0, "this link is closed")
        if os.getpid() != self._pid:
            raise LinkOwnerError(str(self.endpoint), self._pid)


def connect(
    endpoint: str | Endpoint,
    *,
    timeout_s: float = 5.0,
    security: ClientSecurity | None = None,
    options: TransportOptions | None = None,
) -> Link:
    """Connect to a server.

    Args:
        endpoint: `shm://name`, `ipc://path`, `tcp://host:port` or `udp://host:port`.
        timeout_s: How long to wait for the server (s); datagrams have no connection to wait for.
        security: Keys, where the server wants them.
        options: Geometry, the same at both ends.

    Returns:
        A link of this thread; a context manager, which closes it.

    Raises:
        EndpointError: `endpoint` has another form.
        InsecureEndpointError: Keys were given for a transport that knows none.
        LinkTimeoutError: No server came in time.
        LinkRefusedError: The server refused the keys.
        LinkBusyError: Another live process uses the ring; a ring serves one client.
    """
    place = parse_endpoint(endpoint) if isinstance(endpoint, str) else endpoint
    chosen = options or TransportOptions()
    if place.scheme in {Scheme.TCP, Scheme.UDP} and place.port == 0:
        raise EndpointError(str(place), "port 0 is for servers", "Give the port of the server")
    if security is not None and place.scheme in {Scheme.SHM, Scheme.UDP}:
        reason = f"{place.scheme} knows no keys"
        raise InsecureEndpointError(str(place), reason, "Use tcp:// or ipc:// with keys")
    return Link(open_wire(place, chosen, security, timeout_s), chosen.n_slots)


def open_wire(
    place: Endpoint, options: TransportOptions, security: ClientSecurity | None, timeout_s: float
) -> Wire:
    """Open what carries the frames of a link; arguments and errors as for `connect`."""
    if place.scheme is Scheme.UDP:
        from cudaq_target.coupler.transports.udp import UdpWire  # noqa: PLC0415 - one transport

        return UdpWire(place, options)
    if place.scheme is Scheme.SHM:
        from cudaq_target.coupler.transports.shared_memory import ShmWire  # noqa: PLC0415

        return ShmWire(place, options, timeout_s)
    from cudaq_target.coupler.transports.zeromq import ZmqWire  # noqa: PLC0415

    return ZmqWire(place, options, security, timeout_s)


def _name_of(function: str | int) -> str:
    return function if isinstance(function, str) else f"function {function:#010x}"
