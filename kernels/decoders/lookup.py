"""Look-up decoders: every syndrome of few errors is tabulated with what it does to the observables.

The table holds the syndromes of all sets of at most `max_errors` errors. Where two sets give the
same syndrome, the smaller one counts, and among sets of one size the lexicographically first. A
syndrome outside the table gives no correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, islice
from math import comb
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.kernels.arguments import check_integer
from cudaq_target.kernels.backends import Backend, choose_backend
from cudaq_target.kernels.decoders.interface import CheckedDecoder, check_kind
from cudaq_target.kernels.decoders.sparse import check_matrix
from cudaq_target.kernels.errors import BackendUnavailableError, KernelInputError
from cudaq_target.kernels.packed import word_count
from cudaq_target.kernels.reference.layout import pack_bits
from cudaq_target.kernels.reference.lookup import as_strings, look_up

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

MAX_TABLE_ROWS: Final = 20_000_000
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class LookupTable:
    """Syndromes in ascending order, and the correction of each.

    Attributes:
        n_detectors: Bits of a syndrome.
        n_observables: Bits of a correction.
        keys: Packed syndromes, shape (n_rows, ceil(n_detectors / 64)), sorted as byte strings.
        corrections: Packed flips of the observables, shape (n_rows, ceil(n_observables / 64)).
    """

    n_detectors: int
    n_observables: int
    keys: Words
    corrections: Words

    def __repr__(self) -> str:
        return (
            f"<LookupTable: {len(self.keys)} syndromes of {self.n_detectors} detectors, "
            f"{self.n_observables} observables>"
        )


def build_table(
    checks: NDArray[np.generic], observables: NDArray[np.generic], max_errors: int = 1
) -> LookupTable:
    """Tabulate every set of at most `max_errors` errors.

    Args:
        checks: Which error flips which detector, zeros and ones, shape (n_detectors, n_errors).
        observables: Which error flips which observable, shape (n_observables, n_errors).
        max_errors: Size of the largest set, from 0 (no correction ever) on.

    Returns:
        The table.

    Raises:
        KernelInputError: A matrix is malformed, they have different numbers of errors, or the
            table would have more than `MAX_TABLE_ROWS` rows.
    """
    checks, observables = check_matrix(checks, "checks"), check_matrix(observables, "observables")
    n_errors = checks.shape[1]
    if observables.shape[1] != n_errors:
        found = f"have {n_errors} errors in the checks, {observables.shape[1]} in the observables"
        raise KernelInputError("matrices", found, "give each a column per error")
    max_errors = min(check_integer(max_errors, "max_errors"), n_errors)
    n_rows = sum(comb(n_errors, size) for size in range(max_errors + 1))
    if n_rows > MAX_TABLE_ROWS:
        found = f"is {max_errors} of {n_errors} errors: a table of {n_rows} rows is too large"
        expected = f"at most {MAX_TABLE_ROWS} rows fit: choose fewer errors"
        raise KernelInputError("max_errors", found, expected)
    syndrome_of, flips_of = _columns(checks), _columns(observables)
    keys = np.zeros((n_rows, syndrome_of.shape[1]), dtype=np.uint64)
    corrections = np.zeros((n_rows, flips_of.shape[1]), dtype=np.uint64)
    row = 1  # row 0 is the empty set
    for size in range(1, max_errors + 1):
        for block in _blocks(combinations(range(n_errors), size)):
            end = row + len(block)
            keys[row:end] = np.bitwise_xor.reduce(syndrome_of[block], axis=1)
            corrections[row:end] = np.bitwise_xor.reduce(flips_of[block], axis=1)
            row = end
    # `unique` keeps the first of equal keys: rows are in the order of preference.
    _, first = np.unique(as_strings(keys), return_index=True)
    return LookupTable(
        n_detectors=checks.shape[0],
        n_observables=observables.shape[0],
        keys=np.ascontiguousarray(keys[first]),
        corrections=np.ascontiguousarray(corrections[first]),
    )


class LookupDecoder(CheckedDecoder):
    """Looks corrections up; threads that call it work side by side.

    Every back end gives the same bits. Compiled code allocates nothing per shot.
    """

    def __init__(self, table: LookupTable, *, backend: Backend = "auto") -> None:
        """Prepare a table.

        Args:
            table: From `build_table`.
            backend: "numpy" searches by halves, "cpu" hashes.

        Raises:
            KernelInputError: This is no table, or the back end is unknown.
            BackendUnavailableError: It does not run here; there is none for GPUs.

        >>> eye = np.eye(3, dtype=np.uint8)
        >>> decoder = LookupDecoder(build_table(eye, eye))
        >>> decoder.decode(np.array([[0b010], [0b011]], dtype=np.uint64)).tolist()
        [[2], [0]]
        """
        check_kind(table, LookupTable, "table", "build_table makes one")
        super().__init__(table.n_detectors, table.n_observables)
        self.table = table
        chosen = choose_backend(backend)
        if chosen == "gpu":
            missing = "a hash table in device code, which does not exist"
            raise BackendUnavailableError("gpu", missing, "use backend='cpu', which gives the same")
        self._slots: NDArray[np.int32] | None = None
        if chosen == "cpu":
            from cudaq_target.kernels.cpu.lookup import hash_table  # noqa: PLC0415 - Numba

            self._slots = hash_table(table.keys)

    def _decode(self, syndromes: Words) -> Words:
        keys, corrections = self.table.keys, self.table.corrections
        if self._slots is None:
            return look_up(keys, corrections, syndromes)
        from cudaq_target.kernels.cpu.lookup import look_up_  # noqa: PLC0415 - Numba

        n_words = word_count(self.n_observables)
        found = np.empty((len(syndromes), n_words), dtype=np.uint64)
        look_up_(keys, corrections, self._slots, syndromes, found)
        return found


def _columns(matrix: NDArray[np.uint8]) -> Words:
    """Columns as packed rows."""
    return pack_bits(np.ascontiguousarray(matrix.T))


def _blocks(sets: Iterable[tuple[int, ...]]) -> Iterable[NDArray[np.int64]]:
    source = iter(sets)
    while chunk := list(islice(source, _BLOCK)):
        yield np.array(chunk, dtype=np.int64)
