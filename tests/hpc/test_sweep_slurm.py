"""Sweeps on dask's workers in jobs of a real Slurm."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from cudaq_target.sweep import sweep
from tests.hpc import sweep_functions as functions
from tests.hpc.slurm import Slurm
from tests.hpc.stage import Stage

pytestmark = pytest.mark.hpc


@pytest.fixture
def at_slurm(slurm: Slurm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Slurm:
    """This process talks to the Slurm of the tests, and its jobs find this package."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return slurm


def cluster(folder: Path, *directives: str, n_workers: int = 1) -> Any:
    dask_jobqueue = pytest.importorskip("dask_jobqueue")
    return dask_jobqueue.SLURMCluster(
        cores=n_workers,
        processes=n_workers,
        memory="1GB",
        walltime="00:10:00",
        python=sys.executable,
        interface="lo",
        local_directory=str(folder),
        log_directory=str(folder),
        job_extra_directives=list(directives),
        scheduler_options={"dashboard_address": "127.0.0.1:0"},
    )


def test_the_qpu_stays_with_one_job(at_slurm: Slurm, stage: Stage, tmp_path: Path) -> None:
    with (
        cluster(tmp_path, n_workers=2) as classical,
        cluster(tmp_path, "--gres=qpu:fresnel1:1") as quantum,
    ):
        classical.scale(jobs=1)
        quantum.scale(jobs=1)
        found = sweep(
            functions.either,
            range(6),
            executor=classical,
            qpu_executor=quantum,
            needs_qpu=functions.is_even,
        )
    at_qpu, elsewhere = found[::2], found[1::2]
    assert [counts for _, counts in at_qpu] == [{"1": 10}, {"1": 12}, {"1": 14}]
    ((job,), (other,)) = ({job for job, _ in at_qpu}, {job for job, _ in elsewhere})
    assert job != other
    assert {qpu for _, qpu in elsewhere} == {None}
    (session,) = stage.sessions_of(job)
    at_slurm.ended(job)
    at_slurm.ended(other)
    at_slurm.node_state()
    assert session.revoked_s is not None


def test_the_recipe_of_a_job_array_with_telemetry(at_slurm: Slurm, tmp_path: Path) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    telemetry = {
        "TRACEPARENT": f"00-{trace}-b7ad6b7169203331-01",
        "PASQAL_TRACES": str(tmp_path / "spans.jsonl"),
        "PASQAL_METRICS_FILE": str(tmp_path / "{job}.prom"),
    }
    root = Path(__file__).parents[2]
    recipe = (root / "examples" / "sweep_array.sh").read_text()
    script = recipe.replace("python examples", f"{sys.executable} {root}/examples")
    job = at_slurm.submit(
        script, "--array=0-1", f"--chdir={tmp_path}", **{**os.environ, **telemetry}
    )
    assert at_slurm.ended(job) == ["COMPLETED"] * 2
    parts = sorted(path.name for path in (tmp_path / "sweep-parts").iterdir())
    assert parts == [f"{k}.json" for k in range(6)]
    spans = [json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines()]
    assert sorted(span["name"] for span in spans) == ["run"] * 6 + ["task pair"] * 6
    assert {span["context"]["trace_id"] for span in spans} == {f"0x{trace}"}
    shots = "".join(path.read_text() for path in tmp_path.glob("*.prom"))
    for record in at_slurm.records(job):
        labels = f'{{batch_job="{record["JobId"]}",resource="local"}}'
        assert f"pasqal_qpu_shots_total{labels} 600.0\n" in shots
