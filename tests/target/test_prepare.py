import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target import native
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.errors import Source
from cudaq_target.native_ops import CPhase
from tests.target.native_state import circuit_state, native_state
from tests.target.random_circuits import random_state

SOURCE = Source("k")


def lowered(amplitudes):
    n_qubits = int(np.log2(len(amplitudes)))
    prepare = Gate("prepare", tuple(range(n_qubits)), SOURCE, amplitudes=amplitudes)
    return native.lower(Circuit("k", n_qubits, (prepare,)), ccz=False)


def n_cphases(amplitudes):
    result = lowered(amplitudes)
    np.testing.assert_allclose(native_state(result), amplitudes, rtol=0, atol=1e-12)
    return sum(isinstance(op, CPhase) for op in result.ops)


def w_state(n_qubits):
    amplitudes = np.zeros(2**n_qubits, dtype=complex)
    amplitudes[2 ** np.arange(n_qubits)] = n_qubits**-0.5
    return amplitudes


def ghz_state(n_qubits):
    amplitudes = np.zeros(2**n_qubits, dtype=complex)
    amplitudes[[0, -1]] = 0.5**0.5
    return amplitudes


@pytest.mark.parametrize(
    ("n_qubits", "at_most"), [(1, 0), (2, 1), (3, 3), (4, 9), (5, 25), (6, 44)]
)
def test_general_states(n_qubits, at_most):
    assert n_cphases(random_state(n_qubits, np.random.default_rng(n_qubits))) <= at_most


@pytest.mark.parametrize("n_qubits", [2, 3, 5, 8])
def test_states_with_short_range_entanglement(n_qubits):
    assert n_cphases(ghz_state(n_qubits)) == n_qubits - 1
    assert n_cphases(w_state(n_qubits)) <= max(1, 2 * n_qubits - 3)
    assert n_cphases(np.full(2**n_qubits, 2 ** (-n_qubits / 2), dtype=complex)) == 0


@pytest.mark.parametrize("index", [0, 5, 15])
def test_basis_states(index):
    amplitudes = np.zeros(16, dtype=complex)
    amplitudes[index] = 1j
    assert n_cphases(amplitudes) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4))
def test_sparse_states(seed, n_qubits, n_terms):
    rng = np.random.default_rng(seed)
    amplitudes = np.zeros(2**n_qubits, dtype=complex)
    chosen = rng.choice(2**n_qubits, size=min(n_terms, 2**n_qubits), replace=False)
    amplitudes[chosen] = rng.normal(size=chosen.size) + 1j * rng.normal(size=chosen.size)
    n_cphases(amplitudes / np.linalg.norm(amplitudes))


def test_some_qubits_among_others():
    rng = np.random.default_rng(8)
    amplitudes = random_state(3, rng)
    gates = (
        Gate("ry", (1,), SOURCE, params=(0.4,)),
        Gate("x", (4,), SOURCE, controls=(1,)),
        Gate("prepare", (3, 0, 2), SOURCE, amplitudes=amplitudes),
        Gate("ry", (4,), SOURCE, controls=(3,), params=(1.1,)),
    )
    circuit = Circuit("k", 5, gates)
    state = native_state(native.lower(circuit, ccz=False))
    np.testing.assert_allclose(state, circuit_state(circuit), rtol=0, atol=1e-12)


def test_single_precision_amplitudes_are_normalised():
    amplitudes = random_state(3, np.random.default_rng(0)).astype(np.complex64)
    state = native_state(lowered(amplitudes))
    exact = amplitudes.astype(complex)
    np.testing.assert_allclose(state, exact / np.linalg.norm(exact), rtol=0, atol=1e-12)
