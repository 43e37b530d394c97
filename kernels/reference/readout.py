"""Read-out correction in NumPy; `kernels.readout` says what each function takes and returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.reference.layout import unpack_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Reals = NDArray[np.float64]

_BLOCK_SHOTS = 1 << 12


def correct_probabilities(probabilities: Reals, inverses: Reals) -> Reals:
    """Apply one 2 × 2 matrix per qubit, shape (n_bits, 2, 2), to a vector over all bit strings."""
    for qubit, inverse in enumerate(inverses):
        pairs = probabilities.reshape(-1, 2, 2**qubit)
        probabilities = np.einsum("ab,xby->xay", inverse, pairs).reshape(-1)
    return probabilities


def corrected_z_values(
    shots: Words, n_bits: int, masks: Words, weights: Reals, constant: float, factors: Reals
) -> Reals:
    """Sum weighted products of one factor per qubit and outcome, shape (n_bits, 2)."""
    return np.concatenate(
        [constant + products @ weights for products in _products(shots, n_bits, masks, factors)]
    )


def corrected_z_moments(
    shots: Words, n_bits: int, masks: Words, factors: Reals
) -> tuple[Reals, Reals]:
    """Sum the products of each term, and their squares, over the shots."""
    sums, squares = np.zeros(len(masks)), np.zeros(len(masks))
    for products in _products(shots, n_bits, masks, factors):
        sums += products.sum(axis=0)
        squares += (products**2).sum(axis=0)
    return sums, squares


def _products(shots: Words, n_bits: int, masks: Words, factors: Reals) -> list[Reals]:
    """Return the product of each term in each shot, (n_shots, n_terms) in blocks of shots."""
    members = [np.flatnonzero(row) for row in unpack_bits(masks, n_bits)]
    blocks = []
    for first in range(0, len(shots), _BLOCK_SHOTS):
        bits = unpack_bits(shots[first : first + _BLOCK_SHOTS], n_bits)
        products = np.ones((len(bits), len(members)))
        for term, qubits in enumerate(members):
            products[:, term] = factors[qubits, bits[:, qubits]].prod(axis=1)
        blocks.append(products)
    return blocks


def assignment_matrix(strings: Words, n_bits: int, confusion: Reals, max_distance: int) -> Reals:
    """Return the probability to read string i of string j, shape (n_strings, n_strings)."""
    bits = unpack_bits(strings, n_bits)
    qubits = np.arange(n_bits)
    matrix = np.empty((len(bits), len(bits)))
    for column, prepared in enumerate(bits):
        near = (bits != prepared).sum(axis=1) <= max_distance
        matrix[:, column] = np.where(near, confusion[qubits, bits, prepared].prod(axis=1), 0.0)
    return matrix


def assignment_product(
    strings: Words, n_bits: int, confusion: Reals, max_distance: int, vector: Reals
) -> Reals:
    """Multiply the assignment matrix with a vector."""
    product: Reals = assignment_matrix(strings, n_bits, confusion, max_distance) @ vector
    return product


def assignment_sums(strings: Words, n_bits: int, confusion: Reals, max_distance: int) -> Reals:
    """Sum the columns of the assignment matrix."""
    sums: Reals = assignment_matrix(strings, n_bits, confusion, max_distance).sum(axis=0)
    return sums
