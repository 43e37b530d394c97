"""Batches, jobs and results of the Pasqal Cloud stand-in."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cudaq_target.fakes import checks, devices, listing
from cudaq_target.fakes.batches import BATCH_FIELDS, CUDAQ_FIELDS, Batch, Job, job_fields
from cudaq_target.fakes.orders import Order
from cudaq_target.fakes.service import Refusal, Reply, Request, Route, jsend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cudaq_target.device import PulserDevice
    from cudaq_target.fakes.cloud import FakeCloud

CORE: Final = "/core-fast/api"
USER_ID: Final = "auth0|fake-user"
_DEFAULT_RUNS: Final = 1000

Entry = TypeVar("Entry")


class Desk:
    """Takes batches and jobs, and says how they are.

    Attributes:
        batches: By id, in the order in which they were accepted.
        jobs: By id, in the order in which they were accepted.
    """

    def __init__(self, cloud: FakeCloud) -> None:
        self.batches: dict[str, Batch] = {}
        self.jobs: dict[str, Job] = {}
        self._cloud = cloud

    def routes(self) -> Sequence[Route]:
        """Return the endpoints."""
        return (
            Route("batches.create", "POST", f"{CORE}/v1/batches", self._create),
            Route("batches.list", "GET", f"{CORE}/v1/batches", self._list_batches),
            Route("batches.cancel_many", "PATCH", f"{CORE}/v1/batches/cancel", self._cancel_many),
            Route("batches.get", "GET", f"{CORE}/v2/batches/{{batch}}", self._get_batch),
            Route(
                "batches.status", "GET", f"{CORE}/v1/batches/{{batch}}/status", self._batch_status
            ),
            Route("batches.add_jobs", "POST", f"{CORE}/v2/batches/{{batch}}/jobs", self._add_jobs),
            Route(
                "batches.complete", "PATCH", f"{CORE}/v2/batches/{{batch}}/complete", self._complete
            ),
            Route("batches.cancel", "PATCH", f"{CORE}/v2/batches/{{batch}}/cancel", self._cancel),
            Route(
                "batches.cancel_jobs",
                "PATCH",
                f"{CORE}/v2/batches/{{batch}}/cancel/jobs",
                self._cancel_jobs,
            ),
            Route("batches.tags", "PATCH", f"{CORE}/v1/batches/{{batch}}/tags", self._tags),
            Route("batches.rebatch", "POST", f"{CORE}/v1/batches/{{batch}}/rebatch", self._rebatch),
            Route(
                "batches.results",
                "GET",
                f"{CORE}/v1/batches/{{batch}}/full_results",
                self._full_results,
            ),
            Route("jobs.list", "GET", f"{CORE}/v2/jobs", self._list_jobs),
            Route("jobs.get", "GET", f"{CORE}/v2/jobs/{{job}}", self._get_job),
            Route("jobs.status", "GET", f"{CORE}/v1/jobs/{{job}}/status", self._job_status),
            Route("jobs.cancel", "PATCH", f"{CORE}/v2/jobs/{{job}}/cancel", self._cancel_job),
            Route("jobs.results_link", "GET", f"{CORE}/v1/jobs/{{job}}/results_link", self._link),
            Route("results", "GET", "/s3/{link}", self._result),
            Route("cudaq.create", "POST", f"{CORE}/v1/cudaq/job", self._create_cudaq),
            Route("cudaq.get", "GET", f"{CORE}/v1/cudaq/job/{{job}}", self._get_cudaq),
        )

    def _create(self, request: Request) -> Reply:
        self._cloud.tokens.check(request.headers)
        content = checks.fields(request.json(), BATCH_FIELDS)
        self._check_project(content["project_id"])
        if content["open"] is not None and content["complete"] is not None:
            raise Refusal(422, "body: open and complete exclude each other")
        is_open = bool(content["open"]) or content["complete"] is False
        builder = content["sequence_builder"]
        jobs = [job_fields(job, f"body.jobs.{k}", builder) for k, job in enumerate(content["jobs"])]
        if not jobs and not is_open:
            raise Refusal(400, "body.jobs: a batch that is closed needs a job")
        texts = [text for text in (builder, *(job["sequence"] for job in jobs)) if text is not None]
        batch = Batch(
            device_type=self._device_type(content["device_type"], texts),
            project_id=content["project_id"],
            user_id=USER_ID,
            sequence_builder=builder,
            is_open=is_open,
            created_s=self._cloud.now(),
            webhook=content["webhook"],
            tags=content["tags"],
            configuration=content["configuration"],
            backend_configuration=content["backend_configuration"],
        )
        for text in texts:
            devices.check_sequence(text, _qpu(batch.device_type))
        self._submit(batch, jobs)
        return jsend(batch.written())

    def _add_jobs(self, request: Request) -> Reply:
        batch = self._batch(request)
        content = request.json()
        if not isinstance(content, list) or not content:
            raise Refusal(422, "body: Input should be a list of jobs")
        jobs = [
            job_fields(job, f"body.{k}", batch.sequence_builder) for k, job in enumerate(content)
        ]
        for job in jobs:
            if job["sequence"] is not None:
                devices.check_sequence(job["sequence"], _qpu(batch.device_type))
        with self._cloud.orders.changed:
            if not batch.is_open:
                raise Refusal(400, f"Batch {batch.id} is {batch.status} and takes no more jobs")
            self._submit(batch, jobs)
            return jsend(batch.written())

    def _submit(
        self, batch: Batch, jobs: Sequence[dict[str, Any]], parents: Sequence[str] = ()
    ) -> None:
        """Keep a batch and run its new jobs, all or none."""
        new = [
            self._job_of(batch, content, parents[k] if parents else None)
            for k, content in enumerate(jobs)
        ]
        with self._cloud.orders.changed:
            self.batches[batch.id] = batch
            for job in new:
                batch.jobs.append(job)
                self.jobs[job.id] = job
                self._cloud.orders.submit(job.order)

    def _job_of(self, batch: Batch, content: dict[str, Any], parent_id: str | None) -> Job:
        runs, qpu = content["runs"], _qpu(batch.device_type)
        order = Order(
            text=content["sequence"] or batch.sequence_builder or "",
            n_shots=runs or _configured_runs(batch.backend_configuration),
            lane=batch.id if qpu is None else batch.device_type,
            created_s=self._cloud.now(),
            variables=content["variables"],
            rydberg_only=batch.device_type in devices.RYDBERG_ONLY,
        )
        devices.check_runs(order.n_shots, qpu)
        return Job(order, batch, runs, content["sequence"], parent_id=parent_id)

    def _get_batch(self, request: Request) -> Reply:
        batch = self._batch(request)
        with self._cloud.orders.changed:
            return jsend(batch.written())

    def _batch_status(self, request: Request) -> Reply:
        batch = self._batch(request)
        with self._cloud.orders.changed:
            return jsend(
                {
                    "id": batch.id,
                    "status": batch.status,
                    "jobs_count_per_status": batch.counted(),
                }
            )

    def _complete(self, request: Request) -> Reply:
        batch = self._batch(request)
        with self._cloud.orders.changed:
            if not batch.is_open:
                raise Refusal(400, f"Batch {batch.id} is {batch.status} already")
            batch.is_open = False
            return jsend(batch.written())

    def _cancel(self, request: Request) -> Reply:
        return jsend(self._canceled(self._batch(request)).written())

    def _canceled(self, batch: Batch) -> Batch:
        with self._cloud.orders.changed:
            if not batch.is_open and all(job.order.has_ended for job in batch.jobs):
                raise Refusal(400, f"Batch {batch.id} is {batch.status} and cannot be canceled")
            batch.is_open = False
            ended = [self._cloud.orders.cancel(job.order) for job in batch.jobs]
            if batch.jobs and not any(ended):
                raise Refusal(400, f"Batch {batch.id} is {batch.status} and cannot be canceled")
            batch.is_canceled = True
        return batch

    def _cancel_many(self, request: Request) -> Reply:
        self._cloud.tokens.check(request.headers)
        known = {"batch_ids": checks.Field(list, required=True, of=str)}
        done, errors = [], {}
        for name in checks.fields(request.json(), known)["batch_ids"]:
            try:
                done.append(self._canceled(_found(self.batches, name, "Batch")).written())
            except Refusal as refusal:
                errors[name] = refusal.description
        return jsend({"batches": done, "errors": errors})

    def _cancel_jobs(self, request: Request) -> Reply:
        batch = self._batch(request)
        chosen = listing.jobs(batch.jobs, request.query, listing.CANCEL_FILTERS)
        done, errors = [], {}
        for job in chosen:
            if self._cloud.orders.cancel(job.order):
                done.append(job.written())
            else:
                errors[job.id] = f"Job is {job.order.status} and cannot be canceled"
        return jsend({"jobs": done, "errors": errors})

    def _tags(self, request: Request) -> Reply:
        batch = self._batch(request)
        tags = request.json()
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise Refusal(422, "body: Input should be a list of strings")
        batch.tags = tags
        return jsend(batch.written())

    def _rebatch(self, request: Request) -> Reply:
        old = self._batch(request)
        chosen = listing.jobs(old.jobs, request.query, listing.REBATCH_FILTERS)
        if not chosen:
            raise Refusal(400, "no job of the batch fits the filters")
        batch = Batch(
            device_type=old.device_type,
            project_id=old.project_id,
            user_id=old.user_id,
            sequence_builder=old.sequence_builder,
            is_open=False,
            created_s=self._cloud.now(),
            backend_configuration=old.backend_configuration,
            parent_id=old.id,
        )
        jobs = [
            {"runs": job.runs, "variables": job.order.variables, "sequence": job.sequence}
            for job in chosen
        ]
        self._submit(batch, jobs, [job.id for job in chosen])
        return jsend(batch.written())

    def _full_results(self, request: Request) -> Reply:
        batch = self._batch(request)
        with self._cloud.orders.changed:
            found = {job.id: job.order.result for job in batch.jobs if job.order.result is not None}
        # Spliced, not parsed: a result that is no JSON goes out as it is.
        inner = ", ".join(f"{json.dumps(name)}: {text}" for name, text in found.items())
        head = '{"status": "success", "code": "200", "message": "OK.", "data": {'
        return Reply(200, f"{head}{inner}}}}}".encode())

    def _list_batches(self, request: Request) -> Reply:
        self._cloud.tokens.check(request.headers)
        return listing.page(
            listing.batches(self.batches.values(), request.query), request.query, newest_first=True
        )

    def _list_jobs(self, request: Request) -> Reply:
        self._cloud.tokens.check(request.headers)
        found = listing.jobs(self.jobs.values(), request.query, listing.JOB_FILTERS)
        ascending = request.query.get("order_by_direction", ["DESC"]) == ["ASC"]
        return listing.page(found, request.query, newest_first=not ascending)

    def _get_job(self, request: Request) -> Reply:
        job = self._job(request)
        with self._cloud.orders.changed:
            return jsend(job.written())

    def _job_status(self, request: Request) -> Reply:
        job = self._job(request)
        return jsend({"id": job.id, "status": job.order.status})

    def _cancel_job(self, request: Request) -> Reply:
        job = self._job(request)
        if not self._cloud.orders.cancel(job.order):
            raise Refusal(400, f"Job {job.id} is {job.order.status} and cannot be canceled")
        return jsend(job.written())

    def _link(self, request: Request) -> Reply:
        job = self._job(request)
        link = None if job.order.result is None else f"{self._cloud.url}/s3/{job.link}"
        return jsend({"results_link": link})

    def _result(self, request: Request) -> Reply:
        for job in self.jobs.values():
            if job.link == request.captured["link"] and job.order.result is not None:
                return Reply(200, job.order.result.encode())
        raise Refusal(404, "NoSuchKey")

    def _create_cudaq(self, request: Request) -> Reply:
        self._cloud.tokens.check(request.headers)
        content = checks.fields(request.json(), CUDAQ_FIELDS)
        self._check_project(content["project_id"])
        machine = self._device_type(content["machine"], [])
        if not content["sequence"].keys() >= {"setup", "hamiltonian"}:
            raise Refusal(422, "body.sequence: an AHS program has setup and hamiltonian")
        batch = Batch(
            device_type=machine,
            project_id=content["project_id"],
            user_id=USER_ID,
            sequence_builder=None,
            is_open=False,
            created_s=self._cloud.now(),
        )
        order = Order(
            text=json.dumps(content["sequence"]),
            n_shots=content["shots"],
            lane=batch.id,
            created_s=self._cloud.now(),
            is_ahs=True,
        )
        # Clients ask for one id as batch and as job.
        job = Job(order, batch, content["shots"], None, id=batch.id)
        batch.jobs.append(job)
        with self._cloud.orders.changed:
            self.batches[batch.id], self.jobs[job.id] = batch, job
            self._cloud.orders.submit(order)
        return jsend({"id": job.id, "status": "PENDING"})

    def _get_cudaq(self, request: Request) -> Reply:
        job = self._job(request)
        if not job.order.is_ahs:
            raise Refusal(404, f"Job {job.id} not found")
        with self._cloud.orders.changed:
            result = job.order.result
            counter = None if result is None else json.loads(result)["counter"]
            return jsend({"id": job.id, "status": job.order.status, "result": counter})

    def _batch(self, request: Request) -> Batch:
        self._cloud.tokens.check(request.headers)
        return _found(self.batches, request.captured["batch"], "Batch")

    def _job(self, request: Request) -> Job:
        self._cloud.tokens.check(request.headers)
        return _found(self.jobs, request.captured["job"], "Job")

    def _check_project(self, project_id: str) -> None:
        if project_id != self._cloud.project_id:
            raise Refusal(403, f"You are not a member of project {project_id}")

    def _device_type(self, given: str | None, texts: Sequence[str]) -> str:
        """Return the device type of a request, by the device of its sequence if it names none."""
        name = given
        if name is None:
            name = next((devices.name_in(text) for text in texts), None)
        if name not in self._cloud.availability:
            raise Refusal(400, f"device_type {name} does not exist")
        if self._cloud.availability[name] != "ACTIVE":
            raise Refusal(400, f"Device {name} is {self._cloud.availability[name]}")
        return name


def _found(known: Mapping[str, Entry], name: str, what: str) -> Entry:
    try:
        uuid.UUID(name)
    except ValueError:
        raise Refusal(422, f"{name} is no UUID") from None
    if name not in known:
        raise Refusal(404, f"{what} {name} not found")
    return known[name]


def _qpu(device_type: str) -> PulserDevice | None:
    """Return the device of a QPU, None for an emulator."""
    return devices.device(device_type) if device_type in devices.QPUS else None


def _configured_runs(configuration: str | None) -> int:
    """Return the shots that an emulator's configuration asks for."""
    if configuration is None:
        return _DEFAULT_RUNS
    try:
        content = json.loads(configuration)
        for observable in content.get("observables", []):
            if observable["observable"] == "bitstrings" and observable["num_shots"]:
                return int(observable["num_shots"])
        return int(content.get("default_num_shots", _DEFAULT_RUNS))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refusal(400, f"backend_configuration cannot be read ({error!r})") from error
