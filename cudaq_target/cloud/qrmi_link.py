"""A resource behind QRMI: calls with a time limit, and errors that say what happened.

QRMI's calls block without a limit and cannot be interrupted, and an object of its that two threads
use at once refuses the second one. So each call has an object for itself for as long as it lasts,
and runs in a thread that the caller leaves behind when its patience ends.

What asks is repeated for as long as the service may be silent. What submits is sent once; it goes
out again only where the service refused the token, because then nothing was done.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from cudaq_target.cloud.errors import (
    CredentialsError,
    JobEnvironmentError,
    JobLostError,
    SessionError,
    SubmissionError,
    UnreadableResultError,
)
from cudaq_target.cloud.qrmi_failures import QrmiFailureError, failure_of
from cudaq_target.errors import MachineError, MachineRefusedError, MachineUnavailableError
from cudaq_target.locks import ForkSafeLock

if TYPE_CHECKING:
    from cudaq_target.cloud.environment import Resource

T = TypeVar("T")

_TYPES: Final = {"pasqal-cloud": "PasqalCloud", "pasqal-local": "PasqalLocal"}
_LONGEST_CALL_S: Final = 30.0
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 5.0
_MOST_GARBAGE: Final = 3
# How long an interruption waits for the name of a task that is on its way (s).
_LATE_S: Final = 1.0
_NO_LOGS: Final = "There are no logs for this job."
_LATER: Final = "Try again later; machine_timeout_s= gives it more time"
_NO_MUNGE: Final = (
    "QRMI needs libmunge.so.2 and a running munged with the cluster's key (Debian: libmunge2, "
    "munge); ask the operator"
)


class QrmiLink:
    """Calls of one process to one resource; threads share it."""

    def __init__(self, resource: Resource, *, timeout_s: float) -> None:
        """Send nothing yet.

        Args:
            resource: What is reached.
            timeout_s: How long it may be silent before a question is given up (s).

        Raises:
            JobEnvironmentError: QRMI is not installed, or does not take the settings.
        """
        try:
            import qrmi  # noqa: PLC0415 - optional
        except ImportError as error:
            raise JobEnvironmentError(
                resource.machine,
                "qrmi",
                f"QRMI cannot be loaded, through which the scheduler's QPUs are reached ({error})",
                "Install it: pip install 'cudaq-target[qrmi]'",
            ) from error
        self._qrmi: Any = qrmi
        self.resource = resource
        self._timeout_s = timeout_s
        self._lock = ForkSafeLock()
        self._free: list[Any] = []
        self._pid = os.getpid()
        self._opened: tuple[str, int] | None = None
        self._free.append(self._made())

    @property
    def machine(self) -> str:
        """Name of the resource as a machine."""
        return self.resource.machine

    def check_accessible(self) -> None:
        """Ask whether the resource takes jobs.

        Raises:
            MachineUnavailableError: It does not, or does not answer.
        """
        status = self._asked(lambda qpu: qpu.status().to_dict())
        if str(status["status"]).lower() != "online":
            reason = status.get("status_reason") or "it is offline"
            raise MachineUnavailableError(
                self.machine,
                f"its service reports that it takes no jobs ({reason}); nothing was submitted",
                "Try again later, or ask the operator; machine='local' emulates",
            )

    def target(self) -> str:
        """Ask for the device: JSON, a list of types and specifications.

        Raises:
            MachineError: Of the kind that says what failed.
        """
        return str(self._asked(lambda qpu: qpu.target().value))

    def start(self, sequence: str, n_shots: int, *, name: str, program: str) -> str:
        """Submit a task, once.

        Args:
            sequence: Pulser's abstract representation.
            n_shots: Number of shots.
            name: Our name of the job, for errors; the service does not learn it.
            program: What the user calls the program.

        Returns:
            QRMI's name of the task.

        Raises:
            SubmissionError: No answer came, so that the task may have been accepted.
            SessionError: There is no session, or it is closed or somebody else's.
            MachineError: It was not accepted.
        """
        self._open_session()
        payload = self._qrmi.Payload.PasqalCloud(sequence=sequence, job_runs=n_shots)

        started: list[str] = []

        def submit(qpu: Any) -> str:  # noqa: ANN401 - QRMI has no types
            started.append(str(qpu.task_start(payload)))
            return started[0]

        try:
            try:
                return self._once(submit)
            except QrmiFailureError as failure:
                if failure.status != 401 or not self.resource.renews_tokens:
                    raise
                self._forget()  # and with its objects the token that was refused
                return self._once(submit)
        except QrmiFailureError as failure:
            self._not_started(failure, name, program)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            self._stop_unseen(started)
            raise

    def state(self, task: str) -> str:
        """Ask how far a task is.

        Returns:
            QRMI's word ("Queued", "Running", "Completed", "Failed", "Cancelled"), or the service's
            own where QRMI has none for it ("PAUSED", "TIMED_OUT").

        Raises:
            JobLostError: The service does not know the task.
            MachineError: Of the kind that says what failed.
        """
        try:
            return self._asked(lambda qpu: _word(qpu.task_status(task)), task, is_raw=True)
        except QrmiFailureError as failure:
            if failure.kind == "state":
                return failure.state
            self._failed(failure, task, failure.waited_s)

    def result(self, task: str) -> str:
        """Fetch the result of a task that is completed.

        Raises:
            UnreadableResultError: It has none, or one that QRMI cannot read.
            MachineError: Of the kind that says what failed.
        """
        return str(self._asked(lambda qpu: qpu.task_result(task).value, task))

    def stop(self, task: str, program: str) -> None:
        """End a task; one that has ended stays as it is.

        Raises:
            MachineRefusedError: The service cannot end tasks.
            MachineError: Of the kind that says what failed.
        """
        try:
            self._asked(lambda qpu: qpu.task_stop(task), task, is_raw=True)
        except QrmiFailureError as failure:
            if failure.status in {400, 409}:
                return
            if _is_unsupported(failure):
                raise MachineRefusedError(
                    self.machine,
                    f"to cancel job {task} ({program})",
                    f"its service cannot cancel jobs (HTTP {failure.status}); the job goes on",
                ) from None
            self._failed(failure, task)

    def logs(self, task: str) -> str:
        """Fetch what the service notes of a task; "" where it provides no logs."""
        try:
            text = str(self._once(lambda qpu: qpu.task_logs(task)))
        except QrmiFailureError:
            return ""
        return "" if text == _NO_LOGS else text.strip()

    def close(self) -> None:
        """End the session, if it was opened here."""
        opened, self._opened = self._opened, None
        self._forget()
        if opened is not None and opened[1] == os.getpid():
            session = opened[0]
            try:
                self._once(lambda qpu: qpu.release(session))
            except QrmiFailureError as failure:
                raise SessionError(
                    self.machine,
                    "",
                    f"the session that was opened here stays open ({failure.reason})",
                    "Ask the operator to close it",
                ) from None

    def _stop_unseen(self, started: list[str]) -> None:
        """End a task whose submission was interrupted, where its name still comes."""
        end_s = time.monotonic() + _LATE_S
        while not started and time.monotonic() < end_s:
            time.sleep(_FIRST_PAUSE_S)
        if started:
            with contextlib.suppress(QrmiFailureError):
                self._once(lambda qpu: qpu.task_stop(started[0]))

    def _open_session(self) -> None:
        """Open a session where the scheduler did not; only root may."""
        if self.resource.type != "pasqal-local" or self.resource.session is not None:
            return
        try:
            session = str(self._once(lambda qpu: qpu.acquire()))
        except QrmiFailureError as failure:
            if failure.status != 403:
                self._failed(failure)
            raise SessionError(
                self.machine,
                "",
                f"this job has none ({self.resource.name}_QRMI_JOB_ACQUISITION_TOKEN is not set), "
                f"and the service opens none for this user ({failure.reason})",
                "The scheduler's prolog opens it: run this in a job that asked for the QPU",
            ) from None
        self._opened = session, os.getpid()
        self.resource = self.resource.with_session(session)
        self._forget()

    def _not_started(self, failure: QrmiFailureError, name: str, program: str) -> NoReturn:
        """Say whether a task that was sent may have been accepted."""
        is_before = failure.url.startswith(self.resource.auth_endpoint)
        if failure.status == 429 or is_before or (failure.kind == "login" and failure.is_passing):
            raise MachineUnavailableError(
                self.machine,
                f"{failure.reason}; nothing was submitted",
                "Repeat the call later: what submits is not repeated by itself",
            ) from None
        if failure.is_passing or failure.kind == "other":
            raise SubmissionError(
                self.machine,
                name,
                failure.reason,
                "It is not sent again by itself, and QRMI cannot look for it: ask the service or "
                "the operator before you submit it anew",
            ) from None
        if failure.kind == "status" and failure.status not in {401, 403}:
            raise MachineRefusedError(self.machine, program, failure.reason) from None
        self._failed(failure)

    def _asked(
        self, ask: Callable[[Any], T], task: str | None = None, *, is_raw: bool = False
    ) -> T:
        """Ask, and again for as long as the service may be silent."""
        began_s = time.monotonic()
        pause_s, n_garbage, n_refused = _FIRST_PAUSE_S, 0, 0
        while True:
            try:
                return self._once(ask)
            except QrmiFailureError as failure:
                waited_s = time.monotonic() - began_s
                n_garbage += failure.kind == "garbage"
                n_refused += failure.status == 401
                # A new object logs in anew; MUNGE makes another credential for every request.
                is_stale = failure.status == 401 and n_refused == 1
                if is_stale:
                    self._forget()
                is_over = waited_s >= self._timeout_s or n_garbage >= _MOST_GARBAGE
                if not is_stale and (is_over or not failure.is_passing):
                    failure.waited_s = waited_s
                    if is_raw:
                        raise
                    self._failed(failure, task, waited_s)
                time.sleep(max(0.0, min(pause_s, self._timeout_s - waited_s)))
                pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)

    def _failed(
        self, failure: QrmiFailureError, task: str | None = None, waited_s: float = 0.0
    ) -> NoReturn:
        """Raise what a failure means to the user."""
        if task is not None and failure.kind in {"no result", "garbage"}:
            raise UnreadableResultError(self.machine, task, failure.reason) from None
        if task is not None and failure.status in {404, 422}:
            raise JobLostError(
                self.machine,
                task,
                f"its service does not know it for this user ({failure.reason})",
                "Check the id, and that this is the user who sent it",
            ) from None
        raise self._typed(failure, waited_s) from None

    def _typed(self, failure: QrmiFailureError, waited_s: float) -> MachineError:
        if failure.kind == "munge":
            return CredentialsError(self.machine, failure.said, _NO_MUNGE)
        if failure.kind == "setting":
            return JobEnvironmentError(
                self.machine,
                f"{self.resource.name}_QRMI_…",
                failure.said,
                "Correct the site's configuration of the resource",
            )
        if failure.status == 403 and "session" in failure.said.lower():
            return SessionError(
                self.machine,
                "",
                f"its service refuses the session of this job ({failure.reason})",
                "A session is for one user and one job: run this in the job that has the QPU",
            )
        if failure.status in {401, 403} or (failure.kind == "login" and not failure.is_passing):
            return CredentialsError(
                self.machine,
                f"its service refuses the credentials ({failure.reason})",
                "Check them, and the clocks of both machines"
                if self.resource.type == "pasqal-local"
                else "Set new ones; a token alone is not renewed, a password or the secret of a "
                "service account gets another one",
            )
        waited = f"; waited for {waited_s:.1f} s" if waited_s else ""
        return MachineUnavailableError(
            self.machine, f"its service does not answer ({failure.reason}){waited}", _LATER
        )

    def _once(self, call: Callable[[Any], T]) -> T:
        """Call QRMI once, with an object that nobody else uses meanwhile.

        Raises:
            QrmiFailureError: It failed, or took too long.
        """
        qpu = self._taken()
        given: list[T] = []
        failed: list[BaseException] = []
        is_over = threading.Event()

        def work() -> None:
            try:
                given.append(call(qpu))
            except BaseException as error:  # noqa: BLE001 - also QRMI's panics; told below
                failed.append(error)
            finally:
                is_over.set()

        threading.Thread(target=work, name="qrmi", daemon=True).start()
        limit_s = min(_LONGEST_CALL_S, self._timeout_s)
        if not is_over.wait(limit_s):
            raise QrmiFailureError("silence", f"no answer in {limit_s:g} s")
        if failed:
            if isinstance(failed[0], Exception):
                self._given_back(qpu)
            raise failure_of(failed[0], self.resource.secrets) from None
        self._given_back(qpu)
        return given[0]

    def _taken(self) -> Any:  # noqa: ANN401 - QRMI has no types
        with self._lock:
            if self._pid != os.getpid():  # those of a parent have threads that are not here
                self._free, self._pid = [], os.getpid()
            if self._free:
                return self._free.pop()
        return self._made()

    def _given_back(self, qpu: Any) -> None:  # noqa: ANN401
        with self._lock:
            self._free.append(qpu)

    def _forget(self) -> None:
        with self._lock:
            self._free = []

    def _made(self) -> Any:  # noqa: ANN401
        kind = getattr(self._qrmi.ResourceType, _TYPES[self.resource.type])
        settings = dict(self.resource.settings)
        try:
            return self._qrmi.QuantumResource.from_config(self.resource.name, kind, settings)
        except Exception as error:  # noqa: BLE001 - QRMI's are RuntimeErrors without a common word
            failure = failure_of(error, self.resource.secrets)
            raise self._typed(failure, 0.0) from None


def _word(status: Any) -> str:  # noqa: ANN401 - an enumeration of QRMI's
    return str(status).rpartition(".")[2]


def _is_unsupported(failure: QrmiFailureError) -> bool:
    """Whether there is no such function, and not: no such job."""
    return failure.status == 405 or (failure.status == 404 and failure.said == "Not Found")
