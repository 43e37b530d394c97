"""Union-find: one answer from both back ends, explanations that explain, few logical errors."""

from __future__ import annotations

import threading
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.kernels import (
    BackendUnavailableError,
    KernelInputError,
    PyMatchingDecoder,
    UnionFindDecoder,
    graph_from_checks,
    graph_from_dem,
    unpack_bits,
)
from tests.kernels.backends import pack, seeds
from tests.kernels.surface_codes import error_model, failures, sampled

HOST = ("numpy", "cpu")


def random_checks(rng, n_detectors, n_errors):
    """Columns of one or two ones."""
    checks = np.zeros((n_detectors, n_errors), dtype=np.uint8)
    for k in range(n_errors):
        size = min(n_detectors, int(rng.integers(1, 3)))
        checks[rng.choice(n_detectors, size, replace=False), k] = 1
    return checks


def answer(decoder, syndromes):
    """The corrections, or the message of the error."""
    try:
        return decoder.decode(syndromes).tolist()
    except KernelInputError as error:
        return str(error)


@given(
    st.sampled_from([1, 2, 5, 20, 64, 65, 130]),
    st.integers(1, 150),
    st.sampled_from([1, 64, 65]),
    seeds(),
)
@settings(max_examples=30, deadline=None)
def test_back_ends_agree(n_detectors, n_errors, n_observables, seed):
    rng = np.random.default_rng(seed)
    checks = random_checks(rng, n_detectors, n_errors)
    if rng.random() < 0.3:  # parts without boundary
        checks[:, checks.sum(axis=0) == 1] = checks[:, :1]
    observables = rng.integers(0, 2, (n_observables, n_errors))
    rates = rng.choice([1e-6, 0.01, 0.02, 0.1, 0.3, 0.499], n_errors)
    graph = graph_from_checks(checks, observables, rates)
    errors = rng.random((20, n_errors)) < rng.choice([0.02, 0.2, 0.5])
    syndromes = pack((errors.astype(int) @ checks.T % 2).astype(np.uint8))
    syndromes[-1] = pack(rng.integers(0, 2, (1, n_detectors), dtype=np.uint8))
    numpy, cpu = (UnionFindDecoder(graph, backend=name) for name in HOST)
    assert answer(numpy, syndromes[:-1]) == answer(cpu, syndromes[:-1])
    assert answer(numpy, syndromes[-1:]) == answer(cpu, syndromes[-1:])
    assert not isinstance(answer(cpu, syndromes[:-1]), str)  # what errors made is explained


@given(st.integers(1, 60), st.integers(1, 120), seeds())
@settings(max_examples=40, deadline=None)
def test_corrections_explain_the_syndrome(n_detectors, n_errors, seed):
    """Observables that are the errors themselves show which errors the decoder chose."""
    rng = np.random.default_rng(seed)
    checks = np.unique(random_checks(rng, n_detectors, n_errors), axis=1)
    n_errors = checks.shape[1]
    graph = graph_from_checks(
        checks, np.eye(n_errors, dtype=int), rng.uniform(0.001, 0.4, n_errors)
    )
    errors = (rng.random((50, n_errors)) < 0.15).astype(int)
    lit = (errors @ checks.T % 2).astype(np.uint8)
    chosen = unpack_bits(UnionFindDecoder(graph).decode(pack(lit)), n_errors)
    assert np.array_equal(chosen.astype(int) @ checks.T % 2, lit)


def planar_code(distance):
    """X checks of the unrotated planar code, and one logical operator."""
    lines = range(distance)
    edges = [
        ((row, column), (row, column + 1)) for row in lines for column in range(-1, distance - 1)
    ]
    edges += [((row, c), (row + 1, c)) for row in range(distance - 1) for c in range(distance - 1)]
    number = {(row, c): row * (distance - 1) + c for row in lines for c in range(distance - 1)}
    checks = np.zeros((len(number), len(edges)), dtype=np.uint8)
    for k, ends in enumerate(edges):
        for end in ends:
            if end in number:
                checks[number[end], k] = 1
    logical = np.array([[int(ends[0][1] == -1) for ends in edges]])
    return checks, logical


