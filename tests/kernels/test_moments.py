"""Running moments against two passes over everything, in exact arithmetic where it matters."""

from __future__ import annotations

from fractions import Fraction
from math import fsum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.kernels import KernelInputError, RunningMoments
from tests.kernels import backends
from tests.kernels.backends import BACKENDS


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    cuts=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    n_columns=st.sampled_from([1, 2, 7, 64, 300]),
    seed=backends.seeds(),
)
@settings(max_examples=40)
def test_frames_give_the_moments_of_all_rows(
    backend, cuts: list[int], n_columns: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-3, 4)
    frames = [scale * (rng.normal(size=(n, n_columns)) + 3.0) for n in cuts]
    moments = RunningMoments.empty(n_columns)
    for frame in frames:
        moments = moments.add(frame, backend=backend)
    values = np.concatenate(frames)
    assert moments.n == len(values)
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_allclose(
        moments.variance(n_fitted=0), values.var(axis=0), rtol=1e-11, atol=1e-26 * scale**2
    )
    if len(values) > 1:
        expected = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        np.testing.assert_allclose(moments.standard_error(), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
@given(seed=backends.seeds(), frame=st.integers(1, 400))
@settings(max_examples=15)
def test_a_large_mean_costs_no_digits(backend, seed: int, frame: int) -> None:
    """With mean 1e9 and deviation 1, sums of squares would keep no digit of the variance."""
    rng = np.random.default_rng(seed)
    values = 1e9 + rng.normal(size=(2000, 1))
    exact = [Fraction(float(value)) for value in values[:, 0]]
    mean = sum(exact) / len(exact)
    variance = float(sum((value - mean) ** 2 for value in exact) / (len(exact) - 1))
    moments = RunningMoments.empty(1)
    for first in range(0, len(values), frame):
        moments = moments.add(values[first : first + frame], backend=backend)
    assert abs(moments.variance()[0] / variance - 1.0) < 1e-5
    n_merges = len(values) // frame + 1
    assert abs(moments.mean[0] - float(mean)) <= (n_merges + 10) * 2**-52 * 1e9


@given(n_left=st.integers(0, 50), n_right=st.integers(0, 50), seed=backends.seeds())
def test_moments_of_two_servers_merge(n_left: int, n_right: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(n_left + n_right, 3))
    parts = [RunningMoments.empty(3) for _ in range(2)]
    for k, rows in enumerate((values[:n_left], values[n_left:])):
        if len(rows):
            parts[k] = parts[k].add(rows)
    merged, swapped = parts[0].merge(parts[1]), parts[1].merge(parts[0])
    assert merged.n == swapped.n == len(values)
    if len(values):
        np.testing.assert_allclose(merged.mean, values.mean(axis=0), atol=1e-13)
        np.testing.assert_allclose(swapped.mean, merged.mean, atol=1e-13)
        np.testing.assert_allclose(swapped.squares, merged.squares, atol=1e-12)


def test_many_rows_of_one_column_agree() -> None:
    values = np.random.default_rng(0).normal(size=(100_001, 1))
    ours = RunningMoments.empty(1).add(values)
    np.testing.assert_allclose(ours.variance(), values.var(axis=0, ddof=1), rtol=1e-12)


START = RunningMoments.empty(2)
BAD_CALLS = {
    "no columns": (lambda: RunningMoments.empty(0), "n_columns is 0"),
    "dtype": (lambda: START.add(np.zeros((1, 2), dtype=np.float32)), "values has dtype float32"),
    "list": (lambda: START.add([[0.0, 1.0]]), "values is a list"),
    "columns": (lambda: START.add(np.zeros((1, 3))), r"expected \(n_rows, 2\)"),
    "one axis": (lambda: START.add(np.zeros(2)), "has shape"),
    "no rows": (lambda: START.add(np.zeros((0, 2))), "with at least one row"),
    "strides": (lambda: START.add(np.zeros((4, 2))[::2]), "has strides"),
    "NaN": (lambda: START.add(np.array([[0.0, np.nan]])), "holds NaN or infinity"),
    "infinity": (lambda: START.add(np.array([[np.inf, -np.inf]])), "holds NaN or infinity"),
    "merge": (lambda: START.merge(RunningMoments.empty(1)), "other has 1 columns; expected 2"),
    "variance of nothing": (START.variance, "values are 0 so far; this needs 2"),
    "variance of one": (lambda: START.add(np.zeros((1, 2))).standard_error(), "are 1 so far"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_input_is_refused(name: str) -> None:
    call, match = BAD_CALLS[name]
    with pytest.raises(KernelInputError, match=match):
        call()


def test_many_frames_cost_the_mean_no_more_than_one() -> None:
    rng = np.random.default_rng(11)
    values = 1e9 + rng.normal(size=(20_000, 1))
    moments = RunningMoments.empty(1)
    for frame in np.split(values, 10_000):
        moments = moments.add(frame, backend="numpy")
    exact = fsum(values[:, 0].tolist()) / len(values)
    assert abs(moments.mean[0] - exact) <= 2 * np.spacing(1e9)
