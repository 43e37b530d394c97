"""CVaR: the mean of the lowest part of all costs, with an interval for every look."""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.coupler.loops.interface import Estimate, Point, empty_estimate
from cudaq_target.kernels.arguments import check_number
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.intervals import check_confidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.estimators import ValueOfShot

    Words = NDArray[np.uint64]
    Reals = NDArray[np.float64]


class TailEstimator:
    """Mean of the lowest part of all costs, CVaR: what optimisation by sampling minimises.

    Barkoutsos et al., arXiv:1907.04769, equation (8). Of n shots it averages the ceil(part · n)
    with the least cost. Costs are kept with their counts, as many as there are different ones.

    The interval is rigorous at every look: the Dvoretzky-Kiefer-Wolfowitz inequality with Massart's
    constant gives the whole distribution within ± e_n with probability 1 - a_n, a_n = (1 -
    confidence) / (n (n + 1)), and these a_n sum up to 1 - confidence; CVaR rises when probability
    moves to higher costs, so that its ends belong to the ends of that band. It is wide: e_n enters
    divided by `part`. The standard error is asymptotic.

    Attributes:
        cost: Of a shot.
        part: Of the shots that count, in (0, 1].
        confidence: Of the interval.

    >>> from cudaq_target.coupler.loops.shot_functions import flip_values
    >>> tail = TailEstimator(flip_values(1, [0]), 0.5)
    >>> tail.update(0, np.array([[0], [1], [1], [1]], dtype=np.uint64))
    >>> tail.estimate().value
    0.5
    """

    n_settings = 1

    def __init__(self, cost: ValueOfShot, part: float, *, confidence: float = 0.95) -> None:
        """Start without shots.

        Raises:
            KernelInputError: `part` or `confidence` makes no sense.
        """
        if not 0.0 < check_number(part, "part") <= 1.0:
            raise KernelInputError("part", f"is {part}", "use a number above 0, at most 1")
        check_confidence(confidence)
        self.cost = cost
        self.part = float(part)
        self.confidence = confidence
        self._costs = np.zeros(0)
        self._counts = np.zeros(0, dtype=np.int64)

    def begin(self, point: Point) -> None:  # noqa: ARG002 - the same at every point
        """Forget all shots; another point follows."""
        self._costs, self._counts = np.zeros(0), np.zeros(0, dtype=np.int64)

    def update(self, setting: int, rows: Words) -> None:  # noqa: ARG002 - there is one
        """Take in the rows of a setting; as `interface.Estimator.update`."""
        costs, counts = np.unique(self.cost.values(rows), return_counts=True)
        both = np.concatenate([self._costs, costs])
        weights = np.concatenate([self._counts, counts])
        self._costs, places = np.unique(both, return_inverse=True)
        self._counts = np.bincount(places, weights=weights).astype(np.int64)

    def estimate(self) -> Estimate:
        """What the shots of the point say so far."""
        n = int(self._counts.sum())
        if n == 0:
            return empty_estimate(1, self.confidence)
        share = np.minimum(1.0, np.cumsum(self._counts) / n)
        wanted = np.ceil(self.part * n - 1e-9) / n
        value = _lower_mean(self._costs, share, float(wanted))
        quantile = self._costs[int(np.searchsorted(share, wanted - 1e-12))]
        short = (quantile - self._costs).clip(0.0)
        mean = float(short @ self._counts) / n
        variance = float((short - mean) ** 2 @ self._counts) / n
        # One shot beyond either end of what may come: an error of 0 would stop at equal shots.
        span = self.cost.high - self.cost.low
        deviation = sqrt((variance * n + span**2 / 4.0) / (n + 1)) / self.part
        error = sqrt(variance / (n - 1)) / self.part if n > 1 else inf
        low, high = self._ends(share, n)
        half = max(value - low, high - value)
        return Estimate(value, error, low, high, n, (n,), self.confidence, (deviation,), (half,))

    def _ends(self, share: Reals, n: int) -> tuple[float, float]:
        alpha = (1.0 - self.confidence) / (n * (n + 1.0))
        band = sqrt(np.log(2.0 / alpha) / (2.0 * n))
        early = np.concatenate([[min(1.0, band)], np.minimum(1.0, share + band)])
        late = np.concatenate([(share - band).clip(0.0), [1.0]])
        low = _lower_mean(np.concatenate([[self.cost.low], self._costs]), early, self.part)
        high = _lower_mean(np.concatenate([self._costs, [self.cost.high]]), late, self.part)
        return low, high


def _lower_mean(costs: Reals, share: Reals, part: float) -> float:
    """Average the lowest `part` of a distribution with these costs and cumulated probabilities."""
    steps = np.diff(np.minimum(share, part), prepend=0.0)
    return float(costs @ steps) / part
