"""The server's end: one thread that moves frames between a transport and a dispatcher."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol, overload

from cudaq_target.coupler.closing import closed_on_failure
from cudaq_target.coupler.control import ControlServer
from cudaq_target.coupler.control_decide import Deciders
from cudaq_target.coupler.dispatch import RPC_INCREMENT, Dispatcher, Function
from cudaq_target.coupler.endpoint import Endpoint, Scheme, parse_endpoint
from cudaq_target.coupler.errors import FrameTooLongError, HandlerStuckError
from cudaq_target.coupler.link_errors import ServerFailedError
from cudaq_target.coupler.security import check_bind
from cudaq_target.coupler.serving import PATIENCE_S, Serving
from cudaq_target.coupler.sessions import DuplicateWindow, Session
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from collections.abc import Hashable

    from typing_extensions import Buffer

    from cudaq_target.coupler.control_options import ControlOptions
    from cudaq_target.coupler.dispatch import Ticket
    from cudaq_target.coupler.machine import LazyMachine, Machine
    from cudaq_target.coupler.native_server import NativeServer
    from cudaq_target.coupler.security import ServerSecurity
    from cudaq_target.coupler.shm import Dispatcher as NativeDispatcher
    from cudaq_target.coupler.transports.interface import Port

_LOG = logging.getLogger(__name__)
MAX_SESSIONS: Final = 256
# Repeats are recognised among so many times the requests that a client has in flight.
WINDOWS_REMEMBERED: Final = 4
_IDLE_S: Final = 0.02
_PENDING_S: Final = 0.001
_WOKEN_S: Final = 0.005
_TEND_NS: Final = 20_000_000
# About what a client takes from the shots of one answer to the next question. Waking a server that
# sleeps takes as long on a machine with sleeping cores.
_FOLLOW_NS: Final = 200_000
# Who looks out on the core that the client wants looks out in vain; asleep, he is woken elsewhere.
_MOST_SKIPPED: Final = 1024


class CounterSet(Protocol):
    """Counters by name."""

    def as_dict(self) -> dict[str, int]:
        """All of them."""


class Answerer(Protocol):
    """What a server needs of a dispatcher; see `dispatch.Dispatcher`."""

    @property
    def slot_bytes(self) -> int:
        """Longest answer (bytes)."""

    @property
    def counters(self) -> CounterSet:
        """What it met so far."""

    @property
    def n_pending(self) -> int:
        """Requests whose handlers answer later."""

    @property
    def running(self) -> str | None:
        """The function that runs, for other threads."""

    def dispatch_into(
        self,
        session: Session,
        frame: memoryview,
        n_bytes: int,
        answer: memoryview,
        *,
        exact: bool = True,
    ) -> int:
        """Serve one frame."""

    def finish(self, ticket: Ticket, status: int, result: Buffer = b"") -> bytes | None:
        """Answer a pending request."""

    def tend(self) -> list[tuple[Session, bytes]]:
        """Do what is due besides requests."""

    def shutdown(self) -> list[tuple[Session, bytes]]:
        """Cancel what is pending."""

    def end(self, timeout_s: float) -> None:
        """Wait for a function that missed its deadline."""


class Server(Serving):
    """Moves frames between a port and a dispatcher until it is closed; a context manager."""

    def __init__(
        self,
        dispatcher: Answerer,
        port: Port,
        n_slots: int,
        *,
        control: ControlServer | None = None,
    ) -> None:
        """Start the thread.

        Args:
            dispatcher: Used by this server alone, from its thread.
            port: Bound; closed by `close`.
            n_slots: Requests that a client has in flight at most.
            control: Whose functions the dispatcher has, where it is a machine's; closed by `close`.

        Raises:
            FrameTooLongError: The dispatcher writes longer answers than a slot holds.
        """
        if dispatcher.slot_bytes > port.slot_bytes:
            port.close()
            raise FrameTooLongError(dispatcher.slot_bytes, port.slot_bytes)
        self._dispatcher = dispatcher
        self._port = port
        self._n_remembered = WINDOWS_REMEMBERED * n_slots
        self._sessions: OrderedDict[Hashable, Session] = OrderedDict()
        self._finished: deque[tuple[Ticket, int, bytes]] = deque()
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._n_in_vain = 0
        self._n_left_out = 0
        self._pid = os.getpid()
        self._padded = memoryview(bytearray(port.slot_bytes))
        self._control = control
        self._is_woken = control is not None and control.wakes
        if control is not None and self._is_woken:
            control.wake_by(port.waker())
        self._thread = threading.Thread(target=self._run, name=f"coupler {port.endpoint}")
        self._thread.daemon = True  # an interpreter that ends does not wait for its clients
        self._thread.start()
        super().__init__()

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, with the port that was chosen."""
        return self._port.endpoint

    @property
    def is_running(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def counters(self) -> dict[str, int]:
        """What dispatcher, transport and machine met so far, by name."""
        own = {} if self._control is None else self._control.counters()
        return self._dispatcher.counters.as_dict() | self._port.counters.as_dict() | own

    def finish(self, ticket: Ticket, status: int, result: Buffer = b"") -> None:
        """Answer a request whose handler returned `PENDING`; from any thread.

        Args:
            ticket: From its `Call`.
            status: A `frame.Status`.
            result: Result bytes; copied.
        """
        self._finished.append((ticket, status, bytes(result)))

    def close(self) -> None:
        """Answer what is pending with CANCELLED and stop.

        Raises:
            HandlerStuckError: A function does not return; the server ends when it does.
            ServerFailedError: The server had stopped with an error before.
        """
        if not self._end():
            return
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise ServerFailedError(str(self.endpoint), repr(failure)) from failure

    def _end(self, timeout_s: float | None = None) -> bool:
        if os.getpid() != self._pid:
            return False
        self._stop.set()
        patience_s = PATIENCE_S if timeout_s is None else timeout_s
        self._thread.join(patience_s)
        if self._thread.is_alive():
            raise HandlerStuckError(self._dispatcher.running or "?", patience_s)
        self._dispatcher.end(patience_s)
        if self._control is not None:
            self._control.close(patience_s)
        return True

    def _run(self) -> None:
        try:
            self._serve()
            self._cancel()
        except Exception as error:  # noqa: BLE001 - `close` raises it in the thread of the owner
            _LOG.exception("the server of %s stopped", self.endpoint)
            self._failure = error
        finally:
            self._port.close()

    def _serve(self) -> None:
        port, dispatcher, control = self._port, self._dispatcher, self._control
        request = memoryview(bytearray(port.slot_bytes))
        answer = memoryview(bytearray(port.slot_bytes))
        next_tend_ns = 0
        is_followed = False
        while not self._stop.is_set():
            if not dispatcher.n_pending:
                arrived = self._follow(request) if is_followed else None
                arrived = arrived or port.receive_into(request, _IDLE_S)
            elif self._is_woken:
                arrived = port.receive_or_wake(request, _WOKEN_S)
            else:
                arrived = port.receive_into(request, _PENDING_S)
            if arrived is not None:
                peer, n_bytes = arrived
                self._dispatch(peer, request, n_bytes, answer)
            is_followed = arrived is not None and control is not None and control.is_followed
            now_ns = time.monotonic_ns()
            if arrived is None or dispatcher.n_pending or now_ns >= next_tend_ns:
                self._answer_pending()
            if arrived is None or now_ns >= next_tend_ns:
                next_tend_ns = now_ns + _TEND_NS
                port.tend()

    def _follow(self, request: memoryview) -> tuple[Hashable, int] | None:
        """Look out for the next request of a client that is in the middle of its shots.

        Where that was in vain, the next times are left out, more of them each time.
        """
        if self._n_left_out < self._n_in_vain:
            self._n_left_out += 1
            return None
        self._n_left_out = 0
        until_ns = time.monotonic_ns() + _FOLLOW_NS
        while time.monotonic_ns() < until_ns:
            arrived = self._port.receive_into(request, 0.0)
            if arrived is not None:
                self._n_in_vain = 0
                return arrived
        self._n_in_vain = min(2 * self._n_in_vain + 1, _MOST_SKIPPED)
        return None

    def _dispatch(
        self, peer: Hashable, request: memoryview, n_bytes: int, answer: memoryview
    ) -> None:
        n_pending = self._dispatcher.n_pending
        n_answer = self._dispatcher.dispatch_into(
            self._session(peer), request, n_bytes, answer, exact=self._port.exact
        )
        if n_answer:
            self._port.send(peer, answer, n_answer)
        elif self._dispatcher.n_pending == n_pending:
            self._port.skip(peer)

    def _answer_pending(self) -> None:
        while self._finished:
            ticket, status, result = self._finished.popleft()
            frame = self._dispatcher.finish(ticket, status, result)
            if frame is not None:
                self._send(ticket.session, frame)
        for session, frame in self._dispatcher.tend():
            self._send(session, frame)

    def _cancel(self) -> None:
        """Answer requests that already arrived, and those that are pending, with CANCELLED."""
        self._answer_pending()
        for session, frame in self._dispatcher.shutdown():
            self._send(session, frame)
        request = memoryview(bytearray(self._port.slot_bytes))
        answer = memoryview(bytearray(self._port.slot_bytes))
        until_s = time.monotonic() + _IDLE_S
        while time.monotonic() < until_s:
            arrived = self._port.receive_into(request, _PENDING_S)
            if arrived is None:
                return
            peer, n_bytes = arrived
            self._dispatch(peer, request, n_bytes, answer)

    def _send(self, session: Session, frame: bytes) -> None:
        self._padded[: len(frame)] = frame
        self._port.send(session.peer, self._padded, len(frame))

    def _session(self, peer: Hashable) -> Session:
        session = self._sessions.get(peer)
        if session is not None:
            if len(self._sessions) > 1:
                self._sessions.move_to_end(peer)
            return session
        window = DuplicateWindow(self._n_remembered, sequenced=False)
        session = self._sessions[peer] = Session(peer, window)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
            self._port.counters.evicted_sessions += 1
        return session


@overload
def serve(
    what: Dispatcher | Machine | LazyMachine,
    endpoint: str | Endpoint,
    *,
    security: ServerSecurity | None = None,
    options: TransportOptions | None = None,
    control_options: ControlOptions | None = None,
) -> Server: ...
@overload
def serve(
    what: Iterable[Function] | NativeDispatcher,
    endpoint: str | Endpoint,
    *,
    security: ServerSecurity | None = None,
    options: TransportOptions | None = None,
) -> Server | NativeServer: ...
def serve(
    what: Dispatcher | Iterable[Function] | Machine | LazyMachine | NativeDispatcher,
    endpoint: str | Endpoint,
    *,
    security: ServerSecurity | None = None,
    options: TransportOptions | None = None,
    control_options: ControlOptions | None = None,
) -> Server | NativeServer:
    """Serve functions or a machine at an endpoint, from a thread of this process.

    Args:
        what: A function table, a dispatcher that nobody else uses, or a machine, which is then
            driven by a `control_client.ControlClient`. A table is served natively where no
            function pends. `dispatch.Dispatcher` is the reference in Python; the native one runs
            compiled functions without the interpreter.
        endpoint: `shm://name`, `ipc://path`, `tcp://host:port` or `udp://host:port`; port 0
            takes a free one.
        security: Keys and allow-list; required where other machines can connect.
        options: Geometry, the same at both ends. By default the server of a machine sleeps while
            it waits on shared memory: where it spins, the machine's thread wants its core.
        control_options: What a machine allows its clients; for machines alone.

    Returns:
        The server, which runs already; a context manager, which closes it.

    Raises:
        EndpointError: `endpoint` has another form, or is not of this machine.
        InsecureEndpointError: Strangers could connect.
        AddressInUseError: Another server listens there.
    """
    place = parse_endpoint(endpoint) if isinstance(endpoint, str) else endpoint
    chosen = options or TransportOptions()
    if not isinstance(what, Dispatcher | Iterable):
        from cudaq_target.coupler.shm import Dispatcher as Native  # noqa: PLC0415 - compiled

        if isinstance(what, Native):
            return _serve_native(what, place, chosen, security)
    if isinstance(what, Iterable):
        what = tuple(what)
        if not any(function.may_pend for function in what):
            from cudaq_target.coupler.native_server import python_table  # noqa: PLC0415 - compiled

            table = python_table(what, window=chosen.n_slots)
            return _serve_native(table, place, chosen, security, drains=False)
    if isinstance(what, Dispatcher | Iterable):
        if not isinstance(what, Dispatcher):
            what = Dispatcher(what, slot_bytes=chosen.slot_bytes)
        return Server(what, _port(place, chosen, security), chosen.n_slots)
    chosen = options or TransportOptions(wait="block")
    control = ControlServer(what, options=control_options, decider=Deciders(chosen))
    functions = [*control.functions(), RPC_INCREMENT]
    dispatcher = Dispatcher(functions, background=[control.advance], slot_bytes=chosen.slot_bytes)
    port = _port(place, chosen, security)
    return Server(dispatcher, port, chosen.n_slots, control=control)


def _serve_native(
    dispatcher: NativeDispatcher,
    place: Endpoint,
    options: TransportOptions,
    security: ServerSecurity | None,
    *,
    drains: bool = True,
) -> Server | NativeServer:
    from cudaq_target.coupler.native_server import NativeServer, NativeTable  # noqa: PLC0415

    if place.scheme is Scheme.SHM:
        check_bind(place, security)
        return NativeServer(dispatcher, place, options, drains=drains)
    if place.scheme is not Scheme.UDP:
        return _serve_zeromq(dispatcher, place, options, security, drains=drains)
    # Its clients repeat what gets no answer: without a memory a request would be executed twice.
    n_remembered = WINDOWS_REMEMBERED * options.n_slots
    table = NativeTable(dispatcher, options.slot_bytes, min_window=n_remembered)
    return Server(table, _port(place, options, security), options.n_slots)


def _serve_zeromq(
    dispatcher: NativeDispatcher,
    place: Endpoint,
    options: TransportOptions,
    security: ServerSecurity | None,
    *,
    drains: bool,
) -> Server:
    from cudaq_target.coupler.native_server import NativeTable, sessions_that_fit  # noqa: PLC0415
    from cudaq_target.coupler.transports.zeromq import ZmqPort  # noqa: PLC0415 - one transport
    from cudaq_target.coupler.zmq_server import ZmqServer  # noqa: PLC0415

    port = ZmqPort(place, options, security)
    n_sessions = sessions_that_fit(dispatcher.window, options.slot_bytes, dispatcher.session_bytes)
    with closed_on_failure(port.close):
        service = port.service(dispatcher, n_sessions)
    if service is None:
        return Server(NativeTable(dispatcher, options.slot_bytes), port, options.n_slots)
    return ZmqServer(dispatcher, port, service, options, drains=drains)


def _port(place: Endpoint, options: TransportOptions, security: ServerSecurity | None) -> Port:
    if place.scheme is Scheme.UDP:
        from cudaq_target.coupler.transports.udp import UdpPort  # noqa: PLC0415 - one transport

        check_bind(place, security)
        return UdpPort(place, options)
    if place.scheme is Scheme.SHM:
        from cudaq_target.coupler.transports.shared_memory import ShmPort  # noqa: PLC0415

        check_bind(place, security)
        return ShmPort(place, options)
    from cudaq_target.coupler.transports.zeromq import ZmqPort  # noqa: PLC0415

    return ZmqPort(place, options, security)
