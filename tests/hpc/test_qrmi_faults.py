"""QPUs behind QRMI that refuse, fail or vanish: nothing is sent twice, and no job is lost."""
# ruff: noqa: ARG001 - fixtures are asked for by name

from __future__ import annotations

import threading
import traceback

import pytest

from cudaq_target import Job
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.cloud import environment, qrmi_link
from cudaq_target.cloud.errors import (
    CredentialsError,
    JobEnvironmentError,
    JobFailedError,
    JobLostError,
    SessionError,
    SubmissionError,
    UnreadableResultError,
)
from cudaq_target.cloud.qrmi_failures import failure_of
from cudaq_target.errors import (
    MachineError,
    MachineRefusedError,
    MachineUnavailableError,
    RunFailedError,
)
from cudaq_target.fakes import FakeCloud, FakeWarden
from cudaq_target.fakes.devices import device
from cudaq_target.machines.jobs import JobNote
from cudaq_target.machines.qrmi import QrmiMachine
from cudaq_target.machines.remote import Task, close_all
from tests.hpc.fake_clients import until
from tests.hpc.qrmi_site import RESOURCE, USER, become, enter_job, n_submitted

qrmi = pytest.importorskip("qrmi")

N_SHOTS = 7
CANARY = "canary-4711"


@pytest.fixture(scope="module")
def task() -> Task:
    spec = AnalogSpec.of([(0, 0), (8, 0)], Waveform([0, 500], [0, 0]), name="waiting")
    return Task.of(build(spec, device("FRESNEL")))


@pytest.fixture(scope="module")
def emulated() -> Task:
    spec = AnalogSpec.of([(0, 0), (8, 0)], Waveform([0, 500], [0, 0]), name="waiting")
    return Task.of(build(spec, device("EMU_FREE")))


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(qrmi_link, "_FIRST_PAUSE_S", 0.005)
    yield
    close_all()


@pytest.fixture
def warden(monkeypatch, tmp_path):
    with FakeWarden(engine="zeros", credentials="stub") as made:
        enter_job(monkeypatch, tmp_path, made.qrmi_environment(RESOURCE, USER, "7"))
        yield made


@pytest.fixture
def cloud(monkeypatch, tmp_path):
    with FakeCloud(engine="zeros") as made:
        enter_job(monkeypatch, tmp_path, made.qrmi_environment("EMU_FREE", client=True))
        yield made


def machine(timeout_s=5.0, **given) -> QrmiMachine:
    return QrmiMachine(environment.resource("qrmi"), timeout_s=timeout_s, **given)


def failure(kind, task, made=None) -> MachineError:
    with pytest.raises(kind) as caught:
        (machine() if made is None else made).measure(task, N_SHOTS, seed=0)
    assert type(caught.value) is kind
    return caught.value


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (400, MachineRefusedError, "HTTP 400: not today"),
        (401, CredentialsError, "refuses the credentials (HTTP 401: not today)"),
        (403, CredentialsError, "HTTP 403"),
        (429, MachineUnavailableError, "nothing was submitted"),
        (500, SubmissionError, "was sent once, and may have been accepted: HTTP 500"),
        (503, SubmissionError, "HTTP 503"),
        ("drop", SubmissionError, "no connection, or it was lost"),
        ("lost", SubmissionError, "no connection, or it was lost"),
        ("half", SubmissionError, "broke off"),
        ("garbage", SubmissionError, "the answer is none of the service"),
    ],
)
def test_submissions_that_fail_are_not_repeated(warden, task, fault, kind, words):
    warden.fault("jobs.create", fault, text="not today")
    assert words in str(failure(kind, task))
    assert n_submitted(warden) == 1
    assert machine().measure(task, N_SHOTS, seed=0).packed.tolist() == [[0]] * N_SHOTS


def test_an_answer_that_does_not_come_in_time_is_not_waited_for(warden, task):
    made = machine(timeout_s=0.2)
    made.device("analog")
    warden.fault("jobs.create", "slow", seconds=0.6)
    assert "no answer in 0.2 s" in str(failure(SubmissionError, task, made))
    until(lambda: n_submitted(warden))
    assert n_submitted(warden) == 1


@pytest.mark.parametrize(
    ("who", "what", "words"),
    [
        (USER + 1, "open", "Session belongs to another user"),
        (USER, "revoked", "Session has been revoked"),
        (USER, CANARY, "Invalid session"),
        (USER, None, "this job has none (fresnel1_QRMI_JOB_ACQUISITION_TOKEN is not set)"),
    ],
)
def test_sessions_that_are_not_ours(warden, task, monkeypatch, who, what, words):
    variable = f"{RESOURCE}_QRMI_JOB_ACQUISITION_TOKEN"
    (name,) = warden.sessions
    if what == "revoked":
        warden.sessions[name].revoked_s = 1.0
    if what == CANARY:
        monkeypatch.setenv(variable, CANARY)
    if what is None:
        monkeypatch.delenv(variable)
    become(monkeypatch, who)
    error = failure(SessionError, task)
    assert words in str(error)
    assert name not in str(error)
    assert CANARY not in str(error)
    assert not warden.jobs


