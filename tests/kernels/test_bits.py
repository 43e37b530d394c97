"""Bit arithmetic of compiled code against Python's."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from cudaq_target.kernels.cpu.bits import bits_below, popcount, trailing_zeros
from cudaq_target.kernels.jit import compiled

words = st.integers(0, 2**64 - 1)


@compiled
def count_ones(word: np.uint64) -> np.uint64:
    return popcount(word)


@given(word=words)
@example(word=0)
@example(word=2**64 - 1)
@example(word=2**63)
def test_words_are_counted(word: int) -> None:
    assert count_ones(np.uint64(word)) == word.bit_count()
    lowest = (word & -word).bit_length() - 1 if word else 64
    assert trailing_zeros(np.uint64(word)) == lowest


@given(n_bits=st.integers(0, 64))
@example(n_bits=0)
@example(n_bits=64)
def test_masks_hold_the_lowest_bits(n_bits: int) -> None:
    assert int(bits_below(n_bits)) == 2**n_bits - 1
