"""Run a pulse program without noise: exact state, leakage, shots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.emulator import levels as lv
from cudaq_target.emulator.interactions import Interactions
from cudaq_target.emulator.memory import require_bytes, state_bytes, usable_threads
from cudaq_target.emulator.propagators import time_ordered, two_level
from cudaq_target.emulator.state import LevelState
from cudaq_target.emulator.windows import Rotation, steps_of
from cudaq_target.kernels import statevector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.kernels.statevector_backend import Backend
    from cudaq_target.timeline import PulseProgram


@dataclass(frozen=True, slots=True, eq=False)
class EmulatorResult:
    """The end of an emulation.

    Attributes:
        amplitudes: Amplitudes over the levels that atoms may occupy, atom 0 most significant,
            before the virtual frames: what the atoms hold.
        levels: Those levels, per atom (g = 0, h = 1, r = 2).
        program: The program that ran.
        leakage: Population that is still in r, per atom, shape (n_atoms,). It reads as 0, as r does
            in Pulser's digital measurement.
    """

    amplitudes: NDArray[np.complexfloating]
    levels: tuple[lv.Levels, ...]
    program: PulseProgram
    leakage: NDArray[np.float64]

    def state(self) -> NDArray[np.complex128]:
        """Return the kernel's state, qubit 0 most significant, shape (2^n_qubits,).

        Amplitudes of atoms in r are left out, so the squared norm is what the leakage leaves. Atoms
        without a qubit must have returned to g; what they hold in h is left out as well.

        Raises:
            MemoryLimitError: The copy in the kernel's frame and order would not fit into memory.
        """
        atom_of_qubit = self.program.atom_of_qubit
        n_qubits = len(atom_of_qubit)
        in_place = atom_of_qubit == tuple(range(len(self.levels)))
        in_place &= all(levels == (lv.G, lv.H) for levels in self.levels)
        framed_bytes = np.dtype(np.complex128).itemsize * self.amplitudes.size
        # An atom that no pulse opened costs nothing before it gets its place in the result.
        require_bytes(framed_bytes + state_bytes(n_qubits, copies=not in_place), n_qubits)
        tensor = self._framed().reshape([len(levels) for levels in self.levels])
        held = set(atom_of_qubit)
        source: list[slice | int] = []
        target: list[slice | int] = []
        for atom, levels in enumerate(self.levels):
            if atom in held:
                logical = [level for level in levels if level != lv.R]
                source.append(slice(0, len(logical)))
                target.append(slice(logical[0], logical[-1] + 1) if logical else slice(0, 0))
            elif levels[0] == lv.G:
                source.append(0)
            else:
                return np.zeros(2**n_qubits, dtype=np.complex128)
        kept_atoms = sorted(held)
        order = [kept_atoms.index(atom) for atom in atom_of_qubit]
        tensor = tensor[tuple(source)]
        if tensor.size == 2 ** len(order) and order == list(range(len(order))):
            return tensor.reshape(-1)
        result = np.zeros((2,) * len(order), dtype=np.complex128)
        result[tuple(target[k] for k in order)] = tensor.transpose(order)
        return result.reshape(-1)

    @property
    def norm_squared(self) -> float:
        """Squared norm of the state; below 1 where relaxation was left to happen."""
        return float(np.vdot(self.amplitudes, self.amplitudes).real)

    def _framed(self) -> NDArray[np.complex128]:
        """Amplitudes in the kernel's frame: diag(e^{-if/2}, e^{if/2}) on every atom, and e^{iγ}."""
        factors = []
        for frame, levels in zip(self.program.frames_rad, self.levels, strict=True):
            by_level = np.array([np.exp(-0.5j * frame), np.exp(0.5j * frame), 1.0])
            factors.append(by_level[list(levels)])
        half = len(factors) // 2
        outer = np.exp(1j * self.program.global_phase_rad) * _outer(factors[:half])
        framed = self.amplitudes.reshape(len(outer), -1) * outer[:, None]
        framed *= _outer(factors[half:])
        return np.asarray(framed, dtype=np.complex128)

    def sample(
        self, n_shots: int, rng: np.random.Generator, *, threads: int | None = None
    ) -> NDArray[np.uint8]:
        """Measure every qubit.

        Args:
            n_shots: Number of shots.
            rng: Source of randomness.
            threads: Most threads to use.

        Returns:
            Bits, shape (n_shots, n_qubits), kernel qubit order; h reads 1, g and r read 0.
        """
        indices = statevector.sample_indices(self.amplitudes, n_shots, rng, threads=threads)
        digits = statevector.indices_to_digits(indices, [len(levels) for levels in self.levels])
        bits = np.empty((n_shots, len(self.program.atom_of_qubit)), dtype=np.uint8)
        for qubit, atom in enumerate(self.program.atom_of_qubit):
            reads_one = np.array([level == lv.H for level in self.levels[atom]], dtype=np.uint8)
            bits[:, qubit] = reads_one[digits[:, atom]]
        return bits


