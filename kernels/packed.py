"""The form in which shots travel: packed bits, and the checks that every kernel makes first.

Shots are `uint64[n_shots, ceil(n_bits / 64)]`, C-contiguous; bit k of a shot is bit k % 64 of its
word k // 64, least significant first, and is the outcome of qubit k. Bits beyond `n_bits` are 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.backends import is_on_device
from cudaq_target.kernels.errors import KernelInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORD_BITS = 64


def word_count(n_bits: int) -> int:
    """Return how many words hold `n_bits` bits.

    >>> word_count(65)
    2
    """
    return (n_bits + WORD_BITS - 1) // WORD_BITS


def check_bit_count(n_bits: int, *, at_least: int = 0) -> None:
    """Refuse a number of bits below `at_least`.

    Raises:
        KernelInputError: See above.
    """
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
    dtype = getattr(shots, "dtype", None)
    if dtype != np.uint64:
        found = f"is a {type(shots).__name__}" if dtype is None else f"has dtype {dtype}"
        raise KernelInputError(name, found, "packed shots are uint64; pack_bits makes them")
    n_words = word_count(n_bits)
    if shots.ndim != 2 or shots.shape[1] != n_words:
        expected = f"{n_bits} bits need (n_shots, {n_words})"
        raise KernelInputError(name, f"has shape {shots.shape}", expected)
    if shots.shape[0] == 0 and not allow_empty:
        raise KernelInputError(name, "holds no shots", "this kernel needs at least one")
    if not shots.flags.c_contiguous:
        expected = "pass numpy.ascontiguousarray(...) or cupy.ascontiguousarray(...) of it"
        raise KernelInputError(name, f"has strides {shots.strides}", expected)
    _check_stray_bits(shots, n_bits, name)


def _check_stray_bits(shots: NDArray[np.uint64], n_bits: int, name: str) -> None:
    used = n_bits % WORD_BITS
    if used == 0 or shots.shape[0] == 0:
        return
    stray = np.uint64(2**WORD_BITS - (1 << used))
    if is_on_device(shots):
        import cupy  # noqa: PLC0415 - the array is one of its own

        bad = cupy.asnumpy(cupy.flatnonzero(shots[:, -1] & stray)[:1])
    else:
        last = shots[:, -1]
        bad = np.flatnonzero(last & stray)[:1] if np.bitwise_or.reduce(last) & stray else []
    if len(bad):
        found = f"row {int(bad[0])} has a bit set beyond n_bits = {n_bits}"
        raise KernelInputError(name, found, "clear the unused bits of the last word")
