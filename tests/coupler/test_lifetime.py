"""Links, servers and interpreters that end in an order nobody planned: errors, never crashes."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from cudaq_target.coupler.dispatch import Function, Reply
from cudaq_target.coupler.errors import HandlerStuckError, LinkInUseError
from cudaq_target.coupler.frame import Status, function_id, request_frame
from cudaq_target.coupler.link import Answer, connect
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shm import Dispatcher, SlotRing
from cudaq_target.coupler.shot_bulk import BulkPublisher, BulkSink
from cudaq_target.coupler.shot_sender import ShotSender
from cudaq_target.coupler.transports.interface import TransportOptions
from tests.coupler.ends import OPTIONS, ROOT, TRANSPORTS, RawClient, endpoint_of

NATIVE = ("shm", "ipc", "tcp")  # of these, waits are native


@pytest.fixture
def wait():
    """A function that waits until it may return."""
    may_return = threading.Event()

    def handler(call):  # noqa: ARG001
        assert may_return.wait(60.0)
        return Reply(Status.OK)

    yield Function("wait", handler), may_return
    may_return.set()


@pytest.mark.parametrize("transport", NATIVE)
def test_a_link_that_waits_is_one_threads(transport, tmp_path, wait):
    function, may_return = wait
    found = []

    def interfere():
        time.sleep(0.2)
        for attempt in (
            link.close,
            lambda: link.call("wait", b"", 5.0),
            lambda: link.submit("wait"),
            lambda: link.collect(5.0),
        ):
            with pytest.raises(LinkInUseError, match="one thread"):
                attempt()
            found.append(attempt)
        may_return.set()

    with (
        serve([function], endpoint_of(transport, tmp_path), options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        other = threading.Thread(target=interfere)
        other.start()
        assert link.call("wait", b"", 30.0) == Answer(0, Status.OK, b"", 0)
        other.join()
        assert len(found) == 4
        assert link.call("wait", b"", 30.0).status == Status.OK


@pytest.mark.parametrize("transport", NATIVE)
def test_a_handler_of_a_signal_cannot_close_the_link_that_waits(transport, tmp_path, wait):
    function, may_return = wait
    with (
        serve([function], endpoint_of(transport, tmp_path), options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        before = signal.signal(signal.SIGALRM, lambda *_: link.close())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(LinkInUseError):
                link.call("wait", b"", 30.0)
        finally:
            signal.signal(signal.SIGALRM, before)
        may_return.set()
        assert link.call("wait", b"", 30.0).status == Status.OK


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_many_threads_close_a_server(transport, tmp_path, wait):
    function, may_return = wait
    server = serve([function], endpoint_of(transport, tmp_path), options=OPTIONS)
    with connect(server.endpoint, options=OPTIONS) as link:
        link.submit("wait", b"", 30.0)
        time.sleep(0.1)
        closers = [threading.Thread(target=server.close) for _ in range(4)]
        for closer in closers:
            closer.start()
        may_return.set()
        for closer in closers:
            closer.join()
    assert not server.is_running


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("zeromq", ["native", "python"])
def test_a_stuck_function_is_named_by_every_server(transport, zeromq, tmp_path, wait, monkeypatch):
    for module in ("server", "native_server"):
        monkeypatch.setattr(f"cudaq_target.coupler.{module}.PATIENCE_S", 0.2)
    function, may_return = wait
    options = TransportOptions(slot_bytes=512, n_slots=16, zeromq=zeromq)
    server = serve([function], endpoint_of(transport, tmp_path), options=options)
    with connect(server.endpoint, options=options) as link:
        link.submit("wait", b"", 30.0)
        time.sleep(0.1)
        with pytest.raises(HandlerStuckError, match="'wait' has not returned"):
            server.close()
        may_return.set()
        for _ in range(200):
            try:
                server.close()
            except HandlerStuckError:
                continue
            break
    assert not server.is_running


def test_a_stuck_consumer_of_bulk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("cudaq_target.coupler.shot_bulk.PATIENCE_S", 0.2)
    tmp_path.chmod(0o700)
    began, may_return = threading.Event(), threading.Event()

    def consume(batch):  # noqa: ARG001
        began.set()
        assert may_return.wait(60.0)

    bulk = BulkSink(consume, f"ipc://{tmp_path}/b")
    with (
        serve(bulk.functions(), f"ipc://{tmp_path}/s") as server,
        connect(server.endpoint) as link,
    ):
        sender = ShotSender(session=1, n_qubits=1)
        publisher = BulkPublisher(link, sender)
        sender.offer(np.ones((1, 1), dtype=np.uint64))
        while not began.is_set():
            publisher.pump()
        with pytest.raises(HandlerStuckError, match="'consumer' has not returned"):
            bulk.close()
        may_return.set()
        bulk.close()
        publisher.close()


def test_serve_ends_when_another_thread_stops_it(tmp_path):
    name = endpoint_of("shm", tmp_path).removeprefix("shm://")
    ring = SlotRing.create(name, 4, 128)
    dispatcher = Dispatcher()
    dispatcher.add_builtin("echo")
    stopper = threading.Timer(0.2, dispatcher.stop)
    stopper.start()
    dispatcher.serve(ring, timeout_s=60.0)
    stopper.join()
    assert not dispatcher.is_running
    ring.unlink()


SCRIPTS = {
    "thread that calls": """
        def caller():
            link = connect(server.endpoint)
            with suppress(Exception):
                while True:
                    link.call("work", b"", 5.0)
        threading.Thread(target=caller, daemon=True).start()
        """,
    "function that runs": """
        link = connect(server.endpoint)
        link.submit("busy", b"", 5.0)
        """,
}


@pytest.mark.parametrize("transport", NATIVE)
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_interpreter_ends_under_a(script, transport, tmp_path):
    program = f"""
