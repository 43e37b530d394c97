"""The cheap sign: a CPhase may be played with either sign of its angle, at very different cost.

Positive interaction makes negative phase quickly and positive phase slowly. Conjugating an atom
with X over the stretch between two of its Raman pulses flips the sign of every CPhase in it, since
X_a·CPhase(θ)·X_a = P_b(θ)·CPhase(-θ), and costs nothing: the X merge into those two pulses. So each
such stretch carries a free sign, and the signs are chosen together.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.native_ops import CCZ, U3, CPhase, NativeCircuit, NativeOp, Rz
from cudaq_target.units import TWO_PI, wrap_rad

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Stretch = tuple[int, int]
"""(atom, number of Raman pulses on it before the stretch)."""


def choose_flips(
    native: NativeCircuit,
    gate_times_ns: Callable[
        [NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]], NDArray[np.float64]
    ],
) -> frozenset[Stretch]:
    """Find the stretches to conjugate with X so that the sum of gate times is small.

    Coordinate descent over single stretches and over pairs that share a gate.

    Args:
        native: Circuit on atoms.
        gate_times_ns: Times of CPhase(theta) on atoms (a, b) for many gates at once (ns), as
            f(a, b, theta) of three arrays of shape (n_gates,).

    Returns:
        Stretches to flip. Never the first or last one of an atom (there is no pulse to merge
        with) and never one that holds a CCZ.
    """
    gates, free = _stretches(native)
    if not gates or not free:
        return frozenset()
    a = np.array([first[0] for first, _, _ in gates])
    b = np.array([second[0] for _, second, _ in gates])
    theta = np.array([angle for _, _, angle in gates])
    as_it_is, flipped_sign = gate_times_ns(a, b, theta), gate_times_ns(a, b, -theta)
    costs: list[tuple[float, float]]
    costs = list(zip(as_it_is.tolist(), flipped_sign.tolist(), strict=True))
    touching: dict[Stretch, list[int]] = {}
    for index, (first, second, _) in enumerate(gates):
        for stretch in (first, second):
            touching.setdefault(stretch, []).append(index)
    moves: list[tuple[Stretch, ...]] = [(s,) for s in touching if s in free]
    moves += [(one, two) for one, two, _ in gates if one in free and two in free]
    flipped: set[Stretch] = set()

    def cost(index: int) -> float:
        first, second, _ = gates[index]
        return costs[index][(first in flipped) != (second in flipped)]

    improved = True
    while improved:
        improved = False
        for move in moves:
            affected = {index for stretch in move for index in touching[stretch]}
            before = sum(cost(i) for i in affected)
            flipped.symmetric_difference_update(move)
            if sum(cost(i) for i in affected) < before - 1e-6:
                improved = True
            else:
                flipped.symmetric_difference_update(move)
    return frozenset(flipped)


def apply_flips(native: NativeCircuit, flips: frozenset[Stretch]) -> NativeCircuit:
    """Conjugate the chosen stretches with X.

    Args:
        native: Circuit on atoms.
        flips: Result of `choose_flips` for a circuit of the same structure.

    Returns:
        An equal circuit with the same gates on the same atoms, U3s canonical.
    """
    if not flips:
        return native
    pulses = [0] * native.n_qubits
    phase = native.global_phase
    ops: list[NativeOp] = []
    for op in native.ops:
        if isinstance(op, U3):
            stretch = (op.qubit, pulses[op.qubit])
            pulses[op.qubit] += 1
            theta, phi, lam = op.theta, op.phi, op.lam
            if stretch in flips:
                # Ry(θ)·X = i·Ry(θ+π)·Rz(π), and X·Rz(λ) = Rz(-λ)·X
                theta, lam = theta + math.pi, math.pi - lam
                phase += math.pi / 2.0
            if (op.qubit, pulses[op.qubit]) in flips:
                # X·Ry(θ) = i·Ry(π-θ)·Rz(π), and X·Rz(φ) = Rz(-φ)·X
                theta, phi, lam = math.pi - theta, -phi, lam + math.pi
                phase += math.pi / 2.0
            rotation, sign_phase = _canonical(op.qubit, theta, phi, lam)
            phase += sign_phase
            ops.append(rotation)
        elif isinstance(op, Rz):
            sign = -1.0 if (op.qubit, pulses[op.qubit]) in flips else 1.0
            ops.append(Rz(op.qubit, sign * op.angle))
        elif isinstance(op, CPhase):
            first = (op.a, pulses[op.a]) in flips
            second = (op.b, pulses[op.b]) in flips
            phase += _flip_gate(op, first, second, ops)
        else:
            ops.append(op)
    return NativeCircuit(native.n_qubits, tuple(ops), native.wire_of_qubit, phase)


def _canonical(qubit: int, theta: float, phi: float, lam: float) -> tuple[U3, float]:
    """The same rotation with 0 <= theta <= π and phi, lam in (-π, π], and the phase it loses."""
    theta = math.remainder(theta, 2.0 * TWO_PI)
    phase = 0.0
    if abs(theta) > math.pi:
        # Ry(θ ∓ 2π) = -Ry(θ)
        theta -= math.copysign(TWO_PI, theta)
        phase += math.pi
    if theta < 0.0:
        # Rz(π)·Ry(θ)·Rz(-π) = Ry(-θ)
        theta, phi, lam = -theta, phi + math.pi, lam - math.pi
    for angle in (phi, lam):
        # Rz(2π) = -1
        phase += math.pi * round((angle - wrap_rad(angle)) / TWO_PI)
    return U3(qubit, theta, wrap_rad(phi), wrap_rad(lam)), phase


def _flip_gate(op: CPhase, first: bool, second: bool, ops: list[NativeOp]) -> float:
    """Append X^f·CPhase·X^s conjugated; return its global phase."""
    theta = op.theta
    if first and second:
        ops += [Rz(op.a, -theta), Rz(op.b, -theta), op]
        # e^{iθ}·P_a(-θ)·P_b(-θ)·CPhase(θ), and P(-θ) = e^{-iθ/2}·Rz(-θ)
        return 0.0
    if first or second:
        ops += [Rz(op.b if first else op.a, theta), CPhase(op.a, op.b, -theta)]
        return theta / 2.0
    ops.append(op)
    return 0.0


def _stretches(
    native: NativeCircuit,
) -> tuple[list[tuple[Stretch, Stretch, float]], set[Stretch]]:
    """Gates with the stretches they lie in, and the stretches that may be flipped."""
    pulses = [0] * native.n_qubits
    gates: list[tuple[Stretch, Stretch, float]] = []
    fixed: set[Stretch] = set()
    for op in native.ops:
        if isinstance(op, U3):
            pulses[op.qubit] += 1
        elif isinstance(op, CPhase):
            gates.append(((op.a, pulses[op.a]), (op.b, pulses[op.b]), op.theta))
        elif isinstance(op, CCZ):
            fixed |= {(atom, pulses[atom]) for atom in (op.a, op.b, op.c)}
    free = {(atom, k) for atom in range(native.n_qubits) for k in range(1, pulses[atom])} - fixed
    return gates, free
