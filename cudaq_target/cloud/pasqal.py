"""Pasqal Cloud's devices, batches and jobs, as few requests as they take."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cudaq_target.cloud.exchange import NoAnswerError
from cudaq_target.errors import MachineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cudaq_target.cloud.exchange import Exchange


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job to be sent.

    Attributes:
        n_shots: Shots.
        sequence: A sequence in Pulser's abstract representation, or None for that of the batch.
        variables: Values for the variables of the batch's sequence, or None.
    """

    n_shots: int
    sequence: str | None = None
    variables: Mapping[str, Any] | None = None

    def content(self) -> dict[str, Any]:
        """The job as the cloud reads it."""
        said = {"sequence": self.sequence, "variables": self.variables}
        return {"runs": self.n_shots} | {key: value for key, value in said.items() if value}


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the cloud reports it.

    Attributes:
        id: Its name.
        is_open: It takes more jobs.
        status: Its state.
        job_ids: Its jobs, in the order in which they were sent.
    """

    id: str
    is_open: bool
    status: str
    job_ids: tuple[str, ...]

    @staticmethod
    def of(content: Any) -> Batch:  # noqa: ANN401 - JSON
        """Read what the cloud sent.

        Raises:
            ValueError: It is no batch.
        """
        try:
            return Batch(
                str(content["id"]),
                bool(content["open"]),
                str(content["status"]),
                tuple(map(str, content["job_ids"])),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the answer is no batch ({error!r})") from error


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as the cloud reports it.

    Attributes:
        status: Its state, in the cloud's words.
        errors: Why it failed; empty otherwise.
    """

    status: str
    errors: tuple[str, ...] = ()


class PasqalCloud:
    """The requests that running jobs takes; what they raise is that of `Exchange`."""

    def __init__(self, exchange: Exchange, project_id: str) -> None:
        """Send nothing yet.

        Args:
            exchange: How to ask.
            project_id: The project that pays.
        """
        self._exchange = exchange
        self._project_id = project_id

    @property
    def core_url(self) -> str:
        """Where the cloud is."""
        return self._exchange.core_url

    def specs(self) -> dict[str, str]:
        """Return the devices by type, each in Pulser's abstract representation."""
        content = self._get("/v1/devices/specs")
        with self._read():
            return {str(name): str(text) for name, text in content.items()}

    def availability(self, device_type: str) -> str:
        """Return the word for how available a device is: "ACTIVE", or another; "" if unknown."""
        rows = self._get("/v1/devices", {"device_type": device_type})
        with self._read():
            return str(rows[0]["availability"]) if rows else ""

    def create(
        self,
        device_type: str,
        jobs: Sequence[JobSpec],
        *,
        tag: str,
        builder: str | None = None,
        is_open: bool = False,
    ) -> Batch:
        """Send a batch, once.

        Args:
            device_type: Where it is to run.
            jobs: Its first jobs, or all.
            tag: A name of our own that no other batch has.
            builder: The sequence of jobs that bring none, or None.
            is_open: More jobs will follow.

        Raises:
            NoAnswerError: It may have been accepted; `find` tells.
        """
        content = {
            "device_type": device_type,
            "project_id": self._project_id,
            "sequence_builder": builder,
            "jobs": [job.content() for job in jobs],
            "open": is_open,
            "tags": [tag],
        }
        return self._accepted(self._exchange.send("POST", "/v1/batches", content))

    def add(self, batch_id: str, jobs: Sequence[JobSpec]) -> Batch:
        """Send jobs to an open batch, once.

        Raises:
            NoAnswerError: They may have been accepted; `batch` tells.
        """
        content = [job.content() for job in jobs]
        return self._accepted(self._exchange.send("POST", f"/v2/batches/{batch_id}/jobs", content))

    def find(self, tag: str) -> Batch | None:
        """Look for the batch that was sent with this tag."""
        rows = self._get("/v1/batches", {"tag": tag, "project_id": self._project_id})
        with self._read():
            found = str(rows[0]["id"]) if rows else None
        # Not every list holds the jobs.
        return None if found is None else self.batch(found)

    def batch(self, batch_id: str) -> Batch:
        """Ask for a batch."""
        content = self._get(f"/v2/batches/{batch_id}")
        with self._read():
            return Batch.of(content)

    def complete(self, batch_id: str) -> None:
        """Say that no more jobs will come."""
        self._exchange.send("PATCH", f"/v2/batches/{batch_id}/complete")

    def status(self, job_id: str) -> str:
        """Ask for the state of a job, in the cloud's words."""
        content = self._get(f"/v1/jobs/{job_id}/status")
        with self._read():
            return str(content["status"])

    def job(self, job_id: str) -> JobView:
        """Ask for a job, with its errors."""
        content = self._get(f"/v2/jobs/{job_id}")
        with self._read():
            errors = content.get("errors") or ()
            return JobView(str(content["status"]), tuple(map(str, errors)))

    def cancel(self, job_id: str) -> None:
        """End a job.

        Raises:
            ServiceRefusedError: It has ended already.
        """
        self._exchange.send("PATCH", f"/v2/jobs/{job_id}/cancel")

    def result(self, job_id: str) -> bytes | None:
        """Fetch the result of one job; None where there is none."""
        content = self._get(f"/v1/jobs/{job_id}/results_link")
        with self._read():
            link = content["results_link"]
        return None if not link else self._exchange.download(str(link))

    def close(self) -> None:
        """Close the connections."""
        self._exchange.close()

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401
        return self._exchange.get(path, query)

    def _accepted(self, content: Any) -> Batch:  # noqa: ANN401 - JSON
        try:
            return Batch.of(content)
        except ValueError as error:
            raise NoAnswerError(self._exchange.machine, str(error)) from error

    @contextmanager
    def _read(self) -> Iterator[None]:
        """Say so where an answer is JSON, and not that of the cloud."""
        try:
            yield
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise MachineUnavailableError(
                self._exchange.machine,
                f"the cloud answers something unknown ({error!r})",
                "Check PASQAL_BASE_URL, and for a new version of cudaq-target",
            ) from error
