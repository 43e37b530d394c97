"""Write the tables of `benchmarks/README.md` and `docs/` from `benchmarks/results/*.json`.

`python -m benchmarks.table` does it by hand; a run with `--output` into that folder does it too.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from benchmarks import page_tables
from benchmarks.report import RESULTS, ROOT, cells, columns, entry

if TYPE_CHECKING:
    from pathlib import Path

README = ROOT / "benchmarks" / "README.md"
BEGIN = "<!-- tables, written by `python -m benchmarks.table` -->"
END = "<!-- end of tables -->"


def markdown(record: dict[str, Any]) -> str:
    """Return one recorded run as a Markdown section."""
    machine = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        f"### {record['bench']}",
        "",
        f"`{record['command']}`, {record['date']}, commit {machine['commit']}: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB, load {machine['load_1min']} at "
        f"the start and {machine.get('load_1min_at_end', 'unknown')} at the end, pinning "
        f"{machine['pinning']}, threads: {machine['threads']}. Python {machine['python']}; "
        f"{versions}.",
        "",
        "| name | value | unit | spread | peer | ratio | reach | holds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        mark, name, value, unit, peer, ratio, reach = cells(row)
        entries = (name, value, unit, spread(row["samples"]), peer, ratio, reach, mark)
        lines.append(f"| {' | '.join(entry.replace('|', chr(92) + '|') for entry in entries)} |")
    for name, section in record.items():
        if name in SECTIONS:
            lines += ["", f"{SECTIONS[name]}:", "", *_markdown_table(section)]
    if (ROOT / "docs" / f"coupler-{record['bench']}.png").is_file():
        lines += ["", f"![{record['bench']}](../docs/coupler-{record['bench']}.png)"]
    return "\n".join(lines)


SECTIONS = {
    "latency": "Closed loops (µs; the least contended repetition is that of the smallest mean)",
    "open_loop": "Open loops, from the scheduled time (µs)",
    "stages": "Stages of the Python decode server (µs)",
    "sifl": "Shots of eight rounds that last until their correction has landed (µs)",
    "replay": "Replay of a playback schedule (µs)",
    "counts": "Counts",
    "transports": "Streams of shot frames",
    "one_way": "One way, from Python",
    "in_flight": "Calls in flight, from Python",
}


def _markdown_table(section: list[dict[str, Any]]) -> list[str]:
    names = columns(section)
    lines = [names, ["---"] * len(names)]
    lines += [[entry(line.get(name)) for name in names] for line in section]
    return [f"| {' | '.join(line)} |" for line in lines]


def spread(samples: dict[str, float] | None) -> str:
    """Return the repeats behind a figure: smallest, p99, largest, how many."""
    if samples is None:
        return ""
    low, p99, high = (f"{samples[name]:.3g}" for name in ("min", "p99", "max"))
    return f"min {low}, p99 {p99}, max {high}, n {samples['n']}"


def tables(folder: Path = RESULTS) -> str:
    """Return all recorded runs as Markdown."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return "\n\n".join(markdown(record) for record in records if "bench" in record)


def with_tables(text: str, new: str) -> str:
    """Replace what stands between the two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def refresh() -> None:
    """Rewrite the tables in the README and in the documentation."""
    README.write_text(with_tables(README.read_text(), tables()))
    page_tables.refresh()


if __name__ == "__main__":
    refresh()
    sys.exit(0)
