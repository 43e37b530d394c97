"""The GPU benchmark without a GPU: rows that say why, and its client against the CPU."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks import gpu, gpu_analog, gpu_node
from benchmarks.gpu_dispatch import RoundTripError, round_trips
from cudaq_target.kernels.backends import gpu_missing

WITHOUT_GPU = pytest.mark.skipif(not gpu_missing(), reason="there is a GPU")


@WITHOUT_GPU
def test_without_a_gpu_every_row_says_why() -> None:
    rows = gpu.rows(quick=True)
    names = {row.name for row in rows}
    assert {*gpu.BANDWIDTH_KERNELS, "dispatch round trip p50", *gpu_analog.names()} <= names
    for row in rows:
        assert row.value is None
        assert row.holds is None
        assert row.note.startswith("not run: this machine lacks")


def test_a_rate_is_compared_with_the_copy() -> None:
    row = gpu.bandwidth_row("occupation", (0.5, 1.0, 2.0), 10**9, 1.6, "")
    assert (row.value, row.ratio, row.holds) == (1.0, pytest.approx(0.625), True)
    assert gpu.bandwidth_row("occupation", (1.0,), 10**9, 2.1, "").holds is False


def test_a_layer_is_unitary_and_compared_with_the_cpu() -> None:
    state = np.full(1 << 5, 2.0**-2.5, dtype=np.complex128)
    gpu.layer(state, 5, gpu.random_rotations(5), None)
    assert np.linalg.norm(state) == pytest.approx(1.0)
    row = gpu.emulator_row("layer", (0.1, 0.2, 0.3), 5.0)
    assert (row.value, row.ratio, row.holds) == (0.2, pytest.approx(25.0), True)
    assert gpu.emulator_row("layer", (0.1,), None).holds is None


def test_a_sweep_is_compared_with_the_cpu() -> None:
    assert gpu_analog.row("sweep", (0.1, 0.2, 0.3), 5.0, 150.0).ratio == pytest.approx(25.0)
    assert gpu_analog.row("sweep", (0.1,), None, 150.0).ratio is None
    assert gpu_analog.sweep(14).n_atoms == 14
    assert set(gpu_analog.CPU_NS) == set(gpu_analog.ATOMS)


def test_round_trips_are_all_answered_and_verified() -> None:
    times_ns, n_wrong = round_trips("cpu", 500, 32)
    assert n_wrong == 0
    assert (times_ns > 0).all()


@WITHOUT_GPU
def test_a_server_that_does_not_start_is_said() -> None:
    with pytest.raises(RoundTripError, match="the gpu server did not start"):
        round_trips("gpu", 1, 32)


def test_a_node_gets_what_it_runs(tmp_path) -> None:
    gpu_node.lay_out(tmp_path / "stage")
    for part in (
        "cudaq_target/coupler/shm.py",
        "cudaq_target/kernels/gpu/dispatch.cu",
        "benchmarks/gpu_round_trip.cpp",
        "coupler/native/slot_ring.hpp",
        "tests/kernels/test_gpu_device.py",
        "tests/target/test_emulator_gpu.py",
        "cudaq_target/emulator/analog/integrate.py",
        "tests/conftest.py",
        "pyproject.toml",
    ):
        assert (tmp_path / "stage" / part).is_file(), part
    files = gpu_node.test_files(tmp_path / "stage")
    assert "tests/target/test_emulator_gpu.py" in files
    ordered = [file for file in files if "kernels" in file]
    assert ordered[0] != "tests/kernels/test_gpu_device_dispatch.py" == files[-1]
    log = tmp_path / "log.txt"
    assert gpu_node.run([sys.executable, "-c", "print('said')"], tmp_path, log, 60.0) == 0
    assert log.read_text().endswith("\nsaid\n")
    assert gpu_node.run(["no such program"], tmp_path, log, 60.0) == 127
    assert gpu_node.run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path, log, 60.0) == 3
    hangs = [sys.executable, "-c", "import time; time.sleep(600)"]
    assert gpu_node.run(hangs, tmp_path, log, 0.2) == gpu_node.CUT_SHORT
    assert "cut short" in log.read_text()


def test_a_part_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_size: gpu.Size) -> list:
        raise OSError("the device is gone")

    monkeypatch.setattr(gpu, "gpu_missing", lambda: "")
    monkeypatch.setattr(gpu, "kernel_rows", lost)
    monkeypatch.setattr(gpu, "dispatch_rows", lambda _: [gpu.emulator_row("one", (1.0,), None)])
    monkeypatch.setattr(gpu, "emulator_rows", lambda _size, _end: [])
    monkeypatch.setattr(gpu, "analog_rows", lambda _size, _end: [])
    kept = []
    rows = gpu.rows(quick=True, keep=lambda found: kept.append(len(found)))
    assert kept == [1, 2, 2, 2]
    assert rows[0].holds is False
    assert rows[0].note == "failed: OSError: the device is gone"
