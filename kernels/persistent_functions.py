"""Functions that a persistent dispatcher offers, and their tables in the memory of the device.

Arguments and results are those of `coupler/FORMAT.md`; a batch of shots is 24 bytes of header and
rows of 64-bit words. Every function depends on its arguments alone: a request that arrives twice
gets the same answer twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.packed import check_qubits, check_terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_FUNCTIONS: Final = 32
"""Entries of a function table."""

MAX_SYNDROME_BITS: Final = 24

_BATCH_BYTES = 24
_ANY_LENGTH = 0xFFFF_FFFF

ROW = np.dtype(
    [
        ("id", "<u4"),
        ("kind", "<u4"),
        ("min_arg_bytes", "<u4"),
        ("max_arg_bytes", "<u4"),
        ("table", "<u8"),
        ("indices", "<u8"),
        ("n_bits", "<u4"),
        ("n_rows", "<u4"),
        ("reserved", "<u4", (2,)),
    ]
)
"""`Function` of handlers.cuh."""


class Kind(IntEnum):
    """`Kind` of handlers.cuh."""

    INCREMENT = 1
    ECHO = 2
    OCCUPATION = 3
    LOOK_UP = 4
    PARITIES = 5
    ISING_MEAN = 6


def _nothing() -> NDArray[np.uint8]:
    return np.zeros(0, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class DeviceFunction:
    """A function and its tables, on the host; `PersistentDispatcher` copies them.

    Attributes:
        kind: Which code runs.
        min_arg_bytes: Shorter arguments are answered BAD_REQUEST (bytes).
        table: Corrections, masks, or the numbers of a model.
        indices: Pairs of qubits.
        n_bits: Bits of a syndrome, or qubits of a batch.
        n_rows: Bytes of a correction, number of checks, or number of pairs.
    """

    kind: Kind
    min_arg_bytes: int = 0
    table: NDArray[np.generic] = field(default_factory=_nothing)
    indices: NDArray[np.generic] = field(default_factory=_nothing)
    n_bits: int = 0
    n_rows: int = 0

    def row(self, function_id: int, table: int, indices: int) -> NDArray[np.void]:
        """Return the entry of the function table, shape (1,).

        Args:
            function_id: FNV-1a of its name.
            table: Where `table` lies on the device.
            indices: Where `indices` lies.
        """
        entry = (function_id, self.kind, self.min_arg_bytes, _ANY_LENGTH, table, indices,
                 self.n_bits, self.n_rows, (0, 0))  # fmt: skip
        return np.array([entry], dtype=ROW)


INCREMENT: Final = DeviceFunction(Kind.INCREMENT)
"""Adds 1 to every byte; CUDA-Q Realtime's example, used to verify a link."""

ECHO: Final = DeviceFunction(Kind.ECHO)
"""Returns its arguments."""

OCCUPATION: Final = DeviceFunction(Kind.OCCUPATION, _BATCH_BYTES)
"""Counts, per qubit, the shots of a batch that measured 1: u32[n_qubits]."""


def look_up(table: NDArray[np.uint8], syndrome_bits: int) -> DeviceFunction:
    """Decode packed syndromes, one or many per request, by a table of corrections.

    Args:
        table: Corrections, shape (2^syndrome_bits, correction_bytes).
        syndrome_bits: 1 to 24.

    Raises:
        KernelInputError: The shape or the dtype is wrong.
    """
    if not 1 <= syndrome_bits <= MAX_SYNDROME_BITS:
        raise KernelInputError("syndrome_bits", f"is {syndrome_bits}", "1 to 24 are possible")
    if table.dtype != np.uint8 or table.ndim != 2 or not table.shape[1]:
        found = f"is {table.dtype}{table.shape}"
        raise KernelInputError("table", found, "expected uint8(2**syndrome_bits, bytes)")
    if len(table) != 1 << syndrome_bits:
        found = f"has {len(table)} rows"
        raise KernelInputError("table", found, f"{syndrome_bits} bits need {1 << syndrome_bits}")
    n_bytes = -(-syndrome_bits // 8)
    corrections = np.ascontiguousarray(table)
    return DeviceFunction(
        Kind.LOOK_UP, n_bytes, corrections, n_bits=syndrome_bits, n_rows=table.shape[1]
    )


def parities(masks: NDArray[np.uint64], n_qubits: int) -> DeviceFunction:
    """Take parities of every shot of a batch: packed rows of 64-bit words, bit j for mask j.

    Args:
        masks: The qubits of each check as a packed row, shape (n_checks, ceil(n_qubits / 64)).
        n_qubits: Of the batches; others are answered BAD_REQUEST.

    Raises:
        KernelInputError: The masks are not packed rows of `n_qubits` bits, or there is none.
    """
    check_terms(masks, n_qubits, allow_empty=False)
    return DeviceFunction(
        Kind.PARITIES, _BATCH_BYTES, masks.copy(), n_bits=n_qubits, n_rows=len(masks)
    )


def ising_mean(
    n_qubits: int,
    edges: Sequence[tuple[int, int]],
    weights: Sequence[float],
    fields: Sequence[float] = (),
    constant: float = 0.0,
) -> DeviceFunction:
    """Average an Ising energy over the shots of a batch: one f64.

    The energy is constant + Σ fields[i] z_i + Σ weights[e] z_i z_j with z = 1 - 2 bit. Pairs are
    counted exactly, so that the result is off by at most (n_terms + 2) · 2^-52 · Σ |term|; the CPU
    adds in the order of the GPU, and gives the same bits.

    Args:
        n_qubits: Of the batches; others are answered BAD_REQUEST.
        edges: Pairs of different qubits.
        weights: One per edge, finite.
        fields: One per qubit, finite; none for zeros.
        constant: Finite.

    Raises:
        KernelInputError: A qubit is missing, a number is not finite, or lengths disagree.
    """
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2)
    for edge in pairs.tolist():
        check_qubits(edge, n_qubits, name="edges")
    linear = np.array(fields or [0.0] * n_qubits, dtype=np.float64)
    if len(weights) != len(pairs) or len(linear) != n_qubits:
        found = f"{len(weights)} for {len(pairs)} edges, and {len(linear)} fields"
        raise KernelInputError("weights", found, f"one per edge, and {n_qubits} fields")
    numbers = np.concatenate([[constant], linear, np.array(weights, dtype=np.float64)])
    if not np.isfinite(numbers).all():
        raise KernelInputError("weights", "are not all finite", "NaN and infinities have no mean")
    return DeviceFunction(
        Kind.ISING_MEAN, _BATCH_BYTES, numbers, pairs.astype(np.uint32), n_qubits, len(pairs)
    )
