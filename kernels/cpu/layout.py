"""Layout of packed shots in compiled code; `kernels.layout` says what each function takes.

The functions with a `_` suffix are the cores: they allocate nothing, write into arrays that the
caller gives, and can be called from compiled handlers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.cpu.bits import bits_below
from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.packed import word_count
from cudaq_target.kernels.reference.layout import concatenate_shots

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

__all__ = [
    "concatenate_shots",  # NumPy's copy runs at the speed of the memory already
    "marginal_bits",
    "pack_bits",
    "planes_to_shots",
    "post_select",
    "select_shots",
    "transpose_bits",
    "unpack_bits",
]

LANES = 8
"""Blocks of 64 × 64 bits that are transposed side by side: the words of a 512-bit register."""

TILE_WORDS = 64 * LANES
_ONE = np.uint64(1)


def transpose_tile() -> Words:
    """Return the room that `transpose_` works in: L1-resident, shape (512,)."""
    return np.empty(TILE_WORDS, dtype=np.uint64)


def unpack_bits(shots: Words, n_bits: int) -> NDArray[np.uint8]:
    """Return one byte per bit."""
    bits = np.empty((len(shots), n_bits), dtype=np.uint8)
    unpack_(shots, bits)
    return bits


def pack_bits(bits: NDArray[np.uint8]) -> Words:
    """Return 64 bits per word."""
    shots = np.empty((len(bits), word_count(bits.shape[1])), dtype=np.uint64)
    pack_(bits, shots)
    return shots


def transpose_bits(shots: Words, n_bits: int) -> Words:
    """Return one row per bit."""
    planes = np.empty((n_bits, word_count(len(shots))), dtype=np.uint64)
    transpose_(shots, planes, transpose_tile())
    return planes


def planes_to_shots(planes: Words, n_shots: int) -> Words:
    """Return one row per shot."""
    return transpose_bits(planes, n_shots)


def select_shots(shots: Words, keep: NDArray[np.bool_]) -> Words:
    """Return the rows that are kept."""
    kept = np.empty((int(np.count_nonzero(keep)), shots.shape[1]), dtype=np.uint64)
    select_(shots, keep, kept)
    return kept


def post_select(shots: Words, mask: Words, value: Words) -> Words:
    """Return the rows that have the bits of `value` at the ones of `mask`."""
    keep = np.empty(len(shots), dtype=np.bool_)
    match_(shots, mask, value, keep)
    return select_shots(shots, keep)


def marginal_bits(shots: Words, n_bits: int, qubits: NDArray[np.int64]) -> Words:
    """Return the bits of some qubits, in the order of `qubits`."""
    del n_bits
    kept = np.zeros((len(shots), word_count(len(qubits))), dtype=np.uint64)
    gather_(shots, bit_runs(qubits), kept)
    return kept


def bit_runs(qubits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the runs of neighbouring qubits that one shift moves, given the order wanted.

    Args:
        qubits: Source of each bit of the result, shape (n_qubits,).

    Returns:
        Source bit, target bit and length of each run, shape (n_runs, 3); no run crosses a word of
        the source or of the target.
    """
    targets = np.arange(len(qubits))
    starts = np.ones(len(qubits), dtype=np.bool_)
    starts[1:] = (np.diff(qubits) != 1) | (qubits[1:] % 64 == 0) | (targets[1:] % 64 == 0)
    firsts = np.flatnonzero(starts)
    lengths = np.diff(np.append(firsts, len(qubits)))
    return np.stack([qubits[firsts], firsts, lengths], axis=1).astype(np.int64)


@compiled
def unpack_(shots: Words, bits: NDArray[np.uint8]) -> None:
    """Spread bits over bytes.

    Args:
        shots: Shape (n_shots, ceil(n_bits / 64)).
        bits: Written, shape (n_shots, n_bits).
    """
    n_shots, n_bits = bits.shape
    n_full = n_bits // 64
    for s in range(n_shots):
        for w in range(n_full):
            word = shots[s, w]
            for k in range(64):
                bits[s, 64 * w + k] = np.uint8((word >> np.uint64(k)) & _ONE)
        for k in range(n_bits - 64 * n_full):
            bits[s, 64 * n_full + k] = np.uint8((shots[s, n_full] >> np.uint64(k)) & _ONE)


