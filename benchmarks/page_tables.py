"""Write the tables of `docs/` from `benchmarks/results/*.json`, between marks that name the rows.

`<!-- rows of digital.json: state error; GHZ-8 -->` is followed by the rows of these names, else by
those whose names begin so, up to `<!-- end of rows -->`. `python -m benchmarks.table` renews them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from benchmarks.report import RESULTS, ROOT, cells

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs"
MARKED = re.compile(
    r"^<!-- rows of (?P<file>[\w.-]+): (?P<names>.*?) -->\n(?P<old>.*?)^<!-- end of rows -->",
    re.DOTALL | re.MULTILINE,
)


def with_rows(text: str, folder: Path = RESULTS) -> str:
    """Return a page with what stands between its marks renewed from the records.

    Args:
        text: The page.
        folder: Where the records are.

    Returns:
        The page; one without marks as it is.

    Raises:
        LookupError: A mark asks for rows that the record does not have.
    """
    return MARKED.sub(lambda mark: _written(mark, folder), text)


def _written(mark: re.Match[str], folder: Path) -> str:
    record = json.loads((folder / mark["file"]).read_text())
    beginnings = [name.strip() for name in mark["names"].split(";")]
    rows = []
    for beginning in beginnings:
        found = [row for row in record["rows"] if row["name"].startswith(beginning)]
        if not found:
            raise LookupError(f"{mark['file']} has no row that begins with {beginning!r}")
        rows += [row for row in found if row["name"] == beginning] or found
    lines = ["| figure | value | unit | peer | better by |", "|---|---|---|---|---|"]
    for row in rows:
        _, name, value, unit, peer, ratio, _ = cells(row)
        entries = [entry.replace("|", r"\|") for entry in (name, value, unit, peer, ratio)]
        lines.append(f"| {' | '.join(entries)} |")
    source = f"[benchmarks/results/{mark['file']}](../benchmarks/results/{mark['file']})"
    machine = record["machine"]
    taken = (
        f"From {source}, {record['date']}, commit {machine['commit']}: "
        f"{machine['cpu']}, {machine['cores']} cores."
    )
    head = f"<!-- rows of {mark['file']}: {mark['names']} -->"
    return "\n".join([head, "", *lines, "", taken, "", "<!-- end of rows -->"])


def refresh() -> None:
    """Renew the tables of all pages."""
    for page in sorted(DOCS.glob("*.md")):
        old = page.read_text()
        new = with_rows(old)
        if new != old:
            page.write_text(new)
