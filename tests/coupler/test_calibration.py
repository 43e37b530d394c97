"""Calibration and tracking on shots of the two-level formulas with known, drifting parameters."""

from __future__ import annotations

from math import inf, nan, pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.coupler.loops.calibration import (
    DETUNING,
    PAYLOAD,
    RABI,
    BitShare,
    Calibrate,
    CalibrationError,
    Drift,
    FollowDrift,
    Tracker,
    ones_of,
)
from cudaq_target.coupler.loops.interface import Estimate, Outcome, Policy
from cudaq_target.kernels.estimation import Experiment, OutcomeErrors, outcome_probabilities
from cudaq_target.kernels.grid import GridPosterior
from cudaq_target.kernels.particles import ParticlePosterior
from tests.kernels.backends import pack

CADENCE_HZ = 5.0
ERRORS = OutcomeErrors(0.01, 0.05)
N_ATOMS = 4
RABI_PROBES = [Experiment("rabi", t) for t in np.linspace(0.1, 6.0, 60)]
RAMSEY_PROBES = [
    Experiment("ramsey", t, s) for t in np.geomspace(0.2, 5.0, 12) for s in (pi / 2, -pi / 2)
]


def drive(policy: Policy, truth, rng, *, first_setting=1, n_bits=N_ATOMS, max_runs=20_000) -> int:
    """Measure what a policy asks for; `truth(shot)` is (rabi, detuning). Shots in all."""
    estimator = BitShare(200, n_bits)
    n_shots = 0
    for _ in range(max_runs):
        wanted = policy.ask()
        if wanted is None:
            return n_shots
        estimator.begin(wanted.point)
        bits = np.zeros((wanted.max_shots, n_bits), dtype=np.uint8)
        if wanted.setting >= first_setting:
            probe = policy.probes[wanted.setting - first_setting]
            for row in bits:
                rabi, detuning = truth(n_shots)
                q = outcome_probabilities([[rabi, detuning, 0.0]], [probe], ERRORS)[0, 0]
                row[:] = rng.random(n_bits) < q
                n_shots += 1
        else:
            n_shots += len(bits)
        estimator.update(wanted.setting, pack(bits))
        estimate = estimator.estimate()
        policy.judge(estimate)
        policy.tell(Outcome(wanted, estimate, len(bits), len(bits), seconds=1.0))
    raise AssertionError("the policy does not end")


def test_shares_are_counted() -> None:
    seen = []
    estimator = BitShare(3, 70, payload=lambda rows: seen.append(rows.copy()))
    assert np.isnan(estimator.estimate().value)
    rng = np.random.default_rng(1)
    bits = (rng.random((9, 70)) < 0.3).astype(np.uint8)
    estimator.begin(())
    estimator.update(1, pack(bits[:4]))
    estimator.update(1, pack(bits[4:]))
    estimate = estimator.estimate()
    assert estimate.value == pytest.approx(bits.mean())
    assert estimate.n_shots_by_setting == (0, 9, 0)
    assert ones_of(Outcome(None, estimate, 9, 9), 70) == (bits.sum(), 630)
    assert not seen
    estimator.begin(())
    estimator.update(PAYLOAD, pack(bits))
    np.testing.assert_array_equal(seen[0], pack(bits))


@pytest.mark.parametrize("kind", ["grid", "particles"])
def test_calibration_from_a_wide_prior(kind: str) -> None:
    # From 20 % to 0.5 %: the long pulses alone would have many answers.
    n_shots = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        truth = (rng.uniform(10.0, 15.0), rng.uniform(-0.5, 0.5))
        if kind == "grid":
            prior = GridPosterior.uniform(
                rabi=np.linspace(9.5, 15.5, 301), detuning=np.linspace(-0.7, 0.7, 41)
            )
        else:
            prior = ParticlePosterior.uniform([9.5, -0.7, 0], [15.5, 0.7, 0], 4000, rng)
        probes = RABI_PROBES[::4] + RAMSEY_PROBES[::2]
        policy = Calibrate(
            prior, probes, N_ATOMS, 0.005, 0.05, rng=seed, errors=ERRORS, shots_per_probe=5
        )
        drive(policy, lambda _, truth=truth: truth, rng, first_setting=0)
        found = policy.result()
        assert found.is_known
        assert abs(found.rabi_rad_per_us - truth[0]) < 4 * found.rabi_std
        assert abs(found.detuning_rad_per_us - truth[1]) < 4 * found.detuning_std
        assert found.rabi_std <= 0.005 * found.rabi_rad_per_us
        n_shots.append(found.n_shots)
    assert max(n_shots) <= 150


