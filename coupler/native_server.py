"""The native dispatcher behind rings and sockets, with functions in machine code or in Python."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from cudaq_target.coupler.counters import Counters
from cudaq_target.coupler.dispatch import Call, Function, Reply, table_of
from cudaq_target.coupler.frame import RequestHeader
from cudaq_target.coupler.payload import PayloadType
from cudaq_target.coupler.serving import PATIENCE_S, Serving
from cudaq_target.coupler.sessions import DuplicateWindow, Session
from cudaq_target.coupler.shm import Dispatcher
from cudaq_target.coupler.transports.interface import TransportCounters, TransportOptions
from cudaq_target.coupler.transports.shared_memory import create_ring, remove_ring

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from typing_extensions import Buffer

    from cudaq_target.coupler.dispatch import Ticket
    from cudaq_target.coupler.endpoint import Endpoint
    from cudaq_target.coupler.shm import Session as NativeSession

_LOG = logging.getLogger(__name__)
MAX_SESSIONS: Final = 256
# Strangers without keys cost a session each; together they get no more memory than this.
_SESSIONS_BYTES: Final = 256 << 20
_FLOAT_BYTES: Final = {
    PayloadType.FLOAT32: 4,
    PayloadType.ARRAY_FLOAT32: 4,
    PayloadType.FLOAT64: 8,
    PayloadType.ARRAY_FLOAT64: 8,
}


def python_table(functions: Iterable[Function], *, window: int = 0) -> Dispatcher:
    """Put functions in Python behind the native checks; the lock is taken for handlers alone.

    On a ring a repeated request is recognised among the last n_slots - 1.

    Args:
        functions: What clients can call; none pends.
        window: Requests of each client of a socket that are remembered with their answers.

    Raises:
        FunctionTableError: Two functions have one id.
    """
    dispatcher = Dispatcher(window=window, in_place=True)
    dispatcher.set_python(Call, RequestHeader, Reply, _session, _FirstFailures().report)
    for function in table_of(functions).values():
        dispatcher.add_python(
            function.name,
            function.handler,
            min_arg_bytes=function.min_arg_bytes,
            max_arg_bytes=function.max_arg_bytes,
            deadline_ns=function.deadline_ns or 0,
            result_float_bytes=0
            if function.result_type is None
            else _FLOAT_BYTES.get(function.result_type, 0),
        )
    return dispatcher


def _session(number: int) -> Session:
    return Session(number, DuplicateWindow(0, sequenced=False))


class _FirstFailures:
    """Logs the first failure of each function; the counter has the others."""

    def __init__(self) -> None:
        self._reported: set[str] = set()

    def report(self, name: str, error: BaseException) -> None:
        if name not in self._reported:
            self._reported.add(name)
            _LOG.error("%s failed; further failures are counted only", name, exc_info=error)


class NativeServer(Serving):
    """Serves a ring in shared memory from a native thread, until it is closed."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        endpoint: Endpoint,
        options: TransportOptions,
        *,
        drains: bool = True,
    ) -> None:
        """Make the segment and start the native thread.

        Args:
            dispatcher: It serves this ring alone.
            endpoint: A `shm` one.
            options: Geometry, the same at both ends.
            drains: Whether `close` answers what waits by its functions, or with CANCELLED.

        Raises:
            AddressInUseError: A live process has a segment of this name.
        """
        self._endpoint = endpoint
        self._dispatcher = dispatcher
        self._drains = drains
        self._ring = create_ring(endpoint, options)
        self._pid = os.getpid()
        self._n_late = 0
        dispatcher.start(self._ring, wait=options.wait, slot_bytes=options.slot_bytes)
        super().__init__()

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return self._endpoint

    @property
    def is_running(self) -> bool:
        """Whether it serves."""
        return self._dispatcher.is_running

    def counters(self) -> dict[str, int]:
        """What dispatcher and transport met so far, by name."""
        counted = Counters().as_dict() | TransportCounters().as_dict() | self._dispatcher.counters()
        counted["late_results"] += self._n_late
        return counted

    def finish(self, ticket: Ticket, status: int, result: Buffer = b"") -> None:  # noqa: ARG002
        """As `Server.finish`; none pends here, so every ticket, status and result is late."""
        self._n_late += 1

    def close(self) -> None:
        """Answer what waits, stop, and remove the name.

        Raises:
            HandlerStuckError: A function does not return; the name is gone, the thread is not.
        """
        self._end()

    def _end(self, timeout_s: float | None = None) -> bool:
        if os.getpid() != self._pid:
            return False
        if self.is_running:
            try:
                patience_s = PATIENCE_S if timeout_s is None else timeout_s
                self._dispatcher.stop(drain=self._drains, timeout_s=patience_s)
            finally:
                remove_ring(self._ring)
        return True


def sessions_that_fit(window: int, slot_bytes: int, session_bytes: int) -> int:
    """Clients that a server remembers at most.

    Args:
        window: Requests remembered per client, each with its answer.
        slot_bytes: Longest of either (bytes).
        session_bytes: State of stateful functions (bytes).
    """
    per_session = 2 * window * slot_bytes + session_bytes + 1
    return max(1, min(MAX_SESSIONS, _SESSIONS_BYTES // per_session))


class _NativeCounters:
    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def as_dict(self) -> dict[str, int]:
        return self._dispatcher.counters()


class NativeTable:
    """A native dispatcher in the place of `dispatch.Dispatcher`, for sockets."""

    n_pending: Final = 0

    def __init__(self, dispatcher: Dispatcher, slot_bytes: int, *, min_window: int = 0) -> None:
        """Serve with compiled functions.

        Args:
            dispatcher: Serves no ring.
            slot_bytes: Longest request and longest answer (bytes).
            min_window: Requests of each client to remember at least.
        """
        self.slot_bytes = slot_bytes
        self.counters = _NativeCounters(dispatcher)
        self._dispatcher = dispatcher
        self._min_window = min_window
        self._max_sessions = sessions_that_fit(
            max(min_window, dispatcher.window), slot_bytes, dispatcher.session_bytes
        )
        self._sessions: OrderedDict[Hashable, NativeSession] = OrderedDict()

    @property
    def running(self) -> str | None:
        """The function that runs, for other threads."""
        return self._dispatcher.running

    def dispatch_into(
        self,
        session: Session,
        frame: memoryview,
        n_bytes: int,
        answer: memoryview,
        *,
        exact: bool = True,
    ) -> int:
        """Serve one frame; as `dispatch.Dispatcher.dispatch_into`."""
        native = self._sessions.get(session.peer)
        if native is None:
            if len(self._sessions) >= self._max_sessions:
                self._sessions.popitem(last=False)
            native = self._dispatcher.session(self.slot_bytes, min_window=self._min_window)
            self._sessions[session.peer] = native
        return self._dispatcher.handle(native, frame[:n_bytes], answer, exact=exact)

    def finish(self, ticket: Ticket, status: int, result: Buffer = b"") -> bytes | None:  # noqa: ARG002
        """No compiled function answers later."""
        return None

    def tend(self) -> list[tuple[Session, bytes]]:
        """Nothing is due besides requests."""
        return []

    def shutdown(self) -> list[tuple[Session, bytes]]:
        """Nothing is pending."""
        return []

    def end(self, timeout_s: float) -> None:
        """Wait for a function that missed its deadline.

        Raises:
            HandlerStuckError: It does not return.
        """
        self._dispatcher.stop(timeout_s=timeout_s)
