"""GPU versions that are array operations give, on NumPy's arrays, what the references give."""

from __future__ import annotations

import numpy as np
import pytest

from cudaq_target.kernels.gpu import device
from cudaq_target.kernels.gpu import estimation as gpu_estimation
from cudaq_target.kernels.gpu import readout as gpu_readout
from cudaq_target.kernels.reference import estimation, readout
from tests.kernels.backends import pack, random_shots


@pytest.fixture(autouse=True)
def numpy_as_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "arrays", lambda: np)
    monkeypatch.setattr(device, "to_host", lambda array: array)


def close(ours, reference) -> None:
    for one, other in zip(np.atleast_1d(ours), np.atleast_1d(reference), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("n_bits", [1, 7, 64, 70])
def test_readout(n_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_readout, "_BLOCK_ENTRIES", 100)
    rng = np.random.default_rng(n_bits)
    wrong = rng.uniform(0.0, 0.1, (n_bits, 2))
    confusion = np.stack([np.stack([1 - wrong[:, 0], wrong[:, 1]], 1)] * 2, axis=1)
    confusion[:, 1] = 1.0 - confusion[:, 0]
    shots, weights = random_shots(rng, 100, n_bits), rng.normal(size=5)
    masks = pack((rng.random((5, n_bits)) < 4 / n_bits).astype(np.uint8))
    factors = rng.uniform(-1.2, 1.2, (n_bits, 2))
    calls = [
        ("corrected_z_values", (shots, n_bits, masks, weights, 0.5, factors)),
        ("corrected_z_moments", (shots, n_bits, masks, factors)),
    ]
    strings = np.unique(shots, axis=0)
    for distance in (1, n_bits):
        several = (strings, n_bits, confusion, distance)
        calls.append(("assignment_matrix", several))
        calls.append(("assignment_product", (*several, rng.normal(size=len(strings)))))
        calls.append(("assignment_sums", several))
    if n_bits < 10:
        inverses = rng.normal(size=(n_bits, 2, 2))
        calls.append(("correct_probabilities", (rng.random(2**n_bits), inverses)))
    for name, arguments in calls:
        close(getattr(gpu_readout, name)(*arguments), getattr(readout, name)(*arguments))


def test_estimation() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(0.0, 3.0, (200, 3))
    points[0] = 0.0
    experiments = np.array([[0.0, 0.5, 0.0], [1.0, 0.7, 0.3], [0.0, 0.0, 0.0]])
    setup = (points, experiments, np.array([0.02, 0.05]))
    likely = estimation.outcome_probabilities(*setup)
    close(gpu_estimation.outcome_probabilities(*setup), likely)
    weights = np.log(rng.dirichlet(np.ones(200)))
    shots = (weights, likely[0], 3, 10)
    close(gpu_estimation.posterior_update(*shots), estimation.posterior_update(*shots))
    prior = (weights, likely)
    close(gpu_estimation.information_gain(*prior), estimation.information_gain(*prior))
