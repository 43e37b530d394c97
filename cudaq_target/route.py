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
# Chains of SWAPs whose times differ by less are equal (ns).
_SAME_NS = 1e-6
_LEAST_ANGLE_RAD = 1e-9
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
        SWAPs in program order. A pair that no chain of SWAPs brings close enough for the device's
        longest pulse is left as it is; `check_reach` says so.

    Raises:
        OptionError: Unknown `route`.
    """
    if route not in ROUTES:
        raise OptionError(f"route {route!r}", "unknown", f"Known: {', '.join(ROUTES)}.")
    gates = [(i, op) for i, op in enumerate(native.ops) if isinstance(op, CPhase)]
    if not gates or route == "direct":
        return ()
    times = _TimeTable(placement, rules)
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


def check_reach(
    native: NativeCircuit, placement: Placement, rules: DeviceRules, route: str = "swap"
) -> None:
    """Check that every gate fits the device's longest Rydberg pulse.

    Args:
        native: Circuit on atoms as it will be played, after SWAPs and the choice of signs.
        placement: Where the atoms stand.
        rules: The device.
        route: The route that was taken.

    Raises:
        DeviceLimitError: A pair is too far apart; says what would help.
    """
    gates = [op for op in native.ops if isinstance(op, CPhase)]
    longest_ns = rules.rydberg.max_duration_ns
    weakest = min((placement.interactions_rad_per_us[g.a, g.b] for g in gates), default=None)
    # No angle needs more than a phase of 2π.
    if weakest is None or _time_ns(rules, float(weakest), _LEAST_ANGLE_RAD) <= longest_ns:
        return
    for op in gates:
        needed_ns = _time_ns(rules, float(placement.interactions_rad_per_us[op.a, op.b]), op.theta)
        if needed_ns > longest_ns:
            raise DeviceLimitError(
                subject=(
                    f"a gate between atoms {op.a} and {op.b}, which are "
                    f"{placement.distances_um[op.a, op.b]:.1f} µm apart, needs a pulse of about "
                    f"{needed_ns} ns"
                ),
                limit=f"pulses up to {longest_ns} ns",
                device=rules.name,
                remedy=_reach_remedy(op.theta, rules, route),
            )


def _reach_remedy(theta: float, rules: DeviceRules, route: str) -> str:
    """Say what helps against a gate that is too slow at its distance."""
    distances_um = np.linspace(max(rules.min_distance_um, 0.1), 100.0, 1000)
    times = gate_times_ns(rules, rules.c6_rad_per_us_um6 / distances_um**6, theta)
    near_enough = distances_um[times <= rules.rydberg.max_duration_ns]
    if not len(near_enough):
        return (
            "This beam is too slow even for neighbours: use a device with longer pulses, a "
            "stronger beam or a higher Rydberg level (Pasqal(device=...))."
        )
    reach_um = math.floor(10.0 * near_enough[-1]) / 10.0
    nearer = f"Place them at most {reach_um:.1f} µm apart (Pasqal(layout=...))"
    if route == "direct":
        return f"{nearer}, or allow SWAPs (Pasqal(route='swap'), the default)."
    return f"{nearer}; no chain of SWAPs over these sites brings them so close."


def _time_ns(rules: DeviceRules, interaction_rad_per_us: float, theta: float) -> int:
    return int(gate_times_ns(rules, np.array([interaction_rad_per_us]), theta)[0])


def insert_swaps(native: NativeCircuit, swaps: tuple[Swap, ...]) -> NativeCircuit:
    """Rewrite a circuit on wires into one on atoms, with SWAPs as native gates.

    Args:
        native: Circuit on wires.
        swaps: Result of `find_swaps` for it.

    Returns:
        Circuit on atoms; `wire_of_qubit` names atoms.
    """
    moved, atom_of_wire = ops_on_atoms(native, swaps)
    ops: list[NativeOp] = []
    todo = list(swaps)
    for position, op in enumerate(moved):
        while todo and todo[0].position == position:
            ops += _swap_ops(*todo.pop(0).atoms)
        ops.append(op)
    return NativeCircuit(
        n_qubits=native.n_qubits,
        ops=tuple(ops),
        wire_of_qubit=tuple(atom_of_wire[wire] for wire in native.wire_of_qubit),
        # Each CX of a SWAP is H·CPhase(π)·H with H = i·U3(π/2, 0, π).
        global_phase=native.global_phase + len(swaps) * 6 * math.pi / 2.0,
    )


def ops_on_atoms(
    native: NativeCircuit, swaps: tuple[Swap, ...]
) -> tuple[list[NativeOp], list[int]]:
    """Put each op on the atoms that hold its wires when its turn comes.

    Args:
        native: Circuit on wires.
        swaps: Result of `find_swaps` for it.

    Returns:
        Its ops in the same order, without the SWAPs, and the atom that holds each wire at the end.
    """
    atom_of_wire = list(range(native.n_qubits))
    ops: list[NativeOp] = []
    todo = list(swaps)
    for position, op in enumerate(native.ops):
        while todo and todo[0].position == position:
            _exchange(atom_of_wire, todo.pop(0).atoms)
        ops.append(_on_atoms(op, atom_of_wire))
    return ops, atom_of_wire


class _TimeTable:
    """Gate times of all pairs, by angle.

    A pair that is too far apart for the longest pulse counts with the time of the cheapest chain
    of SWAPs that brings it together, and of the gate then. Inf where there is none.
    """

    def __init__(self, placement: Placement, rules: DeviceRules) -> None:
        self._interactions = placement.interactions_rad_per_us
        self._rules = rules
        self._by_angle: dict[float, NDArray[np.float64]] = {}
        self._too_far: dict[float, NDArray[np.bool_]] = {}
        half_turn, _, too_far = self._direct(math.pi)
        self.swap = 3.0 * (half_turn + rules.rydberg.min_retarget_ns)
        self.swap[too_far] = np.inf
        # A SWAP that cannot be played must not set the scale for those that can.
        self.slowest_swap = float(self.swap[np.isfinite(self.swap)].max(initial=0.0))
        self._chain: NDArray[np.float64] | None = None

    def of(self, theta: float) -> NDArray[np.float64]:
        """Time of CPhase(±theta), cheaper sign, for each pair (ns), shape (n, n)."""
        key = round(abs(theta), 9)
        if key not in self._by_angle:
            times, uncertain, too_far = self._direct(key)
            self._too_far[key] = too_far
            if uncertain.any():
                times, self._too_far[key] = self._with_chains(times, uncertain, too_far)
            self._by_angle[key] = times
        return self._by_angle[key]

    def too_far(self, theta: float) -> NDArray[np.bool_]:
        """Pairs that must be brought together first, shape (n, n)."""
        self.of(theta)
        return self._too_far[round(abs(theta), 9)]

    def _direct(
        self, theta: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Times with the cheaper sign (ns), and pairs too slow in one sign and in both."""
        off = ~np.eye(len(self._interactions), dtype=bool)
        signs = np.zeros((2, *off.shape))
        for k, signed in enumerate((theta, -theta)):
            signs[k][off] = gate_times_ns(self._rules, self._interactions[off], signed)
        longest_ns = self._rules.rydberg.max_duration_ns
        times: NDArray[np.float64] = signs.min(axis=0)
        return times, signs.max(axis=0) > longest_ns, times > longest_ns

    def _with_chains(
        self,
        times: NDArray[np.float64],
        uncertain: NDArray[np.bool_],
        too_far: NDArray[np.bool_],
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Put the time of the cheapest chain where a gate may not be played directly.

        Which sign a gate gets is not known yet, so one sign that fits is relied on only where no
        chain of SWAPs leads to a pair that both fit.
        """
        if self._chain is None:
            self._chain = _shortest_paths(self.swap)
        certain = np.where(uncertain, np.inf, times)
        np.fill_diagonal(certain, np.inf)
        # Bringing one of the two is enough: chains of both have a chain of one at the same cost.
        moved = (self._chain[:, :, None] + certain[None, :, :]).min(axis=1)
        reach = np.minimum(moved, moved.T)
        np.fill_diagonal(reach, 0.0)
        chained = uncertain & np.isfinite(reach)
        lost = too_far & ~chained
        result = np.where(chained, reach, np.where(lost, np.inf, times))
        return result, chained | lost


def _shortest_paths(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """All-pairs shortest paths (Floyd and Warshall), shape (n, n)."""
    paths = steps.copy()
    np.fill_diagonal(paths, 0.0)
    for via in range(len(paths)):
        np.minimum(paths, paths[:, via, None] + paths[None, via, :], out=paths)
    return paths


def _best_swap(
    times: _TimeTable, op: CPhase, ahead: list[CPhase], atom_of_wire: list[int]
) -> tuple[int, int] | None:
    """The exchange that saves most time for this gate and the ones ahead, if any does.

    For a pair that must be brought together: the best exchange along a cheapest chain.
    """
    a, b = atom_of_wire[op.a], atom_of_wire[op.b]
    direct = times.of(op.theta)
    forced = bool(times.too_far(op.theta)[a, b])
    if not np.isfinite(direct[a, b]):
        return None
    if not forced and direct[a, b] <= direct[direct > 0].min() + 1.0:
        return None
    best_gain, best = -np.inf if forced else 0.0, None
    for moved, fixed in ((a, b), (b, a)):
        for other in range(len(direct)):
            if other in (a, b):
                continue
            gain = float(direct[a, b] - direct[other, fixed] - times.swap[moved, other])
            if gain < -_SAME_NS if forced else gain <= 0.0:
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
        ceiling = times.slowest_swap
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
