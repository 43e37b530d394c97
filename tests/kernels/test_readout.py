"""Read-out correction undoes the errors that it was told of, on every back end."""

from __future__ import annotations

from itertools import product
from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.kernels import readout
from cudaq_target.kernels.errors import ConvergenceError, KernelInputError
from cudaq_target.kernels.subspace import correct_counts
from tests.kernels.backends import BACKENDS, COMPILED, bad_shots, pack, random_bits, seeds


def some_confusion(rng: np.random.Generator, n_bits: int, largest: float = 0.15) -> np.ndarray:
    wrong = rng.uniform(0.0, largest, size=(n_bits, 2))
    return np.stack(
        [np.stack([1 - wrong[:, 0], wrong[:, 1]], 1), np.stack([wrong[:, 0], 1 - wrong[:, 1]], 1)],
        axis=1,
    )


def full_matrix(confusion: np.ndarray) -> np.ndarray:
    matrix = np.ones((1, 1))
    for one_qubit in confusion:  # qubit 0 is the least significant bit of an index
        matrix = np.kron(one_qubit, matrix)
    return matrix


def host(array) -> np.ndarray:
    return array.get() if hasattr(array, "get") else np.asarray(array)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=40)
@given(n_bits=st.integers(1, 8), seed=seeds())
def test_probabilities_come_back(backend, n_bits, seed) -> None:
    rng = np.random.default_rng(seed)
    confusion = some_confusion(rng, n_bits, 0.3)
    true = rng.dirichlet(np.ones(2**n_bits))
    read = full_matrix(confusion) @ true
    before = read.copy()
    corrected = readout.correct_probabilities(read, confusion, backend=backend)
    bound = n_bits * 2.0**-48 * readout.readout_overhead(confusion)
    assert np.abs(corrected - true).max() <= bound
    np.testing.assert_array_equal(read, before)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=30)
@given(n_bits=st.sampled_from([1, 5, 63, 64, 65, 130]), seed=seeds())
def test_values_with_factors(backend, n_bits, seed) -> None:
    rng = np.random.default_rng(seed)
    confusion = some_confusion(rng, n_bits)
    bits = random_bits(rng, 150, n_bits)
    members = (rng.random((6, n_bits)) < 3 / n_bits).astype(np.uint8)
    weights = rng.normal(size=6)
    e0, e1 = confusion[:, 1, 0], confusion[:, 0, 1]
    factors = ((1.0 - 2.0 * bits) - (e1 - e0)) / (1.0 - e0 - e1)
    products = np.array([factors[:, term == 1].prod(axis=1) for term in members]).T
    arguments = (pack(bits), n_bits, pack(members))
    values = readout.corrected_z_values(*arguments, weights, confusion, 0.25, backend=backend)
    low, high = readout.corrected_z_bounds(n_bits, pack(members), weights, confusion, 0.25)
    bound = 2.0**-48 * max(abs(low), abs(high)) * n_bits
    assert np.abs(host(values) - (0.25 + products @ weights)).max() <= bound
    assert low - bound <= host(values).min() <= host(values).max() <= high + bound
    means, errors = readout.corrected_z_expectation(*arguments, confusion, backend=backend)
    np.testing.assert_allclose(host(means), products.mean(axis=0), rtol=0, atol=1e-9)
    expected = products.std(axis=0, ddof=1) / sqrt(150)
    np.testing.assert_allclose(host(errors), expected, rtol=1e-5, atol=1e-7)


def test_expectations_are_unbiased() -> None:
    rng = np.random.default_rng(3)
    confusion = some_confusion(rng, 3, 0.2)
    states = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1]], dtype=np.uint8)[rng.integers(0, 3, 40_000)]
    wrong = rng.random(states.shape) < confusion[np.arange(3), 1 - states, states]
    masks = np.arange(8, dtype=np.uint64).reshape(8, 1)
    means, errors = readout.corrected_z_expectation(pack(states ^ wrong), 3, masks, confusion)
    members = (np.arange(8)[:, None] >> np.arange(3)) & 1
    true = ((-1.0) ** (states @ members.T)).mean(axis=0)
    assert (np.abs(means - true) <= 4.5 * errors + 1e-12).all()


def test_symmetric_errors_divide_by_the_contrast() -> None:
    confusion = np.array([[[0.9, 0.1], [0.1, 0.9]]] * 2)
    shots = pack(random_bits(np.random.default_rng(1), 100, 2))
    mask = np.array([[0b11]], dtype=np.uint64)
    values = readout.corrected_z_values(shots, 2, mask, [1.0], confusion)
    np.testing.assert_allclose(np.abs(values), 1 / 0.8**2)
    assert readout.readout_overhead(confusion) == pytest.approx(1.25**2)


