"""The stand-in of Pasqal Cloud, driven by the real clients: pasqal-cloud and the QRMI wheel."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cudaq_target.fakes import FakeCloud, devices
from tests.hpc.fake_clients import (
    CORE,
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


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "Missing bearer token"),
        ({"Authorization": "Basic abc"}, "Missing bearer token"),
        ({"Authorization": "Bearer abc"}, "Invalid token"),
    ],
)
def test_requests_without_a_token(quick: FakeCloud, headers: dict[str, str], reason: str) -> None:
    for path in ("/v2/jobs", "/v1/batches", "/v1/devices/specs"):
        status, reply = ask(quick, "GET", f"{CORE}{path}", headers=headers)
        assert (status, reply["code"], reply["status"]) == (401, "401", "fail")
        assert reply["data"]["description"] == reason


@pytest.mark.parametrize(
    ("changed", "status", "reason"),
    [
        ({"priority": 1}, 422, "body.priority: Extra inputs are not permitted"),
        ({"project_id": ...}, 422, "body.project_id: Field required"),
        ({"project_id": "another"}, 403, "not a member of project another"),
        ({"jobs": [{"runs": "20"}]}, 422, "body.jobs.0.runs: Input should be a valid integer"),
        ({"jobs": [{"runs": True}]}, 422, "body.jobs.0.runs: Input should be a valid integer"),
        ({"jobs": [{"runs": 0}]}, 422, "greater than or equal to 1"),
        ({"jobs": [{"shots": 5}]}, 422, "body.jobs.0.shots: Extra inputs"),
        ({"jobs": {}}, 422, "body.jobs: Input should be a valid list"),
        ({"jobs": [3]}, 422, "body.jobs: 0: Input should be a valid object"),
        ({"jobs": []}, 400, "needs a job"),
        ({"open": "yes"}, 422, "body.open: Input should be a valid boolean"),
        ({"open": True, "complete": True}, 422, "exclude each other"),
        ({"tags": [1]}, 422, "body.tags: 0: Input should be a valid string"),
        ({"device_type": "EMU_FAST"}, 400, "device_type EMU_FAST does not exist"),
        ({"sequence_builder": None}, 400, "neither the job nor the batch has a sequence"),
        ({"sequence_builder": "pulses"}, 400, "no serialized sequence"),
        ({"sequence_builder": "{}"}, 400, "the sequence has no channels, device"),
        ({"device_type": "FRESNEL"}, 400, "for device EMU_FREE, not for FRESNEL"),
        ({"backend_configuration": "x", "jobs": [{}]}, 400, "cannot be read"),
        ({"jobs": [{"sequence": "{}", "variables": {"a": 1}}]}, 400, "both sequence and variables"),
    ],
)
def test_what_is_refused(
    quick: FakeCloud, changed: dict[str, Any], status: int, reason: str
) -> None:
    request = batch_of(quick, **changed)
    found, reply = ask(quick, "POST", f"{CORE}/v1/batches", request, bearer(quick))
    assert found == status
    assert reason in reply["data"]["description"]
    assert not quick.batches
    assert not quick.jobs


def test_a_qpu_takes_what_is_for_it(quick: FakeCloud) -> None:
    text = asymmetric("FRESNEL").to_abstract_repr()
    path, headers = f"{CORE}/v1/batches", bearer(quick)
    # Without a device type, the device of the sequence decides.
    request = batch_of(quick, sequence_builder=text, device_type=None)
    assert ask(quick, "POST", path, request, headers)[1]["data"]["device_type"] == "FRESNEL"
    request = batch_of(
        quick, sequence_builder=text, device_type="FRESNEL", jobs=[{"runs": 100_000}]
    )
    status, reply = ask(quick, "POST", path, request, headers)
    assert (status, reply["data"]["description"]) == (400, "100000 runs, FRESNEL allows 2000")
    quick.availability["FRESNEL"] = "MAINTENANCE"
    status, reply = ask(
        quick, "POST", path, batch_of(quick, sequence_builder=text, device_type="FRESNEL"), headers
    )
    assert (status, reply["data"]["description"]) == (400, "Device FRESNEL is MAINTENANCE")


def test_paths_ids_and_parameters_that_do_not_exist(quick: FakeCloud) -> None:
    headers = bearer(quick)
    missing = "00000000-0000-4000-8000-000000000000"
    assert ask(quick, "GET", f"{CORE}/v2/batches/{missing}", headers=headers)[0] == 404
    assert ask(quick, "GET", f"{CORE}/v2/batches/none", headers=headers)[0] == 422
    assert ask(quick, "GET", f"{CORE}/v2/jobs?colour=red", headers=headers)[0] == 422
    assert ask(quick, "GET", f"{CORE}/v2/jobs?limit=1000", headers=headers)[0] == 422
    assert ask(quick, "GET", f"{CORE}/v1/devices/specs/EMU_FAST", headers=headers)[0] == 404
    assert ask(quick, "GET", f"{CORE}/v3/batches", headers=headers)[0] == 404
    assert ask(quick, "DELETE", f"{CORE}/v1/batches", headers=headers)[0] == 405
    assert ask(quick, "GET", "/s3/guessed")[0] == 404


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
