"""Every script in `examples/` runs, with short settings, and finds what it should."""

from __future__ import annotations

import importlib
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.usefixtures("stock_target")


def main_of(name: str, *, as_module: bool = False) -> Callable[..., Any]:
    """The function `main` of an example; as a module where it starts processes of its own."""
    if as_module:
        return importlib.import_module(f"examples.{name}").main
    return runpy.run_path(str(FOLDER / f"{name}.py"))["main"]


def test_look_inside(tmp_path: Path, capsys) -> None:
    program = main_of("look_inside")(3, tmp_path)
    assert program.stats.n_entangling == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ghz.json", "ghz.png"]
    assert "000:" in capsys.readouterr().out


def test_h2_vqe(tmp_path: Path) -> None:
    results = main_of("h2_vqe")(400, tmp_path, 0.01)
    assert [result.streamed.problem.n_qubits for result in results] == [2, 4]
    assert all(result.is_within_tolerance for result in results)
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_vqe_streaming(capsys) -> None:
    results = main_of("vqe_streaming")(2, 0.05)
    for streamed, fixed in results.values():
        assert abs(streamed.error) <= 5.0 * streamed.estimate.standard_error
        assert streamed.n_search < fixed.n_search
    assert "Heisenberg chain, 4 qubits, fixed" in capsys.readouterr().out


def test_maxcut_qaoa() -> None:
    random_guess = 0.5
    assert main_of("maxcut_qaoa")(1, 500, 25) > random_guess + 0.1


def test_qft_bind() -> None:
    assert main_of("qft_bind")(3, 500).stats.n_qubits == 3


def test_coupler_decoder(capsys) -> None:
    assert main_of("coupler_decoder", as_module=True)(200).n_values == 200
    assert "200 corrections over shm://decoder-" in capsys.readouterr().out


def test_coupler_stream() -> None:
    assert main_of("coupler_stream")(2000) == (1000, 1000)


def test_analog_z2_chain(tmp_path: Path, capsys) -> None:
    assert main_of("analog_z2_chain")(7, 500, tmp_path) > 0.85
    assert len(list(tmp_path.glob("analog-*.png"))) == 3
    assert "1010101" in capsys.readouterr().out


def test_analog_mis(capsys) -> None:
    results = main_of("analog_mis")(400, 20)
    assert len(results) == 3
    for share, before, after in results.values():
        assert share > 0.75
        assert after >= before
    assert any(after > before + 0.1 for _, before, after in results.values())
    assert "ladder of 3 rungs: optimum 3" in capsys.readouterr().out


def test_mis_loop(capsys) -> None:
    results = main_of("mis_loop")(15)
    assert [len(one.best) for one in results.values()] == [2, 3, 4]
    assert all(one.loop.n_saved > 0 for one in results.values())
    assert "ladder: independent set of 3 vertices" in capsys.readouterr().out


def test_qec_memory(capsys) -> None:
    results = main_of("qec_memory")(100)
    assert [one.n_shots for one in results] == [100, 100]
    assert not any(one.n_disagreements for one in results)
    assert "surface code of distance 3, 3 rounds, p = 0.003" in capsys.readouterr().out


def test_every_example_is_tested() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in FOLDER.glob("*.py")} <= tested


def test_drift_tracking(tmp_path: Path, capsys) -> None:
    error, with_feedback, without = main_of("drift_tracking")(450, tmp_path / "drift.png")
    assert error < 0.005
    assert with_feedback < 0.01 < without
    assert (tmp_path / "drift.png").stat().st_size > 10_000
    assert "probe shots beside" in capsys.readouterr().out
