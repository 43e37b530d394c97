"""Pictures of analog programs and their results: register, pulses, populations, histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.errors import OptionError
from cudaq_target.figures import COLOURS, new_figure, plain, saved
from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from cudaq_target.analog.timeline import AnalogTimeline

_MAX_LABELLED_ATOMS = 60
_LEAST_SPAN_MHZ = 0.2
_MAX_NAMED_CURVES = 12


def draw_analog(
    timeline: AnalogTimeline,
    path: str | Path | None = None,
    *,
    modulated: AnalogTimeline | None = None,
) -> Figure:
    """Draw the register and the pulses of an analog program.

    Left: atoms with their numbers, empty traps, and discs of half the blockade radius at the
    largest Rabi frequency, so that atoms whose discs overlap block each other. Right: amplitude,
    detuning and phase over time.

    Args:
        timeline: What the device plays.
        path: File to write as well (png, pdf or svg by its suffix), or None.
        modulated: What the atoms see, drawn as well, or None.

    Returns:
        The figure.

    Raises:
        OptionError: Matplotlib is missing, or the file's suffix is unknown.
    """
    figure = new_figure(11.0, 4.8)
    left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.5), squeeze=False)[0]
    _draw_register(left.subplots(), timeline)
    _draw_pulses(list(right.subplots(3, 1, sharex=True)), timeline, modulated)
    atoms = f"{timeline.n_atoms} atom" + ("" if timeline.n_atoms == 1 else "s")
    figure.suptitle(
        f"{timeline.spec.name} on {timeline.device.name}: {atoms}, "
        f"{timeline.duration_ns / 1e3:.2f} µs",
        fontsize=12,
        color=COLOURS["text"],
    )
    return saved(figure, path)


def draw_populations(
    times_ns: ArrayLike,
    populations: ArrayLike,
    path: str | Path | None = None,
    *,
    labels: Collection[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw how the Rydberg population of each atom, or other probabilities, vary in time.

    Args:
        times_ns: Times (ns), shape (n_times,).
        populations: Values in [0, 1], shape (n_times, n_curves).
        path: File to write as well (png, pdf or svg by its suffix), or None.
        labels: Name of each curve; None for atom numbers.
        title: Title above the curves.

    Returns:
        The figure.

    Raises:
        OptionError: The shapes do not fit, Matplotlib is missing, or the file's suffix is unknown.
    """
    times_us = np.asarray(times_ns, dtype=np.float64) / 1e3
    values = np.asarray(populations, dtype=np.float64)
    names = [f"atom {k}" for k in range(values.shape[-1])] if labels is None else list(labels)
    if values.shape != (len(times_us), len(names)):
        raise OptionError(
            "populations",
            f"shape {values.shape} for {len(times_us)} times and {len(names)} curves",
            "Give one row per time and one column per curve",
        )
    from matplotlib import colormaps  # noqa: PLC0415

    figure = new_figure(8.0, 4.0)
    axes = figure.subplots()
    shades = colormaps["viridis"](np.linspace(0.05, 0.9, max(len(names), 1)))
    for name, curve, shade in zip(names, values.T, shades, strict=True):
        axes.plot(times_us, curve, color=shade, linewidth=1.5, label=name)
    if labels is None:
        axes.plot(times_us, values.mean(axis=1), "--", color=COLOURS["open"], label="mean")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("time (µs)")
    axes.set_ylabel("Rydberg population" if labels is None else "probability")
    if title:
        axes.set_title(title, fontsize=11, color=COLOURS["text"])
    if len(names) <= _MAX_NAMED_CURVES:
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    plain(axes)
    return saved(figure, path)


def draw_counts(
    counts: Mapping[str, int],
    path: str | Path | None = None,
    *,
    highlighted: Collection[str] = (),
    n_most: int = 24,
    title: str = "",
) -> Figure:
    """Draw the most frequent bit strings; those highlighted, solutions for instance, in red.

    Args:
        counts: Shots of each bit string.
        path: File to write as well (png, pdf or svg by its suffix), or None.
        highlighted: Bit strings to stress.
        n_most: How many strings to draw; the others are one bar.
        title: Title above the bars.

    Returns:
        The figure.

    Raises:
        OptionError: There are no counts, Matplotlib is missing, or the file's suffix is unknown.
    """
    total = sum(counts.values())
    if total <= 0:
        raise OptionError("counts", "there are no shots", "Give the counts of at least one shot")
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    bars = ordered[:n_most]
    rest = sum(count for _, count in ordered[n_most:])
    names = [name for name, _ in bars]
    heights = [count / total for _, count in bars]
    shades = [COLOURS["open" if name in highlighted else "target"] for name in names]
    if rest:
        others = len(ordered) - n_most
        names.append(f"{others} other" + ("" if others == 1 else "s"))
        heights.append(rest / total)
        shades.append(COLOURS["grid"])
    figure = new_figure(max(5.0, 1.5 + 0.32 * len(names)), 4.2)
    axes = figure.subplots()
    axes.bar(range(len(names)), heights, color=shades)
    axes.set_xticks(range(len(names)), names, rotation=90, family="monospace")
    axes.set_ylabel(f"share of {total} shots")
    if title:
        axes.set_title(title, fontsize=11, color=COLOURS["text"])
    plain(axes)
    return saved(figure, path)


