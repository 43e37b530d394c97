import dataclasses
import math

import pytest
from pulser.channels import Raman, Rydberg
from pulser.devices import AnalogDevice, DigitalAnalogDevice, MockDevice, VirtualDevice

from cudaq_target.device import interaction_rad_per_us, pulser_device, resolve
from cudaq_target.errors import OptionError, UnsuitableDeviceError


def own_device(**changes):
    channels = {
        "rydberg_global": Rydberg.Global(10.0, 10.0),
        "weak": Rydberg.Local(50.0, 12.0, max_targets=1),
        "strong": Rydberg.Local(60.0, 25.0, max_targets=1, min_retarget_interval=300),
        "hyperfine": Raman.Local(100.0, 31.0, clock_period=2, min_duration=8),
    }
    fields = {
        "name": "Mine",
        "dimensions": 2,
        "rydberg_level": 60,
        "channel_objects": tuple(channels.values()),
        "channel_ids": tuple(channels),
    }
    return VirtualDevice(**(fields | changes))


def test_rules_are_read_from_the_device():
    rules = resolve("DigitalAnalogDevice")
    assert rules.pulser_device is DigitalAnalogDevice
    assert rules.rydberg.channel == "rydberg_local"
    assert rules.raman.channel == "raman_local"
    assert rules.rydberg.max_rabi_rad_per_us == pytest.approx(2 * math.pi * 10)
    assert rules.rydberg.max_detuning_rad_per_us == pytest.approx(2 * math.pi * 20)
    assert (rules.rydberg.clock_ns, rules.rydberg.min_duration_ns) == (4, 16)
    assert (rules.rydberg.min_retarget_ns, rules.rydberg.fixed_retarget_ns) == (220, 0)
    assert (rules.min_distance_um, rules.max_radius_um, rules.max_atoms) == (4, 50, 100)
    assert rules.requires_layout


def test_a_device_without_limits_gets_our_own_caps():
    rules = resolve(MockDevice)
    assert rules.rydberg.max_rabi_rad_per_us == pytest.approx(2 * math.pi * 10)
    assert rules.raman.max_detuning_rad_per_us == pytest.approx(2 * math.pi * 20)
    assert (rules.rydberg.clock_ns, rules.rydberg.min_retarget_ns) == (1, 0)
    assert math.isinf(rules.max_radius_um)
    assert rules.max_sequence_ns is None


def test_the_strongest_local_channels_of_an_own_device_are_used():
    rules = resolve(own_device())
    assert rules.rydberg.channel == "strong"
    assert rules.rydberg.max_rabi_rad_per_us == 25.0
    assert rules.rydberg.min_retarget_ns == 300
    assert rules.raman.channel == "hyperfine"
    assert rules.raman.clock_ns == 2


def test_rules_pass_through_and_the_default_is_the_digital_device():
    rules = resolve()
    assert resolve(rules) is rules
    assert pulser_device(rules) is DigitalAnalogDevice


@pytest.mark.parametrize("device", [DigitalAnalogDevice, own_device()], ids=["device", "virtual"])
def test_a_device_file_gives_the_same_rules(device, tmp_path):
    path = tmp_path / "device.json"
    path.write_text(device.to_abstract_repr())
    expected = resolve(device)
    for given in (path, str(path)):
        found = resolve(given)
        assert dataclasses.replace(found, pulser_device=None) == dataclasses.replace(
            expected, pulser_device=None
        )


def test_an_analog_device_is_refused_with_the_missing_channel():
    with pytest.raises(UnsuitableDeviceError) as caught:
        resolve(AnalogDevice)
    assert str(caught.value) == (
        "AnalogDevice cannot run gate kernels: it has no local Rydberg channel, which entangling "
        "gates need. It runs analog programs only; for gate kernels use "
        "DigitalAnalogDevice, MockDevice or a device of your own with a Rydberg.Local and a "
        "Raman.Local channel"
    )


def test_a_device_without_raman_light_is_refused():
    device = own_device(channel_objects=(Rydberg.Local(50.0, 12.0),), channel_ids=("ryd",))
    with pytest.raises(UnsuitableDeviceError, match="no local Raman channel, which single-qubit"):
        resolve(device)


def test_a_device_that_distorts_pulses_is_refused():
    slow = Rydberg.Local(50.0, 12.0, mod_bandwidth=8.0)
    device = own_device(
        channel_objects=(slow, Raman.Local(50.0, 12.0)), channel_ids=("slow", "raman")
    )
    with pytest.raises(UnsuitableDeviceError, match=r"modulation bandwidth of 8\.0 MHz"):
        resolve(device)


def test_an_unknown_name_names_the_nearest_and_all_known():
    with pytest.raises(OptionError) as caught:
        resolve("DigitalAnalogDevise")
    text = str(caught.value)
    assert text.startswith("device 'DigitalAnalogDevise': no such device. Did you mean Digital")
    assert "Known: AnalogDevice, DigitalAnalogDevice, MockDevice, WeightedAnalogDevice" in text


def test_bad_files_and_objects_are_refused(tmp_path):
    with pytest.raises(OptionError, match="cannot be read"):
        resolve(tmp_path / "missing.json")
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    with pytest.raises(OptionError, match="holds no Pulser device"):
        resolve(wrong)
    with pytest.raises(OptionError, match="int is no device"):
        resolve(7)


@pytest.mark.parametrize(
    ("distance_um", "expected_mhz"), [(4, 210.6), (5, 55.2), (6, 18.5), (8, 3.29), (10, 0.863)]
)
def test_interaction_falls_with_the_sixth_power(distance_um, expected_mhz):
    found = interaction_rad_per_us(resolve(), distance_um) / (2 * math.pi)
    assert found == pytest.approx(expected_mhz, rel=3e-3)
