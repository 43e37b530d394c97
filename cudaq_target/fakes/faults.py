"""What is to go wrong: faults of requests and of jobs, planned by a test, taken one by one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Where faults of the execution happen, beside the endpoints of a service.
JOB: Final = "job"
# Before the request is looked at.
SLOW, DROP, EXPIRE = "slow", "drop", "expire"
# After it was carried out: the reply does not arrive as it should.
LOST, HALF, GARBAGE = "lost", "half", "garbage"
REQUEST_KINDS: Final = (SLOW, DROP, EXPIRE, LOST, HALF, GARBAGE)
# A job that goes into such a state stays there until it is cancelled or released.
HELD_STATES: Final = ("PENDING", "RUNNING", "PAUSED", "CANCELING")
FAILED_STATES: Final = ("ERROR", "CANCELED", "TIMED_OUT")
DONE_AT_CANCEL, NO_RESULT, BAD_RESULT, FEW_SHOTS = (
    "done-at-cancel",
    "no-result",
    "bad-result",
    "few-shots",
)
JOB_KINDS: Final = (
    *HELD_STATES,
    *FAILED_STATES,
    DONE_AT_CANCEL,
    NO_RESULT,
    BAD_RESULT,
    FEW_SHOTS,
)
_HTTP_ERRORS = range(400, 600)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        where: Endpoint by name, a pattern of names such as `jobs.*`, or `job` for the execution.
        kind: HTTP status, or one of `REQUEST_KINDS`; for `job`, one of `JOB_KINDS`.
        seconds: How late a slow reply comes (s).
        retry_after_s: Value of the header Retry-After of a status (s), or None to leave it out.
        text: What the error says, or None for the service's usual words.
    """

    where: str
    kind: int | str
    seconds: float = 1.0
    retry_after_s: int | None = None
    text: str | None = None


@dataclass(slots=True, eq=False)
class Planned:
    """A fault and how often it is still to happen.

    Attributes:
        fault: What happens.
        left: How many times more; None for always.
        after: How many requests or jobs it lets pass before.
        happened: How often it has happened.
    """

    fault: Fault
    left: int | None
    after: int
    happened: int = 0


@dataclass(slots=True, eq=False)
class Faults:
    """The faults that a service has before it.

    Attributes:
        endpoints: Names of the service's endpoints.
    """

    endpoints: frozenset[str]
    _planned: list[Planned] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault, *, times: int | None, after: int) -> Planned:
        """Plan a fault.

        Args:
            fault: What is to happen.
            times: How often; None for always.
            after: How many requests or jobs pass before.

        Returns:
            The plan, which counts.

        Raises:
            OptionError: No such place, or nothing of this kind happens there.
        """
        _check(fault, self.endpoints)
        planned = Planned(fault, times, after)
        with self._lock:
            self._planned.append(planned)
        return planned

    def take(self, endpoint: str) -> list[Fault]:
        """Return what goes wrong now, in the order in which it was planned."""
        with self._lock:
            return [
                planned.fault
                for planned in self._planned
                if fnmatchcase(endpoint, planned.fault.where) and _is_due(planned)
            ]

    def clear(self) -> None:
        """Forget what has not happened yet."""
        with self._lock:
            self._planned.clear()


def _is_due(planned: Planned) -> bool:
    if planned.left == 0:
        return False
    if planned.after > 0:
        planned.after -= 1
        return False
    if planned.left is not None:
        planned.left -= 1
    planned.happened += 1
    return True


def _check(fault: Fault, endpoints: Iterable[str]) -> None:
    if fault.where == JOB:
        if fault.kind not in JOB_KINDS:
            raise OptionError(
                f"fault {fault.kind!r}", "no job fails like this", f"Give one of {_list(JOB_KINDS)}"
            )
        return
    if not any(fnmatchcase(name, fault.where) for name in endpoints):
        raise OptionError(
            f"fault at {fault.where!r}",
            "the service has no such endpoint",
            f"Give {JOB!r} or one of {_list(sorted(endpoints))}",
        )
    if fault.kind not in REQUEST_KINDS and fault.kind not in _HTTP_ERRORS:
        raise OptionError(
            f"fault {fault.kind!r}",
            "no request fails like this",
            f"Give an HTTP status from 400, or one of {_list(REQUEST_KINDS)}",
        )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
