"""Optimisers against functions whose minima and derivatives are known."""

from __future__ import annotations

import gc
import threading
import time
from math import inf, nan, pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.coupler.loops.interface import AdaptiveOptimiser, Estimate, Optimiser
from cudaq_target.coupler.loops.optimisers import (
    GradientDescent,
    OptimiserError,
    Refinement,
    Rotosolve,
    Scipy,
    Sinusoid,
    Spsa,
    Trial,
    UserOptimiser,
    shift_rule,
)


def known(value: float, error: float = 0.0) -> Estimate:
    return Estimate(value, error, value - 2 * error, value + 2 * error, 100, (100,))


def landscape(point) -> float:
    """-cos(x) - cos(y - 1) + 0.5 sin(x) sin(y), one frequency along each parameter."""
    x, y = point
    return float(-np.cos(x) - np.cos(y - 1.0) + 0.5 * np.sin(x) * np.sin(y))


LOWEST = -2.08982  # of `landscape`, by a fine grid


def drive(optimiser, function, *, noise: float = 0.0, rng=None, max_points: int = 5000):
    """Answer an optimiser to its end, with the errors it asks for; the points and errors."""
    seen = []
    for _ in range(max_points):
        point = optimiser.ask()
        if point is None:
            return seen
        error = optimiser.target_error(point)
        error = noise if error is None else error
        value = function(point) + (error * rng.standard_normal() if rng is not None else 0.0)
        seen.append((point, error))
        optimiser.tell(point, known(value, error))
    raise AssertionError("the optimiser does not end")


@given(
    frequencies=st.lists(st.integers(1, 6), min_size=1, max_size=4, unique=True),
    x=st.floats(-5, 5),
    seed=st.integers(0, 10**6),
)
def test_shift_rules_are_the_derivative(frequencies, x, seed) -> None:
    rng = np.random.default_rng(seed)
    w = np.array(frequencies, dtype=float) * 0.5
    a, b = rng.normal(size=(2, len(w)))

    def value(y: float) -> float:
        return float(a @ np.cos(w * y) + b @ np.sin(w * y)) + 3.0

    rule = shift_rule(w.tolist())
    derivative = sum(
        c * (value(x + s) - value(x - s))
        for s, c in zip(rule.shifts, rule.coefficients, strict=True)
    )
    exact = float(w @ (-a * np.sin(w * x) + b * np.cos(w * x)))
    assert derivative == pytest.approx(exact, abs=1e-6)


def test_equidistant_rule_is_that_of_the_literature() -> None:
    rule = shift_rule([1.0, 2.0, 3.0])
    mu = np.arange(1, 7)
    nodes = (2 * mu - 1) * pi / 6
    weights = (-1.0) ** (mu - 1) / (4 * 3 * np.sin(nodes / 2) ** 2)
    np.testing.assert_allclose(rule.shifts, nodes[:3])
    np.testing.assert_allclose(rule.coefficients, weights[:3], rtol=1e-9)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), n_frequencies=st.integers(1, 3))
def test_sinusoid_finds_its_minimum(seed, n_frequencies) -> None:
    rng = np.random.default_rng(seed)
    w = np.arange(1, n_frequencies + 1)
    coefficients = rng.normal(size=2 * n_frequencies + 1)
    exact = Sinusoid(w.astype(float), coefficients, np.zeros((len(coefficients),) * 2))
    x = 0.3 + 2 * pi / (2 * n_frequencies + 1) * np.arange(2 * n_frequencies + 1)
    fit = Sinusoid.fit(x.tolist(), [known(exact.at(y)[0], 0.1) for y in x], w.tolist())
    np.testing.assert_allclose(fit.coefficients, coefficients, atol=1e-9)
    grid = [exact.at(y)[0] for y in np.linspace(-pi, pi, 4001)]
    assert exact.at(fit.minimum(0.3))[0] <= min(grid) + 1e-9


def test_errors_of_a_fit_are_those_of_repeated_fits() -> None:
    rng = np.random.default_rng(3)
    x = [0.0, 2 * pi / 3, 4 * pi / 3]
    fits = [
        Sinusoid.fit(x, [known(np.cos(y) + 0.1 * rng.standard_normal(), 0.1) for y in x], [1.0])
        for _ in range(2000)
    ]
    values = [fit.at(1.0)[0] for fit in fits]
    assert np.std(values) == pytest.approx(fits[0].at(1.0)[1], rel=0.06)


