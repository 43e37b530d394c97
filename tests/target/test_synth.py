import numpy as np
import pytest

from cudaq_target.gates import controlled
from cudaq_target.synthesis.merge import Merger, Pair
from cudaq_target.synthesis.multi_control import MultiControl
from cudaq_target.synthesis.synth import write_controlled_unitary, write_diagonal, write_unitary
from tests.target.native_state import apply
from tests.target.random_circuits import random_state, random_unitary
from tests.target.test_merge import state_after


def written(n_wires, write):
    """Gates and global phase of what write(writer) writes, unitary on any state."""
    merger = Merger(n_wires, from_zero=False)
    write(MultiControl(merger, ccz=False))
    return merger.finish(), merger.phase


def assert_unitary(result, n_wires, on, matrix):
    ops, phase = result
    start = random_state(n_wires, np.random.default_rng(5))
    expected = apply(start.reshape((2,) * n_wires), matrix, on).ravel()
    got = np.exp(1j * phase) * state_after(ops, start, n_wires)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def n_pairs(result):
    return sum(isinstance(op, Pair) for op in result[0])


@pytest.mark.parametrize(("n_targets", "at_most"), [(1, 0), (2, 3), (3, 19), (4, 95)])
def test_unitaries_of_any_size(n_targets, at_most):
    rng = np.random.default_rng(n_targets)
    matrix = random_unitary(n_targets, rng)
    on = tuple(int(w) for w in rng.permutation(n_targets))
    result = written(n_targets, lambda writer: write_unitary(writer, on, matrix))
    assert_unitary(result, n_targets, on, matrix)
    assert n_pairs(result) <= at_most


@pytest.mark.parametrize(
    ("n_controls", "n_targets", "at_most"), [(1, 2, 11), (2, 2, 23), (1, 3, 52)]
)
def test_only_the_diagonal_part_is_controlled(n_controls, n_targets, at_most):
    n_wires = n_controls + n_targets
    matrix = random_unitary(n_targets, np.random.default_rng(2))
    controls, on = tuple(range(n_controls)), tuple(range(n_controls, n_wires))
    result = written(n_wires, lambda writer: write_controlled_unitary(writer, controls, on, matrix))
    assert_unitary(result, n_wires, controls + on, controlled(matrix, n_controls))
    assert n_pairs(result) <= at_most


@pytest.mark.parametrize("n_controls", range(3))
@pytest.mark.parametrize(("n_targets", "at_most"), [(1, 0), (2, 1), (3, 5), (4, 17)])
def test_diagonals_cost_one_cphase_per_parity(n_controls, n_targets, at_most):
    n_wires = n_controls + n_targets
    phases = np.random.default_rng(3).normal(size=2**n_targets) * 4
    controls, on = tuple(range(n_controls)), tuple(range(n_controls, n_wires))
    result = written(n_wires, lambda writer: write_diagonal(writer, controls, on, phases))
    matrix = controlled(np.diag(np.exp(1j * phases)), n_controls)
    assert_unitary(result, n_wires, controls + on, matrix)
    if n_controls == 0:
        assert n_pairs(result) == at_most


def test_degenerate_eigenvalues_are_no_trouble_under_control():
    reflection = np.eye(8) - 2 * np.outer(*[np.full(8, 8**-0.5)] * 2)
    matrix = reflection.astype(complex)
    result = written(4, lambda writer: write_controlled_unitary(writer, (3,), (0, 1, 2), matrix))
    assert_unitary(result, 4, (3, 0, 1, 2), controlled(matrix, 1))
