"""Confidence intervals that stay valid when a loop looks at them after every shot.

An ordinary interval of level 95 % holds at one number of shots that was chosen beforehand. A loop
that looks after every frame and stops when it likes the result needs a *confidence sequence*: with
probability at least `confidence`, its intervals contain the mean at every look at once. Four:

- `MixtureBernstein` for bounded values: three sums, follows the variance, the tightest from some
  1000 values on; covers the average mean even while the mean drifts;
- `betting.EmpiricalBernstein` for bounded values: intersects the intervals of all looks, which
  shows drift;
- `betting.HedgedBetting` for bounded values: the tightest on few values, on a grid of means;
- `bernoulli_interval` for bits: a function of the counts.

All but the first need a mean that, given the past, is constant. Widths shrink as sqrt(log n / n)
where that of a single look shrinks as sqrt(1 / n); none can beat sqrt(log log n / n), the law of
the iterated logarithm. At 95 % on fair bits, as multiples of the single look's width:

| values | single look | mixture | plug-in | betting | Bernoulli |
|---|---|---|---|---|---|
| 100 | 0.195 | 2.0 | 1.7 | 1.6 | 1.7 |
| 10^4 | 0.0196 | 2.0 | 2.5 | 2.7 | 2.0 |
| 10^6 | 0.00196 | 2.2 | 3.6 | 3.9 | 2.3 |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import lgamma, log, log1p
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cudaq_target.kernels.arguments import check_number, check_ones, host_array
from cudaq_target.kernels.backends import implementation
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.reference.intervals import N

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from cudaq_target.kernels.backends import Backend

_ROUNDING = 1e-9
"""Part of the range by which rounding may carry a value beyond its bounds; it is then clipped."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval, in the unit of the values.

    Attributes:
        low: Lower end.
        high: Upper end; below `low` where the looks so far contradict one another, which happens
            with probability at most 1 - confidence while the mean stays the same: a drift.
    """

    low: float
    high: float

    @property
    def width(self) -> float:
        """Length; negative where the interval is empty."""
        return self.high - self.low

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)


def check_confidence(confidence: float, name: str = "confidence") -> None:
    """Refuse a level outside (0, 1).

    Raises:
        KernelInputError: See above.
    """
    if not 0.0 < check_number(confidence, name) < 1.0:
        raise KernelInputError(name, f"is {confidence}", "use a number between 0 and 1")


def check_bounds(low: float, high: float) -> None:
    """Refuse bounds of a variable that are not finite or leave no room between them.

    Raises:
        KernelInputError: See above.
    """
    if not check_number(low, "low") < check_number(high, "high"):
        raise KernelInputError("low, high", f"are {low}, {high}", "use low < high")


class BoundedMean(Protocol):
    """What the sequences for bounded values have in common."""

    low: float
    high: float
    confidence: float

    @property
    def n_values(self) -> int:
        """How many values came."""
        ...

    def update(self, values: NDArray[np.float64], *, backend: Backend = ...) -> None:
        """Take in values, in order, shape (n_values,)."""
        ...

    def interval(self) -> Interval:
        """Return where the mean is."""
        ...


def host_kernels(backend: Backend) -> ModuleType:
    """Choose between the loops for scalars, which a GPU has no use for."""
    return implementation("intervals", "auto" if backend == "gpu" else backend)


def scaled_values(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Map values from [low, high] to [0, 1].

    Raises:
        KernelInputError: A value is no number or lies outside; rounding may carry it 1e-9 of the
            range beyond, where it is clipped.
    """
    values = host_array(values, "values")
    if values.dtype.kind not in "fiub" or values.ndim != 1:
        found = f"has dtype {values.dtype} and shape {values.shape}"
        raise KernelInputError("values", found, "pass real numbers of shape (n_values,)")
    scaled = (values.astype(np.float64) - low) / (high - low)
    outside = ~((scaled >= -_ROUNDING) & (scaled <= 1.0 + _ROUNDING))  # NaN counts as outside
    if outside.any():
        worst = values[np.flatnonzero(outside)[0]]
        expected = f"each value must lie in [{low}, {high}]; the interval rests on that"
        raise KernelInputError("values", f"contain {worst}", expected)
    return np.clip(scaled, 0.0, 1.0)


