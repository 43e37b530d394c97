"""How many shots a point gets, and in which settings: the inner part of a policy.

| plan | shots of a point |
|---|---|
| `FixedShots` | the same number in every setting |
| `EarlyStop` | equal shares, until the error or the interval is small enough |
| `Allocation` | Neyman's shares, most where the shots scatter most, until the same |

Targets come from the plan, or from the optimiser point by point (`AdaptiveOptimiser`): coarse while
far from the minimum, fine near it. A stop at a standard error is asymptotic: the error is itself
estimated, and stopping when it looks small makes it a little too small. A stop at a half width is
rigorous where the estimator's interval is "anytime".

Plans are deterministic and know nothing of time: equal estimates give equal decisions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import ceil, inf, isfinite
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cudaq_target.coupler.loops.tallies import Rule, stops_
from cudaq_target.kernels.errors import KernelInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.interface import Estimate


class Share(NamedTuple):
    """What to measure next at a point.

    Attributes:
        setting: Which text.
        max_shots: At most so many.
        block: Judge after every `block` shots; 0 for the loop's own.
        rule: When to stop before; None for never.
    """

    setting: int
    max_shots: int
    block: int
    rule: Rule | None


class ShotPlan(Protocol):
    """Divides the shots of a point; one plan serves one policy."""

    def shots_per_point(self, n_settings: int) -> int:
        """Shots that a point gets at most."""
        ...

    def begin(self, n_settings: int, target_error: float | None) -> None:
        """Begin a point.

        Args:
            n_settings: Of the estimator.
            target_error: Standard error that the optimiser wants; None for the plan's own.
        """
        ...

    def next(self, estimate: Estimate) -> Share | None:
        """Choose the next run; None when the point is known well enough.

        Args:
            estimate: Of the point, `empty_estimate` at first.
        """
        ...


@dataclass(slots=True)
class FixedShots:
    """The same number of shots in every setting, one run each.

    Attributes:
        n_shots: Per setting, at least 1.
    """

    n_shots: int
    _left: list[int] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        if self.n_shots < 1:
            raise KernelInputError("n_shots", f"is {self.n_shots}", "use 1 or more")

    def shots_per_point(self, n_settings: int) -> int:
        """Shots that a point of `n_settings` gets."""
        return self.n_shots * n_settings

    def begin(self, n_settings: int, target_error: float | None) -> None:  # noqa: ARG002 - none
        """Begin a point of `n_settings`, whatever `target_error` is."""
        self._left = list(range(n_settings))

    def next(self, estimate: Estimate) -> Share | None:
        """Choose the next setting that lacks shots in the estimate."""
        shots = estimate.n_shots_by_setting
        for setting in self._left:
            lacking = self.n_shots - shots[setting]
            if lacking > 0:
                # One block: nothing is judged, and the controller sends as much as fits.
                return Share(setting, lacking, lacking, None)
        return None


@dataclass(slots=True)
class _Targeted(ABC):
    """Shots until a target is reached; how they are shared out is the subclass's.

    Attributes:
        standard_error: Stop once the standard error is at most so large, in the unit of the
            estimate. With an adaptive optimiser it is the floor: the larger one of this and the
            optimiser's target counts. None: the optimiser's alone.
        half_width: Stop once the half widths of all settings add up to at most this; None for a
            stop at a standard error. It takes no part in what an optimiser wants.
        max_shots: Of a point, in all settings together.
        min_shots: Of each setting, at least 2.
        block: Judge after every `block` shots; 0 for the loop's own.
    """

    standard_error: float | None = None
    half_width: float | None = None
    max_shots: int = 100_000
    min_shots: int = 16
    block: int = 0
    _target: float = field(init=False, repr=False, default=0.0)

    def __post_init__(self) -> None:
        for name in ("standard_error", "half_width"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0.0):
                raise KernelInputError(name, f"is {value}", "use a number above 0")
        if not 2 <= self.min_shots <= self.max_shots or self.block < 0:
            found = f"is {self.min_shots} with max_shots {self.max_shots}, block {self.block}"
            expected = "2 <= min_shots <= max_shots and block >= 0 are needed"
            raise KernelInputError("min_shots", found, expected)

    def shots_per_point(self, n_settings: int) -> int:  # noqa: ARG002 - together
        """Shots that a point gets at most."""
        return self.max_shots

    def begin(self, n_settings: int, target_error: float | None) -> None:
        """Begin a point; as `ShotPlan.begin`.

        Raises:
            KernelInputError: There is no target, or `max_shots` is not enough for `min_shots` in
                every setting.
        """
        if n_settings * self.min_shots > self.max_shots:
            found = f"is {self.max_shots}"
            expected = f"{n_settings} settings of {self.min_shots} shots need more"
            raise KernelInputError("max_shots", found, expected)
        wanted = [one for one in (self.standard_error, target_error) if one is not None]
        self._target = max(wanted) if wanted and self.half_width is None else 0.0
        if not wanted and self.half_width is None:
            expected = "give standard_error or half_width, or use an optimiser with target_error"
            raise KernelInputError("plan", "has no target", expected)

    def next(self, estimate: Estimate) -> Share | None:
        """Choose the setting that lacks most shots; as `ShotPlan.next`.

        With one setting there is nothing to share out: a single run, which the rule ends.
        """
        shots = estimate.n_shots_by_setting
        room = self.max_shots - estimate.n_shots
        if len(shots) == 1 and room > 0 and (not shots[0] or not self._is_reached(estimate)):
            return Share(0, room, self.block, self._rule(estimate, 0))
        for setting, n in enumerate(shots):
            if n < self.min_shots:
                return Share(setting, self.min_shots - n, self.min_shots - n, None)
        if room <= 0 or self._is_reached(estimate):
            return None
        needs = self._needs(estimate)
        lacking = [need - n for need, n in zip(needs, shots, strict=True)]
        setting = max(range(len(shots)), key=lambda k: lacking[k])
        n_wanted = ceil(min(max(lacking[setting], 1.0), float(room)))
        return Share(setting, n_wanted, self.block, self._rule(estimate, setting))

    def _is_reached(self, estimate: Estimate) -> bool:
        if self.half_width is not None:
            return sum(estimate.half_widths) <= self.half_width
        return _variance_of_mean(estimate) <= self._target**2

    def _needs(self, estimate: Estimate) -> list[float]:
        """Shots that each setting needs in all, as far as one can tell now."""
        shares = self._shares(estimate.deviations)
        if self.half_width is None:
            scatter = sum(
                v * v / share for v, share in zip(estimate.deviations, shares, strict=True)
            )
            total = scatter / self._target**2
        else:
            # Widths fall about as 1 / sqrt(n); twice the shots at most, then one knows better.
            ratio = min(sum(estimate.half_widths) / self.half_width, 2.0**0.5)
            total = estimate.n_shots * ratio**2
        return [share * total for share in shares]

    @abstractmethod
    def _shares(self, deviations: tuple[float, ...]) -> list[float]:
        """Fractions of a point's shots by setting, given the deviations of one shot in each."""

    def _rule(self, estimate: Estimate, setting: int) -> Rule:
        others = [k for k in range(len(estimate.deviations)) if k != setting]
        pairs = [(estimate.deviations[k], estimate.n_shots_by_setting[k]) for k in others]
        linear, constant = self._terms([deviation for deviation, _ in pairs])
        return Rule(
            target_error=self._target,
            half_width=self.half_width or 0.0,
            other_variance=sum(deviation * deviation / n for deviation, n in pairs),
            linear=linear,
            constant=constant,
            other_half=sum(estimate.half_widths[k] for k in others),
            min_shots=self.min_shots,
        )

    @abstractmethod
    def _terms(self, deviations: list[float]) -> tuple[float, float]:
        """`Rule.linear` and `Rule.constant`, given the deviations of the other settings."""


