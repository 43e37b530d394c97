"""Estimation against conjugate posteriors and quadrature, and the choice of experiments."""

from __future__ import annotations

from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.kernels import estimation
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.estimation import Experiment, OutcomeErrors
from cudaq_target.kernels.grid import GridPosterior
from cudaq_target.kernels.particles import ParticlePosterior
from tests.kernels.backends import BACKENDS, seeds

HOSTS = ("numpy", "cpu")


def evolve(rabi: float, detuning: float, duration: float) -> np.ndarray:
    """Evolve (1, 0) under H = (rabi X - detuning Z) / 2 by its eigenvectors."""
    hamiltonian = 0.5 * np.array([[-detuning, rabi], [rabi, detuning]])
    values, vectors = np.linalg.eigh(hamiltonian)
    return vectors @ (np.exp(-1j * values * duration) * vectors[0].conj())


@given(rabi=st.floats(0, 10), detuning=st.floats(-10, 10), duration=st.floats(0, 5))
def test_rabi_is_the_schroedinger_equation(rabi, detuning, duration) -> None:
    exact = abs(evolve(rabi, detuning, duration)[1]) ** 2
    found = estimation.outcome_probabilities(
        [[rabi, detuning, 0.4]], [Experiment("rabi", duration)], backend="numpy"
    )
    assert found[0, 0] == pytest.approx(exact, abs=2e-9)


@given(detuning=st.floats(-10, 10), phase=st.floats(-3, 3), wait=st.floats(0, 5))
def test_ramsey_is_two_pulses(detuning, phase, wait) -> None:
    shift = 0.7
    pulse = [
        np.array([[1.0, -1j * np.exp(-1j * s)], [-1j * np.exp(1j * s), 1.0]]) / np.sqrt(2)
        for s in (0.0, shift)
    ]
    free = np.diag([1.0, np.exp(1j * (detuning * wait + phase))])
    exact = abs((pulse[1] @ free @ pulse[0])[1, 0]) ** 2
    found = estimation.outcome_probabilities(
        [[1.0, detuning, phase]], [Experiment("ramsey", wait, shift)], backend="numpy"
    )
    assert found[0, 0] == pytest.approx(exact, abs=2e-9)


