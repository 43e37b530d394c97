"""Whose a missed deadline is, and that the quick form of the benchmark runs."""

from __future__ import annotations

import os

import pytest

from benchmarks import loop_memory
from benchmarks.stall_witness import Stall, Witness
from cudaq_target.coupler.loops.memory import Server
from cudaq_target.coupler.loops.memory_result import NEVER, LateRound

START_NS, DEADLINE_NS = 5_000, 1_000


def late(due_ns: int, lateness_ns: int, rtt_ns: int) -> LateRound:
    return LateRound(0, 0, due_ns, lateness_ns, rtt_ns)


@pytest.mark.parametrize(
    ("stalls", "is_theirs"),
    [
        ([], False),
        ([(0, 5_000, 6_400)], False),  # 1100 ns are left
        ([(0, 5_000, 6_500)], True),  # 1000 ns are left, in time
        ([(0, 3_000, 6_500)], True),  # what was before the round was due does not count
        ([(0, 5_000, 6_000), (1, 5_000, 6_000)], False),  # at the same time: it counts once
        ([(0, 5_000, 6_000), (1, 5_800, 6_500)], True),  # one after the other
        ([(0, 7_500, 9_000)], False),  # after its answer
    ],
)
def test_a_miss_is_the_machine_s_where_its_stalls_explain_it(stalls, is_theirs):
    seen = [Stall(*one) for one in stalls]
    assert loop_memory.is_of_machine(late(0, 500, 2_000), seen, START_NS, DEADLINE_NS) is is_theirs


def test_a_round_without_an_answer_is_ours():
    stalls = [Stall(0, 0, 10**9)]
    assert not loop_memory.is_of_machine(late(0, NEVER, NEVER), stalls, START_NS, DEADLINE_NS)


def test_a_witness_ends_and_says_what_it_saw():
    with Witness([min(os.sched_getaffinity(0))]) as witness:
        pass
    assert all(stall.duration_ns > 0 for stall in witness.stalls)


def test_rows_of_a_short_run():
    found = loop_memory.run(80, Server(is_native=False, timeout_s=30.0), "in a test")
    rows = {row.name.partition("cadence, ")[2]: row for row in loop_memory.rows_of(found)}
    assert rows["deadline misses in 80 rounds"].value == found.result.n_deadline_misses
    assert rows["corrections other than offline"].holds
    assert 0 <= rows["misses that no stall of the machine explains"].value <= 80
    assert rows["round trip, p50"].value > 0.0