@dataclass(slots=True)
class EarlyStop(_Targeted):
    """Equal shots in every setting, until the target is reached.

    With one setting this is `Allocation`.

    Attributes:
        standard_error: Of the estimate, in its unit; None for what an optimiser asks for.
        half_width: In the place of it, of the settings' intervals together.
        max_shots: Of a point, in all settings together.
        min_shots: Of each setting, at least 2.
        block: Shots between two judgements; 0 for the loop's own.
    """

    def _shares(self, deviations: tuple[float, ...]) -> list[float]:
        return [1.0 / len(deviations)] * len(deviations)

    def _terms(self, deviations: list[float]) -> tuple[float, float]:
        return 0.0, sum(deviation * deviation for deviation in deviations)


@dataclass(slots=True)
class Allocation(_Targeted):
    """Shots in proportion to the deviations of the settings, until the target is reached.

    Neyman's allocation (J. R. Stat. Soc. 97, 558 (1934)): with deviations s_k of one shot,
    n_k = s_k sum(s) / error² reaches a standard error with the fewest shots. Deviations are
    estimated as the shots come, every run ends once its setting has what the newest estimate gives
    it, and `min_shots` in every setting keep a poor start from starving one.

    Attributes:
        standard_error: Of the estimate, in its unit; None for what an optimiser asks for.
        half_width: In the place of it, of the settings' intervals together.
        max_shots: Of a point, in all settings together.
        min_shots: Of each setting, at least 2.
        block: Shots between two judgements; 0 for the loop's own.
    """

    def _shares(self, deviations: tuple[float, ...]) -> list[float]:
        total = sum(deviations)
        return [deviation / total for deviation in deviations]

    def _terms(self, deviations: list[float]) -> tuple[float, float]:
        return sum(deviations), 0.0


def says_stop(rule: NDArray[np.float64], setting: int, estimate: Estimate) -> bool:
    """Apply a rule to an estimate, as a handler applies it to its tally.

    Args:
        rule: `Rule.to_array()`.
        setting: That runs.
        estimate: Of the point.
    """
    n_shots = float(estimate.n_shots_by_setting[setting])
    half_width = estimate.half_widths[setting] if estimate.half_widths else inf
    return bool(stops_(rule, n_shots, estimate.deviations[setting], half_width))


def _variance_of_mean(estimate: Estimate) -> float:
    pairs = zip(estimate.deviations, estimate.n_shots_by_setting, strict=True)
    return sum(deviation * deviation / n for deviation, n in pairs)
