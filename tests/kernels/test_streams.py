"""Streams of observables: moments, intervals and groups of Pauli terms."""

from __future__ import annotations

from functools import partial
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.kernels import observables
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.intervals import Interval
from cudaq_target.kernels.pauli_groups import PauliStream, group_pauli_terms
from cudaq_target.kernels.streams import ObservableStream, StreamingMean
from tests.kernels.backends import pack, random_bits, random_shots, seeds

METHODS = ("mixture", "bernstein", "betting")


@pytest.mark.parametrize("method", METHODS)
def test_moments_of_frames_are_those_of_all_values(method: str) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0.0, 0.2, 1000).clip(-1.0, 1.0)
    stream = StreamingMean(-1.0, 1.0, method=method)
    for frame in np.split(values, [0, 10, 11, 500]):
        stream.update(frame)
    assert stream.n_values == 1000
    assert stream.mean == pytest.approx(values.mean(), abs=1e-14)
    assert stream.standard_error == pytest.approx(values.std(ddof=1) / sqrt(1000))
    assert 0.0 in stream.interval()


@pytest.mark.parametrize("method", METHODS)
def test_streams_of_two_servers_join(method: str) -> None:
    rng = np.random.default_rng(2)
    values = rng.random(2000)
    parts = [StreamingMean(0.0, 1.0, method=method) for _ in range(2)]
    for part, half in zip(parts, np.split(values, 2), strict=True):
        part.update(half)
    joined = parts[0].merged(parts[1])
    assert joined.n_values == 2000
    assert joined.mean == pytest.approx(values.mean())
    assert joined.standard_error == pytest.approx(values.std(ddof=1) / sqrt(2000))
    assert joined.interval().width < parts[0].interval().width


@given(seed=seeds(), n_bits=st.integers(2, 70))
def test_values_lie_within_their_bounds(seed: int, n_bits: int) -> None:
    rng = np.random.default_rng(seed)
    shots = random_shots(rng, 50, n_bits)
    edges = np.stack([np.arange(n_bits - 1), np.arange(1, n_bits)], axis=1)
    weights, fields = rng.normal(size=n_bits - 1), rng.normal(size=n_bits)
    matrix = rng.normal(size=(n_bits, n_bits))
    masks = random_shots(rng, n_bits - 1, n_bits)
    table = [
        (
            observables.ising_energies(shots, n_bits, edges, weights, fields, 0.5),
            observables.ising_bounds(weights, fields, 0.5),
        ),
        (
            observables.pauli_z_values(shots, n_bits, masks, weights, -1.0),
            observables.pauli_z_bounds(masks, weights, -1.0),
        ),
        (
            observables.maxcut_costs(shots, n_bits, edges, weights),
            observables.maxcut_bounds(weights),
        ),
        (
            observables.qubo_costs(shots, n_bits, matrix, 2.0),
            observables.qubo_bounds(matrix, 2.0),
        ),
        (
            observables.mis_costs(shots, n_bits, edges).costs(1.5),
            observables.mis_bounds(n_bits, len(edges), 1.5),
        ),
    ]
    for values, (low, high) in table:
        assert low - 1e-9 <= values.min() <= values.max() <= high + 1e-9


def test_bounds_are_reached() -> None:
    shots = np.arange(8, dtype=np.uint64).reshape(8, 1)
    edges, weights = [(0, 1), (1, 2)], [1.0, -2.0]
    energies = observables.ising_energies(shots, 3, edges, weights)
    assert (energies.min(), energies.max()) == observables.ising_bounds(weights)
    cuts = observables.maxcut_costs(shots, 3, edges, weights)
    assert (cuts.min(), cuts.max()) == observables.maxcut_bounds(weights)


def test_a_loop_stops_early_and_is_right() -> None:
    rng = np.random.default_rng(3)
    edges = np.stack([np.arange(19), np.arange(1, 20)], axis=1)
    weights = np.ones(19)
    energy = partial(observables.ising_energies, n_bits=20, edges=edges, weights=weights)
    stream = ObservableStream(energy, StreamingMean(*observables.ising_bounds(weights)))
    while stream.values.interval().width > 1.0:
        stream.update(pack((rng.random((64, 20)) < 0.3).astype(np.uint8)))
        assert stream.values.n_values < 20_000
    assert 19 * 0.4**2 in stream.values.interval()
    before = stream.values.n_values
    stream.update(np.zeros((0, 1), dtype=np.uint64))
    assert stream.values.n_values == before


def test_groups_commute_and_hold_every_term() -> None:
    rng = np.random.default_rng(4)
    terms = {"".join(rng.choice(list("IXYZ"), 5)): float(rng.normal()) for _ in range(60)}
    constant, groups = group_pauli_terms(terms)
    found = {}
    for group in groups:
        for mask, weight in zip(group.masks[:, 0].tolist(), group.weights, strict=True):
            letters = (group.basis[k] if mask >> k & 1 else "I" for k in range(5))
            found["".join(letters)] = weight
    assert found | {"IIIII": constant} == terms | {"IIIII": constant}
    assert len(groups) < 50


def shots_of(state: np.ndarray, basis: str, n_shots: int, rng: np.random.Generator) -> np.ndarray:
    """Measure a state vector (qubit 0 the least significant bit) in a product basis."""
    to_z = {
        "I": np.eye(2),
        "Z": np.eye(2),
        "X": np.array([[1, 1], [1, -1]]) / np.sqrt(2),
        "Y": np.array([[1, -1j], [1, 1j]]) / np.sqrt(2),
    }
    rotation = np.ones((1, 1))
    for letter in basis:
        rotation = np.kron(to_z[letter], rotation)
    probabilities = np.abs(rotation @ state) ** 2
    return (
        rng.choice(len(state), n_shots, p=probabilities / probabilities.sum())
        .astype(np.uint64)
        .reshape(-1, 1)
    )


