"""
Single-producer single-consumer ring of fixed slots; see `native/ring.hpp`.
"""

import numpy
import numpy.typing
from typing_extensions import Buffer


VERSION: int = 2

def required_bytes(n_slots: int, slot_bytes: int) -> int:
    """
    Size of the buffer that a ring of this geometry needs (bytes).

    Raises:
        RingFormatError: `n_slots` is no power of two, or a value is out of range.
    """

def format(buffer: Buffer, n_slots: int, slot_bytes: int) -> None:
    """
    Write an empty ring into `buffer`, which nobody else may be using.

    Raises:
        RingFormatError: The geometry is out of range or the buffer too small.
    """

class Producer:
    """The writing side; one per ring, used by one thread at a time."""

    def __init__(self, buffer: Buffer) -> None:
        """
        Attach to a formatted ring.

        Args:
            buffer: Writable, contiguous, uint8; kept alive by this object.

        Raises:
            RingFormatError: The buffer holds no valid ring.
        """

    @property
    def n_slots(self) -> int:
        """Number of slots."""

    @property
    def slot_bytes(self) -> int:
        """Longest frame (bytes)."""

    @property
    def n_waiting(self) -> int:
        """Frames published and not yet consumed."""

    def push(self, frame: Buffer, *, timeout_s: float = 0.0) -> bool:
        """
        Copy one frame into the ring.

        Args:
            frame: Any contiguous bytes-like object, at most `slot_bytes` long.
            timeout_s: How long to wait for a free slot (s), without the interpreter lock.

        Returns:
            False when the ring stayed full; nothing is ever overwritten.

        Raises:
            FrameTooLongError: The frame is longer than a slot.
        """

class Consumer:
    """The reading side; one per ring, used by one thread at a time."""

    def __init__(self, buffer: Buffer) -> None:
        """
        Attach to a formatted ring.

        Args:
            buffer: Writable, contiguous, uint8; kept alive by this object.

        Raises:
            RingFormatError: The buffer holds no valid ring.
        """

    @property
    def n_slots(self) -> int:
        """Number of slots."""

    @property
    def slot_bytes(self) -> int:
        """Longest frame (bytes)."""

    @property
    def n_waiting(self) -> int:
        """Frames published and not yet consumed."""

    def pop(self, *, timeout_s: float = 0.0) -> bytes | None:
        """
        Copy the oldest frame out of the ring.

        Args:
            timeout_s: How long to wait for a frame (s), without the interpreter lock.

        Returns:
            The frame, or None when none came.

        Raises:
            RingFormatError: The peer stored an impossible length; the frame is dropped.
        """

    def peek(self, *, timeout_s: float = 0.0) -> numpy.typing.NDArray[numpy.uint8] | None:
        """
        View the oldest frame in place, without a copy.

        The view is read-only and valid until `release`; afterwards the producer may overwrite it.

        Args:
            timeout_s: How long to wait for a frame (s), without the interpreter lock.

        Returns:
            Array of shape (n_bytes,), or None when no frame came.

        Raises:
            RingFormatError: The peer stored an impossible length; the frame is dropped.
        """

    def release(self) -> None:
        """
        Give the slot of the oldest frame back to the producer.

        Raises:
            ValueError: No frame waits.
        """
