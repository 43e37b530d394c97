"""Confidence sequences, shot by shot in compiled code; same results as `reference.intervals`."""

from __future__ import annotations

from math import exp, log1p, sqrt
from typing import TYPE_CHECKING

from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.reference.intervals import (
    HIGH,
    LOW,
    SUM_BETS,
    SUM_BETS_X,
    SUM_PENALTY,
    SUM_SQUARES,
    SUM_X,
    TRUNCATION,
    N,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@compiled
def mixture_advance(values: NDArray[np.float64], state: NDArray[np.float64]) -> None:
    """Take in values of [0, 1], in order; arguments as in the reference."""
    for value in values:
        state[N] += 1.0
        state[SUM_SQUARES] += (value - (0.5 + state[SUM_X]) / state[N]) ** 2
        state[SUM_X] += value


@compiled
def bernstein_advance(
    values: NDArray[np.float64], state: NDArray[np.float64], log_two_over_alpha: float
) -> None:
    """Take in values of [0, 1], in order; arguments as in the reference."""
    for value in values:
        bet, mean_before = _next_bet(value, state, log_two_over_alpha)
        bet = min(bet, TRUNCATION)
        state[SUM_BETS] += bet
        state[SUM_BETS_X] += bet * value
        state[SUM_PENALTY] += (value - mean_before) ** 2 * (-log1p(-bet) - bet)
        center = state[SUM_BETS_X] / state[SUM_BETS]
        radius = (log_two_over_alpha + state[SUM_PENALTY]) / state[SUM_BETS]
        state[LOW] = max(state[LOW], center - radius)
        state[HIGH] = min(state[HIGH], center + radius)


@compiled
def betting_advance(
    values: NDArray[np.float64],
    moments: NDArray[np.float64],
    plus: NDArray[np.float64],
    minus: NDArray[np.float64],
    ends: NDArray[np.int64],
    caps: NDArray[np.float64],
    log_two_over_alpha: float,
) -> None:
    """Take in values of [0, 1], in order; arguments as in the reference."""
    last = plus.size - 1
    rich = exp(log_two_over_alpha)
    for value in values:
        bet = _next_bet(value, moments, log_two_over_alpha)[0]
        for j in range(ends[0] + 1, ends[1]):
            mean = j / last
            gain = value - mean
            plus[j] *= 1.0 + min(bet, caps[j]) * gain
            minus[j] *= 1.0 - min(bet, caps[last - j]) * gain
        first, end = ends[0] + 1, ends[1]
        while first < end and plus[first] >= rich:
            first += 1
        ends[0] = first - 1
        last_open = end - 1
        while last_open > ends[0] and minus[last_open] >= rich:
            last_open -= 1
        ends[1] = last_open + 1


@compiled
def _next_bet(
    value: float, state: NDArray[np.float64], log_two_over_alpha: float
) -> tuple[float, float]:
    """Return the bet on a value and the mean as estimated before it, then take the value in."""
    time = state[N] + 1.0
    mean_before = (0.5 + state[SUM_X]) / time
    variance_before = (0.25 + state[SUM_SQUARES]) / time
    bet = sqrt(2.0 * log_two_over_alpha / (variance_before * time * log1p(time)))
    state[N] = time
    state[SUM_X] += value
    state[SUM_SQUARES] += (value - (0.5 + state[SUM_X]) / (time + 1.0)) ** 2
    return bet, mean_before
