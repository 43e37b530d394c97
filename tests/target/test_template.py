"""Templates: a circuit taken apart and put together again is the same circuit."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.circuit import Circuit, Gate, Measurement
from cudaq_target.compiler import Plans
from cudaq_target.errors import DeviceLimitError, OptionError, Source
from cudaq_target.program import compile_circuit
from cudaq_target.sites import read_sites
from cudaq_target.template import CircuitTemplate, angles_of, structure_key
from tests.target.random_circuits import circuits, random_circuit, random_state

SOURCE = Source("ansatz", 7, "/home/someone/ansatz.py")


def gates_of(circuit: Circuit) -> list[tuple]:
    return [
        (
            gate.name, gate.targets, gate.controls, gate.params, gate.adjoint, gate.pauli,
            None if gate.matrix is None else gate.matrix.tobytes(),
            None if gate.amplitudes is None else gate.amplitudes.tobytes(),
            gate.source.kernel, gate.source.line,
        )
        for gate in circuit.gates
    ]  # fmt: skip


def same(one: Circuit, other: Circuit) -> bool:
    measured = [
        [(entry.qubit, entry.register, entry.source.line) for entry in circuit.measurements]
        for circuit in (one, other)
    ]
    return (
        (one.kernel, one.n_qubits) == (other.kernel, other.n_qubits)
        and gates_of(one) == gates_of(other)
        and measured[0] == measured[1]
    )


def ansatz(angles) -> Circuit:
    gates = [Gate("ry", (qubit,), SOURCE, params=(angles[qubit],)) for qubit in range(3)]
    gates += [Gate("x", (qubit + 1,), SOURCE, controls=(qubit,)) for qubit in range(2)]
    gates += [Gate("exp_pauli", (0, 1), SOURCE, params=(angles[3],), pauli="XY")]
    measurements = (Measurement(2, "r", SOURCE), Measurement(0, "", SOURCE))
    return Circuit("ansatz", 3, tuple(gates), measurements)


@settings(max_examples=100)
@given(circuits())
def test_round_trip(circuit):
    template, angles = CircuitTemplate.of(circuit)
    assert angles.shape == (template.n_parameters,)
    assert same(template.circuit(angles), circuit)
    read = CircuitTemplate.from_json(template.to_json())
    assert same(read.circuit(angles), circuit)
    assert read.to_json() == template.to_json()


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_other_angles_other_circuit(seed, n_qubits):
    rng = np.random.default_rng(seed)
    circuit = random_circuit(seed, n_qubits, 8)
    template, angles = CircuitTemplate.of(circuit)
    other = template.circuit(rng.normal(size=len(angles)))
    assert structure_key(other) == structure_key(circuit)
    again, found = CircuitTemplate.of(other)
    assert again.to_json() == template.to_json()
    assert found.tobytes() == angles_of(other).tobytes()


def test_prepared_states_measurements_and_settings_are_kept():
    state = random_state(2, np.random.default_rng(1))
    prepare = Gate("prepare", (1, 0), SOURCE, amplitudes=state)
    circuit = ansatz([0.1, -0.0, 3.0, 4.0])
    circuit = dataclasses.replace(circuit, gates=(prepare, *circuit.gates))
    sites = read_sites([[0, 0], [7, 0.1], [14, 0]])
    template, angles = CircuitTemplate.of(
        circuit, device="MockDevice", layout=sites, route="direct"
    )
    read = CircuitTemplate.from_json(template.to_json())
    assert same(read.circuit(angles), circuit)
    assert (read.device.name, read.layout, read.route) == ("MockDevice", sites, "direct")
    assert SOURCE.file not in template.to_json()


def test_lines_of_other_kernels_are_kept():
    inner = Gate("h", (0,), Source("inner", 3))
    circuit = Circuit("outer", 1, (inner, Gate("x", (0,), Source("outer"))))
    read = CircuitTemplate.from_json(CircuitTemplate.of(circuit)[0].to_json())
    assert [gate.source for gate in read.structure.gates] == [Source("inner", 3), Source("outer")]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_lowered_with_kept_plans_it_is_what_compile_makes(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.3, 2.8, size=(3, 4))
    template, _ = CircuitTemplate.of(ansatz(points[0]))
    template = CircuitTemplate.from_json(template.to_json())
    plans, plans_of_compile = Plans(), Plans()
    for point in points:
        circuit = ansatz(point)
        bound = template.program(angles_of(circuit), plans=plans, cache_dir="off")
        compiled = compile_circuit(circuit, plans=plans_of_compile, cache_dir="off")
        assert bound.to_json() == _without_paths(compiled)
    first = compile_circuit(ansatz(points[0]), cache_dir="off")
    again = template.program(angles_of(ansatz(points[0])), cache_dir="off")
    assert _pulses(again) == _pulses(first)


def _without_paths(program) -> str:
    """The program as JSON, without the paths of the user's files."""
    circuit = CircuitTemplate.from_json(CircuitTemplate.of(program.circuit)[0].to_json()).circuit(
        angles_of(program.circuit)
    )
    return dataclasses.replace(program, circuit=circuit).to_json()


