"""Counting the ones of every column of packed shots at the speed of the memory.

A word is 64 counters of one bit. Rows are added like numbers in carry-save form (the Harley-Seal
counter of W. Muła, N. Kurz and D. Lemire, arXiv:1611.07612, turned by a right angle): 15 full
adders take 16 words into counters of weight 1, 2, 4 and 8 and one word of weight 16. Sixteen of
those make one of weight 256, and so on. Carries move at fixed times, so that nothing branches on
data and all lanes of a vector do the same.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

GROUP = 16
"""Words that one step adds up per lane."""

LEVELS = 3
"""Levels of counters: weights 1 to 8, 16 to 128, 256 to 2048."""

_LEVEL_WORDS = 4 + GROUP  # per lane: the counters, and the words that the next step takes
_FEW_WORDS = 256  # below this many, adding bit by bit costs less than emptying the counters
_MANY_WORDS = 1 << 15
_ONE, _TWO, _THREE, _FOUR = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)


@compiled
def lane_count(n_shots: int, n_words: int) -> int:
    """Return how many neighbouring words are counted side by side: whole rows, whole vectors.

    More lanes make longer loops, and counters that take longer to empty.

    >>> int(lane_count(200_000, 4)), int(lane_count(100, 4)), int(lane_count(100, 157))
    (128, 8, 157)
    """
    if n_words >= 64:
        return n_words
    whole = n_words * 8 // gcd(n_words, 8)
    wanted = 128 if n_shots * n_words >= _MANY_WORDS else 8
    return whole * -(-wanted // whole)


@compiled
def counter_room(n_shots: int, n_words: int) -> Words:
    """Return the room that `count_ones_` needs.

    Args:
        n_shots: Most shots of a call.
        n_words: Words per shot.

    Returns:
        Uninitialised words, shape (1, 61 lanes): lanes and memory in one.
    """
    lanes = 0
    if n_shots * n_words > _FEW_WORDS:
        lanes = lane_count(n_shots, n_words)
    return np.empty((LEVELS * _LEVEL_WORDS + 1, lanes), dtype=np.uint64)


@compiled
def count_ones(shots: Words, n_bits: int) -> NDArray[np.int64]:
    """Return the ones per bit, shape (n_bits,); allocates the counts and the room."""
    counts = np.zeros(n_bits, dtype=np.int64)
    count_ones_(shots, counts, counter_room(shots.shape[0], shots.shape[1]))
    return counts


@compiled
def count_ones_(shots: Words, counts: NDArray[np.int64], room: Words) -> None:
    """Add the ones per bit to `counts`.

    Args:
        shots: Shape (n_shots, n_words).
        counts: Changed, shape (n_bits,).
        room: From `counter_room`, for at least as many shots; without lanes, bits are added one by
            one, which is best for few shots.
    """
    lanes = room.shape[1]
    n_words = shots.shape[1]
    if lanes == 0:
        for s in range(shots.shape[0]):
            for w in range(n_words):
                _add_bits(shots[s, w], 0, 64 * w, counts)
        return
    flat, counters = shots.reshape(-1), room.reshape(-1)
    level, step = _LEVEL_WORDS * lanes, GROUP * lanes
    counters[: 4 * lanes] = 0
    counters[level : level + 4 * lanes] = 0
    counters[2 * level : 2 * level + 4 * lanes] = 0
    n_steps = len(flat) // step
    for k in range(n_steps):
        _add_group(flat, k * step, lanes, counters, 0, level + (4 + k % 16) * lanes)
        if k % 16 == 15:
            carry = 2 * level + (4 + k // 16 % 16) * lanes
            _add_group(counters, level + 4 * lanes, lanes, counters, level, carry)
        if k % 256 == 255:
            _add_group(counters, 2 * level + 4 * lanes, lanes, counters, 2 * level, 3 * level)
            _empty(counters, 3 * level, lanes, n_words, 12, counts)
    n_waiting, n_above = n_steps % 16, n_steps // 16 % 16
    rest = flat[n_steps * step :]
    if len(rest) > 0:
        counters[4 * lanes : 4 * lanes + len(rest)] = rest
        counters[4 * lanes + len(rest) : level] = 0
        _add_group(counters, 4 * lanes, lanes, counters, 0, level + (4 + n_waiting) * lanes)
        n_waiting += 1
    carry = 2 * level + (4 + n_above) * lanes
    n_above += _settle(counters, level, n_waiting, lanes, carry, n_words, 4, counts)
    if _settle(counters, 2 * level, n_above, lanes, 3 * level, n_words, 8, counts):
        _empty(counters, 3 * level, lanes, n_words, 12, counts)
    for weight in range(4 * LEVELS):
        place = weight // 4 * level + weight % 4 * lanes
        _empty(counters, place, lanes, n_words, weight, counts)


@compiled
def _settle(
    counters: Words,
    start: int,
    n_waiting: int,
    lanes: int,
    carry: int,
    n_words: int,
    weight: int,
    counts: NDArray[np.int64],
) -> int:
    """Take in the carries that wait at a level; returns how many go to the next."""
    waiting = start + 4 * lanes
    if n_waiting <= 4:  # emptying them costs less than the counters they would fill
        for k in range(n_waiting):
            _empty(counters, waiting + k * lanes, lanes, n_words, weight, counts)
        return 0
    counters[waiting + n_waiting * lanes : waiting + GROUP * lanes] = 0
    _add_group(counters, waiting, lanes, counters, start, carry)
    return 1


@compiled
def _empty(
    counters: Words, start: int, lanes: int, n_words: int, weight: int, counts: NDArray[np.int64]
) -> None:
    """Add counters of weight 2^weight to the counts."""
    ones = counters[start : start + lanes]
    any_one = np.uint64(0)
    for i in range(lanes):
        any_one |= ones[i]
    if any_one == 0:
        return
    for i in range(lanes):
        _add_bits(ones[i], weight, 64 * (i % n_words), counts)


@compiled
def _add_bits(word: np.uint64, weight: int, first: int, counts: NDArray[np.int64]) -> None:
    places = counts[first : first + 64]
    for k in range(len(places)):
        places[k] += np.int64(word >> np.uint64(k) & _ONE) << weight


@compiled
def _add_group(
    words: Words, first: int, lanes: int, counters: Words, start: int, carry: int
) -> None:
    """Add 16 × `lanes` words to the counters of one level; write what they carry.

    Indices are unsigned: Numba checks signed ones for the wrap-around of Python, and LLVM makes no
    vectors of loops with that check.
    """
    source, target, over = np.uint64(first), np.uint64(start), np.uint64(carry)
    n = np.uint64(lanes)
    for i in range(n):
        k = source + i
        one, two = counters[target + i], counters[target + n + i]
        four, eight = counters[target + _TWO * n + i], counters[target + _THREE * n + i]
        a, b, c, d = words[k], words[k + n], words[k + _TWO * n], words[k + _THREE * n]
        k += _FOUR * n
        e, f, g, h = words[k], words[k + n], words[k + _TWO * n], words[k + _THREE * n]
        one, two, four, low = _add_eight(one, two, four, (a, b, c, d, e, f, g, h))
        k += _FOUR * n
        a, b, c, d = words[k], words[k + n], words[k + _TWO * n], words[k + _THREE * n]
        k += _FOUR * n
        e, f, g, h = words[k], words[k + n], words[k + _TWO * n], words[k + _THREE * n]
        one, two, four, high = _add_eight(one, two, four, (a, b, c, d, e, f, g, h))
        counters[target + i], counters[target + n + i] = one, two
        half = eight ^ low
        counters[target + _TWO * n + i], counters[target + _THREE * n + i] = four, half ^ high
        counters[over + i] = (eight & low) | (half & high)


@compiled
def _add_eight(
    one: np.uint64, two: np.uint64, four: np.uint64, words: tuple[np.uint64, ...]
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Add eight words to counters of weight 1, 2 and 4; returns those and what they carry."""
    a, b, c, d, e, f, g, h = words
    one, two_a = _full_add(one, a, b)
    one, two_b = _full_add(one, c, d)
    two, four_a = _full_add(two, two_a, two_b)
    one, two_a = _full_add(one, e, f)
    one, two_b = _full_add(one, g, h)
    two, four_b = _full_add(two, two_a, two_b)
    four, eight = _full_add(four, four_a, four_b)
    return one, two, four, eight


@compiled
def _full_add(a: np.uint64, b: np.uint64, c: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Sum and carry of three one-bit numbers, 64 at once."""
    half = a ^ b
    return half ^ c, (a & b) | (half & c)
