"""Circuit to pulses, end to end: the emulated state is the ideal one, on every device and path."""

from __future__ import annotations

import math

import numpy as np
import pulser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target import compiler
from cudaq_target import native as native_stage
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.device import resolve
from cudaq_target.errors import DeviceLimitError, Source
from cudaq_target.machines.local import LocalMachine
from cudaq_target.native_ops import CCZ, CPhase
from cudaq_target.program import compile_circuit
from tests.target.circuits_on_atoms import random_circuit, state

DAD, MOCK = resolve("DigitalAnalogDevice"), resolve("MockDevice")
HERE = Source("hand", 1)
LOCAL = LocalMachine()
# A CCZ is solved to an infidelity of 1e-12.
CCZ_EXACT = 5e-6


def gate(
    name: str, *targets: int, controls: tuple[int, ...] = (), params: tuple[float, ...] = ()
) -> Gate:
    return Gate(name, targets, HERE, controls=controls, params=params)


def circuit(n: int, *gates: Gate) -> Circuit:
    return Circuit("hand", n, gates)


def random_gates(n: int, n_layers: int, rng: np.random.Generator) -> Circuit:
    gates: list[Gate] = []
    for _ in range(n_layers):
        gates += [gate("u3", q, params=tuple(rng.uniform(-3, 3, 3))) for q in range(n)]
        order = [int(q) for q in rng.permutation(n)]
        for a, b in zip(order[::2], order[1::2], strict=False):
            name, params = [("x", ()), ("z", ()), ("r1", (float(rng.uniform(-3, 3)),))][
                rng.integers(3)
            ]
            gates.append(gate(name, b, controls=(a,), params=params))
    return circuit(n, *gates)


@pytest.mark.parametrize("rules", [DAD, MOCK], ids=lambda r: r.name)
@given(st.integers(1, 5), st.integers(0, 25), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_state_and_phase_are_exact(rules, n: int, n_ops: int, seed: int) -> None:  # type: ignore[no-untyped-def]
    native = random_circuit(n, n_ops, np.random.default_rng(seed))
    lowered = compiler._lower_native(native, rules, None, "swap", None)
    assert lowered is not None
    np.testing.assert_allclose(LOCAL.state(lowered.timeline), state(native), atol=1e-9)


def test_swaps_on_a_line_are_exact() -> None:
    layout = np.stack([np.arange(5) * 5.0, np.zeros(5)], axis=1)
    random = random_gates(5, 4, np.random.default_rng(2))
    program = compile_circuit(random, DAD, layout=layout)
    assert program.stats.n_swaps > 0
    expected = state(native_stage.lower(random, ccz=False))
    np.testing.assert_allclose(LOCAL.state(program.timeline), expected, atol=1e-9)


def test_flips_on_a_wide_register_are_exact_and_faster() -> None:
    """At 8 µm a positive phase costs a longer pulse than a negative one."""
    layout = np.array([[0.0, 0.0], [8.0, 0.0]])
    rotate = [gate("u3", q, params=(1.0, 0.3, 0.2)) for q in range(2)]
    one = circuit(2, *rotate, gate("r1", 1, controls=(0,), params=(0.8,)), *rotate)
    program = compile_circuit(one, DAD, layout=layout)
    assert program.lowered is not None
    assert [op.theta for op in program.lowered.native.ops if isinstance(op, CPhase)] == [-0.8]
    expected = state(native_stage.lower(one, ccz=False))
    np.testing.assert_allclose(LOCAL.state(program.timeline), expected, atol=1e-10)
    last = circuit(2, *rotate, gate("r1", 1, controls=(0,), params=(0.8,)))
    assert (
        compile_circuit(last, DAD, layout=layout).stats.duration_ns > program.stats.duration_ns - 60
    )


def test_toffoli_on_a_triangle_is_one_pulse_sequence() -> None:
    rotate = [gate("u3", q, params=(1.0, 0.3, 0.2)) for q in range(3)]
    one = circuit(3, *rotate, gate("x", 2, controls=(0, 1)))
    program = compile_circuit(one, DAD)
    assert program.lowered is not None
    assert program.stats.n_entangling == 1
    expected = state(native_stage.lower(one, ccz=True))
    np.testing.assert_allclose(LOCAL.state(program.timeline), expected, atol=CCZ_EXACT)


def test_toffoli_off_a_triangle_becomes_cphases() -> None:
    layout = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 9.0]])
    rotate = [gate("u3", q, params=(1.0, 0.3, 0.2)) for q in range(3)]
    one = circuit(3, *rotate, gate("x", 2, controls=(0, 1)))
    program = compile_circuit(one, DAD, layout=layout)
    assert program.stats.n_entangling == 5
    expected = state(native_stage.lower(one, ccz=False))
    np.testing.assert_allclose(LOCAL.state(program.timeline), expected, atol=1e-9)


