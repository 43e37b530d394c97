"""A posterior over Rabi frequency, detuning and phase on a rectangular grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from cudaq_target.kernels.arguments import check_vector
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.estimation import (
    NO_ERRORS,
    Experiment,
    OutcomeErrors,
    check_parameter,
    check_spread,
    most_informative,
    outcome_probabilities,
    posterior_update,
)
from cudaq_target.kernels.intervals import Interval, check_confidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from cudaq_target.kernels.backends import Backend

    Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class GridPosterior:
    """Weights of the points of a grid; updates give a new one.

    Attributes:
        axes: Ascending values of Rabi frequency (rad/µs), detuning (rad/µs) and phase (rad), each
            of shape (n_values,); a parameter that is known has one value.
        log_weights: Of sum 1, in C order of the axes, shape (n_points,).
    """

    axes: tuple[Reals, Reals, Reals]
    log_weights: Reals

    @classmethod
    def uniform(cls, *, rabi: ArrayLike, detuning: ArrayLike, phase: ArrayLike = (0.0,)) -> Self:
        """Give all points of a grid the same weight.

        Args:
            rabi: Values of the Rabi frequency (rad/µs), shape (n_values,).
            detuning: Values of the detuning (rad/µs).
            phase: Values of the phase (rad).

        Raises:
            KernelInputError: An axis is empty, not ascending or not finite.

        >>> GridPosterior.uniform(rabi=[1.0, 2.0], detuning=[0.0]).mean
        array([1.5, 0. , 0. ])
        """
        axes = tuple(
            _check_axis(axis, name)
            for axis, name in ((rabi, "rabi"), (detuning, "detuning"), (phase, "phase"))
        )
        n_points = int(np.prod([len(axis) for axis in axes]))
        return cls((axes[0], axes[1], axes[2]), np.full(n_points, -np.log(n_points)))

    @property
    def parameters(self) -> Reals:
        """The points, shape (n_points, 3)."""
        grid: Reals = np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1)
        return grid.reshape(-1, 3)

    @property
    def mean(self) -> Reals:
        """Posterior mean of each parameter, shape (3,)."""
        return np.array([self.marginal(k) @ self.axes[k] for k in range(3)])

    @property
    def standard_deviation(self) -> Reals:
        """Posterior standard deviation of each parameter, shape (3,)."""
        mean = self.mean
        variances = [self.marginal(k) @ (self.axes[k] - mean[k]) ** 2 for k in range(3)]
        spread: Reals = np.sqrt(np.array(variances))
        return spread

    def marginal(self, parameter: int) -> Reals:
        """Return the weights along one axis, shape (n_values,).

        Raises:
            KernelInputError: There is no such parameter.
        """
        check_parameter(parameter)
        weights = np.exp(self.log_weights).reshape([len(axis) for axis in self.axes])
        others = tuple(k for k in range(3) if k != parameter)
        marginal: Reals = weights.sum(axis=others)
        return marginal

    def credible_interval(self, parameter: int, mass: float = 0.95) -> Interval:
        """Return the values between the tails of weight (1 - mass) / 2 each.

        Args:
            parameter: 0 Rabi frequency, 1 detuning, 2 phase.
            mass: In (0, 1); points of the grid at the ends count as inside.

        Raises:
            KernelInputError: There is no such parameter, or the mass makes no sense.
        """
        check_confidence(mass, "mass")
        below = np.cumsum(self.marginal(parameter))
        tail = 0.5 * (1.0 - mass)
        axis = self.axes[parameter]
        low, high = np.searchsorted(below, [tail, 1.0 - tail])
        last = len(axis) - 1
        return Interval(float(axis[min(low, last)]), float(axis[min(high, last)]))

    def updated(
        self,
        experiment: Experiment,
        n_ones: int,
        n_shots: int,
        errors: OutcomeErrors = NO_ERRORS,
        *,
        backend: Backend = "auto",
    ) -> Self:
        """Take in shots of an experiment.

        Args:
            experiment: What was done.
            n_ones: Shots that read 1.
            n_shots: All shots.
            errors: Of preparation and read-out.
            backend: Where to compute.

        Raises:
            KernelInputError: See `estimation.outcome_probabilities`, `estimation.posterior_update`.
            BackendUnavailableError: The back end does not run here.
        """
        likely = outcome_probabilities(self.parameters, [experiment], errors, backend=backend)[0]
        new = posterior_update(self.log_weights, likely, n_ones, n_shots, backend=backend)
        return type(self)(self.axes, new)

    def drifted(self, spread: ArrayLike) -> Self:
        """Let each parameter wander by a normal step before the next shots.

        Args:
            spread: Standard deviation of the step of each parameter, shape (3,); 0 for none. A step
                well below the spacing of the grid does nothing. At the ends the grid reflects
                nothing: steps beyond are drawn again.

        Raises:
            KernelInputError: A spread is negative or not finite.
        """
        steps = check_spread(spread)
        weights = np.exp(self.log_weights).reshape([len(axis) for axis in self.axes])
        for k, (axis, step) in enumerate(zip(self.axes, steps, strict=True)):
            if step > 0.0:
                kernel = np.exp(-0.5 * ((axis[:, None] - axis[None, :]) / step) ** 2)
                moved = np.tensordot(kernel / kernel.sum(axis=0), weights, axes=([1], [k]))
                weights = np.moveaxis(moved, 0, k)
        with np.errstate(divide="ignore"):
            return type(self)(self.axes, np.log(np.ascontiguousarray(weights).reshape(-1)))

    def next_experiment(
        self,
        candidates: Sequence[Experiment],
        errors: OutcomeErrors = NO_ERRORS,
        *,
        backend: Backend = "auto",
    ) -> Experiment:
        """Choose the candidate whose next shot is expected to tell most (bit of entropy).

        Args:
            candidates: At least one.
            errors: Of preparation and read-out.
            backend: Where to compute.

        Returns:
            One of the candidates; the first of equal ones.

        Raises:
            KernelInputError: See `estimation.most_informative`.
            BackendUnavailableError: The back end does not run here.
        """
        return most_informative(
            self.parameters, self.log_weights, candidates, errors, backend=backend
        )


def _check_axis(values: ArrayLike, name: str) -> Reals:
    axis = check_vector(values, name)
    if axis.size == 0:
        raise KernelInputError(name, "has no values", "give one or more, ascending")
    falls = np.flatnonzero(np.diff(axis) <= 0.0)
    if len(falls):
        before, after = axis[falls[0]], axis[falls[0] + 1]
        raise KernelInputError(name, f"has {after} after {before}", "give ascending values")
    return axis
