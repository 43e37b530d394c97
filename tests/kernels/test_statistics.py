"""Statistics of shots: counts on bytes define them, every back end gives the same integers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings

from cudaq_target.kernels import statistics
from cudaq_target.kernels.cpu.carry_save import lane_count
from cudaq_target.kernels.errors import KernelInputError
from tests.kernels import backends
from tests.kernels.backends import BACKENDS, COMPILED, bad_shots, random_bits, random_shots

shapes = given(
    n_shots=backends.shot_counts(1), n_bits=backends.bit_counts(1), seed=backends.seeds()
)


@pytest.mark.parametrize("backend", BACKENDS)
@shapes
@example(n_shots=3000, n_bits=65, seed=0)
@settings(max_examples=80)
def test_occupation_counts_ones(backend, n_shots: int, n_bits: int, seed: int) -> None:
    bits = random_bits(np.random.default_rng(seed), n_shots, n_bits)
    counts = statistics.occupation(backends.pack(bits), n_bits, backend=backend)
    assert counts.dtype == np.int64
    assert np.array_equal(counts, bits.sum(axis=0))


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("n_bits", [1, 64, 130, 256, 4100])
def test_occupation_carries_through_all_levels(backend, n_bits: int) -> None:
    """Shots around which counters are emptied: 16, 256 and 4096 rows per lane, and rests."""
    rng = np.random.default_rng(n_bits)
    n_words = -(-n_bits // 64)
    full = 4096 * lane_count(10**6, n_words) // n_words
    most = min(full + 1, 150_000)
    shots = random_shots(rng, most, n_bits)
    shots[: most // 2, 0] |= np.uint64(1)
    sums = statistics.occupation(shots, n_bits, backend="numpy")
    assert np.array_equal(statistics.occupation(shots, n_bits, backend=backend), sums)
    for n_shots in (255, 256, 257, 4095, 4096, 4111, most // 3):
        part = shots[:n_shots]
        expected = statistics.occupation(part, n_bits, backend="numpy")
        assert np.array_equal(statistics.occupation(part, n_bits, backend=backend), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ones_everywhere_are_all_counted(backend) -> None:
    for n_shots in (1, 15, 16, 17, 70_000):
        shots = np.full((n_shots, 2), 2**64 - 1, dtype=np.uint64)
        assert set(statistics.occupation(shots, 128, backend=backend)) == {n_shots}
    assert set(statistics.pair_correlations(shots, 128, backend=backend).ravel()) == {70_000}


@pytest.mark.parametrize("backend", BACKENDS)
@shapes
@example(n_shots=513, n_bits=7, seed=0)
@settings(max_examples=40)
def test_correlations_count_common_ones(backend, n_shots: int, n_bits: int, seed: int) -> None:
    bits = random_bits(np.random.default_rng(seed), n_shots, n_bits).astype(np.int64)
    counts = statistics.pair_correlations(backends.pack(bits), n_bits, backend=backend)
    assert counts.dtype == np.int64
    assert np.array_equal(counts, bits.T @ bits)


@pytest.mark.parametrize("backend", COMPILED)
def test_correlations_of_many_shots_agree(backend) -> None:
    shots = random_shots(np.random.default_rng(3), 70_001, 67)
    expected = statistics.pair_correlations(shots, 67, backend="numpy")
    assert np.array_equal(statistics.pair_correlations(shots, 67, backend=backend), expected)


def counted(bits: np.ndarray) -> dict[int, int]:
    """Count in Python, where numbers have any width."""
    numbers = [int("".join(map(str, row[::-1])), 2) for row in bits.tolist()]
    return dict(sorted(Counter(numbers).items()))


def as_numbers(keys: np.ndarray) -> list[int]:
    return [sum(int(word) << 64 * w for w, word in enumerate(row)) for row in keys]


@pytest.mark.parametrize("backend", BACKENDS)
@shapes
@example(n_shots=300, n_bits=3, seed=0)
@example(n_shots=300, n_bits=17, seed=0)
@settings(max_examples=60)
def test_histograms_count_equal_shots(backend, n_shots: int, n_bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bits = random_bits(rng, n_shots, n_bits)
    bits = bits[rng.integers(0, min(n_shots, 20), size=n_shots)]  # so that shots repeat
    keys, counts = statistics.histogram(backends.pack(bits), n_bits, backend=backend)
    assert (keys.dtype, counts.dtype) == (np.uint64, np.int64)
    assert dict(zip(as_numbers(keys), counts.tolist(), strict=True)) == counted(bits)
    assert as_numbers(keys) == sorted(as_numbers(keys))


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("n_bits", [10, 16, 20, 64, 128, 193])
def test_histograms_of_many_shots_agree(backend, n_bits: int) -> None:
    """Enough distinct shots that tables grow, on 128 bits with equal highest words."""
    rng = np.random.default_rng(n_bits)
    shots = random_shots(rng, 30_000, n_bits)
    if n_bits == 128:
        shots[:, 1] = 5
    ours = statistics.histogram(shots, n_bits, backend=backend)
    reference = statistics.histogram(shots, n_bits, backend="numpy")
    assert all(np.array_equal(a, b) for a, b in zip(ours, reference, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
@shapes
@settings(max_examples=40)
def test_marginals_forget_the_other_qubits(backend, n_shots: int, n_bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bits = random_bits(rng, n_shots, n_bits)
    qubits = rng.permutation(n_bits)[: rng.integers(1, 6)]
    keys, counts = statistics.marginal_histogram(
        backends.pack(bits), n_bits, qubits.tolist(), backend=backend
    )
    assert dict(zip(as_numbers(keys), counts.tolist(), strict=True)) == counted(bits[:, qubits])


FUNCTIONS = {
    "occupation": statistics.occupation,
    "pair_correlations": statistics.pair_correlations,
    "histogram": statistics.histogram,
    "marginal_histogram": lambda shots, n_bits, **how: statistics.marginal_histogram(
        shots, n_bits, [0], **how
    ),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("shots", "n_bits", "match"), bad_shots())
def test_what_is_not_packed_shots_is_refused(function: str, shots, n_bits: int, match: str) -> None:
    for backend in ("numpy", "cpu"):
        with pytest.raises(KernelInputError, match=match):
            FUNCTIONS[function](shots, n_bits, backend=backend)


@pytest.mark.parametrize(("qubits", "match"), [([], "is empty"), ([3], "qubit 3"), ([1, 1], "twi")])
def test_marginals_of_missing_qubits_are_refused(qubits: list[int], match: str) -> None:
    with pytest.raises(KernelInputError, match=match):
        statistics.marginal_histogram(np.array([[1]], dtype=np.uint64), 3, qubits)
