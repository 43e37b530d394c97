"""Signs of phase and detuning, bit order, and what the played samples do, against exact results."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.analog import ahs
from cudaq_target.analog.lower import lower
from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
from cudaq_target.analog.program import build
from cudaq_target.analog.rules import analog_rules
from tests.target import analog_oracle as oracle

ONE = [(0.0, 0.0)]
OMEGA = 2.0 * math.pi  # 1 MHz: a π/2 pulse takes 250 ns
MOCK = "MockDevice"

pytestmark = pytest.mark.filterwarnings("ignore:QutipEmulator is deprecated")


def ramsey(phase, delta, gap_ns=100.0):
    """Two π/2 pulses, the second with another phase, all at one detuning."""
    end = 500.0 + gap_ns
    amplitude = Waveform([0, 250, 250 + gap_ns, end], [OMEGA, 0, OMEGA, OMEGA], "step", "amplitude")
    step = Waveform([0, 250 + gap_ns, end], [0.0, phase, phase], "step", "phase")
    return AnalogSpec.of(ONE, amplitude, delta, step)


def ramsey_closed(drive, phase, delta, gap_us=0.1):
    state = oracle.evolve(
        [
            (drive(OMEGA, delta, 0.0), 0.25),
            (drive(0.0, delta, 0.0), gap_us),
            (drive(OMEGA, delta, phase), 0.25),
        ]
    )
    return np.abs(state) ** 2


@pytest.mark.parametrize("phase", [1.1, -1.1])
@pytest.mark.parametrize("delta", [2.5, -2.5])
def test_a_phase_jump_with_detuning_is_that_of_the_model(phase, delta):
    program = build(ramsey(phase, delta), MOCK)
    wanted = ramsey_closed(oracle.model, phase, delta)
    assert np.abs(oracle.played(program.timeline)) ** 2 == pytest.approx(wanted, abs=1e-10)
    # The spline of pulser-simulation rounds the square edges.
    assert oracle.by_pulser(program.sequence) == pytest.approx(wanted, abs=5e-3)
    other = ramsey_closed(oracle.model, -phase, delta)
    assert abs(other[1] - wanted[1]) > 0.1, "the sign must matter for this to be a proof"


@pytest.mark.parametrize("phase", [1.1, -1.1])
@pytest.mark.parametrize("delta", [2.5, -2.5])
def test_the_phase_of_the_schema_counts_the_other_way(phase, delta):
    series = {"amplitude": [OMEGA * 1e6] * 4, "detuning": [delta * 1e6] * 4}
    times = ["0", "0.00000025", "0.0000002501", "0.0000005"]
    field = {
        name: {"pattern": "uniform", "time_series": {"times": times, "values": values}}
        for name, values in series.items()
    }
    field["phase"] = {
        "pattern": "uniform",
        "time_series": {"times": ["0", "0.00000025", "0.0000005"], "values": [0, phase, phase]},
    }
    text = json.dumps(
        {
            "setup": {"ahs_register": {"sites": [["0", "0"]], "filling": [1]}},
            "hamiltonian": {"drivingFields": [field], "localDetuning": []},
        }
    )
    program = build(ahs.loads(text), MOCK)
    wanted = ramsey_closed(oracle.schema, phase, delta, gap_us=0.0)
    assert np.abs(oracle.played(program.timeline)) ** 2 == pytest.approx(wanted, abs=1e-9)
    assert oracle.by_pulser(program.sequence) == pytest.approx(wanted, abs=5e-3)
    assert abs(ramsey_closed(oracle.model, phase, delta, gap_us=0.0)[1] - wanted[1]) > 0.1


def test_values_in_si_units_carry_the_phase_of_the_schema():
    times = np.array([0.0, 0.25e-6, 0.5e-6])
    spec = ahs.spec_from_si(
        [(0.0, 0.0)], times, [OMEGA * 1e6] * 3, [2.5e6] * 3, [0.0, 1.1, 1.1], name="si"
    )
    assert spec.amplitude.values == pytest.approx([OMEGA] * 3, rel=1e-14)
    wanted = ramsey_closed(oracle.schema, 1.1, 2.5, gap_us=0.0)
    timeline = lower(spec, analog_rules(MOCK))
    assert np.abs(oracle.played(timeline)) ** 2 == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("delta", [0.0, 3.0])
def test_rabi_oscillations(delta):
    program = build(AnalogSpec.of(ONE, Waveform.constant(400, OMEGA), delta), MOCK)
    w = math.hypot(OMEGA, delta)
    wanted = (OMEGA / w * math.sin(0.2 * w)) ** 2
    assert np.abs(oracle.played(program.timeline)[1]) ** 2 == pytest.approx(wanted, abs=1e-12)


def test_atom_0_is_the_leftmost_bit():
    # Atoms 1 and 2 block each other, atom 0 is alone.
    sites = [(-30.0, 0.0), (5.0, 0.0), (10.0, 0.0)]
    program = build(AnalogSpec.of(sites, Waveform.constant(500, OMEGA)), "AnalogDevice")
    found = oracle.by_pulser(program.sequence)
    assert found[0b100] + found[0b101] + found[0b110] > 0.99
    assert np.abs(oracle.played(program.timeline)) ** 2 == pytest.approx(found, abs=5e-3)


def test_a_smooth_phase_is_played_as_a_detuning():
    spec = AnalogSpec.of(
        [(0, 0), (7, 0)],
        Waveform([0, 200, 400], [1.0, 9.0, 2.0]),
        Waveform([0, 400], [-4.0, 6.0]),
        Waveform([0, 150, 400], [0.3, 1.7, -0.4]),
    )
    timeline = lower(spec, analog_rules("AnalogDevice"))
    wanted = oracle.asked(spec, timeline.device.c6_rad_per_us_um6, 1)
    angle = float(timeline.frame_rad(400.0))
    assert angle == pytest.approx(-0.7, abs=1e-12)
    assert timeline.frame_rad([0.0, 150.0]) == pytest.approx([0.0, 1.4], abs=1e-12)
    assert oracle.framed(oracle.played(timeline), angle) == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_local_detuning_of_either_sign(sign):
    spec = AnalogSpec.of(
        [(0, 0), (9, 0)],
        Waveform.constant(200, 6.0),
        2.0,
        local=LocalDetuning(Waveform([0, 200], [2.0 * sign, 20.0 * sign]), [1.0, 0.3]),
    )
    program = build(spec, "DigitalAnalogDevice")
    local = program.timeline.local
    assert (local.samples <= 0.0).all()
    wanted = oracle.asked(spec, program.rules.c6_rad_per_us_um6, 1)
    angle = float(program.timeline.frame_rad(200.0))
    assert angle == pytest.approx(0.0, abs=1e-12)
    assert oracle.played(program.timeline) == pytest.approx(wanted, abs=1e-9)
    assert oracle.by_pulser(program.sequence) == pytest.approx(np.abs(wanted) ** 2, abs=5e-3)


def test_the_off_detuning_of_the_eom_is_taken_off_later_pulses():
    amplitude = Waveform([0, 200, 600, 800], [6.0, 0.0, 6.0, 6.0], "step")
    phase = Waveform([0, 500, 800], [0.2, 1.5, 1.5], "step")
    spec = AnalogSpec.of([(0, 0), (7, 0)], amplitude, 3.0, phase)
    program = build(spec, "AnalogDevice", eom=True)
    still = program.timeline.detuning[300]
    assert still != pytest.approx(3.0, abs=0.1), "the modulator has another detuning while off"
    wanted = oracle.asked(spec, program.rules.c6_rad_per_us_um6, 1)
    angle = float(program.timeline.frame_rad(800.0))
    found = oracle.framed(oracle.played(program.timeline), angle)
    assert found == pytest.approx(wanted, abs=1e-9)
    assert oracle.by_pulser(program.sequence) == pytest.approx(np.abs(wanted) ** 2, abs=1e-2)


@settings(max_examples=15, deadline=None)
@given(
    omega=st.floats(0.0, 12.0),
    delta=st.floats(-20.0, 20.0),
    slope=st.floats(-10.0, 10.0),
    padded=st.integers(0, 3),
)
def test_padding_and_smooth_phases_leave_probabilities(omega, delta, slope, padded):
    end = 60.0 - padded
    spec = AnalogSpec.of(
        ONE, Waveform.constant(end, omega), delta, Waveform([0, end], [0.0, 1e-3 * slope * end])
    )
    timeline = lower(spec, analog_rules("AnalogDevice"))
    assert timeline.duration_ns == 60
    assert timeline.error.padding_ns == padded
    exact = oracle.evolve([(oracle.model(omega, delta - slope, 0.0), 1e-3 * end)])
    assert np.abs(oracle.played(timeline)) ** 2 == pytest.approx(np.abs(exact) ** 2, abs=1e-10)
