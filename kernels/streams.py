"""Observables of a stream of frames: mean, standard error, and an interval for every look.

Each frame is reduced when it comes; no shot is kept. A loop may look after every frame and stop as
soon as an interval is narrow enough: see `kernels.intervals`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from cudaq_target.kernels.backends import Backend, is_on_device
from cudaq_target.kernels.betting import EmpiricalBernstein, HedgedBetting
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.intervals import Interval, MixtureBernstein
from cudaq_target.kernels.moments import RunningMoments

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Reals = NDArray[np.float64]

Method = Literal["mixture", "bernstein", "betting"]

_SEQUENCES = {
    "mixture": MixtureBernstein,
    "bernstein": EmpiricalBernstein,
    "betting": HedgedBetting,
}


@dataclass(slots=True)
class StreamingMean:
    """Mean of bounded values that come in frames.

    Attributes:
        low: Least value that can occur.
        high: Largest value that can occur.
        confidence: That all intervals that are ever looked at contain the mean.
        method: "mixture" (`MixtureBernstein`), "bernstein" (`EmpiricalBernstein`) or "betting"
            (`HedgedBetting`); which to take is said in `kernels.intervals`.

    Raises:
        KernelInputError: Bounds, level or method make no sense.

    >>> ones = StreamingMean(0.0, 1.0)
    >>> ones.update(np.array([1.0, 0.0, 1.0, 1.0]))
    >>> ones.n_values, ones.mean
    (4, 0.75)
    """

    low: float
    high: float
    confidence: float = 0.95
    method: Method = "mixture"
    _sequence: MixtureBernstein | EmpiricalBernstein | HedgedBetting = field(init=False, repr=False)
    _moments: RunningMoments = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.method not in _SEQUENCES:
            expected = "use 'mixture', 'bernstein' or 'betting'"
            raise KernelInputError("method", f"is {self.method!r}", expected)
        self._sequence = _SEQUENCES[self.method](self.low, self.high, self.confidence)
        self._moments = RunningMoments.empty(1)

    @property
    def n_values(self) -> int:
        """How many values came."""
        return self._moments.n

    @property
    def mean(self) -> float:
        """Of the values so far.

        Raises:
            KernelInputError: There are none.
        """
        if self.n_values == 0:
            raise KernelInputError("values", "are none so far", "a mean needs one")
        return float(self._moments.mean[0])

    @property
    def variance(self) -> float:
        """Of the values so far, unbiased; raises `KernelInputError` for fewer than two."""
        return float(self._moments.variance()[0])

    @property
    def standard_error(self) -> float:
        """Of the mean; raises `KernelInputError` for fewer than two values."""
        return float(self._moments.standard_error()[0])

    def update(self, values: Reals, *, backend: Backend = "auto") -> None:
        """Take in the values of a frame, in order.

        Args:
            values: Shape (n_values,), may be empty.
            backend: Where to compute.

        Raises:
            KernelInputError: A value is no number or lies outside the bounds; none was taken in.
        """
        host = values.get() if is_on_device(values) else values  # type: ignore[attr-defined]
        self._sequence.update(host, backend=backend)
        if len(host):
            column = np.ascontiguousarray(host, dtype=np.float64).reshape(-1, 1)
            self._moments = self._moments.add(column)

    def interval(self) -> Interval:
        """Return where the mean is: all intervals ever returned hold at once."""
        return self._sequence.interval()

    def merged(self, other: StreamingMean) -> StreamingMean:
        """Join two streams of independent values of one mean, for example of two servers.

        Args:
            other: With the same bounds, level and method.

        Returns:
            One stream; its parts stay as they are.

        Raises:
            KernelInputError: Bounds, level or method differ.
        """
        if self.method != other.method:
            raise KernelInputError("other", f"is of method {other.method!r}", f"use {self.method}")
        joined = StreamingMean(self.low, self.high, self.confidence, self.method)
        joined._sequence = self._sequence.merged(other._sequence)  # type: ignore[arg-type]
        joined._moments = self._moments.merge(other._moments)
        return joined


@dataclass(frozen=True, slots=True)
class ObservableStream:
    """Mean of a function of shots that come in frames.

    Attributes:
        observable: Gives one value per shot, for example a `functools.partial` of a function of
            `kernels.observables`.
        values: The mean; its bounds are those of the observable (`ising_bounds` and so on).

    >>> from functools import partial
    >>> from cudaq_target.kernels.observables import ising_bounds, ising_energies
    >>> energy = partial(ising_energies, n_bits=2, edges=[(0, 1)], weights=[1.0])
    >>> stream = ObservableStream(energy, StreamingMean(*ising_bounds([1.0])))
    >>> stream.update(np.array([[0], [1], [3], [3]], dtype=np.uint64))
    >>> stream.values.mean
    0.5
    """

    observable: Callable[[Words], Reals]
    values: StreamingMean

    def update(self, shots: Words) -> None:
        """Take in the shots of a frame, shape (n_shots, n_words); none are fine.

        Raises:
            KernelInputError: The observable refuses the shots, or a value breaks the bounds.
        """
        if len(shots):
            self.values.update(self.observable(shots))
