"""Who we are to the cloud: where credentials come from, and that they go nowhere else."""

from __future__ import annotations

import logging
import traceback

import pytest

from cudaq_target.cloud import credentials
from cudaq_target.cloud.errors import CredentialsError
from cudaq_target.cloud.exchange import Exchange
from cudaq_target.errors import MachineError, MachineUnavailableError
from cudaq_target.jobs import submit
from cudaq_target.machines.cloud import CloudMachine
from tests.hpc.cloud_account import environment, place, submitted
from tests.hpc.cloud_programs import waiting

CANARY = "canary-9f8e7d"
LOGIN = {"PASQAL_PROJECT_ID": "demo", "PASQAL_USERNAME": "ada", "PASQAL_PASSWORD": CANARY}


def write(tmp_path, text, mode=0o600):
    path = tmp_path / ".pasqal" / "config"
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(mode)
    return {"PASQAL_CONFIG_ROOT": str(tmp_path)}


def test_the_environment_wins_over_the_file(tmp_path):
    root = write(tmp_path, "# mine\nusername = ada\npassword = one=two\nproject_id=demo\n")
    found = credentials.access("EMU_FREE", root)
    assert (found.username, found.password, found.project_id) == ("ada", "one=two", "demo")
    found = credentials.access("EMU_FREE", root | {"PASQAL_AUTH_TOKEN": CANARY})
    assert (found.token, found.password, found.project_id) == (CANARY, None, "demo")


def test_a_device_has_entries_of_its_own(tmp_path):
    text = "token=general\nproject_id=demo\nFRESNEL.token=special\n"
    root = write(tmp_path, text)
    assert credentials.access("FRESNEL", root).token == "special"
    assert credentials.access("EMU_FREE", root).token == "general"


def test_addresses_may_come_without_a_scheme(tmp_path):
    root = write(
        tmp_path, "token=t\nproject_id=p\nauth_endpoint=authenticate.example/oauth/token\n"
    )
    found = credentials.access("EMU_FREE", root)
    assert found.auth_endpoint == "https://authenticate.example/oauth/token"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no credentials"),
        ({"PASQAL_PROJECT_ID": "demo"}, "no credentials"),
        ({"PASQAL_AUTH_TOKEN": CANARY}, "no project"),
        ({"PASQAL_PROJECT_ID": "demo", "PASQAL_USERNAME": "ada"}, "PASQAL_PASSWORD is not"),
        ({"PASQAL_PROJECT_ID": "demo", "PASQAL_CLIENT_SECRET": CANARY}, "PASQAL_CLIENT_ID is not"),
        (LOGIN | {"PASQAL_REGION": "atlantis"}, "atlantis"),
        (LOGIN | {"PASQAL_BASE_URL": "http://cloud.example"}, "anybody on the way can read"),
        (LOGIN | {"PASQAL_AUTH_ENDPOINT": "ftp://cloud.example"}, "no address"),
    ],
)
def test_what_is_missing_or_unsafe_is_named(given, said, tmp_path):
    with pytest.raises(CredentialsError, match=said) as caught:
        credentials.access("EMU_FREE", {"PASQAL_CONFIG_ROOT": str(tmp_path)} | given)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode):
    root = write(tmp_path, f"token={CANARY}\nproject_id=demo\n", mode)
    with pytest.raises(CredentialsError, match=r"others may read it.*chmod 600") as caught:
        credentials.access("EMU_FREE", root)
    assert CANARY not in str(caught.value)
    (tmp_path / ".pasqal" / "config").write_text("project_id=demo\n")  # no secret in there
    assert credentials.access("EMU_FREE", root | {"PASQAL_AUTH_TOKEN": "t"}).project_id == "demo"


@pytest.mark.parametrize("line", ["passwrod=CANARY", "CANARY", "token:CANARY"])
def test_unknown_lines_of_the_file_are_named_by_number(tmp_path, line):
    root = write(tmp_path, f"project_id=demo\n{line.replace('CANARY', CANARY)}\n")
    with pytest.raises(CredentialsError, match=r"line 2 of .*Known: project_id") as caught:
        credentials.access("EMU_FREE", root)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"PASQAL_PASSWORD": "wrong"},
        {"PASQAL_USERNAME": "eve@example.org"},
        {"PASQAL_AUTH_TOKEN": "wrong"},
        {"PASQAL_PROJECT_ID": "00000000-0000-4000-8000-00000000000f"},
    ],
)
def test_what_the_cloud_refuses_is_an_error_of_credentials(account, monkeypatch, changed):
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CredentialsError):
        submit(waiting(), 5, machine="EMU_FREE")
    assert account.jobs == ()


