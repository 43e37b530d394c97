"""Sessions of jobs on the site's resources, opened and closed by QRMI."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cudaq_target.site.config import CLOUD, LOCAL, HookError, Resource

if TYPE_CHECKING:
    from collections.abc import Callable

    from cudaq_target.site.requests import Request

T = TypeVar("T")

_LOG: Final = logging.getLogger("cudaq_target.site")
_TYPES: Final = {CLOUD: "PasqalCloud", LOCAL: "PasqalLocal"}


def open_sessions(
    request: Request, resources: Mapping[str, Resource], timeout_s: float
) -> dict[str, str]:
    """Open sessions on everything that a job asks for, or on nothing.

    Args:
        request: What it asks for.
        resources: What there is, by name.
        timeout_s: Longest wait for each answer (s).

    Returns:
        Session of each resource that has sessions, by name.

    Raises:
        HookError: A resource is unknown, not accessible, or refuses.
    """
    unknown = [name for name in request.names if name not in resources]
    if unknown:
        offered = ", ".join(resources) or "none"
        raise HookError(f"unknown QPU resource {', '.join(unknown)}; this site has: {offered}")
    sessions: dict[str, str] = {}
    try:
        for name in request.names:
            check_accessible(resources[name], timeout_s, request.job_id, request.uid)
            if resources[name].type != CLOUD:  # which has none, and makes up an id
                made = _quantum_resource(resources[name], request.job_id, request.uid)
                sessions[name] = _asked(resources[name], made.acquire, timeout_s)
    except HookError:
        close_sessions(request, sessions, resources, timeout_s)
        raise
    return sessions


def close_sessions(
    request: Request,
    sessions: Mapping[str, str],
    resources: Mapping[str, Resource],
    timeout_s: float,
) -> dict[str, str]:
    """Close sessions; what fails is logged.

    Args:
        request: Whose they are.
        sessions: By name of the resource.
        resources: What there is, by name.
        timeout_s: Longest wait for each answer (s).

    Returns:
        Those that could not be closed.
    """
    left: dict[str, str] = {}
    for name, session in sessions.items():
        try:
            made = _quantum_resource(resources[name], request.job_id, request.uid)
            _asked(resources[name], partial(made.release, session), timeout_s)
        except (HookError, KeyError) as error:  # KeyError: the operator took the resource away
            _LOG.warning("job %s: a session of %s stays open: %s", request.job_id, name, error)
            left[name] = session
    return left


def check_accessible(resource: Resource, timeout_s: float, job_id: str = "0", uid: int = 0) -> None:
    """Ask a resource whether it takes jobs.

    Args:
        resource: Which.
        timeout_s: Longest wait for its answer (s).
        job_id: For which job.
        uid: For whom.

    Raises:
        HookError: It does not, or does not answer.
    """
    made = _quantum_resource(resource, job_id, uid)
    status = _asked(resource, made.status, timeout_s).to_dict()
    if str(status["status"]).rpartition(".")[2].lower() != "online":
        reason = f": {status['status_reason']}" if status.get("status_reason") else ""
        raise HookError(f"QPU resource {resource.name} is not accessible{resource.mask(reason)}")


def _quantum_resource(resource: Resource, job_id: str, uid: int) -> Any:  # noqa: ANN401
    try:
        qrmi: Any = importlib.import_module("qrmi")  # the user's part of the hooks does without
    except ImportError as error:
        raise HookError(f"QRMI is not installed for {sys.executable}: {error}") from None
    settings = {**resource.environment, "QRMI_JOB_ID": job_id, "QRMI_JOB_UID": str(uid)}
    kind = getattr(qrmi.ResourceType, _TYPES[resource.type])
    try:
        return qrmi.QuantumResource.from_config(resource.name, kind, settings)
    except Exception as error:  # noqa: BLE001 - told as ours
        raise HookError(f"QPU resource {resource.name}: {resource.mask(str(error))}") from None


def _asked(resource: Resource, call: Callable[[], T], timeout_s: float) -> T:
    """Call QRMI, which has no time limits of its own.

    Raises:
        HookError: It failed, or did not answer in time.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if results:
        return results[0]
    reason = str(errors[0]) if errors else f"no answer in {timeout_s:g} s"
    raise HookError(f"QPU resource {resource.name}: {resource.mask(reason)}")
