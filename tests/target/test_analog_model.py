"""Waveforms and specifications: exact values and areas, and every bad input by its message."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
from cudaq_target.errors import RegisterError, TargetError, WaveformError
from tests.target.analog_specs import waveforms

RAMP = Waveform([0.0, 100.0, 300.0], [0.0, 4.0, 2.0], name="amplitude")
STEP = Waveform([0.0, 100.0, 300.0], [1.0, 4.0, 9.0], "step")


def test_values_between_and_beyond_the_points():
    assert RAMP.at([-5.0, 0.0, 50.0, 100.0, 200.0, 400.0]).tolist() == [0, 0, 2, 4, 3, 2]
    assert STEP.at([0.0, 99.9, 100.0, 299.9, 300.0]).tolist() == [1, 1, 4, 4, 9]


def test_areas_are_exact():
    assert float(RAMP.integral(0.0, 300.0)) == pytest.approx(0.8, abs=1e-15)
    assert float(STEP.integral(0.0, 300.0)) == pytest.approx(0.9, abs=1e-15)
    assert RAMP.integral([0.0, 50.0], [50.0, 100.0]) == pytest.approx([0.05, 0.15], abs=1e-15)
    assert float(RAMP.integral(-10.0, 1e4)) == pytest.approx(0.8, abs=1e-15)


@given(waveforms(), st.floats(0.0, 200.0), st.floats(0.0, 200.0))
def test_areas_are_those_of_the_values(waveform, a, b):
    low, high = sorted((a, b))
    points = [time for time in waveform.times_ns if low < time < high]
    edges = [low, *points, high]
    parts = [
        quad(lambda t: float(waveform.at(t)), lo, hi)[0]
        for lo, hi in pairwise(edges)
        if hi - lo > 1e-9
    ]
    assert float(waveform.integral(low, high)) == pytest.approx(1e-3 * sum(parts), abs=1e-9)


@given(waveforms())
def test_areas_add_up(waveform):
    edges = np.linspace(0.0, 200.0, 77)
    parts = waveform.integral(edges[:-1], edges[1:])
    assert parts.sum() == pytest.approx(float(waveform.integral(0.0, 200.0)), abs=1e-12)


def test_constant_waveforms_are_known_as_such():
    assert Waveform.constant(100.0, 3.0).is_constant
    assert Waveform([0, 5, 9], [1, 1, 7], "step").is_constant, "the last one holds for no time"
    assert not Waveform([0, 5, 9], [1, 1, 7]).is_constant


def test_times_from_seconds_lose_their_rounding():
    times = np.array([0.0, 100.0 - 1e-12, 300.0 + 1e-10])
    assert Waveform(times, [1, 2, 3]).on_whole_ns().times_ns.tolist() == [0.0, 100.0, 300.0]


def test_waveforms_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        RAMP.values[0] = 5.0


@pytest.mark.parametrize(
    ("times", "values", "kind", "words", "time_ns"),
    [
        ([], [], "linear", "no points", None),
        ([0.0], [1.0], "linear", "a single point", None),
        ([0.0, 1.0], [1.0], "linear", "shape", None),
        ([[0.0, 1.0]], [[1.0, 2.0]], "linear", "shape", None),
        ([5.0, 9.0], [1.0, 2.0], "linear", "first time is 5 ns", 5.0),
        ([0.0, 9.0, 9.0], [1.0, 2.0, 3.0], "linear", "point 2 is not after 9 ns", 9.0),
        ([0.0, 9.0, 4.0], [1.0, 2.0, 3.0], "linear", "point 2 is not after 9 ns", 4.0),
        ([0.0, 9.0], [1.0, math.nan], "linear", "value of point 1 is nan", 9.0),
        ([0.0, math.inf], [1.0, 2.0], "linear", "time of point 1 is inf", None),
        ([0.0, 1.0], [1.0, 2.0j], "linear", "complex", None),
        ([0.0, 1.0], ["a", "b"], "linear", "no numbers", None),
        ([0.0, 1.0], [1.0, 2.0], "cubic", "unknown kind 'cubic'", None),
    ],
)
def test_points_that_are_no_function_of_time(times, values, kind, words, time_ns):
    with pytest.raises(WaveformError, match=words) as caught:
        Waveform(times, values, kind, "amplitude")
    assert str(caught.value).startswith(("amplitude", "times of the amplitude"))
    assert caught.value.time_ns == time_ns


@pytest.mark.parametrize(
    ("sites", "filling", "words", "which"),
    [
        ([], None, "no sites", ()),
        ([(0, 0, 0)], None, r"shape \(1, 3\)", ()),
        ([("a", 0)], None, "no table of numbers", ()),
        ([(0, 0), (math.inf, 0)], None, "site 1 is not finite", ()),
        ([(0, 0), (1, 5), (0, 0)], None, "sites 0 and 2 are at one place", (0, 2)),
        ([(0, 0), (5, 0)], [1], "filling", ()),
        ([(0, 0), (5, 0)], [1, 2], "filling", ()),
        ([(0, 0), (5, 0)], [0, 0], "all sites are empty", ()),
    ],
)
def test_positions_that_are_no_register(sites, filling, words, which):
    with pytest.raises(RegisterError, match=words) as caught:
        AnalogSpec.of(np.array(sites, dtype=object), RAMP, filling=filling)
    assert caught.value.sites == which


def test_empty_sites_hold_no_atom():
    spec = AnalogSpec.of([(0, 0), (5, 0), (9, 0)], RAMP, filling=[1, 0, 1])
    assert spec.n_atoms == 2
    assert spec.atoms_um.tolist() == [[0.0, 0.0], [9.0, 0.0]]


def test_waveforms_must_end_together():
    with pytest.raises(WaveformError, match="phase at 100 ns: it lasts 100 ns, the amplitude 300"):
        AnalogSpec.of([(0, 0)], RAMP, 0.0, Waveform.constant(100.0, 0.0))


def test_negative_amplitudes_are_refused():
    with pytest.raises(WaveformError, match=r"amplitude at 9 ns: -0\.5 rad/µs is negative"):
        AnalogSpec.of([(0, 0)], Waveform([0, 9, 20], [1, -0.5, 0]))


@pytest.mark.parametrize(
    ("weights", "words", "atoms"),
    [
        ([0.5, 1.5], "atom 1 has 1.5", (1,)),
        ([math.nan, 0.0], "atom 0 has nan", (0,)),
        ([[0.5]], "not a list", ()),
    ],
)
def test_weights_are_shares(weights, words, atoms):
    with pytest.raises(WaveformError, match=words) as caught:
        LocalDetuning(RAMP, weights)
    assert caught.value.atoms == atoms


def test_one_weight_per_atom():
    with pytest.raises(WaveformError, match="2 of them for 1 atoms"):
        AnalogSpec.of([(0, 0)], RAMP, local=LocalDetuning(RAMP, [0.5, 0.5]))


def test_all_of_them_are_errors_of_the_target():
    assert issubclass(WaveformError, TargetError)
    assert issubclass(RegisterError, TargetError)
