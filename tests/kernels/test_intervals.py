"""Confidence sequences hold their level at every look, and all back ends give the same ends."""

from __future__ import annotations

from math import lgamma, log, pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.kernels.betting import EmpiricalBernstein, HedgedBetting
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.intervals import (
    Interval,
    MixtureBernstein,
    bernoulli_interval,
    log_mixture,
)

N_RUNS = 10_000
ALPHA = 0.05
ALLOWED = ALPHA + 3 * sqrt(ALPHA * (1 - ALPHA) / N_RUNS)
"""Share of runs that may miss: 3 standard deviations of the simulation above the nominal one."""

PROBABILITIES = (0.002, 0.1, 0.5, 0.97)


KINDS = (MixtureBernstein, EmpiricalBernstein, HedgedBetting)


def bits(probability: float) -> tuple[float, object]:
    return probability, lambda rng, n: (rng.random(n) < probability).astype(np.float64)


DISTRIBUTIONS = {
    **{f"bits {p}": bits(p) for p in PROBABILITIES},
    "skewed": (1 / 21, lambda rng, n: rng.beta(0.5, 10.0, n)),
    "three values": (0.15, lambda rng, n: rng.choice([0.0, 0.5, 1.0], n, p=[0.8, 0.1, 0.1])),
    "uniform": (0.5, lambda rng, n: rng.random(n)),
}
"""Mean in [0, 1], and how to draw n values."""


@pytest.mark.parametrize(("mean", "draw"), DISTRIBUTIONS.values(), ids=DISTRIBUTIONS.keys())
def test_bernstein_covers_at_every_look(mean: float, draw) -> None:
    # The interval is the intersection of those of all looks: it covers when every one does.
    rng = np.random.default_rng(20260101)
    missed = 0
    for _ in range(N_RUNS):
        sequence = EmpiricalBernstein(0.0, 1.0, 1 - ALPHA)
        sequence.update(draw(rng, 500), backend="cpu")
        missed += mean not in sequence.interval()
    assert missed / N_RUNS <= ALLOWED


@pytest.mark.parametrize(("mean", "draw"), DISTRIBUTIONS.values(), ids=DISTRIBUTIONS.keys())
def test_betting_covers_at_every_look(mean: float, draw) -> None:
    rng = np.random.default_rng(20260102)
    missed = 0
    for _ in range(N_RUNS):
        sequence = HedgedBetting(0.0, 1.0, 1 - ALPHA, n_points=257)
        sequence.update(draw(rng, 500), backend="cpu")
        missed += mean not in sequence.interval()
    assert missed / N_RUNS <= ALLOWED


@pytest.mark.parametrize(("mean", "draw"), DISTRIBUTIONS.values(), ids=DISTRIBUTIONS.keys())
def test_mixture_covers_at_every_look(mean: float, draw) -> None:
    # M is increasing in its first argument, so a look misses where it is beyond the threshold.
    rng = np.random.default_rng(20260104)
    n_values = 300
    values = draw(rng, N_RUNS * n_values).reshape(N_RUNS, n_values)
    times = np.arange(1, n_values + 1)
    sums = np.cumsum(values, axis=1)
    squares = np.cumsum((values - (0.5 + sums - values) / times) ** 2, axis=1)
    capital = log_mixture(np.abs(sums - mean * times), squares, 1.0)
    missed = np.count_nonzero(capital.max(axis=1) >= log(2 / ALPHA))
    assert missed / N_RUNS <= ALLOWED


@pytest.mark.parametrize("mean", [0.1, 0.5])
def test_mixture_interval_is_where_the_mixture_is_small(mean: float) -> None:
    rng = np.random.default_rng(9)
    sequence = MixtureBernstein(0.0, 1.0)
    for _ in range(50):
        sequence.update((rng.random(37) < mean).astype(np.float64))
        n_values, total, squares = sequence._state
        interval = sequence.interval()
        for end in (interval.low, interval.high):
            if 0.0 < end < 1.0:
                capital = log_mixture(abs(total - n_values * end), squares, 1.0)
                assert capital == pytest.approx(log(2 / 0.05), abs=1e-5)
                assert capital >= log(2 / 0.05)


