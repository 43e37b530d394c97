"""Sequences: accepted by Pulser on real devices, with the samples of the timeline bit for bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pulser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulser import sampler

from cudaq_target.analog.lower import lower
from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
from cudaq_target.analog.rules import analog_rules
from cudaq_target.analog.sequence import from_sequence, modulated, to_sequence
from cudaq_target.errors import OptionError, SequenceError
from tests.target.analog_specs import (
    CALIBRATED,
    calibrated_device,
    fresnel_like,
    sweep,
    waveforms,
)

PAIR = [(0.0, 0.0), (6.0, 0.0)]


def pulser_samples(sequence, channel, **options):
    found = sampler.sample(sequence, **options).channel_samples[channel]
    return tuple(np.asarray(part.as_array()) for part in (found.amp, found.det, found.phase))


def check_same(timeline, sequence):
    amplitude, detuning, phase = pulser_samples(sequence, timeline.device.drive.channel)
    assert np.array_equal(amplitude, timeline.amplitude)
    assert np.array_equal(detuning, timeline.detuning)
    assert np.array_equal(phase, timeline.phase)
    if timeline.local is not None:
        local = pulser_samples(sequence, timeline.device.local.channel)[1]
        assert np.array_equal(local, timeline.local.samples)
    assert sequence.get_duration() == timeline.duration_ns
    assert sequence.is_measured()


@pytest.mark.parametrize(
    "device",
    ["AnalogDevice", "MockDevice", "DigitalAnalogDevice", fresnel_like(), calibrated_device()],
    ids=str,
)
def test_a_sweep_on_every_device(device):
    rules = analog_rules(device)
    timeline = lower(sweep(5, 4, duration_ns=999.0), rules)
    sequence = to_sequence(timeline)
    check_same(timeline, sequence)
    # Ramps stay ramps: the abstract representation is no list of samples.
    assert "Ramp" in str(sequence)
    assert len(sequence.to_abstract_repr()) < 40_000


def test_a_device_with_local_detuning_and_a_smallest_amplitude():
    sites = [(6.0 * k, 6.0 * row) for k in range(12) for row in range(6)]
    weights = np.linspace(0.2, 1.0, len(sites))
    spec = AnalogSpec.of(
        sites,
        Waveform([0, 100, 900, 1000], [0, 8, 8, 0]),
        Waveform([0, 1000], [-10, 10]),
        local=LocalDetuning(Waveform([0, 1000], [-50.0, -4.0]), weights),
    )
    timeline = lower(spec, analog_rules(pulser.devices.WeightedAnalogDevice))
    check_same(timeline, to_sequence(timeline))


@settings(max_examples=40, deadline=None)
@given(waveforms(low=0.0, high=12.0), waveforms(), waveforms(low=-3.0, high=3.0), st.booleans())
def test_any_waveforms_bit_for_bit(amplitude, detuning, phase, unlimited):
    if phase.kind == "step":
        phase = Waveform([0, 60, 120, 200], [phase.values[0], 1.0, 2.0, 2.0], "step")
    else:
        phase = Waveform([0, 100, 200], [phase.values[0], 0.5 + phase.values[0], 0.0])
    rules = analog_rules("MockDevice" if unlimited else "DigitalAnalogDevice")
    timeline = lower(AnalogSpec.of(PAIR, amplitude, detuning, phase), rules)
    sequence = to_sequence(timeline)
    check_same(timeline, sequence)
    back = from_sequence(sequence)
    for name in ("amplitude", "detuning", "phase", "atoms_um"):
        assert np.array_equal(getattr(back, name), getattr(timeline, name))
    assert back.duration_ns == timeline.duration_ns
    # Through its own specification the samples are the same up to rounding.
    again = lower(back.spec, rules)
    assert again.amplitude == pytest.approx(timeline.amplitude, abs=1e-9)
    assert again.detuning == pytest.approx(timeline.detuning, abs=1e-9)


def test_phase_steps_with_modulation_and_in_eom_mode():
    amplitude = Waveform([0, 400, 800, 1200], [6.0, 0.0, 6.0, 6.0], "step")
    phase = Waveform([0, 600, 1200], [0.0, 1.0, 1.0], "step")
    for detuning in (0.0, 3.0):
        spec = AnalogSpec.of(PAIR, amplitude, detuning, phase)
        for eom in (False, True):
            timeline = lower(spec, analog_rules("AnalogDevice"), eom=eom)
            check_same(timeline, to_sequence(timeline))
            assert from_sequence(to_sequence(timeline)).eom is eom


def test_no_drive_at_all_in_eom_mode():
    timeline = lower(AnalogSpec.of(PAIR, Waveform.constant(400.0, 0.0)), analog_rules(), eom=True)
    assert to_sequence(timeline).get_duration() == 400


def test_the_modulated_output_is_pulsers():
    timeline = lower(sweep(), analog_rules("AnalogDevice"))
    seen = modulated(timeline)
    assert seen.is_modulated
    assert seen.duration_ns > timeline.duration_ns
    sequence = to_sequence(timeline)
    whole_ns = sequence.get_duration(include_fall_time=True)
    amplitude, detuning, _ = pulser_samples(
        sequence, "rydberg_global", modulation=True, extended_duration=whole_ns
    )
    assert np.array_equal(seen.amplitude, amplitude)
    assert np.array_equal(seen.detuning, detuning)
    # The area of a pulse survives, its edges do not.
    assert seen.amplitude.sum() == pytest.approx(timeline.amplitude.sum(), rel=2e-3)
    assert modulated(seen) is seen
    with pytest.raises(SequenceError, match="what the atoms see and no input"):
        to_sequence(seen)


def test_nothing_is_modulated_without_a_bandwidth():
    timeline = lower(sweep(), analog_rules("MockDevice"))
    assert modulated(timeline) is timeline


def test_the_layout_is_in_the_sequence():
    timeline = lower(sweep(), analog_rules(calibrated_device()))
    assert to_sequence(timeline).register.layout == CALIBRATED


def test_local_weights_come_back():
    spec = AnalogSpec.of(
        [(0, 0), (6, 0), (0, 6)], Waveform.constant(400.0, 2.0),
        local=LocalDetuning(Waveform([0, 400], [-5.0, -50.0]), [0.25, 0.0, 1.0]),
    )  # fmt: skip
    timeline = lower(spec, analog_rules("DigitalAnalogDevice"))
    back = from_sequence(to_sequence(timeline))
    assert back.local.weights.tolist() == [0.25, 0.0, 1.0]
    assert np.array_equal(back.local.samples, timeline.local.samples)


def sequence_with(*channels):
    sequence = pulser.Sequence(pulser.Register.square(2, 6.0, prefix="q"), pulser.MockDevice)
    for name in channels:
        sequence.declare_channel(name, name, initial_target="q0" if "local" in name else None)
    return sequence


def test_sequences_that_are_no_analog_programs():
    parametrised = sequence_with("rydberg_global")
    length = parametrised.declare_variable("length", dtype=int)
    parametrised.add(pulser.Pulse.ConstantPulse(length, 1.0, 0.0, 0.0), "rydberg_global")
    with pytest.raises(OptionError, match="variables that are not set"):
        from_sequence(parametrised)
    for channels in (("rydberg_local",), ("rydberg_global", "raman_local"), ("raman_global",), ()):
        with pytest.raises(OptionError, match="one global Rydberg channel"):
            from_sequence(sequence_with(*channels))
    with pytest.raises(OptionError, match="plays nothing"):
        from_sequence(sequence_with("rydberg_global"))
    masked = sequence_with("rydberg_global")
    masked.config_slm_mask(["q0"], "dmm_0")
    masked.add(pulser.Pulse.ConstantPulse(100, 1.0, 0.0, 0.0), "rydberg_global")
    with pytest.raises(OptionError, match="SLM mask"):
        from_sequence(masked)


def test_a_refusal_of_pulsers_is_an_error_of_ours():
    timeline = lower(sweep(), analog_rules("AnalogDevice"))
    broken = dataclasses.replace(timeline, amplitude=timeline.amplitude * 10.0)
    with pytest.raises(SequenceError, match="Pulser refuses it"):
        to_sequence(broken)
