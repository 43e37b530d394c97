"""Pasqal Cloud as a machine: `machine="EMU_FREE"` and its other devices.

Programs are lowered here, for the device that the cloud reports, and sent as Pulser sequences. A
lone launch is a batch of its own. A launch that follows another one soon is taken for a loop: from
then on all share an open batch, which spares each of them the way to the head of the queue.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cudaq_target import telemetry
from cudaq_target.cloud.batches import OpenBatch, created
from cudaq_target.cloud.credentials import access
from cudaq_target.cloud.errors import (
    JobLostError,
    UnreadableResultError,
)
from cudaq_target.cloud.exchange import Exchange, ServiceRefusedError
from cudaq_target.cloud.pasqal import JobSpec, PasqalCloud
from cudaq_target.device import device_from_json, runs_gates
from cudaq_target.errors import (
    MachineError,
    MachineRefusedError,
    MachineUnavailableError,
    OptionError,
)
from cudaq_target.machines.counters import counter_of, shots_of_counter
from cudaq_target.machines.jobs import JobNote, JobStatus, Seen
from cudaq_target.machines.queued import RYDBERG_ONLY, QueuedMachine
from cudaq_target.machines.remote import Measured
from cudaq_target.options import CLOUD_DEVICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.device import PulserDevice
    from cudaq_target.machines.remote import Task
    from cudaq_target.options import Options

# A launch so soon after the last one is part of a loop (s).
_LOOP_S: Final = 60.0
# The cloud's words for states; what is not there is still under way.
_STATES: Final[Mapping[str, JobStatus]] = {
    "PENDING": "PENDING",
    "DONE": "DONE",
    "ERROR": "ERROR",
    "CANCELED": "CANCELED",
    "TIMED_OUT": "TIMED_OUT",
}


def open_cloud(options: Options) -> CloudMachine:
    """Make the machine that the options name; see `options.REMOTE_FORMS`.

    Raises:
        CredentialsError: They are missing, or readable for others.
    """
    return CloudMachine(
        options.machine, timeout_s=options.machine_timeout_s, poll_s=options.machine_poll_s
    )


class CloudMachine(QueuedMachine):
    """Runs programs on a device of the cloud; see `machines.remote` and `machines.jobs`."""

    def __init__(self, name: str, *, timeout_s: float = 30.0, poll_s: float | None = None) -> None:
        """Read the credentials; send nothing yet.

        Args:
            name: Device type.
            timeout_s: How long the cloud may be silent (s); jobs may take as long as they take.
            poll_s: Time between looks at a job (s); None for 20 ms that grow to 2 s.

        Raises:
            CredentialsError: They are missing, or readable for others.
        """
        super().__init__(name, poll_s=poll_s)
        given = access(name)
        self._cloud = PasqalCloud(Exchange(name, given, timeout_s=timeout_s), given.project_id)
        self._open: OpenBatch | None = None
        self._pid = os.getpid()
        self._last_s: float | None = None

    @property
    def device_type(self) -> str:
        """The device itself, after which the machine is named."""
        return self.name

    def measure_all(
        self,
        tasks: Sequence[Task],
        n_shots: int,
        *,
        seeds: Sequence[int],  # noqa: ARG002 - the cloud takes none
    ) -> list[Measured]:
        """Run tasks as jobs of one batch; see `machines.remote.RemoteMachine`."""
        specs = [JobSpec(n_shots, self._sequence(task, n_shots)) for task in tasks]
        notes = [self._note(task, n_shots) for task in tasks]
        tag = uuid.uuid4().hex
        try:
            places = self._submitted(specs, tasks[0].name, tag)
            notes = [replace(n, place=p) for n, p in zip(notes, places, strict=True)]
            return [self._measured(notes[k:]) for k in range(len(notes))]
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            self._cancel_all(notes, tag)
            raise
        finally:
            self._last_s = time.monotonic()

    def send(self, task: Task, note: JobNote) -> Mapping[str, str]:
        """Send a job in a batch of its own; see `machines.jobs.JobMachine`."""
        spec = JobSpec(note.n_shots, self._sequence(task, note.n_shots))
        try:
            batch = created(self._cloud, self.name, [spec], note.id)
        except ServiceRefusedError as error:
            raise MachineRefusedError(self.name, task.name, error.reason) from error
        return self._place(batch.id, batch.job_ids[0])

    def found(self, note: JobNote) -> Mapping[str, str] | None:
        """Look for a job by our name; see `machines.jobs.Finder`."""
        batch = self._cloud.find(note.id)
        return None if batch is None else self._place(batch.id, batch.job_ids[0])

    def seen(self, note: JobNote) -> Seen:
        """Ask how far a job is; see `machines.jobs.JobMachine`."""
        job_id = self._job_id(note)
        try:
            status = _STATES.get(self._cloud.status(job_id), "RUNNING")
            if status not in {"ERROR", "TIMED_OUT"}:
                return Seen(status)
            return Seen(status, "; ".join(self._cloud.job(job_id).errors))
        except ServiceRefusedError as error:
            raise self._unknown(note, error) from error

    def fetched(self, note: JobNote) -> NDArray[np.uint64]:
        """Fetch a result; see `machines.jobs.JobMachine`."""
        job_id = self._job_id(note)
        try:
            text = self._cloud.result(job_id)
        except ServiceRefusedError as error:
            raise UnreadableResultError(self.name, job_id, str(error)) from error
        if text is None:
            raise UnreadableResultError(self.name, job_id, "the cloud has none")
        return shots_of_counter(counter_of(text, note), note)

    def cancel(self, note: JobNote) -> Seen:
        """End a job; see `machines.jobs.JobMachine`."""
        # Refused where the job has ended meanwhile: then it is as it is.
        with contextlib.suppress(ServiceRefusedError):
            self._cloud.cancel(self._job_id(note))
        return self.seen(note)

    def close(self) -> None:
        """Close the open batch; see `machines.remote.RemoteMachine`."""
        with self._lock:
            batch, self._open = self._open, None
        if batch is not None and self._pid == os.getpid():
            batch.close()
            telemetry.session(self.name, is_active=False)
        self._cloud.close()

    def _reported(self) -> PulserDevice:
        specs = self._cloud.specs()
        if self.name not in specs:
            raise MachineUnavailableError(
                self.name,
                "the cloud offers this project no such device",
                f"It offers {', '.join(sorted(specs)) or 'none'}",
            )
        availability = self._cloud.availability(self.name)
        telemetry.specs(self.name, specs[self.name])
        telemetry.operational(self.name, is_operational=availability == "ACTIVE")
        if availability != "ACTIVE":
            raise MachineUnavailableError(
                self.name,
                f"the cloud reports it as {availability or 'unknown'}, not as ACTIVE",
                "Try again later, or use an emulator: machine='EMU_FREE'",
            )
        return device_from_json(specs[self.name], f"device of machine {self.name}")

    def _gate_machines(self) -> list[str]:
        try:
            specs = self._cloud.specs()
        except MachineError:  # the refusal is worth more than its advice
            return []
        others = (name for name in CLOUD_DEVICES if name in specs and name not in RYDBERG_ONLY)
        return [name for name in others if runs_gates(device_from_json(specs[name], name))]

    def _submitted(self, specs: Sequence[JobSpec], program: str, tag: str) -> list[dict[str, str]]:
        session = self._session()
        try:
            if session is not None:
                jobs = session.add(specs, tag)
                batch_id = session.id or ""
            else:
                batch = created(self._cloud, self.name, specs, tag)
                batch_id, jobs = batch.id, batch.job_ids
        except ServiceRefusedError as error:
            raise MachineRefusedError(self.name, program, error.reason) from error
        return [self._place(batch_id, job) for job in jobs]

    def _session(self) -> OpenBatch | None:
        """The open batch of a loop; None for a launch that stands alone."""
        with self._lock:
            if self._pid != os.getpid():  # that of a parent belongs to it
                self._open, self._last_s, self._pid = None, None, os.getpid()
            is_loop = self._last_s is not None and time.monotonic() - self._last_s < _LOOP_S
            if self._open is None and is_loop:
                self._open = OpenBatch(self._cloud, self.name)
                telemetry.session(self.name, is_active=True)
            return self._open

    def _origin(self, note: JobNote) -> Mapping[str, object]:
        return {"remote_machine": self.name, "batch_id": note.place["batch"]}

    def _cancel_all(self, notes: Sequence[JobNote], tag: str) -> None:
        """End what was sent, also where an interruption came before the answer."""
        with contextlib.suppress(MachineError):
            if not notes[0].place:
                if self._open is not None:
                    self._open.cancel_unseen()
                batch = self._cloud.find(tag)
                for name in () if batch is None else batch.job_ids:
                    self._cloud.cancel(name)
        for note in notes:
            if note.place:
                with contextlib.suppress(MachineError):
                    self._cloud.cancel(note.place["job"])

    def _place(self, batch_id: str, job_id: str) -> dict[str, str]:
        return {"batch": batch_id, "job": job_id, "cloud": self._cloud.core_url}

    def _job_id(self, note: JobNote) -> str:
        """The cloud's name of a job, where it is a job of this cloud."""
        there = note.place.get("cloud", self._cloud.core_url)
        if there != self._cloud.core_url:
            raise OptionError(
                f"job {note.id!r}",
                f"it was sent to {there}, these credentials are for {self._cloud.core_url}",
                "Set PASQAL_REGION or PASQAL_BASE_URL as they were",
            )
        return note.place["job"]

    def _unknown(self, note: JobNote, error: ServiceRefusedError) -> MachineError:
        return JobLostError(
            self.name,
            self._job_id(note),
            f"the cloud does not know it for this project ({error.reason})",
            "Check the id, PASQAL_PROJECT_ID and the account",
        )