@compiled
def pack_(bits: NDArray[np.uint8], shots: Words) -> None:
    """Pack bytes, each 0 or 1.

    Args:
        bits: Shape (n_shots, n_bits).
        shots: Written, shape (n_shots, ceil(n_bits / 64)).
    """
    n_shots, n_bits = bits.shape
    n_full = n_bits // 64
    for s in range(n_shots):
        for w in range(n_full):
            word = np.uint64(0)
            for k in range(64):
                word |= np.uint64(bits[s, 64 * w + k]) << np.uint64(k)
            shots[s, w] = word
        if n_bits > 64 * n_full:
            word = np.uint64(0)
            for k in range(n_bits - 64 * n_full):
                word |= np.uint64(bits[s, 64 * n_full + k]) << np.uint64(k)
            shots[s, n_full] = word


@compiled
def transpose_(rows: Words, columns: Words, tile: Words) -> None:
    """Transpose a matrix of bits.

    Args:
        rows: Shape (n_rows, ceil(n_columns / 64)).
        columns: Written, shape (n_columns, ceil(n_rows / 64)).
        tile: Room for `LANES` blocks, shape (512,); overwritten.
    """
    n_words, n_blocks = rows.shape[1], columns.shape[1]
    if n_words > n_blocks:  # wide: neighbouring lanes are neighbouring words of a row
        for block in range(n_blocks):
            for first in range(0, n_words, LANES):
                _load_words(rows, 64 * block, first, tile)
                _transpose_tile(tile)
                _store_scattered(tile, columns, 64 * first, block)
        return
    for first in range(0, n_blocks, LANES):  # tall: they are neighbouring words of a column
        for word in range(n_words):
            _load_scattered(rows, 64 * first, word, tile)
            _transpose_tile(tile)
            _store_words(tile, columns, 64 * word, first)


@compiled
def _load_words(rows: Words, first_row: int, first_word: int, tile: Words) -> None:
    """Load 64 rows of up to 8 words; what lies outside of the matrix reads as 0."""
    n_words = min(LANES, rows.shape[1] - first_word)
    n_rows = min(64, rows.shape[0] - first_row)
    if n_words < LANES or n_rows < 64:
        tile[:] = np.uint64(0)
    for r in range(n_rows):
        for lane in range(n_words):
            tile[LANES * r + lane] = rows[first_row + r, first_word + lane]


@compiled
def _load_scattered(rows: Words, first_row: int, word: int, tile: Words) -> None:
    """Load one word of 8 × 64 rows; what lies outside of the matrix reads as 0."""
    n_rows = min(TILE_WORDS, rows.shape[0] - first_row)
    if n_rows < TILE_WORDS:
        tile[:] = np.uint64(0)
    n_lanes = n_rows // 64
    for lane in range(n_lanes):
        for r in range(64):
            tile[LANES * r + lane] = rows[first_row + 64 * lane + r, word]
    for r in range(n_rows - 64 * n_lanes):
        tile[LANES * r + n_lanes] = rows[first_row + 64 * n_lanes + r, word]


@compiled
def _store_words(tile: Words, columns: Words, first_column: int, first_word: int) -> None:
    """Store up to 8 words of 64 columns."""
    n_words = min(LANES, columns.shape[1] - first_word)
    for c in range(min(64, columns.shape[0] - first_column)):
        for lane in range(n_words):
            columns[first_column + c, first_word + lane] = tile[LANES * c + lane]


