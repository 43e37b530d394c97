"""Counting bits in compiled code: one machine instruction each, or one per vector in a loop.

LLVM turns a loop over `popcount` into vector instructions where the processor has them
(AVX512-VPOPCNTDQ, SVE, NEON), and into a look-up in registers on AVX2. All arithmetic on words must
stay in `uint64`: Numba promotes a mix of `int64` and `uint64` to `float64`, so write constants as
`np.uint64(1)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numba import types
from numba.extending import intrinsic

from cudaq_target.kernels.jit import compiled

if TYPE_CHECKING:
    from collections.abc import Callable

Numba: TypeAlias = Any  # Numba's types and LLVM's builders have no types in Python
_ONE = np.uint64(1)


@intrinsic
def popcount(_context: Numba, word: Numba) -> tuple[Numba, Callable[..., Numba]] | None:
    """Count the ones of a word, `uint64 -> uint64`; for compiled code alone."""

    def emit(_target: Numba, builder: Numba, _signature: Numba, words: Numba) -> Numba:
        return builder.ctpop(words[0])

    return (types.uint64(types.uint64), emit) if word == types.uint64 else None


@compiled
def trailing_zeros(word: np.uint64) -> np.uint64:
    """Return the index of the lowest one of a word; 64 for zero (LLVM makes it one `tzcnt`)."""
    return np.uint64(popcount((word - _ONE) & ~word))


@compiled
def bits_below(n_bits: int) -> np.uint64:
    """Return the word whose lowest `n_bits` (0 to 64) bits are 1."""
    if n_bits >= 64:
        return ~np.uint64(0)
    return (_ONE << np.uint64(n_bits)) - _ONE
