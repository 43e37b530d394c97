"""Kernels in CUDA-Q's own language, for what is measured through `cudaq.sample`."""
# mypy: ignore-errors
# ruff: noqa: F821, ANN201 - CUDA-Q defines the gates, and a kernel that returns nothing says so

import cudaq


@cudaq.kernel
def ring(n_qubits: int, n_layers: int, angles: list[float]):
    """Layers of ry on every qubit and CX around a ring: 2·n_qubits·n_layers gates."""
    q = cudaq.qvector(n_qubits)
    for layer in range(n_layers):
        for k in range(n_qubits):
            ry(angles[layer * n_qubits + k], q[k])
        for k in range(n_qubits):
            x.ctrl(q[k], q[(k + 1) % n_qubits])


@cudaq.kernel
def phases(n_qubits: int, n_layers: int, angles: list[float]):
    """Layers of rx on every qubit and CPhase around a ring, each with an angle of its own."""
    q = cudaq.qvector(n_qubits)
    for layer in range(n_layers):
        for k in range(n_qubits):
            rx(0.3 + angles[layer * n_qubits + k], q[k])
        for k in range(n_qubits):
            r1.ctrl(angles[layer * n_qubits + k], q[k], q[(k + 1) % n_qubits])


@cudaq.kernel
def graph_layer(n_qubits: int, left: list[int], right: list[int], phase: float, angle: float):
    """One layer over the edges of a graph: a CPhase on each, then rx on every qubit."""
    q = cudaq.qvector(n_qubits)
    h(q)
    for k in range(len(left)):
        r1.ctrl(phase, q[left[k]], q[right[k]])
    rx(angle, q)
