"""What `cudaq-target report`, `cudaq-target rerun` and `run --manifest` do."""

from __future__ import annotations

import dataclasses
import json as json_format
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.manifest.model import Manifest
    from cudaq_target.manifest.openqse import Record
    from cudaq_target.program import Program
    from cudaq_target.target import Session


class Form(StrEnum):
    """Forms of a report."""

    TEXT = "text"
    HTML = "html"
    TRACKER = "tracker"
    OPENQSE = "openqse"


_DEFAULT_PAGE = Path("report.html")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def report(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A program (`compile --output`, AHS, Pulser), events (`--events`), or a manifest "
            "(`--manifest`).",
        ),
    ],
    form: Annotated[
        Form | None,
        typer.Option(
            "--format",
            help="text: a few lines. html: a page. Of a manifest also tracker: fields of the "
            "quantum-advantage tracker, and openqse: a use-case card. By default html for events, "
            "else text.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; by default printed.")
    ] = None,
    bench: Annotated[
        list[Path] | None,
        typer.Option(help="Record of a benchmark with figures for openqse; may be repeated."),
    ] = None,
    path: Annotated[
        str | None,
        typer.Option(
            help="Of the tracker: variational-problems, observable-estimations or "
            "classically-verifiable-problems."
        ),
    ] = None,
    authors: Annotated[str | None, typer.Option(help="For the tracker.")] = None,
    institutions: Annotated[str | None, typer.Option(help="For the tracker.")] = None,
    problem: Annotated[str | None, typer.Option(help="Circuit or Hamiltonian.")] = None,
    method_proof: Annotated[str | None, typer.Option(help="Link or explanation.")] = None,
    json: Json = False,
) -> None:
    """Describe a program, a run or a loop, for people or for others' forms."""
    kind = _kind(source)
    if bench and form is not Form.OPENQSE:
        raise OptionError("--bench", "it has figures for a card", "Give --format openqse as well")
    said = {"authors": authors, "institutions": institutions, "problem": problem}
    said["method_proof"] = method_proof
    if kind == "manifest":
        from cudaq_target.manifest.model import read  # noqa: PLC0415

        found = _told(read(source), said)
        _put(_of_manifest(found, form or Form.TEXT, bench or [], path, json=json), output)
        return
    for name, value in {"path": path, **said}.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise OptionError(option, f"{source} is no manifest", "Leave it out")
    if kind == "events":
        _report_events(source, form, output)
    else:
        _report_program(source, form, output, json=json)


def rerun(
    source: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="What a run wrote with --manifest.")
    ],
    machine: Annotated[
        str | None, typer.Option(help="Another machine for a program; by default the same.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Run a loop again even where its record is there.")
    ] = False,
    manifest: Annotated[Path | None, typer.Option(help="Write the new run's manifest.")] = None,
    json: Json = False,
) -> None:
    """Run again what a manifest describes; exit code 1 where other numbers come out."""
    from cudaq_target.manifest.again import rerun as repeat  # noqa: PLC0415
    from cudaq_target.manifest.model import read, write  # noqa: PLC0415

    done = repeat(read(source), machine=machine, is_live=live)
    if manifest is not None:
        write(done.manifest, manifest)
    if json:
        content = {
            "agreement": done.agreement,
            "p_value": done.p_value,
            "differences": [entry._asdict() for entry in done.differences],
            "result": done.manifest.as_data()["result"],
        }
        typer.echo(json_format.dumps(content, ensure_ascii=False, indent=2))
    else:
        typer.echo(done.text())
    if done.agreement == "different":
        raise typer.Exit(1)


