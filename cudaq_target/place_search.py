"""Local search behind `place`: which wire on which site (compiled)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.jit import compiled, next_uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray


@compiled
def _wire_cost(
    wire: int,
    site: int,
    site_of_wire: NDArray[np.int64],
    skip: int,
    cost_ns: NDArray[np.float64],
    radius_of_pair: NDArray[np.int64],
) -> float:
    """Cost of all gates of `wire` if it stood on `site`; gates with wire `skip` are left out."""
    total = 0.0
    for other in range(site_of_wire.shape[0]):
        if other not in (wire, skip):
            total += cost_ns[wire, other, radius_of_pair[site, site_of_wire[other]]]
    return total


@compiled
def _descend(
    site_of_wire: NDArray[np.int64],
    wire_of_site: NDArray[np.int64],
    cost_ns: NDArray[np.float64],
    radius_of_pair: NDArray[np.int64],
) -> None:
    """Swap contents of two sites as long as that lowers the cost; changes the arrays in place."""
    n_sites = wire_of_site.shape[0]
    improved = True
    while improved:
        improved = False
        for wire in range(site_of_wire.shape[0]):
            for site in range(n_sites):
                old = site_of_wire[wire]
                if site == old:
                    continue
                other = wire_of_site[site]
                change = _wire_cost(
                    wire, site, site_of_wire, other, cost_ns, radius_of_pair
                ) - _wire_cost(wire, old, site_of_wire, other, cost_ns, radius_of_pair)
                if other >= 0:
                    change += _wire_cost(
                        other, old, site_of_wire, wire, cost_ns, radius_of_pair
                    ) - _wire_cost(other, site, site_of_wire, wire, cost_ns, radius_of_pair)
                if change < -1e-9:
                    site_of_wire[wire] = site
                    wire_of_site[site] = wire
                    wire_of_site[old] = other
                    if other >= 0:
                        site_of_wire[other] = old
                    improved = True


@compiled
def _shuffle(order: NDArray[np.int64], random: NDArray[np.int64]) -> None:
    for last in range(order.shape[0] - 1, 0, -1):
        other = int(next_uniform(random) * (last + 1))
        order[last], order[other] = order[other], order[last]


@compiled
def _best_of_starts(
    cost_ns: NDArray[np.float64],
    radius_of_pair: NDArray[np.int64],
    n_starts: int,
    seed: int,
) -> NDArray[np.int64]:
    n_wires = cost_ns.shape[0]
    n_sites = radius_of_pair.shape[0]
    random = np.array([seed])
    best = np.arange(n_wires)
    best_cost = np.inf
    for start in range(n_starts):
        order = np.arange(n_sites)
        if start > 0:
            _shuffle(order, random)
        site_of_wire = order[:n_wires].copy()
        wire_of_site = np.full(n_sites, -1, dtype=np.int64)
        for wire in range(n_wires):
            wire_of_site[site_of_wire[wire]] = wire
        _descend(site_of_wire, wire_of_site, cost_ns, radius_of_pair)
        cost = 0.0
        for wire in range(n_wires):
            cost += _wire_cost(wire, site_of_wire[wire], site_of_wire, -1, cost_ns, radius_of_pair)
        if cost < best_cost - 1e-9:
            best_cost = cost
            best = site_of_wire
    return best


def assign_sites(
    cost_ns: NDArray[np.float64],
    radius_of_pair: NDArray[np.int64],
    n_starts: int,
    seed: int,
) -> NDArray[np.int64]:
    """Find an assignment of wires to sites with a small sum of gate times.

    Pairwise-swap descent from several random starts, the first one in site order.

    Args:
        cost_ns: Time of all gates of two wires at each radius (ns), shape
            (n_wires, n_wires, n_radii).
        radius_of_pair: Index of the radius between two sites, shape (n_sites, n_sites).
        n_starts: Number of starts.
        seed: Seed of the starts; equal seeds give equal results.

    Returns:
        Site of each wire, shape (n_wires,).
    """
    best: NDArray[np.int64] = _best_of_starts(cost_ns, radius_of_pair, n_starts, seed)
    return best
