"""Jobs of a real Slurm with the hooks of this project, before stand-ins of Warden and cloud."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.hpc.daemons import until
from tests.hpc.slurm import Slurm
from tests.hpc.stage import N_SHOTS, USERS, Stage, said

pytestmark = pytest.mark.hpc

SLEEP = "#!/bin/bash\nsleep 600\n"


@pytest.mark.parametrize("user", ["root", USERS[0]])
def test_from_submission_to_result(slurm: Slurm, stage: Stage, user: str) -> None:
    job = slurm.submit(stage.script(user), "--gres=qpu:fresnel1:1", "--time=10", user=user)
    assert slurm.ended(job) == ["COMPLETED"], slurm.output(job)
    result = said(slurm.output(job))
    assert result["counts"] == {"11": N_SHOTS}
    slurm.node_state()
    (session,) = stage.sessions_of(job)
    assert session.user_id == str(result["uid"])
    assert session.revoked_s is not None
    assert result["seen"]["QRMI_JOB_QPU_RESOURCES"] == "fresnel1"
    assert result["seen"]["fresnel1_QRMI_JOB_TIMEOUT_SECONDS"] == "600"
    assert not list((stage.hooks / "sessions").iterdir())


def test_the_cloud_s_resource_needs_no_session(slurm: Slurm, stage: Stage) -> None:
    n_before = len(stage.warden.sessions)
    script = stage.script().replace("sequence.json", "cloud.json")
    text = (stage.hooks / "sequence.json").read_text()
    (stage.hooks / "cloud.json").write_text(text)
    job = slurm.submit(script, "--gres=qpu:EMU_FREE:1")
    assert slurm.ended(job) == ["COMPLETED"]
    assert said(slurm.output(job))["counts"] == {"11": N_SHOTS}
    assert len(stage.warden.sessions) == n_before


def test_tasks_of_an_array_have_the_qpu_one_by_one(slurm: Slurm, stage: Stage) -> None:
    job = slurm.submit(
        stage.script(USERS[0]), "--gres=qpu:fresnel1:1", "--array=0-2", user=USERS[0]
    )
    assert slurm.ended(job) == ["COMPLETED"] * 3
    slurm.node_state()
    times = []
    for record in slurm.records(job):
        output = slurm.output(f"{job}_{record['ArrayTaskId']}")
        assert said(output)["counts"] == {"11": N_SHOTS}
        (session,) = stage.sessions_of(record["JobId"])
        times.append((session.created_s, session.revoked_s))
    assert all(end <= start for (_, end), (start, _) in pairwise(sorted(times)))


def test_srun_and_batch_see_the_same(slurm: Slurm) -> None:
    show = "env | grep -E 'QRMI|JOB_QPU' | sort"
    script = f'#!/bin/bash\n{show}\necho --\nsrun bash -c "{show}"\n'
    job = slurm.submit(script, "--gres=qpu:EMU_FREE:1,qpu:fresnel1:1", user=USERS[0])
    assert slurm.ended(job) == ["COMPLETED"]
    batch, step = slurm.output(job).split("--\n")
    assert batch == step
    assert "SLURM_JOB_QPU_TYPES=pasqal-cloud,pasqal-local\n" in batch


def test_a_comment_asks_where_there_is_no_gres(slurm: Slurm, stage: Stage) -> None:
    job = slurm.submit(stage.script(), "--comment=a run on qpu=fresnel2")
    assert slurm.ended(job) == ["COMPLETED"]
    assert said(slurm.output(job))["counts"] == {"11": N_SHOTS}


def test_the_session_of_another_user_is_of_no_use(slurm: Slurm, stage: Stage) -> None:
    first = slurm.submit(SLEEP, "--gres=qpu:fresnel1:1", user=USERS[0])
    slurm.runs(first)
    (session,) = until(lambda: stage.sessions_of(first), "the first job has its session")
    stolen = f"export fresnel2_QRMI_JOB_ACQUISITION_TOKEN={session.id}\n"
    script = stage.script(USERS[1]).replace("#!/bin/bash\n", "#!/bin/bash\n" + stolen)
    second = slurm.submit(script, "--gres=qpu:fresnel2:1", user=USERS[1])
    assert slurm.ended(second) == ["COMPLETED"]
    assert "403" in said(slurm.output(second))["error"]
    assert "belongs to another user" in said(slurm.output(second))["error"]
    slurm.command("scancel", first)
    slurm.node_state()


def test_a_job_cannot_have_the_files_of_another(slurm: Slurm, stage: Stage) -> None:
    first = slurm.submit(SLEEP, "--gres=qpu:fresnel1:1", user=USERS[0])
    slurm.runs(first)
    folder = stage.hooks / "sessions"
    look = f"#!/bin/bash\nls {folder}\ncat {folder}/{first}.json {folder}/{first}.sessions\n"
    second = slurm.submit(look, user=USERS[1])
    assert slurm.ended(second) == ["FAILED"]
    assert slurm.output(second).count("Permission denied") == 3
    slurm.command("scancel", first)


def test_a_cancelled_job_gives_its_session_back(slurm: Slurm, stage: Stage) -> None:
    job = slurm.submit(SLEEP, "--gres=qpu:fresnel1:1", user=USERS[0])
    slurm.runs(job)
    until(lambda: stage.sessions_of(job), "the job has its session")
    slurm.command("scancel", job)
    assert slurm.ended(job) == ["CANCELLED"]
    until(lambda: stage.sessions_of(job)[0].revoked_s is not None, "the session is closed")
    assert slurm.node_state() == "idle"


def test_a_crashed_job_gives_its_session_back(slurm: Slurm, stage: Stage) -> None:
    job = slurm.submit("#!/bin/bash\nkill -9 $$\n", "--gres=qpu:fresnel1:1", user=USERS[0])
    assert slurm.ended(job) == ["FAILED"]
    until(lambda: stage.sessions_of(job)[0].revoked_s is not None, "the session is closed")
    assert slurm.node_state() == "idle"


def test_a_qpu_that_is_out_of_reach_fails_the_job_and_no_node(slurm: Slurm, stage: Stage) -> None:
    stage.cloud.availability["EMU_FREE"] = "MAINTENANCE"
    try:
        job = slurm.submit(stage.script(), "--gres=qpu:EMU_FREE:1")
        assert slurm.ended(job) == ["FAILED"]
    finally:
        stage.cloud.availability["EMU_FREE"] = "ACTIVE"
    assert "QPU: QPU resource EMU_FREE is not accessible" in slurm.output(job)
    assert slurm.node_state() == "idle"


def test_a_resource_that_nobody_knows(slurm: Slurm, stage: Stage) -> None:
    job = slurm.submit(stage.script(), "--comment=qpu=nope")
    assert slurm.ended(job) == ["FAILED"]
    assert "unknown QPU resource nope; this site has: fresnel1, fresnel2" in slurm.output(job)
    assert slurm.node_state() == "idle"


def test_a_warden_that_refuses_fails_the_job_and_no_node(slurm: Slurm, stage: Stage) -> None:
    stage.warden.fault("sessions.create", 503)
    job = slurm.submit(stage.script(), "--gres=qpu:fresnel1:1")
    assert slurm.ended(job) == ["FAILED"]
    assert "QPU: QPU resource fresnel1: " in slurm.output(job)
    assert slurm.node_state() == "idle"


def test_no_session_stays_open(slurm: Slurm, stage: Stage) -> None:
    slurm.node_state()
    until(lambda: stage.n_open() == 0, "all sessions are closed")
