"""Decoding in NumPy; `kernels.decoding` says what each function takes and returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.packed import word_count
from cudaq_target.kernels.reference.layout import pack_bits, unpack_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

_BLOCK_SHOTS = 1 << 14


def parity_rows(shots: Words, n_bits: int, masks: Words) -> Words:
    """Return the parities of each shot, packed; sums of ones in float32 are exact below 2^24."""
    members = unpack_bits(masks, n_bits).T.astype(np.float32)
    result = np.empty((len(shots), word_count(len(masks))), dtype=np.uint64)
    for first in range(0, len(shots), _BLOCK_SHOTS):
        rows = slice(first, first + _BLOCK_SHOTS)
        ones = unpack_bits(shots[rows], n_bits).astype(np.float32) @ members
        result[rows] = pack_bits((ones % 2.0).astype(np.uint8))
    return result


def detection_events(syndromes: Words, n_checks: int, n_rounds: int) -> Words:
    """Return the changes between rounds, packed."""
    rounds = unpack_bits(syndromes, n_checks * n_rounds).reshape(-1, n_rounds, n_checks)
    events = np.diff(rounds, axis=1, prepend=np.uint8(0)) & np.uint8(1)
    return pack_bits(events.reshape(len(syndromes), -1).astype(np.uint8, copy=False))