@pytest.mark.parametrize(
    "optimiser",
    [
        Spsa([2.0, -1.0], step=0.3, perturbation=0.1, n_steps=300, rng=4),
        GradientDescent([2.0, -1.0], rate=0.5),
        Rotosolve([2.0, -1.0], n_sweeps=40),
        Scipy("COBYLA", [2.0, -1.0], options={"rhobeg": 0.5, "tol": 1e-6}),
        Scipy("Nelder-Mead", [2.0, -1.0]),
        Scipy("BFGS", [2.0, -1.0]),
    ],
    ids=lambda one: f"{type(one).__name__} {threading.active_count()}",
)
def test_exact_values_lead_to_the_minimum(optimiser) -> None:
    assert isinstance(optimiser, AdaptiveOptimiser)
    drive(optimiser, landscape)
    point, estimate = optimiser.best
    assert estimate.value == pytest.approx(LOWEST, abs=2e-3)
    assert landscape(point) == estimate.value
    assert optimiser.ask() is None
    assert optimiser.ending
    exact: Optimiser = optimiser  # for the type checker
    assert exact.best is not None


def noisy_optimisers(seed: int):
    errors = Refinement(0.2, 0.02)
    yield Spsa([1.0, 0.0], step=0.3, perturbation=0.3, n_steps=60, rng=seed, errors=errors)
    yield GradientDescent([1.0, 0.0], rate=0.5, n_steps=30, errors=errors)
    yield Rotosolve([1.0, 0.0], n_sweeps=8, errors=errors)
    # Trust regions believe what they are told: coarse values would shrink them for good.
    finer = Refinement(0.05, 0.02)
    yield Scipy("COBYLA", [1.0, 0.0], max_points=60, errors=finer, options={"rhobeg": 0.5})


@pytest.mark.parametrize("number", range(4))
def test_noisy_values_lead_near_the_minimum(number: int) -> None:
    excess = []
    for seed in range(20):
        optimiser = list(noisy_optimisers(seed))[number]
        seen = drive(optimiser, landscape, rng=np.random.default_rng(seed))
        excess.append(landscape(optimiser.best[0]) - LOWEST)
        errors = [error for _, error in seen]
        assert errors[0] == pytest.approx((0.2, 0.2, 0.2, 0.05)[number])
        assert errors == sorted(errors, reverse=True)
        for other in noisy_optimisers(seed):
            other.close()
    assert np.median(excess) < 0.05


@pytest.mark.parametrize("number", range(4))
def test_one_seed_asks_for_one_row_of_points(number: int) -> None:
    rows = []
    for _ in range(2):
        optimiser = list(noisy_optimisers(7))[number]
        rows.append(drive(optimiser, landscape, rng=np.random.default_rng(8)))
    assert rows[0] == rows[1]


def test_descent_says_that_it_sees_no_slope() -> None:
    optimiser = GradientDescent([0.0, 0.0], rate=0.1, errors=Refinement(1.0, 0.5), n_steps=50)
    seen = drive(optimiser, lambda _: 1.0, rng=np.random.default_rng(5))
    assert "not distinguishable from 0" in optimiser.ending
    assert len(seen) < 50 * 4
    assert seen[-1][1] == 0.5


def test_parameters_without_effect_stay() -> None:
    optimiser = Rotosolve([0.3, 0.7], errors=Refinement(0.1, 0.1), n_sweeps=3)
    seen = drive(optimiser, lambda point: -np.cos(point[0]), rng=np.random.default_rng(6))
    (x, y), _ = seen[-1]
    assert y == 0.7
    assert abs(x) < 0.2


def test_blocking_takes_bad_steps_back() -> None:
    optimiser = Spsa([3.0], step=7.0, perturbation=0.1, n_steps=40, rng=1)
    values = []
    while (point := optimiser.ask()) is not None:
        optimiser.tell(point, known(point[0] ** 4))
        values.append(optimiser.point[0] ** 4)
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1.0
    assert " of them blocked" in optimiser.ending
    assert not optimiser.ending.startswith("40 steps, 0 ")


def test_best_does_not_fall_for_a_badly_known_point() -> None:
    optimiser = UserOptimiser(lambda history: (float(len(history)),), max_points=3)
    for estimate in (known(1.0, 0.1), known(0.5, 3.0), known(0.9, 0.1)):
        optimiser.tell(optimiser.ask(), estimate)
    assert optimiser.best[0] == (2.0,)


def test_user_callables_see_the_history() -> None:
    def grid(history):
        assert all(estimate.value == landscape(point) for point, estimate in history)
        return None if len(history) == 3 else Trial((0.1 * len(history), 1.0), error=0.5)

    optimiser = UserOptimiser(grid)
    seen = drive(optimiser, landscape)
    assert [point for point, _ in seen] == [(0.0, 1.0), (0.1, 1.0), (0.2, 1.0)]
    assert [error for _, error in seen] == [0.5] * 3


