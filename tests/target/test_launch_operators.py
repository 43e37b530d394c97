"""Pauli strings: reading, grouping, and exact values against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from cudaq import spin
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.errors import OptionError, Source
from cudaq_target.launch.observe import canonical_operators
from cudaq_target.launch.operators import (
    PauliString,
    Setting,
    basis_change,
    exact_values,
    group,
    read_operator,
)

PAULIS = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


def string(word):
    """Build a Pauli string from one letter per qubit."""
    qubits = tuple(k for k, letter in enumerate(word) if letter != "I")
    letters = word.replace("I", "")
    name = "".join(f"{letter}{k}" for k, letter in zip(qubits, letters, strict=True))
    return PauliString(name, qubits, letters)


def dense(word):
    matrix = np.eye(1)
    for letter in word:
        matrix = np.kron(matrix, PAULIS[letter])
    return matrix


words = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.text("IXYZ", min_size=n, max_size=n), min_size=1, max_size=12)
)


@given(words, st.integers(0, 2**32 - 1))
def test_exact_values_are_those_of_the_matrices(some_words, seed):
    n_qubits = len(some_words[0])
    parts = np.random.default_rng(seed).normal(size=(2, 2**n_qubits))
    state = (parts[0] + 1j * parts[1]) / np.linalg.norm(parts)
    values = exact_values(state, [string(word) for word in some_words])
    for word in some_words:
        if set(word) != {"I"}:
            wanted = np.vdot(state, dense(word) @ state).real
            assert values[string(word).term_id] == pytest.approx(wanted, abs=1e-12)


@given(words)
def test_groups_serve_each_string_once_and_agree_on_every_qubit(some_words):
    strings = {string(word) for word in some_words}
    settings = group(strings)
    served = [member for setting in settings for member in setting.strings]
    assert sorted(s.term_id for s in served) == sorted(s.term_id for s in strings if s.qubits)
    for setting in settings:
        for member in setting.strings:
            for qubit, letter in zip(member.qubits, member.letters, strict=True):
                assert setting.bases[qubit] == letter


def test_basis_changes_turn_each_letter_into_z():
    from cudaq_target.gates import unitary

    for letter in "XYZ":
        setting = Setting({0: letter}, (string(letter),))
        change = np.eye(2, dtype=complex)
        for gate in basis_change(setting, Source("k")):
            change = unitary(gate) @ change
        np.testing.assert_allclose(
            change.conj().T @ PAULIS["Z"] @ change, PAULIS[letter], atol=1e-12
        )


def read(operator, n_qubits=4):
    (canonical,) = canonical_operators(operator)
    return read_operator(canonical, "k", n_qubits)


def test_operators_are_read_whatever_their_order():
    total = read(0.5 * spin.z(3) * spin.x(0) * spin.y(2) + 2.0 * spin.z(1) + 0.25 * spin.i(3) + 1.0)
    values = {"X0Y2Z3": 0.5, "Z1": -1.0}
    assert {s.term_id for s in total.strings} == {"X0Y2Z3", "Z1", ""}
    assert total.strings[[s.term_id for s in total.strings].index("X0Y2Z3")].letters == "XYZ"
    assert total.value(values) == pytest.approx(0.25 - 2.0 + 1.25)


@given(st.integers(0, 2**31 - 1))
def test_random_operators_against_cudaq_matrices(seed):
    import cudaq

    operator = cudaq.SpinOperator.random(3, 5, seed=seed) * 0.7 + spin.y(1)
    operator.canonicalize()
    parts = np.random.default_rng(seed).normal(size=(2, 8))
    state = (parts[0] + 1j * parts[1]) / np.linalg.norm(parts)
    total = read(operator, 3)
    # With `invert_order`, qubit 0 is the most significant one, as in our states.
    matrix = np.array(operator.to_matrix({0: 2, 1: 2, 2: 2}, invert_order=True))
    wanted = np.vdot(state, matrix @ state).real
    values = exact_values(state, total.strings)
    assert total.value(values) == pytest.approx(wanted, abs=1e-10)


def test_operators_beyond_the_kernel_are_refused():
    with pytest.raises(OptionError) as caught:
        read(spin.z(0) * spin.x(7), 2)
    assert str(caught.value) == (
        "operator term Z0X7: it acts on qubit 7, kernel k has 2 qubits. "
        "Use qubits 0 to 1, or allocate more in the kernel"
    )


def test_operators_that_are_not_hermitian_are_refused():
    with pytest.raises(OptionError, match=r"operator term Z0: its coefficient 0\+3j is not real"):
        read(3j * spin.z(0))


@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_coefficients_must_be_finite(factor):
    """CUDA-Q ends the process when such an operator reaches one of its results."""
    with pytest.raises(OptionError) as caught:
        read(factor * spin.z(0))
    assert str(caught.value) == (
        f"operator term Z0: its coefficient {factor:.6g}+nanj is no finite number. "
        "Check the numbers that the operator is built from"
    )
