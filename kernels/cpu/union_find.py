"""Union-find decoding in compiled code; `kernels.reference.union_find` defines the result.

The reference grows every edge by steps. Here each vertex that grows waits for the moment when the
first of its edges is full; nothing is kept per edge, as its growth is what its two ends have grown
while in different clusters. Work is proportional to the vertices that clusters reach.

The functions with a `_` suffix are the cores: they allocate nothing, write into arrays that the
caller gives, and can be called from compiled handlers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from cudaq_target.kernels.cpu.bits import trailing_zeros
from cudaq_target.kernels.cpu.borrowed import borrowed
from cudaq_target.kernels.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Numbers = NDArray[np.int32]
    Records: TypeAlias = NDArray[np.void]
    Record: TypeAlias = Any  # one of `Records`, by reference
    Index = int | np.int64

N_LEVELS: Final = 256
"""Weights are below this; a power of 2."""

_FIELDS: Final = (
    "parent next tail exit is_odd is_active offset is_lit is_seen degree link due later earlier"
)
VERTEX: Final = np.dtype([(name, np.int32) for name in [*_FIELDS.split(), "pad_0", "pad_1"]])
"""A vertex, in one cache line.

- `parent` in the union-find forest (roots are their own), `next` in the list of its cluster or -1
  (the root is the first), and of roots: `tail`, the last vertex of the list; `exit`, the edge by
  which the cluster has reached the boundary, or -1; whether it `is_odd`.
- It has grown by `offset` + `is_active` * now.
- Whether it `is_lit`, left to be explained, and `is_seen`, in `Room.seen`.
- How many edges of the spanning forest it has, its `degree`, and these XORed, the `link`: for a
  leaf its only one.