def test_mixture_is_the_integral_over_bets() -> None:
    deviation, squares, prior = 3.0, 7.0, 1.5
    bets = (np.arange(200_000) + 0.5) / 200_000
    weights = (1 - bets) ** (prior - 1) * np.exp(-prior * (1 - bets))
    processes = np.exp(bets * deviation + squares * (np.log1p(-bets) + bets))
    integral = np.sum(weights * processes) / np.sum(weights)
    assert np.exp(log_mixture(deviation, squares, prior)) == pytest.approx(integral, rel=1e-4)


def test_mixture_holds_the_average_of_a_drifting_mean() -> None:
    rng = np.random.default_rng(10)
    missed = 0
    for _ in range(500):
        sequence = MixtureBernstein(0.0, 1.0)
        means = 0.5 + 0.4 * np.sin(np.arange(900) / 100.0)
        ok = True
        for start in range(0, 900, 100):
            sequence.update((rng.random(100) < means[start : start + 100]).astype(np.float64))
            ok &= means[: start + 100].mean() in sequence.interval()
        missed += not ok
    assert missed / 500 <= ALPHA + 3 * sqrt(ALPHA * (1 - ALPHA) / 500)


@pytest.mark.parametrize("probability", PROBABILITIES)
def test_bernoulli_covers_at_every_look(probability: float) -> None:
    n_bits = 2000
    rng = np.random.default_rng(20260103)
    table = np.array([lgamma(k + 0.5) for k in range(n_bits + 1)])
    total = np.array([lgamma(k + 1.0) for k in range(n_bits + 1)])
    looks = np.arange(1, n_bits + 1)
    missed = 0
    for _ in range(N_RUNS):
        ones = np.cumsum(rng.random(n_bits) < probability)
        zeros = looks - ones
        mixture = table[ones] + table[zeros] - total[looks] - log(pi)
        likelihood = ones * log(probability) + zeros * log(1 - probability)
        missed += np.max(mixture - likelihood) >= log(1 / ALPHA)
    assert missed / N_RUNS <= ALLOWED


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0.01, 0.99), st.floats(0.5, 0.999))
def test_bernoulli_interval_is_where_the_mixture_is_small(
    n_ones: int, n_zeros: int, probability: float, confidence: float
) -> None:
    mixture = lgamma(n_ones + 0.5) + lgamma(n_zeros + 0.5) - lgamma(n_ones + n_zeros + 1) - log(pi)
    mixture -= n_ones * log(probability) + n_zeros * log(1 - probability)
    interval = bernoulli_interval(n_ones, n_ones + n_zeros, confidence)
    if abs(mixture + log(1 - confidence)) > 1e-9:
        assert (probability in interval) == (mixture < -log(1 - confidence))


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 300), max_size=5),
    skew=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    low=st.sampled_from([0.0, -3.5]),
)
def test_back_ends_and_cuts_give_one_answer(kind, seed, cuts, skew, low) -> None:
    rng = np.random.default_rng(seed)
    values = low + 7.0 * np.where(rng.random(300) < skew, 1.0, rng.random(300) * (skew < 1.0))
    whole = kind(low, low + 7.0)
    whole.update(values, backend="numpy")
    parts = kind(low, low + 7.0)
    for part in np.split(values, sorted(cuts)):
        parts.update(part, backend="cpu")
    assert parts.n_values == whole.n_values == 300
    tolerance = 7.0 / 1024 + 1e-12 if kind is HedgedBetting else 1e-11
    assert parts.interval().low == pytest.approx(whole.interval().low, abs=tolerance)
    assert parts.interval().high == pytest.approx(whole.interval().high, abs=tolerance)


