"""An analog program in a few lines of text: what is played, and how far it is from the wish."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    from cudaq_target.analog.program import AnalogProgram

_LABEL_WIDTH = 11


def analog_report(program: AnalogProgram) -> str:
    """Describe an analog program.

    Args:
        program: The program.

    Returns:
        At most 12 lines, the same for the same program; MHz means rad/µs over 2π.
    """
    stats, timeline = program.stats, program.timeline
    atoms = f"{stats.n_atoms} atom" + ("" if stats.n_atoms == 1 else "s")
    lines = [
        f"{program.kernel} on {program.rules.name}: {atoms}, {stats.duration_ns / 1e3:.3f} µs",
        _line("register", _register(program)),
        _line("drive", _drive(program)),
    ]
    if timeline.local is not None:
        deepest = float(timeline.local.samples.min()) / TWO_PI
        lines.append(_line("local", f"down to {deepest:.3g} MHz at weight 1"))
    lines.append(_line("exactness", _exactness(program)))
    if program.rules.drive.mod_bandwidth_mhz is not None:
        width = program.rules.drive.mod_bandwidth_mhz
        mode = "EOM mode" if timeline.eom else f"bandwidth {width:g} MHz"
        lines.append(_line("modulation", f"{mode}; the atoms see what `modulated` returns"))
    return "\n".join(lines)


def _line(label: str, text: str) -> str:
    return f"  {label:<{_LABEL_WIDTH}}{text}"


def _register(program: AnalogProgram) -> str:
    stats = program.stats
    parts = []
    if math.isfinite(stats.nearest_um):
        parts.append(
            f"nearest {stats.nearest_um:.3f} µm apart "
            f"(V = {stats.max_interaction_rad_per_us / TWO_PI:.3g} MHz)"
        )
    if math.isfinite(stats.blockade_radius_um):
        parts.append(f"blockade radius {stats.blockade_radius_um:.2f} µm")
    if stats.n_traps is not None:
        share = 100.0 * stats.n_atoms / stats.n_traps
        parts.append(f"layout of {stats.n_traps} traps, {share:.0f} % filled")
    return ", ".join(parts) or "one atom"


def _drive(program: AnalogProgram) -> str:
    stats = program.stats
    low, high = stats.min_detuning_rad_per_us / TWO_PI, stats.max_detuning_rad_per_us / TWO_PI
    pulses = f"{stats.n_pulses} pulse" + ("" if stats.n_pulses == 1 else "s")
    return (
        f"{pulses}, amplitude up to {stats.max_amplitude_rad_per_us / TWO_PI:.3g} MHz, "
        f"detuning {low:.3g} to {high:.3g} MHz"
    )


def _exactness(program: AnalogProgram) -> str:
    error = program.timeline.error
    parts = [
        f"samples of 1 ns within {error.amplitude_rad_per_us:.1e} (amplitude) and "
        f"{error.detuning_rad_per_us:.1e} rad/µs (detuning), areas within "
        f"{max(error.amplitude_area_rad, error.detuning_area_rad):.1e} rad"
    ]
    if error.padding_ns:
        parts.append(f"{error.padding_ns:g} ns added at the end")
    if error.phase_step_ns:
        parts.append(f"phase steps moved by up to {error.phase_step_ns:g} ns")
    if error.position_um:
        parts.append(f"atoms within {error.position_um:.1e} µm of their sites")
    return "; ".join(parts)
