"""Samples of one ns: areas, bounds, straight pieces, and the deviation that is stated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.analog.model import Waveform
from cudaq_target.analog.sampling import deviation, expanded, means, pieces_of, straightened
from tests.target.analog_specs import waveforms


@given(waveforms())
def test_every_sample_is_the_mean_over_its_ns(waveform):
    samples = means(waveform, 200)
    edges = np.arange(201.0)
    wanted = waveform.integral(edges[:-1], edges[1:]) * 1e3
    assert samples == pytest.approx(wanted, abs=1e-9)
    assert samples.min() >= waveform.values.min()
    assert samples.max() <= waveform.values.max()


@given(waveforms(low=0.0), st.integers(0, 20), st.floats(0.0, 0.999))
def test_padding_with_zeros_keeps_the_area(waveform, extra, part):
    longer = Waveform(waveform.times_ns * (1.0 + part / 200.0), waveform.values, waveform.kind)
    n_ns = int(np.ceil(longer.duration_ns)) + extra
    area = means(longer, n_ns, after=0.0).sum() * 1e-3
    assert area == pytest.approx(float(longer.integral(0.0, longer.duration_ns)), abs=1e-9)


def test_padding_holds_the_last_value():
    assert means(Waveform([0.0, 2.5], [2.0, 2.0]), 5).tolist() == [2.0] * 5
    assert means(Waveform([0.0, 1.0, 2.0], [2.0, 3.0, 9.0], "step"), 4).tolist() == [2, 3, 3, 3]


@given(waveforms(whole=True))
def test_few_straight_pieces_are_found(waveform):
    samples = means(waveform, 200)
    pieces = pieces_of(samples)
    assert pieces is not None
    assert sum(piece.n_ns for piece in pieces) == 200
    # Two pieces around each point at most.
    assert len(pieces) <= 2 * len(waveform.times_ns)
    assert expanded(pieces) == pytest.approx(samples, abs=1e-10)
    again = straightened(straightened(samples))
    assert np.array_equal(again, straightened(samples))


def test_curves_are_not_taken_apart():
    samples = np.sin(np.linspace(0.0, 3.0, 1000))
    assert pieces_of(samples) is None
    assert straightened(samples) is samples


@given(waveforms())
def test_the_stated_deviation_is_that_at_any_time(waveform):
    samples = means(waveform, 200)
    value, area = deviation(waveform, samples)
    times = np.linspace(0.0, 200.0, 4001)[:-1]
    off = np.abs(waveform.at(times) - samples[times.astype(int)]).max()
    assert off <= value + 1e-9
    if waveform.kind == "linear":
        inner = waveform.times_ns[:-1]
        at_points = np.abs(waveform.at(inner) - samples[inner.astype(int)]).max()
        # Largest at an edge of a ns or at a point.
        edges = np.arange(200)
        left = np.abs(waveform.at(edges) - samples).max()
        right = np.abs(waveform.at(edges + 1) - samples).max()
        assert value == pytest.approx(max(left, right, at_points), abs=1e-9)
    assert area < 1e-10


def test_a_ramp_is_half_a_step_off():
    ramp = Waveform([0.0, 100.0], [0.0, 10.0])
    value, area = deviation(ramp, means(ramp, 100))
    assert value == pytest.approx(0.05, abs=1e-12)
    assert area < 1e-14