@settings(deadline=None, max_examples=60)
@given(seed=seeds(), n_points=st.integers(1, 300), n_shots=st.integers(0, 10**6))
def test_back_ends_agree(seed, n_points, n_shots) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(0.0, 5.0, (n_points, 3))
    points[0] = 0.0
    experiments = [
        Experiment(("rabi", "ramsey")[k % 2], float(t), float(t))
        for k, t in enumerate(rng.random(6))
    ]
    errors = OutcomeErrors(0.02, 0.05)
    likely = [
        estimation.outcome_probabilities(points, experiments, errors, backend=b) for b in HOSTS
    ]
    np.testing.assert_allclose(likely[0], likely[1], rtol=0, atol=1e-12)
    n_ones = int(rng.integers(0, n_shots + 1))
    prior = np.log(rng.dirichlet(np.ones(n_points)) + 1e-300)
    new = [
        estimation.posterior_update(prior, likely[0][0], n_ones, n_shots, backend=b) for b in HOSTS
    ]
    bound = 1e-14 * (1 + n_shots * 25) + 1e-13 * abs(prior.min())
    np.testing.assert_allclose(new[0], new[1], rtol=0, atol=bound)
    assert np.exp(new[0]).sum() == pytest.approx(1.0)
    gains = [estimation.information_gain(new[0], likely[0], backend=b) for b in HOSTS]
    np.testing.assert_allclose(gains[0], gains[1], rtol=0, atol=1e-12)
    assert gains[0].min() > -1e-12
    assert gains[0].max() <= 1.0 + 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_update_is_the_beta_distribution(backend) -> None:
    q = (np.arange(20_000) + 0.5) / 20_000
    log_weights = np.full(len(q), -np.log(len(q)))
    for n_ones, n_shots in ((3, 10), (0, 5), (17, 40)):
        log_weights = estimation.posterior_update(log_weights, q, n_ones, n_shots, backend=backend)
    weights = np.exp(log_weights)
    a, b = 1 + 20, 1 + 35
    assert weights @ q == pytest.approx(a / (a + b), abs=1e-7)
    variance = a * b / ((a + b) ** 2 * (a + b + 1))
    assert weights @ q**2 - (weights @ q) ** 2 == pytest.approx(variance, rel=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_million_shots_neither_overflow_nor_vanish(backend) -> None:
    q = np.linspace(0.01, 0.99, 99)
    log_weights = np.log(np.full(99, 1 / 99))
    new = estimation.posterior_update(log_weights, q, 300_000, 1_000_000, backend=backend)
    assert q[np.argmax(new)] == pytest.approx(0.3)
    assert np.exp(new).sum() == pytest.approx(1.0)
    ruled_out = np.log(
        np.array([0.0, 0.5, 0.5]), where=[False, True, True], out=np.full(3, -np.inf)
    )
    kept = estimation.posterior_update(ruled_out, [0.5, 0.2, 0.6], 1, 1, backend=backend)
    np.testing.assert_allclose(np.exp(kept), [0.0, 0.25, 0.75])


@pytest.mark.parametrize("backend", BACKENDS)
def test_gain_is_the_expected_fall_of_entropy(backend) -> None:
    rng = np.random.default_rng(1)
    weights = rng.dirichlet(np.ones(50))
    q = rng.uniform(0.05, 0.95, (4, 50))

    def entropy(log_weights: np.ndarray) -> float:
        return float(-np.exp(log_weights) @ log_weights / np.log(2))

    prior = np.log(weights)
    gains = estimation.information_gain(prior, q, backend=backend)
    for gain, likely in zip(gains, q, strict=True):
        one = weights @ likely
        after = [estimation.posterior_update(prior, likely, k, 1, backend=backend) for k in (0, 1)]
        expected = entropy(prior) - (1 - one) * entropy(after[0]) - one * entropy(after[1])
        assert gain == pytest.approx(expected, abs=1e-10)


def test_grid_is_direct_quadrature() -> None:
    rabi, detuning = np.linspace(1.0, 4.0, 61), np.linspace(-1.0, 1.0, 41)
    errors = OutcomeErrors(0.03, 0.06)
    shots = [(Experiment("rabi", 0.6), 11, 30), (Experiment("rabi", 1.3), 21, 30)]
    posterior = GridPosterior.uniform(rabi=rabi, detuning=detuning)
    exact = np.ones((61, 41))
    for experiment, n_ones, n_shots in shots:
        posterior = posterior.updated(experiment, n_ones, n_shots, errors)
        for i, w in enumerate(rabi):
            for j, d in enumerate(detuning):
                p = abs(evolve(w, d, experiment.duration_us)[1]) ** 2
                q = 0.03 + (1 - 0.09) * p
                exact[i, j] *= comb(n_shots, n_ones) * q**n_ones * (1 - q) ** (n_shots - n_ones)
    exact /= exact.sum()
    np.testing.assert_allclose(np.exp(posterior.log_weights).reshape(61, 41), exact, atol=1e-12)
    np.testing.assert_allclose(posterior.marginal(0), exact.sum(axis=1), atol=1e-12)
    mean = (exact.sum(axis=1) @ rabi, exact.sum(axis=0) @ detuning, 0.0)
    np.testing.assert_allclose(posterior.mean, mean, atol=1e-12)
    spread = sqrt(exact.sum(axis=1) @ (rabi - mean[0]) ** 2)
    assert posterior.standard_deviation[0] == pytest.approx(spread)


def sample(truth, experiment: Experiment, n_shots: int, rng, errors=estimation.NO_ERRORS) -> int:
    q = estimation.outcome_probabilities([truth], [experiment], errors, backend="numpy")[0, 0]
    return int(rng.binomial(n_shots, q))


TIMES = [0.1, 0.25, 0.5, 0.9, 1.4, 2.1, 3.0]


def test_credible_intervals_of_the_grid_cover() -> None:
    # Truths drawn from the prior: a posterior interval of mass 0.8 then covers in 80 % of all runs.
    rng = np.random.default_rng(2)
    axis = np.linspace(1.0, 5.0, 401)
    n_runs, covered = 600, 0
    for _ in range(n_runs):
        truth = [rng.uniform(1.0, 5.0), 0.0, 0.0]
        posterior = GridPosterior.uniform(rabi=axis, detuning=[0.0])
        for duration in TIMES[:5]:
            experiment = Experiment("rabi", duration)
            posterior = posterior.updated(experiment, sample(truth, experiment, 5, rng), 5)
        covered += truth[0] in posterior.credible_interval(0, 0.8)
    assert covered / n_runs == pytest.approx(0.8, abs=3 * sqrt(0.16 / n_runs) + 0.01)


def test_credible_intervals_of_particles_cover() -> None:
    rng = np.random.default_rng(3)
    n_runs, covered = 300, 0
    for _ in range(n_runs):
        truth = [2.0, rng.uniform(0.0, 3.0), rng.uniform(-0.5, 0.5)]
        posterior = ParticlePosterior.uniform([2.0, 0.0, -0.5], [2.0, 3.0, 0.5], 2000, rng)
        for duration in (0.0, 0.2, 0.5, 1.0):
            experiment = Experiment("ramsey", duration, np.pi / 2)
            n_ones = sample(truth, experiment, 20, rng)
            posterior = posterior.updated(experiment, n_ones, 20, rng)
        covered += truth[1] in posterior.credible_interval(1, 0.8)
    assert covered / n_runs == pytest.approx(0.8, abs=3 * sqrt(0.16 / n_runs) + 0.02)


def test_particles_follow_the_grid() -> None:
    rng = np.random.default_rng(4)
    truth = [2.7, 0.6, 0.0]
    errors = OutcomeErrors(0.02, 0.04)
    grid = GridPosterior.uniform(rabi=np.linspace(1, 4, 151), detuning=np.linspace(0, 1.5, 101))
    particles = ParticlePosterior.uniform([1, 0, 0], [4, 1.5, 0], 20_000, 5)
    n_drawn_anew = 0
    for duration in TIMES:
        experiment = Experiment("rabi", duration)
        n_ones = sample(truth, experiment, 50, rng, errors)
        grid = grid.updated(experiment, n_ones, 50, errors)
        before = particles.parameters
        particles = particles.updated(experiment, n_ones, 50, rng, errors)
        n_drawn_anew += particles.parameters is not before
    assert n_drawn_anew >= 2
    assert particles.mean[0] == pytest.approx(grid.mean[0], abs=0.3 * grid.standard_deviation[0])
    assert particles.mean[1] == pytest.approx(grid.mean[1], abs=0.3 * grid.standard_deviation[1])
    assert particles.standard_deviation[0] == pytest.approx(grid.standard_deviation[0], rel=0.25)


def test_drawing_anew_keeps_mean_and_covariance() -> None:
    rng = np.random.default_rng(6)
    points = rng.normal(size=(50_000, 3)) * [1.0, 0.1, 0.0]
    weighted = ParticlePosterior(points, np.log(rng.dirichlet(np.ones(50_000))))
    drawn = weighted.resampled(rng)
    np.testing.assert_allclose(drawn.mean, weighted.mean, atol=0.02)
    np.testing.assert_allclose(drawn.covariance, weighted.covariance, atol=0.02)
    assert drawn.effective_particles == pytest.approx(50_000)


@pytest.mark.parametrize("kind", ["grid", "particles"])
def test_chosen_experiments_beat_fixed_ones(kind: str) -> None:
    rng = np.random.default_rng(7)
    candidates = [Experiment("rabi", t) for t in TIMES]
    squares = {"chosen": [], "fixed": []}
    for run in range(200):
        truth = [rng.uniform(1.0, 5.0), 0.0, 0.0]
        for how, errors in squares.items():
            own = np.random.default_rng([run, len(how)])
            if kind == "grid":
                posterior = GridPosterior.uniform(rabi=np.linspace(1, 5, 201), detuning=[0.0])
            else:
                posterior = ParticlePosterior.uniform([1, 0, 0], [5, 0, 0], 400, own)
            for step in range(12):
                fixed = candidates[step % len(candidates)]
                pick = posterior.next_experiment(candidates) if how == "chosen" else fixed
                n_ones = sample(truth, pick, 2, own)
                extra = () if kind == "grid" else (own,)
                posterior = posterior.updated(pick, n_ones, 2, *extra)
            errors.append((posterior.mean[0] - truth[0]) ** 2)
    assert np.mean(squares["chosen"]) < 0.8 * np.mean(squares["fixed"])


def test_one_seed_gives_one_result() -> None:
    results = []
    for backend in ("cpu", "cpu", "numpy"):
        rng = np.random.default_rng(8)
        posterior = ParticlePosterior.uniform([1, 0, 0], [5, 1, 0], 500, rng)
        for step in range(6):
            pick = posterior.next_experiment([Experiment("rabi", t) for t in TIMES])
            posterior = posterior.updated(pick, step % 3, 3, rng, backend=backend)
        results.append(posterior.mean)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_allclose(results[0], results[2], rtol=1e-9)


@pytest.mark.parametrize("kind", ["grid", "particles"])
def test_a_drifting_detuning_is_followed(kind: str) -> None:
    rng = np.random.default_rng(9)
    missed = {0.0: [], 0.05: []}
    detunings = 1.0 + np.cumsum(rng.normal(0.01, 0.03, 150))
    for spread, errors in missed.items():
        if kind == "grid":
            posterior = GridPosterior.uniform(rabi=[2.0], detuning=np.linspace(-1, 5, 601))
        else:
            posterior = ParticlePosterior.uniform([2, 0.5, 0], [2, 1.5, 0], 1000, rng)
        for step, detuning in enumerate(detunings):
            experiment = Experiment("ramsey", 0.8, (0.0, np.pi / 2)[step % 2])
            n_ones = sample([2.0, detuning, 0.0], experiment, 20, rng)
            extra = () if kind == "grid" else (rng,)
            posterior = posterior.drifted([0.0, spread, 0.0], *extra) if spread else posterior
            posterior = posterior.updated(experiment, n_ones, 20, *extra)
            errors.append(abs(posterior.mean[1] - detuning))
    assert np.mean(missed[0.05][20:]) < 0.12
    assert np.mean(missed[0.05][20:]) < 0.6 * np.mean(missed[0.0][20:])


def test_a_step_of_the_drift_widens_by_its_spread() -> None:
    axis = np.linspace(-5.0, 5.0, 1001)
    sharp = GridPosterior(
        (np.array([1.0]), axis, np.array([0.0])),
        np.log(np.exp(-0.5 * (axis / 0.3) ** 2) / np.exp(-0.5 * (axis / 0.3) ** 2).sum()),
    )
    wide = sharp.drifted([0.0, 0.4, 0.0])
    assert wide.standard_deviation[1] == pytest.approx(0.5, rel=1e-6)
    assert np.exp(wide.log_weights).sum() == pytest.approx(1.0)


POINTS = [[1.0, 0.0, 0.0]]
ONE = [Experiment("rabi", 1.0)]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: estimation.outcome_probabilities([[1.0, 2.0]], ONE), "parameters has shape"),
        (lambda: estimation.outcome_probabilities(np.zeros((0, 3)), ONE), "columns rabi_rad_per"),
        (lambda: estimation.outcome_probabilities([[1, 2, np.nan]], ONE), "parameters holds nan"),
        (lambda: estimation.outcome_probabilities(POINTS, []), "experiments are none"),
        (lambda: estimation.outcome_probabilities(POINTS, [Experiment("echo", 1)]), "kind 'echo'"),
        (
            lambda: estimation.outcome_probabilities(POINTS, [Experiment("rabi", -1)]),
            "a duration is 0 or more",
        ),
        (
            lambda: estimation.outcome_probabilities(POINTS, [Experiment("ramsey", 1, np.inf)]),
            "must be finite",
        ),
        (
            lambda: estimation.outcome_probabilities(POINTS, ONE, OutcomeErrors(0.5, 0.5)),
            "both states read alike",
        ),
        (lambda: estimation.outcome_probabilities(POINTS, ONE, OutcomeErrors(-0.1)), "errors are"),
        (lambda: estimation.posterior_update([0.0], [0.5], 2, 1), "n_ones is 2 of 1 shots"),
        (lambda: estimation.posterior_update([0.0], [0.5], -1, 1), "n_ones is -1"),
        (lambda: estimation.posterior_update([0.0], [1.0], 1, 1), "reach 0 or 1"),
        (lambda: estimation.posterior_update([0.0], [np.nan], 1, 1), "probabilities holds nan"),
        (lambda: estimation.posterior_update([0.0, 0.0], [0.5], 1, 1), "expected \\(2,\\)"),
        (lambda: estimation.posterior_update([np.nan], [0.5], 1, 1), "log_weights have"),
        (lambda: estimation.posterior_update([-np.inf], [0.5], 1, 1), "one must be finite"),
        (lambda: estimation.posterior_update([], [], 1, 1), "log_weights has dtype"),
        (lambda: estimation.information_gain([0.0], [[0.5, 0.5]]), "probabilities has shape"),
        (lambda: GridPosterior.uniform(rabi=[], detuning=[0.0]), "rabi has no values"),
        (lambda: GridPosterior.uniform(rabi=[2.0, 1.0], detuning=[0.0]), "rabi has 1.0 after 2.0"),
        (lambda: GridPosterior.uniform(rabi=[1.0], detuning=0.0), r"detuning has shape \(\)"),
        (lambda: estimation.outcome_probabilities([[1.0, 0, 0]], ["rabi"]), "hold 'rabi'; use Exp"),
        (lambda: GridPosterior.uniform(rabi=[np.inf], detuning=[0.0]), "holds inf"),
        (lambda: GridPosterior.uniform(rabi=[1.0], detuning=[0.0]).drifted([-1, 0, 0]), "spread"),
        (
            lambda: GridPosterior.uniform(rabi=[1.0], detuning=[0.0]).credible_interval(0, 1.0),
            "mass is 1.0",
        ),
        (lambda: estimation.outcome_probabilities(POINTS, ONE[0]), "are a single one"),
        (
            lambda: ParticlePosterior.uniform([1, 0, 0], [3, 0, 0], 5, 1).updated(ONE[0], 1, 2, 7),
            "rng is a int; make a numpy.random.Generator",
        ),
        (
            lambda: ParticlePosterior.uniform([1, 0, 0], [3, 0, 0], 5, 1).drifted([0, 0, 0], 7),
            "rng is a int",
        ),
        (lambda: ParticlePosterior.uniform([1, 0, 0], [0, 0, 0], 5, 1), "low is"),
        (lambda: ParticlePosterior.uniform([0, 0, 0], [1, 0, 0], 0, 1), "n_particles is 0"),
        (lambda: ParticlePosterior.uniform([0, 0], [1, 0], 5, 1), "low has shape"),
    ],
)
def test_refused(call, match: str) -> None:
    with pytest.raises(KernelInputError, match=match):
        call()
