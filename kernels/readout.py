"""Read-out errors: measure them, and take them out of counts, probabilities and expectations.

Errors of different qubits are independent of one another here (a tensor product). `confusion[k]`
is the 2 × 2 matrix of qubit k: `confusion[k, read, prepared]` is the probability to read `read` of
a qubit in state `prepared`, so that columns sum to 1. Corrected results are unbiased; their spread
grows by `readout_overhead`, and single quasi-probabilities may be negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.arguments import check_number, check_reals, host_array
from cudaq_target.kernels.backends import Backend, implementation
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.intervals import check_confidence
from cudaq_target.kernels.observables import check_masks
from cudaq_target.kernels.packed import check_bit_count, check_shots
from cudaq_target.kernels.statistics import occupation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]
    Reals = NDArray[np.float64]

SMALLEST_DETERMINANT = 1e-6
"""Of a confusion matrix; below it, correction would amplify noise a million times."""

MAX_QUBITS_OF_A_VECTOR = 30


@dataclass(frozen=True, slots=True)
class ReadoutCalibration:
    """What calibration shots say about the read-out of each qubit.

    Attributes:
        ones_of_zero: Ones read while the qubit was prepared in 0, shape (n_bits,).
        n_zero: Shots with all qubits prepared in 0.
        ones_of_one: Ones read while it was prepared in 1, shape (n_bits,).
        n_one: Shots with all qubits prepared in 1.
    """

    ones_of_zero: NDArray[np.int64]
    n_zero: int
    ones_of_one: NDArray[np.int64]
    n_one: int

    @property
    def confusion(self) -> NDArray[np.float64]:
        """The observed shares, shape (n_bits, 2, 2); the first index after the qubit is read."""
        ones = np.stack([self.ones_of_zero / self.n_zero, self.ones_of_one / self.n_one], axis=1)
        return np.stack([1.0 - ones, ones], axis=1)

    def intervals(self, confidence: float = 0.95) -> tuple[Reals, Reals]:
        """Bound the probability of each error, exactly (Clopper and Pearson).

        C. Clopper and E. Pearson, Biometrika 26, 404 (1934): quantiles of beta distributions. Each
        interval holds at `confidence` on its own.

        Args:
            confidence: In (0, 1).

        Returns:
            Lower and upper bounds of P(1 read | 0) and P(0 read | 1), each of shape (n_bits, 2).

        Raises:
            KernelInputError: The level makes no sense.
        """
        from scipy.special import betaincinv  # noqa: PLC0415 - takes a while to load

        check_confidence(confidence)
        wrong = np.stack([self.ones_of_zero, self.n_one - self.ones_of_one], axis=1)
        right = np.array([self.n_zero, self.n_one]) - wrong
        tail = 0.5 * (1.0 - confidence)
        with np.errstate(invalid="ignore"):
            low = np.where(wrong > 0, betaincinv(np.maximum(wrong, 1), right + 1, tail), 0.0)
            high = np.where(right > 0, betaincinv(wrong + 1, np.maximum(right, 1), 1 - tail), 1.0)
        return low, high


def calibrate_readout(
    zeros: Words, ones: Words, n_bits: int, *, backend: Backend = "auto"
) -> ReadoutCalibration:
    """Measure read-out errors from shots of known states.

    Args:
        zeros: Packed shots of all qubits prepared in 0, shape (n_shots, ceil(n_bits / 64)).
        ones: Packed shots of all qubits prepared in 1.
        n_bits: Qubits per shot.
        backend: Where to count.

    Returns:
        The calibration. Errors of the preparation count as errors of the read-out.

    Raises:
        KernelInputError: No shots, or not packed shots of `n_bits` bits.
        BackendUnavailableError: The back end does not run here.

    >>> zeros, ones = np.array([[0b00], [0b01]], np.uint64), np.array([[0b11]], np.uint64)
    >>> calibrate_readout(zeros, ones, 2).confusion[0].tolist()
    [[0.5, 0.0], [0.5, 1.0]]
    """
    check_shots(zeros, n_bits, name="zeros")
    check_shots(ones, n_bits, name="ones")
    counts = [_on_host(occupation(shots, n_bits, backend=backend)) for shots in (zeros, ones)]
    return ReadoutCalibration(counts[0], len(zeros), counts[1], len(ones))


def check_confusion(confusion: ArrayLike, n_bits: int) -> Reals:
    """Refuse what are not confusion matrices that can be inverted.

    Returns:
        The matrices, shape (n_bits, 2, 2).

    Raises:
        KernelInputError: Another shape, no probabilities, columns that do not sum to 1, or a
            determinant below 1e-6 in size: the qubit reads the same in both states.
    """
    if n_bits < 1:
        raise KernelInputError("confusion", "is of no qubits", "give one matrix per qubit")
    real = check_reals(confusion, (n_bits, 2, 2), "confusion")
    outside = np.flatnonzero(((real < 0.0) | (real > 1.0)).any(axis=(1, 2)))
    if len(outside):
        found = f"of qubit {outside[0]} is {real[outside[0]].tolist()}"
        raise KernelInputError("confusion", found, "probabilities lie between 0 and 1")
    wrong = np.flatnonzero((np.abs(real.sum(axis=1) - 1.0) > 1e-9).any(axis=1))
    if len(wrong):
        found = f"of qubit {wrong[0]} is {real[wrong[0]].tolist()}"
        expected = "its columns [read, prepared] sum to 1; a matrix of rows needs a transpose"
        raise KernelInputError("confusion", found, expected)
    singular = np.flatnonzero(np.abs(_determinants(real)) < SMALLEST_DETERMINANT)
    if len(singular):
        found = f"of qubit {singular[0]} is singular, {real[singular[0]].tolist()}"
        expected = "the qubit reads alike in both states; leave it out or calibrate it again"
        raise KernelInputError("confusion", found, expected)
    return real


def readout_overhead(confusion: ArrayLike) -> float:
    """Return by how much correction widens errors: the condition number in the 1-norm.

    The product over qubits of the largest column sum of |inverse|; the matrices themselves have
    1-norm 1. A corrected expectation needs up to its square as many shots for the same error
    (Nation et al., arXiv:2108.12518, the mitigation overhead).

    Args:
        confusion: Shape (n_bits, 2, 2).

    Returns:
        1 without errors, else more.

    Raises:
        KernelInputError: See `check_confusion`.

    >>> readout_overhead([[[0.9, 0.1], [0.1, 0.9]]])
    1.25
    """
    n_bits = _qubits_of(confusion)
    inverses = readout_inverses(check_confusion(confusion, n_bits))
    return float(np.prod(np.abs(inverses).sum(axis=1).max(axis=1)))


def correct_probabilities(
    probabilities: ArrayLike, confusion: ArrayLike, *, backend: Backend = "auto"
) -> Reals:
    """Invert read-out errors on counts or probabilities of all bit strings.

    One 2 × 2 inverse per qubit, a butterfly of n_bits 2^n_bits steps.

    Args:
        probabilities: Of each bit string, bit k of the index being qubit k, shape (2^n_bits,).
        confusion: Shape (n_bits, 2, 2).
        backend: Where to compute.

    Returns:
        Quasi-probabilities of the same sum, shape (2^n_bits,); back ends agree to
        n_bits * 2^-50 * readout_overhead times the sum of |probabilities|.

    Raises:
        KernelInputError: A number is not finite, shapes do not fit, or see `check_confusion`.
        BackendUnavailableError: The back end does not run here.

    >>> correct_probabilities([0.9, 0.1], [[[0.9, 0.1], [0.1, 0.9]]]).round(12) + 0.0
    array([1., 0.])
    """
    n_bits = _qubits_of(confusion)
    if not 1 <= n_bits <= MAX_QUBITS_OF_A_VECTOR:
        expected = f"use 1 to {MAX_QUBITS_OF_A_VECTOR}, or correct_counts for more"
        raise KernelInputError("confusion", f"is of {n_bits} qubits", expected)
    inverses = readout_inverses(check_confusion(confusion, n_bits))
    vector = check_reals(probabilities, (2**n_bits,), "probabilities")
    kernels = implementation("readout", backend)
    corrected: Reals = kernels.correct_probabilities(vector, inverses)
    return corrected


def corrected_z_values(
    shots: Words,
    n_bits: int,
    masks: Words,
    weights: ArrayLike,
    confusion: ArrayLike,
    constant: float = 0.0,
    *,
    backend: Backend = "auto",
) -> Reals:
    """Compute per-shot values whose mean is free of read-out errors.

    Like `observables.pauli_z_values` with each Z replaced by (Z - b) / a, where for the errors
    e0 = P(1 read | 0) and e1 = P(0 read | 1) of a qubit b = e1 - e0 and a = 1 - e0 - e1: its mean
    is that of Z. For equal errors b = 0, and the term is divided by the product of its a.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Qubits per shot.
        masks: The qubits of each term, shape (n_terms, ceil(n_bits / 64)).
        weights: Of each term, any unit, shape (n_terms,).
        confusion: Shape (n_bits, 2, 2).
        constant: In that unit.
        backend: Where to compute.

    Returns:
        Values, shape (n_shots,), within `corrected_z_bounds`; back ends agree to 2^-50 times the
        number of factors and terms times the largest value possible.

    Raises:
        KernelInputError: See `observables.pauli_z_values` and `check_confusion`.
        BackendUnavailableError: The back end does not run here.
    """
    check_shots(shots, n_bits)
    check_masks(masks, n_bits)
    real = check_reals(weights, (len(masks),), "weights")
    start = check_number(constant, "constant")
    factors = _z_factors(check_confusion(confusion, n_bits))
    kernels = implementation("readout", backend, shots)
    values: Reals = kernels.corrected_z_values(shots, n_bits, masks, real, start, factors)
    return values


def corrected_z_bounds(
    n_bits: int,
    masks: Words,
    weights: ArrayLike,
    confusion: ArrayLike,
    constant: float = 0.0,
) -> tuple[float, float]:
    """Bound the values that `corrected_z_values` gives to any shot.

    Args:
        n_bits: Qubits per shot.
        masks: Shape (n_terms, ceil(n_bits / 64)).
        weights: Shape (n_terms,).
        confusion: Shape (n_bits, 2, 2).
        constant: In the unit of the weights.

    Returns:
        Lower and upper bound, not always reached.

    Raises:
        KernelInputError: See `corrected_z_values`.
    """
    from cudaq_target.kernels.reference.layout import unpack_bits  # noqa: PLC0415 - host alone

    check_bit_count(n_bits, at_least=1)
    check_masks(masks, n_bits)
    real = check_reals(weights, (len(masks),), "weights")
    largest = np.abs(_z_factors(check_confusion(confusion, n_bits))).max(axis=1)
    products = np.where(unpack_bits(masks, n_bits), largest, 1.0).prod(axis=1)
    start = check_number(constant, "constant")
    reach = float(np.abs(real) @ products)
    return start - reach, start + reach


def corrected_z_expectation(
    shots: Words,
    n_bits: int,
    masks: Words,
    confusion: ArrayLike,
    *,
    backend: Backend = "auto",
) -> tuple[Reals, Reals]:
    """Average each product of Z, free of read-out errors.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Qubits per shot.
        masks: The qubits of each term, shape (n_terms, ceil(n_bits / 64)).
        confusion: Shape (n_bits, 2, 2).
        backend: Where to compute.

    Returns:
        Means and their standard errors (of the shots, not of the calibration), shape (n_terms,)
        each. Back ends agree to the bound of `corrected_z_values`, standard errors to its root:
        2^-24 in place of 2^-50.

    Raises:
        KernelInputError: See `corrected_z_values`; a standard error needs two shots.
        BackendUnavailableError: The back end does not run here.
    """
    check_shots(shots, n_bits)
    check_masks(masks, n_bits)
    if len(shots) < 2:
        raise KernelInputError("shots", "hold one shot", "a standard error needs two or more")
    factors = _z_factors(check_confusion(confusion, n_bits))
    kernels = implementation("readout", backend, shots)
    sums, squares = kernels.corrected_z_moments(shots, n_bits, masks, factors)
    means = sums / len(shots)
    variances = (squares - len(shots) * means**2).clip(0.0) / (len(shots) - 1)
    return means, (variances / len(shots)) ** 0.5


def _qubits_of(confusion: ArrayLike) -> int:
    return len(np.atleast_1d(host_array(confusion, "confusion")))


def _determinants(confusion: Reals) -> Reals:
    determinants: Reals = (
        confusion[:, 0, 0] * confusion[:, 1, 1] - confusion[:, 0, 1] * confusion[:, 1, 0]
    )
    return determinants


def readout_inverses(confusion: Reals) -> Reals:
    """Invert 2 × 2 matrices, shape (n_bits, 2, 2)."""
    adjugates = confusion[:, ::-1, ::-1].transpose(0, 2, 1) * [[1.0, -1.0], [-1.0, 1.0]]
    return np.ascontiguousarray(adjugates / _determinants(confusion)[:, None, None])


def _z_factors(confusion: Reals) -> Reals:
    """Return (Z - b) / a of each qubit for both outcomes, shape (n_bits, 2)."""
    bias = confusion[:, 0, 1] - confusion[:, 1, 0]
    scale = _determinants(confusion)
    return np.stack([(1.0 - bias) / scale, (-1.0 - bias) / scale], axis=1)


def _on_host(counts: Counts) -> Counts:
    return counts.get() if hasattr(counts, "get") else counts
