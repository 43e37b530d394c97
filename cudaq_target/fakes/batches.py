"""Batches and jobs of Pasqal Cloud: what is kept of them, and how they are written."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.fakes.checks import Field, fields
from cudaq_target.fakes.service import Refusal, iso

if TYPE_CHECKING:
    from cudaq_target.fakes.orders import Order

_JOB_FIELDS: Final = {
    "runs": Field(int, nullable=True, least=1),
    "variables": Field(dict, nullable=True),
    "sequence": Field(str, nullable=True),
}
BATCH_FIELDS: Final = {
    "sequence_builder": Field(str, nullable=True),
    "jobs": Field(list, required=True, of=dict),
    "project_id": Field(str, required=True),
    "device_type": Field(str, nullable=True),
    "open": Field(bool, nullable=True),
    "complete": Field(bool, nullable=True),
    "webhook": Field(str, nullable=True),
    "tags": Field(list, nullable=True, of=str),
    "configuration": Field(dict, nullable=True),
    "backend_configuration": Field(str, nullable=True),
}
CUDAQ_FIELDS: Final = {
    "machine": Field(str, required=True),
    "shots": Field(int, required=True, least=1),
    "project_id": Field(str, required=True),
    "sequence": Field(dict, required=True),
}


@dataclass(slots=True, eq=False)
class Job:
    """A job of a batch.

    Attributes:
        order: What runs.
        batch: Where it belongs.
        runs: Shots that were asked for; None leaves them to the emulator's configuration.
        sequence: The job's own sequence, or None for the batch's.
        id: Its name.
        parent_id: Job that it repeats, or None.
        link: Secret part of the address of its result.
    """

    order: Order
    batch: Batch
    runs: int | None
    sequence: str | None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    parent_id: str | None = None
    link: str = field(default_factory=lambda: str(uuid.uuid4()), repr=False)

    def written(self) -> dict[str, Any]:
        """The job as the service writes it."""
        order = self.order
        return {
            "id": self.id,
            "batch_id": self.batch.id,
            "project_id": self.batch.project_id,
            "parent_id": self.parent_id,
            "status": order.status,
            "created_at": iso(order.created_s),
            "updated_at": iso(order.updated_s),
            "start_timestamp": iso(order.started_s),
            "end_timestamp": iso(order.ended_s),
            "runs": self.runs,
            "variables": None if order.variables is None else dict(order.variables),
            "sequence": self.sequence,
            "errors": order.errors,
        }


@dataclass(slots=True, eq=False)
class Batch:
    """A batch.

    Attributes:
        device_type: Where it runs.
        project_id: Project that pays.
        user_id: Who sent it.
        sequence_builder: Sequence of the jobs that bring none, or None.
        is_open: More jobs may come.
        created_s: When it was accepted, by the service's clock (s since 1970).
        webhook: Kept, never called.
        tags: Words to find it by.
        configuration: Kept.
        backend_configuration: Configuration of the emulator, JSON text.
        parent_id: Batch that it repeats, or None.
        id: Its name.
        jobs: In the order of their creation.
        forced: A state that a test gave it, or None.
        is_canceled: It was canceled as a whole.
    """

    device_type: str
    project_id: str
    user_id: str
    sequence_builder: str | None
    is_open: bool
    created_s: float
    webhook: str | None = None
    tags: list[str] | None = None
    configuration: dict[str, Any] | None = None
    backend_configuration: str | None = None
    parent_id: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    jobs: list[Job] = field(default_factory=list)
    forced: str | None = None
    is_canceled: bool = False

    @property
    def status(self) -> str:
        """The state: of its jobs, of what was done to it, or forced."""
        if self.forced is not None:
            return self.forced
        states = [job.order.status for job in self.jobs]
        if self.is_canceled:
            return "CANCELED"
        if self.is_open or not all(job.order.has_ended for job in self.jobs):
            moved = any(job.order.started_s is not None for job in self.jobs)
            return "RUNNING" if moved else "PENDING"
        for failed in ("ERROR", "TIMED_OUT"):
            if failed in states:
                return failed
        return "CANCELED" if states and set(states) == {"CANCELED"} else "DONE"

    def counted(self) -> dict[str, int]:
        """Number of jobs by state."""
        return dict(Counter(job.order.status for job in self.jobs))

    def written(self) -> dict[str, Any]:
        """The batch as the service writes it."""
        orders = [job.order for job in self.jobs]
        started = [order.started_s for order in orders if order.started_s is not None]
        ended = [order.ended_s for order in orders if order.ended_s is not None]
        is_over = not self.is_open and len(ended) == len(orders)
        return {
            "id": self.id,
            "open": self.is_open,
            "complete": not self.is_open,
            "status": self.status,
            "created_at": iso(self.created_s),
            "updated_at": iso(max((order.updated_s for order in orders), default=self.created_s)),
            "start_datetime": iso(min(started, default=None)),
            "end_datetime": iso(max(ended, default=None)) if is_over else None,
            "device_type": self.device_type,
            "project_id": self.project_id,
            "user_id": self.user_id,
            "parent_id": self.parent_id,
            "sequence_builder": self.sequence_builder,
            "webhook": self.webhook,
            "tags": self.tags,
            "configuration": self.configuration,
            "backend_configuration": self.backend_configuration,
            "jobs_count": len(self.jobs),
            "jobs_count_per_status": self.counted(),
            "job_ids": [job.id for job in self.jobs],
        }


def job_fields(content: object, where: str, sequence_builder: str | None) -> dict[str, Any]:
    """Check one job of a request.

    Args:
        content: What was sent.
        where: What to call it in errors.
        sequence_builder: Sequence of the batch, or None.

    Raises:
        Refusal: 422 for its form, 400 for what it says.
    """
    job = fields(content, _JOB_FIELDS, where)
    if job["sequence"] is None and sequence_builder is None:
        raise Refusal(400, f"{where}: neither the job nor the batch has a sequence")
    if job["sequence"] is not None and job["variables"]:
        raise Refusal(400, f"{where}: a job cannot have both sequence and variables")
    return job
