"""Where calls go while telemetry is on: to the metrics, to the traces, or to both."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING

from cudaq_target.errors import MachineError, MachineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from cudaq_target.coupler.histogram import Histogram
    from cudaq_target.telemetry.calls import Counted, Phase
    from cudaq_target.telemetry.metrics import Metrics
    from cudaq_target.telemetry.traces import Traces


class Recorder:
    """Metrics and traces of this process; see `telemetry.calls` for the arguments."""

    def __init__(
        self,
        metrics: Metrics | None,
        traces: Traces | None,
        close: Callable[[], None],
        url: str | None = None,
    ) -> None:
        """Record from now on.

        Args:
            metrics: None for no metrics.
            traces: None for no traces.
            close: Ends the exports; called once.
            url: Where metrics are served, or None.
        """
        self.url = url
        self._metrics, self._traces = metrics, traces
        self._close: Callable[[], None] | None = close

    @contextmanager
    def task(
        self,
        resource: str,
        backend: str,
        name: str,
        n_shots: int,
        n_tasks: int,
        traceparent: str | None,
    ) -> Iterator[None]:
        """Record a task, or the wait for one that began elsewhere."""
        labels: dict[str, str | int] = {
            "pasqal.resource": resource,
            "pasqal.backend": backend,
            "pasqal.program": name,
            "pasqal.shots": n_shots * n_tasks,
        }
        status = "failed"
        try:
            with self._span(f"task {name}", labels, traceparent):
                yield
            status = "done"
            self.operational(resource, is_operational=True)
        except MachineError as error:
            if isinstance(error, MachineUnavailableError) or isinstance(
                error.__cause__, MachineUnavailableError
            ):
                self.operational(resource, is_operational=False)
            raise
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            status = "canceled"
            raise
        finally:
            if traceparent is None and self._metrics is not None:
                shots = n_shots * n_tasks if status == "done" else 0
                self._metrics.ended(resource, backend, status, n_tasks, shots)

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Record a phase."""
        began_s = time.perf_counter()
        try:
            with self._span(name, {"pasqal.phase": name}):
                yield
        finally:
            if self._metrics is not None:
                self._metrics.took(name, time.perf_counter() - began_s)

    def waiting(self) -> PhasesOfWaiting:
        """Record the phases of a task that somebody waits for."""
        return PhasesOfWaiting(self)

    def ended(self, resource: str, backend: str, status: str, n_shots: int) -> None:
        """Count a task."""
        if self._metrics is not None:
            self._metrics.ended(resource, backend, status, 1, n_shots)

    def operational(self, resource: str, *, is_operational: bool) -> None:
        """Set whether a machine can run tasks."""
        if self._metrics is not None:
            self._metrics.operational(resource, is_operational=is_operational)

    def session(self, resource: str, *, is_active: bool) -> None:
        """Set whether a session is held."""
        if self._metrics is not None:
            self._metrics.session(resource, is_active=is_active)

    def specs(self, resource: str, text: str) -> None:
        """Set what a machine reports."""
        if self._metrics is not None:
            self._metrics.specs(resource, text)

    def round_trips(self, endpoint: str, durations_ns: Histogram) -> None:
        """Add round trips."""
        if self._metrics is not None:
            self._metrics.coupler.round_trips(endpoint, durations_ns)

    def watch(self, counted: Counted) -> None:
        """Watch a server."""
        if self._metrics is not None:
            self._metrics.coupler.watch(counted)

    def carried(self) -> Mapping[str, str] | None:
        """Return variables of the current trace; None where nothing is traced."""
        return None if self._traces is None else self._traces.carried()

    def close(self) -> None:
        """End the exports."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def _span(
        self, name: str, labels: Mapping[str, str | int], traceparent: str | None = None
    ) -> AbstractContextManager[object]:
        if self._traces is None:
            return nullcontext()
        return self._traces.span(name, labels, traceparent)


class PhasesOfWaiting:
    """See `telemetry.calls.Waiting`."""

    def __init__(self, recorder: Recorder) -> None:
        """Wait for the context to be entered."""
        self._recorder = recorder
        self._current = ExitStack()
        self._is_queued = True

    def __enter__(self) -> PhasesOfWaiting:
        self._current.enter_context(self._recorder.phase("queue"))
        return self

    def __exit__(self, *failure: object) -> None:
        self._current.__exit__(*failure)  # type: ignore[arg-type]

    def seen(self, status: str) -> None:
        """Go on to the phase "run" when the queue is over."""
        if self._is_queued and status != "PENDING":
            self._is_queued = False
            self._current.close()
            self._current.enter_context(self._recorder.phase("run"))
