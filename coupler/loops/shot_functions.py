"""Functions of a shot as tables that compiled code reads: values here, and in a handler.

| made by | value of a shot |
|---|---|
| `pauli_values` | sum of weighted products of Z, maybe free of read-out errors |
| `ising_values`, `maxcut_values` | energy; minus the weight that is cut |
| `qubo_values`, `mis_values` | x^T Q x; penalty · violations - size |
| `flip_values` | 1 where some qubits have odd parity, else 0 |
| `decoded_values` | 1 where a decoder leaves an observable flipped, else 0 |

`kernels.observables` and `kernels.readout` define the values; these are the same to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.kernels.arguments import check_pairs, check_reals
from cudaq_target.kernels.cpu.bits import popcount
from cudaq_target.kernels.cpu.observables import term_qubits
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.observables import check_masks, pauli_z_bounds, qubo_bounds
from cudaq_target.kernels.packed import check_shots, word_count
from cudaq_target.kernels.readout import check_confusion, corrected_z_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from cudaq_target.kernels.decoders.interface import Decoder

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]
    Reals = NDArray[np.float64]

MAX_TABLE_BITS: Final = 16
"""Detectors of a decoder that becomes a table of all its answers, half a MiB."""

_PARITIES, _PAIRS, _PRODUCTS, _DECODED = range(4)
_ONE = np.uint64(1)


class Kind(IntEnum):
    """Which code reads the tables."""

    PARITIES = _PARITIES
    PAIRS = _PAIRS
    PRODUCTS = _PRODUCTS
    DECODED = _DECODED


def _counts() -> Counts:
    return np.zeros(0, dtype=np.int64)


def _words() -> Words:
    return np.zeros((0, 1), dtype=np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class ShotFunction:
    """One value per shot.

    Attributes:
        kind: Which code reads the tables.
        n_bits: Bits per shot.
        low: No value is below.
        high: No value is above; more than `low`.
        constant: Where each sum starts.
        masks: The qubits of each term; or detectors, then observables; shape
            (n_masks, ceil(n_bits / 64)).
        adds: What each term adds by its outcome: of even or odd parity; not all ones, or all;
            its weight as the second one; shape (n_terms, 2).
        starts: Where the qubits of each term start, shape (n_terms + 1,).
        qubits: Of all terms.
        factors: Of each qubit and outcome, shape (n_bits, 2).
        table: The flips that a decoder finds for each syndrome, shape (2^n_detectors,).
    """

    kind: Kind
    n_bits: int
    low: float
    high: float
    constant: float = 0.0
    masks: Words = field(default_factory=_words)
    adds: Reals = field(default_factory=lambda: np.zeros((0, 2)))
    starts: Counts = field(default_factory=_counts)
    qubits: Counts = field(default_factory=_counts)
    factors: Reals = field(default_factory=lambda: np.zeros((0, 2)))
    table: Words = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))

    def values(self, rows: Words) -> Reals:
        """Evaluate shots.

        Args:
            rows: Packed shots, shape (n_shots, ceil(n_bits / 64)).

        Returns:
            Values, shape (n_shots,).

        Raises:
            KernelInputError: These are not packed shots of `n_bits` bits, or there are none.
        """
        check_shots(rows, self.n_bits)
        values = np.empty(len(rows))
        self.values_into(rows, values)
        return values

    def values_into(self, rows: Words, values: Reals) -> None:
        """Evaluate shots that were checked, without allocating.

        Args:
            rows: Packed shots, shape (n_shots, ceil(n_bits / 64)).
            values: Written, shape (n_shots,).
        """
        shot_values_(
            int(self.kind),
            rows,
            self.masks,
            self.adds,
            self.starts,
            self.qubits,
            self.factors,
            self.constant,
            self.table,
            values,
        )


@compiled
def shot_values_(
    kind: int,
    rows: Words,
    masks: Words,
    adds: Reals,
    starts: Counts,
    qubits: Counts,
    factors: Reals,
    constant: float,
    table: Words,
    values: Reals,
) -> None:
    """Evaluate shots one by one; arguments as in `ShotFunction`.

    Blocks of a loop are short: bit planes of 64 shots (`kernels.observables`) would cost more.
    """
    if kind == _PARITIES:
        parity_values_(rows, masks, adds, constant, values)
    elif kind == _PAIRS:
        pair_values_(rows, masks, adds, constant, values)
    elif kind == _PRODUCTS:
        product_values_(rows, adds, starts, qubits, factors, constant, values)
    else:
        decoded_(rows, masks, table, values)


@compiled(inline=True)
def parity_values_(rows: Words, masks: Words, adds: Reals, constant: float, values: Reals) -> None:
    """Add what each term contributes by the parity of its qubits; looked up, not branched."""
    for shot in range(rows.shape[0]):
        total = constant
        for term in range(masks.shape[0]):
            word = rows[shot, 0] & masks[term, 0]
            for k in range(1, rows.shape[1]):
                word ^= rows[shot, k] & masks[term, k]
            total += adds[term, np.int64(np.uint64(popcount(word)) & _ONE)]
        values[shot] = total


@compiled(inline=True)
def pair_values_(rows: Words, masks: Words, adds: Reals, constant: float, values: Reals) -> None:
    """Add the weights of the terms whose qubits are all 1."""
    for shot in range(rows.shape[0]):
        total = constant
        for term in range(masks.shape[0]):
            missing = masks[term, 0] & ~rows[shot, 0]
            for k in range(1, rows.shape[1]):
                missing |= masks[term, k] & ~rows[shot, k]
            total += adds[term, np.int64(missing == np.uint64(0))]
        values[shot] = total


@compiled(inline=True)
def product_values_(
    rows: Words,
    adds: Reals,
    starts: Counts,
    qubits: Counts,
    factors: Reals,
    constant: float,
    values: Reals,
) -> None:
    """Add weighted products of one factor per qubit and outcome."""
    for shot in range(rows.shape[0]):
        total = constant
        for term in range(adds.shape[0]):
            product = 1.0
            for k in range(starts[term], starts[term + 1]):
                qubit = qubits[k]
                bit = (rows[shot, qubit // 64] >> np.uint64(qubit % 64)) & _ONE
                product *= factors[qubit, np.int64(bit)]
            total += adds[term, 1] * product
        values[shot] = total


@compiled(inline=True)
def decoded_(rows: Words, masks: Words, table: Words, values: Reals) -> None:
    """Say of each shot whether the table's correction leaves an observable flipped."""
    n_detectors = 0
    while (1 << n_detectors) < table.size:
        n_detectors += 1
    for shot in range(rows.shape[0]):
        syndrome, flips = np.int64(0), np.uint64(0)
        for m in range(masks.shape[0]):
            word = np.uint64(0)
            for k in range(masks.shape[1]):
                word ^= rows[shot, k] & masks[m, k]
            odd = np.uint64(popcount(word)) & _ONE
            if m < n_detectors:
                syndrome |= np.int64(odd) << m
            else:
                flips |= odd << np.uint64(m - n_detectors)
        values[shot] = 1.0 if flips != table[syndrome] else 0.0


