"""Confidence sequences made of bets: which interval to take is said in `kernels.intervals`."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.arguments import check_integer
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.intervals import (
    Interval,
    check_bounds,
    check_confidence,
    check_same,
    host_kernels,
    scaled_values,
)
from cudaq_target.kernels.reference.intervals import (
    HIGH,
    LOW,
    SUM_BETS,
    SUM_BETS_X,
    SUM_PENALTY,
    TRUNCATION,
    N,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.kernels.backends import Backend


@dataclass(slots=True)
class EmpiricalBernstein:
    """Predictable plug-in empirical Bernstein confidence sequence for a bounded mean.

    Waudby-Smith and Ramdas, arXiv:2010.09686, Theorem 2. With values scaled to [0, 1] and bets

        bet_t = min(1/2, sqrt(2 log(2 / alpha) / (var_{t-1} t log(1 + t)))),

    the interval after t values is

        sum bet_i X_i / sum bet_i  ±  (log(2 / alpha) + sum (X_i - mean_{i-1})² psi_i) / sum bet_i

    with psi_i = -log(1 - bet_i) - bet_i; mean and variance are estimated from the values before,
    as if one value 1/2 of variance 1/4 had come first. The intersection of all intervals so far is
    what `interval` returns: all hold at once with probability `confidence`.

    Attributes:
        low: Least value that can occur.
        high: Largest value that can occur.
        confidence: Of all looks together; it tunes the bets, so it is chosen beforehand.

    Raises:
        KernelInputError: Bounds or level make no sense; a value lies outside the bounds.

    >>> sequence = EmpiricalBernstein(-1.0, 1.0)
    >>> sequence.update(np.tile([1.0, -1.0], 500))
    >>> 0.0 in sequence.interval() and sequence.interval().width < 0.3
    True
    """

    low: float
    high: float
    confidence: float = 0.95
    _state: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_bounds(self.low, self.high)
        check_confidence(self.confidence)
        self._state = np.zeros(8)
        self._state[LOW], self._state[HIGH] = 0.0, 1.0

    @property
    def n_values(self) -> int:
        """How many values came."""
        return int(self._state[N])

    def update(self, values: NDArray[np.float64], *, backend: Backend = "auto") -> None:
        """Take in values, in order.

        The result does not depend on how a stream is cut into updates, up to rounding (bound on
        the ends: 1e-12 of the range per 10^4 values; tested between back ends too).

        Args:
            values: Shape (n_values,), may be empty.
            backend: See `kernels.backends`.

        Raises:
            KernelInputError: A value is no number or lies outside the bounds; none was taken in.
        """
        scaled = scaled_values(values, self.low, self.high)
        log_two_over_alpha = log(2.0 / (1.0 - self.confidence))
        host_kernels(backend).bernstein_advance(scaled, self._state, log_two_over_alpha)

    def interval(self) -> Interval:
        """Return where the mean is, with all looks so far holding at once."""
        span = self.high - self.low
        low, high = float(self._state[LOW]), float(self._state[HIGH])
        return Interval(self.low + span * low, self.low + span * high)

    def merged(self, other: EmpiricalBernstein) -> EmpiricalBernstein:
        """Join two sequences that saw independent values of one mean.

        The product of their test martingales is one (each bet was made before its value came), so
        the sums of the formula add. Intersections of the parts are dropped: each spent the whole
        error probability.

        Args:
            other: Of the same bounds and level.

        Raises:
            KernelInputError: Bounds or level differ.
        """
        check_same(self, other)
        joined = EmpiricalBernstein(self.low, self.high, self.confidence)
        state = joined._state
        state[:] = self._state + other._state
        state[LOW], state[HIGH] = 0.0, 1.0
        if state[N]:
            center = state[SUM_BETS_X] / state[SUM_BETS]
            alpha = 1.0 - self.confidence
            radius = (log(2.0 / alpha) + state[SUM_PENALTY]) / state[SUM_BETS]
            state[LOW], state[HIGH] = max(0.0, center - radius), min(1.0, center + radius)
        return joined


@dataclass(slots=True)
class HedgedBetting:
    """Hedged capital confidence sequence for a bounded mean.

    Waudby-Smith and Ramdas, arXiv:2010.09686, Theorem 3. For each candidate mean m one gambler bets
    that the mean is larger, one that it is smaller; with values scaled to [0, 1],

        K+_t(m) = prod (1 + min(bet_i, 1 / 2m) (X_i - m)),
        K-_t(m) = prod (1 - min(bet_i, 1 / 2(1 - m)) (X_i - m)),

    with the bets of `EmpiricalBernstein`, not truncated. A candidate is out for good once one of
    them holds 2 / alpha times its stake. Both capitals are monotone in m, so the candidates left
    are an interval; its ends are the next candidates outside, so that the grid costs width and
    never coverage. A value costs time in proportion to the candidates left.

    Attributes:
        low: Least value that can occur.
        high: Largest value that can occur.
        confidence: Of all looks together.
        n_points: Candidates; no interval gets narrower than (high - low) / (n_points - 1).

    Raises:
        KernelInputError: Bounds, level or number of candidates make no sense; a value lies outside
            the bounds.

    >>> sequence = HedgedBetting(0.0, 1.0)
    >>> sequence.update(np.tile([1.0, 0.0], 500))
    >>> 0.5 in sequence.interval() and sequence.interval().width < 0.15
    True
    """

    low: float
    high: float
    confidence: float = 0.95
    n_points: int = 1025
    _moments: NDArray[np.float64] = field(init=False, repr=False)
    _plus: NDArray[np.float64] = field(init=False, repr=False)
    _minus: NDArray[np.float64] = field(init=False, repr=False)
    _ends: NDArray[np.int64] = field(init=False, repr=False)
    _caps: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_bounds(self.low, self.high)
        check_confidence(self.confidence)
        check_integer(self.n_points, "n_points", at_least=3)
        self._moments = np.zeros(3)
        self._plus, self._minus = np.ones(self.n_points), np.ones(self.n_points)
        # One before the first candidate and one after the last: nothing is ruled out.
        self._ends = np.array([-1, self.n_points], dtype=np.int64)
        with np.errstate(divide="ignore"):
            self._caps = TRUNCATION / np.linspace(0.0, 1.0, self.n_points)

    @property
    def n_values(self) -> int:
        """How many values came."""
        return int(self._moments[N])

    def update(self, values: NDArray[np.float64], *, backend: Backend = "auto") -> None:
        """Take in values, in order.

        The result does not depend on how a stream is cut into updates; back ends agree to one
        step of the grid, and on all candidates whose capital is not within 1e-12 of the threshold.

        Args:
            values: Shape (n_values,), may be empty.
            backend: See `kernels.backends`.

        Raises:
            KernelInputError: A value is no number or lies outside the bounds; none was taken in.
        """
        scaled = scaled_values(values, self.low, self.high)
        log_two_over_alpha = log(2.0 / (1.0 - self.confidence))
        host_kernels(backend).betting_advance(
            scaled,
            self._moments,
            self._plus,
            self._minus,
            self._ends,
            self._caps,
            log_two_over_alpha,
        )

    def interval(self) -> Interval:
        """Return where the mean is, with all looks so far holding at once."""
        step = (self.high - self.low) / (self.n_points - 1)
        first, last = max(int(self._ends[0]), 0), min(int(self._ends[1]), self.n_points - 1)
        return Interval(self.low + step * first, self.low + step * last)

    def merged(self, other: HedgedBetting) -> HedgedBetting:
        """Join two sequences that saw independent values of one mean: capitals multiply.

        Args:
            other: Of the same bounds, level and candidates.

        Raises:
            KernelInputError: They differ.
        """
        check_same(self, other)
        if self.n_points != other.n_points:
            found = f"has {other.n_points} candidates"
            raise KernelInputError("other", found, f"this one has {self.n_points}")
        joined = HedgedBetting(self.low, self.high, self.confidence, self.n_points)
        joined._moments += self._moments + other._moments
        joined._plus *= self._plus * other._plus
        joined._minus *= self._minus * other._minus
        rich = 2.0 / (1.0 - self.confidence)
        # Bets on a candidate ended when it was ruled out, so capital is no longer monotone in it:
        # only candidates without an open one further out count as ruled out.
        joined._ends[0] += int(np.argmin(np.append(joined._plus >= rich, False)))
        joined._ends[1] -= int(np.argmin(np.append(joined._minus[::-1] >= rich, False)))
        return joined
