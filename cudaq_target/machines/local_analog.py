"""The embedded emulator as a machine for analog programs."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cudaq_target.emulator.analog.curves import Curve
from cudaq_target.emulator.analog.devices import backend_for
from cudaq_target.emulator.analog.integrate import evolve_rydberg
from cudaq_target.emulator.analog.noise import AnalogNoise, Placement
from cudaq_target.emulator.analog.problem import RydbergProblem
from cudaq_target.emulator.analog.shots import sample_packed
from cudaq_target.emulator.analog.trajectories import sample_noisy
from cudaq_target.emulator.memory import state_bytes
from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from pulser import NoiseModel

    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.analog.timeline import AnalogTimeline
    from cudaq_target.emulator.analog.integrate import RydbergResult

Measured = TypeVar("Measured")
# The state of a pass, that of the one before, what moves between them, and tables of the waits.
_COPIES = 3.4
_LARGEST_TOLERANCE = 1e-3
# Share of cases in which the best test could tell shots of the emulated state from exact ones.
_NOTICED = 0.01


class LocalAnalogMachine:
    """Solves the Schrödinger equation of the atoms in this process, with a verified step.

    Where there is a GPU, states of many atoms lie there; `devices.backend_for` has the rule.
    """

    name = "local"

    def sample_analog(
        self,
        program: AnalogProgram,
        n_shots: int,
        *,
        noise: NoiseModel | None = None,
        rng: np.random.Generator,
        threads: int | None = None,
        modulation: bool = False,
        initial_state: NDArray[np.complex128] | None = None,
    ) -> NDArray[np.uint64]:
        """Measure all atoms at the end; see `machines.analog.AnalogMachine`."""
        problem = problem_of(program, modulation=modulation)
        if noise is None:
            result: RydbergResult[object] = evolve_rydberg(
                problem,
                tolerance=sampling_tolerance(n_shots),
                threads=threads,
                initial_state=initial_state,
                backend=backend_for(problem.n_atoms),
            )
            return sample_packed(result.state, n_shots, rng, threads=threads)
        if initial_state is not None:
            raise OptionError(
                "initial_state",
                "the embedded emulator starts noisy programs from all atoms in g",
                "Leave it or the noise out, or give machine='qutip'",
            )
        placement = Placement(
            program.timeline.atoms_um, program.rules.c6_rad_per_us_um6, _beam_axis(program)
        )
        backend = backend_for(problem.n_atoms)
        return sample_noisy(
            problem,
            placement,
            AnalogNoise.of(noise),
            n_shots,
            rng,
            threads=threads,
            backend=backend,
        )

    def evolve_analog(
        self,
        program: AnalogProgram,
        *,
        save_at_ns: Sequence[float],
        measure: Callable[[int, NDArray[np.complex128]], Measured],
        threads: int | None = None,
        modulation: bool = False,
        initial_state: NDArray[np.complex128] | None = None,
    ) -> list[Measured]:
        """Follow the state; see `machines.analog.AnalogMachine`."""
        problem = problem_of(program, modulation=modulation)
        # The emulator may run the program more than once, until its step is small enough.
        number = itertools.cycle(range(len(save_at_ns)))
        result = evolve_rydberg(
            problem,
            save_at_ns=save_at_ns,
            measure=lambda state: measure(next(number), state.astype(np.complex128, copy=False)),
            threads=threads,
            initial_state=initial_state,
            backend=backend_for(problem.n_atoms),
        )
        return list(result.saved)

    def needed_bytes(self, n_atoms: int) -> int:
        """Predict the memory that a program without noise takes (bytes)."""
        return state_bytes(n_atoms, copies=_COPIES)


def sampling_tolerance(n_shots: int) -> float:
    """Return the error of a state (2-norm) that its shots cannot show.

    Two states at a distance ε give distributions of N shots whose total variation distance is at
    most ε √N: the trace distance of N copies is sqrt(1 - F^N) with F >= 1 - ε². It is kept at 1 %.

    Args:
        n_shots: Number of shots.

    >>> sampling_tolerance(200), sampling_tolerance(10_000)
    (0.0007071067811865475, 0.0001)
    """
    return min(_LARGEST_TOLERANCE, _NOTICED / math.sqrt(n_shots))


def problem_of(program: AnalogProgram, *, modulation: bool = False) -> RydbergProblem:
    """Write a program as the Hamiltonian that its atoms see.

    Args:
        program: The program.
        modulation: Take the device's finite bandwidth into account.
    """
    timeline = program.modulated if modulation else program.timeline
    return RydbergProblem.of(
        timeline.atoms_um,
        timeline.device.c6_rad_per_us_um6,
        timeline.duration_ns,
        Curve.of_samples(timeline.amplitude),
        Curve.of_samples(timeline.detuning),
        _phase(timeline),
        [] if timeline.local is None
        else [(Curve.of_samples(timeline.local.samples), timeline.local.weights)],
    )  # fmt: skip


def _phase(timeline: AnalogTimeline) -> Curve:
    changes = np.flatnonzero(np.diff(timeline.phase)) + 1
    times = np.concatenate([[0], changes, [timeline.duration_ns]]).astype(np.float64)
    values = np.append(timeline.phase[np.append(0, changes)], timeline.phase[-1])
    return Curve.step(times, values)


def _beam_axis(program: AnalogProgram) -> tuple[float, float, float]:
    channel = program.rules.pulser_device.channels[program.rules.drive.channel]
    # Pulser's own default where a channel does not say: along y.
    x, y, z = channel.propagation_dir or (0.0, 1.0, 0.0)
    return float(x), float(y), float(z)
