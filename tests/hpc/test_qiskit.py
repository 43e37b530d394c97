"""Analog programs to and from qiskit-pasqal-provider: samples, counts, and what it cannot hold."""

from __future__ import annotations

import sys

import numpy as np
import pulser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("qiskit_pasqal_provider", reason="needs the extra `qiskit`")

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_pasqal_provider.providers.gate import HamiltonianGate, dumps_qpp_openqasm3
from qiskit_pasqal_provider.providers.pulse_utils import InterpolatePoints, gen_seq

from cudaq_target import manifest
from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
from cudaq_target.analog.program import build
from cudaq_target.analog.qiskit_gate import from_circuit, to_circuit
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.errors import OptionError, Source
from cudaq_target.manifest.again import MIN_P_VALUE, same_statistics
from cudaq_target.program import compile_circuit

pytest.importorskip("pulser_simulation", reason="the provider's emulator needs the extra `emu`")
from examples import qiskit_both_ways as example

SITES = [(-20.0, 0.0), (10.0, 0.0), (15.0, 0.0)]
N_SHOTS = 4000


def circuit(**changed):
    fields = {
        "amplitude": InterpolatePoints([0.0, 9.0, 9.0, 0.0], duration=1000),
        "detuning": InterpolatePoints([-9.0, -4.0, 4.0, 9.0], duration=1000),
        "phase": 0.7,
        "coords": SITES,
    }
    made = QuantumCircuit(3, name="asked")
    made.append(HamiltonianGate(**(fields | changed)), made.qubits)
    return made


def samples(sequence):
    drawn = pulser.sampler.sample(sequence).channel_samples["rydberg_global"]
    return tuple(np.array(part.as_array()) for part in (drawn.amp, drawn.det, drawn.phase))


def played(made, device=pulser.AnalogDevice):
    """What the provider plays."""
    return gen_seq(made.data[0].operation.analog_register, device, made)


@settings(max_examples=20)
@given(
    st.lists(st.floats(0.0, 12.0), min_size=2, max_size=6),
    st.lists(st.floats(-60.0, 60.0), min_size=2, max_size=6),
    st.sampled_from(["linear", "step"]),
    st.integers(25, 400),
    st.floats(0.0, 6.2),
)
def test_a_circuit_plays_the_samples_of_the_program(amplitude, detuning, kind, quarters, phase):
    length = 4.0 * quarters

    def waveform(values):
        return Waveform(np.linspace(0.0, length, len(values)), values, kind)

    # Pulser refuses pulses that are too weak to be controlled.
    amplitude[0] = max(amplitude[0], 1.0)
    spec = AnalogSpec.of(SITES, waveform(amplitude), waveform(detuning), phase)
    program = build(spec, "MockDevice")
    made = to_circuit(program)
    theirs = samples(played(made, pulser.MockDevice))
    timeline = program.timeline
    for found, wanted in zip(theirs, (timeline.amplitude, timeline.detuning), strict=False):
        assert np.abs(found - wanted).max() <= 1e-8  # Pulser rounds what it interpolates to 1e-9
    driven = timeline.amplitude > 0.0
    assert np.allclose(theirs[2][driven], timeline.phase[driven])
    back = from_circuit(made, "MockDevice")
    assert np.abs(back.timeline.amplitude - timeline.amplitude).max() <= 1e-8
    assert np.abs(back.timeline.detuning - timeline.detuning).max() <= 1e-8


def test_a_program_of_a_circuit_is_what_the_provider_plays() -> None:
    program = from_circuit(circuit())
    for found, wanted in zip(samples(program.sequence), samples(played(circuit())), strict=True):
        assert np.array_equal(found, wanted)
    timeline = program.timeline
    assert (program.kernel, timeline.n_atoms, timeline.duration_ns) == ("asked", 3, 1000)
    # Units are the same: rad/µs, ns, µm; so is the sign of the phase.
    assert timeline.amplitude.max() == pytest.approx(9.0, abs=1e-3)
    assert timeline.detuning[[0, -1]] == pytest.approx([-9.0, 9.0])
    assert timeline.phase[timeline.amplitude > 0.0] == pytest.approx(0.7)
    distances = np.linalg.norm(np.diff(timeline.atoms_um, axis=0), axis=1)
    assert distances == pytest.approx([30.0, 5.0])


