"""The benchmark of decisions and steps: its ends answer rightly, and its rows have their goals."""

from __future__ import annotations

from benchmarks.loop_latency import PLANS, decision_rows, stepper


def test_every_block_is_decided_and_rows_name_their_goals():
    *rows, wrong = decision_rows(quick=True, sizes=(2,))
    assert [row.reach is not None for row in rows] == [True, False]
    assert all(row.value > 0.0 and row.ratio > 0.0 for row in rows)
    assert wrong.is_correctness
    assert wrong.holds


def test_a_step_costs_time_beyond_its_machine():
    with stepper("canned", "ipc") as overhead_ms:
        for make in PLANS.values():
            assert overhead_ms(make(), 3) > 0.0