- The moment for which it waits, `due`, or -1, between two others of one list, `later`, `earlier`.
"""

PLACE: Final = np.dtype([(name, np.int32) for name in ("far", "weight", "edge", "pad")])
"""An edge as one of its ends sees it: the other end, the weight, the number."""

TALLY: Final = np.dtype([(name, np.int32) for name in ("n_seen", "n_active", "n_full", "pad")])
"""Vertices in `Room.seen`, clusters that grow, edges in `Room.full`."""


class Room(NamedTuple):
    """What one decoder works in, and leaves as it was found; for one thread at a time.

    Time runs in the units of weights. Vertices wait in one of `N_LEVELS` lists for a moment that
    is at most the largest weight away.

    Attributes:
        at: State of the vertices, the boundary is the last, shape (n_detectors + 1,) of `VERTEX`.
        seen: Vertices that differ from a fresh room, shape (n_detectors,).
        heads: First vertex of each waiting list, or -1, shape (N_LEVELS,).
        waiting: Which lists are not empty, packed, shape (N_LEVELS / 64,).
        full: Edges that are full at one moment, each once or twice, shape (2 * n_edges,).
        tally: Shape (1,) of `TALLY`.
    """

    at: Records
    seen: Numbers
    heads: Numbers
    waiting: Words
    full: Numbers
    tally: Records


class Graph(NamedTuple):
    """A decoding graph for compiled code.

    Attributes:
        ends: Vertices of each edge, shape (n_edges, 2); the boundary is vertex n_detectors.
        flips: Packed observables, shape (n_edges, ceil(n_observables / 64)).
        starts: Where the edges of each detector start in `around`, shape (n_detectors + 1,).
        around: Edges of each detector, shape (n_places,) of `PLACE`.
    """

    ends: Numbers
    flips: Words
    starts: Numbers
    around: Records


def make_graph(ends: Numbers, weights: Numbers, flips: Words, n_detectors: int) -> Graph:
    """List the edges around each detector, in ascending order.

    Args:
        ends: Ascending in each row, shape (n_edges, 2); the boundary is vertex `n_detectors`.
        weights: In 1 ... N_LEVELS - 1, shape (n_edges,).
        flips: Packed observables, shape (n_edges, n_words).
        n_detectors: Number of vertices without the boundary.
    """
    edges = np.tile(np.arange(len(ends)), 2)
    near = np.concatenate([ends[:, 0], ends[:, 1]])
    order = np.lexsort((edges, near))
    order = order[near[order] < n_detectors]
    around = np.zeros(len(order), dtype=PLACE)
    around["far"] = np.concatenate([ends[:, 1], ends[:, 0]])[order]
    around["edge"] = edges[order]
    around["weight"] = weights[edges[order]]
    starts = np.searchsorted(near[order], np.arange(n_detectors + 1))
    return Graph(ends.astype(np.int32), flips, starts.astype(np.int32), around)


def make_room(n_detectors: int, n_edges: int) -> Room:
    """Allocate what a decoder works in."""
    at = np.zeros(n_detectors + 1, dtype=VERTEX)
    at["parent"] = at["tail"] = np.arange(n_detectors + 1)
    for name in ("next", "exit", "due"):
        at[name] = -1
    return Room(
        at=at,
        seen=np.zeros(n_detectors, dtype=np.int32),
        heads=np.full(N_LEVELS, -1, dtype=np.int32),
        waiting=np.zeros(N_LEVELS // 64, dtype=np.uint64),
        full=np.zeros(2 * n_edges, dtype=np.int32),
        tally=np.zeros(1, dtype=TALLY),
    )


@compiled
def decode_rows_(graph: Graph, room: Room, syndromes: Words, corrections: Words) -> int:
    """Decode packed syndromes.

    Args:
        graph: From `make_graph`.
        room: From `make_room`.
        syndromes: Shape (n_shots, ceil(n_detectors / 64)); bits beyond n_detectors are zero.
        corrections: Written, shape (n_shots, ceil(n_observables / 64)).

    Returns:
        -1, or the first shot that no set of errors explains; what follows it is not decoded.
    """
    graph = Graph(
        ends=borrowed(graph.ends),
        flips=borrowed(graph.flips),
        starts=borrowed(graph.starts),
        around=borrowed(graph.around),
    )
    room = Room(
        at=borrowed(room.at),
        seen=borrowed(room.seen),
        heads=borrowed(room.heads),
        waiting=borrowed(room.waiting),
        full=borrowed(room.full),
        tally=borrowed(room.tally),
    )
    syndromes, corrections = borrowed(syndromes), borrowed(corrections)
    for shot in range(syndromes.shape[0]):
        for k in range(corrections.shape[1]):
            corrections[shot, k] = np.uint64(0)
        if not _decode(graph, room, syndromes, corrections, shot):
            return shot
    return -1


@compiled(inline=True)
def _decode(graph: Graph, room: Room, syndromes: Words, corrections: Words, shot: int) -> bool:
    """Add one shot's correction to a row of zeros; whether a set of errors explains it."""
    tally = room.tally[0]
    tally.n_seen = 0
    tally.n_active = 0
    for k in range(syndromes.shape[1]):
        word = syndromes[shot, k]
        while word != np.uint64(0):
            _light(room, 64 * k + np.int64(trailing_zeros(word)))
            word &= word - np.uint64(1)
    for k in range(tally.n_seen):
        vertex = np.int64(room.seen[k])
        _wait(room, vertex, _scan(graph, room, vertex, np.int64(0), False))
    now = np.int64(0)
    while tally.n_active > 0:
        now = _next_moment(room.waiting, now)
        if now < 0:
            break
        _collect_full(graph, room, now)
        for k in range(tally.n_full):
            _join(graph, room, np.int64(room.full[k]), now)
    is_explained = tally.n_active == 0
    if is_explained:
        _peel(graph, room, corrections, shot)
    _clean(room)
    return bool(is_explained)


@compiled(inline=True)
def _light(room: Room, vertex: Index) -> None:
    """Make a lit detector a cluster that grows from moment 0 on."""
    cell = room.at[vertex]
    cell.is_odd = 1
    cell.is_lit = 1
    cell.is_active = 1
    _see(room, vertex)
    room.tally[0].n_active += 1


@compiled(inline=True)
def _see(room: Room, vertex: Index) -> None:
    if room.at[vertex].is_seen == 0:
        room.at[vertex].is_seen = 1
        tally = room.tally[0]
        room.seen[tally.n_seen] = vertex
        tally.n_seen += 1


@compiled(inline=True)
def _root(at: Records, vertex: Index) -> np.int64:
    above = np.int64(at[vertex].parent)
    while above != vertex:
        at[vertex].parent = at[above].parent
        vertex = above
        above = np.int64(at[vertex].parent)
    return np.int64(vertex)


