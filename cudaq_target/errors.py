"""Everything this package raises on purpose.

One root, one frozen-field dataclass per failure. A message says what failed in the user's words,
which limit was met (number and unit), and what would work.
"""

from __future__ import annotations

from dataclasses import dataclass


class TargetError(Exception):
    """Root of all errors that the target raises on purpose."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where in the user's program something was written.

    Attributes:
        kernel: Name of the kernel as the user wrote it.
        line: Line number in the user's file, or None where CUDA-Q keeps none.
        file: Path of the user's file, or None (REPL, builder kernels).
    """

    kernel: str
    line: int | None = None
    file: str | None = None

    def __str__(self) -> str:
        return self.kernel if self.line is None else f"{self.kernel}, line {self.line}"


@dataclass
class UnsupportedKernelError(TargetError):
    """A kernel uses something that a neutral-atom machine cannot do, or that we do not lower.

    Attributes:
        source: Kernel and line.
        construct: What was used, for example "mid-circuit measurement of qubit 0".
        reason: Why it cannot run.
        remedy: What would work.
    """

    source: Source
    construct: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.source}: {self.construct} cannot run here: {self.reason}. {self.remedy}"


@dataclass
class DeviceLimitError(TargetError):
    """A program needs more than the device offers.

    Attributes:
        subject: What was asked for, in the user's words.
        limit: The limit, with number and unit.
        device: Name of the device.
        remedy: What would work.
    """

    subject: str
    limit: str
    device: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.device} allows {self.limit}. {self.remedy}"


@dataclass
class UnsuitableDeviceError(TargetError):
    """A device lacks the channels that a program needs.

    Attributes:
        device: Name of the device.
        reason: Which channel is missing and what it is needed for.
        remedy: What would work.
        purpose: Kind of the program.
    """

    device: str
    reason: str
    remedy: str
    purpose: str = "gate kernels"

    def __str__(self) -> str:
        return f"{self.device} cannot run {self.purpose}: {self.reason}. {self.remedy}"


@dataclass
class OptionError(TargetError):
    """An option is unknown or has a value that is not allowed.

    Attributes:
        option: Name of the option, or a phrase such as "device 'Foo'".
        reason: What is wrong with it.
        remedy: The nearest known option, or the allowed values.
    """

    option: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.option}: {self.reason}. {self.remedy}"


@dataclass
class EventFileError(TargetError):
    """A file is no file of a loop's events.

    Attributes:
        path: The file.
        line: Number of the line, from 1; 0 for the whole file.
        reason: What is wrong with it.
    """

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        where = f"{self.path}, line {self.line}" if self.line else self.path
        return (
            f"{where} {self.reason}; give the file that a loop wrote, for example "
            "`cudaq-target loop vqe --events FILE`"
        )


@dataclass
class MemoryLimitError(TargetError):
    """A program would not fit into memory; refused before the machine swaps.

    Attributes:
        needed_bytes: Predicted peak use (bytes).
        available_bytes: What the process may still allocate (bytes).
        n_qubits: Number of qubits of the program.
        remedy: What would work.
        n_shots: Number of shots, where these need the memory.
    """

    needed_bytes: int
    available_bytes: int
    n_qubits: int
    remedy: str
    n_shots: int | None = None

    def __str__(self) -> str:
        shots = "" if self.n_shots is None else f"{self.n_shots} shots of "
        return (
            f"emulating {shots}{self.n_qubits} qubits needs {_in_gib(self.needed_bytes)}, "
            f"{_in_gib(self.available_bytes)} are available. {self.remedy}"
        )


def _in_gib(n_bytes: int) -> str:
    """Write a number of bytes; states of hundreds of qubits are beyond any float."""
    if n_bytes < 1 << 60:
        return f"{n_bytes / 2**30:.1f} GiB"
    return f"2^{n_bytes.bit_length() - 31} GiB"


@dataclass
class PulseNotFoundError(TargetError):
    """No pulse within the device's limits performs a CPhase at this distance.

    Attributes:
        interaction_rad_per_us: Pair interaction V = C6/R^6 (rad/µs).
        theta_rad: Wanted phase (rad).
        longest_ns: Longest pulse that was tried (ns).
        device: Name of the device.
        remedy: What would work.
    """

    interaction_rad_per_us: float
    theta_rad: float
    longest_ns: int
    device: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"CPhase({self.theta_rad:.4f} rad) at interaction "
            f"{self.interaction_rad_per_us:.4g} rad/µs: no pulse up to {self.longest_ns} ns within "
            f"the limits of {self.device}. {self.remedy}"
        )


