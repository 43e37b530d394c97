"""The 22 circuits of the compile benchmark: mqt.bench 2.3.0, INDEP level, numpy seed 1."""

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


def _cases(*wanted: tuple[str, str, tuple[int, ...]]) -> tuple[Case, ...]:
    return tuple(
        Case(f"{short}-{n_qubits}", bench, n_qubits)
        for short, bench, sizes in wanted
        for n_qubits in sizes
    )


# The twelve for which the project has goals.
CASES = _cases(
    ("ghz", "ghz", (8, 10)),
    ("qft", "qft", (6, 8, 10)),
    ("qaoa", "qaoa", (6, 8)),
    ("vqe_two_local", "vqe_two_local", (6,)),
    ("grover", "grover", (4,)),
    ("adder", "cdkm_ripple_carry_adder", (8, 10)),
    ("wstate", "wstate", (8,)),
)
# Ten of other kinds, chosen by kind and size before any was compiled; no goals.
MORE = _cases(
    ("ae", "ae", (9,)),
    ("bv", "bv", (14,)),
    ("draper_adder", "draper_qft_adder", (12,)),
    ("graphstate", "graphstate", (16,)),
    ("hhl", "hhl", (5,)),
    ("qnn", "qnn", (8,)),
    ("qpeinexact", "qpeinexact", (10,)),
    ("qwalk", "qwalk", (6,)),
    ("randomcircuit", "randomcircuit", (7,)),
    ("vqe_su2", "vqe_su2", (12,)),
)
QUICK = ("ghz-8", "qft-6", "grover-4", "wstate-8")
QUICK_MORE = ("hhl-5", "qnn-8")


def case(name: str) -> Case:
    """Return the case of this name."""
    return next(entry for entry in (*CASES, *MORE) if entry.name == name)


@lru_cache(maxsize=32)
def circuit(entry: Case) -> QuantumCircuit:
    """Build the circuit without its final measurements."""
    from mqt.bench import BenchmarkLevel, get_benchmark  # noqa: PLC0415

    # mqt.bench draws the angles of QAOA and VQE from NumPy's global generator.
    np.random.seed(SEED)  # noqa: NPY002
    # Of a graph state the graph is drawn, too.
    seed = {"seed": SEED} if entry.bench == "graphstate" else {}
    built = get_benchmark(entry.bench, BenchmarkLevel.INDEP, entry.n_qubits, **seed)
    built.remove_final_measurements()
    return built
