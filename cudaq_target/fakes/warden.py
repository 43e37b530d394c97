"""A service with Warden's API: sessions of scheduler jobs, and jobs for the QPU behind it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.errors import OptionError
from cudaq_target.fakes import checks, devices, munge
from cudaq_target.fakes.forward import QpuClient
from cudaq_target.fakes.orders import Order, Orders
from cudaq_target.fakes.service import FakeService, Refusal, Reply, Request, Route, iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.device import PulserDevice
    from cudaq_target.fakes.orders import EngineName

ROOT: Final = 0
_SESSION: Final = {
    "user_id": checks.Field(str, required=True),
    "slurm_job_id": checks.Field(str, required=True),
}
_JOB: Final = {
    "sequence": checks.Field(str, required=True),
    "shots": checks.Field(int, required=True, least=1),
}


@dataclass(slots=True, eq=False)
class WardenSession:
    """A session: the right of one user to send jobs, for the time of a scheduler job.

    Attributes:
        id: Its name, which is the credential for jobs.
        user_id: Numeric uid, as text.
        slurm_job_id: Job of the scheduler, whichever it is.
        created_s: When it was opened (s since 1970).
        revoked_s: When it was closed, or None.
    """

    id: str
    user_id: str
    slurm_job_id: str
    created_s: float
    revoked_s: float | None = None

    def written(self) -> dict[str, Any]:
        """The session as Warden writes it."""
        return {
            "id": self.id,
            "user_id": self.user_id,
            "created_at": iso(self.created_s),
            "revoked_at": iso(self.revoked_s),
        }


@dataclass(frozen=True, slots=True, eq=False)
class WardenJob:
    """A job.

    Attributes:
        id: Its number, from 1.
        session: Where it was sent.
        order: What runs.
    """

    id: int
    session: WardenSession
    order: Order

    def written(self) -> dict[str, Any]:
        """The job as Warden writes it."""
        return {
            "id": self.id,
            "user_id": self.session.user_id,
            "created_at": iso(self.order.created_s),
            "status": self.order.status,
            "results": self.order.result,
        }


class FakeWarden(FakeService):
    """A Warden-compatible service on 127.0.0.1: first come, first served, one job at a time.

    Jobs run on a QPU that speaks the API of `FakeQpu`, or here, where none is given.

    Attributes:
        munge: "daemon": credentials are MUNGE's own; "stub": those of `fakes.munge`.
        authorized_users: Uids (text) for whom sessions may be opened; None for all.
        orders: What runs; `orders.service_s` may be changed.
        sessions: By id, in the order in which they were opened.
        jobs: All jobs, in the order in which they were accepted.
    """

    name = "warden"

    def __init__(
        self,
        *,
        port: int = 0,
        qpu_url: str | None = None,
        device: str | PulserDevice = "FRESNEL",
        engine: EngineName = "local",
        service_s: float = 0.0,
        seed: int | None = None,
        credentials: munge.Source | None = None,
        authorized_users: Sequence[str] | None = None,
        can_cancel: bool = False,
        poll_s: float = 0.01,
        clock_skew_s: float = 0.0,
    ) -> None:
        """Configure; `start` or `with` listens.

        Args:
            port: Where to listen; 0 takes a free port.
            qpu_url: QPU that runs the jobs; None runs them here.
            device: Device of the QPU that is here; see `FakeQpu`.
            engine: Engine of the QPU that is here.
            service_s: How long that QPU takes for each job (s).
            seed: Makes equal requests in equal order give equal counts, here.
            credentials: "daemon" or "stub"; None takes the daemon where it answers.
            authorized_users: Uids (text) for whom sessions may be opened; None for all.
            can_cancel: Provide cancel and logs of jobs, which Warden 0.1.0 does not.
            poll_s: Time between two looks at a job of the QPU (s).
            clock_skew_s: How far the service's clock is ahead (s).

        Raises:
            OptionError: Two QPUs are given, no such engine, device or credentials.
        """
        self._can_cancel = can_cancel
        super().__init__(port=port, clock_skew_s=clock_skew_s)
        if credentials not in (None, "daemon", "stub"):
            raise OptionError(
                f"credentials {credentials!r}", "no such kind", "Give 'daemon' or 'stub'"
            )
        if qpu_url is not None and (engine != "local" or service_s or seed is not None):
            raise OptionError(
                "qpu_url", "engine, service_s and seed are the QPU's", "Give them to FakeQpu"
            )
        self._qpu = None if qpu_url is None else QpuClient(qpu_url, poll_s, self._closing)
        self._device = device
        self.munge: munge.Source = munge.available() if credentials is None else credentials
        self.authorized_users = None if authorized_users is None else tuple(authorized_users)
        self.orders = Orders(
            engine,
            self._faults,
            self.now,
            service_s=service_s,
            seed=seed,
            execute=None if self._qpu is None else self._qpu.execute,
        )
        self.sessions: dict[str, WardenSession] = {}
        self.jobs: list[WardenJob] = []
        self._accessibility: tuple[bool, str] | None = None

    def open_session(self, uid: int, job_id: str = "1") -> str:
        """Open a session, as a scheduler's hook does through the API.

        Args:
            uid: Whose.
            job_id: Job of the scheduler.

        Returns:
            Its id, which jobs name.
        """
        session = WardenSession(str(uuid.uuid4()), str(uid), job_id, self.now())
        self.sessions[session.id] = session
        return session.id

    def qrmi_config(
        self, uid: int, job_id: str = "1", session: str | None = None
    ) -> dict[str, str]:
        """Return what `QuantumResource.from_config` takes.

        Args:
            uid: Who asks.
            job_id: Job of the scheduler.
            session: An open session, or None to leave it out (`acquire` opens one).
        """
        config = {"QRMI_WARDEN_URL": self.url, "QRMI_JOB_UID": str(uid), "QRMI_JOB_ID": job_id}
        return config if session is None else config | {"QRMI_JOB_ACQUISITION_TOKEN": session}

    def qrmi_environment(
        self, resource: str, uid: int, job_id: str = "1", session: str | None = None
    ) -> dict[str, str]:
        """Return the variables that a scheduler sets in a job with this resource.

        Args:
            resource: Its name, which is free.
            uid: Whose job it is.
            job_id: Job of the scheduler.
            session: Its session; None opens one.
        """
        kinds = {"RESOURCES": resource, "TYPES": "pasqal-local"}
        token = self.open_session(uid, job_id) if session is None else session
        return {
            f"{family}_JOB_QPU_{name}": value
            for family in ("QRMI", "SLURM")
            for name, value in kinds.items()
        } | {
            "QRMI_JOB_ID": job_id,
            "QRMI_JOB_UID": str(uid),
            f"{resource}_QRMI_WARDEN_URL": self.url,
            f"{resource}_QRMI_JOB_ACQUISITION_TOKEN": token,
        }

    def release(self) -> None:
        """Let jobs go on that a fault holds in a state."""
        self.orders.release()

    def _make_routes(self) -> Sequence[Route]:
        optional = (
            Route("jobs.cancel", "POST", "/jobs/{job}/cancel", self._cancel),
            Route("jobs.logs", "GET", "/jobs/{job}/logs", self._logs),
        )
        return (
            Route("root", "GET", "/", self._root),
            Route("accessible", "GET", "/accessible", self._accessible),
            Route("accessible.root", "POST", "/accessible", self._set_accessible),
            Route("sessions.create", "POST", "/sessions", self._create_session),
            Route("sessions.revoke", "DELETE", "/sessions/{session}", self._revoke),
            Route("jobs.create", "POST", "/jobs", self._create),
            Route("jobs.list", "GET", "/jobs", self._list),
            Route("jobs.get", "GET", "/jobs/{job}", self._get),
            Route("qpu.specs", "GET", "/qpu/specs", self._specs),
            *(optional if self._can_cancel else ()),
        )

    def _error(self, refusal: Refusal, endpoint: str) -> Reply:  # noqa: ARG002
        detail: object = refusal.description
        if refusal.status == 422:
            detail = [{"type": "value_error", "loc": ["body"], "msg": refusal.description}]
        return Reply(refusal.status, json.dumps({"detail": detail}).encode(), refusal.headers)

    def _prepare(self) -> None:
        self.orders.load()
        devices.found(self._device)  # Pulser is loaded here, and not by a thread of a connection

    def _end(self) -> None:
        self.orders.close()

    def _expire(self) -> None:
        raise Refusal(401, "MUNGE credential expired")

    def _root(self, request: Request) -> Reply:  # noqa: ARG002
        return Reply.of(200, {"message": "The warden is operational."})

    def _accessible(self, request: Request) -> Reply:  # noqa: ARG002
        if self._accessibility is not None:
            is_accessible, message = self._accessibility
        else:
            is_accessible = self._qpu is None or self._qpu.is_operational()
            message = "Warden ok." if is_accessible else "QPU is not operational."
        return Reply.of(200, {"is_accessible": is_accessible, "message": message})

    def _set_accessible(self, request: Request) -> Reply:
        self._check_root(request)
        known = {
            "is_accessible": checks.Field(bool, required=True),
            "message": checks.Field(str, nullable=True),
        }
        content = checks.fields(request.json(), known)
        message = content["message"] or "Warden ok."
        self._accessibility = (content["is_accessible"], message)
        return Reply.of(200, {"is_accessible": content["is_accessible"], "message": message})

    def _create_session(self, request: Request) -> Reply:
        self._check_root(request)
        content = checks.fields(request.json(), _SESSION)
        user = content["user_id"]
        if self.authorized_users is not None and user not in self.authorized_users:
            raise Refusal(403, "User ID not authorized.")
        if not user.isdigit():
            raise Refusal(422, "body.user_id: Input should be a numeric uid")
        name = self.open_session(int(user), content["slurm_job_id"])
        return Reply.of(200, self.sessions[name].written())

    def _revoke(self, request: Request) -> Reply:
        self._check_root(request)
        session = self.sessions.get(request.captured["session"])
        if session is None:
            raise Refusal(404, "Session not found.")
        if session.revoked_s is None:
            session.revoked_s = self.now()
        return Reply.of(200, session.written())

    def _create(self, request: Request) -> Reply:
        uid = self._uid(request)
        session = self._session(request, uid)
        content = checks.fields(request.json(), _JOB)
        order = Order(
            text=content["sequence"],
            n_shots=content["shots"],
            lane=self.name,
            created_s=self.now(),
        )
        with self.orders.changed:
            job = WardenJob(len(self.jobs) + 1, session, order)
            self.jobs.append(job)
            self.orders.submit(order)
            return Reply.of(200, job.written())

    def _list(self, request: Request) -> Reply:
        uid = str(self._uid(request))
        with self.orders.changed:
            own = [job.written() for job in self.jobs if job.session.user_id == uid]
        return Reply.of(200, own)

    def _get(self, request: Request) -> Reply:
        job = self._job(request)
        with self.orders.changed:
            return Reply.of(200, job.written())

    def _cancel(self, request: Request) -> Reply:
        job = self._job(request)
        if not self.orders.cancel(job.order):
            raise Refusal(400, f"Job is {job.order.status}")
        return Reply.of(200, job.written())

    def _logs(self, request: Request) -> Reply:
        job = self._job(request)
        return Reply.of(200, {"logs": "\n".join(job.order.errors or ["no messages"])})

    def _specs(self, request: Request) -> Reply:  # noqa: ARG002
        if self._qpu is not None:
            return Reply.of(200, {"specs": self._qpu.specs()})
        return Reply.of(200, {"specs": devices.found(self._device).to_abstract_repr()})

    def _uid(self, request: Request) -> int:
        return munge.uid_of(request.headers.get("x-munge-cred"), self.munge, self.now())

    def _check_root(self, request: Request) -> None:
        if self._uid(request) != ROOT:
            raise Refusal(403, "Endpoint restricted to root user.")

    def _session(self, request: Request, uid: int) -> WardenSession:
        name = request.headers.get("x-warden-session")
        if not name:
            raise Refusal(403, "Missing 'X-Warden-Session' header.")
        session = self.sessions.get(name)
        if session is None:
            raise Refusal(403, "Invalid session.")
        if session.revoked_s is not None:
            raise Refusal(403, "Session has been revoked.")
        if session.user_id != str(uid):
            raise Refusal(403, "Session belongs to another user.")
        return session

    def _job(self, request: Request) -> WardenJob:
        uid, name = str(self._uid(request)), request.captured["job"]
        if not name.isdigit():
            raise Refusal(422, "path.job: Input should be a valid integer")
        if not 1 <= int(name) <= len(self.jobs):
            raise Refusal(404, "Job not found")
        job = self.jobs[int(name) - 1]
        if job.session.user_id != uid:
            raise Refusal(404, "Job not found")
        return job
