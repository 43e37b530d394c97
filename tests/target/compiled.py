"""Compiled programs of known structure, for the tests of what reads programs."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from cudaq_target.circuit import Circuit, Gate, Measurement
from cudaq_target.device import resolve
from cudaq_target.errors import Source
from cudaq_target.program import Program, compile_circuit


def gate(name: str, *targets: int, controls: tuple[int, ...] = (), params=(), **rest) -> Gate:
    here = Source("hand", 3, "hand.py")
    return Gate(name, targets, here, controls=controls, params=tuple(params), **rest)


def ghz(n: int) -> Circuit:
    pairs = [gate("x", k + 1, controls=(k,)) for k in range(n - 1)]
    measured = [Measurement(k, "bits", Source("ghz", 9, "hand.py")) for k in range(n)]
    return Circuit("ghz", n, (gate("h", 0), *pairs), tuple(measured))


def qft(n: int) -> Circuit:
    """A Fourier transform of a product state without symmetries."""
    gates = [gate("ry", k, params=(0.4 + 0.2 * k,)) for k in range(n)]
    for k in range(n):
        gates.append(gate("h", k))
        gates += [
            gate("r1", j, controls=(k,), params=(math.pi / 2 ** (j - k),)) for j in range(k + 1, n)
        ]
    return Circuit("qft", n, tuple(gates))


def ccz() -> Circuit:
    gates = [gate("h", k) for k in range(3)]
    gates.append(gate("z", 2, controls=(0, 1)))
    return Circuit("ccz", 3, (*gates, *(gate("ry", k, params=(1.1,)) for k in range(3))))


def odd_gates() -> Circuit:
    """Every kind of gate content: matrix, amplitudes, Pauli word, adjoint."""
    root = np.exp(0.25j * math.pi) * np.array([[1, -1j], [-1j, 1]]) / math.sqrt(2)
    amplitudes = np.array([0.6, 0.0, 0.0, -0.8j], dtype=complex)
    return Circuit(
        "odd",
        3,
        (
            gate("prepare", 0, 1, amplitudes=amplitudes),
            gate("unitary", 2, matrix=root),
            gate("s", 0, adjoint=True),
            gate("exp_pauli", 0, 1, 2, params=(0.3,), pauli="XYZ"),
        ),
    )


@cache
def programs() -> dict[str, Program]:
    """Programs by name."""
    mock = resolve("MockDevice")
    return {
        "single": compile_circuit(Circuit("single", 1, (gate("rx", 0, params=(0.7,)),))),
        "empty": compile_circuit(Circuit("empty", 2, ())),
        "ghz4": compile_circuit(ghz(4)),
        "ghz12": compile_circuit(ghz(12)),
        "qft5": compile_circuit(qft(5)),
        "ccz": compile_circuit(ccz()),
        "odd": compile_circuit(odd_gates()),
        "mock": compile_circuit(qft(3), mock, layout=np.array([[0.0, 0], [6.0, 0], [0, 6.0]])),
    }