@pytest.mark.parametrize("kind", ["token", "client", "password"])
def test_every_way_to_log_in(account, monkeypatch, kind):
    for name in environment(account).keys() - place(account).keys():
        monkeypatch.delenv(name)
    variables = {
        "token": {"PASQAL_AUTH_TOKEN": account.token},
        "client": {
            "PASQAL_CLIENT_ID": account.account.client_id,
            "PASQAL_CLIENT_SECRET": account.account.client_secret,
        },
        "password": environment(account),
    }
    for name, value in variables[kind].items():
        monkeypatch.setenv(name, value)
    assert submit(waiting(), 5, machine="EMU_FREE").result(60).n_shots == 5
    assert len(account.asked("token")) == (0 if kind == "token" else 1)


def test_an_authentication_service_that_is_away(account):
    account.fault("token", 503, times=None)
    with pytest.raises(MachineUnavailableError, match="authentication service"):
        submit(waiting(), 5, machine="EMU_FREE")
    account.clear_faults()
    account.fault("token", "garbage")
    account.fault("token", 429)
    assert submit(waiting(), 5, machine="EMU_FREE").result(60).n_shots == 5


def test_errors_of_pasqal_cloud_become_ours(account, monkeypatch):
    """Some of them are no `Exception`s."""
    from pasqal_cloud.authentication import ExpiringTokenProvider, TokenProviderError
    from pasqal_cloud.errors import BatchFetchingError

    assert not issubclass(BatchFetchingError, Exception)
    for error in (BatchFetchingError(None), TokenProviderError(f"{account.account.password}")):

        def refuse(_provider, error=error):
            raise error

        monkeypatch.setattr(ExpiringTokenProvider, "_refresh_token_cache", refuse)
        with pytest.raises(CredentialsError, match="pasqal-cloud gives no token") as caught:
            submit(waiting(), 5, machine="EMU_FREE")
        assert account.account.password not in str(caught.value)


@pytest.mark.parametrize("skew_s", [-7200.0, 7200.0])
def test_the_clocks_of_cloud_and_client_may_differ(account, skew_s):
    account.clock_skew_s = skew_s
    assert submit(waiting(), 5, machine="EMU_FREE").result(60).n_shots == 5
    assert len(account.asked("token")) == 1


def test_a_token_that_expires_is_renewed_once(account):
    for where in ("specs", "batches.create", "jobs.status", "jobs.results_link"):
        account.fault(where, "expire")
    assert submit(waiting(), 5, machine="EMU_FREE").result(60).n_shots == 5
    assert len(account.jobs) == 1
    assert len(account.asked("token")) == 5


def test_a_given_token_that_expires_is_an_error_that_keeps_the_job(account, monkeypatch):
    monkeypatch.setenv("PASQAL_AUTH_TOKEN", account.token)
    job = submit(waiting(), 5, machine="EMU_FREE")
    account.tokens.expire()
    with pytest.raises(CredentialsError, match="PASQAL_AUTH_TOKEN"):
        job.result(60)
    assert submitted(account) == 1


def test_secrets_are_shown_nowhere(account, monkeypatch, caplog, tmp_path):
    """Password, token and secret of a service account, in what each failure says and keeps."""
    caplog.set_level(logging.DEBUG)
    account.account = type(account.account)("ada", CANARY, "service", f"{CANARY}-service")
    monkeypatch.setenv("PASQAL_USERNAME", "ada")
    monkeypatch.setenv("PASQAL_PASSWORD", CANARY)
    said = []
    for where, kind in (
        ("token", 403), ("token", 500), ("specs", 401), ("specs", 403), ("batches.create", 400),
        ("batches.create", 500), ("batches.create", "lost"), ("jobs.status", 404),
    ):  # fmt: skip
        account.clear_faults()
        account.fault(where, kind, times=None, **({"text": CANARY} if kind != "lost" else {}))
        account.tokens.expire()
        try:
            submit(waiting(), 5, machine="EMU_FREE", machine_timeout_s=0.2).result(30)
        except MachineError as error:
            said += [str(error), repr(error), *traceback.format_exception(error)]
    given = credentials.access("EMU_FREE")
    machine = CloudMachine("EMU_FREE")
    said += [repr(given), repr(machine), repr(Exchange("EMU_FREE", given, timeout_s=1.0))]
    said += [path.read_text() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    said += [record.getMessage() for record in caplog.records]
    assert len(said) > 16
    assert not [text for text in said if CANARY in text]
    tokens = {request.headers.get("authorization", "-")[7:] for request in account.requests}
    tokens.discard("")
    assert tokens
    assert not [text for text in said if any(token in text for token in tokens)]
