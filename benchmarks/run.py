"""Run one benchmark: `python -m benchmarks.run NAME [--quick] [--json] [--output FILE]`.

Exit code 1 means a wrong result, never a slow one; 2 an unknown benchmark.
"""

from __future__ import annotations

import argparse
import json as json_format
import os
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import loop
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
from benchmarks.table import refresh

if TYPE_CHECKING:
    from benchmarks.report import Section

PARTS = tuple(f"loop-{part}" for part in loop.PARTS)
NAMES = (
    *("compile", "digital", "analog", "kernels", "rtt", "throughput", "stream", "gpu", "loop"),
    "hpc",
    *PARTS,
)
# Where the module is not named like the benchmark.
MODULES = {"kernels": "shots"} | {part: part.replace("-", "_") for part in PARTS}


def main(
    name: str,
    quick: bool = False,
    json: bool = False,
    output: Path | None = None,
    out: Path | None = None,
    frames: int | None = None,
    peer_python: Path | None = None,
) -> int:
    """Measure and print.

    Args:
        name: One of `NAMES`.
        quick: Fewer circuits and repeats, under a minute each.
        json: Print `{"machine": …, "rows": […]}` instead of a table.
        output: File for the full record, or None; the README follows records in `results/`.
        out: Folder for CSV files and a picture, or None.
        frames: Frames of `stream`, or None for its default.
        peer_python: Interpreter that runs the peer of `analog`, or None.

    Returns:
        The exit code.
    """
    if name not in NAMES:
        print(f"no benchmark {name!r}; known: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    try:
        report, files = measure(name, quick, frames, peer_python)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("benchmarks", "cudaq_target"):
            raise
        install = "`make bench`, or pip install --group bench, installs what is compared"
        print(f"{name}: {error.name} is not installed; {install}", file=sys.stderr)
        return 1
    if output is not None:
        write(report, output)
        if output.resolve().parent == RESULTS:
            refresh()
    if out is not None:
        export(report, files, out)
    print(json_format.dumps(report.public(), ensure_ascii=False) if json else table(report))
    return 0 if report.is_correct else 1


def measure(
    name: str, quick: bool, frames: int | None = None, peer_python: Path | None = None
) -> tuple[Report, dict[str, Section]]:
    """Run a benchmark.

    Returns:
        Its report, and tables that are too long for it.
    """
    facts = machine_facts()
    module = import_module(f"benchmarks.{MODULES.get(name, name)}")
    options: dict[str, Any] = {} if frames is None else {"frames": frames}
    options |= {} if peer_python is None else {"peer_python": peer_python}
    if hasattr(module, "measured"):
        found = module.measured(quick, **options)
    else:
        found = Measurement(tuple(module.rows(quick, **options)))
    facts["load_1min_at_end"] = round(os.getloadavg()[0], 2)
    flags = [*(["--quick"] if quick else []), *(["--frames", str(frames)] if frames else [])]
    command = ["python", "-m", "benchmarks.run", name, *flags]
    return Report(name, found.rows, shlex.join(command), facts, found.sections), found.files


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
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--quick", action="store_true", help="fewer circuits and repeats")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--output", type=Path, help="write the full record to this file")
    parser.add_argument("--out", type=Path, help="write CSV files and a picture to this folder")
    parser.add_argument("--frames", type=_count, help="frames of `stream` over each transport")
    parser.add_argument("--peer-python", type=Path, help="interpreter with emu-sv, for `analog`")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} frames cannot be sent; at least 1 can")
    return value


if __name__ == "__main__":
    chosen = parse(sys.argv[1:])
    if chosen.frames is not None and chosen.name != "stream":
        sys.exit("--frames is an option of the benchmark `stream`")
    if chosen.peer_python is not None and chosen.name != "analog":
        sys.exit("--peer-python is an option of the benchmark `analog`")
    sys.exit(main(**vars(chosen)))