def pauli_values(
    n_bits: int,
    masks: Words,
    weights: ArrayLike,
    constant: float = 0.0,
    confusion: ArrayLike | None = None,
) -> ShotFunction:
    """Sum weighted products of Z; see `kernels.observables.pauli_z_values`.

    Args:
        n_bits: Qubits per shot.
        masks: The qubits of each term, shape (n_terms, ceil(n_bits / 64)).
        weights: Of each term, any unit, shape (n_terms,).
        constant: Same unit.
        confusion: P(read | prepared) per qubit, shape (n_bits, 2, 2): values whose mean is free of
            these read-out errors (`kernels.readout.corrected_z_values`).

    Raises:
        KernelInputError: As in the functions above, or no term acts on a qubit.
    """
    check_masks(masks, n_bits)
    real = check_reals(weights, (len(masks),), "weights")
    if confusion is None:
        low, high = _open(pauli_z_bounds(masks, real, constant), "weights")
        kept = np.ascontiguousarray(masks)
        return ShotFunction(Kind.PARITIES, n_bits, low, high, constant, kept, _adds(real, -real))
    checked = check_confusion(confusion, n_bits)
    low, high = _open(corrected_z_bounds(n_bits, masks, real, checked, constant), "weights")
    # (Z - b) / a of both outcomes, as in `corrected_z_values`.
    bias = checked[:, 0, 1] - checked[:, 1, 0]
    scale = checked[:, 0, 0] * checked[:, 1, 1] - checked[:, 0, 1] * checked[:, 1, 0]
    factors = np.stack([(1.0 - bias) / scale, (-1.0 - bias) / scale], axis=1)
    starts, qubits = term_qubits(masks, n_bits)
    return ShotFunction(
        Kind.PRODUCTS,
        n_bits,
        low,
        high,
        constant,
        adds=_adds(0.0 * real, real),
        starts=starts,
        qubits=qubits,
        factors=factors,
    )


def ising_values(
    n_bits: int,
    edges: ArrayLike,
    weights: ArrayLike,
    fields: ArrayLike | None = None,
    constant: float = 0.0,
) -> ShotFunction:
    """Compute Ising energies; arguments and errors as in `kernels.observables.ising_energies`."""
    pairs = check_pairs(edges, n_bits, "edges")
    couplings = check_reals(weights, (len(pairs),), "weights")
    local = np.zeros(n_bits) if fields is None else check_reals(fields, (n_bits,), "fields")
    alone = np.flatnonzero(local)
    terms = [*pairs.tolist(), *([qubit] for qubit in alone.tolist())]
    signed = np.concatenate([couplings, local[alone]])
    return pauli_values(n_bits, _masks(terms, n_bits), signed, constant)


