"""CCZ in one go on three atoms at equal distances: five pulses, exact for the actual triangle.

The order is c1, c2, t, c2, c1. A square π pulse lifts c1; a shaped pulse on c2 and one on t do the
rest under partial blockade; the second pulse on c2 has another laser phase. With a_S the amplitude
with which the atoms return when exactly those of S start in g, the gate is exact when

    |a_S| = 1 for all S,   arg(a_ij / (a_i a_j)) = π for the three pairs,
    arg(a_123 a_1 a_2 a_3 / (a_12 a_13 a_23)) = π;

then Rz(i, arg a_i + π) on each atom completes CCZ up to a global phase. Solving from nothing takes
tens of seconds, so two solutions are tabulated; solving again from there for the interactions of
the placed atoms takes milliseconds, and the result is kept in the pulse cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.pulse_cache import default_cache
from cudaq_target.timeline import Pulse
from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.device import BeamRules, DeviceRules

INFIDELITY_LIMIT = 1e-10

# All non-empty subsets of the three atoms that start in g; row = subset, column = atom.
_IN_G = np.array([[(s >> k) & 1 for k in range(3)] for s in range(1, 8)], dtype=bool)
_SINGLE, _PAIRS, _ALL = (0, 1, 3), (2, 4, 5), 6
_N_UNKNOWNS = 9
_MAX_STEPS = 12
_DIFFERENCE = 1e-7
_N_TRIES = 24
_SPREAD = 0.05
_MAX_LN_ASYMMETRY = 3e-3
_N_DIGITS_INTERACTION = 9


@dataclass(frozen=True, slots=True)
class _Entry:
    """A tabulated solution.

    Attributes:
        interactions_rad_per_us: Lowest and highest interaction from which it was seen to serve
            (rad/µs).
        durations_ns: Lengths of the pulses on c1, c2 and t (ns).
        shape: x₀ … x₈: Ω = A(x₀ + x₁ cos 2πt/T), δ = A(x₂ + x₃ cos 2πt/T) on c2 with A = π/T;
            the same with x₄ … x₇ on t with A = 2π/T; x₈ the phase of the second pulse on c2.
    """

    interactions_rad_per_us: tuple[float, float]
    durations_ns: tuple[int, int, int]
    shape: tuple[float, ...]


# Shortest first. Equilateral triangles of 3.98 to 4.75 µm and 4.4 to 6.2 µm at Rydberg level 70.
_TABLE = (
    _Entry(
        (470.0, 1365.0),
        (52, 100, 152),
        (1.000451, -1.000047, 0.141555, 0.221946, 0.999982, -0.06978, 0.027884, 0.022503, 0.38873),
    ),
    _Entry(
        (95.0, 750.0),
        (100, 152, 220),
        (
            *(1.01641, -1.005255, -0.829671, -1.301484),
            *(0.998619, -0.99174, 0.132202, 0.028532, -2.751167),
        ),
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class CczPulses:
    """The pulses of a CCZ and the virtual rotations it needs.

    Attributes:
        pulses: Five pulses in order of time, on atoms c1, c2, t, c2, c1 = a, b, c, b, a.
        corrections_rad: Rz angle of atoms a, b, c after the block (rad).
        global_phase_rad: Pulses and rotations are e^{i·this} times CCZ (rad).
        infidelity: Computed process infidelity 1 - F, rounding of the samples included.
    """

    pulses: tuple[Pulse, Pulse, Pulse, Pulse, Pulse]
    corrections_rad: tuple[float, float, float]
    global_phase_rad: float
    infidelity: float


def ccz_pulses(
    rules: DeviceRules, interactions_rad_per_us: tuple[float, float, float]
) -> CczPulses | None:
    """Return the pulses of an exact CCZ on three placed atoms a, b, c.

    Args:
        rules: The device.
        interactions_rad_per_us: Pair interactions (V_ab, V_ac, V_bc) of the placed atoms (rad/µs).

    Returns:
        The pulses, the same object for the same request; None where the atoms form no triangle
        that the table covers, or the device is too slow for it.
    """
    rounded = tuple(round(float(v), _N_DIGITS_INTERACTION) for v in interactions_rad_per_us)
    return _solved(rules.rydberg, rounded)


@lru_cache(maxsize=1 << 10)
def _solved(beam: BeamRules, interactions: tuple[float, ...]) -> CczPulses | None:
    lowest, highest = min(interactions), max(interactions)
    if lowest <= 0.0 or math.log(highest / lowest) > _MAX_LN_ASYMMETRY:
        return None
    for entry in _TABLE:
        if lowest < entry.interactions_rad_per_us[0] or highest > entry.interactions_rad_per_us[1]:
            continue
        if any(duration_ns % beam.clock_ns for duration_ns in entry.durations_ns):
            continue
        if math.pi / (entry.durations_ns[0] * 1e-3) > beam.max_rabi_rad_per_us:
            continue
        found = _from_entry(entry, beam, interactions)
        if found is not None:
            return found
    return None


def _from_entry(
    entry: _Entry, beam: BeamRules, interactions: tuple[float, ...]
) -> CczPulses | None:
    key = (
        f"ccz {' '.join(f'{v:.9f}' for v in interactions)} {entry.durations_ns} "
        f"{beam.max_rabi_rad_per_us!r} {beam.max_detuning_rad_per_us!r}"
    )
    cache = default_cache()
    values = cache.get(key)
    if values is None:
        values = _search(entry, beam, np.array(interactions))
        cache.put(key, values)
    if not values:
        return None
    return _build(entry, beam, np.array(interactions), np.array(values))


def _search(entry: _Entry, beam: BeamRules, interactions: NDArray[np.float64]) -> tuple[float, ...]:
    """Solve for other interactions, from the tabulated shape and then from around it.

    The phases wind quickly with V, so a jump from the table is safer than following one branch.
    Deterministic; returns the empty tuple where no try is good enough.
    """
    rng = np.random.default_rng(1)
    best, best_infidelity = np.empty(0), INFIDELITY_LIMIT
    for k in range(_N_TRIES):
        offset = rng.normal(0.0, _SPREAD, _N_UNKNOWNS) if k else np.zeros(_N_UNKNOWNS)
        shape, worst = _polish(entry, beam, interactions, np.array(entry.shape) + offset)
        back = _run(entry, beam, interactions, shape[None])[0, :, 0, 0, 0]
        infidelity = _infidelity(back, _corrections(back))
        if infidelity < best_infidelity:
            best, best_infidelity = shape, infidelity
        if worst < 1e-9 or best_infidelity < 1e-12:
            break
    return tuple(best.tolist())


def _polish(
    entry: _Entry, beam: BeamRules, interactions: NDArray[np.float64], shape: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Run damped Gauss-Newton on the return and phase conditions; also return the worst one."""
    nudges = _DIFFERENCE * np.concatenate([np.zeros((1, _N_UNKNOWNS)), np.eye(_N_UNKNOWNS)])
    damping = 1e-8
    residuals = _residuals(entry, beam, interactions, shape + nudges)
    for _ in range(_MAX_STEPS):
        here = residuals[0]
        if np.abs(here).max() < 1e-12:
            break
        jacobian = (residuals[1:] - here).T / _DIFFERENCE
        normal = jacobian.T @ jacobian + damping * np.eye(_N_UNKNOWNS)
        trial = shape - np.linalg.solve(normal, jacobian.T @ here)
        there = _residuals(entry, beam, interactions, trial + nudges)
        if (there[0] ** 2).sum() < (here**2).sum():
            shape, residuals = trial, there
            damping = max(damping * 0.1, 1e-14)
        else:
            damping *= 30.0
    return shape, float(np.abs(residuals[0]).max())


