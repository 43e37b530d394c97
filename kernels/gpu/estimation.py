"""Bayesian estimation on a GPU, in array operations; `kernels.estimation` says what each takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.gpu import device
from cudaq_target.kernels.reference.estimation import RABI, SMALLEST_PROBABILITY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]


@device.lands_at_home
def outcome_probabilities(parameters: Reals, experiments: Reals, errors: Reals) -> Reals:
    """Return P(1 read) per experiment and point, shape (n_experiments, n_points)."""
    xp = device.arrays()
    rabi, detuning, phase = parameters[:, 0], parameters[:, 1], parameters[:, 2]
    square = rabi**2 + detuning**2
    share = rabi**2 / xp.where(square > 0.0, square, 1.0)
    wrong = device.to_host(errors)
    probabilities: Reals = xp.empty((len(experiments), len(parameters)), dtype=np.float64)
    for row, (kind, duration, shift) in enumerate(device.to_host(experiments).tolist()):
        if kind == RABI:
            excited = share * xp.sin(0.5 * xp.sqrt(square) * duration) ** 2
        else:
            excited = 0.5 + 0.5 * xp.cos(detuning * duration + phase - shift)
        read = float(wrong[0]) + float(1.0 - wrong[0] - wrong[1]) * excited
        probabilities[row] = xp.clip(read, SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
    return probabilities


@device.lands_at_home
def posterior_update(log_weights: Reals, probabilities: Reals, n_ones: int, n_shots: int) -> Reals:
    """Return the normalised logarithms of the new weights, shape (n_points,)."""
    xp = device.arrays()
    likelihood = n_ones * xp.log(probabilities) + (n_shots - n_ones) * xp.log1p(-probabilities)
    unnormalised = log_weights + likelihood
    largest = unnormalised.max()
    new: Reals = unnormalised - largest - xp.log(xp.exp(unnormalised - largest).sum())
    return new


@device.lands_at_home
def information_gain(log_weights: Reals, probabilities: Reals) -> Reals:
    """Return the expected entropy reduction by one shot (bits), shape (n_experiments,)."""
    xp = device.arrays()
    weights = xp.exp(log_weights)
    mean = xp.clip(probabilities @ weights, SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
    gain: Reals = _entropy(mean) - _entropy(probabilities) @ weights
    return gain


def _entropy(p: Reals) -> Reals:
    xp = device.arrays()
    entropy: Reals = -(p * xp.log2(p) + (1.0 - p) * xp.log2(1.0 - p))
    return entropy
