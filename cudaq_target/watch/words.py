"""Numbers and facts of a loop in words; the same in a terminal, in plain lines and in a report."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from cudaq_target.watch.state import Budget, LoopState, Reading

_SUFFIXES: Final = {
    "_rad_per_us": "rad/µs",
    "_hz": "Hz",
    "_us": "µs",
    "_ns": "ns",
    "_um": "µm",
    "_rad": "rad",
}
_MAX_POINT: Final = 8


class Fact(NamedTuple):
    """A line of what is known: its name, its text, and whether it is bad news."""

    name: str
    text: str
    is_bad: bool = False


def number(value: float, error: float | None = None) -> str:
    """Write a number with as many digits as its error leaves: two of the error.

    >>> number(-1.13727, 0.00159), number(0.5), number(12345.678, 20.0)
    ('-1.1373', '0.5', '12346')
    """
    if error is None or not error > 0.0:
        return f"{value:.6g}"
    n_decimals = max(0, 1 - floor(log10(error)))
    return f"{value:.{n_decimals}f}" if n_decimals < 12 else f"{value:.6g}"


def with_error(value: float, error: float | None, unit: str = "") -> str:
    """Write a value, its standard error where there is one, and its unit.

    >>> with_error(-1.13727, 0.00159, "Ha")
    '-1.1373 ± 0.0016 Ha'
    """
    text = number(value, error)
    if error is not None:
        text += f" ± {number(error, error)}"
    return f"{text} {unit}".rstrip()


def duration(ns: float) -> str:
    """Write a duration with three digits.

    >>> duration(950), duration(161_791), duration(4_292_607), duration(2.5e9), duration(4e12)
    ('950 ns', '162 µs', '4.29 ms', '2.5 s', '66 min 40 s')
    """
    if ns >= 120e9:
        minutes, seconds = divmod(round(1e-9 * ns), 60)
        return f"{minutes:,} min {seconds} s"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{_three(ns / size)} {unit}"
    return f"{ns:.0f} ns"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 100.0 else f"{value:.3g}"


def named(name: str) -> tuple[str, str]:
    """Split a name that carries its unit into words and the unit.

    >>> named("rabi_rad_per_us"), named("drive 0")
    (('rabi', 'rad/µs'), ('drive 0', ''))
    """
    for suffix, unit in _SUFFIXES.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("_", " "), unit
    return name.replace("_", " "), ""


def printable(text: object) -> str:
    r"""Leave out what would steer a terminal, or could not be written to a file.

    >>> printable("done\x1b[2J\nreally")
    'done�[2J really'
    """
    return "".join(one if one.isprintable() else " " if one in "\n\t" else "�" for one in str(text))


def title(state: LoopState, otherwise: object = "loop") -> str:
    """Name a loop and say how it is."""
    return printable(f"{state.start.get('loop', otherwise)}, {state.status}")


def facts(state: LoopState) -> list[Fact]:
    """Say what is known, the most important first."""
    told = [
        *values(state),
        *_shots(state),
        *_progress(state),
        *_round_trips(state),
        *_troubles(state),
    ]
    return [fact._replace(name=printable(fact.name), text=printable(fact.text)) for fact in told]


def headline(state: LoopState) -> tuple[str, str]:
    """The result in a few words, and what it is."""
    if state.known:
        texts = []
        for name, track in state.known.items():
            words, unit = named(name)
            last = track.last
            if last is not None:
                texts.append(f"{words} {with_error(last[1], last[2], unit)}")
        return ", ".join(texts), "known at the end" if state.has_ended else "known now"
    reading = state.reading
    if reading is None or reading.value is None:
        return "no value", "no block of shots has come"
    unit = str(state.start.get("unit", ""))
    return with_error(reading.value, reading.standard_error, unit), "± one standard error"


def verdict(state: LoopState) -> Fact | None:
    """Compare the value with the reference; None where there is none."""
    reading, reference = state.reading, state.start.get("reference")
    if reference is None or reading is None or reading.value is None or state.known:
        return None
    unit, error = state.start.get("unit", ""), reading.value - reference
    text = f"{'+' if error >= 0 else ''}{number(error, reading.standard_error)} {unit}".rstrip()
    if reading.standard_error:
        text += f", {abs(error) / reading.standard_error:.1f} standard errors"
    is_outside = False
    is_final = state.has_ended or not len(state.steps)  # points on the way may be anywhere
    if is_final and reading.low is not None and reading.high is not None:
        is_outside = not reading.low <= reference <= reading.high
        text += f", the exact value is {'OUTSIDE' if is_outside else 'within'} the interval"
    return Fact("error", text, is_outside)


def saving(state: LoopState) -> str:
    """Compare the shots with those of a loop with fixed shots; empty where there is no telling."""
    budget = state.budget
    planned = state.start.get("baseline_shots")
    n_baseline = budget.n_baseline
    if not budget.n_measured or n_baseline <= budget.n_measured:
        return ""
    points = f"{budget.n_points:,} point" + ("" if budget.n_points == 1 else "s")
    text = (
        f"{budget.n_measured:,} shots at {points} where {budget.n_fixed:,} fixed ones each take "
        f"{n_baseline:,}: {n_baseline / budget.n_measured:.1f} times fewer"
    )
    n_beyond = _beyond(state, budget)
    if n_beyond:
        text += f"; {n_beyond:,} more for points that are measured better on purpose"
    if planned and state.status == "done" and planned != n_baseline:
        text += f"; the whole loop with fixed shots plans {planned:,}"
    return text


def _beyond(state: LoopState, budget: Budget) -> int:
    return max(0, state.n_closed - budget.n_measured)


def values(state: LoopState) -> list[Fact]:
    """Say what the loop has found: what its policy follows, or its estimate."""
    if state.known:
        found = []
        for name, track in state.known.items():
            words, unit = named(name)
            if track.last is not None:
                found.append(Fact(words, with_error(track.last[1], track.last[2], unit)))
        return found
    reading, unit = state.reading, str(state.start.get("unit", ""))
    if reading is None or reading.value is None:
        return [Fact("value", "none yet")]
    found = [Fact("value", with_error(reading.value, reading.standard_error, unit))]
    if text := interval(reading):
        found.append(Fact("interval", text))
    reference = state.start.get("reference")
    if reference is not None:
        found.append(Fact("exact", f"{reference:.6g} {unit}".rstrip()))
    judged = verdict(state)
    return found if judged is None else [*found, judged]


def interval(reading: Reading) -> str:
    """Write the interval of an estimate; empty where it has none."""
    if reading.low is None or reading.high is None:
        return ""
    error = max(reading.high - reading.low, 1e-300) / 20.0
    confidence = f" ({100.0 * reading.confidence:g} %)" if reading.confidence else ""
    return f"{number(reading.low, error)} to {number(reading.high, error)}{confidence}"


def _shots(state: LoopState) -> list[Fact]:
    text = f"{state.n_measured:,} measured"
    end = state.end
    if end:
        text += f", {end['n_used']:,} used"
        for name, words in (("n_discarded", "behind a stop"), ("n_lost", "lost")):
            if end.get(name):
                text += f", {end[name]:,} {words}"
    found = [Fact("shots", text, bool(end.get("n_lost")))]
    if text := saving(state):
        found.append(Fact("saved", text))
    return found


def _progress(state: LoopState) -> list[Fact]:
    found = []
    if len(state.steps):
        found.append(Fact("points", f"{len(state.steps):,} measured"))
    if not state.has_ended:
        waiting = f"{state.n_queued:,} shots arrived and wait"
        decided = f"; last decision: {state.decision}" if state.decision else ""
        found.append(Fact("queue", waiting + decided))
    return [*found, Fact("time", duration(1e9 * max(0.0, state.seconds)))]


def _round_trips(state: LoopState) -> list[Fact]:
    percentiles = state.percentiles_ns
    if not percentiles:
        return []
    text = ", ".join(f"{name} {duration(ns)}" for name, ns in percentiles.items())
    return [Fact("round trip", text if state.has_ended else f"{text} (of blocks shown)")]


def _troubles(state: LoopState) -> list[Fact]:
    found = []
    if len(state.misses) or state.n_misses:
        rounds = state.end.get("counters", {}).get("rounds")
        total = f" of {rounds:,} rounds" if rounds else ""
        found.append(Fact("deadlines", f"{state.n_misses:,}{total} missed", state.n_misses > 0))
    if state.n_faults:
        last = state.faults[-1]
        went_on = "the loop went on" if last.recovered else "the loop ended"
        text = f"{state.n_faults}; the last: {last.error}: {last.text} ({went_on})"
        found.append(Fact("faults", text, is_bad=True))
    return found


def point(state: LoopState) -> str:
    """Write the parameters of the newest point; empty where there are none."""
    last = state.steps.last
    if last is None or not last.point:
        return ""
    names = state.start.get("parameters") or []
    if len(names) != len(last.point):
        names = [f"parameter {k}" for k in range(len(last.point))]
    parts = [
        f"{named(name)[0]} {value:.5g} {named(name)[1]}".rstrip()
        for name, value in zip(names, last.point, strict=True)
    ]
    more = f", and {len(parts) - _MAX_POINT} more" if len(parts) > _MAX_POINT else ""
    return ", ".join(parts[:_MAX_POINT]) + more