def _residuals(
    entry: _Entry, beam: BeamRules, interactions: NDArray[np.float64], shapes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return amplitudes that stay away and the four phase errors, shape (n_shapes, n_residuals)."""
    states = _run(entry, beam, interactions, shapes).reshape(len(shapes), 7, 8)
    back, away = states[:, :, 0], states[:, :, 1:].reshape(len(shapes), -1)
    single = np.angle(-back[:, _SINGLE])
    phases = np.angle(-back[:, (*_PAIRS, _ALL)] * np.exp(-1j * single @ _IN_G[[*_PAIRS, _ALL]].T))
    return np.concatenate([away.real, away.imag, phases], axis=1)


def _run(
    entry: _Entry, beam: BeamRules, interactions: NDArray[np.float64], shapes: NDArray[np.float64]
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
    steps = [_propagators(*_drive(entry, beam, atom, shapes), v, atom) for atom in range(3)]
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
        moved[:, :, 1, 1] *= np.exp(-1j * v[i, j] * entry.durations_ns[atom] * 1e-3)
        states = np.moveaxis(moved, -1, 2 + atom)
    return states


def _drive(
    entry: _Entry, beam: BeamRules, atom: int, shapes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Ω and δ of one atom's pulse in 1-ns pieces (rad/µs), each shape (n_shapes, T)."""
    duration_ns = entry.durations_ns[atom]
    half_turn = math.pi / (duration_ns * 1e-3)
    if atom == 0:
        rabi = np.full((len(shapes), duration_ns), half_turn)
        return rabi, np.zeros_like(rabi)
    wave = np.cos(TWO_PI * (np.arange(duration_ns) + 0.5) / duration_ns)
    x = shapes[:, 4 * atom - 4 : 4 * atom, None] * (half_turn * atom)
    rabi = np.clip(x[:, 0] + x[:, 1] * wave, 0.0, beam.max_rabi_rad_per_us)
    limit = beam.max_detuning_rad_per_us
    return rabi, np.clip(x[:, 2] + x[:, 3] * wave, -limit, limit)


def _propagators(
    rabi: NDArray[np.float64], detuning: NDArray[np.float64], v: NDArray[np.float64], atom: int
) -> NDArray[np.complex128]:
    """Return the 2x2 propagators of one pulse for each state of the two standing atoms.

    Args:
        rabi: Ω of each 1-ns piece (rad/µs), shape (n_shapes, T).
        detuning: δ of each piece (rad/µs), same shape.
        v: Pair interactions (rad/µs), shape (3, 3).
        atom: The driven atom.

    Returns:
        Shape (n_shapes, 2, 2, 2, 2): r of the lower standing atom, r of the higher one, matrix.
    """
    i, j = (k for k in range(3) if k != atom)
    shift = np.array([0.0, v[atom, j], v[atom, i], v[atom, i] + v[atom, j]])
    delta = detuning[:, None, :] - shift[None, :, None]
    omega = np.broadcast_to(rabi[:, None, :], delta.shape)
    dt_us = 1e-3
    w = np.sqrt(omega**2 + delta**2) + 1e-300
    cosine, sinc = np.cos(0.5 * w * dt_us), np.sin(0.5 * w * dt_us) / w
    u = np.empty((*delta.shape, 2, 2), dtype=np.complex128)
    u[..., 0, 0] = cosine - 1j * delta * sinc
    u[..., 1, 1] = cosine + 1j * delta * sinc
    u[..., 0, 1] = u[..., 1, 0] = -1j * omega * sinc
    while u.shape[2] > 1:
        odd = u[:, :, -1:] if u.shape[2] % 2 else u[:, :, :0]
        u = np.concatenate([u[:, :, 1::2] @ u[:, :, 0 : u.shape[2] // 2 * 2 : 2], odd], axis=2)
    turn = np.exp(0.5j * dt_us * delta.sum(axis=2))
    product: NDArray[np.complex128] = u[:, :, 0] * turn[..., None, None]
    return product.reshape(len(rabi), 2, 2, 2, 2)


def _build(
    entry: _Entry, beam: BeamRules, interactions: NDArray[np.float64], shape: NDArray[np.float64]
) -> CczPulses | None:
    """Make the pulses of a solution, or None where limits have spoilt it."""
    back = _run(entry, beam, interactions, shape[None])[0, :, 0, 0, 0]
    shifts = _corrections(back)
    infidelity = _infidelity(back, shifts)
    if infidelity > INFIDELITY_LIMIT:
        return None
    c1, c2, t = (_pulse(*_drive(entry, beam, atom, shape[None])) for atom in range(3))
    again = Pulse(
        c2.durations_ns, c2.rabi_rad_per_us, c2.detuning_rad_per_us, float(shape[8] % TWO_PI)
    )
    return CczPulses(
        pulses=(c1, c2, t, again, c1),
        corrections_rad=(float(shifts[0]), float(shifts[1]), float(shifts[2])),
        global_phase_rad=float(shifts.sum() / 2.0 + math.pi),
        infidelity=infidelity,
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
