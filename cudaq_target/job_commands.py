"""The commands `run --detach`, `status`, `fetch`, `cancel` and `forget`: jobs nobody waits for."""

from __future__ import annotations

import json as json_format
import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.jobs import Job
    from cudaq_target.program import Program
    from cudaq_target.shots import Shots

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

Name = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="Its id or the beginning of it, the machine's id, or a saved record."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def detach(
    program: Program | AnalogProgram,
    n_shots: int,
    settings: dict[str, Any],
    *,
    json: bool,
) -> None:
    """Submit a program and print the name of its job.

    Args:
        program: The program.
        n_shots: Number of shots.
        settings: Options of the target that were given.
        json: Print JSON.
    """
    from cudaq_target.jobs import submit  # noqa: PLC0415 - doctor must start without Numba

    job = submit(program, n_shots, **settings)
    if json:
        _print_json(_as_data(job))
    else:
        typer.echo(job.id)


def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="A job; by default all, as last seen.")
    ] = None,
    json: Json = False,
) -> None:
    """Say how far a job is, or which jobs there are."""
    from cudaq_target.jobs import Job, jobs  # noqa: PLC0415

    if name is None:
        found = jobs()
    else:
        found = [Job.load(name)]
        found[0].status()
    if json:
        rows = [_as_data(job) for job in found]
        _print_json(rows if name is None else rows[0])
        return
    for job in found:
        record = job.record
        reason = f": {record.reason}" if record.reason else ""
        typer.echo(
            f"{job.id}  {record.status:<9} {record.note.n_shots} shots of {record.note.program} "
            f"on {job.machine}, {record.created_at}{reason}"
        )


def fetch(
    name: Name,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.0, help="Wait so long at most (s); by default until it has ended."),
    ] = None,
    json: Json = False,
) -> None:
    """Wait for a job and print its counts, qubit 0 leftmost."""
    from cudaq_target.jobs import Job  # noqa: PLC0415

    job = Job.load(name)
    counts = _counts(job, job.result(timeout))
    if json:
        _print_json(_as_data(job) | {"counts": counts})
    else:
        for bits, number in counts.items():
            typer.echo(f"{bits} {number}")


def cancel(name: Name, json: Json = False) -> None:
    """End a job; one that has ended stays as it is."""
    from cudaq_target.jobs import Job  # noqa: PLC0415

    job = Job.load(name)
    job.cancel()
    if json:
        _print_json(_as_data(job))
    else:
        typer.echo(f"{job.id} {job.record.status}")


def forget(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB]...", help="Jobs, as for `status`.")
    ] = None,
    finished: Annotated[
        bool, typer.Option("--finished", help="All jobs whose end was seen.")
    ] = False,
    older_than: Annotated[
        str | None, typer.Option(help="Of --finished those sent so long ago: 12h, 30d, 4w.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also a named job that has not ended; it goes on.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove records of jobs that have ended, with their results, and print their ids."""
    from cudaq_target import jobs  # noqa: PLC0415

    if finished == bool(names):
        raise OptionError("forget", "say which jobs", "Give their ids, or --finished")
    if older_than is not None and not finished:
        raise OptionError("--older-than", "it chooses among finished jobs", "Add --finished")
    if force and finished:
        raise OptionError("--force", "it is for named jobs alone", "Leave it out, or give ids")
    if finished:
        gone = jobs.forget_finished(0.0 if older_than is None else _seconds(older_than))
    else:
        gone = [jobs.forget(name, is_forced=force) for name in names or []]
    if json:
        _print_json(gone)
    else:
        typer.echo("\n".join(gone), nl=bool(gone))


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smhdw])", text)
    if found is None:
        remedy = "Give a whole number with a unit: s, m, h, d or w, for example 30d"
        raise OptionError(f"--older-than {text}", "no time", remedy)
    return float(int(found[1]) * _UNITS_S[found[2]])


def _counts(job: Job, shots: Shots) -> dict[str, int]:
    """Count the bits that the program measures."""
    measured = job.record.measured
    return shots.counts() if measured is None else shots.marginal(measured).counts()


def _as_data(job: Job) -> dict[str, Any]:
    record = job.record
    return {
        "id": job.id,
        "machine": job.machine,
        "machine_id": job.machine_id,
        "program": record.note.program,
        "n_shots": record.note.n_shots,
        "status": record.status,
        "reason": record.reason,
        "created_at": record.created_at,
    }


def _print_json(content: object) -> None:
    typer.echo(json_format.dumps(content, ensure_ascii=False, indent=2))
