"""Entangling gates of known circuits, as unitaries: no knowledge of the initial state is used."""

import math

import numpy as np
import pytest

from cudaq_target import native
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.errors import Source
from cudaq_target.native_ops import CCZ, U3, CPhase
from tests.target.native_state import circuit_state, native_state
from tests.target.random_circuits import random_state

SOURCE = Source("bar")


def gate(name, *targets, controls=(), params=(), pauli=""):
    return Gate(name, targets, SOURCE, controls=controls, params=params, pauli=pauli)


def cnot(control, target):
    return gate("x", target, controls=(control,))


def ghz(n):
    return [gate("h", 0), *(cnot(q, q + 1) for q in range(n - 1))]


def qft(n):
    gates = []
    for target in range(n):
        gates += [gate("h", target)]
        gates += [
            gate("r1", target, controls=(later,), params=(math.pi / 2 ** (later - target),))
            for later in range(target + 1, n)
        ]
    return gates + [gate("swap", q, n - 1 - q) for q in range(n // 2)]


def qaoa(n):
    """Two layers on a ring, and mixers."""
    gates = [gate("h", q) for q in range(n)]
    for layer in (0.4, 0.9):
        edges = [(q, (q + 1) % n) for q in range(n)]
        gates += [gate("exp_pauli", a, b, params=(layer,), pauli="ZZ") for a, b in edges]
        gates += [gate("rx", q, params=(layer + 1,)) for q in range(n)]
    return gates


def two_local(n):
    rng = np.random.default_rng(0)
    gates = []
    for _ in range(3):
        gates += [gate("ry", q, params=(float(rng.normal()),)) for q in range(n)]
        gates += [cnot(a, b) for a in range(n) for b in range(a + 1, n)]
    return gates + [gate("ry", q, params=(float(rng.normal()),)) for q in range(n)]


def grover(n):
    """Two rounds, the marked state all ones."""
    gates = [gate("h", q) for q in range(n)]
    for _ in range(2):
        for flip in ((), ("h", "x")):
            gates += [gate(name, q) for name in flip for q in range(n)]
            gates += [gate("z", n - 1, controls=tuple(range(n - 1)))]
            gates += [gate(name, q) for name in reversed(flip) for q in range(n)]
    return gates


def adder(n):
    """Ripple-carry adder of arXiv:quant-ph/0410184 with carry out: carry, pairs (a, b), carry."""
    n_bits = (n - 2) // 2
    carry, a, b = 0, range(1, 1 + n_bits), range(1 + n_bits, 1 + 2 * n_bits)
    chain = [(carry, b[0], a[0]), *((a[i - 1], b[i], a[i]) for i in range(1, n_bits))]
    gates = []
    for c, y, x in chain:
        gates += [cnot(x, y), cnot(x, c), gate("x", x, controls=(c, y))]
    gates += [cnot(a[-1], n - 1)]
    for c, y, x in reversed(chain):
        gates += [gate("x", x, controls=(c, y)), cnot(x, c), cnot(c, y)]
    return gates


def w_state(n):
    gates = [gate("x", n - 1)]
    for q in reversed(range(1, n)):
        angle = math.acos(math.sqrt(1 / (q + 1)))
        gates += [gate("ry", q - 1, params=(-angle,)), gate("z", q - 1, controls=(q,))]
        gates += [gate("ry", q - 1, params=(angle,))]
    return gates + [cnot(q - 1, q) for q in reversed(range(1, n))]


BARS = [
    (ghz, 8, 7),
    (ghz, 10, 9),
    (qft, 6, 15),
    (qft, 8, 28),
    (qft, 10, 45),
    (qaoa, 6, 12),
    (qaoa, 8, 16),
    (two_local, 6, 15),
    (grover, 4, 52),
    (adder, 8, 33),
    (adder, 10, 44),
    (w_state, 8, 14),
]


@pytest.mark.parametrize(("build", "n_qubits", "at_most"), BARS)
@pytest.mark.parametrize("ccz", [False, True])
def test_number_of_entangling_gates(build, n_qubits, at_most, ccz):
    circuit = Circuit("bar", n_qubits, tuple(build(n_qubits)))
    lowered = native.lower(circuit, ccz=ccz, from_zero=False)
    assert sum(isinstance(op, CPhase | CCZ) for op in lowered.ops) <= at_most
    start = random_state(n_qubits, np.random.default_rng(0))
    np.testing.assert_allclose(
        native_state(lowered, start), circuit_state(circuit, start), rtol=0, atol=1e-12
    )


def test_number_of_pulses_of_a_ghz_state():
    lowered = native.lower(Circuit("bar", 8, tuple(ghz(8))), ccz=False)
    assert sum(isinstance(op, U3) for op in lowered.ops) == 15


def test_adder_on_triangles():
    lowered = native.lower(Circuit("bar", 8, tuple(adder(8))), ccz=True, from_zero=False)
    kinds = [type(op) for op in lowered.ops]
    assert (kinds.count(CCZ), kinds.count(CPhase)) == (6, 13)
