"""The metrics, with prometheus-client.

| metric | labels | what |
|---|---|---|
| `pasqal_qpu_operational` | resource | 1 where the machine can run tasks, else 0 |
| `pasqal_qpu_tasks_total` | resource, backend, status | tasks that ended: done, failed, canceled |
| `pasqal_qpu_shots_total` | resource | shots of the tasks that are done |
| `pasqal_qpu_specs_info` | name, version | device that a machine reports; a digest of its text |
| `pasqal_task_seconds` | phase | duration of compile, queue, run, fetch |
| `pasqal_session_active` | resource | 1 while a session or an open batch is held, else 0 |
| `pasqal_coupler_rtt_seconds` | endpoint | round trips of loops over the coupler |
| `pasqal_coupler_deadline_missed_total` | endpoint | requests and runs that met their deadline |
| `pasqal_coupler_events_total` | endpoint, event | every counter of a server |
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import prometheus_client as prometheus

from cudaq_target.telemetry.coupler_metrics import CouplerCollector

if TYPE_CHECKING:
    from cudaq_target.telemetry.calls import Phase

# From a lowered kernel to an evening in the queue of a QPU (s).
TASK_BUCKETS_S: Final = (0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 300, 900, 3600, 14400)
_DIGEST_CHARACTERS: Final = 12


class Metrics:
    """One process's metrics."""

    def __init__(self, registry: prometheus.CollectorRegistry) -> None:
        """Register them.

        Args:
            registry: Not one that has them already.

        Raises:
            ValueError: It has.
        """
        self.registry = registry
        self._operational = prometheus.Gauge(
            "pasqal_qpu_operational",
            "Whether the machine can run tasks.",
            ["resource"],
            registry=registry,
        )
        self._tasks = prometheus.Counter(
            "pasqal_qpu_tasks",
            "Tasks that ended.",
            ["resource", "backend", "status"],
            registry=registry,
        )
        self._shots = prometheus.Counter(
            "pasqal_qpu_shots", "Shots of tasks that are done.", ["resource"], registry=registry
        )
        self._seconds = prometheus.Histogram(
            "pasqal_task_seconds",
            "Duration of the phases of tasks.",
            ["phase"],
            registry=registry,
            buckets=TASK_BUCKETS_S,
        )
        self._sessions = prometheus.Gauge(
            "pasqal_session_active",
            "Whether a session or an open batch is held.",
            ["resource"],
            registry=registry,
        )
        self._specs = prometheus.Gauge(
            "pasqal_qpu_specs_info",
            "Device that the machine reports.",
            ["name", "version"],
            registry=registry,
        )
        self._versions: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self.coupler = CouplerCollector()
        registry.register(self.coupler)

    def ended(self, resource: str, backend: str, status: str, n_tasks: int, n_shots: int) -> None:
        """Count tasks and their shots."""
        self._tasks.labels(resource, backend, status).inc(n_tasks)
        if n_shots:
            self._shots.labels(resource).inc(n_shots)

    def took(self, phase: Phase, duration_s: float) -> None:
        """Count the duration of a phase (s)."""
        self._seconds.labels(phase).observe(duration_s)

    def operational(self, resource: str, *, is_operational: bool) -> None:
        """Set whether a machine can run tasks."""
        self._operational.labels(resource).set(is_operational)

    def session(self, resource: str, *, is_active: bool) -> None:
        """Set whether a session is held."""
        self._sessions.labels(resource).set(is_active)

    def specs(self, resource: str, text: str) -> None:
        """Set what a machine reports; what it reported before is forgotten."""
        if self._texts.get(resource) == text:
            return
        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]
        before = self._versions.get(resource)
        if before is not None:
            self._specs.remove(resource, before)
        self._specs.labels(resource, digest).set(1)
        self._texts[resource], self._versions[resource] = text, digest

    def close(self) -> None:
        """Take them out of the registry, which may be the application's."""
        for metric in (self._operational, self._tasks, self._shots, self._seconds, self._sessions):
            self.registry.unregister(metric)
        self.registry.unregister(self._specs)
        self.registry.unregister(self.coupler)