def _outer(factors: Sequence[NDArray[np.complex128]]) -> NDArray[np.complex128]:
    """Flat outer product, the first factor most significant."""
    product = np.ones(1, dtype=np.complex128)
    for factor in factors:
        product = np.multiply.outer(product, factor).reshape(-1)
    return product


def couplings_of(
    coordinates_um: NDArray[np.float64], c6_rad_per_us_um6: float
) -> NDArray[np.float64]:
    """Return the pair interactions V_ij = C6/R_ij^6.

    Args:
        coordinates_um: Atom positions (µm), shape (n_atoms, 2 or 3).
        c6_rad_per_us_um6: Interaction coefficient (rad/µs·µm⁶).

    Returns:
        V (rad/µs), shape (n_atoms, n_atoms), zero on the diagonal.

    >>> couplings_of(np.array([[0.0, 0.0], [2.0, 0.0]]), 64.0).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    difference = coordinates_um[:, None, :] - coordinates_um[None, :, :]
    squared = np.einsum("ijk,ijk->ij", difference, difference)
    np.fill_diagonal(squared, np.inf)
    return np.asarray(c6_rad_per_us_um6 / squared**3)


def rotations_of(rotations: Sequence[Rotation]) -> list[NDArray[np.complex128]]:
    """Propagate Raman pulses in one vectorised evaluation.

    Args:
        rotations: The pulses.

    Returns:
        Propagators over (g, h, r), shape (3, 3), in the same order.
    """
    if not rotations:
        return []
    drives = [step.drive for step in rotations]
    counts = [len(drive.durations_ns) for drive in drives]
    pieces = two_level(
        np.concatenate([drive.rabi_rad_per_us for drive in drives]),
        np.concatenate([drive.detuning_rad_per_us for drive in drives]),
        np.repeat([drive.phase_rad for drive in drives], counts),
        np.concatenate([drive.durations_ns for drive in drives]),
    )
    if len(pieces) > len(drives):
        ends = np.cumsum(counts)
        pieces = np.stack(
            [time_ordered(pieces[e - c : e]) for e, c in zip(ends, counts, strict=True)]
        )
    full = np.zeros((len(drives), 3, 3), dtype=np.complex128)
    # The closed form counts from h, the dark level of this beam's detuning: (h, g) -> (g, h).
    full[:, :2, :2] = pieces[:, ::-1, ::-1]
    full[:, 2, 2] = 1.0
    return list(full)


def emulate(
    program: PulseProgram,
    *,
    dtype: type[np.complexfloating] = np.complex128,
    max_block_atoms: int = 4,
    backend: Backend | None = None,
    threads: int | None = None,
) -> EmulatorResult:
    """Run a program exactly.

    Args:
        program: The program.
        dtype: complex128, or complex64 for half the memory and about 1e-6 of accuracy.
        max_block_atoms: Most atoms of a fused block.
        backend: State-vector back end; None chooses by size.
        threads: Most threads to use; None takes all CPUs the process may use.

    Returns:
        The end of the program.

    Raises:
        MemoryLimitError: The state would not fit into memory.
        UnsupportedProgramError: Pulses overlap in a way that has no exact propagator.
    """
    threads = usable_threads() if threads is None else threads
    n_driven = len({slot.atom for slot in program.slots})
    require_bytes(
        state_bytes(n_driven, itemsize=np.dtype(dtype).itemsize), len(program.atom_of_qubit)
    )
    state = LevelState(
        len(program.coordinates_um),
        dtype=dtype,
        max_block_atoms=max_block_atoms,
        backend=backend,
        threads=threads,
    )
    interactions = Interactions(
        couplings_of(program.coordinates_um, program.device.c6_rad_per_us_um6)
    )
    steps = steps_of(program)
    rotations = iter(rotations_of([step for step in steps if isinstance(step, Rotation)]))
    for step in steps:
        state.close_empty()
        if isinstance(step, Rotation):
            atom = step.drive.atom
            state.apply(lv.rotation_operator(atom, state.levels[atom], next(rotations)))
        else:
            interactions.advance(state, step)
    interactions.settle(state)
    return finish(state, program)


def finish(state: LevelState, program: PulseProgram) -> EmulatorResult:
    """Apply what is pending and look at the leakage."""
    state.flush()
    state.close_empty()
    leakage = np.zeros(len(state.levels))
    for atom in state.open_atoms:
        leakage[atom] = state.populations(atom)[lv.R]
    return EmulatorResult(state.amplitudes, tuple(state.levels), program, leakage)