def test_few_points_hold_straight_lines() -> None:
    program = build(AnalogSpec.of(SITES, Waveform([0, 500, 3500, 4000], [0, 9, 9, 0])))
    gate = to_circuit(program).data[0].operation
    assert len(gate.amplitude) == len(gate.detuning) < 20
    assert "HG(" in dumps_qpp_openqasm3(to_circuit(program))


def test_both_emulators_count_the_same_both_ways() -> None:
    found = example.main(N_SHOTS)
    for there, here in found.values():
        assert sum(there.values()) == sum(here.values()) == N_SHOTS
        assert same_statistics(there, here) > MIN_P_VALUE
        # Atom 0 stands alone and is excited; of the pair one is. The order is the same in both.
        assert max(here, key=here.get)[0] == max(there, key=there.get)[0] == "1"


def test_parameters_take_values_by_name_or_themselves() -> None:
    height, phase = Parameter("height"), Parameter("phase")
    free = circuit(amplitude=InterpolatePoints(height, n=4, duration=1000), phase=phase)
    values = [0.0, 9.0, 9.0, 0.0]  # the provider makes a list of one parameter for `n` points
    by_name = from_circuit(free, values={"height": values, "phase": 0.7})
    by_itself = from_circuit(free, values={height: values, phase: 0.7})
    fixed = from_circuit(circuit())
    for program in (by_name, by_itself):
        assert np.array_equal(program.timeline.amplitude, fixed.timeline.amplitude)
        assert program.timeline.phase.max() == pytest.approx(0.7)
    with pytest.raises(OptionError, match=r"parameters without a value: \['phase'\]"):
        from_circuit(free, values={"height": values})
    with pytest.raises(OptionError, match=r"not of this circuit: \['width'\]"):
        from_circuit(circuit(), values={"width": 1.0})


def gates():
    made = QuantumCircuit(2, name="bell")
    made.h(0)
    made.cx(0, 1)
    return made


def on_other_qubits():
    made = QuantumCircuit(3, name="turned")
    made.append(circuit().data[0].operation, [2, 1, 0])
    return made


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (gates(), "it holds h, cx"),
        (QuantumCircuit(2), "it holds nothing"),
        (on_other_qubits(), r"on qubits \[2, 1, 0\]"),
        (circuit(phase=InterpolatePoints([0.0, 1.0], duration=1000)), "its phase varies"),
        (
            circuit(amplitude=InterpolatePoints([0.0, 99.0, 99.0, 0.0], duration=1000)),
            "refused for AnalogDevice",
        ),
        (circuit(coords=[(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)]), "refused for AnalogDevice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_circuits_are_refused(made, reason) -> None:
    with pytest.raises(OptionError, match=reason):
        from_circuit(made)


def analog(device="MockDevice", **changed):
    ramp = Waveform([0, 400, 1000], [0.0, 9.0, 9.0])
    return build(AnalogSpec.of(SITES, ramp, **changed), device)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (lambda: analog(phase=Waveform([0, 500, 1000], [0.0, 1.0, 1.0], "step")), "2 phases"),
        (
            lambda: analog(
                local=LocalDetuning(Waveform([0, 1000], [-5.0, -5.0]), np.array([1.0, 0.0, 0.0]))
            ),
            "no local detuning",
        ),
        (
            lambda: compile_circuit(Circuit("flip", 1, (Gate("x", (0,), Source("flip")),), ())),
            "analog gates alone",
        ),
    ],
)
def test_other_programs_are_refused(program, reason) -> None:
    with pytest.raises(OptionError, match=reason):
        to_circuit(program())


def test_a_manifest_of_a_circuit_repeats_it() -> None:
    _, found = manifest.run(from_circuit(circuit()), 300, machine="local", seed=4)
    again = manifest.rerun(manifest.loads(found.to_json()))
    assert again.agreement == "identical"


def test_without_the_provider_the_remedy_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "qiskit_pasqal_provider.providers.gate", None)
    with pytest.raises(OptionError, match=r"pip install 'cudaq-target\[qiskit\]'"):
        from_circuit(gates())
