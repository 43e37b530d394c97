"""What the stand-in of Pasqal Cloud refuses, and that nothing of it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cudaq_target.fakes import FakeCloud
from tests.hpc.fake_clients import CORE, ask, asymmetric, batch_of, bearer


@pytest.fixture
def quick() -> Iterator[FakeCloud]:
    with FakeCloud(engine="zeros") as cloud:
        yield cloud


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
