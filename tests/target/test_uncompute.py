import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target import native
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.errors import Source
from cudaq_target.native_ops import CPhase
from cudaq_target.synthesis.uncompute import Style, flip_styles
from tests.target.native_state import circuit_state, native_state
from tests.target.random_circuits import random_state

SOURCE = Source("k")


def x(target, *controls):
    return Gate("x", (target,), SOURCE, controls=controls)


def gate(name, target, *params):
    return Gate(name, (target,), SOURCE, params=params)


FIRST, SECOND = x(2, 0, 1), x(2, 1, 0)


@pytest.mark.parametrize(
    ("between", "relative"),
    [
        ([x(3, 2)], True),
        ([gate("rz", 2, 0.3), x(3, 0, 2)], True),
        ([x(2, 3)], False),
        ([gate("h", 2), gate("t", 0)], False),
        ([gate("h", 3)], True),
        ([gate("h", 0)], None),
        ([x(1, 3)], None),
        ([Gate("exp_pauli", (0, 3), SOURCE, params=(0.1,), pauli="ZX")], True),
        ([Gate("exp_pauli", (0, 3), SOURCE, params=(0.1,), pauli="XZ")], None),
        ([Gate("swap", (2, 3), SOURCE)], False),
        ([Gate("swap", (0, 3), SOURCE)], None),
    ],
)
def test_what_may_lie_between(between, relative):
    styles = flip_styles([FIRST, *between, SECOND])
    if relative is None:
        assert styles == {}
    else:
        assert styles == {
            0: Style(relative=relative, inverse=False),
            len(between) + 1: Style(relative=relative, inverse=True),
        }


def n_cphases(gates, n_qubits=5):
    circuit = Circuit("k", n_qubits, tuple(gates))
    lowered = native.lower(circuit, ccz=False, from_zero=False)
    start = random_state(n_qubits, np.random.default_rng(0))
    np.testing.assert_allclose(
        native_state(lowered, start), circuit_state(circuit, start), rtol=0, atol=1e-12
    )
    return sum(isinstance(op, CPhase) for op in lowered.ops)


def test_pairs_cost_three_or_four_each_and_single_ones_five():
    assert n_cphases([FIRST]) == 5
    assert n_cphases([FIRST, x(3, 2), SECOND]) == 3 + 1 + 3
    assert n_cphases([FIRST, gate("h", 2), x(3, 2), SECOND]) == 4 + 1 + 4
    assert n_cphases([FIRST, gate("h", 0), SECOND]) <= 10


def test_conjunction_on_work_qubits():
    compute = [x(3, 0, 1), x(4, 2, 3)]
    assert n_cphases([*compute, gate("t", 4), *reversed(compute)]) <= 12


NAMES = st.sampled_from(["x", "h", "t", "z"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, st.permutations(range(5)), st.integers(0, 3)), max_size=14))
def test_random_flips_stay_exact(drawn):
    n_cphases(
        [
            Gate(name, (on[0],), SOURCE, controls=tuple(sorted(on[1 : 1 + n_controls])))
            for name, on, n_controls in drawn
        ]
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 2, 2, 3]), st.permutations(range(4))), max_size=16))
def test_networks_of_flips_stay_exact(drawn):
    n_cphases([x(on[0], *sorted(on[1 : 1 + n_controls])) for n_controls, on in drawn], n_qubits=4)