def test_calibration_gives_up_and_says_so() -> None:
    prior = GridPosterior.uniform(rabi=np.linspace(9.0, 15.0, 61), detuning=[0.0])
    policy = Calibrate(prior, RABI_PROBES[:3], 1, 1e-6, max_shots=20, errors=ERRORS)
    assert drive(policy, lambda _: (12.0, 0.0), np.random.default_rng(2), first_setting=0) == 20
    assert not policy.result().is_known


@pytest.mark.parametrize("kind", ["grid", "particles"])
def test_calibration_forgets_as_fast_as_it_is_told(kind: str) -> None:
    rng = np.random.default_rng(3)
    walk = 12.0 + np.cumsum(rng.normal(0.0, 0.03, 400))
    errors = {}
    for wander in (0.0, 0.03 * sqrt(CADENCE_HZ)):
        own = np.random.default_rng(4)
        if kind == "grid":
            prior = GridPosterior.uniform(rabi=np.linspace(9.0, 15.0, 241), detuning=[0.0])
        else:
            prior = ParticlePosterior.uniform([9.0, 0, 0], [15.0, 0, 0], 2000, own)
        policy = Calibrate(
            prior, RABI_PROBES[:20], N_ATOMS, 1e-9, max_shots=400, rng=own, errors=ERRORS,
            wander=(wander, 0.0, 0.0), cadence_hz=CADENCE_HZ,
        )  # fmt: skip
        missed = []

        def truth(shot: int, policy=policy, missed=missed) -> tuple[float, float]:
            missed.append(policy.posterior.mean[0] - walk[shot])
            return walk[shot], 0.0

        drive(policy, truth, own, first_setting=0)
        errors[wander > 0.0] = np.sqrt(np.mean(np.square(missed[50:])))
    assert errors[True] < 0.25
    assert errors[True] < 0.5 * errors[False]


