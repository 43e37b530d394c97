"""An account at the cloud's stand-in, as a user has it: in the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cudaq_target.fakes import FakeCloud

VARIABLES = (
    "PASQAL_AUTH_ENDPOINT", "PASQAL_AUTH_TOKEN", "PASQAL_BASE_URL", "PASQAL_CLIENT_ID",
    "PASQAL_CLIENT_SECRET", "PASQAL_CONFIG_ROOT", "PASQAL_PASSWORD", "PASQAL_PROJECT_ID",
    "PASQAL_REGION", "PASQAL_USERNAME",
)  # fmt: skip
SUBMITTING = ("batches.create", "batches.add_jobs", "batches.rebatch", "cudaq.create")


def place(cloud: FakeCloud) -> dict[str, str]:
    return {
        "PASQAL_PROJECT_ID": cloud.project_id,
        "PASQAL_BASE_URL": cloud.url,
        "PASQAL_AUTH_ENDPOINT": cloud.token_url,
    }


def environment(cloud: FakeCloud) -> dict[str, str]:
    account = cloud.account
    return place(cloud) | {
        "PASQAL_USERNAME": account.username,
        "PASQAL_PASSWORD": account.password,
    }


def log_in(monkeypatch, cloud: FakeCloud, tmp_path, variables: dict[str, str] | None = None):
    """Nothing but these variables says who we are, and records go to a directory of the test."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PASQAL_CONFIG_ROOT", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, value in (environment(cloud) if variables is None else variables).items():
        monkeypatch.setenv(name, value)


def submitted(cloud: FakeCloud) -> int:
    """How many requests that submit something arrived, whatever became of them."""
    return sum(len(cloud.asked(endpoint)) for endpoint in SUBMITTING)
