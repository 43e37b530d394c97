"""Spans of tasks and their phases, with OpenTelemetry."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from cudaq_target.telemetry.calls import TRACE_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.context import Context

_WORDS = TraceContextTextMapPropagator()


class Traces:
    """One process's spans."""

    def __init__(self, provider: trace.TracerProvider, close: Callable[[], None]) -> None:
        """Join the trace of the environment, where `TRACEPARENT` names one.

        Args:
            provider: Where spans go.
            close: Sends what is left; called by `close`.
        """
        self._tracer = provider.get_tracer("cudaq_target")
        self._above = _context({name: os.environ.get(name, "") for name in TRACE_VARIABLES})
        self.close = close

    @contextmanager
    def span(
        self, name: str, labels: Mapping[str, str | int], traceparent: str | None
    ) -> Iterator[None]:
        """Return a context that is one span.

        Args:
            name: Of the span.
            labels: Its attributes.
            traceparent: Where it belongs, for work that began in another process; None for the
                span around it, or the trace of the environment.
        """
        given = None if traceparent is None else _context({"TRACEPARENT": traceparent})
        has_parent = trace.get_current_span().get_span_context().is_valid
        above, links = (None, []) if has_parent else (given or self._above, [])
        if has_parent and given is not None:
            links = [trace.Link(trace.get_current_span(given).get_span_context())]
        with self._tracer.start_as_current_span(
            name,
            above,
            attributes=dict(labels),
            links=links,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:  # Ctrl-C, too, ends a span
                # The kind alone: messages quote what users and services wrote.
                span.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise

    def carried(self) -> dict[str, str]:
        """Return the variables that hand the current trace on."""
        has_parent = trace.get_current_span().get_span_context().is_valid
        found: dict[str, str] = {}
        _WORDS.inject(found, None if has_parent else self._above)
        return {name.upper(): value for name, value in found.items()}


def _context(variables: Mapping[str, str]) -> Context:
    return _WORDS.extract({name.lower(): value for name, value in variables.items() if value})
