"""A program in a few lines of text: what it costs, where the time goes, how exact it is."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.excitations import excitations, fan_outs, played_gates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cudaq_target.circuit import Circuit
    from cudaq_target.excitations import PlayedGate
    from cudaq_target.program import Program
    from cudaq_target.timeline import PulseProgram, Slot

_N_SLOWEST = 3
_LABEL_WIDTH = 11


def program_report(program: Program) -> str:
    """Describe a program.

    Args:
        program: A compiled program, or one read from JSON.

    Returns:
        At most 25 lines, the same for the same program; times in µs, distances in µm.
    """
    timeline = program.timeline
    played = excitations(timeline)
    gates = played_gates(timeline, played)
    lines = [
        f"{program.kernel} on {program.rules.name}: {program.stats.n_qubits} qubits, "
        f"{timeline.duration_ns / 1e3:.3f} µs",
        _row("kernel", _kernel(program.circuit)),
        _row("register", _register(timeline)),
        _row("gates", _gates(program, gates, fan_outs(played))),
        *_shares(timeline),
        *_slowest(gates),
        _row("exactness", _exactness(gates)),
        _row(
            "robustness",
            f"predicted infidelity {program.stats.predicted_infidelity:.1e} for 10 % spread of the "
            "pair interaction and 1 % of the Rabi frequency",
        ),
    ]
    return "\n".join(lines)


def _row(label: str, text: str) -> str:
    return f"  {label:<{_LABEL_WIDTH}}{text}"


def _kernel(circuit: Circuit) -> str:
    names = Counter("c" * len(gate.controls) + gate.name for gate in circuit.gates)
    gates = ", ".join(f"{n} {name}" for name, n in sorted(names.items())) or "no gates"
    measured = len(circuit.measurements)
    return f"{gates}; measures {measured if measured else 'all'} qubits"


def _register(timeline: PulseProgram) -> str:
    sites = timeline.coordinates_um
    if len(sites) == 0:
        return "no atoms"
    radius_um = float(np.linalg.norm(sites, axis=1).max())
    limit_um = timeline.device.max_radius_um
    reach = f"radius {radius_um:.2f} µm"
    if math.isfinite(limit_um):
        reach += f" of {limit_um:g} µm"
    if len(sites) == 1:
        return f"1 atom, {reach}"
    distances_um = np.linalg.norm(sites[:, None] - sites[None], axis=-1)
    nearest_um = float(distances_um[np.triu_indices(len(sites), 1)].min())
    return f"{len(sites)} atoms, nearest {nearest_um:.3f} µm apart, {reach}"


def _gates(program: Program, gates: Sequence[PlayedGate], fans: Sequence[int]) -> str:
    n_ccz = sum(len(gate.atoms) == 3 for gate in gates)
    parts = [_counted(len(gates) - n_ccz, "CPhase")]
    if fans:
        wide = Counter(n for n in fans if n > 1)
        widths = ", ".join(f"{n} with {width}" for width, n in sorted(wide.items()))
        parts[0] += f" in {_counted(len(fans), 'excitation')}"
        parts[0] += f" (fan-outs: {widths} targets)" if widths else " (no fan-out)"
    if n_ccz:
        parts.append(_counted(n_ccz, "CCZ"))
    parts.append(_counted(program.stats.n_swaps, "SWAP"))
    parts.append(_counted(program.stats.n_raman_pulses, "one-qubit pulse"))
    return ", ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 or noun == "CPhase" else "s")


def _shares(timeline: PulseProgram) -> list[str]:
    """Split the duration: Rydberg beam on; Raman beam on alone; both off."""
    rydberg = np.zeros(timeline.duration_ns, dtype=bool)
    raman = np.zeros(timeline.duration_ns, dtype=bool)
    _mark(rydberg, (slot for slot in timeline.slots if slot.beam == "rydberg"))
    _mark(raman, (slot for slot in timeline.slots if slot.beam == "raman"))
    total_ns = max(timeline.duration_ns, 1)
    spans = (
        ("Rydberg", int(rydberg.sum()), ""),
        ("Raman alone", int((raman & ~rydberg).sum()), ""),
        ("idle", int((~raman & ~rydberg).sum()), " (retargeting, padding)"),
    )
    text = ", ".join(
        f"{name} {span_ns / 1e3:.3f} µs ({100.0 * span_ns / total_ns:.0f} %){note}"
        for name, span_ns, note in spans
    )
    hidden_ns = int((raman & rydberg).sum())
    hidden = f"{hidden_ns / 1e3:.3f} of {int(raman.sum()) / 1e3:.3f} µs of Raman pulses"
    return [_row("time", text), _row("", f"{hidden} run under Rydberg pulses")]


def _mark(busy: np.ndarray[tuple[int], np.dtype[np.bool_]], slots: Iterable[Slot]) -> None:
    for slot in slots:
        busy[slot.start_ns : slot.end_ns] = True


def _slowest(gates: Sequence[PlayedGate]) -> list[str]:
    """Name the gates with the longest target pulse, one line per different gate."""
    distinct: Counter[tuple[int, float, str]] = Counter(
        (-gate.duration_ns, round(gate.distance_um, 3), _name(gate)) for gate in gates
    )
    rows = sorted(distinct.items())[:_N_SLOWEST]
    return [
        _row(
            "slowest" if k == 0 else "",
            f"{name}, {distance_um:.2f} µm, T = {-negative_ns} ns" + (f", {n} times" * (n > 1)),
        )
        for k, ((negative_ns, distance_um, name), n) in enumerate(rows)
    ]


def _name(gate: PlayedGate) -> str:
    atoms = "-".join(str(atom) for atom in gate.atoms)
    if len(gate.atoms) == 3:
        return f"CCZ on atoms {atoms}"
    return f"CPhase({gate.theta_rad / math.pi:+.3f}π) on atoms {atoms}"


def _exactness(gates: Sequence[PlayedGate]) -> str:
    if not gates:
        return "one-qubit pulses are exact"
    worst = max(gate.residual for gate in gates)
    return (
        "every pulse is solved for its distance; CPhase pulses leave at most "
        f"{_one_digit(worst)} of amplitude in the Rydberg state"
    )


def _one_digit(number: float) -> str:
    return "1e-12" if number < 1e-12 else f"{number:.0e}"
