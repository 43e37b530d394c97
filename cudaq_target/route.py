"""Distant pairs: insert a SWAP only where it is cheaper than a slow gate.

A CPhase reaches any distance, but its pulse grows as R^6. Two atoms that are too far apart are
brought together by exchanging one of them with an atom in between; a SWAP is three CPhases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.errors import DeviceLimitError, OptionError
from cudaq_target.native_ops import CCZ, U3, CPhase, NativeCircuit, NativeOp, Rz
from cudaq_target.pulses import gate_times_ns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.device import DeviceRules
    from cudaq_target.place import Placement

ROUTES = ("swap", "direct")
# Gates ahead whose distances a SWAP should not spoil; older ones count less.
_LOOKAHEAD = 20
_LOOKAHEAD_DECAY = 0.8
_HADAMARD = (math.pi / 2.0, 0.0, math.pi)


@dataclass(frozen=True, slots=True)
class Swap:
    """Exchange the contents of two atoms before the gate at a position.

    Attributes:
        position: Index into the ops of the unrouted circuit.
        atoms: The two atoms.
    """

    position: int
    atoms: tuple[int, int]


def find_swaps(
    native: NativeCircuit, placement: Placement, rules: DeviceRules, route: str = "swap"
) -> tuple[Swap, ...]:
    """Decide where SWAPs pay.

    Args:
        native: Native circuit on wires; wire k starts on atom k.
        placement: Where the atoms stand.
        rules: The device.
        route: "swap", or "direct" to run every gate at the distance it has.

    Returns:
        SWAPs in program order.

    Raises:
        OptionError: Unknown `route`.
        DeviceLimitError: With "direct", a pair is too far apart for the longest pulse.
    """
    if route not in ROUTES:
        raise OptionError(f"route {route!r}", "unknown", f"Known: {', '.join(ROUTES)}.")
    gates = [(i, op) for i, op in enumerate(native.ops) if isinstance(op, CPhase)]
    if not gates:
        return ()
    times = _TimeTable(placement, rules)
    if route == "direct":
        for _, op in gates:
            _check_reach(times, op, placement, rules)
        return ()
    atom_of_wire = list(range(native.n_qubits))
    swaps: list[Swap] = []
    for k, (position, op) in enumerate(gates):
        ahead = [g for _, g in gates[k + 1 : k + 1 + _LOOKAHEAD]]
        for _ in range(native.n_qubits):
            better = _best_swap(times, op, ahead, atom_of_wire)
            if better is None:
                break
            swaps.append(Swap(position, better))
            _exchange(atom_of_wire, better)
    return tuple(swaps)


def insert_swaps(native: NativeCircuit, swaps: tuple[Swap, ...]) -> NativeCircuit:
    """Rewrite a circuit on wires into one on atoms, with SWAPs as native gates.

    Args:
        native: Circuit on wires.
        swaps: Result of `find_swaps` for it.

    Returns:
        Circuit on atoms; `wire_of_qubit` names atoms.
    """
    atom_of_wire = list(range(native.n_qubits))
    ops: list[NativeOp] = []
    todo = list(swaps)
    for position, op in enumerate(native.ops):
        while todo and todo[0].position == position:
            ops += _swap_ops(*todo[0].atoms)
            _exchange(atom_of_wire, todo.pop(0).atoms)
        ops.append(_on_atoms(op, atom_of_wire))
    return NativeCircuit(
        n_qubits=native.n_qubits,
        ops=tuple(ops),
        wire_of_qubit=tuple(atom_of_wire[wire] for wire in native.wire_of_qubit),
        # Each CX of a SWAP is H·CPhase(π)·H with H = i·U3(π/2, 0, π).
        global_phase=native.global_phase + len(swaps) * 6 * math.pi / 2.0,
    )


class _TimeTable:
    """Gate times of all pairs, by angle."""

    def __init__(self, placement: Placement, rules: DeviceRules) -> None:
        self._interactions = placement.interactions_rad_per_us
        self._rules = rules
        self._by_angle: dict[float, NDArray[np.float64]] = {}
        self.swap = 3.0 * (self.of(math.pi) + rules.rydberg.min_retarget_ns)

    def of(self, theta: float) -> NDArray[np.float64]:
        """Time of CPhase(±theta), cheaper sign, for each pair (ns), shape (n, n)."""
        key = round(abs(theta), 9)
        if key not in self._by_angle:
            values = self._interactions
            off = ~np.eye(len(values), dtype=bool)
            times = np.zeros_like(values)
            pairs = values[off]
            times[off] = np.minimum(
                gate_times_ns(self._rules, pairs, key), gate_times_ns(self._rules, pairs, -key)
            )
            self._by_angle[key] = times
        return self._by_angle[key]


def _best_swap(
    times: _TimeTable, op: CPhase, ahead: list[CPhase], atom_of_wire: list[int]
) -> tuple[int, int] | None:
    """The exchange that saves most time for this gate and the ones ahead, if any does."""
    a, b = atom_of_wire[op.a], atom_of_wire[op.b]
    direct = times.of(op.theta)
    best_gain, best = 0.0, None
    if direct[a, b] <= direct[direct > 0].min() + 1.0:
        return None
    for moved, fixed in ((a, b), (b, a)):
        for other in range(len(direct)):
            if other in (a, b):
                continue
            gain = float(direct[a, b] - direct[other, fixed] - times.swap[moved, other])
            if gain <= 0.0:
                continue
            gain += _gain_ahead(times, ahead, atom_of_wire, (moved, other))
            if gain > best_gain:
                best_gain, best = gain, (moved, other)
    return best


def _gain_ahead(
    times: _TimeTable, ahead: list[CPhase], atom_of_wire: list[int], atoms: tuple[int, int]
) -> float:
    after = list(atom_of_wire)
    _exchange(after, atoms)
    gain, weight = 0.0, 1.0
    for op in ahead:
        weight *= _LOOKAHEAD_DECAY
        table = times.of(op.theta)
        # A very slow gate ahead will be swapped anyway: its gain is bounded by a SWAP.
        ceiling = float(times.swap.max(initial=0.0))
        before = min(float(table[atom_of_wire[op.a], atom_of_wire[op.b]]), ceiling)
        gain += weight * (before - min(float(table[after[op.a], after[op.b]]), ceiling))
    return gain


def _exchange(atom_of_wire: list[int], atoms: tuple[int, int]) -> None:
    first, second = atom_of_wire.index(atoms[0]), atom_of_wire.index(atoms[1])
    atom_of_wire[first], atom_of_wire[second] = atoms[1], atoms[0]


def _on_atoms(op: NativeOp, atom: list[int]) -> NativeOp:
    if isinstance(op, U3):
        return U3(atom[op.qubit], op.theta, op.phi, op.lam)
    if isinstance(op, Rz):
        return Rz(atom[op.qubit], op.angle)
    if isinstance(op, CPhase):
        return CPhase(atom[op.a], atom[op.b], op.theta)
    return CCZ(atom[op.a], atom[op.b], atom[op.c])


def _swap_ops(a: int, b: int) -> list[NativeOp]:
    """SWAP = CX(a,b)·CX(b,a)·CX(a,b), each CX as H·CPhase(π)·H on its target."""
    ops: list[NativeOp] = []
    for target in (b, a, b):
        ops += [U3(target, *_HADAMARD), CPhase(a, b, math.pi), U3(target, *_HADAMARD)]
    return ops


def _check_reach(times: _TimeTable, op: CPhase, placement: Placement, rules: DeviceRules) -> None:
    needed = times.of(op.theta)[op.a, op.b]
    if needed > rules.rydberg.max_duration_ns:
        raise DeviceLimitError(
            subject=(
                f"qubits {op.a} and {op.b} are {placement.distances_um[op.a, op.b]:.1f} µm apart; "
                f"their gate needs a pulse of about {needed:.0f} ns"
            ),
            limit=f"pulses up to {rules.rydberg.max_duration_ns} ns",
            device=rules.name,
            remedy="Place them closer (Pasqal(layout=...)) or allow SWAPs (Pasqal(route='swap')).",
        )
