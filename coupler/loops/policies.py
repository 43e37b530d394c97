"""Policies: sample one point, minimise, decode and correct.

Which points are measured is decided here or by an optimiser, how many shots each gets by a plan of
`shot_plans`. All are deterministic functions of the estimates that they are told.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cudaq_target.coupler.loops.interface import (
    AdaptiveOptimiser,
    Estimate,
    Experiment,
    Optimiser,
    Outcome,
    Point,
    empty_estimate,
)
from cudaq_target.coupler.loops.shot_plans import says_stop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.shot_plans import Share, ShotPlan
    from cudaq_target.coupler.loops.tallies import Rule


class PlannedPolicy(ABC):
    """Measures points one after another, each as a plan says; subclasses choose the points."""

    def __init__(self, plan: ShotPlan) -> None:
        """Begin.

        Args:
            plan: Of this policy alone.
        """
        self.plan = plan
        self.n_settings = 1
        self._point: Point | None = None
        self._estimate = empty_estimate(1)
        self._share: Share | None = None
        self._rule: NDArray[np.float64] | None = None
        self._begins = True

    def prepare(self, n_settings: int) -> None:
        """Learn how many settings the estimator has; the loop says so before it begins."""
        self.n_settings = n_settings

    @property
    def shots_per_point(self) -> int:
        """Shots that a point gets at most."""
        return self.plan.shots_per_point(self.n_settings)

    @property
    def rule(self) -> Rule | None:
        """When the run that was asked for last stops; None: it does not."""
        return None if self._share is None else self._share.rule

    @abstractmethod
    def choose(self) -> tuple[Point, float | None] | None:
        """Choose the next point, and the standard error wanted there; None ends the loop."""

    @abstractmethod
    def finish(self, point: Point, estimate: Estimate) -> None:
        """Learn what was measured at a point."""

    def ask(self) -> Experiment | None:
        """Choose the next experiment; as `interface.Policy.ask`."""
        if self._point is None:
            chosen = self.choose()
            if chosen is None:
                return None
            self._point, target_error = chosen
            self._estimate, self._begins = empty_estimate(self.n_settings), True
            self.plan.begin(self.n_settings, target_error)
            self._follow()
        share = self._share
        if share is None:  # a plan without any shot
            return None
        begins, self._begins = self._begins, False
        return Experiment(
            self._point,
            max_shots=share.max_shots,
            setting=share.setting,
            begins=begins,
            block=share.block,
        )

    def judge(self, estimate: Estimate) -> bool:
        """Say whether to stop this run; as `interface.Policy.judge`."""
        if self._rule is None or self._share is None:
            return False
        return says_stop(self._rule, self._share.setting, estimate)

    def tell(self, outcome: Outcome) -> None:
        """Learn how the run went; as `interface.Policy.tell`."""
        point = self._point
        if point is None:
            return
        self._estimate = outcome.estimate
        if outcome.n_used == 0 and not outcome.stopped:
            self._share = None  # a deadline without a shot: asking again would never end
        else:
            self._follow()
        if self._share is None:
            self._point = None
            self.finish(point, outcome.estimate)

    def _follow(self) -> None:
        self._share = self.plan.next(self._estimate)
        rule = None if self._share is None else self._share.rule
        self._rule = None if rule is None else rule.to_array()


class Sample(PlannedPolicy):
    """Measures one point; the result is its `Estimate`."""

    def __init__(self, plan: ShotPlan, point: Point = ()) -> None:
        """Begin.

        Args:
            plan: How many shots.
            point: Where.
        """
        super().__init__(plan)
        self._where: Point | None = tuple(point)
        self._found: Estimate | None = None

    def choose(self) -> tuple[Point, float | None] | None:
        """Choose the point, once."""
        where, self._where = self._where, None
        return None if where is None else (where, None)

    def finish(self, point: Point, estimate: Estimate) -> None:  # noqa: ARG002 - there is one
        """Keep the estimate; there is one point."""
        self._found = estimate

    def result(self) -> Estimate | None:
        """Return the estimate; None before the end."""
        return self._found


class DecodeAndCorrect(Sample):
    """Measures shots of a memory, with a `CorrectionEstimator`: its logical error rate.

    The result is an `Estimate` of the probability that an observable is wrong after correction.
    """


@dataclass(frozen=True, slots=True)
class Minimum:
    """What a minimisation has found.

    Attributes:
        point: With the least estimate, or where the last plan measured.
        estimate: There. The least of many noisy estimates is too low; that of a `final` plan is of
            new shots, and has no such bias.
        n_points: Points that were measured.
    """

    point: Point
    estimate: Estimate
    n_points: int


class Minimise(PlannedPolicy):
    """Minimises what an estimator estimates; the result is a `Minimum`."""

    def __init__(
        self,
        optimiser: Optimiser,
        plan: ShotPlan,
        *,
        max_points: int | None = None,
        max_shots: int | None = None,
        final: ShotPlan | None = None,
    ) -> None:
        """Begin.

        Args:
            optimiser: Chooses the points; one with `target_error` also says how well each must be
                known.
            plan: Shots of a point.
            max_points: The search ends after so many points; None for the optimiser's own end.
            max_shots: And after so many shots used; the last point may exceed it.
            final: Measures the best point once more at the end, for an estimate without bias.
        """
        super().__init__(plan)
        self.optimiser = optimiser
        self._adaptive = optimiser if isinstance(optimiser, AdaptiveOptimiser) else None
        self._max_points = max_points
        self._max_shots = max_shots
        self._search = plan
        self._final = final
        self._n_points = 0
        self._n_shots = 0
        self._confirmed: tuple[Point, Estimate] | None = None

    @property
    def shots_per_point(self) -> int:
        """Shots that a point of the search gets at most."""
        return self._search.shots_per_point(self.n_settings)

    def choose(self) -> tuple[Point, float | None] | None:
        """Choose the next point of the search, or the best one at its end."""
        point = None if self._is_over() else self.optimiser.ask()
        if point is None:
            return self._last()
        target = None if self._adaptive is None else self._adaptive.target_error(point)
        return tuple(point), target

    def finish(self, point: Point, estimate: Estimate) -> None:
        """Tell the optimiser the estimate of a point, or keep it where it is the last one."""
        if self.plan is not self._search:
            self._confirmed = point, estimate
            return
        self._n_points += 1
        self._n_shots += estimate.n_shots
        self.optimiser.tell(point, estimate)

    def result(self) -> Minimum | None:
        """Return the minimum so far; None before the first point."""
        found = self._confirmed or self.optimiser.best
        return None if found is None else Minimum(*found, self._n_points)

    def _is_over(self) -> bool:
        if self.plan is not self._search:
            return True
        if self._max_points is not None and self._n_points >= self._max_points:
            return True
        return self._max_shots is not None and self._n_shots >= self._max_shots

    def _last(self) -> tuple[Point, float | None] | None:
        best = self.optimiser.best
        if self._final is None or self.plan is self._final or best is None:
            return None
        self.plan = self._final
        return best[0], None
