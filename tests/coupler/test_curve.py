"""CURVE and the allow-list (row 24): friends get in, strangers are refused and counted."""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import replace

import numpy as np
import pytest
import zmq

from cudaq_target.coupler.frame import HEADER_BYTES
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.link_errors import (
    InsecureEndpointError,
    LinkRefusedError,
    LinkTimeoutError,
)
from cudaq_target.coupler.security import (
    ClientSecurity,
    client_security,
    make_keys,
    server_security,
)
from cudaq_target.coupler.server import serve
from tests.coupler.ends import OPTIONS, TRANSPORTS, endpoint_of, table
from tests.coupler.proxies import TcpRecorder

PLACE = "tcp://127.0.0.1:0"


@pytest.fixture
def keys(tmp_path):
    folder = tmp_path / "keys"
    return {name: make_keys(folder, name) for name in ("server", "friend", "stranger")}


def security_of(keys, name, server="server"):
    return client_security(keys[name][1], keys[server][0])


@pytest.fixture
def server(keys):
    security = server_security(keys["server"][1], [keys["friend"][0]])
    with serve(table(), PLACE, options=OPTIONS, security=security) as running:
        yield running


def still_serves_friends(server, keys):
    with connect(server.endpoint, options=OPTIONS, security=security_of(keys, "friend")) as link:
        return link.call("rpc_increment", b"a", 5.0).result == b"b"


def wait_for(server, counter, at_least=1):
    until = time.monotonic() + 5.0
    while server.counters()[counter] < at_least and time.monotonic() < until:
        time.sleep(0.01)
    return server.counters()[counter]


def test_a_friend_is_served(server, keys):
    assert still_serves_friends(server, keys)
    assert server.counters()["refused_handshakes"] == 0


def test_a_friend_is_served_through_slots_shorter_than_the_handshake(keys):
    options = replace(OPTIONS, slot_bytes=128)
    security = server_security(keys["server"][1], [keys["friend"][0]])
    with (
        serve(table(), PLACE, options=options, security=security) as server,
        connect(server.endpoint, options=options, security=security_of(keys, "friend")) as link,
    ):
        assert link.call("rpc_increment", b"a", 5.0).result == b"b"


@pytest.mark.parametrize("slot_bytes", [512, 4096])
def test_frames_that_fill_a_slot_come_through_the_envelope(keys, slot_bytes):
    options = replace(OPTIONS, slot_bytes=slot_bytes)
    security = server_security(keys["server"][1], [keys["friend"][0]])
    whole = bytes(slot_bytes - HEADER_BYTES)
    with (
        serve(table(), PLACE, options=options, security=security) as server,
        connect(server.endpoint, options=options, security=security_of(keys, "friend")) as link,
    ):
        for _ in range(3):
            answer = link.call("rpc_increment", whole, 5.0)
            assert answer.result == b"\x01" * len(whole)


def test_an_unknown_key_is_refused_and_counted(server, keys):
    with pytest.raises(LinkRefusedError, match="does not know"):
        connect(server.endpoint, options=OPTIONS, security=security_of(keys, "stranger"))
    assert wait_for(server, "refused_handshakes") >= 1
    assert still_serves_friends(server, keys)
    assert server.counters()["dispatched"] == 1


def test_the_wrong_server_key_is_refused_and_counted(server, keys):
    wrong = security_of(keys, "friend", server="stranger")
    with pytest.raises((LinkRefusedError, LinkTimeoutError)):
        connect(server.endpoint, timeout_s=0.5, options=OPTIONS, security=wrong)
    assert wait_for(server, "refused_handshakes") >= 1
    assert still_serves_friends(server, keys)


def test_no_key_is_refused_and_counted(server, keys):
    with pytest.raises((LinkRefusedError, LinkTimeoutError)):
        connect(server.endpoint, timeout_s=0.5, options=OPTIONS)
    assert wait_for(server, "refused_handshakes") >= 1
    assert still_serves_friends(server, keys)


def test_a_replayed_handshake_reaches_no_handler(server, keys):
    with (
        TcpRecorder(server.endpoint.port) as recorder,
        connect(
            f"tcp://127.0.0.1:{recorder.port}",
            options=OPTIONS,
            security=security_of(keys, "friend"),
        ) as link,
    ):
        assert link.call("rpc_increment", b"a", 5.0).result == b"b"
    before = server.counters()
    assert before["dispatched"] == 1
    assert len(recorder.said) > 300  # greeting, HELLO, INITIATE and a request
    with socket.create_connection(("127.0.0.1", server.endpoint.port)) as thief:
        thief.sendall(recorder.said)
        assert wait_for(server, "refused_handshakes", before["refused_handshakes"] + 1) >= 1
    assert server.counters()["received"] == before["received"]
    assert still_serves_friends(server, keys)


def test_random_bytes_reach_no_handler(server, keys):
    rng = np.random.default_rng(1)
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", server.endpoint.port)) as stranger:
            stranger.sendall(rng.bytes(4096))
    assert still_serves_friends(server, keys)
    assert server.counters()["received"] == 1


def test_random_bytes_on_a_port_without_keys_are_dropped_by_the_dispatcher():
    rng = np.random.default_rng(2)
    with serve(table(), PLACE, options=OPTIONS) as server:
        for _ in range(30):
            with socket.create_connection(("127.0.0.1", server.endpoint.port)) as stranger:
                stranger.sendall(rng.bytes(4096))
        with connect(server.endpoint, options=OPTIONS) as link:
            assert link.call("rpc_increment", b"a", 5.0).result == b"b"
        assert server.counters()["dispatched"] == 1


def test_a_public_bind_with_keys_starts(keys):
    security = server_security(keys["server"][1], [keys["friend"][0]])
    with serve(table(), "tcp://0.0.0.0:0", options=OPTIONS, security=security) as server:
        near = f"tcp://127.0.0.1:{server.endpoint.port}"
        with connect(near, options=OPTIONS, security=security_of(keys, "friend")) as link:
            assert link.call("rpc_increment", b"a", 5.0).result == b"b"


@pytest.mark.parametrize("place", ["tcp://0.0.0.0:0", "tcp://[::]:0", "udp://0.0.0.0:0"])
def test_a_public_bind_without_keys_does_not(place):
    with pytest.raises(InsecureEndpointError):
        serve(table(), place)


@pytest.mark.parametrize("transport", sorted({"udp", "shm"} & {*TRANSPORTS, "shm"}))
def test_keys_are_refused_where_nothing_checks_them(tmp_path, keys, transport):
    place = endpoint_of(transport, tmp_path).replace(":0", ":1")
    with pytest.raises(InsecureEndpointError):
        connect(place, security=security_of(keys, "friend"))


def test_keys_work_over_a_socket_file(tmp_path, keys):
    security = server_security(keys["server"][1], [keys["friend"][0]])
    place = endpoint_of("ipc", tmp_path)
    with serve(table(), place, options=OPTIONS, security=security) as server:
        assert still_serves_friends(server, keys)
        with pytest.raises(LinkRefusedError):
            connect(server.endpoint, options=OPTIONS, security=security_of(keys, "stranger"))


def test_secrets_are_in_no_log_and_no_error(server, keys, caplog):
    stranger: ClientSecurity = security_of(keys, "stranger")
    with caplog.at_level(logging.DEBUG), pytest.raises(LinkRefusedError) as caught:
        connect(server.endpoint, options=OPTIONS, security=stranger)
    assert stranger.keys.secret not in caplog.text + str(caught.value) + repr(caught.value)
    assert stranger.keys.secret not in repr(server) + repr(stranger)


def test_this_libzmq_has_curve():
    assert zmq.has("curve")
