"""Exact CPhase pulses: a three-segment palindrome on the target atom, solved for the real distance.

The target atom is driven by (Ω₁, δ₁ for T₁ | Ω₂, δ₂ for T - 2T₁ | Ω₁, δ₁ for T₁), all laser phases
zero, while the control is either dark or in the Rydberg state, which shifts the detuning by -V.
The propagator of such a palindrome is symmetric, so "the atom returns to g" is one real equation.
Three equations (return without blockade, return with blockade, phase difference θ) meet four
unknowns (Ω₁, Ω₂, δ₁, δ₂): the exact solutions form curves, on which the most robust point is taken.
The construction removes the finite-blockade error of the π-2π-π gate of arXiv:quant-ph/0004038.

Everything compiled here is scalar Python; without Numba it runs as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.palindrome import assess, linearise, merit, njit
from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.device import BeamRules

N_RANDOM_STARTS = 96
N_SOLUTIONS = 4
MAX_WALK_STEPS = 20
FIRST_STRIDE, LAST_STRIDE = 0.04, 4e-3

# Found by greedy choice among the best solutions of 736 problems (4 to 9.5 µm, any θ): from one of
# these the walk ends at the most robust known solution nearly always.
GOOD_STARTS = np.array(
    [
        [0.587, 0.399, -0.189, 0.178],
        [0.543, 0.708, 0.082, -0.025],
        [0.258, 0.545, 0.524, 0.317],
        [0.242, 0.507, -0.289, -0.190],
        [0.973, 0.024, -0.090, 0.083],
    ]
)

# Steps and Σ f² at which to stop: from a starting point, along a curve of solutions, at the end.
APPROACH = (40, 1e-20)
CORRECTION = (6, 1e-20)
POLISH = (8, 1e-30)
NEAR, TOLERANCE = 1e-10, 1e-12
# Pulser averages the samples, with rounding errors of its own.
MEAN_MARGIN = 1e-9


@dataclass(frozen=True, slots=True)
class Segments:
    """One exact three-segment pulse.

    Attributes:
        edge_ns: Length T₁ of the first and last segment (ns).
        duration_ns: Length T of the whole pulse (ns).
        rabi_rad_per_us: Ω₁ and Ω₂ (rad/µs).
        detuning_rad_per_us: δ₁ and δ₂ (rad/µs).
        phase_free_rad: arg a, the phase that g picks up when the control is dark (rad).
        phase_blocked_rad: arg b, the same when the control is in the Rydberg state (rad).
        dphase_dlnv_rad: d(arg b)/d(ln V) (rad).
        dreturn_dlnv: |d r₁/d(ln V)|, r₁ the amplitude left in r with blockade.
        infidelity: Predicted mean 1 - F (process fidelity) for a spread of 0.1 in ln V and
            `palindrome.SIGMA_LN_RABI` in ln Ω; the figure of merit.
    """

    edge_ns: int
    duration_ns: int
    rabi_rad_per_us: tuple[float, float]
    detuning_rad_per_us: tuple[float, float]
    phase_free_rad: float
    phase_blocked_rad: float
    dphase_dlnv_rad: float
    dreturn_dlnv: float
    infidelity: float


def solve(
    interaction_rad_per_us: float,
    theta_rad: float,
    duration_ns: int,
    beam: BeamRules,
) -> Segments | None:
    """Find the most robust exact pulse of a given length.

    Deterministic: the starting points come from a fixed seed.

    Args:
        interaction_rad_per_us: Pair interaction V > 0 (rad/µs).
        theta_rad: Wanted phase of CPhase (rad).
        duration_ns: Length T of the pulse (ns), a multiple of the clock.
        beam: Limits of the Rydberg channel; segment lengths stay on its clock.

    Returns:
        The pulse with |r₀|, |r₁| <= 1e-10 and a phase error below 1e-11 rad that has the smallest
        figure of merit among those found, or None where none is found. Its mean Rabi frequency is
        at least the channel's smallest.
    """
    best, best_problem, best_edge_ns = np.full(5, math.inf), np.empty(7), 0
    for choice in edge_lengths_ns(duration_ns, beam):
        for edge_ns in choice:
            problem = np.array(
                [
                    interaction_rad_per_us,
                    theta_rad,
                    edge_ns * 1e-3,
                    (duration_ns - 2 * edge_ns) * 1e-3,
                    beam.max_rabi_rad_per_us,
                    beam.max_detuning_rad_per_us,
                    beam.min_average_rabi_rad_per_us,
                ]
            )
            candidate = search(problem, start_points())
            if candidate[4] < best[4]:
                best, best_problem, best_edge_ns = candidate, problem, edge_ns
        if best_edge_ns:
            break
    if not best_edge_ns:
        return None
    report = assess(best[:4], best_problem)
    return Segments(
        edge_ns=best_edge_ns,
        duration_ns=duration_ns,
        rabi_rad_per_us=(float(best[0]), float(best[1])),
        detuning_rad_per_us=(float(best[2]), float(best[3])),
        phase_free_rad=float(report[0]),
        phase_blocked_rad=float(report[1]),
        dphase_dlnv_rad=float(report[2]),
        dreturn_dlnv=float(report[3]),
        infidelity=float(report[4]),
    )


def edge_lengths_ns(duration_ns: int, beam: BeamRules) -> tuple[tuple[int, ...], ...]:
    """Return the lengths T₁ to try (ns): first choice, and what is left for when that fails.

    Edges of about a π pulse serve long pulses; short ones need a quarter of the pulse as well.
    Where the channel has a smallest mean Rabi frequency, long pulses need edges of 3π, 5π, and so
    on.
    """
    clock_ns = beam.clock_ns
    least_turns = beam.min_average_rabi_rad_per_us * duration_ns * 1e-3 / TWO_PI
    half_turns = 1 + 2 * max(0, math.ceil(0.5 * (least_turns - 1.0)))
    edge_ns = int(1e3 * half_turns * math.pi / beam.max_rabi_rad_per_us // clock_ns) * clock_ns
    quarter_ns = duration_ns // (4 * clock_ns) * clock_ns
    first = (edge_ns, quarter_ns) if quarter_ns < edge_ns else (edge_ns,)
    rest = (quarter_ns, edge_ns + clock_ns)
    return tuple(
        tuple(t for t in dict.fromkeys(choice) if 0 < 2 * t < duration_ns)
        for choice in (first, tuple(t for t in rest if t not in first))
    )


@cache
def start_points() -> NDArray[np.float64]:
    """Return starting points (Ω₁, Ω₂, δ₁, δ₂) in units of the limits, shape (n, 4)."""
    rng = np.random.default_rng(4)
    rabi = rng.uniform(0.1, 1.0, (N_RANDOM_STARTS, 2))
    detuning = np.clip(rng.normal(0.0, 0.15, (N_RANDOM_STARTS, 2)), -1.0, 1.0)
    return np.concatenate([GOOD_STARTS, np.concatenate([rabi, detuning], axis=1)])


@njit(cache=True, nogil=True, error_model="numpy")
def min_norm_step(
    linear: NDArray[np.float64],
    scale: NDArray[np.float64],
    damping: float,
    step: NDArray[np.float64],
) -> None:
    """Write the damped least-norm solution of J·step = -f, norms taken in units of `scale`.

    step = -S² Jᵀ (J S² Jᵀ + λ)⁻¹ f: three equations and four unknowns need a 3x3 inverse only.
    """
    m00 = m01 = m02 = m11 = m12 = m22 = 0.0
    for k in range(4):
        a, b, c = linear[0, k] * scale[k], linear[1, k] * scale[k], linear[2, k] * scale[k]
        m00, m01, m02 = m00 + a * a, m01 + a * b, m02 + a * c
        m11, m12, m22 = m11 + b * b, m12 + b * c, m22 + c * c
    m00, m11, m22 = m00 + damping, m11 + damping, m22 + damping
    c00, c01, c02 = m11 * m22 - m12 * m12, m12 * m02 - m01 * m22, m01 * m12 - m11 * m02
    c11, c12, c22 = m00 * m22 - m02 * m02, m02 * m01 - m00 * m12, m00 * m11 - m01 * m01
    determinant = m00 * c00 + m01 * c01 + m02 * c02 + 1e-300
    f0, f1, f2 = linear[0, 4], linear[1, 4], linear[2, 4]
    y0 = (c00 * f0 + c01 * f1 + c02 * f2) / determinant
    y1 = (c01 * f0 + c11 * f1 + c12 * f2) / determinant
    y2 = (c02 * f0 + c12 * f1 + c22 * f2) / determinant
    for k in range(4):
        gradient = linear[0, k] * y0 + linear[1, k] * y1 + linear[2, k] * y2
        step[k] = -scale[k] * scale[k] * gradient


@njit(cache=True, nogil=True, error_model="numpy")
def move(
    x: NDArray[np.float64],
    step: NDArray[np.float64],
    scale: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write x + step, kept inside 0 <= Ω <= Ω_max and |δ| <= δ_max, into `out`."""
    for k in range(4):
        lowest = 0.0 if k < 2 else -scale[k]
        out[k] = min(max(x[k] + step[k], lowest), scale[k])


