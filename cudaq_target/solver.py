"""Exact CPhase pulses: a three-segment palindrome on the target atom, solved for the real distance.

The target atom is driven by (Ω₁, δ₁ for T₁ | Ω₂, δ₂ for T - 2T₁ | Ω₁, δ₁ for T₁), all laser phases
zero, while the control is either dark or in the Rydberg state, which shifts the detuning by -V.
One real Hamiltonian run as a palindrome has a symmetric propagator, in units where ħ = 1

    U = exp(i Σ δt / 2) · (c - i (x σx + z σz))        in the basis (g, r),

so "the atom returns to g" is one real equation, x = 0. Three equations (return without blockade,
return with blockade, phase difference θ) meet four unknowns (Ω₁, Ω₂, δ₁, δ₂): the exact solutions
form curves, on which the most robust point is taken. The construction removes the finite-blockade
error of the π-2π-π gate of arXiv:quant-ph/0004038.

Everything here is scalar Python that Numba compiles; without Numba it runs as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cudaq_target.device import BeamRules

    Function = TypeVar("Function", bound=Callable[..., object])

try:
    from numba import njit
except ImportError:  # pragma: no cover - Numba is a dependency, but pulses are exact without it

    def njit(**_options: object) -> Callable[[Function], Function]:  # type: ignore[no-redef]
        """Leave a function as it is where Numba is missing."""
        return lambda function: function


# Weights of the figure of merit: the spread of ln V that 50 nm of position jitter per atom cause at
# 4 to 5 µm, and a Rabi frequency error of 1 %.
SIGMA_LN_INTERACTION = 0.1
SIGMA_LN_RABI = 0.01

N_STARTS = 96
N_SOLUTIONS = 4
MAX_STEPS = 40
MAX_WALK_STEPS = 24
TOLERANCE = 1e-12


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
        infidelity: Predicted 1 - F (process fidelity, second order) for a spread of
            `SIGMA_LN_INTERACTION` in ln V and `SIGMA_LN_RABI` in ln Ω; the figure of merit.
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
        figure of merit among those found, or None where none is found.
    """
    best = np.empty(5)
    best[4] = math.inf
    for edge_ns in edge_lengths_ns(duration_ns, beam):
        problem = np.array(
            [
                interaction_rad_per_us,
                theta_rad,
                edge_ns * 1e-3,
                (duration_ns - 2 * edge_ns) * 1e-3,
                beam.max_rabi_rad_per_us,
                beam.max_detuning_rad_per_us,
            ]
        )
        candidate = search(problem, start_points())
        if candidate[4] < best[4]:
            best, best_problem, best_edge_ns = candidate, problem, edge_ns
    if not math.isfinite(best[4]):
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


