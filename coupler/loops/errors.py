"""What can go wrong in a feedback loop, beyond the errors of links and calls."""

from __future__ import annotations

from dataclasses import dataclass

from cudaq_target.coupler.errors import CouplerError


class LoopError(CouplerError):
    """A feedback loop cannot go on."""


@dataclass
class ExperimentError(LoopError):
    """A policy asked for what the program or the machine cannot do; nothing was sent.

    Attributes:
        what: Which part of the experiment.
        found: What it is.
        expected: What would work.
    """

    what: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"the experiment's {self.what} {self.found}; {self.expected}"


@dataclass
class ProgramWidthError(LoopError):
    """The machine measures another number of bits than the loop's estimator takes.

    Attributes:
        setting: Which text of the program.
        measured: Bits per shot that the machine measures.
        expected: Bits per shot of the `LoopProgram`.
    """

    setting: int
    measured: int
    expected: int

    def __str__(self) -> str:
        return (
            f"setting {self.setting} measures {self.measured} bits per shot, the loop's program "
            f"says {self.expected}; give LoopProgram the n_bits that the machine measures"
        )


@dataclass
class MachineFailedError(LoopError):
    """The machine broke off a run; the shots that came before are in the estimate.

    Attributes:
        run: Number of the run in the loop.
        n_shots: Shots that came.
        n_wanted: Shots that were asked for.
        reason: In the machine's words.
    """

    run: int
    n_shots: int
    n_wanted: int
    reason: str

    def __str__(self) -> str:
        return (
            f"the machine failed in run {self.run} after {self.n_shots} of {self.n_wanted} shots: "
            f"{self.reason or 'it gives no reason'}"
        )


@dataclass
class LoopUsedError(LoopError):
    """A loop runs once.

    Attributes:
        name: Of the loop.
    """

    name: str

    def __str__(self) -> str:
        return f"loop {self.name!r} has run already; make another one, its policy is at its end"


@dataclass
class LoopRecordError(LoopError):
    """A file is no whole record of a loop.

    Attributes:
        path: The file.
        reason: What is wrong.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} is no record of a loop that can be replayed: {self.reason}"


@dataclass
class ReplayError(LoopError):
    """A replayed loop decided otherwise than the recorded one.

    Attributes:
        run: Number of the run.
        what: What differs.
        recorded: In the record.
        replayed: Now.
    """

    run: int
    what: str
    recorded: object
    replayed: object

    def __str__(self) -> str:
        return (
            f"run {self.run}: {self.what} was {self.recorded} in the record and is {self.replayed} "
            "now; replay with an estimator and a policy made as those of the recorded loop were"
        )


@dataclass
class UndecidableError(LoopError):
    """A loop's decisions cannot be taken by compiled code.

    Attributes:
        part: Estimator or policy.
        reason: Why not.
    """

    part: str
    reason: str

    def __str__(self) -> str:
        return f"compiled code cannot decide for this {self.part}: {self.reason}; leave out decide="


@dataclass
class CalibrationError(CouplerError):
    """A calibration was given what it cannot use.

    Attributes:
        subject: What.
        found: What was found.
        remedy: What would work.
    """

    subject: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.subject} {self.found}; {self.remedy}"


@dataclass
class OptimiserError(CouplerError):
    """An optimiser was given what it cannot use.

    Attributes:
        subject: What: an argument, a point, an estimate.
        found: What was found.
        remedy: What would work.
    """

    subject: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.subject} {self.found}; {self.remedy}"
