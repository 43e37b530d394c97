"""State vectors of levels: apply small blocks, measure, sample.

A state is a flat complex array over a mixed radix: site k of a register has `dims[k]` levels, and
site 0 is the most significant digit of the index (for qubits: the leftmost character of a bit
string). The back ends give the same answers: `numpy` is the specification, `cpu` the compiled
version (Numba). `None` chooses `cpu` where Numba can compile, and `numpy` for states so small that
starting a compiled kernel costs more than it saves. A state on a GPU is worked on there, and new
states stay there; what is measured (populations, samples, expectation values) comes to the host.
`gpu` by name takes states on the host, too, which then come and go: only tests want that. Sums are
added in other orders and with fused operations: amplitudes differ by at most a few
n_levels · 2^-24 (complex64) or 2^-53 of the norm per operator.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, cast

import numpy as np

from cudaq_target.kernels.backends import implementation, is_on_device
from cudaq_target.kernels.statevector_backend import (
    choose_backend,
    compiled,
    count_tasks,
    numba_compiles,
)
from cudaq_target.kernels.statevector_layout import block_layout, pattern_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from numpy.typing import NDArray

    from cudaq_target.kernels.statevector_backend import Backend

    State = NDArray[np.complexfloating]

SERIAL_PRODUCT = 1 << 15
"""Multiplications up to which BLAS libraries do not wake their threads, which here only wait."""

SAMPLING_BUCKET = 1 << 12
"""Amplitudes per bucket of the two-stage sampler."""

CONDITIONAL_COMPILED_FROM_SIZE = 1 << 9
"""Amplitudes from which `apply_conditional` is compiled: NumPy needs large temporaries for it."""


def apply_block(
    state: NDArray[np.complexfloating],
    dims: Sequence[int],
    sites: Sequence[int],
    matrix: NDArray[np.complexfloating],
    *,
    out_dims: Sequence[int] | None = None,
    backend: Backend | None = None,
    threads: int | None = None,
) -> NDArray[np.complexfloating]:
    """Apply a dense operator to a few sites.

    Args:
        state: Amplitudes, shape (prod(dims),), complex64 or complex128, contiguous.
        dims: Levels of every site before the operator, shape (n_sites,).
        sites: The sites it acts on, distinct, any order; `sites[0]` is its most significant digit.
        matrix: Shape (prod of out_dims, prod of dims at `sites`).
        out_dims: Levels of `sites` afterwards; the same as before when left out.
        backend: See the module.
        threads: Most threads to use; None takes Numba's setting.

    Returns:
        The new state. It is `state` itself, overwritten, when no site changes its number of levels.
    """
    in_dims = [dims[site] for site in sites]
    out_dims = in_dims if out_dims is None else list(out_dims)
    if _is_for_gpu(state, backend):
        segments, offsets, new_offsets = block_layout(dims, sites, out_dims)
        kernels = _gpu(state, backend)
        return cast("State", kernels.apply_block(state, matrix, segments, offsets, new_offsets))
    if choose_backend(backend, state.size) == "cpu":
        return _apply_compiled(state, dims, sites, in_dims, out_dims, matrix, threads)
    result = _apply_reference(state, dims, sites, in_dims, out_dims, matrix)
    if in_dims != out_dims:
        return result
    state[:] = result
    return state


def _is_for_gpu(state: State, backend: Backend | None) -> bool:
    return backend == "gpu" or (type(state) is not np.ndarray and is_on_device(state))


def _gpu(state: State, backend: Backend | None) -> ModuleType:
    """Import the kernels of the GPU; refuses other back ends for states on the device."""
    return implementation("statevector", backend or "auto", state)


def _apply_reference(
    state: NDArray[np.complexfloating],
    dims: Sequence[int],
    sites: Sequence[int],
    in_dims: Sequence[int],
    out_dims: Sequence[int],
    matrix: NDArray[np.complexfloating],
) -> NDArray[np.complexfloating]:
    matrix = matrix.astype(state.dtype, copy=False)
    if len(sites) == 1:
        tensor = state.reshape(prod(dims[: sites[0]]), in_dims[0], -1)
        if matrix.size * tensor.shape[2] <= SERIAL_PRODUCT:
            return cast("NDArray[np.complexfloating]", np.matmul(matrix, tensor).reshape(-1))
        return np.concatenate([_product(matrix, columns).reshape(-1) for columns in tensor])
    order = sorted(range(len(sites)), key=sites.__getitem__)
    # Only the sites of the block become axes of their own: NumPy allows 64 at most.
    shape: list[int] = []
    position = 0
    for k in order:
        shape += [prod(dims[position : sites[k]]), in_dims[k]]
        position = sites[k] + 1
    shape.append(prod(dims[position:]))
    axis_of = {k: 2 * rank + 1 for rank, k in enumerate(order)}
    front = [axis_of[k] for k in range(len(sites))]
    perm = front + [2 * rank for rank in range(len(sites) + 1)]
    tensor = state.reshape(shape).transpose(perm)
    rest = tensor.shape[len(sites) :]
    product = _product(matrix, tensor.reshape(matrix.shape[1], -1)).reshape(*out_dims, *rest)
    return product.transpose(np.argsort(perm)).reshape(-1)


def _product(
    matrix: NDArray[np.complexfloating], columns: NDArray[np.complexfloating]
) -> NDArray[np.complexfloating]:
    """Multiply in pieces that BLAS does on one thread, whatever its own settings."""
    width = max(1, SERIAL_PRODUCT // matrix.size)
    if columns.shape[1] <= width:
        return matrix @ columns
    out = np.empty((len(matrix), columns.shape[1]), dtype=columns.dtype)
    for start in range(0, columns.shape[1], width):
        part = slice(start, start + width)
        np.matmul(matrix, columns[:, part], out=out[:, part])
    return out


def _apply_compiled(
    state: NDArray[np.complexfloating],
    dims: Sequence[int],
    sites: Sequence[int],
    in_dims: list[int],
    out_dims: list[int],
    matrix: NDArray[np.complexfloating],
    threads: int | None,
) -> NDArray[np.complexfloating]:
    matrix = np.ascontiguousarray(matrix, dtype=state.dtype)
    segments, in_offsets, out_offsets = block_layout(dims, sites, out_dims)
    if in_dims == out_dims:
        out = state
    else:
        out = np.empty(int(segments[:, 0].prod()) * len(out_offsets), dtype=state.dtype)
    n_tasks = count_tasks(max(out.size, state.size), threads)
    compiled().block(out, state, matrix, in_offsets, out_offsets, segments, n_tasks, threads)
    return out


def apply_diagonal(
    state: NDArray[np.complexfloating],
    dims: Sequence[int],
    sites: Sequence[int],
    diagonal: NDArray[np.complexfloating],
    *,
    backend: Backend | None = None,
    threads: int | None = None,
) -> NDArray[np.complexfloating]:
    """Multiply the amplitudes by a factor that depends on the levels of a few sites, in place.

    Args:
        state: Amplitudes, shape (prod(dims),).
        dims: Levels of every site, shape (n_sites,).
        sites: The sites that decide, distinct; `sites[0]` is the most significant digit.
        diagonal: One factor per joint level, shape (prod of dims at `sites`,).
        backend: See the module.
        threads: Most threads to use; None takes Numba's setting.

    Returns:
        `state`, overwritten.
    """
    if _is_for_gpu(state, backend):
        strides = np.array([prod(dims[s + 1 :]) for s in sites], dtype=np.int64)
        radix = np.array([dims[s] for s in sites], dtype=np.int64)
        kernels = _gpu(state, backend)
        return cast("State", kernels.apply_diagonal(state, diagonal, strides, radix))
    if choose_backend(backend, state.size) == "cpu":
        strides = np.array([prod(dims[s + 1 :]) for s in sites], dtype=np.int64)
        radix = np.array([dims[s] for s in sites], dtype=np.int64)
        factors = np.ascontiguousarray(diagonal, dtype=state.dtype)
        compiled().diagonal(
            state, factors, strides, radix, count_tasks(state.size, threads), threads
        )
        return state
    order = sorted(range(len(sites)), key=sites.__getitem__)
    factors = diagonal.reshape([dims[s] for s in sites]).transpose(order)
    shape: list[int] = []
    broadcast: list[int] = []
    position = 0
    for k in order:
        shape += [prod(dims[position : sites[k]]), dims[sites[k]]]
        broadcast += [1, dims[sites[k]]]
        position = sites[k] + 1
    shape.append(prod(dims[position:]))
    tensor = state.reshape(shape)
    tensor *= factors.reshape([*broadcast, 1]).astype(state.dtype, copy=False)
    return state


def apply_conditional(
    state: NDArray[np.complexfloating],
    dims: Sequence[int],
    site: int,
    controls: Sequence[tuple[int, int]],
    matrices: NDArray[np.complexfloating],
    *,
    backend: Backend | None = None,
    threads: int | None = None,
) -> NDArray[np.complexfloating]:
    """Apply to one site a matrix chosen by which control sites are in their marked level.

    Args:
        state: Amplitudes, shape (prod(dims),).
        dims: Levels of every site before the operator, shape (n_sites,).
        site: The site the matrices act on.
        controls: (site, marked level) of each control, distinct from `site`.
        matrices: One matrix per pattern, shape (2^n_controls, out levels, dims[site]); bit 1 stands
            for "in the marked level", the first control is the most significant bit.
        backend: See the module.
        threads: Most threads to use; None takes Numba's setting.

    Returns:
        The new state, in new memory.
    """
    out_dim = matrices.shape[1]
    new_dims = [*dims[:site], out_dim, *dims[site + 1 :]]
    stride = prod(dims[site + 1 :])
    marked = dict(controls)
    weight = {control: 1 << k for k, (control, _) in enumerate(reversed(controls))}
    left = pattern_of(dims, range(site), marked, weight)
    right = pattern_of(dims, range(site + 1, len(dims)), marked, weight)
    if _is_for_gpu(state, backend):
        new = _gpu(state, backend).apply_conditional(
            state, prod(new_dims), stride, matrices, (left, right)
        )
        return cast("State", new)
    out = np.empty(prod(new_dims), dtype=state.dtype)
    if backend is None and state.size >= CONDITIONAL_COMPILED_FROM_SIZE and numba_compiles():
        backend = "cpu"
    if choose_backend(backend, state.size) == "cpu":
        matrices = np.ascontiguousarray(matrices, dtype=state.dtype)
        n_tasks = count_tasks(out.size, threads)
        compiled().conditional(out, state, matrices, left, right, n_tasks, threads)
        return out
    chosen = matrices.astype(state.dtype, copy=False)[left[:, None] + right]
    old = state.reshape(-1, dims[site], stride)
    np.einsum("arij,ajr->air", chosen, old, out=out.reshape(-1, out_dim, stride))
    return out


def rotate_qubits(
    state: NDArray[np.complexfloating],
    rotations: NDArray[np.complexfloating],
    *,
    backend: Backend | None = None,
    threads: int | None = None,
) -> NDArray[np.complexfloating]:
    """Apply one 2x2 matrix per qubit, in place.

    Args:
        state: Amplitudes, shape (2^n_qubits,).
        rotations: Shape (n_qubits, 2, 2); matrices that equal the identity are skipped.
        backend: See the module.
        threads: Most threads to use; None takes Numba's setting.

    Returns:
        `state`, overwritten.
    """
    if _is_for_gpu(state, backend):
        kernels = _gpu(state, backend)
        return cast("State", kernels.rotate_qubits(state, rotations))
    dims = (2,) * len(rotations)
    for qubit, rotation in enumerate(rotations):
        if not np.array_equal(rotation, np.eye(2)):
            apply_block(state, dims, (qubit,), rotation, backend=backend, threads=threads)
    return state


def level_populations(
    state: NDArray[np.complexfloating],
    dims: Sequence[int],
    site: int,
    *,
    backend: Backend | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Sum |amplitude|² per level of one site.

    Args:
        state: Amplitudes, shape (prod(dims),).
        dims: Levels of every site, shape (n_sites,).
        site: The site.
        backend: See the module.
        threads: Most threads to use; None takes Numba's setting.

    Returns:
        Population of each level, shape (dims[site],).
    """
    stride = prod(dims[site + 1 :])
    if _is_for_gpu(state, backend):
        kernels = _gpu(state, backend)
        return cast("NDArray[np.float64]", kernels.level_populations(state, stride, dims[site]))
    if choose_backend(backend, state.size) == "cpu":
        n_tasks = count_tasks(state.size, threads)
        result = compiled().level_populations(state, stride, dims[site], n_tasks, threads)
        return cast("NDArray[np.float64]", result)
    tensor = state.reshape(-1, dims[site], stride)
    return np.array([np.vdot(tensor[:, k], tensor[:, k]).real for k in range(dims[site])])