def expectation(state: np.ndarray, terms: dict[str, float]) -> float:
    paulis = {
        "I": np.eye(2),
        "X": np.array([[0, 1], [1, 0]]),
        "Y": np.array([[0, -1j], [1j, 0]]),
        "Z": np.diag([1, -1]),
    }
    total = 0.0
    for term, weight in terms.items():
        matrix = np.ones((1, 1))
        for letter in term:
            matrix = np.kron(paulis[letter], matrix)
        total += weight * (state.conj() @ matrix @ state).real
    return total


TERMS = {"III": 0.3, "ZZI": 1.0, "IZZ": 1.0, "ZIZ": -0.5, "XXX": 0.7, "YYX": 0.2, "XII": 0.1}


@pytest.mark.parametrize("combine", ["union", "rounds"])
def test_groups_give_the_expectation_with_its_covariance(combine: str) -> None:
    rng = np.random.default_rng(5)
    state = rng.normal(size=8) + 1j * rng.normal(size=8)
    state /= np.linalg.norm(state)
    constant, groups = group_pauli_terms(TERMS)
    exact = expectation(state, TERMS)
    estimates, errors, covered = [], [], 0
    for _ in range(400):
        stream = PauliStream(groups, constant, combine=combine)
        held = True
        for _ in range(3):
            for k, group in enumerate(groups):
                stream.update(k, shots_of(state, group.basis, 100, rng))
            held &= exact in stream.interval()
        covered += held
        estimates.append(stream.mean)
        errors.append(stream.standard_error)
    assert np.mean(estimates) == pytest.approx(exact, abs=4.5 * np.mean(errors) / 20)
    # The spread of 400 estimates has a relative standard deviation of 1 / sqrt(800).
    assert np.std(estimates) == pytest.approx(np.mean(errors), rel=0.16)
    assert covered >= 400 * 0.95 - 3 * sqrt(400 * 0.05 * 0.95)


def test_rounds_are_narrower_and_wait_for_the_slowest_group() -> None:
    rng = np.random.default_rng(6)
    constant, groups = group_pauli_terms({"ZI": 1.0, "XI": 1.0, "YI": 1.0, "IZ": 0.0, "IX": 1.0})
    streams = {how: PauliStream(groups, constant, combine=how) for how in ("union", "rounds")}
    for k, _ in enumerate(groups):
        shots = pack(random_bits(rng, 3000 + 100 * k, 2) & 0)
        shots ^= rng.integers(0, 4, (len(shots), 1), dtype=np.uint64)
        for stream in streams.values():
            stream.update(k, shots[:500])
            stream.update(k, shots[500:])
    assert streams["rounds"].interval().width < 0.7 * streams["union"].interval().width
    assert streams["rounds"]._rounds.n_values == 3000
    assert streams["rounds"].mean == streams["union"].mean
    assert 0.0 in streams["rounds"].interval()


def test_next_group_is_where_a_shot_helps_most() -> None:
    rng = np.random.default_rng(7)
    constant, groups = group_pauli_terms({"Z": 3.0, "X": 1.0})
    stream = PauliStream(groups, constant)
    for _ in range(400):
        stream.update(stream.next_group(), rng.integers(0, 2, (1, 1), dtype=np.uint64))
    many, few = stream.n_shots
    assert many / few == pytest.approx(3.0, rel=0.15)  # in proportion to the standard deviations


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: StreamingMean(0.0, 1.0, method="clt"), "method is 'clt'"),
        (lambda: StreamingMean(1.0, 0.0), "low < high"),
        (lambda: StreamingMean(0.0, 1.0).mean, "are none so far"),
        (lambda: StreamingMean(0.0, 1.0).standard_error, "values are 0 so far"),
        (lambda: StreamingMean(0.0, 1.0).update(np.array([2.0])), "values contain 2.0"),
        (lambda: StreamingMean(0, 1).merged(StreamingMean(0, 1, method="betting")), "of method"),
        (lambda: StreamingMean(0, 1).merged(StreamingMean(0, 2)), "both need"),
        (lambda: group_pauli_terms({}), "terms are none"),
        (lambda: group_pauli_terms({"": 1.0}), "act on no qubits"),
        (lambda: group_pauli_terms({"ZZ": 1.0, "Z": 1.0}), "'Z' of 1 qubits"),
        (lambda: group_pauli_terms({"ZA": 1.0}), "letters are I, X, Y and Z"),
        (lambda: group_pauli_terms({"ZZ": float("nan")}), "weight of 'ZZ' holds nan"),
        (lambda: PauliStream(()), "groups are none"),
        (lambda: PauliStream(group_pauli_terms({"Z": 1.0})), "gives the constant first"),
        (lambda: PauliStream(group_pauli_terms({"Z": 1.0})[1], combine="max"), "combine is 'max'"),
        (lambda: PauliStream(group_pauli_terms({"Z": 1.0})[1], confidence=2.0), "confidence is"),
        (
            lambda: PauliStream(group_pauli_terms({"Z": 1.0})[1]).update(1, np.zeros((1, 1))),
            "group is 1; there are groups 0 to 0",
        ),
        (
            lambda: PauliStream(group_pauli_terms({"Z": 1.0})[1]).update(0, np.zeros((1, 1))),
            "shots has dtype float64",
        ),
    ],
)
def test_refused(call, match: str) -> None:
    with pytest.raises(KernelInputError, match=match):
        call()


def test_intervals_add_up() -> None:
    assert Interval(0.0, 1.0) + Interval(-1.0, 3.0) == Interval(-1.0, 4.0)