@given(steps=st.lists(st.floats(1e-4, 400.0), min_size=1, max_size=4))
def test_drift_does_not_depend_on_how_time_is_cut(steps) -> None:
    drift = Drift(0.02, 0.003, memory_s=60.0)
    motion, noise = drift.transition(sum(steps))
    together, added = np.eye(4), np.zeros((4, 4))
    for step in steps:
        one, more = drift.transition(step)
        together, added = one @ together, one @ added @ one.T + more
    np.testing.assert_allclose(together, motion, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(added, noise, rtol=1e-6, atol=1e-13)


def test_drift_is_the_process_it_states() -> None:
    # Euler steps of d rate = -rate dt / tau + sqrt(2 / tau) s dW.
    rng = np.random.default_rng(5)
    drift, dt, n = Drift(0.02, memory_s=3.0), 0.01, 400
    rate = 0.02 * rng.standard_normal(20_000)
    value = np.zeros(20_000)
    for _ in range(n):
        value += rate * dt
        rate += -rate * dt / 3.0 + 0.02 * sqrt(2 * dt / 3.0) * rng.standard_normal(20_000)
    start = Tracker.start((12.0, 1e-12), (0.0, 0.0), drift)
    end = start.predicted(n * dt)
    assert np.var(value) == pytest.approx(end.covariance[0, 0], rel=0.04)
    assert np.mean(value * rate) == pytest.approx(end.covariance[0, 2], rel=0.06)
    assert np.var(rate) == pytest.approx(end.covariance[2, 2], rel=0.04)


def test_a_shot_is_weighed_as_by_the_grid_of_the_kernels() -> None:
    # Independent: the same prior on a fine fixed grid, conditioned on the same shots at once.
    probe, n_ones, n_bits = Experiment("rabi", 0.9), 3, 8
    rabi, detuning = np.linspace(10.0, 14.0, 801), np.linspace(-1.5, 1.5, 121)
    grid = GridPosterior.uniform(rabi=rabi, detuning=detuning)
    w, d = grid.parameters[:, 0], grid.parameters[:, 1]
    prior = -0.5 * (((w - 12.0) / 0.3) ** 2 + ((d - 0.1) / 0.25) ** 2)
    prior -= np.log(np.exp(prior).sum())
    exact = GridPosterior(grid.axes, prior).updated(probe, n_ones, n_bits, ERRORS)
    tracker = Tracker.start((12.0, 0.3), (0.1, 0.25), Drift(0.02), ERRORS)
    found = tracker.updated(probe, n_ones, n_bits)
    np.testing.assert_allclose(found.mean[:2], exact.mean[:2], atol=1e-3)
    np.testing.assert_allclose(found.standard_deviation, exact.standard_deviation[:2], rtol=1e-3)
    np.testing.assert_allclose(found.mean[2:], 0.0)
    correlated = found.predicted(60.0)
    assert correlated.covariance[0, 2] > 0.0
    moved = correlated.updated(probe, 8, 8)
    shift = moved.mean - correlated.mean
    slope = correlated.covariance[0, 2] / correlated.covariance[0, 0]
    assert shift[2] == pytest.approx(slope * shift[0], rel=0.05)


def test_gain_counts_what_is_asked_about_alone() -> None:
    tracker = Tracker.start((12.0, 0.05), (0.0, 0.1), Drift(0.02, 0.01), ERRORS)
    probes = [Experiment("rabi", 3.0), Experiment("ramsey", 3.0, pi / 2)]
    about_rabi, about_detuning = (tracker.gains(probes, about) for about in (RABI, DETUNING))
    assert about_rabi[0] > 5 * about_rabi[1]
    assert about_detuning[1] > 5 * about_detuning[0]
    known = Tracker.start((12.0, 0.05), (0.0, 0.0), Drift(0.02), ERRORS)
    assert known.gains(probes, DETUNING).tolist() == [0.0, 0.0]


def test_pulses_grow_as_the_parameter_gets_known() -> None:
    longest = []
    for spread in (3.0, 1.0, 0.3, 0.1, 0.03):
        tracker = Tracker.start((12.0, spread), (0.0, 0.0), Drift(0.02), ERRORS)
        longest.append(RABI_PROBES[tracker.next_probe(RABI_PROBES, RABI)].duration_us)
        assert longest[-1] * spread <= 1.5
    assert longest == sorted(longest)
    assert longest[0] < 0.6
    assert longest[-1] > 5.0


def start(drift: Drift, rabi: float = 12.0, detuning: float = 0.0) -> Tracker:
    return Tracker.start((rabi, 0.003 * rabi), (detuning, 0.05), drift, ERRORS)


def relative_errors(track, truth, n_shots: int):
    times = np.arange(n_shots) / CADENCE_HZ
    exact = np.array([truth(k) for k in range(n_shots)])
    found = track.at(times)
    return found[:, 0] / exact[:, 0] - 1.0, found[:, 1] - exact[:, 1]


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_drift_of_one_percent_per_minute_is_followed(sign: float) -> None:
    n_shots = 1500
    rate = sign * 0.01 * 12.0 / 60.0

    def truth(shot: int) -> tuple[float, float]:
        return 12.0 + rate * shot / CADENCE_HZ, 0.05 * np.sin(shot / 300.0)

    policy = FollowDrift(
        start(Drift(0.002, 0.002)), RABI_PROBES + RAMSEY_PROBES, N_ATOMS, n_shots, 0.0025, 0.03,
        payload_point=(),
    )  # fmt: skip
    assert drive(policy, truth, np.random.default_rng(6)) == n_shots
    track = policy.result()
    rabi, detuning = relative_errors(track, truth, n_shots)
    assert np.sqrt(np.mean(rabi**2)) < 0.003
    assert np.sqrt(np.mean(detuning**2)) < 0.036
    assert track.n_payload_shots + track.n_probe_shots == n_shots
    assert track.n_probe_shots < 0.3 * n_shots
    found = track.means[len(track.times_s) // 2 :, 2].mean()  # one value is known to 0.0013 alone
    assert found == pytest.approx(rate, abs=0.0012)
    assert track.n_relocks == 0
    spread = track.standard_deviations[:, 0] / track.means[:, 0]
    assert np.median(spread) < 0.0027


def test_stated_errors_are_the_true_ones() -> None:
    # Truths drawn from the model itself: residuals over stated spreads have variance 1.
    drift = Drift(0.002, 0.0, memory_s=60.0)
    ratios = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        tracker = Tracker.start((12.0, 0.03), (0.0, 0.0), drift, ERRORS)
        state = rng.multivariate_normal(tracker.mean, tracker.covariance)
        rabi = []
        motion, noise = drift.transition(1.0 / CADENCE_HZ)
        for _ in range(1000):
            rabi.append(state[0])
            state = motion @ state + rng.multivariate_normal(np.zeros(4), noise, method="svd")
        policy = FollowDrift(tracker, RABI_PROBES, N_ATOMS, 1000, 0.0025, payload_point=())
        drive(policy, lambda shot, rabi=rabi: (rabi[shot], 0.0), rng)
        track = policy.result()
        rows = np.arange(5, len(track.times_s) - 1, 5)
        shots = np.rint(track.times_s[rows] * CADENCE_HZ).astype(int)
        missed = track.means[rows, 0] - np.array(rabi)[shots]
        ratios.append(np.mean((missed / track.standard_deviations[rows, 0]) ** 2))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.45)


@pytest.mark.parametrize("jump", [0.25, 0.5, 1.0, -0.7])
def test_a_jump_is_noticed_and_found_again(jump: float) -> None:
    # 0.5 rad/µs is half a fringe of the longest pulse, 1.0 nearly a whole one.
    def truth(shot: int) -> tuple[float, float]:
        return (12.0 if shot < 400 else 12.0 + jump), 0.0

    tracker = Tracker.start((12.0, 0.036), (0.0, 0.0), Drift(0.002), ERRORS)
    policy = FollowDrift(tracker, RABI_PROBES, N_ATOMS, 1800, 0.0025, payload_point=())
    drive(policy, truth, np.random.default_rng(7))
    track = policy.result()
    assert track.n_relocks >= (abs(jump) >= 0.5)  # a small one is followed without
    missed, _ = relative_errors(track, truth, 1800)
    assert np.abs(missed[1400:]).max() < 0.012


def test_the_same_shots_lead_to_the_same_decisions() -> None:
    tracks = []
    for _ in range(2):
        policy = FollowDrift(
            start(Drift(0.002, 0.002)), RABI_PROBES + RAMSEY_PROBES, N_ATOMS, 300, 0.003, 0.03,
            payload_point=(0.5,), probe_shots=2,
        )  # fmt: skip
        drive(policy, lambda _: (12.0, 0.01), np.random.default_rng(8))
        tracks.append(policy.result())
    np.testing.assert_array_equal(tracks[0].settings, tracks[1].settings)
    np.testing.assert_array_equal(tracks[0].means, tracks[1].means)


def test_without_a_payload_every_shot_is_a_probe() -> None:
    policy = FollowDrift(start(Drift(0.002, 0.001)), RABI_PROBES + RAMSEY_PROBES, N_ATOMS, 40)
    drive(policy, lambda _: (12.0, 0.0), np.random.default_rng(9))
    track = policy.result()
    assert track.n_probe_shots == 40
    assert track.n_payload_shots == 0


def test_time_may_be_that_of_the_machine() -> None:
    policy = FollowDrift(
        start(Drift(0.002)), RABI_PROBES, N_ATOMS, 30, cadence_hz=None, payload_point=()
    )
    drive(policy, lambda _: (12.0, 0.0), np.random.default_rng(9))
    track = policy.result()
    assert track.times_s[-1] == len(track.times_s) - 1  # `drive` says that each run took 1 s


def test_lost_runs_end_the_loop_all_the_same() -> None:
    policy = FollowDrift(start(Drift(0.002)), RABI_PROBES, N_ATOMS, 5)
    nothing = Estimate(nan, inf, -inf, inf, 0, (0,) * 61)
    for _ in range(5):
        policy.tell(Outcome(policy.ask(), nothing, 0, 0))
    assert policy.ask() is None
    assert policy.result().n_probe_shots == 0


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: Drift(-1.0), "rates of 0 or more"),
        (lambda: Drift(1.0, memory_s=0.0), "memory above 0"),
        (lambda: Tracker.start((0.0, 1.0), (0.0, 1.0), Drift(1.0)), "above 0"),
        (lambda: Tracker.start((1.0, 1.0), (nan, 1.0), Drift(1.0)), "finite"),
        (lambda: Tracker.start((1.0, 1.0), (0.0, -1.0), Drift(1.0)), "use >= 0"),
        (lambda: FollowDrift(start(Drift(1.0)), [], 4, 10), "the probes are 0"),
        (lambda: FollowDrift(start(Drift(1.0)), RABI_PROBES, 4, 0), "n_shots, payload"),
        (lambda: FollowDrift(start(Drift(1.0)), RABI_PROBES, 4, 9, 0.0), "the limits are"),
        (lambda: FollowDrift(start(Drift(1.0)), RABI_PROBES, 4, 9, cadence_hz=0.0), "cadence_hz"),
    ],
)
def test_refused(call, match: str) -> None:
    with pytest.raises(CalibrationError, match=match):
        call()


@settings(max_examples=30)
@given(
    spread=st.floats(1e-6, 5.0),
    detuning_spread=st.floats(0.0, 3.0),
    duration=st.floats(0.0, 6.0),
    n_bits=st.integers(1, 2000),
    share=st.floats(0.0, 1.0),
)
def test_no_shot_breaks_the_tracker(spread, detuning_spread, duration, n_bits, share) -> None:
    tracker = Tracker.start((12.0, spread), (0.0, detuning_spread), Drift(0.02, 0.01), ERRORS)
    found = tracker.predicted(3.0).updated(
        Experiment("rabi", duration), round(share * n_bits), n_bits
    )
    assert np.isfinite(found.mean).all()
    assert np.linalg.eigvalsh(found.covariance).min() >= -1e-9
    assert np.isfinite(found.predicted(0.2).gains(RABI_PROBES[::10], RABI)).all()
