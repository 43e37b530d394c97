"""Propagators of several atoms driven at the same time: dense, exact to rounding."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.emulator.propagators import US_PER_NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.emulator.windows import Drive

_HOP = np.zeros((3, 3), dtype=np.complex128)
_HOP[2, 0] = 1.0
_IN_R = np.diag([0.0, 0.0, 1.0]).astype(np.complex128)


def cluster_propagator(
    drives: Sequence[Drive],
    couplings: NDArray[np.float64],
    shifts_rad_per_us: NDArray[np.float64],
    decay_per_us: float = 0.0,
) -> NDArray[np.complex128]:
    """Propagate a few driven atoms through a window.

    Args:
        drives: One drive per atom, all of the same length.
        couplings: Mutual V_ij (rad/µs), shape (k, k).
        shifts_rad_per_us: Sum of V over other atoms in r, per case and atom, shape (n_cases, k).
        decay_per_us: Rate at which r loses norm (1/µs).

    Returns:
        Propagators over the levels (g, h, r)^k, shape (n_cases, 3^k, 3^k).
    """
    from scipy.linalg import expm  # noqa: PLC0415

    k = len(drives)
    hops = [_embed(_HOP, atom, k) for atom in range(k)]
    in_r = [_embed(_IN_R, atom, k) for atom in range(k)]
    static = np.zeros((3**k, 3**k), dtype=np.complex128)
    for a, b in itertools.combinations(range(k), 2):
        static += couplings[a, b] * in_r[a] @ in_r[b]
    for occupied in in_r:
        static -= 0.5j * decay_per_us * occupied
    borders = np.unique(np.concatenate([[0.0], *[np.cumsum(d.durations_ns) for d in drives]]))
    results = np.empty((len(shifts_rad_per_us), 3**k, 3**k), dtype=np.complex128)
    for case, shifts in enumerate(shifts_rad_per_us):
        total = np.eye(3**k, dtype=np.complex128)
        for begin, end in itertools.pairwise(borders):
            if end - begin < 1e-9:
                continue
            hamiltonian = static.copy()
            for atom, drive in enumerate(drives):
                ends = np.cumsum(drive.durations_ns)
                piece = min(int(np.searchsorted(ends, 0.5 * (begin + end))), len(ends) - 1)
                half = (
                    0.5 * drive.rabi_rad_per_us[piece] * np.exp(1j * drive.phase_rad) * hops[atom]
                )
                hamiltonian += half + half.conj().T
                hamiltonian += (shifts[atom] - drive.detuning_rad_per_us[piece]) * in_r[atom]
            total = expm(-1j * US_PER_NS * (end - begin) * hamiltonian) @ total
        results[case] = total
    return results


def _embed(operator: NDArray[np.complex128], atom: int, k: int) -> NDArray[np.complex128]:
    """Place a one-atom operator at `atom` of k atoms."""
    before = np.eye(3**atom, dtype=np.complex128)
    after = np.eye(3 ** (k - 1 - atom), dtype=np.complex128)
    return np.kron(np.kron(before, operator), after).astype(np.complex128, copy=False)