@dataclass(slots=True)
class MixtureBernstein:
    """Empirical Bernstein confidence sequence for a bounded mean, mixed over all bets.

    Howard, Ramdas, McAuliffe and Sekhon, arXiv:1810.08240, Theorem 4. With values scaled to [0, 1]
    and m_t the mean as estimated from t values (as if one value 1/2 had come first), put
    S_t = sum (X_i - mean) and V_t = sum (X_i - m_{i-1})². Then exp(b S_t - V_t (-log(1 - b) - b))
    is a supermartingale for each bet b in [0, 1). Mixed over b with density proportional to
    (1 - b)^(r - 1) exp(-r (1 - b)), the conjugate (gamma-exponential) prior, it is

        M(S, V) = c(V + r, S + V + r) / c(r, r) exp(S),   c(k, z) = gamma(k, z) e^k / z^k

    with gamma the lower incomplete gamma function. M increases with S and reaches 2 / alpha at
    n times the half width of the interval around the plain average. The mean may drift: the
    interval then holds the average of the means given the past, and intervals of different looks
    must not be intersected.

    Attributes:
        low: Least value that can occur.
        high: Largest value that can occur.
        confidence: Of all looks together.
        prior: r, in squared ranges: about the V at which the interval is tightest.

    Raises:
        KernelInputError: Bounds, level or prior make no sense; a value lies outside the bounds.

    >>> sequence = MixtureBernstein(-1.0, 1.0)
    >>> sequence.update(np.tile([1.0, -1.0], 500))
    >>> 0.0 in sequence.interval() and sequence.interval().width < 0.25
    True
    """

    low: float
    high: float
    confidence: float = 0.95
    prior: float = 1.0
    _state: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_bounds(self.low, self.high)
        check_confidence(self.confidence)
        if check_number(self.prior, "prior") <= 0.0:
            raise KernelInputError("prior", f"is {self.prior}", "use a positive number")
        self._state = np.zeros(3)

    @property
    def n_values(self) -> int:
        """How many values came."""
        return int(self._state[N])

    def update(self, values: NDArray[np.float64], *, backend: Backend = "auto") -> None:
        """Take in values, in order.

        The result does not depend on how a stream is cut into updates, and back ends agree, up to
        rounding: 1e-12 of the range, tested.

        Args:
            values: Shape (n_values,), may be empty.
            backend: See `kernels.backends`.

        Raises:
            KernelInputError: A value is no number or lies outside the bounds; none was taken in.
        """
        scaled = scaled_values(values, self.low, self.high)
        host_kernels(backend).mixture_advance(scaled, self._state)

    def interval(self) -> Interval:
        """Return where the mean is."""
        n_values, total, squares = self._state
        if n_values == 0.0:
            return Interval(self.low, self.high)
        half = _mixture_boundary(squares, self.prior, log(2.0 / (1.0 - self.confidence)))
        span = self.high - self.low
        low, high = max((total - half) / n_values, 0.0), min((total + half) / n_values, 1.0)
        return Interval(self.low + span * float(low), self.low + span * float(high))

    def merged(self, other: MixtureBernstein) -> MixtureBernstein:
        """Join two sequences of independent values: for each bet b the exponents add.

        Args:
            other: Of the same bounds, level and prior.

        Raises:
            KernelInputError: They differ.
        """
        check_same(self, other)
        if self.prior != other.prior:
            raise KernelInputError("other", f"has prior {other.prior}", f"use {self.prior}")
        joined = MixtureBernstein(self.low, self.high, self.confidence, self.prior)
        joined._state += self._state + other._state
        return joined


