"""The look-up decoder against exhaustive search and against published shots."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.kernels.lut_decoder import (
    build_table,
    decode,
    dense_rows,
    detectors_of,
    lookup_decoder,
)
from tests.coupler.published_shots import published_decoder, published_shots

IDENTITY = [0, -1, 1, -1, 2, -1]


def first_set(checks, syndrome, max_errors):
    """The set that the table must hold, found without a table."""
    n_errors = checks.shape[1]
    for size in range(max_errors + 1):
        for errors in combinations(range(n_errors), size):
            if (checks[:, list(errors)].sum(axis=1) % 2 == syndrome).all():
                return list(errors)
    return []


@given(st.data())
def test_agrees_with_exhaustive_search(data):
    n_detectors, n_errors, n_observables = (data.draw(st.integers(1, n)) for n in (10, 7, 9))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    max_errors = data.draw(st.integers(0, 3))
    checks = rng.integers(0, 2, (n_detectors, n_errors), dtype=np.uint8)
    observables = rng.integers(0, 2, (n_observables, n_errors), dtype=np.uint8)
    table = build_table(checks, observables, max_errors)
    syndromes = rng.integers(0, 2, (20, n_detectors), dtype=np.uint8)
    syndromes[:10] = (checks @ rng.integers(0, 2, (n_errors, 10)) % 2).T
    expected = [
        observables[:, first_set(checks, syndrome, max_errors)].sum(axis=1) % 2
        for syndrome in syndromes
    ]
    np.testing.assert_array_equal(decode(table, syndromes), expected)


def test_published_shots():
    decoder = published_decoder()
    shots, expected = published_shots()
    corrections = decode(decoder.table, detectors_of(shots, decoder.detector_rows))
    assert corrections.shape == (100, 1)
    np.testing.assert_array_equal(corrections[:, 0], expected)
    assert expected.sum() == 7


def test_one_shot_of_the_smoke_test():
    decoder = lookup_decoder(IDENTITY, IDENTITY, IDENTITY, 3)
    assert (decoder.n_measurements, decoder.n_observables) == (3, 3)
    assert decoder.decode(np.array([0, 1, 0], dtype=np.uint8)).tolist() == [0, 1, 0]
    assert decoder.decode(np.array([1, 1, 0], dtype=np.uint8)).tolist() == [0, 0, 0]


def test_index_that_occurs_twice_cancels():
    assert dense_rows([1, 1, 0, -1], 2).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("sparse", "message"),
    [([], "-1 after each row"), ([0, 1], "-1 after each row"), ([3, -1], "outside a matrix of 3")],
)
def test_sparse_matrices_that_are_none(sparse, message):
    with pytest.raises(ValueError, match=message):
        dense_rows(sparse, 3)


def test_tables_that_cannot_be():
    eye = np.eye(3, dtype=np.uint8)
    with pytest.raises(ValueError, match="3 errors in the checks, 2"):
        build_table(eye, eye[:, :2])
    wide = np.zeros((1, 2000), dtype=np.uint8)
    with pytest.raises(ValueError, match="at most 20000000 rows"):
        build_table(wide, wide, 3)