def _pulses(program):
    return [
        (slot.beam, slot.atom, slot.start_ns, slot.pulse.rabi_rad_per_us.tobytes(),
         slot.pulse.detuning_rad_per_us.tobytes(), slot.pulse.phase_rad)
        for slot in program.timeline.slots
    ]  # fmt: skip


def test_the_device_of_the_template_comes_first():
    circuit = ansatz([1.0, 2.0, 3.0, 4.0])
    plain, angles = CircuitTemplate.of(circuit)
    mock, _ = CircuitTemplate.of(circuit, device="MockDevice")
    assert plain.program(angles).rules.name == "DigitalAnalogDevice"
    assert plain.program(angles, device="MockDevice").rules.name == "MockDevice"
    assert mock.program(angles, device="DigitalAnalogDevice").rules.name == "MockDevice"


@pytest.mark.parametrize(
    ("angles", "says"),
    [
        ([1.0, 2.0], r"angles of ansatz: shape \(2,\)\. Give 4 angles"),
        ([1.0, 2.0, np.nan, 4.0], "angle 2 is nan"),
        ([1.0, 2.0, 3.0, -np.inf], "angle 3 is -inf"),
    ],
)
def test_wrong_angles_are_refused(angles, says):
    template, _ = CircuitTemplate.of(ansatz([1.0] * 4))
    with pytest.raises(OptionError, match=says):
        template.circuit(angles)


def test_too_many_qubits_are_refused_by_the_device():
    far = Circuit("far", 1000, (Gate("h", (0,), Source("far", 4)),))
    template, angles = CircuitTemplate.of(far)
    with pytest.raises(DeviceLimitError, match="DigitalAnalogDevice"):
        template.program(angles)


def _edited(**changes) -> str:
    content = json.loads(CircuitTemplate.of(ansatz([1.0] * 4))[0].to_json())
    gate = changes.pop("gate", None)
    if gate is not None:
        content["gates"][0] |= gate
    return json.dumps(content | changes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("[]", "another kind"),
        (_edited(format="cudaq-target program"), "another kind"),
        (_edited(version=2), "version 2 is not known"),
        (_edited(gates=7), "damaged"),
        (_edited(n_qubits=2), "qubit 2 of 2"),
        (_edited(gate={"name": "frob"}), "frob"),
        (_edited(gate={"n_angles": 3}), "ry takes 1 angles"),
        (_edited(gate={"targets": [0, 1]}), r"ry on qubits \(0, 1\)"),
        (_edited(gate={"controls": [0]}), r"ry on qubits \(0, 0\)"),
        (_edited(gate={"pauli": "X"}), "something else"),
        (_edited(gate={"name": "unitary", "n_angles": 0}), "something else"),
        (_edited(gate={"name": "prepare", "n_angles": 0,
                       "amplitudes": {"real": [1.0], "imag": [0.0]}}), "something else"),
        (_edited(device={"name": "no device"}), "device of the template"),
    ],
)  # fmt: skip
def test_texts_that_are_no_template_are_refused(text, says):
    with pytest.raises(OptionError, match=says):
        CircuitTemplate.from_json(text)