def edge_lengths_ns(duration_ns: int, beam: BeamRules) -> tuple[int, ...]:
    """Return the lengths T₁ to try (ns): a quarter of the pulse, and edges of about a π pulse.

    Long edges serve short pulses, short edges long ones.
    """
    clock_ns = beam.clock_ns
    edge_ns = int(1e3 * math.pi / beam.max_rabi_rad_per_us // clock_ns) * clock_ns
    candidates = (duration_ns // (4 * clock_ns) * clock_ns, edge_ns, edge_ns + clock_ns)
    return tuple(dict.fromkeys(t for t in candidates if 0 < 2 * t < duration_ns))


@cache
def start_points() -> NDArray[np.float64]:
    """Return starting points in units of the limits: (Ω₁, Ω₂, δ₁, δ₂), shape (n, 4)."""
    rng = np.random.default_rng(4)
    rabi = rng.uniform(0.1, 1.0, (N_STARTS, 2))
    detuning = np.clip(rng.normal(0.0, 0.15, (N_STARTS, 2)), -1.0, 1.0)
    return np.concatenate([rabi, detuning], axis=1)


@njit(cache=True, nogil=True)
def segment(rabi: float, detuning: float, time_us: float, out: NDArray[np.float64]) -> None:
    """Write (c, x, z) of one segment and its derivatives by Ω and δ into rows 0, 1, 2 of `out`."""
    w = math.sqrt(rabi * rabi + detuning * detuning)
    half = 0.5 * time_us
    angle = w * half
    cosine = math.cos(angle)
    if angle > 1e-6:
        sinc = math.sin(angle) / w
        curve = (half * cosine - sinc) / (w * w)
    else:
        sinc = half
        curve = -half * half * half / 3.0
    out[0, 0] = cosine
    out[0, 1] = rabi * sinc
    out[0, 2] = detuning * sinc
    out[1, 0] = -half * rabi * sinc
    out[1, 1] = sinc + rabi * rabi * curve
    out[1, 2] = rabi * detuning * curve
    out[2, 0] = -half * detuning * sinc
    out[2, 1] = out[1, 2]
    out[2, 2] = sinc + detuning * detuning * curve


@njit(cache=True, nogil=True)
def palindrome(
    x: NDArray[np.float64],
    shift: float,
    problem: NDArray[np.float64],
    work: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write (c, x, z) of edge·middle·edge into row 0 of `out`, derivatives by x into rows 1 to 4.

    With A the edge and B the middle, d = x_A x_B + z_A z_B:
    c = c_B (2c_A² - 1) - 2 c_A d,  x = 2 (c_A c_B - d) x_A + x_B,  z likewise.
    """
    segment(x[0], x[2] - shift, problem[2], work[0:3])
    segment(x[1], x[3] - shift, problem[3], work[3:6])
    ca, xa, za = work[0, 0], work[0, 1], work[0, 2]
    cb, xb, zb = work[3, 0], work[3, 1], work[3, 2]
    d = xa * xb + za * zb
    k = 2.0 * (ca * cb - d)
    out[0, 0] = cb * (2.0 * ca * ca - 1.0) - 2.0 * ca * d
    out[0, 1] = k * xa + xb
    out[0, 2] = k * za + zb
    for j in range(2):
        dca, dxa, dza = work[1 + j, 0], work[1 + j, 1], work[1 + j, 2]
        dd = dxa * xb + dza * zb
        dk = 2.0 * (dca * cb - dd)
        row = 1 + 2 * j
        out[row, 0] = 4.0 * cb * ca * dca - 2.0 * (dca * d + ca * dd)
        out[row, 1] = dk * xa + k * dxa
        out[row, 2] = dk * za + k * dza
        dcb, dxb, dzb = work[4 + j, 0], work[4 + j, 1], work[4 + j, 2]
        dd = xa * dxb + za * dzb
        dk = 2.0 * (ca * dcb - dd)
        row = 2 + 2 * j
        out[row, 0] = dcb * (2.0 * ca * ca - 1.0) - 2.0 * ca * dd
        out[row, 1] = dk * xa + dxb
        out[row, 2] = dk * za + dzb


@njit(cache=True, nogil=True)
def residuals(
    x: NDArray[np.float64],
    problem: NDArray[np.float64],
    work: NDArray[np.float64],
    f: NDArray[np.float64],
    jacobian: NDArray[np.float64],
) -> float:
    """Write the three residuals and their Jacobian; return the sum of squares.

    Residuals: x of the free propagator, x of the blocked one, (arg b - arg a - θ)/2.
    """
    interaction, theta = problem[0], problem[1]
    free, blocked = work[6:11], work[11:16]
    palindrome(x, 0.0, problem, work, free)
    palindrome(x, interaction, problem, work, blocked)
    turn = 0.5 * interaction * (2.0 * problem[2] + problem[3]) + theta
    phase = math.atan2(-blocked[0, 2], blocked[0, 0]) - math.atan2(-free[0, 2], free[0, 0]) - turn
    f[0] = free[0, 1]
    f[1] = blocked[0, 1]
    f[2] = 0.5 * (phase - 2.0 * math.pi * round(phase / (2.0 * math.pi)))
    for j in range(4):
        jacobian[0, j] = free[1 + j, 1]
        jacobian[1, j] = blocked[1 + j, 1]
        jacobian[2, j] = 0.5 * (_phase_slope(blocked, 1 + j) - _phase_slope(free, 1 + j))
    return float(f[0] * f[0] + f[1] * f[1] + f[2] * f[2])


@njit(cache=True, nogil=True)
def _phase_slope(branch: NDArray[np.float64], row: int) -> float:
    """Derivative of arg(c - i z) by the unknown of this row."""
    c, z = branch[0, 0], branch[0, 2]
    return float((branch[row, 0] * z - branch[row, 2] * c) / (c * c + z * z + 1e-30))


@njit(cache=True, nogil=True)
def min_norm_step(
    jacobian: NDArray[np.float64],
    f: NDArray[np.float64],
    scale: NDArray[np.float64],
    damping: float,
    step: NDArray[np.float64],
) -> None:
    """Write the damped least-norm solution of J·step = -f, norms taken in units of `scale`.

    step = -S² Jᵀ (J S² Jᵀ + λ)⁻¹ f: three equations and four unknowns need a 3x3 inverse only.
    """
    m = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            total = 0.0
            for k in range(4):
                total += jacobian[i, k] * jacobian[j, k] * scale[k] * scale[k]
            m[i, j] = total
        m[i, i] += damping
    c00 = m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]
    c01 = m[1, 2] * m[2, 0] - m[1, 0] * m[2, 2]
    c02 = m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]
    determinant = m[0, 0] * c00 + m[0, 1] * c01 + m[0, 2] * c02
    if abs(determinant) < 1e-300:
        step[:] = 0.0
        return
    c11 = m[0, 0] * m[2, 2] - m[0, 2] * m[2, 0]
    c12 = m[0, 1] * m[2, 0] - m[0, 0] * m[2, 1]
    c22 = m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]
    y0 = (c00 * f[0] + c01 * f[1] + c02 * f[2]) / determinant
    y1 = (c01 * f[0] + c11 * f[1] + c12 * f[2]) / determinant
    y2 = (c02 * f[0] + c12 * f[1] + c22 * f[2]) / determinant
    for k in range(4):
        gradient = jacobian[0, k] * y0 + jacobian[1, k] * y1 + jacobian[2, k] * y2
        step[k] = -scale[k] * scale[k] * gradient


@njit(cache=True, nogil=True)
def moved(
    x: NDArray[np.float64],
    step: NDArray[np.float64],
    scale: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write x + step, kept inside 0 <= Ω <= Ω_max and |δ| <= δ_max, into `out`."""
    for k in range(4):
        lowest = 0.0 if k < 2 else -scale[k]
        out[k] = min(max(x[k] + step[k], lowest), scale[k])


@njit(cache=True, nogil=True)
def descend(
    x: NDArray[np.float64],
    problem: NDArray[np.float64],
    scale: NDArray[np.float64],
    max_steps: int,
    work: NDArray[np.float64],
) -> float:
    """Run Levenberg-Marquardt from x, in place; return the largest residual reached."""
    f, trial_f = np.empty(3), np.empty(3)
    jacobian, trial_jacobian = np.empty((3, 4)), np.empty((3, 4))
    step, trial = np.empty(4), np.empty(4)
    cost = residuals(x, problem, work, f, jacobian)
    damping = 1e-2
    failures = 0
    for _ in range(max_steps):
        if cost < 1e-30:
            break
        min_norm_step(jacobian, f, scale, damping * min(1.0, cost), step)
        moved(x, step, scale, trial)
        trial_cost = residuals(trial, problem, work, trial_f, trial_jacobian)
        if trial_cost < cost:
            slow = trial_cost > 0.97 * cost and cost > 1e-6
            x[:] = trial
            f[:] = trial_f
            jacobian[:] = trial_jacobian
            cost = trial_cost
            damping *= 0.2
            failures = failures + 1 if slow else 0
        else:
            damping = max(4.0 * damping, 1e-10)
            failures += 1
        if failures > 6:
            break
    return float(max(abs(f[0]), abs(f[1]), abs(f[2])))


@njit(cache=True, nogil=True)
def merit(x: NDArray[np.float64], problem: NDArray[np.float64], work: NDArray[np.float64]) -> float:
    """Return the predicted infidelity of an exact solution (see `Segments.infidelity`).

    Second order in the errors: phases ε of hg and gg and amplitudes r left in the Rydberg state
    give 1 - F = Var(0, ε_hg, 0, ε_gg) + (|r_hg|² + |r_gg|²)/4.
    """
    interaction = problem[0]
    total_us = 2.0 * problem[2] + problem[3]
    free, blocked = work[6:11], work[11:16]
    palindrome(x, 0.0, problem, work, free)
    palindrome(x, interaction, problem, work, blocked)
    phase_v = -interaction * (0.5 * total_us + _phase_slope(blocked, 3) + _phase_slope(blocked, 4))
    return_v = -interaction * (blocked[3, 1] + blocked[4, 1])
    phase_0 = x[0] * _phase_slope(free, 1) + x[1] * _phase_slope(free, 2)
    phase_1 = x[0] * _phase_slope(blocked, 1) + x[1] * _phase_slope(blocked, 2)
    return_0 = x[0] * free[1, 1] + x[1] * free[2, 1]
    return_1 = x[0] * blocked[1, 1] + x[1] * blocked[2, 1]
    by_interaction = 0.1875 * phase_v * phase_v + 0.25 * return_v * return_v
    by_rabi = 0.25 * (
        phase_0 * phase_0 + phase_1 * phase_1 + return_0 * return_0 + return_1 * return_1
    ) - 0.0625 * (phase_0 + phase_1) * (phase_0 + phase_1)
    return float(SIGMA_LN_INTERACTION**2 * by_interaction + SIGMA_LN_RABI**2 * by_rabi)


@njit(cache=True, nogil=True)
def tangent(
    jacobian: NDArray[np.float64], scale: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Write the unit direction in which all three residuals stay put (units of `scale`)."""
    for k in range(4):
        a, b, c = (k + 1) % 4, (k + 2) % 4, (k + 3) % 4
        minor = (
            jacobian[0, a] * (jacobian[1, b] * jacobian[2, c] - jacobian[1, c] * jacobian[2, b])
            - jacobian[0, b] * (jacobian[1, a] * jacobian[2, c] - jacobian[1, c] * jacobian[2, a])
            + jacobian[0, c] * (jacobian[1, a] * jacobian[2, b] - jacobian[1, b] * jacobian[2, a])
        )
        out[k] = (minor if k % 2 == 0 else -minor) * scale[a] * scale[b] * scale[c]
    norm = math.sqrt(out[0] ** 2 + out[1] ** 2 + out[2] ** 2 + out[3] ** 2)
    for k in range(4):
        out[k] = out[k] * scale[k] / (norm + 1e-300)


@njit(cache=True, nogil=True)
def walk(
    x: NDArray[np.float64],
    problem: NDArray[np.float64],
    scale: NDArray[np.float64],
    work: NDArray[np.float64],
) -> float:
    """Follow the curve of exact solutions downhill in the figure of merit, in place; return it."""
    f, jacobian = np.empty(3), np.empty((3, 4))
    direction, trial = np.empty(4), np.empty(4)
    best = merit(x, problem, work)
    stride = 0.02
    for _ in range(MAX_WALK_STEPS):
        residuals(x, problem, work, f, jacobian)
        tangent(jacobian, scale, direction)
        for k in range(4):
            direction[k] *= stride
        moved(x, direction, scale, trial)
        if descend(trial, problem, scale, 6, work) < TOLERANCE:
            value = merit(trial, problem, work)
            if value < best:
                best = value
                x[:] = trial
                stride *= 1.6
                continue
        stride *= -0.5
        if abs(stride) < 1e-3:
            break
    return float(best)


@njit(cache=True, nogil=True)
def search(problem: NDArray[np.float64], starts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (Ω₁, Ω₂, δ₁, δ₂, figure of merit) of the best solution found.

    Args:
        problem: (V, θ, T₁, T - 2T₁, Ω_max, δ_max); times in µs.
        starts: Starting points in units of the limits, shape (n, 4).

    Returns:
        Shape (5,); the figure of merit is inf where there is no solution.
    """
    scale = np.array([problem[4], problem[4], problem[5], problem[5]])
    work = np.empty((16, 3))
    x = np.empty(4)
    best = np.empty(5)
    best[4] = np.inf
    found = 0
    for s in range(starts.shape[0]):
        for k in range(4):
            x[k] = starts[s, k] * scale[k]
        if descend(x, problem, scale, MAX_STEPS, work) > TOLERANCE:
            continue
        value = walk(x, problem, scale, work)
        if value < best[4]:
            best[:4] = x
            best[4] = value
        found += 1
        if found == N_SOLUTIONS:
            break
    return best


@njit(cache=True, nogil=True)
def assess(x: NDArray[np.float64], problem: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (arg a, arg b, d arg b/d ln V, |d r₁/d ln V|, figure of merit), shape (5,)."""
    interaction, edge_us, middle_us = problem[0], problem[2], problem[3]
    work = np.empty((16, 3))
    value = merit(x, problem, work)
    free, blocked = work[6:11], work[11:16]
    half_us = 0.5 * (2.0 * edge_us + middle_us)
    turn = edge_us * x[2] + 0.5 * middle_us * x[3]
    report = np.empty(5)
    report[0] = turn + math.atan2(-free[0, 2], free[0, 0])
    report[1] = turn - interaction * half_us + math.atan2(-blocked[0, 2], blocked[0, 0])
    report[2] = -interaction * (half_us + _phase_slope(blocked, 3) + _phase_slope(blocked, 4))
    report[3] = abs(interaction * (blocked[3, 1] + blocked[4, 1]))
    report[4] = value
    return report
