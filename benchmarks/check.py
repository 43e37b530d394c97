"""Check the records in `benchmarks/results/`: `python -m benchmarks.check` says what is amiss.

A record is of the present format where it holds what `report.Report.record` writes today: format,
benchmark, the command that makes it again, date, duration, machine, and rows with the repeats
behind each figure, as a histogram from a thousand on. It comes from a whole run.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.histograms import ENOUGH
from benchmarks.registry import BY_NAME
from benchmarks.report import FORMAT, RESULTS

if TYPE_CHECKING:
    from pathlib import Path

HEAD = ("format", "bench", "command", "date", "seconds", "machine", "rows")
ROW = ("name", "value", "unit", "peer", "ratio", "reach", "holds", "note", "samples", "histogram")


def problems(record: dict[str, Any], name: str) -> list[str]:
    """Say what a record lacks, or must not say.

    Args:
        record: Read from its file.
        name: Of the file, without its ending.
    """
    if record.get("format") != FORMAT:
        return [f"it is of format {record.get('format', 1)}, not {FORMAT}"]
    if missing := [key for key in HEAD if key not in record]:
        return [f"it has no {', '.join(missing)}"]
    found = []
    if name not in BY_NAME:
        found.append(f"no benchmark is called {name}")
    command = f"python -m benchmarks.run {name}"
    if record["bench"] != name or not f"{record['command']} ".startswith(f"{command} "):
        found.append(f"it is one of {record['bench']}, by `{record['command']}`, not by {command}")
    if "--quick" in record["command"].split():
        found.append("it is from a quick run")
    return found + [problem for row in record["rows"] for problem in _of_row(row)]


def _of_row(row: dict[str, Any]) -> list[str]:
    if missing := [key for key in ROW if key not in row]:
        return [f"{row.get('name', 'a row')}: it has no {', '.join(missing)}"]
    samples = row["samples"]
    found = []
    if samples and samples["n"] >= ENOUGH and samples["min"] >= 0 and row["histogram"] is None:
        found.append(f"{row['name']}: {samples['n']} repeats and no histogram")
    if row["value"] is None and not row["note"]:
        found.append(f"{row['name']}: no figure, and no word why")
    return found


def checked(folder: Path = RESULTS) -> dict[str, list[str]]:
    """What is amiss with each record of a folder, by name; empty lists where nothing is."""
    paths = sorted(folder.glob("*.json"))
    return {path.stem: problems(json.loads(path.read_text()), path.stem) for path in paths}


def main() -> int:
    """Print what is amiss, and how to make those records again.

    Returns:
        1 where something is, else 0.
    """
    found = checked()
    for name, amiss in found.items():
        for problem in amiss:
            print(f"{name}: {problem}")
        if amiss and name in BY_NAME:
            print(f"  python -m benchmarks.run {name} --output benchmarks/results/{name}.json")
    absent = [name for name in BY_NAME if name not in found]
    for name in absent:
        print(f"{name}: no record")
    return 1 if absent or any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
