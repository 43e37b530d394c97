"""Unit-disk graphs, their largest independent sets, and where atoms stand for them.

Atoms nearer than the blockade radius are not excited together, so that edges are distances below
it (Pichler et al., arXiv:1808.10816).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from cudaq_target.analog.rules import AnalogRules

MAX_EXACT: Final = 20
"""Vertices up to which all sets are tried."""

_SLACK: Final = 1e-9
_LEAST_RATIO: Final = 1.15  # of the shortest distance without an edge to the longest edge
_USUAL_RABI: Final = 3.0 * math.pi  # rad/µs, 1.5 MHz
_LEAST_RABI: Final = 0.2 * math.pi  # below, sweeps are longer than the atoms live


_SQUARE: Final = tuple((float(x), float(y)) for x in range(3) for y in range(3))
_RING: Final = tuple(
    (0.8507 * math.cos(0.4 * math.pi * k), 0.8507 * math.sin(0.4 * math.pi * k)) for k in range(5)
)
NAMED: Final = {
    "ring": (_RING, 1.01),
    "ladder": (tuple((float(x), float(y)) for x in range(3) for y in range(2)), 1.01),
    "square": (_SQUARE[1:], 1.01),
    "kings": (_SQUARE, 1.5),
}
"""Examples: a ring of 5, a ladder of 3 rungs, a square of 9 without a corner, a king's graph of 9;
positions and radius."""


@dataclass(frozen=True, slots=True)
class UnitDiskGraph:
    """Points in the plane with an edge between all that are near.

    Attributes:
        positions: x and y of each vertex, in any unit.
        edges: Pairs of vertices, ascending.
        longest_edge: Distance, in the same unit; the radius where there is no edge.
        shortest_gap: Shortest distance of two vertices without an edge; inf where there is none.
        name: For people.
    """

    positions: tuple[tuple[float, float], ...]
    edges: tuple[tuple[int, int], ...]
    longest_edge: float
    shortest_gap: float
    name: str = "graph"

    @property
    def n_vertices(self) -> int:
        """How many vertices there are."""
        return len(self.positions)

    def is_independent(self, vertices: Sequence[int]) -> bool:
        """Whether no edge joins two of these."""
        chosen = set(vertices)
        return not any(a in chosen and b in chosen for a, b in self.edges)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where atoms stand, and how hard they are driven.

    Attributes:
        sites_um: Positions (µm), shape (n_vertices, 2).
        rabi_rad_per_us: The Rabi frequency whose blockade radius parts edges from gaps (rad/µs).
        blockade_um: That radius (µm).
    """

    sites_um: NDArray[np.float64]
    rabi_rad_per_us: float
    blockade_um: float


