"""Parities of checks: every back end gives sums of bits modulo 2."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cudaq_target.kernels import KernelInputError, parities
from tests.kernels import backends
from tests.kernels.backends import BACKENDS, COMPILED, bad_shots, pack, random_bits, random_shots


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    n_shots=backends.shot_counts(1),
    n_bits=backends.bit_counts(1),
    n_checks=st.sampled_from([1, 63, 64, 65, 200]) | st.integers(1, 100),
    seed=backends.seeds(),
)
@example(n_shots=1100, n_bits=130, n_checks=1000, seed=0)
@settings(max_examples=40)
def test_parities_are_sums_modulo_2(
    backend, n_shots: int, n_bits: int, n_checks: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    bits = random_bits(rng, n_shots, n_bits)
    matrix = (rng.random((n_checks, n_bits)) < rng.choice([0.0, 0.05, 0.5, 1.0])).astype(np.uint8)
    syndromes = parities(pack(bits), n_bits, pack(matrix), backend=backend)
    assert np.array_equal(syndromes, pack((bits.astype(int) @ matrix.T % 2).astype(np.uint8)))


@pytest.mark.parametrize("backend", COMPILED)
def test_many_shots_agree(backend) -> None:
    rng = np.random.default_rng(1)
    shots, checks = random_shots(rng, 20_001, 256), random_shots(rng, 128, 256)
    expected = parities(shots, 256, checks, backend="numpy")
    assert np.array_equal(parities(shots, 256, checks, backend=backend), expected)


@pytest.mark.parametrize(("shots", "n_bits", "match"), bad_shots())
def test_what_is_not_packed_is_refused(shots, n_bits: int, match: str) -> None:
    checks = np.zeros((1, max(1, -(-n_bits // 64))), dtype=np.uint64)
    with pytest.raises(KernelInputError, match=match):
        parities(shots, n_bits, checks)
    if n_bits > 0:
        good = np.zeros((1, -(-n_bits // 64)), dtype=np.uint64)
        with pytest.raises(KernelInputError, match=match.replace("shots ", "checks ", 1)):
            parities(good, n_bits, shots)
