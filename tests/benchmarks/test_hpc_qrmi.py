import itertools

import pytest

from benchmarks import hpc_qrmi, timing


def test_a_row_is_our_time_beyond_that_of_the_wheel_alone(monkeypatch):
    clock_s = itertools.count(0.0, 0.025)
    monkeypatch.setattr(timing, "perf_counter", lambda: next(clock_s))
    row = hpc_qrmi._row("task", 4, lambda: None, lambda: 0.01)
    assert row.value == pytest.approx(15.0)
    assert row.samples == (15.0,) * 4
    assert row.holds
    assert row.peer == "task_start + task_status + task_result of the wheel: 10.00 ms"
