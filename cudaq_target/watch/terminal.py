"""A loop on the terminal: a view that is drawn anew, or plain lines where there is none."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.watch.state import WAITING
from cudaq_target.watch.words import facts, number, title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from cudaq_target.watch.state import LoopState
    from cudaq_target.watch.words import Fact

_PLOT_ROWS: Final = 9
_LABEL_WIDTH: Final = 10
_MAX_SPACING: Final = 4
_SILENT_S: Final = 5.0
_LINES_PER_S: Final = 1.0
_LONG: Final = frozenset({"interval", "exact", "error", "saved", "time"})


@dataclass(slots=True)
class PlainLines:
    """Writes a line to standard error when there is something new, about one per second."""

    _written_s: float = -inf
    _had: str = ""

    def show(self, title: str, told: Sequence[Fact]) -> None:
        """Write a line.

        Args:
            title: What is watched.
            told: What is known.
        """
        now_s = time.monotonic()
        short = (fact for fact in told if fact.name not in _LONG)
        line = "; ".join([title, *(f"{fact.name} {fact.text}" for fact in short)])
        if line == self._had or now_s - self._written_s < 1.0 / _LINES_PER_S:
            return
        self._written_s, self._had = now_s, line
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class LiveView:
    """Draws panels on standard error, over and over in the same place."""

    def __init__(self) -> None:
        """Take the terminal; rich must be installed."""
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        self.console: Console = Console(stderr=True)
        self._live = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, panel: RenderableType) -> None:
        """Draw."""
        self._live.update(panel, refresh=True)


def live_view() -> AbstractContextManager[LiveView | None]:
    """A view where standard error is a terminal, else None."""
    return LiveView() if sys.stderr.isatty() else nullcontext()


def loop_panel(state: LoopState, width: int, silent_s: float = 0.0) -> RenderableType:
    """Draw a loop.

    Args:
        state: What is known.
        width: Of the terminal (columns).
        silent_s: Since the newest event (s).
    """
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if state.status == WAITING:
        return _panel("waiting for the first event", Text("…"))
    rows = plot_rows(series(state), state.start.get("reference"), max(20, width - 4))
    if not state.has_ended and silent_s > _SILENT_S:
        rows = [*rows, f"no event for {silent_s:.0f} s"]
    body = Group(_table(facts(state)), Text("\n".join(["", *rows])))
    return _panel(title(state), body)


def facts_panel(title: str, told: Sequence[Fact]) -> RenderableType:
    """Draw facts alone."""
    return _panel(title, _table(told))


def _table(told: Sequence[Fact]) -> RenderableType:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table.grid(padding=(0, 2))
    for fact in told:
        style = "bold red" if fact.is_bad else ""
        table.add_row(Text(fact.name, style="dim"), Text(fact.text, style=style))
    return table


def _panel(title: str, body: RenderableType) -> RenderableType:
    from rich.panel import Panel  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    return Panel(body, title=Text(title), title_align="left")


def series(state: LoopState) -> list[float]:
    """Values for the small plot: what the policy follows first, else estimates of points."""
    for track in state.known.values():
        return [value for _, value, _ in track]
    whole = [sample for sample in state.samples if sample.is_whole]
    samples = whole if len(whole) > 1 else list(state.samples)
    return [sample.reading.value for sample in samples if sample.reading.value is not None]


def plot_rows(values: Sequence[float], reference: float | None, width: int) -> list[str]:
    """Draw values in characters, the newest at the right.

    Args:
        values: In order; more than fit are thinned.
        reference: A line of dashes, where there is one.
        width: Columns, the labels included.

    Returns:
        Lines of at most `width` characters; none for fewer than two values.

    >>> plot_rows([0.0, 4.0], None, 24)[0], plot_rows([0.0, 4.0], None, 24)[-1]
    ('      4.00 ┤    •', '      0.00 ┤•')
    """
    if len(values) < 2:
        return []
    n_columns = max(2, width - _LABEL_WIDTH - 2)
    shown = list(values)
    if len(values) > n_columns:
        shown = [values[k * (len(values) - 1) // (n_columns - 1)] for k in range(n_columns)]
    spacing = min(_MAX_SPACING, (n_columns - 1) // (len(shown) - 1))
    known = shown if reference is None else [*shown, reference]
    low, high = min(known), max(known)
    step = (high - low) / (_PLOT_ROWS - 1) or 1.0
    n_used = spacing * (len(shown) - 1) + 1
    grid = [[" "] * n_used for _ in range(_PLOT_ROWS)]
    if reference is not None:
        grid[round((reference - low) / step)] = ["╌"] * n_used
    for place, value in enumerate(shown):
        grid[round((value - low) / step)][spacing * place] = "•"
    rows = []
    for row in reversed(range(_PLOT_ROWS)):
        is_labelled = row in {0, _PLOT_ROWS - 1}
        label = number(low + row * step, max(step, 1e-12)) if is_labelled else ""
        rows.append(f"{label:>{_LABEL_WIDTH}} ┤{''.join(grid[row])}".rstrip())
    return rows


def data_of(state: LoopState) -> dict[str, Any]:
    """What is known as plain data, for JSON."""
    reading = state.reading
    names = ("value", "standard_error", "low", "high", "confidence")
    return {
        "loop": state.start.get("loop"),
        "status": state.status,
        "unit": state.start.get("unit"),
        "reference": state.start.get("reference"),
        **{name: None if reading is None else getattr(reading, name) for name in names},
        "known": {
            name: [track.last[1], track.last[2]]
            for name, track in state.known.items()
            if track.last is not None
        },
        "n_points": len(state.steps),
        "n_measured": state.n_measured,
        "n_used": state.n_used,
        "n_saved": state.n_saved,
        "n_fixed": state.budget.n_baseline,
        "n_compared": state.budget.n_measured,
        "rtt_ns": state.percentiles_ns,
        "n_queued": state.n_queued,
        "deadline_misses": state.n_misses,
        "n_faults": state.n_faults,
        "seconds": state.seconds,
        "facts": {fact.name: fact.text for fact in facts(state)},
    }
