"""Observables of packed shots on a GPU; `kernels.observables` says what each function takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.gpu import device

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]
    Reals = NDArray[np.float64]

# Of observables.cu.
_SPINS, _DIFFERENT, _BOTH = 0, 1, 2
_TERMS_PER_PASS = 1024

_MOST_SHARED_WORDS = 24  # 48 KiB of rows per block


def _launch(kernel: str, shots: Words, *arguments: object) -> None:
    n_shots, n_words = shots.shape
    is_shared = n_words <= _MOST_SHARED_WORDS
    shared_bytes = 8 * n_words * device.N_THREADS if is_shared else 0
    head = (shots, n_shots, n_words, int(is_shared))
    n_blocks = device.blocks_for(n_shots)
    device.launch("observables", kernel, n_blocks, (*head, *arguments), shared_bytes=shared_bytes)


@device.lands_at_home
def _pair_values(
    shots: Words, pairs: Counts, weights: Reals, fields: Reals, kind: int, constant: float
) -> Reals:
    values: Reals = device.arrays().empty(len(shots), dtype=np.float64)
    terms = (pairs, weights, len(pairs), fields, len(fields), kind)
    _launch("pair_values", shots, *terms, values, float(constant))
    return values


def ising_energies(
    shots: Words, n_bits: int, edges: Counts, weights: Reals, fields: Reals, constant: float
) -> Reals:
    """Return the energy of each shot."""
    del n_bits  # the terms say it
    local = fields if fields.any() else fields[:0]
    return _pair_values(shots, edges, weights, local, _SPINS, constant)


def maxcut_costs(shots: Words, n_bits: int, edges: Counts, weights: Reals) -> Reals:
    """Return minus the weight of the edges whose ends differ, per shot."""
    del n_bits
    return _pair_values(shots, edges, -weights, weights[:0], _DIFFERENT, 0.0)


def qubo_costs(shots: Words, n_bits: int, matrix: Reals, constant: float) -> Reals:
    """Return x^T Q x of each shot."""
    del n_bits
    upper = np.triu(matrix + matrix.T, 1)
    pairs = np.argwhere(upper)
    weights = upper[pairs[:, 0], pairs[:, 1]]
    return _pair_values(shots, pairs, weights, matrix.diagonal().copy(), _BOTH, constant)


@device.lands_at_home
def mis_costs(shots: Words, n_bits: int, edges: Counts) -> tuple[Counts, Counts]:
    """Return the ones, and the edges within them, per shot."""
    del n_bits
    xp = device.arrays()
    sizes: Counts = xp.empty(len(shots), dtype=np.int64)
    violations: Counts = xp.empty(len(shots), dtype=np.int64)
    _launch("pair_counts", shots, edges, len(edges), sizes, violations)
    return sizes, violations


@device.lands_at_home
def violation_counts(shots: Words, n_bits: int, pairs: Counts) -> Counts:
    """Return the pairs of which both are 1, per shot."""
    del n_bits
    counts: Counts = device.arrays().empty(len(shots), dtype=np.int64)
    _launch("pair_counts", shots, pairs, len(pairs), 0, counts)
    return counts


@device.lands_at_home
def pauli_z_values(
    shots: Words, n_bits: int, masks: Words, weights: Reals, constant: float
) -> Reals:
    """Return the sum of the terms in each shot."""
    del n_bits
    values: Reals = device.arrays().empty(len(shots), dtype=np.float64)
    _launch("mask_values", shots, masks, weights, len(masks), values, float(constant))
    return values


@device.lands_at_home
def pauli_z_expectation(shots: Words, n_bits: int, masks: Words) -> Reals:
    """Return the mean of each term."""
    del n_bits
    odd = device.arrays().zeros(len(masks), dtype=np.int64)
    for first in range(0, len(masks), _TERMS_PER_PASS):
        part = masks[first : first + _TERMS_PER_PASS]
        _launch("odd_counts", shots, part, len(part), odd[first : first + _TERMS_PER_PASS])
    means: Reals = (len(shots) - 2 * odd) / len(shots)
    return means
