import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target import native
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.errors import Source, UnsupportedKernelError
from cudaq_target.native_ops import CCZ, U3, CPhase, NativeCircuit, Rz
from tests.target.circuits_on_atoms import random_circuit as random_native
from tests.target.native_state import circuit_state, native_state
from tests.target.random_circuits import circuits, random_circuit, random_state

SOURCE = Source("kernel")
EXACT = 1e-12


def gate(name, *qubits, controls=(), params=(), **more):
    return Gate(name, qubits, SOURCE, controls=controls, params=params, **more)


def cnot(control, target):
    return gate("x", target, controls=(control,))


def circuit(n_qubits, *gates):
    return Circuit("kernel", n_qubits, gates)


def n_entangling(lowered):
    return sum(isinstance(op, CPhase | CCZ) for op in lowered.ops)


def assert_canonical(lowered: NativeCircuit) -> None:
    pulse_since_gate = [False] * lowered.n_qubits
    for op in lowered.ops:
        match op:
            case U3():
                assert not pulse_since_gate[op.qubit], "two pulses with no gate between"
                assert 0 < op.theta <= math.pi
                assert -math.pi < op.phi <= math.pi
                assert -math.pi < op.lam <= math.pi
                pulse_since_gate[op.qubit] = True
            case CPhase():
                assert op.a < op.b
                assert 1e-12 <= abs(op.theta) <= math.pi
                assert op.theta > -math.pi
                pulse_since_gate[op.a] = pulse_since_gate[op.b] = False
            case CCZ():
                assert op.a < op.b < op.c
                for wire in (op.a, op.b, op.c):
                    pulse_since_gate[wire] = False
            case Rz():
                pulses = [o for o in lowered.ops if isinstance(o, U3) and o.qubit == op.qubit]
                assert not pulses, "an Rz that the pulse could have taken"


@settings(max_examples=60, deadline=None)
@given(circuits(), st.booleans())
def test_state_from_zero_is_exact(given_circuit, ccz):
    lowered = native.lower(given_circuit, ccz=ccz)
    assert_canonical(lowered)
    np.testing.assert_allclose(
        native_state(lowered), circuit_state(given_circuit), rtol=0, atol=EXACT
    )


@settings(max_examples=40, deadline=None)
@given(circuits(), st.booleans(), st.integers(0, 100))
def test_unitary_is_exact_when_wires_may_start_anywhere(given_circuit, ccz, seed):
    start = random_state(given_circuit.n_qubits, np.random.default_rng(seed))
    lowered = native.lower(given_circuit, ccz=ccz, from_zero=False)
    assert_canonical(lowered)
    np.testing.assert_allclose(
        native_state(lowered, start), circuit_state(given_circuit, start), rtol=0, atol=EXACT
    )


@settings(max_examples=40, deadline=None)
@given(circuits(max_qubits=4, max_gates=60, max_controls=1, names=("h", "x", "rx", "rz", "r1")))
def test_long_circuits_of_few_wires_stay_exact_and_are_finished(given_circuit):
    lowered = native.lower(given_circuit, ccz=False)
    np.testing.assert_allclose(
        native_state(lowered), circuit_state(given_circuit), rtol=0, atol=EXACT
    )
    again = native.merge(lowered)
    assert n_entangling(again) == n_entangling(lowered)
    np.testing.assert_allclose(native_state(again), native_state(lowered), rtol=0, atol=EXACT)


def test_error_stays_small_over_a_hundred_gates():
    long = random_circuit(5, 5, 100)
    error = native_state(native.lower(long, ccz=False)) - circuit_state(long)
    assert np.abs(error).max() < 1e-10


@pytest.mark.parametrize("n_controls", range(6))
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("x", ()),
        ("h", ()),
        ("s", ()),
        ("r1", (0.7,)),
        ("rx", (0.7,)),
        ("ry", (-2.9,)),
        ("rz", (5.0,)),
        ("u2", (0.3, 0.4)),
        ("u3", (0.3, 0.4, 0.5)),
        ("phased_rx", (1.3, 0.4)),
    ],
)
@pytest.mark.parametrize("ccz", [False, True])
def test_controlled_gates_with_their_phases(name, params, n_controls, ccz):
    controls = tuple(range(1, n_controls + 1))
    single = circuit(n_controls + 1, gate(name, 0, controls=controls, params=params))
    lowered = native.lower(single, ccz=ccz, from_zero=False)
    start = random_state(n_controls + 1, np.random.default_rng(n_controls))
    np.testing.assert_allclose(
        native_state(lowered, start), circuit_state(single, start), rtol=0, atol=EXACT
    )


