"""Packed shots of states of atoms, and what the camera makes of them.

Shots are `uint64[n_shots, ceil(n_atoms / 64)]`, bit k of a shot is atom k; r reads 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels import statevector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    State = NDArray[np.complexfloating]


def sample_packed(
    state: State,
    n_shots: int,
    rng: np.random.Generator,
    *,
    threads: int | None = None,
    atoms: Sequence[int] | None = None,
    n_atoms: int | None = None,
) -> Words:
    """Measure every atom.

    Args:
        state: Amplitudes, shape (2^k,); need not be normalised.
        n_shots: Number of shots.
        rng: Source of randomness.
        threads: Most threads to use.
        atoms: Which atoms the k bits of the state are, ascending; all of them when left out.
        n_atoms: How many atoms there are; those that the state lacks read 0. k when left out.

    Returns:
        Packed shots, shape (n_shots, ceil(n_atoms / 64)).

    >>> sample_packed(np.array([0.0, 0.0, 1.0, 0.0]), 2, np.random.default_rng(0)).tolist()
    [[1], [1]]
    """
    n_held = state.size.bit_length() - 1
    places = range(n_held) if atoms is None else atoms
    n_words = -(-(n_held if n_atoms is None else n_atoms) // 64)
    indices = statevector.sample_indices(state, n_shots, rng, threads=threads).astype(np.uint64)
    packed = np.zeros((n_shots, n_words), dtype=np.uint64)
    for k, atom in enumerate(places):
        bit = (indices >> np.uint64(n_held - 1 - k)) & np.uint64(1)
        packed[:, atom // 64] |= bit << np.uint64(atom % 64)
    return packed


def flip_packed(
    shots: Words, n_atoms: int, p_false_pos: float, p_false_neg: float, rng: np.random.Generator
) -> Words:
    """Apply read-out errors.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_atoms / 64)).
        n_atoms: Number of atoms.
        p_false_pos: Probability that g reads 1.
        p_false_neg: Probability that r reads 0.
        rng: Source of randomness.

    Returns:
        What the camera reports; `shots` itself where both are 0.

    >>> shots = np.array([[2]], dtype=np.uint64)
    >>> flip_packed(shots, 2, 1.0, 1.0, np.random.default_rng(0)).tolist()
    [[1]]
    """
    if not (p_false_pos or p_false_neg):
        return shots
    flipped = shots.copy()
    for atom in range(n_atoms):
        word, place = divmod(atom, 64)
        ones = (shots[:, word] >> np.uint64(place)) & np.uint64(1)
        wrong = rng.random(len(shots)) < np.where(ones, p_false_neg, p_false_pos)
        flipped[:, word] ^= wrong.astype(np.uint64) << np.uint64(place)
    return flipped
