import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.gates import pauli_product
from cudaq_target.synthesis import weyl
from cudaq_target.synthesis.merge import Pair
from tests.target.random_circuits import random_unitary
from tests.target.test_merge import state_after

CNOT = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], dtype=complex)


def unitary_of(ops):
    return np.stack([state_after(ops, column, 2) for column in np.eye(4, dtype=complex)], axis=1)


def canonical(a, b, c, rng):
    """A unitary with these Weyl coordinates between random one-qubit gates."""
    unitary = np.eye(4, dtype=complex)
    for angle, letters in ((a, "XX"), (b, "YY"), (c, "ZZ")):
        unitary = (math.cos(angle) * np.eye(4) + 1j * math.sin(angle) * pauli_product(letters)) @ (
            unitary
        )
    left, right = (np.kron(random_unitary(1, rng), random_unitary(1, rng)) for _ in range(2))
    return left @ unitary @ right


@pytest.mark.parametrize(
    ("angles", "direct", "exchanged"),
    [
        ((0, 0, 0), 0, 3),
        ((0.3, 0, 0), 1, 3),
        ((0.3, 0.2, 0), 2, 3),
        ((0.3, 0.2, -0.1), 3, 3),
        ((math.pi / 4, 0, 0), 1, 2),
        ((math.pi / 4, math.pi / 4, 0), 2, 1),
        ((math.pi / 4, math.pi / 4, math.pi / 4), 3, 0),
        ((math.pi / 4, math.pi / 4, 0.2), 3, 1),
        ((1e-9, 0, 0), 1, 3),
    ],
)
def test_number_of_cphases_of_a_class(angles, direct, exchanged):
    rng = np.random.default_rng(1)
    for _ in range(5):
        unitary = canonical(*angles, rng)
        assert weyl.n_entangling(unitary) == (direct, exchanged)
        swapped = weyl.exchange_outputs(unitary)
        assert weyl.n_entangling(swapped) == (exchanged, direct)
        assert sum(isinstance(op, Pair) for op in weyl.decompose(unitary, 0, 1)[0]) == direct


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_decomposition_is_exact(seed, reverse):
    unitary = random_unitary(2, np.random.default_rng(seed))
    first, second = (1, 0) if reverse else (0, 1)
    ops, phase = weyl.decompose(unitary, first, second)
    built = np.exp(1j * phase) * unitary_of(ops)
    swap = np.eye(4)[[0, 2, 1, 3]]
    expected = swap @ unitary @ swap if reverse else unitary
    np.testing.assert_allclose(built, expected, rtol=0, atol=1e-13)


def test_coordinates_of_known_gates():
    assert weyl.coordinates(CNOT) == pytest.approx((math.pi / 4, 0, 0), abs=1e-14)
    iswap = np.array([[1, 0, 0, 0], [0, 0, 1j, 0], [0, 1j, 0, 0], [0, 0, 0, 1]])
    assert weyl.coordinates(iswap) == pytest.approx((math.pi / 4, math.pi / 4, 0), abs=1e-14)
    cphase = np.diag([1, 1, 1, np.exp(0.8j)])
    assert weyl.coordinates(cphase) == pytest.approx((0.2, 0, 0), abs=1e-14)