@compiled(inline=True)
def _scan(graph: Graph, room: Room, vertex: Index, now: Index, collects: bool) -> np.int64:
    """Find when the next edge of a growing vertex is full, -1 for never.

    At the rates of this moment: if the far end stops, the edge is full later than that, and if it
    starts, it hastens this one. Edges that are full now are collected on request.
    """
    at = room.at
    grown = np.int64(at[vertex].offset)
    first = np.int64(1 << 30)
    for k in range(graph.starts[vertex], graph.starts[vertex + 1]):
        place = graph.around[k]
        far = at[place.far]
        rate = np.int64(far.is_active)
        due = (np.int64(place.weight) - grown - np.int64(far.offset) + rate) >> rate
        if now <= due < first:
            if due > now:
                if _root(at, np.int64(place.far)) != _root(at, vertex):
                    first = due
            elif collects and _root(at, np.int64(place.far)) != _root(at, vertex):
                tally = room.tally[0]
                room.full[tally.n_full] = place.edge
                tally.n_full += 1
    return first if first < 1 << 30 else np.int64(-1)


@compiled(inline=True)
def _wait(room: Room, vertex: Index, due: Index) -> None:
    """Put a vertex into the list of a moment, unless that is -1."""
    if due < 0:
        return
    level = due % N_LEVELS
    cell = room.at[vertex]
    after = np.int64(room.heads[level])
    cell.due = due
    cell.later = after
    cell.earlier = -1
    if after >= 0:
        room.at[after].earlier = vertex
    else:
        room.waiting[level >> 6] |= np.uint64(1) << np.uint64(level & 63)
    room.heads[level] = vertex


@compiled(inline=True)
def _leave(room: Room, vertex: Index) -> None:
    """Take a vertex out of its list, if it is in one."""
    cell = room.at[vertex]
    if cell.due < 0:
        return
    level = np.int64(cell.due) % N_LEVELS
    if cell.later >= 0:
        room.at[cell.later].earlier = cell.earlier
    if cell.earlier >= 0:
        room.at[cell.earlier].later = cell.later
    else:
        room.heads[level] = cell.later
        if cell.later < 0:
            room.waiting[level >> 6] &= ~(np.uint64(1) << np.uint64(level & 63))
    cell.due = -1


@compiled(inline=True)
def _hasten(graph: Graph, room: Room, vertex: Index, now: Index) -> None:
    """Tell growing neighbours of other clusters that a vertex has started to grow."""
    at = room.at
    for k in range(graph.starts[vertex], graph.starts[vertex + 1]):
        place = graph.around[k]
        far = at[place.far]
        if far.is_active == 0:
            continue
        due = (np.int64(place.weight) - at[vertex].offset - far.offset + 1) >> 1
        is_late = far.due < 0 or due < far.due
        # Those that are full now are in `Room.full` already.
        if due > now and is_late and _root(at, np.int64(place.far)) != _root(at, vertex):
            _leave(room, np.int64(place.far))
            _wait(room, np.int64(place.far), due)


