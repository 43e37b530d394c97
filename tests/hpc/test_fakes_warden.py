"""The stand-ins of Warden and of the QPU behind it, driven by the QRMI wheel and by plain HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest

from cudaq_target.errors import OptionError
from cudaq_target.fakes import FakeQpu, FakeWarden, devices, munge
from tests.hpc.fake_clients import LIMIT_S, PAIR_IN_G, ask, asymmetric, until

qrmi = pytest.importorskip("qrmi")
USER = 1234
QPU = "/api/v1"


@pytest.fixture
def warden() -> Iterator[FakeWarden]:
    """By itself, with the credentials of the stub."""
    with FakeWarden(engine="zeros", credentials="stub") as made:
        yield made


@pytest.fixture
def qpu() -> Iterator[FakeQpu]:
    with FakeQpu(engine="zeros") as made:
        yield made


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts the stub in the place of libmunge; what is returned changes who asks."""
    munge.load_stub()

    def become(uid: int) -> None:
        monkeypatch.setenv(munge.UID_VARIABLE, str(uid))

    become(USER)
    return become


def credential(uid: int, session: str | None = None, **more: Any) -> dict[str, str]:
    headers = {"X-Munge-Cred": munge.encode_stub(uid, **more)}
    return headers if session is None else headers | {"X-Warden-Session": session}


def resource(warden: FakeWarden, session: str | None = None) -> Any:
    config = warden.qrmi_config(USER, "7", session)
    return qrmi.QuantumResource.from_config("fresnel1", qrmi.ResourceType.PasqalLocal, config)


def started(target: Any, n_runs: int = 20) -> str:
    text = asymmetric("FRESNEL").to_abstract_repr()
    return str(target.task_start(qrmi.Payload.PasqalCloud(sequence=text, job_runs=n_runs)))


def job(shots: object = 20) -> dict[str, object]:
    return {"sequence": asymmetric("FRESNEL").to_abstract_repr(), "shots": shots}


def test_a_job_of_qrmi_through_warden_to_the_qpu(fake_qpu: FakeQpu, as_user: Any) -> None:
    with FakeWarden(qpu_url=fake_qpu.url, credentials="stub") as warden:
        as_user(munge_root := 0)
        opener = resource(warden)
        assert opener.status().status == qrmi.ResourceStatusCode.Online
        session = opener.acquire()
        assert warden.sessions[session].user_id == str(USER)
        as_user(USER)
        target = resource(warden, session)
        (described,) = json.loads(target.target().value)
        assert described["device_type"] == "FRESNEL"
        task = started(target, 500)
        until(lambda: warden.jobs[0].order.has_ended)
        assert target.task_status(task) == qrmi.TaskStatus.Completed
        counter = json.loads(target.task_result(task).value)["counter"]
        assert sum(counter.values()) == 500
        # Atom 0, which is alone, is inverted, and is leftmost.
        assert counter["100"] / 500 == pytest.approx(PAIR_IN_G, abs=0.11)
        as_user(munge_root)
        opener.release(session)
        assert warden.sessions[session].revoked_s is not None
    assert fake_qpu.jobs[0].order.n_shots == 500


@pytest.mark.usefixtures("as_user")
def test_the_environment_of_a_scheduler_is_enough(
    warden: FakeWarden, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in warden.qrmi_environment("fresnel1", USER, "7").items():
        monkeypatch.setenv(name, value)
    (target,) = qrmi.QRMIService().resources()
    task = started(target)
    until(lambda: warden.jobs[0].order.has_ended)
    assert json.loads(target.task_result(task).value) == {"counter": {"000": 20}}


@pytest.mark.parametrize(
    ("who", "session", "reason"),
    [
        (USER + 1, "open", "Session belongs to another user"),
        (USER, "revoked", "Session has been revoked"),
        (USER, "invented", "Invalid session"),
    ],
)
def test_sessions_are_for_one_user_and_one_job(
    warden: FakeWarden, as_user: Any, who: int, session: str, reason: str
) -> None:
    name = warden.open_session(USER)
    if session == "revoked":
        assert ask(warden, "DELETE", f"/sessions/{name}", headers=credential(0))[0] == 200
    as_user(who)
    target = resource(warden, name if session != "invented" else str(os.getpid()))
    with pytest.raises(qrmi.QrmiError, match=f"403.*{reason}"):
        started(target)
    assert not warden.jobs


def test_only_root_opens_and_closes_sessions(warden: FakeWarden) -> None:
    body = {"user_id": str(USER), "slurm_job_id": "7"}
    status, reply = ask(warden, "POST", "/sessions", body, credential(USER))
    assert (status, reply) == (403, {"detail": "Endpoint restricted to root user."})
    status, reply = ask(warden, "POST", "/sessions", body, credential(0))
    assert status == 200
    assert (reply["user_id"], reply["revoked_at"]) == (str(USER), None)
    path = f"/sessions/{reply['id']}"
    assert ask(warden, "DELETE", path, headers=credential(USER))[0] == 403
    status, reply = ask(warden, "DELETE", path, headers=credential(0))
    assert status == 200
    assert reply["revoked_at"] is not None
    status, reply = ask(warden, "DELETE", "/sessions/none", headers=credential(0))
    assert (status, reply) == (404, {"detail": "Session not found."})
    warden.authorized_users = ("1",)
    status, reply = ask(warden, "POST", "/sessions", body, credential(0))
    assert (status, reply) == (403, {"detail": "User ID not authorized."})


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "Missing MUNGE credential"),
        ({"X-Munge-Cred": "MUNGE:AwQDAAC:"}, "Invalid credential format"),
        (credential(USER, now_s=1e9), "MUNGE credential expired"),
        (credential(USER, now_s=1e11), "Rewound credential"),
    ],
)
def test_credentials_that_are_none(
    warden: FakeWarden, headers: Mapping[str, str], reason: str
) -> None:
    for method, path in (("GET", "/jobs"), ("POST", "/sessions"), ("POST", "/jobs")):
        assert ask(warden, method, path, headers=headers) == (401, {"detail": reason})


