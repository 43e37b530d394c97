"""Write the figures on pages from `benchmarks/results/*.json`, between marks that name the rows.

`<!-- rows of digital.json: state error; GHZ-8 -->` is followed by the rows of these names, else by
those whose names begin so, up to `<!-- end of rows -->`. Within a sentence,
`<!-- loop-drift.json: shots to follow; ratio; .1f -->8.2<!-- end -->` is one figure: the first row
whose name is or begins so, one of its fields (`value`, `ratio`, `peer`: the peer's figure, or
one of the repeats, `p99`; `value/1000` in a larger unit) and how it is written.
`python -m benchmarks.table` renews them.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from benchmarks.report import RESULTS, ROOT, cells

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs"
MARKED = re.compile(
    r"^<!-- rows of (?P<file>[\w.-]+): (?P<names>.*?) -->\n(?P<old>.*?)^<!-- end of rows -->",
    re.DOTALL | re.MULTILINE,
)
INLINE = re.compile(
    r"<!-- (?P<file>[\w.-]+\.json): (?P<name>[^;]+); (?P<field>[\w.]+)(?:/(?P<unit>\d+))?; "
    r"(?P<form>[\w.,]+) -->(?P<old>.*?)<!-- end -->",
    re.DOTALL,
)
_FIGURE = re.compile(r"[\d.]+(?:e[+-]?\d+)?")


def pages() -> list[Path]:
    """Pages on which figures may stand."""
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md")), ROOT / "benchmarks" / "README.md"]


def with_rows(text: str, folder: Path = RESULTS, link: str = "../benchmarks/results/") -> str:
    """Return a page with what stands between its marks renewed from the records.

    Args:
        text: The page.
        folder: Where the records are.
        link: How the page reaches the records.

    Returns:
        The page; one without marks as it is.

    Raises:
        LookupError: A mark asks for rows or figures that the record does not have.
    """
    text = INLINE.sub(lambda mark: _figure(mark, folder), text)
    return MARKED.sub(lambda mark: _written(mark, folder, link), text)


def _found(record: dict[str, Any], file: str, beginning: str) -> list[dict[str, Any]]:
    found = [row for row in record["rows"] if row["name"].startswith(beginning)]
    if not found:
        raise LookupError(f"{file} has no row that begins with {beginning!r}")
    return [row for row in found if row["name"] == beginning] or found


def _figure(mark: re.Match[str], folder: Path) -> str:
    row = _found(json.loads((folder / mark["file"]).read_text()), mark["file"], mark["name"])[0]
    if mark["field"] == "peer":
        numbers = _FIGURE.findall((row["peer"] or "").rpartition(": ")[2])
        value = float(numbers[0]) if numbers else None
    else:
        value = row.get(mark["field"], (row.get("samples") or {}).get(mark["field"]))
    if value is None:
        raise LookupError(f"{mark['file']}: {row['name']} has no {mark['field']}")
    head = mark[0].partition("-->")[0]
    return f"{head}-->{value / int(mark['unit'] or 1):{mark['form']}}<!-- end -->"


def _written(mark: re.Match[str], folder: Path, link: str) -> str:
    record = json.loads((folder / mark["file"]).read_text())
    rows = []
    for beginning in mark["names"].split(";"):
        rows += _found(record, mark["file"], beginning.strip())
    lines = ["| figure | value | unit | peer | better by |", "|---|---|---|---|---|"]
    for row in rows:
        _, name, value, unit, peer, ratio, _ = cells(row)
        entries = [entry.replace("|", r"\|") for entry in (name, value, unit, peer, ratio)]
        lines.append(f"| {' | '.join(entries)} |")
    source = f"[benchmarks/results/{mark['file']}]({link}{mark['file']})"
    machine = record["machine"]
    taken = (
        f"From {source}, {record['date']}, commit {machine['commit']}: "
        f"{machine['cpu']}, {machine['cores']} cores."
    )
    head = f"<!-- rows of {mark['file']}: {mark['names']} -->"
    return "\n".join([head, "", *lines, "", taken, "", "<!-- end of rows -->"])


def renewed(page: Path) -> str:
    """Return what a page should say."""
    return with_rows(page.read_text(), link=f"{os.path.relpath(RESULTS, page.parent)}/")


def refresh() -> None:
    """Renew the figures on all pages."""
    for page in pages():
        old = page.read_text()
        new = renewed(page)
        if new != old:
            page.write_text(new)
