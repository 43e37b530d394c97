"""State vectors on a GPU; `kernels.statevector` says what each function does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.backends import is_on_device
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.gpu import device

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = NDArray[np.complexfloating]
    Matrix = NDArray[np.complexfloating]
    Numbers = NDArray[np.int64]
    Reals = NDArray[np.float64]

_SUFFIX = {np.dtype(np.complex64): "c64", np.dtype(np.complex128): "c128"}
_IN_PLACE_SIZES = (2, 4, 8)

# Of statevector.cu.
_TILE_BITS = 11
_LOW_BITS = 4
"""Index bits that every tile holds: runs of 128 or 256 bytes in device memory."""


def _suffix(state: State) -> str:
    if state.dtype not in _SUFFIX or state.ndim != 1 or not state.flags.c_contiguous:
        found = f"is {state.dtype}{state.shape}"
        expected = "contiguous complex64 or complex128 of one axis"
        raise KernelInputError("state", found, expected)
    return _SUFFIX[state.dtype]


def _launch(kernel: str, state: State, n_threads: int, *arguments: object) -> None:
    n_blocks = device.blocks_for(n_threads)
    device.launch("statevector", f"{kernel}_{_suffix(state)}", n_blocks, arguments)


def apply_block(
    state: State, matrix: Matrix, segments: Numbers, in_offsets: Numbers, out_offsets: Numbers
) -> State:
    """Apply a dense operator to a few sites.

    Args:
        state: Amplitudes; overwritten where no site changes its number of levels.
        matrix: Shape (n_out, n_in).
        segments: As `statevector_layout.block_layout` gives them.
        in_offsets: The same.
        out_offsets: The same; the very same array where the levels stay.

    Returns:
        The new state, where the old one lay.
    """
    xp = device.arrays()
    here = xp.asarray(state)
    stays = in_offsets is out_offsets
    n_rows = int(segments[:, 0].prod())
    operator = xp.asarray(np.ascontiguousarray(matrix, dtype=state.dtype))
    layout = (xp.asarray(segments), len(segments), n_rows)
    offsets = xp.asarray(in_offsets)
    n_out, n_in = matrix.shape
    if stays and n_in in _IN_PLACE_SIZES:
        _launch(f"block{n_in}", here, n_rows, here, operator, offsets, *layout)
        return _came_home(state, here)
    out: State = xp.empty(n_rows * n_out, dtype=state.dtype)
    ends = (offsets, xp.asarray(out_offsets))
    _launch("block", here, out.size, out, here, operator, n_out, n_in, *ends, *layout)
    if stays:
        here[:] = out
        return _came_home(state, here)
    return out if is_on_device(state) else _on_host(out)


def apply_diagonal(state: State, diagonal: Matrix, strides: Numbers, levels: Numbers) -> State:
    """Multiply the amplitudes by a factor per joint level of a few sites, in place.

    Args:
        state: Amplitudes.
        diagonal: Factors.
        strides: Of each site's digit in the index.
        levels: Of each site.
    """
    xp = device.arrays()
    here = xp.asarray(state)
    factors = xp.asarray(np.ascontiguousarray(diagonal, dtype=state.dtype))
    sites = (xp.asarray(strides), xp.asarray(levels), len(levels))
    _launch("diagonal", here, here.size, here, here.size, factors, *sites)
    return _came_home(state, here)


def rotate_qubits(state: State, rotations: Matrix) -> State:
    """Apply one 2x2 matrix per qubit, in place, several qubits per pass over the state.

    Args:
        state: Amplitudes, shape (2^n_qubits,).
        rotations: Shape (n_qubits, 2, 2), on the host; qubit 0 is the highest index bit.
    """
    n_bits = len(rotations)
    if state.size != 1 << n_bits:
        found = f"has {state.size} amplitudes"
        raise KernelInputError("state", found, f"{n_bits} qubits have {1 << n_bits}")
    xp = device.arrays()
    here = xp.asarray(state)
    by_bit = np.ascontiguousarray(rotations[::-1], dtype=state.dtype)
    used = sum(1 << b for b in range(n_bits) if not np.array_equal(by_bit[b], np.eye(2)))
    matrices = xp.asarray(by_bit)
    for low, first, width in rotation_passes(n_bits):
        lowest = 0 if first == low else first
        ours = used & ((1 << (first + width)) - (1 << lowest))
        if ours:
            n_threads = max(1, here.size >> (low + width)) * device.N_THREADS
            _launch("rotate", here, n_threads, here, n_bits, low, first, width, matrices, ours)
    return _came_home(state, here)


def apply_conditional(
    state: State,
    out_size: int,
    stride: int,
    matrices: Matrix,
    patterns: tuple[Numbers, Numbers],
) -> State:
    """Apply to one site the matrix that the pattern of the other sites chooses.

    Args:
        state: Amplitudes.
        out_size: Number of new amplitudes.
        stride: Of the site's digit in the index.
        matrices: Shape (2^n_controls, n_out, n_in).
        patterns: What the sites above and below the site add to the number of the matrix.

    Returns:
        The new state, in new memory, where the old one lay.
    """
    xp = device.arrays()
    here = xp.asarray(state)
    out: State = xp.empty(out_size, dtype=state.dtype)
    chosen = xp.asarray(np.ascontiguousarray(matrices, dtype=state.dtype))
    left, right = (xp.asarray(pattern) for pattern in patterns)
    n_out, n_in = matrices.shape[1:]
    sizes = (n_out, n_in, stride)
    _launch("conditional", here, out_size, out, here, chosen, *sizes, left, right, out_size)
    return out if is_on_device(state) else _on_host(out)


def level_populations(state: State, stride: int, n_levels: int) -> Reals:
    """Sum |amplitude|² per level of one site, on the host, shape (n_levels,)."""
    here = device.arrays().asarray(state)
    n_blocks = device.blocks_for(here.size)
    sums = device.arrays().empty((n_blocks, n_levels), dtype=np.float64)
    _launch("populations", here, here.size, here, here.size, stride, n_levels, sums)
    populations: Reals = device.to_host(sums).sum(axis=0)
    return populations


def probabilities(state: State) -> Reals:
    """Return |amplitude|² of every basis state, where the state lies."""
    _suffix(state)
    here = device.arrays().asarray(state)
    squares: Reals = here.real.astype(np.float64) ** 2
    squares += here.imag.astype(np.float64) ** 2
    return squares if is_on_device(state) else device.to_host(squares)


def bucket_weights(state: State, bucket: int) -> Reals:
    """Sum |amplitude|² of stretches of so many amplitudes, on the host."""
    here = device.arrays().asarray(state)
    weights = device.arrays().empty(-(-here.size // bucket), dtype=np.float64)
    n_threads = len(weights) * device.N_THREADS
    _launch("weights", here, n_threads, here, here.size, bucket, weights)
    sums: Reals = device.to_host(weights)
    return sums


def pauli_sum(state: State, x_mask: int, z_mask: int) -> complex:
    """Sum conj(state[k ^ x_mask]) state[k] (-1)^|k & z_mask| over k."""
    here = device.arrays().asarray(state)
    n_blocks = device.blocks_for(here.size)
    sums = device.arrays().empty((n_blocks, 2), dtype=np.float64)
    _launch("pauli", here, here.size, here, here.size, x_mask, z_mask, sums)
    real, imaginary = device.to_host(sums).sum(axis=0).tolist()
    return complex(real, imaginary)


def to_host(state: State) -> State:
    """Copy some amplitudes to the host."""
    return _on_host(state)


def rotation_passes(n_bits: int) -> list[tuple[int, int, int]]:
    """Divide index bits among passes of at most 2^11 amplitudes per tile.

    Args:
        n_bits: Index bits of the state.

    Returns:
        Per pass: how many lowest bits a tile holds, its first further bit, and how many of those.
        The first pass treats the lowest ones, the others their further ones alone.

    >>> rotation_passes(20)
    [(11, 11, 0), (4, 11, 7), (4, 18, 2)]
    """
    bottom = min(n_bits, _TILE_BITS)
    width = _TILE_BITS - _LOW_BITS
    others = range(bottom, n_bits, width)
    return [(bottom, bottom, 0)] + [(_LOW_BITS, b, min(width, n_bits - b)) for b in others]


def _on_host(array: State) -> State:
    copy: State = device.to_host(array)
    return copy


def _came_home(state: State, here: State) -> State:
    """Return the state that was given, whatever side it lies on, with the new amplitudes."""
    if here is not state and not is_on_device(state):
        state[:] = _on_host(here)
    return state
