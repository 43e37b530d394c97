"""The lowering as one function: circuit in, pulse program out, with everything in between kept.

The decisions that cost time (sites, SWAPs, order of pulses) form a `Plan`. Who lowers the same
structure again and again, as a variational loop does, keeps a book of plans and pays for placement,
routing and scheduling once. Without one, a program depends on its circuit alone.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target import native as native_stage
from cudaq_target.assemble import assemble
from cudaq_target.ccz import ccz_pulses
from cudaq_target.errors import DeviceLimitError
from cudaq_target.locks import ForkSafeLock
from cudaq_target.native_ops import CCZ, U3, CPhase, NativeCircuit, Rz
from cudaq_target.place import check_size, place
from cudaq_target.pulses import cphase_pulse, gate_times_ns, pi_pulse, raman_pulse
from cudaq_target.route import check_reach, find_swaps, insert_swaps, ops_on_atoms
from cudaq_target.schedule import Durations, retime, schedule
from cudaq_target.signs import apply_flips, choose_flips
from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    from cudaq_target.assemble import GatePulses
    from cudaq_target.ccz import CczPulses
    from cudaq_target.circuit import Circuit
    from cudaq_target.device import DeviceRules
    from cudaq_target.place import Placement
    from cudaq_target.route import Swap
    from cudaq_target.schedule import Schedule
    from cudaq_target.sites import Sites
    from cudaq_target.timeline import Pulse, PulseProgram

_MAX_PLANS = 128
# A plan made for other angles is given up when its program is longer, or more sensitive, than these
# multiples of the one that it was made for plus a free amount.
_MAX_LENGTHENING = 1.2
_MAX_INFIDELITY_GROWTH = 1.5
_FREE_LENGTHENING_NS = 500
_FREE_INFIDELITY = 0.01
# Weight of the time that a phase needs at least, against the time that its pulse takes: between two
# signs of equal pulse time the one with more slack is less sensitive.
_SLACK_WEIGHT = 0.02
_MAX_NEEDED_NS = 1000.0
# Added to the time of a pulse that the device cannot play; more than any program lasts.
_TOO_LONG_NS = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a circuit's structure decides: everything but angles.

    Attributes:
        placement: Where the atoms stand.
        expanded: Positions of the CCZs that lie on no usable triangle and become CPhases; in
            the circuit on wires, then in what it has become, and so on.
        swaps: SWAPs that routing inserts.
        structure: Pulses of the circuit on atoms, after SWAPs: what of which atoms, in order.
        order: The schedule whose order is kept.
        infidelity: Predicted for the circuit that the plan was made for.
    """

    placement: Placement
    expanded: tuple[frozenset[int], ...]
    swaps: tuple[Swap, ...]
    structure: Hashable
    order: Schedule
    infidelity: float


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A lowered circuit with every stage kept.

    Attributes:
        native: Circuit on atoms, after SWAPs and flips.
        plan: The structural decisions.
        schedule: Timed actions.
        timeline: The pulse program.
        predicted_infidelity: 1 - (product of the gates' F) for 10 % spread of the interaction and
            1 % spread of the Rabi frequency (see `solver.Segments`); no error without spread.
    """

    native: NativeCircuit
    plan: Plan
    schedule: Schedule
    timeline: PulseProgram
    predicted_infidelity: float


class Plans:
    """A book of plans for one device and one choice of layout and route, by structure."""

    def __init__(self) -> None:
        self._plans: OrderedDict[Hashable, Plan] = OrderedDict()
        self._lock = ForkSafeLock()

    def get(self, structure: Hashable) -> Plan | None:
        """Return the plan for a structure, or None."""
        with self._lock:
            plan = self._plans.get(structure)
            if plan is not None:
                self._plans.move_to_end(structure)
            return plan

    def put(self, structure: Hashable, plan: Plan) -> None:
        """Keep a plan; the one unused for longest makes room."""
        with self._lock:
            self._plans[structure] = plan
            self._plans.move_to_end(structure)
            while len(self._plans) > _MAX_PLANS:
                self._plans.popitem(last=False)


def lower(
    circuit: Circuit,
    rules: DeviceRules,
    layout: Sites | None = None,
    route: str = "swap",
    plans: Plans | None = None,
) -> Lowered:
    """Lower a circuit to a pulse program for one device.

    Args:
        circuit: The user's kernel with arguments applied.
        rules: The device.
        layout: Sites to use, or None to choose them; see `place.place`.
        route: "swap" or "direct", see `route.find_swaps`.
        plans: Plans to re-use and to add to, all for this device, layout and route; None plans
            this circuit by itself.

    Returns:
        The pulse program and the stages behind it.

    Raises:
        DeviceLimitError: Too many qubits, too long, too far apart.
        OptionError: Unusable layout or route.
        UnsupportedKernelError: A gate that cannot be lowered.
    """
    check_size(circuit.n_qubits, rules)
    native = native_stage.lower(circuit, ccz=True)
    variants = [native]
    if any(isinstance(op, CCZ) for op in native.ops):
        variants.append(native_stage.lower(circuit, ccz=False))
    found: list[Lowered] = []
    for variant in variants:
        try:
            found.append(_lower_native(variant, rules, layout, route, plans))
        except DeviceLimitError:
            # The variant in pairs comes last; where it fails too, there is no program.
            if variant is variants[-1] and not found:
                raise
    return min(found, key=lambda lowered: lowered.timeline.duration_ns)


def _lower_native(
    native: NativeCircuit,
    rules: DeviceRules,
    layout: Sites | None,
    route: str,
    plans: Plans | None,
) -> Lowered:
    """Lower with a known plan if a good one is there."""
    if plans is None:
        return _plan_and_lower(native, rules, layout, route)
    skeleton = native_stage.skeleton(native)
    plan = plans.get(skeleton)
    known = None if plan is None else realise(native, plan, rules)
    if plan is not None and known is not None and _is_worth_keeping(known, plan):
        return known
    fresh = _plan_and_lower(native, rules, layout, route)
    plans.put(skeleton, fresh.plan)
    return fresh


def _is_worth_keeping(lowered: Lowered, plan: Plan) -> bool:
    """Whether a program made with an old plan is about as good as the one it was made for."""
    longest_ns = _MAX_LENGTHENING * plan.order.duration_ns + _FREE_LENGTHENING_NS
    worst = _MAX_INFIDELITY_GROWTH * plan.infidelity + _FREE_INFIDELITY
    return lowered.timeline.duration_ns <= longest_ns and lowered.predicted_infidelity <= worst


def realise(native: NativeCircuit, plan: Plan, rules: DeviceRules) -> Lowered | None:
    """Lower a circuit with the decisions of an earlier one.

    Args:
        native: Circuit on wires.
        plan: Decisions made for a circuit of the same skeleton.
        rules: The device of the plan.

    Returns:
        The program, or None when this circuit needs a plan of its own: an angle happens to merge a
        pulse away, or needs a longer pulse than these sites allow.
    """
    for positions in plan.expanded:
        native = native_stage.expand_ccz(native, positions)
    on_atoms = _on_atoms(native, plan.swaps, plan.placement, rules)
    if _structure(on_atoms) != plan.structure:
        return None
    try:
        pulses = _pulses(on_atoms, plan.placement, rules)
        if pulses is None:
            return None
        timed = retime(plan.order, on_atoms, pulses.durations, rules)
    except DeviceLimitError:
        return None
    return _finish(on_atoms, plan, timed, pulses, rules)


def _plan_and_lower(
    native: NativeCircuit, rules: DeviceRules, layout: Sites | None, route: str
) -> Lowered:
    """Lower a circuit by itself."""
    placement = place(native, rules, layout, route)
    expanded: list[frozenset[int]] = []
    while True:
        swaps = find_swaps(native, placement, rules, route)
        off_triangles = _off_triangles(native, swaps, placement, rules)
        if not off_triangles:
            break
        # Their CPhases may need SWAPs, and those may take other CCZs off their triangles.
        expanded.append(off_triangles)
        native = native_stage.expand_ccz(native, off_triangles)
    on_atoms = _on_atoms(native, swaps, placement, rules)
    check_reach(on_atoms, placement, rules, route)
    pulses = _pulses(on_atoms, placement, rules)
    assert pulses is not None, "every CCZ that is left lies on a triangle"
    timed = schedule(on_atoms, pulses.durations, rules)
    plan = Plan(placement, tuple(expanded), swaps, _structure(on_atoms), timed, pulses.infidelity)
    return _finish(on_atoms, plan, timed, pulses, rules)


def _off_triangles(
    native: NativeCircuit, swaps: tuple[Swap, ...], placement: Placement, rules: DeviceRules
) -> frozenset[int]:
    """Positions of the CCZs whose atoms form no usable triangle when their turn comes."""
    ops, _ = ops_on_atoms(native, swaps)
    return frozenset(
        position
        for position, op in enumerate(ops)
        if isinstance(op, CCZ) and _triangle(op, placement, rules) is None
    )


def _triangle(op: CCZ, placement: Placement, rules: DeviceRules) -> CczPulses | None:
    # One order for a triangle, so that all stages ask for the same pulses.
    a, b, c = sorted((op.a, op.b, op.c))
    interactions = placement.interactions_rad_per_us
    return ccz_pulses(
        rules,
        (float(interactions[a, b]), float(interactions[a, c]), float(interactions[b, c])),
    )


def _on_atoms(
    native: NativeCircuit, swaps: tuple[Swap, ...], placement: Placement, rules: DeviceRules
) -> NativeCircuit:
    """Write the circuit on atoms, with SWAPs inserted and every CPhase in its cheaper sign."""
    routed = native_stage.merge(insert_swaps(native, swaps)) if swaps else native
    interactions = placement.interactions_rad_per_us

    def costs_ns(
        a: NDArray[np.int64], b: NDArray[np.int64], theta: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        needed_ns = 1e3 * np.mod(-theta, TWO_PI) / interactions[a, b]
        times_ns = gate_times_ns(rules, interactions[a, b], theta)
        too_long_ns = np.where(times_ns > rules.rydberg.max_duration_ns, _TOO_LONG_NS, 0.0)
        slack_ns = _SLACK_WEIGHT * np.minimum(needed_ns, _MAX_NEEDED_NS)
        return np.asarray(times_ns + too_long_ns + slack_ns, dtype=np.float64)

    return apply_flips(routed, choose_flips(routed, costs_ns))


def _structure(native: NativeCircuit) -> Hashable:
    """What a schedule depends on: the pulses, without virtual rotations and angles."""
    return native_stage.skeleton(
        replace(native, ops=tuple(op for op in native.ops if not isinstance(op, Rz)))
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Pulses:
    """All pulses of a circuit on atoms, before they have times."""

    rotations: list[list[Pulse]]
    gates: list[GatePulses]
    open: Pulse
    durations: Durations
    infidelity: float


def _pulses(native: NativeCircuit, placement: Placement, rules: DeviceRules) -> _Pulses | None:
    """Solve every pulse; None when a CCZ lies on no usable triangle."""
    interactions = placement.interactions_rad_per_us
    rotations: list[list[Pulse]] = [[] for _ in range(native.n_qubits)]
    rotation_ns: list[int] = []
    gates: list[GatePulses] = []
    gate_ns: list[tuple[int, int, int]] = []
    fidelity = 1.0
    for op in native.ops:
        if isinstance(op, U3):
            pulse = raman_pulse(rules, op.theta, 0.0)
            rotations[op.qubit].append(pulse)
            rotation_ns.append(pulse.duration_ns)
        elif isinstance(op, CPhase):
            target = cphase_pulse(rules, float(interactions[op.a, op.b]), op.theta)
            gates.append(target)
            gate_ns.append((target.duration_ns, 0, 0))
            fidelity *= max(0.0, 1.0 - target.infidelity)
        elif isinstance(op, CCZ):
            triangle = _triangle(op, placement, rules)
            if triangle is None:
                return None
            gates.append(triangle)
            first, second, third = (p.duration_ns for p in triangle.pulses[:3])
            gate_ns.append((first, second, third))
            fidelity *= max(0.0, 1.0 - triangle.infidelity)
    opening = pi_pulse(rules)
    durations = Durations(rotation_ns, gate_ns, opening.duration_ns)
    return _Pulses(rotations, gates, opening, durations, 1.0 - fidelity)


def _finish(
    native: NativeCircuit, plan: Plan, timed: Schedule, pulses: _Pulses, rules: DeviceRules
) -> Lowered:
    timeline = assemble(
        native, plan.placement, timed, pulses.rotations, pulses.gates, pulses.open, rules
    )
    return Lowered(native, plan, timed, timeline, pulses.infidelity)
