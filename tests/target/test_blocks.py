import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.synthesis.blocks import consolidate
from cudaq_target.synthesis.merge import Local, Pair
from cudaq_target.synthesis.one_qubit import ry
from tests.target.random_circuits import random_state
from tests.target.test_merge import merged, state_after


def layer(*wires, angle=0.7):
    return [Local(wire, ry(angle + 0.1 * wire)) for wire in wires]


def n_pairs(ops):
    return sum(isinstance(op, Pair) for op in ops)


def assert_same_state(ops, shorter, phase, n_wires, *, from_zero):
    start = random_state(n_wires, np.random.default_rng(1))
    if from_zero:
        start = np.eye(1, 2**n_wires, dtype=complex)[0]
    expected = state_after(ops, start, n_wires).reshape((2,) * n_wires)
    got = state_after(shorter.ops, start, n_wires).reshape((2,) * n_wires)
    got = np.transpose(got, shorter.wire_of) * np.exp(1j * (phase + shorter.phase))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_before", [4, 5, 9])
def test_a_long_run_needs_three_from_anywhere_and_one_from_zero(n_before):
    ops = layer(0, 1)
    for index in range(n_before):
        ops += [Pair(0, 1, 0.3 + index), *layer(0, 1, angle=index + 0.5)]
    for from_zero, n_after in ((False, 3), (True, 1)):
        first, phase = merged(ops, 2, from_zero=from_zero)
        shorter = consolidate(first, 2, from_zero=from_zero, may_exchange=False)
        assert n_pairs(shorter.ops) == n_after
        assert_same_state(ops, shorter, phase, 2, from_zero=from_zero)


def test_one_wire_at_zero_saves_the_third():
    ops = [*layer(0, 1, 2), Pair(1, 2, 0.4), *layer(1)]
    for index in range(3):
        ops += [Pair(0, 1, 0.3 + index), *layer(0, 1, angle=index + 0.5)]
    first, phase = merged(ops, 3, from_zero=True)
    shorter = consolidate(first, 3, from_zero=True, may_exchange=True)
    assert n_pairs(shorter.ops) == 1 + 2
    assert_same_state(ops, shorter, phase, 3, from_zero=True)


def test_gates_that_commute_move_out_of_the_way():
    ops = [*layer(0, 1, 2, 3), Pair(0, 1, 0.3)]
    ops += [Pair(0, 2, 0.9), *layer(2), Pair(2, 3, 0.8)]
    for index in range(3):
        ops += [*layer(0, 1, angle=index + 0.5), Pair(0, 1, 0.5 + index)]
    ops += [Pair(1, 3, 0.6), *layer(3), Pair(2, 3, 0.1)]
    first, phase = merged(ops, 4)
    shorter = consolidate(first, 4, from_zero=False, may_exchange=False)
    assert n_pairs(shorter.ops) == n_pairs(first) - 1
    assert_same_state(ops, shorter, phase, 4, from_zero=False)


def test_two_cnots_across_each_other_are_one_and_an_exchange():
    h = tuple(x * math.sqrt(0.5) for x in (1, 1, 1, -1))
    ops = [Local(1, h), Pair(0, 1, math.pi), Local(1, h), Local(0, h), Pair(0, 1, math.pi)]
    first, phase = merged(ops, 3)
    assert consolidate(first, 3, from_zero=False, may_exchange=False) is None
    shorter = consolidate(first, 3, from_zero=False, may_exchange=True)
    assert shorter.wire_of == [1, 0, 2]
    assert n_pairs(shorter.ops) == 1
    assert_same_state(ops, shorter, phase, 3, from_zero=False)


def test_nothing_to_gain_is_none():
    ops = [*layer(0, 1), Pair(0, 1, 0.3), *layer(0, 1), Pair(0, 1, 0.5)]
    first, _ = merged(ops, 2)
    assert consolidate(first, 2, from_zero=False, may_exchange=True) is None
    assert consolidate(merged(layer(0, 1), 2)[0], 2, from_zero=True, may_exchange=True) is None


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.permutations(range(4)), st.sampled_from([math.pi, 0.4, -1.1]), st.booleans()),
        max_size=40,
    ),
    st.booleans(),
    st.booleans(),
)
def test_random_runs_keep_the_state(gates, from_zero, may_exchange):
    ops = layer(0, 1, 2, 3)
    for (a, b, _, _), angle, both in gates:
        ops += [Pair(min(a, b), max(a, b), angle), *layer(a, angle=angle)]
        ops += layer(b, angle=2 * angle) if both else []
    first, phase = merged(ops, 4, from_zero=from_zero)
    shorter = consolidate(first, 4, from_zero=from_zero, may_exchange=may_exchange)
    if shorter is not None:
        assert n_pairs(shorter.ops) < n_pairs(first)
        assert_same_state(ops, shorter, phase, 4, from_zero=from_zero)
        assert may_exchange or shorter.wire_of == [0, 1, 2, 3]
