"""Exports: an HTTP port, a text file, spans to a collector or to a file."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import logging
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.errors import OptionError
from cudaq_target.telemetry import calls
from cudaq_target.telemetry.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opentelemetry.sdk.trace import TracerProvider
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from cudaq_target.telemetry.metrics import Metrics
    from cudaq_target.telemetry.traces import Traces

_LOG = logging.getLogger(__name__)
_SUFFIX: Final = ".prom"


@dataclass(frozen=True, slots=True)
class Exporter:
    """Telemetry that is on; a context manager that turns it off.

    Attributes:
        recorder: Where calls go.
        port: Port of the metrics, or None.
        url: Address of the metrics, or None.
        file: File of the metrics, or None.
    """

    recorder: Recorder
    port: int | None
    url: str | None
    file: Path | None

    def watch(self, server: calls.Counted) -> None:
        """Export the counters of a server of the coupler for as long as it exists."""
        self.recorder.watch(server)

    def __enter__(self) -> Exporter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left; telemetry is off if this is what was on."""
        self.recorder.close()
        calls.forget(self.recorder)


def given_by(environ: Mapping[str, str]) -> dict[str, Any]:
    """Read the variables that turn telemetry on.

    Raises:
        OptionError: `PASQAL_METRICS_PORT` is no port.
    """
    port = environ.get(calls.METRICS_PORT) or None
    if port is not None and not port.isdecimal():
        raise OptionError(
            f"{calls.METRICS_PORT}={port!r}", "this is no port", "Give a number up to 65535"
        )
    return {
        "port": None if port is None else int(port),
        "file": environ.get(calls.METRICS_FILE) or None,
        "traces": environ.get(calls.TRACES) or False,
    }


def exporter(
    *,
    port: int | None,
    host: str,
    file: str | Path | None,
    interval_s: float,
    traces: bool | str | Path,
    registry: CollectorRegistry | None,
) -> Exporter:
    """Begin to export; see `calls.start`."""
    with ExitStack() as ends:
        metrics = None
        if port is not None or file is not None or registry is not None:
            metrics = _metrics(registry)
            ends.callback(metrics.close)
        spans = None
        if traces:
            spans = _traces(traces)
            ends.callback(spans.close)
        if metrics is not None and port is not None:
            port = ends.enter_context(_served(metrics, host, port))
        path = None
        if metrics is not None and file is not None:
            path = ends.enter_context(_written(metrics, str(file), interval_s))
        name = f"[{host}]" if ":" in host else host
        url = None if port is None else f"http://{name}:{port}/metrics"
        recorder = Recorder(metrics, spans, ends.pop_all().close, url)
        atexit.register(recorder.close)
    return Exporter(recorder, port, url, path)


def _metrics(registry: CollectorRegistry | None) -> Metrics:
    _require("prometheus_client", "metrics")
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from cudaq_target.telemetry.metrics import Metrics  # noqa: PLC0415

    try:
        return Metrics(CollectorRegistry() if registry is None else registry)
    except ValueError as error:
        raise OptionError(
            "registry", f"it has our metrics already ({error})", "Stop the other exporter first"
        ) from error


