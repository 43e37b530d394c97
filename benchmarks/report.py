"""What a benchmark hands out: rows with the goal beside the figure, and where they were measured.

The printed JSON has two keys, `machine` and `rows`. Files written with `--output` hold more: the
command, the date, the repeats behind each figure and the notes.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    "cudaq-target",
    "cuda-quantum-cu12",
    "cuda-quantum-cu13",
    "eclipse-zenoh",
    "iceoryx2",
    "mqt.bench",
    "mqt.qmap",
    "numba",
    "numpy",
    "pulser-core",
    "pulser-simulation",
    "pyzmq",
    "qiskit",
    "qutip",
    "scipy",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        name: What was measured, with the case: `duration qft-6`.
        value: The figure of this project.
        unit: Its unit; `1` for a pure number.
        peer: What it is compared with, with the peer's figure, or None.
        ratio: Peer's figure over ours (above 1: ours is smaller), or None.
        reach: The goal, or None for a row that only informs.
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


@dataclass(frozen=True, slots=True)
class Report:
    """All rows of one benchmark in one run."""

    bench: str
    rows: tuple[Row, ...]
    command: str
    machine: dict[str, object] = field(default_factory=dict)
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))

    @property
    def is_correct(self) -> bool:
        return not any(row.is_correctness and row.holds is False for row in self.rows)

    def public(self) -> dict[str, object]:
        return {"machine": self.machine, "rows": [row.public() for row in self.rows]}

    def record(self) -> dict[str, object]:
        rows = [
            row.public() | {"note": row.note, "samples": summary(row.samples)} for row in self.rows
        ]
        plain = asdict(self)
        return {key: plain[key] for key in ("bench", "command", "date", "machine")} | {"rows": rows}


def summary(samples: Sequence[float]) -> dict[str, float] | None:
    """Return p50, p90, p99, p99.9, maximum and number of repeats, or None without repeats."""
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
        "p99.9": rank(0.999),
        "max": ordered[-1],
    }


def machine_facts() -> dict[str, object]:
    """Describe the machine: processor, cores, memory, threads, versions."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "load_1min": round(os.getloadavg()[0], 2),
        "pinning": "none",
        "threads": os.environ.get("OMP_NUM_THREADS", "library defaults"),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": _versions(),
        "commit": _commit(),
    }


def table(report: Report) -> str:
    """Return the rows as aligned text."""
    head = ("", "name", "value", "unit", "peer", "ratio", "reach")
    lines = [head, *(cells(row.public()) for row in report.rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    body = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    where = report.machine
    first = f"{report.bench}: {where['cpu']}, {where['cores']} cores, load {where['load_1min']}"
    return f"{first}\n{body}"


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
    path.write_text(json.dumps(report.record(), indent=1, ensure_ascii=False) + "\n")


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
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
