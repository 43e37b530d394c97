"""The lowering as one function: circuit in, pulse program out, with everything in between kept.

The decisions that do not depend on exact angles (sites, SWAPs, signs, order) form a `Plan`. A
circuit of the same structure re-uses the plan of an earlier one: variational loops pay for
placement, routing and scheduling once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from cudaq_target import native as native_stage
from cudaq_target.assemble import assemble
from cudaq_target.ccz import ccz_pulses
from cudaq_target.native_ops import CCZ, U3, CPhase, NativeCircuit
from cudaq_target.place import place
from cudaq_target.pulses import cphase_pulse, gate_time_ns, pi_pulse, raman_pulse
from cudaq_target.route import find_swaps, insert_swaps
from cudaq_target.schedule import Durations, retime, schedule
from cudaq_target.signs import apply_flips, choose_flips

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
    from cudaq_target.signs import Stretch
    from cudaq_target.timeline import Pulse, PulseProgram

_MAX_PLANS = 128


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a circuit's structure decides: everything but angles.

    Attributes:
        placement: Where the atoms stand.
        swaps: SWAPs that routing inserts.
        flips: Stretches that are conjugated with X for the cheaper sign.
        structure: Skeleton of the circuit on atoms, after SWAPs and flips.
        order: The schedule whose order is kept.
    """

    placement: Placement
    swaps: tuple[Swap, ...]
    flips: frozenset[Stretch]
    structure: Hashable
    order: Schedule


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


_plans: OrderedDict[object, Plan] = OrderedDict()
_plans_lock = Lock()


def lower(
    circuit: Circuit,
    rules: DeviceRules,
    layout: NDArray[np.float64] | None = None,
    route: str = "swap",
) -> Lowered:
    """Lower a circuit to a pulse program for one device.

    Args:
        circuit: The user's kernel with arguments applied.
        rules: The device.
        layout: Sites to use (µm), shape (n_sites, 2 or 3), or None for the default patch.
        route: "swap" or "direct", see `route.find_swaps`.

    Returns:
        The pulse program and the stages behind it.

    Raises:
        DeviceLimitError: Too many qubits, too long, too far apart.
        OptionError: Unusable layout or route.
        UnsupportedKernelError: A gate that cannot be lowered.
    """
    native = native_stage.lower(circuit, ccz=True)
    on_triangles: Lowered | None = None
    if any(isinstance(op, CCZ) for op in native.ops):
        on_triangles = _lower_native(native, rules, layout, route)
        native = native_stage.lower(circuit, ccz=False)
    in_pairs = _lower_native(native, rules, layout, route)
    assert in_pairs is not None, "a circuit without CCZ always lowers"
    if (
        on_triangles is not None
        and on_triangles.timeline.duration_ns < in_pairs.timeline.duration_ns
    ):
        return on_triangles
    return in_pairs


def _lower_native(
    native: NativeCircuit,
    rules: DeviceRules,
    layout: NDArray[np.float64] | None,
    route: str,
) -> Lowered | None:
    """Lower with a known plan if there is one; None when a CCZ lies on no usable triangle."""
    skeleton = native_stage.skeleton(native)
    key = (skeleton, rules, None if layout is None else layout.tobytes(), route)
    with _plans_lock:
        plan = _plans.get(key)
        if plan is not None:
            _plans.move_to_end(key)
    if plan is not None:
        realised = realise(native, plan, rules)
        if realised is not None:
            return realised
    fresh = _make_plan(native, rules, layout, route)
    if fresh is None:
        return None
    with _plans_lock:
        _plans[key] = fresh.plan
        while len(_plans) > _MAX_PLANS:
            _plans.popitem(last=False)
    return fresh


def realise(native: NativeCircuit, plan: Plan, rules: DeviceRules) -> Lowered | None:
    """Lower a circuit with the decisions of an earlier one.

    Args:
        native: Circuit on wires.
        plan: Decisions made for a circuit of the same skeleton.
        rules: The device of the plan.

    Returns:
        The program, or None when this circuit turns out to have another structure on atoms (an
        angle that happens to merge a pulse away).
    """
    on_atoms = _on_atoms(native, plan.swaps, plan.flips)
    if native_stage.skeleton(on_atoms) != plan.structure:
        return None
    pulses = _pulses(on_atoms, plan.placement, rules)
    if pulses is None:
        return None
    timed = retime(plan.order, on_atoms, pulses.durations, rules)
    return _finish(on_atoms, plan, timed, pulses, rules)


def _make_plan(
    native: NativeCircuit,
    rules: DeviceRules,
    layout: NDArray[np.float64] | None,
    route: str,
) -> Lowered | None:
    placement = place(native, rules, layout)
    interactions = placement.interactions_rad_per_us
    swaps = find_swaps(native, placement, rules, route)
    routed = _on_atoms(native, swaps, frozenset())
    flips = choose_flips(
        routed, lambda a, b, theta: gate_time_ns(rules, float(interactions[a, b]), theta)
    )
    on_atoms = _on_atoms(native, swaps, flips)
    pulses = _pulses(on_atoms, placement, rules)
    if pulses is None:
        return None
    timed = schedule(on_atoms, pulses.durations, rules)
    structure = native_stage.skeleton(on_atoms)
    plan = Plan(placement, swaps, flips, structure, timed)
    return _finish(on_atoms, plan, timed, pulses, rules)


def _on_atoms(
    native: NativeCircuit, swaps: tuple[Swap, ...], flips: frozenset[Stretch]
) -> NativeCircuit:
    circuit = native_stage.merge(insert_swaps(native, swaps)) if swaps else native
    return apply_flips(circuit, flips)


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