@compiled(inline=True)
def _next_moment(waiting: Words, now: Index) -> np.int64:
    """Return the first moment after this one for which a vertex waits, or -1."""
    start = now + 1
    word, bit = (start % N_LEVELS) >> 6, start & 63
    ahead = waiting[word] >> np.uint64(bit)
    if ahead != np.uint64(0):
        return np.int64(start + np.int64(trailing_zeros(ahead)))
    base = start - bit
    for k in range(1, N_LEVELS // 64 + 1):
        ahead = waiting[(word + k) % (N_LEVELS // 64)]
        if ahead != np.uint64(0):
            return np.int64(base + 64 * k + np.int64(trailing_zeros(ahead)))
    return np.int64(-1)


@compiled(inline=True)
def _collect_full(graph: Graph, room: Room, now: Index) -> None:
    """List the edges that are full now, in ascending order; let their ends wait for their next."""
    tally = room.tally[0]
    tally.n_full = 0
    level = now % N_LEVELS
    vertex = np.int64(room.heads[level])
    room.heads[level] = -1
    room.waiting[level >> 6] &= ~(np.uint64(1) << np.uint64(level & 63))
    while vertex >= 0:
        after = np.int64(room.at[vertex].later)
        room.at[vertex].due = -1
        _wait(room, vertex, _scan(graph, room, vertex, now, True))
        vertex = after
    _sort(room.full, np.int64(tally.n_full))


@compiled(inline=True)
def _sort(numbers: Numbers, n_numbers: Index) -> None:
    """Sort the first numbers in place (Shell's method: for a few it is insertion)."""
    gap = np.int64(1)
    while 9 * gap < n_numbers:
        gap = 3 * gap + 1
    while gap > 0:
        for k in range(gap, n_numbers):
            number = numbers[k]
            place = np.int64(k)
            while place >= gap and numbers[place - gap] > number:
                numbers[place] = numbers[place - gap]
                place -= gap
            numbers[place] = number
        gap //= 3


@compiled(inline=True)
def _grows(root: Record) -> bool:
    return bool(root.is_odd == 1 and root.exit < 0)


@compiled(inline=True)
def _change(graph: Graph, room: Room, head: Index, is_active: bool, now: Index) -> None:
    """Let a list of vertices of one cluster, from `head` on, start or stop to grow."""
    vertex = np.int64(head)
    while vertex >= 0:
        cell = room.at[vertex]
        if is_active:
            cell.offset -= now
            cell.is_active = 1
            _wait(room, vertex, _scan(graph, room, vertex, now, False))
            _hasten(graph, room, vertex, now)
        else:
            cell.offset += now
            cell.is_active = 0
            _leave(room, vertex)
        vertex = np.int64(cell.next)


@compiled(inline=True)
def _join(graph: Graph, room: Room, edge: Index, now: Index) -> None:
    """Join what a full edge connects: two clusters, or a cluster and the boundary."""
    at, tally = room.at, room.tally[0]
    a, b = np.int64(graph.ends[edge, 0]), np.int64(graph.ends[edge, 1])
    root = _root(at, a)
    first = at[root]
    was_first_active = _grows(first)
    if b == at.shape[0] - 1:
        if first.exit < 0:
            first.exit = edge
        if was_first_active:
            tally.n_active -= 1
            _change(graph, room, root, False, now)
        return
    gone = _root(at, b)
    if root == gone:
        return
    second = at[gone]
    was_second_active = _grows(second)
    _see(room, a)
    _see(room, b)
    second.parent = root
    first.is_odd ^= second.is_odd
    if first.exit < 0 or 0 <= second.exit < first.exit:
        first.exit = second.exit
    is_active = _grows(first)
    tally.n_active += int(is_active) - int(was_first_active) - int(was_second_active)
    if is_active != was_first_active:
        _change(graph, room, root, is_active, now)
    if is_active != was_second_active:
        _change(graph, room, gone, is_active, now)
    at[first.tail].next = gone
    first.tail = second.tail
    for end in (a, b):
        at[end].degree += 1
        at[end].link ^= edge


@compiled(inline=True)
def _flip(graph: Graph, edge: Index, corrections: Words, shot: int) -> None:
    for k in range(corrections.shape[1]):
        corrections[shot, k] ^= graph.flips[edge, k]


@compiled(inline=True)
def _peel(graph: Graph, room: Room, corrections: Words, shot: int) -> None:
    """Explain the lit detectors by edges of the spanning forest, leaves first."""
    at, n_seen = room.at, np.int64(room.tally[0].n_seen)
    for k in range(n_seen):
        root = at[room.seen[k]]
        if root.parent == room.seen[k] and root.exit >= 0:
            at[graph.ends[root.exit, 0]].degree += 2  # never a leaf
    for k in range(n_seen):
        vertex = np.int64(room.seen[k])
        while at[vertex].degree == 1:
            leaf = at[vertex]
            edge = np.int64(leaf.link)
            far = np.int64(graph.ends[edge, 0] + graph.ends[edge, 1] - vertex)
            if leaf.is_lit == 1:
                at[far].is_lit ^= 1
                _flip(graph, edge, corrections, shot)
            leaf.degree = 0
            at[far].degree -= 1
            at[far].link ^= edge
            vertex = far
    for k in range(n_seen):
        root = at[room.seen[k]]
        if root.parent == room.seen[k] and root.exit >= 0:
            edge = np.int64(root.exit)
            if at[graph.ends[edge, 0]].is_lit == 1:
                _flip(graph, edge, corrections, shot)


@compiled(inline=True)
def _clean(room: Room) -> None:
    """Leave everything as it was found; the waiting lists are empty by now."""
    for k in range(room.tally[0].n_seen):
        vertex = room.seen[k]
        cell = room.at[vertex]
        cell.parent = vertex
        cell.next = -1
        cell.tail = vertex
        cell.exit = -1
        cell.is_odd = 0
        cell.is_active = 0
        cell.offset = 0
        cell.is_lit = 0
        cell.is_seen = 0
        cell.degree = 0
        cell.link = 0
