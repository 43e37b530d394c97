"""Local search behind `place`: which wire on which site (compiled)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cudaq_target.kernels.jit import compiled, next_uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Problem(NamedTuple):
    """What standing where costs.

    Attributes:
        cost_ns: Time of all gates of two wires at each radius (ns), symmetric in the wires, shape
            (n_wires, n_wires, n_radii).
        radius_of_pair: Index of the radius between two sites, shape (n_sites, n_sites).
        triples: Wires that want to form a triangle, shape (n_triples, 3).
        triple_cost_ns: Time lost where they do not (ns), shape (n_triples,).
        usable: Whether an equilateral triangle with this side serves, shape (n_radii,).
        partners: Wires that share a cost with each wire, -1 where unused, shape (n_wires, any).
        triples_of_wire: Indices of the triples of each wire, -1 where unused, same.
    """

    cost_ns: NDArray[np.float64]
    radius_of_pair: NDArray[np.int64]
    triples: NDArray[np.int64]
    triple_cost_ns: NDArray[np.float64]
    usable: NDArray[np.bool_]
    partners: NDArray[np.int64]
    triples_of_wire: NDArray[np.int64]


@compiled
def _triple_cost(problem: Problem, triple: int, a: int, b: int, c: int) -> float:
    """Cost of a triple of wires that stand on sites a, b, c (ns)."""
    radius = problem.radius_of_pair[a, b]
    is_triangle = (
        problem.usable[radius]
        and problem.radius_of_pair[a, c] == radius
        and problem.radius_of_pair[b, c] == radius
    )
    return 0.0 if is_triangle else problem.triple_cost_ns[triple]


@compiled
def _wire_cost(
    problem: Problem, wire: int, site: int, site_of_wire: NDArray[np.int64], skip: int
) -> float:
    """Cost of all gates of `wire` if it stood on `site`; gates with wire `skip` are left out."""
    total = 0.0
    for other in problem.partners[wire]:
        if other < 0:
            break
        if other != skip:
            radius = problem.radius_of_pair[site, site_of_wire[other]]
            total += problem.cost_ns[wire, other, radius]
    for triple in problem.triples_of_wire[wire]:
        if triple < 0:
            break
        a, b, c = problem.triples[triple]
        if skip not in (a, b, c):
            total += _triple_cost(
                problem,
                triple,
                site if a == wire else site_of_wire[a],
                site if b == wire else site_of_wire[b],
                site if c == wire else site_of_wire[c],
            )
    return total


@compiled
def _total_cost(problem: Problem, site_of_wire: NDArray[np.int64]) -> float:
    total = 0.0
    for wire in range(site_of_wire.shape[0]):
        for other in problem.partners[wire]:
            if other > wire:
                radius = problem.radius_of_pair[site_of_wire[wire], site_of_wire[other]]
                total += problem.cost_ns[wire, other, radius]
    for triple in range(problem.triples.shape[0]):
        a, b, c = problem.triples[triple]
        total += _triple_cost(problem, triple, site_of_wire[a], site_of_wire[b], site_of_wire[c])
    return total


@compiled
def _descend(
    problem: Problem, site_of_wire: NDArray[np.int64], wire_of_site: NDArray[np.int64]
) -> None:
    """Swap contents of two sites as long as that lowers the cost; changes the arrays in place."""
    improved = True
    while improved:
        improved = False
        for wire in range(site_of_wire.shape[0]):
            for site in range(wire_of_site.shape[0]):
                old = site_of_wire[wire]
                if site == old:
                    continue
                other = wire_of_site[site]
                change = _wire_cost(problem, wire, site, site_of_wire, other) - _wire_cost(
                    problem, wire, old, site_of_wire, other
                )
                if other >= 0:
                    change += _wire_cost(problem, other, old, site_of_wire, wire) - _wire_cost(
                        problem, other, site, site_of_wire, wire
                    )
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
def _best_of_starts(problem: Problem, n_starts: int, seed: int) -> tuple[NDArray[np.int64], float]:
    n_wires = problem.cost_ns.shape[0]
    n_sites = problem.radius_of_pair.shape[0]
    random = np.array([seed])
    best = np.arange(n_wires)
    best_cost = np.inf
    for start in range(n_starts):
        site_of_wire = np.arange(n_wires)
        if start > 0:
            _shuffle(site_of_wire, random)
        wire_of_site = np.full(n_sites, -1, dtype=np.int64)
        for wire in range(n_wires):
            wire_of_site[site_of_wire[wire]] = wire
        _descend(problem, site_of_wire, wire_of_site)
        cost = _total_cost(problem, site_of_wire)
        if cost < best_cost - 1e-9:
            best_cost = cost
            best = site_of_wire
    return best, best_cost


def assign_sites(
    cost_ns: NDArray[np.float64],
    radius_of_pair: NDArray[np.int64],
    triples: dict[tuple[int, int, int], float],
    usable: NDArray[np.bool_],
    n_starts: int,
    seed: int,
) -> tuple[NDArray[np.int64], float]:
    """Find an assignment of wires to sites with a small sum of gate times.

    Pairwise-swap descent from several starts: all of them on the first sites, the first one in
    order, so the sites should be sorted from the centre outwards.

    Args:
        cost_ns: Time of all gates of two wires at each radius (ns), symmetric in the wires, shape
            (n_wires, n_wires, n_radii).
        radius_of_pair: Index of the radius between two sites, shape (n_sites, n_sites).
        triples: Time lost (ns) where three wires do not form a usable triangle.
        usable: Whether an equilateral triangle with this side serves, shape (n_radii,).
        n_starts: Number of starts.
        seed: Seed of the starts, at least 1; equal seeds give equal results.

    Returns:
        Site of each wire, shape (n_wires,), and its cost (ns).
    """
    n_wires = len(cost_ns)
    wires = list(triples)
    problem = Problem(
        cost_ns=cost_ns,
        radius_of_pair=radius_of_pair,
        triples=np.array(wires, dtype=np.int64).reshape(-1, 3),
        triple_cost_ns=np.array(list(triples.values()), dtype=np.float64),
        usable=usable,
        partners=_table([np.flatnonzero(costs.any(axis=-1)).tolist() for costs in cost_ns]),
        triples_of_wire=_table(
            [[k for k, triple in enumerate(wires) if wire in triple] for wire in range(n_wires)]
        ),
    )
    site_of_wire, found_ns = _best_of_starts(problem, n_starts, seed)
    return site_of_wire, float(found_ns)


def _table(rows: list[list[int]]) -> NDArray[np.int64]:
    """Rows of unequal length as one array, padded with -1."""
    table = np.full((len(rows), max(map(len, rows), default=0)), -1, dtype=np.int64)
    for row, entries in zip(table, rows, strict=True):
        row[: len(entries)] = entries
    return table
