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


@dataclass
class FunctionTableError(CouplerError):
    """Two functions of one dispatcher have the same id.

    Attributes:
        name: The function that was added.
        other: The function that was there.
    """

    name: str
    other: str

    def __str__(self) -> str:
        if self.name == self.other:
            return f"function {self.name!r} is registered twice; register it once"
        return (
            f"functions {self.name!r} and {self.other!r} have the same 32-bit id; "
            f"rename one of them"
        )


@dataclass
class DecoderCountError(CouplerError):
    """A decode server was given too many decoders.

    Attributes:
        n_decoders: How many.
        n_decoders_max: How many it takes.
    """

    n_decoders: int
    n_decoders_max: int

    def __str__(self) -> str:
        return (
            f"{self.n_decoders} decoders do not fit into one server of at most "
            f"{self.n_decoders_max}; start a second server"
        )