@pytest.mark.parametrize(
    ("checks", "logical"),
    [
        pytest.param(np.eye(8, 9, k=0) + np.eye(8, 9, k=1), np.eye(1, 9), id="repetition 9"),
        pytest.param(*planar_code(3), id="planar 3"),
        pytest.param(*planar_code(5), id="planar 5"),
    ],
)
def test_every_error_below_half_the_distance_is_corrected(checks, logical):
    """Theorem 1 of arXiv:1709.06218."""
    checks, logical = checks.astype(np.uint8), logical.astype(np.uint8)
    distance = {9: 9, 13: 3, 41: 5}[checks.shape[1]]
    sets = [
        s for n in range((distance - 1) // 2 + 1) for s in combinations(range(checks.shape[1]), n)
    ]
    errors = np.zeros((len(sets), checks.shape[1]), dtype=int)
    for row, chosen in enumerate(sets):
        errors[row, list(chosen)] = 1
    decoder = UnionFindDecoder(graph_from_checks(checks, logical, 0.01))
    corrections = decoder.decode(pack((errors @ checks.T % 2).astype(np.uint8)))
    assert np.array_equal(corrections[:, 0], errors @ logical[0] % 2)


def test_back_ends_agree_on_surface_codes():
    for distance, rate in ((3, 0.02), (5, 0.01)):
        graph = graph_from_dem(error_model(distance, rate))
        syndromes, _ = sampled(distance, rate, 150)
        numpy, cpu = (UnionFindDecoder(graph, backend=name).decode(syndromes) for name in HOST)
        assert np.array_equal(numpy, cpu)


def assert_within(distance, rate, n_shots, seed=1):
    """Holds with three standard deviations against it on either side."""
    model = error_model(distance, rate)
    syndromes, flipped = sampled(distance, rate, n_shots, seed)
    graph = graph_from_dem(model)
    ours = failures(UnionFindDecoder(graph), syndromes, flipped)
    theirs = failures(PyMatchingDecoder(graph), syndromes, flipped)
    assert theirs > 500
    assert ours + 3 * ours**0.5 < 1.3 * (theirs - 3 * theirs**0.5), (ours, theirs)


@pytest.mark.parametrize(
    ("distance", "rate", "n_shots"),
    [(3, 5e-3, 100_000), (3, 1e-2, 40_000), (5, 5e-3, 100_000), (5, 1e-2, 30_000)],
)
def test_logical_errors_are_few(distance, rate, n_shots):
    assert_within(distance, rate, n_shots)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("distance", "rate", "n_shots"),
    [(3, 1e-3, 2_000_000), (5, 2e-3, 2_000_000), (5, 5e-3, 1_000_000), (7, 5e-3, 500_000)],
)
def test_logical_errors_are_few_over_many_shots(distance, rate, n_shots):
    assert_within(distance, rate, n_shots, seed=2)


def test_a_room_is_left_as_it_was_found():
    graph = graph_from_dem(error_model(3, 0.05))
    syndromes, _ = sampled(3, 0.05, 400)
    decoder = UnionFindDecoder(graph)
    one_by_one = [decoder.decode_one(row) for row in syndromes[::-1]][::-1]
    assert np.array_equal(decoder.decode(syndromes), one_by_one)


def test_threads_share_a_decoder():
    decoder = UnionFindDecoder(graph_from_dem(error_model(5, 0.02)))
    syndromes, _ = sampled(5, 0.02, 2000)
    expected = decoder.decode(syndromes)
    found = {}

    def decode(number):
        found[number] = decoder.decode(syndromes)

    threads = [threading.Thread(target=decode, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[k], expected) for k in range(4))


def test_shots_allocate_nothing():
    from numba.core.runtime import _nrt_python, rtsys

    from cudaq_target.kernels.cpu.union_find import decode_rows_, make_graph, make_room

    graph = graph_from_dem(error_model(3, 0.02))
    weights = np.full(len(graph.ends), 100, dtype=np.int32)
    compiled = make_graph(graph.ends, weights, graph.flips, graph.n_detectors)
    room = make_room(graph.n_detectors, len(graph.ends))
    syndromes, _ = sampled(3, 0.02, 1000)
    corrections = np.zeros((1000, 1), dtype=np.uint64)

    def allocations(n_shots):
        before = rtsys.get_allocation_stats().alloc
        assert decode_rows_(compiled, room, syndromes[:n_shots], corrections[:n_shots]) == -1
        return rtsys.get_allocation_stats().alloc - before

    was_counting = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    try:
        allocations(1)
        assert allocations(1000) == allocations(1)
    finally:
        if not was_counting:
            _nrt_python.memsys_disable_stats()


@pytest.mark.parametrize("backend", HOST)
def test_syndromes_that_cannot_be(backend):
    ring = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]])
    decoder = UnionFindDecoder(graph_from_checks(ring, np.ones((1, 3), int), 0.1), backend=backend)
    with pytest.raises(KernelInputError, match="row 1 cannot come from the errors"):
        decoder.decode(np.array([[3], [1]], dtype=np.uint64))
    assert decoder.decode(np.array([[0]], dtype=np.uint64)).tolist() == [[0]]


def test_no_union_find_on_a_gpu():
    graph = graph_from_dem("error(0.1) D0 L0")
    with pytest.raises(BackendUnavailableError, match="'gpu' needs"):
        UnionFindDecoder(graph, backend="gpu")
