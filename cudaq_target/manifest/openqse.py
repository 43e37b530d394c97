"""A use-case card of openQSE's Quantum Control group, filled with what was observed.

UC-04 is near-time feedback between an accelerator and the quantum runtime (interface IF-F). Parts
B3 and B4 of the card (openQSE/wg-controls, `use-cases/template-UC.md`, September 2026) take figures
with a status: Required, Target, Observed or TBD. Figures here come from benchmark records and from
a manifest alone, with their origin; what neither holds is TBD.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cudaq_target.errors import OptionError
from cudaq_target.manifest.words import processor
from cudaq_target.watch.words import duration

if TYPE_CHECKING:
    from cudaq_target.manifest.model import Manifest

Status: TypeAlias = Literal["Required", "Target", "Observed", "TBD"]
Record: TypeAlias = Mapping[str, Any]
"""What `python -m benchmarks.run NAME --output FILE` writes."""

DIMENSIONS: Final = (
    "Latency",
    "Jitter",
    "Bandwidth / data volume",
    "Program size",
    "Synchronization",
    "Determinism",
    "Scale (qubits, QPUs, concurrent sessions)",
    "Instruction safety",
    "Failure behavior",
    "Observability / telemetry",
)
CLASSES: Final = ("< 1 µs", "1 µs–1 ms", "1 ms–1 s", "> 1 s")
# The way a program of this package calls, against peers that the records hold as well.
_OURS: Final = "connect(), "
_SMALL_BYTES: Final = 64
_US, _MS, _S = 1e3, 1e6, 1e9


@dataclass(frozen=True, slots=True)
class Row:
    """A row of part B4, or of B3.

    Attributes:
        dimension: Its name on the card.
        text: What was observed; "TBD".
        status: Of the text.
        evidence: Where it comes from.
    """

    dimension: str
    text: str = "TBD"
    status: Status = "TBD"
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A use-case card, as far as measurements fill it.

    Attributes:
        use_case: Number and title.
        updated: Day of the newest evidence, or "TBD".
        loop: The critical loop of part B3; `text` is the latency class.
        rows: Part B4, one row for each of `DIMENSIONS`.
    """

    use_case: str
    updated: str
    loop: Row
    rows: tuple[Row, ...]

    def as_data(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def markdown(self) -> str:
        """Write the card's tables."""
        lines = [
            f"# {self.use_case}",
            "",
            "| Field | Value |",
            "|---|---|",
            "| Status | Draft |",
            "| Qubit modality | Specific to: neutral atoms |",
            f"| Last updated | {self.updated} |",
            "",
            "## B3. Critical loops",
            "",
            "| Loop | Hops | Deadline | What sets the deadline | Current estimate | Status |",
            "|---|---|---|---|---|---|",
            f"| results → feedback compute → runtime | H9 → H10 | TBD | TBD | {_cell(self.loop)} | "
            f"{self.loop.status} |",
            "",
            "## B4. Requirements drivers",
            "",
            "| Dimension | Draft requirement | Status | Evidence |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {row.dimension} | {_escaped(row.text)} | {row.status} | {_escaped(row.evidence)} |"
            for row in self.rows
        ]
        return "\n".join(lines) + "\n"


def card(manifest: Manifest | None = None, records: Sequence[Record] = ()) -> Card:
    """Fill the card of UC-04.

    Args:
        manifest: Of a run; of a loop best of all.
        records: Of benchmarks: `rtt`, `throughput`, `stream`.
    """
    filled: dict[str, list[tuple[str, str]]] = {}
    for dimension, text, evidence in (*_of_manifest(manifest), *_of_records(records)):
        filled.setdefault(dimension, []).append((text, evidence))
    rows = tuple(_row(dimension, filled.get(dimension, [])) for dimension in DIMENSIONS)
    days = [str(record.get("date", ""))[:10] for record in records]
    days += [] if manifest is None else [manifest.created_at[:10]]
    return Card(
        use_case="UC-04 — Near-time feedback between an accelerator and the quantum runtime",
        updated=max(filter(None, days), default="TBD"),
        loop=_loop(manifest, records),
        rows=rows,
    )


def read_record(path: Path | str) -> Record:
    """Read a record of a benchmark.

    Raises:
        OptionError: The file cannot be read, or is none.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _no_record(path, str(error)) from error
    if not isinstance(content, dict) or not {"bench", "machine", "rows"} <= set(content):
        raise _no_record(path, "it has no bench, machine and rows")
    return content


def latency_class(ns: float) -> str:
    """Return the card's class of a latency.

    >>> latency_class(260.0), latency_class(70e3), latency_class(0.2e9), latency_class(6.1e9)
    ('< 1 µs', '1 µs–1 ms', '1 ms–1 s', '> 1 s')
    """
    return CLASSES[sum(ns >= limit for limit in (_US, _MS, _S))]


def _row(dimension: str, found: Sequence[tuple[str, str]]) -> Row:
    if not found:
        return Row(dimension)
    evidence = "; ".join(dict.fromkeys(origin for _, origin in found))
    return Row(dimension, "; ".join(text for text, _ in found), "Observed", evidence)


def _loop(manifest: Manifest | None, records: Sequence[Record]) -> Row:
    """The class of a loop's round trips; where no loop was run, of the slowest transport's."""
    name = "results → feedback compute → runtime"
    found = _loop_times_ns(manifest)
    if manifest is not None and found.get("p99") is not None:
        words = f"{latency_class(found['p99'])} (p99 {duration(found['p99'])}, machine included)"
        return Row(name, words, "Observed", _origin(manifest))
    slowest: tuple[float, str] = (0.0, "")
    for record, entry in _entries(records, "latency"):
        slowest = max(slowest, (_US * float(entry["p99"]), _evidence(record)))
    if not slowest[1]:
        return Row(name)
    words = f"{latency_class(slowest[0])} (p99 {duration(slowest[0])}, link alone)"
    return Row(name, words, "Observed", slowest[1])


def _of_manifest(manifest: Manifest | None) -> Iterator[tuple[str, str, str]]:
    if manifest is None:
        return
    origin = _origin(manifest)
    times = _loop_times_ns(manifest)
    if times.get("p50") is not None and times.get("p99") is not None:
        said = f"loop: p50 {duration(times['p50'])}, p99 {duration(times['p99'])}"
        yield "Latency", f"{said}, machine included", origin
        spread = times["p99"] - times["p50"]
        yield "Jitter", f"loop: p99 − p50 = {duration(spread)}, machine included", origin
    held, figures = manifest.program, manifest.result.figures
    if held is not None:
        n_bytes = len(held["text"].encode())
        yield "Program size", f"{n_bytes:,} B, {held['duration_ns'] / 1e3:.3f} µs of pulses", origin
        scale = f"{held['n_qubits']} qubits, {held['n_atoms']} atoms, 1 machine, 1 session"
        yield "Scale (qubits, QPUs, concurrent sessions)", scale, origin
        if manifest.device is not None:
            limits = f"pulses within the limits of {manifest.device['name']}, checked before"
            yield "Instruction safety", f"{limits} the run", origin
    elif figures.get("n_qubits") is not None:
        scale = f"{figures['n_qubits']} qubits, 1 machine, 1 session"
        yield "Scale (qubits, QPUs, concurrent sessions)", scale, origin
    if manifest.rerun is not None:
        yield "Determinism", f"repeated with its seed: {manifest.rerun['agreement']}", origin
    if manifest.kind == "loop":
        yield "Synchronization", _synchronization(figures), origin
    if figures.get("n_lost") is not None and manifest.kind == "loop":
        yield "Failure behavior", f"{figures['n_lost']} shots lost in the loop", origin
    if manifest.events is not None:
        yield "Observability / telemetry", f"every decision in {Path(manifest.events).name}", origin


def _synchronization(figures: Mapping[str, Any]) -> str:
    """What the run of a loop needed of clocks: a cadence, or nothing at all."""
    late = figures.get("lateness_ns")
    if isinstance(late, Mapping) and late.get("p99") is not None:
        said = (
            f"rounds leave by one clock, p50 {duration(late['p50'])}, p99 {duration(late['p99'])}"
        )
        return f"{said} after their time; the decoder answers calls and needs no clock"
    return "not applicable: decisions count shots, not time; controller and host share no clock"


def _of_records(records: Sequence[Record]) -> Iterator[tuple[str, str, str]]:
    for record, entry in _entries(records, "latency"):
        where, said = str(entry["transport"]), _evidence(record)
        p50, p99, most = (_US * float(entry[name]) for name in ("p50", "p99", "max"))
        yield (
            "Latency",
            f"{where} {entry['bytes']} B: p50 {duration(p50)}, p99 {duration(p99)}",
            said,
        )
        longest = f"longest of {entry['n']:,} {duration(most)}"
        yield "Jitter", f"{where}: p99 − p50 = {duration(p99 - p50)}, {longest}", said
        # A probe's offset is wrong by half its round trip at most, see `coupler.clock`.
        bound = duration(_US * float(entry["min"]) / 2.0)
        yield "Synchronization", f"{where}: two clocks compared within ±{bound} by calls", said
    for record in records:
        said = _evidence(record)
        for entry in record.get("open_loop", ()):
            share = float(entry["miss_share"])
            yield "Determinism", f"{entry['case']}: {share:.2%} later than their deadline", said
        for entry in record.get("one_way", ()):
            if str(entry["kind"]).startswith("shm frame ring") and entry["bytes"] == 65536:
                rate = float(entry["median_mb_per_s"])
                yield "Bandwidth / data volume", f"frames of 64 KiB: {rate:,.0f} MB/s", said
        for entry in record.get("transports", ()):
            where = f"{entry['transport']} ({entry['way']})"
            rate = float(entry["frames_per_s"])
            yield "Bandwidth / data volume", f"shots over {where}: {rate:,.0f} frames/s", said
            lost = entry["missing"], entry["unaccounted"]
            yield (
                "Failure behavior",
                f"{where}: of {entry['sent']:,} shots {lost[0]:,} reported missing, "
                f"{lost[1]:,} gone without a word",
                said,
            )


def _entries(records: Sequence[Record], section: str) -> Iterator[tuple[Record, Mapping[str, Any]]]:
    """Our calls with a small message, one entry per transport."""
    for record in records:
        seen = set()
        for entry in record.get(section, ()):
            if entry["bytes"] != _SMALL_BYTES or not str(entry["case"]).startswith(_OURS):
                continue
            if entry["transport"] not in seen:
                seen.add(entry["transport"])
                yield record, entry


def _loop_times_ns(manifest: Manifest | None) -> Mapping[str, Any]:
    times = {} if manifest is None else manifest.result.figures.get("rtt_ns")
    return times if isinstance(times, Mapping) else {}


def _origin(manifest: Manifest) -> str:
    where = f"{manifest.machine['name']}, {processor(manifest.host)}"
    return f"run {manifest.name}, {manifest.created_at[:10]}, {where}"


def _evidence(record: Record) -> str:
    machine = record["machine"]
    where = f"{machine.get('cpu', 'unknown processor')}, {machine.get('cores', '?')} cores"
    return f"benchmark {record['bench']}, {str(record.get('date', ''))[:10]}, {where}"


def _cell(row: Row) -> str:
    return _escaped(row.text + (f" — {row.evidence}" if row.evidence else ""))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _no_record(path: Path | str, reason: str) -> OptionError:
    return OptionError(
        f"record {str(path)!r}",
        f"no record of a benchmark ({reason})",
        "Give a file that `python -m benchmarks.run NAME --output FILE` wrote",
    )
