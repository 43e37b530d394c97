"""The physics of a three-segment pulse: propagators, their derivatives, and how errors spread.

One real Hamiltonian run as a palindrome (edge, middle, edge) has a symmetric propagator, with ħ = 1

    U = exp(i Σ δt / 2) · (c - i (x σx + z σz))        in the basis (g, r).

`problem` is always (V, θ, T₁, T - 2T₁, Ω_max, δ_max, smallest mean Ω), x the unknowns (Ω₁, Ω₂, δ₁,
δ₂), times in µs, all else in rad/µs and rad. `work` has shape (16, 3) and belongs to one thread.

Everything here is scalar Python that Numba compiles; without Numba it runs as it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Function = TypeVar("Function", bound=Callable[..., object])

__all__ = ["assess", "linearise", "merit", "njit"]

try:
    from numba import njit
except ImportError:  # pragma: no cover - Numba is a dependency, but pulses are exact without it

    def njit(**_options: object) -> Callable[[Function], Function]:  # type: ignore[no-redef]
        """Leave a function as it is where Numba is missing."""
        return lambda function: function


# Errors behind the figure of merit: a spread of 0.1 in ln V (50 nm of position jitter per atom at 4
# to 5 µm), represented by six values, and of 1 % in the Rabi frequency.
LN_INTERACTION_SAMPLES = (-0.14, -0.09, -0.04, 0.04, 0.09, 0.14)
SIGMA_LN_RABI = 0.01


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def palindromes(
    x: NDArray[np.float64], problem: NDArray[np.float64], work: NDArray[np.float64]
) -> None:
    """Write (c, x, z) of edge·middle·edge and its derivatives by the four unknowns.

    The free propagator goes into row 6 of `work` and its derivatives into rows 7 to 10, the
    blocked one into rows 11 to 15.

    With A the edge and B the middle, d = x_A x_B + z_A z_B:
    c = c_B (2c_A² - 1) - 2 c_A d,  x = 2 (c_A c_B - d) x_A + x_B,  z likewise.
    """
    for branch in range(2):
        top = 6 + 5 * branch
        segment(x[0], x[2] - branch * problem[0], problem[2], work[0:3])
        segment(x[1], x[3] - branch * problem[0], problem[3], work[3:6])
        ca, xa, za = work[0, 0], work[0, 1], work[0, 2]
        cb, xb, zb = work[3, 0], work[3, 1], work[3, 2]
        d = xa * xb + za * zb
        k = 2.0 * (ca * cb - d)
        work[top, 0] = cb * (2.0 * ca * ca - 1.0) - 2.0 * ca * d
        work[top, 1] = k * xa + xb
        work[top, 2] = k * za + zb
        for j in range(2):
            dca, dxa, dza = work[1 + j, 0], work[1 + j, 1], work[1 + j, 2]
            dd = dxa * xb + dza * zb
            dk = 2.0 * (dca * cb - dd)
            row = top + 1 + 2 * j
            work[row, 0] = 4.0 * cb * ca * dca - 2.0 * (dca * d + ca * dd)
            work[row, 1] = dk * xa + k * dxa
            work[row, 2] = dk * za + k * dza
            dcb, dxb, dzb = work[4 + j, 0], work[4 + j, 1], work[4 + j, 2]
            dd = xa * dxb + za * dzb
            dk = 2.0 * (ca * dcb - dd)
            row = top + 2 + 2 * j
            work[row, 0] = dcb * (2.0 * ca * ca - 1.0) - 2.0 * ca * dd
            work[row, 1] = dk * xa + dxb
            work[row, 2] = dk * za + dzb


@njit(cache=True, nogil=True, error_model="numpy")
def returned(
    x: NDArray[np.float64], problem: NDArray[np.float64], shift: float
) -> tuple[float, float]:
    """Return c and z of edge·middle·edge at detunings lowered by `shift`; see `palindromes`."""
    w = math.sqrt(x[0] ** 2 + (x[2] - shift) ** 2) + 1e-300
    half = 0.5 * problem[2] * w
    ca, xa, za = math.cos(half), x[0] * math.sin(half) / w, (x[2] - shift) * math.sin(half) / w
    w = math.sqrt(x[1] ** 2 + (x[3] - shift) ** 2) + 1e-300
    half = 0.5 * problem[3] * w
    cb, xb, zb = math.cos(half), x[1] * math.sin(half) / w, (x[3] - shift) * math.sin(half) / w
    d = xa * xb + za * zb
    return cb * (2.0 * ca * ca - 1.0) - 2.0 * ca * d, 2.0 * (ca * cb - d) * za + zb


@njit(cache=True, nogil=True, error_model="numpy")
def linearise(
    x: NDArray[np.float64],
    problem: NDArray[np.float64],
    work: NDArray[np.float64],
    out: NDArray[np.float64],
) -> float:
    """Write the Jacobian of the three residuals and, in column 4, the residuals; return Σ f².

    Residuals: x of the free propagator, x of the blocked one, (arg b - arg a - θ)/2.
    """
    palindromes(x, problem, work)
    turn = 0.5 * problem[0] * (2.0 * problem[2] + problem[3]) + problem[1]
    phase = math.atan2(-work[11, 2], work[11, 0]) - math.atan2(-work[6, 2], work[6, 0]) - turn
    out[0, 4] = work[6, 1]
    out[1, 4] = work[11, 1]
    out[2, 4] = 0.5 * (phase - 2.0 * math.pi * math.floor(phase / (2.0 * math.pi) + 0.5))
    for j in range(4):
        out[0, j] = work[7 + j, 1]
        out[1, j] = work[12 + j, 1]
        out[2, j] = 0.5 * (phase_slope(work, 11, j) - phase_slope(work, 6, j))
    return float(out[0, 4] ** 2 + out[1, 4] ** 2 + out[2, 4] ** 2)


@njit(cache=True, nogil=True, error_model="numpy")
def phase_slope(work: NDArray[np.float64], top: int, unknown: int) -> float:
    """Derivative of arg(c - i z) of the propagator in row `top` by one of the unknowns."""
    c, z = work[top, 0], work[top, 2]
    row = top + 1 + unknown
    return float((work[row, 0] * z - work[row, 2] * c) / (c * c + z * z + 1e-30))


@njit(cache=True, nogil=True, error_model="numpy")
def phase_by_lnv(problem: NDArray[np.float64], work: NDArray[np.float64]) -> float:
    """Return d(arg b)/d(ln V): V shifts both detunings and the phase of the frame."""
    half_us = 0.5 * (2.0 * problem[2] + problem[3])
    return float(-problem[0] * (half_us + phase_slope(work, 11, 2) + phase_slope(work, 11, 3)))


@njit(cache=True, nogil=True, error_model="numpy")
def merit(x: NDArray[np.float64], problem: NDArray[np.float64], work: NDArray[np.float64]) -> float:
    """Return the predicted infidelity of an exact solution (see `Segments.infidelity`).

    Errors of the Rabi frequency count to second order: phases ε of hg and gg and amplitudes r left
    in the Rydberg state give 1 - F = Var(0, ε_hg, 0, ε_gg) + (|r_hg|² + |r_gg|²)/4. Errors of V
    are sampled, because the blocked atom turns many times within the spread: with β the factor by
    which b is off, 1 - F = 1 - |3 + β|²/16. Expects that `palindromes` has filled `work` for x.
    """
    phase_0 = x[0] * phase_slope(work, 6, 0) + x[1] * phase_slope(work, 6, 1)
    phase_1 = x[0] * phase_slope(work, 11, 0) + x[1] * phase_slope(work, 11, 1)
    return_0 = x[0] * work[7, 1] + x[1] * work[8, 1]
    return_1 = x[0] * work[12, 1] + x[1] * work[13, 1]
    by_rabi = 0.25 * (phase_0**2 + phase_1**2 + return_0**2 + return_1**2)
    by_rabi -= 0.0625 * (phase_0 + phase_1) ** 2
    by_interaction = 0.0
    for k in range(len(LN_INTERACTION_SAMPLES)):
        change = problem[0] * math.expm1(LN_INTERACTION_SAMPLES[k])
        c, z = returned(x, problem, problem[0] + change)
        turn = -0.5 * change * (2.0 * problem[2] + problem[3])
        # β = (c - i z) e^{i turn} / (c₀ - i z₀)
        real, imaginary = c * work[11, 0] + z * work[11, 2], c * work[11, 2] - z * work[11, 0]
        beta = real * math.cos(turn) - imaginary * math.sin(turn)
        by_interaction += 1.0 - (9.0 + 6.0 * beta + c * c + z * z) / 16.0
    return float(by_interaction / len(LN_INTERACTION_SAMPLES) + SIGMA_LN_RABI**2 * by_rabi)


@njit(cache=True, nogil=True, error_model="numpy")
def assess(x: NDArray[np.float64], problem: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (arg a, arg b, d arg b/d ln V, |d r₁/d ln V|, figure of merit), shape (5,)."""
    work = np.empty((16, 3))
    palindromes(x, problem, work)
    turn = problem[2] * x[2] + 0.5 * problem[3] * x[3]
    half_us = 0.5 * (2.0 * problem[2] + problem[3])
    report = np.empty(5)
    report[0] = turn + math.atan2(-work[6, 2], work[6, 0])
    report[1] = turn - problem[0] * half_us + math.atan2(-work[11, 2], work[11, 0])
    report[2] = phase_by_lnv(problem, work)
    report[3] = abs(problem[0] * (work[14, 1] + work[15, 1]))
    report[4] = merit(x, problem, work)
    return report
