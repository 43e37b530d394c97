"""States of driven, interacting atoms in time: the inner loops of splitting methods.

The state of n atoms with levels g (0) and r (1) lies in two real arrays of 2^n numbers, its real
and its imaginary part; atom 0 is the most significant bit of the index. All back ends give the same
up to rounding: `numpy` is the specification, `cpu` and `gpu` the compiled versions. States on a GPU
are worked on there. Atoms that share nothing but their interactions make this fast: the phases of
2^n basis states are products of a few small tables, and no array as large as the state is needed
beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cudaq_target.kernels.backends import Backend, array_module, implementation
from cudaq_target.kernels.errors import KernelInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]
    Part = NDArray[np.floating]


class Stages(NamedTuple):
    """What acts on a state, stage after stage; `advance` says how.

    Attributes:
        interactions: V (rad/µs), shape (n_atoms, n_atoms).
        waits: w (µs), shape (n_stages,).
        shifts: θ (rad), shape (n_stages, n_atoms).
        angles: α (rad), shape (n_stages, n_atoms).
        decay_per_us: Γ (1/µs).
    """

    interactions: Reals
    waits: Reals
    shifts: Reals
    angles: Reals
    decay_per_us: float

    def part(self, of: slice) -> Stages:
        """Some of the stages."""
        here = self.waits[of], self.shifts[of], self.angles[of]
        return Stages(self.interactions, *here, self.decay_per_us)


def advance(
    real: Part,
    imag: Part,
    interactions: Reals,
    waits: Reals,
    shifts: Reals,
    angles: Reals,
    *,
    decay_per_us: float = 0.0,
    backend: Backend = "auto",
    threads: int | None = None,
) -> None:
    """Let stages act on a state, in place: each a diagonal flow, then a turn of every atom.

    Stage k multiplies basis state s by exp(-i E(s) w_k + Σ_{i in r} (i θ_ki - Γ w_k / 2)), with
    E(s) the sum of V_ij over its pairs in r, then applies exp(-i α_ki X) to every atom i.

    Args:
        real: Real parts of the amplitudes, shape (2^n_atoms,), float32 or float64, contiguous.
        imag: Imaginary parts, the same.
        interactions: V (rad/µs), shape (n_atoms, n_atoms), symmetric; the diagonal is ignored.
        waits: w (µs), shape (n_stages,); may be negative.
        shifts: θ (rad), shape (n_stages, n_atoms).
        angles: α (rad), shape (n_stages, n_atoms), smaller than π/2 in size; a stage whose angles
            are all 0 has no turn.
        decay_per_us: Γ (1/µs).
        backend: Where to compute.
        threads: Most threads to use; None takes Numba's setting.

    Raises:
        KernelInputError: Arrays do not fit together, or an angle is too large.
        BackendUnavailableError: The back end does not run here.

    >>> real, imag = np.array([1.0, 0.0]), np.zeros(2)
    >>> advance(real, imag, np.zeros((1, 1)), np.zeros(1), np.zeros((1, 1)), np.full((1, 1), 0.5))
    >>> (real**2 + imag**2).round(4).tolist()  # cos² and sin² of 0.5
    [0.7702, 0.2298]
    """
    _check(real, imag, interactions, waits, shifts, angles)
    stages = Stages(interactions, waits, shifts, angles, float(decay_per_us))
    implementation("splitting", backend, real, imag).advance(real, imag, stages, threads)


def multiply_phases(state: NDArray[np.complexfloating], angles: Reals) -> None:
    """Multiply every amplitude by exp(i Σ angle of the atoms in r), in place.

    Args:
        state: Amplitudes, shape (2^n_atoms,).
        angles: One per atom (rad), shape (n_atoms,).

    >>> state = np.ones(2, dtype=np.complex128)
    >>> multiply_phases(state, np.array([np.pi]))
    >>> state.real.round(3).tolist()
    [1.0, -1.0]
    """
    half = len(angles) // 2
    rows, columns = products(np.exp(1j * angles[:half])), products(np.exp(1j * angles[half:]))
    table = state.reshape(len(rows), len(columns))
    here = array_module(state).asarray
    table *= here(rows[:, None].astype(state.dtype))
    table *= here(columns.astype(state.dtype))


def products(factors: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    """Return the product of the factors of the set bits of every index, first factor leftmost.

    >>> products(np.array([2.0, 3.0])).tolist()
    [1.0, 3.0, 2.0, 6.0]
    """
    table = np.ones(1, dtype=factors.dtype)
    for factor in factors[::-1]:
        table = np.concatenate([table, factor * table])
    return table


def _check(
    real: Part, imag: Part, interactions: Reals, waits: Reals, shifts: Reals, angles: Reals
) -> None:
    n_atoms = len(interactions)
    for name, part in (("real", real), ("imag", imag)):
        if part.dtype not in (np.float32, np.float64) or part.dtype != real.dtype:
            raise KernelInputError(name, f"is {part.dtype}", "both are float32 or both float64")
        if part.shape != (1 << n_atoms,) or not part.flags.c_contiguous:
            found = f"has shape {part.shape} and strides {part.strides}"
            raise KernelInputError(name, found, f"{n_atoms} atoms need {1 << n_atoms} in a row")
    shape = (len(waits), n_atoms)
    for name, table in (("shifts", shifts), ("angles", angles)):
        if table.shape != shape:
            raise KernelInputError(name, f"has shape {table.shape}", f"expected {shape}")
    if angles.size and not (np.abs(angles).max() < 0.5 * np.pi):
        raise KernelInputError(
            "angles", f"reach {np.abs(angles).max():.3g} rad", "split turns of π/2 and more"
        )
