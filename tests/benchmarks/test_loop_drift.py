"""The benchmark of drift tracking measures what it says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import loop_drift
from cudaq_target.controller.drifting import DriftLaw


def test_a_machine_that_stays_costs_hardly_anything_and_is_known() -> None:
    found = loop_drift.tracked(DriftLaw(0.0), 0.003, 2, 300)
    assert found.rms < 0.004
    assert len(found.per_min) == 2


def test_scans_find_the_value_and_cost_what_they_say() -> None:
    still = DriftLaw(0.0, rabi_start=1.01)
    found = loop_drift.recalibrated(still, 12.0, 50, loop_drift.LONGEST_US, 0.03, 3, 600)
    assert found.median == pytest.approx(250.0)
    assert 0.001 < found.rms < 0.005  # 0.01 off until the first scan has ended
    chosen = loop_drift.recalibrated_adaptively(still, 12.0, 20, 0.03, 2, 600)
    assert chosen.median == pytest.approx(100.0)
    assert chosen.rms < 0.005


def test_the_formula_is_that_of_the_kernels() -> None:
    from cudaq_target.kernels.estimation import outcome_probabilities

    rabi = np.array([11.0, 12.0])
    durations = np.full(2, loop_drift.PROBES[25].duration_us)
    points = np.column_stack([rabi, np.zeros((2, 2))])
    exact = outcome_probabilities(points, [loop_drift.PROBES[25]], loop_drift.ERRORS)[0]
    np.testing.assert_allclose(loop_drift.excited(rabi, durations), exact, atol=1e-9)


def test_a_controller_changes_no_decision() -> None:
    row = loop_drift._same_decisions(60)
    assert row.holds
    assert row.is_correctness


def test_rows_compare_medians() -> None:
    ours = loop_drift.Found((10.0, 12.0, 20.0), 0.003, 0.006, "this")
    peer = loop_drift.Found((36.0,), 0.003, 0.006, "that")
    row = loop_drift._compared("name", ours, peer, "peer", "ratio >= 2")
    assert row.value == 12.0
    assert row.ratio == pytest.approx(3.0)
    assert row.holds
    assert loop_drift._compared("name", ours, None, "peer", "ratio >= 2").holds is False
