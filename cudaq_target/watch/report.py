"""A report of a loop: one HTML file that needs no network and no scripts.

Everything that comes from the file of events is escaped; pictures are drawings within the page.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cudaq_target.errors import OptionError
from cudaq_target.watch.plots import plots
from cudaq_target.watch.reader import read_file
from cudaq_target.watch.state import state_of
from cudaq_target.watch.style import STYLE
from cudaq_target.watch.words import (
    duration,
    facts,
    headline,
    interval,
    named,
    point,
    printable,
    values,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cudaq_target.watch.state import LoopState

_STATUS: Final = {
    "done": "finished",
    "stopped": "stopped by its program",
    "interrupted": "interrupted (Ctrl-C)",
    "failed": "FAILED",
    "running": "had not ended when this was written",
}


def write_report(events: Path | str, html: Path | str) -> None:
    """Write what a file of events says about its last loop.

    Args:
        events: Written by a loop, see `coupler.loops.events`; also of one that has not ended.
        html: File to write.

    Raises:
        EventFileError: The file holds no events.
        OptionError: Matplotlib is missing, or the report cannot be written.
    """
    text = report_page(state_of(read_file(events)))
    try:
        Path(html).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OptionError(
            f"report {str(html)!r}",
            f"the file cannot be written ({error.strerror})",
            "Give a path in a directory that exists and is writable",
        ) from error


def report_page(state: LoopState) -> str:
    """Make the page for a loop.

    Raises:
        OptionError: Matplotlib is missing.
    """
    title = _text(state.start.get("loop", "loop"))
    body = "\n".join(
        part
        for part in (
            _head(state, title),
            _cards(state),
            _figures(state),
            _table("What happened", ((fact.name, fact.text) for fact in facts(state))),
            _table("How it was run", _settings(state)),
            _faults(state),
            _again(state),
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


def _text(value: object) -> str:
    """Escape, with a minus sign before numbers, where a line does not break."""
    return re.sub(r"(?<![\w.,-])-(?=\d)", "−", escape(printable(value)))


def _head(state: LoopState, title: str) -> str:
    status = _STATUS.get(state.status, state.status)
    kind = "good" if state.status == "done" and not state.n_faults else "bad"
    when = datetime.fromtimestamp(state.begun_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    policy = _text(state.start.get("policy", ""))
    return (
        f"<header>\n<h1>{title}</h1>\n"
        f'<p><span class="badge {kind}">{_text(status)}</span> {when}'
        f"{' · ' if policy else ''}{policy}</p>\n</header>"
    )


def _cards(state: LoopState) -> str:
    cards = _result_cards(state)
    judged = verdict(state)
    if judged is not None:
        error, *rest = judged.text.split(", ")
        cards.append(_card("error", error, rest, is_bad=judged.is_bad))
    cards.append(_shots_card(state))
    if len(state.misses) or state.n_misses:
        cards.append(_deadline_card(state))
    times = state.percentiles_ns
    if "p50" in times:
        rest = [f"{name} {duration(ns)}" for name, ns in times.items() if name != "p50"]
        words = "median round trip, the machine's time included"
        cards.append(_card("round trip", duration(times["p50"]), [words, ", ".join(rest)]))
    return f'<section class="cards">\n{"".join(cards)}</section>'


def _result_cards(state: LoopState) -> list[str]:
    if state.known:
        words = "± one standard deviation, " + ("at the end" if state.has_ended else "so far")
        tracked = values(state)
        return [_card(fact.name, fact.text, [words]) for fact in tracked]
    value, words = headline(state)
    lines = [words]
    if state.reading is not None and (text := interval(state.reading)):
        lines.append(f"interval {text}")
    reference = state.start.get("reference")
    if reference is not None:
        lines.append(f"exact {reference:.6g} {state.start.get('unit', '')}")
    return [_card("result", value, lines)]


def _shots_card(state: LoopState) -> str:
    budget, end = state.budget, state.end
    n_lost = end.get("n_lost", 0)
    parts = []
    for name, words in (("n_discarded", "behind a stop"), ("n_lost", "lost")):
        if end.get(name):
            parts.append(f"{end[name]:,} {words}")
    lines, big = [", ".join(parts)], f"{state.n_measured:,}"
    if end and not parts:
        lines = ["all of them used"]
    if budget.n_measured and budget.n_baseline > budget.n_measured:
        big = f"{budget.n_baseline / budget.n_measured:.1f}× fewer"
        compared = f"{budget.n_measured:,} where fixed shots take {budget.n_baseline:,}"
        in_all = ", ".join([f"{state.n_measured:,} in all", *parts])
        lines = [f"{compared}, at the same {budget.n_points:,} points", in_all]
    return _card("shots", big, lines, is_bad=n_lost > 0)


def _deadline_card(state: LoopState) -> str:
    n_rounds = state.end.get("counters", {}).get("rounds")
    lines = [f"of {n_rounds:,} rounds ({state.n_misses / n_rounds:.2%})"] if n_rounds else []
    deadline_ns = state.start.get("machine", {}).get("deadline_ns")
    if deadline_ns:
        lines.append(f"within {duration(deadline_ns)} of when each was due")
    return _card("missed deadlines", f"{state.n_misses:,}", lines, is_bad=state.n_misses > 0)


def _card(name: str, value: str, lines: Iterable[str], *, is_bad: bool = False) -> str:
    words = "".join(f"<p>{_text(line)}</p>" for line in lines if line)
    kind = "card bad" if is_bad else "card"
    return (
        f'<div class="{kind}"><h2>{_text(name)}</h2><strong>{_text(value)}</strong>{words}</div>\n'
    )


def _figures(state: LoopState) -> str:
    drawn = "".join(
        f"<figure>\n<h2>{_text(plot.title)}</h2>\n{plot.svg}"
        f"<figcaption>{_text(plot.caption)}</figcaption>\n</figure>\n"
        for plot in plots(state)
    )
    return f'<section class="figures">\n{drawn}</section>' if drawn else ""


def _table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>\n'
        for name, value in rows
    )
    return f"<section>\n<h2>{_text(title)}</h2>\n<table>\n{cells}</table>\n</section>"


def _settings(state: LoopState) -> list[tuple[str, str]]:
    """Machine, seed, policy, versions: what was said at the start."""
    start = state.start
    rows = [("policy", start.get("policy", "")), ("seed", start.get("seed", "not known"))]
    rows += [
        (f"machine: {named(name)[0]}", _value(name, value))
        for name, value in start.get("machine", {}).items()
        if value is not None
    ]
    if text := point(state):
        rows.append(("parameters at the last point", text))
    if start.get("baseline_shots"):
        rows.append(("plan of the loop with fixed shots", f"{start['baseline_shots']:,} shots"))
    rows += [(name, version) for name, version in start.get("versions", {}).items()]
    return [(name, str(value)) for name, value in rows if value != ""]


def _value(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_ns") and isinstance(value, int | float):
        return duration(value)
    return f"{value} {named(name)[1]}".rstrip()


def _faults(state: LoopState) -> str:
    if not state.n_faults:
        return ""
    rows = "".join(
        f"<tr><td>{fault.seconds:.1f} s</td><td>{_text(fault.error)}</td>"
        f"<td>{_text(fault.text)}</td>"
        f"<td>{'the loop went on' if fault.recovered else 'the loop ended'}</td></tr>\n"
        for fault in state.faults
    )
    n_left_out = state.n_faults - len(state.faults)
    note = f"<p>{n_left_out:,} earlier ones are left out.</p>" if n_left_out else ""
    return (
        f"<section>\n<h2>Faults</h2>\n{note}<table>\n<tr><th>after</th><th>error</th>"
        f"<th>what it says</th><th>then</th></tr>\n{rows}</table>\n</section>"
    )


def _again(state: LoopState) -> str:
    """How to run it again."""
    words = "The same seed gives the same shots and decisions on an emulated machine."
    typed = state.start.get("command")
    if not typed:
        return ""
    return (
        f"<section>\n<h2>Run it again</h2>\n<pre>{escape(printable(typed))}</pre>\n"
        f"<p>{words}</p>\n</section>"
    )