@compiled
def _store_scattered(tile: Words, columns: Words, first_column: int, word: int) -> None:
    """Store one word of up to 8 × 64 columns."""
    n_columns = min(TILE_WORDS, columns.shape[0] - first_column)
    for c in range(n_columns):
        columns[first_column + c, word] = tile[LANES * (c % 64) + c // 64]


@compiled
def _transpose_tile(tile: Words) -> None:
    """Transpose 8 blocks of 64 × 64 bits: word r of block l is `tile[8 r + l]`.

    Distances between the words that meet are constants, so that LLVM proves them apart and uses
    vectors.
    """
    for i in range(0, TILE_WORDS, 2 * 32 * LANES):
        for k in range(i, i + 32 * LANES):
            swap = ((tile[k] >> np.uint64(32)) ^ tile[k + 32 * LANES]) & np.uint64(0xFFFFFFFF)
            tile[k + 32 * LANES] ^= swap
            tile[k] ^= swap << np.uint64(32)
    for i in range(0, TILE_WORDS, 2 * 16 * LANES):
        for k in range(i, i + 16 * LANES):
            swap = ((tile[k] >> np.uint64(16)) ^ tile[k + 16 * LANES]) & np.uint64(
                0x0000FFFF0000FFFF
            )
            tile[k + 16 * LANES] ^= swap
            tile[k] ^= swap << np.uint64(16)
    for i in range(0, TILE_WORDS, 2 * 8 * LANES):
        for k in range(i, i + 8 * LANES):
            swap = ((tile[k] >> np.uint64(8)) ^ tile[k + 8 * LANES]) & np.uint64(0x00FF00FF00FF00FF)
            tile[k + 8 * LANES] ^= swap
            tile[k] ^= swap << np.uint64(8)
    for i in range(0, TILE_WORDS, 2 * 4 * LANES):
        for k in range(i, i + 4 * LANES):
            swap = ((tile[k] >> np.uint64(4)) ^ tile[k + 4 * LANES]) & np.uint64(0x0F0F0F0F0F0F0F0F)
            tile[k + 4 * LANES] ^= swap
            tile[k] ^= swap << np.uint64(4)
    for i in range(0, TILE_WORDS, 2 * 2 * LANES):
        for k in range(i, i + 2 * LANES):
            swap = ((tile[k] >> np.uint64(2)) ^ tile[k + 2 * LANES]) & np.uint64(0x3333333333333333)
            tile[k + 2 * LANES] ^= swap
            tile[k] ^= swap << np.uint64(2)
    for i in range(0, TILE_WORDS, 2 * LANES):
        for k in range(i, i + LANES):
            swap = ((tile[k] >> np.uint64(1)) ^ tile[k + LANES]) & np.uint64(0x5555555555555555)
            tile[k + LANES] ^= swap
            tile[k] ^= swap << np.uint64(1)


@compiled
def match_(shots: Words, mask: Words, value: Words, keep: NDArray[np.bool_]) -> None:
    """Compare shots with outcomes.

    Args:
        shots: Shape (n_shots, n_words).
        mask: Ones where a bit matters, shape (n_words,).
        value: The bits wanted there, shape (n_words,).
        keep: Written, shape (n_shots,).
    """
    for s in range(shots.shape[0]):
        difference = np.uint64(0)
        for w in range(shots.shape[1]):
            difference |= (shots[s, w] & mask[w]) ^ value[w]
        keep[s] = difference == np.uint64(0)


@compiled
def select_(shots: Words, keep: NDArray[np.bool_], kept: Words) -> None:
    """Copy the rows that are kept.

    Args:
        shots: Shape (n_shots, n_words).
        keep: Shape (n_shots,).
        kept: Written, shape (number of rows to keep, n_words).
    """
    n_kept = 0
    for s in range(shots.shape[0]):
        if keep[s]:
            for w in range(shots.shape[1]):
                kept[n_kept, w] = shots[s, w]
            n_kept += 1


@compiled
def gather_(shots: Words, runs: NDArray[np.int64], kept: Words) -> None:
    """Copy runs of bits.

    Args:
        shots: Shape (n_shots, n_words).
        runs: Source bit, target bit and length of each, shape (n_runs, 3); none crosses a word.
        kept: Zeros, written, shape (n_shots, n_target_words).
    """
    for i in range(runs.shape[0]):
        source, target, mask = runs[i, 0], runs[i, 1], bits_below(runs[i, 2])
        right, left = np.uint64(source % 64), np.uint64(target % 64)
        for s in range(shots.shape[0]):
            kept[s, target // 64] |= (shots[s, source // 64] >> right & mask) << left
