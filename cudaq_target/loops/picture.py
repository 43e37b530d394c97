"""Picture of a variational loop: its last program, how far it came with which shots, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.draw import program_above
from cudaq_target.figures import COLOURS, plain, saved

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cudaq_target.coupler.loops.interface import LoopStep
    from cudaq_target.program import Program

_BELOW_IN = 3.6
_LEAST = 1e-3  # of the accuracy: an error below shows as this
_BASES = ("#28415e", "#1b6f8a", "#6fb1a0", "#e8b23a", "#e9a18f", "#c8553d")


def draw_search(
    program: Program,
    streamed: Sequence[tuple[int, float]],
    fixed: Sequence[tuple[int, float]],
    steps: Sequence[LoopStep],
    bases: Sequence[str],
    accuracy: float,
    unit: str,
    path: str | Path | None = None,
    title: str = "",
) -> Figure:
    """Draw a program and, below it, a search with streamed shots beside one with fixed shots.

    Args:
        program: At the end of the search.
        streamed: Shots measured and exact energy above the ground state, where the search stood.
        fixed: The same with fixed shots.
        steps: Points of the streamed search.
        bases: What each setting measures.
        accuracy: Error that counts as solved.
        unit: Of the errors.
        path: File to write as well (png, pdf or svg by its suffix), or None.
        title: Above the curves.

    Returns:
        The figure.

    Raises:
        OptionError: Matplotlib is missing, or the file's suffix is unknown.
    """
    figure, lower = program_above(program, _BELOW_IN)
    left, right = lower.subplots(1, 2, width_ratios=(1.3, 1.0))
    _draw_errors(left, streamed, fixed, accuracy, unit)
    _draw_shares(right, steps, bases)
    if title:
        lower.suptitle(title, fontsize=11, color=COLOURS["text"])
    return saved(figure, path)


def _draw_errors(
    axes: Axes,
    streamed: Sequence[tuple[int, float]],
    fixed: Sequence[tuple[int, float]],
    accuracy: float,
    unit: str,
) -> None:
    least = _LEAST * accuracy
    axes.axhspan(least, 1e3 * accuracy, color=COLOURS["grid"], alpha=0.6, linewidth=0)
    axes.annotate(
        f"within {1e3 * accuracy:g} m{unit} of the ground state",
        (0.0, 1e3 * accuracy),
        xycoords=("axes fraction", "data"),
        xytext=(4, -11),
        textcoords="offset points",
        fontsize=8,
    )
    styles = ((fixed, "raman", "s", "fixed shots"), (streamed, "target", "o", "streamed"))
    for search, colour, marker, label in styles:
        shots = [n for n, _ in search]
        errors = [1e3 * max(error, least) for _, error in search]
        axes.semilogy(
            shots,
            errors,
            marker=marker,
            color=COLOURS[colour],
            markersize=5,
            linewidth=1.4,
            label=label,
        )
    axes.set_xscale("symlog", linthresh=10.0, linscale=0.4)
    axes.set_xlim(left=-1.0)
    lowest = min(1e3 * max(error, least) for search in (streamed, fixed) for _, error in search)
    axes.set_ylim(bottom=0.5 * min(lowest, 1e3 * accuracy))
    axes.set_xlabel("shots measured")
    axes.set_ylabel(f"exact energy above the ground state (m{unit})", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    plain(axes)


def _draw_shares(axes: Axes, steps: Sequence[LoopStep], bases: Sequence[str]) -> None:
    shots = np.array([step.estimate.n_shots_by_setting for step in steps], dtype=np.float64)
    places = np.arange(len(steps))
    bottom = np.zeros(len(steps))
    for number, basis in enumerate(bases):
        colour = _BASES[number % len(_BASES)]
        axes.bar(places, shots[:, number], 0.7, bottom=bottom, color=colour, label=basis)
        bottom += shots[:, number]
    axes.set_xticks(places, [str(k + 1) for k in places])
    axes.set_xlabel("point of the streamed search")
    axes.set_ylabel("shots of each basis", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="upper left", title="basis", title_fontsize=8)
    plain(axes)
