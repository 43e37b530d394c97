"""Dense Hamiltonians of Rydberg problems, and an integrator that shares nothing with ours."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.integrate import solve_ivp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.emulator.analog.problem import RydbergProblem


def bits_of(n_atoms: int) -> NDArray[np.int64]:
    """Bits of every basis state, atom 0 most significant, shape (2^n_atoms, n_atoms)."""
    return (np.arange(1 << n_atoms)[:, None] >> np.arange(n_atoms)[::-1]) & 1


def hamiltonian(problem: RydbergProblem, time_ns: float) -> NDArray[np.complex128]:
    """The matrix at one moment (rad/µs), element by element as the definition has it."""
    n_atoms = problem.n_atoms
    bits = bits_of(n_atoms)
    detuning = np.zeros(n_atoms) + problem.detuning.at([time_ns])[0]
    if problem.detuning_offsets is not None:
        detuning = detuning + problem.detuning_offsets
    for curve, weights in problem.local:
        detuning = detuning + curve.at([time_ns])[0] * weights
    amplitude = np.zeros(n_atoms) + problem.amplitude.at([time_ns])[0]
    if problem.amplitude_factors is not None:
        amplitude = amplitude * problem.amplitude_factors
    phase = np.zeros(n_atoms) + problem.phase.at([time_ns])[0]
    matrix = np.zeros((1 << n_atoms, 1 << n_atoms), dtype=np.complex128)
    for row, bit in enumerate(bits):
        pairs = np.triu(problem.interactions_rad_per_us, 1)
        matrix[row, row] = bit @ pairs @ bit - detuning @ bit
        for atom in np.flatnonzero(bit):
            ground = row ^ (1 << (n_atoms - 1 - atom))
            matrix[row, ground] = 0.5 * amplitude[atom] * np.exp(1j * phase[atom])
            matrix[ground, row] = matrix[row, ground].conj()
    return matrix


def solve(
    problem: RydbergProblem,
    initial: NDArray[np.complex128] | None = None,
    end_ns: float | None = None,
) -> NDArray[np.complex128]:
    """Integrate the Schrödinger equation to about 1e-12, stretch by stretch between kinks."""
    state = np.zeros(1 << problem.n_atoms, dtype=np.complex128)
    state[0] = 1.0
    state = state if initial is None else initial
    end = problem.duration_ns if end_ns is None else end_ns
    edges = [0.0, *(kink for kink in problem.kinks_ns if kink < end), end]
    for left, right in pairwise(edges):

        def slope(time_ns: float, y: NDArray[np.complex128], last: float = right):
            # At a jump a curve already has its next value.
            return -1e-3j * (hamiltonian(problem, min(time_ns, last - 1e-9)) @ y)

        solved = solve_ivp(slope, (left, right), state, method="DOP853", rtol=1e-12, atol=1e-13)
        state = solved.y[:, -1]
    return state
