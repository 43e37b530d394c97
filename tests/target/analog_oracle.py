"""Exact answers for a few atoms, straight from the Hamiltonians as they are written down."""

from __future__ import annotations

from functools import cache, reduce

import numpy as np

RG = np.array([[0, 0], [1, 0]], dtype=complex)  # |r><g| in the order (g, r)
NUMBER = np.diag([0.0, 1.0]).astype(complex)


def on_atom(matrix, atom, n_atoms):
    """Act on one atom; atom 0 is the most significant bit."""
    return reduce(np.kron, [matrix if k == atom else np.eye(2) for k in range(n_atoms)])


@cache
def raisings(n_atoms):
    """|r><g| of every atom, shape (n_atoms, 2^n_atoms, 2^n_atoms)."""
    return np.array([on_atom(RG, atom, n_atoms) for atom in range(n_atoms)])


def occupied(n_atoms):
    """1 where an atom is in r, shape (2^n_atoms, n_atoms)."""
    return np.arange(2**n_atoms)[:, None] >> np.arange(n_atoms)[::-1] & 1


def interaction_energies(atoms_um, c6):
    """Of every basis state, shape (2^n_atoms,)."""
    n_atoms = len(atoms_um)
    number = occupied(n_atoms)
    total = np.zeros(2**n_atoms)
    for i in range(n_atoms):
        for j in range(i + 1, n_atoms):
            distance = np.linalg.norm(np.subtract(atoms_um[i], atoms_um[j]))
            total += c6 / distance**6 * number[:, i] * number[:, j]
    return total


def interaction(atoms_um, c6):
    return np.diag(interaction_energies(atoms_um, c6)).astype(complex)


def model(omega, delta, phase, n_atoms=1, local=None):
    """The drive of `cudaq_target.analog.model`; `local` is one detuning per atom (rad/µs)."""
    raising = 0.5 * omega * np.exp(1j * phase) * raisings(n_atoms).sum(axis=0)
    shifts = np.zeros(n_atoms) + delta + (0.0 if local is None else np.asarray(local))
    return raising + raising.conj().T - np.diag(occupied(n_atoms) @ shifts)


def schema(omega, delta, phase):
    """The drive of one atom in the AHS schema: Ω/2 (e^{iφ}|g><r| + e^{-iφ}|r><g|) - Δ|r><r|."""
    lowering = 0.5 * omega * np.exp(1j * phase) * RG.T
    return lowering + lowering.conj().T - delta * NUMBER


def ground(n_atoms=1):
    state = np.zeros(2**n_atoms, dtype=complex)
    state[0] = 1.0
    return state


def advanced(state, hamiltonian, duration_us):
    """By the series of the exponential where it takes few terms, else by eigenvectors."""
    turn = -1j * duration_us * hamiltonian
    if np.abs(turn).sum(axis=0).max() > 1.0:
        energies, vectors = np.linalg.eigh(hamiltonian)
        return vectors @ (np.exp(-1j * duration_us * energies) * (vectors.conj().T @ state))
    total = term = state
    for order in range(1, 20):  # 1/20! is below the last digit
        term = turn @ term / order
        total = total + term
    return total


def evolve(pieces, n_atoms=1):
    """Evolve the ground state under (Hamiltonian, duration in µs) one after the other."""
    state = ground(n_atoms)
    for hamiltonian, duration_us in pieces:
        state = advanced(state, hamiltonian, duration_us)
    return state


def played(timeline):
    """Evolve under the samples of a timeline, each held for one ns."""
    n_atoms = timeline.n_atoms
    static = interaction(timeline.atoms_um, timeline.device.c6_rad_per_us_um6)
    local = np.zeros((timeline.duration_ns, n_atoms))
    if timeline.local is not None:
        local = np.outer(timeline.local.samples, timeline.local.weights)
    state = ground(n_atoms)
    for k in range(timeline.duration_ns):
        drive = model(
            timeline.amplitude[k], timeline.detuning[k], timeline.phase[k], n_atoms, local[k]
        )
        state = advanced(state, drive + static, 1e-3)
    return state


def asked(spec, c6, steps_per_ns=4):
    """Evolve under the waveforms of a specification, at the middle of short steps."""
    n_atoms = spec.n_atoms
    static = interaction(spec.atoms_um, c6)
    step = 1.0 / steps_per_ns
    times = np.arange(0.0, spec.duration_ns, step) + 0.5 * step
    local = np.zeros((len(times), n_atoms))
    if spec.local is not None:
        local = np.outer(spec.local.waveform.at(times), spec.local.weights)
    curves = (spec.amplitude.at(times), spec.detuning.at(times), spec.phase.at(times))
    state = ground(n_atoms)
    for omega, delta, phase, shift in zip(*curves, local, strict=True):
        drive = model(omega, delta, phase, n_atoms, shift)
        state = advanced(state, drive + static, 1e-3 * step)
    return state


def framed(state, angle):
    """Turn r of every atom by an angle (rad)."""
    n_atoms = int(np.log2(len(state)))
    turn = np.array([1.0, np.exp(1j * angle)])
    return reduce(np.kron, [turn] * n_atoms) * state


def by_pulser(sequence):
    """Probabilities by pulser-simulation, in our order: 1 means r, atom 0 most significant."""
    from pulser_simulation import QutipEmulator

    result = QutipEmulator.from_sequence(sequence).run(
        rtol=1e-8, atol=1e-10, nsteps=100_000, max_step=2e-3
    )
    # Pulser's order per atom is (r, g).
    amplitudes = np.asarray(result.states[-1].full()).ravel()[::-1]
    return np.abs(amplitudes) ** 2
