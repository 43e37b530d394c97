"""A program in a few lines of text: what it costs, where the time goes, how exact it is."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.excitations import excitations, fan_outs, played_gates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

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
        f"{program.kernel} on {program.rules.name}: {_counted(program.stats.n_qubits, 'qubit')}, "
        f"{timeline.duration_ns / 1e3:.3f} µs",
        *_block("kernel", [_kernel(program.circuit)]),
        *_block("register", [_register(timeline)]),
        *_block("gates", [_gates(program, gates, fan_outs(played))]),
        *_block("time", _shares(timeline)),
        *_block("slowest", _slowest(gates)),
        *_block("exactness", [_exactness(gates)]),
        *_block("robustness", [_robustness(program)]),
    ]
    return "\n".join(lines)


def _block(label: str, texts: Sequence[str]) -> list[str]:
    """Indent the texts under one label."""
    labels = [label, *[""] * (len(texts) - 1)]
    return [
        f"  {name:<{_LABEL_WIDTH}}{text}".rstrip()
        for name, text in zip(labels, texts, strict=False)
    ]


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
    parts = [f"{len(gates) - n_ccz} CPhase"]
    if fans:
        widest = f", up to {max(fans)} targets in one" if max(fans) > 1 else ""
        parts[0] += f" in {_counted(len(fans), 'excitation')}{widest}"
    if n_ccz:
        parts.append(f"{n_ccz} CCZ")
    parts.append(_counted(program.stats.n_swaps, "SWAP"))
    parts.append(_counted(program.stats.n_raman_pulses, "Raman pulse"))
    return "; ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _shares(timeline: PulseProgram) -> list[str]:
    """Split the duration: Rydberg beam on; Raman beam on alone; both off."""
    rydberg = np.zeros(timeline.duration_ns, dtype=bool)
    raman = np.zeros(timeline.duration_ns, dtype=bool)
    _mark(rydberg, (slot for slot in timeline.slots if slot.beam == "rydberg"))
    _mark(raman, (slot for slot in timeline.slots if slot.beam == "raman"))
    hidden_ns = int((raman & rydberg).sum())
    hidden = f"{hidden_ns / 1e3:.3f} µs more under Rydberg pulses" if hidden_ns else ""
    spans = (
        ("Rydberg", int(rydberg.sum()), ""),
        ("Raman", int((raman & ~rydberg).sum()), hidden),
        ("idle", int((~raman & ~rydberg).sum()), "retargeting, padding"),
    )
    total_ns = max(timeline.duration_ns, 1)
    return [
        f"{name:<9}{span_ns / 1e3:7.3f} µs{100.0 * span_ns / total_ns:5.0f} %  {note}"
        for name, span_ns, note in spans
    ]


def _mark(busy: NDArray[np.bool_], slots: Iterable[Slot]) -> None:
    for slot in slots:
        busy[slot.start_ns : slot.end_ns] = True


def _slowest(gates: Sequence[PlayedGate]) -> list[str]:
    """Name the gates with the longest target pulse, equal ones in one line."""
    equal = Counter(
        (-gate.duration_ns, round(gate.distance_um, 3), _name(gate), gate.atoms) for gate in gates
    )
    return [
        f"{name}  atoms {'-'.join(map(str, atoms)):<7}{distance_um:6.2f} µm {-negative_ns:6d} ns"
        + (f"  {n} times" if n > 1 else "")
        for (negative_ns, distance_um, name, atoms), n in sorted(equal.items())[:_N_SLOWEST]
    ]


def _name(gate: PlayedGate) -> str:
    if len(gate.atoms) == 3:
        return f"{'CCZ':<16}"
    return f"CPhase({gate.theta_rad / math.pi:+.4f}π)"


def _exactness(gates: Sequence[PlayedGate]) -> str:
    if not gates:
        return "one-qubit pulses are exact"
    worst = max(gate.residual for gate in gates)
    decade = math.ceil(math.log10(max(worst, 1e-12)))
    return f"pulses are solved for their distances; amplitude left in Rydberg states <= 1e{decade}"


def _robustness(program: Program) -> str:
    return (
        f"1 - F = {program.stats.predicted_infidelity:.1e} for a spread of 10 % in interactions "
        "and 1 % in Rabi frequency"
    )
