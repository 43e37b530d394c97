"""The twelve circuits of the compile benchmark: mqt.bench 2.3.0, INDEP level, numpy seed 1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

SEED = 1


@dataclass(frozen=True, slots=True)
class Case:
    """One benchmark circuit; `bench` is its name in mqt.bench."""

    name: str
    bench: str
    n_qubits: int


CASES = tuple(
    Case(f"{short}-{n_qubits}", bench, n_qubits)
    for short, bench, sizes in (
        ("ghz", "ghz", (8, 10)),
        ("qft", "qft", (6, 8, 10)),
        ("qaoa", "qaoa", (6, 8)),
        ("vqe_two_local", "vqe_two_local", (6,)),
        ("grover", "grover", (4,)),
        ("adder", "cdkm_ripple_carry_adder", (8, 10)),
        ("wstate", "wstate", (8,)),
    )
    for n_qubits in sizes
)
QUICK = ("ghz-8", "qft-6", "grover-4", "wstate-8")


def case(name: str) -> Case:
    """Return the case of this name."""
    return next(entry for entry in CASES if entry.name == name)


@lru_cache(maxsize=32)
def circuit(entry: Case) -> QuantumCircuit:
    """Build the circuit without its final measurements."""
    from mqt.bench import BenchmarkLevel, get_benchmark  # noqa: PLC0415

    # mqt.bench draws the angles of QAOA and VQE from NumPy's global generator.
    np.random.seed(SEED)  # noqa: NPY002
    built = get_benchmark(entry.bench, BenchmarkLevel.INDEP, entry.n_qubits)
    built.remove_final_measurements()
    return built