@pytest.mark.parametrize("fault", [429, 500, 503, "drop", "lost", "half", "garbage", "expire"])
def test_questions_are_asked_again(warden, task, fault):
    warden.fault("jobs.get", fault, times=1 if fault == "expire" else 2)
    if fault != "expire":
        warden.fault("accessible", fault)
        warden.fault("qpu.specs", fault)
    measured = machine().measure(task, N_SHOTS, seed=0)
    assert measured.packed.tolist() == [[0]] * N_SHOTS
    assert n_submitted(warden) == 1


@pytest.mark.parametrize("fault", [401, 403, 500, "drop"])
def test_a_job_whose_service_is_gone_is_kept(warden, task, fault):
    made = machine(timeout_s=0.3)
    made.device("analog")
    warden.fault("jobs.get", fault, times=None)
    error = failure(JobLostError, task, made)
    assert error.job_id == "1"
    assert "Nothing was sent again" in str(error)
    assert n_submitted(warden) == 1
    warden._faults.clear()
    assert Job.load("1").result(30.0).counts() == {"00": N_SHOTS}
    assert Job.load("1").id in str(error)


def test_the_network_may_go_in_mid_poll(monkeypatch, tmp_path, task):
    with FakeWarden(engine="zeros", credentials="stub") as made:
        enter_job(monkeypatch, tmp_path, made.qrmi_environment(RESOURCE, USER))
        made.fault("job", "RUNNING")
        there = machine(timeout_s=0.3)
        found: list[MachineError] = []

        def wait() -> None:
            found.append(failure(JobLostError, task, there))

        waiting = threading.Thread(target=wait)
        waiting.start()
        until(lambda: len(made.asked("jobs.get")) > 2)
    waiting.join(30.0)
    assert "no connection" in str(found[0])
    assert found[0].job_id == "1"


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("ERROR", JobFailedError, "job 1 ended as ERROR"),
        ("CANCELED", JobFailedError, "job 1 ended as CANCELED"),
        ("TIMED_OUT", JobFailedError, "job 1 ended as TIMED_OUT"),
        ("no-result", UnreadableResultError, "the result of job 1 cannot be read"),
        ("bad-result", UnreadableResultError, "the result of job 1 cannot be read"),
        ("few-shots", RunFailedError, "run 1 ended after 6 of 7 shots"),
    ],
)
def test_jobs_that_give_no_shots(warden, task, state, kind, words):
    warden.fault("job", state)
    assert words in str(failure(kind, task))
    assert n_submitted(warden) == 1


@pytest.mark.parametrize("state", ["ERROR", "TIMED_OUT", "no-result", "bad-result", "few-shots"])
def test_jobs_of_the_cloud_that_give_no_shots(cloud, emulated, state):
    cloud.fault("job", state)
    kind = {"few-shots": RunFailedError, "ERROR": JobFailedError, "TIMED_OUT": JobFailedError}
    error = failure(kind.get(state, UnreadableResultError), emulated)
    assert cloud.batches[0].id in str(error)


@pytest.mark.parametrize("state", ["PAUSED", "CANCELING", "PENDING"])
def test_states_that_qrmi_has_no_word_for_are_waited_out(warden, task, state):
    warden.fault("job", state)
    there = machine(poll_s=0.005)
    release = threading.Timer(0.1, warden.release)
    release.start()
    assert there.measure(task, N_SHOTS, seed=0).packed.tolist() == [[0]] * N_SHOTS
    release.join()


def test_why_a_job_failed_is_told_where_there_are_logs(monkeypatch, tmp_path, task):
    with FakeWarden(engine="zeros", credentials="stub", can_cancel=True) as made:
        enter_job(monkeypatch, tmp_path, made.qrmi_environment(RESOURCE, USER))
        made.fault("job", "ERROR", text="laser is off")
        error = failure(JobFailedError, task)
        assert error.reason


def test_unknown_jobs_are_said_to_be(warden):
    note = JobNote("ours", "qrmi", "waiting", 1, 2, (0, 1), {"job": "99", "resource": RESOURCE})
    with pytest.raises(JobLostError, match=r"does not know it for this user .*Job not found"):
        machine().seen(note)
    with pytest.raises(MachineRefusedError, match="cannot cancel jobs"):
        machine().cancel(note)


def test_tokens_that_expire_in_mid_run_are_renewed(cloud, emulated):
    there = machine()
    for where in ("batches.create", "batches.get", "jobs.get", "batches.results"):
        cloud.fault(where, "expire")
        assert there.measure(emulated, N_SHOTS, seed=0).packed.tolist() == [[0]] * N_SHOTS
    assert len(cloud.jobs) == 4
    assert len(cloud.asked("token")) >= 5


