"""Metrics and traces of tasks: off unless `start` or a variable turns them on.

>>> from cudaq_target import telemetry
>>> with telemetry.start(port=0) as exporter:
...     exporter.url.startswith("http://127.0.0.1:")
True

A batch script turns them on without a change: `PASQAL_METRICS_FILE` (for the textfile collector of
node_exporter), `PASQAL_METRICS_PORT` (for a scrape of 127.0.0.1), `PASQAL_TRACES` ("otlp", or a
file for one JSON object per span). Spans join the trace that `TRACEPARENT` names.

While they are off, every function here looks at one variable and returns. Nothing is called per
shot, frame or round: counters of the coupler are read when somebody asks for metrics.
"""

from __future__ import annotations

from cudaq_target.telemetry.calls import (
    Backend,
    Phase,
    carried,
    ended,
    operational,
    phase,
    round_trips,
    session,
    specs,
    start,
    stop,
    task,
    url,
    waiting,
    watch,
)

__all__ = [
    "Backend",
    "Phase",
    "carried",
    "ended",
    "operational",
    "phase",
    "round_trips",
    "session",
    "specs",
    "start",
    "stop",
    "task",
    "url",
    "waiting",
    "watch",
]
