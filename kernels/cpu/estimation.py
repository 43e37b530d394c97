"""Bayesian estimation in compiled code; `kernels.estimation` says what each function takes.

The functions with a `_` suffix are the cores: they allocate nothing.
"""

from __future__ import annotations

from math import cos, exp, log, log1p, log2, sin, sqrt
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.reference.estimation import RABI, SMALLEST_PROBABILITY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]


def outcome_probabilities(parameters: Reals, experiments: Reals, errors: Reals) -> Reals:
    """Return P(1 read) per experiment and point, shape (n_experiments, n_points)."""
    probabilities = np.empty((len(experiments), len(parameters)))
    outcome_probabilities_(parameters, experiments, errors, probabilities)
    return probabilities


def posterior_update(log_weights: Reals, probabilities: Reals, n_ones: int, n_shots: int) -> Reals:
    """Return the normalised logarithms of the new weights, shape (n_points,)."""
    new = log_weights.copy()
    posterior_update_(new, probabilities, n_ones, n_shots)
    return new


def information_gain(log_weights: Reals, probabilities: Reals) -> Reals:
    """Return the expected entropy reduction by one shot (bits), shape (n_experiments,)."""
    gains = np.empty(len(probabilities))
    information_gain_(np.exp(log_weights), probabilities, gains)
    return gains


@compiled
def outcome_probabilities_(
    parameters: Reals, experiments: Reals, errors: Reals, probabilities: Reals
) -> None:
    """Write P(1 read), shape (n_experiments, n_points)."""
    contrast = 1.0 - errors[0] - errors[1]
    for e in range(experiments.shape[0]):
        duration, shift = experiments[e, 1], experiments[e, 2]
        for j in range(parameters.shape[0]):
            rabi, detuning, phase = parameters[j, 0], parameters[j, 1], parameters[j, 2]
            if experiments[e, 0] == RABI:
                square = rabi**2 + detuning**2
                share = rabi**2 / square if square > 0.0 else 0.0
                excited = share * sin(0.5 * sqrt(square) * duration) ** 2
            else:
                excited = 0.5 + 0.5 * cos(detuning * duration + phase - shift)
            read = errors[0] + contrast * excited
            probabilities[e, j] = min(max(read, SMALLEST_PROBABILITY), 1.0 - SMALLEST_PROBABILITY)


@compiled
def posterior_update_(log_weights: Reals, probabilities: Reals, n_ones: int, n_shots: int) -> None:
    """Advance normalised logarithms of weights in place, shape (n_points,)."""
    largest = -np.inf
    for j in range(log_weights.size):
        if n_ones > 0:
            log_weights[j] += n_ones * log(probabilities[j])
        if n_shots > n_ones:
            log_weights[j] += (n_shots - n_ones) * log1p(-probabilities[j])
        largest = max(largest, log_weights[j])
    total = 0.0
    for j in range(log_weights.size):
        total += exp(log_weights[j] - largest)
    shift = largest + log(total)
    for j in range(log_weights.size):
        log_weights[j] -= shift


@compiled
def information_gain_(weights: Reals, probabilities: Reals, gains: Reals) -> None:
    """Write expected entropy reductions (bits), shape (n_experiments,)."""
    for e in range(gains.size):
        mean, within = 0.0, 0.0
        for j in range(weights.size):
            p = probabilities[e, j]
            mean += weights[j] * p
            within -= weights[j] * (p * log2(p) + (1.0 - p) * log2(1.0 - p))
        mean = min(max(mean, SMALLEST_PROBABILITY), 1.0 - SMALLEST_PROBABILITY)
        gains[e] = -(mean * log2(mean) + (1.0 - mean) * log2(1.0 - mean)) - within
