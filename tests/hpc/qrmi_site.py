"""Jobs of a scheduler, with a QPU behind the stand-ins of Warden or of the cloud."""
# ruff: noqa: F821 - gates are words of the kernel language

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import cudaq
import pytest

from cudaq_target.fakes import FakeCloud, FakeWarden, munge

RESOURCE = "fresnel1"
USER = 1234


@cudaq.kernel
def basis():
    q = cudaq.qvector(3)
    x(q[0])


@cudaq.kernel
def tilted(angle: float):
    q = cudaq.qvector(3)
    x(q[0])
    ry(angle, q[1])
    x.ctrl(q[1], q[2])


def enter_job(
    patch: pytest.MonkeyPatch, folder: Path, environment: Mapping[str, str], uid: int = USER
) -> None:
    """Nothing but these variables says which QPU there is and who we are."""
    munge.load_stub()
    for name in list(os.environ):
        if "QRMI" in name or name.startswith(("SLURM_JOB_QPU", "PASQAL_")):
            patch.delenv(name)
    become(patch, uid)
    patch.setenv("PASQAL_CONFIG_ROOT", str(folder))
    patch.setenv("HOME", str(folder))
    patch.setenv("XDG_STATE_HOME", str(folder / "state"))
    for name, value in environment.items():
        patch.setenv(name, value)


def become(patch: pytest.MonkeyPatch, uid: int) -> None:
    patch.setenv(munge.UID_VARIABLE, str(uid))


def n_submitted(service: FakeWarden | FakeCloud) -> int:
    """How many requests that submit something arrived, whatever became of them."""
    return len(service.asked("batches.create" if isinstance(service, FakeCloud) else "jobs.create"))
