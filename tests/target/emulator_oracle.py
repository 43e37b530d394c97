"""Brute force: dense 3^n Hamiltonians straight from the model's definition, one expm per piece."""

import itertools
from functools import reduce

import numpy as np
from scipy.linalg import expm

from cudaq_target.timeline import Pulse, PulseProgram, Slot


def ket_bra(row, column):
    matrix = np.zeros((3, 3), dtype=complex)
    matrix[row, column] = 1
    return matrix


def embed(matrix, atom, n):
    return reduce(np.kron, [matrix if k == atom else np.eye(3) for k in range(n)])


def hamiltonian(program, time_ns):
    """H at one moment (rad/µs), levels (g, h, r) per atom, atom 0 most significant."""
    n = len(program.coordinates_um)
    total = np.zeros((3**n, 3**n), dtype=complex)
    for i in range(n):
        for j in range(i):
            distance = np.linalg.norm(program.coordinates_um[i] - program.coordinates_um[j])
            strength = program.device.c6_rad_per_us_um6 / distance**6
            total += strength * embed(ket_bra(2, 2), i, n) @ embed(ket_bra(2, 2), j, n)
    for slot in program.slots:
        if not slot.start_ns <= time_ns < slot.end_ns:
            continue
        ends = slot.start_ns + np.cumsum(slot.pulse.durations_ns)
        piece = int(np.searchsorted(ends, time_ns, side="right"))
        rabi = slot.pulse.rabi_rad_per_us[piece]
        detuning = slot.pulse.detuning_rad_per_us[piece]
        if slot.beam == "rydberg":
            hop, shifted = np.exp(1j * slot.pulse.phase_rad) * ket_bra(2, 0), ket_bra(2, 2)
        else:
            hop, shifted = np.exp(-1j * slot.pulse.phase_rad) * ket_bra(1, 0), ket_bra(0, 0)
        local = rabi / 2 * (hop + hop.conj().T) - detuning * shifted
        total += embed(local, slot.atom, n)
    return total


def borders_ns(program):
    borders = {0, program.duration_ns}
    for slot in program.slots:
        borders |= {slot.start_ns, *(slot.start_ns + np.cumsum(slot.pulse.durations_ns)).tolist()}
    return sorted(borders)


def final_state(program):
    """The raw state (no frames) over (g, h, r)^n."""
    n = len(program.coordinates_um)
    state = np.zeros(3**n, dtype=complex)
    state[0] = 1
    times = borders_ns(program)
    for begin, end in itertools.pairwise(times):
        energies, modes = np.linalg.eigh(hamiltonian(program, begin))
        state = modes @ (np.exp(-1e-3j * (end - begin) * energies) * (modes.conj().T @ state))
    return state


def framed_state(program):
    """The kernel's amplitudes over (g, h, r)^n: frames and global phase applied."""
    factors = [np.array([np.exp(-0.5j * f), np.exp(0.5j * f), 1.0]) for f in program.frames_rad]
    frame = reduce(np.kron, factors)
    return np.exp(1j * program.global_phase_rad) * frame * final_state(program)


def random_pulse(rng, n_pieces, rabi=12.0, detuning=8.0):
    return Pulse(
        durations_ns=rng.integers(1, 60, size=n_pieces) * 4,
        rabi_rad_per_us=rng.uniform(0, rabi, size=n_pieces),
        detuning_rad_per_us=rng.normal(0, detuning, size=n_pieces),
        phase_rad=float(rng.uniform(0, 2 * np.pi)),
    )


def random_program(rules, rng, n_atoms, n_slots, *, parallel_rydberg=False, rydberg_share=0.6):
    """Arbitrary pulses: leaky, detuned, phased; at random idle times, never two on one atom."""
    angles = 2 * np.pi * np.arange(n_atoms) / max(n_atoms, 1)
    coordinates = rng.uniform(4.0, 6.5) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    coordinates += rng.normal(0, 0.3, size=coordinates.shape)
    free = np.zeros(n_atoms, dtype=int)
    rydberg_free = 0
    slots = []
    for _ in range(n_slots):
        atom = int(rng.integers(n_atoms))
        beam = "rydberg" if rng.random() < rydberg_share else "raman"
        start = int(free[atom])
        if beam == "rydberg" and not parallel_rydberg:
            start = max(start, rydberg_free)
        start += 4 * int(rng.integers(0, 10))
        slot = Slot(beam, atom, start, random_pulse(rng, int(rng.integers(1, 4))))
        slots.append(slot)
        free[atom] = slot.end_ns
        if beam == "rydberg":
            rydberg_free = slot.end_ns
    return PulseProgram(
        device=rules,
        coordinates_um=coordinates,
        slots=tuple(sorted(slots, key=lambda slot: slot.start_ns)),
        duration_ns=max(slot.end_ns for slot in slots) + 16,
        frames_rad=rng.uniform(-np.pi, np.pi, size=n_atoms),
        atom_of_qubit=tuple(int(k) for k in rng.permutation(n_atoms)),
        global_phase_rad=float(rng.uniform(-np.pi, np.pi)),
    )


def collapse_operators(n, relaxation, dephasing, hyperfine):
    """√Γ |g><r|, √(2γ) |r><r| and √(2γ') |h><h| on every atom."""
    local = [
        np.sqrt(relaxation) * ket_bra(0, 2),
        np.sqrt(2 * dephasing) * ket_bra(2, 2),
        np.sqrt(2 * hyperfine) * ket_bra(1, 1),
    ]
    return [embed(matrix, atom, n) for matrix in local for atom in range(n)]


def bit_probabilities(program, *, relaxation=0.0, dephasing=0.0, hyperfine=0.0):
    """Probability of every bit string from the Lindblad equation, kernel qubit order."""
    n = len(program.coordinates_um)
    dim = 3**n
    identity = np.eye(dim)
    dissipator = np.zeros((dim**2, dim**2), dtype=complex)
    for jump in collapse_operators(n, relaxation, dephasing, hyperfine):
        loss = jump.conj().T @ jump
        dissipator += np.kron(jump, jump.conj())
        dissipator -= 0.5 * (np.kron(loss, identity) + np.kron(identity, loss.T))
    rho = np.zeros(dim**2, dtype=complex)
    rho[0] = 1
    for begin, end in itertools.pairwise(borders_ns(program)):
        h = hamiltonian(program, begin)
        generator = -1j * (np.kron(h, identity) - np.kron(identity, h.T)) + dissipator
        rho = expm(1e-3 * (end - begin) * generator) @ rho
    population = rho.reshape(dim, dim).diagonal().real.reshape((3,) * n)
    for atom in range(n):
        zero = population.take([0], axis=atom) + population.take([2], axis=atom)
        population = np.concatenate([zero, population.take([1], axis=atom)], axis=atom)
    return population.transpose(program.atom_of_qubit).reshape(-1)
