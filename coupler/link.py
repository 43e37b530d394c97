"""The client's end: numbered requests, each with one answer or one typed error."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from cudaq_target.coupler.counters import Counters
from cudaq_target.coupler.endpoint import Endpoint, Scheme, parse_endpoint
from cudaq_target.coupler.errors import FrameTooLongError
from cudaq_target.coupler.frame import (
    HEADER_BYTES,
    MAX_U32,
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
from cudaq_target.coupler.sessions import Match, RequestWindow
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Buffer

    from cudaq_target.coupler.security import ClientSecurity
    from cudaq_target.coupler.transports.interface import Wire

# Deadlines and repeats are looked at this often while answers are awaited.
_CHECK_NS: Final = 5_000_000


class Answer(NamedTuple):
    """What a server said.

    Attributes:
        request_id: Of the request.
        status: A `frame.Status`, or another number from a foreign server.
        result: Result bytes.
        timestamp_ns: The stamp that the request carried (ns).
    """

    request_id: int
    status: int
    result: bytes
    timestamp_ns: int


class Missing(NamedTuple):
    """A request without an answer.

    Attributes:
        request_id: Of the request.
        error: Why.
    """

    request_id: int
    error: LinkError


class _InFlight:
    """A request that was sent and is not answered; one object per slot, used again and again."""

    __slots__ = ("function", "n_bytes", "n_sent", "sent_ns", "slot", "timeout_s")

    def __init__(self, slot: memoryview) -> None:
        self.slot = slot
        self.function: str | int = 0
        self.n_bytes = 0
        self.n_sent = 0
        self.sent_ns = 0
        self.timeout_s = 0.0


class Link:
    """A session with a server; used by one thread of the process that made it."""

    def __init__(self, wire: Wire, n_slots: int) -> None:
        """Number requests from 0.

        Args:
            wire: Carries the frames; closed by `close`.
            n_slots: Requests in flight at most.
        """
        self._wire = wire
        self._window = RequestWindow(n_slots)
        self._n_slots = n_slots
        self._flights = [_InFlight(memoryview(bytearray(wire.slot_bytes))) for _ in range(n_slots)]
        self._landing = memoryview(bytearray(wire.slot_bytes))
        self._open: dict[int, _InFlight] = {}
        self._outcomes: deque[Answer | Missing] = deque()
        self._ids: dict[str, int] = {}
        self._newest = 0
        self._next_check_ns = 0
        self._pid = os.getpid()
        self._is_closed = False
        self.counters = Counters()

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
        return len(self._open)

    @property
    def n_free(self) -> int:
        """Requests that `submit` takes now, as far as this end knows."""
        n_free = self._n_slots - len(self._open) - len(self._outcomes)
        if self._open:  # request i has slot i mod n: the oldest one holds up those behind it
            n_since = (self._newest - next(iter(self._open)) + 1) & MAX_U32
            return max(0, min(n_free, self._n_slots - n_since))
        return max(0, n_free)

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
        until_ns = time.monotonic_ns() + int(1e9 * timeout_s)
        wanted = self._submit_in_time(function, arguments, timeout_s, timestamp_ns, until_ns)
        if len(self._open) == 1 and not self._outcomes:
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
        self._check_owner()
        body = memoryview(arguments)
        n_bytes = HEADER_BYTES + body.nbytes
        if n_bytes > self._wire.slot_bytes:
            raise FrameTooLongError(n_bytes, self._wire.slot_bytes)
        if self.n_free <= 0:
            self.counters.busy += 1
            reason = f"{len(self._open)} of {self._n_slots} requests are in flight"
            raise LinkBusyError(str(self.endpoint), reason)
        now_ns = time.monotonic_ns()
        request_id = self._window.open(now_ns + int(1e9 * timeout_s))
        assert request_id is not None  # `n_free` has looked at its slot
        flight = self._flights[request_id % self._n_slots]
        slot = flight.slot
        write_request_header(slot, self._id(function), body.nbytes, request_id, timestamp_ns)
        slot[HEADER_BYTES:n_bytes] = body.cast("B") if body.format != "B" else body
        flight.function, flight.n_bytes, flight.timeout_s = function, n_bytes, timeout_s
        flight.n_sent, flight.sent_ns = 1, now_ns
        try:
            self._wire.send(slot, n_bytes)
        except LinkBusyError:
            self._window.close(request_id)
            self.counters.busy += 1
            raise
        except LinkLostError as error:
            self._window.close(request_id)
            raise self._lose_all(error.reason) from None
        self._open[request_id] = flight
        self._newest = request_id
        return request_id

    def collect(self, timeout_s: float = 0.0) -> Answer | Missing | None:
        """Give the outcome of one submitted request.

        Args:
            timeout_s: How long to wait for one (s).

        Returns:
            An answer, or why there will be none; None where neither came in time.
        """
        self._check_owner()
        if not self._outcomes:
            until_ns = time.monotonic_ns() + int(1e9 * timeout_s)
            self._step(timeout_s)
            while not self._outcomes and time.monotonic_ns() < until_ns:
                self._step((until_ns - time.monotonic_ns()) / 1e9)
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
        """End the session; unanswered requests stay unanswered."""
        if not self._is_closed and os.getpid() == self._pid:
            self._is_closed = True
            self._wire.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Link({str(self.endpoint)!r}, {len(self._open)} in flight)"

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
                self.counters.backpressure_stalls += 1
                self._step(0.001)
                if not self._open:
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
        self.counters.received += 1
        self.counters.answered += 1
        del self._open[wanted]
        return self._answer(header)

    def _answer(self, header: ResponseHeader) -> Answer:
        result = bytes(self._landing[HEADER_BYTES : HEADER_BYTES + header.result_len])
        return Answer(header.request_id, header.status, result, header.timestamp_ns)

    def _step(self, timeout_s: float) -> None:
        """Receive at most one answer, and see to deadlines and repeats."""
        if not self._open and timeout_s > 0.0:
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
        self.counters.received += 1
        if isinstance(header, Refusal):
            self.counters.count(header.counter)
            return
        match = self._window.close(header.request_id)
        self.counters.count(match.value)
        if match is not Match.OURS:
            return
        del self._open[header.request_id]
        result = bytes(self._landing[HEADER_BYTES : HEADER_BYTES + header.result_len])
        self._outcomes.append(Answer(header.request_id, header.status, result, header.timestamp_ns))

    def _expire(self, now_ns: int) -> None:
        for request_id in self._window.expired(now_ns):
            flight = self._open.pop(request_id)
            self.counters.deadline_misses += 1
            name = _name_of(flight.function)
            error = LinkTimeoutError(str(self.endpoint), name, flight.timeout_s, flight.n_sent)
            self._outcomes.append(Missing(request_id, error))

    def _resend(self, now_ns: int, after_ns: int) -> None:
        for flight in self._open.values():
            # Twice the wait each time: a server that is slow is not helped by more datagrams.
            if now_ns - flight.sent_ns >= after_ns << min(flight.n_sent - 1, 4):
                flight.sent_ns = now_ns
                flight.n_sent += 1
                try:
                    self._wire.send(flight.slot, flight.n_bytes)
                except LinkBusyError:
                    return
                except LinkLostError as error:
                    self._lose_all(error.reason)
                    return

    def _lose_all(self, reason: str) -> LinkLostError:
        """Give up every request in flight; their late answers will be recognised as such."""
        lost, self._open = list(self._open), {}
        error = LinkLostError(str(self.endpoint), len(lost), reason)
        self._window.expired(1 << 63)
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

    Raises:
        EndpointError: `endpoint` has another form.
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
