"""Statistics of packed shots on a GPU; `kernels.statistics` says what each function takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.gpu import device
from cudaq_target.kernels.gpu.layout import transpose_bits
from cudaq_target.kernels.packed import WORD_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]
    Reals = NDArray[np.float64]

# Of statistics.cu.
_MOST_SHARED_WORDS = 128
_PAIR_TILE = 64
_STRETCH = 32

_DIRECT_BITS = 13  # 32 KiB of counters per block
_NEAR_PLACES = 6144
_NUMBER_MASK = (1 << 40) - 1

_FIRST_PLACES = 1 << 20
"""Table of `histogram` that is tried first: 16 MiB, which stays in the L2 cache."""


@device.lands_at_home
def occupation(shots: Words, n_bits: int) -> Counts:
    """Return the ones per qubit."""
    n_words = shots.shape[1]
    counts = device.arrays().zeros(n_words * WORD_BITS, dtype=np.int64)
    period = n_words if n_words % 2 else n_words // 2
    n_blocks = device.blocks_for(shots.size // 16, per_multiprocessor=2)
    n_blocks = max(n_blocks, -(-period // device.N_THREADS))
    n_active = n_blocks * device.N_THREADS // period * period
    is_shared = n_words <= _MOST_SHARED_WORDS
    arguments = (shots, shots.size, n_words, n_active, int(is_shared), counts)
    shared_bytes = 4 * counts.size if is_shared else 0
    device.launch("statistics", "occupation", n_blocks, arguments, shared_bytes=shared_bytes)
    result: Counts = counts[:n_bits].copy()
    return result


@device.lands_at_home
def pair_correlations(shots: Words, n_bits: int) -> Counts:
    """Return the shots in which both qubits of a pair are 1."""
    planes = transpose_bits(shots, n_bits)
    n_groups = planes.shape[1]
    counts: Counts = device.arrays().zeros((n_bits, n_bits), dtype=np.int64)
    n_tiles = -(-n_bits // _PAIR_TILE)
    n_pairs = n_tiles * (n_tiles + 1) // 2
    n_wanted = max(1, 4 * device.multiprocessors() // n_pairs)
    n_splits = min(n_wanted, -(-n_groups // _STRETCH))
    arguments = (planes, n_bits, n_groups, n_splits, counts)
    device.launch("statistics", "pair_correlations", n_pairs * n_splits, arguments)
    return counts


@device.lands_at_home
def histogram(shots: Words, n_bits: int) -> tuple[Words, Counts]:
    """Return the distinct shots, ascending as numbers, and how often each occurs."""
    if n_bits <= _DIRECT_BITS:
        return _count_small(shots, n_bits)
    n_shots = len(shots)
    most = 2 * min(n_shots, 1 << min(n_bits, 62))
    n_places = min(_FIRST_PLACES, 1 << (most - 1).bit_length())
    while (found := _count_rows(shots, n_places)) is None:
        n_places *= 16
    firsts, counts = found
    unique = shots.take(firsts, axis=0)
    order = device.arrays().lexsort(unique.T)  # the last key, the most significant word, is first
    return unique.take(order, axis=0), counts.take(order)


def _count_small(shots: Words, n_bits: int) -> tuple[Words, Counts]:
    xp = device.arrays()
    all_counts = xp.zeros(1 << n_bits, dtype=np.int64)
    n_blocks = device.blocks_for(-(-len(shots) // 8))
    arguments = (shots, len(shots), n_bits, all_counts)
    shared_bytes = 4 << n_bits
    device.launch("statistics", "histogram_direct", n_blocks, arguments, shared_bytes=shared_bytes)
    seen = xp.flatnonzero(all_counts)
    return seen.astype(np.uint64)[:, None], all_counts.take(seen)


def _count_rows(shots: Words, n_places: int) -> tuple[NDArray[np.int64], Counts] | None:
    """First row and number of every distinct one; None where the table was too small."""
    xp = device.arrays()
    n_shots, n_words = shots.shape
    places, counts = xp.zeros(n_places, dtype=np.uint64), xp.zeros(n_places, dtype=np.int64)
    is_full = xp.zeros(1, dtype=np.uint32)
    n_blocks = device.blocks_for(-(-n_shots // 8), per_multiprocessor=3)
    arguments = (shots, n_shots, n_words, n_places - 1, places, counts, is_full)
    shared_bytes = _NEAR_PLACES * (8 + 4)
    device.launch("statistics", "histogram", n_blocks, arguments, shared_bytes=shared_bytes)
    if int(is_full[0]):
        return None
    taken = xp.flatnonzero(places)
    firsts = (places.take(taken) & np.uint64(_NUMBER_MASK)).astype(np.int64) - 1
    return firsts, counts.take(taken)


@device.lands_at_home
def column_moments(values: Reals) -> tuple[Reals, Reals]:
    """Return the mean of each column, and its sum of squared deviations from the mean."""
    mean = values.mean(axis=0)
    return mean, ((values - mean) ** 2).sum(axis=0)