def _draw_register(axes: Axes, timeline: AnalogTimeline) -> None:
    from matplotlib.collections import EllipseCollection  # noqa: PLC0415

    atoms = timeline.atoms_um
    peak = float(timeline.amplitude.max())
    title = "register"
    if peak > 0.0 and len(atoms) > 1:
        radius_um = timeline.device.blockade_radius_um(peak)
        discs = EllipseCollection(
            np.full(len(atoms), radius_um), np.full(len(atoms), radius_um), np.zeros(len(atoms)),
            units="xy", offsets=atoms, offset_transform=axes.transData,
            facecolors=COLOURS["raman"], edgecolors=COLOURS["raman"], alpha=0.25, zorder=1,
        )  # fmt: skip
        axes.add_collection(discs)
        title += f", blockade radius {radius_um:.1f} µm"
    if timeline.traps is not None:
        traps = timeline.traps.sorted_coords
        axes.scatter(
            traps[:, 0], traps[:, 1], s=14, facecolors="none", edgecolors=COLOURS["close"],
            linewidths=0.8, zorder=2,
        )  # fmt: skip
    size = 330 if len(atoms) <= 16 else 110
    axes.scatter(atoms[:, 0], atoms[:, 1], s=size, color=COLOURS["atom"], zorder=3)
    if len(atoms) <= _MAX_LABELLED_ATOMS:
        for atom, place in enumerate(atoms):
            axes.annotate(
                str(atom), place, ha="center", va="center", color="white",
                fontsize=9 if len(atoms) <= 16 else 6, zorder=4,
            )  # fmt: skip
    half_um = 0.5 * max(float(np.ptp(atoms, axis=0).max()), 4.0) + 7.0
    centre = 0.5 * (atoms.min(axis=0) + atoms.max(axis=0))
    axes.set_xlim(centre[0] - half_um, centre[0] + half_um)
    axes.set_ylim(centre[1] - half_um, centre[1] + half_um)
    axes.set_aspect("equal")
    axes.set_title(title, fontsize=10, color=COLOURS["text"])
    axes.set_xlabel("x (µm)")
    axes.set_ylabel("y (µm)")
    plain(axes)


def _draw_pulses(
    axes: list[Axes], timeline: AnalogTimeline, modulated: AnalogTimeline | None
) -> None:
    times_us = np.arange(timeline.duration_ns) / 1e3
    amplitude, detuning, phase = axes
    amplitude.fill_between(
        times_us, timeline.amplitude / TWO_PI, color=COLOURS["target"], alpha=0.35, linewidth=0
    )
    amplitude.plot(times_us, timeline.amplitude / TWO_PI, color=COLOURS["target"], label="played")
    detuning.plot(times_us, timeline.detuning / TWO_PI, color=COLOURS["open"], label="global")
    detuning.axhline(0.0, color=COLOURS["grid"], linewidth=0.8, zorder=0)
    asked = _unfolded(timeline, times_us)
    phase.plot(times_us, asked, color=COLOURS["atom"])
    # A constant phase is no plot of the digits behind the point; nor is a constant detuning.
    phase.set_ylim(min(float(asked.min()), 0.0) - 0.2, max(float(asked.max()), 1.0) + 0.2)
    if timeline.local is not None:
        detuning.plot(
            times_us, timeline.local.samples / TWO_PI, color=COLOURS["raman"], label="local"
        )
        detuning.legend(fontsize=7, frameon=False)
    if modulated is not None and modulated.is_modulated:
        seen_us = np.arange(modulated.duration_ns) / 1e3
        for one, samples in ((amplitude, modulated.amplitude), (detuning, modulated.detuning)):
            one.plot(
                seen_us, samples / TWO_PI, ":", color=COLOURS["text"], linewidth=1.2,
                label="after modulation",
            )  # fmt: skip
        amplitude.legend(fontsize=7, frameon=False)
    amplitude.set_ylim(bottom=0.0)
    low, high = detuning.get_ylim()
    room = max(0.0, 0.5 * (_LEAST_SPAN_MHZ - (high - low)))
    detuning.set_ylim(low - room, high + room)
    for one, label in ((amplitude, "Ω/2π (MHz)"), (detuning, "δ/2π (MHz)"), (phase, "φ (rad)")):
        one.set_ylabel(label, fontsize=9)
        plain(one)
    amplitude.set_title("pulses", fontsize=10, color=COLOURS["text"])
    phase.set_xlabel("time (µs)")


def _unfolded(timeline: AnalogTimeline, times_us: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the phase as it was asked for, where it is played as a detuning."""
    asked = timeline.spec.phase
    if asked.kind == "linear" and not timeline.eom:
        return asked.at(1e3 * times_us)
    return timeline.phase
