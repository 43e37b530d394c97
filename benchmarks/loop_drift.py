"""Shots to follow a drift of the Rabi frequency, against calibrating again every so often.

Run it with `python -m benchmarks.loop_drift [--quick]`, or as rows of the benchmark `loop`. Four
atoms, read with errors of 1 % and 5 %, 5 shots per second of simulated time, ten minutes, pulses of
at most 5.8 µs at 11.9 rad/µs; the detuning is known to be 0. Shots follow the two-level formula,
which the tests compare with the emulated pulses. Both sides are tuned for the fewest probe shots at
which the relative error of the Rabi frequency, root mean square over all shots of all seeds, is at
most 0.3 %; the sweep of the peer is the wider one. The model of the policy states the true size of
the rate, not its sign; `docs/loops.md` says what becomes of it where it does not.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from benchmarks.report import ROOT, Row, aligned, cells, progress
from cudaq_target.controller.drifting import DriftLaw
from cudaq_target.coupler import connect, serve
from cudaq_target.coupler.loops.calibration import BitShare, Drift, FollowDrift, Track, Tracker
from cudaq_target.coupler.loops.interface import Outcome
from cudaq_target.coupler.loops.loop import FeedbackLoop
from cudaq_target.coupler.loops.program import LoopProgram
from cudaq_target.kernels import estimation, pack_bits
from cudaq_target.kernels.estimation import Experiment, OutcomeErrors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Reals = NDArray[np.float64]

N_SEEDS, QUICK_SEEDS = 20, 4
N_SHOTS, QUICK_SHOTS = 3000, 1200
CADENCE_HZ: Final = 5.0
N_ATOMS: Final = 4
RABI: Final = 11.9  # rad/µs
LONGEST_US: Final = 5.8
ERRORS: Final = OutcomeErrors(0.01, 0.05)
LARGEST_ERROR: Final = 0.003
RATE: Final = RABI * 0.01 / 60.0  # rad/µs per s
PROBES: Final = tuple(
    Experiment("rabi", float(t))
    for t in np.concatenate([np.geomspace(0.06, 5.0, 20), np.linspace(5.06, LONGEST_US, 12)])
)
LAWS: Final = {"steady": DriftLaw(0.01), "turning every 2 min": DriftLaw(0.01, turn_s=120.0)}
LIMITS: Final = (0.0036, 0.0034, 0.0032, 0.003, 0.0028, 0.0026, 0.0024, 0.0022)
PERIODS_S: Final = (6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 24.0, 28.0)
SCAN_SHOTS: Final = (4, 6, 8, 10, 12, 14, 16, 20, 24, 30, 36, 42, 50)
SCAN_LONGEST_US: Final = (0.25 * LONGEST_US, 0.5 * LONGEST_US, 0.75 * LONGEST_US, LONGEST_US)
WINDOWS: Final = (0.015, 0.03)  # relative, to each side of what was known before
_GRID: Final = np.linspace(-1.0, 1.0, 121)
_HOPELESS: Final = 1.15


@dataclass(frozen=True, slots=True)
class Found:
    """One way to follow the drift, and what it takes.

    Attributes:
        per_min: Probe shots per minute, of each seed.
        rms: Relative error, root mean square over all shots and seeds.
        p95: Its 95th percentile.
        how: In words.
    """

    per_min: tuple[float, ...]
    rms: float
    p95: float
    how: str

    @property
    def median(self) -> float:
        return float(np.median(self.per_min))


class FormulaMachine:
    """A `LazyMachine` of the two-level formula; shot k has its own random numbers."""

    granularity: Literal["shot", "job"] = "shot"
    cadence_hz: float | None = None

    def __init__(self, law: DriftLaw, seed: int, n_shots: int) -> None:
        self.rabi = RABI * law.at(np.arange(n_shots) / CADENCE_HZ)[0]
        self._uniform = np.random.default_rng([20261122, seed]).random((n_shots, N_ATOMS))
        self._n_measured = 0

    def specs(self) -> str:
        return '{"name": "two-level formula", "granularity": "shot"}'

    def load(self, program: str) -> int:
        return int(program)

    def begin(self, program: object, parameters: Reals, n_shots: int, seed: int) -> FormulaRun:  # noqa: ARG002
        assert isinstance(program, int)
        return FormulaRun(self, program)

    def measure(self, setting: int, n_shots: int) -> NDArray[np.uint64]:
        """Measure the next shots; setting 0 is the payload, which is not looked at."""
        k = np.arange(self._n_measured, self._n_measured + n_shots)
        self._n_measured += n_shots
        q = np.full(n_shots, 0.5)
        if setting > 0:
            q = excited(self.rabi[k], np.full(n_shots, PROBES[setting - 1].duration_us))
        return pack_bits((self._uniform[k] < q[:, None]).astype(np.uint8))


class FormulaRun:
    n_qubits = N_ATOMS

    def __init__(self, machine: FormulaMachine, setting: int) -> None:
        self._machine, self._setting = machine, setting

    def measure(self, n_shots: int) -> NDArray[np.uint64]:
        return self._machine.measure(self._setting, n_shots)

    def close(self) -> None:
        pass


def excited(rabi: Reals, durations_us: Reals) -> Reals:
    """Probability to read 1 on resonance."""
    contrast = 1.0 - ERRORS.one_of_zero - ERRORS.zero_of_one
    return np.asarray(ERRORS.one_of_zero + contrast * np.sin(0.5 * rabi * durations_us) ** 2)


def policy(limit: float, n_shots: int, stated: float = 1.0) -> FollowDrift:
    """Return the policy; its model states so many times the true rate."""
    model = Drift(stated * RATE, 0.0, memory_s=120.0)
    tracker = Tracker.start((RABI, LARGEST_ERROR * RABI), (0.0, 0.0), model, ERRORS)
    return FollowDrift(
        tracker, PROBES, N_ATOMS, n_shots, limit, cadence_hz=CADENCE_HZ, payload_point=()
    )


def follow(law: DriftLaw, seed: int, n_shots: int, limit: float, stated: float = 1.0) -> Track:
    """Let the policy decide, without a link."""
    machine, deciding = FormulaMachine(law, seed, n_shots), policy(limit, n_shots, stated)
    estimator = BitShare(len(PROBES) + 1, N_ATOMS)
    while (wanted := deciding.ask()) is not None:
        estimator.begin(wanted.point)
        estimator.update(wanted.setting, machine.measure(wanted.setting, wanted.max_shots))
        n = wanted.max_shots
        deciding.tell(Outcome(wanted, estimator.estimate(), n, n))
    return deciding.result()


def follow_over_a_controller(law: DriftLaw, seed: int, n_shots: int, limit: float) -> Track:
    """The same over a controller in a thread and a Unix socket."""
    texts = tuple(str(k) for k in range(len(PROBES) + 1))
    with (
        tempfile.TemporaryDirectory(prefix="cudaq-target-") as folder,
        serve(FormulaMachine(law, seed, n_shots), f"ipc://{folder}/c") as server,
        connect(server.endpoint, timeout_s=10.0) as link,
    ):
        program, estimator = LoopProgram(texts, N_ATOMS), BitShare(len(texts), N_ATOMS)
        done = FeedbackLoop(link, program, estimator, policy(limit, n_shots), name="drift").run()
    assert isinstance(done.result, Track)
    return done.result


def tracked(law: DriftLaw, limit: float, n_seeds: int, n_shots: int, stated: float = 1.0) -> Found:
    """Follow with one limit, all seeds."""
    times = np.arange(n_shots) / CADENCE_HZ
    exact = RABI * law.at(times)[0]
    tracks = [follow(law, seed, n_shots, limit, stated) for seed in range(n_seeds)]
    errors = np.array([track.at(times)[:, 0] / exact - 1.0 for track in tracks])
    spent = [track.n_probe_shots for track in tracks]
    return _found(errors, spent, f"a limit of {100 * limit:.2f} %")


def recalibrated(
    law: DriftLaw, period_s: float, n_scan: int, longest_us: float, window: float,
    n_seeds: int, n_shots: int,
) -> Found:  # fmt: skip
    """Scan the pulse duration every period, all seeds at once; between scans the last one holds.

    A scan is one shot at each of `n_scan` durations at equal distances; its posterior mean, under
    an even prior within the window around the value before, is the new value.
    """
    exact = RABI * law.at(np.arange(n_shots) / CADENCE_HZ)[0]
    uniform = np.random.default_rng([20261122, 7]).random((n_seeds, n_shots, N_ATOMS))
    durations = longest_us * np.arange(1, n_scan + 1) / n_scan
    period, value = round(period_s * CADENCE_HZ), np.full(n_seeds, RABI)
    known = np.empty((n_seeds, n_shots))
    n_spent = 0
    for first in range(0, n_shots, period):
        last = min(first + n_scan, n_shots)
        known[:, first:last] = value[:, None]
        shots = slice(0, last - first)
        q = excited(exact[first:last], durations[shots])
        n_ones = (uniform[:, first:last] < q[:, None]).sum(axis=2)
        grid = value[:, None] * (1.0 + window * _GRID)
        likely = excited(grid[:, None, :], durations[None, shots, None])
        log_weights = (
            n_ones[:, :, None] * np.log(likely) + (N_ATOMS - n_ones)[:, :, None] * np.log1p(-likely)
        ).sum(axis=1)
        weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
        value = (weights * grid).sum(axis=1) / weights.sum(axis=1)
        known[:, last : first + period] = value[:, None]
        n_spent += last - first
    how = f"{n_scan} shots up to {longest_us:g} µs every {period_s:g} s, ± {100 * window:g} %"
    return _found(known / exact - 1.0, [n_spent] * n_seeds, how)


def recalibrated_adaptively(
    law: DriftLaw, period_s: float, n_scan: int, window: float, n_seeds: int, n_shots: int
) -> Found:
    """The same with chosen experiments, each time from an even prior: no memory of the drift."""
    exact = RABI * law.at(np.arange(n_shots) / CADENCE_HZ)[0]
    period, errors = round(period_s * CADENCE_HZ), np.empty((n_seeds, n_shots))
    n_spent = 0
    for seed in range(n_seeds):
        uniform = np.random.default_rng([20261122, 8, seed]).random((n_shots, N_ATOMS))
        value, known, n_spent = RABI, np.empty(n_shots), 0
        for first in range(0, n_shots, period):
            points = np.zeros((len(_GRID), 3))
            points[:, 0] = value * (1.0 + window * _GRID)
            likely = estimation.outcome_probabilities(points, PROBES, ERRORS)
            weights = np.full(len(_GRID), -np.log(len(_GRID)))
            last = min(first + n_scan, n_shots)
            known[first:last] = value
            for shot in range(first, last):
                best = int(np.argmax(estimation.information_gain(weights, likely)))
                q = excited(exact[shot], np.array(PROBES[best].duration_us))
                n_ones = int((uniform[shot] < q).sum())
                weights = estimation.posterior_update(weights, likely[best], n_ones, N_ATOMS)
            value = float(np.exp(weights) @ points[:, 0])
            known[last : first + period] = value
            n_spent += last - first
        errors[seed] = known / exact - 1.0
    how = f"{n_scan} chosen shots every {period_s:g} s, ± {100 * window:g} %"
    return _found(errors, [n_spent] * n_seeds, how)


def _found(errors: Reals, spent: Sequence[int], how: str) -> Found:
    minutes = errors.shape[1] / CADENCE_HZ / 60.0
    per_min = tuple(n / minutes for n in spent)
    rms = float(np.sqrt(np.mean(errors**2)))
    return Found(per_min, rms, float(np.quantile(np.abs(errors), 0.95)), how)


def best_scan(law: DriftLaw, n_seeds: int, n_shots: int) -> Found | None:
    """The cheapest scan that is good enough."""
    choices = product(PERIODS_S, SCAN_SHOTS, SCAN_LONGEST_US, WINDOWS)
    for period_s, n_scan, longest_us, window in sorted(choices, key=lambda c: (c[1] / c[0], c[0])):
        if n_scan >= period_s * CADENCE_HZ:
            continue
        few = recalibrated(law, period_s, n_scan, longest_us, window, min(4, n_seeds), n_shots)
        if few.rms > _HOPELESS * LARGEST_ERROR:
            continue
        found = recalibrated(law, period_s, n_scan, longest_us, window, n_seeds, n_shots)
        if found.rms <= LARGEST_ERROR:
            return found
    return None


def best_adaptive(law: DriftLaw, n_seeds: int, n_shots: int) -> Found | None:
    """The cheapest adaptive recalibration that is good enough."""
    choices = product((14.0, 16.0, 18.0, 20.0), (4, 6, 8, 10, 12))
    for period_s, n_scan in sorted(choices, key=lambda c: (c[1] / c[0], c[0])):
        few = recalibrated_adaptively(law, period_s, n_scan, WINDOWS[0], 2, n_shots)
        if few.rms > _HOPELESS * LARGEST_ERROR:
            continue
        found = recalibrated_adaptively(law, period_s, n_scan, WINDOWS[0], n_seeds, n_shots)
        if found.rms <= LARGEST_ERROR:
            return found
    return None


def best_track(law: DriftLaw, n_seeds: int, n_shots: int) -> Found | None:
    """The widest limit that is good enough."""
    for limit in LIMITS:
        found = tracked(law, limit, n_seeds, n_shots)
        if found.rms <= LARGEST_ERROR:
            return found
    return None


def rows(quick: bool) -> list[Row]:
    """Measure both sides."""
    n_seeds, n_shots = (QUICK_SEEDS, QUICK_SHOTS) if quick else (N_SEEDS, N_SHOTS)
    return list(_rows(n_seeds, n_shots, quick))


def _rows(n_seeds: int, n_shots: int, quick: bool) -> Iterator[Row]:
    ours: Found | None = None
    for name, law in LAWS.items():
        progress(f"drift of 1 %/min, {name}")
        ours, scan = best_track(law, n_seeds, n_shots), best_scan(law, n_seeds, n_shots)
        label = f"shots to follow 1 %/min within 0.3 %, {name}"
        yield _compared(label, ours, scan, "full scan at its best period", "ratio >= 2")
        if name == "steady" and not quick:
            adaptive = best_adaptive(law, n_seeds, n_shots)
            label = "the same, against chosen experiments without memory"
            yield _compared(label, ours, adaptive, "adaptive recalibration", None)
            yield from _misstated(n_seeds, n_shots)
    if not quick:
        yield from _returning()
    yield _same_decisions(min(n_shots, 600))


def _compared(
    name: str, ours: Found | None, peer: Found | None, label: str, reach: str | None
) -> Row:
    if ours is None or peer is None:
        who = "the policy" if ours is None else label
        note = f"{who} does not get below 0.3 % with any setting of its sweep"
        holds = False if reach else None
        return Row(name, None, "shots/min", reach=reach, holds=holds, note=note)
    ratio = peer.median / ours.median
    note = (
        f"{len(ours.per_min)} seeds; error {_percent(ours.rms)} rms, {_percent(ours.p95)} at p95 "
        f"with {ours.how}; peer {_percent(peer.rms)} rms, {_percent(peer.p95)} at p95"
    )
    return Row(
        name=name,
        value=ours.median,
        unit="shots/min",
        peer=f"{label} ({peer.how}): {peer.median:.3g} shots/min",
        ratio=ratio,
        reach=reach,
        holds=ratio >= 2.0 if reach else None,
        samples=ours.per_min,
        note=note,
    )


def _misstated(n_seeds: int, n_shots: int) -> Iterator[Row]:
    """What becomes of it where the model states another rate than the true one."""
    for stated, words in ((3.0, "three times too large"), (1 / 3, "three times too small")):
        found = tracked(LAWS["steady"], LARGEST_ERROR, n_seeds, n_shots, stated)
        error = 100 * found.rms
        note = f"{n_seeds} seeds, {found.how} of the stated error"
        yield Row(f"shots, the rate stated {words}", found.median, "shots/min", note=note)
        yield Row(f"error, the rate stated {words}", error, "% rms", note=note)


def _returning() -> Iterator[Row]:
    """Run the example, whose atoms should be back in g after a pulse of 8π."""
    example = runpy.run_path(str(ROOT / "examples" / "drift_tracking.py"), run_name="example")
    n_shots = 1500  # five minutes
    progress("a program on a machine that drifts")
    result, wrong = example["followed"](n_shots)
    name, unit = "atoms not back after a pulse of 8π over five minutes", "%"
    yield Row(f"{name}, drift followed", 100 * wrong, unit, note=result.text().replace("\n", "; "))
    yield Row(f"{name}, left alone", 100 * example["left_alone"](n_shots), unit)
    n_probes = result.track.n_probe_shots
    yield Row("shots of a program per probe shot", (n_shots - n_probes) / n_probes, "shots")


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _same_decisions(n_shots: int) -> Row:
    """A controller must change nothing but the way of the shots."""
    law = LAWS["steady"]
    alone = follow(law, 1, n_shots, LARGEST_ERROR)
    linked = follow_over_a_controller(law, 1, n_shots, LARGEST_ERROR)
    same = alone.means.shape == linked.means.shape and bool((alone.means == linked.means).all())
    return Row(
        name="the same decisions over a controller",
        value=float(len(linked.settings) - 1),
        unit="runs",
        reach="equal to the last bit",
        holds=same,
        note=f"{n_shots} shots of one seed, through sockets and without",
        is_correctness=True,
    )


if __name__ == "__main__":
    made = rows("--quick" in sys.argv[1:])
    print(aligned([cells(row.public()) for row in made]))
    print(*(row.note for row in made), sep="\n")
