"""Pictures of a report: small SVG drawings whose colours follow the page, light or dark."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from html import escape
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.figures import new_figure, plain
from cudaq_target.watch.words import duration, named, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

    from cudaq_target.watch.state import LoopState, Sample, StepShots

# Each colour stands for a variable of the page's style.
INK, GRID, PAGE = "#2b2b2b", "#d9d9d9", "#fffffe"
MAIN, SECOND, THIRD = "#1b6f8a", "#c8553d", "#e8b23a"
_SETTINGS: Final = ("#28415e", MAIN, "#6fb1a0", THIRD, "#e9a18f", SECOND, "#8a6fb1", "#7d7d7d")
VARIABLES: Final = {
    INK: "--ink",
    GRID: "--grid",
    PAGE: "--page",
    **{colour: f"--s{k}" for k, colour in enumerate(_SETTINGS)},
}
_SIZE_IN: Final = (4.6, 2.9)
_FEW_POINTS: Final = 60
_LOG_RANGE: Final = 30.0
_WIDE: Final = 3.0
_LABEL_CHARACTERS: Final = 32
_LEGEND_CHARACTERS: Final = 12
_SECONDS_PER_MIN: Final = 60.0


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing with its words.

    Attributes:
        title: What it shows.
        svg: An element to put into a page.
        caption: How to read it; may be empty.
    """

    title: str
    svg: str
    caption: str


def plots(state: LoopState) -> Iterator[Plot]:
    """Draw what there is to see of a loop.

    Raises:
        OptionError: Matplotlib is missing.
    """
    drawings: Sequence[tuple[str, Callable[[Axes, LoopState], str | None]]] = (
        *_tracks(state),
        ("Value over shots", _draw_values),
        ("The last point, while its shots came", _draw_last),
        ("Missed deadlines", _draw_misses),
        ("Shots of each point", _draw_shots),
        ("Shots of each setting", _draw_settings),
        ("Round trips", _draw_round_trips),
    )
    for number, (title, draw) in enumerate(drawings):
        drawn = _drawn(state, draw, f"p{number}", title)
        if drawn is not None:
            yield drawn


