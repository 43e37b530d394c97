"""What is known of a loop from its events; the same while it runs and afterwards.

A file may hold loops one after the other: each `start` begins anew, so that the state is that of
the last one. Its size does not grow with the length of a loop: histories are thinned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from cudaq_target.coupler.histogram import Histogram
from cudaq_target.coupler.loops.events import BATCH, END, FAULT, START, STEP

if TYPE_CHECKING:
    from cudaq_target.coupler.loops.events import Event

WAITING: Final = "waiting"
RUNNING: Final = "running"

_MAX_KEPT: Final = 2048
_MAX_FAULTS: Final = 200

T = TypeVar("T")


@dataclass(slots=True)
class Thinned(Generic[T]):
    """A history of bounded length: once it is full, every second entry goes; the last one stays."""

    _kept: list[T] = field(default_factory=list)
    _last: T | None = None
    _stride: int = 1
    _n_seen: int = 0

    def add(self, entry: T) -> None:
        """Append an entry."""
        self._last = entry
        if self._n_seen % self._stride == 0:
            self._kept.append(entry)
            if len(self._kept) >= _MAX_KEPT:
                del self._kept[1::2]
                self._stride *= 2
        self._n_seen += 1

    def __iter__(self) -> Iterator[T]:
        yield from self._kept
        if self._last is not None and (self._n_seen - 1) % self._stride:
            yield self._last

    def __len__(self) -> int:
        """How many entries were added, those that went included."""
        return self._n_seen

    @property
    def last(self) -> T | None:
        """The newest entry."""
        return self._last


@dataclass(frozen=True, slots=True)
class Reading:
    """An estimate.

    Attributes:
        value: None where there is none yet.
        standard_error: None where it is not known.
        low: Lower end of the interval; None where it has none.
        high: Upper end.
        confidence: Of the interval.
        n_shots: Behind it.
        n_shots_by_setting: The same for each setting.
    """

    value: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    confidence: float | None
    n_shots: int
    n_shots_by_setting: tuple[int, ...]

    @staticmethod
    def of(estimate: dict[str, Any]) -> Reading:
        """Read the estimate of an event."""
        names = ("value", "standard_error", "low", "high", "confidence", "n_shots")
        fields = {name: estimate[name] for name in names}
        return Reading(**fields, n_shots_by_setting=tuple(estimate["n_shots_by_setting"]))


@dataclass(frozen=True, slots=True)
class Sample:
    """An estimate on the way.

    Attributes:
        n_shots: Measured since the start.
        step: Number of the point.
        is_whole: Whether the point was finished with it.
        reading: The estimate.
    """

    n_shots: int
    step: int
    is_whole: bool
    reading: Reading


@dataclass(frozen=True, slots=True)
class StepShots:
    """What a point took.

    Attributes:
        number: From 0.
        n_measured: Shots.
        n_saved: Shots that a fixed number per point would have taken beyond these.
        n_shots_by_setting: Of its estimate.
        point: Values of the loop's parameters.
    """

    number: int
    n_measured: int
    n_saved: int
    n_shots_by_setting: tuple[int, ...]
    point: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that went wrong.

    Attributes:
        seconds: Since the start (s).
        error: Its type.
        text: What it says.
        recovered: Whether the loop went on.
    """

    seconds: float
    error: str
    text: str
    recovered: bool


@dataclass(slots=True)
class Budget:
    """Shots compared with a loop of the same points that takes a fixed number at each.

    Points that the policy measures better than that on purpose, as for a final value, are no part
    of the comparison; points that took exactly as many are.

    Attributes:
        n_fixed: Of one point of the loop with fixed shots; 0 where nothing was saved so far.
        n_short: Points that took fewer.
        n_short_shots: Shots of these.
        others: How many other points took how many shots.
    """

    n_fixed: int = 0
    n_short: int = 0
    n_short_shots: int = 0
    others: Counter[int] = field(default_factory=Counter)

    def add(self, n_measured: int, n_saved: int) -> None:
        """Take in a point."""
        if n_saved > 0:
            self.n_fixed = n_measured + n_saved
            self.n_short += 1
            self.n_short_shots += n_measured
        else:
            self.others[n_measured] += 1

    @property
    def n_points(self) -> int:
        """Points compared."""
        return self.n_short + self.others[self.n_fixed] if self.n_fixed else 0

    @property
    def n_measured(self) -> int:
        """Shots of these points."""
        return self.n_short_shots + self.n_fixed * self.others[self.n_fixed]

    @property
    def n_baseline(self) -> int:
        """Shots of the loop with fixed shots at the same points."""
        return self.n_fixed * self.n_points


