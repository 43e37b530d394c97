"""Operators between the levels that atoms can really occupy.

Levels are numbered g = 0, h = 1, r = 2. An atom carries the tuple of levels that may be populated:
(0,) at the start, (0, 1) after a Raman pulse, (1, 2) while an exact π pulse parks its g part in r.
An operator maps such level sets to new ones, so a control atom costs two levels at every moment,
and an atom is treated with three levels exactly where a pulse leaves something behind.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.emulator.clusters import cluster_propagator
from cudaq_target.emulator.propagators import US_PER_NS, time_ordered, two_level
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

NEGLIGIBLE_RAD = 1e-13
"""Interaction phases below this are rounding noise and couple nothing."""

MAX_DRIVEN_ATOMS = 3
"""Atoms of one dense cluster that may be driven at the same time."""

MAX_DENSE_ATOMS = 5
"""Atoms, driven together or in r near them, that one dense cluster operator may join."""

MAX_FUSED_NEIGHBOURS = 2
"""Atoms in r near a single driven atom up to which its operator is a dense block to be fused."""

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


def flip_operator(atom: int, levels: Levels, level: int) -> LevelOperator:
    """Return 1 - 2|level><level| of one atom."""
    signs = [-1.0 if own == level else 1.0 for own in levels]
    return LevelOperator((atom,), (levels,), np.diag(signs).astype(np.complex128))


def jump_operator(atom: int, levels: Levels) -> LevelOperator:
    """Return |g><r| of one atom; afterwards it holds nothing but g."""
    row = np.array([[1.0 if own == R else 0.0 for own in levels]], dtype=np.complex128)
    return LevelOperator((atom,), ((G,),), row)


def _kept(rows: NDArray[np.complex128]) -> Levels:
    """Levels that some allowed input populates; rows of `rows` are levels 0, 1, 2."""
    population = np.square(np.abs(rows)).reshape(3, -1).sum(axis=1)
    kept = tuple(int(level) for level in np.flatnonzero(population > DROPPED_POPULATION))
    # A vanishing operator (an input of weight zero) still needs a place to live.
    return kept or (int(population.argmax()),)


def window_operators(
    window: Window,
    levels: Sequence[Levels],
    open_atoms: Sequence[int],
    couplings: NDArray[np.float64],
    decay_per_us: float = 0.0,
) -> list[LevelOperator | ConditionalOperator]:
    """Build the exact operators of one window.

    Args:
        window: The window.
        levels: Levels of every atom of the program.
        open_atoms: Atoms that may be in r.
        couplings: V_ij = C6/R_ij^6 (rad/µs), shape (n_atoms, n_atoms).
        decay_per_us: Rate Γ at which r loses its norm (1/µs): evolution without a jump.

    Returns:
        Operators to apply in order; they commute with each other unless they share atoms.

    Raises:
        UnsupportedProgramError: Too many atoms are driven, or in r near a driven one, at once.
    """
    duration_ns = window.end_ns - window.start_ns
    driven = tuple(drive.atom for drive in window.drives)
    spectators = [atom for atom in open_atoms if atom not in driven]
    operators: list[LevelOperator | ConditionalOperator] = []
    if decay_per_us:
        operators += [_decay(atom, levels[atom], decay_per_us, duration_ns) for atom in spectators]
    reach = NEGLIGIBLE_RAD / (US_PER_NS * duration_ns)
    for a, b in itertools.combinations(spectators, 2):
        if couplings[a, b] > reach:
            phase = couplings[a, b] * US_PER_NS * duration_ns
            operators.append(_pair_phase(a, b, levels, phase))
    if driven:
        near = tuple(s for s in spectators if any(couplings[d, s] > reach for d in driven))
        if len(driven) == 1 and len(near) > MAX_FUSED_NEIGHBOURS:
            operators.append(_conditional(window.drives[0], near, levels, couplings, decay_per_us))
            return operators
        if len(driven) + len(near) > MAX_DENSE_ATOMS or len(driven) > MAX_DRIVEN_ATOMS:
            raise UnsupportedProgramError(
                subject=f"the window from {window.start_ns:g} ns to {window.end_ns:g} ns",
                reason=(
                    f"{len(driven)} atoms are driven while {len(near)} others may be in the "
                    f"Rydberg state; {MAX_DRIVEN_ATOMS} and {MAX_DENSE_ATOMS} in all are possible"
                ),
                remedy="Drive fewer atoms at once, or use machine='qutip'",
            )
        operators.append(_driven(window.drives, near, levels, couplings, decay_per_us))
    return operators


def _decay(atom: int, levels: Levels, decay_per_us: float, duration_ns: float) -> LevelOperator:
    loss = np.exp(-0.5 * decay_per_us * US_PER_NS * duration_ns)
    factors = [loss if level == R else 1.0 for level in levels]
    return LevelOperator((atom,), (levels,), np.diag(factors).astype(np.complex128))


def _pair_phase(a: int, b: int, levels: Sequence[Levels], phase_rad: float) -> LevelOperator:
    factors = [
        np.exp(-1j * phase_rad) if x == R and y == R else 1.0
        for x, y in itertools.product(levels[a], levels[b])
    ]
    return LevelOperator((a, b), (levels[a], levels[b]), np.diag(factors))


def _driven(
    drives: Sequence[Drive],
    near: tuple[int, ...],
    levels: Sequence[Levels],
    couplings: NDArray[np.float64],
    decay_per_us: float,
) -> LevelOperator:
    driven = tuple(drive.atom for drive in drives)
    atoms = driven + near
    in_levels = tuple(levels[atom] for atom in atoms)
    strengths = couplings[np.ix_(driven, atoms)]
    key = (tuple(d.key() for d in drives), strengths.tobytes(), in_levels, decay_per_us)
    found = _cache.get(key)
    if found is None:
        found = _driven_matrix(drives, strengths, in_levels, decay_per_us)
        if len(_cache) >= _CACHE_ENTRIES:
            _cache.clear()
        _cache[key] = found
    return LevelOperator(atoms, found[0], found[1])


def _driven_matrix(
    drives: Sequence[Drive],
    strengths: NDArray[np.float64],
    in_levels: tuple[Levels, ...],
    decay_per_us: float,
) -> tuple[tuple[Levels, ...], NDArray[np.complex128]]:
    """Matrix of driven atoms (first) for every joint level of the atoms near them (last)."""
    n_driven = len(drives)
    allowed = np.array(list(itertools.product(*in_levels[:n_driven])))
    columns = np.ravel_multi_index(tuple(allowed.T), (3,) * n_driven)
    near_levels = list(itertools.product(*in_levels[n_driven:]))
    in_r = np.array([[level == R for level in joint] for joint in near_levels], dtype=np.float64)
    shifts = in_r.reshape(len(near_levels), -1) @ strengths[:, n_driven:].T
    if n_driven == 1:
        blocks = _single(drives[0], shifts[:, 0], decay_per_us)
    else:
        blocks = cluster_propagator(drives, strengths[:, :n_driven], shifts, decay_per_us)
    rows = blocks[:, :, columns].transpose(1, 0, 2).reshape(*(3,) * n_driven, -1)
    kept = tuple(_kept(np.moveaxis(rows, k, 0)) for k in range(n_driven))
    survivors = rows[np.ix_(*kept)].reshape(-1, len(near_levels), len(columns))
    n_near = len(near_levels)
    matrix = np.zeros((len(survivors), n_near, len(columns), n_near), dtype=np.complex128)
    diagonal = np.arange(n_near)
    matrix[:, diagonal, :, diagonal] = survivors.transpose(1, 0, 2)
    out_levels = kept + in_levels[n_driven:]
    return out_levels, matrix.reshape(len(survivors) * n_near, len(columns) * n_near)


def _conditional(
    drive: Drive,
    near: tuple[int, ...],
    levels: Sequence[Levels],
    couplings: NDArray[np.float64],
    decay_per_us: float,
) -> ConditionalOperator:
    patterns = np.array(list(itertools.product((0.0, 1.0), repeat=len(near))))
    shifts = patterns @ couplings[drive.atom, list(near)]
    blocks = _single(drive, shifts, decay_per_us)[:, :, levels[drive.atom]]
    out = _kept(blocks.transpose(1, 0, 2))
    return ConditionalOperator(drive.atom, near, out, blocks[:, list(out)])


def _single(
    drive: Drive, shifts_rad_per_us: NDArray[np.float64], decay_per_us: float
) -> NDArray[np.complex128]:
    """3x3 propagators of one driven atom, one per shift of its Rydberg level."""
    detuning = drive.detuning_rad_per_us[:, None] - shifts_rad_per_us + 0.5j * decay_per_us
    pieces = two_level(
        drive.rabi_rad_per_us[:, None],
        detuning if decay_per_us else detuning.real,
        drive.phase_rad,
        drive.durations_ns[:, None],
    )
    product = time_ordered(pieces)
    full = np.zeros((len(shifts_rad_per_us), 3, 3), dtype=np.complex128)
    full[:, 0, 0], full[:, 0, 2] = product[:, 0, 0], product[:, 0, 1]
    full[:, 2, 0], full[:, 2, 2] = product[:, 1, 0], product[:, 1, 1]
    full[:, 1, 1] = 1.0
    return full
