"""The state of a program's atoms, each with the levels it can occupy, and lazy fused updates."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.emulator.levels import MAX_DENSE_ROWS, ConditionalOperator, R, projector
from cudaq_target.emulator.memory import require_bytes
from cudaq_target.kernels import statevector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from cudaq_target.emulator.levels import LevelOperator, Levels
    from cudaq_target.kernels.statevector_backend import Backend

EMPTY_POPULATION = 1e-14
"""Population of r in the state below which a three-level atom goes back to two levels."""


@dataclass(slots=True, eq=False)
class Block:
    """Operators on a few atoms, multiplied together and not yet applied to the state.

    Attributes:
        atoms: The atoms; `atoms[0]` is the most significant digit.
        dims: Levels of each atom after the block.
        matrix: Shape (prod(dims), prod of level counts in the state).
    """

    atoms: list[int]
    dims: list[int]
    matrix: NDArray[np.complexfloating]

    def multiply(self, operator: LevelOperator) -> None:
        """Let `operator`, whose atoms are all in the block, act after it."""
        positions = [self.atoms.index(atom) for atom in operator.atoms]
        out_dims = [len(levels) for levels in operator.out_levels]
        if len(positions) == 1:
            k = positions[0]
            tensor = self.matrix.reshape(prod(self.dims[:k]), self.dims[k], -1)
            self.matrix = np.matmul(operator.matrix, tensor)
        elif positions == list(range(len(self.atoms))):
            self.matrix = operator.matrix @ self.matrix
        else:
            rest = [k for k in range(len(self.dims)) if k not in positions]
            columns = self.matrix.shape[1]
            perm = positions + rest + [len(self.dims)]
            tensor = self.matrix.reshape(*self.dims, columns).transpose(perm)
            product = operator.matrix @ tensor.reshape(operator.matrix.shape[1], -1)
            shape = out_dims + [self.dims[k] for k in rest] + [columns]
            self.matrix = product.reshape(shape).transpose(np.argsort(perm))
        for k, dim in zip(positions, out_dims, strict=True):
            self.dims[k] = dim
        self.matrix = self.matrix.reshape(prod(self.dims), -1)

    def join(self, other: Block) -> None:
        """Take in a block on other atoms."""
        a, b = self.matrix, other.matrix
        product = a[:, None, :, None] * b[None, :, None, :]
        self.matrix = product.reshape(len(a) * len(b), -1)
        self.atoms += other.atoms
        self.dims += other.dims


class LevelState:
    """Amplitudes over the levels that atoms can occupy, updated lazily.

    Operators gather in blocks of at most `max_block_atoms` atoms; a block touches the amplitudes
    only when an operator would make it larger, so one pass serves a whole CPhase with all Raman
    pulses around it. Atoms start in g alone and cost nothing until a pulse reaches them.

    Attributes:
        levels: Levels of every atom after all operators, pending ones included.
    """

    def __init__(
        self,
        n_atoms: int,
        *,
        dtype: type[np.complexfloating] = np.complex128,
        max_block_atoms: int = 4,
        backend: Backend | None = None,
        threads: int | None = None,
        empty_population: float = EMPTY_POPULATION,
    ) -> None:
        self.levels: list[Levels] = [(0,)] * n_atoms
        self._amplitudes: NDArray[np.complexfloating] = np.ones(1, dtype=dtype)
        self._dims = [1] * n_atoms
        self._max_block_atoms = max_block_atoms
        self._backend = backend
        self._threads = threads
        self._empty_population = empty_population
        self._pending: dict[int, Block] = {}
        self._suspects: set[int] = set()

    @property
    def amplitudes(self) -> NDArray[np.complexfloating]:
        """All amplitudes, shape (prod(dims),); pending operators are applied first."""
        self.flush()
        return self._amplitudes

    @property
    def dims(self) -> list[int]:
        """Number of levels of every atom after all operators."""
        return [len(levels) for levels in self.levels]

    @property
    def open_atoms(self) -> list[int]:
        """Atoms that may be in r."""
        return [atom for atom, levels in enumerate(self.levels) if levels[-1] == R]

    def copy(self) -> LevelState:
        """Return an independent copy (pending operators are applied first)."""
        self.flush()
        twin = LevelState(
            0,
            max_block_atoms=self._max_block_atoms,
            backend=self._backend,
            threads=self._threads,
            empty_population=self._empty_population,
        )
        twin.levels = list(self.levels)
        twin._amplitudes = self._amplitudes.copy()
        twin._dims = list(self._dims)
        twin._suspects = set(self._suspects)
        return twin

    def apply(self, operator: LevelOperator | ConditionalOperator) -> None:
        """Let an operator act; the state itself is touched as late as possible."""
        if isinstance(operator, ConditionalOperator):
            self._apply_conditional(operator)
            return
        block = self._block_for(operator.atoms)
        block.multiply(operator)
        for atom, levels in zip(operator.atoms, operator.out_levels, strict=True):
            self.levels[atom] = levels

    def _apply_conditional(self, operator: ConditionalOperator) -> None:
        self.flush()
        atom = operator.atom
        new_dim = operator.matrices.shape[1]
        # Always out of place.
        new_bytes = self._amplitudes.nbytes * new_dim // self._dims[atom]
        require_bytes(new_bytes, len(self._dims))
        self._amplitudes = statevector.apply_conditional(
            self._amplitudes,
            self._dims,
            atom,
            [(near, self._dims[near] - 1) for near in operator.near],
            operator.matrices,
            backend=self._backend,
            threads=self._threads,
        )
        self._dims[atom] = new_dim
        self.levels[atom] = operator.out_levels
        if new_dim == 3:
            self._suspects.add(atom)

    def scale(self, factor: float) -> None:
        """Multiply all amplitudes by a number."""
        self._amplitudes *= factor

    def measure_r(self, atom: int, uniform: float) -> None:
        """Measure whether an atom is in r; the norm stays what it was.

        Args:
            atom: The atom.
            uniform: Random number in [0, 1) that decides.
        """
        populations = self.populations(atom)
        share = populations.pop(R, 0.0)
        total = share + sum(populations.values())
        if share <= 0.0 or not populations:
            return
        found = uniform * total < share
        kept = (R,) if found else tuple(populations)
        self.apply(projector(atom, self.levels[atom], kept))
        self.scale(float(np.sqrt(total / (share if found else total - share))))

    def norm_squared(self) -> float:
        """Return the squared norm of the state."""
        self.flush()
        return float(np.vdot(self._amplitudes, self._amplitudes).real)

    def _block_for(self, atoms: Iterable[int]) -> Block:
        """Return a pending block that holds all `atoms`, flushing blocks that do not fit in."""
        pending = self._pending
        wanted: set[int] = set(atoms)
        touched: list[Block] = []
        for atom in wanted:
            block = pending.get(atom)
            if block is not None and block not in touched:
                touched.append(block)
        union = wanted.union(*(block.atoms for block in touched))
        # Give up the block that brings most atoms from outside until the rest fits together.
        while touched and not self._fits(union):
            largest = max(touched, key=lambda block: len(set(block.atoms) - wanted))
            if set(largest.atoms) <= wanted:
                break
            touched.remove(largest)
            self._flush_block(largest)
            union = wanted.union(*(block.atoms for block in touched))
        if touched:
            home = touched[0]
            for other in touched[1:]:
                home.join(other)
        else:
            home = Block([], [], np.ones((1, 1), dtype=np.complex128))
        for atom in atoms:
            if atom not in home.atoms:
                dim = self._dims[atom]
                home.join(Block([atom], [dim], np.eye(dim, dtype=np.complex128)))
        for atom in home.atoms:
            pending[atom] = home
        return home

    def _fits(self, atoms: set[int]) -> bool:
        """Whether one block may hold these atoms: few of them, and few levels in all."""
        if len(atoms) > self._max_block_atoms:
            return False
        return prod(len(self.levels[atom]) for atom in atoms) <= MAX_DENSE_ROWS

    def flush(self) -> None:
        """Apply every pending block, small ones joined first."""
        blocks: list[Block] = []
        for block in dict.fromkeys(self._pending.values()):
            partner = next(
                (b for b in blocks if self._fits({*b.atoms, *block.atoms})),
                None,
            )
            if partner is None:
                blocks.append(block)
            else:
                partner.join(block)
                self._pending.update(dict.fromkeys(block.atoms, partner))
        for block in blocks:
            self._flush_block(block)

    def _flush_block(self, block: Block) -> None:
        for atom in block.atoms:
            del self._pending[atom]
        size = self._amplitudes.size * block.matrix.shape[0] // block.matrix.shape[1]
        if size > self._amplitudes.size:
            require_bytes(size * self._amplitudes.itemsize, len(self._dims))
        self._amplitudes = statevector.apply_block(
            self._amplitudes,
            self._dims,
            block.atoms,
            block.matrix,
            out_dims=block.dims,
            backend=self._backend,
            threads=self._threads,
        )
        for atom, dim in zip(block.atoms, block.dims, strict=True):
            self._dims[atom] = dim
        self._suspects.update(atom for atom in block.atoms if self._dims[atom] == 3)

    def close_empty(self) -> None:
        """Take three-level atoms that have left r back to two levels.

        Only atoms that a pass has touched since the last call are looked at. Operators built before
        this call may not fit afterwards.
        """
        for atom in self._suspects.difference(self._pending):
            if self._dims[atom] == 3 and self._populations(atom)[R] < self._empty_population:
                tensor = self._amplitudes.reshape(prod(self._dims[:atom]), 3, -1)
                self._amplitudes = np.ascontiguousarray(tensor[:, :2]).reshape(-1)
                self._dims[atom] = 2
                self.levels[atom] = (0, 1)
        self._suspects.clear()

    def populations(self, atom: int) -> dict[int, float]:
        """Population of each level that `atom` may occupy."""
        self.flush()
        return dict(zip(self.levels[atom], self._populations(atom).tolist(), strict=True))

    def _populations(self, atom: int) -> NDArray[np.float64]:
        return statevector.level_populations(
            self._amplitudes, self._dims, atom, backend=self._backend, threads=self._threads
        )
