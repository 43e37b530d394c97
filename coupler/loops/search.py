"""Searches written as generators: a point goes out, its estimate comes back.

    def steps() -> Generator[Trial, Estimate, str]:
        estimate = yield Trial((0.1, 0.2))
        ...
        return "why it ended"

`Search` turns one into an `Optimiser` (`loops.interface`). A generator is a deterministic function
of what it is sent, and its `finally` runs when the search is closed or forgotten.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from math import inf, isfinite, isnan
from typing import TYPE_CHECKING

from cudaq_target.coupler.loops.errors import OptimiserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.coupler.loops.interface import Estimate, Point


@dataclass(frozen=True, slots=True)
class Trial:
    """A point to measure.

    Attributes:
        point: Values of the parameters.
        error: Standard error that is enough, in the unit of the estimate; None: the plan's own.
        is_answer: Whether the search stands here, and does not only look: then this point is the
            best so far, however low a badly known value elsewhere came out.
    """

    point: Point
    error: float | None = None
    is_answer: bool = False


Steps = Generator[Trial, "Estimate", str]
"""Trials out, their estimates in, at last the reason of the end."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """Standard errors that fall geometrically, coarse first, fine at the end.

    Attributes:
        first: Of the first step.
        last: Of the last one, and of all after it; at most `first`.

    >>> [round(Refinement(0.4, 0.1).at(k, 3), 3) for k in range(4)]
    [0.4, 0.2, 0.1, 0.1]
    """

    first: float
    last: float

    def __post_init__(self) -> None:
        if not 0.0 < self.last <= self.first < inf:
            found = f"falls from {self.first} to {self.last}"
            raise OptimiserError("Refinement", found, "use 0 < last <= first")

    def at(self, step: int, n_steps: int) -> float:
        """Return the error wanted in a step, counted from 0, of so many."""
        share = min(1.0, step / max(1, n_steps - 1))
        return float(self.first * (self.last / self.first) ** share)


class Search:
    """A generator of trials as an optimiser.

    `best` is the newest point that the search called its answer (`Trial.is_answer`); where it calls
    none so, the point of the lowest upper end, value + standard error: a value that is low because
    it is badly known does not win. That one was chosen among noisy values all the same, so its
    estimate is biased downwards; measure the point again where the value itself is wanted.

    Attributes:
        n_asked: Points that were asked for.
        ending: Why the search ended, empty while it goes on.
    """

    def __init__(self, steps: Steps) -> None:
        """Take a generator that has not started."""
        self._steps = steps
        self._trial: Trial | None = None
        self._answer: Estimate | None = None
        self._best: tuple[Point, Estimate] | None = None
        self._has_answer = False
        self.n_asked = 0
        self.ending = ""

    def ask(self) -> Point | None:
        """Choose the next point to measure; None once the search has ended.

        Raises:
            OptimiserError: The last point has not been told.
        """
        if self._trial is not None:
            found = f"{self._trial.point} has no estimate yet"
            raise OptimiserError("the last point", found, "call tell before the next ask")
        if self.ending:
            return None
        try:
            # A generator that has not started takes None alone.
            trial = next(self._steps) if self._answer is None else self._steps.send(self._answer)
        except StopIteration as end:
            self.ending = str(end.value or "done")
            return None
        self._trial = trial
        self.n_asked += 1
        return trial.point

    def tell(self, point: Point, estimate: Estimate) -> None:
        """Learn what was measured at the point that was asked for last.

        Raises:
            OptimiserError: Another point, or an estimate without a value.
        """
        if self._trial is None or tuple(point) != self._trial.point:
            asked = "no point" if self._trial is None else str(self._trial.point)
            found = f"{tuple(point)} was told, {asked} was asked for"
            raise OptimiserError("the point", found, "tell each point that ask returned, once")
        if isnan(estimate.value):
            found = f"at {tuple(point)} has no value"
            raise OptimiserError("the estimate", found, "measure every setting at least once")
        is_answer = self._trial.is_answer
        self._trial, self._answer = None, estimate
        is_lower = self._best is None or _upper(estimate) < _upper(self._best[1])
        if is_answer or (is_lower and not self._has_answer):
            self._best = (tuple(point), estimate)
            self._has_answer = is_answer

    @property
    def best(self) -> tuple[Point, Estimate] | None:
        """The answer so far, see the class; None before the first point."""
        return self._best

    def target_error(self, point: Point) -> float | None:  # noqa: ARG002 - the last one asked for
        """Standard error that is enough at the point that was asked for last."""
        return None if self._trial is None else self._trial.error

    def close(self) -> None:
        """End the search, and what runs on its behalf."""
        self._steps.close()
        self.ending = self.ending or "closed"


def checked_start(start: Sequence[float]) -> Point:
    """Return a point to start from.

    Raises:
        OptimiserError: It is empty, or holds what is no finite number.
    """
    point = tuple(float(value) for value in start)
    if not point or not all(isfinite(value) for value in point):
        raise OptimiserError("start", f"is {point}", "give one finite number per parameter")
    return point


def _upper(estimate: Estimate) -> tuple[float, float]:
    return estimate.value + estimate.standard_error, estimate.value
