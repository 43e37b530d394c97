"""Lists of batches and jobs: filters of a query, order and pages."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Final, TypeVar

from cudaq_target.fakes import checks
from cudaq_target.fakes.batches import Batch, Job
from cudaq_target.fakes.service import Refusal, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Query = Mapping[str, list[str]]

_PAGE: Final = frozenset({"offset", "limit", "order_by", "order_by_direction"})
_MOMENTS: Final = frozenset({"start_date", "end_date"})
CANCEL_FILTERS: Final = frozenset({"id", "min_runs", "max_runs"}) | _MOMENTS
REBATCH_FILTERS: Final = CANCEL_FILTERS | {"status"}
JOB_FILTERS: Final = REBATCH_FILTERS | {"project_id", "user_id", "batch_id", "errors"} | _PAGE
_BATCH_FILTERS: Final = (
    frozenset({"id", "project_id", "user_id", "device_type", "status", "open", "queue_priority"})
    | {"tag"}
    | _MOMENTS
    | _PAGE
)
_MOST_PER_PAGE: Final = 100
_MOST: Final = 1 << 31

Entry = TypeVar("Entry", Batch, Job)


def jobs(found: Iterable[Job], query: Query, known: frozenset[str]) -> list[Job]:
    """Return the jobs that fit a query.

    Args:
        found: Jobs.
        query: What was asked.
        known: The parameters that this endpoint has.

    Raises:
        Refusal: 422, unknown or malformed parameters.
    """
    checks.only(query, known)
    least = checks.integer(query, "min_runs", 0, 0, _MOST)
    most = checks.integer(query, "max_runs", _MOST, 0, _MOST)
    errors = _boolean(query, "errors")
    return [
        job
        for job in found
        if _is_one_of(query, "id", job.id)
        and _is_one_of(query, "batch_id", job.batch.id)
        and _is_one_of(query, "project_id", job.batch.project_id)
        and _is_one_of(query, "user_id", job.batch.user_id)
        and _is_one_of(query, "status", job.order.status)
        and least <= job.order.n_shots <= most
        and (errors is None or errors == bool(job.order.errors))
        and _is_in_time(query, job.order.created_s)
    ]


def batches(found: Iterable[Batch], query: Query) -> list[Batch]:
    """Return the batches that fit a query.

    Raises:
        Refusal: 422, unknown or malformed parameters.
    """
    checks.only(query, _BATCH_FILTERS)
    is_open = _boolean(query, "open")
    tag = checks.form(query, "tag")
    return [
        batch
        for batch in found
        if _is_one_of(query, "id", batch.id)
        and _is_one_of(query, "project_id", batch.project_id)
        and _is_one_of(query, "user_id", batch.user_id)
        and _is_one_of(query, "device_type", batch.device_type)
        and _is_one_of(query, "status", batch.status)
        and _is_one_of(query, "queue_priority", "MEDIUM")
        and (is_open is None or is_open == batch.is_open)
        and (tag is None or tag in (batch.tags or []))
        and _is_in_time(query, batch.created_s)
    ]


def page(found: list[Entry], query: Query, *, newest_first: bool) -> Reply:
    """Write a page of a list.

    Args:
        found: Entries, oldest first.
        query: With offset and limit.
        newest_first: Turn the order round.

    Raises:
        Refusal: 422, malformed parameters.
    """
    offset = checks.integer(query, "offset", 0, 0, _MOST)
    limit = checks.integer(query, "limit", _MOST_PER_PAGE, 1, _MOST_PER_PAGE)
    ordered = found[::-1] if newest_first else found
    part = ordered[offset : offset + limit]
    return Reply.of(
        200,
        {
            "status": "success",
            "code": "200",
            "message": "OK.",
            "data": [entry.written() for entry in part],
            "pagination": {"total": len(found), "start": offset, "end": offset + len(part)},
        },
    )


def _is_one_of(query: Query, name: str, value: str) -> bool:
    return value in query.get(name, [value])


def _boolean(query: Query, name: str) -> bool | None:
    text = checks.form(query, name)
    if text is None:
        return None
    if text.lower() not in ("true", "false"):
        raise Refusal(422, f"query.{name}: Input should be a valid boolean")
    return text.lower() == "true"


def _is_in_time(query: Query, moment_s: float) -> bool:
    start, end = _moment(query, "start_date"), _moment(query, "end_date")
    return (start is None or start <= moment_s) and (end is None or moment_s <= end)


def _moment(query: Query, name: str) -> float | None:
    text = checks.form(query, name)
    if text is None:
        return None
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise Refusal(422, f"query.{name}: Input should be a moment in ISO 8601") from None