@pytest.mark.parametrize("kind", [EmpiricalBernstein, HedgedBetting])
def test_no_look_widens(kind) -> None:
    rng = np.random.default_rng(5)
    sequence = kind(-1.0, 1.0)
    before = sequence.interval()
    assert before == Interval(-1.0, 1.0)
    for _ in range(200):
        sequence.update(rng.choice([-1.0, 1.0], 20))
        now = sequence.interval()
        assert before.low <= now.low <= now.high <= before.high
        before = now


@pytest.mark.parametrize("kind", KINDS)
def test_width_follows_the_standard_deviation_not_the_range(kind) -> None:
    rng = np.random.default_rng(6)
    widths = []
    for spread in (0.5, 0.05):
        sequence = kind(0.0, 1.0)
        sequence.update(0.5 + spread * rng.choice([-1.0, 1.0], 100_000))
        widths.append(sequence.interval().width)
    assert widths[1] < 0.15 * widths[0]


@pytest.mark.parametrize("kind", ["mixture", "bernstein", "betting", "bernoulli"])
def test_width_shrinks_almost_as_one_over_root_n(kind: str) -> None:
    rng = np.random.default_rng(7)
    values = (rng.random(1_000_000) < 0.3).astype(np.float64)
    for n_values in (10_000, 1_000_000):
        if kind == "bernoulli":
            interval = bernoulli_interval(int(values[:n_values].sum()), n_values)
        else:
            make = dict(zip(("mixture", "bernstein", "betting"), KINDS, strict=True))[kind]
            sequence = make(0.0, 1.0, 0.95, **({"n_points": 8193} if kind == "betting" else {}))
            sequence.update(values[:n_values])
            interval = sequence.interval()
        most = {"mixture": 2.5, "bernoulli": 2.6, "bernstein": 4.0, "betting": 4.2}
        one_look = 2 * 1.96 * sqrt(0.3 * 0.7 / n_values)
        assert one_look < interval.width < most[kind] * one_look
        assert 0.3 in interval


@pytest.mark.parametrize("kind", KINDS)
def test_merged_sequences_cover_and_are_narrower(kind) -> None:
    rng = np.random.default_rng(8)
    n_runs, missed = N_RUNS, 0
    options = {"n_points": 65} if kind is HedgedBetting else {}
    for _ in range(n_runs):
        parts = [kind(0.0, 1.0, 0.9, **options) for _ in range(2)]
        for part in parts:
            part.update((rng.random(200) < 0.3).astype(np.float64))
        joined = parts[0].merged(parts[1])
        joined.update((rng.random(200) < 0.3).astype(np.float64))
        missed += 0.3 not in joined.interval()
    assert missed / n_runs <= 0.1 + 3 * sqrt(0.09 / n_runs)
    assert joined.n_values == 600
    assert joined.interval().width < min(part.interval().width for part in parts)


@pytest.mark.parametrize("kind", KINDS)
def test_merging_with_nothing_changes_nothing(kind) -> None:
    sequence = kind(0.0, 1.0)
    sequence.update(np.ones(100))
    joined = sequence.merged(kind(0.0, 1.0))
    assert joined.n_values == 100
    assert joined.interval().width == pytest.approx(sequence.interval().width, abs=1e-3)


