import numpy as np
import pytest

from cudaq_target.gates import controlled
from cudaq_target.synthesis.merge import Merger, Pair, Triple
from cudaq_target.synthesis.multi_control import (
    MultiControl,
    flip_cost,
    relative_cost,
    rotation_cost,
)
from cudaq_target.synthesis.one_qubit import rz
from tests.target.test_merge import state_after

X = np.array([[0, 1], [1, 0]], dtype=complex)


def written(n_wires, write, *, ccz=False):
    """Unitary, and number of entangling gates."""
    merger = Merger(n_wires, from_zero=False)
    write(MultiControl(merger, ccz=ccz))
    ops = merger.finish()
    columns = [state_after(ops, column, n_wires) for column in np.eye(2**n_wires, dtype=complex)]
    unitary = np.exp(1j * merger.phase) * np.stack(columns, axis=1)
    return unitary, sum(isinstance(op, Pair | Triple) for op in ops)


@pytest.mark.parametrize("ccz", [False, True])
@pytest.mark.parametrize("n_controls", range(1, 6))
def test_rotation(n_controls, ccz):
    controls, target = tuple(range(n_controls)), n_controls
    unitary, cost = written(
        n_controls + 1, lambda writer: writer.rotation(controls, target, 7.3), ccz=ccz
    )
    expected = controlled(np.array(rz(7.3)).reshape(2, 2), n_controls)
    np.testing.assert_allclose(unitary, expected, rtol=0, atol=1e-13)
    assert cost == rotation_cost(n_controls, ccz=ccz)


@pytest.mark.parametrize("ccz", [False, True])
@pytest.mark.parametrize("n_wires", range(1, 6))
def test_phase(n_wires, ccz):
    unitary, _ = written(n_wires, lambda writer: writer.phase(tuple(range(n_wires)), 0.9), ccz=ccz)
    expected = np.diag([1.0] * (2**n_wires - 1) + [np.exp(0.9j)])
    np.testing.assert_allclose(unitary, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("ccz", [False, True])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("n_controls", range(1, 6))
def test_flip_leaves_phases_on_the_controls_alone(n_controls, inverse, ccz):
    controls, target = tuple(range(n_controls)), n_controls
    unitary, cost = written(
        n_controls + 1, lambda writer: writer.flip(controls, target, inverse=inverse), ccz=ccz
    )
    stray = unitary @ controlled(X, n_controls).conj().T
    phases = np.diag(stray)
    np.testing.assert_allclose(stray, np.diag(phases), rtol=0, atol=1e-13)
    np.testing.assert_allclose(phases[0::2], phases[1::2], rtol=0, atol=1e-13)
    assert cost == flip_cost(n_controls, ccz=ccz)


@pytest.mark.parametrize("ccz", [False, True])
@pytest.mark.parametrize("n_controls", range(1, 6))
def test_relative_flip_is_a_flip_up_to_a_diagonal(n_controls, ccz):
    controls, target = tuple(range(n_controls)), n_controls
    size = n_controls + 1
    unitary, cost = written(size, lambda writer: writer.relative_flip(controls, target), ccz=ccz)
    stray = unitary @ controlled(X, n_controls)
    np.testing.assert_allclose(stray, np.diag(np.diag(stray)), rtol=0, atol=1e-13)
    assert cost == relative_cost(n_controls, ccz=ccz)
    inverse, _ = written(
        size, lambda writer: writer.relative_flip(controls, target, inverse=True), ccz=ccz
    )
    np.testing.assert_allclose(inverse @ unitary, np.eye(2**size), rtol=0, atol=1e-13)


def test_costs_are_below_the_textbook():
    assert [flip_cost(n, ccz=False) for n in range(6)] == [0, 1, 4, 10, 16, 28]
    assert [relative_cost(n, ccz=False) for n in range(1, 6)] == [1, 3, 6, 12, 18]
    assert [flip_cost(n, ccz=True) for n in range(6)] == [0, 1, 1, 4, 4, 10]
