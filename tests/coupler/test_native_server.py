"""Compiled functions behind every transport: the same answers as from Python."""

from __future__ import annotations

import struct

import pytest

from cudaq_target.coupler.dispatch import RPC_INCREMENT
from cudaq_target.coupler.frame import Status, function_id, request_frame
from cudaq_target.coupler.link import Answer, connect
from cudaq_target.coupler.link_errors import AddressInUseError, InsecureEndpointError, LinkLostError
from cudaq_target.coupler.security import make_keys, server_security
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shm import Dispatcher
from tests.coupler.ends import OPTIONS, TRANSPORTS, RawClient, endpoint_of

INCREMENT = function_id("rpc_increment")


@pytest.fixture(params=TRANSPORTS)
def place(request, tmp_path):
    return endpoint_of(request.param, tmp_path)


def native():
    dispatcher = Dispatcher(window=64)
    dispatcher.add_builtin("rpc_increment")
    return dispatcher


FRAMES = [
    request_frame(INCREMENT, bytes(range(200)), 1, 5),
    request_frame(INCREMENT, b"", 2, 2**64 - 1),
    request_frame(0xDEADBEEF, b"abc", 3),
    b"\0\0\0\0" + request_frame(INCREMENT, b"abc", 4)[4:],
    struct.pack("<IIIIQ", 0x43555152, INCREMENT, 0xFFFFFFFF, 5, 0),
    struct.pack("<IIIIQ", 0x43555152, INCREMENT, OPTIONS.slot_bytes - 23, 6, 0),
]


def test_native_and_python_answer_alike(place):
    answers = []
    for table in (native(), [RPC_INCREMENT]):
        with (
            serve(table, place, options=OPTIONS) as server,
            RawClient(server.endpoint) as client,
        ):
            answers.append([client.ask(frame) for frame in FRAMES])
    assert answers[0] == answers[1]
    assert None not in answers[0]


def test_requests_in_flight(place):
    with (
        serve(native(), place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        n_calls, expected, got = 500, {}, {}
        while len(got) < n_calls:
            while len(expected) < n_calls and link.n_free > 0:
                payload = bytes([len(expected) % 250]) * 40
                expected[link.submit("rpc_increment", payload, 10.0)] = payload
            outcome = link.collect(10.0)
            assert isinstance(outcome, Answer)
            got[outcome.request_id] = bytes(byte - 1 for byte in outcome.result)
        assert got == expected
        assert server.counters()["dispatched"] == n_calls
        assert server.is_running
    assert not server.is_running


def test_a_ring_that_closes_takes_its_name_along(tmp_path):
    place = endpoint_of("shm", tmp_path)
    with serve(native(), place, options=OPTIONS) as server:
        with pytest.raises(AddressInUseError):
            serve(native(), place, options=OPTIONS)
        link = connect(place, options=OPTIONS)
        assert link.call("rpc_increment", b"a", 5.0).status == Status.OK
        server.close()
        with pytest.raises(LinkLostError):
            link.call("rpc_increment", b"a", 5.0)
    with serve(native(), place, options=OPTIONS):
        assert link.call("rpc_increment", b"a", 5.0).result == b"b"
        link.close()


def test_keys_are_refused_on_a_ring(tmp_path):
    _, secret = make_keys(tmp_path / "keys", "server")
    with pytest.raises(InsecureEndpointError):
        serve(native(), "shm://never-made", security=server_security(secret, []))
