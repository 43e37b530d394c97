"""One kernel, one command: on a laptop, in a job of Slurm, in a job of Grid Engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from scipy.stats import chi2_contingency

from tests.hpc.daemons import LIMIT_S
from tests.hpc.grid_engine import GridEngine
from tests.hpc.slurm import Slurm
from tests.hpc.stage import DEVICE, Stage, said

pytestmark = pytest.mark.hpc

N_SHOTS = 1000
# Equal distributions are told apart by chance once in a million times.
UNLIKELY = 1e-6
KERNEL = """\
import cudaq


@cudaq.kernel
def tilted():
    q = cudaq.qvector(2)
    ry(1.1, q[0])
    x.ctrl(q[0], q[1])
    rx(0.6, q[1])
    mz(q)
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("kernel") / "tilted.py"
    path.write_text(KERNEL)
    return f"{sys.executable} -m cudaq_target run {path}:tilted --shots {N_SHOTS} --json"


@pytest.fixture(scope="module")
def at_home(command: str) -> Mapping[str, int]:
    options = ["--machine", "local", "--device", DEVICE]
    done = subprocess.run(
        [*command.split(), *options], capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    return json.loads(done.stdout)["counts"]


def are_alike(ours: Mapping[str, int], theirs: Mapping[str, int]) -> bool:
    keys = sorted({*ours, *theirs})
    table = [[counts.get(key, 0) for key in keys] for counts in (ours, theirs)]
    return bool(chi2_contingency(table).pvalue > UNLIKELY)


def script(command: str) -> str:
    """The command as it is: the job's resource is the machine."""
    return f"#!/bin/bash\ncd {Path.cwd()}\n{command} | python3 -c '{_ONE_LINE}'\n"


_ONE_LINE = "import json, sys; print(json.dumps(json.load(sys.stdin)))"


@pytest.mark.parametrize("resource", ["fresnel1", "EMU_FREE"])
def test_under_slurm(
    slurm: Slurm, stage: Stage, command: str, at_home: Mapping[str, int], resource: str
) -> None:
    job = slurm.submit(script(command), f"--gres=qpu:{resource}:1")
    assert slurm.ended(job) == ["COMPLETED"], slurm.output(job)
    result = said(slurm.output(job))
    assert result["machine"].startswith("qrmi")
    assert sum(result["counts"].values()) == N_SHOTS
    assert are_alike(result["counts"], at_home)
    assert slurm.node_state() == "idle"
    assert stage.n_open() == 0


@pytest.mark.parametrize("resource", ["fresnel1", "EMU_FREE"])
def test_under_grid_engine(
    grid_engine: GridEngine, command: str, at_home: Mapping[str, int], resource: str
) -> None:
    job = grid_engine.submit(script(command), "-l", f"qpu={resource},qpu_slots=1")
    assert grid_engine.ended(job) == [0], grid_engine.output(job)
    result = said(grid_engine.output(job))
    assert result["machine"].startswith("qrmi")
    assert sum(result["counts"].values()) == N_SHOTS
    assert are_alike(result["counts"], at_home)


def test_without_its_qpu_a_job_says_why(slurm: Slurm, command: str) -> None:
    """Where only a variable says so, because no hook failed the job, the command does."""
    lines = [
        "set -o pipefail",
        "export QRMI_JOB_QPU_RESOURCES=a QRMI_JOB_QPU_TYPES=pasqal-local",
        "export QRMI_PLUGIN_ERROR='the QPU is away'",
    ]
    job = slurm.submit("#!/bin/bash\n" + "\n".join(lines) + f"\n{command} | cat\n")
    assert slurm.ended(job) == ["FAILED"]
    assert "the QPU is away" in slurm.output(job)