@pytest.mark.usefixtures("as_user")
def test_a_clock_that_is_behind_refuses_everybody() -> None:
    with FakeWarden(engine="zeros", credentials="stub", clock_skew_s=-7200.0) as warden:
        target = resource(warden, warden.open_session(USER))
        with pytest.raises(qrmi.QrmiError, match="Rewound credential"):
            started(target)


def test_jobs_are_for_their_user_and_are_checked(warden: FakeWarden) -> None:
    own = credential(USER, warden.open_session(USER))
    status, reply = ask(warden, "POST", "/jobs", job(), credential(USER))
    assert (status, reply) == (403, {"detail": "Missing 'X-Warden-Session' header."})
    for wrong in (job("20"), job(0), job() | {"runs": 3}, {"shots": 3}):
        status, reply = ask(warden, "POST", "/jobs", wrong, own)
        assert (status, reply["detail"][0]["loc"]) == (422, ["body"])
    status, reply = ask(warden, "POST", "/jobs", job(), own)
    assert status == 200
    assert (reply["id"], reply["user_id"]) == (1, str(USER))
    assert reply.keys() == {"id", "user_id", "created_at", "status", "results"}
    until(lambda: warden.jobs[0].order.has_ended)
    assert [entry["status"] for entry in ask(warden, "GET", "/jobs", headers=own)[1]] == ["DONE"]
    assert ask(warden, "GET", "/jobs", headers=credential(USER + 1))[1] == []
    other = credential(USER + 1)
    assert ask(warden, "GET", "/jobs/1", headers=other) == (404, {"detail": "Job not found"})
    assert ask(warden, "GET", "/jobs/2", headers=own) == (404, {"detail": "Job not found"})
    assert ask(warden, "GET", "/jobs/x", headers=own)[0] == 422


@pytest.mark.usefixtures("as_user")
def test_cancel_and_logs_are_missing_unless_they_are_wanted(
    warden: FakeWarden,
) -> None:
    target = resource(warden, warden.open_session(USER))
    task = started(target)
    for call in (target.task_stop, target.task_logs):
        with pytest.raises(qrmi.QrmiError, match="404"):
            call(task)
    with FakeWarden(engine="zeros", credentials="stub", can_cancel=True) as newer:
        newer.fault("job", "RUNNING")
        target = resource(newer, newer.open_session(USER))
        task = started(target)
        until(lambda: newer.jobs[0].order.status == "RUNNING")
        target.task_stop(task)
        assert target.task_status(task) == qrmi.TaskStatus.Cancelled
        assert target.task_logs(task) == "no messages"
        with pytest.raises(qrmi.QrmiError, match="400"):
            target.task_stop(task)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
@pytest.mark.usefixtures("as_user")
def test_faults_of_warden(warden: FakeWarden, status: int) -> None:
    target = resource(warden, warden.open_session(USER))
    warden.fault("jobs.create", status, text="not today")
    with pytest.raises(qrmi.QrmiError, match=f"{status}.*not today"):
        started(target)
    assert not warden.jobs


def test_credentials_expire_in_mid_run(warden: FakeWarden) -> None:
    warden.fault("jobs.list", "expire")
    found = [ask(warden, "GET", "/jobs", headers=credential(USER)) for _ in range(2)]
    assert found == [(401, {"detail": "MUNGE credential expired"}), (200, [])]


@pytest.mark.parametrize("kind", ["drop", "lost", "half", "garbage"])
@pytest.mark.usefixtures("as_user")
def test_replies_that_do_not_arrive(
    warden: FakeWarden,
    kind: str,
) -> None:
    target = resource(warden, warden.open_session(USER))
    warden.fault("jobs.create", kind)
    with pytest.raises(qrmi.QrmiError):
        started(target)
    assert len(warden.jobs) == (kind != "drop")


