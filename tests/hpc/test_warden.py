"""The same user on our Warden and, where `WARDEN_URL` names one, on a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cudaq_target.fakes import FakeWarden, munge

pytest.importorskip("qrmi")

N_SHOTS = 7
WAIT_S = 300.0


def _user(url: str, state: Path, environment: dict[str, str]) -> dict[str, object]:
    """Run a small program as root, or with the session of the environment."""
    inherited = {name: value for name, value in os.environ.items() if "QRMI" not in name}
    root = Path(__file__).parents[2]
    named = {
        "QRMI_JOB_QPU_RESOURCES": "site",
        "QRMI_JOB_QPU_TYPES": "pasqal-local",
        "site_QRMI_WARDEN_URL": url,
        "XDG_STATE_HOME": str(state),
        "PYTHONPATH": str(root),
    }
    user = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.hpc.warden_user", str(N_SHOTS)],
        env=inherited | named | environment,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert user.returncode == 0, user.stderr
    return json.loads(user.stdout)


def test_a_user_of_our_warden(tmp_path: Path) -> None:
    with FakeWarden(credentials="stub", seed=1) as warden:
        found = _user(warden.url, tmp_path, munge.stub_environment(0))
        assert len(warden.jobs) == 1
        (session,) = warden.sessions.values()
        assert session.revoked_s is not None
    assert found["device"] == "FRESNEL"
    _judge(found)


def test_a_user_of_a_real_warden(tmp_path: Path) -> None:
    url = os.environ.get("WARDEN_URL")
    if not url:
        pytest.skip("WARDEN_URL is not set: no Warden to test against")
    session = os.environ.get("WARDEN_SESSION")
    if session is None and os.getuid() != 0:
        pytest.skip("WARDEN_SESSION is not set, and only root opens sessions")
    settings = {} if session is None else {"site_QRMI_JOB_ACQUISITION_TOKEN": session}
    _judge(_user(url, tmp_path, settings))


def _judge(found: dict[str, object]) -> None:
    assert (found["n_shots"], found["n_bits"], found["is_kept"]) == (N_SHOTS, 2, True)
    assert found["cancel"] == "DONE"
