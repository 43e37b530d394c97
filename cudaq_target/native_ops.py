"""The native gate set of a neutral-atom machine with local Raman and Rydberg beams.

Angles in rad. `Rz(a) = diag(e^{-ia/2}, e^{ia/2})`; `CPhase(θ) = diag(1, 1, 1, e^{iθ})`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class U3:
    """Rz(phi)·Ry(theta)·Rz(lam) on one atom: one Raman pulse of area theta, two virtual shifts.

    Canonical: 0 < theta <= π (a pulse is really there), phi and lam in (-π, π].
    """

    qubit: int
    theta: float
    phi: float
    lam: float


@dataclass(frozen=True, slots=True)
class Rz:
    """A virtual rotation; costs nothing."""

    qubit: int
    angle: float


@dataclass(frozen=True, slots=True)
class CPhase:
    """diag(1, 1, 1, e^{iθ}) on two atoms, symmetric in them; θ in (-π, π]."""

    a: int
    b: int
    theta: float


@dataclass(frozen=True, slots=True)
class CCZ:
    """diag(1, …, 1, -1) on three atoms, symmetric in them."""

    a: int
    b: int
    c: int


NativeOp = U3 | Rz | CPhase | CCZ


@dataclass(frozen=True, slots=True)
class NativeCircuit:
    """A circuit of native gates on wires.

    Attributes:
        n_qubits: Number of wires.
        ops: In program order.
        wire_of_qubit: Where each kernel qubit ends (SWAPs of the kernel are relabelled, not
            executed), so the readout of qubit k is the readout of wire `wire_of_qubit[k]`.
        global_phase: Phase γ in rad such that kernel unitary = e^{iγ}·(ops, then relabelling).
    """

    n_qubits: int
    ops: tuple[NativeOp, ...]
    wire_of_qubit: tuple[int, ...]
    global_phase: float = 0.0