def test_overhead_is_the_condition_number() -> None:
    confusion = some_confusion(np.random.default_rng(5), 4, 0.3)
    matrix = full_matrix(confusion)
    assert readout.readout_overhead(confusion) == pytest.approx(np.linalg.cond(matrix, 1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_calibration_counts(backend) -> None:
    rng = np.random.default_rng(6)
    zeros, ones = (rng.random((400, 70)) < share for share in (0.02, 0.93))
    shots = [pack(bits.astype(np.uint8)) for bits in (zeros, ones)]
    calibration = readout.calibrate_readout(*shots, 70, backend=backend)
    np.testing.assert_allclose(calibration.confusion[:, 1, 0], zeros.mean(axis=0))
    np.testing.assert_allclose(calibration.confusion[:, 0, 1], 1 - ones.mean(axis=0))
    np.testing.assert_allclose(calibration.confusion.sum(axis=1), 1.0)


def binomial_tail(n_ones: int, n: int, p: float) -> float:
    return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n_ones, n + 1))


@pytest.mark.parametrize("n_ones", [0, 1, 7, 20])
def test_calibration_intervals_are_exact(n_ones: int) -> None:
    calibration = readout.ReadoutCalibration(np.array([n_ones]), 20, np.array([20 - n_ones]), 20)
    low, high = calibration.intervals(0.9)
    assert low[0, 0] == low[0, 1]
    assert high[0, 0] == high[0, 1]
    if n_ones:
        assert binomial_tail(n_ones, 20, low[0, 0]) == pytest.approx(0.05)
    else:
        assert low[0, 0] == 0.0
    if n_ones < 20:
        assert 1 - binomial_tail(n_ones + 1, 20, high[0, 0]) == pytest.approx(0.05)
    else:
        assert high[0, 0] == 1.0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("method", ["direct", "iterative"])
def test_all_strings_seen_is_the_full_inverse(backend, method) -> None:
    rng = np.random.default_rng(8)
    confusion = some_confusion(rng, 5)
    counts = rng.integers(1, 1000, 32)
    strings = np.arange(32, dtype=np.uint64).reshape(32, 1)
    corrected = correct_counts(strings, counts, 5, confusion, method=method, backend=backend)
    full = readout.correct_probabilities(counts / counts.sum(), confusion)
    np.testing.assert_allclose(corrected.quasi_probabilities, full, rtol=0, atol=1e-9)
    assert corrected.n_shots == counts.sum()
    if method == "direct":
        assert corrected.overhead == pytest.approx(readout.readout_overhead(confusion))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_bits", [6, 70])
@pytest.mark.parametrize("max_distance", [None, 2])
def test_subspace_is_the_reduced_matrix(backend, n_bits, max_distance) -> None:
    rng = np.random.default_rng(9)
    confusion = some_confusion(rng, n_bits, 0.05)
    bits = np.unique((rng.random((25, n_bits)) < 3 / n_bits).astype(np.uint8), axis=0)
    counts = rng.integers(1, 50, len(bits))
    matrix = np.array(
        [[confusion[np.arange(n_bits), row, column].prod() for column in bits] for row in bits]
    )
    if max_distance is not None:
        matrix[(bits[:, None, :] != bits[None, :, :]).sum(axis=2) > max_distance] = 0.0
    exact = np.linalg.solve(matrix / matrix.sum(axis=0), counts / counts.sum())
    for method in ("direct", "iterative"):
        corrected = correct_counts(
            pack(bits),
            counts,
            n_bits,
            confusion,
            method=method,
            max_distance=max_distance,
            backend=backend,
        )
        np.testing.assert_allclose(corrected.quasi_probabilities, exact, rtol=0, atol=1e-8)
        assert corrected.quasi_probabilities.sum() == pytest.approx(1.0)


def test_a_state_of_many_qubits_comes_back() -> None:
    rng = np.random.default_rng(10)
    n_bits, n_shots = 40, 20_000
    confusion = some_confusion(rng, n_bits, 0.04)
    ghz = np.repeat(rng.integers(0, 2, (n_shots, 1)), n_bits, axis=1).astype(np.uint8)
    wrong = rng.random(ghz.shape) < confusion[np.arange(n_bits), 1 - ghz, ghz]
    strings, counts = np.unique(pack(ghz ^ wrong), axis=0, return_counts=True)
    assert len(strings) > 1500  # hence iterative
    corrected = correct_counts(strings, counts, n_bits, confusion, max_distance=3)
    ends = np.isin(strings[:, 0], [0, 2**n_bits - 1])
    parity = np.array([(-1.0) ** int(word).bit_count() for word in strings[:, 0]])
    raw = counts @ parity / n_shots
    assert corrected.quasi_probabilities[ends].sum() == pytest.approx(1.0, abs=0.15)
    assert counts[ends].sum() / n_shots < 0.6
    assert abs(corrected.expectation(parity) - 1.0) < 0.5 * abs(raw - 1.0)
    assert corrected.overhead is None
    assert corrected.largest_standard_error is None


