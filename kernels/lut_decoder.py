"""Look-up decoder: every syndrome of few errors is tabulated with what it does to the observables.

The table holds the syndromes of all sets of at most `max_errors` errors. Where two sets give the
same syndrome, the smaller one counts, and among sets of one size the lexicographically first. A
syndrome outside the table gives no correction. This NumPy version defines the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, islice
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

MAX_TABLE_ROWS = 20_000_000
_BLOCK = 1 << 16


def dense_rows(sparse: Sequence[int], n_columns: int) -> NDArray[np.uint8]:
    """Expand a sparse binary matrix: indices of the ones of each row, -1 ends a row.

    Args:
        sparse: Row-major column indices with -1 after each row.
        n_columns: Columns of the matrix.

    Returns:
        Zeros and ones, shape (n_rows, n_columns); an index that occurs twice in a row cancels.

    Raises:
        ValueError: An index lies outside the matrix, or the last row has no end.

    >>> dense_rows([0, -1, 0, 2, -1], 3).tolist()
    [[1, 0, 0], [1, 0, 1]]
    """
    indices = np.asarray(sparse, dtype=np.int64)
    if indices.size == 0 or indices[-1] != -1:
        message = "a sparse matrix needs -1 after each row, the last one too"
        raise ValueError(message)
    if indices.min() < -1 or indices.max() >= n_columns:
        message = f"sparse index {indices.max()} lies outside a matrix of {n_columns} columns"
        raise ValueError(message)
    ends = indices == -1
    row_of = np.cumsum(ends) - ends
    rows = np.zeros((int(ends.sum()), n_columns), dtype=np.uint8)
    np.bitwise_xor.at(rows, (row_of[~ends], indices[~ends]), 1)
    return rows


@dataclass(frozen=True, slots=True)
class LookupTable:
    """Syndromes in ascending order, and the correction of each.

    Attributes:
        n_detectors: Bits of a syndrome.
        n_observables: Bits of a correction.
        keys: Packed syndromes, shape (n_rows, ceil(n_detectors / 8)), sorted as byte strings.
        corrections: Packed flips of the observables, shape (n_rows, ceil(n_observables / 8)).
    """

    n_detectors: int
    n_observables: int
    keys: NDArray[np.uint8]
    corrections: NDArray[np.uint8]


def build_table(
    checks: NDArray[np.uint8], observables: NDArray[np.uint8], max_errors: int = 1
) -> LookupTable:
    """Tabulate every set of at most `max_errors` errors.

    Args:
        checks: Which error flips which detector, zeros and ones, shape (n_detectors, n_errors).
        observables: Which error flips which observable, shape (n_observables, n_errors).
        max_errors: Size of the largest set, from 0 (no correction ever) on.

    Raises:
        ValueError: The matrices have different numbers of errors, or the table would have more
            than `MAX_TABLE_ROWS` rows.
    """
    n_errors = checks.shape[1]
    if observables.shape[1] != n_errors:
        message = f"{n_errors} errors in the checks, {observables.shape[1]} in the observables"
        raise ValueError(message)
    n_rows = sum(comb(n_errors, size) for size in range(max_errors + 1))
    if n_rows > MAX_TABLE_ROWS:
        message = (
            f"a table of {n_rows} rows ({max_errors} of {n_errors} errors) is too large; at most "
            f"{MAX_TABLE_ROWS} rows fit: choose fewer errors"
        )
        raise ValueError(message)
    syndrome_of = np.packbits(checks.T, axis=1, bitorder="little")
    flips_of = np.packbits(observables.T, axis=1, bitorder="little")
    keys = np.zeros((n_rows, syndrome_of.shape[1]), dtype=np.uint8)
    corrections = np.zeros((n_rows, flips_of.shape[1]), dtype=np.uint8)
    row = 1  # row 0 is the empty set
    for size in range(1, max_errors + 1):
        for block in _blocks(combinations(range(n_errors), size)):
            end = row + len(block)
            keys[row:end] = np.bitwise_xor.reduce(syndrome_of[block], axis=1)
            corrections[row:end] = np.bitwise_xor.reduce(flips_of[block], axis=1)
            row = end
    # `unique` keeps the first of equal keys: rows are in the order of preference.
    _, first = np.unique(_as_strings(keys), return_index=True)
    return LookupTable(
        n_detectors=checks.shape[0],
        n_observables=observables.shape[0],
        keys=np.ascontiguousarray(keys[first]),
        corrections=np.ascontiguousarray(corrections[first]),
    )


def decode(table: LookupTable, detectors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Look up the correction of each syndrome.

    Args:
        table: From `build_table`.
        detectors: Zeros and ones, shape (n_shots, n_detectors).

    Returns:
        Flips of the observables, zeros and ones, shape (n_shots, n_observables).
    """
    wanted = _as_strings(np.packbits(detectors, axis=1, bitorder="little"))
    known = _as_strings(table.keys)
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found = known[place] == wanted
    packed = np.where(found[:, None], table.corrections[place], np.uint8(0))
    return np.unpackbits(packed, axis=1, count=table.n_observables, bitorder="little")


