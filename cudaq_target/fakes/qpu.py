"""The API of a QPU in a machine room, which Warden talks to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.fakes import checks, devices
from cudaq_target.fakes.orders import Order, Orders
from cudaq_target.fakes.service import (
    FakeService,
    Refusal,
    Reply,
    Request,
    Route,
    iso,
    jsend,
    jsend_error,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.device import PulserDevice
    from cudaq_target.fakes.orders import EngineName

_PREFIX: Final = "/api/v1"
_FIELDS: Final = {
    "nb_run": checks.Field(int, required=True, least=1),
    "pulser_sequence": checks.Field(str, required=True),
    "context": checks.Field(dict, nullable=True),
}
_CONTEXT: Final = {
    "batch_id": checks.Field(str, nullable=True),
    "pasqman_job_id": checks.Field(str, nullable=True),
}
# The service's own number for "this job cannot be canceled".
_NOT_CANCELABLE: Final = "3003"


@dataclass(frozen=True, slots=True)
class QpuJob:
    """A job of a QPU.

    Attributes:
        uid: Its number, from 1.
        order: What runs.
        context: What the client said about its origin.
    """

    uid: int
    order: Order
    context: dict[str, Any] | None

    def written(self) -> dict[str, Any]:
        """The job as the QPU writes it."""
        order = self.order
        return {
            "uid": self.uid,
            "status": order.status,
            "nb_run": order.n_shots,
            "pulser_sequence": order.text,
            "context": self.context,
            "batch_id": (self.context or {}).get("batch_id"),
            "program_id": self.uid,
            "datetime": iso(order.created_s),
            "created_datetime": iso(order.created_s),
            "start_datetime": iso(order.started_s),
            "end_datetime": iso(order.ended_s),
            "result": order.result,
        }


class FakeQpu(FakeService):
    """A QPU on 127.0.0.1: one job after another.

    Attributes:
        device: The device that it reports; it runs sequences for a device of that name.
        is_operational: What it says about itself; it takes no jobs while it is down.
        orders: What runs; `orders.service_s` may be changed.
        jobs: All jobs, in the order in which they were accepted.
    """

    name = "qpu"

    def __init__(
        self,
        *,
        port: int = 0,
        device: str | PulserDevice = "FRESNEL",
        engine: EngineName = "local",
        service_s: float = 0.0,
        seed: int | None = None,
        clock_skew_s: float = 0.0,
    ) -> None:
        """Configure; `start` or `with` listens.

        Args:
            port: Where to listen; 0 takes a free port.
            device: A type of `fakes.devices` (FRESNEL: one global Rydberg channel), the name of a
                device of Pulser's (`DigitalAnalogDevice` runs gate kernels), or a Pulser device.
            engine: "local" emulates programs, "zeros" answers that no atom was excited.
            service_s: How long the machine takes for each job (s).
            seed: Makes equal requests in equal order give equal counts.
            clock_skew_s: How far the service's clock is ahead (s).

        Raises:
            OptionError: No such engine or device, or a negative time.
        """
        super().__init__(port=port, clock_skew_s=clock_skew_s)
        self.device = devices.found(device)
        self.is_operational = True
        self.orders = Orders(engine, self._faults, self.now, service_s=service_s, seed=seed)
        self.jobs: list[QpuJob] = []

    def release(self) -> None:
        """Let jobs go on that a fault holds in a state."""
        self.orders.release()

    def _make_routes(self) -> Sequence[Route]:
        return (
            Route("operational", "GET", f"{_PREFIX}/system/operational", self._operational),
            Route("system", "GET", f"{_PREFIX}/system", self._system),
            Route("jobs.create", "POST", f"{_PREFIX}/jobs", self._create),
            Route("jobs.get", "GET", f"{_PREFIX}/jobs/{{uid}}", self._get),
            Route("jobs.cancel", "PUT", f"{_PREFIX}/jobs/{{uid}}/cancel", self._cancel),
            Route("programs.get", "GET", f"{_PREFIX}/programs/{{uid}}", self._program),
        )

    def _error(self, refusal: Refusal, endpoint: str) -> Reply:  # noqa: ARG002
        return jsend_error(refusal)

    def _prepare(self) -> None:
        self.orders.load()

    def _end(self) -> None:
        self.orders.close()

    def _expire(self) -> None:
        raise Refusal(401, "Unauthorized")

    def _operational(self, request: Request) -> Reply:  # noqa: ARG002
        return jsend({"operational_status": "UP" if self.is_operational else "DOWN"})

    def _system(self, request: Request) -> Reply:  # noqa: ARG002
        return jsend({"specs": json.loads(self.device.to_abstract_repr())})

    def _create(self, request: Request) -> Reply:
        content = checks.fields(request.json(), _FIELDS)
        if content["context"] is not None:
            checks.fields(content["context"], _CONTEXT, "body.context")
        if not self.is_operational:
            raise Refusal(503, "the QPU is DOWN")
        devices.check_sequence(content["pulser_sequence"], self.device)
        devices.check_runs(content["nb_run"], self.device)
        order = Order(
            text=content["pulser_sequence"],
            n_shots=content["nb_run"],
            lane=self.name,
            created_s=self.now(),
        )
        with self.orders.changed:
            job = QpuJob(len(self.jobs) + 1, order, content["context"])
            self.jobs.append(job)
            self.orders.submit(order)
            return jsend(job.written())

    def _get(self, request: Request) -> Reply:
        job = self._job(request)
        with self.orders.changed:
            return jsend(job.written())

    def _cancel(self, request: Request) -> Reply:
        job = self._job(request)
        if not self.orders.cancel(job.order):
            raise Refusal(400, f"job {job.uid} is {job.order.status}", code=_NOT_CANCELABLE)
        return jsend(job.written())

    def _program(self, request: Request) -> Reply:
        job = self._job(request)
        return jsend({"uid": job.uid, "status": job.order.status})

    def _job(self, request: Request) -> QpuJob:
        uid = request.captured["uid"]
        if not uid.isdigit():
            raise Refusal(422, f"{uid} is no whole number")
        if not 1 <= int(uid) <= len(self.jobs):
            raise Refusal(404, f"job {uid} not found")
        return self.jobs[int(uid) - 1]
