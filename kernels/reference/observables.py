"""Observables of packed shots in NumPy; `kernels.observables` says what each function takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cudaq_target.kernels.reference.layout import unpack_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]
    Reals = NDArray[np.float64]

Value = TypeVar("Value", bound=np.generic)
_BLOCK_SHOTS = 1 << 12  # so that one number per shot and term fits in memory


def ising_energies(
    shots: Words, n_bits: int, edges: Counts, weights: Reals, fields: Reals, constant: float
) -> Reals:
    """Return the energy of each shot."""

    def energies(bits: NDArray[np.uint8]) -> Reals:
        spins = 1.0 - 2.0 * bits
        pairs = spins[:, edges[:, 0]] * spins[:, edges[:, 1]]
        return constant + spins @ fields + pairs @ weights

    return _by_block(shots, n_bits, energies)


def pauli_z_values(
    shots: Words, n_bits: int, masks: Words, weights: Reals, constant: float
) -> Reals:
    """Return the sum of the terms in each shot."""
    members = unpack_bits(masks, n_bits).astype(np.float64)

    def values(bits: NDArray[np.uint8]) -> Reals:
        return constant + (1.0 - 2.0 * ((bits @ members.T) % 2.0)) @ weights

    return _by_block(shots, n_bits, values)


def pauli_z_expectation(shots: Words, n_bits: int, masks: Words) -> Reals:
    """Return the mean of each term."""
    members = unpack_bits(masks, n_bits).astype(np.float64)
    odd = np.zeros(len(masks), dtype=np.int64)
    for first in range(0, len(shots), _BLOCK_SHOTS):
        bits = unpack_bits(shots[first : first + _BLOCK_SHOTS], n_bits)
        odd += np.count_nonzero((bits @ members.T) % 2.0, axis=0)
    return (len(shots) - 2 * odd) / len(shots)


def violation_counts(shots: Words, n_bits: int, pairs: Counts) -> Counts:
    """Return the pairs of which both are 1, per shot."""

    def violations(bits: NDArray[np.uint8]) -> Counts:
        both = bits[:, pairs[:, 0]] & bits[:, pairs[:, 1]]
        counts: Counts = both.sum(axis=1, dtype=np.int64)
        return counts

    return _by_block(shots, n_bits, violations)


def mis_costs(shots: Words, n_bits: int, edges: Counts) -> tuple[Counts, Counts]:
    """Return the ones, and the edges within them, per shot."""
    sizes = _by_block(shots, n_bits, lambda bits: bits.sum(axis=1, dtype=np.int64))
    return sizes, violation_counts(shots, n_bits, edges)


def maxcut_costs(shots: Words, n_bits: int, edges: Counts, weights: Reals) -> Reals:
    """Return minus the weight of the edges whose ends differ, per shot."""

    def costs(bits: NDArray[np.uint8]) -> Reals:
        return -((bits[:, edges[:, 0]] ^ bits[:, edges[:, 1]]) @ weights)

    return _by_block(shots, n_bits, costs)


def qubo_costs(shots: Words, n_bits: int, matrix: Reals, constant: float) -> Reals:
    """Return x^T Q x of each shot."""

    def costs(bits: NDArray[np.uint8]) -> Reals:
        x = bits.astype(np.float64)
        total: Reals = constant + ((x @ matrix) * x).sum(axis=1)
        return total

    return _by_block(shots, n_bits, costs)


def _by_block(
    shots: Words, n_bits: int, function: Callable[[NDArray[np.uint8]], NDArray[Value]]
) -> NDArray[Value]:
    """Apply a function of bits, shape (n_shots, n_bits), to some shots at a time."""
    starts = range(0, len(shots), _BLOCK_SHOTS)
    blocks = (shots[first : first + _BLOCK_SHOTS] for first in starts)
    return np.concatenate([function(unpack_bits(block, n_bits)) for block in blocks])
