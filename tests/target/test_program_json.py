"""Programs as JSON: equal to the last bit, runnable, and choosy about what they read."""

from __future__ import annotations

import json
import math

import numpy as np
import pulser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.circuit import Circuit
from cudaq_target.errors import OptionError
from cudaq_target.machines.local import LocalMachine
from cudaq_target.program import Program, compile_circuit
from cudaq_target.program_json import FORMAT, dumps, loads
from tests.target.compiled import gate, programs


def assert_equal_programs(one: Program, other: Program) -> None:
    assert one.stats == other.stats
    assert one.route == other.route
    a, b = one.timeline, other.timeline
    assert a.device == b.device
    assert a.duration_ns == b.duration_ns
    assert a.atom_of_qubit == b.atom_of_qubit
    assert a.global_phase_rad == b.global_phase_rad
    assert np.array_equal(a.coordinates_um, b.coordinates_um)
    assert np.array_equal(a.frames_rad, b.frames_rad)
    assert len(a.slots) == len(b.slots)
    for slot, twin in zip(a.slots, b.slots, strict=True):
        assert (slot.beam, slot.atom, slot.start_ns) == (twin.beam, twin.atom, twin.start_ns)
        assert slot.pulse.phase_rad == twin.pulse.phase_rad
        assert np.array_equal(slot.pulse.durations_ns, twin.pulse.durations_ns)
        assert np.array_equal(slot.pulse.rabi_rad_per_us, twin.pulse.rabi_rad_per_us)
        assert np.array_equal(slot.pulse.detuning_rad_per_us, twin.pulse.detuning_rad_per_us)
    assert_equal_circuits(one.circuit, other.circuit)


def assert_equal_circuits(one: Circuit, other: Circuit) -> None:
    assert (one.kernel, one.n_qubits, one.measurements) == (
        other.kernel,
        other.n_qubits,
        other.measurements,
    )
    for a, b in zip(one.gates, other.gates, strict=True):
        for name in ("name", "targets", "source", "controls", "params", "adjoint", "pauli"):
            assert getattr(a, name) == getattr(b, name)
        for name in ("matrix", "amplitudes"):
            first, second = getattr(a, name), getattr(b, name)
            assert (first is None) == (second is None)
            assert first is None or np.array_equal(first, second)


@pytest.mark.parametrize("name", sorted(programs()))
def test_round_trip_is_exact(name: str) -> None:
    program = programs()[name]
    text = dumps(program)
    again = loads(text)
    assert_equal_programs(program, again)
    assert dumps(again) == text


@given(st.integers(1, 4), st.lists(st.floats(-7, 7, allow_nan=False), min_size=6, max_size=12))
@settings(max_examples=20, deadline=None)
def test_round_trip_of_any_angles(n: int, angles: list[float]) -> None:
    gates = []
    for k, angle in enumerate(angles):
        gates.append(gate("ry", k % n, params=(angle,)))
        if n > 1:
            gates.append(gate("r1", (k + 1) % n, controls=(k % n,), params=(angle / 3,)))
    program = compile_circuit(Circuit("any", n, tuple(gates)))
    assert_equal_programs(program, Program.from_json(program.to_json()))


@pytest.mark.parametrize("name", ["ghz4", "qft5", "ccz", "odd"])
def test_a_program_read_back_runs_to_the_same_state(name: str) -> None:
    program = programs()[name]
    machine = LocalMachine()
    state = machine.state(program.timeline)
    assert np.array_equal(machine.state(loads(dumps(program)).timeline), state)
    assert np.linalg.norm(state) == pytest.approx(1.0, abs=1e-9)


def test_the_sequence_inside_is_pulsers_own() -> None:
    program = programs()["qft5"]
    inside = json.dumps(json.loads(dumps(program))["sequence"])
    sequence = pulser.Sequence.from_abstract_repr(inside)
    assert sequence.get_duration() == program.stats.duration_ns
    assert sequence.device.name == "DigitalAnalogDevice"


def test_a_program_read_back_cannot_be_bound() -> None:
    with pytest.raises(OptionError, match="holds pulses and not the kernel"):
        loads(dumps(programs()["single"])).bind(1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[]", "JSON of another kind"),
        ('{"format": "qasm"}', "format 'qasm'"),
        (
            json.dumps({"format": "cudaq-target program", "version": 99}),
            f"format version 99 is not known, this package reads version {FORMAT.version}",
        ),
        (json.dumps({"format": "cudaq-target program", "version": FORMAT.version}), "damaged"),
    ],
)
def test_other_texts_are_refused(text: str, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        loads(text)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("timeline", "slots"), [["rydberg", 7, 0, 0]]),
        (("timeline", "slots"), [["maser", 0, 0, 0]]),
        (("timeline", "slots"), [["raman", 0, 0, 999]]),
        (("timeline", "pulses"), "many"),
        (("stats", "n_qubits"), None),
        (("circuit", "gates"), [{}]),
        (("device", "channels"), None),
    ],
)
def test_damaged_programs_are_refused(path: tuple[str, str], value: object) -> None:
    content = json.loads(dumps(programs()["single"]))
    content[path[0]][path[1]] = value
    if value is None and path[0] == "stats":
        del content["stats"]["n_qubits"]
    with pytest.raises(OptionError):
        loads(json.dumps(content))


def test_infinities_are_not_written() -> None:
    program = programs()["single"]
    assert math.isinf(programs()["mock"].rules.max_radius_um)
    assert "Infinity" not in dumps(programs()["mock"])
    assert "NaN" not in dumps(program)
