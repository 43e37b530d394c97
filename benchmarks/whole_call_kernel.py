"""The gate kernel of `whole_call`, in CUDA-Q's own language."""
# mypy: ignore-errors
# ruff: noqa: F821, ANN201 - CUDA-Q defines the gates, and a kernel that returns nothing says so

import cudaq


@cudaq.kernel
def leaning(n_qubits: int, angle: float):
    """A GHZ state of unequal weights with its last qubit flipped: no order but one is right."""
    q = cudaq.qvector(n_qubits)
    ry(angle, q[0])
    for k in range(n_qubits - 1):
        x.ctrl(q[k], q[k + 1])
    x(q[n_qubits - 1])
