"""What `doctor` says about memory, links, schedulers and accounts."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from cudaq_target import doctor, surroundings
from cudaq_target.fakes import FakeCloud


@pytest.fixture(autouse=True)
def _outside_of_jobs(monkeypatch, tmp_path) -> None:
    for name in list(os.environ):
        if name.startswith(("PASQAL_", "SLURM_", "SGE_")) or "QRMI" in name or name == "JOB_ID":
            monkeypatch.delenv(name)
    monkeypatch.setenv("PASQAL_CONFIG_ROOT", str(tmp_path))


def finding(name: str):
    return next(entry for entry in surroundings.examine() if entry.name == name)


def test_all_are_looked_at_and_gaps_have_remedies() -> None:
    found = surroundings.examine()
    assert all(entry.remedy for entry in found if entry.status != "ok")
    # Not the whole entries: what is free and how long an import takes is another figure each time.
    assert {entry.name for entry in found} <= {entry.name for entry in doctor.examine()}


def test_shared_memory_without_room(tmp_path, monkeypatch) -> None:
    usage = SimpleNamespace(total=64 << 20, free=1 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    entry = surroundings.shared_memory(tmp_path)
    assert entry.status == "off"
    assert entry.found.startswith(f"1 of 64 MiB free in {tmp_path}")
    assert "--shm-size" in entry.remedy


def test_no_shared_memory(tmp_path) -> None:
    entry = surroundings.shared_memory(tmp_path / "none")
    assert (entry.status, entry.remedy) == ("off", "Use ipc://")


def test_short_queues_of_udp_are_said(tmp_path) -> None:
    (tmp_path / "rmem_max").write_text("212992\n")
    assert "UDP queues 0.2 MiB of 4" in surroundings.sockets(tmp_path).found


def test_a_machine_without_loopback(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    entry = surroundings.sockets()
    assert entry.status == "off"
    assert "Operation not permitted" in entry.found


def test_priorities_that_are_not_allowed(monkeypatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (0, 0))
    monkeypatch.setattr(surroundings, "_may_raise_priority", lambda: False)
    entry = surroundings.real_time()
    assert entry.status == "off"
    assert "rtprio 99" in entry.remedy


def test_one_core_is_too_few(monkeypatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (99, 99))
    monkeypatch.setattr(surroundings, "_cores", lambda: {0})
    assert surroundings.real_time().found == "1 cores: server and caller take turns"


def test_the_qpu_of_a_job_and_no_secret_of_it(monkeypatch) -> None:
    pytest.importorskip("qrmi")
    with FakeCloud(seed=1) as cloud:
        environment = cloud.qrmi_environment("EMU_FREE")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SLURM_JOB_ID", "12")
        entry = finding("QPU of the job")
        assert not cloud.requests
    assert (entry.status, entry.found) == ("ok", "Slurm job 12: qrmi:EMU_FREE (pasqal-cloud)")
    shown = str(doctor.as_data(doctor.examine()))
    secrets = [value for name, value in environment.items() if name.endswith(("TOKEN", "SECRET"))]
    assert not [secret for secret in secrets if secret in shown]


def test_a_failed_hook_is_a_problem(monkeypatch) -> None:
    monkeypatch.setenv("QRMI_PLUGIN_ERROR", "no QPU today")
    entry = finding("QPU of the job")
    assert entry.status == "problem"
    assert "no QPU today" in entry.found


def test_a_job_without_a_qpu(monkeypatch) -> None:
    monkeypatch.setenv("SGE_TASK_ID", "undefined")
    monkeypatch.setenv("JOB_ID", "7")
    entry = finding("QPU of the job")
    assert entry.found.startswith("Grid Engine job 7: no QPU")
    assert entry.remedy.startswith("qsub -l qpu=NAME,qpu_slots=1 JOB.sh, where")
    monkeypatch.delenv("SGE_TASK_ID")
    assert " or qsub" in finding("QPU of the job").remedy
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    entry = finding("QPU of the job")
    assert entry.found.startswith("Slurm job 8: no QPU")
    assert entry.remedy.startswith("sbatch --gres=qpu:NAME JOB.sh, where")


def test_a_job_with_a_qpu_and_no_library_for_it(monkeypatch) -> None:
    with FakeCloud(seed=1) as cloud:
        for name, value in cloud.qrmi_environment("EMU_FREE").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(surroundings, "find_spec", lambda _: None)
        entry = finding("QPU of the job")
    assert entry.status == "problem"
    assert entry.found == "qrmi:EMU_FREE (pasqal-cloud), but no qrmi"
    assert entry.remedy == "pip install 'cudaq-target[qrmi]'"


def test_lists_of_a_job_that_do_not_fit_together(monkeypatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    monkeypatch.setenv("SLURM_JOB_QPU_RESOURCES", "one,two")
    monkeypatch.setenv("SLURM_JOB_QPU_TYPES", "pasqal-cloud")
    entry = finding("QPU of the job")
    assert entry.status == "problem"
    assert "2 resources (one, two)" in entry.found


def test_credentials_are_named_by_kind_alone(monkeypatch) -> None:
    monkeypatch.setenv("PASQAL_PROJECT_ID", "project-4711")
    monkeypatch.setenv("PASQAL_USERNAME", "ada")
    entry = finding("Pasqal Cloud")
    assert entry.status == "off"
    assert "PASQAL_PASSWORD is not" in entry.found
    monkeypatch.setenv("PASQAL_PASSWORD", "swordfish")
    entry = finding("Pasqal Cloud")
    assert entry.found == "project and a user name and password are set, and were not tried"


def test_a_file_of_credentials_that_others_can_read(tmp_path) -> None:
    (tmp_path / ".pasqal").mkdir()
    config = tmp_path / ".pasqal" / "config"
    config.write_text("project_id=p\ntoken=swordfish\n")
    config.chmod(0o644)
    entry = finding("Pasqal Cloud")
    assert entry.status == "off"
    assert f"chmod 600 {config}" in entry.remedy
    assert "swordfish" not in entry.found + entry.remedy


def test_records_of_jobs(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert finding("jobs").found.startswith(f"0 records in {tmp_path}")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "XDG_STATE_HOME" in surroundings.job_records().remedy


def test_telemetry_that_is_on(monkeypatch) -> None:
    monkeypatch.setenv("PASQAL_METRICS_PORT", "0")
    assert surroundings.telemetry().found == "PASQAL_METRICS_PORT=0"


def test_a_port_that_somebody_else_has(monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("PASQAL_METRICS_PORT", str(port))
        entry = surroundings.telemetry()
    assert entry.status == "off"
    assert entry.found.startswith(f"port {port} of 127.0.0.1 is taken")
    assert "export PASQAL_METRICS_PORT=0" in entry.remedy
    assert surroundings.telemetry().status == "ok"


def test_loops_that_are_not_compiled_yet(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert surroundings.compiled_loops().remedy == "cudaq-target warm-up"
    (tmp_path / "one.nbi").touch()
    assert surroundings.compiled_loops().status == "ok"


def test_time_of_the_import_is_measured() -> None:
    assert surroundings.import_time().found.endswith("ms beyond the standard library")


def test_unreadable_files_say_nothing() -> None:
    assert surroundings._text(Path("/proc/none")) == ""
