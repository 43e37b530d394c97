"""Timelines obey Pulser's channel rules, never overlap what must not, and are short."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target import schedule_search as rows
from cudaq_target.device import resolve
from cudaq_target.errors import DeviceLimitError
from cudaq_target.native_ops import CCZ, U3, CPhase, NativeCircuit
from cudaq_target.schedule import PADDING_NS, Durations, Schedule, _problem, retime, schedule
from tests.target.circuits_on_atoms import ghz, random_circuit

DAD, MOCK = resolve("DigitalAnalogDevice"), resolve("MockDevice")
ALL_DEVICES = pytest.mark.parametrize("rules", [DAD, MOCK], ids=lambda r: r.name)


def durations(native: NativeCircuit, target_ns: int = 220) -> Durations:
    gates = [op for op in native.ops if isinstance(op, CPhase | CCZ)]
    return Durations(
        rotation_ns=[28 for op in native.ops if isinstance(op, U3)],
        gate_ns=[(target_ns, 0, 0) if isinstance(g, CPhase) else (52, 100, 152) for g in gates],
        open_ns=52,
    )


def fan(n: int) -> NativeCircuit:
    """One control, n - 1 targets, all in superposition before."""
    ops = [U3(q, 1.0, 0.0, 0.0) for q in range(n)]
    ops += [CPhase(0, q, math.pi) for q in range(1, n)]
    return NativeCircuit(n, tuple(ops), tuple(range(n)))


def excited_ns(timeline: Schedule) -> list[tuple[int, int, int]]:
    """(atom, from, to) in which an atom may be in the Rydberg state."""
    spans: list[tuple[int, int, int]] = []
    opened: dict[int, int] = {}
    for _, role, _, atom, start, length in timeline.actions.tolist():
        if role == rows.OPEN or role in (rows.CCZ_PART, rows.CCZ_PART + 1):
            opened[atom] = start
        elif role == rows.CLOSE or role >= rows.CCZ_PART + 3:
            spans.append((atom, opened.pop(atom), start + length))
        elif role != rows.ROTATE:
            spans.append((atom, start, start + length))
    assert not opened
    return spans


def check_order(native: NativeCircuit, timeline: Schedule) -> None:
    """U3s of an atom in order, and every gate between the right two of them."""
    starts: dict[tuple[int, int], tuple[int, int]] = {}
    spans: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    controls: dict[int, int] = {}
    control = -1
    for _, role, op, atom, start, length in timeline.actions.tolist():
        if role == rows.ROTATE:
            starts[atom, op] = (start, start + length)
        elif role == rows.OPEN:
            control = atom
        elif role == rows.TARGET:
            # The control is excited around the pulse of its target.
            for member in (control, atom):
                spans[op, member].append((start, start + length))
            controls[op] = control
        elif role >= rows.CCZ_PART:
            spans[op, atom].append((start, start + length))
    count = [0] * native.n_qubits
    gate = 0
    for op in native.ops:
        if isinstance(op, U3):
            count[op.qubit] += 1
        elif isinstance(op, CPhase | CCZ):
            members = (op.a, op.b) if isinstance(op, CPhase) else (op.a, op.b, op.c)
            for atom in members:
                own = spans[gate, atom]
                first, last = min(s for s, _ in own), max(e for _, e in own)
                if count[atom]:
                    assert starts[atom, count[atom] - 1][1] <= first
                if (atom, count[atom]) in starts:
                    assert last <= starts[atom, count[atom]][0]
            gate += 1
    assert {played for played, _ in spans} == set(range(gate))


@ALL_DEVICES
@given(st.integers(1, 6), st.integers(0, 25), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_no_overlap_that_leaks(rules, n: int, n_ops: int, seed: int) -> None:  # type: ignore[no-untyped-def]
    native = random_circuit(n, n_ops, np.random.default_rng(seed), ccz=True)
    timeline = schedule(native, durations(native), rules)
    check_order(native, timeline)
    by_beam: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for beam, _, _, _, start, length in timeline.actions.tolist():
        by_beam[beam].append((start, start + length))
        assert start >= PADDING_NS
        assert start + length <= timeline.duration_ns - PADDING_NS
    for spans in by_beam.values():
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    for _, role, _, atom, start, length in timeline.actions.tolist():
        if role == rows.ROTATE:
            for excited, begin, end in excited_ns(timeline):
                assert excited != atom or start + length <= begin or end <= start


@pytest.mark.parametrize("k", range(1, 8))
def test_fan_out_costs_one_target_pulse_each(k: int) -> None:
    """220·(k+1) + 52 ns from the first to the last pulse, one opening, one closing."""
    native = fan(k + 1)
    timeline = schedule(native, durations(native), DAD)
    roles = timeline.actions[:, rows.ROLE].tolist()
    assert (roles.count(rows.OPEN), roles.count(rows.CLOSE)) == (1, 1)
    rydberg = timeline.actions[timeline.actions[:, rows.BEAM] == rows.RYDBERG]
    span = rydberg[-1, rows.START] + 52 - rydberg[0, rows.START]
    assert span <= 220 * (k + 1) + 52


@pytest.mark.parametrize(
    ("target_ns", "period_ns"), [(204, 660), (216, 672), (220, 660), (260, 700)]
)
def test_period_with_a_new_control_is_as_measured(target_ns: int, period_ns: int) -> None:
    """`Disjoint gates in a row`: 660 ns at T = 220, 672 at T = 216 (16-ns minimum wait)."""
    ops = [U3(q, 1.0, 0.0, 0.0) for q in range(6)]
    ops += [CPhase(0, 1, math.pi), CPhase(2, 3, math.pi), CPhase(4, 5, math.pi)]
    native = NativeCircuit(6, tuple(ops), tuple(range(6)))
    timeline = schedule(native, durations(native, target_ns), DAD)
    starts = timeline.actions[timeline.actions[:, rows.ROLE] == rows.OPEN, rows.START]
    assert starts[2] - starts[1] == period_ns


def test_raman_pulses_run_in_the_shadow_of_the_rydberg_beam() -> None:
    native = ghz(8)
    timeline = schedule(native, durations(native), DAD)
    assert timeline.duration_ns <= 3900


def test_mock_device_has_no_retarget_time() -> None:
    native = fan(3)
    timeline = schedule(native, durations(native), MOCK)
    rydberg = timeline.actions[timeline.actions[:, rows.BEAM] == rows.RYDBERG]
    assert rydberg[-1, rows.START] + 52 - rydberg[0, rows.START] == 52 + 2 * 220 + 52


@given(st.integers(1, 5), st.integers(0, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_retiming_with_equal_durations_changes_nothing(n: int, n_ops: int, seed: int) -> None:
    native = random_circuit(n, n_ops, np.random.default_rng(seed))
    first = schedule(native, durations(native), DAD)
    again = retime(first, native, durations(native), DAD)
    np.testing.assert_array_equal(first.actions, again.actions)
    assert first.duration_ns == again.duration_ns


def test_retiming_keeps_the_order_with_longer_pulses() -> None:
    native = random_circuit(5, 25, np.random.default_rng(1))
    first = schedule(native, durations(native), DAD)
    longer = retime(first, native, durations(native, 400), DAD)
    np.testing.assert_array_equal(first.actions[:, :4], longer.actions[:, :4])
    check_order(native, longer)


def test_equal_input_gives_equal_timelines() -> None:
    native = random_circuit(6, 40, np.random.default_rng(3))
    first, second = (schedule(native, durations(native), DAD) for _ in range(2))
    np.testing.assert_array_equal(first.actions, second.actions)


def test_an_empty_circuit_is_padding_only() -> None:
    timeline = schedule(NativeCircuit(2, (), (0, 1)), Durations([], [], 52), DAD)
    assert len(timeline.actions) == 0
    assert timeline.duration_ns <= 2 * PADDING_NS


def test_a_device_with_a_time_limit_refuses_a_long_program() -> None:
    import dataclasses

    short = dataclasses.replace(DAD, max_sequence_ns=2000)
    with pytest.raises(DeviceLimitError, match=r"a program of \d+ ns.*sequences up to 2000 ns"):
        schedule(ghz(8), durations(ghz(8)), short)


@given(st.integers(2, 6), st.integers(1, 60), st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_no_gate_that_could_be_next_lies_outside_the_window(n: int, n_ops: int, seed: int) -> None:
    native = random_circuit(n, n_ops, np.random.default_rng(seed), ccz=True)
    problem = _problem(native, durations(native), DAD)
    last = rows._last_gates(problem)
    atoms = [[atom for atom in gate if atom >= 0] for gate in problem.atoms.tolist()]
    intervals = problem.intervals.tolist()
    left = list(range(len(atoms)))
    now = np.zeros(n, dtype=np.int64)
    window, done = np.zeros(2, dtype=np.int64), np.zeros(len(atoms), dtype=np.bool_)
    while left:
        rows._move_window(window, done, last, now)
        touched = [
            g
            for g in left
            if any(now[a] == k for a, k in zip(atoms[g], intervals[g], strict=False))
        ]
        assert all(window[0] <= g < window[1] for g in touched)
        gate = left.pop(0)
        for a, k in zip(atoms[gate], intervals[gate], strict=False):
            now[a] = max(now[a], k)
        done[gate] = True
