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


@dataclass
class ProgramRefusedError(CouplerError):
    """A machine cannot run a program, or not with these parameters.

    Attributes:
        reason: Why, and what would work, in the machine's words.
    """

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass
class RemoteCallError(CouplerError):
    """The other end refused a call.

    Attributes:
        function: Name of the function.
        status: What it answered, a `frame.Status` or another number.
        reason: What it said besides, maybe nothing.
    """

    function: str
    status: int
    reason: str = ""

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.function} was answered with status {self.status}{reason}"


@dataclass
class StreamLostError(CouplerError):
    """The machine no longer knows a run; its remaining shots are lost.

    Attributes:
        run_id: The run.
        n_delivered: Shots that came.
        n_missing: Shots that were asked for and did not come.
    """

    run_id: int
    n_delivered: int
    n_missing: int

    def __str__(self) -> str:
        return (
            f"the machine does not know run {self.run_id:#x} any more: {self.n_delivered} shots "
            f"came, {self.n_missing} are missing; start a new run for those"
        )
