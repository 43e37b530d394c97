"""Pictures: where the atoms stand, and what the lasers do when."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.excitations import excitations, played_gates
from cudaq_target.figures import COLOURS, new_figure, plain, saved

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from cudaq_target.excitations import Excitation
    from cudaq_target.program import Program
    from cudaq_target.timeline import PulseProgram, Slot

_LABELS = {
    "open": "Rydberg π opens a control",
    "waiting": "control waits in the Rydberg state",
    "target": "Rydberg pulse on a target",
    "close": "Rydberg π closes the control",
    "raman": "Raman pulse (one-qubit gate)",
}
_LANE_HEIGHT = 0.78


def draw_program(program: Program, path: str | Path | None = None) -> Figure:
    """Draw the register and the pulse timeline of a program.

    Left: atoms with their numbers, a line for each pair with gates, the wider the more. Right: one
    row per atom; the height of a pulse is its Rabi frequency over the largest one of its beam.

    Args:
        program: The program.
        path: File to write as well (png, pdf or svg by its suffix), or None.

    Returns:
        The figure.

    Raises:
        OptionError: Matplotlib is missing, or the file's suffix is unknown.
    """
    timeline = program.timeline
    figure = new_figure(_width_in(timeline), _height_in(len(timeline.coordinates_um)))
    _draw_both(figure, program)
    return saved(figure, path)


def program_above(program: Program, height_in: float) -> tuple[Figure, SubFigure]:
    """Draw a program, and leave room below it.

    Args:
        program: As `draw_program` draws it.
        height_in: Of the room (inches).

    Returns:
        The figure, and the room.

    Raises:
        OptionError: Matplotlib is missing.
    """
    top_in = _height_in(len(program.timeline.coordinates_um))
    figure = new_figure(max(11.0, _width_in(program.timeline)), top_in + height_in)
    upper, lower = figure.subfigures(2, 1, height_ratios=(top_in, height_in), squeeze=False)[:, 0]
    _draw_both(upper, program)
    return figure, lower


def _width_in(timeline: PulseProgram) -> float:
    return min(max(10.8, 5.0 + 1.8e-3 * timeline.duration_ns), 22.0)


def _height_in(n_atoms: int) -> float:
    return max(3.8, 1.6 + 0.55 * n_atoms)


def _draw_both(figure: Figure | SubFigure, program: Program) -> None:
    timeline, stats = program.timeline, program.stats
    played = excitations(timeline)
    wide = _width_in(timeline) - 4.0
    register, pulses = figure.subplots(1, 2, width_ratios=(3.6, wide))
    _draw_register(register, timeline, played)
    _draw_timeline(pulses, timeline, played)
    _draw_legend(figure, timeline, played)
    figure.suptitle(
        f"{program.kernel} on {program.rules.name}: {_counted(stats.n_qubits, 'qubit')}, "
        f"{_counted(stats.n_entangling, 'entangling gate')}, {timeline.duration_ns / 1e3:.2f} µs",
        fontsize=12,
        color=COLOURS["text"],
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _draw_register(axes: Axes, timeline: PulseProgram, played: Sequence[Excitation]) -> None:
    sites = timeline.coordinates_um[:, :2]
    gates = played_gates(timeline, played)
    counts = Counter(tuple(sorted(pair)) for gate in gates for pair in combinations(gate.atoms, 2))
    most = max(counts.values(), default=1)
    for (a, b), n in sorted(counts.items()):
        axes.plot(
            *sites[[a, b]].T,
            color=COLOURS["target"],
            linewidth=1.5 + min(n, 6),
            alpha=0.55,
            solid_capstyle="round",
            zorder=1,
        )
        if most > 1:
            middle = sites[[a, b]].mean(axis=0)
            axes.annotate(
                str(n), middle, ha="center", va="center", fontsize=7, color=COLOURS["text"],
                bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"},
                zorder=2,
            )  # fmt: skip
    axes.scatter(
        sites[:, 0], sites[:, 1], s=330, color=COLOURS["atom"], edgecolors="white", zorder=3
    )
    for atom, site in enumerate(sites):
        axes.annotate(
            str(atom), site, ha="center", va="center", color="white", fontsize=9, zorder=4
        )
    span_um = max(float(np.ptp(sites, axis=0).max(initial=0.0)), 4.0)
    centre = sites.mean(axis=0) if len(sites) else np.zeros(2)
    half_um = 0.5 * span_um + 2.0
    axes.set_xlim(centre[0] - half_um, centre[0] + half_um)
    axes.set_ylim(centre[1] - half_um, centre[1] + half_um)
    axes.set_aspect("equal")
    axes.set_title("register, pairs with gates", fontsize=10, color=COLOURS["text"])
    axes.set_xlabel("x (µm)")
    axes.set_ylabel("y (µm)")
    plain(axes)


def _draw_timeline(axes: Axes, timeline: PulseProgram, played: Sequence[Excitation]) -> None:
    n_atoms = len(timeline.coordinates_um)
    for row in range(n_atoms):
        axes.axhline(row, color=COLOURS["grid"], linewidth=0.8, zorder=0)
    _draw_waiting(axes, played)
    for entry in played:
        _draw_pulse(axes, entry.slot, entry.role, timeline.device.rydberg.max_rabi_rad_per_us)
        if entry.role == "target":
            _draw_link(axes, entry)
    for slot in timeline.slots:
        if slot.beam == "raman":
            _draw_pulse(axes, slot, "raman", timeline.device.raman.max_rabi_rad_per_us)
    axes.set_xlim(0.0, max(timeline.duration_ns, 1) / 1e3)
    axes.set_ylim(n_atoms - 0.4, -0.6)
    axes.set_yticks(range(n_atoms), [_row_label(timeline, atom) for atom in range(n_atoms)])
    axes.set_xlabel("time (µs)")
    axes.set_title("pulses", fontsize=10, color=COLOURS["text"])
    plain(axes)


def _row_label(timeline: PulseProgram, atom: int) -> str:
    """Name the atom, and the qubit it holds at the end where that has another number."""
    if timeline.atom_of_qubit == tuple(range(len(timeline.atom_of_qubit))):
        return f"atom {atom}"
    held = [qubit for qubit, at in enumerate(timeline.atom_of_qubit) if at == atom]
    return f"atom {atom}" + "".join(f" = q{qubit}" for qubit in held)


def _draw_waiting(axes: Axes, played: Sequence[Excitation]) -> None:
    opened: dict[int, Slot] = {}
    for entry in played:
        atom = entry.slot.atom
        if entry.role == "open":
            opened[atom] = entry.slot
        elif entry.role == "close":
            begin_us, end_us = opened.pop(atom).end_ns / 1e3, entry.slot.start_ns / 1e3
            axes.fill_between(
                [begin_us, end_us],
                atom - 0.5 * _LANE_HEIGHT,
                atom + 0.5 * _LANE_HEIGHT,
                color=COLOURS["waiting"],
                linewidth=0,
                zorder=1,
            )


def _draw_pulse(axes: Axes, slot: Slot, kind: str, max_rabi_rad_per_us: float) -> None:
    """Fill the Rabi frequency over time, symmetric about the row of the atom."""
    edges_us = (slot.start_ns + np.concatenate([[0], np.cumsum(slot.pulse.durations_ns)])) / 1e3
    heights = 0.5 * _LANE_HEIGHT * slot.pulse.rabi_rad_per_us / max_rabi_rad_per_us
    axes.stairs(
        slot.atom + heights,
        edges_us,
        baseline=slot.atom - heights,
        fill=True,
        color=COLOURS[kind],
        zorder=3,
    )


def _draw_link(axes: Axes, entry: Excitation) -> None:
    """Connect a target pulse with its controls."""
    middle_us = 0.5e-3 * (entry.slot.start_ns + entry.slot.end_ns)
    for control in entry.controls:
        axes.plot(
            [middle_us, middle_us],
            [control, entry.slot.atom],
            color=COLOURS["target"],
            linewidth=1.0,
            linestyle=(0, (2, 1.5)),
            zorder=2,
        )
        axes.plot(middle_us, control, "o", markersize=3.5, color=COLOURS["target"], zorder=4)


def _draw_legend(
    figure: Figure | SubFigure, timeline: PulseProgram, played: Sequence[Excitation]
) -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415

    kinds = {str(entry.role) for entry in played}
    if "open" in kinds:
        kinds.add("waiting")
    if any(slot.beam == "raman" for slot in timeline.slots):
        kinds.add("raman")
    handles = [Patch(color=COLOURS[kind], label=_LABELS[kind]) for kind in _LABELS if kind in kinds]
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=5,
            fontsize=8,
            columnspacing=1.4,
            handlelength=1.5,
            frameon=False,
        )
