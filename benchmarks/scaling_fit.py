"""What a curve says: its points, and how fast it grows."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.latency import rounded
from benchmarks.timing import in_turns, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.timing import Pair


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return k of the power law cost = c·size^k that fits best on logarithmic axes.

    Args:
        sizes: At least two different ones, above 0.
        costs: One per size, above 0.

    >>> round(exponent([1.0, 10.0, 100.0], [2.0, 20.0, 200.0]), 6)
    1.0
    """
    slope, _ = np.polyfit(np.log(sizes), np.log(costs), 1)
    return float(slope)


def growth(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return by how much one more unit of size multiplies the cost.

    Args:
        sizes: At least two different ones.
        costs: One per size, above 0.

    >>> round(growth([1, 2, 3], [1.0, 2.0, 4.0]), 6)
    2.0
    """
    slope, _ = np.polyfit(sizes, np.log(costs), 1)
    return math.exp(float(slope))


def repeated(run: Callable[[], object], *, budget_s: float, most: int = 20) -> list[float]:
    """Time a call until the budget is spent (s each); the first, which warms up, counts alone.

    Args:
        run: What to time.
        budget_s: No repeat begins after so long (s); a first call beyond it is the only one.
        most: Most repeats.
    """
    first = seconds(run)
    taken: list[float] = []
    while len(taken) < most and first + sum(taken) < budget_s:
        taken.append(seconds(run))
    return taken or [first]


def paired(
    ours: Callable[[], object], peer: Callable[[], object], *, budget_s: float, most: int = 10
) -> Pair:
    """Time two contenders in turns, as often as a budget of time (s) allows, once at least."""
    once = in_turns(lambda: seconds(ours), lambda: seconds(peer), 1)
    repeats = int(min(most, budget_s / (once.ours + once.peer)))
    if repeats < 1:
        return once
    return in_turns(lambda: seconds(ours), lambda: seconds(peer), repeats)


def spread_ms(taken_s: Sequence[float]) -> dict[str, float | int | None]:
    """Median and smallest of some times (ms), and how many there are."""
    return {
        "median_ms": rounded(1e3 * statistics.median(taken_s)),
        "min_ms": rounded(1e3 * min(taken_s)),
        "repeats": len(taken_s),
    }