def test_a_drifting_mean_shows_as_an_empty_interval() -> None:
    sequence = EmpiricalBernstein(0.0, 1.0)
    sequence.update(np.zeros(2000))
    sequence.update(np.ones(20000))
    assert sequence.interval().width < 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EmpiricalBernstein(1.0, 1.0), "low, high are 1.0, 1.0"),
        (lambda: EmpiricalBernstein(0.0, np.inf), "high holds inf"),
        (lambda: EmpiricalBernstein(np.nan, 1.0), "low holds nan"),
        (lambda: EmpiricalBernstein(0.0, 1.0, 1.0), "confidence is 1.0"),
        (lambda: HedgedBetting(0.0, 1.0, 0.0), "confidence is 0.0"),
        (lambda: MixtureBernstein(0.0, 1.0, prior=0.0), "prior is 0.0"),
        (lambda: MixtureBernstein(0, 1).merged(MixtureBernstein(0, 1, prior=2)), "has prior 2"),
        (lambda: MixtureBernstein(2.0, 1.0), "use low < high"),
        (lambda: MixtureBernstein(0, 1).update(np.array([-0.1])), "values contain -0.1"),
        (lambda: HedgedBetting(0.0, 1.0, n_points=2), "n_points is 2; use 3 or more"),
        (lambda: EmpiricalBernstein(0, 1).update(np.array([0.5, 2.0])), "values contain 2.0"),
        (lambda: HedgedBetting(0, 1).update(np.array([np.nan])), "values contain nan"),
        (lambda: EmpiricalBernstein(0, 1).update(np.zeros((2, 2))), "has dtype float64 and shape"),
        (lambda: EmpiricalBernstein(0, 1).update(np.array(["a"])), "pass real numbers"),
        (lambda: EmpiricalBernstein(0, 1).merged(EmpiricalBernstein(0, 2)), "both need"),
        (lambda: HedgedBetting(0, 1).merged(HedgedBetting(0, 1, n_points=9)), "9 candidates"),
        (lambda: bernoulli_interval(3, 2), "n_ones is 3 of 2 values"),
        (lambda: bernoulli_interval(-1, 2), "n_ones is -1"),
        (lambda: bernoulli_interval(1, 2, 1.5), "confidence is 1.5"),
    ],
)
def test_refused(call, message: str) -> None:
    with pytest.raises(KernelInputError, match=message):
        call()


def dependent(low: float, high: float, mean: float, spread: float) -> object:
    """Values whose mean, given the past, is constant, and whose spread follows the past.

    While the average is above the mean, values jump between the bounds; while it is below, they
    stay within `spread` of the mean. Frames of 16 start where the last one ended, so that what a
    frame holds depends on what all earlier ones did.
    """
    share = (mean - low) / (high - low)

    def draw(rng: np.random.Generator, n_runs: int, n_values: int) -> np.ndarray:
        values = np.empty((n_runs, n_values))
        sums = np.zeros(n_runs)
        for t in range(n_values):
            if t % 16 == 0:
                is_wild = sums > t * mean
            wild = np.where(rng.random(n_runs) < share, high, low)
            calm = mean + spread * rng.choice([-1.0, 1.0], n_runs)
            values[:, t] = np.where(is_wild, wild, calm)
            sums += values[:, t]
        return values

    return draw


ADVERSARIES = {
    "spread after the past": (-3.0, 5.0, 0.5, dependent(-3.0, 5.0, 0.5, 0.1)),
    "bounds alone": (
        2.0,
        4.0,
        2.2,
        lambda rng, n_runs, n: np.where(rng.random((n_runs, n)) < 0.1, 4.0, 2.0),
    ),
    "constant": (-1.0, 1.0, 0.25, lambda _, n_runs, n: np.full((n_runs, n), 0.25)),
    "constant at a bound": (-1.0, 1.0, -1.0, lambda _, n_runs, n: np.full((n_runs, n), -1.0)),
}
"""Bounds, mean, and how to draw values of many runs."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ADVERSARIES)
def test_level_holds_against_adversaries_at_every_frame(kind, name: str) -> None:
    low, high, mean, draw = ADVERSARIES[name]
    n_values = 96
    n_runs = 1 if name.startswith("constant") else N_RUNS  # all runs are the same
    runs = draw(np.random.default_rng(12), n_runs, n_values)
    options = {"n_points": 65} if kind is HedgedBetting else {}
    missed = 0
    for values in runs:
        sequence = kind(low, high, 1 - ALPHA, **options)
        for frame in np.split(values, (16, 17, 48)):  # of 16, 1, 31 and 48 values
            sequence.update(frame, backend="cpu")
            interval = sequence.interval()
            if not interval.low - 1e-12 <= mean <= interval.high + 1e-12:
                missed += 1
                break
    assert missed / n_runs <= ALLOWED
