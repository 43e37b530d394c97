"""Machines elsewhere behind a controller: a run is a job, and its shots come when it is done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from cudaq_target.controller import texts
from cudaq_target.controller.machine import abstract, check_count, check_device, refused
from cudaq_target.coupler.errors import ProgramRefusedError
from cudaq_target.errors import MachineRefusedError, UnsuitableDeviceError
from cudaq_target.machines.remote import Task, machine_for
from cudaq_target.options import Options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.controller.machine import Settings
    from cudaq_target.device import PulserDevice
    from cudaq_target.machines.remote import Kind, RemoteMachine

    Reals = NDArray[np.float64]
    Words = NDArray[np.uint64]


class JobMachine:
    """A machine that runs jobs; see `coupler.machine.LazyMachine`."""

    granularity: Literal["shot", "job"] = "job"
    cadence_hz: float | None = None

    def __init__(self, settings: Settings) -> None:
        """Ask the machine for its devices.

        Args:
            settings: Which machine.

        Raises:
            MachineError: It does not answer.
            OptionError: What it needs is not installed.
        """
        machine = machine_for(Options(machine=settings.machine, device=settings.device))
        assert machine is not None  # `machine_of` has looked at the name
        self._settings, self._machine = settings, machine
        self._gate_device = _device(machine, "gate")
        self._analog_device = _device(machine, "analog")

    def specs(self) -> str:
        """Describe the machine, as a JSON object."""
        return json.dumps(
            {
                "name": self._settings.machine,
                "kind": "jobs",
                "is_emulator": None,
                "device": abstract(self._gate_device),
                "analog_device": abstract(self._analog_device),
                "noise": None,
                "modulation": None,
                "max_shots": None,
            }
        )

    def load(self, program: str) -> texts.Family:
        """Read a text; see `texts.read`.

        Raises:
            ProgramRefusedError: It is of no known kind, damaged, or breaks a limit.
        """
        with refused():
            family = texts.read(
                program,
                gate_device=self._gate_device,
                analog_device=self._analog_device,
                cache_dir=self._settings.cache_dir,
            )
            check_device(family, self._settings)
        return family

    def begin(
        self,
        program: object,
        parameters: Reals,
        n_shots: int,  # noqa: ARG002 - shots are drawn when they are wanted
        seed: int,
    ) -> JobRun:
        """Take on a run; see `coupler.machine.LazyMachine.begin`."""
        family: texts.Family = program  # type: ignore[assignment] # from `load`
        check_count(family, parameters)
        return JobRun(self._machine, family, parameters, seed)


class JobRun:
    """A job; see `coupler.machine.LazyRun`."""

    def __init__(
        self, machine: RemoteMachine, family: texts.Family, values: Reals, seed: int
    ) -> None:
        """Submit nothing yet.

        Args:
            machine: Where it runs.
            family: What was loaded.
            values: Of its parameters, shape (n_parameters,).
            seed: 0 for the machine's choice.
        """
        self.n_qubits = family.n_bits
        self._machine, self._family, self._values, self._seed = machine, family, values, seed

    def measure(self, n_shots: int) -> Words:
        """Run the whole job and wait for it.

        Raises:
            ProgramRefusedError: The device refuses the program.
            MachineError: The job failed.
        """
        with refused():
            task = Task.of(self._family.bind(self._values))
        try:
            return self._machine.measure(task, n_shots, seed=self._seed).packed
        except MachineRefusedError as error:
            raise ProgramRefusedError(str(error)) from error

    def close(self) -> None:
        """Nothing is left: a job is measured as a whole."""


def _device(machine: RemoteMachine, kind: Kind) -> PulserDevice | None:
    try:
        return machine.device(kind)
    except UnsuitableDeviceError:
        return None
