"""What a loop keeps of the shots of one setting, and the rule by which it stops.

Everything here is compiled and works on flat arrays, so that an estimator in Python and a handler
without Python (`decide`) add the same numbers in the same order and decide alike, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf, log, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.kernels.intervals import check_confidence, log_mixture
from cudaq_target.kernels.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]

N, SUM_X, SUM_SQUARES, MEAN, SQUARES, LOW, SPAN = range(7)
"""Entries of a tally: number; sum and squares of the values scaled to [0, 1], as in
`kernels.intervals.MixtureBernstein`; mean and squared deviations of the values themselves (Welford,
Technometrics 4, 419 (1962)); least value, and largest minus least."""

TALLY_WORDS: Final = 7

_FIRST, _LAST, _N_POINTS = 1e-2, 1e10, 1200
_RATIO = (_LAST / _FIRST) ** (1.0 / (_N_POINTS - 1))
_LOG_FIRST, _LOG_RATIO = log(_FIRST), log(_RATIO)
_ROUNDING = 1e-9

TARGET_ERROR, HALF_WIDTH, OTHER_VARIANCE, LINEAR, CONSTANT, OTHER_HALF, MIN_SHOTS = range(7)
"""Entries of a rule, see `Rule`."""


@compiled(inline=True)
def advance_(values: Reals, tally: Reals) -> bool:
    """Take in values, in order.

    Args:
        values: Shape (n_values,).
        tally: Advanced in place, shape (7,).

    Returns:
        Whether all were within the bounds; where not, the values before the first wrong one count.
    """
    number, total, squares = tally[N], tally[SUM_X], tally[SUM_SQUARES]
    mean, deviations = tally[MEAN], tally[SQUARES]
    low, per_span = tally[LOW], 1.0 / tally[SPAN]
    is_inside = True
    for k in range(values.size):
        value = values[k]
        scaled = (value - low) * per_span
        if not (-_ROUNDING <= scaled <= 1.0 + _ROUNDING):
            is_inside = False
            break
        scaled = min(max(scaled, 0.0), 1.0)
        number += 1.0
        share = 1.0 / number  # the only division: it waits for nothing
        distance = scaled - (0.5 + total) * share
        squares += distance * distance
        total += scaled
        step = value - mean
        mean += step * share
        deviations += step * (value - mean)
    tally[N], tally[SUM_X], tally[SUM_SQUARES] = number, total, squares
    tally[MEAN], tally[SQUARES] = mean, deviations
    return is_inside


@lru_cache(maxsize=16)
def boundary_table(confidence: float) -> Reals:
    """Tabulate the boundary of `kernels.intervals.MixtureBernstein` with its default prior.

    n times the half width is a function f(V) of the squares alone; it rises, so that f at the next
    point of a grid is an upper bound, at most 1.4 % wider. Solving for it at every look would cost
    70 µs and need SciPy.

    Args:
        confidence: Of all looks together.

    Returns:
        f at V = 0 and at 1200 points from 0.01 to 10^10, in ratios of 1.023, shape (1201,).

    Raises:
        KernelInputError: The level lies outside (0, 1).
    """
    check_confidence(confidence)
    squares = np.concatenate([[0.0], np.geomspace(_FIRST, _LAST, _N_POINTS)])
    threshold = log(2.0 / (1.0 - confidence))
    low, high = np.zeros(len(squares)), np.full(len(squares), 1.0)
    while np.any(short := log_mixture(high, squares, 1.0) < threshold):  # type: ignore[arg-type]
        high[short] *= 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        is_in = np.asarray(log_mixture(middle, squares, 1.0) < threshold)  # type: ignore[arg-type]
        low, high = np.where(is_in, middle, low), np.where(is_in, high, middle)
    table: Reals = np.maximum.accumulate(high * (1.0 + 1e-11) + 1e-8)
    table.setflags(write=False)
    return table


@compiled(inline=True)
def boundary_(table: Reals, squares: float) -> float:
    """Look up n times the half width, in ranges; infinite beyond the table."""
    if squares <= 0.0:
        return float(table[0])
    k = 1
    if squares > _FIRST:
        # 1e-9 of a step: rounding of the logarithm must not choose a point below.
        k = 1 + ceil((log(squares) - _LOG_FIRST) / _LOG_RATIO + 1e-9)
    return float(table[k]) if k < table.size else inf


@compiled(inline=True)
def half_width_(table: Reals, tally: Reals) -> float:
    """Half the width of a setting's interval, in the unit of the values; infinite at first."""
    if tally[N] < 1.0:
        return inf
    return float(tally[SPAN] * boundary_(table, tally[SUM_SQUARES]) / tally[N])


@compiled(inline=True)
def deviation_(tally: Reals, prior_shots: float) -> float:
    """Standard deviation of one shot, as if `prior_shots` values at the bounds had come before.

    Without them a few equal shots would seem to know the mean for good.
    """
    prior = prior_shots * tally[SPAN] ** 2 / 4.0
    return sqrt((tally[SQUARES] + prior) / (tally[N] + prior_shots))


@compiled(inline=True)
def stops_(rule: Reals, n_shots: float, deviation: float, half_width: float) -> bool:
    """Decide after a block; see `Rule`.

    Args:
        rule: Shape (7,).
        n_shots: Of the setting that runs.
        deviation: Of one shot of it.
        half_width: Of its interval.
    """
    if n_shots < rule[MIN_SHOTS]:
        return False
    target = rule[TARGET_ERROR] ** 2
    variance = deviation * deviation
    if variance / n_shots + rule[OTHER_VARIANCE] <= target:
        return True
    if variance + rule[LINEAR] * deviation + rule[CONSTANT] <= n_shots * target:
        return True
    return bool(half_width + rule[OTHER_HALF] <= rule[HALF_WIDTH])


@dataclass(frozen=True, slots=True)
class Rule:
    """When a run stops, in numbers that compiled code can read.

    With n shots of deviation s = sqrt(v) in the setting that runs and interval ± h, the run stops
    once n >= min_shots and one of these holds: the error of the sum is reached,

        v / n + other_variance <= target_error²;

    the setting has what the allocation gives it, v + linear s + constant <= n target_error²;
    or the interval is narrow enough, h + other_half <= half_width.

    Attributes:
        target_error: Standard error wanted of the sum; 0 for none.
        half_width: Of its interval; 0 for none.
        other_variance: Of the means of the other settings together.
        linear: Sum of the standard deviations of one shot of the others, for Neyman's allocation.
        constant: Sum of their variances, for equal shots.
        other_half: Half widths of the others together.
        min_shots: The setting gets so many in any case.
    """

    target_error: float = 0.0
    half_width: float = 0.0
    other_variance: float = 0.0
    linear: float = 0.0
    constant: float = 0.0
    other_half: float = 0.0
    min_shots: int = 2

    def to_array(self) -> Reals:
        """The form of `stops_`, shape (7,)."""
        return np.array(
            [
                self.target_error,
                self.half_width,
                self.other_variance,
                self.linear,
                self.constant,
                self.other_half,
                float(self.min_shots),
            ]
        )


def new_tally(low: float, high: float) -> Reals:
    """Make the tally of no shots.

    Args:
        low: Least value.
        high: Largest value.

    Returns:
        Shape (7,).
    """
    tally = np.zeros(TALLY_WORDS)
    tally[LOW], tally[SPAN] = low, high - low
    return tally
