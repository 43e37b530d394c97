from __future__ import annotations

import contextlib
import http.server
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from cudaq_target import Job, submit, telemetry
from cudaq_target.coupler import Histogram
from cudaq_target.errors import MachineUnavailableError, OptionError
from cudaq_target.telemetry import service
from cudaq_target.telemetry.calls import place_of
from cudaq_target.telemetry.coupler_metrics import RTT_BUCKETS_NS, cumulative
from tests.hpc.cloud_programs import waiting
from tests.hpc.daemons import until

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NAMES = {
    "pasqal_qpu_operational": "gauge",
    "pasqal_qpu_tasks": "counter",
    "pasqal_qpu_shots": "counter",
    "pasqal_qpu_specs_info": "gauge",
    "pasqal_task_seconds": "histogram",
    "pasqal_session_active": "gauge",
    "pasqal_coupler_rtt_seconds": "histogram",
    "pasqal_coupler_deadline_missed": "counter",
    "pasqal_coupler_events": "counter",
}


@pytest.fixture(autouse=True)
def _off():
    yield
    telemetry.stop()


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as reply:
        return reply.read().decode()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name, tuple(sorted(labels.items()))]


def spans(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def traced(found: dict) -> str:
    return found["context"]["trace_id"].removeprefix("0x")


def test_nothing_happens_while_it_is_off():
    with telemetry.task("local", "ghz", 10), telemetry.phase("run"):
        pass
    with telemetry.waiting() as wait:
        wait.seen("PENDING")
    telemetry.ended("local", "done", 5)
    telemetry.round_trips("shm://a", Histogram())
    assert telemetry.url() is None
    code = (
        "import sys; from cudaq_target import telemetry\n"
        "with telemetry.task('local', 'a', 1), telemetry.phase('run'): pass\n"
        "assert 'prometheus_client' not in sys.modules and 'opentelemetry' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_names_types_and_labels():
    with telemetry.start(port=0) as exporter:
        assert exporter.url == f"http://127.0.0.1:{exporter.port}/metrics" == telemetry.url()
        with telemetry.task("EMU_FREE", "ghz", 100, n_tasks=3), telemetry.phase("compile"):
            pass
        telemetry.session("EMU_FREE", is_active=True)
        telemetry.specs("EMU_FREE", "old")
        telemetry.specs("EMU_FREE", "new")
        durations = Histogram()
        durations.record([4_000, 30_000_000])
        telemetry.round_trips("shm://a", durations)
        text = read(exporter.url)
        part = read(f"{exporter.url}?name[]=pasqal_session_active")
    assert dict(re.findall(r"# TYPE (\S+?)(?:_total)? (\w+)", text)) == NAMES
    assert "_created" not in text
    assert value(text, "pasqal_qpu_operational", resource="EMU_FREE") == 1
    done = {"resource": "EMU_FREE", "backend": "cloud", "status": "done"}
    assert value(text, "pasqal_qpu_tasks_total", **done) == 3
    assert value(text, "pasqal_qpu_shots_total", resource="EMU_FREE") == 300
    assert value(text, "pasqal_task_seconds_count", phase="compile") == 1
    assert value(text, "pasqal_session_active", resource="EMU_FREE") == 1
    edges = [str(edge / 1e9) for edge in RTT_BUCKETS_NS]
    assert edges == [
        "5e-06",
        "1e-05",
        "2e-05",
        "5e-05",
        "0.0001",
        "0.0002",
        "0.0005",
        "0.001",
        "0.01",
    ]
    at = [
        value(text, "pasqal_coupler_rtt_seconds_bucket", endpoint="shm://a", le=edge)
        for edge in (*edges, "+Inf")
    ]
    assert at == [1.0] * 9 + [2.0]
    (version,) = (labels for name, labels in samples(text) if name == "pasqal_qpu_specs_info")
    assert dict(version)["name"] == "EMU_FREE"
    assert [name for name, _ in samples(part)] == ["pasqal_session_active"]


def test_the_first_qpu_of_a_job_goes_by_its_name(monkeypatch):
    monkeypatch.delenv("QRMI_JOB_QPU_RESOURCES", raising=False)
    monkeypatch.setenv("SLURM_JOB_QPU_RESOURCES", "fresnel1;fresnel2")
    monkeypatch.setenv("QRMI_LIST_DELIMITER", ";")
    assert place_of("qrmi") == place_of("qrmi:fresnel1") == ("fresnel1", "qrmi")
    assert place_of("qrmi:fresnel2") == ("fresnel2", "qrmi")


def test_how_tasks_end():
    gone = MachineUnavailableError("FRESNEL", "no answer", "Try later")
    with telemetry.start(port=0) as exporter:
        for error in (gone, ValueError("x"), KeyboardInterrupt()):
            with contextlib.suppress(type(error)), telemetry.task("FRESNEL", "a", 7):
                raise error
        telemetry.ended("FRESNEL", "done", 7)
        text = read(exporter.url)
    place = {"resource": "FRESNEL", "backend": "cloud"}
    for status, number in {"failed": 2, "canceled": 1, "done": 1}.items():
        assert value(text, "pasqal_qpu_tasks_total", status=status, **place) == number
    assert value(text, "pasqal_qpu_shots_total", resource="FRESNEL") == 7
    assert value(text, "pasqal_qpu_operational", resource="FRESNEL") == 0


def test_buckets_of_round_trips_are_those_of_the_values():
    rng = np.random.default_rng(3)
    durations_ns = rng.lognormal(np.log(80_000), 2.0, 5_000).astype(np.int64)
    histogram = Histogram()
    histogram.record(durations_ns)
    found = cumulative(histogram)
    assert found[-1] == ("+Inf", 5_000.0)
    for (_, number), edge in zip(found[:-1], RTT_BUCKETS_NS, strict=True):
        low, high = (
            np.count_nonzero(durations_ns <= 0.99 * edge),
            np.count_nonzero(durations_ns <= edge),
        )
        assert low <= number <= high


def test_a_job_of_the_cloud_from_here_and_from_another_process(account, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", PARENT)
    account.orders.service_s = 0.05
    file = tmp_path / "spans.jsonl"
    with telemetry.start(port=0, traces=file) as exporter:
        job = submit(waiting(), 20, machine="EMU_FREE")
        # As another process does: the trace comes from the record.
        monkeypatch.delenv("TRACEPARENT")
        job.save(tmp_path / "job.json")
        Job.load(tmp_path / "job.json").result(60)
        text = read(exporter.url)
    done = {"resource": "EMU_FREE", "backend": "cloud", "status": "done"}
    assert value(text, "pasqal_qpu_tasks_total", **done) == 1
    assert value(text, "pasqal_qpu_shots_total", resource="EMU_FREE") == 20
    assert value(text, "pasqal_qpu_operational", resource="EMU_FREE") == 1
    for phase in ("queue", "run", "fetch"):
        assert value(text, "pasqal_task_seconds_count", phase=phase) == 1
    found = {span["name"]: span for span in spans(file)}
    assert set(found) == {"queue", "run", "fetch", "task waiting"}
    task = found.pop("task waiting")
    assert {traced(span) for span in [task, *found.values()]} == {PARENT.split("-")[1]}
    assert task["parent_id"] == "0x" + PARENT.split("-")[2]
    assert {span["parent_id"] for span in found.values()} == {task["context"]["span_id"]}
    assert task["attributes"]["pasqal.resource"] == "EMU_FREE"


def test_a_launch_on_the_cloud(account, tmp_path):
    import cudaq

    from cudaq_target import Pasqal

    bell = cudaq.make_kernel()
    qubits = bell.qalloc(2)
    bell.h(qubits[0])
    bell.cx(qubits[0], qubits[1])
    account.orders.service_s = 0.2  # long enough to be seen while it runs
    file = tmp_path / "spans.jsonl"
    with telemetry.start(port=0, traces=str(file)) as exporter:
        with Pasqal(machine="EMU_FREE"):
            cudaq.sample(bell, shots_count=10)
        with Pasqal(machine="local"):
            cudaq.sample(bell, shots_count=10)
        text = read(exporter.url)
    for machine, backend in (("EMU_FREE", "cloud"), ("local", "local")):
        labels = {"resource": machine, "backend": backend, "status": "done"}
        assert value(text, "pasqal_qpu_tasks_total", **labels) == 1
    assert len({traced(span) for span in spans(file)}) == 2
    names = [span["name"] for span in spans(file)]
    assert [names.count(name) for name in ("compile", "run", "fetch", "task kernel")] == [
        2,
        2,
        1,
        2,
    ]
    assert account.account.password not in file.read_text() + text


def test_spans_say_which_error_and_not_what_it_says(tmp_path):
    file = tmp_path / "spans.jsonl"
    with (
        telemetry.start(traces=file),
        contextlib.suppress(ValueError),
        telemetry.task("local", "a", 1),
    ):
        raise ValueError("secret-canary")
    (span,) = spans(file)
    assert span["status"] == {"status_code": "ERROR", "description": "ValueError"}
    assert "secret-canary" not in file.read_text()


def test_the_trace_is_carried_on(monkeypatch, tmp_path):
    monkeypatch.delenv("TRACEPARENT", raising=False)
    assert telemetry.carried() == {}
    monkeypatch.setenv("TRACEPARENT", PARENT)
    assert telemetry.carried() == {"TRACEPARENT": PARENT}  # by a process that traces nothing
    with telemetry.start(traces=tmp_path / "spans.jsonl"):
        assert telemetry.carried() == {"TRACEPARENT": PARENT}
        with telemetry.task("local", "a", 1):
            now = telemetry.carried()["TRACEPARENT"].split("-")
    (span,) = spans(tmp_path / "spans.jsonl")
    assert now[1:3] == [PARENT.split("-")[1], span["context"]["span_id"].removeprefix("0x")]


def test_spans_reach_a_collector(monkeypatch):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    names = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = ExportTraceServiceRequest.FromString(body)
            names.extend(
                span.name
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        with (
            telemetry.start(traces="otlp"),
            telemetry.task("local", "a", 1),
            telemetry.phase("run"),
        ):
            pass
        server.shutdown()
        thread.join()
    assert names == ["run", "task a"]


def test_text_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    with telemetry.start(file=tmp_path / "p-{job}-{pid}.prom") as exporter:
        assert exporter.file == tmp_path / f"p-42-{os.getpid()}.prom"
        assert exporter.file.exists()
        with telemetry.task("local", "a", 1):
            pass
    labels = {"batch_job": "42", "pid": str(os.getpid()), "resource": "local"}
    assert value(exporter.file.read_text(), "pasqal_qpu_shots_total", **labels) == 1
    assert [path.name for path in tmp_path.iterdir()] == [exporter.file.name]


def test_text_file_follows(tmp_path):
    with telemetry.start(file=tmp_path / "p.prom", interval_s=0.01) as exporter:
        with telemetry.task("local", "a", 1):
            pass
        until(lambda: "pasqal_qpu_shots_total{" in exporter.file.read_text(), "the file follows")


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"file": "metrics.txt"}, "Call it NAME.prom"),
        ({"file": "/nowhere/metrics.prom"}, "cannot be written"),
        ({"port": 65536}, "the address cannot be used"),
        ({"port": 0, "host": "192.0.2.1"}, "the address cannot be used"),
        ({"traces": "/nowhere/spans"}, "cannot be written"),
    ],
)
def test_what_cannot_be_started(given, what):
    with pytest.raises(OptionError, match=what):
        telemetry.start(**given)
    assert telemetry.url() is None


