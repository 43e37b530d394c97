"""Functions in Python behind the native checks, and what the reference in Python says."""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from cudaq_target.coupler.dispatch import Dispatcher, Function, Reply
from cudaq_target.coupler.errors import FunctionTableError
from cudaq_target.coupler.frame import Status, function_id, request_frame, response_frame
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.native_server import NativeServer
from cudaq_target.coupler.payload import PayloadType
from cudaq_target.coupler.server import Server, serve
from cudaq_target.coupler.transports.interface import TransportOptions
from cudaq_target.coupler.zmq_server import ZmqServer
from tests.coupler.ends import OPTIONS, ROOT, RawClient, await_counter, endpoint_of, table


@pytest.fixture(params=["shm", "ipc"])
def place(request, tmp_path):
    return endpoint_of(request.param, tmp_path)


@pytest.fixture
def ring(tmp_path):
    return endpoint_of("shm", tmp_path)


def reference(functions, slot_bytes=OPTIONS.slot_bytes):
    return Dispatcher(functions, slot_bytes=slot_bytes)


BOTH = pytest.mark.parametrize("wrap", [tuple, reference])


def test_tables_are_served_natively_where_nothing_pends(place):
    with serve(table(), place, options=OPTIONS) as server:
        assert isinstance(server, NativeServer | ZmqServer)
    with serve(reference(table()), place, options=OPTIONS) as server:
        assert type(server) is Server
    pending = Function("later", lambda _: Reply(0), may_pend=True)
    with serve([*table(), pending], place, options=OPTIONS) as server:
        assert type(server) is Server


@BOTH
def test_what_a_handler_gets(place, wrap):
    calls = []

    def handler(call):
        calls.append((bytes(call.arguments), len(call.result), call.header, call.session.peer))
        call.result[:2] = b"ab"
        return Reply(7, 2)

    with serve(wrap([Function("f", handler)]), place, options=OPTIONS) as server:
        for stamp in (5, 2**64 - 1):
            with connect(server.endpoint, options=OPTIONS) as link:
                answer = link.call("f", b"xyz", 5.0, timestamp_ns=stamp)
                assert (answer.status, answer.result, answer.timestamp_ns) == (7, b"ab", stamp)
        counters = server.counters()
    assert (counters["received"], counters["dispatched"], counters["answered"]) == (2, 2, 2)
    headers = [call[2] for call in calls]
    assert headers == [(function_id("f"), 3, 0, 5), (function_id("f"), 3, 0, 2**64 - 1)]
    assert {call[:2] for call in calls} == {(b"xyz", OPTIONS.slot_bytes - 24)}
    assert calls[0][3] != calls[1][3]  # another client, another session


