"""A circuit on qubits becomes a circuit of native gates on wires.

The gates are unrolled into a merger that cancels while they arrive, runs on one pair of wires are
written anew when that saves CPhases, and what is left of one-qubit gates becomes one Raman pulse
between two entangling gates. The machine starts in |0…0>, and only the state that results counts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from cudaq_target.native_ops import CCZ, U3, CPhase, NativeCircuit, NativeOp, Rz
from cudaq_target.synthesis.blocks import consolidate
from cudaq_target.synthesis.cnot_networks import with_shorter_networks
from cudaq_target.synthesis.merge import Local, Merger, Pair, Triple, WireOp
from cudaq_target.synthesis.multi_control import MultiControl
from cudaq_target.synthesis.one_qubit import ZERO_TOLERANCE, euler_angles, multiply, ry, rz
from cudaq_target.synthesis.unroll import Unroller
from cudaq_target.units import wrap_rad

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Iterable, Sequence

    from cudaq_target.circuit import Circuit


def lower(circuit: Circuit, *, ccz: bool, from_zero: bool = True) -> NativeCircuit:
    """Write a circuit in native gates.

    Args:
        circuit: Gates of any kind on numbered qubits.
        ccz: Keep three-qubit gates of this class as CCZ; otherwise they become CPhases.
        from_zero: All qubits start in state 0, and only the final state must be right. Without
            it the unitary is right on every input (`prepare` still needs its qubits in 0).

    Returns:
        Each wire has at least one entangling gate between two U3, angles are canonical, no CPhase
        is trivial. No Rz is left over unless a wire has no U3 at all.

    Raises:
        UnsupportedKernelError: A state preparation with controls or adjoint.
    """
    native = _lower(circuit, ccz=ccz, from_zero=from_zero)
    gates = with_shorter_networks(circuit.gates)
    if gates is None:
        return native
    shorter = _lower(replace(circuit, gates=gates), ccz=ccz, from_zero=from_zero)
    return min(native, shorter, key=_n_entangling)


def _n_entangling(native: NativeCircuit) -> int:
    return sum(isinstance(op, CPhase | CCZ) for op in native.ops)


def _lower(circuit: Circuit, *, ccz: bool, from_zero: bool) -> NativeCircuit:
    """Unroll, merge, consolidate and name the gates."""
    n_wires = circuit.n_qubits
    merger = Merger(n_wires, from_zero=from_zero)
    unroller = Unroller(merger, n_wires, ccz=ccz)
    unroller.circuit(circuit)
    ops, phase, moved_to = _shorten(merger, n_wires, from_zero=from_zero)
    native, emitted_phase = _emit(ops, n_wires, from_zero=from_zero)
    return NativeCircuit(
        n_qubits=n_wires,
        ops=tuple(native),
        wire_of_qubit=tuple([moved_to[wire] for wire in unroller.wire_of]),
        global_phase=wrap_rad(phase + emitted_phase),
    )


def _shorten(
    merger: Merger, n_wires: int, *, from_zero: bool, may_exchange: bool = True
) -> tuple[list[WireOp], float, list[int]]:
    """Merge and consolidate until nothing gets shorter.

    Returns:
        The gates, their global phase (rad), and where the content of each wire ends.
    """
    moved_to = list(range(n_wires))
    ops = merger.finish()
    phase = merger.phase
    while True:
        if not merger.stale:
            shorter = consolidate(ops, n_wires, from_zero=from_zero, may_exchange=may_exchange)
            if shorter is None:
                return ops, phase, moved_to
            ops = shorter.ops
            phase += shorter.phase
            moved_to = [shorter.wire_of[wire] for wire in moved_to]
        merger = Merger(n_wires, from_zero=from_zero)
        for op in ops:
            merger.add(op)
        ops = merger.finish()
        phase += merger.phase


def merge(native: NativeCircuit) -> NativeCircuit:
    """Merge gates again, after a later stage has inserted some.

    Args:
        native: Any native circuit that starts in |0…0>.

    Returns:
        An equal circuit with the properties that `lower` promises; every qubit ends on the wire
        that it ended on.
    """
    return expand_ccz(native, frozenset())


def expand_ccz(native: NativeCircuit, positions: Container[int]) -> NativeCircuit:
    """Write some of the CCZs as five CPhases each, and merge.

    Args:
        native: Any native circuit that starts in |0…0>.
        positions: Indices into its ops of the CCZs to expand.

    Returns:
        An equal circuit, as from `merge`; the other CCZs stay.
    """
    merger = Merger(native.n_qubits, from_zero=True)
    controlled = MultiControl(merger, ccz=False)
    for position, op in enumerate(native.ops):
        match op:
            case U3():
                matrix = multiply(rz(op.phi), multiply(ry(op.theta), rz(op.lam)))
                merger.local(op.qubit, matrix)
            case Rz():
                merger.local(op.qubit, rz(op.angle))
            case CPhase():
                merger.pair(op.a, op.b, op.theta)
            case CCZ() if position in positions:
                *controls, target = _ending_with_target(native, position, (op.a, op.b, op.c))
                controlled.rotation(tuple(controls), target, math.pi)
                controlled.phase(tuple(controls), math.pi / 2.0)
            case CCZ():
                merger.triple(*sorted((op.a, op.b, op.c)))
    ops, phase, _ = _shorten(merger, native.n_qubits, from_zero=True, may_exchange=False)
    merged, emitted_phase = _emit(ops, native.n_qubits, from_zero=True)
    return NativeCircuit(
        n_qubits=native.n_qubits,
        ops=tuple(merged),
        wire_of_qubit=native.wire_of_qubit,
        global_phase=wrap_rad(native.global_phase + phase + emitted_phase),
    )


def _ending_with_target(native: NativeCircuit, position: int, wires: tuple[int, ...]) -> list[int]:
    """The wires of a CCZ, the one with pulses next to it last: those of the CPhases merge there."""

    def n_sides(wire: int) -> int:
        return sum(
            _next_is_u3(ops, wire)
            for ops in (native.ops[position + 1 :], reversed(native.ops[:position]))
        )

    return sorted(wires, key=n_sides)


def _next_is_u3(ops: Iterable[NativeOp], wire: int) -> bool:
    """Whether a pulse on the wire comes before its next entangling gate."""
    for op in ops:
        match op:
            case U3() if op.qubit == wire:
                return True
            case CPhase() if wire in (op.a, op.b):
                return False
            case CCZ() if wire in (op.a, op.b, op.c):
                return False
    return False


def skeleton(native: NativeCircuit) -> Hashable:
    """Return what a native circuit has in common with the same kernel at other parameters.

    Args:
        native: Any native circuit.

    Returns:
        Kinds and wires of the gates in order, and where the qubits end; no angles.
    """
    kinds: list[tuple[str | int, ...]] = []
    for op in native.ops:
        match op:
            case U3() | Rz():
                kinds.append((type(op).__name__, op.qubit))
            case CPhase():
                kinds.append(("CPhase", op.a, op.b))
            case CCZ():
                kinds.append(("CCZ", op.a, op.b, op.c))
    return (native.n_qubits, native.wire_of_qubit, tuple(kinds))


def _emit(ops: Sequence[WireOp], n_wires: int, *, from_zero: bool) -> tuple[list[NativeOp], float]:
    """Name the gates of the native set, and return the global phase (rad) that is left."""
    native: list[NativeOp] = []
    phase = 0.0
    untouched = [from_zero] * n_wires
    for op in ops:
        match op:
            case Pair():
                # One name for the angle π, so that its pulse is found in the cache.
                half_turn = math.pi - abs(op.theta) < ZERO_TOLERANCE
                native.append(CPhase(op.a, op.b, math.pi if half_turn else op.theta))
            case Triple():
                native.append(CCZ(op.a, op.b, op.c))
            case Local():
                theta, phi, lam, left = euler_angles(op.matrix)
                phase += left
                if untouched[op.wire]:
                    # A rotation about z of |0> is a phase.
                    phase -= lam / 2
                    lam = 0.0
                    untouched[op.wire] = False
                if math.sin(theta / 2) >= ZERO_TOLERANCE:
                    native.append(U3(op.wire, theta, phi, lam))
                elif abs(lam) >= ZERO_TOLERANCE:
                    native.append(Rz(op.wire, wrap_rad(phi + lam)))
    return native, phase
