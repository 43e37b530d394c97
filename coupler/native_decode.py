"""The decode-server calls without Python: look-up and union-find decoders in the native dispatcher.

`enqueue_syndromes`, `get_corrections` and `reset_decoder` behave as in `decode_server`, with one
difference: rounds are known by their counter alone, not by session and counter. Nothing is
allocated per call. Compiling takes a second, the first time some more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.decode_handlers import laid_out
from cudaq_target.coupler.decode_server import MAX_DECODERS, MAX_SYNDROME_BITS, N_COUNTERS_KEPT
from cudaq_target.coupler.errors import CouplerError, DecoderCountError
from cudaq_target.coupler.handlers import stateful_handler
from cudaq_target.coupler.payload import packed_bytes
from cudaq_target.kernels.cpu.bits import popcount
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
from cudaq_target.kernels.decoders.lookup import LookupDecoder
from cudaq_target.kernels.decoders.union_find import UnionFindDecoder, rounded_weights
from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.packed import word_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.coupler._native import Dispatcher
    from cudaq_target.kernels.decoders.measured import MeasurementDecoder

    Bytes = NDArray[np.uint8]
    Numbers = NDArray[np.int64]

# `frame.Status`; literals, as compiled code knows no enumerations
_INVALID_DECODER: Final = 1
_BAD_REQUEST: Final = 2
_INTERNAL_ERROR: Final = 3
_NOT_READY: Final = 4
_COLLECTING, _RESULT_READY, _FAILED = 0, 1, 2
_LOOK_UP, _UNION_FIND = 0, 1
_MAX_BITS: Final = MAX_SYNDROME_BITS
_KEPT: Final = N_COUNTERS_KEPT

# The state begins with the number of decoders, then each has a row of numbers: what it is, where
# it stands, and where its arrays begin and end in the same bytes.
_KIND, _N_MEASUREMENTS, _N_DETECTORS, _N_OBSERVABLES, _N_ROWS = range(5)
_N_COLLECTED, _STATE, _N_CALLS, _N_COUNTERS = range(5, 9)
_MEASURED, _MASKS, _LIT, _FOUND, _CORRECTIONS, _COUNTERS, _TABLES = range(9, 16)
_N_FIELDS: Final = 32
_HEAD_BYTES: Final = 8


@dataclass
class NativeDecoderError(CouplerError):
    """A decoder has no form in machine code.

    Attributes:
        number: Of the decoder.
        kind: Its class.
    """

    number: int
    kind: str

    def __str__(self) -> str:
        return (
            f"decoder {self.number} is a {self.kind}, which runs in Python alone; look-up and "
            "union-find decoders run natively, DecodeService serves any"
        )


class NativeDecoders:
    """Decoders whose calls a native dispatcher serves."""

    def __init__(self, decoders: Sequence[MeasurementDecoder]) -> None:
        """Lay the decoders out in memory.

        Args:
            decoders: Numbered from 0, at most 32; look-up and union-find ones.

        Raises:
            DecoderCountError: There are more, or none.
            NativeDecoderError: One is of another kind.
        """
        if not 0 < len(decoders) <= MAX_DECODERS:
            raise DecoderCountError(len(decoders), MAX_DECODERS)
        start = _HEAD_BYTES + 8 * _N_FIELDS * len(decoders)
        rows, bodies = [], []
        for number, decoder in enumerate(decoders):
            row, body = _unit(number, decoder, start)
            rows.append(row)
            bodies.append(body)
            start += len(body)
        head = np.concatenate([np.array([len(decoders)], dtype=np.int64), *rows])
        self._state: Bytes = np.concatenate([head.view(np.uint8), *bodies])

    def add_to(self, dispatcher: Dispatcher) -> None:
        """Register the three calls.

        Args:
            dispatcher: It serves one endpoint, and no other has these decoders.

        Raises:
            ValueError: A name is taken.
        """
        calls = (
            ("enqueue_syndromes", _enqueue, 32, 32 + packed_bytes(MAX_SYNDROME_BITS)),
            ("get_corrections", _get_corrections, 17, 17),
            ("reset_decoder", _reset, 8, 8),
        )
        for name, call, shortest, longest in calls:
            made = stateful_handler(call, len(self._state))
            made.add_to(
                dispatcher, name, state=self._state, min_arg_bytes=shortest, max_arg_bytes=longest
            )

    def n_calls(self, decoder_id: int) -> int:
        """Calls that decoder `decoder_id` got so far, repeats not counted."""
        return int(self._rows[decoder_id, _N_CALLS])

    @property
    def n_decoders(self) -> int:
        """How many decoders there are."""
        return len(self._rows)

    @property
    def _rows(self) -> Numbers:
        numbers = self._state[: len(self._state) // 8 * 8].view(np.int64)
        return numbers[1 : 1 + _N_FIELDS * numbers[0]].reshape(-1, _N_FIELDS)


def _unit(number: int, decoder: MeasurementDecoder, start: int) -> tuple[Numbers, Bytes]:
    """The row of a decoder, and its arrays, which begin at byte `start`."""
    inner = decoder.decoder
    n_words = word_count(inner.n_observables)
    parts: list[NDArray[np.generic]] = [
        np.zeros(word_count(decoder.n_measurements), dtype=np.uint64),
        decoder.masks,
        np.zeros(word_count(inner.n_detectors), dtype=np.uint64),
        np.zeros(n_words, dtype=np.uint64),
        np.zeros(n_words, dtype=np.uint64),
        np.zeros(_KEPT, dtype=np.int64),
    ]
    if isinstance(inner, UnionFindDecoder):
        graph = inner.graph
        kind, n_rows = _UNION_FIND, len(graph.ends)
        weights = rounded_weights(graph)
        parts += make_graph(graph.ends, weights, graph.flips, graph.n_detectors)
        parts += make_room(graph.n_detectors, n_rows)
    elif isinstance(inner, LookupDecoder):
        table = inner.table
        kind, n_rows = _LOOK_UP, len(table.keys)
        parts += [table.keys, table.corrections, hash_table(table.keys)]
    else:
        raise NativeDecoderError(number, type(inner).__name__)
    body, marks = laid_out(parts)
    row = np.zeros(_N_FIELDS, dtype=np.int64)
    row[:5] = kind, decoder.n_measurements, inner.n_detectors, inner.n_observables, n_rows
    row[_MEASURED : _MEASURED + len(marks)] = start + np.array(marks)
    return row, body


@compiled
def _row_of(arguments: Bytes, state: Bytes) -> Numbers:
    """Numbers of the decoder that the arguments name; empty where there is none."""
    decoder_id = arguments[:8].view(np.int64)[0]
    n_decoders = state[:8].view(np.int64)[0]
    if decoder_id < 0 or decoder_id >= n_decoders:
        return state[:0].view(np.int64)
    start = _HEAD_BYTES + 8 * _N_FIELDS * decoder_id
    return state[start : start + 8 * _N_FIELDS].view(np.int64)


@compiled
def _words(row: Numbers, state: Bytes, field: int) -> NDArray[np.uint64]:
    """Words of the array of a decoder."""
    return state[row[field] : row[field + 1]].view(np.uint64)


@compiled
def _enqueue(arguments: Bytes, result: Bytes, state: Bytes) -> int:  # noqa: ARG001
    row = _row_of(arguments, state)
    if len(row) == 0:
        return -_INVALID_DECODER
    numbers = arguments[8:32].view(np.int64)
    counter, mapping_id, n_bits = numbers[0], numbers[1], numbers[2]
    row[_N_CALLS] += 1
    if mapping_id != 0:
        return -_BAD_REQUEST
    if n_bits < 1 or n_bits > _MAX_BITS:
        row[_STATE] = _FAILED
        return -_BAD_REQUEST
    if len(arguments) != 32 + (n_bits + 7) // 8:
        return -_BAD_REQUEST
    # Errors are latched: the call is acknowledged, and `get_corrections` reports them.
    if row[_STATE] != _FAILED and not _is_repeat(row, state, counter):
        _collect(row, state, arguments[32:], n_bits)
    return 0


@compiled
def _get_corrections(arguments: Bytes, result: Bytes, state: Bytes) -> int:
    row = _row_of(arguments, state)
    if len(row) == 0:
        return -_INVALID_DECODER
    row[_N_CALLS] += 1
    n_bits = arguments[8:16].view(np.int64)[0]
    n_bytes = (n_bits + 7) // 8
    if n_bits != row[_N_OBSERVABLES]:
        return -_BAD_REQUEST
    if row[_STATE] != _RESULT_READY:
        return -_INTERNAL_ERROR if row[_STATE] == _FAILED else -_NOT_READY
    if n_bytes > len(result):
        return -_BAD_REQUEST
    result[:n_bytes] = _words(row, state, _CORRECTIONS).view(np.uint8)[:n_bytes]
    if arguments[16] != 0:
        _clear(row, state)
    return int(n_bytes)


@compiled
def _reset(arguments: Bytes, result: Bytes, state: Bytes) -> int:  # noqa: ARG001
    row = _row_of(arguments, state)
    if len(row) == 0:
        return -_INVALID_DECODER
    row[_N_CALLS] += 1
    _clear(row, state)
    row[_N_COLLECTED] = 0
    row[_N_COUNTERS] = 0
    return 0


@compiled
def _clear(row: Numbers, state: Bytes) -> None:
    _words(row, state, _CORRECTIONS)[:] = np.uint64(0)
    row[_STATE] = _COLLECTING


@compiled
def _is_repeat(row: Numbers, state: Bytes, counter: int) -> bool:
    """Whether this round came before; counter 0 numbers nothing."""
    if counter == 0:
        return False
    counters = _words(row, state, _COUNTERS).view(np.int64)
    n_seen = row[_N_COUNTERS]
    is_known = False
    for k in range(min(n_seen, _KEPT)):
        is_known |= counters[k] == counter
    if not is_known:
        counters[n_seen % _KEPT] = counter
        row[_N_COUNTERS] += 1
    return is_known


@compiled
def _collect(row: Numbers, state: Bytes, packed: Bytes, n_bits: int) -> None:
    """Add a round; the one that completes a shot decodes it."""
    n_before, n_all = row[_N_COLLECTED], row[_N_MEASUREMENTS]
    if n_before + n_bits > n_all:
        row[_STATE] = _FAILED
        return
    row[_STATE] = _COLLECTING
    measured = _words(row, state, _MEASURED)
    if n_before == 0:
        measured[:] = np.uint64(0)
    for k in range(n_bits):
        bit = np.uint64(packed[k >> 3] >> (k & 7)) & np.uint64(1)
        place = n_before + k
        measured[place >> 6] |= bit << np.uint64(place & 63)
    row[_N_COLLECTED] = n_before + n_bits
    if n_before + n_bits < n_all:
        return
    row[_N_COLLECTED] = 0
    _light(row, state)
    if _decode(row, state):
        corrections, found = _words(row, state, _CORRECTIONS), _words(row, state, _FOUND)
        for k in range(len(corrections)):
            corrections[k] ^= found[k]
        row[_STATE] = _RESULT_READY
    else:
        row[_STATE] = _FAILED


@compiled
def _light(row: Numbers, state: Bytes) -> None:
    """Compute the detectors, which are parities of measurements."""
    measured, lit = _words(row, state, _MEASURED), _words(row, state, _LIT)
    masks = _words(row, state, _MASKS)
    n_words = len(measured)
    lit[:] = np.uint64(0)
    for k in range(row[_N_DETECTORS]):
        odd = np.uint64(0)
        for j in range(n_words):
            odd ^= popcount(masks[n_words * k + j] & measured[j])
        lit[k >> 6] |= (odd & np.uint64(1)) << np.uint64(k & 63)


@compiled
def _decode(row: Numbers, state: Bytes) -> bool:
    """Explain the lit detectors; whether that was possible."""
    n_detectors, n_rows = row[_N_DETECTORS], row[_N_ROWS]
    syndromes = _words(row, state, _LIT).reshape((1, (n_detectors + 63) // 64))
    n_out = (row[_N_OBSERVABLES] + 63) // 64
    found = _words(row, state, _FOUND).reshape((1, n_out))
    marks = row[_TABLES:]
    if row[_KIND] == _LOOK_UP:
        look_up_(
            state[marks[0] : marks[1]].view(np.uint64).reshape((n_rows, syndromes.shape[1])),
            state[marks[1] : marks[2]].view(np.uint64).reshape((n_rows, n_out)),
            state[marks[2] : marks[3]].view(np.int32),
            syndromes,
            found,
        )
        return True
    graph = Graph(
        state[marks[0] : marks[1]].view(np.int32).reshape((n_rows, 2)),
        state[marks[1] : marks[2]].view(np.uint64).reshape((n_rows, n_out)),
        state[marks[2] : marks[3]].view(np.int32)[: n_detectors + 1],
        state[marks[3] : marks[4]].view(PLACE),
    )
    room = Room(
        state[marks[4] : marks[5]].view(VERTEX),
        state[marks[5] : marks[6]].view(np.int32),
        state[marks[6] : marks[7]].view(np.int32),
        state[marks[7] : marks[8]].view(np.uint64),
        state[marks[8] : marks[9]].view(np.int32),
        state[marks[9] : marks[10]].view(TALLY),
    )
    return decode_rows_(graph, room, syndromes, found) < 0
