"""Groups of benchmarks: each member in a process of its own, as if it were run alone.

So no member meets the loaded modules, threads and targets of the one before, and one that fails,
crashes or hangs takes no other along.
"""

from __future__ import annotations

import json as json_format
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.registry import GROUPS
from benchmarks.report import ROOT, aligned, machine_facts, number

RIGHT, WRONG, UNKNOWN, CANNOT_RUN = range(4)
VERDICTS = {RIGHT: "right", WRONG: "WRONG", UNKNOWN: "refused", CANNOT_RUN: "cannot run"}
# Longest that a member may take before it counts as hanging (s).
QUICK_LIMIT_S, LIMIT_S = 300.0, 5400.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one member.

    Attributes:
        name: Of the benchmark.
        seconds: From start to end of its process (s).
        code: Its exit code; None where it was stopped because it took too long.
        record: What it wrote; None where it did not come so far.
    """

    name: str
    seconds: float
    code: int | None
    record: dict[str, Any] | None

    @property
    def verdict(self) -> str:
        if self.code is None:
            return "stopped: too long"
        if self.code == WRONG and self.record is None:
            return "FAILED"
        return VERDICTS.get(self.code, f"FAILED, exit code {self.code}")

    @property
    def is_right(self) -> bool:
        return self.code == RIGHT

    def cells(self) -> tuple[str, ...]:
        """Its line in the summary."""
        rows = [] if self.record is None else self.record["rows"]
        verdicts = [row["holds"] for row in rows]
        n_without = sum(row["value"] is None for row in rows)
        counts = (len(rows), verdicts.count(True), verdicts.count(False), n_without)
        return (self.name, number(self.seconds), *map(str, counts), self.verdict)


def run(
    group: str,
    *,
    quick: bool = False,
    json: bool = False,
    folder: Path | None = None,
    out: Path | None = None,
    frames: int | None = None,
    peer_python: Path | None = None,
    pinned: tuple[int, ...] = (),
) -> int:
    """Run the members of a group, and print their tables and a summary.

    Args:
        group: One of `registry.GROUPS`.
        quick: The quick form of each.
        json: Print one object with the rows of all instead of tables.
        folder: Where each record goes, as NAME.json; None for none.
        out: Folder for CSV files and pictures, or None.
        frames: Frames of `stream`, or None.
        peer_python: Interpreter with the peer of `analog`, or None.
        pinned: Cores that this process is on; its children say so in their records.

    Returns:
        0 where all is right; 1 where a result was wrong or a member failed; else 3, where
        something that a member needs is missing.
    """
    options = {
        "stream": [] if frames is None else ["--frames", str(frames)],
        "analog": [] if peer_python is None else ["--peer-python", str(peer_python.absolute())],
    }
    shared = ["--quick"] if quick else []
    shared += ["--pin", ",".join(map(str, pinned))] if pinned else []
    shared += [] if out is None else ["--out", str(out.resolve())]
    members = GROUPS[group]
    found = []
    for k, name in enumerate(members, start=1):
        _say(f"[{k}/{len(members)}] {name}")
        flags = [*shared, *options.get(name, [])]
        found.append(one(name, flags, folder, is_shown=not json, quick=quick))
        _say(f"[{k}/{len(members)}] {name}: {found[-1].verdict}, {found[-1].seconds:.1f} s")
    _print(merged(found, pinned) if json else summary(found), json)
    return exit_code(found)


def one(
    name: str, flags: list[str], folder: Path | None, *, is_shown: bool, quick: bool
) -> Outcome:
    """Run one member.

    Args:
        name: Of the benchmark.
        flags: Options of its command.
        folder: Where its record stays; None for nowhere.
        is_shown: Whether its table goes to standard output.
        quick: Whether it has to end soon.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        record = (folder or Path(scratch)).resolve() / f"{name}.json"
        before = record.stat().st_mtime_ns if record.is_file() else None
        command = [sys.executable, "-m", "benchmarks.run", name, *flags, "--output", str(record)]
        begun_s = time.perf_counter()
        try:
            code: int | None = subprocess.run(
                command,
                cwd=ROOT,
                stdout=None if is_shown else subprocess.DEVNULL,
                check=False,
                timeout=QUICK_LIMIT_S if quick else LIMIT_S,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
        seconds = time.perf_counter() - begun_s
        is_new = record.is_file() and record.stat().st_mtime_ns != before
        return Outcome(
            name, seconds, code, json_format.loads(record.read_text()) if is_new else None
        )


def exit_code(found: list[Outcome]) -> int:
    """The exit code of a group: wrong and failed members first, then those that cannot run."""
    codes = {outcome.code for outcome in found}
    if codes <= {RIGHT}:
        return RIGHT
    return CANNOT_RUN if codes <= {RIGHT, CANNOT_RUN} else WRONG


def summary(found: list[Outcome]) -> str:
    """One line per member: time, rows, goals met and missed, rows without a figure, verdict."""
    head = ("benchmark", "s", "rows", "yes", "NO", "not run", "results")
    total_s = sum(outcome.seconds for outcome in found)
    lines = aligned([head, *(outcome.cells() for outcome in found)])
    return f"{lines}\n\n{total_s:.1f} s in all"


def merged(found: list[Outcome], pinned: tuple[int, ...] = ()) -> str:
    """The JSON of a group: the machine, all rows, and the sections of each benchmark."""
    keys = ("name", "value", "unit", "peer", "ratio", "reach", "holds")
    records = [outcome.record for outcome in found if outcome.record is not None]
    rows = [{key: row[key] for key in keys} for record in records for row in record["rows"]]
    parts = [
        {"bench": outcome.name, "seconds": round(outcome.seconds, 1), "results": outcome.verdict}
        for outcome in found
    ]
    result = {"machine": machine_facts(pinned), "rows": rows, "benchmarks": parts}
    return json_format.dumps(result, ensure_ascii=False)


def _print(text: str, is_json: bool) -> None:
    print(text if is_json else f"\n{text}", flush=True)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
