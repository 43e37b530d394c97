"""CCZ in one go on three atoms at equal distances: five pulses, exact for the actual triangle.

The order is c1, c2, t, c2, c1. A square π pulse lifts c1; a shaped pulse on c2 and one on t do the
rest under partial blockade; the second pulse on c2 has another laser phase. With a_S the amplitude
with which the atoms return when exactly those of S start in g, the gate is exact when

    |a_S| = 1 for all S,   arg(a_ij / (a_i a_j)) = π for the three pairs,
    arg(a_123 a_1 a_2 a_3 / (a_12 a_13 a_23)) = π;

then Rz(i, arg a_i + π) on each atom completes CCZ up to a global phase. Solving from nothing takes
tens of seconds; from the tabulated shape it takes tens of milliseconds for any equal distances, and
the result is kept in the pulse cache.

Triangles of the same size differ in the last digits of their interactions, because coordinates are
rounded. The pulses are solved for the rounded mean, and from there a last step or two make them
as exact as they can be for the three actual interactions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.pulse_cache import default_cache
from cudaq_target.pulses import free_time_ns, least_mean
from cudaq_target.timeline import Pulse
from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.device import BeamRules, DeviceRules

# The errors of many gates add coherently.
INFIDELITY_LIMIT = 1e-12

# All non-empty subsets of the three atoms that start in g; row = subset, column = atom.
_IN_G = np.array([[(s >> k) & 1 for k in range(3)] for s in range(1, 8)], dtype=bool)
_SINGLE, _PAIRS, _ALL = (0, 1, 3), (2, 4, 5), 6
_N_UNKNOWNS = 9
_MAX_STEPS = 12
_DIFFERENCE = 1e-7
# By how much rounding of coordinates to 1e-6 µm changes the interactions, in the pattern that hurts
# most; tried ten times larger, where the infidelity is a hundred times larger and easy to compute.
_UNEVEN = 1.5e-6 * np.array([0.0, 1.0, -1.0])
_UNEVEN_FACTOR = 10.0
_ROBUST_TO_ROUNDING = 0.1 * INFIDELITY_LIMIT
_N_TRIES = 10
_N_SOLUTIONS = 4
_SPREAD = 0.1
# Beyond this, the best pulses are not exact enough.
_MAX_LN_ASYMMETRY = 1e-4
_N_DIGITS_INTERACTION = 9
_N_SIGNIFICANT_MEAN = 6


# Where the solver starts: Ω = A(x₀ + x₁ cos 2πt/T), δ = A(x₂ + x₃ cos 2πt/T) on c2 with A = π/T;
# the same with x₄ … x₇ on t with A = 2π/T; x₈ is the phase of the second pulse on c2. It solves the
# triangle of 4 µm with pulses of 52, 100 and 152 ns.
_SHAPE = np.array(
    [1.000451, -1.000047, 0.141555, 0.221946, 0.999982, -0.06978, 0.027884, 0.022503, 0.38873]
)


@dataclass(frozen=True, slots=True)
class _Lengths:
    """Lengths of the pulses, and where they were seen to serve.

    Attributes:
        durations_ns: On c1, c2 and t (ns).
        interactions_rad_per_us: Lowest and highest interaction (rad/µs).
    """

    durations_ns: tuple[int, int, int]
    interactions_rad_per_us: tuple[float, float]


# At Rydberg level 70: equilateral triangles of 3.6 to 5.9 µm, with holes, and of 3.6 to 6.7 µm.
_TABLE = (
    _Lengths((52, 120, 180), (130.0, 2500.0)),
    _Lengths((52, 152, 220), (60.0, 2500.0)),
    _Lengths((100, 152, 220), (60.0, 2500.0)),
)


@dataclass(frozen=True, slots=True, eq=False)
class CczPulses:
    """The pulses of a CCZ and the virtual rotations it needs.

    Attributes:
        pulses: Five pulses in order of time, on atoms c1, c2, t, c2, c1 = a, b, c, b, a.
        corrections_rad: Rz angle of atoms a, b, c after the block (rad).
        global_phase_rad: Pulses and rotations are e^{i·this} times CCZ (rad).
        infidelity: Predicted 1 - F (process fidelity) of the gate for 10 % spread of each V and 1 %
            spread of Ω, π pulses on c1 taken as perfect; what `TargetPulse.infidelity` is for a
            CPhase.
        residual_infidelity: Computed process infidelity without spread.
    """

    pulses: tuple[Pulse, Pulse, Pulse, Pulse, Pulse]
    corrections_rad: tuple[float, float, float]
    global_phase_rad: float
    infidelity: float
    residual_infidelity: float


def ccz_pulses(
    rules: DeviceRules, interactions_rad_per_us: tuple[float, float, float]
) -> CczPulses | None:
    """Return the pulses of an exact CCZ on three placed atoms a, b, c.

    Args:
        rules: The device.
        interactions_rad_per_us: Pair interactions (V_ab, V_ac, V_bc) of the placed atoms (rad/µs).

    Returns:
        The pulses, the same object for the same request; None where the atoms form no triangle
        that the table covers, the triangle is so uneven that the gate would be inexact, or the
        device is too slow for it.
    """
    rounded = tuple(round(float(v), _N_DIGITS_INTERACTION) for v in interactions_rad_per_us)
    return _found(rules.rydberg, rounded)


def ccz_serves(rules: DeviceRules, interaction_rad_per_us: float) -> bool:
    """Tell whether three atoms with this interaction at all pairs can have a CCZ, without solving.

    Args:
        rules: The device.
        interaction_rad_per_us: The interaction of each of the three pairs (rad/µs).
    """
    return any(
        lengths.interactions_rad_per_us[0]
        <= interaction_rad_per_us
        <= lengths.interactions_rad_per_us[1]
        for lengths in _usable(rules.rydberg)
    )


@lru_cache(maxsize=1 << 12)
def _found(beam: BeamRules, interactions: tuple[float, ...]) -> CczPulses | None:
    lowest, highest = min(interactions), max(interactions)
    if lowest <= 0.0 or math.log(highest / lowest) > _MAX_LN_ASYMMETRY:
        return None
    mean = float(f"{sum(interactions) / 3.0:.{_N_SIGNIFICANT_MEAN - 1}e}")
    for lengths in _usable(beam):
        first, last = lengths.interactions_rad_per_us
        if lowest < first or highest > last:
            continue
        values = _solved(lengths, beam, mean)
        if not values:
            continue
        built = _build(lengths, beam, np.array(interactions), values)
        weakest = min(_mean_rabi(pulse) for pulse in built.pulses)
        if built.residual_infidelity <= INFIDELITY_LIMIT and weakest >= least_mean(beam):
            return built
    return None


@cache
def _usable(beam: BeamRules) -> tuple[_Lengths, ...]:
    """Return the lengths that a beam can play, fastest first.

    Within the time that the retarget rule leaves free, pulses cost the same whatever their length;
    then the longer ones come first, which have solutions everywhere.
    """
    free_ns = free_time_ns(beam)

    def cost(lengths: _Lengths) -> tuple[int, int]:
        first, second, third = (max(t, free_ns) for t in lengths.durations_ns)
        return first + 2 * second + third + lengths.durations_ns[0], -sum(lengths.durations_ns)

    return tuple(sorted((lengths for lengths in _TABLE if _is_playable(lengths, beam)), key=cost))


def _is_playable(lengths: _Lengths, beam: BeamRules) -> bool:
    half_turn = math.pi / (lengths.durations_ns[0] * 1e-3)
    return (
        all(t % beam.clock_ns == 0 for t in lengths.durations_ns)
        and min(lengths.durations_ns) >= beam.min_duration_ns
        and max(lengths.durations_ns) <= beam.max_duration_ns
        and least_mean(beam) <= half_turn <= beam.max_rabi_rad_per_us
    )


def _mean_rabi(pulse: Pulse) -> float:
    return float(pulse.rabi_rad_per_us @ pulse.durations_ns) / pulse.duration_ns


@lru_cache(maxsize=1 << 10)
def _solved(lengths: _Lengths, beam: BeamRules, interaction_rad_per_us: float) -> tuple[float, ...]:
    """Return x₀ … x₈ and the infidelity under spread, from the cache or solved; empty if none."""
    key = (
        f"ccz {interaction_rad_per_us!r} {lengths.durations_ns} "
        f"{beam.max_rabi_rad_per_us!r} {beam.max_detuning_rad_per_us!r} "
        f"{beam.min_average_rabi_rad_per_us!r}"
    )
    cached = default_cache()
    values = cached.get(key)
    if values is None:
        values = _search(lengths, beam, np.full(3, interaction_rad_per_us))
        cached.put(key, values)
    return values


def _search(
    lengths: _Lengths, beam: BeamRules, interactions: NDArray[np.float64]
) -> tuple[float, ...]:
    """Solve from the tabulated shape and from around it; keep the most robust of some solutions.

    The phases wind quickly with V, so a jump from the table is safer than following one branch.
    Deterministic; returns the empty tuple where no try is good enough.
    """
    rng = np.random.default_rng(1)
    best, best_infidelity, n_found = np.empty(0), math.inf, 0
    for k in range(_N_TRIES):
        offset = rng.normal(0.0, _SPREAD, _N_UNKNOWNS) if k else np.zeros(_N_UNKNOWNS)
        shape = _polish(lengths, beam, interactions, _SHAPE + offset)
        back = _run(lengths, beam, interactions, shape[None])[0, :, 0, 0, 0]
        exact = _infidelity(back, _corrections(back)) <= INFIDELITY_LIMIT
        weakest = min(_drive(lengths, beam, atom, shape[None])[0].mean() for atom in (1, 2))
        if not exact or weakest < least_mean(beam):
            continue
        rounded = _rounding_infidelity(lengths, beam, interactions, shape)
        if rounded > INFIDELITY_LIMIT:
            continue
        infidelity = _spread_infidelity(lengths, beam, interactions, shape)
        if infidelity < best_infidelity:
            best, best_infidelity = np.append(shape, infidelity), infidelity
        n_found += 1
        if n_found == _N_SOLUTIONS or rounded < _ROBUST_TO_ROUNDING:
            break
    return tuple(best.tolist())


def _rounding_infidelity(
    lengths: _Lengths,
    beam: BeamRules,
    interactions: NDArray[np.float64],
    shape: NDArray[np.float64],
) -> float:
    """Return 1 - F for a triangle that rounding has made uneven, the pulses adapted to it."""
    uneven = interactions * (1.0 + _UNEVEN_FACTOR * _UNEVEN)
    adapted = _polish(lengths, beam, uneven, shape)
    back = _run(lengths, beam, uneven, adapted[None])[0, :, 0, 0, 0]
    return _infidelity(back, _corrections(back)) / _UNEVEN_FACTOR**2


def _spread_infidelity(
    lengths: _Lengths,
    beam: BeamRules,
    interactions: NDArray[np.float64],
    shape: NDArray[np.float64],
) -> float:
    """Return the mean 1 - F for spreads of each V and of Ω, as `palindrome.merit` has them."""
    from cudaq_target.palindrome import (  # noqa: PLC0415 - imports Numba
        LN_INTERACTION_SAMPLES,
        SIGMA_LN_RABI,
    )

    shifts = _corrections(_run(lengths, beam, interactions, shape[None])[0, :, 0, 0, 0])
    total = 0.0
    for pair in range(3):
        for change in LN_INTERACTION_SAMPLES:
            moved = interactions.copy()
            moved[pair] *= math.exp(change)
            back = _run(lengths, beam, moved, shape[None])[0, :, 0, 0, 0]
            total += _infidelity(back, shifts) / len(LN_INTERACTION_SAMPLES)
    for sign in (-1.0, 1.0):
        weaker = shape.copy()
        weaker[[0, 1, 4, 5]] *= 1.0 + sign * SIGMA_LN_RABI
        back = _run(lengths, beam, interactions, weaker[None])[0, :, 0, 0, 0]
        total += _infidelity(back, shifts) / 2.0
    return total


def _polish(
    lengths: _Lengths,
    beam: BeamRules,
    interactions: NDArray[np.float64],
    shape: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Run damped Gauss-Newton on the return and phase conditions."""
    nudges = _DIFFERENCE * np.concatenate([np.zeros((1, _N_UNKNOWNS)), np.eye(_N_UNKNOWNS)])
    damping = 1e-8
    residuals = _residuals(lengths, beam, interactions, shape + nudges)
    for _ in range(_MAX_STEPS):
        here = residuals[0]
        if np.abs(here).max() < 1e-12:
            break
        jacobian = (residuals[1:] - here).T / _DIFFERENCE
        normal = jacobian.T @ jacobian + damping * np.eye(_N_UNKNOWNS)
        trial = shape - np.linalg.solve(normal, jacobian.T @ here)
        there = _residuals(lengths, beam, interactions, trial + nudges)
        if (there[0] ** 2).sum() < (here**2).sum():
            shape, residuals = trial, there
            damping = max(damping * 0.1, 1e-14)
        else:
            damping *= 30.0
    return shape


