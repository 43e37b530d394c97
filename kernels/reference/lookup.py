"""Look-ups of syndromes in NumPy, by binary search among sorted keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]


def as_strings(rows: Words) -> NDArray[np.void]:
    """View rows of words as values that compare byte by byte, shape (n_rows,)."""
    contiguous = np.ascontiguousarray(rows)
    return contiguous.view(np.dtype((np.void, 8 * rows.shape[1])))[:, 0]


def look_up(keys: Words, values: Words, syndromes: Words) -> Words:
    """Return the value of each syndrome, zeros for those that are no key.

    Args:
        keys: Ascending as byte strings, without repeats, shape (n_rows, n_words).
        values: Shape (n_rows, n_value_words).
        syndromes: Shape (n_shots, n_words).

    Returns:
        Shape (n_shots, n_value_words).
    """
    known, wanted = as_strings(keys), as_strings(syndromes)
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    is_known = known[place] == wanted
    return np.where(is_known[:, None], values[place], np.uint64(0))
