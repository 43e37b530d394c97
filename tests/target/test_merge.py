import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.synthesis.merge import Local, Merger, Pair, Triple
from cudaq_target.synthesis.one_qubit import Shape, phase_gate, ry, rz, shape
from tests.target.native_state import apply
from tests.target.random_circuits import random_state

H = tuple(x * math.sqrt(0.5) for x in (1, 1, 1, -1))
X = (0, 1, 1, 0)


def state_after(ops, state, n_wires):
    state = state.reshape((2,) * n_wires)
    for op in ops:
        match op:
            case Local():
                state = apply(state, np.array(op.matrix, dtype=complex).reshape(2, 2), (op.wire,))
            case Pair():
                state = apply(state, np.diag([1, 1, 1, np.exp(1j * op.theta)]), (op.a, op.b))
            case Triple():
                state = apply(state, np.diag([1.0] * 7 + [-1.0]).astype(complex), tuple(op))
    return state.ravel()


def merged(ops, n_wires, *, from_zero=False):
    merger = Merger(n_wires, from_zero=from_zero)
    for op in ops:
        merger.add(op)
    return merger.finish(), merger.phase


def pairs(ops):
    return [op for op in ops if isinstance(op, Pair)]


@st.composite
def streams(draw):
    """Gates from a small set, so that much cancels."""
    n_wires = draw(st.integers(3, 4))
    angle = st.sampled_from([math.pi, -math.pi / 2, 0.4, -0.4])
    wire = st.integers(0, n_wires - 1)
    matrix = st.one_of(st.sampled_from([H, X]), st.builds(ry, angle), st.builds(rz, angle))
    local = st.builds(Local, wire, matrix)
    distinct = st.lists(wire, min_size=3, max_size=3, unique=True)
    pair = st.builds(lambda on, theta: Pair(on[0], on[1], theta), distinct, angle)
    triple = st.builds(lambda on: Triple(*on), distinct)
    return n_wires, draw(st.lists(st.one_of(local, pair, pair, triple), max_size=40))


@settings(max_examples=150, deadline=None)
@given(streams(), st.booleans(), st.integers(0, 9))
def test_merging_changes_no_state(stream, from_zero, seed):
    n_wires, ops = stream
    start = random_state(n_wires, np.random.default_rng(seed))
    if from_zero:
        start = np.eye(1, 2**n_wires, dtype=complex)[0]
    shorter, phase = merged(ops, n_wires, from_zero=from_zero)
    np.testing.assert_allclose(
        np.exp(1j * phase) * state_after(shorter, start, n_wires),
        state_after(ops, start, n_wires),
        rtol=0,
        atol=1e-12,
    )


def test_angles_of_one_pair_add_and_vanish():
    ops = [Pair(0, 1, 0.3), Local(0, rz(0.2)), Pair(0, 2, 0.5), Pair(1, 0, 0.4)]
    shorter, _ = merged(ops, 3)
    assert sorted(pairs(shorter)) == [Pair(0, 1, pytest.approx(0.7)), Pair(0, 2, 0.5)]
    shorter, _ = merged([*ops, Pair(0, 1, -0.7)], 3)
    assert pairs(shorter) == [Pair(0, 2, 0.5)]


def test_a_wire_that_only_selects_needs_one_cphase():
    ops = [Pair(0, 1, 0.3)]
    for angle in (0.4, 0.5, 0.6):
        ops += [Local(1, ry(angle)), Pair(0, 1, angle)]
    assert len(pairs(merged(ops, 2)[0])) == 1


def test_conjugated_pulse_opens_its_segment_again():
    ops = [Pair(0, 1, math.pi), Local(1, H), Pair(1, 2, 0.3), Pair(1, 2, -0.3), Local(1, H)]
    assert not pairs(merged([*ops, Pair(0, 1, math.pi)], 3)[0])


def test_flip_changes_the_sign_and_leaves_no_pulse_between():
    ops = [Local(0, H), Local(1, H), Pair(0, 1, 0.3), Local(0, X), Pair(0, 1, 0.5), Local(0, X)]
    shorter, _ = merged(ops, 2)
    assert [op.theta for op in pairs(shorter)] == [pytest.approx(-0.2)]
    assert len(shorter) == 3


def test_flip_at_the_end_joins_the_pulse_before():
    ops = [Local(0, H), Local(1, H), Pair(0, 1, 0.3), Local(0, X)]
    shorter, _ = merged(ops, 2)
    assert [op.theta for op in pairs(shorter)] == [-0.3]
    assert sum(isinstance(op, Local) for op in shorter) == 2


def test_ccz_cancels_and_knows_basis_states():
    spread = [Local(wire, H) for wire in range(3)]
    shorter, _ = merged([*spread, Triple(0, 1, 2), Pair(0, 1, 0.2), Triple(0, 1, 2)], 3)
    assert [op for op in shorter if not isinstance(op, Local)] == [Pair(0, 1, 0.2)]
    shorter, _ = merged([Local(0, X), *spread[1:], Triple(0, 1, 2)], 3, from_zero=True)
    assert pairs(shorter) == [Pair(1, 2, math.pi)]
    shorter, _ = merged([*spread[1:], Triple(0, 1, 2)], 3, from_zero=True)
    assert not pairs(shorter)


def test_gates_left_over_are_one_per_stretch():
    ops = [Local(0, H), Local(0, phase_gate(0.3)), Pair(0, 1, 0.2), Local(0, rz(1.0)), Local(0, H)]
    shorter, _ = merged(ops, 2)
    locals_on_0 = [op for op in shorter if isinstance(op, Local) and op.wire == 0]
    assert len(locals_on_0) == 2
    assert all(shape(op.matrix) is Shape.GENERAL for op in locals_on_0)
