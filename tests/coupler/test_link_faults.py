"""Faults inside one process: full windows, slow and failing handlers, forks, shutdown, one core."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import zmq

from cudaq_target.coupler.dispatch import PENDING, RPC_INCREMENT, Dispatcher, Function, Reply
from cudaq_target.coupler.endpoint import parse_endpoint
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.link import Answer, Missing, connect
from cudaq_target.coupler.link_errors import (
    AddressInUseError,
    EndpointError,
    InsecureEndpointError,
    LinkBusyError,
    LinkLostError,
    LinkOwnerError,
    LinkTimeoutError,
    ServerFailedError,
)
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.transports.interface import TransportOptions
from cudaq_target.coupler.transports.zeromq import ZmqPort, ZmqWire
from tests.coupler.ends import OPTIONS, ROOT, TRANSPORTS, endpoint_of, table

N_SLOTS = OPTIONS.n_slots


@pytest.fixture(params=TRANSPORTS)
def place(request, tmp_path):
    return endpoint_of(request.param, tmp_path)


class Gate:
    """A handler that waits until the test opens it."""

    def __init__(self):
        self.is_open = threading.Event()
        self.n_calls = 0

    def function(self):
        def handler(_):
            self.n_calls += 1
            assert self.is_open.wait(10.0)
            return Reply(Status.OK)

        return Function("gate", handler)


def test_row_13_a_full_window_refuses_and_loses_nothing(place):
    gate = Gate()
    with (
        serve([gate.function()], place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        sent = [link.submit("gate", bytes([i]), 20.0) for i in range(N_SLOTS)]
        with pytest.raises(LinkBusyError, match="in flight"):
            link.submit("gate")
        assert link.counters.busy == 1
        gate.is_open.set()
        got = [link.collect(10.0) for _ in sent]
        assert sorted(one.request_id for one in got) == sent
        assert all(isinstance(one, Answer) and one.status == Status.OK for one in got)
        assert gate.n_calls == N_SLOTS
        assert link.call("gate", timeout_s=5.0).status == Status.OK


def test_a_slow_handler_gives_a_typed_timeout_and_its_late_answer_is_discarded(place):
    gate = Gate()
    with (
        serve([gate.function(), RPC_INCREMENT], place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        with pytest.raises(LinkTimeoutError, match=r"gate within 0\.1 s") as caught:
            link.call("gate", timeout_s=0.1)
        assert caught.value.timeout_s == 0.1
        gate.is_open.set()
        assert link.call("rpc_increment", b"a", 5.0).result == b"b"
        assert link.counters.stale >= 1
        assert gate.n_calls == 1  # repeats on the way were executed once


class InterruptionError(Exception):
    """What Ctrl-C raises in the place of `KeyboardInterrupt`."""


def test_a_call_that_is_interrupted_keeps_its_answer(place):
    def interrupt(*_):
        raise InterruptionError

    gate = Gate()
    with (
        serve([gate.function()], place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(InterruptionError):
                link.call("gate", b"", 20.0)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert link.n_in_flight == 1
        gate.is_open.set()
        answer = link.collect(10.0)
        assert isinstance(answer, Answer)
        assert answer.status == Status.OK
        assert link.n_in_flight == 0
        assert link.call("gate", timeout_s=5.0).request_id == answer.request_id + 1


def test_every_answer_is_counted(place):
    with (
        serve(table(), place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        for _ in range(3):
            link.call("rpc_increment", b"a", 5.0)
        sent = [link.submit("rpc_increment", b"a", 5.0) for _ in range(4)]
        got = [link.collect(5.0) for _ in sent]
        assert [one.request_id for one in got] == sent
        assert (link.counters.received, link.counters.answered) == (7, 7)
        assert link.n_free == OPTIONS.n_slots


def test_a_request_ends_at_its_own_deadline_however_long_collect_waits(place):
    gate = Gate()
    with (
        serve([gate.function()], place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        sent = link.submit("gate", timeout_s=0.1)
        outcome = link.collect(3600.0)
        assert isinstance(outcome, Missing)
        assert outcome.request_id == sent
        gate.is_open.set()


def test_row_29_a_server_that_stops_answers_everything_in_flight(place):
    def wait(_):
        return PENDING

    function = Function("wait", wait, may_pend=True)
    server = serve([function], place, options=OPTIONS)
    with server, connect(server.endpoint, options=OPTIONS) as link:
        sent = [link.submit("wait", timeout_s=10.0) for _ in range(N_SLOTS)]
        until = time.monotonic() + 5.0
        while server.counters()["dispatched"] < N_SLOTS and time.monotonic() < until:
            time.sleep(0.01)
        server.close()
        got = [link.collect(5.0) for _ in sent]
        assert sorted(one.request_id for one in got) == sent
        assert {one.status for one in got} == {Status.CANCELLED}
        assert server.counters()["cancelled"] == N_SLOTS


def test_requests_that_another_thread_answers(place):
    tickets = queue.Queue()

    def later(call):
        tickets.put((call.ticket, bytes(call.arguments)))
        return PENDING

    with (
        serve([Function("later", later, may_pend=True)], place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        sent = [link.submit("later", bytes([i]), 10.0) for i in range(4)]
        waiting = [tickets.get(timeout=5.0) for _ in sent]
        for ticket, arguments in waiting:
            server.finish(ticket, Status.OK, arguments * 2)
        got = {one.request_id: one.result for one in (link.collect(5.0) for _ in sent)}
        assert got == {request_id: bytes([i, i]) for i, request_id in enumerate(sent)}


def test_a_function_with_a_deadline_is_answered_in_its_name(place):
    functions = [Function("wait", lambda _: PENDING, may_pend=True, deadline_ns=20_000_000)]
    with (
        serve(functions, place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        assert link.call("wait", timeout_s=10.0).status == Status.DEADLINE


def test_row_32_callbacks_that_hold_the_interpreter_or_raise(place):
    def spin(call):
        end = time.monotonic() + 0.1
        while time.monotonic() < end:  # a callback that never lets go of the interpreter for long
            pass
        raise RuntimeError(bytes(call.arguments))

    with (
        serve([Function("spin", spin), RPC_INCREMENT], place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        sent = [link.submit("spin", b"x", 10.0) for _ in range(3)]
        got = [link.collect(10.0) for _ in sent]
        assert [one.status for one in got] == [Status.INTERNAL_ERROR] * 3
        assert link.call("rpc_increment", b"a", 5.0).result == b"b"


def use_after_fork(link, server, answers):
    try:
        link.call("rpc_increment", b"a", 1.0)
    except LinkOwnerError as error:
        answers.put(error.owner_pid)
    link.close()
    server.close()
    answers.put("closed")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_row_32_a_fork_neither_hangs_nor_shares_the_link(place):
    context = multiprocessing.get_context("fork")
    with (
        serve(table(), place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        answers = context.SimpleQueue()
        child = context.Process(target=use_after_fork, args=(link, server, answers))
        child.start()
        child.join(10.0)  # the watchdog
        hangs = child.is_alive()
        if hangs:
            child.kill()
            child.join()
        assert not hangs
        assert [answers.get(), answers.get()] == [os.getpid(), "closed"]
        assert link.call("rpc_increment", b"a", 5.0).result == b"b"


ONE_CORE = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from cudaq_target.coupler import RPC_INCREMENT, connect, serve
with serve([RPC_INCREMENT], sys.argv[1]) as server, connect(server.endpoint) as link:
    for i in range(1000):
        assert link.call("rpc_increment", bytes([i % 255]), 10.0).result == bytes([i % 255 + 1])
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system pins no processes")
def test_row_31_one_core_makes_progress(place):
    subprocess.run([sys.executable, "-c", ONE_CORE, place], check=True, cwd=ROOT, timeout=60)


def test_a_server_that_breaks_says_why(tmp_path, monkeypatch):
    reference = Dispatcher(table(), slot_bytes=OPTIONS.slot_bytes)
    server = serve(reference, endpoint_of("ipc", tmp_path), options=OPTIONS)

    def broken(*_):
        raise OSError("the network is gone")

    monkeypatch.setattr(server._port, "receive_into", broken)
    server._thread.join(5.0)
    assert not server.is_running
    with pytest.raises(ServerFailedError, match="network is gone"):
        server.close()


def test_a_place_is_taken_once(place):
    with serve(table(), place, options=OPTIONS) as server:
        with pytest.raises(AddressInUseError):
            serve(table(), server.endpoint, options=OPTIONS)
        with connect(server.endpoint, options=OPTIONS) as link:
            assert link.call("rpc_increment", b"a", 5.0).result == b"b"


def test_row_23_a_socket_file_without_a_server_is_replaced(tmp_path):
    place = endpoint_of("ipc", tmp_path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(parse_endpoint(place).place)
    with (
        serve(table(), place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        assert link.call("rpc_increment", b"a", 5.0).result == b"b"


def test_another_file_is_not_replaced(tmp_path):
    place = endpoint_of("ipc", tmp_path)
    (tmp_path / "s").write_text("mine")
    with pytest.raises(EndpointError, match="another file"):
        serve(table(), place)
    assert (tmp_path / "s").read_text() == "mine"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_addresses_of_other_machines(transport):
    with pytest.raises(InsecureEndpointError):
        serve(table(), f"{transport}://192.0.2.1:0")
    with pytest.raises(EndpointError, match="port 0"):
        connect(f"{transport}://127.0.0.1:0")


def test_no_server_there(tmp_path):
    for transport in ("ipc", "tcp"):
        place = endpoint_of(transport, tmp_path).replace(":0", ":1")
        with pytest.raises(LinkTimeoutError, match="the connection"):
            connect(place, timeout_s=0.1)
    with connect("udp://127.0.0.1:1") as link, pytest.raises(LinkLostError, match="nobody listens"):
        link.call("rpc_increment", b"a", 1.0)


def test_closed_links_say_so(place):
    with serve(table(), place, options=OPTIONS) as server:
        link = connect(server.endpoint, options=OPTIONS)
        link.close()
        link.close()
        with pytest.raises(LinkLostError, match="closed"):
            link.call("rpc_increment")


def test_answers_longer_than_a_slot_are_refused_at_the_start(place):
    from cudaq_target.coupler.errors import FrameTooLongError

    with pytest.raises(FrameTooLongError):
        serve(Dispatcher([RPC_INCREMENT], slot_bytes=1024), place, options=OPTIONS)


def test_row_25_a_router_at_its_mark_says_so(tmp_path):
    """No answer to a client that does not read vanishes: it is delivered, delayed or counted."""
    # A full reader hears no heartbeats; this test is about the queue, not about the timeout.
    options = TransportOptions(slot_bytes=4096, n_slots=4, heartbeat_timeout_ms=60_000)
    place = parse_endpoint(endpoint_of("tcp", tmp_path))
    port = ZmqPort(place, options, None)
    wire = None
    opened = threading.Thread(target=lambda: None)
    try:
        ready = []
        opened = threading.Thread(
            target=lambda: ready.append(ZmqWire(port.endpoint, options, None, 5.0))
        )
        opened.start()
        slot = memoryview(bytearray(4096))
        until = time.monotonic() + 5.0
        while not ready and time.monotonic() < until:
            port.receive_into(slot, 0.02)
        wire = ready[0]
        wire.send(slot, 100)
        arrived = None
        while arrived is None:
            arrived = port.receive_into(slot, 0.02)
        peer, _ = arrived
        n_sent = 6_000
        for i in range(n_sent):
            slot[:4] = i.to_bytes(4, "little")
            port.send(peer, slot, 4096)
        counters = port.counters
        assert counters.delayed_answers > 0
        assert counters.dropped_answers > 0
        received = []
        quiet = 0
        while quiet < 10:
            port.receive_into(slot, 0.005)  # sends what waits
            n_bytes = wire.receive_into(slot, 0.02)
            quiet = quiet + 1 if n_bytes is None else 0
            if n_bytes is not None:
                received.append(int.from_bytes(slot[:4], "little"))
        assert received == sorted(received)
        assert len(received) + port.counters.dropped_answers == n_sent
        port.send(b"nobody", slot, 24)
        assert len(received) + port.counters.dropped_answers == n_sent + 1
    finally:
        opened.join()
        if wire is not None:
            wire.close()
        port.close()


def test_messages_of_several_parts_and_of_no_frame(tmp_path):
    place = endpoint_of("ipc", tmp_path)
    with (
        serve(table(), place, options=OPTIONS) as server,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as stranger,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.connect(place)
        stranger.send_multipart([b"a" * 24, b"b", b"c"])
        stranger.send(b"")
        stranger.send(b"short")
        stranger.send(bytes(OPTIONS.slot_bytes + 1))  # resets the stranger's connection only
        until = time.monotonic() + 5.0
        while server.counters()["truncated"] < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert link.call("rpc_increment", b"a", 5.0).result == b"b"
        counters = server.counters()
    assert (counters["multipart"], counters["truncated"], counters["dispatched"]) == (1, 2, 1)


def test_outcomes_wait_for_collect_while_others_are_called(place):
    with (
        serve(table(), place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        first = link.submit("rpc_increment", b"a", 5.0)
        assert link.call("rpc_increment", b"c", 5.0).result == b"d"
        outcome = link.collect(5.0)
        assert not isinstance(outcome, Missing)
        assert (outcome.request_id, outcome.result) == (first, b"b")
