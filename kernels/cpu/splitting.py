"""Splitting methods in compiled code; `kernels.splitting` says what each function takes.

The state is a table of rows: the low atoms, at most ten, number the columns, the high atoms the
rows. A row fits the L1 cache. Its phases are a scalar (high atoms), a table common to all rows (low
atoms) and, for the interactions between the two, a product over the low atoms; so an amplitude
costs three multiplications, whatever the interactions. A turn exp(-i α X) is cos α (1 - i t X) with
t = tan α: two fused operations per amplitude, the cosines enter the scalar. Turns of low atoms read
neighbours and write halves of a row, which brings the next atom to the lowest bit: after as many
turns as atoms the order is restored, and all memory is read and written in whole vectors. High
atoms are turned the same way in tiles of whole runs of columns.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numba import prange

from cudaq_target.kernels.cpu import splitting_row
from cudaq_target.kernels.cpu.splitting_row import loop, multiply, products, turn_all
from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.statevector_backend import count_tasks
from cudaq_target.kernels.threads import with_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cudaq_target.kernels.splitting import Stages

    Reals = NDArray[np.float64]
    Array = NDArray[Any]

_parallel = cast("Callable[[Callable[..., Any]], Callable[..., Any]]", compiled(parallel=True))

LOW_ATOMS = 10
_TILE = 1 << 12
"""Amplitudes of a tile of high atoms."""
_MOST_HIGH_ATOMS = 6
"""High atoms that one pass turns; tiles keep runs of at least 64 columns."""
_TRIAL_STAGES = 4
_TRUSTED_STAGES = 120
_HOPELESS = 3.0
"""How much slower several threads are where no further trial is made."""


class _Tables(NamedTuple):
    """What compiled code reads: rows are basis states of the high atoms, columns of the low ones.

    Attributes:
        wait_of: Number of the wait of each stage, shape (n_stages,).
        rows: Phases of the interactions among high atoms, shape (n_waits, n_rows).
        columns: The same among low ones, shape (n_waits, n_columns).
        mixed_real: Phases of each row on each low atom, shape (n_waits, n_rows, n_low).
        mixed_imag: Their imaginary parts.
        factors: What each atom gathers in r by itself, shape (n_stages, n_atoms).
        tangents: t of its turn, shape (n_stages, n_atoms).
        cosines: Product of cos α over the atoms, shape (n_stages,).
        passes: Of `_passes`.
    """

    wait_of: Array
    rows: Array
    columns: Array
    mixed_real: Array
    mixed_imag: Array
    factors: Array
    tangents: Array
    cosines: Array
    passes: Array


def advance(real: Array, imag: Array, stages: Stages, threads: int | None) -> None:
    """Build the tables of every distinct wait, then run all stages in compiled code."""
    n_atoms, n_stages = len(stages.interactions), len(stages.waits)
    if n_atoms <= LOW_ATOMS:
        splitting_row.advance(real, imag, stages)
        return
    tables = _tables(stages, n_atoms - LOW_ATOMS, real.dtype)
    n_tasks = count_tasks(real.size, threads)
    if n_tasks == 1:
        _run_serial(real, imag, tables, 0, n_stages)
    else:
        n_tasks = min(n_tasks, 1 << (n_atoms - LOW_ATOMS))
        _run_fastest(real, imag, tables, threads, n_tasks)


def _run_fastest(
    real: Array, imag: Array, tables: _Tables, threads: int | None, n_tasks: int
) -> None:
    """Run on several threads while that is faster than on one.

    Threads meet after every stage; where other processes hold a core, each meeting waits for the
    scheduler, and one thread is up to a hundred times faster. Both ways give the same bits, so
    both are tried now and then, and the faster one of the last trial goes on.
    """

    def timed(begin: int, end: int, n_tasks: int) -> float:
        """Run stages `begin` to `end`; seconds per stage."""
        if begin == end:
            return 0.0
        start = perf_counter()
        if n_tasks == 1:
            _run_serial(real, imag, tables, begin, end)
        else:
            with_threads(threads, _run_parallel, real, imag, tables, begin, end, n_tasks)
        return (perf_counter() - start) / (end - begin)

    n_stages = len(tables.wait_of)
    per_stage = [0.0, 0.0]  # one thread, several
    done = 0
    while done < n_stages:
        for parallel in (False, True):
            begin, done = done, min(done + _TRIAL_STAGES, n_stages)
            per_stage[parallel] = timed(begin, done, n_tasks if parallel else 1)
        hopeless = per_stage[True] > _HOPELESS * per_stage[False]
        begin, done = done, n_stages if hopeless else min(done + _TRUSTED_STAGES, n_stages)
        timed(begin, done, n_tasks if per_stage[1] < per_stage[0] else 1)


def _tables(stages: Stages, n_high: int, dtype: np.dtype[Any]) -> _Tables:
    interactions, waits, shifts, angles, decay_per_us = stages
    distinct, wait_of = np.unique(waits, return_inverse=True)
    rows, columns, mixed = _phases(interactions, n_high, distinct, dtype)
    return _Tables(
        wait_of.astype(np.int64),
        rows,
        columns,
        *mixed,
        np.exp(1j * shifts - (0.5 * decay_per_us * waits)[:, None]),
        np.tan(angles).astype(dtype),
        np.cos(angles).prod(axis=1),
        _passes(LOW_ATOMS, n_high),
    )


def _phases(
    interactions: Reals, n_high: int, waits: Reals, dtype: np.dtype[Any]
) -> tuple[Array, Array, tuple[Array, Array]]:
    """Phases of the interactions among high atoms, among low ones, and of rows on low atoms.

    Returns:
        Shapes (n_waits, n_rows), (n_waits, n_columns); real and imaginary part of `dtype`, shape
        (n_waits, n_rows, n_low) each.
    """
    turns = -1j * waits
    rows = np.exp(np.multiply.outer(turns, _energies(interactions[:n_high, :n_high])))
    columns = np.exp(np.multiply.outer(turns, _energies(interactions[n_high:, n_high:])))
    fields = _sums(interactions[:n_high, n_high:])
    mixed = np.empty((2, len(waits), *fields.shape), dtype=dtype)
    # One wait at a time: these are the largest tables, and grow with the state.
    for k, turn in enumerate(turns):
        phases = np.exp(turn * fields)
        mixed[0, k], mixed[1, k] = phases.real, phases.imag
    return rows, columns, (mixed[0], mixed[1])


def _sums(values: Reals) -> Reals:
    """Sums over the set bits of every index, first row of `values` leftmost."""
    table = np.zeros((1, values.shape[1]))
    for value in values[::-1]:
        table = np.concatenate([table, table + value])
    return table


def _energies(interactions: Reals) -> Reals:
    """Sum of the interactions of the pairs of set bits of every index, first atom leftmost."""
    table = np.zeros(1)
    for atom in range(len(interactions) - 1, -1, -1):
        later = interactions[atom, atom + 1 :]
        table = np.concatenate([table, table + _sums(later[:, None])[:, 0]])
    return table


def _passes(n_low: int, n_high: int) -> NDArray[np.int64]:
    """Divide the high atoms: (lowest bit, atoms, columns per run) of every pass."""
    n_passes = -(-n_high // _MOST_HIGH_ATOMS)
    found = []
    lowest = n_low
    for k in range(n_passes):
        n_here = (n_high - (lowest - n_low)) // (n_passes - k)
        found.append((lowest, n_here, min(_TILE >> n_here, 1 << lowest)))
        lowest += n_here
    return np.array(found, dtype=np.int64).reshape(-1, 3)


@loop
def _row_products(factors_real: Array, factors_imag: Array, real: Array, imag: Array) -> None:
    """Multiply up from the first entry, which holds the scale."""
    size = 1
    for j in range(factors_real.size - 1, -1, -1):
        a, b = factors_real[j], factors_imag[j]
        x, y = real[:size], imag[:size]
        u, v = real[size : 2 * size], imag[size : 2 * size]
        for k in range(size):
            u[k] = a * x[k] - b * y[k]
            v[k] = a * y[k] + b * x[k]
        size *= 2


@loop
def _row_stage(
    x: Array,
    y: Array,
    mixed_real: Array,
    mixed_imag: Array,
    scale: complex,
    column_real: Array,
    column_imag: Array,
    tangents: Array,
    turns: bool,
    work: Array,
) -> None:
    """Multiply a row by its phases and turn its low atoms."""
    size = x.size
    f, g = work[0, :size], work[1, :size]
    f[0], g[0] = scale.real, scale.imag
    _row_products(mixed_real, mixed_imag, f, g)
    if not turns:
        multiply(x, y, column_real, column_imag, f, g, x, y)
        return
    a, b = work[2, :size], work[3, :size]
    multiply(x, y, column_real, column_imag, f, g, a, b)
    turn_all(a, b, tangents, work, x, y)


@loop
def _turn_rows(
    x: Array,
    y: Array,
    start: int,
    stride: int,
    out_x: Array,
    out_y: Array,
    out_start: int,
    out_stride: int,
    run: int,
    n_rows: int,
    t: Any,  # noqa: ANN401
) -> None:
    """Apply 1 - i t X to the highest bit of the row number, which becomes the lowest one."""
    for r in range(n_rows // 2):
        i, j = start + r * stride, start + (r + n_rows // 2) * stride
        k, m = out_start + 2 * r * out_stride, out_start + (2 * r + 1) * out_stride
        a, b, c, d = x[i : i + run], y[i : i + run], x[j : j + run], y[j : j + run]
        p, q = out_x[k : k + run], out_y[k : k + run]
        u, v = out_x[m : m + run], out_y[m : m + run]
        for s in range(run):
            a_s, b_s, c_s, d_s = a[s], b[s], c[s], d[s]
            p[s] = a_s + t * d_s
            q[s] = b_s - t * c_s
            u[s] = c_s + t * b_s
            v[s] = d_s - t * a_s


@loop
def _tile_stage(
    real: Array,
    imag: Array,
    tile: int,
    lowest: int,
    n_here: int,
    run: int,
    tangents: Array,
    work: Array,
) -> None:
    """Turn some high atoms in one tile."""
    per_block = (1 << lowest) // run
    start = (tile // per_block << (lowest + n_here)) + tile % per_block * run
    stride = 1 << lowest
    n_rows = 1 << n_here
    first = tangents.size - lowest - n_here
    if n_here == 1:
        _turn_rows(real, imag, start, stride, real, imag, start, stride, run, 2, tangents[first])
        return
    a, b, c, d = work[0], work[1], work[2], work[3]
    _turn_rows(real, imag, start, stride, a, b, 0, run, run, n_rows, tangents[first])
    for j in range(1, n_here - 1):
        _turn_rows(a, b, 0, run, c, d, 0, run, run, n_rows, tangents[first + j])
        a, b, c, d = c, d, a, b
    last = tangents[first + n_here - 1]
    _turn_rows(a, b, 0, run, real, imag, start, stride, run, n_rows, last)


@loop
def _begin_stage(tables: _Tables, k: int, column: Array, shift: Array, work: Array) -> bool:
    """Write what stage k does to columns (interactions, shifts) and rows (shifts); if it turns."""
    n_high = tables.tangents.shape[1] - tables.mixed_real.shape[2]
    columns, factors = tables.columns[tables.wait_of[k]], tables.factors[k]
    products(factors[n_high:], 1.0 + 0.0j, work[0], work[1])
    for c in range(columns.size):
        x, y = work[0, c], work[1, c]
        column[0, c] = columns[c].real * x - columns[c].imag * y
        column[1, c] = columns[c].real * y + columns[c].imag * x
    products(factors[:n_high], tables.cosines[k] + 0.0j, shift[0], shift[1])
    return bool(tables.tangents[k].any())


@loop
def _flow_rows(
    real: Array,
    imag: Array,
    tables: _Tables,
    k: int,
    column: Array,
    shift: Array,
    turns: bool,
    first: int,
    last: int,
    work: Array,
) -> None:
    """Let phases and turns of the low atoms act on some rows."""
    w, width = tables.wait_of[k], column.shape[1]
    low = tables.tangents[k, tables.tangents.shape[1] - tables.mixed_real.shape[2] :]
    for row in range(first, last):
        here = slice(row * width, (row + 1) * width)
        scale = tables.rows[w, row] * complex(shift[0, row], shift[1, row])
        _row_stage(
            real[here],
            imag[here],
            tables.mixed_real[w, row],
            tables.mixed_imag[w, row],
            scale,
            column[0],
            column[1],
            low,
            turns,
            work,
        )


@loop
def _run_serial(real: Array, imag: Array, tables: _Tables, begin: int, end: int) -> None:
    n_rows, width = tables.rows.shape[1], tables.columns.shape[1]
    work = np.empty((4, max(width, _TILE)), dtype=real.dtype)
    column, shift = np.empty((2, width), dtype=real.dtype), np.empty((2, n_rows))
    exact = np.empty((2, width))
    for k in range(begin, end):
        turns = _begin_stage(tables, k, column, shift, exact)
        _flow_rows(real, imag, tables, k, column, shift, turns, 0, n_rows, work)
        if turns:
            for p in range(tables.passes.shape[0]):
                lowest, n_here, run = tables.passes[p, 0], tables.passes[p, 1], tables.passes[p, 2]
                for tile in range((real.size >> n_here) // run):
                    _tile_stage(real, imag, tile, lowest, n_here, run, tables.tangents[k], work)


@_parallel
def _run_parallel(
    real: Array, imag: Array, tables: _Tables, begin: int, end: int, n_tasks: int
) -> None:
    n_rows, width = tables.rows.shape[1], tables.columns.shape[1]
    work = np.empty((n_tasks, 4, max(width, _TILE)), dtype=real.dtype)
    column, shift = np.empty((2, width), dtype=real.dtype), np.empty((2, n_rows))
    exact = np.empty((2, width))
    for k in range(begin, end):
        turns = _begin_stage(tables, k, column, shift, exact)
        for task in prange(n_tasks):
            first, last = n_rows * task // n_tasks, n_rows * (task + 1) // n_tasks
            _flow_rows(real, imag, tables, k, column, shift, turns, first, last, work[task])
        if turns:
            for p in range(tables.passes.shape[0]):
                lowest, n_here, run = tables.passes[p, 0], tables.passes[p, 1], tables.passes[p, 2]
                n_tiles = (real.size >> n_here) // run
                for task in prange(n_tasks):
                    for tile in range(n_tiles * task // n_tasks, n_tiles * (task + 1) // n_tasks):
                        tangents = tables.tangents[k]
                        _tile_stage(real, imag, tile, lowest, n_here, run, tangents, work[task])
