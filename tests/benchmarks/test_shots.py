"""The benchmark of the shot kernels keeps its output contract and notices wrong results."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import report, run, shots
from benchmarks.timing import ProbeError

KEYS = ["name", "value", "unit", "peer", "ratio", "reach", "holds"]
ASKED = ("occupation", "pair correlations", "bit transpose", "Ising", "parities")


def test_every_goal_of_the_table_has_a_row() -> None:
    rows = list(shots.measured_rows(640, 1))
    for row in rows:
        public = json.loads(json.dumps(row.public()))
        assert list(public) == KEYS
        assert public["holds"] is None or public["reach"] is not None
    with_goal = [row for row in rows if row.reach is not None and not row.name.startswith("GPU")]
    for name in ASKED:
        assert any(row.name.startswith(name) and row.holds is not None for row in with_goal), name
    assert any("GB/s" in row.unit and row.holds is not None for row in with_goal)
    correct = [row for row in rows if row.is_correctness]
    assert any("NumPy" in row.name for row in correct)
    assert all(row.holds and row.value == 0 for row in correct)


def test_gpu_rows_say_that_they_did_not_run() -> None:
    rows = list(shots.device_rows())
    assert len(rows) == 6
    assert all((row.value, row.holds) == (None, None) for row in rows)
    assert all(row.reach is not None and row.note.startswith("not run") for row in rows)


def test_wrong_results_fail_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shots, "equal", lambda _ours, _peer: False)
    found = [row for row in shots.measured_rows(64, 1) if "NumPy's" in row.name]
    assert [(row.is_correctness, row.holds) for row in found] == [(True, False)]
    assert not report.Report("kernels", tuple(found), "").is_correct


@pytest.mark.parametrize(
    ("ours", "peer", "same"),
    [
        (np.array([1, 2]), np.array([1, 2]), True),
        (np.array([1, 2]), np.array([1, 3]), False),
        (np.array([1.0]), np.array([1.0 + 1e-13]), True),
        (np.array([1.0]), np.array([1.1]), False),
        ((np.array([1]), np.array([2])), (np.array([1]), np.array([3])), False),
    ],
)
def test_results_are_compared_whole(ours, peer, same: bool) -> None:
    assert shots.equal(ours, peer) is same


def test_the_process_that_measures_holds_one_core() -> None:
    """The short run as a user starts it: a child with one thread, rows back as JSON."""
    rows = shots.rows(quick=True)
    assert any(row.name.startswith("occupation") for row in rows)
    assert "kernels" in run.NAMES


def test_a_failed_measurement_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shots.sys, "executable", "false")
    with pytest.raises(ProbeError, match="-m benchmarks"):
        shots.rows(quick=True)
