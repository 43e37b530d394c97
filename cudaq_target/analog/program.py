"""An analog program for one device: every stage kept, nothing run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pulser
    from matplotlib.figure import Figure

    from cudaq_target.analog.model import AnalogSpec
    from cudaq_target.analog.timeline import AnalogTimeline


@dataclass(frozen=True, slots=True)
class AnalogStats:
    """Key figures of an analog program.

    Attributes:
        n_atoms: Atoms of the register.
        n_traps: Traps of the layout, or None without one.
        duration_ns: Length of the sequence (ns).
        n_pulses: Pulses on the global channel.
        max_amplitude_rad_per_us: Largest Rabi frequency (rad/µs).
        min_detuning_rad_per_us: Lowest global detuning (rad/µs).
        max_detuning_rad_per_us: Highest global detuning (rad/µs).
        nearest_um: Smallest distance of two atoms (µm); inf for one atom.
        max_interaction_rad_per_us: Interaction of the nearest pair (rad/µs); 0 for one atom.
        blockade_radius_um: At the largest Rabi frequency (µm); inf without drive.
    """

    n_atoms: int
    n_traps: int | None
    duration_ns: int
    n_pulses: int
    max_amplitude_rad_per_us: float
    min_detuning_rad_per_us: float
    max_detuning_rad_per_us: float
    nearest_um: float
    max_interaction_rad_per_us: float
    blockade_radius_um: float


@dataclass(frozen=True, eq=False)
class AnalogProgram:
    """Waveforms and sites lowered to pulses for one device, with the interface of `Program`.

    Attributes:
        timeline: What the device plays.
        binder: Makes the program for new parameters, or None where it has none.
    """

    timeline: AnalogTimeline
    binder: Callable[..., AnalogProgram] | None = field(default=None, repr=False)
