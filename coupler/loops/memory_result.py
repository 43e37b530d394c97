"""What a memory experiment found: logical errors, and how each round kept its deadline.

Live runs and replays are judged by the same function of the same numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.decoder_config import read_decoders
from cudaq_target.coupler.errors import DecoderConfigError
from cudaq_target.coupler.loops.memory_code import logical_bits
from cudaq_target.kernels.intervals import bernoulli_interval
from cudaq_target.kernels.reference.layout import pack_bits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.memory_code import MemoryCode
    from cudaq_target.kernels.intervals import Interval

    Bits = NDArray[np.uint8]
    Times = NDArray[np.int64]

LOST: Final = 255
NEVER: Final = -1
MAX_LATE_ROUNDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Durations:
    """Percentiles of durations, exact (ns); 0 each where there are none.

    Attributes:
        n_values: How many durations.
        p50: Median.
        p90: 90 % are not longer.
        p99: 99 %.
        p99_9: 99.9 %.
        maximum: The longest.
    """

    n_values: int
    p50: int
    p90: int
    p99: int
    p99_9: int
    maximum: int

    @staticmethod
    def of(values: Times) -> Durations:
        """Order durations, shape (n_values,).

        >>> Durations.of(np.arange(1, 101)).p99
        99
        """
        if not len(values):
            return Durations(0, 0, 0, 0, 0, 0)
        ranks = np.percentile(values, [50, 90, 99, 99.9, 100], method="inverted_cdf")
        return Durations(len(values), *(int(rank) for rank in ranks))

    def __str__(self) -> str:
        parts = {"p50": self.p50, "p90": self.p90, "p99": self.p99, "p99.9": self.p99_9}
        parts["max"] = self.maximum
        return ", ".join(f"{name} {value / 1e3:.1f} µs" for name, value in parts.items())


@dataclass(frozen=True, slots=True)
class LateRound:
    """A round that missed its deadline.

    Attributes:
        shot: From 0.
        number: Of the round within the shot, from 0.
        due_ns: When it was due, from the start of the run (ns).
        lateness_ns: From there to when it was sent (ns): our own pacing, or a round before it.
        rtt_ns: From there to its answer (ns); -1 where none came.
    """

    shot: int
    number: int
    due_ns: int
    lateness_ns: int
    rtt_ns: int


@dataclass(frozen=True, slots=True)
class MemoryTrace:
    """What was measured, sent and answered, shot by shot.

    Attributes:
        code: The experiment.
        seed: Of the noise.
        cadence_ns: From one round to the next (ns).
        deadline_ns: From when a round is due to its answer (ns).
        start_ns: When round 0 was due, monotonic clock (ns).
        bits: Measured, zeros and ones, shape (n_shots, n_bits).
        corrections: 0, 1, or `LOST` where a fault cost the shot, shape (n_shots,).
        sent_ns: Monotonic clock, or `NEVER`, shape (n_shots, n_rounds).
        done_ns: When the last answer of the round had come, likewise.
    """

    code: MemoryCode
    seed: int
    cadence_ns: int
    deadline_ns: int
    start_ns: int
    bits: Bits
    corrections: Bits
    sent_ns: Times
    done_ns: Times


@dataclass(frozen=True, slots=True)
class MemoryResult:
    """How a memory experiment went; a replay of its record gives an equal one.

    A round that has no answer missed its deadline, whatever the reason.

    Attributes:
        code: The experiment.
        seed: Of the noise.
        start_ns: When the first round was due, monotonic clock (ns).
        n_shots: Shots that were decoded.
        n_lost: Shots that a fault cost.
        n_rounds: Rounds that were due.
        n_deadline_misses: Rounds without an answer by their deadline, of whatever cause.
        n_misses_of_pacing: Of these, rounds sent so late that the time from sending to answer
            alone would have kept the deadline.
        n_late_shots: Shots whose correction came after the deadline of their last round.
        n_raw_errors: Shots whose logical bit is wrong before the correction.
        n_logical_errors: After the correction that the server sent.
        n_offline_errors: After decoding the same shots in one batch, by the same decoder.
        n_disagreements: Shots in which the two differ; 0, or something is broken.
        n_matching_errors: After decoding the same shots with PyMatching; None without it.
        confidence: Of the intervals.
        rtt_ns: From sending a round to its last answer.
        lateness_ns: From when a round was due to when it was sent: our own pacing.
        response_ns: From when it was due to its last answer; deadlines are judged on this.
        late_rounds: The first `MAX_LATE_ROUNDS` that missed their deadline.
        corrections: One byte per shot, `LOST` for lost ones.
        server: What decoded.
        counters: Of server and link, by name.
    """

    code: MemoryCode
    seed: int
    start_ns: int
    n_shots: int
    n_lost: int
    n_rounds: int
    n_deadline_misses: int
    n_misses_of_pacing: int
    n_late_shots: int
    n_raw_errors: int
    n_logical_errors: int
    n_offline_errors: int
    n_disagreements: int
    n_matching_errors: int | None
    confidence: float
    rtt_ns: Durations
    lateness_ns: Durations
    response_ns: Durations
    late_rounds: tuple[LateRound, ...]
    corrections: bytes = field(repr=False)
    server: str = field(default="", compare=False)
    counters: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    def text(self) -> str:
        """Write what a person wants to know, a few lines."""
        rate = _share(self.n_logical_errors, self.n_shots, self.confidence)
        matched = self.n_matching_errors
        others = [f"before correction {_share(self.n_raw_errors, self.n_shots, self.confidence)}"]
        if matched is not None:
            others.append(f"PyMatching {_share(matched, self.n_shots, self.confidence)}")
        same = "the same shots" if not self.n_disagreements else f"{self.n_disagreements} OTHERS"
        misses = f"{self.n_deadline_misses} of {self.n_rounds} rounds missed their deadline"
        pacing = f"{self.n_misses_of_pacing} of them because they were sent late"
        lost = f", {self.n_lost} shots lost to faults" if self.n_lost else ""
        times = {"round trip": self.rtt_ns, "our lateness": self.lateness_ns}
        times["from due to answer"] = self.response_ns
        lines = [
            f"{self.code}: {self.n_shots} shots, {self.server}",
            f"logical errors per shot {rate}; {'; '.join(others)}",
            f"decoded offline by the same decoder: {self.n_offline_errors} errors, {same}",
            f"{misses}, {pacing}{lost}",
        ]
        return "\n".join([*lines, *(f"{name:<18} {one}" for name, one in times.items())])

    def as_data(self) -> dict[str, object]:
        """Give the same for JSON, without the settings of the decoders."""
        data = asdict(self)
        for name in ("corrections", "counters"):
            del data[name]
        for name in ("config", "matching_config"):
            del data["code"][name]
        interval = self.interval if self.n_shots else None
        return data | {
            "logical_error_rate": self.logical_error_rate if self.n_shots else None,
            "interval": None if interval is None else [interval.low, interval.high],
            "counters": dict(self.counters),
        }

    @property
    def logical_error_rate(self) -> float:
        """Share of the shots that are wrong after the correction; NaN without shots."""
        return self.n_logical_errors / self.n_shots if self.n_shots else float("nan")

    @property
    def interval(self) -> Interval:
        """Where the logical error rate per shot is."""
        return bernoulli_interval(self.n_logical_errors, self.n_shots, self.confidence)


def judged(trace: MemoryTrace, *, confidence: float = 0.95) -> MemoryResult:
    """Count what a run has found.

    Args:
        trace: Of the run.
        confidence: Of the intervals.
    """
    code = trace.code
    kept = trace.corrections != LOST
    bits, corrections = trace.bits[kept], trace.corrections[kept]
    raw = logical_bits(code, bits)
    offline = decoded_offline(code.config, bits)
    try:
        matched = int((raw ^ decoded_offline(code.matching_config, bits)).sum())
    except DecoderConfigError:  # PyMatching, which is optional, is not installed
        matched = None
    n_shots, n_rounds = trace.sent_ns.shape
    ticks = np.arange(n_shots * n_rounds, dtype=np.int64).reshape(n_shots, n_rounds)
    due_ns = trace.start_ns + ticks * trace.cadence_ns
    answered = trace.done_ns != NEVER
    response_ns = (trace.done_ns - due_ns)[answered]
    missed = ~answered | (trace.done_ns - due_ns > trace.deadline_ns)
    of_pacing = missed & answered & (trace.done_ns - trace.sent_ns <= trace.deadline_ns)
    return MemoryResult(
        code=code,
        seed=trace.seed,
        start_ns=trace.start_ns,
        n_shots=int(kept.sum()),
        n_lost=int((~kept).sum()),
        n_rounds=n_shots * n_rounds,
        n_deadline_misses=int(missed.sum()),
        n_misses_of_pacing=int(of_pacing.sum()),
        n_late_shots=int(missed[kept, -1].sum()),
        n_raw_errors=int(raw.sum()),
        n_logical_errors=int((raw ^ corrections).sum()),
        n_offline_errors=int((raw ^ offline).sum()),
        n_disagreements=int((offline != corrections).sum()),
        n_matching_errors=matched,
        confidence=confidence,
        rtt_ns=Durations.of((trace.done_ns - trace.sent_ns)[answered]),
        lateness_ns=Durations.of((trace.sent_ns - due_ns)[trace.sent_ns != NEVER]),
        response_ns=Durations.of(response_ns),
        late_rounds=_late_rounds(trace, missed, due_ns),
        corrections=trace.corrections.tobytes(),
    )


def decoded_offline(config: str, bits: Bits) -> Bits:
    """Decode shots in one batch.

    Args:
        config: Of one decoder of one observable.
        bits: Measured, shape (n_shots, n_bits).

    Returns:
        Corrections, shape (n_shots,).

    Raises:
        DecoderConfigError: The settings are wrong, or a package is not installed.
    """
    (decoder,) = read_decoders(config)
    if not len(bits):
        return np.zeros(0, dtype=np.uint8)
    return decoder.decode_shots(pack_bits(bits))[:, 0].astype(np.uint8)


def _share(n_ones: int, n_all: int, confidence: float) -> str:
    """A share with its interval, for people."""
    if not n_all:
        return "unknown"
    interval = bernoulli_interval(n_ones, n_all, confidence)
    return f"{n_ones / n_all:.2%} ({interval.low:.2%} to {interval.high:.2%})"


def _late_rounds(
    trace: MemoryTrace, missed: NDArray[np.bool_], due_ns: Times
) -> tuple[LateRound, ...]:
    found = []
    for shot, number in np.argwhere(missed)[:MAX_LATE_ROUNDS].tolist():
        due, sent, done = (int(one[shot, number]) for one in (due_ns, trace.sent_ns, trace.done_ns))
        lateness = sent - due if sent != NEVER else NEVER
        rtt = done - sent if done != NEVER else NEVER
        found.append(LateRound(shot, number, due - trace.start_ns, lateness, rtt))
    return tuple(found)
