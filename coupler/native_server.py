"""Serving compiled functions: a native thread on a ring, the native table on other transports."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from cudaq_target.coupler.endpoint import Endpoint
from cudaq_target.coupler.transports.interface import TransportCounters, TransportOptions
from cudaq_target.coupler.transports.shared_memory import create_ring, remove_ring

if TYPE_CHECKING:
    from collections.abc import Hashable
    from types import TracebackType

    from typing_extensions import Buffer

    from cudaq_target.coupler.dispatch import Ticket
    from cudaq_target.coupler.sessions import Session
    from cudaq_target.coupler.shm import Dispatcher
    from cudaq_target.coupler.shm import Session as NativeSession

MAX_SESSIONS: Final = 256


class NativeServer:
    """Serves a ring in shared memory without the interpreter, until it is closed."""

    def __init__(
        self, dispatcher: Dispatcher, endpoint: Endpoint, options: TransportOptions
    ) -> None:
        """Make the segment and start the native thread.

        Args:
            dispatcher: Its functions are compiled; it serves this ring alone.
            endpoint: A `shm` one.
            options: Geometry, the same at both ends.

        Raises:
            AddressInUseError: A live process has a segment of this name.
        """
        self.endpoint = endpoint
        self._dispatcher = dispatcher
        self._ring = create_ring(endpoint, options)
        self._pid = os.getpid()
        dispatcher.start(self._ring, wait=options.wait)

    @property
    def is_running(self) -> bool:
        """Whether it serves."""
        return self._dispatcher.is_running

    def counters(self) -> dict[str, int]:
        """What dispatcher and transport met so far, by name."""
        return TransportCounters().as_dict() | self._dispatcher.counters()

    def close(self) -> None:
        """Answer what waits, stop, and remove the name."""
        if os.getpid() == self._pid and self.is_running:
            self._dispatcher.stop()
            remove_ring(self._ring)

    def __enter__(self) -> NativeServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "running" if self.is_running else "closed"
        return f"NativeServer({str(self.endpoint)!r}, {state})"


class _NativeCounters:
    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def as_dict(self) -> dict[str, int]:
        return self._dispatcher.counters()


class NativeTable:
    """A native dispatcher in the place of `dispatch.Dispatcher`, for sockets."""

    n_pending: Final = 0

    def __init__(self, dispatcher: Dispatcher, slot_bytes: int) -> None:
        """Serve with compiled functions.

        Args:
            dispatcher: Serves no ring.
            slot_bytes: Longest request and longest answer (bytes).
        """
        self.slot_bytes = slot_bytes
        self.counters = _NativeCounters(dispatcher)
        self._dispatcher = dispatcher
        self._sessions: OrderedDict[Hashable, NativeSession] = OrderedDict()

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
            native = self._sessions[session.peer] = self._dispatcher.session(self.slot_bytes)
            if len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
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
