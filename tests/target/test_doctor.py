"""What `doctor` finds, and what it says to do."""

from __future__ import annotations

import json
import subprocess
import sys

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
