"""Sign flips change no state and pick the cheap sign."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.native_ops import CCZ, U3, CPhase, NativeCircuit
from cudaq_target.signs import apply_flips, choose_flips
from tests.target.circuits_on_atoms import random_circuit, state


def cheap_when_negative(_a, _b, theta):  # type: ignore[no-untyped-def]
    return 220.0 + 100.0 * ((-theta) % (2 * math.pi))


@given(st.integers(1, 4), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_flips_keep_the_state_and_its_phase(n: int, n_ops: int, seed: int) -> None:
    native = random_circuit(n, n_ops, np.random.default_rng(seed), ccz=True)
    flips = choose_flips(native, cheap_when_negative)
    np.testing.assert_allclose(state(apply_flips(native, flips)), state(native), atol=1e-12)


@given(st.integers(2, 4), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_flips_never_cost_time(n: int, n_ops: int, seed: int) -> None:
    native = random_circuit(n, n_ops, np.random.default_rng(seed))

    def cost(circuit: NativeCircuit) -> float:
        gates = (op for op in circuit.ops if isinstance(op, CPhase))
        return sum(cheap_when_negative(op.a, op.b, op.theta) for op in gates)

    flips = choose_flips(native, cheap_when_negative)
    assert cost(apply_flips(native, flips)) <= cost(native) + 1e-9


def test_a_positive_phase_between_two_pulses_turns_negative() -> None:
    pulse = [U3(q, 1.0, 0.2, 0.3) for q in range(2)]
    native = NativeCircuit(2, (*pulse, CPhase(0, 1, 0.4), *pulse), (0, 1))
    flipped = apply_flips(native, choose_flips(native, cheap_when_negative))
    assert [op.theta for op in flipped.ops if isinstance(op, CPhase)] == [-0.4]
    assert sum(isinstance(op, U3) for op in flipped.ops) == 4


def test_without_a_pulse_behind_it_a_phase_keeps_its_sign() -> None:
    native = NativeCircuit(2, (U3(0, 1.0, 0, 0), U3(1, 1.0, 0, 0), CPhase(0, 1, 0.4)), (0, 1))
    assert choose_flips(native, cheap_when_negative) == frozenset()


def test_a_stretch_with_a_ccz_is_left_alone() -> None:
    pulse = [U3(q, 1.0, 0.2, 0.3) for q in range(3)]
    gates = (CPhase(0, 1, 0.4), CCZ(0, 1, 2))
    native = NativeCircuit(3, (*pulse, *gates, *pulse), (0, 1, 2))
    assert choose_flips(native, cheap_when_negative) == frozenset()


@pytest.mark.parametrize("theta", [0.0, math.pi])
def test_flipping_an_extreme_rotation_stays_canonical(theta: float) -> None:
    ops = (U3(0, theta, 0.3, -2.9), CPhase(0, 1, 1.0), U3(0, 1.0, 3.0, 3.1))
    native = NativeCircuit(2, (U3(1, 1.0, 0, 0), *ops), (0, 1))
    flipped = apply_flips(native, frozenset({(0, 1)}))
    np.testing.assert_allclose(state(flipped), state(native), atol=1e-12)
    for op in flipped.ops:
        if isinstance(op, U3):
            assert 0.0 <= op.theta <= math.pi
            assert -math.pi < op.phi <= math.pi
            assert -math.pi < op.lam <= math.pi
