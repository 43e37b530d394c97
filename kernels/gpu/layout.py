"""Layout of packed shots on a GPU; `kernels.layout` says what each function takes and returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.gpu import device
from cudaq_target.kernels.packed import WORD_BITS, word_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]


def _launch(kernel: str, n_threads: int, *arguments: object) -> None:
    if n_threads > 0:
        device.launch("layout", kernel, device.blocks_for(n_threads), arguments)


@device.lands_at_home
def unpack_bits(shots: Words, n_bits: int) -> NDArray[np.uint8]:
    """Return one byte per bit."""
    n_shots, n_words = shots.shape
    bits: NDArray[np.uint8] = device.arrays().empty((n_shots, n_bits), dtype=np.uint8)
    n_octets = n_shots * -(-n_bits // 8)
    _launch("unpack_bits", n_octets, shots, n_shots, n_words, n_bits, bits)
    return bits


@device.lands_at_home
def pack_bits(bits: NDArray[np.uint8]) -> Words:
    """Return 64 bits per word."""
    n_shots, n_bits = bits.shape
    shots: Words = device.arrays().empty((n_shots, word_count(n_bits)), dtype=np.uint64)
    _launch("pack_bits", 32 * shots.size, bits, n_shots, shots.shape[1], n_bits, shots)
    return shots


@device.lands_at_home
def transpose_bits(shots: Words, n_bits: int) -> Words:
    """Return one row per bit."""
    n_shots, n_words = shots.shape
    planes: Words = device.arrays().empty((n_bits, word_count(n_shots)), dtype=np.uint64)
    _launch("transpose_bits", _tile_threads(planes.size), shots, n_shots, n_words, n_bits, planes)
    return planes


@device.lands_at_home
def planes_to_shots(planes: Words, n_shots: int) -> Words:
    """Return one row per shot."""
    n_bits = planes.shape[0]
    n_words = word_count(n_bits)
    shots: Words = device.arrays().empty((n_shots, n_words), dtype=np.uint64)
    n_threads = _tile_threads(shots.size)
    _launch("planes_to_shots", n_threads, planes, n_shots, n_words, n_bits, shots)
    return shots


def _tile_threads(n_words: int) -> int:
    """Threads for so many words of output: a block of 256 makes a piece of 4096."""
    return -(-n_words // 16)


@device.lands_at_home
def select_shots(shots: Words, keep: NDArray[np.bool_]) -> Words:
    """Return the rows that are kept."""
    kept: Words = shots.take(device.arrays().flatnonzero(keep), axis=0)
    return kept


@device.lands_at_home
def post_select(shots: Words, mask: Words, value: Words) -> Words:
    """Return the rows that have the bits of `value` at the ones of `mask`."""
    n_shots, n_words = shots.shape
    keep = device.arrays().empty(n_shots, dtype=np.bool_)
    _launch("matches", n_shots, shots, n_shots, n_words, mask, value, keep)
    kept: Words = shots.take(device.arrays().flatnonzero(keep), axis=0)
    return kept


@device.lands_at_home
def concatenate_shots(frames: Sequence[Words]) -> Words:
    """Return the rows of all frames."""
    joined: Words = device.arrays().concatenate(frames)
    return joined


@device.lands_at_home
def marginal_bits(shots: Words, n_bits: int, qubits: NDArray[np.int64]) -> Words:
    """Return the bits of some qubits, in the order of `qubits`."""
    del n_bits  # the words say it
    n_shots, n_words = shots.shape
    kept: Words = device.arrays().empty((n_shots, -(-len(qubits) // WORD_BITS)), dtype=np.uint64)
    _launch("gather_bits", kept.size, shots, n_shots, n_words, qubits, len(qubits), kept)
    return kept
