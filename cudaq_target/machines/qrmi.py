"""QPUs that a scheduler gives to a job, through QRMI: `machine="qrmi"` or `"qrmi:NAME"`.

Programs are lowered here, for the device that the resource reports, and sent as Pulser sequences;
they come back as counts of measured atoms.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cudaq_target import telemetry
from cudaq_target.cloud import environment
from cudaq_target.cloud.errors import (
    JobLostError,
)
from cudaq_target.cloud.qrmi_link import QrmiLink
from cudaq_target.device import device_from_json
from cudaq_target.errors import (
    MachineError,
    MachineUnavailableError,
    OptionError,
)
from cudaq_target.machines.counters import counter_of, shots_of_counter
from cudaq_target.machines.jobs import JobNote, JobStatus, Seen
from cudaq_target.machines.queued import QueuedMachine
from cudaq_target.machines.remote import Measured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.device import PulserDevice
    from cudaq_target.machines.remote import Task
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


class QrmiMachine(QueuedMachine):
    """Runs programs on a resource of this job; see `machines.remote` and `machines.jobs`."""

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
        super().__init__(resource.machine, poll_s=poll_s, first_pause_s=_FIRST_PAUSE_S)
        self._link = QrmiLink(resource, timeout_s=timeout_s)
        self._timeout_s = timeout_s
        self._accessible_s: float | None = None
        self._others: dict[str, QrmiMachine] = {}

    @property
    def resource(self) -> environment.Resource:
        """What is behind the machine."""
        return self._link.resource

    @property
    def device_type(self) -> str:
        """The cloud's name of the device, for a resource that is one of the cloud."""
        resource = self.resource
        return resource.name if resource.type == "pasqal-cloud" else ""

    def measure_all(
        self,
        tasks: Sequence[Task],
        n_shots: int,
        *,
        seeds: Sequence[int],  # noqa: ARG002 - QRMI takes none
    ) -> list[Measured]:
        """Run tasks that wait in the queue together; see `machines.remote.RemoteMachine`."""
        sequences = [self._sequence(task, n_shots) for task in tasks]
        notes = [self._note(task, n_shots) for task in tasks]
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

    def _sent(self, sequence: str, note: JobNote) -> dict[str, str]:
        self._check_accessible()
        job = self._link.start(sequence, note.n_shots, name=note.id, program=note.program)
        resource = self.resource
        if resource.session is not None:
            telemetry.session(self.name, is_active=True)
        return {"job": job, "resource": resource.name, "service": resource.service}

    def _origin(self, note: JobNote) -> Mapping[str, object]:  # noqa: ARG002 - the same for all
        return {"remote_machine": self.name, "resource_type": self.resource.type}

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
