"""Union-find decoding in compiled code; `kernels.reference.union_find` defines the result.

The functions with a `_` suffix are the cores: they allocate nothing, write into arrays that the
caller gives, and can be called from compiled handlers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cudaq_target.kernels.cpu.bits import trailing_zeros
from cudaq_target.kernels.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Numbers = NDArray[np.int32]
    Flags = NDArray[np.uint8]

N_LEVELS = 256
"""Weights are below this; a power of 2."""

_VERTICES, _EDGES, _ACTIVE, _WAITING = 0, 1, 2, 3


class Room(NamedTuple):
    """What one decoder works in, and leaves as it was found; for one thread at a time.

    The boundary is the last vertex. Time runs in the units of weights; edges that grow wait in one
    of `N_LEVELS` lists for the moment when they are full, which is at most the largest weight away.

    Attributes:
        parent: Of each vertex in the union-find forest; roots are their own.
        next: Vertex after each in the list of its cluster, or -1; the root is the first.
        tail: Last vertex of each root's list.
        exit: Edge by which each root's cluster has reached the boundary, or -1.
        is_odd: Whether each root's cluster holds an odd number of lit detectors.
        is_lit: Whether each vertex is left to be explained.
        is_seen: Whether each vertex is in `vertices`.
        degree: Edges of the spanning forest at each vertex.
        link: Those edges, XORed: for a leaf its only one.
        growth: Of each edge at the moment `since`; -1 once it is full or within a cluster.
        since: When each edge last changed speed.
        speed: From how many ends each edge grows.
        is_touched: Whether each edge is in `edges`.
        later: Edge after each in its waiting list, or -1.
        earlier: Edge before each in its waiting list, or -1.
        heads: First edge of each waiting list, or -1, shape (N_LEVELS,).
        vertices: Those that differ from a fresh room.
        edges: Those that differ from a fresh room.
        full: Those that are full at one moment.
        counts: Lengths of `vertices` and `edges`, clusters that grow, edges that wait.
    """

    parent: Numbers
    next: Numbers
    tail: Numbers
    exit: Numbers
    is_odd: Flags
    is_lit: Flags
    is_seen: Flags
    degree: Numbers
    link: Numbers
    growth: Numbers
    since: Numbers
    speed: Numbers
    is_touched: Flags
    later: Numbers
    earlier: Numbers
    heads: Numbers
    vertices: Numbers
    edges: Numbers
    full: Numbers
    counts: Numbers


class Graph(NamedTuple):
    """A decoding graph for compiled code.

    Attributes:
        ends: Vertices of each edge, shape (n_edges, 2); the boundary is vertex n_detectors.
        weights: At least 1, shape (n_edges,).
        flips: Packed observables, shape (n_edges, ceil(n_observables / 64)).
        starts: Where the edges of each detector start in `around`, shape (n_detectors + 1,).
        around: Edge and far end, shape (n_places, 2).
    """

    ends: Numbers
    weights: Numbers
    flips: Words
    starts: Numbers
    around: Numbers


def make_graph(ends: Numbers, weights: Numbers, flips: Words, n_detectors: int) -> Graph:
    """List the edges around each detector, in ascending order."""
    n_edges = len(ends)
    near = np.concatenate([ends[:, 0], ends[:, 1]])
    far = np.concatenate([ends[:, 1], ends[:, 0]])
    edges = np.concatenate([np.arange(n_edges), np.arange(n_edges)])
    order = np.lexsort((edges, near))
    order = order[near[order] < n_detectors]
    starts = np.searchsorted(near[order], np.arange(n_detectors + 1))
    around = np.stack([edges[order], far[order]], axis=1)
    return Graph(
        ends.astype(np.int32),
        weights.astype(np.int32),
        flips,
        starts.astype(np.int32),
        np.ascontiguousarray(around.astype(np.int32)),
    )


def make_room(n_detectors: int, n_edges: int) -> Room:
    """Allocate what a decoder works in."""

    def numbers(length: int, value: int = 0) -> Numbers:
        return np.full(length, value, dtype=np.int32)

    def flags(length: int) -> Flags:
        return np.zeros(length, dtype=np.uint8)

    n_vertices = n_detectors + 1
    return Room(
        parent=np.arange(n_vertices, dtype=np.int32),
        next=numbers(n_vertices, -1),
        tail=np.arange(n_vertices, dtype=np.int32),
        exit=numbers(n_vertices, -1),
        is_odd=flags(n_vertices),
        is_lit=flags(n_vertices),
        is_seen=flags(n_vertices),
        degree=numbers(n_vertices),
        link=numbers(n_vertices),
        growth=numbers(n_edges),
        since=numbers(n_edges),
        speed=numbers(n_edges),
        is_touched=flags(n_edges),
        later=numbers(n_edges, -1),
        earlier=numbers(n_edges, -1),
        heads=numbers(N_LEVELS, -1),
        vertices=numbers(n_vertices),
        edges=numbers(n_edges),
        full=numbers(n_edges),
        counts=numbers(4),
    )


@compiled
def decode_rows_(graph: Graph, room: Room, syndromes: Words, corrections: Words) -> int:
    """Decode packed syndromes.

    Args:
        graph: From `make_graph`.
        room: From `make_room`.
        syndromes: Shape (n_shots, ceil(n_detectors / 64)).
        corrections: Written, shape (n_shots, ceil(n_observables / 64)).

    Returns:
        -1, or the first shot that no set of errors explains; what follows it is not decoded.
    """
    for shot in range(syndromes.shape[0]):
        if not decode_row_(graph, room, syndromes[shot], corrections[shot]):
            return shot
    return -1


@compiled
def decode_row_(graph: Graph, room: Room, syndrome: Words, correction: Words) -> bool:
    """Decode one packed syndrome.

    Args:
        graph: From `make_graph`.
        room: From `make_room`.
        syndrome: Shape (ceil(n_detectors / 64),).
        correction: Written, shape (ceil(n_observables / 64),).

    Returns:
        Whether a set of errors explains the syndrome.
    """
    for k in range(correction.shape[0]):
        correction[k] = np.uint64(0)
    _light(graph, room, syndrome)
    now = 0
    while room.counts[_ACTIVE] > 0 and room.counts[_WAITING] > 0:
        now += 1
        if room.heads[now % N_LEVELS] >= 0:
            _join_full(graph, room, now)
    is_explained = room.counts[_ACTIVE] == 0
    if is_explained:
        _peel(graph, room, correction)
    _clean(room)
    return bool(is_explained)


@compiled
def _light(graph: Graph, room: Room, syndrome: Words) -> None:
    """Make each lit detector a cluster that grows from moment 0 on."""
    room.counts[:] = 0
    for k in range(syndrome.shape[0]):
        word = syndrome[k]
        while word != np.uint64(0):
            vertex = 64 * k + np.int64(trailing_zeros(word))
            word &= word - np.uint64(1)
            room.is_odd[vertex] = 1
            room.is_lit[vertex] = 1
            _see(room, vertex)
            room.counts[_ACTIVE] += 1
            _change_speed(graph, room, vertex, 1, 0)


@compiled
def _see(room: Room, vertex: int) -> None:
    if room.is_seen[vertex] == 0:
        room.is_seen[vertex] = 1
        room.vertices[room.counts[_VERTICES]] = vertex
        room.counts[_VERTICES] += 1


@compiled
def _root(parent: Numbers, vertex: int) -> int:
    while parent[vertex] != vertex:
        parent[vertex] = parent[parent[vertex]]
        vertex = parent[vertex]
    return vertex


@compiled
def _is_active(room: Room, root: int) -> bool:
    return room.is_odd[root] == 1 and room.exit[root] < 0


@compiled
def _change_speed(graph: Graph, room: Room, head: int, change: int, now: int) -> None:
    """Let a list of vertices of one cluster, from `head` on, start (1) or stop (-1) to grow."""
    boundary = graph.starts.shape[0] - 1
    root = _root(room.parent, head)
    vertex = np.int64(head)
    while vertex >= 0:
        for place in range(graph.starts[vertex], graph.starts[vertex + 1]):
            edge = np.int64(graph.around[place, 0])
            if room.growth[edge] < 0:
                continue
            far = np.int64(graph.around[place, 1])
            speed = np.int64(room.speed[edge])
            if speed > 0:
                _leave(graph, room, edge)
            if far != boundary and _root(room.parent, far) == root:
                room.growth[edge] = -1
                continue
            if room.is_touched[edge] == 0:
                room.is_touched[edge] = 1
                room.edges[room.counts[_EDGES]] = edge
                room.counts[_EDGES] += 1
            room.growth[edge] += speed * (now - room.since[edge])
            room.since[edge] = now
            room.speed[edge] = speed + change
            if speed + change > 0:
                _wait(graph, room, edge)
        vertex = np.int64(room.next[vertex])


@compiled
def _moment(graph: Graph, room: Room, edge: int) -> int:
    """When a growing edge is full, modulo `N_LEVELS`."""
    left = graph.weights[edge] - room.growth[edge]
    if room.speed[edge] == 2:
        left = (left + 1) // 2
    return (room.since[edge] + left) % N_LEVELS


@compiled
def _wait(graph: Graph, room: Room, edge: int) -> None:
    moment = _moment(graph, room, edge)
    first = np.int64(room.heads[moment])
    room.later[edge] = first
    room.earlier[edge] = -1
    if first >= 0:
        room.earlier[first] = edge
    room.heads[moment] = edge
    room.counts[_WAITING] += 1


@compiled
def _leave(graph: Graph, room: Room, edge: int) -> None:
    after, before = np.int64(room.later[edge]), np.int64(room.earlier[edge])
    if after >= 0:
        room.earlier[after] = before
    if before >= 0:
        room.later[before] = after
    else:
        room.heads[_moment(graph, room, edge)] = after
    room.counts[_WAITING] -= 1


@compiled
def _join_full(graph: Graph, room: Room, now: int) -> None:
    """Join what the edges connect that are full now, in the order of their numbers."""
    edge = np.int64(room.heads[now % N_LEVELS])
    room.heads[now % N_LEVELS] = -1
    n_full = 0
    while edge >= 0:
        room.growth[edge] = -1
        place = n_full
        while place > 0 and room.full[place - 1] > edge:
            room.full[place] = room.full[place - 1]
            place -= 1
        room.full[place] = edge
        n_full += 1
        edge = np.int64(room.later[edge])
    room.counts[_WAITING] -= n_full
    for k in range(n_full):
        _join(graph, room, np.int64(room.full[k]), now)


@compiled
def _join(graph: Graph, room: Room, edge: int, now: int) -> None:
    """Join what a full edge connects: two clusters, or a cluster and the boundary."""
    a, b = np.int64(graph.ends[edge, 0]), np.int64(graph.ends[edge, 1])
    first = _root(room.parent, a)
    was_active = _is_active(room, first)
    if b == graph.starts.shape[0] - 1:
        if room.exit[first] < 0:
            room.exit[first] = edge
        if was_active:
            room.counts[_ACTIVE] -= 1
            _change_speed(graph, room, first, -1, now)
        return
    second = _root(room.parent, b)
    if first == second:
        return
    was_second_active = _is_active(room, second)
    _see(room, a)
    _see(room, b)
    room.parent[second] = first
    room.is_odd[first] ^= room.is_odd[second]
    if room.exit[first] < 0 or 0 <= room.exit[second] < room.exit[first]:
        room.exit[first] = room.exit[second]
    is_active = _is_active(room, first)
    room.counts[_ACTIVE] += np.int64(is_active) - np.int64(was_active) - np.int64(was_second_active)
    if is_active != was_active:
        _change_speed(graph, room, first, 1 if is_active else -1, now)
    if is_active != was_second_active:
        _change_speed(graph, room, second, 1 if is_active else -1, now)
    room.next[room.tail[first]] = second
    room.tail[first] = room.tail[second]
    room.degree[a] += 1
    room.degree[b] += 1
    room.link[a] ^= edge
    room.link[b] ^= edge


@compiled
def _flip(graph: Graph, edge: int, correction: Words) -> None:
    for k in range(correction.shape[0]):
        correction[k] ^= graph.flips[edge, k]


@compiled
def _peel(graph: Graph, room: Room, correction: Words) -> None:
    """Explain the lit detectors by edges of the spanning forest, leaves first."""
    for k in range(room.counts[_VERTICES]):
        vertex = room.vertices[k]
        if room.parent[vertex] == vertex and room.exit[vertex] >= 0:
            room.degree[graph.ends[room.exit[vertex], 0]] += 2  # never a leaf
    for k in range(room.counts[_VERTICES]):
        vertex = np.int64(room.vertices[k])
        while room.degree[vertex] == 1:
            edge = np.int64(room.link[vertex])
            far = np.int64(graph.ends[edge, 0] + graph.ends[edge, 1] - vertex)
            if room.is_lit[vertex] == 1:
                room.is_lit[far] ^= 1
                _flip(graph, edge, correction)
            room.degree[vertex] = 0
            room.degree[far] -= 1
            room.link[far] ^= edge
            vertex = far
    for k in range(room.counts[_VERTICES]):
        vertex = np.int64(room.vertices[k])
        if room.parent[vertex] == vertex and room.exit[vertex] >= 0:
            edge = np.int64(room.exit[vertex])
            if room.is_lit[graph.ends[edge, 0]] == 1:
                _flip(graph, edge, correction)


@compiled
def _clean(room: Room) -> None:
    """Leave everything as it was found."""
    for k in range(room.counts[_VERTICES]):
        vertex = room.vertices[k]
        room.parent[vertex] = vertex
        room.next[vertex] = -1
        room.tail[vertex] = vertex
        room.exit[vertex] = -1
        room.is_odd[vertex] = 0
        room.is_lit[vertex] = 0
        room.is_seen[vertex] = 0
        room.degree[vertex] = 0
        room.link[vertex] = 0
    for k in range(room.counts[_EDGES]):
        edge = np.int64(room.edges[k])
        room.growth[edge] = 0
        room.since[edge] = 0
        room.speed[edge] = 0
        room.is_touched[edge] = 0
    room.heads[:] = -1
