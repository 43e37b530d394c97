"""Pulser's own emulator (`machine="qutip"`): the oracle for small programs, and its noise models.

It integrates a cubic spline through the 1-ns samples (Pulser issue 153) over all three levels of
every atom, so it serves about nine atoms and agrees with exact steps to about 1e-7.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.emulator.memory import require_bytes
from cudaq_target.machines.qutip_solver import (
    BYTES_PER_AMPLITUDE,
    BYTES_PER_ELEMENT,
    SOLVER_COPIES,
    QutipSolver,
    simulation,
)
from cudaq_target.sequence import to_sequence

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pulser import NoiseModel

    from cudaq_target.timeline import PulseProgram


@dataclass(frozen=True, slots=True)
class QutipMachine(QutipSolver):
    """Runs programs through pulser-simulation."""

    def state(
        self,
        program: PulseProgram,
        *,
        threads: int | None = None,  # noqa: ARG002 - part of every machine's interface
    ) -> NDArray[np.complex128]:
        """Return the final state in the kernel's frame.

        Args:
            program: The program to run.
            threads: Has no effect: QuTiP integrates in one thread.

        Returns:
            Amplitudes, shape (2^n_qubits,), qubit 0 most significant, global phase of the ideal
            kernel. What is left in the Rydberg state is cut off, so the norm is 1 minus leakage,
            up to the integrator's drift (some 1e-7).

        Raises:
            OptionError: pulser-simulation is not installed.
            MemoryLimitError: The program has too many atoms.
        """
        final, levels = self._final_state(program)
        raw = np.zeros((2,) * final.ndim, dtype=np.complex128)
        kept = [(bit, levels.index(name)) for bit, name in enumerate("gh") if name in levels]
        bits, places = zip(*kept, strict=True)
        raw[np.ix_(*[bits] * final.ndim)] = final[np.ix_(*[places] * final.ndim)]
        return kernel_state(program, raw)

    def sample(
        self,
        program: PulseProgram,
        n_shots: int,
        noise: NoiseModel | None = None,
        rng: np.random.Generator | int | None = None,
        threads: int | None = None,  # noqa: ARG002 - part of every machine's interface
    ) -> NDArray[np.uint8]:
        """Measure all qubits many times.

        Args:
            program: The program to run.
            n_shots: Number of shots.
            noise: A `pulser.NoiseModel`, or None for exact physics.
            rng: Source of randomness.
            threads: Has no effect: QuTiP integrates in one thread.

        Returns:
            Bits in the kernel's order, uint8, shape (n_shots, n_qubits).

        Raises:
            OptionError: pulser-simulation is not installed, or cannot simulate this noise.
            MemoryLimitError: The program has too many atoms.
        """
        generator = np.random.default_rng(rng)
        if noise is None or not noise.noise_types:
            atoms = _sample_state(*self._final_state(program), n_shots, generator)
        elif not any(slot.beam == "raman" for slot in program.slots):
            # Without Raman light no atom reaches h; only the detector can say 1.
            wrong = generator.random((n_shots, len(program.coordinates_um))) < noise.p_false_pos
            atoms = wrong.astype(np.uint8)
        else:
            make = partial(self._emulator, program)
            atoms = self.noisy_shots(make, noise, n_shots, generator, programs=" with gate kernels")
        return np.ascontiguousarray(atoms[:, list(program.atom_of_qubit)])

    def _final_state(self, program: PulseProgram) -> tuple[NDArray[np.complex128], tuple[str, ...]]:
        """Return the final amplitudes, shape (n_levels,) * n_atoms, and the names of the levels."""
        n_atoms = len(program.coordinates_um)
        if not program.slots:
            return np.ones((1,) * n_atoms, dtype=np.complex128), ("g",)
        emulator = self._emulator(program, None, None)
        # Pulser keeps only the levels that some pulse can reach, in an order of its own.
        levels = sorted(emulator.basis, key=lambda name: int(emulator.basis[name].full().argmax()))
        final = self.run(emulator).get_final_state(ignore_global_phase=False).full()
        return final.reshape((len(levels),) * n_atoms), tuple(levels)

    def _emulator(
        self, program: PulseProgram, noise: NoiseModel | None, n_trajectories: int | None
    ) -> Any:  # noqa: ANN401 - pulser_simulation may be missing
        pulser_simulation = simulation()
        n_atoms = len(program.coordinates_um)
        # Raman and Rydberg drive of one atom touch each basis state about once; then one row of
        # pair interactions.
        per_state = SOLVER_COPIES * BYTES_PER_AMPLITUDE + 5 * n_atoms * BYTES_PER_ELEMENT
        require_bytes(3**n_atoms * per_state, len(program.atom_of_qubit), levels=3)
        return pulser_simulation.QutipEmulator.from_sequence(
            # Pulser refuses to measure a basis in which no pulse acts.
            to_sequence(program, measured=any(slot.beam == "raman" for slot in program.slots)),
            evaluation_times="Minimal",
            noise_model=noise,
            n_trajectories=n_trajectories,
        )


def kernel_state(program: PulseProgram, raw: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Bring raw amplitudes into the kernel's frame.

    Args:
        program: The program that was run.
        raw: Amplitudes over g, h of each atom, shape (2,) * n_atoms.

    Returns:
        Amplitudes, shape (2^n_qubits,): frames, global phase and qubit order applied. Atoms that
        hold no qubit are taken in g.
    """
    n_atoms = raw.ndim
    for atom, frame_rad in enumerate(program.frames_rad.tolist()):
        factor = np.exp([-0.5j * frame_rad, 0.5j * frame_rad])
        raw = raw * factor.reshape((1,) * atom + (2,) + (1,) * (n_atoms - atom - 1))
    held = list(program.atom_of_qubit)
    idle = [atom for atom in range(n_atoms) if atom not in held]
    state = raw.transpose(held + idle).reshape(2 ** len(held), -1)[:, 0]
    return np.ascontiguousarray(state * np.exp(1j * program.global_phase_rad))


def _sample_state(
    final: NDArray[np.complex128],
    levels: tuple[str, ...],
    n_shots: int,
    generator: np.random.Generator,
) -> NDArray[np.uint8]:
    """Draw the bits of all atoms, shape (n_shots, n_atoms): 1 for h, 0 for g and r."""
    weights = np.abs(final.ravel()) ** 2
    outcomes = generator.choice(len(weights), size=n_shots, p=weights / weights.sum())
    found = np.stack(np.unravel_index(outcomes, final.shape), axis=1)
    bits: NDArray[np.uint8] = (np.array(levels) == "h").astype(np.uint8)[found]
    return bits
