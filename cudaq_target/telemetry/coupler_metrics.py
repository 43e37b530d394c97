"""Counters and round trips of the coupler, read when metrics are asked for."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Final

import numpy as np
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from cudaq_target.coupler.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

    from cudaq_target.telemetry.calls import Counted

RTT_BUCKETS_NS: Final = (
    5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 10_000_000,
)  # fmt: skip
# Of a server: requests that were answered DEADLINE, and runs that their deadline stopped.
_MISSES: Final = ("deadline_misses", "deadline")


class CouplerCollector:
    """What prometheus-client calls a custom collector."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._lock = threading.Lock()
        self._servers: list[weakref.ref[Counted]] = []
        self._round_trips: dict[str, Histogram] = {}

    def watch(self, server: Counted) -> None:
        """Export the counters of a server for as long as it exists."""
        with self._lock:
            self._servers = [known for known in self._servers if known() is not None]
            self._servers.append(weakref.ref(server))

    def round_trips(self, endpoint: str, durations_ns: Histogram) -> None:
        """Add round trips (ns)."""
        with self._lock:
            self._round_trips.setdefault(endpoint, Histogram()).merge(durations_ns)

    def collect(self) -> Iterator[Metric]:
        """Read everything once."""
        with self._lock:
            servers = [known() for known in self._servers]
        counted: dict[str, dict[str, int]] = {}
        for server in servers:
            if server is not None:
                found = counted.setdefault(str(server.endpoint), {})
                for event, number in server.counters().items():
                    found[event] = found.get(event, 0) + number
        yield from _counters(counted)
        yield self._histogram()

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without reading a server."""
        yield from _counters({})
        yield _rtt_family()

    def _histogram(self) -> Metric:
        family = _rtt_family()
        with self._lock:
            for endpoint, durations_ns in self._round_trips.items():
                total_s = durations_ns.mean * durations_ns.n_values / 1e9
                family.add_metric([endpoint], cumulative(durations_ns), total_s)
        return family


def cumulative(durations_ns: Histogram) -> list[tuple[str, float]]:
    """Return how many durations lie up to each edge of `RTT_BUCKETS_NS`, and how many there are.

    A duration within 0.8 % of an edge may count as the next one's, as the histogram knows it no
    better.

    Args:
        durations_ns: At least one (ns).

    Returns:
        Edge (s) as text, and number; the last edge is "+Inf".
    """
    _, highest, numbers = durations_ns.buckets()
    sums = np.concatenate([[0], np.cumsum(numbers)])
    below = sums[np.searchsorted(highest, RTT_BUCKETS_NS, side="right")]
    edges = [str(edge / 1e9) for edge in RTT_BUCKETS_NS]
    rows = [(edge, float(number)) for edge, number in zip(edges, below, strict=True)]
    return [*rows, ("+Inf", float(sums[-1]))]


def _counters(counted: Mapping[str, Mapping[str, int]]) -> Iterator[Metric]:
    events = CounterMetricFamily(
        "pasqal_coupler_events", "Counters of a server.", labels=["endpoint", "event"]
    )
    missed = CounterMetricFamily(
        "pasqal_coupler_deadline_missed",
        "Requests and runs that met their deadline.",
        labels=["endpoint"],
    )
    for endpoint, numbers in counted.items():
        missed.add_metric([endpoint], sum(numbers.get(name, 0) for name in _MISSES))
        for event, number in numbers.items():
            events.add_metric([endpoint, event], number)
    yield events
    yield missed


def _rtt_family() -> HistogramMetricFamily:
    return HistogramMetricFamily(
        "pasqal_coupler_rtt_seconds",
        "Round trips of loops over the coupler, waiting for the machine included.",
        labels=["endpoint"],
    )
