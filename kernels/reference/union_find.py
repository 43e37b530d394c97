"""Union-find decoding in plain Python: clusters grow by steps, whole graph at a time.

Defines the result of `kernels.cpu.union_find`, which waits for events instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.reference.layout import unpack_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Numbers = NDArray[np.int32]


def decode_row(
    n_detectors: int, ends: Numbers, weights: Numbers, flips: Words, syndrome: Words
) -> Words | None:
    """Decode one syndrome (arXiv:1709.06218, with weights).

    A cluster grows while it holds an odd number of lit detectors and has not reached the boundary:
    by 1 per step, on every edge that leaves it. Edges as long as their weight are full. Those that
    are full in the same step join what they connect in the order of their numbers; an edge that
    joins two clusters belongs to the spanning forest, and of the edges to the boundary a cluster
    keeps its first, two joined clusters the lower one. The correction explains the lit detectors
    by edges of the forest.

    Args:
        n_detectors: The boundary is vertex `n_detectors`.
        ends: Shape (n_edges, 2), each row ascending.
        weights: At least 1, shape (n_edges,).
        flips: Packed observables, shape (n_edges, n_words).
        syndrome: Packed, shape (ceil(n_detectors / 64),).

    Returns:
        Packed flips, shape (n_words,); None if no set of errors explains the syndrome.
    """
    lit = unpack_bits(syndrome[None], n_detectors)[0].astype(bool)
    cluster = np.arange(n_detectors)  # its lowest vertex
    exits: dict[int, int] = {}
    forest: list[int] = []
    growth = np.zeros(len(ends), dtype=np.int64)

    def is_active(root: int) -> bool:
        return bool(lit[cluster == root].sum() % 2) and root not in exits

    while active := [root for root in np.unique(cluster[lit]).tolist() if is_active(root)]:
        grows = np.append(np.isin(cluster, active), False)[ends]
        groups = np.append(cluster, -1)[ends]
        speeds = np.where(groups[:, 0] == groups[:, 1], 0, grows.sum(axis=1))
        speeds[growth >= weights] = 0
        if not speeds.any():
            return None
        growth += speeds
        for edge in np.flatnonzero((speeds > 0) & (growth >= weights)).tolist():
            _join(edge, ends[edge], cluster, exits, forest)
    return _peel(ends, flips, lit, forest, exits)


def _join(
    edge: int, ends: Numbers, cluster: NDArray[np.int64], exits: dict[int, int], forest: list[int]
) -> None:
    first = int(cluster[ends[0]])
    if ends[1] == len(cluster):
        exits.setdefault(first, edge)
        return
    second = int(cluster[ends[1]])
    if first == second:
        return
    kept, gone = min(first, second), max(first, second)
    cluster[cluster == gone] = kept
    found = [exits.pop(root) for root in (kept, gone) if root in exits]
    if found:
        exits[kept] = min(found)
    forest.append(edge)


def _peel(
    ends: Numbers, flips: Words, lit: NDArray[np.bool_], forest: list[int], exits: dict[int, int]
) -> Words:
    """Take leaves off the forest, lit ones with their edge; what holds an exit comes last."""
    correction = np.zeros(flips.shape[1], dtype=np.uint64)
    keepers = {int(ends[edge, 0]) for edge in exits.values()}
    edges = set(forest)
    while edges:
        touching: dict[int, list[int]] = {}
        for edge in edges:
            for vertex in ends[edge].tolist():
                touching.setdefault(vertex, []).append(edge)
        leaf = min(v for v, around in touching.items() if len(around) == 1 and v not in keepers)
        (edge,) = touching[leaf]
        if lit[leaf]:
            lit[ends[edge]] ^= True
            correction ^= flips[edge]
        edges.remove(edge)
    for edge in exits.values():
        if lit[ends[edge, 0]]:
            correction ^= flips[edge]
    return correction
