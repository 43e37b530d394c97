"""`cudaq-target run --detach`, `status`, `fetch`, `cancel` and `forget`."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cudaq_target.cli import main
from cudaq_target.jobs import Job
from cudaq_target.machines import job_records
from tests.hpc.cloud_account import VARIABLES, submitted
from tests.hpc.cloud_programs import waiting

KERNEL = """
import cudaq

@cudaq.kernel
def flipped(n: int):
    q = cudaq.qvector(n)
    x(q[1])
    mz(q[1])
    mz(q[2])
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "waiting.json"
    path.write_text(waiting().to_json())
    return str(path)


@pytest.fixture
def said(capsys):
    """Run a command; gives its exit code and what it said."""

    def run(*words):
        code = main(words)
        out, err = capsys.readouterr()
        return code, out.strip(), err.strip()

    return run


def test_a_kernel_is_submitted_and_fetched(account, said, tmp_path):
    path = tmp_path / "kernel.py"
    path.write_text(KERNEL)
    words = ("run", f"{path}:flipped", "3", "--machine", "EMU_FREE", "--shots", "9", "--detach")
    code, name, _ = said(*words)
    assert code == 0
    assert said("fetch", name) == (0, "10 9", "")  # the measured qubits alone, as `run` prints
    assert submitted(account) == 1
    code, out, _ = said("fetch", name, "--json")
    content = json.loads(out)
    assert (code, content["counts"], content["status"]) == (0, {"10": 9}, "DONE")
    assert content["machine_id"] == account.jobs[0].id


def test_a_program_for_another_device_runs_on_an_emulator(account, said, program):
    assert said("run", program, "--machine", "EMU_FREE", "--shots", "5") == (0, "00 5", "")
    code, _, err = said("run", program, "--machine", "EMU_FRESNEL", "--shots", "5")
    assert code == 2
    assert "EMU_FRESNEL" in err
    assert submitted(account) == 1


def test_jobs_are_listed_cancelled_and_waited_for(account, said, program):
    account.fault("job", "RUNNING")
    code, out, _ = said("run", program, "--machine", "EMU_FREE", "--detach", "--json")
    name = json.loads(out)["id"]
    assert (code, json.loads(out)["status"]) == (0, "PENDING")
    code, out, err = said("fetch", name, "--timeout", "0.1")
    assert (code, out) == (1, "")
    assert name in err
    assert "goes on" in err
    assert json.loads(said("status", name, "--json")[1])["status"] == "RUNNING"
    assert said("cancel", name) == (0, f"{name} CANCELED", "")
    assert [row["id"] for row in json.loads(said("status", "--json")[1])] == [name]
    assert said("status")[1].startswith(f"{name}  CANCELED  1000 shots of waiting on EMU_FREE")
    assert said("fetch", name)[0] == 1
    assert Job.load(name).status() == "CANCELED"


def test_bad_input_has_its_own_exit_code(account, said, program, monkeypatch):
    assert said("fetch", "nonsense")[0] == 2
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    code, _, err = said("run", program, "--machine", "EMU_FREE", "--detach")
    assert code == 2
    assert "PASQAL_USERNAME" in err
    monkeypatch.setenv("QRMI_JOB_QPU_RESOURCES", "one,two")
    monkeypatch.setenv("QRMI_JOB_QPU_TYPES", "pasqal-local")
    code, _, err = said("run", program)
    assert code == 2
    assert "2 resources (one, two)" in err
    assert submitted(account) == 0


def test_jobs_that_have_ended_are_forgotten(account, said, program):
    _, done, _ = said("run", program, "--machine", "local", "--shots", "5", "--detach")
    account.fault("job", "RUNNING")
    _, runs, _ = said("run", program, "--machine", "EMU_FREE", "--detach")
    known = job_records.directory()
    (known / f"{done}.lock").touch()  # as the process of a job leaves it
    code, _, err = said("forget", runs)
    assert code == 2
    assert "PENDING as last seen" in err
    assert said("forget", "--finished", "--older-than", "1d") == (0, "", "")
    assert said("forget", "--finished") == (0, done, "")
    assert [path.name for path in known.iterdir()] == [f"{runs}.json"]
    assert said("cancel", runs)[0] == 0
    assert json.loads(said("forget", runs[:-3], "--json")[1]) == [runs]
    assert said("status") == (0, "", "")
    assert said("forget", runs)[0] == 2


def test_an_old_job_is_forgotten_and_one_that_runs_by_force_alone(account, said, program):
    account.fault("job", "RUNNING")
    _, runs, _ = said("run", program, "--machine", "EMU_FREE", "--detach")
    _, done, _ = said("run", program, "--machine", "local", "--shots", "5", "--detach")
    record, _ = job_records.read(done)
    long_ago = (datetime.now(UTC) - timedelta(days=31)).isoformat("T", "seconds")
    job_records.write(replace(record, created_at=long_ago))
    assert said("forget", "--finished", "--older-than", "30d") == (0, done, "")
    assert said("forget", runs, "--force") == (0, runs, "")
    assert not list(job_records.directory().iterdir())


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Give their ids, or --finished"),
        (("x", "--finished"), "Give their ids, or --finished"),
        (("x", "--older-than", "3d"), "Add --finished"),
        (("--finished", "--older-than", "soon"), "for example 30d"),
        (("--finished", "--force"), "for named jobs alone"),
        (("nonsense",), "no such job is recorded"),
    ],
)
def test_what_to_forget_is_said(said, words, sentence):
    code, out, err = said("forget", *words)
    assert (code, out) == (2, "")
    assert sentence in err