import threading, time
from contextlib import suppress
from cudaq_target.coupler import Function, Reply, connect, serve, serving
def work(call):
    time.sleep(0.02)
    return Reply(0)
def busy(call):
    until = time.monotonic() + 30.0
    while time.monotonic() < until:
        pass
functions = [Function("work", work), Function("busy", busy)]
server = serve(functions, {endpoint_of(transport, tmp_path)!r})
{textwrap.dedent(SCRIPTS[script])}
serving._LAST_WAIT_S = 0.2
time.sleep(0.3)
print("end")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_rows_outlive_what_received_them(tmp_path):
    program = f"""
import numpy as np, time
from cudaq_target.coupler import BulkPublisher, BulkSink, ShotSender, connect, serve
kept = []
with BulkSink(lambda batch: kept.append(batch.rows), "ipc://{tmp_path}/b") as bulk:
    with serve(bulk.functions(), "ipc://{tmp_path}/s") as server, connect(server.endpoint) as link:
        sender = ShotSender(session=1, n_qubits=64, max_batch=400)
        publisher = BulkPublisher(link, sender)
        sender.offer(np.arange(1000, dtype=np.uint64).reshape(-1, 1))
        sender.finish()
        publisher.drain(timeout_s=30.0)
        publisher.close()
from cudaq_target.coupler.transports.zmq_native import find_library
find_library.cache_clear()
del bulk, server, link, publisher, sender
import gc
gc.collect()
assert np.concatenate(kept).ravel().tolist() == list(range(1000))
"""
    tmp_path.chmod(0o700)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("window", [0, 64])
def test_row_15_datagrams_that_come_twice_run_once(window, tmp_path):
    dispatcher = Dispatcher(window=window)
    dispatcher.add_builtin("rpc_increment")
    frame = request_frame(function_id("rpc_increment"), b"abc", 7)
    with (
        serve(dispatcher, endpoint_of("udp", tmp_path), options=OPTIONS) as server,
        RawClient(server.endpoint) as client,
    ):
        answers = {client.ask(frame) for _ in range(3)}
        assert len(answers) == 1
        assert None not in answers
        counted = server.counters()
        assert (counted["dispatched"], counted["duplicates"]) == (1, 2)
