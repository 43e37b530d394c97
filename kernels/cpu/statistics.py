"""Statistics of packed shots in compiled code; `kernels.statistics` says what each function takes.

The functions with a `_` suffix are the cores: they allocate nothing, write into arrays that the
caller gives, and can be called from compiled handlers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.cpu.bits import popcount
from cudaq_target.kernels.cpu.carry_save import count_ones
from cudaq_target.kernels.cpu.layout import LANES, TILE_WORDS, transpose_, transpose_tile
from cudaq_target.kernels.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]
    Reals = NDArray[np.float64]

DENSE_BITS = 16  # up to here a table with one place per bit string fits the cache
_STRIP_WORDS = 256  # 2 KiB per plane: four of them, and one that streams, lie in the L1 cache
_FIRST_TABLE_BITS = 12
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_CHUNK_VALUES = 2048  # 16 KiB, read twice while it lies in the L1 cache


def occupation(shots: Words, n_bits: int) -> Counts:
    """Return the ones per qubit."""
    return count_ones(shots, n_bits)


def pair_correlations(shots: Words, n_bits: int) -> Counts:
    """Return the shots in which both qubits of a pair are 1."""
    planes = _aligned(n_bits, -(-len(shots) // TILE_WORDS) * LANES)
    transpose_(shots, planes, transpose_tile())
    counts = np.zeros((n_bits, n_bits), dtype=np.int64)
    pair_counts_(planes, counts)
    return counts


def _aligned(n_planes: int, n_words: int) -> Words:
    """Return planes whose vectors cross no cache line: loads that do cost twice."""
    room = np.empty(n_planes * n_words + LANES, dtype=np.uint64)
    skipped = -(room.ctypes.data // 8) % LANES
    return room[skipped : skipped + n_planes * n_words].reshape(n_planes, n_words)


def histogram(shots: Words, n_bits: int) -> tuple[Words, Counts]:
    """Return the distinct shots, ascending as numbers, and how often each occurs."""
    if n_bits <= DENSE_BITS and len(shots) >> max(0, n_bits - 3):
        dense = np.zeros(1 << n_bits, dtype=np.int64)
        dense_counts_(shots, dense)
        found = np.flatnonzero(dense)
        return found.astype(np.uint64)[:, None], dense[found]
    keys, counts = _hashed(shots)
    order = _ascending(keys)
    return keys[order], counts[order]


def _hashed(shots: Words) -> tuple[Words, Counts]:
    """Count with a table that grows until the distinct shots fill at most half of it."""
    table_bits = _FIRST_TABLE_BITS
    while True:
        capacity = 1 << (table_bits - 1)
        table = np.zeros(1 << table_bits, dtype=np.int64)
        keys = np.empty((capacity, shots.shape[1]), dtype=np.uint64)
        counts = np.zeros(capacity, dtype=np.int64)
        n_keys = hash_counts_(shots, table, keys, counts)
        if n_keys >= 0:
            return keys[:n_keys], counts[:n_keys]
        table_bits += 3


def _ascending(keys: Words) -> NDArray[np.intp]:
    """Sort by the last word first, as it is the most significant."""
    order = np.argsort(keys[:, -1])
    top = keys[order, -1]
    if keys.shape[1] > 1 and (top[1:] == top[:-1]).any():
        return np.lexsort(keys.T)
    return order


def column_moments(values: Reals) -> tuple[Reals, Reals]:
    """Return the mean of each column, and its sum of squared deviations from the mean."""
    mean, squares, room = np.zeros((3, values.shape[1]))
    column_moments_(values, mean, squares, room)
    return mean, squares


@compiled
def pair_counts_(planes: Words, counts: Counts) -> None:
    """Count the common ones of every pair of planes.

    Four planes stay in the L1 cache while the others stream past them; the loops over words hold
    nothing but AND, popcount and addition, which LLVM turns into vectors.

    Args:
        planes: Shape (n_bits, n_words).
        counts: Zeros, written, shape (n_bits, n_bits).
    """
    n_bits, n_words = planes.shape
    n_fours = n_bits // 4 * 4
    for first in range(0, n_words, _STRIP_WORDS):
        last = min(first + _STRIP_WORDS, n_words)
        for j in range(0, n_fours, 4):
            for i in range(j + 4):
                _count_four(planes, i, j, first, last, counts)
        for j in range(n_fours, n_bits):
            for i in range(j + 1):
                _count_one(planes, i, j, first, last, counts)
    for i in range(n_bits):
        for j in range(i):
            counts[i, j] = counts[j, i]


@compiled
def _count_four(planes: Words, i: int, j: int, first: int, last: int, counts: Counts) -> None:
    one, a, b = planes[i][first:last], planes[j][first:last], planes[j + 1][first:last]
    c, d = planes[j + 2][first:last], planes[j + 3][first:last]
    n_a = n_b = n_c = n_d = np.uint64(0)
    for w in range(len(one)):
        n_a += popcount(one[w] & a[w])
        n_b += popcount(one[w] & b[w])
        n_c += popcount(one[w] & c[w])
        n_d += popcount(one[w] & d[w])
    counts[i, j] += np.int64(n_a)
    counts[i, j + 1] += np.int64(n_b)
    counts[i, j + 2] += np.int64(n_c)
    counts[i, j + 3] += np.int64(n_d)


@compiled
def _count_one(planes: Words, i: int, j: int, first: int, last: int, counts: Counts) -> None:
    one, other = planes[i][first:last], planes[j][first:last]
    n_both = np.uint64(0)
    for w in range(len(one)):
        n_both += popcount(one[w] & other[w])
    counts[i, j] += np.int64(n_both)


@compiled
def dense_counts_(shots: Words, counts: Counts) -> None:
    """Count bit strings of few bits in a table of all of them.

    Args:
        shots: Shape (n_shots, 1).
        counts: Zeros, written, shape (2^n_bits,).
    """
    for s in range(shots.shape[0]):
        counts[np.int64(shots[s, 0])] += 1


@compiled
def hash_counts_(shots: Words, table: Counts, keys: Words, counts: Counts) -> int:
    """Count bit strings of any width by open addressing.

    Args:
        shots: Shape (n_shots, n_words).
        table: Zeros, overwritten, shape (2 capacity,), a power of two.
        keys: Written: the distinct shots by first occurrence, shape (capacity, n_words).
        counts: Zeros, written, shape (capacity,).

    Returns:
        The number of distinct shots; -1 where there are more than `capacity`.
    """
    n_shots, n_words = shots.shape
    last_place = np.uint64(len(table) - 1)
    n_keys = 0
    for s in range(n_shots):
        mixed = np.uint64(0)
        for w in range(n_words):
            mixed = (mixed ^ shots[s, w]) * _GOLDEN
            mixed ^= mixed >> np.uint64(29)
        place = (mixed * _GOLDEN >> np.uint64(24)) & last_place
        while True:
            key = table[np.int64(place)] - 1
            if key < 0:
                if n_keys == len(counts):
                    return -1
                keys[n_keys] = shots[s]
                counts[n_keys] = 1
                n_keys += 1
                table[np.int64(place)] = n_keys
                break
            is_same = True
            for w in range(n_words):
                is_same &= keys[key, w] == shots[s, w]
            if is_same:
                counts[key] += 1
                break
            place = (place + np.uint64(1)) & last_place
    return n_keys


@compiled
def column_moments_(values: Reals, mean: Reals, squares: Reals, room: Reals) -> None:
    """Moments of columns in one pass over the memory.

    Chunks that fit the L1 cache are read twice (mean, then deviations) and merged (T. F. Chan,
    G. H. Golub and R. J. LeVeque, Am. Stat. 37, 242 (1983): pairwise updates).

    Args:
        values: Shape (n_rows, n_columns).
        mean: Written, shape (n_columns,).
        squares: Sums of squared deviations, written, shape (n_columns,).
        room: Overwritten, shape (n_columns,).
    """
    n_rows, n_columns = values.shape
    chunk = max(8, _CHUNK_VALUES // n_columns)
    mean[:] = 0.0
    squares[:] = 0.0
    for first in range(0, n_rows, chunk):
        n_new = min(chunk, n_rows - first)
        share = n_new / (first + n_new)
        room[:] = 0.0
        for r in range(first, first + n_new):
            for c in range(n_columns):
                room[c] += values[r, c]
        for c in range(n_columns):
            room[c] /= n_new
            shift = room[c] - mean[c]
            mean[c] += shift * share
            squares[c] += shift * shift * share * first
        for r in range(first, first + n_new):
            for c in range(n_columns):
                deviation = values[r, c] - room[c]
                squares[c] += deviation * deviation