def unit_disk_graph(
    positions: ArrayLike, radius: float = 1.0, name: str = "graph"
) -> UnitDiskGraph:
    """Make the graph of some points.

    Args:
        positions: Shape (n_vertices, 2), in any unit; no two at one place.
        radius: Points at most so far apart have an edge, in the same unit.
        name: For people.

    Raises:
        OptionError: These are no points of a plane, two are at one place, or an edge and a gap are
            so near in length that no blockade radius is between them.

    >>> unit_disk_graph([(0, 0), (1, 0), (2, 0)]).edges
    ((0, 1), (1, 2))
    """
    points = np.asarray(positions, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 1 or not np.isfinite(points).all():
        reason = f"shape {points.shape}, or numbers that are not finite"
        raise OptionError("positions", reason, "Give x and y of each vertex")
    if not 0.0 < radius < math.inf:
        raise OptionError(f"radius {radius}", "no distance", "Give a number above 0")
    edges, lengths, gaps = [], [0.0], [math.inf]
    for a, b in itertools.combinations(range(len(points)), 2):
        distance = float(np.hypot(*(points[a] - points[b])))
        if distance == 0.0:
            reason = f"vertices {a} and {b} are at one place"
            raise OptionError("positions", reason, "Move one of them")
        if distance <= radius * (1.0 + _SLACK):
            edges.append((a, b))
            lengths.append(distance)
        else:
            gaps.append(distance)
    longest, shortest = max(lengths) or radius, min(gaps)
    if shortest < _LEAST_RATIO * longest:
        raise OptionError(
            "positions",
            f"the longest edge is {longest:.4g}, the shortest distance without one {shortest:.4g}",
            f"Atoms can tell them apart where the ratio is at least {_LEAST_RATIO:g}",
        )
    places = tuple((float(x), float(y)) for x, y in points)
    return UnitDiskGraph(places, tuple(edges), longest, shortest, name)


def named_graph(name: str) -> UnitDiskGraph:
    """Make one of the examples.

    Raises:
        OptionError: There is none of this name.

    >>> named_graph("ladder").n_vertices
    6
    """
    if name not in NAMED:
        raise OptionError(f"graph {name!r}", "unknown", f"Known: {', '.join(NAMED)}")
    positions, radius = NAMED[name]
    return unit_disk_graph(positions, radius, name)


def independence_number(graph: UnitDiskGraph) -> int | None:
    """Size of the largest independent set, found by trying all; None above `MAX_EXACT` vertices.

    >>> independence_number(unit_disk_graph([(0, 0), (1, 0), (2, 0)]))
    2
    """
    if graph.n_vertices > MAX_EXACT:
        return None
    sets = np.arange(1 << graph.n_vertices, dtype=np.uint32)
    allowed = np.ones(len(sets), dtype=bool)
    for a, b in graph.edges:
        allowed &= ((sets >> np.uint32(a)) & (sets >> np.uint32(b)) & np.uint32(1)) == 0
    return int(np.bitwise_count(sets[allowed]).max())


def repaired(graph: UnitDiskGraph, bits: Sequence[int]) -> tuple[int, ...]:
    """Make an independent set of a shot: drop vertices of edges inside, then add what is free.

    The vertex with most edges inside goes first, the lowest among equals.

    Args:
        graph: Of the shot.
        bits: Zeros and ones, shape (n_vertices,).

    Returns:
        Vertices, ascending; nothing can be added.

    >>> repaired(unit_disk_graph([(0, 0), (1, 0), (2, 0)]), (1, 1, 1))
    (0, 2)
    """
    neighbours: list[set[int]] = [set() for _ in range(graph.n_vertices)]
    for a, b in graph.edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    chosen = {vertex for vertex, bit in enumerate(bits) if bit}
    while chosen:
        worst = max(sorted(chosen), key=lambda vertex: len(neighbours[vertex] & chosen))
        if not neighbours[worst] & chosen:
            break
        chosen.discard(worst)
    for vertex in range(graph.n_vertices):
        if not neighbours[vertex] & chosen:
            chosen.add(vertex)
    return tuple(sorted(chosen))


def placement(graph: UnitDiskGraph, rules: AnalogRules) -> Placement:
    """Scale a graph so that the blockade radius is between its edges and its gaps.

    Args:
        graph: What to place.
        rules: Of the device, whose atoms keep a least distance.

    Raises:
        OptionError: The graph is so spread out that the drive would be too weak.
    """
    middle = math.sqrt(graph.longest_edge * min(graph.shortest_gap, 2.0 * graph.longest_edge))
    points = np.array(graph.positions)
    points -= points.mean(axis=0)
    pairs = itertools.combinations(points, 2)
    nearest = min((float(np.hypot(*(a - b))) for a, b in pairs), default=math.inf)
    rabi = min(_USUAL_RABI, rules.drive.max_amplitude_rad_per_us)
    c6 = rules.c6_rad_per_us_um6
    scale = (c6 / rabi) ** (1.0 / 6.0) / middle
    least = rules.min_distance_um * (1.0 + 1e-6) / nearest
    if scale < least:
        scale = least
        rabi = c6 / (scale * middle) ** 6
    if rabi < _LEAST_RABI:
        reason = f"its blockade radius wants {rabi:.3g} rad/µs, too weak to be of use"
        remedy = f"Vertices at a distance of {nearest:.4g} are too near for edges that long"
        raise OptionError(f"graph {graph.name}", reason, remedy)
    return Placement(scale * points, rabi, scale * middle)