def detectors_of(
    measurements: NDArray[np.uint8], detector_rows: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Parities of measured bits that are 0 without errors.

    Args:
        measurements: Zeros and ones, shape (n_shots, n_measurements).
        detector_rows: Measurements of each detector, shape (n_detectors, n_measurements).

    Returns:
        Zeros and ones, shape (n_shots, n_detectors).
    """
    return ((measurements.astype(np.int64) @ detector_rows.T.astype(np.int64)) & 1).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class LookupDecoder:
    """From measured bits to corrections: parities, then the table.

    Attributes:
        detector_rows: Measurements of each detector, shape (n_detectors, n_measurements).
        table: Corrections by syndrome.
    """

    detector_rows: NDArray[np.uint8]
    table: LookupTable

    @property
    def n_measurements(self) -> int:
        """Measured bits of one shot."""
        return int(self.detector_rows.shape[1])

    @property
    def n_observables(self) -> int:
        """Bits of a correction."""
        return self.table.n_observables

    def decode(self, measurements: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Decode one shot.

        Args:
            measurements: Zeros and ones, shape (n_measurements,).

        Returns:
            Flips of the observables, shape (n_observables,).
        """
        detectors = detectors_of(measurements.reshape(1, -1), self.detector_rows)
        return decode(self.table, detectors).reshape(-1)


def lookup_decoder(
    checks: Sequence[int],
    observables: Sequence[int],
    detectors: Sequence[int],
    n_errors: int,
    max_errors: int = 1,
) -> LookupDecoder:
    """Build a decoder from the sparse matrices that CUDA-Q's decoder files hold.

    Args:
        checks: H, the errors that flip each detector; -1 ends a row.
        observables: O, the errors that flip each observable.
        detectors: D, the measurements whose parity each detector is.
        n_errors: Columns of H and O.
        max_errors: Errors per shot that the table covers.

    >>> identity = [0, -1, 1, -1, 2, -1]
    >>> decoder = lookup_decoder(identity, identity, identity, 3)
    >>> decoder.decode(np.array([0, 1, 0], dtype=np.uint8)).tolist()
    [0, 1, 0]
    """
    table = build_table(dense_rows(checks, n_errors), dense_rows(observables, n_errors), max_errors)
    return LookupDecoder(dense_rows(detectors, max(detectors) + 1), table)


def _as_strings(packed: NDArray[np.uint8]) -> NDArray[np.void]:
    """Rows as single values that compare as byte strings."""
    return np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1])))[:, 0]


def _blocks(sets: Iterable[tuple[int, ...]]) -> Iterable[NDArray[np.int64]]:
    source = iter(sets)
    while chunk := list(islice(source, _BLOCK)):
        yield np.array(chunk, dtype=np.int64)
