"""Maximum independent sets of unit-disk graphs, by an adiabatic sweep and by optimising its shape.

Run it: `python examples/analog_mis.py [shots]`. Atoms stand on the vertices; two that are nearer
than the blockade radius are not excited together, so that the ground state above resonance is a
largest set of vertices without an edge between them (arXiv:1808.10816).
"""

from __future__ import annotations

import itertools
import sys

import cudaq
import numpy as np
from cudaq import ScalarOperator, Schedule
from scipy.optimize import minimize

from cudaq_target import Pasqal
from cudaq_target.analog.ansatz import AnalogAnsatz, Shape, analog_ansatz

SPACING_UM = 5.3
MHZ = 2.0 * np.pi  # rad/µs
DURATION_NS = 4000
# Vertices in units of the spacing, and the size of their largest independent set. Edges join
# vertices at a distance of at most 1.01.
GRAPHS = {
    "ring of 5": (
        [(0.8507 * np.cos(a), 0.8507 * np.sin(a)) for a in 0.4 * np.pi * np.arange(5)],
        2,
    ),
    "ladder of 3 rungs": ([(x, y) for x in range(3) for y in range(2)], 3),
    "square of 9 without a corner": ([(x, y) for x in range(3) for y in range(3)][1:], 4),
}


def edges(vertices: list[tuple[float, float]]) -> list[tuple[int, int]]:
    """Pairs of vertices at unit distance."""
    pairs = itertools.combinations(range(len(vertices)), 2)
    return [(i, j) for i, j in pairs if np.hypot(*np.subtract(vertices[i], vertices[j])) <= 1.01]


def sizes(bits: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
    """Size of the set of each shot, after taking out one end of every edge inside it."""
    kept = bits.astype(bool).copy()
    for i, j in pairs:
        kept[:, j] &= ~kept[:, i]
    return kept.sum(axis=1)


def sweep(vertices: list[tuple[float, float]]) -> tuple[cudaq.RydbergHamiltonian, Schedule]:
    """Return an adiabatic sweep over the graph."""
    end = 1e-9 * DURATION_NS
    rabi, edge = 1.5e6 * MHZ, 3e6 * MHZ
    schedule = Schedule([0.0, 0.15 * end, 0.85 * end, end], ["t"])
    amplitude = ScalarOperator(lambda t: rabi * (0.1 * end < t.real < 0.9 * end))
    detuning = ScalarOperator(
        lambda t: edge * (2.0 * np.clip((t.real / end - 0.15) / 0.7, 0.0, 1.0) - 1.0)
    )
    sites = 1e-6 * SPACING_UM * np.array(vertices, dtype=float)
    sites -= sites.mean(axis=0)
    zero = ScalarOperator.const(0.0)
    return cudaq.RydbergHamiltonian(sites.tolist(), amplitude, zero, detuning), schedule


def optimised(
    vertices: list[tuple[float, float]], n_shots: int, n_steps: int
) -> tuple[AnalogAnsatz, float, float]:
    """Shorten the sweep to a third and optimise its shape from shots; mean sizes before, after."""
    sites = SPACING_UM * (np.array(vertices, dtype=float) - np.mean(vertices, axis=0))
    pairs = edges(vertices)
    shapes = Shape(4, first=0.0, last=0.0), Shape(4)
    ansatz = analog_ansatz(sites, DURATION_NS // 3 // 4 * 4, *shapes)

    def mean_size(parameters: np.ndarray) -> float:
        low, high = ansatz.bounds.T
        with Pasqal(seed=1):  # the same random numbers at every point
            result = cudaq.evolve(ansatz.bind(np.clip(parameters, low, high)), shots_count=n_shots)
        return float(sizes(result.shots.bits(), pairs).mean())

    start = ansatz.values(lambda _: 1.5 * MHZ, lambda share: 3.0 * MHZ * (2.0 * share - 1.0))
    found = minimize(
        lambda parameters: -mean_size(parameters), start, method="COBYLA",
        options={"maxiter": n_steps, "rhobeg": 3.0},
    )  # fmt: skip
    return ansatz, mean_size(start), max(mean_size(start), -float(found.fun))


def main(n_shots: int = 1000, n_steps: int = 40) -> dict[str, tuple[float, float, float]]:
    """Print how often the sweep finds an optimum, and what optimising a short one gains."""
    results = {}
    for name, (vertices, best) in GRAPHS.items():
        pairs = edges(vertices)
        hamiltonian, schedule = sweep(vertices)
        with Pasqal(seed=1):
            result = cudaq.evolve(hamiltonian, schedule=schedule, shots_count=n_shots)
        found = sizes(result.shots.bits(), pairs)
        _, before, after = optimised(vertices, n_shots // 2, n_steps)
        share = float((found == best).mean())
        print(
            f"{name}: optimum {best}, found in {share:.0%} of the shots; "
            f"a third of the time: mean size {before:.2f}, optimised {after:.2f}"
        )
        results[name] = (share, before, after)
    return results


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
