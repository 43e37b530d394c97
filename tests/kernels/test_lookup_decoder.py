"""The look-up decoder against exhaustive search and against published shots."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.kernels import KernelInputError, LookupDecoder, build_table
from cudaq_target.kernels.backends import choose_backend
from cudaq_target.kernels.decoders.sparse import dense_rows
from cudaq_target.kernels.errors import BackendUnavailableError
from tests.coupler.published_shots import published_decoder, published_shots
from tests.kernels.backends import pack

HOST = ("numpy", "cpu")


def first_set(checks, syndrome, max_errors):
    """The set that the table must hold, found without a table."""
    n_errors = checks.shape[1]
    for size in range(max_errors + 1):
        for errors in combinations(range(n_errors), size):
            if (checks[:, list(errors)].sum(axis=1) % 2 == syndrome).all():
                return list(errors)
    return []


@pytest.mark.parametrize("backend", HOST)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_agrees_with_exhaustive_search(backend, data):
    n_detectors, n_errors, n_observables = (data.draw(st.integers(1, n)) for n in (10, 7, 9))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    max_errors = data.draw(st.integers(0, 3))
    checks = rng.integers(0, 2, (n_detectors, n_errors), dtype=np.uint8)
    observables = rng.integers(0, 2, (n_observables, n_errors), dtype=np.uint8)
    decoder = LookupDecoder(build_table(checks, observables, max_errors), backend=backend)
    syndromes = rng.integers(0, 2, (20, n_detectors), dtype=np.uint8)
    syndromes[:10] = (checks @ rng.integers(0, 2, (n_errors, 10)) % 2).T
    expected = np.array(
        [
            observables[:, first_set(checks, syndrome, max_errors)].sum(axis=1) % 2
            for syndrome in syndromes
        ],
        dtype=np.uint8,
    )
    np.testing.assert_array_equal(decoder.decode(pack(syndromes)), pack(expected))


def test_wide_tables_agree():
    rng = np.random.default_rng(3)
    checks = rng.integers(0, 2, (200, 60), dtype=np.uint8)
    table = build_table(checks, rng.integers(0, 2, (70, 60), dtype=np.uint8), 2)
    errors = rng.integers(0, 60, (5000, 3))
    syndromes = pack((checks[:, errors].sum(axis=2) % 2).T.astype(np.uint8))
    numpy, cpu = (LookupDecoder(table, backend=name).decode(syndromes) for name in HOST)
    np.testing.assert_array_equal(numpy, cpu)
    assert numpy.any()
    assert not numpy.any(axis=1).all()


@pytest.mark.parametrize("backend", HOST)
def test_published_shots(backend):
    decoder = published_decoder()
    shots, expected = published_shots()
    decoder.decoder = LookupDecoder(decoder.decoder.table, backend=backend)
    np.testing.assert_array_equal([decoder.decode(shot)[0] for shot in shots], expected)
    np.testing.assert_array_equal(decoder.decode_shots(pack(shots))[:, 0], expected)
    assert expected.sum() == 7


def test_index_that_occurs_twice_cancels():
    assert dense_rows([1, 1, 0, -1], 2).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("sparse", "message"),
    [
        ([], "-1 after each row"),
        ([0, 1], "-1 after each row"),
        ([3, -1], "3 lies outside a matrix of 3"),
        ([-2, -1], "-2 lies outside a matrix of 3"),
    ],
)
def test_sparse_matrices_that_are_none(sparse, message):
    with pytest.raises(KernelInputError, match=message):
        dense_rows(sparse, 3)


def test_tables_that_cannot_be():
    eye = np.eye(3, dtype=np.uint8)
    with pytest.raises(KernelInputError, match="3 errors in the checks, 2"):
        build_table(eye, eye[:, :2])
    wide = np.zeros((1, 2000), dtype=np.uint8)
    with pytest.raises(KernelInputError, match="at most 20000000 rows"):
        build_table(wide, wide, 3)
    with pytest.raises(KernelInputError, match="max_errors is -1"):
        build_table(eye, eye, -1)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(2), "checks has dtype float64"),
        (np.zeros((0, 2), dtype=np.uint8), "checks has shape \\(0, 2\\)"),
        (np.zeros(2, dtype=np.uint8), "checks has shape \\(2,\\)"),
        (np.array([[0, 1], [2, 0]]), "checks holds 2 in row 1, column 0"),
        (np.array([[0, -1], [0, 0]]), "checks holds -1 in row 0, column 1"),
    ],
)
def test_matrices_that_are_not_binary(matrix, message):
    with pytest.raises(KernelInputError, match=message):
        build_table(matrix, np.eye(2, dtype=np.uint8))


def test_no_table_on_a_gpu():
    eye = np.eye(2, dtype=np.uint8)
    with pytest.raises(BackendUnavailableError, match="'gpu' needs"):
        LookupDecoder(build_table(eye, eye), backend="gpu")
    assert choose_backend("cpu") == "cpu"