@pytest.mark.parametrize(
    ("name", "n_cphases"),
    [("x", [0, 1, 5, 13, 27, 53]), ("r1", [0, 1, 5, 13, 27, 53]), ("ry", [0, 1, 4, 10, 16, 28])],
)
def test_number_of_cphases_with_controls(name, n_cphases):
    params = () if name == "x" else (0.7,)
    counts = []
    for n_controls in range(6):
        controls = tuple(range(1, n_controls + 1))
        single = circuit(n_controls + 1, gate(name, 0, controls=controls, params=params))
        counts.append(n_entangling(native.lower(single, ccz=False, from_zero=False)))
    assert counts == n_cphases


def test_toffoli_is_one_native_ccz_where_there_are_triangles():
    toffoli = circuit(3, gate("h", 0), gate("h", 1), gate("x", 2, controls=(0, 1)))
    kinds = [type(op) for op in native.lower(toffoli, ccz=True).ops]
    assert kinds.count(CCZ) == 1
    assert kinds.count(CPhase) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 5), st.integers(1, 12), st.integers(0, 2**32 - 1), st.data())
def test_any_of_the_ccz_become_five_cphases(n, n_ops, seed, data):
    before = random_native(n, n_ops, np.random.default_rng(seed), ccz=True)
    positions = [k for k, op in enumerate(before.ops) if isinstance(op, CCZ)]
    chosen = data.draw(st.sets(st.sampled_from(positions))) if positions else set()
    after = native.expand_ccz(before, chosen)
    assert_canonical(after)
    assert n_entangling(after) <= n_entangling(before) + 4 * len(chosen)
    assert sum(isinstance(op, CCZ) for op in after.ops) <= len(positions) - len(chosen)
    np.testing.assert_allclose(native_state(after), native_state(before), rtol=0, atol=EXACT)


@pytest.mark.parametrize("target", range(3))
def test_an_expanded_toffoli_needs_three_more_pulses(target):
    controls = tuple(wire for wire in range(3) if wire != target)
    turned = [gate("u3", wire, params=(1.0, 0.3, 0.2)) for wire in range(3)]
    kernel = circuit(3, *turned, gate("x", target, controls=controls), *turned)
    with_ccz = native.lower(kernel, ccz=True)
    (position,) = (k for k, op in enumerate(with_ccz.ops) if isinstance(op, CCZ))
    expanded = native.expand_ccz(with_ccz, {position})
    pulses = [sum(isinstance(op, U3) for op in c.ops) for c in (expanded, with_ccz)]
    assert n_entangling(expanded) == 5
    assert pulses[0] == pulses[1] + 3
    np.testing.assert_allclose(native_state(expanded), circuit_state(kernel), rtol=0, atol=EXACT)


def test_gates_of_the_cphase_class_take_one():
    for single in (
        gate("r1", 1, controls=(0,), params=(0.4,)),
        gate("rz", 1, controls=(0,), params=(0.4,)),
        gate("rx", 1, controls=(0,), params=(0.4,)),
        gate("u3", 1, controls=(0,), params=(0.4, 0.5, 0.6)),
        gate("exp_pauli", 0, 1, params=(0.3,), pauli="XY"),
    ):
        assert n_entangling(native.lower(circuit(2, single), ccz=False, from_zero=False)) == 1


def test_swap_is_a_change_of_names():
    swapped = circuit(3, gate("ry", 0, params=(0.3,)), gate("swap", 0, 2), cnot(2, 1))
    lowered = native.lower(swapped, ccz=False)
    assert lowered.wire_of_qubit == (2, 1, 0)
    assert n_entangling(lowered) == 1
    by_hand = circuit(2, gate("ry", 0, params=(0.3,)), cnot(0, 1), cnot(1, 0), cnot(0, 1))
    assert n_entangling(native.lower(by_hand, ccz=False, from_zero=False)) == 0


def test_cnots_cancel_through_gates_that_commute():
    gates = (cnot(0, 1), gate("rz", 0, params=(0.3,)), cnot(0, 2), cnot(3, 1), cnot(0, 1))
    lowered = native.lower(circuit(4, *gates), ccz=False, from_zero=False)
    assert {(op.a, op.b) for op in lowered.ops if isinstance(op, CPhase)} == {(0, 2), (1, 3)}


