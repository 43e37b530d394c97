"""What packed shots say about qubits: ones, common ones, bit strings; and running moments.

Shots are `uint64[n_shots, ceil(n_bits / 64)]` as in `kernels.packed`, at least one shot of at least
one bit. Counts are exact and equal on every back end. Results lie where the input lay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.backends import Backend, implementation
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.layout import marginal_bits
from cudaq_target.kernels.packed import check_qubits, check_shots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]


def occupation(shots: Words, n_bits: int, *, backend: Backend = "auto") -> Counts:
    """Count, per qubit, the shots that measured 1.

    Compiled code adds rows in carry-save form (W. Muła, N. Kurz and D. Lemire, arXiv:1611.07612).

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        backend: Where to compute.

    Returns:
        Counts, shape (n_bits,).

    Raises:
        KernelInputError: `shots` are not packed shots of `n_bits` bits, or there are none.
        BackendUnavailableError: The back end does not run here.

    >>> occupation(np.array([[1], [3]], dtype=np.uint64), 2).tolist()
    [2, 1]
    """
    check_shots(shots, n_bits)
    counts: Counts = implementation("statistics", backend, shots).occupation(shots, int(n_bits))
    return counts


def pair_correlations(shots: Words, n_bits: int, *, backend: Backend = "auto") -> Counts:
    """Count, per pair of qubits, the shots that measured 1 on both.

    With `n = len(shots)` and the diagonal `d`, the covariance of qubits i and j is
    `counts[i, j] / n - d[i] * d[j] / n**2`.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        backend: Where to compute.

    Returns:
        Counts, symmetric, shape (n_bits, n_bits); the diagonal is `occupation`.

    Raises:
        KernelInputError: `shots` are not packed shots of `n_bits` bits, or there are none.
        BackendUnavailableError: The back end does not run here.

    >>> pair_correlations(np.array([[1], [3]], dtype=np.uint64), 2).tolist()
    [[2, 1], [1, 1]]
    """
    check_shots(shots, n_bits)
    module = implementation("statistics", backend, shots)
    counts: Counts = module.pair_correlations(shots, int(n_bits))
    return counts


def histogram(shots: Words, n_bits: int, *, backend: Backend = "auto") -> tuple[Words, Counts]:
    """Count equal shots, of any width.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        backend: Where to compute.

    Returns:
        The distinct shots, ascending as numbers (qubit 0 is the lowest bit), shape
        (n_distinct, ceil(n_bits / 64)), and how often each occurs, shape (n_distinct,).

    Raises:
        KernelInputError: `shots` are not packed shots of `n_bits` bits, or there are none.
        BackendUnavailableError: The back end does not run here.

    >>> keys, counts = histogram(np.array([[2], [1], [2]], dtype=np.uint64), 2)
    >>> keys.tolist(), counts.tolist()
    ([[1], [2]], [1, 2])
    """
    check_shots(shots, n_bits)
    result: tuple[Words, Counts] = implementation("statistics", backend, shots).histogram(
        shots, int(n_bits)
    )
    return result


def marginal_histogram(
    shots: Words, n_bits: int, qubits: Sequence[int], *, backend: Backend = "auto"
) -> tuple[Words, Counts]:
    """Count the outcomes of some qubits, whatever the others did.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        qubits: Which to look at, each once, at least one; bit j of a key is qubit `qubits[j]`.
        backend: Where to compute.

    Returns:
        The distinct outcomes, ascending as numbers, shape (n_distinct, ceil(n_qubits / 64)), and
        how often each occurs, shape (n_distinct,).

    Raises:
        KernelInputError: `shots` are not packed shots, there are none, or `qubits` is empty, names
            a qubit that is missing or one twice.
        BackendUnavailableError: The back end does not run here.

    >>> shots = np.array([[4], [1], [0]], dtype=np.uint64)
    >>> keys, counts = marginal_histogram(shots, 3, [2])
    >>> keys.tolist(), counts.tolist()
    ([[0], [1]], [2, 1])
    """
    check_shots(shots, n_bits)
    if len(check_qubits(qubits, n_bits)) == 0:
        raise KernelInputError("qubits", "is empty", "name at least one qubit")
    kept = marginal_bits(shots, n_bits, qubits, backend=backend)
    return histogram(kept, len(qubits), backend=backend)