def probabilities(
    state: NDArray[np.complexfloating],
    *,
    backend: Backend | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Return |amplitude|² of every basis state.

    Args:
        state: Amplitudes, shape (size,).
        backend: See the module.
        threads: Most threads to use; None takes Numba's setting.

    Returns:
        Probabilities (not renormalised), shape (size,).

    >>> probabilities(np.array([0.6, 0.8j])).round(2).tolist()
    [0.36, 0.64]
    """
    if _is_for_gpu(state, backend):
        return cast("NDArray[np.float64]", _gpu(state, backend).probabilities(state))
    if choose_backend(backend, state.size) == "cpu":
        result = np.empty(state.size)
        compiled().probabilities(state, result, count_tasks(state.size, threads), threads)
        return result
    squares: NDArray[np.float64] = np.square(state.real, dtype=np.float64)
    squares += np.square(state.imag, dtype=np.float64)
    return squares


def sample_indices(
    state: NDArray[np.complexfloating],
    n_shots: int,
    rng: np.random.Generator,
    *,
    backend: Backend | None = None,
    threads: int | None = None,
) -> NDArray[np.int64]:
    """Draw basis states with probability |amplitude|² / norm².

    One vectorised draw: the uniform numbers are sorted, located among the buckets' cumulative
    weights, then inside the buckets that were hit, so no array of 2^n probabilities is made. Both
    back ends draw the same numbers.

    Args:
        state: Amplitudes, shape (size,); need not be normalised.
        n_shots: Number of draws.
        rng: Source of randomness; one uniform number per shot and one permutation are taken.
        backend: See the module.
        threads: Most threads to use; None takes Numba's setting.

    Returns:
        Indices in random order, shape (n_shots,).
    """
    weights = _bucket_weights(state, backend, threads)
    cumulative = np.cumsum(weights)
    draws = np.sort(rng.random(n_shots)) * cumulative[-1]
    last = int(np.flatnonzero(weights)[-1])
    bucket_of = np.minimum(np.searchsorted(cumulative, draws, side="right"), last)
    indices = np.empty(n_shots, dtype=np.int64)
    hit, first = np.unique(bucket_of, return_index=True)
    bounds = np.append(first, n_shots)
    for bucket, lo, hi in zip(hit.tolist(), bounds[:-1], bounds[1:], strict=True):
        start = bucket * SAMPLING_BUCKET
        inside = probabilities(_at_home(state[start : start + SAMPLING_BUCKET]), backend="numpy")
        steps = np.cumsum(inside)
        offset = draws[lo:hi] - (cumulative[bucket - 1] if bucket else 0.0)
        rank = np.searchsorted(steps, offset, side="right")
        # Rounding may put a draw a hair behind the last step; never land on an impossible state.
        indices[lo:hi] = start + np.minimum(rank, np.flatnonzero(inside)[-1])
    return rng.permutation(indices)


def _at_home(amplitudes: State) -> State:
    """Copy a few amplitudes to the host, where they do not lie there."""
    if not _is_for_gpu(amplitudes, None):
        return amplitudes
    return cast("State", _gpu(amplitudes, None).to_host(amplitudes))


def _bucket_weights(
    state: NDArray[np.complexfloating], backend: Backend | None, threads: int | None
) -> NDArray[np.float64]:
    if _is_for_gpu(state, backend):
        weights = _gpu(state, backend).bucket_weights(state, SAMPLING_BUCKET)
        return cast("NDArray[np.float64]", weights)
    n_buckets = -(-state.size // SAMPLING_BUCKET)
    if n_buckets > 1 and choose_backend(backend, state.size) == "cpu":
        n_tasks = count_tasks(state.size, threads)
        result = compiled().bucket_weights(state, SAMPLING_BUCKET, n_tasks, threads)
        return cast("NDArray[np.float64]", result)
    starts = range(0, state.size, SAMPLING_BUCKET)
    return np.array(
        [probabilities(state[s : s + SAMPLING_BUCKET], backend="numpy").sum() for s in starts]
    )


def pauli_expectation(
    state: NDArray[np.complexfloating],
    x_mask: int,
    z_mask: int,
    *,
    backend: Backend | None = None,
    threads: int | None = None,
) -> float:
    """Return <state| P |state> of a Pauli string.

    Args:
        state: Amplitudes of qubits, shape (2^n_qubits,); not renormalised.
        x_mask: Index bits where P is X or Y. Qubit q of n is bit n - 1 - q of the index.
        z_mask: Index bits where P is Z or Y.
        backend: See the module.
        threads: Most threads to use; None takes Numba's setting.

    Returns:
        The expectation value.

    >>> pauli_expectation(np.array([0.5, 0.0, 0.0, 0.5]) + 0j, 0b11, 0b11)
    -0.5
    """
    size = state.size
    if x_mask >= size or z_mask >= size or x_mask < 0 or z_mask < 0:
        raise ValueError(f"Pauli masks {x_mask} and {z_mask} must lie inside 0..{size - 1}")
    if _is_for_gpu(state, backend):
        total = _gpu(state, backend).pauli_sum(state, x_mask, z_mask)
    elif choose_backend(backend, size) == "cpu":
        n_tasks = count_tasks(size, threads)
        total = compiled().pauli_sum(state, x_mask, z_mask, n_tasks, threads)
    else:
        index = np.arange(size)
        signs = 1.0 - 2.0 * (np.bitwise_count(index & z_mask) & 1)
        total = complex(np.sum(state[index ^ x_mask].conj() * state * signs))
    # P = i^{#Y} · X-part · Z-part; the i's make the sum real.
    return float((total * 1j ** ((x_mask & z_mask).bit_count() % 4)).real)


def indices_to_digits(indices: NDArray[np.int64], dims: Sequence[int]) -> NDArray[np.uint8]:
    """Split state indices into the level of every site.

    Args:
        indices: Shape (n,).
        dims: Levels of every site, shape (n_sites,).

    Returns:
        Digits, shape (n, n_sites); column 0 is the most significant.

    >>> indices_to_digits(np.array([5]), (2, 2, 2)).tolist()
    [[1, 0, 1]]
    """
    digits = np.empty((len(indices), len(dims)), dtype=np.uint8)
    rest = indices
    for site in range(len(dims) - 1, -1, -1):
        rest, digits[:, site] = np.divmod(rest, dims[site])
    return digits