@pytest.mark.parametrize("skew_s", [-7200.0, 7200.0])
def test_clocks_that_differ(monkeypatch, tmp_path, task, emulated, skew_s):
    with FakeCloud(engine="zeros", clock_skew_s=skew_s) as made:
        enter_job(monkeypatch, tmp_path, made.qrmi_environment("EMU_FREE", client=True))
        assert machine().measure(emulated, N_SHOTS, seed=0).packed.shape == (N_SHOTS, 1)
    with FakeWarden(engine="zeros", credentials="stub", clock_skew_s=skew_s) as made:
        enter_job(monkeypatch, tmp_path, made.qrmi_environment(RESOURCE, USER))
        assert "clocks of both machines" in str(failure(CredentialsError, task))
        assert not made.jobs


def test_a_token_alone_is_not_renewed(cloud, emulated, monkeypatch):
    for name, value in cloud.qrmi_environment("EMU_FREE").items():
        monkeypatch.setenv(name, value)
    for name in ("ID", "SECRET"):
        monkeypatch.delenv(f"EMU_FREE_QRMI_PASQAL_CLOUD_CLIENT_{name}")
    there = machine()
    there.device("analog")
    cloud.fault("batches.get", "expire")
    error = failure(JobLostError, emulated, there)
    assert isinstance(error.__cause__, CredentialsError)
    assert error.job_id == cloud.batches[0].id
    assert "a token alone is not renewed" in str(failure(CredentialsError, emulated, there))


def test_secrets_appear_nowhere(cloud, emulated, monkeypatch, capfd, caplog):
    caplog.set_level(0)
    secret = "EMU_FREE_QRMI_PASQAL_CLOUD_CLIENT_SECRET"
    monkeypatch.setenv(secret, CANARY)
    there = machine()
    shown = [repr(there), repr(there.resource), str(vars(there)), str(vars(there._link))]
    for text in (f"refused for {CANARY}", None):
        cloud.fault("token", 401, text=text)
        with pytest.raises(MachineError) as caught:
            there.measure(emulated, N_SHOTS, seed=0)
        shown += [
            str(caught.value),
            repr(caught.value),
            "".join(traceback.format_exception(caught.value)),
        ]
    monkeypatch.setenv(secret, cloud.account.client_secret)
    there = machine()
    cloud.fault("batches.create", 400, text=f"refused for {cloud.account.client_secret}")
    shown.append(str(failure(MachineRefusedError, emulated, there)))
    assert "refused for ***" in shown[-1]
    out, err = capfd.readouterr()
    for secret in (CANARY, cloud.account.client_secret):
        assert secret not in " ".join([*shown, out, err, caplog.text])


def test_an_interruption_ends_the_job(monkeypatch, tmp_path, task):
    with FakeWarden(engine="zeros", credentials="stub", can_cancel=True) as made:
        enter_job(monkeypatch, tmp_path, made.qrmi_environment(RESOURCE, USER))
        made.fault("job", "RUNNING")
        there = machine()

        def interrupted(note: JobNote) -> None:
            until(lambda: made.jobs[0].order.status == "RUNNING")
            raise KeyboardInterrupt

        monkeypatch.setattr(there, "seen", interrupted)
        with pytest.raises(KeyboardInterrupt):
            there.measure(task, N_SHOTS, seed=0)
        assert made.jobs[0].order.status == "CANCELED"


def test_tasks_before_one_that_is_refused_are_ended_or_told(warden, task):
    warden.fault("jobs.create", 400, after=1)
    warden.fault("job", "RUNNING")
    with pytest.raises(MachineRefusedError) as caught:
        machine().measure_all([task, task], N_SHOTS, seeds=[0, 0])
    assert caught.value.__notes__ == ["Jobs that were sent before go on: 1"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("QRMI_WARDEN_URL", "nonsense", "the address of the service is none"),
        ("QRMI_WARDEN_URL", "http://127.0.0.1:9", "no connection"),
    ],
)
def test_addresses_where_nobody_is(warden, task, monkeypatch, key, value, words):
    monkeypatch.setenv(f"{RESOURCE}_{key}", value)
    with pytest.raises((MachineUnavailableError, JobEnvironmentError), match=words):
        machine(timeout_s=0.2).device("analog")


@pytest.mark.parametrize("answer", ['[{"device_type": "A"}]', "{}", "[]", "x"])
def test_devices_that_are_none(warden, monkeypatch, answer):
    there = machine()
    monkeypatch.setattr(there._link, "target", lambda: answer)
    with pytest.raises(MachineUnavailableError):
        there.device("analog")


def test_errors_of_qrmi_are_told_by_their_text():
    kinds = {
        "munge encode failed: Socket communication error": "munge",
        "auth token is missing or expired and refresh credentials are not configured": "login",
        "failed to get device": "network",
        "no idea": "other",
    }
    for text, kind in kinds.items():
        assert failure_of(qrmi.QrmiError(text), ()).kind == kind
    assert failure_of(qrmi.ConfigError("missing required config key: 'X'"), ()).kind == "setting"
    found = failure_of(RuntimeError(f"it says {CANARY}"), [CANARY])
    assert found.said == "QRMI: it says ***"