def _mixture_boundary(squares: float, prior: float, log_threshold: float) -> float:
    """Return the S >= 0 at which log M(S, V) reaches a threshold, rounded up."""
    from scipy.optimize import brentq  # noqa: PLC0415 - 0.1 s to load, and only looks need it

    def excess(deviation: float) -> float:
        return log_mixture(deviation, squares, prior) - log_threshold

    top = 1.0
    while excess(top) < 0.0:
        top *= 2.0
    return float(brentq(excess, 0.0, top, xtol=1e-9, rtol=1e-12)) * (1.0 + 1e-11) + 1e-8


def log_mixture(deviation: float, squares: float, prior: float) -> float:
    """Return log M(S, V) of `MixtureBernstein`, in units of the range.

    Args:
        deviation: S >= 0; arrays work too.
        squares: V >= 0.
        prior: r > 0.

    >>> bool(log_mixture(0.0, 0.0, 1.0) == 0.0)
    True
    """
    from scipy.special import gammainc, gammaln  # noqa: PLC0415 - as above

    def log_c(k: float, z: float) -> float:
        value: float = gammaln(k) + np.log(gammainc(k, z)) + k * (1.0 - np.log(z))
        return value

    k = squares + prior
    return log_c(k, deviation + k) - log_c(prior, prior) + deviation


def check_same(one: BoundedMean, other: BoundedMean) -> None:
    """Refuse to join sequences of different bounds or levels.

    Raises:
        KernelInputError: They differ.
    """
    mine, others = ((sequence.low, sequence.high, sequence.confidence) for sequence in (one, other))
    if mine != others:
        found = f"has low, high, confidence {others}"
        raise KernelInputError("other", found, f"both need {mine}")


def bernoulli_interval(n_ones: int, n_values: int, confidence: float = 0.95) -> Interval:
    """Return where a probability is, from counts, however often one looked before.

    The mixture of likelihood ratios over a Beta(1/2, 1/2) prior,

        M(p) = B(n1 + 1/2, n0 + 1/2) / B(1/2, 1/2) / (p^n1 (1 - p)^n0),

    is a martingale of mean 1 when p is the probability, so that it ever exceeds 1 / alpha with
    probability at most alpha (Ville's inequality; Robbins, Ann. Math. Statist. 41, 1397 (1970); as
    a conjugate mixture, Howard et al., arXiv:1810.08240, section 3). log M is convex in p; its two
    crossings are found by bisection, rounded outward.

    Args:
        n_ones: How often 1 came.
        n_values: How many bits came.
        confidence: Of all looks together.

    Returns:
        The interval, within [0, 1].

    Raises:
        KernelInputError: Counts or level make no sense.

    >>> interval = bernoulli_interval(500, 1000)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.442, 0.558)
    """
    check_confidence(confidence)
    check_ones(n_ones, n_values, "values")
    # By symmetry one side is enough: the upper end is 1 minus the lower end of the zeros.
    low = _lower_end(n_ones, n_values - n_ones, confidence)
    return Interval(low, 1.0 - _lower_end(n_values - n_ones, n_ones, confidence))


def _lower_end(n_ones: int, n_zeros: int, confidence: float) -> float:
    if n_ones == 0:
        return 0.0
    threshold = -log1p(-confidence)
    mixture = lgamma(n_ones + 0.5) + lgamma(n_zeros + 0.5) - lgamma(n_ones + n_zeros + 1.0)
    mixture -= log(np.pi)  # B(1/2, 1/2)

    def is_out(p: float) -> bool:
        likelihood = n_ones * log(p) + (n_zeros * log1p(-p) if n_zeros else 0.0)
        return mixture - likelihood >= threshold

    out, inside = 0.0, n_ones / (n_ones + n_zeros)
    for _ in range(200):
        middle = 0.5 * (out + inside)
        if middle in (out, inside):
            break
        out, inside = (middle, inside) if is_out(middle) else (out, middle)
    return out
