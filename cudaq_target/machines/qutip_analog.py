"""Pulser's own emulator (`machine="qutip"`) for analog programs: the oracle, and its noise models.

It integrates a cubic spline through the 1-ns samples (Pulser issue 153), which puts sample k at
k ns instead of from k to k + 1 ns. Where a pulse has edges its probabilities are off by some 1e-3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cudaq_target.emulator.analog.shots import sample_packed
from cudaq_target.emulator.memory import require_bytes
from cudaq_target.machines.qutip_solver import (
    BYTES_PER_AMPLITUDE,
    BYTES_PER_ELEMENT,
    SOLVER_COPIES,
    QutipSolver,
    simulation,
)
from cudaq_target.shots import Shots

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from pulser import NoiseModel

    from cudaq_target.analog.program import AnalogProgram

Measured = TypeVar("Measured")
_NS_PER_US = 1e3
_DENSITY_ATOMS = 6


@dataclass(frozen=True, slots=True)
class QutipAnalogMachine(QutipSolver):
    """Runs analog programs through pulser-simulation."""

    def sample_analog(
        self,
        program: AnalogProgram,
        n_shots: int,
        *,
        noise: NoiseModel | None = None,
        rng: np.random.Generator,
        threads: int | None = None,  # noqa: ARG002 - part of every machine's interface
        modulation: bool = False,
        initial_state: NDArray[np.complex128] | None = None,
    ) -> NDArray[np.uint64]:
        """Measure all atoms at the end; see `machines.analog.AnalogMachine`."""
        if noise is not None:

            def make(shared: NoiseModel, n_trajectories: int) -> Any:  # noqa: ANN401
                return self._emulator(
                    program, modulation, initial_state, noise=shared, n_trajectories=n_trajectories
                )

            return Shots.from_bits(self.noisy_shots(make, noise, n_shots, rng)).packed
        emulator = self._emulator(program, modulation, initial_state)
        final = _from_rg(self.run(emulator).get_final_state(ignore_global_phase=False))
        return sample_packed(final, n_shots, rng)

    def evolve_analog(
        self,
        program: AnalogProgram,
        *,
        save_at_ns: Sequence[float],
        measure: Callable[[int, NDArray[np.complex128]], Measured],
        threads: int | None = None,  # noqa: ARG002 - part of every machine's interface
        modulation: bool = False,
        initial_state: NDArray[np.complex128] | None = None,
    ) -> list[Measured]:
        """Follow the state; see `machines.analog.AnalogMachine`."""
        times_us = np.asarray(save_at_ns, dtype=np.float64) / _NS_PER_US
        emulator = self._emulator(program, modulation, initial_state, times_us=times_us)
        results = self.run(emulator)
        return [
            measure(k, _from_rg(results.get_state(time_us, ignore_global_phase=False)))
            for k, time_us in enumerate(times_us.tolist())
        ]

    def needed_bytes(self, n_atoms: int) -> int:
        """Predict the memory that a program without noise takes (bytes)."""
        # A row of the sparse Hamiltonian holds one flip of every atom, and the diagonal.
        per_state = SOLVER_COPIES * BYTES_PER_AMPLITUDE + 2 * (n_atoms + 1) * BYTES_PER_ELEMENT
        needed: int = per_state << n_atoms
        return needed

    def _emulator(
        self,
        program: AnalogProgram,
        modulation: bool,
        initial_state: NDArray[np.complex128] | None,
        *,
        times_us: NDArray[np.float64] | None = None,
        noise: NoiseModel | None = None,
        n_trajectories: int | None = None,
    ) -> Any:  # noqa: ANN401 - pulser_simulation may be missing
        pulser_simulation = simulation()
        require_bytes(self.needed_bytes(program.timeline.n_atoms), program.timeline.n_atoms)
        # Monte-Carlo trajectories of QuTiP's take their seeds from the system: where density
        # matrices are small enough, they make equal seeds give equal shots.
        solver = "MESOLVER" if program.timeline.n_atoms <= _DENSITY_ATOMS else "DEFAULT"
        emulator = pulser_simulation.QutipEmulator.from_sequence(
            program.sequence,
            evaluation_times="Minimal" if times_us is None else times_us,
            with_modulation=modulation,
            noise_model=noise,
            solver=pulser_simulation.simulation.Solver[solver],
            n_trajectories=n_trajectories,
        )
        if initial_state is not None:
            emulator.set_initial_state(initial_state[::-1].copy())
        return emulator


def _from_rg(state: Any) -> NDArray[np.complex128]:  # noqa: ANN401 - an object of QuTiP's
    """Reorder amplitudes: Pulser counts r before g on every atom."""
    return np.ascontiguousarray(state.full().reshape(-1)[::-1])