def test_circuit_and_its_inverse_leave_nothing():
    forward = [
        gate("h", 0),
        gate("ry", 1, params=(0.3,)),
        cnot(0, 1),
        gate("ry", 1, params=(0.7,)),
        gate("rx", 2, controls=(1,), params=(0.2,)),
        cnot(2, 0),
    ]
    inverse = [
        gate(g.name, *g.targets, controls=g.controls, params=g.params, adjoint=True)
        for g in reversed(forward)
    ]
    lowered = native.lower(circuit(3, *forward, *inverse), ccz=False, from_zero=False)
    assert n_entangling(lowered) == 0
    assert not lowered.ops


def test_bits_known_in_advance_cost_nothing():
    gates = (gate("x", 0), cnot(0, 1), gate("x", 3, controls=(0, 1)), cnot(2, 0))
    lowered = native.lower(circuit(4, *gates), ccz=False)
    assert n_entangling(lowered) == 0
    np.testing.assert_allclose(abs(native_state(lowered)[0b1101]), 1.0, rtol=0, atol=EXACT)


def test_rotations_about_z_are_no_gates():
    gates = (gate("rz", 0, params=(0.4,)), gate("t", 1), gate("h", 1), gate("s", 1))
    lowered = native.lower(circuit(2, *gates), ccz=False)
    assert [type(op) for op in lowered.ops] == [U3]


def test_flips_join_a_pulse_on_either_side():
    gates = (
        gate("h", 0),
        gate("h", 1),
        gate("x", 0),
        gate("r1", 1, controls=(0,), params=(0.3,)),
        gate("x", 0),
    )
    lowered = native.lower(circuit(2, *gates), ccz=False)
    assert [type(op) for op in lowered.ops] == [U3, U3, CPhase]


def test_prepared_states():
    rng = np.random.default_rng(3)
    for n_qubits in range(1, 6):
        amplitudes = random_state(n_qubits, rng)
        order = tuple(int(q) for q in rng.permutation(n_qubits))
        prepared = circuit(n_qubits, gate("prepare", *order, amplitudes=amplitudes))
        state = native_state(native.lower(prepared, ccz=False))
        np.testing.assert_allclose(state, circuit_state(prepared), rtol=0, atol=EXACT)


def test_state_preparation_has_no_inverse():
    amplitudes = np.array([0.6, 0.8], dtype=complex)
    inverse = circuit(1, gate("prepare", 0, amplitudes=amplitudes, adjoint=True))
    with pytest.raises(UnsupportedKernelError, match="is no unitary"):
        native.lower(inverse, ccz=False)


def test_rounded_matrices_become_the_nearest_unitary():
    rounded = np.array([[0.7071, 0.7071], [0.7071, -0.7071]], dtype=complex)
    lowered = native.lower(circuit(1, gate("unitary", 0, matrix=rounded)), ccz=False)
    np.testing.assert_allclose(native_state(lowered), [0.5**0.5, 0.5**0.5], rtol=0, atol=EXACT)


def ansatz(parameters):
    theta = iter(parameters)
    gates = []
    for _ in range(3):
        gates += [gate("ry", q, params=(next(theta),)) for q in range(4)]
        gates += [cnot(q, (q + 1) % 4) for q in range(4)]
        gates += [gate("exp_pauli", 0, 1, 3, params=(next(theta),), pauli="XYZ")]
        gates += [gate("u3", 1, controls=(0, 2), params=(next(theta), next(theta), 0.1))]
        gates += [gate("rz", 3, controls=(1,), params=(next(theta),))]
        gates += [gate("exp_pauli", 2, 3, params=(next(theta),), pauli=p) for p in ("XX", "YY")]
    return circuit(4, *gates)


@pytest.mark.parametrize("ccz", [False, True])
def test_same_gates_for_all_parameters(ccz):
    rng = np.random.default_rng(11)
    skeletons = {
        native.skeleton(native.lower(ansatz(rng.normal(size=40) * scale), ccz=ccz))
        for scale in (1.0, 1e-3, 10.0)
        for _ in range(10)
    }
    assert len(skeletons) == 1


def test_ordinary_circuits_do_not_import_qiskit():
    code = (
        "import sys; from cudaq_target import native; from cudaq_target.circuit import *; "
        "from cudaq_target.errors import Source; s = Source('k'); "
        "qft = [g for i in range(5) for g in [Gate('h', (i,), s)] + [Gate('r1', (i,), s, "
        "controls=(j,), params=(2.0**(i-j),)) for j in range(i + 1, 5)]]; "
        "ghz = [Gate('x', (i + 1,), s, controls=(i,)) for i in range(4)]; "
        "mcx = [Gate('x', (4,), s, controls=(0, 1, 2, 3))]; "
        "native.lower(Circuit('k', 5, (*qft, *ghz, *mcx, *qft)), ccz=False); "
        "print('qiskit' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"]
