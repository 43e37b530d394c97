"""The form in which shots travel: packed bits, and the checks that every kernel makes first.

Shots are `uint64[n_shots, ceil(n_bits / 64)]`, C-contiguous; bit k of a shot is bit k % 64 of its
word k // 64, least significant first, and is the outcome of qubit k. Bits beyond `n_bits` are 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.arguments import check_integer, host_array
from cudaq_target.kernels.backends import is_on_device
from cudaq_target.kernels.errors import KernelInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WORD_BITS = 64
_CLEAR = "clear the unused bits of the last word"


def word_count(n_bits: int) -> int:
    """Return how many words hold `n_bits` bits.

    >>> word_count(65)
    2
    """
    return (n_bits + WORD_BITS - 1) // WORD_BITS


def check_bit_count(n_bits: int, *, at_least: int = 0) -> None:
    """Refuse a number of bits below `at_least`, and what is no integer.

    Raises:
        KernelInputError: See above.
    """
    if not isinstance(n_bits, int | np.integer):
        raise KernelInputError("n_bits", f"is a {type(n_bits).__name__}", "give an integer")
    if n_bits < at_least:
        raise KernelInputError("n_bits", f"is {n_bits}", f"this kernel needs at least {at_least}")


def check_shots(
    shots: NDArray[np.uint64], n_bits: int, *, name: str = "shots", allow_empty: bool = False
) -> None:
    """Refuse what is not packed shots.

    Args:
        shots: On the host or on a GPU, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        name: Of the argument, for the message.
        allow_empty: Whether no shots, and shots of no bits, are fine (layout kernels).

    Raises:
        KernelInputError: Wrong dtype, shape, strides, or a set bit beyond `n_bits`; no shots or no
            bits unless `allow_empty`.
    """
    check_bit_count(n_bits, at_least=0 if allow_empty else 1)
    remedy = "packed shots are uint64; pack_bits makes them of uint8[n_shots, n_bits]"
    _check_words(shots, n_bits, name, remedy, "bits", "n_shots")
    if shots.shape[0] == 0 and not allow_empty:
        raise KernelInputError(name, "holds no shots", "this kernel needs at least one")
    _check_stray_bits(shots, n_bits, name, "n_bits", _CLEAR)


def check_terms(masks: NDArray[np.uint64], n_bits: int, *, allow_empty: bool = True) -> None:
    """Refuse what is not packed terms, each a row that names its qubits.

    Args:
        masks: On the host or on a GPU, shape (n_terms, ceil(n_bits / 64)).
        n_bits: Bits per shot.
        allow_empty: Whether no terms are fine.

    Raises:
        KernelInputError: Wrong dtype, shape, strides, or a qubit beyond `n_bits`; no terms unless
            `allow_empty`.
    """
    check_bit_count(n_bits, at_least=0 if allow_empty else 1)
    remedy = "packed terms are uint64; pack_bits makes them of uint8[n_terms, n_bits]"
    _check_words(masks, n_bits, "masks", remedy, "bits", "n_terms")
    if masks.shape[0] == 0 and not allow_empty:
        raise KernelInputError("masks", "holds no terms", "give at least one")
    _check_stray_bits(masks, n_bits, "masks", "n_bits", "a term names qubits of the shots only")


def check_planes(planes: NDArray[np.uint64], n_shots: int, *, name: str = "planes") -> None:
    """Refuse what is not bit planes; no planes, and planes of no shots, are fine.

    Args:
        planes: On the host or on a GPU, shape (n_bits, ceil(n_shots / 64)).
        n_shots: Shots per plane.
        name: Of the argument, for the message.

    Raises:
        KernelInputError: Wrong dtype, shape, strides, a set bit beyond `n_shots`, or that is no
            number of shots.
    """
    check_integer(n_shots, "n_shots")
    remedy = "planes are uint64; transpose_bits makes them"
    _check_words(planes, n_shots, name, remedy, "shots", "n_bits")
    _check_stray_bits(planes, n_shots, name, "n_shots", _CLEAR)


def check_qubits(
    qubits: Sequence[int] | NDArray[np.integer], n_bits: int, *, name: str = "qubits"
) -> NDArray[np.int64]:
    """Refuse qubits that a shot does not have, and repeated ones.

    Args:
        qubits: On the host, shape (n_qubits,); may be empty.
        n_bits: Bits per shot.
        name: Of the argument, for the message.

    Returns:
        The qubits, shape (n_qubits,).

    Raises:
        KernelInputError: See above.

    >>> check_qubits([2, 0], 3)
    array([2, 0])
    """
    found = host_array(qubits, name)
    if found.size == 0 and found.ndim == 1:
        return np.zeros(0, dtype=np.int64)
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        what = f"is an array of {found.dtype} with shape {found.shape}"
        raise KernelInputError(name, what, "give a sequence of integers")
    if int(found.min()) < 0 or int(found.max()) >= n_bits:
        wrong = next(int(qubit) for qubit in found if not 0 <= qubit < n_bits)
        expected = f"shots of {n_bits} bits have qubits 0 to {n_bits - 1}"
        raise KernelInputError(name, f"names qubit {wrong}", expected)
    unique, counts = np.unique(found, return_counts=True)
    if len(unique) != len(found):
        twice = int(unique[counts > 1][0])
        raise KernelInputError(name, f"names qubit {twice} twice", "name each qubit once")
    return found.astype(np.int64)


def _check_words(
    words: NDArray[np.uint64], n_bits: int, name: str, remedy: str, what: str, rows: str
) -> None:
    dtype = getattr(words, "dtype", None)
    if dtype != np.uint64:
        found = f"is a {type(words).__name__}" if dtype is None else f"has dtype {dtype}"
        whole = hasattr(words, "packed") and hasattr(words, "n_bits")
        raise KernelInputError(name, found, "pass its .packed and .n_bits" if whole else remedy)
    n_words = word_count(n_bits)
    if words.ndim != 2 or words.shape[1] != n_words:
        expected = f"{n_bits} {what} need ({rows}, {n_words})"
        raise KernelInputError(name, f"has shape {words.shape}", expected)
    if not words.flags.c_contiguous:
        expected = "pass numpy.ascontiguousarray(...) or cupy.ascontiguousarray(...) of it"
        raise KernelInputError(name, f"has strides {words.strides}", expected)


def _check_stray_bits(
    words: NDArray[np.uint64], n_bits: int, name: str, limit: str, remedy: str
) -> None:
    used = int(n_bits) % WORD_BITS
    if used == 0 or words.shape[0] == 0:
        return
    stray = np.uint64(2**WORD_BITS - (1 << used))
    if is_on_device(words):
        import cupy  # noqa: PLC0415 - the array is one of its own

        bad = cupy.asnumpy(cupy.flatnonzero(words[:, -1] & stray)[:1])
    else:
        last = words[:, -1]
        bad = np.flatnonzero(last & stray)[:1] if np.bitwise_or.reduce(last) & stray else []
    if len(bad):
        found = f"row {int(bad[0])} has a bit set beyond {limit} = {n_bits}"
        raise KernelInputError(name, found, remedy)
