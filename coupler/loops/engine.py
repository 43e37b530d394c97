"""The order of events in a loop: ask, measure, judge, tell; the same live and in a replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cudaq_target.coupler.loops.errors import ExperimentError
from cudaq_target.coupler.loops.interface import (
    Budgeted,
    Estimate,
    Estimator,
    Experiment,
    LoopResult,
    LoopStep,
    Outcome,
    Point,
    Policy,
    Prepared,
)

if TYPE_CHECKING:
    from cudaq_target.coupler.histogram import Histogram
    from cudaq_target.coupler.loops.intake import Intake
    from cudaq_target.coupler.loops.machine_runs import Measured


@dataclass(slots=True)
class _Open:
    """A point that is being measured."""

    point: Point
    estimate: Estimate | None = None
    n_used: int = 0
    n_measured: int = 0
    n_asked: int = 0
    n_runs: int = 0
    seconds: float = 0.0
    machine_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LoopCost:
    """What a loop took, beside what its engine counts.

    Attributes:
        total: Of all runs.
        n_faults: Faults that the loop recovered from.
        seconds: Of the whole loop (s).
        rtt_ns: Durations of the calls that fetched shots (ns).
        counters: By name.
    """

    total: Measured
    n_faults: int
    seconds: float
    rtt_ns: Histogram
    counters: Mapping[str, int]


class Engine:
    """Drives an estimator and a policy; where the shots come from is given.

    Attributes:
        n_runs: Runs so far.
        n_told: Of how many of them the policy learned.
        step: Number of the point that is being measured.
        estimate: The newest of a run that has ended; None before the first.
    """

    def __init__(
        self,
        estimator: Estimator,
        policy: Policy,
        intake: Intake,
        measure: Callable[[Experiment, int, int], Measured],
        *,
        block: int,
        on_outcome: Callable[[int, Outcome], object],
        is_stopping: Callable[[], bool],
    ) -> None:
        """Prepare the policy.

        Args:
            estimator: Takes shots from the intake.
            policy: Asks and judges.
            intake: Gets the shots that `measure` fetches.
            measure: Measures an experiment, given its number and its block.
            block: Of experiments that name none.
            on_outcome: Told of every run that ended, before the policy is.
            is_stopping: Whether the loop is to end, although the policy may have more to ask.
        """
        self.n_runs = 0
        self.n_told = 0
        self.step = -1
        self.estimate: Estimate | None = None
        self._estimator = estimator
        self._policy = policy
        self._budgeted = policy if isinstance(policy, Budgeted) else None
        self._intake = intake
        self._measure = measure
        self._block = block
        self._on_outcome = on_outcome
        self._is_stopping = is_stopping
        if isinstance(policy, Prepared):
            policy.prepare(estimator.n_settings)

    def steps(self) -> Iterator[LoopStep]:
        """Measure until the policy has nothing more to ask; gives each point once it is measured.

        Raises:
            ExperimentError: The policy adds shots to a point that is not there.
        """
        now: _Open | None = None
        experiment = self._policy.ask()
        while experiment is not None and not self._is_stopping():
            if experiment.begins:
                self._estimator.begin(experiment.point)
                now = _Open(experiment.point)
                self.step += 1
            elif now is None or experiment.point != now.point:
                expected = "only the point before gets more shots; let it begin a point"
                raise ExperimentError("point", f"is {experiment.point}", expected)
            assert now is not None
            outcome = self._run(experiment, now)
            # A run that was cut from outside says nothing about what the policy wanted.
            if self._is_stopping():
                break
            self._policy.tell(outcome)
            self.n_told += 1
            experiment = self._policy.ask()
            if experiment is None or experiment.begins:
                yield self._closed(now)
                now = None
        if now is not None and now.n_runs:
            yield self._closed(now)

    def _run(self, experiment: Experiment, now: _Open) -> Outcome:
        block = experiment.block or self._block
        self._intake.begin(experiment, block)
        cost = self._measure(experiment, self.n_runs, block)
        self._intake.close()
        n_used = self._intake.n_used
        outcome = Outcome(
            experiment,
            self._estimator.estimate(),
            n_used,
            cost.n_measured,
            cost.n_delivered - n_used,
            cost.n_lost,
            cost.seconds,
            cost.machine_seconds,
            self._intake.stopped,
        )
        self._on_outcome(self.n_runs, outcome)
        self.n_runs += 1
        self.estimate = now.estimate = outcome.estimate
        now.n_used += n_used
        now.n_measured += cost.n_measured
        now.n_asked += experiment.max_shots
        now.n_runs += 1
        now.seconds += cost.seconds
        now.machine_seconds += cost.machine_seconds
        return outcome

    def _closed(self, now: _Open) -> LoopStep:
        assert now.estimate is not None
        budget = now.n_asked if self._budgeted is None else self._budgeted.shots_per_point
        return LoopStep(
            self.step,
            now.point,
            now.estimate,
            now.n_used,
            now.n_measured,
            max(0, budget - now.n_measured),
            now.n_runs,
            now.seconds,
            now.machine_seconds,
        )

    def result(
        self, status: str, result: object, steps: Sequence[LoopStep], cost: LoopCost
    ) -> LoopResult:
        """Sum up.

        Args:
            status: How the loop ended.
            result: Of the policy.
            steps: All points.
            cost: What it took.
        """
        found = result if isinstance(result, Estimate) else getattr(result, "estimate", None)
        total, n_used = cost.total, self._intake.n_used_in_all
        return LoopResult(
            status,
            result,
            found if isinstance(found, Estimate) else self.estimate,
            tuple(steps),
            self.n_runs,
            n_used,
            total.n_measured,
            total.n_delivered - n_used,
            total.n_lost,
            sum(step.n_saved for step in steps),
            cost.n_faults,
            cost.seconds,
            total.machine_seconds,
            cost.rtt_ns,
            cost.counters,
        )
