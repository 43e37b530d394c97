"""Splitting methods in NumPy; `kernels.splitting` says what each function takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.kernels.splitting import Stages

    Part = NDArray[np.floating]


def advance(real: Part, imag: Part, stages: Stages, threads: int | None) -> None:
    """Apply the stages one after the other."""
    del threads
    interactions, waits, shifts, angles, decay_per_us = stages
    n_atoms = len(interactions)
    excited = (np.arange(1 << n_atoms)[:, None] >> np.arange(n_atoms)[::-1]) & 1
    energy = np.einsum("si,ij,sj->s", excited, np.triu(interactions, 1), excited)
    state = real + 1j * imag
    for wait, shift, angle in zip(waits, shifts, angles, strict=True):
        gathered = excited @ (1j * shift - 0.5 * decay_per_us * wait) - 1j * wait * energy
        state = (state * np.exp(gathered)).astype(state.dtype)
        for atom in np.flatnonzero(angle):
            state = _turn(state, n_atoms, int(atom), float(angle[atom]))
    real[:], imag[:] = state.real, state.imag


def _turn(
    state: NDArray[np.complexfloating], n_atoms: int, atom: int, angle: float
) -> NDArray[np.complexfloating]:
    """Apply exp(-i angle X) to one atom."""
    pairs = state.reshape(1 << atom, 2, 1 << (n_atoms - 1 - atom))
    turned = np.cos(angle) * pairs - 1j * np.sin(angle) * pairs[:, ::-1]
    flat: NDArray[np.complexfloating] = turned.reshape(-1).astype(state.dtype)
    return flat
