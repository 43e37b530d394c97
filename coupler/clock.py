"""Time at both ends of a link: stamps, the offset between two clocks, and durations of stages.

Durations come from monotonic clocks alone, so they are never negative when a clock is set.
"""

from __future__ import annotations

import struct
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from cudaq_target.coupler.dispatch import Call, Function, Reply
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.histogram import Histogram

CLOCK: Final = "clock"
_PROBE: Final = struct.Struct("<QQQ")
_DRIFT_PPB: Final = 50_000  # a quartz oscillator is within 50 parts per million


@dataclass(frozen=True, slots=True)
class Stamp:
    """One instant on both clocks of this machine.

    Attributes:
        monotonic_ns: For differences (ns since an arbitrary start).
        wall_ns: For people (ns since 1970).
    """

    monotonic_ns: int
    wall_ns: int

    @staticmethod
    def now() -> Stamp:
        """Read both clocks; the wall clock between two reads of the other."""
        before_ns = time.monotonic_ns()
        wall_ns = time.time_ns()
        return Stamp((before_ns + time.monotonic_ns()) // 2, wall_ns)

    def wall_at(self, monotonic_ns: int) -> int:
        """Wall time of another instant, as if the wall clock had not been set since (ns)."""
        return self.wall_ns + monotonic_ns - self.monotonic_ns


@dataclass(frozen=True, slots=True)
class Offset:
    """Clock of the other end minus ours.

    Attributes:
        offset_ns: Best estimate (ns).
        error_ns: It is not further off than this when it was measured (ns): half of the time that
            the messages were on their way.
        measured_ns: When, on our monotonic clock (ns).
    """

    offset_ns: int
    error_ns: int
    measured_ns: int


class OffsetEstimator:
    """Finds the offset from round trips: the fastest of the last ones is the most exact.

    The method of NTP's clock filter (RFC 5905, section 10): with a request sent at t0, received at
    t1, answered at t2 and back at t3, the offset is ((t1 - t0) + (t2 - t3)) / 2 within
    ((t3 - t0) - (t2 - t1)) / 2, whatever the two ways are.
    """

    def __init__(self, window: int = 64) -> None:
        """Keep the last `window` round trips."""
        self._samples: deque[Offset] = deque(maxlen=window)
        self.n_refused = 0

    def add(self, t0_ns: int, t1_ns: int, t2_ns: int, t3_ns: int) -> bool:
        """Take a round trip.

        Args:
            t0_ns: Request sent, our clock (ns).
            t1_ns: Request received, their clock (ns).
            t2_ns: Answer sent, their clock (ns).
            t3_ns: Answer received, our clock (ns).

        Returns:
            Whether it is possible; others are counted and ignored.
        """
        on_the_way_ns = (t3_ns - t0_ns) - (t2_ns - t1_ns)
        if t2_ns < t1_ns or on_the_way_ns < 0:
            self.n_refused += 1
            return False
        offset_ns = ((t1_ns - t0_ns) + (t2_ns - t3_ns)) // 2
        self._samples.append(Offset(offset_ns, (on_the_way_ns + 1) // 2, t3_ns))
        return True

    def estimate(self, now_ns: int) -> Offset | None:
        """The best offset known.

        Args:
            now_ns: Our clock; an old sample has had time to drift (50 ppm).

        Returns:
            The sample with the smallest error today; None where there is none.
        """

        def error_now_ns(sample: Offset) -> float:
            return sample.error_ns + _DRIFT_PPB * 1e-9 * (now_ns - sample.measured_ns)

        best = min(self._samples, key=error_now_ns, default=None)
        if best is None:
            return None
        return Offset(best.offset_ns, int(error_now_ns(best)) + 1, best.measured_ns)


def clock_function(clock: Callable[[], int] = time.monotonic_ns) -> Function:
    """The server's end of `probe`.

    Args:
        clock: The clock that is asked for (ns).
    """

    def read(call: Call) -> Reply:
        received_ns = clock()
        call.result[: _PROBE.size] = _PROBE.pack(received_ns, time.time_ns(), clock())
        return Reply(Status.OK, _PROBE.size)

    return Function(CLOCK, read, 0, 0)


def probe(
    call: Callable[[str, bytes], tuple[int, bytes]],
    estimator: OffsetEstimator,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> bool:
    """Ask the other end for its clock once.

    Args:
        call: Makes one call: name and arguments in, status and result out.
        estimator: Takes the round trip.
        clock: Ours (ns).

    Returns:
        Whether a usable answer came.
    """
    t0_ns = clock()
    status, result = call(CLOCK, b"")
    t3_ns = clock()
    if status != Status.OK or len(result) != _PROBE.size:
        return False
    t1_ns, _, t2_ns = _PROBE.unpack(result)
    return estimator.add(t0_ns, t1_ns, t2_ns, t3_ns)


class StageTimes:
    """Durations of the stages of a request: stored when they happen, counted later.

    `add` costs two stores; `harvest` builds the histograms, outside the hot path.
    """

    def __init__(self, stages: tuple[str, ...], capacity: int = 1 << 16) -> None:
        """Reserve room.

        Args:
            stages: Their names.
            capacity: Durations between two harvests; more are counted in `n_lost`.
        """
        self.stages = stages
        self.n_lost = 0
        self._which = array("q", bytes(8 * capacity))
        self._duration_ns = array("q", bytes(8 * capacity))
        self._n_stored = 0
        self._histograms = [Histogram() for _ in stages]

    def add(self, stage: int, duration_ns: int) -> None:
        """Store a duration.

        Args:
            stage: Index into `stages`.
            duration_ns: From a monotonic clock (ns).
        """
        place = self._n_stored
        if place == len(self._which):
            self.n_lost += 1
            return
        self._which[place] = stage
        self._duration_ns[place] = duration_ns
        self._n_stored = place + 1

    def harvest(self) -> dict[str, Histogram]:
        """Count what was stored.

        Returns:
            All durations so far by stage (ns).
        """
        which = np.array(self._which[: self._n_stored], dtype=np.int64)
        duration_ns = np.array(self._duration_ns[: self._n_stored], dtype=np.int64)
        self._n_stored = 0
        for stage, histogram in enumerate(self._histograms):
            histogram.record(duration_ns[which == stage])
        return dict(zip(self.stages, self._histograms, strict=True))
