"""Observables against sums over bits written out, for every back end."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.kernels import observables
from cudaq_target.kernels.errors import KernelInputError
from tests.kernels.backends import (
    BACKENDS,
    bad_shots,
    bit_counts,
    pack,
    random_bits,
    seeds,
    shot_counts,
)


def some_pairs(rng: np.random.Generator, n_bits: int, n_pairs: int) -> np.ndarray:
    if n_bits < 2:
        return np.zeros((0, 2), dtype=np.int64)
    first = rng.integers(0, n_bits, n_pairs)
    return np.stack([first, (first + rng.integers(1, n_bits, n_pairs)) % n_bits], axis=1)


def host(array) -> np.ndarray:
    return array.get() if hasattr(array, "get") else np.asarray(array)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=40)
@given(n_bits=bit_counts(1), n_shots=shot_counts(1), n_terms=st.integers(0, 40), seed=seeds())
def test_sums_of_terms(backend, n_bits, n_shots, n_terms, seed) -> None:
    rng = np.random.default_rng(seed)
    bits = random_bits(rng, n_shots, n_bits)
    shots = pack(bits)
    pairs = some_pairs(rng, n_bits, n_terms)
    weights, fields = rng.normal(size=len(pairs)), rng.normal(size=n_bits)
    spins = 1.0 - 2.0 * bits
    first, second = pairs[:, 0], pairs[:, 1]
    bound = 2.0**-52 * (n_terms + n_bits + 1) * (1 + np.abs(weights).sum() + np.abs(fields).sum())

    energies = observables.ising_energies(
        shots, n_bits, pairs, weights, fields, 0.5, backend=backend
    )
    exact = 0.5 + spins @ fields + (spins[:, first] * spins[:, second]) @ weights
    assert np.abs(host(energies) - exact).max() <= bound

    cut = bits[:, first] != bits[:, second]
    cuts = observables.maxcut_costs(shots, n_bits, pairs, weights, backend=backend)
    assert np.abs(host(cuts) + cut @ weights).max() <= bound
    plain = observables.maxcut_costs(shots, n_bits, pairs, backend=backend)
    np.testing.assert_array_equal(host(plain), -cut.sum(axis=1))

    both = bits[:, first] & bits[:, second]
    sizes, violations = observables.mis_costs(shots, n_bits, pairs, backend=backend)
    np.testing.assert_array_equal(host(sizes), bits.sum(axis=1))
    np.testing.assert_array_equal(host(violations), both.sum(axis=1))
    counted = observables.violation_counts(shots, n_bits, pairs, backend=backend)
    np.testing.assert_array_equal(host(counted), host(violations))

    matrix = np.diag(fields)
    np.add.at(matrix, (first, second), weights)
    costs = observables.qubo_costs(shots, n_bits, matrix, -1.0, backend=backend)
    exact = -1.0 + bits @ fields + both @ weights
    assert np.abs(host(costs) - exact).max() <= bound


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=40)
@given(n_bits=bit_counts(1), n_shots=shot_counts(1), n_terms=st.integers(0, 20), seed=seeds())
def test_products_of_any_weight(backend, n_bits, n_shots, n_terms, seed) -> None:
    rng = np.random.default_rng(seed)
    bits = random_bits(rng, n_shots, n_bits)
    members = random_bits(rng, n_terms, n_bits)
    weights = rng.normal(size=n_terms)
    products = np.array(
        [[(-1) ** int(shot[term == 1].sum()) for term in members] for shot in bits]
    ).reshape(n_shots, n_terms)
    masks = pack(members)
    values = observables.pauli_z_values(pack(bits), n_bits, masks, weights, 2.0, backend=backend)
    bound = 2.0**-52 * (n_terms + 1) * (2.0 + np.abs(weights).sum())
    assert np.abs(host(values) - (2.0 + products @ weights)).max() <= bound
    means = observables.pauli_z_expectation(pack(bits), n_bits, masks, backend=backend)
    np.testing.assert_array_equal(host(means), products.sum(axis=0) / n_shots)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_best_shot_of_all_is_a_maximum_independent_set(backend) -> None:
    edges = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2)]
    shots = np.arange(32, dtype=np.uint64).reshape(32, 1)
    costs = host(observables.mis_costs(shots, 5, edges, backend=backend).costs(2.0))
    independent = [
        set(chosen)
        for size in range(6)
        for chosen in combinations(range(5), size)
        if not any({a, b} <= set(chosen) for a, b in edges)
    ]
    assert costs.min() == -max(map(len, independent))


class OnDevice:
    """Looks like an array in the memory of a GPU."""

    __cuda_array_interface__ = {"version": 3}  # noqa: RUF012


GOOD = (np.zeros((2, 1), dtype=np.uint64), 3)
KERNELS = {
    "ising": lambda shots, n: observables.ising_energies(shots, n, [], []),
    "values": lambda shots, n: observables.pauli_z_values(shots, n, no_masks(n), []),
    "expectation": lambda shots, n: observables.pauli_z_expectation(shots, n, no_masks(n)),
    "violations": lambda shots, n: observables.violation_counts(shots, n, []),
    "mis": lambda shots, n: observables.mis_costs(shots, n, []),
    "maxcut": lambda shots, n: observables.maxcut_costs(shots, n, []),
    "qubo": lambda shots, n: observables.qubo_costs(shots, n, np.zeros((abs(n), abs(n)))),
}


def no_masks(n_bits: int) -> np.ndarray:
    return np.zeros((0, (max(n_bits, 0) + 63) // 64), dtype=np.uint64)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS.keys())
@pytest.mark.parametrize(("shots", "n_bits", "match"), bad_shots())
def test_bad_shots(kernel, shots, n_bits, match) -> None:
    with pytest.raises(KernelInputError, match=match):
        kernel(shots, n_bits)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: observables.ising_energies(*GOOD, [(0, 3)], [1.0]), "edges hold \\(0, 3\\)"),
        (lambda: observables.ising_energies(*GOOD, [(-1, 0)], [1.0]), "qubits 0 to 2"),
        (lambda: observables.ising_energies(*GOOD, [(1, 1)], [1.0]), "two different qubits"),
        (lambda: observables.ising_energies(*GOOD, [(0.0, 1.0)], [1.0]), "edges is an array of fl"),
        (lambda: observables.ising_energies(*GOOD, [0, 1], [1.0]), "with shape \\(2,\\)"),
        (lambda: observables.ising_energies(*GOOD, [(0, 1)], [np.nan]), "weights holds nan"),
        (lambda: observables.ising_energies(*GOOD, [(0, 1)], [1j]), "weights has dtype complex"),
        (lambda: observables.ising_energies(*GOOD, [(0, 1)], [1.0, 2.0]), "expected \\(1,\\)"),
        (lambda: observables.ising_energies(*GOOD, [], [], [1.0]), "fields has shape \\(1,\\)"),
        (lambda: observables.ising_energies(*GOOD, [], [], None, np.inf), "constant holds inf"),
        (
            lambda: observables.pauli_z_values(*GOOD, np.array([[8]], np.uint64), [1.0]),
            "masks row 0 has a bit set beyond n_bits = 3; a term names qubits of the shots",
        ),
        (
            lambda: observables.pauli_z_values(*GOOD, np.array([[1]], np.uint64), [np.inf]),
            "weights holds inf",
        ),
        (
            lambda: observables.pauli_z_expectation(*GOOD, np.array([[1]])),
            "masks has dtype int64; packed terms are uint64",
        ),
        (
            lambda: observables.pauli_z_expectation(*GOOD, np.array([1], np.uint64)),
            r"3 bits need \(n_terms, 1\)",
        ),
        (lambda: observables.ising_energies(*GOOD, OnDevice(), [1.0]), "edges lies on the GPU"),
        (lambda: observables.pauli_z_values(*GOOD, OnDevice(), []), "masks lies on the GPU"),
        (lambda: observables.maxcut_costs(*GOOD, [(0, 5)]), "edges hold"),
        (lambda: observables.maxcut_costs(*GOOD, [(0, 1)], [np.nan]), "weights holds nan"),
        (lambda: observables.mis_costs(*GOOD, [(0, 5)]), "edges hold"),
        (lambda: observables.violation_counts(*GOOD, [(2, 2)]), "pairs hold"),
        (lambda: observables.qubo_costs(*GOOD, np.zeros((2, 2))), "matrix has shape"),
        (lambda: observables.qubo_costs(*GOOD, np.full((3, 3), np.nan)), "matrix holds nan"),
    ],
)
def test_bad_terms(call, match: str) -> None:
    with pytest.raises(KernelInputError, match=match):
        call()
