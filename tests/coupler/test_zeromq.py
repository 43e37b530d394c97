"""ZeroMQ natively and by pyzmq's calls: one suite over both, and faults of a native loop."""

from __future__ import annotations

import ctypes.util
import logging
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
import zmq

from cudaq_target.coupler._zmq import Library, Service
from cudaq_target.coupler.dispatch import RPC_INCREMENT
from cudaq_target.coupler.endpoint import parse_endpoint
from cudaq_target.coupler.frame import Status, function_id, request_frame
from cudaq_target.coupler.link import Answer, connect
from cudaq_target.coupler.link_errors import EndpointError
from cudaq_target.coupler.native_server import sessions_that_fit
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shm import Dispatcher
from cudaq_target.coupler.transports import zmq_native
from cudaq_target.coupler.transports.zeromq import ZmqPort
from cudaq_target.coupler.zmq_server import ZmqServer
from tests.coupler import test_link_faults, test_native_server, test_transports
from tests.coupler.ends import OPTIONS, RawClient, endpoint_of

INCREMENT = function_id("rpc_increment")
IN_PYTHON = replace(OPTIONS, zeromq="python")
SUITE = [
    test_transports.test_golden_frames,
    test_transports.test_rows_2_3_4_bad_frames_are_answered_and_the_next_one_served,
    test_transports.test_increment,
    test_transports.test_many_requests_in_flight_come_back_each_once,
    test_transports.test_smoke_test_of_the_decode_server,
    test_transports.test_published_shots,
    test_transports.test_stream_of_shots_between_two_processes,
    test_transports.test_machine_behind_a_server,
    test_native_server.test_native_and_python_answer_alike,
    test_native_server.test_requests_in_flight,
    test_link_faults.test_outcomes_wait_for_collect_while_others_are_called,
]


@pytest.fixture(params=["ipc", "tcp"])
def place(request, tmp_path):
    return endpoint_of(request.param, tmp_path)


@pytest.mark.parametrize("check", SUITE, ids=lambda check: check.__name__)
def test_the_suite_by_pyzmq(check, place, monkeypatch):
    """As native in its own module; servers in other processes stay native."""
    for module in (test_transports, test_native_server, test_link_faults):
        monkeypatch.setattr(module, "OPTIONS", IN_PYTHON)
    check(place)


@pytest.mark.parametrize(
    "check",
    [
        test_link_faults.test_row_25_a_router_at_its_mark_says_so,
        test_link_faults.test_messages_of_several_parts_and_of_no_frame,
    ],
    ids=lambda check: check.__name__,
)
def test_the_faults_by_pyzmq(check, tmp_path, monkeypatch):
    monkeypatch.setattr(test_link_faults, "OPTIONS", IN_PYTHON)
    made = test_link_faults.TransportOptions
    monkeypatch.setattr(
        test_link_faults, "TransportOptions", lambda **chosen: made(**chosen, zeromq="python")
    )
    check(tmp_path)


def native(window=64, name="rpc_increment"):
    dispatcher = Dispatcher(window=window)
    dispatcher.add_builtin(name)
    return dispatcher


@pytest.mark.parametrize(
    ("server_loop", "client_loop"), [("native", "python"), ("python", "native")]
)
def test_both_ways_understand_each_other(place, server_loop, client_loop):
    chosen = [replace(OPTIONS, zeromq=loop) for loop in (server_loop, client_loop)]
    with (
        serve(native(), place, options=chosen[0]) as server,
        connect(server.endpoint, options=chosen[1]) as link,
    ):
        assert isinstance(server, ZmqServer) == (server_loop == "native")
        for n_bytes in (0, 1, 64, OPTIONS.slot_bytes - 24):
            answer = link.call("rpc_increment", bytes(n_bytes), 5.0, timestamp_ns=n_bytes)
            assert answer[1:] == (Status.OK, b"\1" * n_bytes, n_bytes)


