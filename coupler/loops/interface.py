"""What the parts of a feedback loop tell one another.

A `Policy` asks for experiments, the machine measures them, an `Estimator` reduces the shots as they
come, and the policy judges after every block of them whether the run goes on. What a policy decides
depends on what it was told alone: the same shots lead to the same decisions.

A *run* is one experiment on the machine. A *step* is one point: the run that begins it, and all
runs that add shots to it (`Experiment.begins` False).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.coupler.histogram import Histogram

Point = tuple[float, ...]
"""Values of the parameters that a loop varies, in the program's units."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What to measure next.

    Attributes:
        point: Values of the parameters.
        max_shots: The run ends after so many shots, unless `Policy.judge` ends it before.
        setting: Which of the program's texts to run, for example the basis of a group of Pauli
            terms.
        begins: Whether a new point begins, with an empty estimate; False adds shots to the point
            before, which must be the same.
        block: `Policy.judge` is asked after every `block` shots; 0 for the loop's own block.
        seed: For an emulated machine, 1 to 2^64 - 1; 0 lets the loop derive one from its own seed
            and the number of the run.
        deadline_ns: The machine stops the run this long after its start (ns); 0 for never.
    """

    point: Point
    max_shots: int = field(kw_only=True)
    setting: int = field(default=0, kw_only=True)
    begins: bool = field(default=True, kw_only=True)
    block: int = field(default=0, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    deadline_ns: int = field(default=0, kw_only=True)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the shots of a point say so far.

    Attributes:
        value: The estimate; NaN while a setting that it needs has no shots.
        standard_error: Of `value`; infinite while a setting has fewer than two shots. Asymptotic:
            it says nothing rigorous about a stop that depends on it.
        low: Lower end of the interval of `confidence`. The estimator says whether the interval
            holds at every look at once ("anytime") or at one look chosen beforehand.
        high: Upper end.
        n_shots: Shots of all settings.
        n_shots_by_setting: Shots of each setting, shape (n_settings,).
        confidence: Of the interval.
        deviations: Standard deviation of one shot of each setting, shape (n_settings,), in the
            unit of `value`; the prior's while a setting has few shots. Allocation rests on them.
        half_widths: Of the interval of each setting, shape (n_settings,), before they are cut at
            the least and largest value possible.
    """

    value: float
    standard_error: float
    low: float
    high: float
    n_shots: int
    n_shots_by_setting: tuple[int, ...]
    confidence: float = 0.95
    deviations: tuple[float, ...] = ()
    half_widths: tuple[float, ...] = ()

    @property
    def half_width(self) -> float:
        """Of the interval."""
        return 0.5 * (self.high - self.low)

    def as_dict(self) -> dict[str, object]:
        """For JSON, which knows no NaN and no infinity: None in their place."""
        reals = ("value", "standard_error", "low", "high", "confidence")
        numbers: dict[str, object] = {
            name: value if isfinite(value := float(getattr(self, name))) else None for name in reals
        }
        shots = {"n_shots": self.n_shots, "n_shots_by_setting": list(self.n_shots_by_setting)}
        return numbers | shots


