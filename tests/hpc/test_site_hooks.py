"""The packed hook as schedulers run it, with a Warden's stand-in and the stub of MUNGE."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cudaq_target.errors import OptionError
from cudaq_target.fakes import FakeCloud, FakeWarden, munge
from cudaq_target.site import pack
from tests.hpc.test_site_requests import qstat

CANARY = "canary-81c2"
LIMIT_S = 60.0


@dataclass(frozen=True)
class Site:
    """An installed hook, and the services behind it."""

    directory: Path
    warden: FakeWarden
    cloud: FakeCloud

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def asks(self, gres: str, comment: str = "(null)") -> None:
        """Let `squeue` say what job 41 asks for."""
        script = self.directory / "bin" / "squeue"
        script.write_text(f"#!/bin/sh\nprintf '%s' '41|10:00|{gres}|{comment}'\n")
        script.chmod(0o755)

    def run(
        self, entry: str, *command: str, given: str | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.directory / entry), *command],
            env={**os.environ, **munge.stub_environment(), **variables},
            input=given,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def slurm(self, entry: str, **variables: str) -> subprocess.CompletedProcess[str]:
        ids = {"SLURM_JOB_ID": "41", "SLURM_JOB_UID": str(os.getuid())}
        return self.run(f"slurm_{entry}", **ids, **variables)

    def open_sessions(self) -> list[str]:
        return [one.id for one in self.warden.sessions.values() if one.revoked_s is None]


def variables(output: str) -> dict[str, str]:
    lines = [line[7:] for line in output.splitlines() if line.startswith("export ")]
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with (
        FakeWarden(engine="zeros", credentials="stub") as warden,
        FakeCloud(engine="zeros") as cloud,
    ):
        directory = tmp_path / "etc"
        pack.install(directory, user_python=sys.executable)
        (directory / "bin").mkdir()
        config = cloud.qrmi_config() | {"QRMI_PASQAL_CLOUD_AUTH_TOKEN": CANARY}
        resources = [
            ("fresnel1", "pasqal-local", {"QRMI_WARDEN_URL": warden.url}),
            ("fresnel2", "pasqal-local", {"QRMI_WARDEN_URL": warden.url}),
            ("EMU_FREE", "pasqal-cloud", config),
        ]
        keys = ("name", "type", "environment")
        entries = [dict(zip(keys, values, strict=True)) for values in resources]
        (directory / "qrmi_config.json").write_text(json.dumps({"resources": entries}))
        settings = {
            "state_dir": str(directory / "state"),
            "timeout_s": 20,
            "environment": {
                "PATH": f"{directory / 'bin'}:/usr/bin:/bin",
                munge.UID_VARIABLE: "0",
            },
        }
        (directory / "qpu_hook.json").write_text(json.dumps(settings))
        yield Site(directory, warden, cloud)


def test_a_job_gets_its_session_and_gives_it_back(site: Site) -> None:
    site.asks("gres:qpu:fresnel1:1,qpu:EMU_FREE:1")
    assert site.slurm("prolog").returncode == 0
    (session,) = site.warden.sessions.values()
    assert (session.user_id, session.slurm_job_id) == (str(os.getuid()), "41")
    assert stat.S_IMODE(site.state.stat().st_mode) == 0o711
    assert stat.S_IMODE((site.state / "41.json").stat().st_mode) == 0o400
    assert stat.S_IMODE((site.state / "41.sessions").stat().st_mode) == 0o600
    task = site.slurm("task_prolog", EMU_FREE_QRMI_PASQAL_CLOUD_PROJECT_ID="mine")
    seen = variables(task.stdout)
    assert task.returncode == 0
    assert seen["QRMI_JOB_QPU_RESOURCES"] == "fresnel1,EMU_FREE"
    assert seen["fresnel1_QRMI_JOB_ACQUISITION_TOKEN"] == session.id
    assert seen["fresnel1_QRMI_JOB_TIMEOUT_SECONDS"] == "600"
    assert seen["EMU_FREE_QRMI_PASQAL_CLOUD_AUTH_TOKEN"] == CANARY
    assert "EMU_FREE_QRMI_PASQAL_CLOUD_PROJECT_ID" not in seen
    assert site.slurm("epilog").returncode == 0
    assert site.open_sessions() == []
    assert list(site.state.iterdir()) == []


def test_a_job_on_two_nodes_has_one_session(site: Site) -> None:
    site.asks("gres:qpu:fresnel1:1")
    for _ in range(2):
        assert site.slurm("prolog").returncode == 0
    assert len(site.warden.sessions) == 1
    for _ in range(2):
        assert site.slurm("epilog").returncode == 0
    assert len(site.warden.asked("sessions.revoke")) == 1


def test_a_job_without_qpu_is_left_alone(site: Site) -> None:
    site.asks("N/A")
    for entry in ("prolog", "task_prolog", "epilog"):
        done = site.slurm(entry)
        assert (done.returncode, done.stdout) == (0, "")
    assert site.warden.requests == site.cloud.requests == []


@pytest.mark.parametrize(
    ("gres", "reason"),
    [
        (
            "gres:qpu:nope:1",
            "unknown QPU resource nope; this site has: fresnel1, fresnel2, EMU_FREE",
        ),
        ("gres:qpu:1", "without its name: --gres=qpu:NAME"),
    ],
)
def test_the_job_fails_and_the_prolog_does_not(site: Site, gres: str, reason: str) -> None:
    site.asks(gres)
    assert site.slurm("prolog").returncode == 0
    task = site.slurm("task_prolog")
    assert task.returncode == 1
    assert reason in variables(task.stdout)["QRMI_PLUGIN_ERROR"]
    assert f"print QPU: {variables(task.stdout)['QRMI_PLUGIN_ERROR']}" in task.stdout
    assert site.slurm("epilog").returncode == 0
    assert list(site.state.iterdir()) == []


def test_a_qpu_out_of_reach_is_said(site: Site) -> None:
    site.asks("gres:qpu:EMU_FREE:1")
    site.cloud.availability["EMU_FREE"] = "MAINTENANCE"
    assert site.slurm("prolog").returncode == 0
    task = site.slurm("task_prolog")
    assert task.returncode == 1
    assert "EMU_FREE is not accessible" in variables(task.stdout)["QRMI_PLUGIN_ERROR"]


def test_all_or_nothing(site: Site) -> None:
    site.asks("gres:qpu:fresnel1:1,qpu:fresnel2:1")
    site.warden.fault("sessions.create", 500, after=1)
    assert site.slurm("prolog").returncode == 0
    assert site.slurm("task_prolog").returncode == 1
    assert len(site.warden.sessions) == 1
    assert site.open_sessions() == []


def test_secrets_show_in_no_output(site: Site) -> None:
    site.asks("gres:qpu:EMU_FREE:1,qpu:fresnel1:1")
    site.warden.fault("sessions.create", 500)
    outputs = [site.slurm(entry) for entry in ("prolog", "epilog")]
    assert all(CANARY not in done.stdout + done.stderr for done in outputs)


def test_what_an_epilog_cannot_close_a_later_one_does(site: Site) -> None:
    site.asks("gres:qpu:fresnel1:1")
    site.slurm("prolog")
    site.warden.fault("sessions.revoke", 500)
    done = site.slurm("epilog")
    assert done.returncode == 0
    assert "job 41: a session of fresnel1 stays open" in done.stderr
    assert [path.name for path in site.state.iterdir()] == ["41.unreleased"]
    assert site.slurm("epilog").returncode == 0
    assert site.open_sessions() == []
    assert list(site.state.iterdir()) == []


def test_squeue_out_of_reach_is_told_and_the_job_runs(site: Site) -> None:
    (site.directory / "bin" / "squeue").write_text("#!/bin/sh\necho down >&2; exit 1\n")
    (site.directory / "bin" / "squeue").chmod(0o755)
    assert site.slurm("prolog").returncode == 0
    task = site.slurm("task_prolog")
    assert task.returncode == 0
    assert variables(task.stdout) == {"QRMI_PLUGIN_ERROR": "squeue: down"}


def test_broken_files_fail_no_prolog(site: Site) -> None:
    site.asks("gres:qpu:fresnel1:1")
    (site.directory / "qrmi_config.json").write_text("{")
    assert site.slurm("prolog").returncode == 0
    assert "not JSON" in variables(site.slurm("task_prolog").stdout)["QRMI_PLUGIN_ERROR"]
    (site.directory / "qpu_hook.json").write_text("{")
    assert [site.slurm(entry).returncode for entry in ("prolog", "epilog")] == [0, 0]


def grid_engine_job(site: Site, name: str) -> dict[str, str]:
    """Make the spool directory of job 41.2, which asks for a resource."""
    owner = pwd.getpwuid(os.getuid()).pw_name
    spool = site.directory / "spool"
    spool.mkdir()
    (spool / "config").write_text(f"job_owner={owner}\n")
    (spool / "environment").write_text("JOB_ID=41\nHOME=/\n")
    script = site.directory / "bin" / "qstat"
    (spool / "record").write_text(qstat(qpu=name, h_rt="600"))
    script.write_text(f"#!/bin/sh\ncat {spool / 'record'}\n")
    script.chmod(0o755)
    return {"SGE_JOB_SPOOL_DIR": str(spool), "JOB_ID": "41", "SGE_TASK_ID": "2"}


def test_grid_engine_s_hooks_write_the_same_variables(site: Site) -> None:
    job = grid_engine_job(site, "fresnel1")
    assert site.run("sge_prolog", **job).returncode == 0
    (session,) = site.warden.sessions.values()
    assert session.slurm_job_id == "41.2"
    path = site.directory / "spool" / "environment"
    seen = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert seen["HOME"] == "/"
    site.asks("gres:qpu:fresnel1:1")
    site.slurm("prolog")
    slurm = variables(site.slurm("task_prolog").stdout)
    assert set(slurm) == set(seen) - {"HOME", "JOB_ID"}
    differing = {name for name in slurm if slurm[name] != seen[name]}
    assert differing == {"QRMI_JOB_ID", "fresnel1_QRMI_JOB_ACQUISITION_TOKEN"}
    assert site.run("sge_epilog", **job).returncode == 0
    assert site.warden.sessions[session.id].revoked_s is not None


def test_grid_engine_s_starter_starts_or_fails(site: Site) -> None:
    job = grid_engine_job(site, "nope")
    assert site.run("sge_prolog", **job).returncode == 0
    lines = (site.directory / "spool" / "environment").read_text().splitlines()
    seen = dict(line.split("=", 1) for line in lines)
    done = site.run("sge_starter", "/bin/echo", "ran", **seen)
    assert (done.returncode, done.stdout) == (1, "")
    assert "QPU: unknown QPU resource nope" in done.stderr
    done = site.run("sge_starter", "/bin/echo", "ran", "two words")
    assert (done.returncode, done.stdout) == (0, "ran two words\n")


def test_the_load_sensor_says_no_in_doubt(site: Site) -> None:
    done = site.run("sge_load_sensor", given="\n\nquit\n")
    assert done.stdout == "begin\nglobal:qpu_ready:1\nend\n" * 2
    site.cloud.availability["EMU_FREE"] = "MAINTENANCE"
    assert "qpu_ready:0" in site.run("sge_load_sensor", given="\n").stdout
    (site.directory / "qrmi_config.json").unlink()
    assert "qpu_ready:0" in site.run("sge_load_sensor", given="\n").stdout


def test_check_tells_the_operator(site: Site) -> None:
    done = site.run("check")
    assert (done.returncode, done.stdout) == (0, "accessible: fresnel1, fresnel2, EMU_FREE\n")
    (site.directory / "qrmi_config.json").chmod(0o644)
    done = site.run("check")
    assert done.returncode == 1
    assert "everybody may read it: chmod 0640" in done.stdout


def test_variables_of_a_job_do_not_steer_the_hook(site: Site, tmp_path: Path) -> None:
    site.asks("gres:qpu:fresnel1:1")
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "squeue").write_text(f"#!/bin/sh\ntouch {evil}/ran\n")
    (evil / "squeue").chmod(0o755)
    (evil / "json.py").write_text(f"open({str(evil / 'ran')!r}, 'w')\n")
    proxy = "http://127.0.0.1:9"
    steering = {"PYTHONPATH": str(evil), "PATH": f"{evil}:/usr/bin:/bin"}
    done = site.slurm("prolog", HTTP_PROXY=proxy, http_proxy=proxy, **steering)
    assert done.returncode == 0
    assert len(site.warden.sessions) == 1
    assert not (evil / "ran").exists()


def test_the_file_holds_all_it_needs_and_is_the_same_each_time(tmp_path: Path) -> None:
    pack.install(tmp_path)
    with zipfile.ZipFile(tmp_path / pack.HOOK) as archive:
        archive.extractall(tmp_path / "unpacked")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import cudaq_target.site.hook"
    subprocess.run(
        [sys.executable, "-ISc", code, str(tmp_path / "unpacked")], check=True, timeout=LIMIT_S
    )
    assert pack.packed_hook() == (tmp_path / pack.HOOK).read_bytes()


def test_a_second_installation_keeps_the_configuration(tmp_path: Path) -> None:
    pack.install(tmp_path)
    (tmp_path / "qrmi_config.json").write_text("mine")
    assert tmp_path / "qrmi_config.json" not in pack.install(tmp_path)
    assert (tmp_path / "qrmi_config.json").read_text() == "mine"


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="Give one, as root"):
        pack.install(tmp_path / "file" / "etc")
    with pytest.raises(OptionError, match="There are qrmi_config"):
        pack.example("nope")
