"""Read-out correction on a GPU, in array operations; `kernels.readout` says what each takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.gpu import device

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Reals = NDArray[np.float64]

_BLOCK_ENTRIES = 1 << 26  # of the assignment matrix at once: 512 MiB


@device.lands_at_home
def correct_probabilities(probabilities: Reals, inverses: Reals) -> Reals:
    """Apply one 2 × 2 matrix per qubit to a vector over all bit strings."""
    for qubit in range(len(inverses)):
        pairs = probabilities.reshape(-1, 2, 2**qubit)
        probabilities = (inverses[qubit] @ pairs).reshape(-1)
    return probabilities


@device.lands_at_home
def corrected_z_values(
    shots: Words, n_bits: int, masks: Words, weights: Reals, constant: float, factors: Reals
) -> Reals:
    """Sum weighted products of one factor per qubit and outcome."""
    values: Reals = device.arrays().full(len(shots), constant, dtype=np.float64)
    for term, members in enumerate(_members(masks, n_bits)):
        values += weights[term] * _product(shots, members, factors)
    return values


@device.lands_at_home
def corrected_z_moments(
    shots: Words, n_bits: int, masks: Words, factors: Reals
) -> tuple[Reals, Reals]:
    """Sum the products of each term, and their squares, over the shots."""
    moments: Reals = device.arrays().zeros((2, len(masks)), dtype=np.float64)
    for term, members in enumerate(_members(masks, n_bits)):
        products = _product(shots, members, factors)
        moments[0, term] = products.sum()
        moments[1, term] = (products * products).sum()
    return moments[0], moments[1]


@device.lands_at_home
def assignment_matrix(strings: Words, n_bits: int, confusion: Reals, max_distance: int) -> Reals:
    """Return the probability to read string i of string j."""
    return _assignment(strings, strings, n_bits, confusion, max_distance)


@device.lands_at_home
def assignment_product(
    strings: Words, n_bits: int, confusion: Reals, max_distance: int, vector: Reals
) -> Reals:
    """Multiply the assignment matrix with a vector, without holding all of it."""
    product: Reals = device.arrays().empty(len(strings), dtype=np.float64)
    step = max(1, _BLOCK_ENTRIES // len(strings))
    for first in range(0, len(strings), step):
        read = strings[first : first + step]
        product[first : first + step] = (
            _assignment(read, strings, n_bits, confusion, max_distance) @ vector
        )
    return product


@device.lands_at_home
def assignment_sums(strings: Words, n_bits: int, confusion: Reals, max_distance: int) -> Reals:
    """Sum the columns of the assignment matrix."""
    sums: Reals = device.arrays().zeros(len(strings), dtype=np.float64)
    step = max(1, _BLOCK_ENTRIES // len(strings))
    for first in range(0, len(strings), step):
        read = strings[first : first + step]
        sums += _assignment(read, strings, n_bits, confusion, max_distance).sum(axis=0)
    return sums


def _bit(words: Words, qubit: int) -> NDArray[np.int64]:
    """Return one bit of each row, shape (n_rows,)."""
    bits: NDArray[np.int64] = (
        (words[:, qubit // 64] >> np.uint64(qubit % 64)) & np.uint64(1)
    ).astype(np.int64)
    return bits


def _members(masks: Words, n_bits: int) -> list[list[int]]:
    rows = device.to_host(masks).tolist()
    return [
        [qubit for qubit in range(n_bits) if row[qubit // 64] >> qubit % 64 & 1] for row in rows
    ]


def _product(shots: Words, members: list[int], factors: Reals) -> Reals:
    """Multiply the factors of some qubits, shape (n_shots,)."""
    product: Reals = device.arrays().ones(len(shots), dtype=np.float64)
    for qubit in members:
        product *= factors[qubit][_bit(shots, qubit)]
    return product


def _assignment(
    read: Words, prepared: Words, n_bits: int, confusion: Reals, max_distance: int
) -> Reals:
    """Return probabilities to read rows of one array of rows of another."""
    xp = device.arrays()
    matrix: Reals = xp.ones((len(read), len(prepared)), dtype=np.float64)
    distance = xp.zeros((len(read), len(prepared)), dtype=np.int32)
    for qubit in range(n_bits):
        row, column = _bit(read, qubit)[:, None], _bit(prepared, qubit)[None, :]
        matrix *= confusion[qubit][row, column]
        distance += row != column
    return xp.where(distance <= max_distance, matrix, 0.0)  # type: ignore[no-any-return]