def test_user_generators_are_sent_estimates_and_closed() -> None:
    closed = []

    def search():
        try:
            estimate = yield 0.25
            assert estimate.value == 7.0
            yield [0.5]
        finally:
            closed.append(True)

    optimiser = UserOptimiser(search)
    assert optimiser.ask() == (0.25,)
    optimiser.tell((0.25,), known(7.0))
    assert optimiser.ask() == (0.5,)
    optimiser.close()
    assert closed == [True]
    assert optimiser.ending == "closed"


def threads_of_methods() -> int:
    return sum(thread.name == "scipy-minimise" for thread in threading.enumerate())


def test_methods_end_with_their_search() -> None:
    gc.collect()
    before = threads_of_methods()
    optimiser = Scipy("COBYLA", [1.0, 1.0])
    optimiser.ask()
    assert threads_of_methods() == before + 1
    optimiser.close()
    assert threads_of_methods() == before
    forgotten = Scipy("COBYLA", [1.0, 1.0])
    forgotten.ask()
    del forgotten
    gc.collect()
    assert threads_of_methods() == before
    bounded = Scipy("Nelder-Mead", [1.0, 1.0], max_points=7)
    assert len(drive(bounded, landscape)) == 7
    assert bounded.ending == "7 points"
    assert threads_of_methods() == before


def test_what_a_method_raises_comes_out_of_ask() -> None:
    with pytest.raises(ValueError, match="Unknown solver"):
        Scipy("no-such-method", [1.0]).ask()

    def interrupted(fun, x0, **_):
        fun(x0)
        raise KeyboardInterrupt

    optimiser = Scipy(interrupted, [1.0])
    optimiser.tell(optimiser.ask(), known(0.0))
    with pytest.raises(KeyboardInterrupt):
        optimiser.ask()
    assert optimiser.ask() is None


def test_an_interrupt_while_a_method_thinks_ends_it() -> None:
    import _thread

    before = threads_of_methods()
    release = threading.Event()

    def thinks(fun, x0, **_):
        fun(x0)
        _thread.interrupt_main()
        release.wait(20.0)
        return fun(x0)

    optimiser = Scipy(thinks, [1.0])
    optimiser.tell(optimiser.ask(), known(0.0))
    threading.Timer(0.2, release.set).start()
    with pytest.raises(KeyboardInterrupt):
        optimiser.ask()
    deadline = time.monotonic() + 20.0
    while threads_of_methods() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads_of_methods() == before


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: Spsa([], step=1, perturbation=1, n_steps=1, rng=1), "start is"),
        (lambda: Spsa([nan], step=1, perturbation=1, n_steps=1, rng=1), "finite number"),
        (lambda: Spsa([1.0], step=0, perturbation=1, n_steps=1, rng=1), "step is 0"),
        (lambda: Spsa([1.0], step=1, perturbation=-1, n_steps=1, rng=1), "perturbation is -1"),
        (lambda: Spsa([1.0], step=1, perturbation=1, n_steps=0, rng=1), "n_steps is 0"),
        (
            lambda: Spsa([1.0], step=1, perturbation=1, n_steps=1, rng=1, blocking=-1.0),
            "blocking is -1",
        ),
        (lambda: GradientDescent([1.0], rate=inf), "rate is inf"),
        (lambda: GradientDescent([1.0], rate=1, frequencies=[1.0, 1.0]), "each one once"),
        (lambda: GradientDescent([1.0], rate=1, frequencies=[]), "positive numbers"),
        (lambda: GradientDescent([1.0], rate=1, frequencies=[1.0, 1.0001]), "too close together"),
        (lambda: GradientDescent([1.0, 2.0], rate=1, frequencies=[[1.0]]), "1 rows for 2"),
        (lambda: Rotosolve([1.0], frequencies=[1.0, 1.5]), "not multiples"),
        (lambda: Scipy("COBYLA", [1.0], x0=[2.0]), "x0 is not the caller's"),
        (lambda: Scipy("COBYLA", [1.0], max_points=0), "max_points is 0"),
        (lambda: Refinement(0.1, 0.2), "0 < last <= first"),
        (lambda: UserOptimiser(lambda: 1).ask(), "makes no generator"),
        (lambda: UserOptimiser([1.0]).ask(), "is a list"),
    ],
)
def test_refused(call, match: str) -> None:
    with pytest.raises(OptimiserError, match=match):
        call()


def test_points_are_told_in_turn() -> None:
    optimiser = Rotosolve([0.0])
    with pytest.raises(OptimiserError, match="no point was asked for"):
        optimiser.tell((0.0,), known(1.0))
    point = optimiser.ask()
    with pytest.raises(OptimiserError, match="has no estimate yet"):
        optimiser.ask()
    with pytest.raises(OptimiserError, match="was told"):
        optimiser.tell((5.0,), known(1.0))
    with pytest.raises(OptimiserError, match="has no value"):
        optimiser.tell(point, known(nan))
    optimiser.tell(point, known(1.0))
