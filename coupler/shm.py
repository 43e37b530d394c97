"""Rings in POSIX shared memory, for two processes of one user on one machine.

`SlotRing` carries requests and answers; `FrameWriter` and `FrameReader` are the ends of a one-way
ring of frames in a `FrameSegment`. The process that creates a ring owns its name; the name goes
when the owner closes, and is reclaimed when the owner died.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

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

if TYPE_CHECKING:
    from types import TracebackType

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


class _FrameEnd:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def segment(self) -> FrameSegment:
        """The shared memory.

        Raises:
            ValueError: This end is closed.
        """
        if self._segment is None:
            message = "this end of the ring is closed"
            raise ValueError(message)
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
        self._producer = Producer(segment.memory.data)

    def push(self, frame: Buffer, *, timeout_s: float = 0.0) -> bool:
        """Copy one frame into the ring.

        Args:
            frame: At most `slot_bytes` long.
            timeout_s: How long to wait for room (s).

        Returns:
            False when the ring stayed full; nothing is ever overwritten.

        Raises:
            FrameTooLongError: The frame is longer than a slot.
        """
        return self._producer.push(frame, timeout_s=timeout_s)

    @property
    def has_reader(self) -> bool:
        """Whether a live process reads."""
        return self.segment.consumer_pid != 0

    @property
    def n_waiting(self) -> int:
        """Frames written and not yet read."""
        return self._producer.n_waiting


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
        self._consumer = Consumer(segment.memory.data)

    def pop(self, *, timeout_s: float = 0.0) -> bytes | None:
        """Copy the oldest frame out of the ring; None when none came.

        Args:
            timeout_s: How long to wait (s).
        """
        return self._consumer.pop(timeout_s=timeout_s)

    def peek(self, *, timeout_s: float = 0.0) -> NDArray[np.uint8] | None:
        """View the oldest frame in place, valid until `release`; None when none came.

        Args:
            timeout_s: How long to wait (s).

        Returns:
            Read-only, shape (n_bytes,).
        """
        return self._consumer.peek(timeout_s=timeout_s)

    def release(self) -> None:
        """Give the slot of the oldest frame back to the writer."""
        self._consumer.release()

    @property
    def has_writer(self) -> bool:
        """Whether a live process writes."""
        return self.segment.producer_pid != 0

    @property
    def n_waiting(self) -> int:
        """Frames written and not yet read."""
        return self._consumer.n_waiting
