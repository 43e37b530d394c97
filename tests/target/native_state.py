"""States of circuits and of native circuits, by direct application of each gate."""

from __future__ import annotations

import cmath
import math

import numpy as np
from numpy.typing import NDArray

from cudaq_target.circuit import Circuit, Gate
from cudaq_target.gates import unitary
from cudaq_target.native_ops import CCZ, U3, CPhase, NativeCircuit, NativeOp, Rz

State = NDArray[np.complex128]


def apply(state: State, matrix: NDArray[np.complex128], qubits: tuple[int, ...]) -> State:
    """Apply a matrix (first qubit most significant) to a tensor, one axis per qubit."""
    k = len(qubits)
    tensor = matrix.reshape((2,) * (2 * k))
    moved = np.tensordot(tensor, state, axes=(range(k, 2 * k), qubits))
    return np.moveaxis(moved, range(k), qubits)


def circuit_state(circuit: Circuit, start: State | None = None) -> State:
    """State vector of a circuit, shape (2^n,)."""
    state = _start(circuit.n_qubits, start)
    for gate in circuit.gates:
        state = (
            _prepare(state, gate)
            if gate.name == "prepare"
            else apply(state, unitary(gate), gate.controls + gate.targets)
        )
    return state.reshape(-1)


def native_state(native: NativeCircuit, start: State | None = None) -> State:
    """State vector of a native circuit in the order of the kernel's qubits, shape (2^n,)."""
    state = _start(native.n_qubits, start)
    for op in native.ops:
        state = apply(state, *_operation(op))
    state = np.transpose(state, native.wire_of_qubit) if native.n_qubits else state
    return cmath.exp(1j * native.global_phase) * state.reshape(-1)


def _start(n_qubits: int, start: State | None) -> State:
    if start is not None:
        return start.reshape((2,) * n_qubits)
    state = np.zeros((2,) * n_qubits, dtype=complex)
    state[(0,) * n_qubits] = 1.0
    return state


def _prepare(state: State, gate: Gate) -> State:
    amplitudes = gate.amplitudes
    assert amplitudes is not None
    column = np.zeros((amplitudes.size,) * 2, dtype=complex)
    column[:, 0] = amplitudes
    return apply(state, column, gate.targets)


def _rz(angle: float) -> NDArray[np.complex128]:
    return np.diag([cmath.exp(-0.5j * angle), cmath.exp(0.5j * angle)])


def _operation(op: NativeOp) -> tuple[NDArray[np.complex128], tuple[int, ...]]:
    match op:
        case U3(qubit, theta, phi, lam):
            cos, sin = math.cos(theta / 2), math.sin(theta / 2)
            return _rz(phi) @ np.array([[cos, -sin], [sin, cos]]) @ _rz(lam), (qubit,)
        case Rz(qubit, angle):
            return _rz(angle), (qubit,)
        case CPhase(a, b, theta):
            return np.diag([1, 1, 1, cmath.exp(1j * theta)]), (a, b)
        case CCZ(a, b, c):
            return np.diag([1, 1, 1, 1, 1, 1, 1, -1]).astype(complex), (a, b, c)
