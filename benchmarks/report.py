"""What a benchmark hands out: rows with the goal beside the figure, and where they were measured.

The printed JSON has the keys `machine` and `rows`, and one per section where a benchmark has any.
Files written with `--output` hold more: the command, the date, how long it took, the notes and the
repeats, as percentiles and, from a thousand of them on, as a histogram.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import histograms
from benchmarks.cores import pinning

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 2  # of a record; `benchmarks.check` says what it holds
TAIL_SAMPLES = 100_000
_NUMBERS = re.compile(r"\[\s*((?:-?[\d.e+-]+,?\s*)+)\]")
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    "cudaq-target",
    "cuda-quantum-cu12",
    "cuda-quantum-cu13",
    "cudaq-qec-cu12",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "eclipse-zenoh",
    "hdrhistogram",
    "iceoryx2",
    "mqt.bench",
    "mqt.qmap",
    "numba",
    "numpy",
    "pasqal-cloud",
    "pulser-core",
    "pulser-simulation",
    "pymatching",
    "pyzmq",
    "qiskit",
    "qiskit-pasqal-provider",
    "qrmi",
    "qutip",
    "scipy",
    "stim",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        name: What was measured, with the case: `duration qft-6`.
        value: The figure of this project.
        unit: Its unit; `1` for a pure number.
        peer: What it is compared with, with the peer's figure, or None.
        ratio: How many times better than the peer: its time over ours, or our rate over its rate.
            Above 1 ours is better. None without a peer.
        reach: The goal, or None for a row that only informs; `ratio >= …` speaks of `ratio`.
        holds: Whether this run met the goal; None without a goal, or where it could not run.
        samples: The repeats behind `value`, in its unit.
        note: What a reader must know to judge the figure.
        is_correctness: A False `holds` means a wrong result, not a slow one.
    """

    name: str
    value: float | None
    unit: str
    peer: str | None = None
    ratio: float | None = None
    reach: str | None = None
    holds: bool | None = None
    samples: tuple[float, ...] = ()
    note: str = ""
    is_correctness: bool = False

    def public(self) -> dict[str, object]:
        """Return the seven keys of the output contract."""
        names = ("name", "value", "unit", "peer", "ratio", "reach", "holds")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Goal:
    """An upper limit on a figure."""

    limit: float
    strict: bool = False
    of: str = ""

    def __str__(self) -> str:
        return f"{'<' if self.strict else '<='} {self.limit:g}{f' ({self.of})' if self.of else ''}"

    def met_by(self, value: float) -> bool:
        return value < self.limit if self.strict else value <= self.limit


def at_most(times: float) -> str:
    """The goal of a time that may be so many times the peer's."""
    return f"ratio >= {1.0 / times:.3g} (<= {times:g} × the peer)"


