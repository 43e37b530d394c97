"""The lowering as one function: circuit in, pulse program out, with everything in between kept.

The decisions that cost time (sites, SWAPs, order of pulses) form a `Plan`. Who lowers the same
structure again and again, as a variational loop does, keeps a book of plans and pays for placement,
routing and scheduling once. Without one, a program depends on its circuit alone.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING

from cudaq_target import native as native_stage
from cudaq_target.assemble import assemble
from cudaq_target.ccz import ccz_pulses
from cudaq_target.errors import DeviceLimitError
from cudaq_target.native_ops import CCZ, U3, CPhase, NativeCircuit, Rz
from cudaq_target.place import place
from cudaq_target.pulses import cphase_pulse, gate_time_ns, pi_pulse, raman_pulse
from cudaq_target.route import find_swaps, insert_swaps
from cudaq_target.schedule import Durations, retime, schedule
from cudaq_target.signs import apply_flips, choose_flips
from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.assemble import GatePulses
    from cudaq_target.circuit import Circuit
    from cudaq_target.device import DeviceRules
    from cudaq_target.place import Placement
    from cudaq_target.route import Swap
    from cudaq_target.schedule import Schedule
    from cudaq_target.timeline import Pulse, PulseProgram

_MAX_PLANS = 128
# A plan made for other angles is given up when it makes a program this much longer, or this much
# more sensitive, than the one it was made for.
_MAX_LENGTHENING = 1.2
_MAX_INFIDELITY_GROWTH = 1.5
_FREE_LENGTHENING_NS = 500
_FREE_INFIDELITY = 0.01
# Weight of the time that a phase needs at least, against the time that its pulse takes: between two
# signs of equal pulse time the one with more slack is less sensitive.
_SLACK_WEIGHT = 0.02
_MAX_NEEDED_NS = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a circuit's structure decides: everything but angles.

    Attributes:
        placement: Where the atoms stand.
        swaps: SWAPs that routing inserts.
        structure: Pulses of the circuit on atoms, after SWAPs: what of which atoms, in order.
        order: The schedule whose order is kept.
        infidelity: Predicted for the circuit that the plan was made for.
    """

    placement: Placement
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
        self._lock = Lock()

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
    layout: NDArray[np.float64] | None = None,
    route: str = "swap",
    plans: Plans | None = None,
) -> Lowered:
    """Lower a circuit to a pulse program for one device.

    Args:
        circuit: The user's kernel with arguments applied.
        rules: The device.
        layout: Sites to use (µm), shape (n_sites, 2 or 3), or None for the default patch.
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
    native = native_stage.lower(circuit, ccz=True)
    candidates: list[Lowered | None] = []
    if any(isinstance(op, CCZ) for op in native.ops):
        candidates.append(_lower_native(native, rules, layout, route, plans))
        native = native_stage.lower(circuit, ccz=False)
    candidates.append(_lower_native(native, rules, layout, route, plans))
    # Only a circuit with a CCZ off all usable triangles yields None, so one is always left.
    possible = [found for found in candidates if found is not None]
    return min(possible, key=lambda found: found.timeline.duration_ns)


def _lower_native(
    native: NativeCircuit,
    rules: DeviceRules,
    layout: NDArray[np.float64] | None,
    route: str,
    plans: Plans | None,
) -> Lowered | None:
    """Lower with a known plan if a good one is there; None when a CCZ lies on no triangle."""
    if plans is None:
        return _plan_and_lower(native, rules, layout, route)
    skeleton = native_stage.skeleton(native)
    plan = plans.get(skeleton)
    known = None if plan is None else realise(native, plan, rules)
    if plan is not None and known is not None and _is_worth_keeping(known, plan):
        return known
    fresh = _plan_and_lower(native, rules, layout, route)
    if fresh is None:
        return known
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
    native: NativeCircuit, rules: DeviceRules, layout: NDArray[np.float64] | None, route: str
) -> Lowered | None:
    """Lower a circuit by itself; None when a CCZ lies on no usable triangle."""
    placement = place(native, rules, layout)
    swaps = find_swaps(native, placement, rules, route)
    on_atoms = _on_atoms(native, swaps, placement, rules)
    pulses = _pulses(on_atoms, placement, rules)
    if pulses is None:
        return None
    timed = schedule(on_atoms, pulses.durations, rules)
    plan = Plan(placement, swaps, _structure(on_atoms), timed, pulses.infidelity)
    return _finish(on_atoms, plan, timed, pulses, rules)


def _on_atoms(
    native: NativeCircuit, swaps: tuple[Swap, ...], placement: Placement, rules: DeviceRules
) -> NativeCircuit:
    """Write the circuit on atoms, with SWAPs inserted and every CPhase in its cheaper sign."""
    routed = native_stage.merge(insert_swaps(native, swaps)) if swaps else native
    interactions = placement.interactions_rad_per_us

    def cost_ns(a: int, b: int, theta: float) -> float:
        interaction = float(interactions[a, b])
        needed_ns = 1e3 * (-theta % TWO_PI) / interaction
        return gate_time_ns(rules, interaction, theta) + _SLACK_WEIGHT * min(
            needed_ns, _MAX_NEEDED_NS
        )

    return apply_flips(routed, choose_flips(routed, cost_ns))


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
            triangle = ccz_pulses(
                rules,
                (
                    float(interactions[op.a, op.b]),
                    float(interactions[op.a, op.c]),
                    float(interactions[op.b, op.c]),
                ),
            )
            if triangle is None:
                return None
            gates.append(triangle)
            first, second, third = (p.duration_ns for p in triangle.pulses[:3])
            gate_ns.append((first, second, third))
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
