"""Operators between the levels that atoms can really occupy.

Levels are numbered g = 0, h = 1, r = 2. An atom carries the tuple of levels that may be populated:
(0,) at the start, (0, 1) after a Raman pulse, (1, 2) while an exact π pulse parks its g part in r.
An operator maps such level sets to new ones, so a control atom costs two levels at every moment,
and an atom is treated with three levels exactly where a pulse leaves something behind.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.emulator.clusters import cluster_propagator
from cudaq_target.emulator.propagators import time_ordered, two_level
from cudaq_target.errors import UnsupportedProgramError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.emulator.windows import Drive, Window

G, H, R = 0, 1, 2

Levels = tuple[int, ...]

DROPPED_POPULATION = 1e-18
"""Population (for any allowed input) below which an operator does not open a level.

Each drop changes the state by at most its square root, 1e-9, in norm; the changes add up linearly,
so a program of 30,000 windows stays within (30,000 · 1e-9)² = 9e-10 of process infidelity.
"""

MAX_DRIVEN_ATOMS = 3
"""Atoms of one dense cluster that may be driven at the same time."""

MAX_DENSE_ATOMS = 5
"""Atoms, driven together or in r near them, that one dense cluster operator may join."""

MAX_DENSE_ROWS = 16
"""Rows of a dense operator or fused block; beyond, conditional operators and more passes win."""

_CACHE_ENTRIES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class LevelOperator:
    """A matrix between level sets.

    Attributes:
        atoms: The atoms it acts on; `atoms[0]` is the most significant digit.
        out_levels: Levels of each of them afterwards.
        matrix: Shape (prod of new level counts, prod of old level counts).
    """

    atoms: tuple[int, ...]
    out_levels: tuple[Levels, ...]
    matrix: NDArray[np.complex128]


@dataclass(frozen=True, slots=True, eq=False)
class ConditionalOperator:
    """A matrix on one atom for every pattern of other atoms in r.

    Attributes:
        atom: The atom it acts on.
        near: The atoms whose r decides; the first is the most significant bit of the pattern.
        out_levels: Levels of `atom` afterwards.
        matrices: Shape (2^len(near), new level count, old level count).
    """

    atom: int
    near: tuple[int, ...]
    out_levels: Levels
    matrices: NDArray[np.complex128]


_cache: dict[object, tuple[tuple[Levels, ...], NDArray[np.complex128]]] = {}


def clear_cache() -> None:
    """Forget all cached window matrices."""
    _cache.clear()


def rotation_operator(atom: int, levels: Levels, raman: NDArray[np.complex128]) -> LevelOperator:
    """Restrict a Raman propagator to the levels of its atom.

    Args:
        atom: The atom.
        levels: Its levels.
        raman: Propagator over (g, h, r), shape (3, 3).

    Returns:
        The operator; it opens whichever of g and h the pulse populates.
    """
    if levels[:2] == (G, H):
        # Both ends of the transition are there already, and a unitary empties neither.
        return LevelOperator((atom,), (levels,), raman[: len(levels), : len(levels)])
    columns = raman[:, levels]
    out = _kept(columns)
    return LevelOperator((atom,), (out,), columns[list(out)])


def jump_operator(atom: int, levels: Levels) -> LevelOperator:
    """Return |g><r| of one atom; afterwards it holds nothing but g."""
    row = np.array([[1.0 if own == R else 0.0 for own in levels]], dtype=np.complex128)
    return LevelOperator((atom,), ((G,),), row)


def projector(atom: int, levels: Levels, kept: Levels) -> LevelOperator:
    """Keep some of the levels of one atom."""
    rows = np.array([[1.0 if own == level else 0.0 for own in levels] for level in kept])
    return LevelOperator((atom,), (kept,), rows.astype(np.complex128))


def _kept(rows: NDArray[np.complex128]) -> Levels:
    """Levels that some allowed input populates; rows of `rows` are levels 0, 1, 2."""
    population = np.square(np.abs(rows)).reshape(3, -1).sum(axis=1)
    kept = tuple(int(level) for level in np.flatnonzero(population > DROPPED_POPULATION))
    # A vanishing operator (an input of weight zero) still needs a place to live.
    return kept or (int(population.argmax()),)


def single_drive_operator(
    drive: Drive,
    near: tuple[int, ...],
    in_levels: tuple[Levels, ...],
    couplings: NDArray[np.float64],
    phases: NDArray[np.float64],
    decay: tuple[float, float] = (0.0, 0.0),
) -> LevelOperator | ConditionalOperator:
    """Propagate one driven atom, for every pattern of atoms near it in r.

    Args:
        drive: The pulse.
        near: Atoms that may be in r and interact with the driven one.
        in_levels: Levels of the driven atom, then of those near it.
        couplings: V between the driven atom and each of `near` (rad/µs).
        phases: Interaction phase that the driven atom in r has gathered with each of `near` in r
            before the pulse and that was not applied yet (rad).
        decay: Rate Γ at which r loses norm (1/µs), and the factor on the driven atom's r amplitude
            that was not applied yet, as its negative logarithm.

    Returns:
        A dense operator that can be fused while few atoms are near, else a conditional one.
    """
    atoms = (drive.atom, *near)
    if 3 * prod(len(levels) for levels in in_levels[1:]) > MAX_DENSE_ROWS:
        blocks = _pattern_blocks(drive, couplings, phases, decay)[:, :, in_levels[0]]
        out = _kept(blocks.transpose(1, 0, 2))
        return ConditionalOperator(drive.atom, near, out, blocks[:, list(out)])
    key = (drive.key(), couplings.tobytes(), phases.tobytes(), in_levels, decay)
    found = _cache.get(key)
    if found is None:
        blocks = _pattern_blocks(drive, couplings, phases, decay)[:, :, in_levels[0]]
        out = _kept(blocks.transpose(1, 0, 2))
        found = ((out, *in_levels[1:]), _spread(blocks[:, list(out)], in_levels[1:]))
        remember(key, found)
    return LevelOperator(atoms, found[0], found[1])


def remember(key: object, found: tuple[tuple[Levels, ...], NDArray[np.complex128]]) -> None:
    """Keep a matrix for the next window that is alike."""
    if len(_cache) >= _CACHE_ENTRIES:
        _cache.clear()
    _cache[key] = found


def _pattern_blocks(
    drive: Drive,
    couplings: NDArray[np.float64],
    phases: NDArray[np.float64],
    decay: tuple[float, float],
) -> NDArray[np.complex128]:
    """3x3 propagators of the driven atom, one per pattern of others in r, shape (2^m, 3, 3)."""
    rate_per_us, pending_loss = decay
    patterns = np.array(list(itertools.product((0.0, 1.0), repeat=len(couplings))))
    detuning = drive.detuning_rad_per_us[:, None] - patterns @ couplings
    pieces = two_level(
        drive.rabi_rad_per_us[:, None],
        detuning + 0.5j * rate_per_us if rate_per_us else detuning,
        drive.phase_rad,
        drive.durations_ns[:, None],
    )
    product = time_ordered(pieces)
    blocks = np.zeros((len(patterns), 3, 3), dtype=np.complex128)
    blocks[:, G, G], blocks[:, R, G] = product[:, 0, 0], product[:, 1, 0]
    before = np.exp(-1j * (patterns @ phases) - pending_loss)
    blocks[:, G, R], blocks[:, R, R] = product[:, 0, 1] * before, product[:, 1, 1] * before
    blocks[:, H, H] = 1.0
    return blocks


def _spread(
    blocks: NDArray[np.complex128], near_levels: Sequence[Levels]
) -> NDArray[np.complex128]:
    """Turn matrices per pattern into one matrix over (driven atom, atoms near it)."""
    n_out, n_in = blocks.shape[1:]
    pattern_of = np.zeros(1, dtype=np.int64)
    for levels in near_levels:
        in_r = np.array([level == R for level in levels], dtype=np.int64)
        pattern_of = (2 * pattern_of[:, None] + in_r).reshape(-1)
    n_near = len(pattern_of)
    matrix = np.zeros((n_out, n_near, n_in, n_near), dtype=np.complex128)
    diagonal = np.arange(n_near)
    matrix[:, diagonal, :, diagonal] = blocks[pattern_of]
    return matrix.reshape(n_out * n_near, n_in * n_near)


def cluster_operator(
    window: Window,
    near: tuple[int, ...],
    levels: Sequence[Levels],
    couplings: NDArray[np.float64],
    decay_per_us: float,
) -> LevelOperator:
    """Propagate a few atoms that are driven at the same time.

    Args:
        window: The window; all its drives last as long as it does.
        near: Atoms that may be in r and interact with a driven one.
        levels: Levels of every atom of the program.
        couplings: V_ij of all atoms (rad/µs).
        decay_per_us: Rate at which r loses norm (1/µs).

    Returns:
        The dense operator on driven atoms and those near them.

    Raises:
        UnsupportedProgramError: Too many atoms are driven, or in r near a driven one, at once.
    """
    driven = tuple(drive.atom for drive in window.drives)
    if len(driven) + len(near) > MAX_DENSE_ATOMS or len(driven) > MAX_DRIVEN_ATOMS:
        raise UnsupportedProgramError(
            subject=f"the window from {window.start_ns:g} ns to {window.end_ns:g} ns",
            reason=(
                f"{len(driven)} atoms are driven while {len(near)} others may be in the "
                f"Rydberg state; {MAX_DRIVEN_ATOMS} and {MAX_DENSE_ATOMS} in all are possible"
            ),
            remedy="Drive fewer atoms at once, or use machine='qutip'",
        )
    k = len(driven)
    near_levels = tuple(levels[atom] for atom in near)
    allowed = list(itertools.product(*(levels[atom] for atom in driven)))
    columns = np.ravel_multi_index(tuple(np.array(allowed).T), (3,) * k)
    patterns = np.array(list(itertools.product((0.0, 1.0), repeat=len(near))))
    shifts = patterns @ couplings[np.ix_(near, driven)]
    mutual = couplings[np.ix_(driven, driven)]
    blocks = cluster_propagator(window.drives, mutual, shifts, decay_per_us)[:, :, columns]
    rows = blocks.transpose(1, 0, 2).reshape(*(3,) * k, -1)
    kept = tuple(_kept(np.moveaxis(rows, axis, 0)) for axis in range(k))
    survivors = rows[np.ix_(*kept)].reshape(-1, len(patterns), len(columns)).transpose(1, 0, 2)
    return LevelOperator(driven + near, kept + near_levels, _spread(survivors, near_levels))


def level_phase(atom: int, levels: Levels, level: int, factor: complex) -> LevelOperator:
    """Multiply one level of one atom by a number."""
    diagonal = [factor if own == level else 1.0 for own in levels]
    return LevelOperator((atom,), (levels,), np.diag(diagonal).astype(np.complex128))


def pair_phase(a: int, b: int, levels: Sequence[Levels], phase_rad: float) -> LevelOperator:
    """Multiply "both in r" of two atoms by e^{-i phase}."""
    factors = [
        np.exp(-1j * phase_rad) if x == R and y == R else 1.0
        for x, y in itertools.product(levels[a], levels[b])
    ]
    return LevelOperator((a, b), (levels[a], levels[b]), np.diag(factors).astype(np.complex128))