@contextlib.contextmanager
def _served(metrics: Metrics, host: str, port: int) -> Iterator[int]:
    from prometheus_client import start_http_server  # noqa: PLC0415

    try:
        server, thread = start_http_server(port, host, _Shown(metrics.registry, {}))
    except (OSError, OverflowError) as error:
        raise OptionError(
            f"metrics at {host}:{port}",
            f"the address cannot be used ({error})",
            "Give another port, or port 0 for a free one",
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def _written(metrics: Metrics, name: str, interval_s: float) -> Iterator[Path]:
    """Write the file now, every few seconds, and at the end."""
    path, labels = _place(name)
    shown = _Shown(metrics.registry, labels)
    try:
        _write(path, shown)
    except OSError as error:
        raise OptionError(
            f"metrics file {str(path)!r}",
            f"it cannot be written ({error.strerror})",
            "Give a file in a directory that exists and is writable",
        ) from error
    is_over = threading.Event()

    def go_on() -> None:
        while not is_over.wait(interval_s):
            _try_to_write(path, shown)

    thread = threading.Thread(target=go_on, name="metrics file", daemon=True)
    thread.start()
    try:
        yield path
    finally:
        is_over.set()
        thread.join()
        _try_to_write(path, shown)


def _place(name: str) -> tuple[Path, dict[str, str]]:
    """Fill in a file's name; what it is filled with become labels."""
    known = {"{job}": ("batch_job", _batch_job()), "{pid}": ("pid", str(os.getpid()))}
    labels = {}
    for word, (label, value) in known.items():
        if word in name:
            name = name.replace(word, value)
            labels[label] = value
    if not name.endswith(_SUFFIX):
        raise OptionError(
            f"metrics file {name!r}",
            f"node_exporter reads no files but those that end in {_SUFFIX}",
            f"Call it NAME{_SUFFIX}",
        )
    return Path(name), labels


def _batch_job() -> str:
    """Number of the job that this process runs in, with that of its task in an array."""
    if "SLURM_JOB_ID" in os.environ:
        return os.environ["SLURM_JOB_ID"]
    if "JOB_ID" not in os.environ:
        return "none"
    task = os.environ.get("SGE_TASK_ID", "undefined")
    return os.environ["JOB_ID"] + ("" if task == "undefined" else f".{task}")


class _Shown:
    """A registry as it is exported: labelled, and without the time at which counters began."""

    def __init__(
        self,
        registry: CollectorRegistry,
        labels: Mapping[str, str],
        names: Iterable[str] | None = None,
    ) -> None:
        self._registry, self._labels, self._names = registry, labels, names

    def collect(self) -> Iterator[Metric]:
        """As prometheus-client asks for."""
        whole = self._registry
        part = whole if self._names is None else whole.restricted_registry(self._names)
        for metric in part.collect():
            metric.samples = [
                sample._replace(labels={**self._labels, **sample.labels})
                for sample in metric.samples
                if not sample.name.endswith("_created")
            ]
            yield metric

    def restricted_registry(self, names: Iterable[str]) -> _Shown:
        """Of a scrape that names its metrics."""
        return _Shown(self._registry, self._labels, names)


def _write(path: Path, shown: _Shown) -> None:
    from prometheus_client import write_to_textfile  # noqa: PLC0415

    write_to_textfile(str(path), shown)


def _try_to_write(path: Path, shown: _Shown) -> None:
    try:
        _write(path, shown)
    except OSError as error:
        _LOG.warning("metrics file %s cannot be written: %s", path, error.strerror)


def _traces(wanted: bool | str | Path) -> Traces:
    _require("opentelemetry.sdk", "otel")
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    from cudaq_target.telemetry.traces import Traces  # noqa: PLC0415

    theirs = trace.get_tracer_provider()
    if wanted not in (True, "otlp"):
        return Traces(*_to_file(Path(str(wanted))))
    if isinstance(theirs, TracerProvider):
        return Traces(theirs, lambda: None)
    return Traces(*_to_collector())


def _provider() -> TracerProvider:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    name = os.environ.get("OTEL_SERVICE_NAME", "cudaq-target")
    # Ours flush in `close`, which the interpreter calls at its end, too.
    return TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)


def _to_collector() -> tuple[TracerProvider, Callable[[], None]]:
    _require("opentelemetry.exporter.otlp.proto.http", "otel")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = _provider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider, provider.shutdown


def _to_file(path: Path) -> tuple[TracerProvider, Callable[[], None]]:
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        ConsoleSpanExporter,
    )

    ends = ExitStack()
    try:
        stream = ends.enter_context(path.open("a", encoding="utf-8"))
    except OSError as error:
        raise OptionError(
            f"traces {str(path)!r}",
            f"the file cannot be written ({error.strerror})",
            'Give another file, or "otlp"',
        ) from error
    lines = ConsoleSpanExporter(out=stream, formatter=lambda span: span.to_json(indent=None) + "\n")
    provider = _provider()
    provider.add_span_processor(BatchSpanProcessor(lines))
    ends.callback(provider.shutdown)
    return provider, ends.close


def _require(module: str, extra: str) -> None:
    try:
        is_there = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        is_there = False
    if not is_there:
        raise OptionError(
            "telemetry",
            f"{module.partition('.')[0]} is not installed",
            f"Install it: pip install 'cudaq-target[{extra}]'",
        )
