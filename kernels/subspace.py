"""Read-out correction on the bit strings that were seen, for any number of qubits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cudaq_target.kernels.arguments import check_integer, check_number, host_array
from cudaq_target.kernels.backends import Backend, choose_backend, implementation, is_on_device
from cudaq_target.kernels.errors import ConvergenceError, KernelInputError
from cudaq_target.kernels.packed import check_shots
from cudaq_target.kernels.readout import check_confusion

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import ArrayLike, NDArray

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]
    Reals = NDArray[np.float64]

Method = Literal["auto", "direct", "iterative"]

LARGEST_DIRECT = 1500
"""Bit strings up to which "auto" inverts a matrix: 18 MB and some tenths of a second."""

MAX_ITERATIONS = 500


@dataclass(frozen=True, slots=True)
class QuasiCounts:
    """Counts freed of read-out errors, as quasi-probabilities.

    Attributes:
        strings: The bit strings, packed, shape (n_strings, ceil(n_bits / 64)).
        quasi_probabilities: Sum 1, single ones may be negative, shape (n_strings,).
        n_shots: Shots behind them.
        overhead: 1-norm of the inverse; None where it was not formed (iterative).
    """

    strings: NDArray[np.uint64]
    quasi_probabilities: NDArray[np.float64]
    n_shots: int
    overhead: float | None

    @property
    def largest_standard_error(self) -> float | None:
        """Bound on the standard error of any mean of values in [-1, 1]; None without `overhead`."""
        return None if self.overhead is None else self.overhead / float(np.sqrt(self.n_shots))

    def expectation(self, values: ArrayLike) -> float:
        """Average one real value per string, shape (n_strings,)."""
        return float(self.quasi_probabilities @ np.asarray(values, dtype=np.float64))


def correct_counts(
    strings: Words,
    counts: ArrayLike,
    n_bits: int,
    confusion: ArrayLike,
    *,
    max_distance: int | None = None,
    method: Method = "auto",
    tolerance: float = 1e-10,
    backend: Backend = "auto",
) -> QuasiCounts:
    """Invert read-out errors within the bit strings that were seen.

    Nation, Kang, Sundaresan and Gambetta, arXiv:2108.12518: the matrix of the probabilities to read
    string i of string j is restricted to the strings seen, its columns are normalised to 1, and the
    linear system is solved, directly or by GMRES with the inverse diagonal as preconditioner and
    without ever forming the matrix. Exact where the strings seen hold all strings of the errors.

    Args:
        strings: Distinct packed shots, as `statistics.histogram` gives them,
            shape (n_strings, ceil(n_bits / 64)).
        counts: How often each was seen, shape (n_strings,).
        n_bits: Qubits per string.
        confusion: Shape (n_bits, 2, 2); see `kernels.readout`.
        max_distance: Errors of more flips at once count as impossible; None allows all.
        method: "direct" costs n_strings³, "iterative" n_strings² per iteration; "auto" is direct up
            to 1500 strings.
        tolerance: Largest relative residual of "iterative".
        backend: Where to compute the matrix.

    Returns:
        Quasi-probabilities; back ends agree to 1e-12 times the overhead ("direct") or to
        `tolerance` times it ("iterative").

    Raises:
        KernelInputError: See `readout.check_confusion`; a distance or tolerance that makes no
            sense; a qubit that never reads the state that it
            is in; strings that occur twice; counts that are negative, no integers, or all 0; a
            matrix that cannot be inverted.
        ConvergenceError: GMRES did not reach `tolerance`.
        BackendUnavailableError: The back end does not run here.

    >>> seen = np.array([[0b0], [0b1]], dtype=np.uint64)
    >>> correct_counts(seen, [90, 10], 1, [[[0.9, 0.1], [0.1, 0.9]]]).quasi_probabilities.round(9)
    array([1., 0.])
    """
    check_shots(strings, n_bits, name="strings")
    strings = strings.get() if is_on_device(strings) else strings  # type: ignore[attr-defined]
    real = _check_fidelities(check_confusion(confusion, n_bits))
    seen = _check_counts(counts, strings)
    distance = _check_options(n_bits, max_distance, method, tolerance)
    kernels = implementation("readout", choose_backend(backend, strings))
    shares = seen / seen.sum()
    if method == "direct" or (method == "auto" and len(strings) <= LARGEST_DIRECT):
        matrix = kernels.assignment_matrix(strings, n_bits, real, distance)
        quasi, overhead = _solve_directly(matrix / matrix.sum(axis=0), shares)
        return QuasiCounts(strings, quasi, int(seen.sum()), overhead)
    quasi = _solve_iteratively(kernels, strings, n_bits, real, distance, shares, tolerance)
    return QuasiCounts(strings, quasi, int(seen.sum()), None)


def _check_options(n_bits: int, max_distance: int | None, method: Method, tolerance: float) -> int:
    """Refuse options that make no sense; return the most flips at once."""
    if method not in ("auto", "direct", "iterative"):
        expected = "use 'auto', 'direct' or 'iterative'"
        raise KernelInputError("method", f"is {method!r}", expected)
    distance = n_bits if max_distance is None else check_integer(max_distance, "max_distance")
    if check_number(tolerance, "tolerance") <= 0.0:
        raise KernelInputError("tolerance", f"is {tolerance}", "use a positive number")
    return distance


def _solve_directly(matrix: Reals, shares: Reals) -> tuple[Reals, float]:
    try:
        inverse = np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        found = "give a singular matrix between the strings seen"
        raise KernelInputError("confusion", found, "some strings read alike") from None
    return inverse @ shares, float(np.abs(inverse).sum(axis=0).max())


def _solve_iteratively(
    kernels: ModuleType,
    strings: Words,
    n_bits: int,
    confusion: Reals,
    max_distance: int,
    shares: Reals,
    tolerance: float,
) -> Reals:
    from scipy.sparse.linalg import LinearOperator, gmres  # noqa: PLC0415 - 0.1 s to load

    sums = kernels.assignment_sums(strings, n_bits, confusion, max_distance)
    diagonal = _right(strings, n_bits, confusion) / sums
    size = (len(strings), len(strings))

    def product(vector: Reals) -> Reals:
        scaled = np.ascontiguousarray(vector.reshape(-1) / sums)
        result: Reals = kernels.assignment_product(strings, n_bits, confusion, max_distance, scaled)
        return result

    matrix = LinearOperator(size, matvec=product, dtype=np.float64)
    jacobi = LinearOperator(size, matvec=lambda v: v.reshape(-1) / diagonal, dtype=np.float64)
    quasi, _ = gmres(
        matrix,
        shares,
        rtol=0.1 * tolerance,
        atol=0.0,
        restart=50,
        maxiter=MAX_ITERATIONS // 50,
        M=jacobi,
    )
    residual = float(np.linalg.norm(product(quasi) - shares) / np.linalg.norm(shares))
    if not residual <= tolerance:
        remedy = "use method='direct', a larger tolerance or a better read-out"
        raise ConvergenceError("read-out correction by GMRES", residual, tolerance, remedy)
    return np.asarray(quasi, dtype=np.float64)


def _right(strings: Words, n_bits: int, confusion: Reals) -> Reals:
    """Return the probability to read each string right, shape (n_strings,)."""
    from cudaq_target.kernels.reference.layout import unpack_bits  # noqa: PLC0415 - host alone

    states = unpack_bits(strings, n_bits)
    right: Reals = confusion[np.arange(n_bits), states, states].prod(axis=1)
    return right


def _check_fidelities(confusion: Reals) -> Reals:
    never = np.flatnonzero((confusion[:, [0, 1], [0, 1]] == 0.0).any(axis=1))
    if len(never):
        found = f"of qubit {never[0]} is {confusion[never[0]].tolist()}"
        expected = "it never reads the state that the qubit is in; exchange its outcomes"
        raise KernelInputError("confusion", found, expected)
    return confusion


def _check_counts(counts: ArrayLike, strings: Words) -> Counts:
    host = counts.get() if is_on_device(counts) else counts  # type: ignore[union-attr]
    seen = host_array(host, "counts")
    if seen.dtype.kind not in "iu" or seen.shape != (len(strings),):
        found = f"has dtype {seen.dtype} and shape {seen.shape}"
        raise KernelInputError("counts", found, f"give {len(strings)} integers")
    if (seen < 0).any() or not seen.any():
        found = f"sum to {int(seen.sum())}, the least is {int(seen.min())}"
        raise KernelInputError("counts", found, "give counts >= 0, not all 0")
    if len(np.unique(strings, axis=0)) != len(strings):
        expected = "statistics.histogram gives each once"
        raise KernelInputError("strings", "hold a bit string twice", expected)
    return seen.astype(np.int64)
