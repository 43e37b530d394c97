"""The checks of arguments that are not packed shots: numbers, pairs of qubits, counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.kernels.backends import is_on_device
from cudaq_target.kernels.errors import KernelInputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Reals = NDArray[np.float64]


def host_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """Take an array, or what makes one, on the host.

    Args:
        values: Array, number or nested sequences.
        name: Of the argument, for the message.

    Raises:
        KernelInputError: It lies on a GPU, or its rows have different lengths.

    >>> host_array([(0, 1), (1, 2)], "edges").shape
    (2, 2)
    """
    if is_on_device(values):
        raise KernelInputError(name, "lies on the GPU", "bring it to the host: cupy.asnumpy")
    try:
        return np.asarray(values)
    except ValueError:
        expected = "all rows need one length"
        raise KernelInputError(name, "makes no array", expected) from None


def check_reals(numbers: ArrayLike, shape: tuple[int, ...], name: str) -> Reals:
    """Refuse numbers that are not real and finite, or of another shape.

    Args:
        numbers: Array or sequence, in any memory order.
        shape: What it must have.
        name: Of the argument, for the message.

    Returns:
        The numbers, contiguous.

    Raises:
        KernelInputError: See above.
    """
    found = host_array(numbers, name)
    if found.shape == (0,) and 0 in shape:
        return np.zeros(shape)
    if found.dtype.kind not in "fiu":
        raise KernelInputError(name, f"has dtype {found.dtype}", "give real numbers")
    if found.shape != shape:
        raise KernelInputError(name, f"has shape {found.shape}", f"expected {shape}")
    real = np.ascontiguousarray(found, dtype=np.float64).reshape(shape)
    if not np.isfinite(real).all():
        worst = real[~np.isfinite(real)].flat[0]
        raise KernelInputError(name, f"holds {worst}", "all of them must be finite")
    return real


def check_vector(numbers: ArrayLike, name: str) -> Reals:
    """Refuse what is no row of real and finite numbers; none are fine.

    Returns:
        The numbers, shape (n,).

    Raises:
        KernelInputError: See above.
    """
    found = host_array(numbers, name)
    if found.ndim != 1:
        raise KernelInputError(name, f"has shape {found.shape}", "expected (n,)")
    return check_reals(found, found.shape, name)


def check_number(number: float, name: str) -> float:
    """Refuse what is no real and finite number.

    Raises:
        KernelInputError: See above.
    """
    return float(check_reals(number, (), name))


def check_integer(number: int, name: str, *, at_least: int = 0) -> int:
    """Refuse what is no integer, or is too small.

    Raises:
        KernelInputError: See above.

    >>> check_integer(np.uint8(3), "n_shots")
    3
    """
    if not isinstance(number, int | np.integer):
        raise KernelInputError(name, f"is a {type(number).__name__}", "give an integer")
    if number < at_least:
        raise KernelInputError(name, f"is {number}", f"use {at_least} or more")
    return int(number)


def check_ones(n_ones: int, n_values: int, name: str) -> None:
    """Refuse counts of ones among values that no values can have.

    Args:
        n_ones: How often 1 came.
        n_values: Out of how many values.
        name: What the values are, for the message.

    Raises:
        KernelInputError: See above.
    """
    check_integer(n_values, f"n_{name}")
    if check_integer(n_ones, "n_ones") > n_values:
        found = f"is {n_ones} of {n_values} {name}"
        raise KernelInputError("n_ones", found, f"use 0 <= n_ones <= n_{name}")


def check_pairs(pairs: ArrayLike, n_bits: int, name: str) -> NDArray[np.int64]:
    """Refuse pairs with a missing qubit, or of a qubit with itself.

    Args:
        pairs: Integers, shape (n_pairs, 2); an empty sequence is fine.
        n_bits: Qubits that there are.
        name: Of the argument, for the message.

    Returns:
        The pairs, shape (n_pairs, 2).

    Raises:
        KernelInputError: See above.
    """
    found = host_array(pairs, name)
    if found.shape in ((0,), (0, 2)):
        return np.zeros((0, 2), dtype=np.int64)
    if found.ndim != 2 or found.shape[1] != 2 or found.dtype.kind not in "iu":
        what = f"is an array of {found.dtype} with shape {found.shape}"
        raise KernelInputError(name, what, "give integers of shape (n, 2)")
    outside = np.flatnonzero(((found < 0) | (found >= n_bits)).any(axis=1))
    if len(outside):
        wrong = tuple(found[outside[0]].tolist())
        expected = f"shots of {n_bits} bits have qubits 0 to {n_bits - 1}"
        raise KernelInputError(name, f"hold {wrong}", expected)
    equal = np.flatnonzero(found[:, 0] == found[:, 1])
    if len(equal):
        wrong = tuple(found[equal[0]].tolist())
        raise KernelInputError(name, f"hold {wrong}", "a pair joins two different qubits")
    return np.ascontiguousarray(found, dtype=np.int64)
