"""What a Pulser device allows, reduced to the numbers that lowering needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class BeamRules:
    """Limits of one local channel.

    Attributes:
        channel: Pulser's channel id, for example `rydberg_local`.
        max_rabi_rad_per_us: Largest Rabi frequency (rad/µs); inf where the device has none.
        max_detuning_rad_per_us: Largest absolute detuning (rad/µs); inf where there is none.
        clock_ns: Pulse durations are multiples of this (ns).
        min_duration_ns: Shortest pulse or delay (ns).
        max_duration_ns: Longest pulse (ns).
        min_retarget_ns: Shortest time between two target instructions (ns).
        fixed_retarget_ns: Time that each target instruction takes (ns).
    """

    channel: str
    max_rabi_rad_per_us: float
    max_detuning_rad_per_us: float
    clock_ns: int
    min_duration_ns: int
    max_duration_ns: int
    min_retarget_ns: int
    fixed_retarget_ns: int


@dataclass(frozen=True, slots=True)
class DeviceRules:
    """A device that can run gate kernels.

    Attributes:
        name: Name of the device.
        pulser_device: The `pulser` device object.
        c6_rad_per_us_um6: Interaction coefficient C6 (rad/µs·µm⁶).
        min_distance_um: Smallest distance between atoms (µm).
        max_radius_um: Largest distance from the centre (µm); inf where there is none.
        max_atoms: Largest number of atoms; a large number where there is none.
        max_sequence_ns: Longest sequence (ns), or None.
        max_runs: Most shots per job, or None.
        requires_layout: A trap layout must be given with the register.
        max_layout_filling: Largest fraction of traps that may be filled.
        min_layout_traps: Fewest traps of a layout.
        max_layout_traps: Most traps of a layout, or None.
        rydberg: The local Rydberg channel.
        raman: The local Raman channel.
    """

    name: str
    pulser_device: Any
    c6_rad_per_us_um6: float
    min_distance_um: float
    max_radius_um: float
    max_atoms: int
    max_sequence_ns: int | None
    max_runs: int | None
    requires_layout: bool
    max_layout_filling: float
    min_layout_traps: int
    max_layout_traps: int | None
    rydberg: BeamRules
    raman: BeamRules
