"""Hand-made native circuits and their exact states, for the stages after `native`."""

from __future__ import annotations

import cmath
import math

import numpy as np
from numpy.typing import NDArray

from cudaq_target.native_ops import CCZ, U3, CPhase, NativeCircuit, NativeOp, Rz


def rz(angle: float) -> NDArray[np.complex128]:
    return np.diag([cmath.exp(-0.5j * angle), cmath.exp(0.5j * angle)])


def ry(angle: float) -> NDArray[np.complex128]:
    c, s = math.cos(angle / 2), math.sin(angle / 2)
    return np.array([[c, -s], [s, c]], dtype=complex)


def state(native: NativeCircuit) -> NDArray[np.complex128]:
    """State of the kernel's qubits from |0…0>, qubit 0 most significant, phases included."""
    n = native.n_qubits
    psi = np.zeros((2,) * n, dtype=complex)
    psi[(0,) * n] = 1.0
    for op in native.ops:
        psi = _apply(psi, op)
    psi = np.transpose(psi, native.wire_of_qubit) if n else psi
    return cmath.exp(1j * native.global_phase) * psi.reshape(-1)


def _apply(psi: NDArray[np.complex128], op: NativeOp) -> NDArray[np.complex128]:
    if isinstance(op, U3 | Rz):
        matrix = rz(op.phi) @ ry(op.theta) @ rz(op.lam) if isinstance(op, U3) else rz(op.angle)
        return np.moveaxis(np.tensordot(matrix, psi, axes=(1, op.qubit)), 0, op.qubit)
    atoms, phase = (
        ((op.a, op.b), op.theta) if isinstance(op, CPhase) else ((op.a, op.b, op.c), np.pi)
    )
    where: list[slice | int] = [slice(None)] * psi.ndim
    for atom in atoms:
        where[atom] = 1
    psi = psi.copy()
    psi[tuple(where)] *= cmath.exp(1j * phase)
    return psi


def random_circuit(
    n: int, n_ops: int, rng: np.random.Generator, *, ccz: bool = False
) -> NativeCircuit:
    """A canonical random circuit: U3s alternate with entangling gates on each wire."""
    ops: list[NativeOp] = [_random_u3(q, rng) for q in range(n)]
    touched = [False] * n
    for _ in range(n_ops):
        wires = rng.permutation(n)
        kind = rng.integers(4)
        if kind == 0 and touched[wires[0]]:
            ops.append(_random_u3(int(wires[0]), rng))
            touched[wires[0]] = False
        elif kind == 1:
            ops.append(Rz(int(wires[0]), rng.uniform(-3, 3)))
        elif ccz and kind == 2 and n >= 3:
            ops.append(CCZ(*(int(w) for w in wires[:3])))
            for w in wires[:3]:
                touched[w] = True
        elif n >= 2:
            ops.append(CPhase(int(wires[0]), int(wires[1]), rng.uniform(-math.pi, math.pi)))
            touched[wires[0]] = touched[wires[1]] = True
    order = tuple(int(w) for w in rng.permutation(n))
    return NativeCircuit(n, tuple(ops), order, rng.uniform(-3, 3))


def _random_u3(qubit: int, rng: np.random.Generator) -> U3:
    phi, lam = rng.uniform(-math.pi, math.pi, size=2)
    return U3(qubit, rng.uniform(0.1, math.pi), float(phi), float(lam))


def ghz(n: int) -> NativeCircuit:
    """H, then CX along a chain, written with native gates."""
    half = math.pi / 2
    ops: list[NativeOp] = [U3(q, half, 0.0, math.pi) for q in range(n)]
    for q in range(n - 1):
        ops += [CPhase(q, q + 1, math.pi), U3(q + 1, half, 0.0, math.pi)]
    return NativeCircuit(n, tuple(ops), tuple(range(n)), half * (2 * n - 1))
