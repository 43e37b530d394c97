"""Jobs of a real Grid Engine with the hooks of this project, and the same jobs under Slurm."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.hpc.daemons import until
from tests.hpc.grid_engine import GridEngine
from tests.hpc.slurm import Slurm
from tests.hpc.stage import N_SHOTS, USERS, Stage, said

pytestmark = pytest.mark.hpc

SLEEP = "#!/bin/bash\nsleep 600\n"


def asking(name: str) -> tuple[str, str]:
    return ("-l", f"qpu={name},qpu_slots=1")


@pytest.mark.parametrize("user", ["root", USERS[0]])
def test_from_submission_to_result(grid_engine: GridEngine, inner_stage: Stage, user: str) -> None:
    job = grid_engine.submit(
        inner_stage.script(user), "-l", "h_rt=600", *asking("fresnel1"), user=user
    )
    assert grid_engine.ended(job) == [0]
    result = said(grid_engine.output(job))
    assert result["counts"] == {"11": N_SHOTS}
    assert result["seen"]["fresnel1_QRMI_JOB_TIMEOUT_SECONDS"] == "600"
    (session,) = inner_stage.sessions_of(job)
    assert session.user_id == str(result["uid"])
    assert session.revoked_s is not None


def test_the_same_script_sees_the_same_on_both(
    grid_engine: GridEngine, inner_stage: Stage, slurm: Slurm, stage: Stage
) -> None:
    user = USERS[0]
    here = slurm.submit(stage.script(user), "--gres=qpu:fresnel1:1", "--time=10", user=user)
    options = ("-l", "h_rt=0:10:0", *asking("fresnel1"))
    there = grid_engine.submit(inner_stage.script(user), *options, user=user)
    assert slurm.ended(here) == ["COMPLETED"]
    assert grid_engine.ended(there) == [0]
    ours, theirs = said(slurm.output(here)), said(grid_engine.output(there))
    assert ours["counts"] == theirs["counts"] == {"11": N_SHOTS}
    assert ours["seen"].keys() == theirs["seen"].keys()
    # Two Wardens, two sessions, two numbers; all else is equal.
    differing = {name for name, value in ours["seen"].items() if theirs["seen"][name] != value}
    assert differing <= {
        "QRMI_JOB_ID",
        "fresnel1_QRMI_JOB_ACQUISITION_TOKEN",
        "fresnel1_QRMI_WARDEN_URL",
    }


def test_tasks_of_an_array_have_the_qpu_one_by_one(
    grid_engine: GridEngine, inner_stage: Stage
) -> None:
    script = inner_stage.script(USERS[0])
    job = grid_engine.submit(script, "-t", "1-3", *asking("fresnel1"), user=USERS[0])
    assert grid_engine.ended(job) == [0, 0, 0]
    times = []
    for task in "123":
        assert said(grid_engine.output(job, task))["counts"] == {"11": N_SHOTS}
        (session,) = inner_stage.sessions_of(f"{job}.{task}")
        times.append((session.created_s, session.revoked_s))
    assert all(end <= start for (_, end), (start, _) in pairwise(sorted(times)))


def test_the_session_of_another_user_is_of_no_use(
    grid_engine: GridEngine, inner_stage: Stage
) -> None:
    first = grid_engine.submit(SLEEP, *asking("fresnel1"), user=USERS[0])
    (session,) = until(lambda: inner_stage.sessions_of(first), "the first job has its session")
    stolen = f"export fresnel2_QRMI_JOB_ACQUISITION_TOKEN={session.id}\n"
    script = inner_stage.script(USERS[1]).replace("#!/bin/bash\n", "#!/bin/bash\n" + stolen)
    second = grid_engine.submit(script, *asking("fresnel2"), user=USERS[1])
    assert grid_engine.ended(second) == [0]
    assert "belongs to another user" in said(grid_engine.output(second))["error"]


def test_what_is_written_for_a_job_only_its_user_reads(
    grid_engine: GridEngine, inner_stage: Stage
) -> None:
    first = grid_engine.submit(SLEEP, *asking("fresnel1"), user=USERS[0])
    grid_engine.runs(first)
    (path,) = (grid_engine.state / "spool" / "execd").glob(f"*/active_jobs/{first}.1/environment")
    look = f"#!/bin/bash\ncat {path} {path.with_name('qpu.sessions')}\n"
    second = grid_engine.submit(look, *asking("EMU_FREE"), user=USERS[1])
    assert grid_engine.ended(second) == [1]
    assert grid_engine.output(second).count("Permission denied") == 2
    assert inner_stage.sessions_of(first)[0].id not in grid_engine.output(second)


def test_a_deleted_job_gives_its_session_back(grid_engine: GridEngine, inner_stage: Stage) -> None:
    job = grid_engine.submit(SLEEP, *asking("fresnel1"), user=USERS[0])
    grid_engine.runs(job)
    until(lambda: inner_stage.sessions_of(job), "the job has its session")
    grid_engine.command("qdel", job)
    until(lambda: inner_stage.sessions_of(job)[0].revoked_s is not None, "the session is closed")
    assert not any(grid_engine.queue_states())


def test_a_crashed_job_gives_its_session_back(grid_engine: GridEngine, inner_stage: Stage) -> None:
    job = grid_engine.submit("#!/bin/bash\nkill -9 $$\n", *asking("fresnel1"), user=USERS[0])
    assert grid_engine.ended(job) == [128 + 9]
    assert inner_stage.sessions_of(job)[0].revoked_s is not None
    assert not any(grid_engine.queue_states())


def test_a_qpu_that_is_out_of_reach_fails_the_job_and_no_queue(
    grid_engine: GridEngine, inner_stage: Stage
) -> None:
    inner_stage.cloud.availability["EMU_FREE"] = "MAINTENANCE"
    try:
        job = grid_engine.submit(inner_stage.script(), *asking("EMU_FREE"))
        assert grid_engine.ended(job) == [1]
    finally:
        inner_stage.cloud.availability["EMU_FREE"] = "ACTIVE"
    assert "\nQPU: QPU resource EMU_FREE is not accessible\n" in grid_engine.output(job)
    assert not any(grid_engine.queue_states())


def test_a_resource_that_the_hook_does_not_know(
    grid_engine: GridEngine, inner_stage: Stage
) -> None:
    job = grid_engine.submit(inner_stage.script(), *asking("stale"))
    assert grid_engine.ended(job) == [1]
    assert "unknown QPU resource stale; this site has: fresnel1" in grid_engine.output(job)
    assert not any(grid_engine.queue_states())


def test_a_resource_that_nobody_offers_is_waited_for(
    grid_engine: GridEngine, inner_stage: Stage
) -> None:
    job = grid_engine.submit(inner_stage.script(), *asking("nope"))
    until(lambda: "(-l qpu=nope" in grid_engine.waits(job), "the job is told why it waits")


def test_no_session_stays_open(grid_engine: GridEngine, inner_stage: Stage) -> None:
    assert not any(grid_engine.queue_states())
    until(lambda: inner_stage.n_open() == 0, "all sessions are closed")
