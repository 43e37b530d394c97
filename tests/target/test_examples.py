"""Every script in `examples/` runs, with short settings, and finds what it should."""

from __future__ import annotations

import importlib
import math
import os
import runpy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cudaq
import pytest

from cudaq_target.fakes import FakeCloud
from cudaq_target.loops.controller_process import controller_process

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


def test_latency_on_your_node(capsys) -> None:
    results = main_of("latency_on_your_node", as_module=True)(200)
    assert {name: found.n_values for name, found in results.items()} == {"shm": 200, "ipc": 200}
    assert "200 round trips of 64 bytes" in capsys.readouterr().out


def test_laptop_to_slurm(monkeypatch, capsys) -> None:
    """On a laptop, on a controller, and in a job that has the stand-in of the cloud's emulator."""
    for name in [name for name in os.environ if name.startswith("CUDAQ_TARGET_") or "QRMI" in name]:
        monkeypatch.delenv(name)
    run = main_of("laptop_to_slurm")
    assert run()[0] == "local"
    with monkeypatch.context() as patch, controller_process(seed=1) as endpoint:
        patch.setenv("CUDAQ_TARGET_MACHINE", endpoint)
        assert run()[0] == endpoint
        cudaq.set_target("qpp-cpu")
    with monkeypatch.context() as patch, FakeCloud(seed=1) as cloud:
        for name, value in cloud.qrmi_environment("EMU_FREE").items():
            patch.setenv(name, value)
        patch.setenv("SLURM_JOB_ID", "12")
        machine, energy = run()
        cudaq.set_target("qpp-cpu")
    assert machine == "qrmi"
    assert abs(energy - (1.0 + 0.5 * math.sin(1.2))) < 0.2
    assert "in Slurm's job 12, on qrmi: {" in capsys.readouterr().out


def test_job_scripts_call_the_program_of_their_name() -> None:
    for script in FOLDER.glob("*.sh"):
        assert os.access(script, os.X_OK)
        assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
        assert f"exec python examples/{script.stem}.py" in script.read_text()


def test_every_example_is_tested() -> None:
    tests = "".join(path.read_text() for path in FOLDER.with_name("tests").rglob("test_*.py"))
    assert not {path.stem for path in FOLDER.glob("*.py") if path.stem not in tests}


def test_the_list_names_every_example() -> None:
    text = (FOLDER / "README.md").read_text()
    names = {path.name for path in FOLDER.iterdir() if path.suffix in (".py", ".ipynb", ".sh")}
    assert not {name for name in names if f"({name})" not in text}


def test_drift_tracking(tmp_path: Path, capsys) -> None:
    error, with_feedback, without = main_of("drift_tracking")(450, tmp_path / "drift.png")
    assert error < 0.005
    assert with_feedback < 0.01 < without
    assert (tmp_path / "drift.png").stat().st_size > 10_000
    assert "probe shots beside" in capsys.readouterr().out
