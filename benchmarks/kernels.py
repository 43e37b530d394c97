"""Circuits of the digital benchmark: gate lists, and CUDA-Q builder kernels of the same gates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cudaq_target.circuit import Circuit, Gate
from cudaq_target.errors import Source

SEED = 20250101
_HERE = Source("benchmark")


def h(qubit: int) -> Gate:
    return Gate("h", (qubit,), _HERE)


def cx(control: int, target: int) -> Gate:
    return Gate("x", (target,), _HERE, controls=(control,))


def cz(a: int, b: int) -> Gate:
    return Gate("z", (b,), _HERE, controls=(a,))


def u3(qubit: int, theta: float, phi: float, lam: float) -> Gate:
    return Gate("u3", (qubit,), _HERE, params=(theta, phi, lam))


def ghz(n: int) -> Circuit:
    """(|0…0> + |1…1>)/√2 by a chain of CX."""
    gates = [h(0), *(cx(k, k + 1) for k in range(n - 1))]
    return Circuit(f"ghz-{n}", n, tuple(gates))


def random_layers(n: int, depth: int, seed: int = SEED) -> Circuit:
    """`depth` layers of a random u3 on every qubit and CZ on random disjoint pairs."""
    rng = np.random.default_rng(seed)
    gates: list[Gate] = []
    for _ in range(depth):
        gates += random_rotations(n, rng)
        pairs = rng.permutation(n)[: 2 * (n // 2)].reshape(-1, 2)
        gates += [cz(int(a), int(b)) for a, b in pairs]
    return Circuit(f"random-{depth} n={n}", n, tuple(gates))


def random_rotations(n: int, rng: np.random.Generator) -> list[Gate]:
    """A random u3 on every qubit."""
    angles = rng.uniform(-math.pi, math.pi, (n, 3))
    return [u3(qubit, *row) for qubit, row in enumerate(angles.tolist())]


def generic_input(circuit: Circuit, seed: int = SEED) -> Circuit:
    """The circuit on a random product state instead of |0…0>."""
    head = random_rotations(circuit.n_qubits, np.random.default_rng(seed))
    return Circuit(circuit.kernel, circuit.n_qubits, (*head, *circuit.gates), circuit.measurements)


def ring(n: int, angles: list[float]) -> Circuit:
    """Layers of one ry per qubit (one angle each) and CX around a ring: 2·len(angles) gates."""
    gates: list[Gate] = []
    for start in range(0, len(angles), n):
        layer = angles[start : start + n]
        gates += [Gate("ry", (k,), _HERE, params=(angle,)) for k, angle in enumerate(layer)]
        gates += [cx(k, (k + 1) % n) for k in range(n)]
    return Circuit(f"ring-{n}", n, tuple(gates))


def to_cudaq(circuit: Circuit) -> Any:  # noqa: ANN401 - CUDA-Q gives its kernels no public type
    """Build the same gates as a CUDA-Q kernel."""
    import cudaq  # noqa: PLC0415

    kernel = cudaq.make_kernel()
    qubits = kernel.qalloc(circuit.n_qubits)
    for gate in circuit.gates:
        target = qubits[gate.targets[0]]
        if gate.controls:
            getattr(kernel, f"c{gate.name}")(qubits[gate.controls[0]], target)
        elif gate.name == "u3":
            kernel.u3(*gate.params, target)
        else:
            getattr(kernel, gate.name)(*gate.params, target)
    return kernel
