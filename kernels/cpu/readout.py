"""Read-out correction in compiled code; `kernels.readout` says what each function takes.

The functions with a `_` suffix are the cores: they allocate nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.cpu.bits import popcount, trailing_zeros
from cudaq_target.kernels.cpu.layout import LANES, transpose_, transpose_tile
from cudaq_target.kernels.cpu.observables import block_planes, term_qubits
from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.reference.layout import unpack_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]
    Reals = NDArray[np.float64]

_ONE = np.uint64(1)


def correct_probabilities(probabilities: Reals, inverses: Reals) -> Reals:
    """Apply one 2 × 2 matrix per qubit to a vector over all bit strings."""
    corrected = probabilities.copy()
    butterfly_(corrected, inverses)
    return corrected


def corrected_z_values(
    shots: Words, n_bits: int, masks: Words, weights: Reals, constant: float, factors: Reals
) -> Reals:
    """Sum weighted products of one factor per qubit and outcome."""
    starts, qubits = term_qubits(masks, n_bits)
    values = np.full(len(shots), constant)
    planes, tile = block_planes(n_bits), transpose_tile()
    add_products_(shots, starts, qubits, weights, factors, values, planes, tile)
    return values


def corrected_z_moments(
    shots: Words, n_bits: int, masks: Words, factors: Reals
) -> tuple[Reals, Reals]:
    """Sum the products of each term, and their squares, over the shots."""
    starts, qubits = term_qubits(masks, n_bits)
    moments = np.zeros((2, len(masks)))
    planes, tile = block_planes(n_bits), transpose_tile()
    add_product_moments_(shots, starts, qubits, factors, moments, planes, tile)
    return moments[0], moments[1]


def assignment_matrix(strings: Words, n_bits: int, confusion: Reals, max_distance: int) -> Reals:
    """Return the probability to read string i of string j."""
    right, ratios = _ratios(strings, n_bits, confusion)
    matrix = np.empty((len(strings), len(strings)))
    assignment_matrix_(strings, right, ratios, max_distance, matrix)
    return matrix


def assignment_product(
    strings: Words, n_bits: int, confusion: Reals, max_distance: int, vector: Reals
) -> Reals:
    """Multiply the assignment matrix with a vector."""
    right, ratios = _ratios(strings, n_bits, confusion)
    product = np.empty(len(strings))
    assignment_product_(strings, right, ratios, max_distance, vector, product)
    return product


def assignment_sums(strings: Words, n_bits: int, confusion: Reals, max_distance: int) -> Reals:
    """Sum the columns of the assignment matrix."""
    right, ratios = _ratios(strings, n_bits, confusion)
    sums = np.empty(len(strings))
    assignment_sums_(strings, right, ratios, max_distance, sums)
    return sums


def _ratios(strings: Words, n_bits: int, confusion: Reals) -> tuple[Reals, Reals]:
    """Return P(string read right) per string, and P(wrong) / P(right) per qubit and state."""
    right_per_qubit = confusion[:, [0, 1], [0, 1]]
    wrong_per_qubit = confusion[:, [1, 0], [0, 1]]
    right = right_per_qubit[np.arange(n_bits), unpack_bits(strings, n_bits)].prod(axis=1)
    return right, wrong_per_qubit / right_per_qubit


@compiled
def butterfly_(probabilities: Reals, inverses: Reals) -> None:
    """Apply 2 × 2 matrices in place.

    Args:
        probabilities: Bit k of an index is qubit k; overwritten, shape (2^n_bits,).
        inverses: Shape (n_bits, 2, 2).
    """
    for qubit in range(inverses.shape[0]):
        half = 1 << qubit
        a, b = inverses[qubit, 0, 0], inverses[qubit, 0, 1]
        c, d = inverses[qubit, 1, 0], inverses[qubit, 1, 1]
        for start in range(0, probabilities.size, 2 * half):
            for low in range(start, start + half):
                zero, one = probabilities[low], probabilities[low + half]
                probabilities[low] = a * zero + b * one
                probabilities[low + half] = c * zero + d * one


@compiled
def multiply_factors_(
    planes: Words, lane: int, qubits: Counts, factors: Reals, products: Reals
) -> None:
    """Multiply the factors of some qubits, in 64 shots.

    Args:
        planes: Shape (n_bits, 8).
        lane: Which 64 shots.
        qubits: Shape (n_qubits,).
        factors: Per qubit and outcome, shape (n_bits, 2).
        products: Written, shape (64,).
    """
    products[:] = 1.0
    for k in range(qubits.size):
        word = planes[qubits[k], lane]
        zero, one = factors[qubits[k], 0], factors[qubits[k], 1]
        for s in range(64):
            products[s] *= one if (word >> np.uint64(s)) & _ONE else zero


@compiled
def add_products_(
    shots: Words,
    starts: Counts,
    qubits: Counts,
    weights: Reals,
    factors: Reals,
    values: Reals,
    planes: Words,
    tile: Words,
) -> None:
    """Add weighted products of factors to each shot's value.

    Args:
        shots: Shape (n_shots, n_words).
        starts: Where the qubits of each term start, shape (n_terms + 1,).
        qubits: Of all terms.
        weights: Shape (n_terms,).
        factors: Per qubit and outcome, shape (n_bits, 2).
        values: Added to, shape (n_shots,).
        planes: Room for the planes of 512 shots, shape (n_bits, 8).
        tile: Room, shape (512,).
    """
    n_shots = shots.shape[0]
    products = tile[:64].view(np.float64)
    for first in range(0, n_shots, 64 * LANES):
        n_block = min(64 * LANES, n_shots - first)
        transpose_(shots[first : first + n_block], planes, tile)
        for lane in range((n_block + 63) // 64):
            for term in range(weights.size):
                members = qubits[starts[term] : starts[term + 1]]
                multiply_factors_(planes, lane, members, factors, products)
                for s in range(min(64, n_block - 64 * lane)):
                    values[first + 64 * lane + s] += weights[term] * products[s]


@compiled
def add_product_moments_(
    shots: Words,
    starts: Counts,
    qubits: Counts,
    factors: Reals,
    moments: Reals,
    planes: Words,
    tile: Words,
) -> None:
    """Add up products of factors, and their squares, over the shots.

    Args:
        shots: Shape (n_shots, n_words).
        starts: Where the qubits of each term start, shape (n_terms + 1,).
        qubits: Of all terms.
        factors: Per qubit and outcome, shape (n_bits, 2).
        moments: Sums and sums of squares, added to, shape (2, n_terms).
        planes: Room for the planes of 512 shots, shape (n_bits, 8).
        tile: Room, shape (512,).
    """
    n_shots = shots.shape[0]
    products = tile[:64].view(np.float64)
    for first in range(0, n_shots, 64 * LANES):
        n_block = min(64 * LANES, n_shots - first)
        transpose_(shots[first : first + n_block], planes, tile)
        for term in range(moments.shape[1]):
            members = qubits[starts[term] : starts[term + 1]]
            for lane in range((n_block + 63) // 64):
                multiply_factors_(planes, lane, members, factors, products)
                for s in range(min(64, n_block - 64 * lane)):
                    moments[0, term] += products[s]
                    moments[1, term] += products[s] * products[s]


@compiled
def assignment_(
    strings: Words, read: int, prepared: int, right: Reals, ratios: Reals, max_distance: int
) -> float:
    """Return the probability to read one string of another, 0 beyond `max_distance`."""
    distance = np.uint64(0)
    for w in range(strings.shape[1]):
        distance += popcount(strings[read, w] ^ strings[prepared, w])
    if distance > np.uint64(max_distance):
        return 0.0
    probability = float(right[prepared])
    for w in range(strings.shape[1]):
        wrong = strings[read, w] ^ strings[prepared, w]
        while wrong:
            bit = trailing_zeros(wrong)
            state = (strings[prepared, w] >> bit) & _ONE
            probability *= ratios[64 * w + np.int64(bit), np.int64(state)]
            wrong &= wrong - _ONE
    return probability


@compiled
def assignment_matrix_(
    strings: Words, right: Reals, ratios: Reals, max_distance: int, matrix: Reals
) -> None:
    """Write the assignment matrix, shape (n_strings, n_strings)."""
    for i in range(strings.shape[0]):
        for j in range(strings.shape[0]):
            matrix[i, j] = assignment_(strings, i, j, right, ratios, max_distance)


@compiled
def assignment_product_(
    strings: Words, right: Reals, ratios: Reals, max_distance: int, vector: Reals, product: Reals
) -> None:
    """Write the assignment matrix times a vector, shape (n_strings,)."""
    for i in range(strings.shape[0]):
        total = 0.0
        for j in range(strings.shape[0]):
            total += assignment_(strings, i, j, right, ratios, max_distance) * vector[j]
        product[i] = total


@compiled
def assignment_sums_(
    strings: Words, right: Reals, ratios: Reals, max_distance: int, sums: Reals
) -> None:
    """Write the column sums of the assignment matrix, shape (n_strings,)."""
    for j in range(strings.shape[0]):
        total = 0.0
        for i in range(strings.shape[0]):
            total += assignment_(strings, i, j, right, ratios, max_distance)
        sums[j] = total
