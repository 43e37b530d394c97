"""Turns of clients, the shot clock, and the thread that measures."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.coupler.control_turns import Turns
from cudaq_target.coupler.control_worker import DEFAULT_BLOCK, Job, ShotClock, Worker
from tests.coupler.lazy_machine import TellingMachine


def ready(_):
    return True


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 4), min_size=1))
def test_every_client_gets_as_many_turns(n_runs):
    turns = Turns(max_items=16, max_clients=4)
    for client, number in n_runs.items():
        for k in range(number):
            turns.add(client, (client, k))
    served = [turns.next(ready) for _ in range(3 * len(n_runs))]
    assert {client: sum(one[0] == client for one in served) for client in n_runs} == dict.fromkeys(
        n_runs, 3
    )
    assert all(k == 0 for _, k in served)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30))
def test_turns_keep_count(steps):
    turns, held = Turns(max_items=100, max_clients=3), []
    for number, (client, is_added) in enumerate(steps):
        if is_added or not held:
            turns.add(client, number)
            held.append((client, number))
        else:
            turns.remove(*held.pop(0))
        assert len(turns) == len(held)
        assert sorted(turns) == sorted(number for _, number in held)
    for client, number in held:
        assert turns.n_ahead(number) < len(held)
        turns.remove(client, number)
        turns.remove(client, number)
    assert turns.next(ready) is None


def test_those_who_cannot_use_a_turn_are_passed_over():
    turns = Turns(max_items=9, max_clients=9)
    for client, item in [("a", 1), ("a", 2), ("b", 3)]:
        turns.add(client, item)
    assert [turns.next(lambda item: item != 1) for _ in range(4)] == [2, 3, 2, 3]


def test_a_full_queue_says_so():
    turns = Turns(max_items=3, max_clients=2)
    turns.add("a", 1)
    turns.add("b", 2)
    assert "2 clients have runs" in turns.objection("c")
    assert turns.objection("a") is None
    turns.add("a", 3)
    assert "3 runs are under way" in turns.objection("a")


class Beat:
    def __init__(self, cadence_hz):
        self.now_ns = 1_000_000_000
        self.clock = ShotClock(cadence_hz, lambda: self.now_ns)

    def shot(self, late_ns=0):
        """Wait for the clock, be late, and measure."""
        self.now_ns += self.clock.wait_ns() + late_ns
        self.clock.begin()
        return self.now_ns


def test_a_free_machine_begins_at_once():
    beat = Beat(10.0)
    assert beat.clock.wait_ns() == 0
    beat.shot()
    assert beat.clock.wait_ns() == 100_000_000
    beat.now_ns += 30_000_000
    assert beat.clock.wait_ns() == 70_000_000
    beat.clock.idle()
    beat.now_ns += 1_000_000_000
    assert beat.clock.wait_ns() == 0
    beat.shot()
    assert beat.clock.n_missed == 0


@given(st.lists(st.integers(0, 40_000_000), min_size=2, max_size=20))
def test_small_delays_do_not_add_up(delays_ns):
    beat = Beat(10.0)
    first = beat.shot()
    times = [beat.shot(late_ns) for late_ns in delays_ns]
    expected = [first + 100_000_000 * (k + 1) + late for k, late in enumerate(delays_ns)]
    assert times == expected
    assert beat.clock.n_missed == 0


def test_ticks_that_were_missed_are_counted_and_not_made_up_for():
    beat = Beat(10.0)
    beat.shot()
    late = beat.shot(late_ns=350_000_000)
    assert beat.clock.n_missed == 3
    assert beat.shot() == late + 100_000_000


def test_no_clock_never_waits():
    beat = Beat(None)
    beat.shot()
    assert (beat.clock.wait_ns(), beat.clock.n_missed) == (0, 0)


@pytest.mark.parametrize("cadence_hz", [0.0, -1.0, float("inf"), float("nan")])
def test_impossible_cadences(cadence_hz):
    with pytest.raises(ValueError, match="give a positive number"):
        ShotClock(cadence_hz, time.monotonic_ns)


class Measured:
    """A worker and its machine, with news counted."""

    def __init__(self, machine=None, **options):
        self.machine = machine or TellingMachine()
        self.news = threading.Event()
        self.worker = Worker(on_news=self.news.set, **options)
        self.ids = itertools.count(1)

    def job(self, n_shots, client="a", **options):
        source = self.machine.begin("p", [], n_shots, next(self.ids))
        job = Job(source.seed, client, source, n_shots, **options)
        self.worker.add(job)
        return job

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.machine.gate.set()
        assert self.worker.close(10.0)


def until(condition):
    limit = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


def shots_of(job):
    return [int(row[0]) % 1000 for rows in job.rows for row in rows]


def test_nothing_is_measured_beyond_credit_and_a_block():
    with Measured() as one:
        job = one.job(1000)
        until(lambda: job.n_measured == DEFAULT_BLOCK)
        one.worker.allow(job, 100)
        until(lambda: job.n_measured == 100 + DEFAULT_BLOCK)
        one.worker.allow(job, 50)  # credit never shrinks
        small = one.job(1000, "b", block=5)
        until(lambda: small.n_measured == 5)
        assert job.n_measured == 132
        assert shots_of(job) == list(range(132))
        one.worker.allow(job, 10_000)
        until(lambda: job.is_over)
        assert job.n_measured == 1000
        assert one.machine.runs[0].is_closed
        one.worker.stop(small)
        until(lambda: small.is_over)
        assert (small.n_measured, one.machine.runs[1].is_closed) == (5, True)


def test_turns_go_round():
    with Measured() as one:
        one.machine.gate.clear()
        one.job(1, "z")
        assert one.machine.entered.wait(30.0)
        jobs = [one.job(2000, client, limit=2000) for client in "aabc"]
        one.machine.gate.set()
        until(lambda: all(job.is_over for job in jobs))
        seeds = [seed for seed, _ in one.machine.turns[1:]]
        assert seeds[:9] == [2, 4, 5] * 3
        assert seeds.index(3) > seeds.index(2) + 7 * 3


def test_the_machine_time_of_a_cadence_counts_periods():
    with Measured(cadence_hz=1000.0) as one:
        job = one.job(20, limit=20)
        until(lambda: job.is_over)
        assert job.machine_ns >= 20 * 1_000_000
        assert [n for _, n in one.machine.turns] == [1] * 20


def test_whole_jobs_are_measured_at_once():
    with Measured(whole_jobs=True) as one:
        job = one.job(500)
        until(lambda: job.is_over)
        assert one.machine.turns == [(1, 500)]


def test_failures_stay_with_their_run():
    with Measured(TellingMachine(fails_after=40)) as one:
        job = one.job(100, block=40)
        until(lambda: job.n_measured == 40)
        one.worker.allow(job, 100)
        until(lambda: job.is_over)
        assert (job.failure, job.n_measured) == ("OSError: laser unlocked", 40)
        assert one.machine.runs[0].is_closed
        other = one.job(10)
        until(lambda: other.is_over)
        assert other.failure is None


def test_refusals_are_no_failures():
    with Measured(TellingMachine(refuses=True)) as one:
        job = one.job(100)
        until(lambda: job.is_over)
        assert (job.failure, job.n_measured) == (None, 0)
        assert "the device allows 12" in job.refusal


class Wrong:
    n_qubits = 40

    def __init__(self, rows):
        self.rows = rows

    def measure(self, n_shots):  # noqa: ARG002
        return self.rows

    def close(self):
        message = "not cleanly"
        raise OSError(message)


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((0, 1), dtype=np.uint64),
        np.zeros((33, 1), dtype=np.uint64),
        np.zeros((2, 2), dtype=np.uint64),
        np.zeros((2, 1), dtype=np.int64),
    ],
)
def test_what_a_machine_may_not_give(rows):
    with Measured() as one:
        job = Job(1, "a", Wrong(rows), 32)
        one.worker.add(job)
        until(lambda: job.is_over)
        assert "for up to 32 shots of 40 qubits" in job.failure


def test_closing_ends_what_is_left():
    one = Measured()
    waiting = one.job(1000)
    until(lambda: waiting.n_measured == DEFAULT_BLOCK)
    assert one.worker.close(10.0)
    assert waiting.is_over
    assert waiting.failure == "the controller was closed"
    stuck = Measured()
    stuck.machine.gate.clear()
    job = stuck.job(10)
    assert stuck.machine.entered.wait(30.0)
    assert not stuck.worker.close(0.01)
    stuck.machine.gate.set()
    until(lambda: job.is_over)
