"""Decoders beside those of other packages: what is missing is said, what differs is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import cudaq_qec_peer, decoders, report

pytest.importorskip("stim")
pytest.importorskip("pymatching")


def test_what_is_not_installed_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudaq_qec_peer, "is_installed", lambda: False)
    rows = list(decoders.decoder_rows(500, 1))
    missing = [row for row in rows if row.value is None]
    assert [row.name.partition(" ")[0] for row in missing] == [
        *("union-find", "look-up", "belief", "union-find", "union-find")
    ]
    assert all("cudaq-qec" in row.name and "installs it" in row.note for row in missing)
    assert any("PyMatching" in (row.peer or "") for row in rows)


def test_tables_of_cudaq_qec_give_the_same_corrections() -> None:
    pytest.importorskip("cudaq_qec")
    rows = list(decoders.look_up_rows(decoders._experiment(3, 2000), 1))
    (same,) = [row for row in rows if row.is_correctness]
    assert same.holds
    assert any("multi_error_lut" in (row.peer or "") for row in rows)


def test_other_corrections_are_a_wrong_result() -> None:
    ours = np.array([[1], [0], [1]], dtype=np.uint64)
    row = decoders.same_corrections_row(ours, np.array([[1], [1], [1]], dtype=np.uint8))
    assert (row.value, row.holds) == (1, False)
    assert not report.Report("kernels", (row,), "").is_correct