def _residuals(
    lengths: _Lengths,
    beam: BeamRules,
    interactions: NDArray[np.float64],
    shapes: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return amplitudes that stay away and the four phase errors, shape (n_shapes, n_residuals)."""
    states = _run(lengths, beam, interactions, shapes).reshape(len(shapes), 7, 8)
    back, away = states[:, :, 0], states[:, :, 1:].reshape(len(shapes), -1)
    single = np.angle(-back[:, _SINGLE])
    phases = np.angle(-back[:, (*_PAIRS, _ALL)] * np.exp(-1j * single @ _IN_G[[*_PAIRS, _ALL]].T))
    return np.concatenate([away.real, away.imag, phases], axis=1)


def _run(
    lengths: _Lengths,
    beam: BeamRules,
    interactions: NDArray[np.float64],
    shapes: NDArray[np.float64],
) -> NDArray[np.complex128]:
    """Run the five pulses for every subset of atoms that start in g.

    Only one atom is driven at a time, so each pulse is a 2x2 problem whose detuning is shifted by
    the atoms that stand in r; two standing atoms in r add the phase of their interaction.

    Returns:
        Final amplitudes over (not r, r) of each atom, shape (n_shapes, 7, 2, 2, 2).
    """
    v = np.zeros((3, 3))
    v[0, 1], v[0, 2], v[1, 2] = interactions
    v += v.T
    steps = [_steps(lengths, beam, atom, shapes, v) for atom in range(3)]
    turn = np.ones((len(shapes), 1, 1, 2, 2), dtype=np.complex128)
    turn[:, 0, 0, 0, 1] = np.exp(-1j * shapes[:, 8])
    turn[:, 0, 0, 1, 0] = np.exp(1j * shapes[:, 8])
    states = np.zeros((len(shapes), 7, 2, 2, 2), dtype=np.complex128)
    states[:, :, 0, 0, 0] = 1.0
    pulses = (steps[0], steps[1], steps[2], steps[1] * turn, steps[0])
    for atom, step in zip((0, 1, 2, 1, 0), pulses, strict=True):
        i, j = (k for k in range(3) if k != atom)
        driven = np.where(_IN_G[:, atom, None, None, None, None], step[:, None], np.eye(2))
        moved = np.moveaxis(states, 2 + atom, -1)
        moved = (driven @ moved[..., None])[..., 0]
        moved[:, :, 1, 1] *= np.exp(-1j * v[i, j] * lengths.durations_ns[atom] * 1e-3)
        states = np.moveaxis(moved, -1, 2 + atom)
    return states


def _steps(
    lengths: _Lengths,
    beam: BeamRules,
    atom: int,
    shapes: NDArray[np.float64],
    v: NDArray[np.float64],
) -> NDArray[np.complex128]:
    """Return `_propagators` of one atom's pulse; shapes that share the pulse share the work."""
    if atom == 0:
        distinct, row = shapes[:1], np.zeros(len(shapes), dtype=np.int64)
    else:
        _, first, row = np.unique(
            shapes[:, 4 * atom - 4 : 4 * atom], axis=0, return_index=True, return_inverse=True
        )
        distinct = shapes[first]
    rabi, detuning = _drive(lengths, beam, atom, distinct)
    steps: NDArray[np.complex128] = _propagators(rabi, detuning, v, atom)[row.ravel()]
    return steps


def _drive(
    lengths: _Lengths, beam: BeamRules, atom: int, shapes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Ω and δ of one atom's pulse in 1-ns pieces (rad/µs), each shape (n_shapes, T).

    The second half mirrors the first exactly.
    """
    duration_ns = lengths.durations_ns[atom]
    half_turn = math.pi / (duration_ns * 1e-3)
    if atom == 0:
        rabi = np.full((len(shapes), duration_ns), half_turn)
        return rabi, np.zeros_like(rabi)
    wave = np.cos(TWO_PI * (np.arange(duration_ns // 2) + 0.5) / duration_ns)
    wave = np.concatenate([wave, wave[::-1]])
    x = shapes[:, 4 * atom - 4 : 4 * atom, None] * (half_turn * atom)
    rabi = np.clip(x[:, 0] + x[:, 1] * wave, 0.0, beam.max_rabi_rad_per_us)
    limit = beam.max_detuning_rad_per_us
    return rabi, np.clip(x[:, 2] + x[:, 3] * wave, -limit, limit)


def _propagators(
    rabi: NDArray[np.float64], detuning: NDArray[np.float64], v: NDArray[np.float64], atom: int
) -> NDArray[np.complex128]:
    """Return the 2x2 propagators of one palindromic pulse for each state of the standing atoms.

    Each piece is (a, b; -b*, a*) up to a phase and symmetric, so the second half of the pulse is
    the transpose of the first.

    Args:
        rabi: Ω of each 1-ns piece (rad/µs), shape (n_shapes, T), T even.
        detuning: δ of each piece (rad/µs), same shape.
        v: Pair interactions (rad/µs), shape (3, 3).
        atom: The driven atom.

    Returns:
        Shape (n_shapes, 2, 2, 2, 2): r of the lower standing atom, r of the higher one, matrix.
    """
    i, j = (k for k in range(3) if k != atom)
    shift = np.array([0.0, v[atom, j], v[atom, i], v[atom, i] + v[atom, j]])
    half = rabi.shape[1] // 2
    delta = detuning[:, None, :half] - shift[None, :, None]
    omega = rabi[:, None, :half]
    dt_us = 1e-3
    w = np.sqrt(omega**2 + delta**2) + 1e-300
    sinc = np.sin(0.5 * w * dt_us) / w
    a, b = np.cos(0.5 * w * dt_us) - 1j * delta * sinc, -1j * omega * sinc
    while a.shape[2] > 1:
        even = a.shape[2] // 2 * 2
        a1, b1, a2, b2 = a[..., 0:even:2], b[..., 0:even:2], a[..., 1:even:2], b[..., 1:even:2]
        a_rest, b_rest = a[..., even:], b[..., even:]
        a = np.concatenate([a2 * a1 - b2 * b1.conj(), a_rest], axis=2)
        b = np.concatenate([a2 * b1 + b2 * a1.conj(), b_rest], axis=2)
    a, b = a[..., 0], b[..., 0]
    first = np.stack([np.stack([a, b], axis=-1), np.stack([-b.conj(), a.conj()], axis=-1)], axis=-2)
    turn = np.exp(1j * dt_us * delta.sum(axis=2))
    product: NDArray[np.complex128] = first.swapaxes(-1, -2) @ first * turn[..., None, None]
    return product.reshape(len(rabi), 2, 2, 2, 2)


def _build(
    lengths: _Lengths,
    beam: BeamRules,
    interactions: NDArray[np.float64],
    values: tuple[float, ...],
) -> CczPulses:
    """Make the pulses of a solution, adapted to these interactions."""
    shape = _polish(lengths, beam, interactions, np.array(values[:_N_UNKNOWNS]))
    back = _run(lengths, beam, interactions, shape[None])[0, :, 0, 0, 0]
    shifts = _corrections(back)
    c1, c2, t = (_pulse(*_drive(lengths, beam, atom, shape[None])) for atom in range(3))
    again = Pulse(
        c2.durations_ns, c2.rabi_rad_per_us, c2.detuning_rad_per_us, float(shape[8] % TWO_PI)
    )
    return CczPulses(
        pulses=(c1, c2, t, again, c1),
        corrections_rad=(float(shifts[0]), float(shifts[1]), float(shifts[2])),
        global_phase_rad=float(shifts.sum() / 2.0 + math.pi),
        infidelity=values[_N_UNKNOWNS],
        residual_infidelity=_infidelity(back, shifts),
    )


def _corrections(back: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return the Rz angles arg a_i + π (rad), shape (3,)."""
    shifts: NDArray[np.float64] = np.angle(-back[list(_SINGLE)])
    return shifts


def _infidelity(back: NDArray[np.complex128], shifts: NDArray[np.float64]) -> float:
    """Return 1 - F, F = |Tr(CCZ† M)|²/64, M the diagonal of return amplitudes with Rz applied."""
    overlap = 1.0 - (back * np.exp(-1j * _IN_G @ shifts)).sum()
    return 1.0 - float(abs(overlap) ** 2) / 64.0


def _pulse(rabi: NDArray[np.float64], detuning: NDArray[np.float64]) -> Pulse:
    """Make a pulse of one shape, in one piece where it is constant."""
    if np.ptp(rabi[0]) == 0.0 and np.ptp(detuning[0]) == 0.0:
        durations_ns = np.array([rabi.shape[1]], dtype=np.int64)
        return Pulse(durations_ns, rabi[0, :1].copy(), detuning[0, :1].copy(), 0.0)
    return Pulse(np.ones(rabi.shape[1], dtype=np.int64), rabi[0], detuning[0], 0.0)
