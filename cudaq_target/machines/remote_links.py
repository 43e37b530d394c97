"""Links to a controller, handed out one per run, so that threads do not wait for each other."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from cudaq_target.coupler.control_client import ControlClient
from cudaq_target.coupler.control_messages import RUN_HEADER
from cudaq_target.coupler.endpoint import Scheme, parse_endpoint
from cudaq_target.coupler.errors import CouplerError
from cudaq_target.coupler.frame import HEADER_BYTES
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cudaq_target.coupler.control_client import Caller
    from cudaq_target.coupler.endpoint import Endpoint
    from cudaq_target.coupler.link import Link
    from cudaq_target.coupler.security import ClientSecurity

_MANY: Final = 64
# A ring in shared memory serves one client, and a server of datagrams one at a time.
_MOST: Final = {Scheme.SHM: 1, Scheme.UDP: 1, Scheme.IPC: _MANY, Scheme.TCP: _MANY}

# An emulator at the other end needs the cores that a client would spin on.
_OPTIONS: Final = TransportOptions(wait="block")
# Requests fit the slots of every controller; over ZeroMQ, answers may be as long as its own.
_REQUEST_BYTES: Final = _OPTIONS.slot_bytes
_LONGEST_ANSWER_BYTES: Final = 1 << 16


@dataclass(slots=True, eq=False)
class ControlLink:
    """One link with its client, used by one run at a time.

    Attributes:
        link: The link.
        client: Speaks over it.
        loaded: Programs that the controller has taken over this link.
    """

    link: Link
    client: ControlClient
    loaded: set[int] = field(default_factory=set)

    @property
    def max_parameters(self) -> int:
        """How many parameters fit into the frame that starts a run."""
        return (_REQUEST_BYTES - HEADER_BYTES - RUN_HEADER.size) // 8

    def caller(self, timeout_s: float) -> Caller:
        """Make calls with another time-out than the client's (s)."""
        return self.link.caller(timeout_s)


class LinkPool:
    """Links to one endpoint, for the process that made it.

    A link goes back after its run and is used again; where something went wrong, it is closed.
    """

    def __init__(
        self, endpoint: str, security: ClientSecurity | None, *, connect_s: float, call_s: float
    ) -> None:
        """Connect to nothing yet.

        Args:
            endpoint: The controller.
            security: Keys, where it wants them.
            connect_s: How long a link may take to come up (s).
            call_s: How long a call may take (s).
        """
        self._endpoint = parse_endpoint(endpoint)
        self._security = security
        self._connect_s, self._call_s = connect_s, call_s
        self._room = threading.BoundedSemaphore(_MOST[self._endpoint.scheme])
        self._lock = threading.Lock()
        self._idle: list[ControlLink] = []
        self._is_closed = False

    @contextmanager
    def taken(self) -> Iterator[ControlLink]:
        """Lend a link for a run; waits where there are as many as the transport allows.

        Raises:
            CouplerError: No link comes up.
        """
        with self._room:
            with self._lock:
                taken = self._idle.pop() if self._idle else None
            if taken is None:
                taken = self._opened()
            try:
                yield taken
            except BaseException:  # whatever it was, answers may be on their way still
                taken.link.close()
                raise
            with self._lock:
                is_kept = not self._is_closed
                if is_kept:
                    self._idle.append(taken)
            if not is_kept:
                taken.link.close()

    def close(self) -> None:
        """Close the links, those in use after their run."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._is_closed = True
        for each in idle:
            each.link.close()

    def _opened(self) -> ControlLink:
        link = connect(
            self._endpoint,
            timeout_s=self._connect_s,
            security=self._security,
            options=_options_for(self._endpoint),
        )
        client = ControlClient(link.caller(self._call_s), slot_bytes=_REQUEST_BYTES)
        return ControlLink(link, client)


def _options_for(endpoint: Endpoint) -> TransportOptions:
    """Geometry of a link to a controller whose slots may be longer than by default."""
    if endpoint.scheme in {Scheme.TCP, Scheme.IPC}:
        return replace(_OPTIONS, slot_bytes=_LONGEST_ANSWER_BYTES, n_slots=4)
    if endpoint.scheme is Scheme.SHM:
        from cudaq_target.coupler.shm import SlotRing  # noqa: PLC0415 - compiled

        with suppress(CouplerError):  # not there yet: the link waits for it
            return replace(_OPTIONS, slot_bytes=SlotRing.attach(endpoint.place).tx_stride_bytes)
    return _OPTIONS
