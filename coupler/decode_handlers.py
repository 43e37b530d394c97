"""Handlers that decode without Python: packed syndromes in, packed corrections out.

Arguments are one or more whole rows, u64[n_shots, ceil(n_detectors / 64)], the answer as many rows,
u64[n_shots, ceil(n_observables / 64)]: bit k of a row is detector or observable k, little-endian.
Whatever is no such rows, has a bit beyond n_detectors, or cannot come from the errors of the graph
is answered BAD_REQUEST. Nothing is allocated per request. Compiling takes seconds per decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.handlers import stateful_handler
from cudaq_target.kernels.cpu.bits import bits_below
from cudaq_target.kernels.cpu.lookup import hash_table, look_up_
from cudaq_target.kernels.cpu.union_find import (
    PLACE,
    TALLY,
    VERTEX,
    Graph,
    Room,
    decode_rows_,
    make_graph,
    make_room,
)
from cudaq_target.kernels.decoders.union_find import rounded_weights
from cudaq_target.kernels.jit import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.coupler._native import Dispatcher
    from cudaq_target.kernels.decoders.graph import DecodingGraph
    from cudaq_target.kernels.decoders.lookup import LookupTable

    Bytes = NDArray[np.uint8]
    Words = NDArray[np.uint64]

_BAD_REQUEST: Final = 2  # `frame.Status`; a literal, as compiled code knows no enumerations


def add_union_find(
    dispatcher: Dispatcher, name: str, graph: DecodingGraph, *, deadline_ns: int = 0
) -> None:
    """Register a union-find decoder, with the answers of `UnionFindDecoder`.

    Args:
        dispatcher: Where.
        name: Its id is the hash of its name.
        graph: From `graph_from_checks` or `graph_from_dem`.
        deadline_ns: A later result is answered DEADLINE (ns); 0 for none.

    Raises:
        ValueError: The name is taken.
    """
    n_detectors, n_edges = graph.n_detectors, len(graph.ends)
    n_in, n_out = (n_detectors + 63) // 64, graph.flips.shape[1]
    tables = make_graph(graph.ends, rounded_weights(graph), graph.flips, n_detectors)
    state, marks = laid_out([*tables, *make_room(n_detectors, n_edges)])
    m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10 = marks  # closures of numbers alone compile

    def answer(arguments: Bytes, result: Bytes, state: Bytes) -> int:
        n_shots = n_rows(arguments, n_in, n_detectors)
        n_bytes = 8 * n_shots * n_out
        if n_shots == 0 or n_bytes > len(result):
            return -_BAD_REQUEST
        laid = Graph(
            state[m0:m1].view(np.int32).reshape((n_edges, 2)),
            state[m1:m2].view(np.uint64).reshape((n_edges, n_out)),
            state[m2:m3].view(np.int32)[: n_detectors + 1],
            state[m3:m4].view(PLACE),
        )
        room = Room(
            state[m4:m5].view(VERTEX),
            state[m5:m6].view(np.int32),
            state[m6:m7].view(np.int32),
            state[m7:m8].view(np.uint64),
            state[m8:m9].view(np.int32),
            state[m9:m10].view(TALLY),
        )
        syndromes = arguments.view(np.uint64).reshape((n_shots, n_in))
        corrections = result[:n_bytes].view(np.uint64).reshape((n_shots, n_out))
        return n_bytes if decode_rows_(laid, room, syndromes, corrections) < 0 else -_BAD_REQUEST

    made = stateful_handler(answer, len(state))
    made.add_to(dispatcher, name, state=state, deadline_ns=deadline_ns)


def add_look_up(
    dispatcher: Dispatcher, name: str, table: LookupTable, *, deadline_ns: int = 0
) -> None:
    """Register a look-up decoder, with the answers of `LookupDecoder`.

    `Dispatcher.add_look_up` is for dense tables of every syndrome of up to 24 bits; this one hashes
    the syndromes of few errors, however many bits they have.

    Args:
        dispatcher: Where.
        name: Its id is the hash of its name.
        table: From `build_table`; copied.
        deadline_ns: A later result is answered DEADLINE (ns); 0 for none.

    Raises:
        ValueError: The name is taken.
    """
    n_keys, n_in = table.keys.shape
    n_out, n_detectors = int(table.corrections.shape[1]), table.n_detectors
    state, marks = laid_out([table.keys, table.corrections, hash_table(table.keys)])
    m0, m1, m2, m3 = marks

    def answer(arguments: Bytes, result: Bytes, state: Bytes) -> int:
        n_shots = n_rows(arguments, n_in, n_detectors)
        n_bytes = 8 * n_shots * n_out
        if n_shots == 0 or n_bytes > len(result):
            return -_BAD_REQUEST
        look_up_(
            state[m0:m1].view(np.uint64).reshape((n_keys, n_in)),
            state[m1:m2].view(np.uint64).reshape((n_keys, n_out)),
            state[m2:m3].view(np.int32),
            arguments.view(np.uint64).reshape((n_shots, n_in)),
            result[:n_bytes].view(np.uint64).reshape((n_shots, n_out)),
        )
        return n_bytes

    made = stateful_handler(answer, len(state))
    made.add_to(dispatcher, name, state=state, deadline_ns=deadline_ns)


@compiled
def n_rows(arguments: Bytes, n_words: int, n_bits: int) -> int:
    """Count the packed rows in arguments; 0 for anything else, stray bits included."""
    n_bytes = np.int64(len(arguments))
    if n_bytes == 0 or n_bytes % (8 * n_words) != 0:
        return 0
    words = arguments.view(np.uint64)
    stray = ~bits_below(n_bits - 64 * (n_words - 1))
    for last in range(n_words - 1, len(words), n_words):
        if words[last] & stray != np.uint64(0):
            return 0
    return int(n_bytes // (8 * n_words))


def laid_out(parts: Sequence[NDArray[np.generic]]) -> tuple[Bytes, list[int]]:
    """Copy arrays into one, each at a multiple of 8 bytes; where each starts and the last ends.

    Padding follows an array of odd length, as part of it.
    """
    sizes = [-(-part.nbytes // 8) * 8 for part in parts]
    marks = [0, *np.cumsum(sizes).tolist()]
    state = np.zeros(marks[-1], dtype=np.uint8)
    for start, part in zip(marks, parts, strict=False):
        state[start : start + part.nbytes] = part.reshape(-1).view(np.uint8)
    return state, marks
