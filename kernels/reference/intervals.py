"""Confidence sequences in NumPy: the definition of the sums that `kernels.intervals` keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRUNCATION = 0.5
"""Largest bet; every value in (0, 1) keeps the level, and 1/2 loses little on short runs."""

N, SUM_X, SUM_SQUARES, SUM_BETS, SUM_BETS_X, SUM_PENALTY, LOW, HIGH = range(8)
"""Entries of the state of a Bernstein sequence."""


def mixture_advance(values: NDArray[np.float64], state: NDArray[np.float64]) -> None:
    """Take in values of [0, 1], in order; see `kernels.intervals.MixtureBernstein`.

    Args:
        values: Shape (n_values,).
        state: Number, sum, and squares about the mean before each; advanced in place, shape (3,).
    """
    times = state[N] + np.arange(1.0, values.size + 1.0)
    sums_before = state[SUM_X] + np.cumsum(values) - values
    state[SUM_SQUARES] += np.sum((values - (0.5 + sums_before) / times) ** 2)
    state[N], state[SUM_X] = state[N] + values.size, state[SUM_X] + values.sum()


def bernstein_advance(
    values: NDArray[np.float64], state: NDArray[np.float64], log_two_over_alpha: float
) -> None:
    """Take in values of [0, 1], in order; see `kernels.intervals.EmpiricalBernstein`.

    Args:
        values: Shape (n_values,).
        state: Advanced in place, shape (8,); see the entries above.
        log_two_over_alpha: log(2 / alpha).
    """
    if values.size == 0:
        return
    times, mean_before, variance_before = _predictable(values, state)
    bets = np.sqrt(2.0 * log_two_over_alpha / (variance_before * times * np.log1p(times)))
    bets = np.minimum(bets, TRUNCATION)
    penalties = (values - mean_before) ** 2 * (-np.log1p(-bets) - bets)
    sum_bets = state[SUM_BETS] + np.cumsum(bets)
    sum_bets_x = state[SUM_BETS_X] + np.cumsum(bets * values)
    sum_penalty = state[SUM_PENALTY] + np.cumsum(penalties)
    radius = (log_two_over_alpha + sum_penalty) / sum_bets
    state[LOW] = max(state[LOW], float(np.max(sum_bets_x / sum_bets - radius)))
    state[HIGH] = min(state[HIGH], float(np.min(sum_bets_x / sum_bets + radius)))
    mean_after = (0.5 + state[SUM_X] + np.cumsum(values)) / (times + 1.0)
    state[SUM_SQUARES] += np.sum((values - mean_after) ** 2)
    state[N], state[SUM_X] = times[-1], state[SUM_X] + values.sum()
    state[SUM_BETS : SUM_PENALTY + 1] = sum_bets[-1], sum_bets_x[-1], sum_penalty[-1]


def betting_advance(
    values: NDArray[np.float64],
    moments: NDArray[np.float64],
    plus: NDArray[np.float64],
    minus: NDArray[np.float64],
    ends: NDArray[np.int64],
    caps: NDArray[np.float64],
    log_two_over_alpha: float,
) -> None:
    """Take in values of [0, 1], in order; see `kernels.intervals.HedgedBetting`.

    Args:
        values: Shape (n_values,).
        moments: Number, sum and squares as in the state above, advanced in place, shape (3,).
        plus: Capital of the bets that the mean is larger than each candidate, shape (n_points,).
        minus: Capital of the bets that it is smaller, shape (n_points,).
        ends: Largest candidate ruled out from below, smallest from above, shape (2,).
        caps: Largest bet on each candidate, `TRUNCATION / candidate`, shape (n_points,).
        log_two_over_alpha: log(2 / alpha).
    """
    candidates = np.linspace(0.0, 1.0, plus.size)
    rich = np.exp(log_two_over_alpha)
    for value in values:
        times, _, variance = _predictable(np.array([value]), moments)
        bet = np.sqrt(2.0 * log_two_over_alpha / (variance[0] * times[0] * np.log1p(times[0])))
        open_ = slice(ends[0] + 1, ends[1])
        means = candidates[open_]
        plus[open_] *= 1.0 + np.minimum(bet, caps[open_]) * (value - means)
        minus[open_] *= 1.0 - np.minimum(bet, caps[::-1][open_]) * (value - means)
        ends[0] += _leading(plus[open_] >= rich)
        ends[1] -= _leading(minus[ends[0] + 1 : ends[1]][::-1] >= rich)
        moments[N], moments[SUM_X] = times[0], moments[SUM_X] + value
        moments[SUM_SQUARES] += (value - (0.5 + moments[SUM_X]) / (times[0] + 1.0)) ** 2


def _leading(flags: NDArray[np.bool_]) -> int:
    """Count the ones before the first zero."""
    return int(np.argmin(np.append(flags, False)))


def _predictable(
    values: NDArray[np.float64], state: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the number of each value, and mean and variance as estimated before it came."""
    times = state[N] + np.arange(1.0, values.size + 1.0)
    sums = state[SUM_X] + np.cumsum(values)
    squares = (values - (0.5 + sums) / (times + 1.0)) ** 2
    sums_before = np.concatenate([state[SUM_X : SUM_X + 1], sums[:-1]])
    squares_before = state[SUM_SQUARES] + np.concatenate([[0.0], np.cumsum(squares)[:-1]])
    return times, (0.5 + sums_before) / times, (0.25 + squares_before) / times