def empty_estimate(n_settings: int, confidence: float = 0.95) -> Estimate:
    """The estimate of no shots.

    >>> empty_estimate(2).n_shots_by_setting
    (0, 0)
    """
    unknown = (inf,) * n_settings
    return Estimate(nan, inf, -inf, inf, 0, (0,) * n_settings, confidence, unknown, unknown)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that has ended.

    For each run `n_used + n_discarded + n_lost == n_measured`.

    Attributes:
        experiment: What was asked for.
        estimate: Of the point, with this run.
        n_used: Shots that the estimator took in.
        n_measured: Shots that the machine measured, as far as it could still be asked.
        n_discarded: Measured and not used: behind the decision to stop.
        n_lost: Measured and never arrived, because a controller or a link was lost.
        seconds: From the request to the last shot (s).
        machine_seconds: That the machine measured, by its own account; spent in calls of the link,
            where it gives none (s).
        stopped: Whether the policy ended the run before `max_shots`.
    """

    experiment: Experiment
    estimate: Estimate
    n_used: int
    n_measured: int
    n_discarded: int = 0
    n_lost: int = 0
    seconds: float = 0.0
    machine_seconds: float = 0.0
    stopped: bool = False


class Estimator(Protocol):
    """Reduces the shots of a point as they come; work per shot, no growth."""

    @property
    def n_settings(self) -> int:
        """Settings that a point is measured in, at least 1."""
        ...

    def begin(self, point: Point) -> None:
        """Forget all shots: a new point begins."""
        ...

    def update(self, setting: int, rows: NDArray[np.uint64]) -> None:
        """Take in shots, in order.

        Args:
            setting: Below `n_settings`.
            rows: Packed shots, shape (n_shots, ceil(n_bits / 64)), at least one; not kept, as the
                memory is used again.
        """
        ...

    def estimate(self) -> Estimate:
        """What is known of the point now; cheap enough for every block."""
        ...


class Policy(Protocol):
    """Decides what to measure, and for how long.

    A deterministic function of what it was told and of its own generator of random numbers. The
    order of calls: `ask`, `judge` after every whole block of the run that leaves shots to measure,
    `tell`, and again.
    """

    def ask(self) -> Experiment | None:
        """Choose the next experiment; None ends the loop."""
        ...

    def judge(self, estimate: Estimate) -> bool:
        """Say whether to stop this run.

        Args:
            estimate: Of the point, with all shots so far.
        """
        ...

    def tell(self, outcome: Outcome) -> None:
        """Learn how the run went."""
        ...

    def result(self) -> object:
        """What the loop has found; None where it found nothing yet."""
        ...


@runtime_checkable
class Budgeted(Protocol):
    """A policy that knows what a point costs when no run is stopped."""

    @property
    def shots_per_point(self) -> int:
        """Shots per point at most; shots saved are counted against them."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """A policy that wants to know how many settings a point has."""

    def prepare(self, n_settings: int) -> None:
        """Learn it; called once, before the first `ask`."""
        ...


@runtime_checkable
class Knowing(Protocol):
    """A policy that follows quantities of its own, beside the estimate of each point."""

    @property
    def known(self) -> Mapping[str, tuple[float, float]]:
        """Value and standard deviation now, by names that carry units."""
        ...


class Optimiser(Protocol):
    """Minimises a function that is known with errors; `Minimise` measures what it asks for."""

    def ask(self) -> Point | None:
        """Choose the next point to measure; None once the search has ended."""
        ...

    def tell(self, point: Point, estimate: Estimate) -> None:
        """Learn what was measured at the point that was asked for last."""
        ...

    @property
    def best(self) -> tuple[Point, Estimate] | None:
        """The best point so far, with its estimate; None before the first."""
        ...


@runtime_checkable
class AdaptiveOptimiser(Protocol):
    """An optimiser that knows how well each point must be known: coarse at first, finer later."""

    def target_error(self, point: Point) -> float | None:
        """Standard error wanted at the point that was asked for last; None: the plan's own.

        Args:
            point: From `ask`.

        Returns:
            In the unit of the estimate. A plan that stops at an error uses the larger of this and
            its own floor, see `shot_plans`.
        """
        ...


@dataclass(frozen=True, slots=True)
class LoopStep:
    """A point that was measured.

    Attributes:
        number: From 0.
        point: Values of the parameters.
        estimate: Of all its shots.
        n_used: Shots that the estimator took in.
        n_measured: Shots that the machine measured.
        n_saved: Shots that the policy's budget would have cost beyond `n_measured`.
        n_runs: Runs on the machine.
        seconds: From the first request to the last decision (s).
        machine_seconds: As in `Outcome` (s).
    """

    number: int
    point: Point
    estimate: Estimate
    n_used: int
    n_measured: int
    n_saved: int
    n_runs: int
    seconds: float
    machine_seconds: float


@dataclass(frozen=True, slots=True)
class LoopResult:
    """How a loop went.

    `n_used + n_discarded + n_lost == n_measured`.

    Attributes:
        status: "done", "stopped" (`FeedbackLoop.stop`), "interrupted" (Ctrl-C) or "failed".
        result: `Policy.result()`.
        estimate: Of the last point; of the best one where the policy's result holds one.
        steps: All points, in order.
        n_runs: Runs on the machine.
        n_used: Shots that the estimator took in.
        n_measured: Shots that the machine measured, as far as it could be asked.
        n_discarded: Measured behind a decision to stop, and not used.
        n_lost: Measured and never arrived, because a controller or a link was lost.
        n_saved: Shots that the policy's budget would have cost beyond `n_measured`.
        n_faults: Faults that the loop recovered from.
        seconds: Of the whole loop (s).
        machine_seconds: As in `Outcome` (s).
        rtt_ns: Durations of the calls that fetched shots, waiting for the machine included (ns).
        counters: Of the link, and of the loop, by name.
    """

    status: str
    result: object
    estimate: Estimate | None
    steps: tuple[LoopStep, ...]
    n_runs: int
    n_used: int
    n_measured: int
    n_discarded: int
    n_lost: int
    n_saved: int
    n_faults: int
    seconds: float
    machine_seconds: float
    rtt_ns: Histogram
    counters: Mapping[str, int]