def _drawn(
    state: LoopState, draw: Callable[[Axes, LoopState], str | None], prefix: str, title: str
) -> Plot | None:
    """Make one drawing; None where there is nothing to draw."""
    figure = new_figure(*_SIZE_IN)
    import matplotlib as mpl  # noqa: PLC0415 - is there, or the figure were not

    with (
        mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix, "text.parse_math": False}),
        warnings.catch_warnings(),
    ):
        # Text stays text, which the reader's own fonts draw.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        axes = figure.add_subplot()
        caption = draw(axes, state)
        if caption is None:
            return None
        plain(axes)
        axes.grid(visible=True, color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        for part in (axes.xaxis.label, axes.yaxis.label):
            part.set_color(INK)
            part.set_fontsize(9)
        for spine in axes.spines.values():
            spine.set_color(INK)
        return Plot(title, _svg(figure, prefix, title), caption)


def _svg(figure: Figure, prefix: str, title: str) -> str:
    """Draw as an element of HTML: no prologue, no names of its own, colours by variables."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r'^<svg[^>]*?(viewBox="[^"]*")[^>]*>', r"<svg \1>", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    label = f'<svg role="img" aria-label="{escape(printable(title))}"'
    return text.replace("<svg", label, 1).replace("xlink:href", "href")


def _draw_values(axes: Axes, state: LoopState) -> str | None:
    """Estimates of points against the shots measured by then."""
    if state.known:
        return None
    whole = [sample for sample in state.samples if sample.is_whole]
    if not whole:
        return _draw_running(axes, state, list(state.samples))
    shots, values, errors, lows, highs = _columns(whole)
    axes.errorbar(
        shots, values, errors, fmt="o", color=MAIN, markersize=3.5, elinewidth=2.0, linewidth=0
    )
    _frame(axes, state, shots, values - 2.0 * errors, values + 2.0 * errors)
    bottom, top = axes.get_ylim()
    fits = highs - lows < _WIDE * (top - bottom)
    axes.vlines(shots[fits], lows[fits], highs[fits], color=MAIN, alpha=0.35, linewidth=1.0)
    axes.set_ylim(bottom, top)
    confidence = whole[-1].reading.confidence
    caption = "Each dot is a point, thick bars are standard errors."
    if fits.any() and confidence:
        caption += f" Thin bars are intervals of {100.0 * confidence:g} %, where they fit."
    return caption


def _draw_last(axes: Axes, state: LoopState) -> str | None:
    """The running estimate of the newest point, against its own shots."""
    last = state.steps.last
    if last is None or state.known:
        return None
    samples = [sample for sample in state.samples if sample.step == last.number]
    if len(samples) < 5:
        return None
    return _draw_running(axes, state, samples)


def _draw_running(axes: Axes, state: LoopState, samples: list[Sample]) -> str | None:
    if len(samples) < 2:
        return None
    shots, values, errors, lows, highs = _columns(samples)
    shots = np.array([sample.reading.n_shots for sample in samples], dtype=np.float64)
    axes.fill_between(shots, lows, highs, color=MAIN, alpha=0.25, linewidth=0)
    axes.plot(shots, values, color=MAIN, linewidth=1.5)
    later = shots >= 0.1 * shots[-1]
    ends = values - 2.0 * errors, values + 2.0 * errors
    if highs[-1] - lows[-1] < 1e300:
        ends = np.minimum(ends[0], lows[-1]), np.maximum(ends[1], highs[-1])
    _frame(axes, state, shots, ends[0][later], ends[1][later], is_positive=bool(lows.min() >= 0.0))
    axes.set_xlabel("shots of the point" if len(state.steps) else "shots")
    confidence = samples[-1].reading.confidence
    return f"The band is the interval of {100.0 * confidence:g} %." if confidence else ""


def _columns(samples: Sequence[Sample]) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Shots, values, standard errors and intervals; unknown errors are 0, open ends infinite."""
    rows = [
        (
            sample.n_shots,
            sample.reading.value,
            sample.reading.standard_error or 0.0,
            -inf if sample.reading.low is None else sample.reading.low,
            inf if sample.reading.high is None else sample.reading.high,
        )
        for sample in samples
    ]
    table = np.array(rows, dtype=np.float64).T
    table[3:] = np.clip(table[3:], -1e300, 1e300)
    return list(table)


def _frame(
    axes: Axes,
    state: LoopState,
    shots: np.ndarray[tuple[int], np.dtype[np.float64]],
    lows: np.ndarray[tuple[int], np.dtype[np.float64]],
    highs: np.ndarray[tuple[int], np.dtype[np.float64]],
    *,
    is_positive: bool = False,
) -> None:
    """Axes that show these ends and the reference."""
    low, high = float(lows.min()), float(highs.max())
    reference = state.start.get("reference")
    if reference is not None:
        low, high = min(low, reference), max(high, reference)
        axes.axhline(reference, color=SECOND, linewidth=1.2, linestyle=(0, (5, 3)))
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_ylim(max(low - margin, -0.2 * margin) if is_positive else low - margin, high + margin)
    if reference is not None:
        axes.annotate(
            f"- - exact {reference:.6g}".replace("-", "−"),
            (1.0, 1.0),
            xycoords="axes fraction",
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=SECOND,
        )
    _shot_axis(axes, shots)
    unit = _short(state.start.get("unit", ""))
    axes.set_ylabel(f"value ({unit})" if unit else "value")


def _shot_axis(axes: Axes, shots: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    from matplotlib import ticker  # noqa: PLC0415

    axes.set_xlabel("shots measured")
    ratio = shots.max() / max(1.0, shots.min())
    if ratio > _LOG_RANGE:
        axes.set_xscale("log")
        if ratio < _LOG_RANGE**2:
            axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(_count)
    axes.xaxis.set_minor_formatter("")


def _draw_shots(axes: Axes, state: LoopState) -> str | None:
    """What each point took, by setting, against the loop with fixed shots."""
    steps = list(state.steps)
    if not steps or len(state.steps) > _FEW_POINTS or max(s.n_measured for s in steps) < 2:
        return None
    n_settings = len(state.settings)
    names = _setting_names(state, n_settings)
    places = np.array([step.number + 1 for step in steps], dtype=np.float64)
    fixed = state.budget.n_fixed
    top = 1.18 * fixed if fixed else 1.05 * max(step.n_measured for step in steps)
    if n_settings in range(2, len(_SETTINGS) + 1):
        _stack(axes, places, steps, names)
    else:
        axes.bar(places, [step.n_measured for step in steps], 0.75, color=MAIN)
    axes.set_ylim(0.0, top)
    axes.set_xlim(0.3, places[-1] + 0.7)
    for place, step in zip(places, steps, strict=True):
        if step.n_measured > top:
            axes.annotate(
                f"{step.n_measured:,} ↑", (place, 0.95 * top), ha="right", fontsize=8, color=INK,
                bbox={"facecolor": GRID, "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
    axes.xaxis.set_major_locator(_whole())
    axes.yaxis.set_major_formatter(_count)
    axes.set_xlabel("point")
    axes.set_ylabel("shots")
    if not fixed:
        return "Shots that the machine measured."
    axes.axhline(fixed, color=SECOND, linewidth=1.2, linestyle=(0, (5, 3)))
    axes.annotate(
        f"fixed shots: {fixed:,}",
        (0.0, fixed),
        xycoords=("axes fraction", "data"),
        xytext=(3, 3),
        textcoords="offset points",
        fontsize=8,
        color=SECOND,
    )
    return "What a loop with fixed shots takes at each point is above the bars, up to the line."


def _stack(
    axes: Axes,
    places: np.ndarray[tuple[int], np.dtype[np.float64]],
    steps: Sequence[StepShots],
    names: Sequence[str],
) -> None:
    bottom = np.zeros(len(steps))
    for number, name in enumerate(names):
        shots = np.array([step.n_shots_by_setting[number] for step in steps], dtype=np.float64)
        axes.bar(places, shots, 0.75, bottom=bottom, color=_SETTINGS[number], label=name)
        bottom += shots
    axes.legend(
        fontsize=7.5, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0),
        ncols=min(5, len(names)), labelcolor=INK, handlelength=1.0, columnspacing=1.0,
    )  # fmt: skip


def _draw_settings(axes: Axes, state: LoopState) -> str | None:
    """Shots of each setting, where there are too many points or settings for the picture above."""
    n_settings = len(state.settings)
    if n_settings < 2 or (n_settings <= len(_SETTINGS) and len(state.steps) <= _FEW_POINTS):
        return None
    axes.bar(np.arange(n_settings), state.settings, 0.8, color=MAIN)
    axes.yaxis.set_major_formatter(_count)
    axes.set_xlabel("setting")
    axes.set_ylabel("shots of all points")
    return "Which of the program's settings were measured how often."


def _setting_names(state: LoopState, n_settings: int) -> list[str]:
    given = state.start.get("settings") or []
    if len(given) == n_settings:
        return [_short(name, _LEGEND_CHARACTERS) for name in given]
    return [f"setting {number}" for number in range(n_settings)]


def _draw_misses(axes: Axes, state: LoopState) -> str | None:
    """Deadlines missed so far."""
    if not len(state.misses):
        return None
    shots, misses = np.array(list(state.misses)).T
    axes.step(shots, misses, where="post", color=SECOND, linewidth=1.5)
    axes.fill_between(shots, 0, misses, step="post", color=SECOND, alpha=0.2, linewidth=0)
    axes.set_ylim(0, max(1.0, 1.08 * misses.max()))
    axes.xaxis.set_major_formatter(_count)
    axes.yaxis.set_major_formatter(_count)
    axes.yaxis.set_major_locator(_whole())
    axes.set_xlabel("shots")
    axes.set_ylabel("rounds that missed")
    deadline_ns = state.start.get("machine", {}).get("deadline_ns")
    limit = f" of {duration(deadline_ns)}" if deadline_ns else ""
    return f"Rounds whose answer came after the deadline{limit}, counted from when each was due."


def _draw_round_trips(axes: Axes, state: LoopState) -> str | None:
    """How long the calls took that brought shots."""
    bins = state.end.get("rtt_histogram")
    if not bins and state.rtt_ns.n_values:
        bins = [
            list(one) for one in zip(*(c.tolist() for c in state.rtt_ns.buckets()), strict=True)
        ]
    if not bins:
        return None
    lows, highs, counts = np.array(bins, dtype=np.float64).T
    lows, widths = np.maximum(lows, 1.0), np.maximum(highs / np.maximum(lows, 1.0), 1.06)
    axes.bar(lows, counts, (widths - 1.0) * lows, align="edge", color=MAIN, linewidth=0)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda ns, _place: duration(ns))
    axes.xaxis.set_minor_formatter("")
    axes.yaxis.set_major_formatter(_count)
    top = 1.25 * counts.max()
    axes.set_ylim(0.0, top)
    marks = dict(state.percentiles_ns)
    deadline_ns = state.start.get("machine", {}).get("deadline_ns")
    for height, name in zip((1.0, 0.91), ("p50", "p99"), strict=True):
        if name in marks:
            _mark(axes, marks[name], height * top, f"{name} {duration(marks[name])}", INK)
    if deadline_ns:
        _mark(axes, deadline_ns, 0.82 * top, f"deadline {duration(deadline_ns)}", SECOND)
    axes.set_xlabel("from the call to its answer")
    axes.set_ylabel("calls")
    return "The machine's own time is part of a round trip."


def _mark(axes: Axes, ns: float, height: float, text: str, colour: str) -> None:
    axes.axvline(ns, color=colour, linewidth=1.0, linestyle=(0, (2, 2)))
    low, high = (float(np.log(limit)) for limit in axes.get_xlim())
    is_right = np.log(ns) > 0.5 * (low + high)
    axes.annotate(
        text, (ns, height), xytext=(-3 if is_right else 3, -2), textcoords="offset points",
        ha="right" if is_right else "left", va="top", fontsize=8, color=colour,
        bbox={"facecolor": PAGE, "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip


def _tracks(state: LoopState) -> list[tuple[str, Callable[[Axes, LoopState], str | None]]]:
    return [(f"Tracked: {named(name)[0]}", _track(name)) for name in state.known]


def _track(name: str) -> Callable[[Axes, LoopState], str | None]:
    def draw(axes: Axes, state: LoopState) -> str:
        shots, values, errors = np.array(list(state.known[name]), dtype=np.float64).T
        machine = state.start.get("machine", {})
        rate_hz = machine.get("shots_per_s") or machine.get("cadence_hz")
        times = shots / rate_hz / _SECONDS_PER_MIN if rate_hz else shots
        axes.fill_between(
            times, values - 2.0 * errors, values + 2.0 * errors, color=MAIN, alpha=0.25, linewidth=0
        )
        axes.plot(times, values, color=MAIN, linewidth=1.4)
        words, unit = named(_short(name))
        axes.set_ylabel(f"{words} ({unit})" if unit else words)
        axes.set_xlabel(f"minutes, at {rate_hz:g} shots/s" if rate_hz else "shots measured")
        axes.ticklabel_format(axis="y", useOffset=False)
        return "What the loop knew. The band is two standard deviations to each side."

    return draw


def _short(text: object, n_characters: int = _LABEL_CHARACTERS) -> str:
    """Cut what would leave no room for the picture."""
    clean = printable(text)
    return clean if len(clean) <= n_characters else f"{clean[: n_characters - 1]}…"


def _whole() -> Locator:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    return MaxNLocator(nbins="auto", steps=[1, 2, 2.5, 5, 10], integer=True)


def _count(value: float, _place: float | None = None) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"