@dataclass(slots=True)
class LoopState:
    """A loop, as far as its events tell.

    Attributes:
        status: `WAITING`, `RUNNING`, or what its end says.
        start: The event; empty before.
        end: The event; empty before.
        begun_s: When the first event was written (s since the epoch).
        now_s: When the newest one was.
        reading: The newest estimate that has a value.
        n_closed: Shots of the points that are finished.
        n_open: Shots of the point that is being measured.
        n_used: Shots that estimates hold.
        n_saved: As `StepShots.n_saved`, of all points.
        budget: The comparison behind it.
        settings: Shots of each setting, of finished points.
        steps: Points.
        samples: Estimates.
        known: What the policy follows: shots, value and standard deviation by name.
        misses: Shots and deadlines missed so far.
        n_misses: Of deadlines.
        n_queued: Shots that had arrived and waited, at the newest block.
        rtt_ns: Of blocks that were reported, which are some of all.
        faults: Those reported, the newest.
        n_faults: All of them.
        decision: The newest.
    """

    status: str = WAITING
    start: Event = field(default_factory=dict)
    end: Event = field(default_factory=dict)
    begun_s: float = 0.0
    now_s: float = 0.0
    reading: Reading | None = None
    n_closed: int = 0
    n_open: int = 0
    n_used: int = 0
    n_saved: int = 0
    budget: Budget = field(default_factory=Budget)
    settings: list[int] = field(default_factory=list)
    steps: Thinned[StepShots] = field(default_factory=Thinned)
    samples: Thinned[Sample] = field(default_factory=Thinned)
    known: dict[str, Thinned[tuple[int, float, float]]] = field(default_factory=dict)
    misses: Thinned[tuple[int, int]] = field(default_factory=Thinned)
    n_misses: int = 0
    n_queued: int = 0
    rtt_ns: Histogram = field(default_factory=Histogram)
    faults: list[Fault] = field(default_factory=list)
    n_faults: int = 0
    decision: str = ""

    @property
    def n_measured(self) -> int:
        """Shots so far."""
        return int(self.end["n_measured"]) if self.end else self.n_closed + self.n_open

    @property
    def seconds(self) -> float:
        """From the start to the newest event (s)."""
        return self.now_s - self.begun_s

    @property
    def has_ended(self) -> bool:
        """Whether its end is known."""
        return bool(self.end)

    @property
    def percentiles_ns(self) -> dict[str, int]:
        """Of round trips (ns): of all of them at the end, of those reported before; maybe empty."""
        if self.end:
            return {name: ns for name, ns in self.end["rtt_ns"].items() if ns is not None}
        if not self.rtt_ns.n_values:
            return {}
        found = {f"p{p}": self.rtt_ns.percentile(p) for p in (50, 90, 99)}
        return found | {"max": self.rtt_ns.maximum or 0}

    def take(self, event: Event) -> None:
        """Learn from an event, checked as `reader` does; unknown kinds change nothing."""
        kind = event["event"]
        if kind == START:
            begin(self, event)
        elif self.status == WAITING:
            begin(self, {**_NO_START, "t": event["t"]})
        if kind in _TAKERS:
            self.now_s = event["t"]
            _TAKERS[kind](self, event)


def state_of(events: Iterable[Event]) -> LoopState:
    """What events tell of the last loop among them.

    >>> state_of([]).status
    'waiting'
    """
    state = LoopState()
    for event in events:
        state.take(event)
    return state


_NO_START: Final[Event] = {
    "event": START,
    "loop": "loop",
    "unit": "",
    "reference": None,
    "machine": {},
    "policy": "",
}


def begin(state: LoopState, event: Event) -> None:
    """Forget everything, and begin with the start of a loop."""
    fresh = LoopState(RUNNING, start=event, begun_s=event["t"], now_s=event["t"])
    for name in LoopState.__slots__:
        setattr(state, name, getattr(fresh, name))


def _take_batch(state: LoopState, event: Event) -> None:
    reading = Reading.of(event["estimate"])
    state.n_open = reading.n_shots
    state.rtt_ns.record([max(0, event["rtt_ns"])])
    state.n_queued = int(event.get("queued", 0))
    state.decision = str(event.get("decision", ""))
    _note(state, event["step"], reading, is_whole=False)
    if "deadline_misses" in event:
        state.n_misses = int(event["deadline_misses"])
        state.misses.add((state.n_measured, state.n_misses))


def _take_step(state: LoopState, event: Event) -> None:
    reading = Reading.of(event["estimate"])
    n_measured, n_saved = event["n_measured"], event["n_saved"]
    state.n_closed += n_measured
    state.n_open = 0
    state.n_used += event["n_used"]
    state.n_saved += n_saved
    state.budget.add(n_measured, n_saved)
    by_setting = reading.n_shots_by_setting
    state.settings += [0] * (len(by_setting) - len(state.settings))
    for number, n_shots in enumerate(by_setting):
        state.settings[number] += n_shots
    point = tuple(event["point"])
    state.steps.add(StepShots(event["step"], n_measured, n_saved, by_setting, point))
    _note(state, event["step"], reading, is_whole=True)
    for name, (value, deviation) in event.get("known", {}).items():
        entry = state.n_measured, float(value), float(deviation)
        state.known.setdefault(name, Thinned()).add(entry)


def _take_fault(state: LoopState, event: Event) -> None:
    fault = Fault(state.seconds, event["error"], event["text"], event["recovered"])
    state.n_faults += 1
    state.faults.append(fault)
    del state.faults[:-_MAX_FAULTS]


def _take_end(state: LoopState, event: Event) -> None:
    state.end, state.status = event, event["status"]
    state.n_open, state.n_queued = 0, 0
    state.n_used, state.n_saved = event["n_used"], event["n_saved"]
    state.n_misses = int(event.get("deadline_misses", state.n_misses))
    if event["estimate"] is not None:
        reading = Reading.of(event["estimate"])
        if reading.value is not None:
            state.reading = reading
    if len(state.misses):
        state.misses.add((state.n_measured, state.n_misses))


def _note(state: LoopState, step: int, reading: Reading, *, is_whole: bool) -> None:
    if reading.value is not None:
        state.reading = reading
        state.samples.add(Sample(state.n_measured, step, is_whole, reading))


_TAKERS: Final = {BATCH: _take_batch, STEP: _take_step, FAULT: _take_fault, END: _take_end}
