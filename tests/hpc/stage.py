"""What schedulers' tests have in common: services, installed hooks, and a user's job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulser
import pytest

from cudaq_target.fakes import FakeCloud, FakeQpu, FakeWarden, devices
from cudaq_target.fakes.service import FakeService
from cudaq_target.site import pack
from tests.hpc.daemons import as_user, shared_directory

# Users that every Debian has, and whose jobs need no home.
USERS = ("daemon", "games")
RESOURCES = {"fresnel1": 1, "fresnel2": 1, "EMU_FREE": 4}
N_SHOTS = 50
JOB = Path(__file__).with_name("cluster_job.py")
DEVICE = "DigitalAnalogDevice"


@dataclass(frozen=True)
class Stage:
    """Services, hooks, and what jobs read.

    Attributes:
        hooks: Where the hooks and their configuration are.
        warden: In front of `qpu`, as fresnel1 and fresnel2.
        qpu: A QPU with the channels of gate kernels.
        cloud: As EMU_FREE.
    """

    hooks: Path
    warden: FakeWarden
    qpu: FakeQpu
    cloud: FakeCloud

    def script(self, user: str = "root") -> str:
        """A job of a user: two lone atoms, each inverted by a pulse."""
        python, path = user_python(user)
        lines = ["#!/bin/bash", f"export PYTHONPATH={path}"]
        lines.append(f"{python} {self.hooks}/job.py {self.hooks}/sequence.json {N_SHOTS}")
        return "\n".join(lines) + "\n"

    def sessions_of(self, job: str) -> list[Any]:
        """Sessions of a job, open and closed."""
        return [one for one in self.warden.sessions.values() if one.slurm_job_id == job]

    def n_open(self) -> int:
        """How many sessions are open."""
        return sum(one.revoked_s is None for one in self.warden.sessions.values())


def said(output: str) -> dict[str, Any]:
    """What `cluster_job.py` says at the end of a job's output."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    assert lines, output
    content = json.loads(lines[-1])
    assert isinstance(content, dict)
    return content


def user_python(user: str) -> tuple[str, str]:
    """An interpreter that a user may run, and the PYTHONPATH with which it finds QRMI."""
    import qrmi

    packages = str(Path(qrmi.__file__).parents[1])
    for python, path in ((sys.executable, ""), ("/usr/bin/python3", packages)):
        environment = {**os.environ, "PYTHONPATH": path}
        # By a shell, because setpriv starts a program with rights that its user lacks.
        command = [*as_user(user), "/bin/sh", "-c", f"{python} -c 'import qrmi'; exit"]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        if done.returncode == 0:
            return python, path
    pytest.skip(f"user {user} may read no interpreter with QRMI")


@contextmanager
def staged(start: Callable[[Callable[[], FakeService]], FakeService]) -> Iterator[Stage]:
    """Start the services and install the hooks.

    Args:
        start: Enters a service where its clients will be.
    """
    with ExitStack() as stack:
        hooks = stack.enter_context(shared_directory())

        def entered(service: Any) -> Any:
            return start(lambda: stack.enter_context(service))

        qpu = entered(FakeQpu(device=DEVICE, seed=5))
        warden = entered(FakeWarden(qpu_url=qpu.url, credentials="daemon"))
        cloud = entered(FakeCloud(seed=6))
        _install(hooks, warden, cloud)
        yield Stage(hooks, warden, qpu, cloud)


def _install(hooks: Path, warden: FakeWarden, cloud: FakeCloud) -> None:
    pack.install(hooks)
    local = {"QRMI_WARDEN_URL": warden.url}
    resources = [
        {"name": "fresnel1", "type": "pasqal-local", "environment": local},
        {"name": "fresnel2", "type": "pasqal-local", "environment": local},
        {"name": "EMU_FREE", "type": "pasqal-cloud", "environment": cloud.qrmi_config()},
    ]
    (hooks / "qrmi_config.json").write_text(json.dumps({"resources": resources}))
    (hooks / "qpu_hook.json").write_text(json.dumps({"state_dir": str(hooks / "sessions")}))
    (hooks / "job.py").write_text(JOB.read_text())
    (hooks / "sequence.json").write_text(_inversion().to_abstract_repr())


def _inversion() -> pulser.Sequence:
    register = pulser.Register({"q0": (0.0, 0.0), "q1": (40.0, 0.0)})
    sequence = pulser.Sequence(register, devices.found(DEVICE))
    sequence.declare_channel("drive", "rydberg_global")
    sequence.add(pulser.Pulse.ConstantPulse(500, 6.283185307, 0.0, 0.0), "drive")
    return sequence
