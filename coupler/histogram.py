"""Histogram of durations with a bounded relative error, as HDR histograms are.

Each power of two is split into 128 equal buckets, so that a value is known within 0.8 %, from
nanoseconds to hours, in 58 kB and without a choice of range.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS: Final = 7
_N_SUB: Final = 1 << _BITS
MAX_VALUE: Final = (1 << 62) - 1


class Histogram:
    """Counts of non-negative whole numbers, for example nanoseconds."""

    def __init__(self) -> None:
        """Start empty."""
        self._counts = np.zeros((64 - _BITS) * _N_SUB, dtype=np.int64)
        self._mean = 0.0
        self._spread = 0.0  # sum of the squared distances from the mean
        self._min: int | None = None
        self._max: int | None = None

    @property
    def n_values(self) -> int:
        """How many values were recorded."""
        return int(self._counts.sum())

    @property
    def minimum(self) -> int | None:
        """The smallest value, exactly; None where there is none."""
        return self._min

    @property
    def maximum(self) -> int | None:
        """The largest value, exactly; None where there is none."""
        return self._max

    @property
    def mean(self) -> float:
        """The mean, exactly; NaN where there is no value."""
        return self._mean if self.n_values else float("nan")

    @property
    def std(self) -> float:
        """The standard deviation of the values; NaN where there is none."""
        return float(np.sqrt(self._spread / self.n_values)) if self.n_values else float("nan")

    def record(self, values: NDArray[np.int64] | Sequence[int]) -> None:
        """Count values.

        Args:
            values: Shape (n_values,), each 0 to `MAX_VALUE`.

        Raises:
            ValueError: A value is out of range; none of them is counted.
        """
        new = np.asarray(values, dtype=np.int64)
        if new.size == 0:
            return
        low, high = int(new.min()), int(new.max())
        if low < 0 or high > MAX_VALUE:
            message = f"values from {low} to {high} do not fit; 0 to {MAX_VALUE} do"
            raise ValueError(message)
        mean = float(new.mean())
        spread = float(np.square(new - mean).sum())
        self._add_moments(new.size, mean, spread)
        self._counts += np.bincount(_buckets(new), minlength=len(self._counts))
        self._min = low if self._min is None else min(low, self._min)
        self._max = high if self._max is None else max(high, self._max)

    def merge(self, other: Histogram) -> None:
        """Count the values of another histogram, too.

        Args:
            other: It stays as it is.
        """
        if other._min is None or other._max is None:
            return
        self._add_moments(other.n_values, other._mean, other._spread)
        self._counts += other._counts
        self._min = other._min if self._min is None else min(self._min, other._min)
        self._max = other._max if self._max is None else max(self._max, other._max)

    def percentile(self, percent: float) -> int:
        """The value that `percent` % of all values do not exceed, within 0.8 %.

        Args:
            percent: 0 to 100.

        Raises:
            ValueError: There is no value, or `percent` is out of range.
        """
        if self._min is None or self._max is None or not 0 <= percent <= 100:
            message = f"percentile {percent} of {self.n_values} values does not exist"
            raise ValueError(message)
        rank = max(1, int(np.ceil(percent / 100 * self.n_values)))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        return min(max(_highest(bucket), self._min), self._max)

    def buckets(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """What was counted, for files and pictures.

        Returns:
            Lowest value, highest value and count of each bucket that is not empty, in rising
            order, shape (n_buckets,) each.
        """
        filled = np.flatnonzero(self._counts)
        lowest = np.array([_highest(int(k) - 1) + 1 for k in filled], dtype=np.int64)
        highest = np.array([_highest(int(k)) for k in filled], dtype=np.int64)
        return lowest, highest, self._counts[filled]

    def _add_moments(self, n_values: int, mean: float, spread: float) -> None:
        """Join two sets of values; the pairwise update of Chan, Golub and LeVeque (1983)."""
        n_before = self.n_values
        distance = mean - self._mean
        share = n_values / (n_before + n_values)
        self._mean += distance * share
        self._spread += spread + distance**2 * n_before * share


def _buckets(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bucket of each value: itself below 256, then 128 buckets per power of two."""
    # One bit too many where rounding to a float reaches the next power of two; corrected below.
    shift = np.maximum(np.frexp(values.astype(np.float64))[1].astype(np.int64) - _BITS - 1, 0)
    shift -= (values >> shift < _N_SUB) & (shift > 0)
    result: NDArray[np.int64] = (shift << _BITS) + (values >> shift)
    return result


def _highest(bucket: int) -> int:
    """Largest value of a bucket."""
    shift = max(0, (bucket >> _BITS) - 1)
    return ((bucket - (shift << _BITS) + 1) << shift) - 1