@njit(cache=True, nogil=True, error_model="numpy")
def descend(
    x: NDArray[np.float64],
    problem: NDArray[np.float64],
    scale: NDArray[np.float64],
    work: NDArray[np.float64],
    effort: tuple[int, float],
) -> float:
    """Run Levenberg-Marquardt from x, in place; return the largest residual reached.

    `effort` is the largest number of steps and the Σ f² at which to stop.
    """
    max_steps, goal = effort
    here, there = np.empty((3, 5)), np.empty((3, 5))
    step, trial = np.zeros(4), np.empty(4)
    cost, damping, failures = math.inf, 1e-2, 0
    for k in range(max_steps + 1):
        move(x, step, scale, trial)
        trial_cost = linearise(trial, problem, work, there)
        if trial_cost < cost:
            slow = trial_cost > 0.97 * cost and cost > 1e-6
            failures = failures + 1 if slow else 0
            for i in range(4):
                x[i] = trial[i]
            here, there = there, here
            cost = trial_cost
            damping *= 0.2 if k > 0 else 1.0
        else:
            damping = max(4.0 * damping, 1e-10)
            failures += 1
        if cost < goal or failures > 6:
            break
        min_norm_step(here, scale, damping * min(1.0, cost), step)
    return float(max(abs(here[0, 4]), abs(here[1, 4]), abs(here[2, 4])))


