"""Gate matrices against CUDA-Q and against the definition of an inverse."""
# ruff: noqa: F821

from __future__ import annotations

import cudaq
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target import gates
from cudaq_target.circuit import Gate
from cudaq_target.errors import Source
from cudaq_target.interpret.machine import inverse
from tests.target.random_kernels import angles

HERE = Source("demo")
N_ANGLES = {"r1": 1, "rx": 1, "ry": 1, "rz": 1, "u2": 2, "u3": 3, "phased_rx": 2}


@cudaq.kernel
def general(a: float, b: float, c: float):
    q = cudaq.qubit()
    u3(a, b, c, q)


@cudaq.kernel
def phase(a: float):
    q = cudaq.qubit()
    r1(a, q)


@cudaq.kernel
def about_z(a: float):
    q = cudaq.qubit()
    rz(a, q)


@cudaq.kernel
def words(a: float):
    q = cudaq.qvector(2)
    exp_pauli(a, q, "XY")


def gate(name: str, *params: float, **fields) -> Gate:
    n_targets = 2 if name == "swap" else 1
    return Gate(name, tuple(range(n_targets)), HERE, params=params, **fields)


@st.composite
def any_gate(draw) -> Gate:
    name = draw(st.sampled_from(sorted(gates.GATE_NAMES)))
    controls = draw(st.sampled_from([(), (7,), (7, 8)]))
    if name == "exp_pauli":
        word = draw(st.text("IXYZ", min_size=1, max_size=3))
        targets = tuple(range(len(word)))
        return Gate(name, targets, HERE, controls, (draw(angles()),), pauli=word)
    if name == "unitary":
        made = gates.matrix(gate("u3", *(draw(angles()) for _ in range(3))))
        return Gate(name, (0,), HERE, controls, matrix=made)
    params = tuple(draw(angles()) for _ in range(N_ANGLES.get(name, 0)))
    return gate(name, *params, controls=controls, adjoint=draw(st.booleans()))


@pytest.mark.parametrize(
    ("kernel", "args", "ours"),
    [
        (general, (0.3, 0.5, 0.7), gate("u3", 0.3, 0.5, 0.7)),
        (phase, (0.4,), gate("r1", 0.4)),
        (about_z, (0.4,), gate("rz", 0.4)),
    ],
)
def test_conventions_are_those_of_cudaq(kernel, args, ours):
    np.testing.assert_allclose(gates.matrix(ours), cudaq.get_unitary(kernel, *args), atol=1e-12)


def test_pauli_exponential_has_its_first_letter_on_the_first_qubit():
    ours = gates.matrix(Gate("exp_pauli", (0, 1), HERE, params=(0.3,), pauli="XY"))
    np.testing.assert_allclose(ours, cudaq.get_unitary(words, 0.3), atol=1e-12)


def test_closed_forms():
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        gates.matrix(gate("u2", 0.3, 0.4)),
        half * np.array([[1, -np.exp(0.4j)], [np.exp(0.3j), np.exp(0.7j)]]),
    )
    np.testing.assert_allclose(
        gates.matrix(gate("phased_rx", np.pi, 0.3)),
        [[0, -1j * np.exp(-0.3j)], [-1j * np.exp(0.3j), 0]],
        atol=1e-15,
    )
    np.testing.assert_allclose(
        gates.matrix(gate("phased_rx", 0.7, 0.0)), gates.matrix(gate("rx", 0.7))
    )


def test_controls_are_most_significant():
    toffoli = gates.unitary(Gate("x", (2,), HERE, controls=(0, 1)))
    expected = np.eye(8)[[0, 1, 2, 3, 4, 5, 7, 6]]
    np.testing.assert_array_equal(toffoli, expected)


@given(any_gate())
def test_every_gate_is_unitary(made):
    matrix = gates.unitary(made)
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(len(matrix)), atol=1e-12)


@given(any_gate())
def test_inverse_undoes_a_gate(made):
    undone = gates.unitary(inverse(made)) @ gates.unitary(made)
    np.testing.assert_allclose(undone, np.eye(len(undone)), atol=1e-12)


@given(any_gate())
def test_adjoint_flag_is_the_conjugate_transpose(made):
    flipped = Gate(
        made.name,
        made.targets,
        HERE,
        made.controls,
        made.params,
        not made.adjoint,
        made.pauli,
        made.matrix,
    )
    np.testing.assert_allclose(gates.unitary(flipped), gates.unitary(made).conj().T, atol=1e-15)