def toffoli_chain(n: int) -> Circuit:
    rotate = [gate("u3", q, params=(1.0, 0.3, 0.2)) for q in range(n)]
    return circuit(n, *rotate, *(gate("x", k + 2, controls=(k, k + 1)) for k in range(n - 2)))


@pytest.mark.parametrize("n", [5, 6, 7, 8])
def test_a_chain_of_toffolis_runs_on_a_strip_of_triangles(n: int) -> None:
    chain = toffoli_chain(n)
    program = compile_circuit(chain, DAD)
    assert program.stats.n_entangling == n - 2
    expected = state(native_stage.lower(chain, ccz=False))
    np.testing.assert_allclose(LOCAL.state(program.timeline), expected, atol=n * CCZ_EXACT)


def test_only_a_ccz_off_all_triangles_becomes_cphases() -> None:
    """Two triangles with a common side, and a fifth atom away from both."""
    high = math.sqrt(0.75) * 5.0
    layout = [[0.0, 0.0], [5.0, 0.0], [2.5, high], [7.5, high], [2.5, high + 6.0]]
    chain = toffoli_chain(5)
    program = compile_circuit(chain, DAD, layout=layout)
    assert program.lowered is not None
    assert sum(isinstance(op, CCZ) for op in program.lowered.native.ops) == 2
    assert program.stats.n_entangling == 2 + 5
    expected = state(native_stage.lower(chain, ccz=False))
    np.testing.assert_allclose(LOCAL.state(program.timeline), expected, atol=5 * CCZ_EXACT)


