"""What the rest of the package calls; each of these does nothing while telemetry is off."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from cudaq_target.errors import OptionError
from cudaq_target.options import QPU_RESOURCE_VARIABLES, remote_form

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from cudaq_target.coupler.histogram import Histogram
    from cudaq_target.telemetry.recorder import Recorder
    from cudaq_target.telemetry.service import Exporter

Phase: TypeAlias = Literal["compile", "queue", "run", "fetch"]
Backend: TypeAlias = str
_LOG = logging.getLogger(__name__)
METRICS_PORT: Final = "PASQAL_METRICS_PORT"
METRICS_FILE: Final = "PASQAL_METRICS_FILE"
TRACES: Final = "PASQAL_TRACES"
# Variables of the W3C trace context, as batch systems hand them on.
TRACE_VARIABLES: Final = ("TRACEPARENT", "TRACESTATE")


class Waiting(Protocol):
    """A task that somebody waits for; a context manager."""

    def __enter__(self) -> Waiting:
        """Begin with the phase "queue"."""

    def __exit__(self, *_: object) -> None:
        """End the phase that the task is in."""

    def seen(self, status: str) -> None:
        """Say how far it is.

        Args:
            status: "PENDING" while it is in the queue; with anything else, the phase "run" begins.
        """


class Counted(Protocol):
    """A server of the coupler, or another one that counts its events by name."""

    @property
    def endpoint(self) -> object:
        """Where it is."""

    def counters(self) -> Mapping[str, int]:
        """Its counters, from any thread."""


class _Nothing:
    """Stands for every context while telemetry is off."""

    __slots__ = ()

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def seen(self, status: str) -> None:
        """Nothing."""


_NOTHING: Final = _Nothing()
_recorder: Recorder | None = None
_has_looked = False  # at the environment


def start(
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    file: str | Path | None = None,
    interval_s: float = 15.0,
    traces: bool | str | Path = False,
    registry: CollectorRegistry | None = None,
) -> Exporter:
    """Turn telemetry on for this process, instead of what was on before.

    Args:
        port: Serve metrics over HTTP here; 0 chooses a free port.
        host: Address to serve at; anybody who reaches it may read.
        file: Write metrics to this file for node_exporter's textfile collector (`NAME.prom`).
            `{job}` and `{pid}` in the name become the batch job and the process, and labels of all
            samples, without which files of several processes would contradict each other.
        interval_s: Time between two writes of the file (s); the last one is at the end.
        traces: True or "otlp" sends spans as `OTEL_EXPORTER_OTLP_ENDPOINT` says, or to the
            tracer provider that the application has set; a path takes one JSON object per line.
        registry: Register with this one of prometheus-client's; the application exports it.

    Returns:
        The exporter, a context manager; `stop` ends it, too.

    Raises:
        OptionError: What is needed is not installed, or port or file cannot be used.
    """
    from cudaq_target.telemetry.service import exporter  # noqa: PLC0415

    global _recorder, _has_looked  # one per process, as ports and files are
    stop()
    made = exporter(
        port=port, host=host, file=file, interval_s=interval_s, traces=traces, registry=registry
    )
    _recorder, _has_looked = made.recorder, True
    return made


def stop() -> None:
    """Write what is left, and turn telemetry off."""
    global _recorder, _has_looked
    recorder, _recorder, _has_looked = _recorder, None, True
    if recorder is not None:
        recorder.close()


def url() -> str | None:
    """Return where metrics are served; None where they are not."""
    return None if _recorder is None else _recorder.url


def task(
    machine: str, name: str, n_shots: int, *, n_tasks: int = 1, traceparent: str | None = None
) -> AbstractContextManager[object]:
    """Return a context that is one task: a span, and a count of tasks and shots at its end.

    Args:
        machine: As `machine=` takes it.
        name: What the user calls the program.
        n_shots: Number of shots, of each task.
        n_tasks: Tasks that are sent together.
        traceparent: Trace that the task began in, where that was another process: the task is
            then a wait for a job, whose end `ended` counts. "" for a trace that nobody knows.
    """
    recorder = _active()
    if recorder is None:
        return _NOTHING
    resource, backend = place_of(machine)
    return recorder.task(resource, backend, name, n_shots, n_tasks, traceparent)


def phase(name: Phase) -> AbstractContextManager[object]:
    """Return a context that is one phase of the task around it, if any."""
    recorder = _active()
    return _NOTHING if recorder is None else recorder.phase(name)


def waiting() -> Waiting:
    """Return a context for the phases "queue" and "run" of a task whose state is asked for."""
    recorder = _active()
    return _NOTHING if recorder is None else recorder.waiting()


def ended(machine: str, status: str, n_shots: int = 0) -> None:
    """Count a task that ended while nobody was in its context.

    Args:
        machine: As `machine=` takes it.
        status: "done", "failed" or "canceled".
        n_shots: Shots that came.
    """
    recorder = _active()
    if recorder is not None:
        recorder.ended(*place_of(machine), status, n_shots)


def operational(machine: str, *, is_operational: bool) -> None:
    """Say whether a machine can run tasks."""
    recorder = _active()
    if recorder is not None:
        recorder.operational(place_of(machine)[0], is_operational=is_operational)


def session(machine: str, *, is_active: bool) -> None:
    """Say whether a session (an open batch, a session of Warden) is held at a machine."""
    recorder = _active()
    if recorder is not None:
        recorder.session(place_of(machine)[0], is_active=is_active)


def specs(machine: str, text: str) -> None:
    """Say what device a machine reports.

    Args:
        machine: As `machine=` takes it.
        text: Its specifications; the version that is shown is a digest of them.
    """
    recorder = _active()
    if recorder is not None:
        recorder.specs(place_of(machine)[0], text)


def round_trips(endpoint: str, durations_ns: Histogram) -> None:
    """Count round trips over a coupler, after the loop that made them.

    Args:
        endpoint: The other end.
        durations_ns: All of them (ns).
    """
    recorder = _active()
    if recorder is not None:
        recorder.round_trips(endpoint, durations_ns)


def watch(counted: Counted) -> None:
    """Export the counters of a server of the coupler for as long as it exists.

    They are read when metrics are asked for, in the exporter's thread.

    Args:
        counted: The server.
    """
    recorder = _active()
    if recorder is not None:
        recorder.watch(counted)


def carried() -> Mapping[str, str]:
    """Return the variables that hand the current trace on to another process or job.

    >>> environment = {**os.environ, **carried()}
    """
    recorder = _active()
    found = None if recorder is None else recorder.carried()
    if found is not None:
        return found
    return {name: os.environ[name] for name in TRACE_VARIABLES if name in os.environ}


def place_of(machine: str) -> tuple[str, Backend]:
    """Return the labels `resource` and `backend` of a machine.

    >>> place_of("local"), place_of("EMU_FREE"), place_of("tcp://127.0.0.1:5000")
    (('local', 'local'), ('EMU_FREE', 'cloud'), ('tcp://127.0.0.1:5000', 'controller'))
    """
    form = remote_form(machine)
    if form is None:
        return machine, "local"
    module = form.opener.partition(":")[0].rpartition(".")[2]
    backend = module.removeprefix("remote_")
    if machine == backend:  # the first QPU of the job, which has a name
        return _first_qpu() or machine, backend
    return machine.removeprefix(f"{backend}:"), backend


def _first_qpu() -> str:
    listed = next(filter(None, map(os.environ.get, QPU_RESOURCE_VARIABLES[:2])), "")
    return listed.split(os.environ.get("QRMI_LIST_DELIMITER") or ",")[0].strip()


def _active() -> Recorder | None:
    if not _has_looked:
        _start_from_environment()
    return _recorder


def _start_from_environment() -> None:
    global _has_looked  # noqa: PLW0603
    _has_looked = True
    if any(os.environ.get(name) for name in (METRICS_PORT, METRICS_FILE, TRACES)):
        from cudaq_target.telemetry.service import given_by  # noqa: PLC0415

        try:
            start(**given_by(os.environ))
        except OptionError as error:  # no reason to lose a job over
            _LOG.warning("telemetry stays off: %s", error)


def forget(recorder: Recorder | None = None) -> None:
    """Turn telemetry off without a word, where it goes to this recorder or none is named."""
    global _recorder, _has_looked
    if recorder is None or recorder is _recorder:
        _recorder, _has_looked = None, True


# Port, threads and file belong to the parent.
os.register_at_fork(after_in_child=forget)
