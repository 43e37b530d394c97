"""Curves of how cost grows: fits are right, every part keeps its contract, wrong results fail."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import scaling_compile, scaling_coupler, scaling_emulator, scaling_loop
from benchmarks import scaling_fit as fit
from benchmarks.report import Report
from benchmarks.scaling_pictures import PICTURES, draw


def test_fits_find_the_law_that_made_the_points() -> None:
    sizes = [3.0, 10.0, 47.0, 200.0]
    assert fit.exponent(sizes, [0.2 * n**1.4 for n in sizes]) == pytest.approx(1.4)
    assert fit.growth(sizes, [0.2 * 1.07**n for n in sizes]) == pytest.approx(1.07)


def test_repeats_end_with_their_budget() -> None:
    calls: list[int] = []
    assert len(fit.repeated(lambda: calls.append(1), budget_s=60.0, most=4)) == 4
    assert len(calls) == 5
    assert len(fit.repeated(lambda: calls.append(1), budget_s=0.0)) == 1


def test_emulated_gates_and_sweeps_agree_with_the_peer() -> None:
    (gates,) = scaling_emulator.gate_lines((2,), 0.0, peer_up_to=2)
    (sweep,) = scaling_emulator.sweep_lines((4,), 0.0, peer_up_to=4)
    assert gates["peer_ms"] > 0.0
    row = scaling_emulator.agreement_row([sweep])
    assert row.is_correctness
    assert row.holds
    assert not scaling_emulator.agreement_row([sweep | {"apart": 1e-2}]).holds


def test_a_run_that_takes_more_than_foreseen_is_a_wrong_result() -> None:
    line = {"kind": "gates", "n": 24, "peak_mib": 300.0, "estimate_mib": 384.0, "state_mib": 256.0}
    assert all(row.holds for row in scaling_emulator.memory_rows([line]))
    (row,) = scaling_emulator.memory_rows([line | {"peak_mib": 385.0}])
    assert row.is_correctness
    assert row.holds is False
    assert not Report("scaling-emulator", (row,), "").is_correct


def test_random_gates_are_those_of_their_seed_and_compile_to_their_unitary() -> None:
    one, again = (scaling_compile.random_gates(4, 40, np.random.default_rng(2)) for _ in range(2))
    assert repr(one.gates) == repr(again.gates)
    assert len(one.gates) == 40
    assert scaling_compile.error_row(n_gates=60).holds


def test_every_transport_answers_several_clients() -> None:
    measurement = scaling_coupler.measured_cells((64,), (2,), for_s=0.05)
    lines = measurement.sections["coupler_clients"]
    assert [line["transport"] for line in lines] == list(scaling_coupler.TRANSPORTS)
    assert all(line["calls"] > 0 for line in lines)
    assert measurement.rows[-1].holds
    assert not scaling_coupler.wrong_row([lines[0] | {"wrong": 1}]).holds


def test_a_step_gives_the_energy_of_its_shots() -> None:
    assert len(scaling_loop.products_of_z(1023)) == 1023
    assert len(scaling_loop.bases(16)) == 16
    cases = scaling_loop.cases((2,), (16,), (2,))
    lines = list(scaling_loop.place_lines("inproc", cases, n_blocks=1, n_steps=3))
    row = scaling_loop.error_row(lines)
    assert row.is_correctness
    assert row.holds
    assert not scaling_loop.error_row([lines[0] | {"error": 1e-3}]).holds


def test_all_parts_have_a_picture(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert list(PICTURES) == ["emulator", "compile", "coupler", "loop"]
    line = {"place": "shm", "n": 2, "median_ms": 0.2}
    steps = [
        line | {"over": over, "n": n} for over in ("qubits", "terms", "settings") for n in (1, 2)
    ]
    record = {"machine": {"cpu": "a", "cores": 2}, "date": "today", "loop_steps": steps}
    draw("loop", json.loads(json.dumps(record)), tmp_path / "loop.png")
    assert (tmp_path / "loop.png").stat().st_size > 10_000
