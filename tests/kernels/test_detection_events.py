"""Detection events: every back end compares each round with the one before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.kernels import KernelInputError, detection_events
from cudaq_target.kernels.gpu import decoding as gpu_decoding
from tests.kernels.backends import BACKENDS, bad_shots, pack, random_bits, seeds, shot_counts
from tests.kernels.emulated_device import emulated_gpu  # noqa: F401 - a fixture


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    n_shots=shot_counts(1),
    n_checks=st.sampled_from([1, 63, 64, 65, 128, 130]) | st.integers(1, 100),
    n_rounds=st.integers(1, 9),
    seed=seeds(),
)
@settings(max_examples=50, deadline=None)
def test_events_are_changes(backend, n_shots, n_checks, n_rounds, seed):
    rounds = random_bits(np.random.default_rng(seed), n_shots, n_checks * n_rounds)
    rounds = rounds.reshape(n_shots, n_rounds, n_checks)
    expected = rounds.copy()
    for r in range(1, n_rounds):
        expected[:, r] = rounds[:, r] != rounds[:, r - 1]
    events = detection_events(
        pack(rounds.reshape(n_shots, -1)), n_checks, n_rounds, backend=backend
    )
    assert np.array_equal(events, pack(expected.reshape(n_shots, -1)))


@pytest.mark.parametrize(("shots", "n_bits", "match"), bad_shots())
def test_what_is_not_packed_is_refused(shots, n_bits, match):
    match = match.replace("shots ", "syndromes ", 1).replace("n_bits is", "n_checks is")
    with pytest.raises(KernelInputError, match=match):
        detection_events(shots, n_bits, 1)


@pytest.mark.parametrize(
    ("n_checks", "n_rounds", "match"),
    [(3, 0, "n_rounds is 0"), (3, -1, "n_rounds is -1"), (1.5, 2, "is a float")],
)
def test_counts_that_cannot_be(n_checks, n_rounds, match):
    with pytest.raises(KernelInputError, match=match):
        detection_events(np.zeros((1, 1), dtype=np.uint64), n_checks, n_rounds)


@pytest.mark.usefixtures("emulated_gpu")
@pytest.mark.parametrize(
    ("n_checks", "n_rounds"), [(1, 1), (3, 40), (64, 1), (64, 5), (65, 3), (200, 2), (24, 8)]
)
def test_the_gpu_shifts_by_a_round(n_checks, n_rounds):
    rounds = pack(random_bits(np.random.default_rng(0), 40, n_checks * n_rounds))
    expected = detection_events(rounds, n_checks, n_rounds, backend="numpy")
    assert np.array_equal(gpu_decoding.detection_events(rounds, n_checks, n_rounds), expected)
