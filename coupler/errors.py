"""Everything the coupler raises on purpose; shares nothing with the target half."""

from __future__ import annotations

from dataclasses import dataclass


class CouplerError(Exception):
    """Root of all errors that the coupler raises on purpose."""


@dataclass
class RingFormatError(CouplerError):
    """A buffer holds no usable ring, or none of the wanted geometry fits into it.

    Attributes:
        field: What is wrong, for example "magic" or "buffer size (bytes)".
        found: The value that was found.
        expected: What is allowed, in words.
    """

    field: str
    found: int
    expected: str

    def __str__(self) -> str:
        return f"ring {self.field} is {self.found}; expected {self.expected}"


@dataclass
class FrameTooLongError(CouplerError):
    """A frame does not fit into a slot.

    Attributes:
        frame_bytes: Length of the frame (bytes).
        slot_bytes: Longest frame that the ring takes (bytes).
    """

    frame_bytes: int
    slot_bytes: int

    def __str__(self) -> str:
        return (
            f"a frame of {self.frame_bytes} bytes does not fit into slots of "
            f"{self.slot_bytes} bytes; format the ring with a larger slot_bytes"
        )
