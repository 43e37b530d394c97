"""Look-ups of syndromes in compiled code: an open hash table over the packed keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Slots = NDArray[np.int32]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Knuth's multiplicative hash
_SHIFT = np.uint64(29)


def hash_table(keys: Words) -> Slots:
    """Hash keys to their rows.

    Args:
        keys: Without repeats, shape (n_rows, n_words).

    Returns:
        Row of each slot or -1, at most half of them taken, shape (a power of 2,).
    """
    slots = np.full(1 << int(2 * len(keys) - 1).bit_length(), -1, dtype=np.int32)
    fill_(keys, slots)
    return slots


@compiled
def _slot(key: Words, n_slots: int) -> int:
    word = np.uint64(0)
    for k in range(key.shape[0]):
        word = (word ^ key[k]) * _GOLDEN
        word ^= word >> _SHIFT
    return int(np.int64(word & np.uint64(n_slots - 1)))  # unsigned would not mix with signed


@compiled
def fill_(keys: Words, slots: Slots) -> None:
    """Write the row of each key into the first free slot from its own on.

    Args:
        keys: Shape (n_rows, n_words).
        slots: All -1, shape (a power of 2 above n_rows,).
    """
    for row in range(keys.shape[0]):
        slot = _slot(keys[row], slots.shape[0])
        while slots[slot] >= 0:
            slot = (slot + 1) % slots.shape[0]
        slots[slot] = row


@compiled
def _find(keys: Words, slots: Slots, key: Words) -> int:
    slot = _slot(key, slots.shape[0])
    while slots[slot] >= 0:
        row = np.int64(slots[slot])
        is_same = True
        for k in range(key.shape[0]):
            is_same = is_same and keys[row, k] == key[k]
        if is_same:
            return int(row)
        slot = (slot + 1) % slots.shape[0]
    return -1


@compiled
def look_up_(keys: Words, values: Words, slots: Slots, syndromes: Words, found: Words) -> None:
    """Write the value of each syndrome; zeros for those that are no key. Allocates nothing.

    Args:
        keys: Shape (n_rows, n_words).
        values: Shape (n_rows, n_value_words).
        slots: From `hash_table`.
        syndromes: Shape (n_shots, n_words).
        found: Written, shape (n_shots, n_value_words).
    """
    for shot in range(syndromes.shape[0]):
        row = _find(keys, slots, syndromes[shot])
        for k in range(found.shape[1]):
            found[shot, k] = values[row, k] if row >= 0 else np.uint64(0)
