"""Jobs that outlive the process which sent them: what a machine does for `cudaq_target.jobs`.

To let `submit` reach a remote machine, give its class the three methods of `JobMachine` beside
those of `machines.remote.RemoteMachine`. `jobs` keeps the record: it is written with the job's own
id before `send`, and once more with what `send` returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.machines.remote import Task

JobStatus: TypeAlias = Literal["PENDING", "RUNNING", "DONE", "ERROR", "CANCELED", "TIMED_OUT"]
ENDED: Final[frozenset[str]] = frozenset({"DONE", "ERROR", "CANCELED", "TIMED_OUT"})


@dataclass(frozen=True, slots=True)
class JobNote:
    """What is needed to ask for a job from another process; no program, and no secret.

    Attributes:
        id: Our name of the job, chosen before it is sent; a machine that takes names is sent it.
        machine: Name of the machine, as `machine=` takes it.
        program: What the user calls the program.
        n_shots: Shots that were asked for.
        n_bits: Bits of a shot.
        columns: Bit k of a shot is measured atom `columns[k]`.
        place: What the machine calls the job, by words of its own; empty until it is sent.
    """

    id: str
    machine: str
    program: str
    n_shots: int
    n_bits: int
    columns: tuple[int, ...]
    place: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a machine says of a job.

    Attributes:
        status: Its state.
        reason: Why it failed, in the machine's words; "" otherwise.
    """

    status: JobStatus
    reason: str = ""

    @property
    def has_ended(self) -> bool:
        """Nothing changes any more."""
        return self.status in ENDED


@runtime_checkable
class JobMachine(Protocol):
    """What a remote machine does for jobs; a job is sent once, whatever happens."""

    def send(self, task: Task, note: JobNote) -> Mapping[str, str]:
        """Send a job, once.

        Args:
            task: What to run.
            note: How it is called, and how many shots; its `place` is empty.

        Returns:
            The `place` of the job.

        Raises:
            SubmissionError: No answer came, so that the job may have been accepted.
            MachineError: It was not accepted, or the machine does not answer at all.
            TargetError: The device of the machine cannot run the task.
        """
        ...

    def seen(self, note: JobNote) -> Seen:
        """Ask how far a job is.

        Raises:
            MachineError: Of the kind that says what failed.
        """
        ...

    def fetched(self, note: JobNote) -> NDArray[np.uint64]:
        """Fetch the result of a job that is done.

        Returns:
            Packed shots, shape (n_shots, ceil(n_bits / 64)); see `machines.counters`.

        Raises:
            UnreadableResultError: It is none.
            MachineError: Of the kind that says what failed.
        """
        ...

    def cancel(self, note: JobNote) -> Seen:
        """End a job.

        Returns:
            How it is now: canceled, or how it had ended before.

        Raises:
            MachineRefusedError: The machine cannot cancel jobs.
            MachineError: Of the kind that says what failed.
        """
        ...


@runtime_checkable
class Finder(Protocol):
    """A machine that can look for a job by our name, where no answer came when it was sent."""

    def found(self, note: JobNote) -> Mapping[str, str] | None:
        """Look for a job.

        Returns:
            Its `place`, or None where the machine does not know it.
        """
        ...
