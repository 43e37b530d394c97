"""Calibration by chosen experiments: Rabi frequency and detuning, once, or as they drift.

`Calibrate` is the policy that finds them from anywhere: a posterior of the kernels, experiments by
information gain, an end when they are known well enough. `FollowDrift` keeps them known while
another program runs: a shot is spent on them only when what is known has grown too old.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, inf, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.loops.errors import CalibrationError
from cudaq_target.coupler.loops.interface import Estimate, Experiment, Outcome, empty_estimate
from cudaq_target.coupler.loops.tracking import (
    DETUNING,
    RABI,
    Drift,
    Tracker,
)
from cudaq_target.kernels.estimation import NO_ERRORS, OutcomeErrors
from cudaq_target.kernels.grid import GridPosterior

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.interface import Point
    from cudaq_target.kernels.estimation import Experiment as Probe
    from cudaq_target.kernels.particles import ParticlePosterior

    Reals = NDArray[np.float64]

__all__ = [
    "DETUNING",
    "PAYLOAD",
    "RABI",
    "BitShare",
    "Calibrate",
    "CalibrationError",
    "CalibrationResult",
    "Drift",
    "FollowDrift",
    "Track",
    "Tracker",
]

PAYLOAD: Final = 0
"""Setting of the program that runs between the probes of `FollowDrift`."""

_CHECK_SHARES: Final = (1 / 5, 1 / 2, 1 / 3)

Rows = Callable[["NDArray[np.uint64]"], object]


class BitShare:
    """Estimator: the share of ones among all bits of the shots of a run.

    Its standard error is that of independent bits.
    """

    def __init__(self, n_settings: int, n_bits: int, *, payload: Rows | None = None) -> None:
        """Count.

        Args:
            n_settings: Of the program.
            n_bits: Measured bits per shot.
            payload: Is given the packed shots of setting `PAYLOAD`, shape (n_shots, n_words); they
                are valid during the call.
        """
        self.n_settings = n_settings
        self._n_bits = n_bits
        self._payload = payload
        self._n_ones = 0
        self._n_shots = [0] * n_settings

    def begin(self, point: Point) -> None:  # noqa: ARG002 - one of `Estimator`
        """Forget all shots."""
        self._n_ones = 0
        self._n_shots = [0] * self.n_settings

    def update(self, setting: int, rows: NDArray[np.uint64]) -> None:
        """Take in packed shots, shape (n_shots, n_words)."""
        self._n_ones += int(np.bitwise_count(rows).sum())
        self._n_shots[setting] += len(rows)
        if setting == PAYLOAD and self._payload is not None:
            self._payload(rows)

    def estimate(self) -> Estimate:
        """The share so far."""
        n_shots = sum(self._n_shots)
        if n_shots == 0:
            return empty_estimate(self.n_settings)
        n_bits = n_shots * self._n_bits
        share = self._n_ones / n_bits
        error = sqrt(max(share * (1.0 - share), 1.0 / (4.0 * n_bits)) / n_bits)
        low, high = max(0.0, share - 1.96 * error), min(1.0, share + 1.96 * error)
        return Estimate(share, error, low, high, n_shots, tuple(self._n_shots))


def ones_of(outcome: Outcome, n_bits: int) -> tuple[int, int]:
    """Return the ones and all bits behind an outcome of `BitShare`."""
    n_all = outcome.estimate.n_shots * n_bits
    return (round(outcome.estimate.value * n_all), n_all) if n_all else (0, 0)


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """What a calibration has found.

    Attributes:
        rabi_rad_per_us: Rabi frequency (rad/µs).
        rabi_std: Its standard deviation (rad/µs).
        detuning_rad_per_us: Detuning (rad/µs).
        detuning_std: Its standard deviation (rad/µs).
        n_shots: Shots that it took.
        is_known: Whether both are as well known as was asked for.
    """

    rabi_rad_per_us: float
    rabi_std: float
    detuning_rad_per_us: float
    detuning_std: float
    n_shots: int
    is_known: bool


@dataclass(slots=True)
class Calibrate:
    """Policy: measure what tells most, until Rabi frequency and detuning are known well enough.

    Attributes:
        posterior: What is known; begins with the prior.
        probes: Experiments to choose from, one per setting of the program, the first of setting
            `first_setting`.
        n_bits: Measured atoms per shot.
        rabi_error: Relative standard deviation that is enough; inf where it does not matter.
        detuning_error: Standard deviation that is enough (rad/µs).
        max_shots: Shots after which it ends whatever is known.
        shots_per_probe: Shots of one experiment.
        rng: For particles, drawn anew.
        errors: Of preparation and read-out.
        wander: Standard deviations of the steps that the parameters make in one second, each
            shape (3,): a random walk, which the posterior forgets by (`drifted`).
        cadence_hz: Shots per second, for `wander`.
        first_setting: Setting of the first probe.
    """

    posterior: GridPosterior | ParticlePosterior
    probes: Sequence[Probe]
    n_bits: int
    rabi_error: float = 0.005
    detuning_error: float = inf
    max_shots: int = 1000
    shots_per_probe: int = 1
    rng: np.random.Generator | int | None = None
    errors: OutcomeErrors = NO_ERRORS
    wander: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cadence_hz: float = 5.0
    first_setting: int = 0
    n_shots: int = field(default=0, init=False)
    _elapsed_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        _check_probes(self.probes, self.n_bits, self.shots_per_probe)
        _check_cadence(self.cadence_hz)
        self.rng = np.random.default_rng(self.rng)

    @property
    def is_known(self) -> bool:
        """Whether both parameters are known well enough."""
        mean, spread = self.posterior.mean, self.posterior.standard_deviation
        is_rabi_known = bool(spread[RABI] <= self.rabi_error * abs(mean[RABI]))
        return is_rabi_known and bool(spread[DETUNING] <= self.detuning_error)

    def ask(self) -> Experiment | None:
        """Choose the most informative probe; None once enough is known."""
        if self.n_shots >= self.max_shots or (self.n_shots > 0 and self.is_known):
            return None
        best = self.posterior.next_experiment(self.probes, self.errors)
        number = _index(self.probes, best)
        n_shots = min(self.shots_per_probe, self.max_shots - self.n_shots)
        return Experiment((), max_shots=n_shots, setting=self.first_setting + number)

    def judge(self, estimate: Estimate) -> bool:  # noqa: ARG002 - one of `Policy`
        """Probes are short: none is stopped."""
        return False

    def tell(self, outcome: Outcome) -> None:
        """Take in a probe."""
        n_ones, n_bits = ones_of(outcome, self.n_bits)
        self.n_shots += outcome.n_measured
        self._elapsed_s += outcome.n_measured / self.cadence_hz
        posterior = self._drifted()
        probe = self.probes[outcome.experiment.setting - self.first_setting]
        if isinstance(posterior, GridPosterior):
            self.posterior = posterior.updated(probe, n_ones, n_bits, self.errors)
        else:
            rng = np.random.default_rng(self.rng)
            self.posterior = posterior.updated(probe, n_ones, n_bits, rng, self.errors)

    def result(self) -> CalibrationResult:
        """What is known now."""
        mean, spread = self.posterior.mean.tolist(), self.posterior.standard_deviation.tolist()
        return CalibrationResult(
            mean[RABI], spread[RABI], mean[DETUNING], spread[DETUNING], self.n_shots, self.is_known
        )

    def _drifted(self) -> GridPosterior | ParticlePosterior:
        steps = sqrt(self._elapsed_s) * np.array(self.wander)
        if not steps.any():
            return self.posterior
        if isinstance(self.posterior, GridPosterior):
            # Steps below the spacing of a grid do nothing: they are saved until they are not.
            axes = zip(steps.tolist(), self.posterior.axes, strict=True)
            if any(0.0 < step < 0.5 * _spacing(axis) for step, axis in axes):
                return self.posterior
            self._elapsed_s = 0.0
            return self.posterior.drifted(steps)
        self._elapsed_s = 0.0
        return self.posterior.drifted(steps, np.random.default_rng(self.rng))


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """How two parameters were followed. Row k is what was known after outcome k, row 0 the start.

    Attributes:
        times_s: When, in seconds of shots since the start, shape (n,).
        means: Rabi frequency, detuning (rad/µs), their rates (rad/µs per s), shape (n, 4).
        standard_deviations: Of Rabi frequency and detuning (rad/µs), shape (n, 2).
        settings: What was measured before each row, -1 for row 0, shape (n,).
        n_shots: Shots of it, shape (n,).
        n_ones: Bits of it that read 1, shape (n,).
        n_payload_shots: Shots of the other program.
        n_probe_shots: Shots that were spent on probes.
        n_relocks: How often the probes contradicted what was known, and it was widened.
        drift: The model.
    """

    times_s: Reals
    means: Reals
    standard_deviations: Reals
    settings: NDArray[np.int64]
    n_shots: NDArray[np.int64]
    n_ones: NDArray[np.int64]
    n_payload_shots: int
    n_probe_shots: int
    n_relocks: int
    drift: Drift

    def at(self, times_s: Reals) -> Reals:
        """Predict Rabi frequency and detuning from what was known at each time.

        Args:
            times_s: Seconds since the start, shape (n_times,).

        Returns:
            rad/µs, shape (n_times, 2).
        """
        times = np.asarray(times_s, dtype=np.float64)
        rows = np.clip(np.searchsorted(self.times_s, times, side="right") - 1, 0, None)
        memory = self.drift.memory_s
        reach = memory * -np.expm1(-np.maximum(times - self.times_s[rows], 0.0) / memory)
        return np.asarray(self.means[rows, :2] + reach[:, None] * self.means[rows, 2:])


@dataclass(slots=True)
class FollowDrift:
    """Policy: keep Rabi frequency and detuning known while a payload runs.

    A payload runs in setting `PAYLOAD`; probe k is setting k + 1. Before each block of the payload
    the tracker says how long both parameters will stay known within the limits; the block is no
    longer than that. When one is not, the probe that tells most about the one that is the worst
    known against its limit is measured. Without a payload every shot is a probe.

    A jump that no drift explains would look like a fringe further on to the long pulses that tell
    most, so every `check_every` probes one of a half, a third or a fifth of their duration is
    measured, whose outcome should be sure. Once probes contradict what is known, the parameters are
    searched for on a grid within `relock_rabi` and `relock_detuning`, as in a calibration, until
    they are as well known as at the start.

    Attributes:
        tracker: What is known now; begins with a calibration.
        probes: Experiments to choose from.
        n_bits: Measured atoms per shot.
        n_shots: Shots in all, of payload and probes.
        rabi_error: Relative standard deviation that the Rabi frequency is kept within.
        detuning_error: Standard deviation that the detuning is kept within (rad/µs).
        cadence_hz: Shots per second: time is counted in shots, so that the same shots lead to the
            same decisions. None takes the seconds that the machine took, for one whose shots are
            shared with other clients.
        payload_point: Parameters of the payload; None where there is none. A function of Rabi
            frequency and detuning (rad/µs) gives those that make up for the drift, for each block.
        payload_block: Longest block of the payload (shots).
        probe_shots: Shots of one probe.
        check_every: Probes from one check to the next; 0 for none.
        relock_rabi: Relative distance within which a lost Rabi frequency is searched for.
        relock_detuning: Distance within which a lost detuning is searched for (rad/µs).
    """

    tracker: Tracker
    probes: Sequence[Probe]
    n_bits: int
    n_shots: int
    rabi_error: float = 0.003
    detuning_error: float = inf
    cadence_hz: float | None = 5.0
    payload_point: Point | Callable[[float, float], Point] | None = None
    payload_block: int = 50
    probe_shots: int = 1
    check_every: int = 16
    relock_rabi: float = 0.2
    relock_detuning: float = 0.5
    elapsed_s: float = field(default=0.0, init=False)
    n_relocks: int = field(default=0, init=False)
    _first: Reals = field(init=False)
    _rows: list[tuple[float, Tracker, int, int, int]] = field(init=False)
    _n_done: int = field(default=0, init=False)
    _n_probes: int = field(default=0, init=False)
    _search: GridPosterior | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        _check_probes(self.probes, self.n_bits, self.probe_shots)
        if self.cadence_hz is not None:
            _check_cadence(self.cadence_hz)
        if not (self.rabi_error > 0.0 and self.detuning_error > 0.0):
            found = f"are {self.rabi_error} and {self.detuning_error}"
            raise CalibrationError("the limits", found, "give numbers above 0; inf for none")
        if self.n_shots < 1 or self.payload_block < 1 or self.check_every < 0:
            found = f"are {self.n_shots}, {self.payload_block} and {self.check_every}"
            expected = "give 1 or more, and 0 or more for the last"
            raise CalibrationError("n_shots, payload_block and check_every", found, expected)
        self._first = self.tracker.standard_deviation
        self._rows = [(0.0, self.tracker, -1, 0, 0)]

    def ask(self) -> Experiment | None:
        """Run the payload while enough is known, else the probe that tells most."""
        n_left = self.n_shots - self._n_done
        if n_left <= 0:
            return None
        if self._search is not None:
            number = _index(self.probes, self._search.next_experiment(self.probes, self._errors))
            return Experiment((), max_shots=min(n_left, self.probe_shots), setting=number + 1)
        age = self._age(self.tracker)
        if self.payload_point is not None and age.max() <= 1.0:
            point = self.payload_point
            if callable(point):
                rabi, detuning = self.tracker.mean[:2].tolist()
                point = point(rabi, detuning)
            n_shots = min(n_left, self._shots_within())
            return Experiment(point, max_shots=n_shots, setting=PAYLOAD)
        number = self._next_probe(int(np.argmax(age)))
        n_shots = min(n_left, self.probe_shots)
        return Experiment((), max_shots=n_shots, setting=number + 1)

    def judge(self, estimate: Estimate) -> bool:  # noqa: ARG002 - one of `Policy`
        """Blocks are as short as they should be: none is stopped."""
        return False

    def tell(self, outcome: Outcome) -> None:
        """Take in a block of the payload, or a probe."""
        setting, n_shots = outcome.experiment.setting, outcome.n_measured
        elapsed_s = outcome.seconds if self.cadence_hz is None else n_shots / self.cadence_hz
        n_ones, n_bits = ones_of(outcome, self.n_bits)
        # Shots of one probe belong to the middle of their times.
        to_middle_s = elapsed_s * 0.5 * (n_shots - 1) / max(n_shots, 1)
        tracker = self.tracker.predicted(to_middle_s)
        if setting != PAYLOAD and n_bits > 0:
            tracker = self._updated(tracker, self.probes[setting - 1], n_ones, n_bits)
        self.tracker = tracker = tracker.predicted(elapsed_s - to_middle_s)
        self.elapsed_s += elapsed_s
        self._n_done += max(n_shots, 1)
        self._rows.append((self.elapsed_s, tracker, setting, n_shots, n_ones))

    @property
    def known(self) -> dict[str, tuple[float, float]]:
        """Both parameters now, without one that is known for certain."""
        names = ("rabi_rad_per_us", "detuning_rad_per_us")
        mean, spread = self.tracker.mean.tolist(), self.tracker.standard_deviation.tolist()
        return {name: (mean[k], spread[k]) for k, name in enumerate(names) if spread[k] > 0.0}

    def result(self) -> Track:
        """The track so far."""
        times, trackers, settings, n_shots, n_ones = zip(*self._rows, strict=True)
        shots, where = np.array(n_shots), np.array(settings)
        return Track(
            times_s=np.array(times),
            means=np.array([one.mean for one in trackers]),
            standard_deviations=np.array([one.standard_deviation for one in trackers]),
            settings=where,
            n_shots=shots,
            n_ones=np.array(n_ones),
            n_payload_shots=int(shots[where == PAYLOAD].sum()),
            n_probe_shots=int(shots[where > PAYLOAD].sum()),
            n_relocks=self.n_relocks,
            drift=self.tracker.drift,
        )

    def _next_probe(self, about: int) -> int:
        self._n_probes += 1
        if self.check_every and self._n_probes % self.check_every == 0:
            share = _CHECK_SHARES[self._n_probes // self.check_every % len(_CHECK_SHARES)]
            return self.tracker.surest_probe(self.probes, about, share)
        return self.tracker.next_probe(self.probes, about)

    def _age(self, tracker: Tracker) -> Reals:
        """Spreads over their limits, shape (2,)."""
        limits = np.array([self.rabi_error * abs(tracker.mean[RABI]), self.detuning_error])
        return np.asarray(tracker.standard_deviation / limits)

    def _shots_within(self) -> int:
        """Shots until a limit is reached, at least 1."""
        cadence_hz = self.cadence_hz or self._seen_cadence_hz()
        low, high = 1, self.payload_block
        while low < high:
            middle = (low + high + 1) // 2
            is_known = self._age(self.tracker.predicted(middle / cadence_hz)).max() <= 1.0
            low, high = (middle, high) if is_known else (low, middle - 1)
        return low

    def _seen_cadence_hz(self) -> float:
        return self._n_done / self.elapsed_s if self.elapsed_s > 0.0 else 1.0

    def _updated(self, tracker: Tracker, probe: Probe, n_ones: int, n_bits: int) -> Tracker:
        if self._search is not None:
            self._search = self._search.updated(probe, n_ones, n_bits, self._errors)
            return self._found(self._search, tracker)
        tracker = tracker.updated(probe, n_ones, n_bits)
        if tracker.is_lost:
            self.n_relocks += 1
            self._search = self._wide_grid(tracker)
            tracker = Tracker.of(self._search, tracker.drift, self._errors)
        return tracker

    def _found(self, search: GridPosterior, tracker: Tracker) -> Tracker:
        """Say what the search knows; end it once that is as much as at the start."""
        if (search.standard_deviation[:2] <= 1.1 * self._first).all():
            self._search = None
        spread = np.maximum(search.standard_deviation[:2], 0.1 * self._first).tolist()
        mean = search.mean.tolist()
        return Tracker.start(
            (mean[RABI], spread[RABI]), (mean[DETUNING], spread[DETUNING]), tracker.drift,
            self._errors,
        )  # fmt: skip

    def _wide_grid(self, tracker: Tracker) -> GridPosterior:
        rabi, detuning = tracker.mean[:2].tolist()
        # Steps of a standard deviation at the start: what the longest pulses can still tell apart.
        half = self.relock_rabi * rabi
        n_rabi = 2 * ceil(half / self._first[RABI]) + 1
        axes = [rabi + half * np.linspace(-1.0, 1.0, n_rabi), np.array([detuning])]
        if self._first[DETUNING] > 0.0:
            n_detuning = 2 * ceil(self.relock_detuning / self._first[DETUNING]) + 1
            axes[1] = detuning + self.relock_detuning * np.linspace(-1.0, 1.0, n_detuning)
        return GridPosterior.uniform(rabi=axes[0], detuning=axes[1])

    @property
    def _errors(self) -> OutcomeErrors:
        return self.tracker.errors


def _index(probes: Sequence[Probe], chosen: Probe) -> int:
    return next(k for k, probe in enumerate(probes) if probe is chosen)


def _spacing(axis: Reals) -> float:
    return float(np.diff(axis).min()) if len(axis) > 1 else 0.0


def _check_probes(probes: Sequence[Probe], n_bits: int, n_shots: int) -> None:
    if not len(probes) or n_bits < 1 or n_shots < 1:
        found = f"are {len(probes)}, of {n_bits} bits and {n_shots} shots"
        raise CalibrationError("the probes", found, "give at least one of each")


def _check_cadence(cadence_hz: float) -> None:
    if not 0.0 < cadence_hz < inf:
        raise CalibrationError("cadence_hz", f"is {cadence_hz}", "give a positive number")
