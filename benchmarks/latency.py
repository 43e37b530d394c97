"""Round trips as figures: percentiles, histograms, repetitions and counts.

Times are nanoseconds where they are measured and microseconds where they are read.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import histograms
from benchmarks.report import TAIL_SAMPLES
from cudaq_target.coupler.histogram import Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Distribution:
    """What is reported of a set of times (µs).

    A percentile is a sample: the smallest that this share of all samples does not exceed.

    Attributes:
        n: Samples, without those of the warm-up.
        p999: None below 10^5 samples, where it would rest on fewer than 100 of them.
    """

    n: int
    min: float
    mean: float
    std: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float | None
    max: float

    @classmethod
    def of(cls, times_ns: NDArray[np.int64]) -> Distribution:
        """Describe times.

        Args:
            times_ns: Shape (n_times,), at least one.
        """
        times_us = np.asarray(times_ns) / 1e3
        shares = np.percentile(times_us, (50, 90, 95, 99, 99.9), method="inverted_cdf")
        p50, p90, p95, p99, p999 = (float(one) for one in shares)
        return cls(
            n=len(times_us),
            min=float(times_us.min()),
            mean=float(times_us.mean()),
            std=float(times_us.std()),
            p50=p50,
            p90=p90,
            p95=p95,
            p99=p99,
            p999=p999 if len(times_us) >= TAIL_SAMPLES else None,
            max=float(times_us.max()),
        )

    def record(self) -> dict[str, Any]:
        """Its figures by name (µs), with four digits."""
        return {
            ("p99.9" if name == "p999" else name): value if name == "n" else rounded(value)
            for name, value in asdict(self).items()
        }

    def spread(self) -> str:
        """One line for a note."""
        tail = "" if self.p999 is None else f", p99.9 {self.p999:.3g}"
        return f"p50 {self.p50:.3g}, p99 {self.p99:.3g}{tail}, max {self.max:.3g} µs, n {self.n}"


@dataclass(slots=True)
class Counts:
    """What became of the calls of one case; every answer is compared with what was sent.

    Attributes:
        submitted: Requests sent.
        completed: Answers that came, of any kind.
        matched: Answers that belong to a request of ours and repeat what was sent.
        header_errors: Answers that are no frames, or carry an error status.
        payload_errors: Answers that differ from what was sent.
        duplicates: Second answers, and answers that came after their request was given up.
        out_of_order: Answers that overtook an older one.
        deadline_misses: Answers later than the deadline of their case, or missing.
        backpressure_stalls: Requests that had to wait for room.
    """

    submitted: int = 0
    completed: int = 0
    matched: int = 0
    header_errors: int = 0
    payload_errors: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    deadline_misses: int = 0
    backpressure_stalls: int = 0

    def add(self, other: Counts) -> None:
        """Count the calls of another block, too."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def n_wrong(self) -> int:
        """Answers that are not what they should be; any of them fails the run."""
        return self.header_errors + self.payload_errors + (self.completed - self.matched)


@dataclass(slots=True)
class Samples:
    """Repetitions of one case.

    Attributes:
        blocks: Times of each repetition (ns), shape (n_times,) each.
        counts: Of all of them.
    """

    blocks: list[NDArray[np.int64]] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    def take(self, times_ns: NDArray[np.int64], counts: Counts) -> None:
        self.blocks.append(np.asarray(times_ns, dtype=np.int64))
        self.counts.add(counts)

    @property
    def times_ns(self) -> NDArray[np.int64]:
        return np.concatenate(self.blocks)

    @property
    def distribution(self) -> Distribution:
        return Distribution.of(self.times_ns)

    @property
    def p50_us(self) -> float:
        return self.distribution.p50

    def repetitions(self) -> dict[str, Any]:
        """Median over the repetitions, and the least contended one: that of the smallest mean."""
        each = [Distribution.of(block) for block in self.blocks]
        best = min(each, key=lambda one: one.mean)
        return {
            "repetitions": len(each),
            "median_p50": rounded(float(np.median([one.p50 for one in each]))),
            "median_p99": rounded(float(np.median([one.p99 for one in each]))),
            "best_p50": rounded(best.p50),
            "best_p99": rounded(best.p99),
            "best_max": rounded(best.max),
        }


@dataclass(frozen=True, slots=True)
class Case:
    """What was measured.

    Attributes:
        name: Short, without what the other fields say.
        transport: "shm", "ipc", "tcp", "udp", or a peer.
        n_bytes: Payload each way, without the header (bytes).
        wait: How an end waits: "busy", "yield", "adaptive" or "block".
        pinning: "none", or the cores of client and server.
    """

    name: str
    transport: str
    n_bytes: int
    wait: str
    pinning: str = "none"

    def record(self) -> dict[str, Any]:
        return {
            "case": self.name,
            "transport": self.transport,
            "bytes": self.n_bytes,
            "wait": self.wait,
            "pinning": self.pinning,
        }


def latency_record(case: Case, samples: Samples, floor_us: float | None) -> dict[str, Any]:
    """All figures of a case (µs).

    Args:
        case: What it is.
        samples: Its repetitions.
        floor_us: Median of the slot and flag ring for the same payload in this run (µs).
    """
    found = samples.distribution
    ratio = None if floor_us is None else rounded(found.p50 / floor_us)
    return case.record() | found.record() | samples.repetitions() | {"floor_ratio": ratio}


def histogram_record(case: Case, times_ns: NDArray[np.int64]) -> dict[str, Any]:
    """The histogram of a case (µs), within 1 %."""
    return case.record() | {"n": len(times_ns)} | histograms.encoded(1e-3 * np.asarray(times_ns))


def histogram_of(times_ns: NDArray[np.int64]) -> Histogram:
    histogram = Histogram()
    histogram.record(times_ns)
    return histogram


def histogram_lines(case: Case, times_ns: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Lines of the histogram's CSV: every filled bucket, within 0.8 %."""
    lowest, highest, counts = histogram_of(times_ns).buckets()
    return [
        case.record() | {"low_ns": low, "high_ns": high, "count": count}
        for low, high, count in zip(lowest.tolist(), highest.tolist(), counts.tolist(), strict=True)
    ]


def rounded(value: float | None) -> float | None:
    """Four digits are more than any of these times has."""
    return None if value is None else float(f"{value:.4g}")
