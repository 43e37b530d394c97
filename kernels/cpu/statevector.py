"""Compiled loops of `kernels.statevector`; imported only when they are used.

Every kernel splits its index range into `n_tasks` equal pieces and comes in two forms around one
loop: a serial one, which starts no thread pool, and a parallel one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numba import prange

from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.threads import with_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_loop = cast("Callable[[Callable[..., Any]], Callable[..., Any]]", compiled(contract=True))
_parallel = cast("Callable[[Callable[..., Any]], Callable[..., Any]]", compiled(parallel=True))

_TILE = 128
"""Settings of the untouched sites that a general block treats at a time (fits the L1 cache)."""

# Segment s of the untouched sites: segments[s] = (its size, its stride before, its stride after);
# the last one is contiguous and runs in the innermost loop.


@_loop
def _row_offsets(row: int, segments: Array) -> tuple[int, int]:
    base_in = 0
    base_out = 0
    rest = row
    for s in range(segments.shape[0] - 2, -1, -1):
        size = segments[s, 0]
        above = rest // size
        digit = rest - above * size
        base_in += digit * segments[s, 1]
        base_out += digit * segments[s, 2]
        rest = above
    return base_in, base_out


@_loop
def _block2(state: Array, matrix: Array, offsets: Array, segments: Array, lo: int, hi: int) -> None:
    width = segments[-1, 0]
    m00, m01, m10, m11 = matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]
    position = lo
    while position < hi:
        row = position // width
        first = position - row * width
        last = min(width, first + hi - position)
        base = _row_offsets(row, segments)[0]
        for k in range(base + first, base + last):
            i0, i1 = k + offsets[0], k + offsets[1]
            a0, a1 = state[i0], state[i1]
            state[i0] = m00 * a0 + m01 * a1
            state[i1] = m10 * a0 + m11 * a1
        position += last - first


@_loop
def _block4(state: Array, matrix: Array, offsets: Array, segments: Array, lo: int, hi: int) -> None:
    width = segments[-1, 0]
    o0, o1, o2, o3 = offsets[0], offsets[1], offsets[2], offsets[3]
    m = matrix
    position = lo
    while position < hi:
        row = position // width
        first = position - row * width
        last = min(width, first + hi - position)
        base = _row_offsets(row, segments)[0]
        for k in range(base + first, base + last):
            a0, a1, a2, a3 = state[k + o0], state[k + o1], state[k + o2], state[k + o3]
            state[k + o0] = m[0, 0] * a0 + m[0, 1] * a1 + m[0, 2] * a2 + m[0, 3] * a3
            state[k + o1] = m[1, 0] * a0 + m[1, 1] * a1 + m[1, 2] * a2 + m[1, 3] * a3
            state[k + o2] = m[2, 0] * a0 + m[2, 1] * a1 + m[2, 2] * a2 + m[2, 3] * a3
            state[k + o3] = m[3, 0] * a0 + m[3, 1] * a1 + m[3, 2] * a2 + m[3, 3] * a3
        position += last - first


@_loop
def _block_any(
    out: Array,
    state: Array,
    matrix: Array,
    in_offsets: Array,
    out_offsets: Array,
    segments: Array,
    lo: int,
    hi: int,
) -> None:
    width = segments[-1, 0]
    n_out, n_in = matrix.shape
    real, imag = matrix.real.copy(), matrix.imag.copy()
    from_base = np.empty(_TILE, dtype=np.int64)
    to_base = np.empty(_TILE, dtype=np.int64)
    # Real and imaginary parts apart: the loops over a tile then fill whole vector registers.
    x_real, x_imag = np.zeros((n_in, _TILE)), np.zeros((n_in, _TILE))
    y_real, y_imag = np.empty(_TILE), np.empty(_TILE)
    position = lo
    while position < hi:
        count = 0
        while count < _TILE and position < hi:
            row = position // width
            first = position - row * width
            run = min(width - first, _TILE - count, hi - position)
            base_in, base_out = _row_offsets(row, segments)
            for k in range(run):
                from_base[count + k] = base_in + first + k
                to_base[count + k] = base_out + first + k
            count += run
            position += run
        for j in range(n_in):
            offset = in_offsets[j]
            for k in range(count):
                value = state[from_base[k] + offset]
                x_real[j, k] = value.real
                x_imag[j, k] = value.imag
        for i in range(n_out):
            y_real[:] = 0.0
            y_imag[:] = 0.0
            for j in range(n_in):
                a, b = real[i, j], imag[i, j]
                for k in range(_TILE):
                    y_real[k] += a * x_real[j, k] - b * x_imag[j, k]
                    y_imag[k] += a * x_imag[j, k] + b * x_real[j, k]
            offset = out_offsets[i]
            for k in range(count):
                out[to_base[k] + offset] = complex(y_real[k], y_imag[k])


@_loop
def _block_range(
    out: Array,
    state: Array,
    matrix: Array,
    in_offsets: Array,
    out_offsets: Array,
    segments: Array,
    in_place: bool,
    lo: int,
    hi: int,
) -> None:
    if in_place and matrix.shape[0] == 2:
        _block2(state, matrix, in_offsets, segments, lo, hi)
    elif in_place and matrix.shape[0] == 4:
        _block4(state, matrix, in_offsets, segments, lo, hi)
    else:
        _block_any(out, state, matrix, in_offsets, out_offsets, segments, lo, hi)


@_parallel
def _block_parallel(
    out: Array,
    state: Array,
    matrix: Array,
    in_offsets: Array,
    out_offsets: Array,
    segments: Array,
    in_place: bool,
    size: int,
    n_tasks: int,
) -> None:
    for task in prange(n_tasks):
        lo = size * task // n_tasks
        hi = size * (task + 1) // n_tasks
        _block_range(out, state, matrix, in_offsets, out_offsets, segments, in_place, lo, hi)


def block(
    out: Array,
    state: Array,
    matrix: Array,
    in_offsets: Array,
    out_offsets: Array,
    segments: Array,
    n_tasks: int,
    threads: int | None,
) -> None:
    """Apply `matrix` to the joint levels at the offsets, for every setting of the other sites."""
    size = state.size // in_offsets.size
    in_place = out is state
    args = (out, state, matrix, in_offsets, out_offsets, segments, in_place)
    if n_tasks == 1:
        _block_range(*args, 0, size)
    else:
        with_threads(threads, _block_parallel, *args, size, n_tasks)


@_loop
def _diagonal_range(
    state: Array, factors: Array, strides: Array, radix: Array, lo: int, hi: int
) -> None:
    for index in range(lo, hi):
        joint = 0
        for k in range(strides.size):
            joint = joint * radix[k] + (index // strides[k]) % radix[k]
        state[index] *= factors[joint]


@_parallel
def _diagonal_parallel(
    state: Array, factors: Array, strides: Array, radix: Array, n_tasks: int
) -> None:
    size = state.size
    for task in prange(n_tasks):
        lo = size * task // n_tasks
        hi = size * (task + 1) // n_tasks
        _diagonal_range(state, factors, strides, radix, lo, hi)


def diagonal(
    state: Array,
    factors: Array,
    strides: Array,
    radix: Array,
    n_tasks: int,
    threads: int | None,
) -> None:
    """Multiply every amplitude by the factor of its joint level."""
    if n_tasks == 1:
        _diagonal_range(state, factors, strides, radix, 0, state.size)
    else:
        with_threads(threads, _diagonal_parallel, state, factors, strides, radix, n_tasks)


@_loop
def _conditional_range(
    out: Array, state: Array, matrices: Array, left: Array, right: Array, lo: int, hi: int
) -> None:
    n_out, n_in = matrices.shape[1], matrices.shape[2]
    stride = right.size
    for above in range(lo, hi):
        for below in range(stride):
            base_in = above * n_in * stride + below
            base_out = above * n_out * stride + below
            pattern = left[above] + right[below]
            for i in range(n_out):
                total = matrices[pattern, i, 0] * state[base_in]
                for j in range(1, n_in):
                    total += matrices[pattern, i, j] * state[base_in + j * stride]
                out[base_out + i * stride] = total


@_parallel
def _conditional_parallel(
    out: Array, state: Array, matrices: Array, left: Array, right: Array, n_tasks: int
) -> None:
    for task in prange(n_tasks):
        lo = left.size * task // n_tasks
        hi = left.size * (task + 1) // n_tasks
        _conditional_range(out, state, matrices, left, right, lo, hi)


def conditional(
    out: Array,
    state: Array,
    matrices: Array,
    left: Array,
    right: Array,
    n_tasks: int,
    threads: int | None,
) -> None:
    """Apply to one site the matrix of the pattern of the sites to its left and right."""
    args = (out, state, matrices, left, right)
    if n_tasks == 1:
        _conditional_range(*args, 0, left.size)
    else:
        with_threads(threads, _conditional_parallel, *args, n_tasks)


@_loop
def _level_range(state: Array, stride: int, n_levels: int, totals: Array, lo: int, hi: int) -> None:
    for run in range(lo, hi):
        level = run % n_levels
        total = 0.0
        for index in range(run * stride, (run + 1) * stride):
            value = state[index]
            total += value.real * value.real + value.imag * value.imag
        totals[level] += total


@_parallel
def _level_parallel(state: Array, stride: int, n_levels: int, totals: Array, n_tasks: int) -> None:
    n_runs = state.size // stride
    for task in prange(n_tasks):
        lo = n_runs * task // n_tasks
        hi = n_runs * (task + 1) // n_tasks
        _level_range(state, stride, n_levels, totals[task], lo, hi)


def level_populations(
    state: Array, stride: int, n_levels: int, n_tasks: int, threads: int | None
) -> NDArray[np.float64]:
    """Sum |amplitude|² over each level of the site with this stride."""
    totals = np.zeros((n_tasks, n_levels))
    if n_tasks == 1:
        _level_range(state, stride, n_levels, totals[0], 0, state.size // stride)
    else:
        with_threads(threads, _level_parallel, state, stride, n_levels, totals, n_tasks)
    return cast("NDArray[np.float64]", totals.sum(axis=0))


@_loop
def _probability_range(state: Array, result: Array, lo: int, hi: int) -> None:
    for index in range(lo, hi):
        value = state[index]
        result[index] = np.float64(value.real) ** 2 + np.float64(value.imag) ** 2


@_parallel
def _probability_parallel(state: Array, result: Array, n_tasks: int) -> None:
    for task in prange(n_tasks):
        lo = state.size * task // n_tasks
        hi = state.size * (task + 1) // n_tasks
        _probability_range(state, result, lo, hi)


def probabilities(state: Array, result: Array, n_tasks: int, threads: int | None) -> None:
    """Write |amplitude|² into `result`."""
    if n_tasks == 1:
        _probability_range(state, result, 0, state.size)
    else:
        with_threads(threads, _probability_parallel, state, result, n_tasks)


@_loop
def _bucket_range(state: Array, bucket: int, weights: Array, lo: int, hi: int) -> None:
    for k in range(lo, hi):
        total = 0.0
        for index in range(k * bucket, min(state.size, (k + 1) * bucket)):
            value = state[index]
            total += np.float64(value.real) ** 2 + np.float64(value.imag) ** 2
        weights[k] = total


@_parallel
def _bucket_parallel(state: Array, bucket: int, weights: Array, n_tasks: int) -> None:
    for task in prange(n_tasks):
        lo = weights.size * task // n_tasks
        hi = weights.size * (task + 1) // n_tasks
        _bucket_range(state, bucket, weights, lo, hi)


def bucket_weights(
    state: Array, bucket: int, n_tasks: int, threads: int | None
) -> NDArray[np.float64]:
    """Sum |amplitude|² over consecutive buckets of `bucket` amplitudes."""
    weights = np.empty(-(-state.size // bucket))
    if n_tasks == 1:
        _bucket_range(state, bucket, weights, 0, weights.size)
    else:
        with_threads(threads, _bucket_parallel, state, bucket, weights, n_tasks)
    return weights


@_loop
def _parity(value: int) -> int:
    for shift in (32, 16, 8, 4, 2, 1):
        value ^= value >> shift
    return value & 1


@_loop
def _pauli_range(state: Array, x_mask: int, z_mask: int, lo: int, hi: int) -> tuple[float, float]:
    real = 0.0
    imaginary = 0.0
    for index in range(lo, hi):
        value = state[index]
        partner = state[index ^ x_mask]
        sign = 1.0 - 2.0 * _parity(index & z_mask)
        real += sign * (partner.real * value.real + partner.imag * value.imag)
        imaginary += sign * (partner.real * value.imag - partner.imag * value.real)
    return real, imaginary


@_parallel
def _pauli_parallel(state: Array, x_mask: int, z_mask: int, sums: Array, n_tasks: int) -> None:
    for task in prange(n_tasks):
        lo = state.size * task // n_tasks
        hi = state.size * (task + 1) // n_tasks
        real, imaginary = _pauli_range(state, x_mask, z_mask, lo, hi)
        sums[task] = complex(real, imaginary)


def pauli_sum(state: Array, x_mask: int, z_mask: int, n_tasks: int, threads: int | None) -> complex:
    """Sum conj(state[i ^ x]) · (-1)^parity(i & z) · state[i]."""
    if n_tasks == 1:
        return complex(*_pauli_range(state, x_mask, z_mask, 0, state.size))
    sums = np.zeros(n_tasks, dtype=np.complex128)
    with_threads(threads, _pauli_parallel, state, x_mask, z_mask, sums, n_tasks)
    return complex(sums.sum())