def recorded(
    source: str,
    values: Sequence[str],
    session: Session,
    n_shots: int,
    path: Path,
    *,
    lower: Callable[[Session], Program | AnalogProgram],
) -> tuple[dict[str, int], str, str]:
    """Run as `cudaq-target run` does, and write the manifest.

    Args:
        source: Kernel or program file.
        values: The kernel's arguments, as JSON.
        session: Machine, noise and seed; without a seed one is drawn.
        n_shots: Number of shots.
        path: File for the manifest.
        lower: Makes the program for a session.

    Returns:
        Counts, machine and device.
    """
    from cudaq_target import kernel_file, program_file  # noqa: PLC0415
    from cudaq_target.manifest.model import check_place, write  # noqa: PLC0415
    from cudaq_target.manifest.runs import Phases, of_program, seeded  # noqa: PLC0415

    check_place(path)
    session, phases = seeded(session), Phases()
    arguments: list[object] | None = None
    with phases.phase("compile"):
        program = lower(session)
    with phases.phase("run"):
        if source.endswith(".json"):
            counts, machine = program_file.counts(program, session, n_shots)
        else:
            arguments = kernel_file.parse_arguments(values)
            kernel = kernel_file.load(source)
            counts = kernel_file.sampled(kernel, arguments, session, n_shots)
            machine = session.options.machine
    found = of_program(
        program, counts, session, n_shots, phases, machine=machine, arguments=arguments
    )
    write(found, path)
    return counts, machine, program.rules.name


def _kind(source: str) -> str:
    """Tell programs, manifests and events apart by what the file holds, if it can be read."""
    try:
        with Path(source).open(encoding="utf-8", errors="replace") as file:
            first = file.readline(1 << 16)
            if first.startswith('{"event":'):
                return "events"
            content = json_format.loads(first + file.read())
    except OSError:
        return "program" if source.endswith(".json") else "events"
    except (ValueError, RecursionError):
        return "program" if source.endswith(".json") else "events"
    from cudaq_target.manifest.model import is_manifest  # noqa: PLC0415

    return "manifest" if is_manifest(content) else "program"


def _told(manifest: Manifest, said: dict[str, str | None]) -> Manifest:
    given = {name: value for name, value in said.items() if value is not None}
    return dataclasses.replace(manifest, about=dataclasses.replace(manifest.about, **given))


def _of_manifest(
    manifest: Manifest, form: Form, bench: list[Path], path: str | None, *, json: bool
) -> str:
    if form is Form.TRACKER:
        from cudaq_target.manifest.tracker import submission  # noqa: PLC0415

        return _json(submission(manifest, path))
    if form is Form.OPENQSE:
        from cudaq_target.manifest.openqse import card, read_record  # noqa: PLC0415

        records: list[Record] = [read_record(place) for place in bench]
        filled = card(manifest, records)
        return _json(filled.as_data()) if json else filled.markdown()
    if form is Form.HTML:
        from cudaq_target.manifest.page import page  # noqa: PLC0415

        return page(manifest)
    from cudaq_target.manifest.words import text  # noqa: PLC0415

    return _json(manifest.as_data()) if json else text(manifest) + "\n"


def _report_events(source: str, form: Form | None, output: Path | None) -> None:
    if form not in (None, Form.HTML, Form.TEXT):
        raise OptionError(f"--format {form}", f"{source} holds events", "Give the manifest")
    if form is Form.TEXT:
        from cudaq_target.watch.reader import read_file  # noqa: PLC0415
        from cudaq_target.watch.state import state_of  # noqa: PLC0415
        from cudaq_target.watch.words import facts, title  # noqa: PLC0415

        state = state_of(read_file(source))
        lines = [f"  {fact.name:<11} {fact.text}" for fact in facts(state)]
        _put("\n".join([title(state, source), *lines]) + "\n", output)
        return
    from cudaq_target.watch.report import write_report  # noqa: PLC0415 - draws

    page = output or _DEFAULT_PAGE
    write_report(source, page)
    typer.echo(str(page))


def _report_program(source: str, form: Form | None, output: Path | None, *, json: bool) -> None:
    from cudaq_target import program_file  # noqa: PLC0415

    program = program_file.read(source, [])
    if form not in (None, Form.TEXT):
        raise OptionError(
            f"--format {form}",
            f"{source} is a program that has not run",
            "Run it with --manifest FILE, and report that",
        )
    content: dict[str, Any] = {
        "kernel": program.kernel,
        "device": program.rules.name,
        "stats": dataclasses.asdict(program.stats),
        "report": program.report(),
    }
    _put(_json(content) if json else program.report() + "\n", output)


def _put(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OptionError(
            f"output {str(output)!r}",
            f"the file cannot be written ({error.strerror})",
            "Give a path in a directory that exists and is writable",
        ) from error
    typer.echo(str(output))


def _json(content: object) -> str:
    return json_format.dumps(content, ensure_ascii=False, indent=2) + "\n"
