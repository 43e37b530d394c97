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
    Index = int | np.int64

N_LEVELS = 256
"""Weights are below this; a power of 2."""

_VERTICES, _EDGES, _ACTIVE, _WAITING = 0, 1, 2, 3
_PARENT, _NEXT, _TAIL, _EXIT, _IS_ODD, _IS_LIT, _IS_SEEN, _DEGREE, _LINK = range(9)
_GROWTH, _SINCE, _SPEED, _IS_TOUCHED, _LATER, _EARLIER = range(6)


class Room(NamedTuple):
    """What one decoder works in, and leaves as it was found; for one thread at a time.

    Time runs in the units of weights. Edges that grow wait in one of `N_LEVELS` lists for the
    moment when they are full, which is at most the largest weight away. Few arrays, as compiled
    code counts the references to each at every call.

    Columns of a vertex: `_PARENT` in the union-find forest (roots are their own); `_NEXT` in the
    list of its cluster, or -1 (the root is the first); `_DEGREE` and `_LINK`, how many edges of the
    spanning forest it has, and these XORed: for a leaf its only one; whether it `_IS_LIT`, left to
    be explained, and `_IS_SEEN`, in `vertices`. Of roots: `_TAIL`, the last vertex of the list;
    `_EXIT`, the edge by which the cluster has reached the boundary, or -1; whether it `_IS_ODD`.

    Columns of an edge: `_GROWTH` at the moment `_SINCE` when it last changed its `_SPEED`, from how
    many ends it grows; the growth is -1 once it is full or within a cluster; `_LATER` and
    `_EARLIER`, its neighbours in a waiting list, or -1; whether it `_IS_TOUCHED`, in `edges`.

    Attributes:
        at: State of the vertices, the boundary is the last, shape (n_detectors + 1, 9).
        on: State of the edges, shape (n_edges, 6).
        heads: First edge of each waiting list, or -1, shape (N_LEVELS,).
        vertices: Those that differ from a fresh room.
        edges: Those that differ from a fresh room.
        full: Those that are full at one moment.
        counts: Lengths of `vertices` and `edges`, clusters that grow, edges that wait.
    """

    at: Numbers
    on: Numbers
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

    def numbers(*shape: int) -> Numbers:
        return np.zeros(shape, dtype=np.int32)

    at, on = numbers(n_detectors + 1, 9), numbers(n_edges, 6)
    at[:, _PARENT] = at[:, _TAIL] = np.arange(n_detectors + 1)
    at[:, _NEXT] = at[:, _EXIT] = -1
    return Room(
        at=at,
        on=on,
        heads=numbers(N_LEVELS) - np.int32(1),
        vertices=numbers(n_detectors + 1),
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
            room.at[vertex, _IS_ODD] = 1
            room.at[vertex, _IS_LIT] = 1
            _see(room, vertex)
            room.counts[_ACTIVE] += 1
            _change_speed(graph, room, vertex, 1, 0)


@compiled
def _see(room: Room, vertex: Index) -> None:
    if room.at[vertex, _IS_SEEN] == 0:
        room.at[vertex, _IS_SEEN] = 1
        room.vertices[room.counts[_VERTICES]] = vertex
        room.counts[_VERTICES] += 1


@compiled
def _root(at: Numbers, vertex: Index) -> Index:
    above = np.int64(at[vertex, _PARENT])
    while above != vertex:
        at[vertex, _PARENT] = at[above, _PARENT]
        vertex = above
        above = np.int64(at[vertex, _PARENT])
    return vertex


@compiled
def _is_active(room: Room, root: Index) -> bool:
    return bool(room.at[root, _IS_ODD] == 1 and room.at[root, _EXIT] < 0)


@compiled
def _change_speed(graph: Graph, room: Room, head: Index, change: int, now: int) -> None:
    """Let a list of vertices of one cluster, from `head` on, start (1) or stop (-1) to grow."""
    boundary = graph.starts.shape[0] - 1
    root = _root(room.at, head)
    vertex = np.int64(head)
    while vertex >= 0:
        for place in range(graph.starts[vertex], graph.starts[vertex + 1]):
            edge = np.int64(graph.around[place, 0])
            if room.on[edge, _GROWTH] < 0:
                continue
            far = np.int64(graph.around[place, 1])
            speed = np.int64(room.on[edge, _SPEED])
            if speed > 0:
                _leave(graph, room, edge)
            if far != boundary and _root(room.at, far) == root:
                room.on[edge, _GROWTH] = -1
                continue
            if room.on[edge, _IS_TOUCHED] == 0:
                room.on[edge, _IS_TOUCHED] = 1
                room.edges[room.counts[_EDGES]] = edge
                room.counts[_EDGES] += 1
            room.on[edge, _GROWTH] += speed * (now - room.on[edge, _SINCE])
            room.on[edge, _SINCE] = now
            room.on[edge, _SPEED] = speed + change
            if speed + change > 0:
                _wait(graph, room, edge)
        vertex = np.int64(room.at[vertex, _NEXT])


@compiled
def _moment(graph: Graph, room: Room, edge: Index) -> int:
    """When a growing edge is full, modulo `N_LEVELS`."""
    left = graph.weights[edge] - room.on[edge, _GROWTH]
    if room.on[edge, _SPEED] == 2:
        left = (left + 1) // 2
    return int((room.on[edge, _SINCE] + left) % N_LEVELS)


@compiled
def _wait(graph: Graph, room: Room, edge: Index) -> None:
    moment = _moment(graph, room, edge)
    first = np.int64(room.heads[moment])
    room.on[edge, _LATER] = first
    room.on[edge, _EARLIER] = -1
    if first >= 0:
        room.on[first, _EARLIER] = edge
    room.heads[moment] = edge
    room.counts[_WAITING] += 1


@compiled
def _leave(graph: Graph, room: Room, edge: Index) -> None:
    after, before = np.int64(room.on[edge, _LATER]), np.int64(room.on[edge, _EARLIER])
    if after >= 0:
        room.on[after, _EARLIER] = before
    if before >= 0:
        room.on[before, _LATER] = after
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
        room.on[edge, _GROWTH] = -1
        place = n_full
        while place > 0 and room.full[place - 1] > edge:
            room.full[place] = room.full[place - 1]
            place -= 1
        room.full[place] = edge
        n_full += 1
        edge = np.int64(room.on[edge, _LATER])
    room.counts[_WAITING] -= n_full
    for k in range(n_full):
        _join(graph, room, np.int64(room.full[k]), now)


@compiled
def _join(graph: Graph, room: Room, edge: Index, now: int) -> None:
    """Join what a full edge connects: two clusters, or a cluster and the boundary."""
    a, b = np.int64(graph.ends[edge, 0]), np.int64(graph.ends[edge, 1])
    first = _root(room.at, a)
    was_active = _is_active(room, first)
    if b == graph.starts.shape[0] - 1:
        if room.at[first, _EXIT] < 0:
            room.at[first, _EXIT] = edge
        if was_active:
            room.counts[_ACTIVE] -= 1
            _change_speed(graph, room, first, -1, now)
        return
    second = _root(room.at, b)
    if first == second:
        return
    was_second_active = _is_active(room, second)
    _see(room, a)
    _see(room, b)
    room.at[second, _PARENT] = first
    room.at[first, _IS_ODD] ^= room.at[second, _IS_ODD]
    if room.at[first, _EXIT] < 0 or 0 <= room.at[second, _EXIT] < room.at[first, _EXIT]:
        room.at[first, _EXIT] = room.at[second, _EXIT]
    is_active = _is_active(room, first)
    room.counts[_ACTIVE] += np.int64(is_active) - np.int64(was_active) - np.int64(was_second_active)
    if is_active != was_active:
        _change_speed(graph, room, first, 1 if is_active else -1, now)
    if is_active != was_second_active:
        _change_speed(graph, room, second, 1 if is_active else -1, now)
    room.at[room.at[first, _TAIL], _NEXT] = second
    room.at[first, _TAIL] = room.at[second, _TAIL]
    room.at[a, _DEGREE] += 1
    room.at[b, _DEGREE] += 1
    room.at[a, _LINK] ^= edge
    room.at[b, _LINK] ^= edge


@compiled
def _flip(graph: Graph, edge: Index, correction: Words) -> None:
    for k in range(correction.shape[0]):
        correction[k] ^= graph.flips[edge, k]


@compiled
def _peel(graph: Graph, room: Room, correction: Words) -> None:
    """Explain the lit detectors by edges of the spanning forest, leaves first."""
    for k in range(room.counts[_VERTICES]):
        vertex = room.vertices[k]
        if room.at[vertex, _PARENT] == vertex and room.at[vertex, _EXIT] >= 0:
            room.at[graph.ends[room.at[vertex, _EXIT], 0], _DEGREE] += 2  # never a leaf
    for k in range(room.counts[_VERTICES]):
        vertex = np.int64(room.vertices[k])
        while room.at[vertex, _DEGREE] == 1:
            edge = np.int64(room.at[vertex, _LINK])
            far = np.int64(graph.ends[edge, 0] + graph.ends[edge, 1] - vertex)
            if room.at[vertex, _IS_LIT] == 1:
                room.at[far, _IS_LIT] ^= 1
                _flip(graph, edge, correction)
            room.at[vertex, _DEGREE] = 0
            room.at[far, _DEGREE] -= 1
            room.at[far, _LINK] ^= edge
            vertex = far
    for k in range(room.counts[_VERTICES]):
        vertex = np.int64(room.vertices[k])
        if room.at[vertex, _PARENT] == vertex and room.at[vertex, _EXIT] >= 0:
            edge = np.int64(room.at[vertex, _EXIT])
            if room.at[graph.ends[edge, 0], _IS_LIT] == 1:
                _flip(graph, edge, correction)


@compiled
def _clean(room: Room) -> None:
    """Leave everything as it was found."""
    for k in range(room.counts[_VERTICES]):
        vertex = room.vertices[k]
        room.at[vertex, _PARENT] = vertex
        room.at[vertex, _NEXT] = -1
        room.at[vertex, _TAIL] = vertex
        room.at[vertex, _EXIT] = -1
        room.at[vertex, _IS_ODD] = 0
        room.at[vertex, _IS_LIT] = 0
        room.at[vertex, _IS_SEEN] = 0
        room.at[vertex, _DEGREE] = 0
        room.at[vertex, _LINK] = 0
    for k in range(room.counts[_EDGES]):
        edge = np.int64(room.edges[k])
        room.on[edge, _GROWTH] = 0
        room.on[edge, _SINCE] = 0
        room.on[edge, _SPEED] = 0
        room.on[edge, _IS_TOUCHED] = 0
    room.heads[:] = -1
