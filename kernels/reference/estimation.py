"""Bayesian estimation in NumPy; `kernels.estimation` says what each function takes and returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]

RABI, RAMSEY = 0, 1
"""First entry of an experiment; the others are duration (µs) and phase (rad)."""

SMALLEST_PROBABILITY = 1e-9
"""Of either outcome: no single shot, however unlikely in the model, rules a point out for good."""


def outcome_probabilities(parameters: Reals, experiments: Reals, errors: Reals) -> Reals:
    """Return P(1 read) per experiment and point, shape (n_experiments, n_points)."""
    rabi, detuning, phase = parameters.T
    probabilities = np.empty((len(experiments), len(parameters)))
    for row, (kind, duration, shift) in zip(probabilities, experiments, strict=True):
        if kind == RABI:
            square = rabi**2 + detuning**2
            share = np.divide(rabi**2, square, out=np.zeros_like(square), where=square > 0.0)
            excited = share * np.sin(0.5 * np.sqrt(square) * duration) ** 2
        else:
            excited = 0.5 + 0.5 * np.cos(detuning * duration + phase - shift)
        read = errors[0] + (1.0 - errors[0] - errors[1]) * excited
        row[:] = np.clip(read, SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
    return probabilities


def posterior_update(log_weights: Reals, probabilities: Reals, n_ones: int, n_shots: int) -> Reals:
    """Return the normalised logarithms of the new weights, shape (n_points,)."""
    likelihood = n_ones * np.log(probabilities) + (n_shots - n_ones) * np.log1p(-probabilities)
    unnormalised = log_weights + likelihood
    largest = unnormalised.max()
    new: Reals = unnormalised - largest - np.log(np.exp(unnormalised - largest).sum())
    return new


def information_gain(log_weights: Reals, probabilities: Reals) -> Reals:
    """Return the expected entropy reduction by one shot (bits), shape (n_experiments,)."""
    weights = np.exp(log_weights)
    mean = np.clip(probabilities @ weights, SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
    gain: Reals = _entropy(mean) - _entropy(probabilities) @ weights
    return gain


def _entropy(p: Reals) -> Reals:
    entropy: Reals = -(p * np.log2(p) + (1.0 - p) * np.log2(1.0 - p))
    return entropy
