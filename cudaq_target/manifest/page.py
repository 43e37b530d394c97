"""A manifest as one HTML file that needs no network and no scripts."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from cudaq_target.manifest.words import Line, lines
from cudaq_target.watch.style import STYLE
from cudaq_target.watch.words import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cudaq_target.manifest.model import Manifest

_MAX_BARS: Final = 16


def page(manifest: Manifest) -> str:
    """Make the page of a run; everything from the manifest is escaped."""
    told = list(lines(manifest))
    title = _text(manifest.name)
    body = "\n".join(
        part
        for part in (
            f"<header>\n<h1>{title}</h1>\n<p>{_text(manifest.created_at)} · "
            f"{_text(manifest.machine['name'])}</p>\n</header>",
            _bars(manifest.result.counts or {}),
            _table(told),
            "<section>\n<h2>Run it again</h2>\n<pre>cudaq-target rerun MANIFEST.json</pre>\n"
            "<p>The same seed gives the same numbers on an emulated machine.</p>\n</section>",
        )
        if part
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _table(told: Sequence[Line]) -> str:
    cells = "".join(
        f'<tr><th scope="row">{_text(line.name)}</th><td>{_text(line.text)}</td></tr>\n'
        for line in told
    )
    return f"<section>\n<h2>What ran</h2>\n<table>\n{cells}</table>\n</section>"


def _bars(counts: Mapping[str, int]) -> str:
    """Draw the most frequent outcomes."""
    if not counts:
        return ""
    most = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:_MAX_BARS]
    n_shots, longest = sum(counts.values()) or 1, most[0][1] or 1
    rows = "".join(
        f'<text x="0" y="{22 * k + 15}" font-size="12" fill="currentColor">{_text(bits)}</text>'
        f'<rect x="140" y="{22 * k + 4}" width="{240.0 * number / longest:.1f}" height="14" '
        'fill="var(--s1)"/>'
        f'<text x="{146 + 240.0 * number / longest:.1f}" y="{22 * k + 15}" font-size="12" '
        f'fill="currentColor">{number / n_shots:.1%}</text>'
        for k, (bits, number) in enumerate(most)
    )
    left = len(counts) - len(most)
    words = f"{n_shots:,} shots, qubit 0 leftmost" + (f"; {left} rarer outcomes" if left else "")
    return (
        f'<section class="figures">\n<figure>\n<h2>Counts</h2>\n'
        f'<svg viewBox="0 0 440 {22 * len(most) + 4}" role="img" aria-label="counts">{rows}</svg>\n'
        f"<figcaption>{words}</figcaption>\n</figure>\n</section>"
    )


def _text(value: object) -> str:
    """Escape, with a minus sign before numbers, where a line does not break."""
    return re.sub(r"(?<![\w.,-])-(?=\d)", "−", escape(printable(value)))
