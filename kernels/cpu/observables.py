"""Observables of packed shots in compiled code; `kernels.observables` says what each one takes.

512 shots at a time become bit planes, so that a term is a word for 64 shots and its weight is added
to 64 sums at once: LLVM makes that one masked addition per 8 sums (AVX-512) or per 4. The functions
with a `_` suffix are the cores: they allocate nothing and can be called from compiled handlers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.cpu.bits import popcount
from cudaq_target.kernels.cpu.layout import LANES, transpose_, transpose_tile
from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.reference.layout import unpack_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]
    Reals = NDArray[np.float64]

_ONE = np.uint64(1)


def block_planes(n_bits: int) -> Words:
    """Return the room that the planes of 512 shots need, shape (n_bits, 8)."""
    return np.empty((n_bits, LANES), dtype=np.uint64)


def ising_energies(
    shots: Words, n_bits: int, edges: Counts, weights: Reals, fields: Reals, constant: float
) -> Reals:
    """Return the energy of each shot."""
    alone = np.flatnonzero(fields)
    starts = np.concatenate(
        [np.arange(0, 2 * len(edges), 2), 2 * len(edges) + np.arange(len(alone) + 1)]
    )
    qubits = np.concatenate([edges.reshape(-1), alone])
    signed = np.concatenate([weights, fields[alone]])
    return _parity_sums(shots, n_bits, starts, qubits, signed, -signed, constant)


def pauli_z_values(
    shots: Words, n_bits: int, masks: Words, weights: Reals, constant: float
) -> Reals:
    """Return the sum of the terms in each shot."""
    starts, qubits = term_qubits(masks, n_bits)
    return _parity_sums(shots, n_bits, starts, qubits, weights, -weights, constant)


def pauli_z_expectation(shots: Words, n_bits: int, masks: Words) -> Reals:
    """Return the mean of each term."""
    starts, qubits = term_qubits(masks, n_bits)
    odd = np.zeros(len(masks), dtype=np.int64)
    parity_counts_(shots, starts, qubits, odd, block_planes(n_bits), transpose_tile())
    mean: Reals = (len(shots) - 2 * odd) / len(shots)
    return mean


def violation_counts(shots: Words, n_bits: int, pairs: Counts) -> Counts:
    """Return the pairs of which both are 1, per shot."""
    counts = np.empty(len(shots), dtype=np.int64)
    pair_counts_(shots, pairs, counts, block_planes(n_bits), transpose_tile())
    return counts


def mis_costs(shots: Words, n_bits: int, edges: Counts) -> tuple[Counts, Counts]:
    """Return the ones, and the edges within them, per shot."""
    sizes = np.empty(len(shots), dtype=np.int64)
    weigh_(shots, sizes)
    return sizes, violation_counts(shots, n_bits, edges)


def maxcut_costs(shots: Words, n_bits: int, edges: Counts, weights: Reals) -> Reals:
    """Return minus the weight of the edges whose ends differ, per shot."""
    starts = 2 * np.arange(len(edges) + 1)
    uncut = np.zeros(len(edges))
    return _parity_sums(shots, n_bits, starts, edges.reshape(-1), uncut, -weights, 0.0)


def qubo_costs(shots: Words, n_bits: int, matrix: Reals, constant: float) -> Reals:
    """Return x^T Q x of each shot."""
    both = np.triu(matrix) + np.tril(matrix, -1).T
    pairs = np.argwhere(both)
    costs = np.empty(len(shots))
    weights = both[pairs[:, 0], pairs[:, 1]]
    planes, tile = block_planes(n_bits), transpose_tile()
    pair_sums_(shots, pairs, weights, constant, costs, planes, tile)
    return costs


def term_qubits(masks: Words, n_bits: int) -> tuple[Counts, Counts]:
    """List the qubits of terms.

    Args:
        masks: Shape (n_terms, ceil(n_bits / 64)).
        n_bits: Bits per mask.

    Returns:
        Where the qubits of each term start, shape (n_terms + 1,), and the qubits.
    """
    terms, qubits = np.nonzero(unpack_bits(masks, n_bits))
    starts = np.searchsorted(terms, np.arange(len(masks) + 1))
    return starts.astype(np.int64), qubits.astype(np.int64)


def _parity_sums(
    shots: Words,
    n_bits: int,
    starts: Counts,
    qubits: Counts,
    when_even: Reals,
    when_odd: Reals,
    constant: float,
) -> Reals:
    sums = np.empty(len(shots))
    planes, tile = block_planes(n_bits), transpose_tile()
    parity_sums_(shots, starts, qubits, when_even, when_odd, constant, sums, planes, tile)
    return sums


@compiled
def parity_sums_(
    shots: Words,
    starts: Counts,
    qubits: Counts,
    when_even: Reals,
    when_odd: Reals,
    constant: float,
    sums: Reals,
    planes: Words,
    tile: Words,
) -> None:
    """Add up what terms contribute by the parity of their qubits.

    Args:
        shots: Shape (n_shots, n_words).
        starts: Where the qubits of each term start, shape (n_terms + 1,).
        qubits: Of all terms.
        when_even: Contribution of each term, shape (n_terms,).
        when_odd: Contribution of each term, shape (n_terms,).
        constant: Where each sum starts.
        sums: Written, shape (n_shots,).
        planes: Room, see `block_planes`.
        tile: Room, see `transpose_tile`; between transposes it holds 64 sums.
    """
    n_shots = shots.shape[0]
    block = tile[:64].view(np.float64)
    for first in range(0, n_shots, 64 * LANES):
        n_block = min(64 * LANES, n_shots - first)
        transpose_(shots[first : first + n_block], planes, tile)
        for lane in range((n_block + 63) // 64):
            block[:] = constant
            for term in range(when_even.size):
                word = np.uint64(0)
                for k in range(starts[term], starts[term + 1]):
                    word ^= planes[qubits[k], lane]
                even, odd = when_even[term], when_odd[term]
                for s in range(64):
                    block[s] += odd if (word >> np.uint64(s)) & _ONE else even
            for s in range(min(64, n_block - 64 * lane)):
                sums[first + 64 * lane + s] = block[s]


@compiled
def pair_sums_(
    shots: Words,
    pairs: Counts,
    weights: Reals,
    constant: float,
    sums: Reals,
    planes: Words,
    tile: Words,
) -> None:
    """Add up the weights of the pairs of which both qubits are 1; a pair (k, k) is qubit k alone.

    Args:
        shots: Shape (n_shots, n_words).
        pairs: Shape (n_pairs, 2).
        weights: Shape (n_pairs,).
        constant: Where each sum starts.
        sums: Written, shape (n_shots,).
        planes: Room, see `block_planes`.
        tile: Room, see `transpose_tile`; between transposes it holds 64 sums.
    """
    n_shots = shots.shape[0]
    block = tile[:64].view(np.float64)
    for first in range(0, n_shots, 64 * LANES):
        n_block = min(64 * LANES, n_shots - first)
        transpose_(shots[first : first + n_block], planes, tile)
        for lane in range((n_block + 63) // 64):
            block[:] = constant
            for pair in range(weights.size):
                word = planes[pairs[pair, 0], lane] & planes[pairs[pair, 1], lane]
                weight = weights[pair]
                for s in range(64):
                    block[s] += weight if (word >> np.uint64(s)) & _ONE else 0.0
            for s in range(min(64, n_block - 64 * lane)):
                sums[first + 64 * lane + s] = block[s]


@compiled
def pair_counts_(shots: Words, pairs: Counts, counts: Counts, planes: Words, tile: Words) -> None:
    """Count the pairs of which both qubits are 1.

    Args:
        shots: Shape (n_shots, n_words).
        pairs: Shape (n_pairs, 2).
        counts: Written, shape (n_shots,).
        planes: Room, see `block_planes`.
        tile: Room, see `transpose_tile`; between transposes it holds 64 sums.
    """
    n_shots = shots.shape[0]
    block = tile[:64]
    for first in range(0, n_shots, 64 * LANES):
        n_block = min(64 * LANES, n_shots - first)
        transpose_(shots[first : first + n_block], planes, tile)
        for lane in range((n_block + 63) // 64):
            block[:] = np.uint64(0)
            for pair in range(pairs.shape[0]):
                word = planes[pairs[pair, 0], lane] & planes[pairs[pair, 1], lane]
                for s in range(64):
                    block[s] += (word >> np.uint64(s)) & _ONE
            for s in range(min(64, n_block - 64 * lane)):
                counts[first + 64 * lane + s] = block[s]


@compiled
def parity_counts_(
    shots: Words, starts: Counts, qubits: Counts, odd: Counts, planes: Words, tile: Words
) -> None:
    """Count the shots in which terms have odd parity.

    Args:
        shots: Shape (n_shots, n_words).
        starts: Where the qubits of each term start, shape (n_terms + 1,).
        qubits: Of all terms.
        odd: Added to, shape (n_terms,).
        planes: Room, see `block_planes`.
        tile: Room, see `transpose_tile`.
    """
    n_shots = shots.shape[0]
    for first in range(0, n_shots, 64 * LANES):
        n_block = min(64 * LANES, n_shots - first)
        n_lanes = (n_block + 63) // 64
        transpose_(shots[first : first + n_block], planes, tile)
        for term in range(odd.size):
            for lane in range(n_lanes):
                word = np.uint64(0)
                for k in range(starts[term], starts[term + 1]):
                    word ^= planes[qubits[k], lane]
                odd[term] += np.int64(popcount(word))


@compiled
def weigh_(shots: Words, sizes: Counts) -> None:
    """Count the ones of each shot.

    Args:
        shots: Shape (n_shots, n_words).
        sizes: Written, shape (n_shots,).
    """
    for s in range(shots.shape[0]):
        size = np.uint64(0)
        for w in range(shots.shape[1]):
            size += popcount(shots[s, w])
        sizes[s] = np.int64(size)
