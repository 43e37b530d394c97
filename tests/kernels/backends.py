"""What the tests of all kernels share: the back ends, shapes at the edges, shots of every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import strategies as st

from cudaq_target.kernels.backends import gpu_missing
from cudaq_target.kernels.packed import word_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GPU_MARKS = (pytest.mark.gpu, pytest.mark.skipif(bool(gpu_missing()), reason=gpu_missing()))
BACKENDS = ("numpy", "cpu", pytest.param("gpu", marks=_GPU_MARKS))
"""For `@pytest.mark.parametrize("backend", BACKENDS)`."""

COMPILED = BACKENDS[1:]
"""Those that are held to the results of "numpy"."""

EDGE_BITS = (0, 1, 63, 64, 65, 1000)


def bit_counts(at_least: int = 0) -> st.SearchStrategy[int]:
    """Numbers of bits, with those at which words end."""
    edges = [n_bits for n_bits in EDGE_BITS if n_bits >= at_least]
    return st.sampled_from(edges) | st.integers(at_least, 200)


def shot_counts(at_least: int = 0) -> st.SearchStrategy[int]:
    """Numbers of shots, with those at which blocks end."""
    edges = [n_shots for n_shots in (0, 1, 7, 8, 63, 64, 65, 128, 500) if n_shots >= at_least]
    return st.sampled_from(edges) | st.integers(at_least, 300)


def seeds() -> st.SearchStrategy[int]:
    return st.integers(0, 2**32 - 1)


def pack(bits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Pack zeros and ones, shape (n_shots, n_bits), independently of the kernels."""
    n_shots, n_bits = bits.shape
    padded = np.zeros((n_shots, 64 * word_count(n_bits)), dtype=np.uint8)
    padded[:, :n_bits] = bits
    packed = np.packbits(padded, axis=1, bitorder="little").view("<u8")
    return packed.reshape(n_shots, word_count(n_bits)).astype(np.uint64)


def random_bits(rng: np.random.Generator, n_shots: int, n_bits: int) -> NDArray[np.uint8]:
    """Zeros and ones, shape (n_shots, n_bits); each bit has its own probability, 0 and 1 too."""
    share = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], size=n_bits)
    return (rng.random((n_shots, n_bits)) < share).astype(np.uint8)


def random_shots(rng: np.random.Generator, n_shots: int, n_bits: int) -> NDArray[np.uint64]:
    """Packed shots, shape (n_shots, ceil(n_bits / 64))."""
    return pack(random_bits(rng, n_shots, n_bits))


BAD_SHOTS = {
    "dtype": (np.zeros((2, 1), dtype=np.int64), 3, "shots has dtype int64"),
    "not an array": ([[1]], 3, "shots is a list"),
    "one axis": (np.zeros(2, dtype=np.uint64), 3, "has shape \\(2,\\)"),
    "too few words": (np.zeros((2, 1), dtype=np.uint64), 65, "65 bits need \\(n_shots, 2\\)"),
    "too many words": (np.zeros((2, 2), dtype=np.uint64), 64, "64 bits need \\(n_shots, 1\\)"),
    "strided": (np.zeros((4, 2), dtype=np.uint64)[::2], 70, "has strides"),
    "Fortran order": (np.asfortranarray(np.zeros((2, 2), dtype=np.uint64)), 70, "has strides"),
    "stray bits": (np.array([[1], [8]], dtype=np.uint64), 3, "row 1 has a bit set beyond n_bits"),
    "negative bits": (np.zeros((1, 0), dtype=np.uint64), -1, "n_bits is -1"),
}
"""Packed shots that every kernel refuses: shots, n_bits, part of the message."""

NO_SHOTS = {
    "no shots": (np.zeros((0, 1), dtype=np.uint64), 3, "shots holds no shots"),
    "no qubits": (np.zeros((2, 0), dtype=np.uint64), 0, "n_bits is 0"),
}
"""What only the layout kernels take."""


def bad_shots(*, allow_empty: bool = False) -> list[object]:
    """Rows (shots, n_bits, match) for `@pytest.mark.parametrize`."""
    table = BAD_SHOTS if allow_empty else BAD_SHOTS | NO_SHOTS
    return [pytest.param(*row, id=name) for name, row in table.items()]
