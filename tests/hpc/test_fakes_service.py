"""What all stand-ins share: HTTP on loopback, the log, faults, an end without leftovers."""

from __future__ import annotations

import gzip
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from email.utils import parsedate_to_datetime
from importlib.metadata import entry_points
from typing import Any

import pytest

from cudaq_target.errors import OptionError
from cudaq_target.fakes import FakeCloud, FakeQpu
from cudaq_target.fakes.service import HOST
from tests.hpc.fake_clients import CORE, LIMIT_S, ask, batch_of, bearer, until

DEVICES = f"{CORE}/v1/devices?device_type=EMU_FREE"


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud(engine="zeros") as made:
        yield made


@pytest.fixture
def connection(cloud: FakeCloud) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection(HOST, cloud.port, timeout=LIMIT_S)
    yield made
    made.close()


def get(connection: http.client.HTTPConnection, path: str = DEVICES) -> tuple[int, Any]:
    connection.request("GET", path)
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def test_connections_are_kept_and_replies_leave_in_one_piece(cloud: FakeCloud) -> None:
    with socket.create_connection((HOST, cloud.port), timeout=LIMIT_S) as raw:
        for _ in range(3):
            raw.sendall(f"GET {DEVICES} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            piece = raw.recv(1 << 16)  # one segment: head and body
            head, _, body = piece.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert f"Content-Length: {len(body)}".encode() in head
            assert json.loads(body)["status"] == "success"


def test_it_listens_on_loopback_alone_on_a_port_of_its_own(cloud: FakeCloud) -> None:
    with FakeCloud(engine="zeros") as other:
        assert other.port != cloud.port
        assert other.url == f"http://127.0.0.1:{other.port}"
        with pytest.raises(OSError, match="in use"):
            FakeCloud(engine="zeros", port=other.port).start()


def test_bodies_may_be_compressed_and_must_be_what_they_say(cloud: FakeCloud) -> None:
    path = f"{CORE}/v1/batches"
    raw = json.dumps(batch_of(cloud)).encode()
    headers = bearer(cloud) | {"Content-Type": "application/json"}
    compressed = headers | {"Content-Encoding": "gzip"}
    other = headers | {"Content-Encoding": "br"}
    assert ask(cloud, "POST", path, headers=compressed, body=gzip.compress(raw))[0] == 200
    assert cloud.requests[-1].json()["jobs"] == [{"runs": 20}]
    assert ask(cloud, "POST", path, headers=compressed, body=raw)[0] == 400
    assert ask(cloud, "POST", path, headers=other, body=raw)[0] == 415
    assert ask(cloud, "POST", path, headers=headers, body=b"{")[0] == 422
    assert ask(cloud, "POST", path, headers=bearer(cloud), body=raw)[0] == 422
    assert ask(cloud, "POST", path, headers=headers, body=b"[]")[0] == 422
    assert len(cloud.batches) == 1


def test_bodies_of_unknown_length_are_refused(cloud: FakeCloud) -> None:
    with socket.create_connection((HOST, cloud.port), timeout=LIMIT_S) as raw:
        raw.sendall(b"POST /oauth/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert raw.recv(1 << 16).startswith(b"HTTP/1.1 411")


def test_the_log_says_what_was_asked_and_answered(cloud: FakeCloud) -> None:
    ask(cloud, "GET", DEVICES)
    ask(cloud, "POST", "/nowhere", {"a": 1})
    first, second = cloud.requests
    assert (first.endpoint, first.method, first.status) == ("devices", "GET", 200)
    assert first.query == {"device_type": ["EMU_FREE"]}
    assert (second.endpoint, second.path, second.status) == ("", "/nowhere", 404)
    assert second.json() == {"a": 1}
    assert first.arrival_ns < second.arrival_ns
    assert cloud.asked("devices") == [first]


def test_the_clock_of_the_service(cloud: FakeCloud) -> None:
    cloud.clock_skew_s = 86400.0 * 365
    with closing(http.client.HTTPConnection(HOST, cloud.port, timeout=LIMIT_S)) as made:
        made.request("GET", DEVICES)
        reply = made.getresponse()
        reply.read()
        date = parsedate_to_datetime(str(reply.getheader("Date"))).timestamp()
    assert date == pytest.approx(cloud.now(), abs=LIMIT_S)


def test_faults_happen_as_often_as_planned(
    cloud: FakeCloud, connection: http.client.HTTPConnection
) -> None:
    planned = cloud.fault("devices", 503, times=2, after=1, text="later")
    found = [get(connection) for _ in range(4)]
    assert [status for status, _ in found] == [200, 503, 503, 200]
    assert found[1][1]["data"] == {"description": "later"}
    assert found[1][1]["status"] == "error"
    assert planned.happened == 2
    always = cloud.fault("dev*", 429, times=None)
    assert [get(connection)[0] for _ in range(3)] == [429] * 3
    cloud.clear_faults()
    assert get(connection)[0] == 200
    assert always.happened == 3


def test_retry_after(cloud: FakeCloud, connection: http.client.HTTPConnection) -> None:
    cloud.fault("devices", 429, retry_after_s=17)
    connection.request("GET", DEVICES)
    reply = connection.getresponse()
    reply.read()
    assert (reply.status, reply.getheader("Retry-After")) == (429, "17")


@pytest.mark.parametrize("kind", ["drop", "lost"])
def test_a_connection_that_ends_without_a_reply(
    cloud: FakeCloud, connection: http.client.HTTPConnection, kind: str
) -> None:
    cloud.fault("devices", kind)
    connection.request("GET", DEVICES)
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()
    assert [exchange.status for exchange in cloud.requests] == [None]
    connection.close()
    assert get(connection)[0] == 200


def test_half_a_reply(cloud: FakeCloud, connection: http.client.HTTPConnection) -> None:
    cloud.fault("devices", "half")
    connection.request("GET", DEVICES)
    reply = connection.getresponse()
    with pytest.raises(http.client.IncompleteRead):
        reply.read()


def test_a_slow_reply_comes_late_and_does_not_hold_up_the_end(cloud: FakeCloud) -> None:
    cloud.fault("devices", "slow", seconds=1000.0)
    raw = socket.create_connection((HOST, cloud.port), timeout=LIMIT_S)
    raw.sendall(f"GET {DEVICES} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    raw.settimeout(0.2)
    with raw, pytest.raises(TimeoutError):
        raw.recv(1)
    cloud.close()


@pytest.mark.parametrize(
    ("where", "kind", "reason"),
    [
        ("nowhere", 503, "no such endpoint"),
        ("devices", 200, "no request fails like this"),
        ("devices", "late", "no request fails like this"),
        ("job", 503, "no job fails like this"),
    ],
)
def test_faults_that_cannot_be(cloud: FakeCloud, where: str, kind: Any, reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        cloud.fault(where, kind)


def test_options_that_cannot_be() -> None:
    with pytest.raises(OptionError, match="no such engine"):
        FakeCloud(engine="fast")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="0 s or more"):
        FakeQpu(service_s=-1.0)


def test_nothing_is_left_after_the_end() -> None:
    before = set(threading.enumerate())
    with FakeCloud(engine="zeros", service_s=1000.0) as cloud:
        request = batch_of(cloud)
        status, _ = ask(cloud, "POST", f"{CORE}/v1/batches", request, bearer(cloud))
        assert status == 200
        kept = http.client.HTTPConnection(HOST, cloud.port, timeout=LIMIT_S)
        assert get(kept)[0] == 200
        until(lambda: cloud.jobs[0].order.status == "RUNNING")
        port = cloud.port
    assert set(threading.enumerate()) <= before
    kept.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), timeout=LIMIT_S)
    cloud.close()  # once more does nothing


def test_batches_on_emulators_run_side_by_side_and_on_a_qpu_in_turn(cloud: FakeCloud) -> None:
    cloud.fault("job", "RUNNING", times=None)
    emulated, real = batch_of(cloud), batch_of(cloud)
    real["device_type"] = "FRESNEL"
    real["sequence_builder"] = str(real["sequence_builder"]).replace("EMU_FREE", "FRESNEL")
    for request in (emulated, emulated, real, real):
        assert ask(cloud, "POST", f"{CORE}/v1/batches", request, bearer(cloud))[0] == 200
    first, second, third, fourth = (job.order for job in cloud.jobs)
    until(lambda: all(order.status == "RUNNING" for order in (first, second, third)))
    assert fourth.status == "PENDING"
    cloud.orders.cancel(third)
    until(lambda: fourth.status == "RUNNING")


def test_pytest_finds_the_fixtures_and_loads_nothing_for_them() -> None:
    (found,) = (
        entry for entry in entry_points(group="pytest11") if entry.name == "cudaq-target-fakes"
    )
    assert found.value == "cudaq_target.fakes.plugin"
    code = (
        "import sys, cudaq_target.fakes.plugin; "
        "print(*{'pulser', 'numpy', 'numba', 'http.server', 'cudaq_target.fakes.cloud'} "
        "& set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_it_serves_by_hand_until_it_is_told_to_end() -> None:
    command = [sys.executable, "-m", "cudaq_target.fakes", "all", "--engine", "zeros"]
    with subprocess.Popen(
        [*command, "--credentials", "stub"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            ready, *parts = process.stdout.readline().split()
            urls = dict(part.split("=", 1) for part in parts)
            assert (ready, list(urls)) == ("ready", ["cloud", "qpu", "warden"])
            for name, path in (("cloud", DEVICES), ("warden", "/accessible")):
                port = int(urls[name].rpartition(":")[2])
                with closing(http.client.HTTPConnection(HOST, port, timeout=LIMIT_S)) as made:
                    assert get(made, path)[0] == 200
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


def test_a_port_that_is_taken_is_said(cloud: FakeCloud) -> None:
    command = [sys.executable, "-m", "cudaq_target.fakes", "cloud", "--port", str(cloud.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 1
    assert "in use" in done.stderr


def test_a_service_that_is_not_started_has_no_address() -> None:
    with pytest.raises(OptionError, match="not started"):
        _ = FakeCloud(engine="zeros").url
