"""The stand-in of Pasqal Cloud, driven by the real clients: pasqal-cloud and the QRMI wheel."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cudaq_target.fakes import FakeCloud, devices
from tests.hpc.fake_clients import (
    CORE,
    LIMIT_S,
    PAIR_IN_G,
    ask,
    asymmetric,
    batch_of,
    bearer,
    parametrised,
    sdk,
    sdk_options,
    until,
)
from tests.hpc.test_fakes_emulate import ahs

qrmi = pytest.importorskip("qrmi")


@pytest.fixture
def quick() -> Iterator[FakeCloud]:
    """A cloud whose jobs take no time."""
    with FakeCloud(engine="zeros") as cloud:
        yield cloud


def resource(cloud: FakeCloud, name: str = "EMU_FREE", **given: Any) -> Any:
    config = cloud.qrmi_config(**given)
    return qrmi.QuantumResource.from_config(name, qrmi.ResourceType.PasqalCloud, config)


def started(target: Any, text: str | None = None, n_runs: int = 20) -> str:
    sequence = asymmetric().to_abstract_repr() if text is None else text
    return str(target.task_start(qrmi.Payload.PasqalCloud(sequence=sequence, job_runs=n_runs)))


def finished(cloud: FakeCloud) -> None:
    until(lambda: cloud.jobs and all(job.order.has_ended for job in cloud.jobs))


def test_a_closed_batch_of_the_sdk(fake_cloud: FakeCloud) -> None:
    with sdk(fake_cloud) as client:
        batch = client.create_batch(
            asymmetric().to_abstract_repr(),
            jobs=[{"runs": 1000}, {"runs": 50}],
            device_type="EMU_FREE",
            tags=["asymmetric"],
        )
        finished(fake_cloud)
        batch.refresh()
        assert (batch.status, batch.open, batch.jobs_count) == ("DONE", False, 2)
        assert batch.jobs_count_per_status == {"DONE": 2}
        first, second = batch.ordered_jobs
        assert sum(first.result.values()) == 1000
        assert sum(second.result.values()) == 50
        # Atom 0, which is alone, is inverted, and is leftmost.
        assert first.result["100"] / 1000 == pytest.approx(PAIR_IN_G, abs=0.08)
        assert set(first.result) <= {"100", "101", "110", "111"}
        assert client.get_batch(batch.id).tags == ["asymmetric"]
    (created,) = fake_cloud.asked("batches.create")
    assert created.headers["content-encoding"] == "gzip"
    assert created.json()["jobs"] == [{"runs": 1000}, {"runs": 50}]


def test_an_open_batch_takes_jobs_until_it_is_closed(fake_cloud: FakeCloud) -> None:
    text = parametrised().to_abstract_repr()
    with sdk(fake_cloud) as client:
        first = {"runs": 30, "variables": {"duration": 500}}
        batch = client.create_batch(text, jobs=[first], device_type="EMU_FREE", open=True)
        finished(fake_cloud)
        assert client.get_batch_status(batch.id).value == "RUNNING"
        batch.add_jobs([{"runs": 40, "variables": {"duration": 1000}}])
        finished(fake_cloud)
        batch.retry(batch.ordered_jobs[0])
        finished(fake_cloud)
        batch.close()
        batch.refresh()
        results = [job.result for job in client.get_batch(batch.id).ordered_jobs]
        assert results == [{"1": 30}, {"0": 40}, {"1": 30}]
        assert batch.status == "DONE"
        with pytest.raises(BaseException, match="takes no more jobs"):
            batch.add_jobs([first])
        with pytest.raises(BaseException, match="DONE already"):
            batch.close()


def test_pulsers_remote_backends(fake_cloud: FakeCloud) -> None:
    from pasqal_cloud.backends import RemoteEmuFreeBackend
    from pasqal_cloud.pasqal_cloud_connection import PasqalCloudConnection
    from pulser.backend import BitStrings, EmulationConfig

    connection = PasqalCloudConnection(**sdk_options(fake_cloud))
    try:
        reported = connection.fetch_available_devices()
        assert reported["FRESNEL"] == devices.device("FRESNEL")
        config = EmulationConfig(observables=[BitStrings(num_shots=77)])
        backend = RemoteEmuFreeBackend(asymmetric(), connection, config=config)
        pending = backend.run()
        finished(fake_cloud)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the client uses a class that Pulser gives up
            (result,) = pending.results
        assert sum(result.final_bitstrings.values()) == 77
    finally:
        connection.cloud_client._client.session.close()


def test_lists_rebatch_tags_and_cancel_of_many(quick: FakeCloud) -> None:
    from pasqal_cloud.utils.constants import JobStatus
    from pasqal_cloud.utils.filters import (
        BatchFilters,
        CancelJobFilters,
        JobFilters,
        PaginationParams,
        RebatchFilters,
    )

    text = asymmetric().to_abstract_repr()
    quick.fault("job", "ERROR", text="the laser is off")
    with sdk(quick) as client:
        failed = client.create_batch(text, jobs=[{"runs": 1}, {"runs": 2}], device_type="EMU_FREE")
        finished(quick)
        assert client.get_batch(failed.id).status == "ERROR"
        found = client.get_jobs(JobFilters(batch_id=failed.id, status=JobStatus.ERROR))
        assert [job.errors for job in found.results] == [["the laser is off"]]
        again = client.rebatch(failed.id, RebatchFilters(status=JobStatus.ERROR))
        finished(quick)
        assert again.parent_id == failed.id
        assert [job.runs for job in again.ordered_jobs] == [1]
        client.set_batch_tags(again.id, ["second try"])
        assert [
            batch.id for batch in client.get_batches(BatchFilters(tag="second try")).results
        ] == [again.id]
        page = client.get_jobs(pagination_params=PaginationParams(offset=1, limit=1))
        assert (page.total, len(page.results), page.results[0].runs) == (3, 1, 2)
        quick.fault("job", "RUNNING", times=None)
        held = [
            client.create_batch(text, jobs=[{"runs": 7}, {"runs": 9}], device_type="EMU_FREE")
            for _ in range(2)
        ]
        some = client.cancel_jobs(held[0].id, CancelJobFilters(min_runs=8))
        assert [job.runs for job in some.jobs] == [9]
        outcome = client.cancel_batches([batch.id for batch in held] + [failed.id])
        assert {batch.id for batch in outcome.batches} == {batch.id for batch in held}
        assert [str(name) for name in outcome.errors] == [failed.id]
        assert {job.status for job in client.get_batch(held[1].id).ordered_jobs} == {"CANCELED"}
        assert [project.id for project in client.get_all_projects()] == [quick.project_id]


def test_a_task_of_qrmi(fake_cloud: FakeCloud) -> None:
    target = resource(fake_cloud)
    assert target.status().status == qrmi.ResourceStatusCode.Online
    described = json.loads(target.target().value)
    assert {"device_type": "EMU_FREE", "specs": devices.specs("EMU_FREE")} in described
    task = started(target, n_runs=300)
    finished(fake_cloud)
    assert target.task_status(task) == qrmi.TaskStatus.Completed
    counter = json.loads(target.task_result(task).value)["counter"]
    assert sum(counter.values()) == 300
    assert {bits[0] for bits in counter} == {"1"}
    assert "no logs" in target.task_logs(task)
    with pytest.raises(qrmi.QrmiError, match="cannot be canceled"):
        target.task_stop(task)


def test_an_ahs_task_of_qrmi(fake_cloud: FakeCloud) -> None:
    target = resource(fake_cloud)
    task = started(target, ahs((0.0, np.pi), [1, 1]), 100)
    finished(fake_cloud)
    assert target.task_status(task) == qrmi.TaskStatus.Completed
    assert json.loads(target.task_result(task).value) == {"counter": {"00": 100}}
    assert len(fake_cloud.asked("cudaq.create")) == 1


def test_qrmi_finds_it_in_the_environment(
    quick: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in quick.qrmi_environment("FRESNEL", client=True).items():
        monkeypatch.setenv(name, value)
    (target,) = qrmi.QRMIService().resources()
    assert target.resource_id() == "FRESNEL"
    assert json.loads(target.target().value)[0]["device_type"] == "FRESNEL"
    quick.availability["FRESNEL"] = "MAINTENANCE"
    assert target.status().status != qrmi.ResourceStatusCode.Online


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("PENDING", "Queued"),
        ("RUNNING", "Running"),
        ("CANCELING", "Cancelled"),
        ("CANCELED", "Cancelled"),
        ("ERROR", "Failed"),
        ("PAUSED", None),
        ("TIMED_OUT", None),
    ],
)
def test_every_state_of_a_job(quick: FakeCloud, kind: str, status: str | None) -> None:
    planned = quick.fault("job", kind)
    target = resource(quick)
    task = started(target)
    until(lambda: planned.happened and quick.jobs[0].order.status == kind)
    if status is None:
        with pytest.raises(qrmi.QrmiError):
            target.task_status(task)
    else:
        assert target.task_status(task) == getattr(qrmi.TaskStatus, status)
    quick.release()
    if kind in ("PENDING", "RUNNING", "PAUSED", "CANCELING"):
        finished(quick)
        assert target.task_status(task) == qrmi.TaskStatus.Completed


@pytest.mark.parametrize("kind", ["no-result", "bad-result", "few-shots"])
def test_results_that_are_not_what_was_asked_for(quick: FakeCloud, kind: str) -> None:
    quick.fault("job", kind)
    target = resource(quick)
    task = started(target)
    finished(quick)
    if kind == "few-shots":
        assert json.loads(target.task_result(task).value) == {"counter": {"000": 19}}
        return
    with pytest.raises(qrmi.QrmiError):
        target.task_result(task)
    with sdk(quick) as client:
        job = client.get_batch(task).ordered_jobs[0]
        if kind == "no-result":
            assert job.result is None
        else:
            with pytest.raises(ValueError, match="Expecting"):
                _ = job.result


def test_a_job_that_is_done_when_it_is_canceled(quick: FakeCloud) -> None:
    planned = quick.fault("job", "done-at-cancel")
    target = resource(quick)
    task = started(target)
    until(lambda: planned.happened and quick.jobs[0].order.status == "RUNNING")
    with pytest.raises(qrmi.QrmiError, match="is DONE and cannot be canceled"):
        target.task_stop(task)
    assert json.loads(target.task_result(task).value) == {"counter": {"000": 20}}


def test_a_running_job_is_canceled(quick: FakeCloud) -> None:
    quick.orders.service_s = 1000.0
    target = resource(quick)
    task = started(target)
    until(lambda: quick.jobs[0].order.status == "RUNNING")
    target.task_stop(task)
    assert target.task_status(task) == qrmi.TaskStatus.Cancelled
    assert quick.batches[0].status == "CANCELED"


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503, 504])
def test_every_status_reaches_qrmi_once(quick: FakeCloud, status: int) -> None:
    target = resource(quick)
    task = started(target)
    quick.fault("batches.get", status, text="not today")
    with pytest.raises(qrmi.QrmiError, match=f"{status}.*not today"):
        target.task_status(task)
    assert [exchange.status for exchange in quick.asked("batches.get")] == [status]
    assert target.task_status(task) is not None


@pytest.mark.parametrize("status", [401, 403, 404, 503])
def test_statuses_reach_the_sdk_with_their_text(quick: FakeCloud, status: int) -> None:
    from pasqal_cloud.errors import BatchFetchingError

    with sdk(quick) as client:
        quick.fault("batches.get", status, text="not today")
        with pytest.raises(BatchFetchingError, match=f"{status}: not today"):
            client.get_batch("00000000-0000-4000-8000-000000000000")


def test_the_sdk_waits_as_long_as_it_is_told(quick: FakeCloud) -> None:
    with sdk(quick) as client:
        quick.fault("projects", 429, retry_after_s=0, times=3)
        assert len(client.get_all_projects()) == 1
    assert [exchange.status for exchange in quick.asked("projects")] == [429, 429, 429, 200]


@pytest.mark.parametrize("kind", ["drop", "lost", "half", "garbage"])
def test_replies_that_do_not_arrive(quick: FakeCloud, kind: str) -> None:
    target = resource(quick)
    quick.fault("batches.create", kind)
    with pytest.raises(qrmi.QrmiError):
        started(target)
    # A reply that is lost leaves a job behind; a request that is dropped does not.
    assert len(quick.jobs) == (kind != "drop")


def test_tokens_expire_in_mid_run(quick: FakeCloud) -> None:
    from pasqal_cloud.errors import BatchFetchingError

    with sdk(quick) as client:
        batch = client.create_batch(
            asymmetric().to_abstract_repr(), jobs=[{"runs": 1}], device_type="EMU_FREE"
        )
        quick.fault("batches.get", "expire")
        with pytest.raises(BatchFetchingError, match="401: Token has expired"):
            client.get_batch(batch.id)
    with sdk(quick) as client:  # logs in again
        assert client.get_batch(batch.id).id == batch.id


def test_qrmi_fetches_another_token_before_one_expires(quick: FakeCloud) -> None:
    target = resource(quick, client=True)
    quick.tokens.lifetime_s = 5.0
    task = started(target)
    target.task_status(task)
    assert len(quick.asked("token")) > 1


def test_a_service_whose_clock_is_behind() -> None:
    """To the client, every token of the service has expired two hours ago."""
    with FakeCloud(engine="zeros", clock_skew_s=-7200.0) as cloud:
        target = resource(cloud, client=True)
        task = started(target)
        finished(cloud)
        assert target.task_status(task) == qrmi.TaskStatus.Completed
        assert len(cloud.asked("token")) > 1


def test_wrong_credentials(quick: FakeCloud) -> None:
    from pasqal_cloud.authentication import TokenProviderError

    with (
        pytest.raises(TokenProviderError, match="403: Wrong email or password"),
        sdk(quick, password="wrong"),
    ):
        pass
    config = quick.qrmi_config(client=True) | {"QRMI_PASQAL_CLOUD_CLIENT_SECRET": "wrong"}
    target = qrmi.QuantumResource.from_config("EMU_FREE", qrmi.ResourceType.PasqalCloud, config)
    with pytest.raises(qrmi.QrmiError):
        started(target)
    assert [exchange.status for exchange in quick.asked("token")] == [403, 401]
    quick.fault("token", 503, text="down")
    with pytest.raises(TokenProviderError, match="503: down"), sdk(quick):
        pass


def test_digital_pulses_fail_where_only_rydberg_levels_are_known(fake_cloud: FakeCloud) -> None:
    import pulser

    sequence = pulser.Sequence(pulser.Register({"a": (0, 0)}), devices.device("EMU_FREE"))
    sequence.declare_channel("raman", "raman_local", initial_target="a")
    sequence.add(pulser.Pulse.ConstantPulse(100, 3.0, 0.0, 0.0), "raman")
    text = sequence.to_abstract_repr()
    path = f"{CORE}/v1/batches"
    for name in ("EMU_MPS", "EMU_FREE"):
        request = batch_of(fake_cloud, sequence_builder=text, device_type=name)
        assert ask(fake_cloud, "POST", path, request, bearer(fake_cloud))[0] == 200
    finished(fake_cloud)
    assert [job.order.status for job in fake_cloud.jobs] == ["ERROR", "DONE"]
    assert "ground-rydberg alone" in str(fake_cloud.jobs[0].order.errors)


def test_a_batch_that_was_left_open_times_out(quick: FakeCloud) -> None:
    with sdk(quick) as client:
        batch = client.create_batch(
            asymmetric().to_abstract_repr(), jobs=[{"runs": 1}], device_type="EMU_FREE", open=True
        )
        finished(quick)
        quick.force(batch.id, "TIMED_OUT")
        assert client.get_batch_status(batch.id).value == "TIMED_OUT"
        with pytest.raises(BaseException, match="is TIMED_OUT and takes no more jobs"):
            batch.add_jobs([{"runs": 1}])


def test_equal_seeds_give_equal_counts() -> None:
    def counter() -> Any:
        with FakeCloud(seed=3) as cloud:
            target = resource(cloud)
            task = started(target, n_runs=500)
            finished(cloud)
            return json.loads(target.task_result(task).value)

    assert counter() == counter()


def test_secrets_are_not_in_the_log_as_it_is_shown(quick: FakeCloud) -> None:
    with sdk(quick) as client:
        client.get_all_projects()
    shown = repr(quick.requests) + repr(quick.account) + repr(vars(quick))
    assert quick.account.password not in shown
    assert "Bearer" not in shown


def test_cudaqs_own_target_reaches_it_too() -> None:
    """CUDA-Q 0.16 without this package's target, in a process of its own; it turns bits round."""
    pytest.importorskip("cudaq")
    code = """
        import importlib.metadata
        found = importlib.metadata.entry_points
        importlib.metadata.entry_points = lambda **chosen: (
            [] if chosen.get("group") == "cudaq.backends" else found(**chosen)
        )
        import cudaq
        from cudaq.dynamics import Schedule
        from cudaq.operators import RydbergHamiltonian, ScalarOperator
        cudaq.set_target("pasqal", machine="qrmi")
        hamiltonian = RydbergHamiltonian(
            atom_sites=[(-30e-6, 0.0), (5e-6, 0.0), (10e-6, 0.0)],
            amplitude=ScalarOperator(lambda t: 6.283185307e6),
            phase=ScalarOperator.const(0.0),
            delta_global=ScalarOperator.const(0.0),
        )
        schedule = Schedule([5e-8 * k for k in range(11)], ["t"])
        result = cudaq.evolve(hamiltonian, schedule=schedule, shots_count=200)
        print(dict(result.items()))
    """
    with FakeCloud(seed=1) as cloud:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
            env=os.environ | cloud.qrmi_environment("EMU_FREE"),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        counter = json.loads(str(cloud.jobs[0].order.result))["counter"]
    assert sum(counter.values()) == 200
    assert {bits[0] for bits in counter} == {"1"}
    reversed_counts = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    assert {bits[::-1]: number for bits, number in reversed_counts.items()} == counter