def test_a_port_that_is_taken_and_a_registry_that_has_ours():
    registry = CollectorRegistry()
    with telemetry.start(port=0, registry=registry) as exporter:
        with pytest.raises(OptionError, match="registry: it has our metrics already"):
            service.exporter(  # beside the one that is on
                port=None, host="", file=None, interval_s=1, traces=False, registry=registry
            )
        with pytest.raises(OptionError, match=f"127.0.0.1:{exporter.port}"):
            service.exporter(
                port=exporter.port,
                host="127.0.0.1",
                file=None,
                interval_s=1,
                traces=False,
                registry=None,
            )
    assert list(registry.collect()) == []


def test_variables_turn_it_on_and_never_stop_a_job(tmp_path):
    file = tmp_path / "p.prom"
    code = "from cudaq_target import telemetry\nwith telemetry.task('local', 'a', 1): pass"
    environment = os.environ | {"PASQAL_METRICS_FILE": str(file)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)
    assert value(file.read_text(), "pasqal_qpu_shots_total", resource="local") == 1
    environment["PASQAL_METRICS_PORT"] = "none"
    found = subprocess.run(
        [sys.executable, "-c", code],
        check=True, timeout=120, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert "telemetry stays off: PASQAL_METRICS_PORT='none'" in found.stderr


def test_the_child_of_a_fork_has_none():
    with telemetry.start(port=0):
        child = os.fork()
        if child == 0:
            os._exit(0 if telemetry.url() is None else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert telemetry.url() is not None


def serving(tmp_path: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "cudaq_target", "serve", "--bind", f"ipc://{tmp_path}/c"]
    return subprocess.Popen(
        [*command, "--json", "--metrics-port", "0", *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_controller_exports_its_counters(tmp_path):
    from cudaq_target.coupler import connect
    from cudaq_target.coupler.control_client import ControlClient

    file = tmp_path / "controller.prom"
    with serving(tmp_path, "--metrics-file", str(file)) as controller:
        try:
            ready = json.loads(controller.stdout.readline())
            before = read(ready["metrics"])
            with connect(ready["endpoint"], timeout_s=60) as link:
                ControlClient(link.caller()).specs()
            after = read(ready["metrics"])
        finally:
            controller.send_signal(signal.SIGTERM)
            controller.communicate(timeout=120)
    assert controller.returncode == 0
    labels = {"endpoint": ready["endpoint"], "event": "answered"}
    assert value(before, "pasqal_coupler_events_total", **labels) == 0
    assert value(after, "pasqal_coupler_events_total", **labels) > 0
    place = {"endpoint": ready["endpoint"]}
    assert value(after, "pasqal_coupler_deadline_missed_total", **place) == 0
    assert value(file.read_text(), "pasqal_coupler_events_total", **labels) > 0
    assert after.count("\n") == file.read_text().count("\n")


@pytest.fixture
def promtool():
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; as root: python3 .ci/install_hpc.py")
    return run_promtool


def run_promtool(*words: str, text: str | None = None, folder: Path | None = None) -> str:
    done = subprocess.run(
        ["promtool", *words],
        check=False,
        input=text,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.promtool
@pytest.mark.usefixtures("account")
def test_promtool_finds_nothing_wrong_with_an_export(promtool):
    with telemetry.start(port=0) as exporter:
        submit(waiting(), 5, machine="EMU_FREE").result(60)
        submit(waiting(), 5, machine="local").result(60)
        text = read(exporter.url)
    assert promtool("check", "metrics", text=text) == ""


def copied(folder: Path) -> list[str]:
    words = [sys.executable, "-m", "cudaq_target.telemetry", "files", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.split()


@pytest.mark.promtool
def test_alert_rules_hold(promtool, tmp_path):
    copied(tmp_path)
    promtool("check", "rules", "pasqal-alerts.yml", folder=tmp_path)
    promtool("test", "rules", "pasqal-alerts-test.yml", folder=tmp_path)


def test_dashboard_and_rules_know_our_metrics_alone(tmp_path):
    names = copied(tmp_path)
    assert {Path(name).name for name in names} == {
        "pasqal-alerts-test.yml", "pasqal-alerts.yml", "pasqal-dashboard.json",
    }  # fmt: skip
    dashboard = json.loads((tmp_path / "pasqal-dashboard.json").read_text())
    queries = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])
    ]
    text = "\n".join(queries) + (tmp_path / "pasqal-alerts.yml").read_text()
    used = set(re.findall(r"\bpasqal_\w+", text))
    known = set()
    for name, kind in NAMES.items():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
        known |= {name + ending for ending in endings[kind]}
    assert used <= known
    assert {name for name in NAMES if not any(word.startswith(name) for word in used)} == set()
    again = subprocess.run(
        [sys.executable, "-m", "cudaq_target.telemetry", "files", str(tmp_path)],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert again.returncode == 2
    assert "exists" in again.stderr


def test_a_file_that_cannot_be_written_any_more(tmp_path, caplog):
    folder = tmp_path / "gone"
    folder.mkdir()
    with caplog.at_level(logging.WARNING), telemetry.start(file=folder / "p.prom") as exporter:
        exporter.file.unlink()
        folder.rmdir()
    assert "cannot be written" in caplog.text
