"""The demonstration: two loops over a controller, what they say, what they leave behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cudaq_target import cli, manifest
from cudaq_target import demo as h2
from cudaq_target.controller import controller
from cudaq_target.coupler import serve
from cudaq_target.coupler.loops.events import read_events

WORDS = ["demo", "--qubits", "2", "--shots", "300", "--error", "0.01", "--seed", "2"]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serve(controller(seed=1), "tcp://127.0.0.1:0") as server:
        yield str(server.endpoint)


def run(folder: Path, **given) -> h2.Result:
    return h2.run(picture=folder / "loop.png", report=folder / "loop.html", progress=False, **given)


@pytest.mark.parametrize("n_qubits", [2, 4])
def test_both_loops_find_the_ground_state(n_qubits: int, endpoint: str, tmp_path: Path) -> None:
    given = {"final_error_ha": 5e-3, "endpoint": endpoint, "events": tmp_path / "loop.jsonl"}
    result = run(tmp_path, n_qubits=n_qubits, seed=3, **given)
    assert result.is_within_tolerance
    for path in (result.streamed_path, result.fixed_path):
        assert path[0][1] > 0.5
        assert 0.0 <= path[-1][1] < 0.01
        assert [n for n, _ in path] == sorted(n for n, _ in path)
    fixed, streamed = result.fixed.estimate, result.streamed.estimate
    assert fixed.standard_error == pytest.approx(streamed.standard_error, rel=0.3)
    assert (tmp_path / "loop.png").stat().st_size > 10_000
    assert "Ha" in (tmp_path / "loop.html").read_text()
    assert f"{n_qubits} qubits on DigitalAnalogDevice, machine local" in result.text()
    assert list(read_events(tmp_path / "loop.jsonl"))[-1]["status"] == "done"


def test_the_loops_are_reproducible(endpoint: str, tmp_path: Path) -> None:
    given = {"n_qubits": 2, "n_shots": 100, "seed": 9, "final_error_ha": 0.02}
    first, second = (run(tmp_path, endpoint=endpoint, **given) for _ in range(2))
    for name in ("streamed", "fixed"):
        assert getattr(first, name).point == getattr(second, name).point
        assert getattr(first, name).estimate == getattr(second, name).estimate


def test_command(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*WORDS, "--json", "--no-progress", "--manifest", "manifest.json"]
    assert cli.main(words) == 0
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    found = manifest.read("manifest.json")
    assert (found.loop["name"], found.result.value) == ("vqe", content["streamed"]["energy"])
    assert captured.err == ""
    assert content["is_within_tolerance"]
    assert content["fixed"]["n_search"] == 300 * 2 * 7
    assert content["saved"] == pytest.approx(4200 / content["streamed"]["n_search"])
    assert content["streamed"]["rtt_ns"]["p50"] > 0
    assert Path(content["picture"]).is_file()
    assert Path(content["report"]).is_file()


def test_progress_and_a_running_controller(
    endpoint: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([*WORDS, "--endpoint", endpoint, "--progress"]) == 0
    captured = capsys.readouterr()
    assert "energy of H2" in captured.err
    assert "times fewer" in captured.out


def test_a_wrong_energy_fails(endpoint: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(h2.Result, "tolerance_ha", 1e-9)
    assert cli.main([*WORDS, "--endpoint", endpoint, "--no-progress"]) == 1


def test_bad_input(capsys) -> None:
    assert cli.main(["demo", "--qubits", "3"]) == 2
    assert "Give 2 or 4" in capsys.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_ctrl_c_ends_the_controller_too(tmp_path: Path) -> None:
    events = tmp_path / "loop.jsonl"
    # So many shots that it would take minutes.
    words = ["demo", "--error", "1e-5", "--events", str(events), "--no-progress"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cudaq_target", *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not (events.is_file() and '"step"' in events.read_text()):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.1)
        (child,) = _children(process.pid)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode not in (0, None)
        assert not Path(f"/proc/{child}").exists()
        assert list(read_events(events))[-1]["status"] == "interrupted"
    finally:
        process.kill()
        process.communicate()


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for one in tasks.glob("*/children") for child in one.read_text().split()]
