"""Optimisers for sums of sinusoids: the energy of a circuit as a function of one of its angles.

Along an angle whose generator has eigenvalue differences w_1 ... w_R the energy is
c + sum_l (a_l cos(w_l x) + b_l sin(w_l x)): R = 1, w = 1 for a rotation exp(-i x P / 2) by a Pauli
product. So derivatives and minima along it are exact functions of a few energies at far points,
where shot noise is divided by a large distance.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.coupler.loops.errors import OptimiserError
from cudaq_target.coupler.loops.search import (
    Refinement,
    Search,
    Steps,
    Trial,
    checked_start,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.interface import Estimate, Point

    Reals = NDArray[np.float64]

Frequencies = Sequence[float] | Sequence[Sequence[float]]
"""Those of all parameters, or one row per parameter."""

_WORST_CONDITION = 1e6


@dataclass(frozen=True, slots=True)
class ShiftRule:
    """f'(x) = sum_m coefficients[m] (f(x + shifts[m]) - f(x - shifts[m])).

    Attributes:
        shifts: Positive, shape (n_frequencies,).
        coefficients: Same shape.
    """

    shifts: tuple[float, ...]
    coefficients: tuple[float, ...]


def shift_rule(frequencies: Sequence[float]) -> ShiftRule:
    """Make the parameter-shift rule of a sum of sinusoids.

    Shifts are (2 m - 1) pi / (2 w_max), m = 1 ... R. For multiples of one frequency these are the
    shifts and coefficients of D. Wierichs et al., arXiv:2107.12390, section 3; R = 1 is the
    two-term rule. Coefficients solve 2 sum_m c_m sin(w_l s_m) = w_l.

    Args:
        frequencies: Positive and distinct, at least one.

    Raises:
        OptimiserError: They are not, or so close together that the rule would multiply noise.

    >>> rule = shift_rule([1.0])
    >>> round(rule.shifts[0] / np.pi, 3), round(rule.coefficients[0], 3)
    (0.5, 0.5)
    """
    w = _checked_frequencies(frequencies)
    shifts = (2.0 * np.arange(1, len(w) + 1) - 1.0) * np.pi / (2.0 * w[-1])
    sines = 2.0 * np.sin(np.outer(w, shifts))
    if np.linalg.cond(sines) > _WORST_CONDITION:
        found = f"are {w.tolist()}, too close together for a shift rule"
        raise OptimiserError("frequencies", found, "use Spsa, or Scipy")
    coefficients = np.linalg.solve(sines, w)
    return ShiftRule(tuple(shifts.tolist()), tuple(coefficients.tolist()))


class GradientDescent(Search):
    """Steps against the gradient, which the parameter-shift rule gives without bias.

    A step costs two points per frequency and parameter. A gradient that is not distinguishable from
    0, sum_j (g_j / error_j)² <= n + 2 sqrt(2 n), what n noisy zeros exceed in about one case of
    twenty, lets all further points be measured with the finest errors; `patience` such gradients in
    a row then end it. That says that these shots show no slope, not that there is none.
    """

    def __init__(
        self,
        start: Sequence[float],
        *,
        rate: float,
        n_steps: int = 100,
        frequencies: Frequencies = (1.0,),
        errors: Refinement | None = None,
        tolerance: float = 1e-6,
        patience: int = 2,
    ) -> None:
        """Begin at a point.

        Args:
            start: Values of the parameters.
            rate: Step per gradient, in units of parameter² / value.
            n_steps: At most.
            frequencies: Of the landscape, see the module.
            errors: Standard errors of the points, over `n_steps`.
            tolerance: Length of the gradient at which it ends, however well that is known.
            patience: Gradients that show nothing, in a row.

        Raises:
            OptimiserError: An argument makes no sense.
        """
        point = checked_start(start)
        _check_positive(rate=rate, n_steps=n_steps, patience=patience)
        rules = [shift_rule(row) for row in _rows(frequencies, len(point))]
        super().__init__(_descend(point, rate, n_steps, rules, errors, tolerance, patience))


def _descend(
    start: Point,
    rate: float,
    n_steps: int,
    rules: list[ShiftRule],
    errors: Refinement | None,
    tolerance: float,
    patience: int,
) -> Steps:
    point = np.array(start)
    n_flat = 0
    is_finest = errors is None
    for step in range(n_steps):
        error = _wanted(errors, step, n_steps, is_finest)
        gradient, variance = np.zeros(len(point)), np.zeros(len(point))
        for j, rule in enumerate(rules):
            for shift, weight in zip(rule.shifts, rule.coefficients, strict=True):
                for sign in (1.0, -1.0):
                    estimate = yield Trial(_moved(point, j, sign * shift), error)
                    gradient[j] += sign * weight * estimate.value
                    variance[j] += (weight * estimate.standard_error) ** 2
        if np.linalg.norm(gradient) <= tolerance:
            yield Trial(tuple(point.tolist()), error, is_answer=True)
            return f"the gradient is below {tolerance:g} after {step + 1} steps"
        n_flat = n_flat + 1 if _is_noise(gradient, variance) else 0
        if n_flat and not is_finest:
            n_flat, is_finest = 0, True
        if n_flat >= patience:
            yield Trial(tuple(point.tolist()), error, is_answer=True)
            return f"{patience} gradients in a row are not distinguishable from 0"
        point -= rate * gradient
    yield Trial(tuple(point.tolist()), error, is_answer=True)
    return f"{n_steps} steps"


def _is_noise(gradient: Reals, variance: Reals) -> bool:
    n = len(gradient)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(gradient == 0.0, 0.0, gradient**2 / variance)
    return bool(ratio.sum() <= n + 2.0 * np.sqrt(2.0 * n))


@dataclass(frozen=True, slots=True, eq=False)
class Sinusoid:
    """c + sum_l (a_l cos(w_l x) + b_l sin(w_l x)), fitted to noisy points.

    Attributes:
        frequencies: w, shape (n_frequencies,).
        coefficients: c, a_1, b_1, a_2, ..., shape (2 n_frequencies + 1,).
        covariance: Of the coefficients.
    """

    frequencies: Reals
    coefficients: Reals
    covariance: Reals

    @classmethod
    def fit(
        cls, x: Sequence[float], estimates: Sequence[Estimate], frequencies: Sequence[float]
    ) -> Sinusoid:
        """Fit by least squares, weighted with the standard errors where all are known.

        Args:
            x: Where, at least 2 n_frequencies + 1 values.
            estimates: Values there.
            frequencies: Positive and distinct.
        """
        w = _checked_frequencies(frequencies)
        sigma = np.array([one.standard_error for one in estimates])
        known = bool(np.isfinite(sigma).all() and (sigma > 0.0).all())
        weight = 1.0 / sigma if known else np.ones(len(sigma))
        design = _basis(np.asarray(x, dtype=np.float64), w)
        inverse = np.linalg.pinv(design * weight[:, None])
        coefficients = inverse @ (weight * np.array([one.value for one in estimates]))
        spread = np.ones(len(sigma)) if known else sigma
        covariance = (inverse * spread**2) @ inverse.T
        return cls(w, coefficients, covariance)

    def at(self, x: float) -> tuple[float, float]:
        """Return value and standard error."""
        row = _basis(np.array([x]), self.frequencies)[0]
        return float(row @ self.coefficients), float(np.sqrt(row @ self.covariance @ row))

    def is_flat(self) -> bool:
        """Whether the points do not show that it varies: its parts are within two errors of 0."""
        errors = np.sqrt(np.diagonal(self.covariance))
        return bool((np.abs(self.coefficients[1:]) <= 2.0 * errors[1:]).all())

    def minimum(self, near: float) -> float:
        """Return where it is lowest within the period around a value."""
        half = np.pi / self.frequencies[0]
        x = near + np.linspace(-half, half, 128 * len(self.frequencies) + 1)
        for _ in range(3):  # each pass divides the spacing by 64
            best = x[int(np.argmin(_basis(x, self.frequencies) @ self.coefficients))]
            spacing = x[1] - x[0]
            x = np.linspace(best - spacing, best + spacing, 129)
        return float(best)


class Rotosolve(Search):
    """Goes to the minimum along one parameter after the other, which a sinusoid gives in one step.

    K. M. Nakanishi, K. Fujii and S. Todo, arXiv:1903.12166; M. Ostaszewski et al.,
    arXiv:1905.09692. Along each parameter 2 R + 1 points at equal distances are measured and
    fitted; where they do not show that the value varies, the parameter stays. After a sweep the
    point is measured. Where a sweep lowers the value by less than its error, the next one is
    measured with the finest errors, and a sweep of these that gains nothing is the last.
    """

    def __init__(
        self,
        start: Sequence[float],
        *,
        n_sweeps: int = 10,
        frequencies: Frequencies = (1.0,),
        errors: Refinement | None = None,
        tolerance: float = 1e-6,
    ) -> None:
        """Begin at a point.

        Args:
            start: Values of the parameters.
            n_sweeps: At most.
            frequencies: Of the landscape, see the module; multiples of the lowest.
            errors: Standard errors of the points, over `n_sweeps`.
            tolerance: A gain per sweep below which it ends, however well that is known.

        Raises:
            OptimiserError: An argument makes no sense.
        """
        point = checked_start(start)
        _check_positive(n_sweeps=n_sweeps)
        rows = [_checked_frequencies(row) for row in _rows(frequencies, len(point))]
        for w in rows:
            if np.abs(w / w[0] - np.rint(w / w[0])).max() > 1e-9:
                found = f"are {w.tolist()}, not multiples of the lowest"
                raise OptimiserError("frequencies", found, "use GradientDescent")
        super().__init__(_sweep(point, n_sweeps, rows, errors, tolerance))


def _sweep(
    start: Point, n_sweeps: int, rows: list[Reals], errors: Refinement | None, tolerance: float
) -> Steps:
    point = np.array(start)
    before: Estimate | None = None
    is_finest = errors is None
    for sweep in range(n_sweeps):
        error = _wanted(errors, sweep, n_sweeps, is_finest)
        for j, w in enumerate(rows):
            n_points = 2 * round(w[-1] / w[0]) + 1
            shifts = 2.0 * np.pi / (w[0] * n_points) * np.arange(n_points)
            estimates = yield from _line(point, j, shifts, error)
            fit = Sinusoid.fit((point[j] + shifts).tolist(), estimates, w.tolist())
            if not fit.is_flat():
                point[j] = fit.minimum(float(point[j]))
        now = yield Trial(tuple(point.tolist()), error, is_answer=True)
        if before is not None:
            noise = float(np.hypot(now.standard_error, before.standard_error))
            if before.value - now.value <= max(tolerance, noise):
                if is_finest:
                    return f"sweep {sweep + 1} lowers the value by no more than its error"
                is_finest = True
        before = now
    return f"{n_sweeps} sweeps"


def _line(
    point: Reals, j: int, shifts: Reals, error: float | None
) -> Generator[Trial, Estimate, list[Estimate]]:
    estimates: list[Estimate] = []
    for shift in shifts.tolist():
        estimate = yield Trial(_moved(point, j, shift), error)
        estimates.append(estimate)
    return estimates


def _wanted(errors: Refinement | None, step: int, n_steps: int, is_finest: bool) -> float | None:
    if errors is None:
        return None
    return errors.last if is_finest else errors.at(step, n_steps)


def _moved(point: Reals, j: int, shift: float) -> Point:
    moved = point.copy()
    moved[j] += shift
    return tuple(moved.tolist())


def _basis(x: Reals, w: Reals) -> Reals:
    angles = np.outer(x, w)
    waves = np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(len(x), -1)
    return np.concatenate([np.ones((len(x), 1)), waves], axis=1)


def _rows(frequencies: Frequencies, n_parameters: int) -> list[Sequence[float]]:
    """One row of frequencies per parameter."""
    rows = [row for row in frequencies if isinstance(row, Sequence)]
    if not rows:
        return [[float(w) for w in frequencies if not isinstance(w, Sequence)]] * n_parameters
    if len(rows) != n_parameters or len(rows) != len(frequencies):
        found = f"has {len(rows)} rows for {n_parameters} parameters"
        raise OptimiserError("frequencies", found, "give one list for all, or one per parameter")
    return rows


def _checked_frequencies(frequencies: Sequence[float]) -> Reals:
    w = np.sort(np.asarray(frequencies, dtype=np.float64))
    if w.ndim != 1 or not len(w) or not (np.isfinite(w).all() and w[0] > 0.0):
        raise OptimiserError("frequencies", f"are {frequencies}", "give positive numbers")
    if (np.diff(w) <= 1e-9 * w[-1]).any():
        raise OptimiserError("frequencies", f"are {frequencies}", "give each one once")
    return w


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise OptimiserError(name, f"is {value}", "give a positive number")