def maxcut_values(n_bits: int, edges: ArrayLike, weights: ArrayLike | None = None) -> ShotFunction:
    """Compute cuts; arguments and errors as in `kernels.observables.maxcut_costs`."""
    pairs = check_pairs(edges, n_bits, "edges")
    ones = np.ones(len(pairs))
    real = ones if weights is None else check_reals(weights, (len(pairs),), "weights")
    bounds = -float(real.clip(0.0).sum()), -float(real.clip(None, 0.0).sum())
    low, high = _open(bounds, "weights")
    masks = _masks(pairs.tolist(), n_bits)
    return ShotFunction(Kind.PARITIES, n_bits, low, high, 0.0, masks, _adds(0.0 * real, -real))


def qubo_values(n_bits: int, matrix: ArrayLike, constant: float = 0.0) -> ShotFunction:
    """Compute x^T Q x; arguments and errors as in `kernels.observables.qubo_costs`."""
    square = check_reals(matrix, (n_bits, n_bits), "matrix")
    low, high = _open(qubo_bounds(square, constant), "matrix")
    both = np.triu(square) + np.tril(square, -1).T
    pairs = np.argwhere(both).astype(np.int64)
    weights = both[pairs[:, 0], pairs[:, 1]]
    masks = _masks(pairs.tolist(), n_bits)
    return ShotFunction(
        Kind.PAIRS, n_bits, low, high, constant, masks, _adds(0.0 * weights, weights)
    )


def mis_values(n_bits: int, edges: ArrayLike, penalty: float = 2.0) -> ShotFunction:
    """Compute `kernels.observables.MisCosts.costs(penalty)`: penalty · violations - size."""
    pairs = check_pairs(edges, n_bits, "edges")
    matrix = -np.eye(n_bits)
    np.add.at(matrix, (pairs[:, 0], pairs[:, 1]), penalty)
    return qubo_values(n_bits, matrix)


def flip_values(n_bits: int, qubits: Sequence[int]) -> ShotFunction:
    """Say whether some qubits have odd parity: 1.0 or 0.0; of one qubit, whether it reads 1.

    Raises:
        KernelInputError: No qubits, or one that is missing.
    """
    mask = _masks([list(qubits)], n_bits)
    if not mask.any():
        raise KernelInputError("qubits", "are none", "name at least one, each once")
    adds = _adds(np.zeros(1), np.ones(1))
    return ShotFunction(Kind.PARITIES, n_bits, 0.0, 1.0, 0.0, mask, adds)


def decoded_values(
    decoder: Decoder, n_bits: int, detectors: Words, observables: Words
) -> ShotFunction:
    """Say whether a decoder's correction leaves an observable flipped: 1.0 or 0.0.

    Args:
        decoder: Asked once for each of its 2^n_detectors syndromes.
        n_bits: Bits per shot.
        detectors: The bits whose parity each detector is, shape (n_detectors, ceil(n_bits / 64)).
        observables: The same for observables, shape (n_observables, ceil(n_bits / 64)).

    Raises:
        KernelInputError: More than `MAX_TABLE_BITS` detectors, numbers that do not fit the decoder,
            or a syndrome that it cannot explain.
    """
    check_decoder(decoder, n_bits, detectors, observables)
    if decoder.n_detectors > MAX_TABLE_BITS or decoder.n_observables > 64:
        found = f"takes {decoder.n_detectors} detectors and {decoder.n_observables} observables"
        expected = f"{MAX_TABLE_BITS} and 64 fit a table"
        raise KernelInputError("decoder", found, expected)
    syndromes = np.arange(1 << decoder.n_detectors, dtype=np.uint64).reshape(-1, 1)
    table = np.ascontiguousarray(decoder.decode(syndromes)[:, 0])
    masks = np.ascontiguousarray(np.concatenate([detectors, observables]))
    return ShotFunction(Kind.DECODED, n_bits, 0.0, 1.0, masks=masks, table=table)


def check_decoder(decoder: Decoder, n_bits: int, detectors: Words, observables: Words) -> None:
    """Refuse masks that do not fit a decoder.

    Raises:
        KernelInputError: See above.
    """
    wanted = (("detectors", detectors, decoder.n_detectors),
              ("observables", observables, decoder.n_observables))  # fmt: skip
    for name, masks, number in wanted:
        check_shots(masks, n_bits, name=name)
        if len(masks) != number:
            raise KernelInputError(name, f"are {len(masks)}", f"the decoder has {number}")


def _masks(terms: Sequence[Sequence[int]], n_bits: int) -> Words:
    masks = np.zeros((len(terms), word_count(n_bits)), dtype=np.uint64)
    for row, qubits in zip(masks, terms, strict=True):
        for qubit in qubits:
            if not 0 <= qubit < n_bits:
                expected = f"shots have qubits 0 to {n_bits - 1}"
                raise KernelInputError("qubits", f"hold {qubit}", expected)
            row[qubit // 64] |= np.uint64(1 << qubit % 64)
    return masks


def _adds(first: Reals, second: Reals) -> Reals:
    return np.ascontiguousarray(np.stack([first, second], axis=1))


def _open(bounds: tuple[float, float], name: str) -> tuple[float, float]:
    low, high = bounds
    if not low < high:
        expected = "a loop needs a value that depends on the shot"
        raise KernelInputError(name, f"make every value {low}", expected)
    return low, high
