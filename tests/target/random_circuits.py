"""Random circuits that use every gate, with controls, exact special angles and general ones."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from cudaq_target.circuit import Circuit, Gate
from cudaq_target.errors import Source

SOURCE = Source("random")
N_PARAMS = {"r1": 1, "rx": 1, "ry": 1, "rz": 1, "u2": 2, "u3": 3, "phased_rx": 2}
NAMES = ("h", "x", "y", "z", "s", "t", *N_PARAMS, "swap", "exp_pauli", "unitary")
SPECIAL = (0.0, math.pi, -math.pi / 2, math.pi / 2, math.pi / 4, -math.pi, 2 * math.pi)


def random_unitary(n_qubits: int, rng: np.random.Generator):
    """Haar-random, shape (2^n, 2^n)."""
    shape = (2**n_qubits, 2**n_qubits)
    q, r = np.linalg.qr(rng.normal(size=shape) + 1j * rng.normal(size=shape))
    return q * (np.diag(r) / np.abs(np.diag(r)))


def random_state(n_qubits: int, rng: np.random.Generator):
    """Haar-random, shape (2^n,)."""
    state = rng.normal(size=2**n_qubits) + 1j * rng.normal(size=2**n_qubits)
    return state / np.linalg.norm(state)


def random_angle(rng: np.random.Generator, special: float) -> float:
    return float(rng.choice(SPECIAL) if rng.random() < special else rng.normal() * 3)


def random_gate(
    n_qubits: int, rng: np.random.Generator, *, names=NAMES, max_controls=3, special=0.4
) -> Gate:
    name = str(rng.choice([n for n in names if n != "swap" or n_qubits > 1]))
    largest = {"swap": 2, "exp_pauli": 4, "unitary": 3}.get(name, 1)
    n_targets = 2 if name == "swap" else int(rng.integers(1, min(largest, n_qubits) + 1))
    n_controls = int(rng.integers(0, min(max_controls, n_qubits - n_targets) + 1))
    on = tuple(int(q) for q in rng.permutation(n_qubits)[: n_targets + n_controls])
    n_params = N_PARAMS.get(name, 1 if name == "exp_pauli" else 0)
    return Gate(
        name,
        on[:n_targets],
        SOURCE,
        controls=on[n_targets:],
        params=tuple(random_angle(rng, special) for _ in range(n_params)),
        adjoint=bool(rng.random() < 0.3),
        pauli="".join(rng.choice(list("IXYZ"), size=n_targets)) if name == "exp_pauli" else "",
        matrix=random_unitary(n_targets, rng) if name == "unitary" else None,
    )


def random_circuit(seed: int, n_qubits: int, n_gates: int, **options) -> Circuit:
    rng = np.random.default_rng(seed)
    gates = tuple(random_gate(n_qubits, rng, **options) for _ in range(n_gates))
    return Circuit("random", n_qubits, gates)


@st.composite
def circuits(draw, *, max_qubits=5, max_gates=14, **options) -> Circuit:
    """Hypothesis draws size and seed, so that a failure shrinks to few qubits and gates."""
    n_qubits = draw(st.integers(1, max_qubits))
    n_gates = draw(st.integers(0, max_gates))
    return random_circuit(draw(st.integers(0, 2**32 - 1)), n_qubits, n_gates, **options)
