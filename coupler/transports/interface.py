"""What every transport offers: a `Wire` to the client, a `Port` to the server.

Both move frames between memory that the caller owns and the peer, and nothing else: numbering,
repeats, deadlines and answers are the business of `link` and `server`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from cudaq_target.coupler.endpoint import Endpoint
    from cudaq_target.coupler.shm import LinkCore

Found = TypeVar("Found")
LOOK_S: Final = 0.001


WAITS: Final = ("busy", "yield", "adaptive", "block")


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """Geometry and times; both ends use the same `slot_bytes`.

    Attributes:
        slot_bytes: Longest frame (bytes); on `udp` the length of every datagram.
        n_slots: Frames that each queue holds at most.
        heartbeat_interval_ms: A silent ZeroMQ connection is probed this often (ms).
        heartbeat_timeout_ms: A probe unanswered for so long means that the peer is gone (ms).
        drain_ms: How long an orderly end waits for answers to leave (ms).
        pin_s: A silent UDP peer keeps its server for so long (s).
        receive_buffer_bytes: Socket buffer of UDP (bytes).
        wait: How both ends of a ring in shared memory wait: "busy" (on cores of their own),
            "yield", "adaptive" or "block".
        zeromq: How ZeroMQ moves frames: "native", without the interpreter, or "python".
    """

    slot_bytes: int = 4096
    n_slots: int = 64
    heartbeat_interval_ms: int = 100
    heartbeat_timeout_ms: int = 300
    drain_ms: int = 300
    pin_s: float = 5.0
    receive_buffer_bytes: int = 4 << 20
    wait: str = "adaptive"
    zeromq: str = "native"


@dataclass(slots=True)
class TransportCounters:
    """What a transport met; each drop and refusal is in exactly one of these.

    Attributes:
        oversized: Messages longer than a slot; dropped.
        multipart: Messages of more than one part; dropped.
        foreign_peer: Datagrams of somebody else than the pinned peer; dropped.
        refused_handshakes: Connections without the right keys; refused.
        connects: Peers that connected.
        disconnects: Connections that ended or went silent.
        delayed_answers: Answers that had to wait for a slow peer.
        dropped_answers: Answers to a peer that was gone, or slow for too long.
        dropped_requests: Requests that could not get an answer on this transport.
        evicted_sessions: Sessions forgotten to make room for new ones.
    """

    oversized: int = 0
    multipart: int = 0
    foreign_peer: int = 0
    refused_handshakes: int = 0
    connects: int = 0
    disconnects: int = 0
    delayed_answers: int = 0
    dropped_answers: int = 0
    dropped_requests: int = 0
    evicted_sessions: int = 0

    def as_dict(self) -> dict[str, int]:
        """All counters by name."""
        return asdict(self)


class Wire(Protocol):
    """The client's end of one session; used by one thread."""

    @property
    def endpoint(self) -> Endpoint:
        """The server."""

    @property
    def slot_bytes(self) -> int:
        """Longest frame (bytes)."""

    @property
    def exact(self) -> bool:
        """Whether frames arrive with their exact length."""

    @property
    def resend_after_s(self) -> float | None:
        """When an unanswered frame is worth sending again (s); None where nothing gets lost."""

    @property
    def counters(self) -> TransportCounters:
        """What happened so far."""

    @property
    def core(self) -> LinkCore | None:
        """The native window and usual path of this session; None where Python does both."""

    def send(self, slot: memoryview, n_bytes: int) -> None:
        """Send one frame without waiting.

        Args:
            slot: Writable, `slot_bytes` long, with the frame in front.
            n_bytes: Length of the frame (bytes).

        Raises:
            LinkBusyError: There is no room, or no connection.
            LinkLostError: The server is gone.
        """

    def receive_into(self, slot: memoryview, timeout_s: float) -> int | None:
        """Receive one frame.

        Args:
            slot: Writable, `slot_bytes` long.
            timeout_s: How long to wait (s), without the interpreter lock.

        Returns:
            Length of what arrived (bytes); None where nothing did.

        Raises:
            LinkLostError: The server is gone.
        """

    def close(self) -> None:
        """Give everything back; what is on its way is lost."""


class Port(Protocol):
    """The server's end of all its sessions; used by one thread."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, with the port that was chosen."""

    @property
    def slot_bytes(self) -> int:
        """Longest frame (bytes)."""

    @property
    def exact(self) -> bool:
        """Whether frames arrive with their exact length."""

    @property
    def counters(self) -> TransportCounters:
        """What happened so far."""

    def receive_into(self, slot: memoryview, timeout_s: float) -> tuple[Hashable, int] | None:
        """Receive one frame.

        Args:
            slot: Writable, `slot_bytes` long.
            timeout_s: How long to wait (s), without the interpreter lock.

        Returns:
            Who sent it and its length (bytes); None where nothing came.
        """

    def waker(self) -> Callable[[], None]:
        """Make what ends the wait of `receive_or_wake`; it may be called from any thread, always.

        Made once, before the thread of the server starts.
        """

    def receive_or_wake(self, slot: memoryview, timeout_s: float) -> tuple[Hashable, int] | None:
        """Receive one frame; as `receive_into`, but a wake ends the wait, also an earlier one.

        A port with one client, who waits for an answer then, may see further requests late, within
        `LOOK_S`.
        """

    def send(self, peer: Hashable, slot: memoryview, n_bytes: int) -> None:
        """Send one answer; it waits in a bounded queue where the peer is slow.

        Args:
            peer: From `receive_into`.
            slot: Writable, `slot_bytes` long, with the frame in front.
            n_bytes: Length of the frame (bytes).
        """

    def skip(self, peer: Hashable) -> None:
        """Say that the request received last, which is of `peer`, will get no answer."""

    def tend(self) -> None:
        """Do what is due besides frames: handshakes, waiting answers."""

    def close(self) -> None:
        """Let queued answers leave, then give everything back."""


class OneClientWake:
    """Waits for a wake, and looks for requests in between; for ports with one client."""

    def __init__(self) -> None:
        """Nobody wakes yet."""
        self._event = threading.Event()

    def waker(self) -> Callable[[], None]:
        """See `Port.waker`."""
        return self._event.set

    def receive(
        self, receive_into: Callable[[memoryview, float], Found], slot: memoryview, timeout_s: float
    ) -> Found | None:
        """See `Port.receive_or_wake`.

        Args:
            receive_into: Of the port.
            slot: Writable, `slot_bytes` long.
            timeout_s: How long to wait (s).
        """
        until_s = time.monotonic() + timeout_s
        while (found := receive_into(slot, 0.0)) is None:
            left_s = until_s - time.monotonic()
            if left_s <= 0.0 or self._event.wait(min(left_s, LOOK_S)):
                break
        self._event.clear()
        return found
