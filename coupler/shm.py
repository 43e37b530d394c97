"""Rings in POSIX shared memory, for two processes of one user on one machine.

`SlotRing` carries requests and answers; `FrameWriter` and `FrameReader` are the ends of a one-way
ring of frames in a `FrameSegment`. The process that creates a ring owns its name; the name goes
when the owner closes, and is reclaimed when the owner died.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from cudaq_target.coupler._native import (
    Client,
    Dispatcher,
    FrameSegment,
    LinkCore,
    Session,
    SlotPort,
    SlotRing,
)
from cudaq_target.coupler._ring import Consumer, Producer
from cudaq_target.coupler.closing import Closing
from cudaq_target.coupler.errors import RingFormatError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Buffer

__all__ = [
    "Client",
    "Dispatcher",
    "FrameReader",
    "FrameSegment",
    "FrameWriter",
    "LinkCore",
    "Session",
    "SlotPort",
    "SlotRing",
    "segment_name",
]

_SCHEME: Final = "shm://"
_CLOSED: Final = "this end of the ring is closed"
_Frame = TypeVar("_Frame")


def segment_name(endpoint: str) -> str:
    """Name of the segment that an endpoint means.

    Args:
        endpoint: For example "shm://decoder-0".

    Raises:
        ValueError: The endpoint starts with anything but `shm://`.

    >>> segment_name("shm://decoder-0")
    'decoder-0'
    """
    if not endpoint.startswith(_SCHEME):
        message = f"endpoint {endpoint!r} is no shared memory; write shm://NAME"
        raise ValueError(message)
    return endpoint.removeprefix(_SCHEME)


class _FrameEnd(Closing):
    """One end of a frame ring, with its role."""

    _role: str

    def __init__(self, segment: FrameSegment) -> None:
        segment.claim(self._role)
        self._segment: FrameSegment | None = segment

    def close(self) -> None:
        """Give the role back; the owner's name goes with its last reference."""
        if self._segment is not None:
            self._segment.release(self._role)
            self._segment = None

    @property
    def segment(self) -> FrameSegment:
        """The shared memory.

        Raises:
            ValueError: This end is closed.
        """
        if self._segment is None:
            raise ValueError(_CLOSED)
        return self._segment


class FrameWriter(_FrameEnd):
    """The end of a frame ring that writes."""

    _role = "producer"

    def __init__(self, segment: FrameSegment) -> None:
        """Become the producer; frames that wait stay.

        Args:
            segment: Made or attached by this process.

        Raises:
            RoleTakenError: A live process writes already.
        """
        super().__init__(segment)
        self._producer: Producer | None = Producer(segment.memory.data)
        self._counts = dict.fromkeys(("sent", "busy", "backpressure_stalls"), 0)

    def push(self, frame: Buffer, *, timeout_s: float = 0.0) -> bool:
        """Copy one frame into the ring.

        Args:
            frame: At most `slot_bytes` long.
            timeout_s: How long to wait for room (s).

        Returns:
            False when the ring stayed full; nothing is ever overwritten.

        Raises:
            FrameTooLongError: The frame is longer than a slot.
            ValueError: This end is closed.
        """
        producer = self._open()
        is_sent = producer.push(frame)
        if not is_sent:
            self._counts["backpressure_stalls"] += 1
            is_sent = producer.push(frame, timeout_s=timeout_s)
        self._counts["sent" if is_sent else "busy"] += 1
        return is_sent

    def counters(self) -> dict[str, int]:
        """Frames sent, refused as the ring stayed full, and waits for room, by name."""
        return self._counts.copy()

    def close(self) -> None:
        """Give the role back; the owner's name goes with its last reference."""
        self._producer = None
        super().close()

    @property
    def has_reader(self) -> bool:
        """Whether a live process reads."""
        return self.segment.consumer_pid != 0

    @property
    def n_waiting(self) -> int:
        """Frames written and not yet read.

        Raises:
            ValueError: This end is closed.
        """
        return self._open().n_waiting

    def _open(self) -> Producer:
        if self._producer is None:
            raise ValueError(_CLOSED)
        return self._producer


class FrameReader(_FrameEnd):
    """The end of a frame ring that reads."""

    _role = "consumer"

    def __init__(self, segment: FrameSegment) -> None:
        """Become the consumer, and go on where a former one stopped.

        Args:
            segment: Made or attached by this process.

        Raises:
            RoleTakenError: A live process reads already.
        """
        super().__init__(segment)
        self._consumer: Consumer | None = Consumer(segment.memory.data)
        self._counts = dict.fromkeys(("received", "bad_frames"), 0)

    def pop(self, *, timeout_s: float = 0.0) -> bytes | None:
        """Copy the oldest frame out of the ring; None when none came.

        Args:
            timeout_s: How long to wait (s).

        Raises:
            RingFormatError: The writer stored an impossible length; the frame is dropped.
            ValueError: This end is closed.
        """
        frame = self._counted(self._open().pop, timeout_s)
        self._counts["received"] += frame is not None
        return frame

    def peek(self, *, timeout_s: float = 0.0) -> NDArray[np.uint8] | None:
        """View the oldest frame in place, valid until `release`; None when none came.

        Args:
            timeout_s: How long to wait (s).

        Returns:
            Read-only, shape (n_bytes,).

        Raises:
            RingFormatError: The writer stored an impossible length; the frame is dropped.
            ValueError: This end is closed.
        """
        return self._counted(self._open().peek, timeout_s)

    def release(self) -> None:
        """Give the slot of the oldest frame back to the writer.

        Raises:
            ValueError: No frame waits, or this end is closed.
        """
        self._open().release()
        self._counts["received"] += 1

    def counters(self) -> dict[str, int]:
        """Frames received, and frames dropped for their impossible length, by name."""
        return self._counts.copy()

    def close(self) -> None:
        """Give the role back; the owner's name goes with its last reference."""
        self._consumer = None
        super().close()

    @property
    def has_writer(self) -> bool:
        """Whether a live process writes."""
        return self.segment.producer_pid != 0

    @property
    def n_waiting(self) -> int:
        """Frames written and not yet read.

        Raises:
            ValueError: This end is closed.
        """
        return self._open().n_waiting

    def _open(self) -> Consumer:
        if self._consumer is None:
            raise ValueError(_CLOSED)
        return self._consumer

    def _counted(self, take: Callable[..., _Frame], timeout_s: float) -> _Frame:
        try:
            return take(timeout_s=timeout_s)
        except RingFormatError:
            self._counts["bad_frames"] += 1
            raise
