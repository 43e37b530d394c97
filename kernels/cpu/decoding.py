"""Decoding in compiled code; `kernels.decoding` says what each function takes and returns.

The functions with a `_` suffix are the cores: they allocate nothing, write into arrays that the
caller gives, and can be called from compiled handlers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.cpu.bits import bits_below
from cudaq_target.kernels.cpu.layout import LANES, transpose_, transpose_tile
from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.packed import word_count
from cudaq_target.kernels.reference.layout import unpack_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]

_BLOCK_SHOTS = 64 * LANES


def parity_rows(shots: Words, n_bits: int, masks: Words) -> Words:
    """Return the parities of each shot, packed."""
    checks, qubits = np.nonzero(unpack_bits(masks, n_bits))
    starts = np.searchsorted(checks, np.arange(len(masks) + 1)).astype(np.int64)
    parities = np.empty((len(shots), word_count(len(masks))), dtype=np.uint64)
    planes = np.empty((n_bits, LANES), dtype=np.uint64)
    sums = np.empty((len(masks), LANES), dtype=np.uint64)
    parity_rows_(shots, starts, qubits.astype(np.int64), parities, planes, sums, transpose_tile())
    return parities


@compiled
def parity_rows_(
    shots: Words,
    starts: Counts,
    qubits: Counts,
    parities: Words,
    planes: Words,
    sums: Words,
    tile: Words,
) -> None:
    """Take parities, 512 shots at a time: to planes, XOR, and back to rows.

    Args:
        shots: Shape (n_shots, n_words).
        starts: Where the qubits of each check start, shape (n_checks + 1,).
        qubits: Of all checks.
        parities: Written, shape (n_shots, ceil(n_checks / 64)).
        planes: Room, shape (n_bits, 8).
        sums: Room, shape (n_checks, 8).
        tile: Room, see `transpose_tile`.
    """
    n_shots = shots.shape[0]
    for first in range(0, n_shots, _BLOCK_SHOTS):
        last = min(first + _BLOCK_SHOTS, n_shots)
        transpose_(shots[first:last], planes, tile)
        for check in range(sums.shape[0]):
            total = sums[check]
            total[:] = np.uint64(0)
            for k in range(starts[check], starts[check + 1]):
                plane = planes[qubits[k]]
                for lane in range(LANES):  # innermost, so that LLVM takes all lanes at once
                    total[lane] ^= plane[lane]
        transpose_(sums, parities[first:last], tile)


def detection_events(syndromes: Words, n_checks: int, n_rounds: int) -> Words:
    """Return the changes between rounds, packed."""
    events = np.empty_like(syndromes)
    detection_events_(syndromes, n_checks, n_checks * n_rounds, events)
    return events


@compiled
def detection_events_(syndromes: Words, n_checks: int, n_bits: int, events: Words) -> None:
    """XOR each row with itself, shifted by a round.

    Args:
        syndromes: Shape (n_shots, n_words).
        n_checks: Bits per round, at least 1.
        n_bits: Bits per row, at least 1.
        events: Written, shape (n_shots, n_words).
    """
    n_words = syndromes.shape[1]
    skip, shift = n_checks // 64, np.uint64(n_checks % 64)
    used = bits_below(n_bits - 64 * (n_words - 1))
    for shot in range(syndromes.shape[0]):
        for k in range(n_words):
            before = np.uint64(0)
            if k >= skip:
                before = syndromes[shot, k - skip] << shift
            if shift > np.uint64(0) and k > skip:
                before |= syndromes[shot, k - skip - 1] >> (np.uint64(64) - shift)
            events[shot, k] = syndromes[shot, k] ^ before
        events[shot, n_words - 1] &= used
