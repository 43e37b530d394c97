"""QPUs that a scheduler gives to a job, through QRMI: `machine="qrmi"` or `"qrmi:NAME"`.

Programs are lowered here, for the device that the resource reports, and sent as Pulser sequences;
they come back as counts of measured atoms.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cudaq_target import telemetry
from cudaq_target.cloud import environment
from cudaq_target.cloud.errors import (
    CredentialsError,
    JobFailedError,
    JobLostError,
    SessionError,
)
from cudaq_target.cloud.pace import Pace
from cudaq_target.cloud.qrmi_link import QrmiLink
from cudaq_target.device import device_from_json, rules
from cudaq_target.errors import (
    DeviceLimitError,
    MachineError,
    MachineUnavailableError,
    OptionError,
    UnsuitableDeviceError,
)
from cudaq_target.locks import ForkSafeLock
from cudaq_target.machines import job_records
from cudaq_target.machines.cloud import ANY_DEVICE, RYDBERG_ONLY
from cudaq_target.machines.counters import counter_of, shots_of_counter
from cudaq_target.machines.jobs import JobNote, JobStatus, Seen
from cudaq_target.machines.remote import Measured, check_device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.device import PulserDevice
    from cudaq_target.machines.remote import Kind, Task
    from cudaq_target.options import Options

# An answer that the resource takes jobs holds for so long (s).
_ACCESSIBLE_S: Final = 10.0
# The first pauses between looks at a task (s): services beside the QPU answer in milliseconds.
_FIRST_PAUSE_S: Final = 0.002
_STATES: Final[Mapping[str, JobStatus]] = {
    "Queued": "PENDING",
    "Running": "RUNNING",
    "Completed": "DONE",
    "Failed": "ERROR",
    "Cancelled": "CANCELED",
    # Words of services that QRMI has none for.
    "PAUSED": "PENDING",
    "CANCELING": "RUNNING",
    "TIMED_OUT": "TIMED_OUT",
}


def open_qrmi(options: Options) -> QrmiMachine:
    """Make the machine that the options name; see `options.REMOTE_FORMS`.

    Raises:
        JobEnvironmentError: This job has no such resource.
        CredentialsError: Credentials are missing, or readable for others.
    """
    return QrmiMachine(
        environment.resource(options.machine),
        timeout_s=options.machine_timeout_s,
        poll_s=options.machine_poll_s,
    )


class QrmiMachine:
    """Runs programs on a resource of this job; see `machines.remote` and `machines.jobs`."""

    default_shots: int | None = None

    def __init__(
        self,
        resource: environment.Resource,
        *,
        timeout_s: float = 30.0,
        poll_s: float | None = None,
    ) -> None:
        """Send nothing yet.

        Args:
            resource: The QPU.
            timeout_s: How long its service may be silent (s); jobs may take as long as they take.
            poll_s: Time between looks at a job (s); None for 2 ms that grow to 2 s.

        Raises:
            JobEnvironmentError: QRMI is not installed, or does not take the settings.
        """
        self.name = resource.machine
        self._link = QrmiLink(resource, timeout_s=timeout_s)
        self._timeout_s, self._poll_s = timeout_s, poll_s
        self._device: PulserDevice | None = None
        self._accessible_s: float | None = None
        self._others: dict[str, QrmiMachine] = {}
        self._lock = ForkSafeLock()

    @property
    def resource(self) -> environment.Resource:
        """What is behind the machine."""
        return self._link.resource

    def device(self, kind: Kind) -> PulserDevice:
        """Report the device; see `machines.remote.RemoteMachine`."""
        device = self._device
        if device is None:
            device = self._device = self._reported()
        if kind == "gate":
            if self.resource.type == "pasqal-cloud" and self.resource.name in RYDBERG_ONLY:
                raise UnsuitableDeviceError(
                    self.name,
                    "it emulates the Rydberg levels alone, gate kernels need the qubit levels",
                    "Use EMU_FREE or machine='local' for gate kernels",
                )
            rules(device)  # refuses a device without the channels
        return device

    def measure(self, task: Task, n_shots: int, *, seed: int) -> Measured:
        """Run a task; see `machines.remote.RemoteMachine`. QRMI takes no seed."""
        return self.measure_all([task], n_shots, seeds=[seed])[0]

    def measure_all(
        self,
        tasks: Sequence[Task],
        n_shots: int,
        *,
        seeds: Sequence[int],  # noqa: ARG002 - QRMI takes none
    ) -> list[Measured]:
        """Run tasks that wait in the queue together; see `machines.remote.RemoteMachine`."""
        sequences = [self._sequence(task, n_shots) for task in tasks]
        notes = [
            JobNote(uuid.uuid4().hex, self.name, task.name, n_shots, task.n_bits, task.columns)
            for task in tasks
        ]
        sent: list[JobNote] = []
        try:
            for note, sequence in zip(notes, sequences, strict=True):
                sent.append(replace(note, place=self._sent(sequence, note)))
        except BaseException as error:  # Ctrl-C, too, must not leave some of the jobs behind
            going_on = self._cancel_all(sent)
            if going_on:
                error.add_note(f"Jobs that were sent before go on: {', '.join(going_on)}")
            raise
        try:
            return [self._measured(sent[k:]) for k in range(len(sent))]
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            self._cancel_all(sent)
            raise

    def send(self, task: Task, note: JobNote) -> Mapping[str, str]:
        """Send a job; see `machines.jobs.JobMachine`."""
        return self._sent(self._sequence(task, note.n_shots), note)

    def seen(self, note: JobNote) -> Seen:
        """Ask how far a job is; see `machines.jobs.JobMachine`."""
        machine, job = self._of(note)
        word = machine._link.state(job)
        status = _STATES.get(word)
        if status is None:
            raise JobLostError(
                machine.name,
                job,
                f"it is in state {word}, which we do not know",
                "Ask again later, or ask the operator",
            )
        return Seen(status, machine._link.logs(job) if status == "ERROR" else "")

    def fetched(self, note: JobNote) -> NDArray[np.uint64]:
        """Fetch a result; see `machines.jobs.JobMachine`."""
        machine, job = self._of(note)
        return shots_of_counter(counter_of(machine._link.result(job), note), note)

    def cancel(self, note: JobNote) -> Seen:
        """End a job; see `machines.jobs.JobMachine`."""
        machine, job = self._of(note)
        machine._link.stop(job, note.program)
        return self.seen(note)

    def close(self) -> None:
        """End a session that was opened here; see `machines.remote.RemoteMachine`."""
        with self._lock:
            others, self._others = list(self._others.values()), {}
        for other in others:
            other.close()
        if self.resource.session is not None:
            telemetry.session(self.name, is_active=False)
        self._link.close()

    def _reported(self) -> PulserDevice:
        self._check_accessible()
        text = self._link.target()
        try:
            entries: list[Any] = json.loads(text)
            known = {str(entry["device_type"]): str(entry["specs"]) for entry in entries}
        except (ValueError, TypeError, KeyError) as error:
            raise MachineUnavailableError(
                self.name,
                f"what it reports as its device is none ({type(error).__name__})",
                "Tell the operator of the QPU",
            ) from error
        specs = known.get(self.resource.name)
        if specs is None and len(known) == 1:
            (specs,) = known.values()
        if specs is None:
            raise MachineUnavailableError(
                self.name,
                f"it reports {len(known)} devices ({', '.join(known)}), none of its name",
                "Tell the operator of the QPU",
            )
        telemetry.specs(self.name, specs)
        return device_from_json(specs, f"device of machine {self.name}")

    def _check_accessible(self) -> None:
        now_s = time.monotonic()
        if self._accessible_s is None or now_s - self._accessible_s > _ACCESSIBLE_S:
            self._link.check_accessible()
            self._accessible_s = now_s

    def _sequence(self, task: Task, n_shots: int) -> str:
        """Lower a task; refuses what the device cannot run before anything is sent."""
        reported = self.device(task.kind)
        resource = self.resource
        if not (resource.type == "pasqal-cloud" and resource.name in ANY_DEVICE):
            check_device(self.name, task.lowered().rules.pulser_device, reported)
        most = reported.max_runs
        if most is not None and n_shots > most:
            raise DeviceLimitError(
                f"{n_shots} shots of {task.name}",
                f"at most {most} shots of one job",
                self.name,
                "Ask for fewer, and add up the results of several calls",
            )
        return task.to_json()

    def _sent(self, sequence: str, note: JobNote) -> dict[str, str]:
        self._check_accessible()
        job = self._link.start(sequence, note.n_shots, name=note.id, program=note.program)
        resource = self.resource
        if resource.session is not None:
            telemetry.session(self.name, is_active=True)
        return {"job": job, "resource": resource.name, "service": resource.service}

    def _measured(self, notes: Sequence[JobNote]) -> Measured:
        """Wait for the first of these jobs for as long as it takes."""
        note = notes[0]
        pace = Pace(shortest_s=_FIRST_PAUSE_S, fixed_s=self._poll_s)
        job = note.place["job"]
        try:
            with telemetry.waiting() as wait:
                while not (seen := self.seen(note)).has_ended:
                    wait.seen(seen.status)
                    pace.pause()
            if seen.status != "DONE":
                raise JobFailedError(self.name, job, seen.status, seen.reason)
            with telemetry.phase("fetch"):
                packed = self.fetched(note)
        except (MachineUnavailableError, CredentialsError, SessionError) as error:
            raise self._lost(notes, error) from error
        origin = {"remote_machine": self.name, "resource_type": self.resource.type}
        return Measured(packed, job, origin)

    def _lost(self, notes: Sequence[JobNote], error: MachineError) -> JobLostError:
        """Leave records of jobs that go on while nobody waits for them."""
        job, reason = notes[0].place["job"], str(getattr(error, "reason", error))
        ids = ", ".join(note.place["job"] for note in notes)
        remedy = f"Nothing was sent again, and these jobs go on: {ids}"
        with contextlib.suppress(OptionError):  # nowhere to write to
            for note in notes:
                job_records.write(job_records.JobRecord(note, status="RUNNING"))
            ids = ", ".join(note.id for note in notes)
            remedy = (
                "Nothing was sent again. Fetch what goes on later with `cudaq-target fetch ID` or "
                f"Job.load(ID): {ids}"
            )
        return JobLostError(self.name, job, reason, remedy)

    def _cancel_all(self, notes: Sequence[JobNote]) -> list[str]:
        """End what was sent; returns what goes on, because the service cannot end it."""
        going_on = []
        for note in notes:
            job = note.place["job"]
            try:
                self._link.stop(job, note.program)
            except MachineError:
                going_on.append(job)
        return going_on

    def _of(self, note: JobNote) -> tuple[QrmiMachine, str]:
        """Return the machine that has a job, and its name of it.

        A job of another resource of ours is asked for there: `machine="qrmi"` need not mean the
        same resource in the process that fetches.

        Raises:
            OptionError: It was sent to a service that is not that of the resource here.
        """
        name = note.place.get("resource", self.resource.name)
        machine = self if name == self.resource.name else self._other(name)
        service = note.place.get("service", machine.resource.service)
        if service != machine.resource.service:
            raise OptionError(
                f"job {note.id!r}",
                f"it was sent to {service}, resource {name!r} is {machine.resource.service} here",
                "Ask for it where it was sent from",
            )
        return machine, note.place["job"]

    def _other(self, name: str) -> QrmiMachine:
        with self._lock:
            found = self._others.get(name)
        if found is not None:
            return found
        resource = environment.resource(f"{environment.MACHINE}:{name}")
        made = QrmiMachine(resource, timeout_s=self._timeout_s, poll_s=self._poll_s)
        with self._lock:
            return self._others.setdefault(name, made)
