"""What a Pulser device allows to analog programs, as the device object reports it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cudaq_target.device import DeviceRules, pulser_device
from cudaq_target.errors import UnsuitableDeviceError

if TYPE_CHECKING:
    from pulser.channels.base_channel import Channel
    from pulser.register.register_layout import RegisterLayout

DEFAULT_ANALOG_DEVICE = "AnalogDevice"


@dataclass(frozen=True, slots=True)
class DriveRules:
    """Limits of the global Rydberg channel.

    Attributes:
        channel: Pulser's channel id, for example `rydberg_global`.
        max_amplitude_rad_per_us: Largest Rabi frequency (rad/µs); inf where there is none.
        max_detuning_rad_per_us: Largest absolute detuning (rad/µs); inf where there is none.
        min_average_amplitude_rad_per_us: Smallest mean of a pulse that is not zero (rad/µs).
        clock_ns: Durations are multiples of this (ns).
        min_duration_ns: Shortest pulse or delay (ns).
        max_duration_ns: Longest pulse (ns), or None.
        mod_bandwidth_mhz: Modulation bandwidth in Pulser's definition (MHz), or None where pulses
            are played as they are written.
        rise_time_ns: Rise time that goes with it (ns).
        phase_jump_ns: Time without drive that a change of the phase takes (ns).
        has_eom: Square pulses can be played with the faster electro-optic modulator.
    """

    channel: str
    max_amplitude_rad_per_us: float
    max_detuning_rad_per_us: float
    min_average_amplitude_rad_per_us: float
    clock_ns: int
    min_duration_ns: int
    max_duration_ns: int | None
    mod_bandwidth_mhz: float | None
    rise_time_ns: int
    phase_jump_ns: int
    has_eom: bool


@dataclass(frozen=True, slots=True)
class LocalRules:
    """Limits of a detuning map modulator (DMM), whose detunings are zero or negative.

    Attributes:
        channel: Pulser's channel id, for example `dmm_0`.
        bottom_rad_per_us: Lowest detuning of an atom (rad/µs, negative); -inf where there is none.
        total_bottom_rad_per_us: Lowest sum over all atoms (rad/µs, negative); -inf where none.
        min_average_rad_per_us: Smallest mean absolute detuning of an atom, if not zero (rad/µs).
        clock_ns: Durations are multiples of this (ns).
        min_duration_ns: Shortest instruction (ns).
        mod_bandwidth_mhz: Modulation bandwidth (MHz), or None.
    """

    channel: str
    bottom_rad_per_us: float
    total_bottom_rad_per_us: float
    min_average_rad_per_us: float
    clock_ns: int
    min_duration_ns: int
    mod_bandwidth_mhz: float | None


@dataclass(frozen=True, slots=True)
class LayoutRules:
    """What a device wants of trap layouts.

    Attributes:
        required: A register must stand on the traps of a layout.
        accepts_new: Layouts other than the calibrated ones may be used.
        calibrated: The layouts that the device has calibrated.
        min_traps: Smallest number of traps.
        max_traps: Largest number of traps, or None.
        min_filling: Smallest share of filled traps, beyond `min_traps` traps.
        max_filling: Largest share of filled traps.
        optimal_filling: The share that the device likes best, or None.
    """

    required: bool
    accepts_new: bool
    calibrated: tuple[RegisterLayout, ...]
    min_traps: int
    max_traps: int | None
    min_filling: float
    max_filling: float
    optimal_filling: float | None


@dataclass(frozen=True, slots=True)
class AnalogRules:
    """A device that can run analog programs.

    Attributes:
        name: Name of the device.
        pulser_device: The `pulser` device object.
        c6_rad_per_us_um6: Interaction coefficient C6 (rad/µs·µm⁶).
        min_distance_um: Smallest distance between atoms (µm).
        max_radius_um: Largest distance from the centre (µm); inf where there is none.
        max_atoms: Largest number of atoms, or None.
        max_sequence_ns: Longest sequence (ns), or None.
        max_runs: Largest number of shots of one job, or None.
        drive: The global Rydberg channel.
        local: The first detuning map modulator, or None.
        layout: What it wants of trap layouts.
    """

    name: str
    pulser_device: Any
    c6_rad_per_us_um6: float
    min_distance_um: float
    max_radius_um: float
    max_atoms: int | None
    max_sequence_ns: int | None
    max_runs: int | None
    drive: DriveRules
    local: LocalRules | None
    layout: LayoutRules

    @property
    def clock_ns(self) -> int:
        """Every duration is a multiple of this (ns), with or without local detuning."""
        return math.lcm(self.drive.clock_ns, self.local.clock_ns if self.local else 1)

    def blockade_radius_um(self, rabi_rad_per_us: float) -> float:
        """Return the distance at which the interaction is as large as the Rabi frequency (µm)."""
        return float((self.c6_rad_per_us_um6 / rabi_rad_per_us) ** (1.0 / 6.0))


def analog_rules(device: object = DEFAULT_ANALOG_DEVICE) -> AnalogRules:
    """Find a device and read what it allows to analog programs.

    Args:
        device: Name of a bundled Pulser device, path of a device file (Pulser's abstract JSON
            representation), a `pulser` device object, or rules that were read before.

    Returns:
        The rules; every number is read from the device object.

    Raises:
        OptionError: The name or file is unknown, or the object is no Pulser device.
        UnsuitableDeviceError: The device has no global Rydberg channel.

    >>> analog_rules().drive.phase_jump_ns
    170
    """
    if isinstance(device, AnalogRules):
        return device
    found = pulser_device(device.pulser_device if isinstance(device, DeviceRules) else device)
    dmms = list(found.dmm_channels.items())
    radius_um = found.max_radial_distance
    return AnalogRules(
        name=found.name,
        pulser_device=found,
        c6_rad_per_us_um6=float(found.interaction_coeff),
        min_distance_um=float(found.min_atom_distance),
        max_radius_um=math.inf if radius_um is None else float(radius_um),
        max_atoms=found.max_atom_num,
        max_sequence_ns=found.max_sequence_duration,
        max_runs=found.max_runs,
        drive=_drive(found.name, found.channels),
        local=_local(*dmms[0]) if dmms else None,
        layout=LayoutRules(
            required=bool(found.requires_layout),
            # Virtual devices have neither attribute: they are not built, so nothing is calibrated.
            accepts_new=bool(getattr(found, "accepts_new_layouts", True)),
            calibrated=tuple(getattr(found, "pre_calibrated_layouts", ())),
            min_traps=int(found.min_layout_traps),
            max_traps=found.max_layout_traps,
            min_filling=float(found.min_layout_filling),
            max_filling=float(found.max_layout_filling),
            optimal_filling=found.optimal_layout_filling,
        ),
    )


def _drive(device: str, channels: dict[str, Channel]) -> DriveRules:
    fitting = [
        (name, channel)
        for name, channel in channels.items()
        if channel.basis == "ground-rydberg" and channel.addressing == "Global"
    ]
    if not fitting:
        raise UnsuitableDeviceError(
            device=device,
            reason="it has no global Rydberg channel, with which analog programs are driven",
            remedy=f"Use {DEFAULT_ANALOG_DEVICE} or another device with a Rydberg.Global channel",
            purpose="analog programs",
        )
    name, channel = fitting[0]
    return DriveRules(
        channel=name,
        max_amplitude_rad_per_us=_or_inf(channel.max_amp),
        max_detuning_rad_per_us=_or_inf(channel.max_abs_detuning),
        min_average_amplitude_rad_per_us=float(channel.min_avg_amp),
        clock_ns=int(channel.clock_period),
        min_duration_ns=int(channel.min_duration),
        max_duration_ns=channel.max_duration,
        mod_bandwidth_mhz=channel.mod_bandwidth,
        rise_time_ns=int(channel.rise_time),
        phase_jump_ns=int(channel.phase_jump_time),
        has_eom=bool(channel.supports_eom()),
    )


def _local(name: str, channel: Any) -> LocalRules:  # noqa: ANN401 - a class of Pulser's
    return LocalRules(
        channel=name,
        bottom_rad_per_us=-_or_inf(_negated(channel.bottom_detuning)),
        total_bottom_rad_per_us=-_or_inf(_negated(channel.total_bottom_detuning)),
        min_average_rad_per_us=float(channel.min_avg_abs_detuning),
        clock_ns=int(channel.clock_period),
        min_duration_ns=int(channel.min_duration),
        mod_bandwidth_mhz=channel.mod_bandwidth,
    )


def _or_inf(limit: float | None) -> float:
    return math.inf if limit is None else float(limit)


def _negated(limit: float | None) -> float | None:
    return None if limit is None else -limit
