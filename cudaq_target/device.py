"""What a Pulser device allows, reduced to the numbers that lowering needs."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from cudaq_target.errors import OptionError, UnsuitableDeviceError
from cudaq_target.units import rad_per_us_from_mhz

if TYPE_CHECKING:
    from pulser.devices import Device, VirtualDevice
    from pulser.register.register_layout import RegisterLayout

    PulserDevice: TypeAlias = Device | VirtualDevice

DEFAULT_DEVICE = "DigitalAnalogDevice"

# Used only where a device sets no limit of its own (MockDevice): the values of DigitalAnalogDevice,
# so that pulses on an unlimited device stay comparable with those on a limited one.
OWN_RABI_CAP_MHZ = 10.0
OWN_DETUNING_CAP_MHZ = 20.0
NO_LIMIT_NS = 1 << 40
_NO_LIMIT_ATOMS = 1 << 30


@dataclass(frozen=True, slots=True)
class BeamRules:
    """Limits of one local channel.

    Attributes:
        channel: Pulser's channel id, for example `rydberg_local`.
        max_rabi_rad_per_us: Largest Rabi frequency that we use (rad/µs): the channel's limit, or
            our own `OWN_RABI_CAP_MHZ` where the channel has none. Always finite.
        max_detuning_rad_per_us: Largest absolute detuning that we use (rad/µs): the channel's
            limit, or our own `OWN_DETUNING_CAP_MHZ` where it has none. Always finite.
        clock_ns: Pulse durations are multiples of this (ns).
        min_duration_ns: Shortest pulse or delay (ns).
        max_duration_ns: Longest pulse (ns).
        min_retarget_ns: Shortest time between two target instructions (ns).
        fixed_retarget_ns: Time that each target instruction takes (ns).
        min_average_rabi_rad_per_us: Smallest mean Rabi frequency of a pulse (rad/µs).
    """

    channel: str
    max_rabi_rad_per_us: float
    max_detuning_rad_per_us: float
    clock_ns: int
    min_duration_ns: int
    max_duration_ns: int
    min_retarget_ns: int
    fixed_retarget_ns: int
    min_average_rabi_rad_per_us: float = 0.0


@dataclass(frozen=True, slots=True)
class DeviceRules:
    """A device that can run gate kernels.

    The rules of trap layouts are left to Pulser, which makes and checks them (`sequence.register`).
    A device's `max_runs` does not appear: it limits the shots of a job on hardware, and gate
    kernels run on emulators, which have no such limit.

    Attributes:
        name: Name of the device.
        pulser_device: The `pulser` device object.
        c6_rad_per_us_um6: Interaction coefficient C6 (rad/µs·µm⁶).
        min_distance_um: Smallest distance between atoms (µm).
        max_radius_um: Largest distance from the centre (µm); inf where there is none.
        max_atoms: Largest number of atoms; a large number where there is none.
        max_sequence_ns: Longest sequence (ns), or None.
        requires_layout: A trap layout must be given with the register.
        rydberg: The local Rydberg channel.
        raman: The local Raman channel.
        calibrated_layouts: The only `pulser` trap layouts that the device accepts, or None where
            it accepts new ones.
    """

    name: str
    pulser_device: Any
    c6_rad_per_us_um6: float
    min_distance_um: float
    max_radius_um: float
    max_atoms: int
    max_sequence_ns: int | None
    requires_layout: bool
    rydberg: BeamRules
    raman: BeamRules
    calibrated_layouts: tuple[RegisterLayout, ...] | None = None


def resolve(device: object = DEFAULT_DEVICE) -> DeviceRules:
    """Find a device and read its rules.

    Args:
        device: Name of a bundled Pulser device, path of a device file (Pulser's abstract JSON
            representation), a `pulser` device object, or rules that were read before.

    Returns:
        The device's rules; every number is read from the device object.

    Raises:
        OptionError: The name or file is unknown, or the object is no Pulser device.
        UnsuitableDeviceError: The device lacks a channel that gate kernels need.

    >>> resolve("DigitalAnalogDevice").rydberg.min_retarget_ns
    220
    """
    return device if isinstance(device, DeviceRules) else rules(pulser_device(device))


def pulser_device(device: object) -> PulserDevice:
    """Return the Pulser device object behind a name, a device file or a device object.

    Raises:
        OptionError: The name or file is unknown, or the object is no Pulser device.
    """
    from pulser.devices import Device, VirtualDevice  # noqa: PLC0415

    if isinstance(device, Device | VirtualDevice):
        return device
    if isinstance(device, DeviceRules):
        return device.pulser_device
    if isinstance(device, Path):
        return _from_file(device)
    if not isinstance(device, str):
        raise OptionError(
            option="device",
            reason=f"{type(device).__name__} is no device",
            remedy="Give a device name, the path of a device file or a pulser device object",
        )
    bundled = bundled_devices()
    if device in bundled:
        return bundled[device]
    if device.endswith(".json") or Path(device).is_file():
        return _from_file(Path(device))
    return _refuse_name(device, sorted(bundled))


def device_from_json(text: str, name: str = "device") -> PulserDevice:
    """Read a device from Pulser's abstract JSON representation.

    Args:
        text: JSON.
        name: What to call it in an error.

    Raises:
        OptionError: The text holds no Pulser device.
    """
    from pulser.json.abstract_repr.deserializer import deserialize_device  # noqa: PLC0415

    try:
        return deserialize_device(text)
    except Exception as error:  # whatever Pulser's schema and constructors raise
        raise OptionError(
            option=name,
            reason=f"it holds no Pulser device ({type(error).__name__})",
            remedy="Give JSON as written by Device.to_abstract_repr()",
        ) from error


def bundled_devices() -> dict[str, PulserDevice]:
    """Return the devices that come with the installed Pulser, by name."""
    import pulser.devices  # noqa: PLC0415

    candidates = (getattr(pulser.devices, name) for name in pulser.devices.__all__)
    kinds = (pulser.devices.Device, pulser.devices.VirtualDevice)
    return {device.name: device for device in candidates if isinstance(device, kinds)}


def rules(device: PulserDevice) -> DeviceRules:
    """Read the rules of a Pulser device object.

    Args:
        device: A `pulser.devices.Device` or `VirtualDevice`.

    Returns:
        Its limits; where it sets none for Rabi frequency or detuning, our own caps.

    Raises:
        UnsuitableDeviceError: It has no local Rydberg or no local Raman channel, or one that
            distorts pulses.
    """
    rydberg = _beam(device, "ground-rydberg", "Rydberg", "entangling gates")
    raman = _beam(device, "digital", "Raman", "single-qubit gates")
    radius_um = device.max_radial_distance
    return DeviceRules(
        name=device.name,
        pulser_device=device,
        c6_rad_per_us_um6=float(device.interaction_coeff),
        min_distance_um=float(device.min_atom_distance),
        max_radius_um=float("inf") if radius_um is None else float(radius_um),
        max_atoms=device.max_atom_num or _NO_LIMIT_ATOMS,
        max_sequence_ns=device.max_sequence_duration,
        requires_layout=bool(device.requires_layout),
        rydberg=rydberg,
        raman=raman,
        # Virtual devices have neither attribute: they are not built, so nothing is calibrated.
        calibrated_layouts=(
            None
            if getattr(device, "accepts_new_layouts", True)
            else tuple(device.calibrated_register_layouts.values())
        ),
    )


def runs_gates(device: PulserDevice) -> bool:
    """Return whether a device has what gate kernels need; see `rules`."""
    try:
        rules(device)
    except UnsuitableDeviceError:
        return False
    return True


def interaction_rad_per_us(device_rules: DeviceRules, distance_um: float) -> float:
    """Return the pair interaction V = C6/R⁶ of two Rydberg atoms.

    Args:
        device_rules: The device, whose C6 is used.
        distance_um: Distance R of the atoms (µm).

    Returns:
        V (rad/µs).

    >>> round(interaction_rad_per_us(resolve("DigitalAnalogDevice"), 5.0), 2)
    346.89
    """
    return float(device_rules.c6_rad_per_us_um6 / distance_um**6)


def _beam(device: PulserDevice, basis: str, kind: str, purpose: str) -> BeamRules:
    local = {
        name: channel
        for name, channel in device.channels.items()
        if channel.basis == basis and channel.addressing == "Local"
    }
    if not local:
        raise UnsuitableDeviceError(
            device=device.name,
            reason=f"it has no local {kind} channel, which {purpose} need",
            remedy=(
                f"It runs analog programs only; for gate kernels use {DEFAULT_DEVICE}, "
                "MockDevice or a device of your own with a Rydberg.Local and a Raman.Local channel"
            ),
        )
    # The strongest beam makes the shortest gates; `max` keeps the first of equals.
    name, channel = max(local.items(), key=lambda item: item[1].max_amp or float("inf"))
    if channel.mod_bandwidth is not None:
        raise UnsuitableDeviceError(
            device=device.name,
            reason=(
                f"channel {name} has a modulation bandwidth of {channel.mod_bandwidth} MHz, "
                "which distorts the exact square-edged gate pulses"
            ),
            remedy="Use a device whose local channels set no mod_bandwidth",
        )
    max_rabi = channel.max_amp or rad_per_us_from_mhz(OWN_RABI_CAP_MHZ)
    max_detuning = channel.max_abs_detuning or rad_per_us_from_mhz(OWN_DETUNING_CAP_MHZ)
    return BeamRules(
        channel=name,
        max_rabi_rad_per_us=float(max_rabi),
        max_detuning_rad_per_us=float(max_detuning),
        clock_ns=int(channel.clock_period),
        min_duration_ns=int(channel.min_duration),
        max_duration_ns=int(channel.max_duration or NO_LIMIT_NS),
        min_retarget_ns=int(channel.min_retarget_interval or 0),
        fixed_retarget_ns=int(channel.fixed_retarget_t or 0),
        min_average_rabi_rad_per_us=float(channel.min_avg_amp),
    )


def _from_file(path: Path) -> PulserDevice:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            option=f"device {str(path)!r}",
            reason=f"the file cannot be read ({getattr(error, 'strerror', error)})",
            remedy="Give a readable device file, as written by Device.to_abstract_repr()",
        ) from error
    return device_from_json(text, f"device {str(path)!r}")


def _refuse_name(name: str, known: list[str]) -> NoReturn:
    lowered = {entry.lower(): entry for entry in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    hint = f"Did you mean {lowered[near[0]]}? " if near else ""
    raise OptionError(
        option=f"device {name!r}",
        reason="no such device",
        remedy=f"{hint}Known: {', '.join(known)}; or give a device file or a pulser device object",
    )
