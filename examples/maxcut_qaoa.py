"""MaxCut by QAOA: split a graph in two so that as many edges as possible run between the parts.

The atoms' interaction falls with the sixth power of distance, so not every edge is a short gate;
placement puts atoms with common edges side by side, which `program.report()` shows.
"""

from __future__ import annotations

import itertools

import cudaq
import numpy as np
from scipy.optimize import minimize

from cudaq_target import compile  # noqa: A004

EDGES = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (0, 3), (1, 4)]
N_NODES = 6


@cudaq.kernel
def qaoa(
    n: int, left: list[int], right: list[int], gammas: list[float], betas: list[float]
) -> None:
    """Alternate between the cost, one angle of `gammas`, and the mixer, one of `betas`."""
    q = cudaq.qvector(n)
    h(q)
    for layer in range(len(gammas)):
        for edge in range(len(left)):
            x.ctrl(q[left[edge]], q[right[edge]])
            rz(gammas[layer], q[right[edge]])
            x.ctrl(q[left[edge]], q[right[edge]])
        rx(2.0 * betas[layer], q)


def cut_size(bits: str) -> int:
    """Count the edges that run between the two parts."""
    return sum(bits[a] != bits[b] for a, b in EDGES)


def main(n_layers: int = 2, n_shots: int = 2000, n_evaluations: int = 60) -> float:
    """Optimise the angles on the exact expectation value, then sample; return the mean ratio."""
    left, right = ([edge[side] for edge in EDGES] for side in (0, 1))
    cost = sum(0.5 * (cudaq.spin.z(a) * cudaq.spin.z(b) - 1.0) for a, b in EDGES)

    def expected_cost(angles: np.ndarray) -> float:
        gammas, betas = angles[:n_layers].tolist(), angles[n_layers:].tolist()
        return cudaq.observe(qaoa, cost, N_NODES, left, right, gammas, betas).expectation()

    cudaq.set_target("pasqal", seed=1)
    start = np.concatenate([np.full(n_layers, 0.8), np.full(n_layers, -0.4)])
    best = minimize(expected_cost, start, method="COBYLA", options={"maxiter": n_evaluations})
    angles = best.x[:n_layers].tolist(), best.x[n_layers:].tolist()
    print(compile(qaoa, N_NODES, left, right, *angles).report())

    counts = dict(cudaq.sample(qaoa, N_NODES, left, right, *angles, shots_count=n_shots).items())
    largest = max(cut_size("".join(bits)) for bits in itertools.product("01", repeat=N_NODES))
    found = max(counts, key=cut_size)
    mean = sum(n * cut_size(bits) for bits, n in counts.items()) / n_shots
    print(f"best cut {cut_size(found)} of {largest} by {found}; mean {mean / largest:.2f}")
    return mean / largest


if __name__ == "__main__":
    main()