@njit(cache=True, nogil=True, error_model="numpy")
def tangent(
    linear: NDArray[np.float64], scale: NDArray[np.float64], stride: float, out: NDArray[np.float64]
) -> None:
    """Write a step along which all three residuals stay put, of length `stride` (units of scale).

    Its components are the signed 3x3 minors of the Jacobian.
    """
    total = 0.0
    for k in range(4):
        a, b, c = (k + 1) % 4, (k + 2) % 4, (k + 3) % 4
        minor = (
            linear[0, a] * (linear[1, b] * linear[2, c] - linear[1, c] * linear[2, b])
            - linear[0, b] * (linear[1, a] * linear[2, c] - linear[1, c] * linear[2, a])
            + linear[0, c] * (linear[1, a] * linear[2, b] - linear[1, b] * linear[2, a])
        )
        sign = 1.0 if k % 2 == 0 else -1.0
        out[k] = sign * minor * scale[a] * scale[b] * scale[c]
        total += out[k] * out[k]
    factor = stride / (math.sqrt(total) + 1e-300)
    for k in range(4):
        out[k] *= factor * scale[k]


@njit(cache=True, nogil=True, error_model="numpy")
def strong_enough(x: NDArray[np.float64], problem: NDArray[np.float64]) -> bool:
    """Tell whether the mean Rabi frequency is one that the channel allows."""
    edges_us, middle_us = 2.0 * problem[2], problem[3]
    least = problem[6] * (edges_us + middle_us) * (1.0 + MEAN_MARGIN)
    return bool(edges_us * x[0] + middle_us * x[1] >= least)


@njit(cache=True, nogil=True, error_model="numpy")
def walk(
    x: NDArray[np.float64],
    problem: NDArray[np.float64],
    scale: NDArray[np.float64],
    work: NDArray[np.float64],
) -> float:
    """Follow the curve of exact solutions downhill in the figure of merit, in place; return it.

    Points below the smallest mean Rabi frequency do not count; inf where only such were met.
    """
    linear, step, trial = np.empty((3, 5)), np.zeros(4), np.empty(4)
    best, stride = math.inf, FIRST_STRIDE
    for _ in range(MAX_WALK_STEPS):
        move(x, step, scale, trial)
        exact = descend(trial, problem, scale, work, CORRECTION) < NEAR
        exact = exact and strong_enough(trial, problem)
        linearise(trial, problem, work, linear)
        value = merit(trial, problem, work)
        if exact and value < best:
            for k in range(4):
                x[k] = trial[k]
            stride *= 1.8 if best < math.inf else 1.0
            best = value
        else:
            stride *= -0.4
            linearise(x, problem, work, linear)
        if abs(stride) < LAST_STRIDE:
            break
        tangent(linear, scale, stride, step)
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def search(problem: NDArray[np.float64], starts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (Ω₁, Ω₂, δ₁, δ₂, figure of merit) of the best solution found.

    Args:
        problem: (V, θ, T₁, T - 2T₁, Ω_max, δ_max, smallest mean Ω); times in µs.
        starts: Starting points in units of the limits, shape (n, 4).

    Returns:
        Shape (5,); the figure of merit is inf where there is no solution.
    """
    scale = np.array([problem[4], problem[4], problem[5], problem[5]])
    work, x, best = np.empty((16, 3)), np.empty(4), np.empty(5)
    best[4] = math.inf
    found = 0
    for s in range(starts.shape[0]):
        for k in range(4):
            x[k] = starts[s, k] * scale[k]
        if descend(x, problem, scale, work, APPROACH) > NEAR:
            continue
        value = walk(x, problem, scale, work)
        if value == math.inf:
            continue
        polished = descend(x, problem, scale, work, POLISH) < TOLERANCE
        if polished and strong_enough(x, problem) and value < best[4]:
            for k in range(4):
                best[k] = x[k]
            best[4] = value
        found += 1
        if found == N_SOLUTIONS:
            break
    return best
