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
class DecisionError(CouplerError):
    """An end that decides gave no decision.

    Attributes:
        endpoint: Where it is.
        reason: What it did instead.
    """

    endpoint: str
    reason: str

    def __str__(self) -> str:
        return f"{self.endpoint} gave no decision: {self.reason}"


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


@dataclass
class SegmentFormatError(CouplerError):
    """Shared memory of this name cannot be used, or not be made with this geometry.

    Attributes:
        name: Name of the segment.
        field: What is wrong, for example "permissions".
        found: The value that was found, as text.
        expected: What is allowed, in words.
    """

    name: str
    field: str
    found: str
    expected: str

    def __str__(self) -> str:
        return (
            f"shared memory {self.name!r}: {self.field} is {self.found}; expected {self.expected}"
        )


@dataclass
class SegmentMissingError(CouplerError):
    """There is no shared memory of this name.

    Attributes:
        name: Name of the segment.
    """

    name: str

    def __str__(self) -> str:
        return f"no shared memory {self.name!r}; start the server that makes it first"


@dataclass
class SegmentInUseError(CouplerError):
    """A live process has shared memory of this name already.

    Attributes:
        name: Name of the segment.
        pid: The process.
    """

    name: str
    pid: int

    def __str__(self) -> str:
        return (
            f"shared memory {self.name!r} belongs to process {self.pid}, which runs; "
            f"stop it or choose another name"
        )


@dataclass
class SegmentStaleError(CouplerError):
    """The process that made the shared memory is dead.

    Attributes:
        name: Name of the segment.
        pid: The dead process.
    """

    name: str
    pid: int

    def __str__(self) -> str:
        return (
            f"shared memory {self.name!r} was left by process {self.pid}, which is dead; "
            f"start the server again, it replaces the segment"
        )


@dataclass
class SegmentSystemError(CouplerError):
    """The system refuses shared memory.

    Attributes:
        name: Name of the segment.
        reason: What the system says.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"shared memory {self.name!r}: {self.reason}"


@dataclass
class RoleTakenError(CouplerError):
    """A ring has one producer and one consumer; another live process is it.

    Attributes:
        name: Name of the segment.
        role: "producer" or "consumer".
        pid: The process.
    """

    name: str
    role: str
    pid: int

    def __str__(self) -> str:
        return (
            f"process {self.pid} is the {self.role} of shared memory {self.name!r}; a ring has "
            f"one {self.role}, so give each its own ring"
        )


@dataclass
class PeerGoneError(CouplerError):
    """Nobody is at the other end of a ring.

    Attributes:
        name: Name of the segment.
        role: The role that nobody has, "producer" or "consumer".
    """

    name: str
    role: str

    def __str__(self) -> str:
        return (
            f"shared memory {self.name!r} has no live {self.role}; attach again when the other "
            f"end runs"
        )


@dataclass
class CallTimeoutError(CouplerError):
    """No answer came in time; should one come later, it is dropped and counted.

    Attributes:
        name: The link.
        function_id: The function that was called.
        timeout_ns: How long was waited (ns).
    """

    name: str
    function_id: int
    timeout_ns: int

    def __str__(self) -> str:
        return (
            f"no answer from {self.name!r} to function {self.function_id:#010x} within "
            f"{self.timeout_ns} ns; raise timeout_ns or look at the server's counters"
        )


@dataclass
class HandlerStuckError(CouplerError):
    """A server cannot stop: one of its functions does not return.

    Attributes:
        function: Its name.
        timeout_s: How long was waited (s).
    """

    function: str
    timeout_s: float

    def __str__(self) -> str:
        return (
            f"function {self.function!r} has not returned for {self.timeout_s:g} s, so that its "
            f"server cannot stop; try again, or end the process"
        )


class LinkInUseError(CouplerError):
    """A link is used or closed while one of its calls waits."""

    def __str__(self) -> str:
        return (
            "a call of this link waits, in another thread or below the handler of a signal; use "
            "and close a link in one thread, and let a handler raise instead of closing it"
        )


@dataclass
class RecordingError(CouplerError):
    """A file cannot be used as a recording.

    Attributes:
        path: The file.
        reason: What is wrong with it.
        remedy: What would work.
    """

    path: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"recording {self.path}: {self.reason}. {self.remedy}."


@dataclass
class ScheduleError(CouplerError):
    """A line of a playback schedule makes no sense.

    Attributes:
        line: Number of the line, from 1.
        text: The line.
        reason: What is wrong with it.
    """

    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"schedule, line {self.line}: {self.reason}: {self.text!r}"


@dataclass
class DecoderConfigError(CouplerError):
    """A decoder configuration cannot be used.

    Attributes:
        line: Where, from 1.
        reason: What is wrong.
    """

    line: int
    reason: str

    def __str__(self) -> str:
        return f"decoder configuration, line {self.line}: {self.reason}"


@dataclass
class DecoderEndpointsError(CouplerError):
    """A decode server was given neither one endpoint for all decoders nor one for each.

    Attributes:
        n_endpoints: How many endpoints.
        n_decoders: How many decoders.
    """

    n_endpoints: int
    n_decoders: int

    def __str__(self) -> str:
        return (
            f"{self.n_endpoints} endpoints for {self.n_decoders} decoders; give one for all of "
            f"them, or {self.n_decoders}, one for each"
        )


@dataclass
class PlaybackError(CouplerError):
    """A schedule cannot be played with what was given.

    Attributes:
        reason: What is missing or impossible, and what would work.
    """

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass
class SourceError(CouplerError):
    """A source of syndromes cannot be read or made.

    Attributes:
        source: What it is, for example "syndromes, line 3".
        reason: What is wrong with it, and what would work.
    """

    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


@dataclass
class MemoryExperimentError(CouplerError):
    """A memory experiment cannot be made or replayed as asked for.

    Attributes:
        what: Name of the argument, or of the file.
        reason: What is wrong with it.
        remedy: What would work.
    """

    what: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"memory experiment, {self.what}: {self.reason}. {self.remedy}."
