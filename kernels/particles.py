"""A posterior over Rabi frequency, detuning and phase as weighted particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from cudaq_target.kernels.arguments import check_integer, check_reals
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

SHRINKAGE = 0.98
"""a of Liu and West, as in Granade et al.: near 1, particles stay where they are."""

RESAMPLE_BELOW = 0.5
"""Effective share of particles below which they are drawn anew."""


@dataclass(frozen=True, slots=True, eq=False)
class ParticlePosterior:
    """Sequential Monte Carlo, C. Granade et al., arXiv:1207.1655; updates give a new one.

    Weights are updated by Bayes' rule (their Algorithm 1). Once the effective number of particles
    1 / sum w² falls below half, new ones are drawn (their Algorithm 2, after Liu and West): a
    particle x chosen by weight moves to a x + (1 - a) mean plus a normal step of covariance
    (1 - a²) times that of the posterior, which keeps mean and covariance.

    Attributes:
        parameters: The particles: Rabi frequency (rad/µs), detuning (rad/µs) and phase (rad),
            shape (n_particles, 3).
        log_weights: Of sum 1, shape (n_particles,).
    """

    parameters: Reals
    log_weights: Reals

    @classmethod
    def uniform(
        cls, low: ArrayLike, high: ArrayLike, n_particles: int, rng: np.random.Generator | int
    ) -> Self:
        """Draw particles uniformly from a box.

        Args:
            low: Least Rabi frequency (rad/µs), detuning (rad/µs) and phase (rad), shape (3,).
            high: Largest value; the same as `low` for one that is known.
            n_particles: How many.
            rng: Generator or seed.

        Raises:
            KernelInputError: No particles, or ends that are not finite or exchanged.

        >>> ParticlePosterior.uniform([1, 0, 0], [3, 0, 0], 100, 7).mean.round(0)
        array([2., 0., 0.])
        """
        ends = check_reals(low, (3,), "low"), check_reals(high, (3,), "high")
        if (ends[0] > ends[1]).any():
            raise KernelInputError("low", f"is {ends[0].tolist()}", f"use at most {ends[1]}")
        check_integer(n_particles, "n_particles", at_least=1)
        particles = np.random.default_rng(rng).uniform(*ends, size=(n_particles, 3))
        return cls(particles, np.full(n_particles, -np.log(n_particles)))

    @property
    def mean(self) -> Reals:
        """Posterior mean of each parameter, shape (3,)."""
        mean: Reals = np.exp(self.log_weights) @ self.parameters
        return mean

    @property
    def covariance(self) -> Reals:
        """Posterior covariance, shape (3, 3)."""
        centered = self.parameters - self.mean
        covariance: Reals = centered.T @ (centered * np.exp(self.log_weights)[:, None])
        return covariance

    @property
    def standard_deviation(self) -> Reals:
        """Posterior standard deviation of each parameter, shape (3,)."""
        return np.sqrt(np.diagonal(self.covariance))

    @property
    def effective_particles(self) -> float:
        """1 / sum w²: how many particles of equal weight were worth as much."""
        return float(1.0 / np.sum(np.exp(2.0 * self.log_weights)))

    def credible_interval(self, parameter: int, mass: float = 0.95) -> Interval:
        """Return the values between the tails of weight (1 - mass) / 2 each.

        Args:
            parameter: 0 Rabi frequency, 1 detuning, 2 phase.
            mass: In (0, 1).

        Raises:
            KernelInputError: There is no such parameter, or the mass makes no sense.
        """
        check_confidence(mass, "mass")
        check_parameter(parameter)
        order = np.argsort(self.parameters[:, parameter], kind="stable")
        below = np.cumsum(np.exp(self.log_weights)[order])
        tail = 0.5 * (1.0 - mass)
        ends = np.minimum(np.searchsorted(below, [tail, 1.0 - tail]), len(order) - 1)
        low, high = self.parameters[order[ends], parameter]
        return Interval(float(low), float(high))

    def updated(
        self,
        experiment: Experiment,
        n_ones: int,
        n_shots: int,
        rng: np.random.Generator,
        errors: OutcomeErrors = NO_ERRORS,
        *,
        backend: Backend = "auto",
    ) -> Self:
        """Take in shots of an experiment, and draw particles anew where few are left.

        Args:
            experiment: What was done.
            n_ones: Shots that read 1.
            n_shots: All shots.
            rng: Drawn from only where particles are drawn anew.
            errors: Of preparation and read-out.
            backend: Where to compute the weights.

        Raises:
            KernelInputError: See `estimation.outcome_probabilities`, `estimation.posterior_update`;
                `rng` is no generator.
            BackendUnavailableError: The back end does not run here.
        """
        _check_generator(rng)
        likely = outcome_probabilities(self.parameters, [experiment], errors, backend=backend)[0]
        new = posterior_update(self.log_weights, likely, n_ones, n_shots, backend=backend)
        weighted = type(self)(self.parameters, new)
        if weighted.effective_particles < RESAMPLE_BELOW * len(new):
            return weighted.resampled(rng)
        return weighted

    def resampled(self, rng: np.random.Generator) -> Self:
        """Draw as many particles of equal weight, of nearly the same mean and covariance.

        Raises:
            KernelInputError: `rng` is no generator.
        """
        _check_generator(rng)
        n_particles = len(self.parameters)
        cumulative = np.cumsum(np.exp(self.log_weights))
        # One uniform number for all (systematic resampling) varies least.
        ticks = (np.arange(n_particles) + rng.random()) / n_particles * cumulative[-1]
        chosen = self.parameters[np.minimum(np.searchsorted(cumulative, ticks), n_particles - 1)]
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt((1.0 - SHRINKAGE**2) * values.clip(0.0))
        centers = SHRINKAGE * chosen + (1.0 - SHRINKAGE) * self.mean
        moved = centers + rng.standard_normal((n_particles, 3)) @ root.T
        return type(self)(moved, np.full(n_particles, -np.log(n_particles)))

    def drifted(self, spread: ArrayLike, rng: np.random.Generator) -> Self:
        """Let each parameter wander by a normal step before the next shots.

        Args:
            spread: Standard deviation of the step of each parameter, shape (3,); 0 for none.
            rng: Draws one step per particle and parameter.

        Raises:
            KernelInputError: A spread is negative or not finite, or `rng` is no generator.
        """
        _check_generator(rng)
        steps = check_spread(spread)
        moved = self.parameters + steps * rng.standard_normal(self.parameters.shape)
        return type(self)(moved, self.log_weights)

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


def _check_generator(rng: np.random.Generator) -> None:
    """Refuse a seed where many draws follow one another: each would be the same."""
    if not isinstance(rng, np.random.Generator):
        expected = "make a numpy.random.Generator once and pass it every time"
        raise KernelInputError("rng", f"is a {type(rng).__name__}", expected)
