"""Offsets between clocks against simulated clocks, histograms against sorted values."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.coupler.clock import (
    OffsetEstimator,
    StageTimes,
    Stamp,
    clock_function,
    probe,
)
from cudaq_target.coupler.dispatch import Dispatcher
from cudaq_target.coupler.frame import HEADER_BYTES, Status, function_id, request_frame
from cudaq_target.coupler.histogram import MAX_VALUE, Histogram
from cudaq_target.coupler.sessions import Session

DURATIONS = st.integers(0, 10**9)


@given(
    st.integers(-(10**12), 10**12),
    st.lists(st.tuples(DURATIONS, DURATIONS, DURATIONS, DURATIONS), min_size=1, max_size=30),
)
def test_offset_is_within_its_error(offset_ns, trips):
    """Whatever the ways are, and however unequal, the true offset is inside the bounds."""
    estimator, now_ns = OffsetEstimator(), 10**13
    for there_ns, at_work_ns, back_ns, pause_ns in trips:
        t0_ns = now_ns
        t1_ns = t0_ns + there_ns + offset_ns
        t2_ns = t1_ns + at_work_ns
        now_ns = t2_ns - offset_ns + back_ns
        assert estimator.add(t0_ns, t1_ns, t2_ns, now_ns)
        estimate = estimator.estimate(now_ns)
        assert abs(estimate.offset_ns - offset_ns) <= estimate.error_ns
        now_ns += pause_ns


def test_fastest_trip_wins_until_it_is_old():
    estimator = OffsetEstimator()
    estimator.add(0, 1010, 1010, 20)  # 20 ns on the way
    estimator.add(1000, 2900, 2900, 3000)  # 2000 ns on the way, all of it in one direction
    assert estimator.estimate(3000).offset_ns == 1000
    later_ns = 1_000_000_000
    estimator.add(later_ns, later_ns + 1300, later_ns + 1300, later_ns + 600)
    assert estimator.estimate(later_ns + 600).offset_ns == 1000


def test_window_forgets():
    estimator = OffsetEstimator(window=1)
    assert estimator.estimate(0) is None
    estimator.add(0, 110, 110, 20)
    estimator.add(100, 250, 250, 200)
    assert estimator.estimate(200).measured_ns == 200


def test_row_26_clock_that_steps_back_is_refused():
    estimator = OffsetEstimator()
    assert not estimator.add(0, 100, 90, 20)
    assert not estimator.add(20, 100, 110, 0)
    assert estimator.n_refused == 2
    assert estimator.estimate(0) is None


def test_row_26_durations_ignore_the_wall_clock(monkeypatch):
    wall_ns = iter([2_000_000_000, 1_000_000_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(wall_ns))
    first, second = Stamp.now(), Stamp.now()
    assert second.wall_ns < first.wall_ns
    assert second.monotonic_ns >= first.monotonic_ns
    assert first.wall_at(second.monotonic_ns) >= first.wall_ns


def test_probe_over_the_dispatcher():
    dispatcher = Dispatcher([clock_function(lambda: time.monotonic_ns() + 5_000_000_000)])
    session = Session("client")

    def call(name, arguments):
        answer = dispatcher.dispatch(session, request_frame(function_id(name), arguments))
        return Status.OK, answer[HEADER_BYTES:]

    estimator = OffsetEstimator()
    assert probe(call, estimator)
    estimate = estimator.estimate(time.monotonic_ns())
    assert abs(estimate.offset_ns - 5_000_000_000) <= estimate.error_ns
    assert not probe(lambda *_: (Status.UNKNOWN_FUNCTION, b""), estimator)
    assert not probe(lambda *_: (Status.OK, b"short"), estimator)


@given(st.lists(st.integers(0, MAX_VALUE), min_size=1, max_size=50), st.floats(0, 100))
def test_percentiles_are_within_the_resolution(values, percent):
    histogram = Histogram()
    histogram.record(values)
    assert histogram.n_values == len(values)
    assert (histogram.minimum, histogram.maximum) == (min(values), max(values))
    exact = sorted(values)[max(1, int(np.ceil(percent / 100 * len(values)))) - 1]
    found = histogram.percentile(percent)
    assert exact <= found <= exact + exact // 128
    assert histogram.mean == pytest.approx(np.mean(np.array(values, dtype=float)))


@given(st.lists(st.integers(0, 10**9), max_size=20), st.lists(st.integers(0, 10**9), max_size=20))
def test_merge_counts_both(left, right):
    one, other, both = Histogram(), Histogram(), Histogram()
    one.record(left)
    other.record(right)
    both.record(left + right)
    one.merge(other)
    assert (one.n_values, one.minimum, one.maximum) == (both.n_values, both.minimum, both.maximum)
    np.testing.assert_array_equal(one._counts, both._counts)
    if left or right:
        assert one.std == pytest.approx(np.std(left + right), rel=1e-6, abs=0.1)


def test_histogram_of_nothing():
    histogram = Histogram()
    assert np.isnan(histogram.mean)
    assert np.isnan(histogram.std)
    with pytest.raises(ValueError, match="percentile 50 of 0 values"):
        histogram.percentile(50)


@pytest.mark.parametrize("values", [[-1], [MAX_VALUE + 1]])
def test_values_out_of_range(values):
    histogram = Histogram()
    with pytest.raises(ValueError, match="do not fit"):
        histogram.record(values)
    assert histogram.n_values == 0


def test_powers_of_two_have_their_own_bucket():
    for exponent in range(62):
        for value in {2**exponent - 1, 2**exponent, min(2**exponent + 1, MAX_VALUE)}:
            histogram = Histogram()
            histogram.record([value, MAX_VALUE])
            assert value <= histogram.percentile(50) <= value + value // 128


def test_stages_are_counted_apart_and_losses_are_counted():
    times = StageTimes(("parse", "decode"), capacity=4)
    for stage, duration_ns in [(0, 5), (1, 100), (0, 7), (1, 300), (0, 9)]:
        times.add(stage, duration_ns)
    stages = times.harvest()
    assert (stages["parse"].n_values, stages["decode"].maximum) == (2, 300)
    assert times.n_lost == 1
    times.add(0, 11)
    assert times.harvest()["parse"].n_values == 3
