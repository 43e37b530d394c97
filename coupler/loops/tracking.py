"""What is known of two parameters that drift: Rabi frequency and detuning, and their rates.

A drift has a rate that is itself unknown and changes (`Drift`). `Tracker` holds the posterior of
the two parameters and their rates, so that it knows where they will be at the next shot, how well,
and which pulse would tell most about them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, inf, isfinite, sqrt
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from cudaq_target.coupler.loops.errors import CalibrationError
from cudaq_target.kernels import estimation
from cudaq_target.kernels.estimation import NO_ERRORS, OutcomeErrors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.kernels.grid import GridPosterior
    from cudaq_target.kernels.particles import ParticlePosterior

    Reals = NDArray[np.float64]
    Probe = estimation.Experiment

RABI: Final = 0
DETUNING: Final = 1

_NODES: Final = 4.5 * np.linspace(-1.0, 1.0, 25)
"""Points along a parameter, in standard deviations."""

_LARGEST_PHASE_SPREAD: Final = 1.5  # rad
_JUMP_PROBABILITY: Final = 1e-3  # per probe
_LOST_ODDS: Final = 99.0
_FRINGE: Final = 0.5 - 0.5 * np.cos(2.0 * np.pi * (np.arange(64) + 0.5) / 64)
"""Excitation at all phases of a fringe."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How two parameters wander: an integrated Ornstein-Uhlenbeck process each.

    The rate of each parameter has mean 0, a standard deviation and a memory: rates so far apart in
    time are correlated by 1/e. A long memory is a steady drift of unknown rate, which is found and
    then predicted; a short one is a random walk of spread rate_std sqrt(2 memory t).

    Attributes:
        rabi_rate: Standard deviation of the rate of the Rabi frequency (rad/µs per s).
        detuning_rate: Of the detuning (rad/µs per s).
        memory_s: Of both rates (s).
    """

    rabi_rate: float
    detuning_rate: float = 0.0
    memory_s: float = 120.0

    def __post_init__(self) -> None:
        rates = (self.rabi_rate, self.detuning_rate)
        if not (all(0.0 <= rate < inf for rate in rates) and 0.0 < self.memory_s < inf):
            expected = "use finite rates of 0 or more, and a memory above 0 s"
            raise CalibrationError("Drift", f"holds {rates} and {self.memory_s} s", expected)

    def transition(self, elapsed_s: float) -> tuple[Reals, Reals]:
        """Return what a span of time does to (parameters, rates).

        Args:
            elapsed_s: Length of the span (s), 0 or more.

        Returns:
            The matrix that the state is multiplied with, and the covariance that is added, shapes
            (4, 4); the exact ones of the process.
        """
        tau, a = self.memory_s, exp(-elapsed_s / self.memory_s)
        motion = np.eye(4)
        noise = np.zeros((4, 4))
        x = elapsed_s / tau
        # The exact difference cancels for short spans; its series does not.
        spread = 2.0 * x**3 / 3.0 - x**4 / 2.0 if x < 1e-3 else 2.0 * x - 3.0 + 4.0 * a - a * a
        for k, rate in enumerate((self.rabi_rate, self.detuning_rate)):
            motion[k, k + 2] = tau * (1.0 - a)
            motion[k + 2, k + 2] = a
            noise[k, k] = rate**2 * tau**2 * spread
            noise[k, k + 2] = noise[k + 2, k] = rate**2 * tau * (1.0 - a) ** 2
            noise[k + 2, k + 2] = rate**2 * (1.0 - a * a)
        return motion, noise


@dataclass(frozen=True, slots=True, eq=False)
class Tracker:
    """What is known of Rabi frequency and detuning, and of their rates, at one time.

    A normal distribution between shots; each shot is weighed with its exact probabilities on a
    grid that moves along (25 points, 4.5 standard deviations to each side), after which mean and
    covariance are those of the weighted points: assumed-density filtering, T. Minka,
    arXiv:1301.2294. One normal distribution cannot hold two fringes, so pulses after which the
    phase would be known worse than 1.5 rad (standard deviation) are not considered; as the
    parameters get known, longer and longer ones are. Start from `Calibrate` where even short
    pulses are ambiguous.

    Beside it stands the hypothesis that the parameters have jumped somewhere else, where every
    phase of a probe is equally likely, with a probability of 1e-3 per probe; its odds grow when
    shots fit it better (`is_lost`). Pulses of one duration cannot see a jump by a whole fringe;
    `surest_probe` chooses others that do.

    Attributes:
        mean: Rabi frequency, detuning (rad/µs), and their rates (rad/µs per s), shape (4,).
        covariance: Of these, shape (4, 4).
        drift: How they wander.
        errors: Of preparation and read-out.
        odds_lost: Of a jump, against the normal distribution.
    """

    mean: Reals
    covariance: Reals
    drift: Drift
    errors: OutcomeErrors = NO_ERRORS
    odds_lost: float = 0.0

    @classmethod
    def start(
        cls,
        rabi: tuple[float, float],
        detuning: tuple[float, float],
        drift: Drift,
        errors: OutcomeErrors = NO_ERRORS,
    ) -> Self:
        """Begin with what a calibration has found.

        Args:
            rabi: Rabi frequency and its standard deviation (rad/µs).
            detuning: Detuning and its standard deviation (rad/µs).
            drift: How they wander; nothing is known of the rates yet but this.
            errors: Of preparation and read-out.

        Raises:
            CalibrationError: A number makes no sense.
        """
        numbers = (*rabi, *detuning)
        if not (all(isfinite(one) for one in numbers) and rabi[0] > 0.0 and rabi[1] > 0.0):
            expected = "give finite numbers, and a Rabi frequency and a spread above 0"
            raise CalibrationError("the start", f"is {numbers}", expected)
        if detuning[1] < 0.0:
            raise CalibrationError("the spread of the detuning", f"is {detuning[1]}", "use >= 0")
        spreads = (rabi[1], detuning[1], drift.rabi_rate, drift.detuning_rate)
        mean = np.array([rabi[0], detuning[0], 0.0, 0.0])
        return cls(mean, np.diag(np.square(spreads)), drift, errors)

    @classmethod
    def of(
        cls,
        posterior: GridPosterior | ParticlePosterior,
        drift: Drift,
        errors: OutcomeErrors = NO_ERRORS,
    ) -> Self:
        """Take over from a posterior of the kernels, by its means and standard deviations."""
        mean, spread = posterior.mean.tolist(), posterior.standard_deviation.tolist()
        return cls.start((mean[0], spread[0]), (mean[1], spread[1]), drift, errors)

    @property
    def standard_deviation(self) -> Reals:
        """Of Rabi frequency and detuning (rad/µs), shape (2,)."""
        return np.sqrt(np.diagonal(self.covariance)[:2])

    def predicted(self, elapsed_s: float) -> Self:
        """Let time pass without a shot (s)."""
        motion, noise = self.drift.transition(elapsed_s)
        covariance = motion @ self.covariance @ motion.T + noise
        return replace(self, mean=motion @ self.mean, covariance=covariance)

    def updated(self, probe: Probe, n_ones: int, n_bits: int) -> Self:
        """Take in the bits of one experiment.

        Args:
            probe: What was done.
            n_ones: Bits that read 1.
            n_bits: All bits: shots times atoms.

        Raises:
            KernelInputError: Numbers that make no sense.
        """
        cloud = _cloud(self.mean, self.covariance, RABI)
        likely = estimation.outcome_probabilities(cloud.points, [probe], self.errors)[0]
        new = estimation.posterior_update(cloud.log_weights, likely, n_ones, n_bits)
        center, spread = _moments(cloud.nodes, new)
        _, before = _moments(cloud.nodes, cloud.log_weights)
        # What is learnt of the parameters moves the rates by regression: given the parameters,
        # the shots say nothing about the rates.
        gain = np.zeros((4, 2))
        gain[:2] = cloud.root
        gain[2:] = self.covariance[2:, :2] @ np.linalg.pinv(cloud.root).T
        covariance = self.covariance + gain @ (spread - before) @ gain.T
        odds = (self.odds_lost + _JUMP_PROBABILITY) / (1.0 - _JUMP_PROBABILITY)
        ratio = self._log_ratio_of_a_jump(cloud.log_weights, likely, n_ones, n_bits)
        return replace(
            self,
            mean=self.mean + gain @ center,
            covariance=0.5 * (covariance + covariance.T),
            odds_lost=odds * exp(min(max(ratio, -700.0), 50.0)),
        )

    @property
    def is_lost(self) -> bool:
        """Whether the last probes fit so badly that the parameters must be elsewhere (99 %)."""
        return self.odds_lost > _LOST_ODDS

    def gains(self, probes: Sequence[Probe], about: int) -> Reals:
        """Compute what one bit of each probe is expected to tell about one parameter.

        Args:
            probes: At least one.
            about: `RABI` or `DETUNING`.

        Returns:
            Information (bit), shape (n_probes,); 0 for probes that are ambiguous now.
        """
        cloud = _cloud(self.mean, self.covariance, about)
        likely = estimation.outcome_probabilities(cloud.points, probes, self.errors)
        first, second = cloud.log_weights_by_axis
        # The other parameter is averaged out: what a shot tells about it does not count.
        mean = likely.reshape(len(probes), len(first), len(second)) @ np.exp(second)
        found = estimation.information_gain(first, mean)
        return np.where(self._is_clear(probes), found, 0.0)

    def next_probe(self, probes: Sequence[Probe], about: int) -> int:
        """Choose the probe that is expected to tell most about a parameter, the first of equals."""
        found = self.gains(probes, about)
        return int(np.argmax(found >= found.max() - 1e-10))

    def surest_probe(self, probes: Sequence[Probe], about: int, share: float) -> int:
        """Choose a probe that would show a jump: its outcome is predicted the surest.

        Args:
            probes: At least one.
            about: `RABI` or `DETUNING`: probes of its kind are taken where there are any.
            share: Of the longest duration; probes between half of that and that are taken where
                there are any.
        """
        kind = ("rabi", "ramsey")[about]
        kept = [k for k, one in enumerate(probes) if one.kind == kind] or list(range(len(probes)))
        limit_us = share * max(probes[k].duration_us for k in kept)
        fitting = [k for k in kept if 0.5 * limit_us <= probes[k].duration_us <= limit_us]
        kept = fitting or kept
        cloud = _cloud(self.mean, self.covariance, RABI)
        likely = estimation.outcome_probabilities(
            cloud.points, [probes[k] for k in kept], self.errors
        )
        return kept[int(np.argmax(np.abs(likely @ np.exp(cloud.log_weights) - 0.5)))]

    def _log_ratio_of_a_jump(
        self, log_weights: Reals, likely: Reals, n_ones: int, n_bits: int
    ) -> float:
        """Logarithm of how much better the shots fit after a jump."""
        wrong = self.errors.one_of_zero, self.errors.zero_of_one
        anywhere = wrong[0] + (1.0 - sum(wrong)) * _FRINGE
        even = np.full(len(anywhere), -np.log(len(anywhere)))
        elsewhere = _log_likelihood(even, anywhere, n_ones, n_bits)
        return elsewhere - _log_likelihood(log_weights, likely, n_ones, n_bits)

    def _is_clear(self, probes: Sequence[Probe]) -> NDArray[np.bool_]:
        spread = self.standard_deviation
        phase = [
            one.duration_us * spread[RABI if one.kind == "rabi" else DETUNING] for one in probes
        ]
        clear = np.array(phase) <= _LARGEST_PHASE_SPREAD
        if not clear.any():
            clear[int(np.argmin(phase))] = True
        return clear


@dataclass(frozen=True, slots=True, eq=False)
class _Cloud:
    """A product grid over two parameters in coordinates where they are independent, of spread 1.

    Attributes:
        points: Rabi frequency, detuning, phase, shape (n, 3), second coordinate fastest.
        nodes: Coordinates, shape (n, 2).
        root: From coordinates to the parameters, the chosen one first, shape (2, 2).
        log_weights_by_axis: Of each coordinate.
    """

    points: Reals
    nodes: Reals
    root: Reals
    log_weights_by_axis: tuple[Reals, Reals]

    @property
    def log_weights(self) -> Reals:
        first, second = self.log_weights_by_axis
        return np.asarray((first[:, None] + second).reshape(-1))


def _cloud(mean: Reals, covariance: Reals, first: int) -> _Cloud:
    order = [first, 1 - first]
    (a, c), (_, b) = covariance[np.ix_(order, order)].tolist()
    spread = sqrt(max(a, 0.0))
    slope = c / spread if spread > 0.0 else 0.0
    root = np.array([[spread, 0.0], [slope, sqrt(max(b - slope**2, 0.0))]])
    axes = [_NODES if width > 0.0 else np.zeros(1) for width in np.diagonal(root)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    points = np.zeros((len(nodes), 3))
    points[:, order] = mean[order] + nodes @ root.T
    weights = [-0.5 * axis**2 for axis in axes]
    one, two = (weight - np.log(np.exp(weight).sum()) for weight in weights)
    return _Cloud(points, nodes, root, (one, two))


def _moments(nodes: Reals, log_weights: Reals) -> tuple[Reals, Reals]:
    weights = np.exp(log_weights)
    center = weights @ nodes
    apart = nodes - center
    return center, apart.T @ (apart * weights[:, None])


def _log_likelihood(log_weights: Reals, q: Reals, n_ones: int, n_bits: int) -> float:
    """Logarithm of the mean of q^k (1 - q)^(N - k)."""
    terms = log_weights + n_ones * np.log(q) + (n_bits - n_ones) * np.log1p(-q)
    largest = terms.max()
    return float(largest + np.log(np.exp(terms - largest).sum()))
