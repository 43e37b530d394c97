"""Shared memory: CUDA-Q Realtime's slot and flag ring, one client per ring.

A server makes the segment and owns its name; a client that loses its server attaches to the
segment of the next one.
"""

from __future__ import annotations

import atexit
import os
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cudaq_target.coupler.errors import (
    CouplerError,
    PeerGoneError,
    RoleTakenError,
    SegmentFormatError,
    SegmentInUseError,
    SegmentMissingError,
    SegmentStaleError,
)
from cudaq_target.coupler.frame import HEADER_BYTES, Status, write_response_header
from cudaq_target.coupler.link_errors import (
    AddressInUseError,
    EndpointError,
    LinkBusyError,
    LinkLostError,
    LinkTimeoutError,
)
from cudaq_target.coupler.security import check_bind
from cudaq_target.coupler.sessions import Answer
from cudaq_target.coupler.shm import Client, FrameSegment, LinkCore, SlotPort, SlotRing
from cudaq_target.coupler.transports.interface import (
    OneClientWake,
    TransportCounters,
    TransportOptions,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from cudaq_target.coupler.endpoint import Endpoint

STRIDE_BYTES: Final = 128
_OWNED: Final[dict[str, tuple[int, SlotRing]]] = {}
_MADE_LAST: Final = ("size (bytes)", "magic")
_ATTACH_AGAIN_S: Final = 0.01
# An answer shows a moment before its slot is free again: a server may be interrupted in between.
_CLEARING_NS: Final = 20_000_000


def stride_of(slot_bytes: int) -> int:
    """Length of a slot in the ring: `slot_bytes`, rounded up to whole cache-line pairs."""
    return -(-slot_bytes // STRIDE_BYTES) * STRIDE_BYTES


def create_ring(endpoint: Endpoint, options: TransportOptions) -> SlotRing:
    """Make the segment of a server.

    Raises:
        AddressInUseError: A live process has a segment of this name.
    """
    try:
        ring = SlotRing.create(endpoint.place, options.n_slots, stride_of(options.slot_bytes))
    except SegmentInUseError as error:
        raise AddressInUseError(str(endpoint)) from error
    _OWNED[endpoint.place] = (os.getpid(), ring)
    return ring


def remove_ring(ring: SlotRing) -> None:
    """Remove the name of a segment that `create_ring` made."""
    ring.unlink()
    _OWNED.pop(ring.name, None)


@atexit.register
def _remove_forgotten() -> None:
    """A name outlives its process; servers that nobody closed lose theirs here."""
    for pid, ring in _OWNED.values():
        if pid == os.getpid():  # a child of a fork does not own what it inherited
            ring.unlink()


def remove_abandoned(prefix: str) -> list[str]:
    """Remove rings that killed processes left, and that nobody would take the name of again.

    Args:
        prefix: How the names in `shm://name` begin.

    Returns:
        The names.
    """
    removed = []
    for path in Path("/dev/shm").glob(f"cudaq-target-{prefix}*"):
        name = path.name.removeprefix("cudaq-target-")
        for kind in (SlotRing, FrameSegment):
            try:
                kind.attach(name)
            except SegmentStaleError:
                path.unlink(missing_ok=True)
                removed.append(name)
            except CouplerError:  # of the other kind, another user's, or nothing of ours
                continue
    return removed


class ShmWire:
    """The requesting side of a ring."""

    exact: Final = False
    resend_after_s: Final = None

    def __init__(self, endpoint: Endpoint, options: TransportOptions, timeout_s: float) -> None:
        """Attach, and wait until a server is there.

        Raises:
            LinkTimeoutError: No server came within `timeout_s`.
            LinkBusyError: Another live process uses the ring.
            EndpointError: The ring has slots of another length.
            SegmentFormatError: The segment has a wrong version, size, permissions or owner.
        """
        self.endpoint = endpoint
        self.slot_bytes = options.slot_bytes
        self.counters = TransportCounters()
        self.core = LinkCore(options.n_slots, options.slot_bytes, Answer)
        self._n_slots = 0
        self._stride = stride_of(options.slot_bytes)
        self._landing = memoryview(bytearray(self._stride))
        self._wait = options.wait
        self._client: Client | None = None
        until = time.monotonic() + timeout_s
        while not self._attach():
            if time.monotonic() >= until:
                raise LinkTimeoutError(str(endpoint), "the connection", timeout_s, 1)
            time.sleep(_ATTACH_AGAIN_S)

    def send(self, slot: memoryview, n_bytes: int) -> None:
        """Put one frame into the ring without waiting; see `Wire.send`."""
        if self._client is None and not self._attach():
            raise LinkBusyError(str(self.endpoint), "it is not connected")
        assert self._client is not None
        try:
            is_sent = self._client.n_pending < self._n_slots and self._client.send_raw(
                slot[:n_bytes], timeout_ns=_CLEARING_NS
            )
        except PeerGoneError:
            raise self._lost() from None
        if not is_sent:
            raise LinkBusyError(str(self.endpoint), "its ring is full")

    def receive_into(self, slot: memoryview, timeout_s: float) -> int | None:
        """Take one answer from the ring; see `Wire.receive_into`."""
        if self._client is None:
            if timeout_s > 0.0:
                time.sleep(min(timeout_s, _ATTACH_AGAIN_S))
            return None
        if self._client.n_pending == 0:
            if timeout_s > 0.0:
                time.sleep(timeout_s)  # nothing is due
            return None
        landing = slot if len(slot) == self._stride else self._landing
        try:
            if not self._client.receive_into(landing, int(1e9 * timeout_s)):
                return None
        except PeerGoneError:
            raise self._lost() from None
        if landing is not slot:
            slot[:] = landing[: len(slot)]
        return self.slot_bytes

    def close(self) -> None:
        """Give the role of the client back; see `Wire.close`."""
        if self._client is not None:
            self.core.detach()
            self._client.close()
            self._client = None

    def _attach(self) -> bool:
        try:
            ring = SlotRing.attach(self.endpoint.place)
        except (SegmentMissingError, SegmentStaleError):
            return False
        except SegmentFormatError as error:
            # A server is making it right now: the file is empty at first, then all zeros.
            if error.field in _MADE_LAST and error.found == "0":
                return False
            raise
        strides = (ring.rx_stride_bytes, ring.tx_stride_bytes)
        if strides != (self._stride, self._stride):
            reason = f"its slots have {strides[0]} and {strides[1]} bytes, ours {self._stride}"
            raise EndpointError(str(self.endpoint), reason, "Use the same slot_bytes at both ends")
        if ring.consumer_pid == 0:
            return False
        try:
            self._client = Client(ring, wait=self._wait)
        except RoleTakenError as error:
            reason = f"process {ring.producer_pid} uses this ring, which serves one client"
            raise LinkBusyError(str(self.endpoint), reason) from error
        except PeerGoneError:
            return False
        self._n_slots = ring.n_slots
        self.core.attach(self._client)
        self.counters.connects += 1
        return True

    def _lost(self) -> LinkLostError:
        self.counters.disconnects += 1
        self.close()
        return LinkLostError(str(self.endpoint), 0, "its process is gone")


class ShmPort:
    """The answering side of a ring, for handlers in Python."""

    exact: Final = False

    def __init__(self, endpoint: Endpoint, options: TransportOptions) -> None:
        """Make the segment.

        Raises:
            AddressInUseError: A live process has a segment of this name.
        """
        check_bind(endpoint, None)
        self.endpoint = endpoint
        self.slot_bytes = options.slot_bytes
        self.counters = TransportCounters()
        self._wake = OneClientWake()
        self._ring = create_ring(endpoint, options)
        self._port = SlotPort(self._ring, wait=options.wait)
        self._landing = memoryview(bytearray(stride_of(options.slot_bytes)))
        # Answers find their slot by the id of their request; ids that repeat are served in order.
        self._slots: dict[tuple[int, int], deque[int]] = {}
        self._newest: tuple[int, int] = (0, 0)

    def receive_into(self, slot: memoryview, timeout_s: float) -> tuple[Hashable, int] | None:
        """Take one request from the ring; see `Port.receive_into`."""
        landing = slot if len(slot) == len(self._landing) else self._landing
        found = self._port.receive_into(landing, int(1e9 * timeout_s))
        if found is None:
            return None
        session, number = found
        if landing is not slot:
            slot[:] = landing[: len(slot)]
        self._newest = (session, int.from_bytes(slot[12:16], "little"))
        self._slots.setdefault(self._newest, deque()).append(number)
        return session, self.slot_bytes

    def waker(self) -> Callable[[], None]:
        """See `Port.waker`."""
        return self._wake.waker()

    def receive_or_wake(self, slot: memoryview, timeout_s: float) -> tuple[Hashable, int] | None:
        """See `Port.receive_or_wake`."""
        return self._wake.receive(self.receive_into, slot, timeout_s)

    def send(self, peer: Hashable, slot: memoryview, n_bytes: int) -> None:
        """Answer one request; see `Port.send`."""
        assert isinstance(peer, int)
        key = (peer, int.from_bytes(slot[12:16], "little"))
        waiting = self._slots.get(key)
        if waiting is None:
            self.counters.dropped_answers += 1
            return
        number = waiting.popleft()
        if not waiting:
            del self._slots[key]
        self._port.answer(number, slot[:n_bytes])

    def skip(self, peer: Hashable) -> None:
        """Answer BUSY: a slot without an answer would hold up all behind it."""
        self.counters.dropped_requests += 1
        answer = memoryview(bytearray(HEADER_BYTES))
        write_response_header(answer, Status.BUSY, 0, self._newest[1], 0)
        waiting = self._slots[self._newest]
        waiting.rotate(1)  # the newest request, not the one that it repeats
        self.send(peer, answer, HEADER_BYTES)

    def tend(self) -> None:
        """Nothing is due besides requests."""

    def close(self) -> None:
        """Give the role of the server back, and remove the name."""
        self._port.close()
        remove_ring(self._ring)
