"""Jobs: on every machine, from another process, cancelled, timed out, and never sent twice."""
# ruff: noqa: ARG001 - fixtures are asked for by name

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import threading

import pytest

from cudaq_target import Job, Pasqal, submit
from cudaq_target.cloud.errors import JobFailedError, JobTimeoutError, SubmissionError
from cudaq_target.controller import controller
from cudaq_target.coupler.server import serve
from cudaq_target.errors import MachineRefusedError, OptionError, UnsuitableDeviceError
from cudaq_target.jobs import jobs
from cudaq_target.machines import job_records
from cudaq_target.program import compile_circuit
from tests.hpc.cloud_account import submitted
from tests.hpc.cloud_programs import waiting
from tests.hpc.fake_clients import asymmetric, until

WAIT_S = 60.0


@pytest.fixture(autouse=True)
def _own_state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def gates():
    """A kernel with qubits 1 and 2 inverted, of which 2 is measured."""
    from cudaq_target.circuit import Circuit, Gate, Measurement
    from cudaq_target.errors import Source

    source = Source("gates")
    flips = tuple(Gate("x", (qubit,), source) for qubit in (1, 2))
    return compile_circuit(Circuit("gates", 3, flips, (Measurement(2, "", source),)))


def in_another_process(call, *arguments):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, arguments)


def fetched(name):
    return Job.load(name).result(WAIT_S).counts()


def test_a_job_of_this_process_has_ended_when_it_is_submitted(gates):
    job = submit(gates, 7, machine="local")
    assert job.status() == "DONE"
    assert job.result().counts() == {"011": 7}
    assert job.machine_id is None
    assert Job.load(job.id).result().counts() == {"011": 7}
    assert job.cancel() == "DONE"


def test_seeds_make_jobs_reproducible():
    sequence = asymmetric()
    first, second, third = (
        submit(sequence, 50, machine="local", seed=seed).result().packed.tolist()
        for seed in (1, 1, 2)
    )
    assert first == second
    assert first != third


def test_a_job_of_the_cloud_is_fetched_by_another_process(account, gates, tmp_path):
    job = submit(gates, 7, machine="EMU_FREE")
    copy = job.save(tmp_path / "copy.json")
    assert in_another_process(fetched, copy) == {"011": 7}
    assert job.result(WAIT_S).counts() == {"011": 7}
    assert job.machine_id == account.jobs[0].id
    assert Job.load(job.machine_id).id == Job.load(job.id[:20]).id == job.id
    n_asked = len(account.requests)
    assert Job.load(job.id).result().counts() == {"011": 7}  # kept, nobody is asked
    assert (len(account.requests), submitted(account)) == (n_asked, 1)


