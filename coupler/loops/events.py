"""What a feedback loop reports while it runs: one JSON object per line, appended and flushed.

| event | fields beside `event` and `t` (s since the epoch) |
|---|---|
| start | loop, unit, parameters, settings (names, where they have some), reference, machine, |
|     | seed, policy, baseline_shots, command, versions |
| batch | step, setting, n_shots, estimate, rtt_ns, queued, decision ("go on" or "stop"), and |
|     | deadline_misses so far where there are deadlines |
| step | step, point, estimate, n_used, n_measured, n_saved, n_runs, seconds, machine_seconds, and |
|     | known, {name: [value, standard deviation]}, where the policy follows quantities |
| fault | error, text, recovered |
| end | status, value, estimate, n_used, n_measured, n_discarded, n_lost, n_saved, rtt_ns |
|     | {"p50", "p90", "p99", "max"}, rtt_histogram [[lowest, highest, count], ...] (ns), |
|     | deadline_misses, counters |

`batch` events are thinned to `BATCHES_PER_S`; `n_shots` of one that is written counts the shots
since the one before, so that they add up. A file that is being written may end within a line.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from math import isfinite, log2
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.coupler.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cudaq_target.coupler.histogram import Histogram
    from cudaq_target.coupler.loops.interface import Estimate, LoopResult, LoopStep

Event = dict[str, Any]
"""Names and values that JSON can hold."""

Sink = Callable[[Event], object]
"""Takes an event; called in the thread of the loop, so it returns at once."""

START: Final = "start"
BATCH: Final = "batch"
STEP: Final = "step"
FAULT: Final = "fault"
END: Final = "end"

BATCHES_PER_S: Final = 20.0

_PACKAGES: Final = (
    "cudaq-target",
    "cuda-quantum-cu12",
    "cuda-quantum-cu13",
    "pulser-core",
    "numpy",
)
_BINS_PER_OCTAVE: Final = 4


class EventFile(Closing):
    """Appends events to a file, one line each, at once readable by others."""

    def __init__(self, path: Path | str) -> None:
        """Open the file; what it holds stays.

        Raises:
            OSError: It cannot be written.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o644)

    def __call__(self, event: Event) -> None:
        """Append an event.

        Raises:
            OSError: The disk is full or broken.
        """
        line = json.dumps(event, separators=(",", ":"), allow_nan=False) + "\n"
        os.write(self._file, line.encode())

    def close(self) -> None:
        """End the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def read_events(path: Path | str) -> Iterator[Event]:
    """Read the events that a file holds so far.

    Args:
        path: Written by `EventFile`, maybe still growing.

    Yields:
        Events in order; a line that is cut short or is no JSON object is left out.
    """
    for line in Path(path).read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


@dataclass(slots=True)
class Reporter:
    """Makes events and hands them on; does nothing without a sink.

    Attributes:
        sink: Takes the events; None for nobody.
        clock: Seconds since the epoch.
    """

    sink: Sink | None
    clock: Callable[[], float] = time.time
    _n_shots: int = 0
    _written_s: float = 0.0

    def start(self, **fields: object) -> None:
        """Report that the loop begins; fields as in the table of this module."""
        if self.sink is not None:
            self._emit(START, fields | {"command": command(), "versions": dict(versions())})

    def batch(
        self,
        step: int,
        setting: int,
        n_shots: int,
        estimate: Estimate,
        rtt_ns: int,
        queued: int,
        *,
        stops: bool,
        deadline_misses: int | None = None,
    ) -> None:
        """Report a block of shots and the decision; thinned, but decisions to stop never are.

        Args:
            step: Number of the point.
            setting: Of the run.
            n_shots: Of the block.
            estimate: After the block.
            rtt_ns: Of the call that brought its last shots (ns).
            queued: Shots that arrived and wait here.
            stops: The decision.
            deadline_misses: So far; None where there are no deadlines.
        """
        if self.sink is None:
            return
        self._n_shots += n_shots
        now_s = self.clock()
        if not stops and 0.0 <= now_s - self._written_s < 1.0 / BATCHES_PER_S:
            return
        self._written_s = now_s
        fields: dict[str, Any] = {
            "step": step,
            "setting": setting,
            "n_shots": self._n_shots,
            "estimate": estimate.as_dict(),
            "rtt_ns": rtt_ns,
            "queued": queued,
            "decision": "stop" if stops else "go on",
        }
        if deadline_misses is not None:
            fields["deadline_misses"] = deadline_misses
        self._n_shots = 0
        self._emit(BATCH, fields)

    def step(self, step: LoopStep, known: Mapping[str, tuple[float, float]] | None = None) -> None:
        """Report a point that was measured.

        Args:
            step: The point.
            known: What the policy follows, see `interface.Knowing`.
        """
        if self.sink is None:
            return
        fields: dict[str, Any] = {
            "step": step.number,
            "point": list(step.point),
            "estimate": step.estimate.as_dict(),
            "n_used": step.n_used,
            "n_measured": step.n_measured,
            "n_saved": step.n_saved,
            "n_runs": step.n_runs,
            "seconds": step.seconds,
            "machine_seconds": step.machine_seconds,
        }
        if known:
            fields["known"] = {name: list(pair) for name, pair in known.items()}
        self._emit(STEP, fields)

    def fault(self, error: BaseException, *, recovered: bool) -> None:
        """Report a fault, and whether the loop goes on."""
        fields = {"error": type(error).__name__, "text": str(error), "recovered": recovered}
        self._emit(FAULT, fields)

    def end(self, result: LoopResult) -> None:
        """Report how the loop went."""
        estimate = result.estimate
        value = None if estimate is None or not isfinite(estimate.value) else estimate.value
        fields = {
            "status": result.status,
            "value": value,
            "estimate": None if estimate is None else estimate.as_dict(),
            "n_used": result.n_used,
            "n_measured": result.n_measured,
            "n_discarded": result.n_discarded,
            "n_lost": result.n_lost,
            "n_saved": result.n_saved,
            "rtt_ns": percentiles(result.rtt_ns),
            "rtt_histogram": coarse(result.rtt_ns),
            "deadline_misses": result.counters.get("deadline_misses", 0),
            "counters": dict(result.counters),
        }
        self._emit(END, fields)

    def _emit(self, event: str, fields: dict[str, Any]) -> None:
        if self.sink is not None:
            self.sink({"event": event, "t": self.clock(), **fields})


def percentiles(durations: Histogram) -> dict[str, int | None]:
    """The percentiles that events hold; None each where nothing was recorded."""
    if not durations.n_values:
        return dict.fromkeys(("p50", "p90", "p99", "max"))
    parts: dict[str, int | None] = {f"p{p}": durations.percentile(p) for p in (50, 90, 99)}
    return parts | {"max": durations.maximum}


def coarse(durations: Histogram) -> list[list[int]]:
    """Join the buckets of a histogram to a quarter of an octave each, for pictures.

    Returns:
        Lowest value, highest value and count of each bin that holds something, in rising order.
    """
    bins: dict[int, list[int]] = {}
    for low, high, count in zip(*(column.tolist() for column in durations.buckets()), strict=True):
        place = int(_BINS_PER_OCTAVE * log2(max(low, 1)))
        if place in bins:
            bins[place][1] = high
            bins[place][2] += count
        else:
            bins[place] = [low, high, count]
    return list(bins.values())


def command() -> str:
    """What was typed to start this process, as far as Python knows."""
    script, *words = sys.argv or [""]
    path = Path(script)
    name = f"python -m {path.parent.name}" if path.name == "__main__.py" else path.name
    return shlex.join(words) if not name else f"{name} {shlex.join(words)}".strip()


@cache
def versions() -> Mapping[str, str]:
    """Versions that a result may depend on, of what is installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
