"""Repeats as HDR histograms: within 1 %, in about a kilobyte of text, as every HDR tool reads them.

A record holds `{"per_unit": 1000, "hdr": "HISTFAAAA…"}`: the counts of whole numbers that are the
values times `per_unit`, in the compressed V2 encoding of HdrHistogram.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ENOUGH: Final = 1_000  # repeats from which on a record holds their histogram
DIGITS: Final = 2
_MOST_DIGITS: Final = 18  # of the largest count, which has 63 bits


def encoded(values: NDArray[np.float64] | Sequence[float]) -> dict[str, Any]:
    """Return the histogram of values in any unit.

    Args:
        values: Shape (n_values,), at least one, none below 0.

    Raises:
        ValueError: There is no value, or a negative one, which these histograms cannot hold.
        ModuleNotFoundError: The package hdrhistogram is not installed.
    """
    from hdrh.histogram import HdrHistogram  # noqa: PLC0415 - a bare GPU node has none

    given = np.asarray(values, dtype=np.float64)
    if given.size == 0 or given.min() < 0.0:
        raise ValueError("a histogram takes one value or more, none below 0")
    per_unit = _per_unit(given)
    counted, n_times = np.unique(np.rint(given * per_unit).astype(np.int64), return_counts=True)
    histogram = HdrHistogram(1, max(2, int(counted[-1])), DIGITS)
    for value, count in zip(counted.tolist(), n_times.tolist(), strict=True):
        histogram.record_value(value, count)
    return {"per_unit": per_unit, "hdr": histogram.encode().decode()}


def _per_unit(values: NDArray[np.float64]) -> int:
    """Power of ten that gives the smallest value a hundred counts, and the largest not too many."""
    positive = values[values > 0.0]
    if positive.size == 0:
        return 1
    wanted = 2 - math.floor(math.log10(positive.min()))
    most = math.floor(_MOST_DIGITS - math.log10(positive.max()))
    return int(10 ** max(0, min(wanted, most)))


def buckets(record: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Read a histogram.

    Args:
        record: As `encoded` gives it.

    Returns:
        The highest value of each bucket that is not empty, in the unit of the values and in rising
        order, and how many values it holds, shape (n_buckets,) both.
    """
    from hdrh.histogram import HdrHistogram  # noqa: PLC0415 - a bare GPU node has none

    histogram = HdrHistogram.decode(record["hdr"])
    # The iterator hands out the same object again and again.
    lines = [
        (one.value_iterated_to, one.count_at_value_iterated_to)
        for one in histogram.get_recorded_iterator()
    ]
    highest, counts = np.array(lines, dtype=np.int64).T
    return highest / record["per_unit"], counts
