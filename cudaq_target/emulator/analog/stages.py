"""Splitting schemes, and programs written as the waits and turns of a scheme.

H = D + B: D (interactions, detunings) is diagonal, B (the drive) turns every atom by itself. The
diagonal flow carries the clock, with exact integrals of the detunings; B is applied at frozen time.
The phase of the drive is a frame: with D_φ = diag(1, e^{iφ}) per atom, D_φ† H D_φ has φ = 0 and
the detuning δ - dφ/dt, so a change of φ, however abrupt, is a change of the diagonal flow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.emulator.analog.problem import RydbergProblem

    Reals = NDArray[np.float64]

_LARGEST_ANGLE_RAD = math.pi / 4


@dataclass(frozen=True, slots=True)
class Scheme:
    """A symmetric splitting: waits a_1 … a_{m+1} of the clock around turns b_1 … b_m, in steps.

    Attributes:
        order: Order of convergence.
        waits: a, each sums to 1.
        turns: b.
    """

    order: int
    waits: tuple[float, ...]
    turns: tuple[float, ...]


STRANG = Scheme(2, (0.5, 0.5), (1.0,))


def _bm4() -> Scheme:
    """S6 of Blanes and Moan, J. Comput. Appl. Math. 142 (2002) 313, table 2."""
    a1, a2, a3 = 0.0792036964311957, 0.353172906049774, -0.0420650803577195
    b1, b2 = 0.209515106613362, -0.143851773179818
    a4, b3 = 1.0 - 2.0 * (a1 + a2 + a3), 0.5 - (b1 + b2)
    return Scheme(4, (a1, a2, a3, a4, a3, a2, a1), (b1, b2, b3, b3, b2, b1))


BM4 = _bm4()
SCHEMES = {2: STRANG, 4: BM4}


@dataclass(frozen=True, slots=True)
class Pace:
    """How many steps a smooth stretch of the program takes.

    Refined paces take more steps on every stretch, short ones included, so that the difference of
    two passes holds the errors of all stretches.

    Attributes:
        step_ns: Longest step before any refinement (ns).
        finer: By how much each refinement shortened the steps at least.
    """

    step_ns: float
    finer: tuple[float, ...] = ()

    def n_steps(self, length_ns: float) -> int:
        """Return the number of steps for a stretch.

        >>> Pace(10.0).n_steps(25.0), Pace(10.0, (2.0,)).n_steps(25.0)
        (3, 6)
        """
        count = max(1, math.ceil(length_ns / self.step_ns - 1e-9))
        for factor in self.finer:
            count = math.ceil(count * factor - 1e-9)
        return count

    def refined(self, factor: float) -> Pace:
        """Return a pace with steps shorter by at least `factor`."""
        return Pace(self.step_ns, (*self.finer, factor))


@dataclass(frozen=True, slots=True, eq=False)
class Drive:
    """The curves of a program over the stages of some steps.

    Attributes:
        waits: Waits (µs), shape (n_stages,).
        shifts: Integrals of the detunings over them (rad), shape (n_stages, n_atoms).
        angles: Ω dt/2 of the turns after them (rad), same shape; the last stage has none.
        phases: Phase of the drive in every turn (rad), shape (n_stages - 1, n_atoms).
    """

    waits: Reals
    shifts: Reals
    angles: Reals
    phases: Reals


Known = dict[tuple[tuple[float, ...], tuple[int, ...], int], Drive]
"""What is kept of drives, by edges, steps and number of atoms, where runs have the same curves."""

_MOST_KNOWN = 64


def drive_of(
    problem: RydbergProblem, scheme: Scheme, edges_ns: Sequence[float], n_steps: Sequence[int]
) -> Drive:
    """Evaluate the curves of a program, noise on them apart.

    Args:
        problem: The atoms and their drive.
        scheme: The splitting.
        edges_ns: Begin and end of adjoining stretches (ns); kinks lie at edges alone.
        n_steps: Number of equal steps in every stretch, one fewer than edges.

    Returns:
        What the stages of these steps need.
    """
    edges, counts = np.asarray(edges_ns), np.asarray(n_steps)
    steps = np.repeat(np.diff(edges) / counts, counts)
    number = np.arange(len(steps)) - np.repeat(np.cumsum(counts) - counts, counts)
    a = np.asarray(scheme.waits)
    clock = np.repeat(edges[:-1], counts)[:, None] + np.multiply.outer(steps, np.cumsum(a[:-1]))
    clock += (number * steps)[:, None]
    turns_at = clock.reshape(-1)
    moments = np.concatenate([edges[:1], turns_at, edges[-1:]])
    # The wait that ends a step goes on as the one that begins the next.
    waits = np.zeros(turns_at.size + 1)
    waits[:-1] = 1e-3 * np.multiply.outer(steps, a[:-1]).reshape(-1)
    n_turns = len(scheme.turns)
    waits[n_turns::n_turns] += 1e-3 * a[-1] * steps
    rabi, phase = problem.drive(turns_at)
    shifts = np.empty((len(waits), problem.n_atoms))
    shifts[:] = np.diff(problem.light_shift(moments), axis=0)
    angles = np.zeros_like(shifts)
    angles[:-1] = rabi * (0.5e-3 * np.multiply.outer(steps, scheme.turns)).reshape(-1, 1)
    return Drive(waits, shifts, angles, np.broadcast_to(phase, (len(phase), problem.n_atoms)))


def stages(
    problem: RydbergProblem,
    scheme: Scheme,
    edges_ns: Sequence[float],
    n_steps: Sequence[int],
    frame: Reals,
    known: Known | None = None,
) -> tuple[Reals, Reals, Reals, Reals]:
    """Write steps over smooth curves as waits and turns.

    Args:
        problem: The atoms and their drive.
        scheme: The splitting.
        edges_ns: Begin and end of adjoining stretches (ns); kinks lie at edges alone.
        n_steps: Number of equal steps in every stretch, one fewer than edges.
        frame: Phase of every atom's frame at the beginning (rad), shape (1, n_atoms).
        known: Drives of problems with the same curves, which grows; None keeps nothing.

    Returns:
        Waits (µs), shape (n_stages,); phases that r gathers in them by detuning and frame (rad),
        shape (n_stages, n_atoms); angles Ω dt/2 of the turns after them (rad), same shape; and the
        frame at the end. The last stage has no turn.
    """
    key = tuple(edges_ns), tuple(n_steps), problem.n_atoms
    drive = None if known is None else known.get(key)
    if drive is None:
        drive = drive_of(problem, scheme, edges_ns, n_steps)
        if known is not None and len(known) < _MOST_KNOWN:
            known[key] = drive
    shifts, angles = problem.disturbed(drive.shifts, drive.angles, drive.waits)
    frames = np.concatenate([frame, drive.phases])
    if (frames != frame).any():
        shifts = shifts.copy()
        shifts[:-1] -= np.diff(frames, axis=0)
    return (*_small_turns(drive.waits, shifts, angles), frames[-1:].copy())


def _small_turns(waits: Reals, shifts: Reals, angles: Reals) -> tuple[Reals, Reals, Reals]:
    """Repeat turns that are too large for their tangents, by parts of them."""
    if np.abs(angles).max() <= _LARGEST_ANGLE_RAD:
        return waits, shifts, angles
    parts = np.ceil(np.abs(angles).max(axis=1) / _LARGEST_ANGLE_RAD).astype(np.int64)
    parts = np.maximum(parts, 1)
    first = np.cumsum(parts) - parts
    n_stages = int(parts.sum())
    all_waits, all_shifts = np.zeros(n_stages), np.zeros((n_stages, shifts.shape[1]))
    all_waits[first], all_shifts[first] = waits, shifts
    return all_waits, all_shifts, np.repeat(angles / parts[:, None], parts, axis=0)
