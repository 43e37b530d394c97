"""What `doctor` finds, and what it says to do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cudaq_target import doctor


def finding(name: str) -> doctor.Finding:
    return next(entry for entry in doctor.examine() if entry.name == name)


def test_every_problem_has_a_remedy() -> None:
    findings = doctor.examine()
    assert all(entry.remedy for entry in findings if entry.status == "problem")
    assert len({entry.name for entry in findings}) == len(findings)
    assert len(doctor.as_data(findings)) == len(findings)


def test_both_flavours_of_cudaq_are_a_problem(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda _: "0.16.0")
    entry = finding("CUDA-Q flavours")
    assert entry.status == "problem"
    assert "cuda-quantum-cu12 and cuda-quantum-cu13 overwrite" in entry.found
    assert "pip uninstall -y cuda-quantum-cu12 cuda-quantum-cu13" in entry.remedy


def test_missing_packages_are_named_with_their_command(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda _: None)
    findings = {entry.name: entry for entry in doctor.examine()}
    assert findings["numba"].status == "problem"
    assert findings["numba"].remedy == "pip install numba"
    assert findings["matplotlib"].status == "off"
    assert findings["matplotlib"].remedy == "pip install 'cudaq-target[draw]'"
    assert not doctor.is_healthy(tuple(findings.values()))


def test_wrong_settings_are_a_problem(monkeypatch) -> None:
    monkeypatch.setenv("CUDAQ_TARGET_MACHIN", "local")
    entry = finding("settings")
    assert entry.status == "problem"
    assert "CUDAQ_TARGET_MACHINE" in entry.found


def test_cache_kept_in_memory_only_is_no_problem(monkeypatch) -> None:
    monkeypatch.setenv("CUDAQ_TARGET_CACHE_DIR", "off")
    assert finding("pulse cache").status == "off"


def test_unwritable_cache_directory_is_a_problem(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CUDAQ_TARGET_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("os.access", lambda *_: False)
    entry = finding("pulse cache")
    assert entry.status == "problem"
    assert f"{tmp_path} is not writable" in entry.found


def test_effective_settings_are_shown(monkeypatch) -> None:
    monkeypatch.setenv("CUDAQ_TARGET_DEVICE", "MockDevice")
    monkeypatch.setenv("CUDAQ_TARGET_SHOTS", "77")
    assert "device=MockDevice" in finding("settings").found
    assert "shots=77" in finding("settings").found


class Driver:
    """What `libcuda.so.1` answers."""

    def __init__(self, n_gpus: int, version: int) -> None:
        self.n_gpus, self.version = n_gpus, version

    def cuInit(self, _: int) -> int:  # noqa: N802 - of CUDA
        return 0 if self.n_gpus else 100

    def cuDeviceGetCount(self, count) -> int:  # noqa: N802 - of CUDA
        count._obj.value = self.n_gpus
        return 0

    def cuDriverGetVersion(self, version) -> int:  # noqa: N802 - of CUDA
        version._obj.value = self.version
        return 0


@pytest.mark.parametrize(
    ("driver", "present", "status", "found", "remedy"),
    [
        (None, (), "off", "no NVIDIA driver; no CuPy; nothing here needs one", ""),
        (Driver(0, 12040), (), "off", "the driver finds no GPU", ""),
        (Driver(2, 12040), ("cuda-quantum-cu12", "cupy-cuda12x"), "ok", "2 found, driver for CUDA"
         " 12.4; cupy-cuda12x 1", ""),
        (Driver(1, 13000), ("cuda-quantum-cu12", "cupy-cuda12x"), "ok", "CUDA 13.0", ""),
        (Driver(1, 12040), ("cuda-quantum-cu13", "cupy-cuda13x"), "off", "cuda-quantum-cu13 needs "
         "a driver for CUDA 13", "pip uninstall -y cuda-quantum-cu13 cupy-cuda13x; pip install "
         "'cudaq-target[cu12]'"),
        (Driver(1, 12040), ("cuda-quantum-cu12",), "off", "no CuPy; kernels run on the CPU",
         "pip install 'cudaq-target[cu12]'"),
        (Driver(1, 13000), ("cuda-quantum-cu13",), "off", "no CuPy; kernels run on the CPU",
         "pip install 'cudaq-target[cu13]'"),
    ],
)  # fmt: skip
def test_gpus_drivers_and_flavours(monkeypatch, driver, present, status, found, remedy) -> None:
    def load(_: str) -> Driver:
        if driver is None:
            raise OSError("libcuda.so.1: cannot open shared object file")
        return driver

    flavour = next((name for name in present if name.startswith("cuda-quantum")), None)
    monkeypatch.setattr(doctor, "_version", lambda name: "1" if name in present else None)
    monkeypatch.setattr(doctor.host, "installed", lambda: (flavour, "0.16.0"))
    monkeypatch.setattr(doctor.ctypes, "CDLL", load)
    entry = doctor._gpu()
    assert (entry.status, entry.remedy) == (status, remedy)
    assert found in entry.found


def test_the_command_that_installs_again_is_that_of_this_installation(monkeypatch) -> None:
    class Installed:
        text: str | None = '{"url": "file:///src/one", "dir_info": {"editable": true}}'

        def read_text(self, _: str) -> str | None:
            return self.text

    monkeypatch.setattr(doctor.metadata, "distribution", lambda _: Installed())
    assert doctor._again() == "pip install --no-deps -e /src/one"
    Installed.text = '{"url": "file:///dist/one.whl", "archive_info": {}}'
    assert doctor._again() == "pip install --no-deps --force-reinstall /dist/one.whl"
    Installed.text = None
    assert doctor._again() == "pip install --no-deps --force-reinstall cudaq-target"


def test_doctor_starts_where_everything_is_missing() -> None:
    code = (
        "import sys\n"
        "for name in ('cudaq', 'matplotlib', 'numba', 'pulser', 'qiskit', 'rich', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "from cudaq_target.cli import main\n"
        "sys.exit(main(['doctor', '--json']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert json.loads(done.stdout)["findings"], done.stderr
