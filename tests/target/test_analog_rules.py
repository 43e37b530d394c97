"""Rules come from the device object; every limit is checked, with the nearest valid value."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pulser
import pytest
from pulser.channels import Raman

from cudaq_target.analog.lower import lower
from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
from cudaq_target.analog.rules import analog_rules
from cudaq_target.device import resolve
from cudaq_target.errors import AnalogLimitError, DeviceLimitError, UnsuitableDeviceError
from tests.target.analog_specs import TWO_PI, fresnel_like, sweep

PAIR = [(0.0, 0.0), (6.0, 0.0)]
ANALOG = analog_rules("AnalogDevice")


def refused(spec, device, words, **options):
    with pytest.raises(AnalogLimitError, match=words) as caught:
        lower(spec, analog_rules(device), **options)
    return caught.value


def test_numbers_are_those_of_the_device():
    rules, device = ANALOG, pulser.AnalogDevice
    channel = device.channels["rydberg_global"]
    assert rules.c6_rad_per_us_um6 == device.interaction_coeff
    assert rules.drive.max_amplitude_rad_per_us == channel.max_amp
    assert rules.drive.max_detuning_rad_per_us == channel.max_abs_detuning
    assert (rules.drive.clock_ns, rules.drive.min_duration_ns) == (4, 16)
    assert rules.drive.mod_bandwidth_mhz == 8
    assert (rules.drive.rise_time_ns, rules.drive.phase_jump_ns) == (85, 170)
    assert rules.drive.has_eom
    assert rules.local is None
    assert rules.layout.required
    assert rules.layout.calibrated == tuple(device.pre_calibrated_layouts)
    assert rules.max_runs == 2000
    assert rules.blockade_radius_um(6.0) == pytest.approx(device.rydberg_blockade_radius(6.0))


def test_devices_without_limits():
    rules = analog_rules("MockDevice")
    assert math.isinf(rules.drive.max_amplitude_rad_per_us)
    assert math.isinf(rules.max_radius_um)
    assert math.isinf(rules.local.bottom_rad_per_us)
    assert rules.max_atoms is None
    assert rules.clock_ns == 1


def test_local_rules():
    rules = analog_rules(pulser.devices.WeightedAnalogDevice)
    assert rules.local.channel == "dmm_0"
    assert rules.local.bottom_rad_per_us == pytest.approx(-TWO_PI * 10)
    assert rules.local.total_bottom_rad_per_us == pytest.approx(-TWO_PI * 1000)
    assert rules.local.min_average_rad_per_us == pytest.approx(TWO_PI * 0.1)


def test_rules_and_rules_for_gates_are_taken_as_devices():
    assert analog_rules(ANALOG) is ANALOG
    assert analog_rules(resolve("DigitalAnalogDevice")).name == "DigitalAnalogDevice"


def test_devices_without_a_global_rydberg_channel():
    device = pulser.devices.VirtualDevice(
        name="Raman", dimensions=2, rydberg_level=60, channel_ids=("raman",),
        channel_objects=(Raman.Global(None, None),),
    )  # fmt: skip
    with pytest.raises(UnsuitableDeviceError, match="Raman cannot run analog programs: it has no"):
        analog_rules(device)


def test_too_much_drive():
    spec = AnalogSpec.of(PAIR, Waveform([0, 400, 1000], [0, 15, 0]))
    error = refused(
        spec, "AnalogDevice", r"amplitude of .*2\.38\d MHz\) at (399|400) ns.*at most 12.56"
    )
    assert error.nearest == ANALOG.drive.max_amplitude_rad_per_us
    assert error.time_ns in (399.0, 400.0)
    assert "Nearest valid value: 12.5663706 rad/µs" in str(error)


def test_rounding_of_the_last_digits_is_no_excess():
    limit = ANALOG.drive.max_amplitude_rad_per_us
    over = np.nextafter(limit, 100.0) * (1.0 + 1e-12)
    timeline = lower(AnalogSpec.of(PAIR, Waveform.constant(100.0, over)), ANALOG)
    assert timeline.amplitude.max() == limit


def test_too_much_detuning():
    spec = AnalogSpec.of(PAIR, Waveform.constant(500.0, 1.0), Waveform([0, 500], [-150.0, 0.0]))
    error = refused(spec, "AnalogDevice", "absolute detuning of 149.* at 0 ns")
    assert (error.time_ns, error.nearest) == (0.0, ANALOG.drive.max_detuning_rad_per_us)


def test_the_slope_of_the_phase_counts_as_detuning():
    spec = AnalogSpec.of(PAIR, Waveform.constant(400.0, 1.0), 0.0, Waveform([0, 400], [0.0, 60.0]))
    refused(spec, "AnalogDevice", "absolute detuning of 150 .* the slope of the phase included")


def test_too_long():
    error = refused(sweep(duration_ns=6001.0), "AnalogDevice", "waveforms of 6001 ns.*6000 ns")
    assert error.nearest == 6000.0
    assert "Use 6000 ns or less" in str(error)


def test_short_and_unclocked_durations_are_padded():
    for wanted_ns, found_ns in ((10.0, 16), (17.0, 20), (999.5, 1000), (1000.0000000001, 1000)):
        timeline = lower(sweep(duration_ns=wanted_ns), ANALOG)
        assert timeline.duration_ns == found_ns == len(timeline.amplitude)
        assert timeline.error.padding_ns == pytest.approx(found_ns - wanted_ns, abs=1e-6)


def test_mean_amplitude():
    spec = AnalogSpec.of(
        [(6.0 * k, 0.0) for k in range(10)], Waveform([0, 50, 100, 1000], [0, 5.0, 0, 0])
    )
    error = refused(
        spec, fresnel_like(), r"pulse from 0 to 1000 ns with a mean amplitude of .*0\.03979 MHz"
    )
    assert error.nearest == pytest.approx(TWO_PI * 0.09)
    factor = error.nearest / error.value
    assert f"Multiply the amplitude by {2.262:g}" in str(error)
    louder = dataclasses.replace(
        spec, amplitude=spec.amplitude.scaled(math.ceil(factor * 1e3) / 1e3)
    )
    lower(louder, analog_rules(fresnel_like()))
    # No drive at all is no pulse.
    lower(
        dataclasses.replace(spec, amplitude=spec.amplitude.scaled(0.0)),
        analog_rules(fresnel_like()),
    )


def local_spec(waveform, weights, sites=PAIR):
    return AnalogSpec.of(
        sites, Waveform.constant(400.0, 2.0), local=LocalDetuning(waveform, np.array(weights))
    )


def test_local_detuning_needs_a_modulator():
    spec = local_spec(Waveform.constant(400.0, -5.0), [1.0, 0.5])
    refused(spec, "AnalogDevice", "no detuning map modulator.*DigitalAnalogDevice or MockDevice")


def test_local_detuning_too_deep():
    spec = local_spec(Waveform([0, 100, 400], [-5.0, -130.0, 0.0]), [0.4, 1.0])
    error = refused(spec, "DigitalAnalogDevice", "local detuning of atom 1 at 99 ns|at 100 ns")
    assert error.atoms == (1,)
    assert error.nearest == pytest.approx(-TWO_PI * 20)
    assert "at -125.664 rad/µs" in str(error)


def test_local_detuning_too_deep_in_total():
    device = dataclasses.replace(
        pulser.DigitalAnalogDevice,
        dmm_objects=(
            dataclasses.replace(
                pulser.DigitalAnalogDevice.dmm_channels["dmm_0"],
                total_bottom_detuning=-TWO_PI * 25,
            ),
        ),
    )
    spec = local_spec(Waveform.constant(400.0, -100.0), [1.0, 1.0])
    error = refused(spec, device, "local detuning summed over all atoms")
    assert error.nearest == pytest.approx(-TWO_PI * 25)
    assert "Keep the waveform at -78.5398" in str(error)


def test_local_detuning_too_weak():
    sites = [(6.0 * k, 6.0 * row) for k in range(12) for row in range(6)]
    weak = Waveform.constant(400.0, -1.0)
    error = refused(
        local_spec(weak, [1.0] * 71 + [0.5], sites),
        pulser.devices.WeightedAnalogDevice,
        "mean of 0.5 rad/µs",
    )
    assert error.atoms == (71,)
    assert "Multiply it by 1.257" in str(error)


def test_local_detuning_of_two_signs():
    spec = local_spec(Waveform([0, 400], [-5.0, 5.0]), [1.0, 0.5])
    refused(spec, "DigitalAnalogDevice", "one sign")


@pytest.mark.parametrize("value", [-5.0, 5.0])
def test_local_detuning_of_the_same_weight_everywhere(value):
    weights = [1.0, 1.0] if value > 0 else [0.0, 0.0]
    timeline = lower(
        local_spec(Waveform.constant(400.0, value), weights), analog_rules("MockDevice")
    )
    assert timeline.local is None
    assert timeline.detuning == pytest.approx(max(value, 0.0))
    assert timeline.frame_rad([100.0, 400.0]) == pytest.approx([0.0, 0.0], abs=1e-12)


def test_phase_steps_go_to_the_clock():
    spec = AnalogSpec.of(
        PAIR, Waveform.constant(400.0, 2.0), 0.0, Waveform([0, 101, 400], [0.0, 1.0, 1.0], "step")
    )
    timeline = lower(spec, analog_rules("DigitalAnalogDevice"))
    assert [(span.start_ns, span.end_ns) for span in timeline.spans] == [(0, 100), (100, 400)]
    assert timeline.error.phase_step_ns == 1.0


@pytest.mark.parametrize(
    "times", [[0, 8, 400], [0, 396, 400], [0, 100, 101, 400], [0, 100, 108, 400]]
)
def test_phase_steps_too_close(times):
    values = [0.0, 1.0, 2.0, 2.0][: len(times)]
    spec = AnalogSpec.of(PAIR, Waveform.constant(400.0, 2.0), 0.0, Waveform(times, values, "step"))
    error = refused(spec, "DigitalAnalogDevice", "pulses of one phase of at least 16 ns")
    assert error.nearest == 16.0


def test_equal_phases_are_no_steps():
    values = [0.5, 0.5, 0.5 + 2.0 * math.pi, 3.0]
    spec = AnalogSpec.of(
        PAIR, Waveform.constant(400.0, 2.0), 0.0, Waveform([0, 100, 200, 400], values, "step")
    )
    spans = lower(spec, analog_rules("DigitalAnalogDevice")).spans
    # The last of them is rounded differently, but is the same angle to the last digits.
    assert len(spans) == 1


def pause(from_ns, to_ns, detuning=3.0):
    amplitude = Waveform([0, from_ns, to_ns, 1200], [6.0, 0.0, 6.0, 6.0], "step")
    phase = Waveform([0, from_ns, 1200], [0.0, 1.0, 1.0], "step")
    return AnalogSpec.of(PAIR, amplitude, detuning, phase)


def test_a_phase_step_takes_time_where_pulses_are_modulated():
    error = refused(pause(400, 700), ANALOG, "phase step at 400 ns with 300 ns without drive")
    assert error.nearest == 340.0
    assert "Keep the amplitude at 0 from 400 to 740 ns" in str(error)
    spans = lower(pause(400, 740), ANALOG).spans
    assert [span.phase_rad for span in spans] == [0.0, None, 1.0]


def test_the_detuning_is_held_during_a_phase_step():
    refused(pause(400, 800, Waveform([0, 1200], [0.0, 9.0])), ANALOG, "a constant detuning there")


def test_phase_steps_without_drive_on_one_side_need_no_time():
    amplitude = Waveform([0, 400, 1200], [0.0, 6.0, 6.0], "step")
    phase = Waveform([0, 200, 1200], [0.0, 1.0, 1.0], "step")
    (span,) = lower(AnalogSpec.of(PAIR, amplitude, 0.0, phase), ANALOG).spans
    assert span.phase_rad == 1.0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (AnalogSpec.of(PAIR, Waveform([0, 400], [1.0, 6.0])), "one amplitude in all pulses"),
        (
            AnalogSpec.of(PAIR, Waveform.constant(400.0, 6.0), Waveform([0, 400], [0.0, 1.0])),
            "one detuning in all pulses",
        ),
        (
            AnalogSpec.of(PAIR, Waveform([0, 101, 401], [6.0, 0.0, 0.0], "step")),
            "edges at multiples of 4 ns",
        ),
        (pause(400, 480), "after the time that a change of phase takes"),
    ],
)
def test_what_the_eom_cannot_play(spec, words):
    refused(spec, ANALOG, words, eom=True)


def test_devices_without_eom():
    refused(sweep(), "DigitalAnalogDevice", "no electro-optic modulator", eom=True)


def test_limits_of_the_device_are_errors_of_one_family():
    assert issubclass(AnalogLimitError, DeviceLimitError)
