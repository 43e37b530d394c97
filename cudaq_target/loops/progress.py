"""Progress of a loop on standard error, from its events."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cudaq_target.coupler.loops.events import BATCH, END, START, STEP
from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cudaq_target.coupler.loops.events import Event, Sink
    from cudaq_target.loops.systems import System


@contextmanager
def progress_bar(title: str, problem: System, wanted: bool | None) -> Iterator[Sink]:
    """Show how far a loop is, a line for each.

    Args:
        title: Of what is estimated.
        problem: What is solved.
        wanted: Whether to show it; None: only on a terminal.

    Yields:
        Takes the events of one loop after the other.

    Raises:
        OptionError: It is wanted, and rich is not installed.
    """
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        yield lambda event: None  # noqa: ARG005
        return
    try:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415
    except ImportError as error:
        raise OptionError(
            "progress", "rich is not installed", "Install it: pip install 'cudaq-target[cli]'"
        ) from error
    console = Console(stderr=True, force_terminal=True if wanted else None)
    columns = (TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn())
    # The points of a search by gradient, and the last one measured again.
    n_points = 2 * len(problem.start) * problem.n_steps + 2
    with Progress(*columns, console=console) as bar:
        yield _Tale(bar, title, n_points, problem.unit)


class _Tale:
    """Turns events into lines."""

    def __init__(self, bar: Any, title: str, n_points: int, unit: str) -> None:  # noqa: ANN401
        self._bar = bar
        self._title = title
        self._n_points = n_points
        self._unit = unit
        self._n_shots = 0
        self._task: Any = None

    def __call__(self, event: Event) -> None:
        kind = event["event"]
        if kind == START:
            self._n_shots = 0
            self._task = self._bar.add_task(self._title, total=self._n_points)
        elif kind == BATCH:
            self._n_shots += event["n_shots"]
            self._say(event["estimate"], 0)
        elif kind == STEP:
            self._say(event["estimate"], 1)
        elif kind == END:
            self._n_shots = event["n_measured"]
            if event["estimate"] is not None:
                self._say(event["estimate"], 0)

    def _say(self, estimate: dict[str, Any], n_points: int) -> None:
        value, error = estimate["value"], estimate["standard_error"]
        text = "      …" if value is None else f"{value:+.4f}"
        text += "" if error is None else f" ± {error:.4f}"
        description = f"{self._title} {text} {self._unit}, {self._n_shots:,} shots"
        self._bar.update(self._task, advance=n_points, description=description)