Section = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a benchmark with more than rows gives.

    Attributes:
        rows: Figures with a goal or a peer.
        sections: Tables beside them, by name: a record per line.
        files: Longer tables, by name, for CSV files alone.
    """

    rows: tuple[Row, ...]
    sections: dict[str, Section] = field(default_factory=dict)
    files: dict[str, Section] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """All rows of one benchmark in one run."""

    bench: str
    rows: tuple[Row, ...]
    command: str
    machine: dict[str, object] = field(default_factory=dict)
    sections: dict[str, Section] = field(default_factory=dict)
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    seconds: float = 0.0

    @property
    def is_correct(self) -> bool:
        return not any(row.is_correctness and row.holds is False for row in self.rows)

    def public(self) -> dict[str, object]:
        rows = [row.public() for row in self.rows]
        return {"machine": self.machine, "rows": rows} | self.sections

    def record(self) -> dict[str, object]:
        """Return all that a file in `results/` holds; `command` makes it again."""
        head: dict[str, object] = {
            "format": FORMAT,
            "bench": self.bench,
            "command": self.command,
            "date": self.date,
            "seconds": round(self.seconds, 1),
            "machine": self.machine,
        }
        return {**head, "rows": [_row_record(row) for row in self.rows], **self.sections}


def _row_record(row: Row) -> dict[str, object]:
    behind = {"samples": summary(row.samples), "histogram": histogram(row.samples)}
    return row.public() | {"note": row.note} | behind


def histogram(samples: Sequence[float]) -> dict[str, Any] | None:
    """Return the histogram of many repeats.

    None of few of them, of a difference that is negative at times, and, after a word about it,
    without the package.
    """
    if len(samples) < histograms.ENOUGH or min(samples) < 0.0:
        return None
    try:
        return histograms.encoded(samples)
    except ModuleNotFoundError as error:
        progress(f"{error.name} is not installed: no histogram; `make bench` installs it")
        return None


def summary(samples: Sequence[float]) -> dict[str, float | None] | None:
    """Return p50, p90, p99, p99.9, maximum and number of repeats, or None without repeats.

    p99.9 is None below 10^5 repeats, where it would rest on fewer than 100 of them.
    """
    if not samples:
        return None
    ordered = sorted(samples)

    def rank(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return {
        "n": len(ordered),
        "min": ordered[0],
        "p50": statistics.median(ordered),
        "p90": rank(0.9),
        "p99": rank(0.99),
        "p99.9": rank(0.999) if len(ordered) >= TAIL_SAMPLES else None,
        "max": ordered[-1],
    }


def machine_facts(pinned: tuple[int, ...] = ()) -> dict[str, object]:
    """Describe the machine: processor, cores, memory, threads, versions.

    Args:
        pinned: Cores given with `--pin`.
    """
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "load_1min": round(os.getloadavg()[0], 2),
        "load_5_15min": [round(one, 2) for one in os.getloadavg()[1:]],
        "kernel": platform.release(),
        "pinning": pinning(pinned),
        "threads": os.environ.get("OMP_NUM_THREADS", "library defaults"),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": _versions(),
        "commit": _commit(),
    }


def table(report: Report) -> str:
    """Return the rows as aligned text, below them why some could not run, then the sections."""
    head = ("", "name", "value", "unit", "peer", "ratio", "reach")
    where = report.machine
    first = f"{report.bench}: {where['cpu']}, {where['cores']} cores, load {where['load_1min']}"
    parts = [first + "\n" + aligned([head, *(cells(row.public()) for row in report.rows)])]
    missing = (row.note for row in report.rows if row.value is None and row.note)
    parts += dict.fromkeys(note.removeprefix("could not run: ") for note in missing)
    for name, lines in report.sections.items():
        names = columns(lines)
        if name != "histograms" and not any(
            isinstance(value, list) for line in lines for value in line.values()
        ):
            texts = [tuple(entry(line.get(one)) for one in names) for line in lines]
            parts.append(f"{name}{UNITS.get(name, '')}\n{aligned([tuple(names), *texts])}")
    return "\n\n".join(parts)


UNITS = dict.fromkeys(("latency", "open_loop", "stages", "sifl", "replay"), ", times in µs")


def aligned(lines: Sequence[tuple[str, ...]]) -> str:
    """Return cells as columns of text."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def entry(value: object) -> str:
    """Write a cell of a section; what is not known stays empty."""
    if value is None:
        return ""
    return number(value) if isinstance(value, int | float) else str(value)


def cells(row: dict[str, object]) -> tuple[str, ...]:
    """Return one row as text: mark, name, value, unit, peer, ratio, reach."""
    mark = {True: "yes", False: "NO", None: ""}[row["holds"]]  # type: ignore[index]
    ratio = row["ratio"]
    return (
        mark,
        str(row["name"]),
        number(row["value"]),
        str(row["unit"]),
        str(row["peer"] or ""),
        f"{number(ratio)}×" if ratio is not None else "",
        str(row["reach"] or ""),
    )


def number(value: object) -> str:
    """Write a figure with three or four digits."""
    if not isinstance(value, int | float):
        return "could not run"
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e6):
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def write(report: Report, path: Path) -> None:
    """Write the full record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.record(), indent=1, ensure_ascii=False)
    path.write_text(_NUMBERS.sub(_on_one_line, text) + "\n")


def _on_one_line(numbers: re.Match[str]) -> str:
    return f"[{' '.join(numbers[1].split())}]"


def write_csv(lines: Section, path: Path) -> None:
    """Write a table, one line per record; lists are left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        names = columns(lines)
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def columns(lines: Section) -> list[str]:
    """Names of all fields that are no lists, in the order in which they appear."""
    found: dict[str, None] = {}
    for line in lines:
        found |= {name: None for name, value in line.items() if not isinstance(value, list)}
    return list(found)


def progress(message: str) -> None:
    """Say on standard error what is being measured."""
    print(f"  {message}", file=sys.stderr, flush=True)


def _cpu() -> str:
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        return next(value.strip() for name, _, value in lines if name.strip() == "model name")
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # a bare node has no git
        return "unknown"
    return done.stdout.strip() or "unknown"
