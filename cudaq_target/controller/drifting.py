"""An emulated machine that drifts: its Rabi frequency and its detuning move from shot to shot.

What a program asks for is played with every amplitude multiplied and every detuning shifted; the
embedded emulator solves the Schrödinger equation of all its atoms. Time is counted in shots, of
all programs together: shot k begins at k / cadence, whether or not anybody waits that long. So its
shots depend, besides seeds, program and parameters, on how many shots it has measured before.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from cudaq_target.analog.program import AnalogProgram
from cudaq_target.coupler.errors import ProgramRefusedError
from cudaq_target.emulator.analog.shots import flip_packed
from cudaq_target.errors import OptionError, TargetError
from cudaq_target.kernels.estimation import NO_ERRORS, OutcomeErrors
from cudaq_target.machines.local_analog import LocalAnalogMachine

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from cudaq_target.controller.texts import Family

    Reals = NDArray[np.float64]

_HELD_SHOTS: Final = 25


@dataclass(frozen=True, slots=True)
class DriftLaw:
    """How a machine drifts: at constant rates, whose signs turn now and then.

    Attributes:
        rabi_per_min: Relative change of all amplitudes per minute.
        detuning_per_min: Change of the detuning per minute (rad/µs).
        rabi_start: Factor of all amplitudes at the start.
        detuning_start: Shift of all detunings at the start (rad/µs).
        turn_s: After so long both rates change their sign, again and again (s); inf for never.

    >>> law = DriftLaw(0.01, turn_s=60.0)
    >>> law.at([0.0, 60.0, 120.0])[0].round(3)
    array([1.  , 1.01, 1.  ])
    """

    rabi_per_min: float = 0.01
    detuning_per_min: float = 0.0
    rabi_start: float = 1.0
    detuning_start: float = 0.0
    turn_s: float = inf

    def __post_init__(self) -> None:
        numbers = (self.rabi_per_min, self.detuning_per_min, self.rabi_start, self.detuning_start)
        if not (all(map(isfinite, numbers)) and self.rabi_start > 0.0 and self.turn_s > 0.0):
            raise OptionError(
                "DriftLaw", f"{numbers} and {self.turn_s} s", "Give finite rates, and times above 0"
            )

    def at(self, times_s: ArrayLike) -> tuple[Reals, Reals]:
        """Return factor of the amplitudes and shift of the detuning (rad/µs) at times (s)."""
        times = np.asarray(times_s, dtype=np.float64)
        if self.turn_s < inf:
            # A triangle between 0 and turn_s.
            times = self.turn_s - np.abs(times % (2.0 * self.turn_s) - self.turn_s)
        minutes = times / 60.0
        scale = self.rabi_start * (1.0 + self.rabi_per_min * minutes)
        return scale, self.detuning_start + self.detuning_per_min * minutes


class DriftingMachine:
    """See the module; a `coupler.LazyMachine` for analog programs of a few atoms.

    Attributes:
        law: How it drifts.
        cadence_hz: Shots that begin in a second at most: the cadence where it is kept, else None.
        n_measured: Shots of all runs so far.
    """

    granularity: Literal["shot", "job"] = "shot"

    def __init__(
        self,
        law: DriftLaw,
        *,
        shots_per_s: float = 5.0,
        keeps_time: bool = False,
        errors: OutcomeErrors = NO_ERRORS,
        seed: int = 0,
        held_shots: int = _HELD_SHOTS,
    ) -> None:
        """Set the clock to 0.

        Args:
            law: How it drifts.
            shots_per_s: Shots per second of the clock that it drifts by.
            keeps_time: Wait between shots as the real one does, not only count.
            errors: Of the read-out.
            seed: Of the shots.
            held_shots: Shots of a run that may share one solution; the drift stands still for them.

        Raises:
            OptionError: An argument makes no sense.
        """
        if not 0.0 < shots_per_s < inf or held_shots < 1:
            raise OptionError(
                "DriftingMachine",
                f"{shots_per_s} shots per second, {held_shots} held",
                "Give positive numbers",
            )
        self.law = law
        self.cadence_hz = shots_per_s if keeps_time else None
        self.n_measured = 0
        self._shots_per_s = shots_per_s
        self._errors = errors
        self._seed = seed
        self._held_shots = held_shots

    def specs(self) -> str:
        """See `coupler.Machine.specs`."""
        return json.dumps(
            {
                "name": "drifting emulator",
                "kind": "emulator",
                "granularity": self.granularity,
                "cadence_hz": self.cadence_hz,
                "shots_per_s": self._shots_per_s,
                "drift": {
                    name: value if isfinite(value) else None
                    for name, value in dataclasses.asdict(self.law).items()
                },
            }
        )

    def load(self, program: str) -> Family:
        """Read a text; see `controller.texts`.

        Raises:
            ProgramRefusedError: It is no program, or one of gates.
        """
        from cudaq_target.controller import texts  # noqa: PLC0415 - reads gate programs, too

        try:
            family = texts.read(program, gate_device=None, analog_device=None)
        except TargetError as error:
            raise ProgramRefusedError(str(error)) from error
        if not isinstance(family, texts.OfAnsatz):
            _analog(family, np.zeros(0))
        return family

    def begin(self, program: object, parameters: Reals, n_shots: int, seed: int) -> DriftingRun:  # noqa: ARG002
        """Take on a run; see `coupler.LazyMachine.begin`.

        Raises:
            ProgramRefusedError: The parameters do not fit.
        """
        from cudaq_target.controller.texts import Fixed, OfAnsatz  # noqa: PLC0415

        assert isinstance(program, Fixed | OfAnsatz)
        if len(parameters) != program.n_parameters:
            raise ProgramRefusedError(
                f"{program.name} takes {program.n_parameters} parameters, {len(parameters)} came"
            )
        return DriftingRun(self, _analog(program, parameters), seed)

    def measure(self, program: AnalogProgram, n_shots: int, seed: int) -> NDArray[np.uint64]:
        """Measure the next shots, at most `held_shots`, packed."""
        n = min(n_shots, self._held_shots)
        scale, shift = self.law.at((self.n_measured + 0.5 * (n - 1)) / self._shots_per_s)
        timeline = dataclasses.replace(
            program.timeline,
            amplitude=float(scale) * program.timeline.amplitude,
            detuning=program.timeline.detuning + float(shift),
        )
        rng = np.random.default_rng([self._seed, seed, self.n_measured])
        rows = LocalAnalogMachine().sample_analog(AnalogProgram(timeline), n, rng=rng, threads=1)
        self.n_measured += n
        wrong = self._errors
        return flip_packed(rows, timeline.n_atoms, wrong.one_of_zero, wrong.zero_of_one, rng)


class DriftingRun:
    """Shots of one run of a `DriftingMachine`."""

    def __init__(self, machine: DriftingMachine, program: AnalogProgram, seed: int) -> None:
        """Measure nothing yet."""
        self.n_qubits = program.timeline.n_atoms
        self._machine = machine
        self._program = program
        self._seed = seed

    def measure(self, n_shots: int) -> NDArray[np.uint64]:
        """See `coupler.LazyRun.measure`."""
        return self._machine.measure(self._program, n_shots, self._seed)

    def close(self) -> None:
        """Nothing is held."""


def _analog(family: Family, parameters: Reals) -> AnalogProgram:
    try:
        program = family.bind(parameters)
    except TargetError as error:
        raise ProgramRefusedError(str(error)) from error
    if not isinstance(program, AnalogProgram):
        raise ProgramRefusedError(
            f"{family.name} is a program of gates; the drifting emulator plays analog programs"
        )
    return program
