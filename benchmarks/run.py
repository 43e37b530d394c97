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

from benchmarks.report import RESULTS, Report, machine_facts, table, write
from benchmarks.table import refresh

NAMES = ("compile", "digital", "rtt", "throughput")


def main(name: str, quick: bool = False, json: bool = False, output: Path | None = None) -> int:
    """Measure and print.

    Args:
        name: One of `NAMES`.
        quick: Fewer circuits and repeats, under a minute each.
        json: Print `{"machine": …, "rows": […]}` instead of a table.
        output: File for the full record, or None; the README follows records in `results/`.

    Returns:
        The exit code.
    """
    if name not in NAMES:
        print(f"no benchmark {name!r}; known: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    report = measure(name, quick)
    if output is not None:
        write(report, output)
        if output.resolve().parent == RESULTS:
            refresh()
    print(json_format.dumps(report.public(), ensure_ascii=False) if json else table(report))
    return 0 if report.is_correct else 1


def measure(name: str, quick: bool) -> Report:
    """Run all rows of a benchmark."""
    facts = machine_facts()
    rows = tuple(import_module(f"benchmarks.{name}").rows(quick))
    facts["load_1min_at_end"] = round(os.getloadavg()[0], 2)
    command = ["python", "-m", "benchmarks.run", name, *(["--quick"] if quick else [])]
    return Report(name, rows, shlex.join(command), facts)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--quick", action="store_true", help="fewer circuits and repeats")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--output", type=Path, help="write the full record to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    chosen = parse(sys.argv[1:])
    sys.exit(main(chosen.name, chosen.quick, chosen.json, chosen.output))