def test_it_says_that_it_is_not_accessible(qpu: FakeQpu) -> None:
    with FakeWarden(qpu_url=qpu.url, credentials="stub") as warden:
        target = resource(warden)
        assert target.status().status == qrmi.ResourceStatusCode.Online
        qpu.is_operational = False
        assert target.status().status != qrmi.ResourceStatusCode.Online
        body = {"is_accessible": False, "message": "maintenance"}
        assert ask(warden, "POST", "/accessible", body, credential(USER))[0] == 403
        assert ask(warden, "POST", "/accessible", body, credential(0)) == (200, body)
        assert ask(warden, "GET", "/accessible")[1] == body
        assert ask(warden, "GET", "/")[1] == {"message": "The warden is operational."}


def test_a_qpu_that_fails_fails_the_job(qpu: FakeQpu) -> None:
    with FakeWarden(qpu_url=qpu.url, credentials="stub") as warden:
        own = credential(USER, warden.open_session(USER))
        qpu.fault("job", "ERROR")
        qpu.fault("jobs.create", 400, after=1, text="no")
        qpu.fault("jobs.get", 503, times=3, after=1)
        for number, words in enumerate(("ended ERROR", "400: no", None)):
            assert ask(warden, "POST", "/jobs", job(), own)[0] == 200
            until(lambda number=number: warden.jobs[number].order.has_ended)
            errors = warden.jobs[number].order.errors
            assert errors is None if words is None else words in str(errors)
        assert json.loads(str(warden.jobs[2].order.result)) == {"counter": {"000": 20}}


def test_the_api_of_a_qpu(qpu: FakeQpu) -> None:
    assert ask(qpu, "GET", f"{QPU}/system/operational")[1]["data"] == {"operational_status": "UP"}
    specs = ask(qpu, "GET", f"{QPU}/system")[1]["data"]["specs"]
    assert specs == json.loads(devices.specs("FRESNEL"))
    body = {
        "nb_run": 5,
        "pulser_sequence": asymmetric("FRESNEL").to_abstract_repr(),
        "context": {"batch_id": "b", "pasqman_job_id": "p"},
    }
    status, reply = ask(qpu, "POST", f"{QPU}/jobs", body)
    assert (status, reply["data"]["uid"], reply["data"]["batch_id"]) == (200, 1, "b")
    until(lambda: qpu.jobs[0].order.has_ended)
    done = ask(qpu, "GET", f"{QPU}/jobs/1")[1]["data"]
    assert (done["status"], json.loads(done["result"])) == ("DONE", {"counter": {"000": 5}})
    assert ask(qpu, "GET", f"{QPU}/programs/1")[1]["data"] == {"uid": 1, "status": "DONE"}
    status, reply = ask(qpu, "PUT", f"{QPU}/jobs/1/cancel")
    assert (status, reply["code"]) == (400, "3003")
    assert ask(qpu, "GET", f"{QPU}/jobs/2")[0] == 404
    for name, wrong, expected in (
        ("nb_run", 0, 422),
        ("nb_run", 5000, 400),
        ("context", {"origin": "x"}, 422),
        ("pulser_sequence", asymmetric().to_abstract_repr(), 400),
    ):
        assert ask(qpu, "POST", f"{QPU}/jobs", body | {name: wrong})[0] == expected
    qpu.is_operational = False
    assert ask(qpu, "POST", f"{QPU}/jobs", body)[0] == 503
    assert len(qpu.jobs) == 1


def test_a_qpu_job_is_canceled(qpu: FakeQpu) -> None:
    qpu.fault("job", "RUNNING")
    body = {"nb_run": 5, "pulser_sequence": asymmetric("FRESNEL").to_abstract_repr()}
    ask(qpu, "POST", f"{QPU}/jobs", body)
    until(lambda: qpu.jobs[0].order.status == "RUNNING")
    assert ask(qpu, "PUT", f"{QPU}/jobs/1/cancel")[1]["data"]["status"] == "CANCELED"


def test_wardens_that_cannot_be() -> None:
    for options, reason in (
        ({"credentials": "password"}, "no such kind"),
        ({"qpu_url": "http://qpu.example.org:8104"}, "no address on loopback"),
        ({"qpu_url": "http://127.0.0.1:1", "engine": "zeros"}, "are the QPU's"),
    ):
        with pytest.raises(OptionError, match=reason), closing(FakeWarden(**options)):
            pass


@pytest.mark.skipif(munge.available() != "daemon", reason="no MUNGE daemon runs here")
def test_credentials_of_munge_itself() -> None:
    """Served by a child, since the stub may stand in the place of libmunge in this process."""
    made = subprocess.run(["munge", "-n"], check=True, capture_output=True, text=True).stdout
    command = [sys.executable, "-m", "cudaq_target.fakes", "warden", "--engine", "zeros"]
    with subprocess.Popen(
        [*command, "--credentials", "daemon"], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            port = int(child.stdout.readline().strip().rpartition(":")[2])
            for sent, expected in ((made.strip(), 200), (munge.encode_stub(0), 401)):
                with closing(HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)) as connection:
                    connection.request("GET", "/jobs", headers={"X-Munge-Cred": sent})
                    assert connection.getresponse().status == expected
        finally:
            child.terminate()
        assert child.wait(LIMIT_S) == 0
