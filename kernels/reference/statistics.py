"""Statistics of packed shots in NumPy; `kernels.statistics` says what each function takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.reference.layout import unpack_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]
    Reals = NDArray[np.float64]

_BLOCK_SHOTS = 1 << 16  # so that a product of zeros and ones stays below 2^24, exact in float32


def occupation(shots: Words, n_bits: int) -> Counts:
    """Return the ones per qubit."""
    ones: Counts = unpack_bits(shots, n_bits).sum(axis=0, dtype=np.int64)
    return ones


def pair_correlations(shots: Words, n_bits: int) -> Counts:
    """Return the shots in which both qubits of a pair are 1."""
    counts = np.zeros((n_bits, n_bits), dtype=np.int64)
    for first in range(0, len(shots), _BLOCK_SHOTS):
        bits = unpack_bits(shots[first : first + _BLOCK_SHOTS], n_bits).astype(np.float32)
        counts += (bits.T @ bits).astype(np.int64)
    return counts


def histogram(shots: Words, n_bits: int) -> tuple[Words, Counts]:
    """Return the distinct shots, ascending as numbers, and how often each occurs."""
    del n_bits  # the words are compared whole
    most_significant_first, counts = np.unique(shots[:, ::-1], axis=0, return_counts=True)
    return np.ascontiguousarray(most_significant_first[:, ::-1]), counts.astype(np.int64)


def column_moments(values: Reals) -> tuple[Reals, Reals]:
    """Return the mean of each column, and its sum of squared deviations from the mean."""
    mean = values.mean(axis=0)
    return mean, ((values - mean) ** 2).sum(axis=0)
