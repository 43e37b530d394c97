"""Drive curves: values, exact integrals, and where they are not smooth."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.interpolate import PchipInterpolator

from cudaq_target.emulator.analog.curves import Curve, curve_of, even_pchip

KINDS = (Curve.step, Curve.linear, Curve.smooth)


@st.composite
def knots(draw):
    gaps = draw(st.lists(st.floats(0.5, 300.0), min_size=1, max_size=7))
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    seed = draw(st.integers(0, 2**32 - 1))
    return times, np.random.default_rng(seed).uniform(-10, 10, len(times))


@pytest.mark.parametrize("make", KINDS)
@given(case=knots(), share=st.floats(0.01, 1.0))
@settings(max_examples=25, deadline=None)
def test_integrals_are_those_of_the_values(make, case, share):
    times, values = case
    curve = make(times, values)
    end = share * times[-1]
    pieces = [*times[times < end], end]
    numeric = sum(quad(lambda t: curve.at([t])[0], a, b)[0] for a, b in pairwise(pieces))
    assert np.isclose(curve.integral(0.0, end), 1e-3 * numeric, atol=1e-9)


@pytest.mark.parametrize("make", KINDS)
def test_curves_of_single_atoms_are_evaluated_together(make):
    times = np.array([0.0, 10.0, 25.0, 60.0])
    values = np.random.default_rng(0).normal(size=(4, 3))
    together = make(times, values)
    moments = np.array([0.0, 3.0, 24.9, 59.0])
    assert together.n_atoms == 3
    for atom in range(3):
        alone = make(times, values[:, atom])
        assert alone.n_atoms is None
        np.testing.assert_allclose(together.at(moments)[:, atom], alone.at(moments))
        np.testing.assert_allclose(
            together.antiderivative(moments)[:, atom], alone.antiderivative(moments)
        )


def test_points_are_met_and_jumps_take_the_later_value():
    times, values = [0.0, 5.0, 9.0], [1.0, -2.0, 4.0]
    for make in (Curve.linear, Curve.smooth):
        np.testing.assert_allclose(make(times, values).at(times), values)
    np.testing.assert_array_equal(Curve.step(times, values).at([0, 4.9, 5.0, 8.9]), [1, 1, -2, -2])


def test_kinks_are_where_slopes_or_values_change():
    times = [0.0, 10.0, 20.0, 30.0, 40.0]
    assert Curve.linear(times, [0.0, 1.0, 2.0, 2.0, 2.0]).kinks_ns == (20.0,)
    assert Curve.step(times, [1.0, 1.0, 2.0, 2.0, 7.0]).kinks_ns == (20.0,)
    values = [0.0, 4.0, 2.0, 5.0, 2.0]
    assert Curve.smooth(times, values).kinks_ns == (10.0, 20.0, 30.0)
    assert Curve.smooth(np.array(times) / 10.0, values).kinks_ns == ()
    assert Curve.constant(3.0).kinks_ns == ()


def test_multiples():
    curve = Curve.linear([0.0, 10.0], [1.0, 3.0])
    np.testing.assert_allclose(curve.times(2.0).at([5.0]), [4.0])
    np.testing.assert_allclose(curve.times([1.0, 0.5]).at([5.0]), [[2.0, 1.0]])
    assert np.isclose(curve.times(-2.0).largest(), 6.0)


def test_a_waveform_becomes_the_curve_of_its_kind():
    points = {"times_ns": np.array([0.0, 10.0, 20.0]), "values": np.array([1.0, 4.0, 0.0])}
    for kind, make in (("step", Curve.step), ("linear", Curve.linear), ("smooth", Curve.smooth)):
        curve = curve_of(SimpleNamespace(kind=kind, **points))
        np.testing.assert_array_equal(curve.at([3.0, 12.0]), make(*points.values()).at([3.0, 12.0]))


@pytest.mark.parametrize("times", [[0.0], [0.0, 1.0], [0.0, 2.0, 1.0], [0.0, 1.0, 1.0]])
def test_points_that_make_no_curve(times):
    with pytest.raises(ValueError, match="a curve needs"):
        Curve.linear(times, [1.0, 2.0, 3.0])


# Samples -------------------------------------------------------------------------------------


def means(curve, n):
    """What a device plays: the mean of every ns."""
    return 1e3 * np.diff(curve.antiderivative(np.arange(n + 1.0)), axis=0)


@pytest.mark.parametrize(
    ("times", "values"),
    [
        ([0, 500, 2500, 3000], [0.0, 9.0, 9.0, 0.0]),
        ([0, 37.3, 80.9, 120], [0.0, 12.0, 3.0, 0.0]),
        ([0, 120], [-4.0, 8.0]),
    ],
)
def test_samples_of_straight_lines_give_them_back(times, values):
    curve = Curve.linear(times, values)
    n = int(times[-1])
    read = Curve.of_samples(means(curve, n))
    moments = np.linspace(0.0, n - 1e-6, 997)
    steepest = np.abs(np.diff(values) / np.diff(times)).max()
    # Wrong inside the ns of a bend alone.
    assert np.abs(read.at(moments) - curve.at(moments)).max() <= 1.01 * steepest
    assert np.isclose(read.integral(0.0, n), curve.integral(0.0, n), atol=2e-3 * steepest)
    assert len(read.kinks_ns) <= 3 * (len(times) - 2)


def test_samples_of_square_pulses_keep_their_edges():
    samples = np.repeat([0.0, 7.0, 0.0, -2.0, 5.0], [20, 16, 30, 50, 17])
    curve = Curve.of_samples(samples)
    assert curve.kinks_ns == (20.0, 36.0, 66.0, 116.0)
    np.testing.assert_allclose(curve.at(np.arange(133) + 0.5), samples)
    assert np.isclose(curve.integral(0.0, 133.0), 1e-3 * samples.sum())


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("n_after", [0, 2, 20])
def test_pulses_that_end_within_a_sample_keep_their_area(share, n_after):
    samples = np.concatenate([np.ones(101), [share], np.zeros(n_after)])
    curve = Curve.of_samples(samples)
    assert curve.kinks_ns == ((101.0, 102.0) if n_after else (101.0,))
    assert np.isclose(curve.integral(0.0, len(samples)), 1e-3 * samples.sum(), rtol=1e-12)


def test_samples_of_smooth_pulses_have_no_kinks():
    n = 800
    for shape in (np.blackman(n), np.sin(np.arange(n) / 50.0), np.hanning(n)):
        curve = Curve.of_samples(9.0 * shape)
        assert curve.kinks_ns == ()
        assert np.isclose(curve.integral(0.0, n), 9e-3 * shape.sum(), atol=1e-5)


def test_one_atom_with_an_edge_makes_all_atoms_stop_there():
    samples = np.zeros((40, 2))
    samples[15:, 1] = 3.0
    curve = Curve.of_samples(samples)
    assert curve.kinks_ns == (15.0,)
    np.testing.assert_allclose(curve.integral(0.0, 40.0), [0.0, 0.075])


@pytest.mark.parametrize("samples", [[4.0], [4.0, 4.0], [1.0, 4.0], [1.0, 4.0, 2.0]])
def test_few_samples(samples):
    curve = Curve.of_samples(samples)
    assert np.isclose(curve.integral(0.0, len(samples)), 1e-3 * sum(samples), atol=1e-3)
    assert curve.end_ns == len(samples)


def test_phases_hold_for_their_ns():
    phase = Curve.of_steps([0.5, 0.5, 2.0, 2.0])
    assert phase.kinks_ns == (2.0,)
    np.testing.assert_array_equal(phase.at([0.0, 1.99, 2.0, 3.5]), [0.5, 0.5, 2.0, 2.0])


@pytest.mark.parametrize("n_before", [0, 1, 2, 20])
@pytest.mark.parametrize("n_after", [0, 1, 2, 30])
@pytest.mark.parametrize("shape", ["square", "ramp", "triangle"])
def test_short_pulses_keep_their_area(shape, n_before, n_after):
    for length in np.arange(0.2, 7.3, 0.1):
        n = n_before + int(np.ceil(length - 1e-9)) + n_after
        time = (np.arange(200 * n) + 0.5) / 200 - n_before
        value = {
            "square": np.ones_like(time),
            "ramp": 1.0 - time / length,
            "triangle": 1.0 - np.abs(2.0 * time / length - 1.0),
        }[shape]
        samples = np.where((time > 0) & (time < length), value, 0.0).reshape(n, 200).mean(axis=1)
        area = 1e3 * Curve.of_samples(samples).integral(0.0, n)
        assert abs(area - samples.sum()) <= 4e-3 * samples.sum()


@given(st.lists(st.floats(-9.0, 9.0), min_size=1, max_size=40), st.integers(1, 2))
@settings(max_examples=100, deadline=None)
def test_no_area_of_a_sample_is_missed(values, n_atoms):
    samples = np.array(values)
    if n_atoms == 2:
        samples = np.stack([samples, samples[::-1]], axis=1)
    read = means(Curve.of_samples(samples), len(samples))
    assert (np.abs(read - samples) <= 2.01e-3 * np.abs(samples).max(axis=0) + 1e-9).all()


@given(st.lists(st.integers(-9000, 9000).map(lambda k: 1e-3 * k), min_size=3, max_size=30))
@settings(max_examples=50, deadline=None)
def test_cubics_through_even_points_are_those_of_scipy(values):
    points = np.stack([values, values[::-1]], axis=1)
    expected = np.moveaxis(PchipInterpolator(np.arange(len(values)), points, axis=0).c[::-1], 0, 1)
    np.testing.assert_allclose(even_pchip(points), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(even_pchip(points[:, 0]), expected[..., 0], rtol=1e-9, atol=1e-9)