@dataclass
class SequenceError(TargetError):
    """Pulser does not accept a pulse program, or would play it at other times.

    Attributes:
        device: Name of the device.
        subject: Which pulse or part of the program.
        problem: What Pulser does instead, or says.
        remedy: What would work.
    """

    device: str
    subject: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.subject} on {self.device}: {self.problem}. {self.remedy}"


@dataclass
class HostError(TargetError):
    """CUDA-Q is missing or of a version this package was not tested with.

    Attributes:
        problem: What was found.
        remedy: The exact command that helps.
    """

    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem}. {self.remedy}"


@dataclass
class UnsupportedProgramError(TargetError):
    """A pulse program holds something that the embedded emulator has no exact propagator for.

    Attributes:
        subject: The place in the program, for example "atom 3 at 420 ns".
        reason: Why it cannot be emulated.
        remedy: What would work.
    """

    subject: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.subject} cannot be emulated: {self.reason}. {self.remedy}"


@dataclass
class WaveformError(TargetError):
    """Points given for an amplitude, a detuning or a phase are no such thing.

    Attributes:
        waveform: Which one, in the user's words.
        reason: What is wrong with it.
        remedy: What would work.
        time_ns: Where in time (ns), or None.
        atoms: Which atoms are concerned, where not all are.
    """

    waveform: str
    reason: str
    remedy: str
    time_ns: float | None = None
    atoms: tuple[int, ...] = ()

    def __str__(self) -> str:
        at = "" if self.time_ns is None else f" at {self.time_ns:g} ns"
        return f"{self.waveform}{at}: {self.reason}. {self.remedy}"


@dataclass
class RegisterError(TargetError):
    """Positions given for atoms are no register of any device.

    Attributes:
        reason: What is wrong with them.
        remedy: What would work.
        sites: Which sites are concerned.
    """

    reason: str
    remedy: str
    sites: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"register: {self.reason}. {self.remedy}"


@dataclass
class AnalogLimitError(DeviceLimitError):
    """An analog program asks for more, or less, than the device offers.

    Attributes:
        time_ns: Where in time (ns), or None.
        atoms: Which atoms, where not all.
        value: What was asked for, in the unit of the limit.
        nearest: The nearest value that the device accepts, same unit.
    """

    time_ns: float | None = None
    atoms: tuple[int, ...] = ()
    value: float | None = None
    nearest: float | None = None


@dataclass
class MachineError(TargetError):
    """Root of what happens with a machine outside of this process.

    Attributes:
        machine: Its name, as `machine=` took it.
    """

    machine: str


@dataclass
class MachineUnavailableError(MachineError):
    """The machine does not answer, or has no room.

    Attributes:
        reason: What was seen, with the time that was waited.
        remedy: What would work.
        n_received: Shots that had come before.
        n_shots: Shots that were asked for; 0 where nothing was measured yet.
    """

    reason: str
    remedy: str
    n_received: int = 0
    n_shots: int = 0

    def __str__(self) -> str:
        shots = f"; {self.n_received} of {self.n_shots} shots had come" if self.n_shots else ""
        return f"machine {self.machine}: {self.reason}{shots}. {self.remedy}"


@dataclass
class MachineRefusedError(MachineError):
    """The machine does not run this program.

    Attributes:
        program: What was asked for, in the user's words.
        reason: In the machine's words.
    """

    program: str
    reason: str

    def __str__(self) -> str:
        return f"machine {self.machine} refuses {self.program}: {self.reason}"


@dataclass
class RunFailedError(MachineError):
    """The machine ended a run before its last shot.

    Attributes:
        job_id: The run.
        reason: In the machine's words.
        n_received: Shots that came.
        n_shots: Shots that were asked for.
    """

    job_id: str
    reason: str
    n_received: int
    n_shots: int

    def __str__(self) -> str:
        return (
            f"machine {self.machine}: run {self.job_id} ended after {self.n_received} of "
            f"{self.n_shots} shots: {self.reason}"
        )
