"""Jobs: programs that run while nobody waits, and whose results any process can fetch.

A job is sent once. Its record is on disk before anything is sent, so that no job is forgotten,
whatever happens to this process or to the line. On a machine in this process a job has ended when
`submit` returns. A controller stops a run that nobody takes shots from, so a process of its own
takes them there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cudaq_target import telemetry
from cudaq_target.analog.program import AnalogProgram, read_sequence
from cudaq_target.cloud.errors import JobFailedError, JobLostError, JobTimeoutError, SubmissionError
from cudaq_target.cloud.pace import Pace
from cudaq_target.coupler.interrupts import interruptible
from cudaq_target.errors import MachineUnavailableError, OptionError, TargetError
from cudaq_target.machines import job_processes, job_records
from cudaq_target.machines.here import measured_here
from cudaq_target.machines.job_records import JobRecord
from cudaq_target.machines.jobs import Finder, JobMachine, JobNote
from cudaq_target.machines.remote import Task, check_device, machine_for
from cudaq_target.options import Options, remote_form, resolve
from cudaq_target.program import Program
from cudaq_target.shots import Shots
from cudaq_target.target import active

if TYPE_CHECKING:
    from pathlib import Path

    import pulser

_LOG = logging.getLogger(__name__)
_TRACE: Final = "traceparent"  # of the settings that a record keeps
_ENDS: Final = {"DONE": "done", "CANCELED": "canceled"}
# What another process needs to reach the machine; none of it is a secret itself.
_KEPT: Final = ("machine_timeout_s", "machine_secret", "machine_server_key", "seed")


def submit(
    program: Program | AnalogProgram | pulser.Sequence,
    n_shots: int,
    machine: str | None = None,
    **settings: Any,  # noqa: ANN401 - options of several types
) -> Job:
    """Send a program to a machine, once, and do not wait for it.

    Args:
        program: From `cudaq_target.compile`, from a file, or an analog `pulser.Sequence`.
        n_shots: Number of shots, at least 1.
        machine: As for `Pasqal`; by default that of the target in force, else as set in the
            environment and settings files.
        **settings: Other options of `Pasqal`, where `machine` is given or no target is in force.

    Returns:
        The job; its record is on disk.

    Raises:
        SubmissionError: No answer came, so that it may have been accepted; the record is kept.
        MachineError: It was not accepted.
        TargetError: The machine cannot run the program, or an option is not allowed.

    >>> import tempfile, os
    >>> os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()
    >>> from cudaq_target.analog.model import AnalogSpec, Waveform
    >>> from cudaq_target.analog.program import build
    >>> program = build(AnalogSpec.of([(0, 0)], Waveform([0, 500], [0, 0])))
    >>> submit(program, 5, machine="local").result().counts()
    {'0': 5}
    """
    given = _as_program(program)
    if not isinstance(n_shots, int) or isinstance(n_shots, bool) or n_shots < 1:
        raise OptionError(
            f"n_shots {n_shots!r}", "not allowed", "Give a whole number of at least 1"
        )
    options = _options(machine, settings)
    record = _new_record(given, n_shots, options)
    if remote_form(options.machine) is None:
        return _run_here(given, record, options)
    there = machine_for(options)
    assert there is not None, "the form is known"
    task = Task.of(given)
    if isinstance(there, JobMachine):
        return _send(there, task, record)
    check_device(options.machine, given.rules.pulser_device, there.device(task.kind))
    path = job_records.write(dataclasses.replace(record, status="RUNNING"))
    job_processes.start(path, given.to_json())
    return Job.load(path)


class Job:
    """A job that was submitted; the same one may be held by several processes."""

    def __init__(self, record: JobRecord, path: Path) -> None:
        """Hold a job; use `submit` or `Job.load`.

        Args:
            record: What is known of it.
            path: Where that is kept.
        """
        self._record, self._path = record, path

    def __repr__(self) -> str:
        note = self._record.note
        return (
            f"<Job {note.id}: {note.n_shots} shots of {note.program} on {note.machine}, "
            f"{self._record.status} when seen last>"
        )

    @staticmethod
    def load(name: str | Path) -> Job:
        """Return a job that was submitted by any process of this user.

        Args:
            name: Its id or the beginning of it, the machine's id, or the path of a saved record.

        Raises:
            OptionError: No such job, or more than one.
        """
        return Job(*job_records.read(name))

    @property
    def id(self) -> str:
        """Its name, chosen before it was sent."""
        return self._record.note.id

    @property
    def machine(self) -> str:
        """The machine."""
        return self._record.note.machine

    @property
    def machine_id(self) -> str | None:
        """What the machine calls it; None where it has no name there."""
        return self._record.note.place.get("job")

    @property
    def record(self) -> JobRecord:
        """What is known of it."""
        return self._record

    def status(self) -> str:
        """Ask how far it is.

        Returns:
            "PENDING", "RUNNING", "DONE", "ERROR", "CANCELED" or "TIMED_OUT".

        Raises:
            JobLostError: The machine does not answer, or does not know it.
            SubmissionError: It was sent, no answer came, and the machine does not list it.
            MachineError: Of the kind that says what failed.
        """
        if self._record.has_ended:
            return self._record.status
        if (home := self._home()) is not None:
            self._keep(job_processes.seen(self._record, home))
            return self._record.status
        try:
            there = self._there()
            seen = there.seen(self._record.note)
        except MachineUnavailableError as error:
            raise self._lost(error) from error
        self._keep(self._record.seen(seen.status, seen.reason))
        return self._record.status

    def result(self, timeout_s: float | None = None) -> Shots:
        """Wait for the shots.

        Args:
            timeout_s: How long (s), beside the time that a silent machine is given
                (`machine_timeout_s`); None for as long as it takes.

        Returns:
            All shots; bit k is kernel qubit k, or atom k. Machines that count outcomes do not say
            when each occurred: their shots are ordered by bit string.

        Raises:
            JobTimeoutError: The time is over. The job goes on.
            JobFailedError: It ended without a result.
            UnreadableResultError: What the machine gives as its result is none.
            MachineError: Of the kind that says what failed.
        """
        with interruptible():
            return self._waited(timeout_s)

    def cancel(self) -> str:
        """End it.

        Returns:
            How it is now: "CANCELED", or how it had ended before.

        Raises:
            MachineError: Of the kind that says what failed.
        """
        if self._record.has_ended:
            return self._record.status
        if (home := self._home()) is not None:
            self._keep(job_processes.cancel(self._record, home))
            return self._record.status
        try:
            seen = self._there().cancel(self._record.note)
        except MachineUnavailableError as error:
            raise self._lost(error) from error
        self._keep(self._record.seen(seen.status, seen.reason))
        return self._record.status

    def save(self, path: str | Path) -> Path:
        """Write a copy of the record, for `Job.load` elsewhere.

        Args:
            path: Where; readable for its owner alone.

        Raises:
            OptionError: It cannot be written.
        """
        from pathlib import Path  # noqa: PLC0415

        return job_records.write(self._record, Path(path))

    def _waited(self, timeout_s: float | None) -> Shots:
        if self._record.shots is not None:
            return self._record.shots
        note, trace = self._record.note, self._record.settings.get(_TRACE, "")
        with telemetry.task(note.machine, note.program, note.n_shots, traceparent=trace):
            if not self._record.has_ended:
                self._wait(timeout_s)
            if self._record.shots is not None:
                return self._record.shots
            if self._record.status != "DONE":
                status, reason = self._record.status, self._record.reason
                raise JobFailedError(self.machine, self.id, status, reason)
            with telemetry.phase("fetch"):
                return self._fetched()

    def _wait(self, timeout_s: float | None) -> None:
        """Return when it has ended."""
        pace = Pace()
        with telemetry.waiting() as wait:
            while True:
                status = self.status()
                if self._record.has_ended:
                    return
                wait.seen(status)
                left_s = None if timeout_s is None else timeout_s - pace.waited_s
                if left_s is not None and left_s <= 0.0:
                    raise JobTimeoutError(self.machine, self.id, pace.waited_s, status)
                pace.pause() if left_s is None else pace.pause(left_s)

    def _fetched(self) -> Shots:
        note = self._record.note
        try:
            packed = self._there().fetched(note)
        except MachineUnavailableError as error:
            raise self._lost(error) from error
        shots = Shots(packed, note.n_bits)
        self._keep(dataclasses.replace(self._record, shots=shots))
        return shots

    @property
    def _sent_s(self) -> float:
        """When it was recorded, before it was sent (s since the epoch)."""
        return datetime.fromisoformat(self._record.created_at).timestamp()

    def _has_ended(self) -> bool:
        """Whether it is known to have ended, without asking a machine."""
        if (home := self._home()) is not None:
            self._keep(job_processes.seen(self._record, home))
        return self._record.has_ended

    def _home(self) -> Path | None:
        """The record that the process of this job writes; None for a job without a process."""
        places = (self._path, job_records.path_of(self.id))
        return next((path for path in places if job_processes.is_one(path)), None)

    def _there(self) -> JobMachine:
        """The machine; a job whose sending brought no answer is looked for there."""
        note = self._record.note
        machine = machine_for(Options(machine=note.machine, **_known(self._record.settings)))
        if not isinstance(machine, JobMachine):
            raise OptionError(
                f"job {self.id!r}",
                f"machine {note.machine!r} keeps no jobs",
                "Submit the program again",
            )
        if not note.place:
            place = machine.found(note) if isinstance(machine, Finder) else None
            if place is None:
                raise SubmissionError(
                    self.machine, self.id, "no answer came, and it is not listed there",
                    "Look for this name on the machine before submitting again",
                )  # fmt: skip
            sent = dataclasses.replace(note, place=place)
            self._keep(dataclasses.replace(self._record, note=sent, status="PENDING"))
        return machine

    def _keep(self, record: JobRecord) -> None:
        """Remember what is known, on disk as well where that can be done."""
        if record is self._record or record == self._record:
            return
        if record.has_ended and not self._record.has_ended:
            n_shots = record.note.n_shots if record.status == "DONE" else 0
            telemetry.ended(self.machine, _ENDS.get(record.status, "failed"), n_shots)
        self._record = record
        try:
            job_records.write(record, self._path)
        except OptionError as error:
            _LOG.warning("%s", error)

    def _lost(self, error: MachineUnavailableError) -> JobLostError:
        return JobLostError(self.machine, self.id, error.reason)


def jobs() -> list[Job]:
    """Return the jobs of this user, the latest first."""
    return [Job(record, path) for path, record in job_records.records()]


def forget(name: str | Path, *, is_forced: bool = False) -> str:
    """Remove the record of a job that has ended, and its result with it.

    Args:
        name: As for `Job.load`.
        is_forced: Also of one that has not ended, as far as is known; it goes on, and only the
            machine knows of it then.

    Returns:
        The id.

    Raises:
        OptionError: No such job, more than one, or one that has not ended.
    """
    job = Job.load(name)
    if not (job._has_ended() or is_forced):
        raise OptionError(
            f"job {job.id!r}",
            f"it is {job.record.status} as last seen, and nobody could fetch it any more",
            f"Look with `cudaq-target status {job.id}`, cancel it, or force it",
        )
    job_records.remove(job._path)
    return job.id


def forget_finished(older_than_s: float = 0.0) -> list[str]:
    """Remove the records of all jobs of this user that have ended, as far as is known.

    No machine is asked: a job whose end nobody has seen is kept.

    Args:
        older_than_s: Only those that were submitted at least so long ago (s).

    Returns:
        The ids, the latest first.

    Raises:
        OptionError: The time is negative, or a record cannot be removed.
    """
    if not older_than_s >= 0.0:
        raise OptionError(f"older_than_s {older_than_s}", "no time", "Give seconds, 0 or more")
    now_s = time.time()
    ended = [job for job in jobs() if job._has_ended() and now_s - job._sent_s >= older_than_s]
    for job in ended:
        job_records.remove(job._path)
    return [job.id for job in ended]


def _send(machine: JobMachine, task: Task, record: JobRecord) -> Job:
    path = job_records.write(record)
    try:
        place = machine.send(task, record.note)
    except SubmissionError:
        raise
    except TargetError:
        with contextlib.suppress(OSError):
            path.unlink()  # nothing was accepted
        raise
    job = Job(record, path)
    note = dataclasses.replace(record.note, place=place)
    job._keep(dataclasses.replace(record, note=note, status="PENDING"))
    return job


def _run_here(program: Program | AnalogProgram, record: JobRecord, options: Options) -> Job:
    rng = np.random.default_rng(options.seed)
    shots, _ = measured_here(program, record.note.n_shots, options, rng)
    ended = dataclasses.replace(record, status="DONE", shots=shots)
    return Job(ended, job_records.write(ended))


def _new_record(program: Program | AnalogProgram, n_shots: int, options: Options) -> JobRecord:
    task = Task.of(program)
    measured = None
    if isinstance(program, Program):
        entries = {entry.qubit for entry in program.circuit.measurements}
        measured = tuple(sorted(entries)) or None
    kept = {name: getattr(options, name) for name in _KEPT}
    note = JobNote(
        _new_id(), options.machine, program.kernel, n_shots, task.n_bits, tuple(task.columns)
    )
    settings = {name: value for name, value in kept.items() if value is not None}
    trace = telemetry.carried().get("TRACEPARENT")
    if trace is not None:
        settings[_TRACE] = trace
    return JobRecord(note, measured=measured, settings=settings)


def _new_id() -> str:
    """A name that sorts by time, and that nobody else has."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:12]}"


def _options(machine: str | None, settings: dict[str, Any]) -> Options:
    session = active()
    if machine is None and session is not None:
        for name in settings:
            raise OptionError(
                f"option {name!r} of submit",
                "the target in force has its options already",
                "Give machine= as well, or set the target with this option",
            )
        return session.options
    return resolve({"machine": machine, **settings})


def _known(settings: Any) -> dict[str, Any]:  # noqa: ANN401 - of a record
    return {name: settings[name] for name in _KEPT if name in settings}


def _as_program(given: Any) -> Program | AnalogProgram:  # noqa: ANN401 - whatever the user gives
    if isinstance(given, Program | AnalogProgram):
        return given
    if type(given).__module__.startswith("pulser.sequence"):
        return read_sequence(given)
    raise OptionError(
        f"submit of {type(given).__name__}",
        "this is no program",
        "Compile a kernel first: submit(cudaq_target.compile(kernel, *args), n_shots)",
    )
