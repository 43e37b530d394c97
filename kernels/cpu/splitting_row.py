"""Splitting methods on states of one row, of at most ten atoms, and the loops of every row.

All of a small state lies in the L1 cache, so that tables and calls cost as much as the amplitudes:
one call builds the phases of the interactions by products, keeps them for the waits that come back,
and runs all stages. `kernels.splitting` says what `advance` takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cudaq_target.kernels.jit import compiled
from cudaq_target.kernels.splitting import Stages

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[Any]

loop = cast("Callable[[Callable[..., Any]], Callable[..., Any]]", compiled(contract=True))
_inner = cast(
    "Callable[[Callable[..., Any]], Callable[..., Any]]", compiled(contract=True, inline=True)
)

_SLOTS = 16
"""Waits whose phases are kept; a scheme has about five per length of its steps."""

_APART = 24


@_inner
def products(factors: Array, scale: complex, out_real: Array, out_imag: Array) -> None:
    """Write scale times the product of the factors of the set bits of every index."""
    out_real[0], out_imag[0] = scale.real, scale.imag
    size = 1
    for j in range(factors.size - 1, -1, -1):
        a, b = factors[j].real, factors[j].imag
        x, y = out_real[:size], out_imag[:size]
        u, v = out_real[size : 2 * size], out_imag[size : 2 * size]
        for k in range(size):
            u[k] = a * x[k] - b * y[k]
            v[k] = a * y[k] + b * x[k]
        size *= 2


@_inner
def multiply(
    x: Array, y: Array, a: Array, b: Array, c: Array, d: Array, out_x: Array, out_y: Array
) -> None:
    """(x + iy)(a + ib)(c + id)."""
    for k in range(x.size):
        u = x[k] * a[k] - y[k] * b[k]
        v = x[k] * b[k] + y[k] * a[k]
        out_x[k] = u * c[k] - v * d[k]
        out_y[k] = u * d[k] + v * c[k]


@_inner
def turn_lowest(x: Array, y: Array, t: Any, out_x: Array, out_y: Array) -> None:  # noqa: ANN401
    """Apply 1 - i t X to the lowest bit, which becomes the highest one."""
    half = x.size // 2
    x0, x1, y0, y1 = out_x[:half], out_x[half:], out_y[:half], out_y[half:]
    for k in range(half):
        a, b, c, d = x[2 * k], y[2 * k], x[2 * k + 1], y[2 * k + 1]
        x0[k] = a + t * d
        y0[k] = b - t * c
        x1[k] = c + t * b
        y1[k] = d - t * a


@_inner
def turn_all(x: Array, y: Array, tangents: Array, work: Array, out_x: Array, out_y: Array) -> None:
    """Turn every atom of a row, which is overwritten; `work` has shape (2, width)."""
    n_atoms = tangents.size
    a, b, f, g = x, y, work[0, : x.size], work[1, : x.size]
    for j in range(n_atoms - 1):
        turn_lowest(a, b, tangents[n_atoms - 1 - j], f, g)
        a, b, f, g = f, g, a, b
    turn_lowest(a, b, tangents[0], out_x, out_y)


@loop
def interaction_phases(interactions: Array, wait: float, out_real: Array, out_imag: Array) -> None:
    """Write exp(-i E wait) for every index, by one product per index and atom at most."""
    n_atoms = interactions.shape[0]
    factors = np.empty(n_atoms, dtype=np.complex128)
    out_real[0], out_imag[0] = 1.0, 0.0
    for atom in range(n_atoms - 1, -1, -1):
        size = 1 << (n_atoms - 1 - atom)
        for later in range(atom + 1, n_atoms):
            angle = -interactions[atom, later] * wait
            factors[later] = complex(np.cos(angle), np.sin(angle))
        x, y = out_real[:size], out_imag[:size]
        u, v = out_real[size : 2 * size], out_imag[size : 2 * size]
        products(factors[atom + 1 :], 1.0 + 0.0j, u, v)
        for k in range(size):
            a, b = u[k], v[k]
            u[k] = a * x[k] - b * y[k]
            v[k] = a * y[k] + b * x[k]


@_inner
def _factors(
    shifts: Array, angles: Array, loss: float, factors: Array, tangents: Array
) -> tuple[float, bool]:
    """Write what r gathers and how far atoms turn; the product of cosines, and if any turns."""
    cosines, turns = 1.0, False
    tangent, cosine = 0.0, 1.0
    for j in range(shifts.size):
        if j == 0 or shifts[j] != shifts[j - 1]:
            factors[j] = loss * complex(np.cos(shifts[j]), np.sin(shifts[j]))
        else:
            factors[j] = factors[j - 1]
        if j == 0 or angles[j] != angles[j - 1]:
            tangent, cosine = np.tan(angles[j]), np.cos(angles[j])
        tangents[j] = tangent
        cosines *= cosine
        turns = turns or tangent != 0.0
    return cosines, turns


@loop
def _run(real: Array, imag: Array, stages: Stages) -> None:
    interactions, waits, shifts, angles, decay_per_us = stages
    n_atoms, size = interactions.shape[0], real.size
    kept = np.full(_SLOTS, np.nan)
    phases = np.empty((_SLOTS, 2, size + _APART))
    oldest = 0
    # Rows a multiple of 4 KiB apart would wait for one another's stores.
    exact = np.empty((2, size + _APART))
    work = np.empty((4, size + _APART), dtype=real.dtype)
    factors = np.empty(n_atoms, dtype=np.complex128)
    tangents = np.empty(n_atoms, dtype=real.dtype)
    for k in range(waits.size):
        slot = 0
        while slot < _SLOTS and kept[slot] != waits[k]:
            slot += 1
        if slot == _SLOTS:
            slot, oldest = oldest, (oldest + 1) % _SLOTS
            kept[slot] = waits[k]
            held = phases[slot]
            interaction_phases(interactions, waits[k], held[0, :size], held[1, :size])
        loss = np.exp(-0.5 * decay_per_us * waits[k])
        cosines, turns = _factors(shifts[k], angles[k], loss, factors, tangents)
        products(factors, complex(cosines, 0.0), exact[0], exact[1])
        a, b = (work[0, :size], work[1, :size]) if turns else (real, imag)
        held = phases[slot]
        multiply(real, imag, held[0, :size], held[1, :size], exact[0, :size], exact[1, :size], a, b)
        if turns:
            turn_all(a, b, tangents, work[2:], real, imag)


def advance(real: Array, imag: Array, stages: Stages) -> None:
    """Run all stages in one call of compiled code, on one thread."""
    interactions, waits, shifts, angles = (np.ascontiguousarray(table) for table in stages[:4])
    _run(real, imag, Stages(interactions, waits, shifts, angles, stages.decay_per_us))