@BOTH
@pytest.mark.parametrize("status", [-(2**31), -5, -1, 0, 3, 6, 2**31 - 1])
def test_every_status_of_a_handler_is_sent(place, wrap, status):
    functions = wrap([Function("f", lambda _: Reply(status))])
    with (
        serve(functions, place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        assert link.call("f", timeout_s=5.0).status == status
        assert server.counters()["handler_failures"] == 0


@BOTH
@pytest.mark.parametrize("kind", [PayloadType.ARRAY_FLOAT32, PayloadType.ARRAY_FLOAT64])
def test_row_11_floats_that_are_not_finite(place, wrap, kind):
    dtype = "<f4" if kind is PayloadType.ARRAY_FLOAT32 else "<f8"

    def handler(call):
        values = np.frombuffer(bytes(call.arguments), dtype="<f8").astype(dtype).tobytes()
        call.result[: len(values)] = values
        return Reply(Status.OK, len(values) - (call.header.timestamp_ns == 1))

    functions = wrap([Function("f", handler, result_type=kind)])
    with (
        serve(functions, place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        for values, expected in (([1.0, -2.0], 0), ([], 0), ([1.0, np.nan], 3), ([np.inf], 3)):
            arguments = np.array(values, dtype="<f8").tobytes()
            assert link.call("f", arguments, 5.0).status == expected
        whole = np.ones(2).tobytes()
        assert link.call("f", whole, 5.0, timestamp_ns=1).status == Status.INTERNAL_ERROR


@BOTH
def test_row_12_a_handler_that_is_too_slow(place, wrap):
    def slow(call):
        time.sleep(0.05 * len(call.arguments))
        return Reply(Status.OK)

    functions = wrap([Function("slow", slow, deadline_ns=40_000_000)])
    with (
        serve(functions, place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        assert link.call("slow", b"x", 5.0).status == Status.DEADLINE
        assert server.counters()["deadline_misses"] == 1
        await_counter(server, "late_results", 1)


@BOTH
def test_row_15_repeats_are_executed_once(place, wrap):
    calls = []

    def count(call):
        calls.append(bytes(call.arguments))
        call.result[:4] = len(calls).to_bytes(4, "little")
        return Reply(Status.BUSY if call.arguments[:1] == b"!" else Status.OK, 4)

    def frame(request_id, arguments, stamp=0):
        return request_frame(function_id("count"), arguments, request_id, stamp)

    with (
        serve(wrap([Function("count", count)]), place, options=OPTIONS) as server,
        RawClient(server.endpoint) as client,
    ):
        long = bytes(range(256)) + b"end"
        first = client.ask(frame(3, long))
        others = [client.ask(frame(10 + k, b"other")) for k in range(OPTIONS.n_slots - 2)]
        again = client.ask(frame(3, long, stamp=9))
        assert again == first[:16] + (9).to_bytes(8, "little") + first[24:]
        assert len(calls) == len(others) + 1
        assert server.counters()["duplicates"] == 1
        assert client.ask(frame(10 + len(others) - 1, long)) != others[-1]  # another request
        assert server.counters()["reused_ids"] == 1
        busy = [client.ask(frame(99, b"!")) for _ in range(2)]  # is tried again
        assert busy[0] != busy[1]


def test_an_answer_that_was_written_over_is_forgotten(ring):
    calls = []

    def count(call):
        calls.append(bytes(call.arguments))
        return Reply(Status.OK)

    with (
        serve([Function("count", count)], ring, options=OPTIONS) as server,
        RawClient(server.endpoint) as client,
    ):
        asked = request_frame(function_id("count"), b"a", 3)
        right = response_frame(0, b"", 3)
        assert client.ask(asked) == right
        for _ in range(OPTIONS.n_slots):  # none of these is remembered
            client.ask(request_frame(0xDEADBEEF, b"", 3))
        assert client.ask(asked) == right
        assert len(calls) == 2


@BOTH
@pytest.mark.parametrize("slot_bytes", [200, 256])
def test_slots_end_where_the_options_say(place, wrap, slot_bytes):
    options = TransportOptions(slot_bytes=slot_bytes, n_slots=4)

    def fill(call):
        call.result[:] = b"r" * len(call.result)
        return Reply(Status.OK, len(call.result))

    functions = [Function("fill", fill)]
    what = functions if wrap is tuple else reference(functions, slot_bytes)
    with (
        serve(what, place, options=options) as server,
        connect(server.endpoint, options=options) as link,
    ):
        assert link.call("fill", bytes(slot_bytes - 24), 5.0).result == b"r" * (slot_bytes - 24)
        with RawLength(link, slot_bytes - 23) as frame:
            assert frame == Status.BAD_LENGTH


class RawLength:
    """Status of a request that claims more bytes than a slot holds."""

    def __init__(self, link, n_bytes):
        self._wire, self._n_bytes = link._wire, n_bytes

    def __enter__(self):
        slot = memoryview(bytearray(self._wire.slot_bytes))
        struct.pack_into("<IIIIQ", slot, 0, 0x43555152, function_id("fill"), self._n_bytes, 1, 0)
        self._wire.send(slot, len(slot))
        assert self._wire.receive_into(slot, 5.0) is not None
        return struct.unpack_from("<i", slot, 4)[0]

    def __exit__(self, *_):
        pass


def test_views_that_a_handler_keeps_stay_valid(place):
    kept = []

    def keep(call):
        kept.append((call, np.frombuffer(call.arguments, dtype=np.uint8)))
        return Reply(Status.OK)

    with (
        serve([Function("keep", keep)], place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        link.call("keep", b"abc", 5.0)
    del server, link
    (call, array) = kept.pop()
    assert bytes(call.arguments) == array.tobytes() == b"abc"
    call.result[0] = 1


def test_row_11_the_first_failure_is_logged(place, caplog):
    with (
        caplog.at_level(logging.ERROR),
        serve(table(), place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        for _ in range(3):
            assert link.call("fail", timeout_s=5.0).status == Status.INTERNAL_ERROR
        assert server.counters()["handler_failures"] == 3
    assert [record.getMessage() for record in caplog.records] == [
        "fail failed; further failures are counted only"
    ]
    assert "on purpose" in caplog.text


def test_row_29_what_waits_at_the_end_is_cancelled(place):
    is_entered, is_open = threading.Event(), threading.Event()

    def gate(_):
        is_entered.set()
        assert is_open.wait(10.0)
        return Reply(Status.OK)

    server = serve([Function("gate", gate)], place, options=OPTIONS)
    with connect(server.endpoint, options=OPTIONS) as link:
        sent = [link.submit("gate", timeout_s=20.0) for _ in range(4)]
        assert is_entered.wait(10.0)
        threading.Timer(0.2, is_open.set).start()
        server.close()
        got = [link.collect(5.0) for _ in sent]
        assert [one.request_id for one in got] == sent
        assert [one.status for one in got] == [Status.OK] + [Status.CANCELLED] * 3
        assert server.counters()["cancelled"] == 3
    assert not server.is_running


def test_two_functions_with_one_id(place):
    same = Function("rpc_increment", lambda _: Reply(Status.OK))
    with pytest.raises(FunctionTableError):
        serve([*table(), same], place, options=OPTIONS)


FORGOTTEN = """
import sys
from cudaq_target.coupler import RPC_INCREMENT, connect, serve
server, link = serve([RPC_INCREMENT], sys.argv[1]), connect(sys.argv[1])
assert link.call("rpc_increment", b"a", 10.0).result == b"b"
"""


CIRCLE = """
import gc, sys, weakref
from cudaq_target.coupler import Function, Reply, connect, serve

def main():
    held = []
    function = Function("f", lambda call: Reply(len(held)))
    with serve([function], sys.argv[1]) as server, connect(server.endpoint) as link:
        held.append(server)
        assert link.call("f", b"", 10.0).status == 1
    return weakref.ref(server)

server = main()
gc.collect()
assert server() is None
"""


def test_a_function_that_holds_its_server_keeps_nothing_alive(ring):
    command = [sys.executable, "-c", CIRCLE, ring]
    done = subprocess.run(
        command, cwd=ROOT, timeout=60, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forgotten_server_ends_with_its_program(place):
    done = subprocess.run(
        [sys.executable, "-c", FORGOTTEN, place],
        cwd=ROOT,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