def test_long_frames_are_handed_over_and_arrive_whole(place):
    """Longer than what is copied; one that finds no receiver is freed once."""
    options = replace(OPTIONS, slot_bytes=1 << 20)
    with (
        serve(native(window=1), place, options=options) as server,
        connect(server.endpoint, options=options) as link,
    ):
        for n_bytes in (16_000, 16_360, 16_361, 300_000, (1 << 20) - 24):
            payload = bytes(i % 251 for i in range(n_bytes))
            answer = link.call("rpc_increment", payload, 10.0)
            assert answer.result == bytes(byte + 1 for byte in payload)


def test_the_library_is_the_one_of_pyzmq():
    library = zmq_native.find_library()
    assert isinstance(library, Library)
    assert library.version == zmq.zmq_version_info()


def test_libraries_that_are_none():
    with pytest.raises(ValueError, match="not loaded"):
        Library("/nowhere/libzmq.so")
    with pytest.raises(ValueError, match="shows no zmq_"):
        Library(ctypes.util.find_library("c") or "libc.so.6")
    library = zmq_native.find_library()
    with pytest.raises(ValueError, match="address is 0"):
        Service(library, 0, [], native(), slot_bytes=512, max_waiting=1, max_sessions=1)


def test_without_the_library_python_serves_and_says_so(place, monkeypatch, caplog):
    monkeypatch.setattr(zmq_native, "find_library", lambda: "no libzmq here")
    zmq_native._say.cache_clear()
    with (
        caplog.at_level(logging.WARNING),
        serve(native(), place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        assert link.call("rpc_increment", b"a", 5.0).result == b"b"
        assert not isinstance(server, ZmqServer)
    assert caplog.text.count("no libzmq here") == 1


def test_a_loop_of_another_name_is_refused(place):
    with pytest.raises(EndpointError, match="Use 'native' or 'python'"):
        serve(native(), place, options=replace(OPTIONS, zeromq="fast"))


def test_a_closed_socket_is_an_error_and_no_crash():
    library = zmq_native.find_library()
    with zmq.Context() as context:
        socket = context.socket(zmq.ROUTER)
        dispatcher = native()
        service = Service(
            library,
            socket.underlying,
            [],
            dispatcher,
            slot_bytes=512,
            max_waiting=4,
            max_sessions=4,
        )
        socket.close()
        with pytest.raises(OSError, match="socket"):
            service.run()
        service.finish(drain=True, drain_s=0.0)
        assert not dispatcher.is_running


def test_a_lent_dispatcher_serves_nobody_else(place):
    dispatcher = native()
    with serve(dispatcher, place, options=OPTIONS) as server:
        assert dispatcher.is_running
        with pytest.raises(ValueError, match="stop it first"):
            dispatcher.add_builtin("echo")
        assert server.is_running
    dispatcher.add_builtin("echo")


def raw_frame(number, payload=b"x"):
    return request_frame(INCREMENT, payload, number)


def test_row_15_a_repeated_request_is_executed_once(place):
    with (
        serve(native(), place, options=OPTIONS) as server,
        RawClient(server.endpoint) as client,
        RawClient(server.endpoint) as other,
    ):
        answers = [client.ask(raw_frame(5)), client.ask(raw_frame(5)), other.ask(raw_frame(5))]
        assert len(set(answers)) == 1
        counters = server.counters()
    assert (counters["dispatched"], counters["duplicates"]) == (2, 1)


def test_sessions_are_bounded_and_strangers_do_not_evict_friends():
    options = replace(OPTIONS, slot_bytes=128)
    port = ZmqPort(parse_endpoint("tcp://127.0.0.1:0"), options, None)
    dispatcher = native()
    server = ZmqServer(dispatcher, port, port.service(dispatcher, 2), options)
    with server, zmq.Context() as context, ExitStack() as stack:
        friend = stack.enter_context(RawClient(server.endpoint, options))
        wanted = friend.ask(raw_frame(1))
        for i in range(6):  # garbage costs no session
            stranger = stack.enter_context(context.socket(zmq.DEALER))
            stranger.setsockopt(zmq.LINGER, 0)
            stranger.connect(str(server.endpoint))
            stranger.send(bytes([i]) * 40)
            assert stranger.poll(5000)
        assert friend.ask(raw_frame(1)) == wanted
        counters = server.counters()
        assert (counters["bad_magic"], counters["duplicates"]) == (6, 1)
        assert counters["evicted_sessions"] == 0
        for _ in range(2):  # the one that was silent for longest makes room
            assert stack.enter_context(RawClient(server.endpoint, options)).ask(raw_frame(1))
        assert friend.ask(raw_frame(1)) == wanted
        counters = server.counters()
    assert counters["evicted_sessions"] == 2
    assert counters["dispatched"] == 4


@pytest.mark.parametrize(
    ("window", "slot_bytes", "n_sessions"), [(64, 4096, 256), (0, 65536, 256), (64, 65536, 31)]
)
def test_sessions_share_one_budget(window, slot_bytes, n_sessions):
    assert sessions_that_fit(window, slot_bytes, 0) == n_sessions


def test_row_25_answers_to_a_client_that_does_not_read():
    """Delivered, delayed or counted as dropped: no answer vanishes, and others are served."""
    options = replace(OPTIONS, slot_bytes=65_536, n_slots=4, heartbeat_timeout_ms=60_000)
    place = "tcp://127.0.0.1:0"
    n_sent = 3_000
    with (
        serve(native(window=0, name="echo"), place, options=options) as server,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as lazy,
        connect(server.endpoint, options=options) as link,
    ):
        lazy.setsockopt(zmq.LINGER, 0)
        lazy.setsockopt(zmq.RCVHWM, 8)
        lazy.setsockopt(zmq.SNDHWM, 0)
        lazy.connect(str(server.endpoint))
        body = bytearray(60_000)
        for number in range(n_sent):
            lazy.send(request_frame(function_id("echo"), bytes(body), number))
        until = time.monotonic() + 60.0
        while server.counters()["dispatched"] < n_sent and time.monotonic() < until:
            assert link.call("echo", b"still there", 10.0).result == b"still there"
        numbers = []
        while lazy.poll(1000):
            numbers.append(int.from_bytes(lazy.recv()[12:16], "little"))
        counters = server.counters()
    assert counters["delayed_answers"] > 0
    assert counters["dropped_answers"] > 0
    assert numbers == sorted(numbers)
    assert len(numbers) + counters["dropped_answers"] == n_sent


def test_row_29_what_has_arrived_is_answered_before_the_end(place):
    with connect_to_closing_server(place) as (link, n_sent):
        outcomes = [link.collect(5.0) for _ in range(n_sent)]
    assert all(isinstance(one, Answer) for one in outcomes)


class connect_to_closing_server:  # noqa: N801 - reads as a function
    """A link with requests in flight to a server that closes at once."""

    def __init__(self, place):
        self.server = serve(native(), place, options=OPTIONS)
        self.link = connect(self.server.endpoint, options=OPTIONS)

    def __enter__(self):
        for _ in range(10):
            self.link.submit("rpc_increment", b"a", 10.0)
        closing = threading.Thread(target=self.server.close)
        closing.start()
        closing.join()
        return self.link, 10

    def __exit__(self, *_):
        self.link.close()


def test_a_table_in_python_and_a_compiled_one_count_alike(place):
    seen = []
    for table in ([RPC_INCREMENT], native()):
        with (
            serve(table, place, options=OPTIONS) as server,
            connect(server.endpoint, options=OPTIONS) as link,
        ):
            for _ in range(3):
                link.call("rpc_increment", b"a", 5.0)
            link.call("nobody", b"a", 5.0)
            counted = server.counters()
            names = ("received", "answered", "dispatched", "unknown_function", "multipart")
            seen.append([counted[name] for name in names])
    assert seen[0] == seen[1] == [4, 4, 3, 1, 0]
