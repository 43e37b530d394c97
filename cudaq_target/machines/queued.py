"""Machines of a queue, here Pasqal Cloud and QRMI: what is the same whoever takes the jobs.

The machine reports its device once. A task is lowered here for that device, sent as a Pulser
sequence, waited for as long as it takes, and fetched as counts of measured atoms. Where the wait
ends without an answer, the jobs go on: each leaves a record, from which it is fetched later.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from cudaq_target import telemetry
from cudaq_target.cloud.errors import (
    CredentialsError,
    JobFailedError,
    JobLostError,
    SessionError,
)
from cudaq_target.cloud.pace import SHORTEST_S, Pace
from cudaq_target.device import rules
from cudaq_target.errors import (
    DeviceLimitError,
    MachineUnavailableError,
    OptionError,
    UnsuitableDeviceError,
)
from cudaq_target.locks import ForkSafeLock
from cudaq_target.machines import job_records
from cudaq_target.machines.jobs import JobNote
from cudaq_target.machines.remote import Measured, check_device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.device import PulserDevice
    from cudaq_target.machines.jobs import Seen
    from cudaq_target.machines.remote import Kind, Task

# Emulators of the Rydberg levels alone; a digital sequence would end there as a failed job.
RYDBERG_ONLY: Final = frozenset({"EMU_MPS", "EMU_SV"})
# They emulate the device of the sequence, whichever it is.
ANY_DEVICE: Final = frozenset({"EMU_FREE", "EMU_MPS", "EMU_SV"})


class QueuedMachine(ABC):
    """A machine whose jobs wait in a queue; see `machines.remote` and `machines.jobs`."""

    default_shots: int | None = None

    def __init__(
        self, name: str, *, poll_s: float | None, first_pause_s: float = SHORTEST_S
    ) -> None:
        """Ask for nothing yet.

        Args:
            name: Of the machine, as `machine=` takes it.
            poll_s: Time between looks at a job (s); None for pauses that grow to 2 s.
            first_pause_s: The shortest of these (s).
        """
        self.name = name
        self._poll_s, self._first_pause_s = poll_s, first_pause_s
        self._lock = ForkSafeLock()
        self._device: PulserDevice | None = None

    @property
    @abstractmethod
    def device_type(self) -> str:
        """The cloud's name of the device behind it; "" where it is no device of the cloud."""

    @abstractmethod
    def measure_all(
        self, tasks: Sequence[Task], n_shots: int, *, seeds: Sequence[int]
    ) -> list[Measured]:
        """Run tasks that wait in the queue together; see `machines.remote.RemoteMachine`."""

    @abstractmethod
    def seen(self, note: JobNote) -> Seen:
        """Ask how far a job is; see `machines.jobs.JobMachine`."""

    @abstractmethod
    def fetched(self, note: JobNote) -> NDArray[np.uint64]:
        """Fetch a result; see `machines.jobs.JobMachine`."""

    @abstractmethod
    def _reported(self) -> PulserDevice:
        """Ask for the device."""

    @abstractmethod
    def _origin(self, note: JobNote) -> Mapping[str, object]:
        """What results say of where they come from."""

    def device(self, kind: Kind) -> PulserDevice:
        """Report the device; see `machines.remote.RemoteMachine`."""
        device = self._device
        if device is None:
            device = self._device = self._reported()
        if kind == "gate":
            self._check_gates(device)
        return device

    def _check_gates(self, device: PulserDevice) -> None:
        """Refuse a device without the channels of gates, and name machines that have them."""
        if self.device_type in RYDBERG_ONLY:
            reason = "it emulates the Rydberg levels alone, gate kernels need the qubit levels"
            raise UnsuitableDeviceError(self.name, reason, self._gate_remedy())
        try:
            rules(device)
        except UnsuitableDeviceError as error:
            raise dataclasses.replace(error, remedy=self._gate_remedy()) from None

    def _gate_remedy(self) -> str:
        names = " or ".join(f"machine={name!r}" for name in [*self._gate_machines(), "local"])
        return f"Use {names} for gate kernels; what runs here is analog: cudaq.evolve"

    def _gate_machines(self) -> list[str]:
        """Other machines of the same service that report the channels of gates."""
        return []

    def measure(self, task: Task, n_shots: int, *, seed: int) -> Measured:
        """Run a task; see `machines.remote.RemoteMachine`. Queues take no seed."""
        return self.measure_all([task], n_shots, seeds=[seed])[0]

    def _sequence(self, task: Task, n_shots: int) -> str:
        """Lower a task; refuses what the device cannot run before anything is sent."""
        reported = self.device(task.kind)
        if self.device_type not in ANY_DEVICE:
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

    def _note(self, task: Task, n_shots: int) -> JobNote:
        return JobNote(uuid.uuid4().hex, self.name, task.name, n_shots, task.n_bits, task.columns)

    def _measured(self, notes: Sequence[JobNote]) -> Measured:
        """Wait for the first of these jobs for as long as it takes."""
        note = notes[0]
        job = note.place["job"]
        pace = Pace(shortest_s=self._first_pause_s, fixed_s=self._poll_s)
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
            kept = _kept(notes)
            remedy = f"{error.remedy}. {kept}" if isinstance(error, CredentialsError) else kept
            raise JobLostError(self.name, job, error.reason, remedy) from error
        return Measured(packed, job, self._origin(note))


def _kept(notes: Sequence[JobNote]) -> str:
    """Leave records of jobs that go on while nobody waits for them, and say so."""
    with contextlib.suppress(OptionError):  # nowhere to write to
        for note in notes:
            job_records.write(job_records.JobRecord(note, status="RUNNING"))
        ids = ", ".join(note.id for note in notes)
        return (
            "Nothing was sent again. Fetch what goes on later with `cudaq-target fetch ID` or "
            f"Job.load(ID): {ids}"
        )
    jobs = ", ".join(note.place["job"] for note in notes)
    return f"Nothing was sent again, and these jobs go on: {jobs}"
