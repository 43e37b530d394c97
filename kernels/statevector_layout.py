"""Where operators on a few sites of a mixed radix find their amplitudes."""

from __future__ import annotations

import itertools
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def block_layout(
    dims: Sequence[int], sites: Sequence[int], out_dims: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Say where a block finds its amplitudes, and where it puts them.

    Args:
        dims: Levels of every site before the operator.
        sites: The sites it acts on.
        out_dims: Levels of `sites` afterwards.

    Returns:
        Runs of untouched sites as (settings, stride before, stride after), shape (n_sites + 1, 3),
        the last one contiguous; and the index offset of every joint level of `sites`, before and
        after.
    """
    new_dims = list(dims)
    for site, dim in zip(sites, out_dims, strict=True):
        new_dims[site] = dim
    bounds = [-1, *sorted(sites), len(dims)]
    runs = [
        (
            prod(dims[lo + 1 : hi]),
            prod(dims[hi:]) if hi < len(dims) else 1,
            prod(new_dims[hi:]) if hi < len(dims) else 1,
        )
        for lo, hi in itertools.pairwise(bounds)
    ]
    in_offsets = _offsets(dims, sites)
    out_offsets = in_offsets if new_dims == list(dims) else _offsets(new_dims, sites)
    return np.array(runs, dtype=np.int64), in_offsets, out_offsets


def _offsets(dims: Sequence[int], sites: Sequence[int]) -> NDArray[np.int64]:
    """Index offset of every joint level of `sites`."""
    offsets = np.zeros(1, dtype=np.int64)
    for site in sites:
        digits = np.arange(dims[site], dtype=np.int64) * prod(dims[site + 1 :])
        offsets = (offsets[:, None] + digits).reshape(-1)
    return offsets


def pattern_of(
    dims: Sequence[int], sites: Sequence[int], marked: dict[int, int], weight: dict[int, int]
) -> NDArray[np.int64]:
    """Sum of the weights of the controls in their marked level, for every setting of `sites`."""
    pattern = np.zeros(1, dtype=np.int64)
    for site in sites:
        bit = np.zeros(dims[site], dtype=np.int64)
        if site in marked:
            bit[marked[site]] = weight[site]
        pattern = np.add.outer(pattern, bit).reshape(-1)
    return pattern
