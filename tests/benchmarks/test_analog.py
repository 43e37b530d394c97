"""The benchmark of the analog emulator keeps its output contract, with peers and without."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import analog, run
from benchmarks.report import Row

KEYS = ["name", "value", "unit", "peer", "ratio", "reach", "holds"]
# CUDA-Q announces changes of `sample` whenever it is loaded.
pytestmark = pytest.mark.filterwarnings("default")


def public(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(row.public()))
    assert list(found) == KEYS
    assert found["holds"] is None or found["reach"] is not None
    return found


def test_the_reference_is_right() -> None:
    row = analog.reference_row()
    assert public(row)["holds"]
    assert row.is_correctness


def test_a_peer_that_is_installed() -> None:
    pytest.importorskip("pulser_simulation")
    row = public(analog.peer_row("pulser-simulation", 10, Path(sys.executable), 1))
    assert row["ratio"] is not None
    assert "max |ΔP|" in row["name"]


def test_peers_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(analog.PEER_VARIABLE, raising=False)
    alone = analog.peer_row("emu-sv", 10, None, 1)
    assert public(alone)["value"] is not None
    assert (alone.ratio, alone.holds) == (None, None)
    assert "--peer-python" in alone.note
    missing = analog.peer_row("emu-sv", 10, Path("/no/such/python"), 1)
    assert (missing.value, missing.holds) == (None, None)
    assert "could not run: /no/such/python" in missing.note


def test_loops_take_turns_and_state_their_error() -> None:
    import cudaq

    try:
        row = analog.loop_row(2)
    finally:
        cudaq.reset_target()
    assert public(row)["ratio"] is not None
    assert len(row.samples) == 2
    assert "max |ΔP| <= 7e-04" in str(row.reach)


def test_sizes_and_shots_without_a_peer() -> None:
    large = public(analog.large_row(10))
    assert large["holds"]
    assert public(analog.shots_row(10))["ratio"] is not None


def test_errors_are_the_largest_of_all_probabilities() -> None:
    exact = analog.reference(analog.DENSE_ATOMS)
    other = exact.copy()
    other[3] += 0.25
    assert analog.error_of(other, analog.DENSE_ATOMS) == pytest.approx(0.25)
    assert np.isclose(exact.sum(), 1.0)


def test_the_command_names_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analog, "rows", lambda _quick, **_: iter([analog.large_row(4)]))
    report, _ = run.measure("analog", True, peer_python=Path("/no/such/python"))
    assert report.command == "python -m benchmarks.run analog --quick"
    assert "/no/such" not in json.dumps(report.record())