@pytest.mark.parametrize("backend", COMPILED[:1])
def test_both_back_ends_give_one_matrix(backend) -> None:
    rng = np.random.default_rng(11)
    confusion = some_confusion(rng, 65)
    bits = np.unique((rng.random((30, 65)) < 0.1).astype(np.uint8), axis=0)
    results = [
        correct_counts(pack(bits), np.ones(len(bits), int), 65, confusion, backend=name)
        for name in ("numpy", backend)
    ]
    difference = results[0].quasi_probabilities - results[1].quasi_probabilities
    assert np.abs(difference).max() <= 1e-12 * results[0].overhead


FINE = np.array([[[0.9, 0.1], [0.1, 0.9]]])
ALIKE = np.array([[[0.7, 0.7], [0.3, 0.3]]])
STRINGS = np.array([[0], [1]], dtype=np.uint64)
MASK = np.array([[1]], dtype=np.uint64)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: readout.readout_overhead(ALIKE), "of qubit 0 is singular"),
        (lambda: readout.correct_probabilities([0.5, 0.5], ALIKE), "reads alike in both"),
        (lambda: readout.correct_probabilities([0.5, np.nan], FINE), "probabilities holds nan"),
        (lambda: readout.correct_probabilities([0.5], FINE), "expected \\(2,\\)"),
        (lambda: readout.correct_probabilities([], np.zeros((0, 2, 2))), "of 0 qubits"),
        (lambda: readout.readout_overhead([[[0.9, 0.2], [0.2, 0.9]]]), "columns \\[read"),
        (lambda: readout.readout_overhead([[[1.1, 0.0], [-0.1, 1.0]]]), "between 0 and 1"),
        (lambda: readout.readout_overhead([[[np.nan, 0.0], [0.0, 1.0]]]), "holds nan"),
        (lambda: readout.readout_overhead([[0.9, 0.1], [0.1, 0.9]]), "confusion has shape"),
        (lambda: readout.corrected_z_values(STRINGS, 1, MASK, [1.0], ALIKE), "singular"),
        (lambda: readout.corrected_z_values(STRINGS, 1, MASK, [np.nan], FINE), "holds nan"),
        (lambda: readout.corrected_z_values(STRINGS, 1, 2 * MASK, [1.0], FINE), "beyond n_bits"),
        (lambda: readout.corrected_z_expectation(MASK, 1, MASK, FINE), "hold one shot"),
        (lambda: correct_counts(STRINGS, [1, 1], 1, ALIKE), "singular"),
        (lambda: correct_counts(STRINGS, [1, 1], 1, [[[0, 1], [1, 0]]]), "never reads the state"),
        (lambda: correct_counts(STRINGS, [1.0, 1.0], 1, FINE), "counts has dtype float64"),
        (lambda: correct_counts(STRINGS, [1], 1, FINE), "give 2 integers"),
        (lambda: correct_counts(STRINGS, [2, -1], 1, FINE), "the least is -1"),
        (lambda: correct_counts(STRINGS, [0, 0], 1, FINE), "not all 0"),
        (lambda: correct_counts(STRINGS[[0, 0]], [1, 1], 1, FINE), "hold a bit string twice"),
        (lambda: correct_counts(STRINGS, [1, 1], 1, FINE, method="exact"), "method is 'exact'"),
        (lambda: correct_counts(STRINGS, [1, 1], 1, FINE, max_distance=-1), "max_distance is -1"),
    ],
)
def test_refused(call, match: str) -> None:
    with pytest.raises(KernelInputError, match=match):
        call()


@pytest.mark.parametrize(("shots", "n_bits", "match"), bad_shots())
def test_bad_shots(shots, n_bits, match) -> None:
    with pytest.raises(KernelInputError, match=match.replace("shots", "zeros|shots", 1)):
        readout.calibrate_readout(shots, shots, n_bits)
    with pytest.raises(KernelInputError, match=match):
        readout.corrected_z_values(shots, n_bits, MASK, [1.0], FINE)


def test_an_iteration_that_fails_says_so() -> None:
    confusion = some_confusion(np.random.default_rng(12), 5, 0.45)
    strings = np.arange(32, dtype=np.uint64).reshape(32, 1)
    with pytest.raises(ConvergenceError, match="method='direct'"):
        correct_counts(strings, np.ones(32, int), 5, confusion, method="iterative", tolerance=1e-30)


def test_bit_k_of_an_index_is_qubit_k() -> None:
    confusion = np.array([np.eye(2), [[0.8, 0.3], [0.2, 0.7]]])
    for first, second in product((0, 1), repeat=2):
        read = np.zeros(4)
        read[first] += confusion[1, 0, second]
        read[first + 2] += confusion[1, 1, second]
        corrected = readout.correct_probabilities(read, confusion)
        assert np.argmax(corrected) == first + 2 * second
        assert corrected.max() == pytest.approx(1.0)
