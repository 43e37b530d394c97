"""Memory experiments on the rotated surface code, from Stim."""

from __future__ import annotations

import numpy as np
import stim

from tests.kernels.backends import pack


def memory(distance: int, error_rate: float) -> stim.Circuit:
    """As many rounds as the distance, noise on everything."""
    return stim.Circuit.generated(
        "surface_code:rotated_memory_z",
        distance=distance,
        rounds=distance,
        after_clifford_depolarization=error_rate,
        after_reset_flip_probability=error_rate,
        before_measure_flip_probability=error_rate,
        before_round_data_depolarization=error_rate,
    )


def error_model(distance: int, error_rate: float) -> stim.DetectorErrorModel:
    return memory(distance, error_rate).detector_error_model(decompose_errors=True)


def sampled(distance: int, error_rate: float, n_shots: int, seed: int = 1):
    """Packed syndromes, and which of them have the observable flipped, shape (n_shots,)."""
    sampler = memory(distance, error_rate).compile_detector_sampler(seed=seed)
    lit, flipped = sampler.sample(n_shots, separate_observables=True)
    return pack(lit.astype(np.uint8)), flipped[:, 0]


def failures(decoder, syndromes, flipped) -> int:
    """Shots in which the correction is not what happened."""
    return int((decoder.decode(syndromes)[:, 0].astype(bool) != flipped).sum())
