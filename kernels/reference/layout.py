"""Layout of packed shots in NumPy; `kernels.layout` says what each function takes and returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.packed import WORD_BITS, word_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]


def unpack_bits(shots: Words, n_bits: int) -> NDArray[np.uint8]:
    """Return one byte per bit."""
    as_bytes = shots.astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(as_bytes, axis=1, count=n_bits, bitorder="little")


def pack_bits(bits: NDArray[np.uint8]) -> Words:
    """Return 64 bits per word."""
    n_shots, n_bits = bits.shape
    padded = np.zeros((n_shots, word_count(n_bits) * WORD_BITS), dtype=np.uint8)
    padded[:, :n_bits] = bits
    packed = np.packbits(padded, axis=1, bitorder="little").view("<u8")
    return packed.reshape(n_shots, word_count(n_bits)).astype(np.uint64, copy=False)


def transpose_bits(shots: Words, n_bits: int) -> Words:
    """Return one row per bit."""
    return pack_bits(unpack_bits(shots, n_bits).T)


def planes_to_shots(planes: Words, n_shots: int) -> Words:
    """Return one row per shot."""
    return transpose_bits(planes, n_shots)


def select_shots(shots: Words, keep: NDArray[np.bool_]) -> Words:
    """Return the rows that are kept."""
    return shots[keep]


def post_select(shots: Words, mask: Words, value: Words) -> Words:
    """Return the rows that have the bits of `value` at the ones of `mask`."""
    keep = ((shots & mask) == value).all(axis=1)
    return select_shots(shots, keep)


def concatenate_shots(frames: Sequence[Words]) -> Words:
    """Return the rows of all frames."""
    return np.concatenate(frames)


def marginal_bits(shots: Words, n_bits: int, qubits: NDArray[np.int64]) -> Words:
    """Return the bits of some qubits, in the order of `qubits`."""
    return pack_bits(unpack_bits(shots, n_bits)[:, qubits])
