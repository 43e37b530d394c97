"""Pictures: where the atoms stand, what the lasers do when, and how an energy converges."""

from __future__ import annotations

import math
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
    from numpy.typing import ArrayLike, NDArray

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
# What chemists ask of an energy: 1 kcal/mol (Ha).
CHEMICAL_ACCURACY_HA = 1.6e-3


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


def draw_convergence(
    program: Program,
    energies_ha: ArrayLike,
    sigmas_ha: ArrayLike,
    exact_ha: float,
    path: str | Path | None = None,
    title: str = "",
) -> Figure:
    """Draw a program and, below it, how the energy of a variational loop over it converged.

    Args:
        program: The program of one step.
        energies_ha: Energy after each step (Ha), shape (n_steps,).
        sigmas_ha: Standard deviation of each (Ha), shape (n_steps,).
        exact_ha: The exact energy (Ha).
        path: File to write as well (png, pdf or svg by its suffix), or None.
        title: Title above the curves.

    Returns:
        The figure.

    Raises:
        OptionError: Matplotlib is missing, or the file's suffix is unknown.
    """
    top_in = _height_in(len(program.timeline.coordinates_um))
    figure = new_figure(max(11.0, _width_in(program.timeline)), top_in + 3.4)
    upper, lower = figure.subfigures(2, 1, height_ratios=(top_in, 3.4), squeeze=False)[:, 0]
    _draw_both(upper, program)
    energy, error = lower.subplots(1, 2, width_ratios=(1.5, 1.0))
    energies = np.asarray(energies_ha, dtype=np.float64)
    sigmas = np.asarray(sigmas_ha, dtype=np.float64)
    _draw_energy(energy, energies, sigmas, exact_ha)
    _draw_error(error, energies - exact_ha, sigmas)
    if title:
        lower.suptitle(title, fontsize=11, color=COLOURS["text"])
    return saved(figure, path)


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


def _draw_energy(
    axes: Axes, energies_ha: NDArray[np.float64], sigmas_ha: NDArray[np.float64], exact_ha: float
) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    steps = np.arange(len(energies_ha))
    axes.axhline(exact_ha, color=COLOURS["open"], linewidth=1.4, zorder=1)
    axes.annotate(
        f"exact {exact_ha:.5f} Ha".replace("-", "−"),
        (1.0, exact_ha),
        xycoords=("axes fraction", "data"),
        xytext=(-4, -13),
        textcoords="offset points",
        ha="right",
        fontsize=9,
        color=COLOURS["open"],
    )
    axes.errorbar(
        steps, energies_ha, yerr=sigmas_ha, color=COLOURS["target"], marker="o", markersize=4,
        linewidth=1.2, capsize=2, zorder=2,
    )  # fmt: skip
    axes.margins(y=0.14)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel("energy (Ha)")
    plain(axes)


def _draw_error(axes: Axes, errors_ha: NDArray[np.float64], sigmas_ha: NDArray[np.float64]) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    steps = np.arange(len(errors_ha))
    axes.axhspan(0.0, 1e3 * CHEMICAL_ACCURACY_HA, color=COLOURS["grid"], alpha=0.6, linewidth=0)
    axes.semilogy(
        steps,
        1e3 * np.abs(errors_ha),
        "o-",
        color=COLOURS["target"],
        markersize=4,
        label="|error|",
    )
    axes.semilogy(
        steps,
        1e3 * sigmas_ha,
        "--",
        color=COLOURS["raman"],
        linewidth=1.2,
        label="shot noise (1 σ)",
    )
    axes.annotate(
        "chemical accuracy",
        (0.0, 1e3 * CHEMICAL_ACCURACY_HA),
        xycoords=("axes fraction", "data"),
        xytext=(4, -10),
        textcoords="offset points",
        fontsize=8,
    )
    lowest = min(0.3, *(1e3 * np.abs(errors_ha)[errors_ha != 0.0] / 2.0))
    axes.set_ylim(bottom=max(10.0 ** math.floor(math.log10(lowest)), 1e-3))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel("error (mHa)")
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    plain(axes)
