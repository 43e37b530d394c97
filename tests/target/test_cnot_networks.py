import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target import native
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.errors import Source
from cudaq_target.synthesis.cnot_networks import reduce_to_permutation, with_shorter_networks
from tests.target.native_state import circuit_state, native_state
from tests.target.random_circuits import random_state

SOURCE = Source("k")


def cnot(control, target):
    return Gate("x", (target,), SOURCE, controls=(control,))


def swap(a, b):
    return Gate("swap", (a, b), SOURCE)


def ry(qubit, angle):
    return Gate("ry", (qubit,), SOURCE, params=(angle,))


def n_cnots(gates):
    return sum(gate.name == "x" for gate in gates)


def all_to_all(n_qubits):
    return [cnot(a, b) for a in range(n_qubits) for b in range(a + 1, n_qubits)]


def assert_same(gates, others, n_qubits):
    start = random_state(n_qubits, np.random.default_rng(2))
    expected = circuit_state(Circuit("k", n_qubits, tuple(gates)), start)
    got = circuit_state(Circuit("k", n_qubits, tuple(others)), start)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_all_to_all_layer_is_a_chain():
    for n_qubits in range(3, 9):
        gates = all_to_all(n_qubits)
        shorter = with_shorter_networks(gates)
        assert n_cnots(shorter) == n_qubits - 1
        assert_same(gates, shorter, n_qubits)


def test_layers_that_overlap_in_the_list_are_parted():
    ansatz = []
    for repetition in range(3):
        for qubit in range(4):
            ansatz += [ry(qubit, 0.1 * qubit + repetition)]
            ansatz += [cnot(qubit, later) for later in range(qubit + 1, 4)]
    ansatz = [gate for gate in ansatz if gate.name == "x"][:6] + ansatz
    shorter = with_shorter_networks(ansatz)
    assert n_cnots(shorter) < n_cnots(ansatz)
    assert_same(ansatz, shorter, 4)


def test_chains_stay_as_they_are():
    assert with_shorter_networks([cnot(q, q + 1) for q in range(6)]) is None
    assert with_shorter_networks([cnot(0, q) for q in range(1, 6)]) is None
    assert with_shorter_networks([ry(0, 0.1)]) is None
    assert with_shorter_networks([]) is None


def test_swaps_are_part_of_a_network():
    gates = [cnot(0, 1), cnot(1, 0), swap(0, 1), cnot(0, 1)]
    shorter = with_shorter_networks(gates)
    assert [gate.name for gate in shorter].count("x") == 1
    assert_same(gates, shorter, 2)


GATES = st.one_of(
    st.builds(lambda on: cnot(*on[:2]), st.permutations(range(5))),
    st.builds(lambda on: swap(*on[:2]), st.permutations(range(5))),
    st.builds(ry, st.integers(0, 4), st.sampled_from([0.3, 1.1])),
    st.builds(lambda on: cnot(*on[:2]), st.permutations(range(5))),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(GATES, max_size=40))
def test_random_networks_keep_the_state(gates):
    shorter = with_shorter_networks(gates)
    if shorter is not None:
        assert n_cnots(shorter) < n_cnots(gates)
        assert_same(gates, shorter, 5)
    lowered = native.lower(Circuit("k", 5, tuple(gates)), ccz=False)
    np.testing.assert_allclose(
        native_state(lowered),
        circuit_state(Circuit("k", 5, tuple(gates))),
        rtol=0,
        atol=1e-12,
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.permutations(range(6)), max_size=40))
def test_reduction_undoes_the_matrix(pairs):
    rows = [1 << i for i in range(6)]
    for control, target, *_ in pairs:
        rows[target] ^= rows[control]
    reduced = reduce_to_permutation(rows)
    if reduced is not None:
        cnots, source_of = reduced
        for control, target in cnots:
            rows[target] ^= rows[control]
        assert rows == [1 << source for source in source_of]
