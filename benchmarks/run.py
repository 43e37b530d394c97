"""Run benchmarks: `python -m benchmarks.run NAME [--quick] [--json] [--output FILE]`.

NAME is one of `--list`; groups such as `loop` and `all` run each member in a process of its own,
one after the other, and go on after one that fails. Exit code 1 means a wrong result or a failure,
never a slow figure; 2 an unknown benchmark or option; 3 that what a benchmark needs is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import json as json_format
import os
import shlex
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import suite
from benchmarks.cores import PinError, cores_of, pin_to
from benchmarks.registry import BY_NAME, GROUPS, NAMES, listing
from benchmarks.report import (
    RESULTS,
    Measurement,
    Report,
    machine_facts,
    progress,
    table,
    write,
    write_csv,
)
from benchmarks.suite import CANNOT_RUN, RIGHT, UNKNOWN, WRONG
from benchmarks.table import refresh

if TYPE_CHECKING:
    from benchmarks.report import Row, Section

# Options that one benchmark alone has.
OPTION_OF = {"frames": "stream", "peer_python": "analog"}


def main(
    name: str,
    quick: bool = False,
    json: bool = False,
    output: Path | None = None,
    out: Path | None = None,
    frames: int | None = None,
    peer_python: Path | None = None,
    pinned: tuple[int, ...] = (),
) -> int:
    """Measure one benchmark and print it.

    Args:
        name: Of a benchmark of `registry.BY_NAME`.
        quick: Fewer cases and repeats, seconds each.
        json: Print `{"machine": …, "rows": […]}` instead of a table.
        output: File for the full record, or None; the README follows records in `results/`.
        out: Folder for CSV files and a picture, or None.
        frames: Frames of `stream`, or None for its default.
        peer_python: Interpreter that runs the peer of `analog`, or None.
        pinned: Cores that this process was put on, for the record.

    Returns:
        The exit code.
    """
    if name not in BY_NAME:
        print(f"no benchmark {name!r}; known: {', '.join(NAMES)}", file=sys.stderr)
        return UNKNOWN
    try:
        report, files = measure(name, quick, frames, peer_python, pinned)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing in {f"benchmarks.{module}" for module in BY_NAME[name].modules}:
            print(f"{name}: this checkout has no {missing.replace('.', '/')}.py", file=sys.stderr)
            return CANNOT_RUN
        if missing.partition(".")[0] in ("benchmarks", "cudaq_target"):
            raise
        install = "`make bench`, or pip install --group bench, installs what is compared"
        print(f"{name}: {missing} is not installed; {install}", file=sys.stderr)
        return CANNOT_RUN
    if output is not None:
        write(report, output)
        if output.resolve().parent == RESULTS:
            refresh()
    if out is not None:
        export(report, files, out)
    print(json_format.dumps(report.public(), ensure_ascii=False) if json else table(report))
    return RIGHT if report.is_correct else WRONG


def measure(
    name: str,
    quick: bool,
    frames: int | None = None,
    peer_python: Path | None = None,
    pinned: tuple[int, ...] = (),
) -> tuple[Report, dict[str, Section]]:
    """Run a benchmark.

    Returns:
        Its report, and tables that are too long for it.
    """
    facts = machine_facts(pinned)
    given = {"frames": frames, "peer_python": peer_python}
    options = {key: value for key, value in given.items() if value is not None}
    begun_s = time.perf_counter()
    found = joined([of_module(module, quick, options) for module in BY_NAME[name].modules])
    taken_s = time.perf_counter() - begun_s
    facts["load_1min_at_end"] = round(os.getloadavg()[0], 2)
    flags = [*(["--quick"] if quick else []), *(["--frames", str(frames)] if frames else [])]
    flags += ["--pin", ",".join(map(str, pinned))] if pinned else []
    command = shlex.join(["python", "-m", "benchmarks.run", name, *flags])
    report = Report(name, found.rows, command, facts, found.sections, seconds=taken_s)
    return report, found.files


def of_module(name: str, quick: bool, options: dict[str, Any]) -> Measurement:
    """What one module measures."""
    module = import_module(f"benchmarks.{name}")
    if hasattr(module, "measured"):
        found: Measurement = module.measured(quick, **options)
        return found
    return Measurement(tuple(module.rows(quick, **options)))


def joined(parts: list[Measurement]) -> Measurement:
    """Rows, sections and files of several modules."""
    rows: list[Row] = []
    sections: dict[str, Section] = {}
    files: dict[str, Section] = {}
    for part in parts:
        rows += part.rows
        sections |= part.sections
        files |= part.files
    return Measurement(tuple(rows), sections, files)


def export(report: Report, files: dict[str, Section], folder: Path) -> None:
    """Write CSV files of the sections and of what is too long for them, and the picture."""
    record = report.record()
    rows = [row.public() for row in report.rows]
    sections = {name: lines for name, lines in report.sections.items() if name != "histograms"}
    for name, lines in ({"": rows} | sections | files).items():
        write_csv(lines, folder / f"{report.bench}{'-' if name else ''}{name}.csv")
    if "histograms" in report.sections:
        try:
            from benchmarks.pictures import draw  # noqa: PLC0415 - needs the extra `draw`

            draw(record, folder / f"{report.bench}.png")
        except ImportError as error:
            progress(f"no picture: {error}; pip install 'cudaq-target[draw]'")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES)
    parser.add_argument("--list", action="store_true", help="say what each benchmark measures")
    parser.add_argument("--quick", action="store_true", help="fewer cases and repeats")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--output", type=Path, help="write the full record to this file")
    parser.add_argument("--output-dir", type=Path, help="write each record to NAME.json there")
    parser.add_argument("--out", type=Path, help="write CSV files and a picture to this folder")
    parser.add_argument("--pin", type=_cores, help="cores for this process and its children: 0,1")
    parser.add_argument("--frames", type=_count, help="frames of `stream` over each transport")
    parser.add_argument("--peer-python", type=Path, help="interpreter with emu-sv, for `analog`")
    chosen = parser.parse_args(arguments)
    if chosen.name is None and not chosen.list:
        parser.error("name a benchmark, or see --list")
    if problem := _contradiction(chosen):
        parser.error(problem)
    return chosen


def _contradiction(chosen: argparse.Namespace) -> str | None:
    """Say which options do not go together."""
    members = GROUPS.get(chosen.name, (chosen.name,))
    for option, owner in OPTION_OF.items():
        if getattr(chosen, option) is not None and owner not in members:
            return f"--{option.replace('_', '-')} is an option of the benchmark `{owner}`"
    if chosen.output is not None and (chosen.output_dir is not None or chosen.name in GROUPS):
        return "--output is a file for one record; --output-dir takes as many as there are"
    folder = chosen.output_dir or (chosen.output.parent if chosen.output else None)
    if chosen.quick and folder is not None and folder.resolve() == RESULTS:
        return "records in benchmarks/results/ are those of whole runs: leave --quick out"
    return None


def _cores(text: str) -> tuple[int, ...]:
    try:
        return cores_of(text)
    except PinError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} frames cannot be sent; at least 1 can")
    return value


def start(arguments: list[str]) -> int:
    """Do what a command line says.

    Returns:
        The exit code.
    """
    chosen = vars(parse(arguments))
    if chosen.pop("list"):
        with contextlib.suppress(BrokenPipeError):  # `| head` has seen enough
            print(listing(), flush=True)
        return RIGHT
    pinned = chosen.pop("pin") or ()
    if pinned:
        pin_to(pinned)
    name, folder = chosen.pop("name"), chosen.pop("output_dir")
    if name in GROUPS:
        chosen.pop("output")
        return suite.run(name, folder=folder, pinned=pinned, **chosen)
    if folder is not None:
        chosen["output"] = folder / f"{name}.json"
    return main(name, pinned=pinned, **chosen)


if __name__ == "__main__":
    sys.exit(start(sys.argv[1:]))