def test_records_are_written_before_anything_is_sent_and_are_private(account):
    account.fault("batches.create", "slow", seconds=0.5)
    thread = threading.Thread(target=submit, args=(waiting(), 5, "EMU_FREE"))
    thread.start()
    until(jobs)
    (job,) = jobs()
    assert (job.record.status, account.jobs) == ("UNSENT", ())
    thread.join()
    assert Job.load(job.id).record.status == "PENDING"
    assert stat.S_IMODE(job_records.path_of(job.id).stat().st_mode) == 0o600
    assert stat.S_IMODE(job_records.directory().stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_written_submits_nothing(account, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(OptionError, match="nothing was submitted"):
        submit(waiting(), 5, machine="EMU_FREE")
    assert submitted(account) == 0


def test_a_timeout_leaves_the_job_running_and_says_its_id(account):
    account.fault("job", "RUNNING")
    job = submit(waiting(), 5, machine="EMU_FREE")
    with pytest.raises(JobTimeoutError) as caught:
        job.result(0.1)
    assert caught.value.job_id == job.id
    assert job.id in str(caught.value)
    assert account.jobs[0].order.status == "RUNNING"
    account.release()
    assert job.result(WAIT_S).counts() == {"00": 5}
    assert submitted(account) == 1


def test_a_job_is_cancelled(account):
    account.fault("job", "RUNNING")
    job = submit(waiting(), 5, machine="EMU_FREE")
    assert Job.load(job.id).cancel() == "CANCELED"
    with pytest.raises(JobFailedError, match="CANCELED"):
        job.result(WAIT_S)


def test_a_job_that_was_done_before_its_cancellation_keeps_its_result(account):
    account.fault("job", "done-at-cancel")
    job = submit(waiting(), 5, machine="EMU_FREE")
    until(lambda: account.jobs[0].order.status == "RUNNING")
    assert job.cancel() == "DONE"
    assert job.result(WAIT_S).counts() == {"00": 5}


def test_a_failed_job_stays_failed(account):
    account.fault("job", "ERROR", text="the lasers are off")
    job = submit(waiting(), 5, machine="EMU_FREE")
    for _ in range(2):
        with pytest.raises(JobFailedError, match="the lasers are off"):
            job.result(WAIT_S)
    assert Job.load(job.id).status() == "ERROR"


def test_a_job_whose_acceptance_is_not_known_is_found_later(account):
    account.fault("batches.create", "lost")
    account.fault("batches.list", 500, times=None)
    with pytest.raises(SubmissionError) as caught:
        submit(waiting(), 5, machine="EMU_FREE", machine_timeout_s=0.2)
    account.clear_faults()
    job = Job.load(caught.value.job_id)
    assert job.record.status == "UNSENT"
    assert job.result(WAIT_S).counts() == {"00": 5}
    assert submitted(account) == 1


def test_a_job_that_never_arrived_says_so(account):
    account.fault("batches.create", "drop")
    with pytest.raises(SubmissionError):
        submit(waiting(), 5, machine="EMU_FREE")
    (job,) = jobs()
    with pytest.raises(SubmissionError, match="not listed"):
        job.result(WAIT_S)
    assert submitted(account) == 1


def test_a_job_that_was_refused_leaves_no_record(account):
    account.fault("batches.create", 400)
    with pytest.raises(MachineRefusedError):
        submit(waiting(), 5, machine="EMU_FREE")
    assert jobs() == []


def test_programs_for_another_machine_are_refused_before_they_are_sent(account, gates):
    with pytest.raises(UnsuitableDeviceError):
        submit(gates, 5, machine="FRESNEL")
    with pytest.raises(OptionError, match="reports the device"):
        submit(waiting(), 5, machine="FRESNEL")
    assert submitted(account) == 0
    assert jobs() == []


def test_a_record_of_another_cloud_is_refused(account):
    job = submit(waiting(), 5, machine="EMU_FREE")
    path = job_records.path_of(job.id)
    record = json.loads(path.read_text())
    record["place"]["cloud"] = "https://elsewhere.example/core-fast"
    path.write_text(json.dumps(record))
    with pytest.raises(OptionError, match="it was sent to https://elsewhere"):
        Job.load(job.id).status()


def test_a_controller_runs_a_job_in_a_process_of_its_own(gates, tmp_path):
    with serve(controller("local"), "tcp://127.0.0.1:0") as server:
        job = submit(gates, 7, machine=str(server.endpoint))
        assert job.status() in {"RUNNING", "DONE"}
        copy = Job.load(job.save(tmp_path / "copy.json"))
        assert copy.result(WAIT_S).counts() == {"011": 7}
        assert job.result(WAIT_S).counts() == {"011": 7}


def test_a_job_on_a_controller_is_cancelled():
    with serve(controller("local", cadence_hz=2.0), "tcp://127.0.0.1:0") as server:
        job = submit(waiting(), 10_000, machine=str(server.endpoint))
        assert Job.load(job.id).cancel() == "CANCELED"
        with pytest.raises(JobFailedError, match="CANCELED"):
            job.result(WAIT_S)


def test_a_process_that_died_is_noticed(tmp_path):
    path = job_records.directory() / "dead.json"
    job = submit(waiting(), 5, machine="local")
    record = json.loads(job.save(tmp_path / "copy.json").read_text())
    path.write_text(json.dumps(record | {"id": "dead", "status": "RUNNING", "shots": None}))
    path.with_suffix(".lock").touch()
    with pytest.raises(JobFailedError, match="is gone"):
        Job.load("dead").result(WAIT_S)


def test_the_target_in_force_is_the_default(account):
    import cudaq

    with Pasqal(machine="EMU_FREE"):
        assert submit(waiting(), 5).machine == "EMU_FREE"
        with pytest.raises(OptionError, match="seed"):
            submit(waiting(), 5, seed=1)
    cudaq.set_target("qpp-cpu")


@pytest.mark.parametrize("n_shots", [0, -1, 1.5, True])
def test_numbers_of_shots(n_shots):
    with pytest.raises(OptionError, match="at least 1"):
        submit(waiting(), n_shots, machine="local")


def test_what_is_no_program_is_refused():
    with pytest.raises(OptionError, match="Compile a kernel first"):
        submit("kernel", 5, machine="local")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "cudaq-target job", "version": 9}'])
def test_what_is_no_record_is_refused(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(OptionError, match="no record of a job"):
        Job.load(path)


def test_names_that_fit_no_job_or_several():
    with pytest.raises(OptionError, match="no such job"):
        Job.load("20")
    submit(waiting(), 5, machine="local")
    submit(waiting(), 5, machine="local")
    with pytest.raises(OptionError, match="2 jobs"):
        Job.load("20")


def test_nothing_of_the_environment_is_in_a_record(account):
    job = submit(waiting(), 5, machine="EMU_FREE")
    text = job_records.path_of(job.id).read_text()
    for name, value in os.environ.items():
        if name.startswith("PASQAL_") and "URL" not in name and "ENDPOINT" not in name:
            assert value not in text