def test_a_plan_with_some_triangles_serves_new_angles(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    n = 5

    def one(angles: np.ndarray) -> Circuit:
        rotate = [gate("u3", q, params=tuple(angles[q])) for q in range(n)]
        pairs = ((0, 1, 2), (0, 3, 4), (1, 2, 4), (0, 2, 3))
        return circuit(n, *rotate, *(gate("x", c, controls=(a, b)) for a, b, c in pairs), *rotate)

    plans = compiler.Plans()
    first = compile_circuit(one(rng.uniform(0.5, 1.0, (n, 3))), DAD, plans=plans)
    assert first.lowered is not None
    assert first.lowered.plan.expanded
    turned = one(rng.uniform(0.5, 1.0, (n, 3)))
    for stage in ("place", "find_swaps", "schedule"):
        monkeypatch.setattr(compiler, stage, None)
    second = compile_circuit(turned, DAD, plans=plans)
    expected = state(native_stage.lower(turned, ccz=False))
    np.testing.assert_allclose(LOCAL.state(second.timeline), expected, atol=5 * CCZ_EXACT)


@pytest.mark.parametrize("n", [2, 6])
def test_new_angles_reuse_the_plan(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    first = compile_circuit(random_gates(n, 3, np.random.default_rng(1)), DAD)
    book = first.plans

    def forbidden(*_args: object) -> None:
        raise AssertionError("placement, routing and scheduling ran again")

    for stage in ("place", "find_swaps", "schedule"):
        monkeypatch.setattr(compiler, stage, forbidden)
    names = np.random.default_rng(1)
    again = random_gates(n, 3, names)
    turned = circuit(
        n,
        *(
            gate(
                g.name,
                *g.targets,
                controls=g.controls,
                params=tuple(p + rng.uniform(-0.2, 0.2) for p in g.params),
            )
            for g in again.gates
        ),
    )
    second = compile_circuit(turned, DAD, plans=book)
    assert first.lowered is not None
    assert second.lowered is not None
    assert second.lowered.plan is first.lowered.plan
    expected = state(native_stage.lower(turned, ccz=False))
    np.testing.assert_allclose(LOCAL.state(second.timeline), expected, atol=1e-9)


def chain(angle: float) -> Circuit:
    """Ten qubits, CPhases over all distances up to 12 µm."""
    gates = [gate("u3", q, params=(1.0, 0.3, 0.2)) for q in range(10)]
    gates += [
        gate("r1", b, controls=(a,), params=(angle,)) for a in range(10) for b in range(a + 1, 10)
    ]
    gates += [gate("h", q) for q in range(10)]
    return circuit(10, *gates)


@pytest.mark.parametrize("first_angle", [-0.3, 3.0])
def test_a_program_does_not_depend_on_what_was_compiled_before(first_angle: float) -> None:
    alone = compile_circuit(chain(0.8), DAD)
    compile_circuit(chain(first_angle), DAD)
    after = compile_circuit(chain(0.8), DAD)
    assert after.stats == alone.stats
    np.testing.assert_array_equal(after.timeline.frames_rad, alone.timeline.frames_rad)


@pytest.mark.parametrize("first_angle", [-0.1, 0.1, 3.0])
def test_a_plan_made_for_other_angles_costs_little(first_angle: float) -> None:
    fresh = compile_circuit(chain(0.8), DAD).stats
    book = compile_circuit(chain(first_angle), DAD).plans
    bound = compile_circuit(chain(0.8), DAD, plans=book).stats
    assert bound.duration_ns <= 1.3 * fresh.duration_ns
    assert bound.predicted_infidelity <= 2.0 * fresh.predicted_infidelity + 0.01


def test_layouts_of_equal_numbers_and_other_shape_are_told_apart() -> None:
    numbers = np.array([0.0, 0.0, 5.0, 0.0, 5.0, 5.0])
    two = circuit(2, gate("h", 0), gate("x", 1, controls=(0,)))
    in_space = compile_circuit(two, MOCK, layout=numbers.reshape(2, 3))
    in_plane = compile_circuit(two, MOCK, layout=numbers.reshape(3, 2))
    assert in_space.timeline.coordinates_um.shape == (2, 3)
    assert in_plane.timeline.coordinates_um.shape == (2, 2)


def test_an_angle_that_removes_a_gate_is_lowered_anew() -> None:
    def one(angle: float) -> Circuit:
        return circuit(
            2,
            gate("h", 0),
            gate("h", 1),
            gate("r1", 1, controls=(0,), params=(angle,)),
            gate("h", 1),
        )

    assert compile_circuit(one(0.5), DAD).stats.n_entangling == 1
    assert compile_circuit(one(0.0), DAD).stats.n_entangling == 0
    again = compile_circuit(one(-0.7), DAD)
    expected = state(native_stage.lower(one(-0.7), ccz=False))
    np.testing.assert_allclose(LOCAL.state(again.timeline), expected, atol=1e-10)


def test_sequences_are_valid_pulser_programs_and_round_trip() -> None:
    program = compile_circuit(random_gates(4, 3, np.random.default_rng(5)), DAD)
    sequence = program.sequence
    assert sequence.get_duration() == program.stats.duration_ns
    text = sequence.to_abstract_repr()
    again = pulser.Sequence.from_abstract_repr(text)
    assert again.get_duration() == sequence.get_duration()
    assert again.device == sequence.device


def test_ideal_gates_promise_no_infidelity_above_one() -> None:
    program = compile_circuit(random_gates(8, 12, np.random.default_rng(0)), DAD)
    assert 0.0 < program.stats.predicted_infidelity < 1.0


@pytest.mark.parametrize("n", [0, 1, 4])
def test_circuits_without_gates(n: int) -> None:
    program = compile_circuit(circuit(n), DAD)
    np.testing.assert_allclose(np.abs(LOCAL.state(program.timeline)), np.eye(2**n)[0], atol=1e-15)


def test_readout_follows_relabelled_and_executed_swaps() -> None:
    gates = [gate("x", 0), gate("swap", 0, 2), gate("x", 1), gate("swap", 1, 3)]
    program = compile_circuit(circuit(4, *gates), DAD)
    bits = LOCAL.sample(program.timeline, 5, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(bits, np.tile([0, 0, 1, 1], (5, 1)))
    assert math.isclose(abs(LOCAL.state(program.timeline)[0b0011]), 1.0)


def test_too_many_qubits_are_refused_before_any_lowering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_stage, "lower", None)
    with pytest.raises(DeviceLimitError, match=r"a kernel of 500 qubits: .* at most 100 atoms"):
        compile_circuit(circuit(500), DAD)


def test_a_program_introduces_itself_in_one_line() -> None:
    program = compile_circuit(circuit(2, gate("h", 0), gate("x", 1, controls=(0,))), DAD)
    assert repr(program).startswith(
        "<Program: hand on DigitalAnalogDevice, 2 qubits, 1 entangling gates, 0."
    )
