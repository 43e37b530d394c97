"""Datagrams that get lost, doubled, reordered, too long, or come from somebody else."""

from __future__ import annotations

import logging
import socket
import zlib

import numpy as np
import pytest

from cudaq_target.coupler.dispatch import Call, Function, Reply
from cudaq_target.coupler.frame import Status, function_id, request_frame
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.payload import ShotBatch
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shot_link import ShotPublisher, ShotSink
from cudaq_target.coupler.shot_sender import FullPolicy, ShotSender
from cudaq_target.coupler.transports.interface import TransportOptions
from tests.coupler.ends import OPTIONS, RawClient, table
from tests.coupler.proxies import UdpProxy

PLACE = "udp://127.0.0.1:0"


def rows_from(first, n_shots):
    return np.arange(first, first + n_shots, dtype=np.uint64).reshape(-1, 1)


def exchange(n_shots, seed, policy, max_held=2048):
    """Stream shots through a proxy that spoils 5 % of the datagrams in each of three ways."""
    delivered: list[ShotBatch] = []
    sink = ShotSink(delivered.append)
    with (
        serve(sink.functions(), PLACE, options=OPTIONS) as server,
        UdpProxy(server.endpoint.port, seed) as proxy,
        connect(proxy.endpoint, options=OPTIONS) as link,
    ):
        sender = ShotSender(3, 64, max_batch=4, max_held=max_held, policy=policy)
        publisher = ShotPublisher(link, sender, timeout_s=10.0)
        first = 0
        while first < n_shots:
            first += sender.offer(rows_from(first, min(64, n_shots - first)))
            publisher.pump(wait_s=0.02 if policy is FullPolicy.BLOCK else 0.0)
        sender.finish()
        publisher.drain(60.0 + n_shots / 500)
        return sender, sink.receivers[3], delivered, proxy, server.counters()


def check_identity(sender, receiver, delivered, n_shots):
    ids = np.concatenate([batch.rows[:, 0] for batch in delivered])
    missing = [np.arange(*gap, dtype=np.uint64) for gap in receiver.missing]
    accounted = np.sort(np.concatenate([ids, *missing]))
    np.testing.assert_array_equal(accounted, np.arange(n_shots, dtype=np.uint64))
    assert np.all(np.diff(ids.astype(np.int64)) > 0)  # in order, each once
    assert receiver.n_delivered + receiver.n_missing == n_shots == sender.n_sent
    assert receiver.is_complete


def check_spoiled(proxy):
    for tally in (proxy.to_server, proxy.to_client):
        # 5 % of each on average; how many datagrams there are depends on the machine's load.
        assert min(tally.n_lost, tally.n_doubled, tally.n_delayed) > 0.01 * tally.n_seen > 1


@pytest.mark.parametrize("seed", [1, 2])
def test_row_16_a_bad_network_loses_no_shot(seed):
    sender, receiver, delivered, proxy, counters = exchange(2000, seed, FullPolicy.BLOCK)
    check_identity(sender, receiver, delivered, 2000)
    check_spoiled(proxy)
    assert receiver.n_missing == 0
    assert counters["duplicates"] > 0


def test_row_16_what_had_to_be_dropped_is_reported():
    sender, receiver, delivered, _, _ = exchange(40_000, 3, FullPolicy.DROP_OLDEST, max_held=128)
    check_identity(sender, receiver, delivered, 40_000)
    assert receiver.n_missing > 0


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_soak_row_16(seed):
    sender, receiver, delivered, proxy, _ = exchange(100_000, seed, FullPolicy.BLOCK)
    check_identity(sender, receiver, delivered, 100_000)
    check_spoiled(proxy)


def test_row_16_calls_are_executed_once_whatever_gets_lost():
    calls = []

    def remember(call: Call) -> Reply:
        calls.append(bytes(call.arguments))
        call.result[:4] = zlib.crc32(call.arguments).to_bytes(4, "little")
        return Reply(Status.OK, 4)

    with (
        serve([Function("remember", remember)], PLACE, options=OPTIONS) as server,
        UdpProxy(server.endpoint.port, 4) as proxy,
        connect(proxy.endpoint, options=OPTIONS) as link,
    ):
        payloads = [i.to_bytes(4, "little") for i in range(150)]
        for payload in payloads:
            answer = link.call("remember", payload, 20.0)
            assert answer.result == zlib.crc32(payload).to_bytes(4, "little")
        assert calls == payloads
        assert server.counters()["duplicates"] > 0
        assert proxy.to_server.n_lost > 0


def test_the_first_peer_is_kept_and_others_are_counted():
    with (
        serve(table(), PLACE, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        assert link.call("rpc_increment", b"a", 5.0).result == b"b"
        with RawClient(server.endpoint) as stranger:
            frame = request_frame(function_id("rpc_increment"), b"a", 1)
            assert stranger.ask(frame, timeout_s=0.2) is None
        assert server.counters()["foreign_peer"] == 1
        assert link.call("rpc_increment", b"c", 5.0).result == b"d"


def test_a_silent_peer_loses_its_place():
    options = TransportOptions(slot_bytes=512, n_slots=16, pin_s=0.05)
    with serve(table(), PLACE, options=options) as server:
        for _ in range(3):
            with connect(server.endpoint, options=options) as link:
                assert link.call("rpc_increment", b"a", 5.0).result == b"b"
        assert server.counters()["connects"] == 3


def test_who_speaks_no_frames_becomes_no_peer():
    with serve(table(), PLACE, options=OPTIONS) as server:
        with RawClient(server.endpoint) as stranger:
            answer = stranger.ask(b"\0" * 40)
            assert answer[:8] == bytes.fromhex("53515543fdffffff")
        with connect(server.endpoint, options=OPTIONS) as link:
            assert link.call("rpc_increment", b"a", 5.0).result == b"b"
        counters = server.counters()
    assert (counters["bad_magic"], counters["foreign_peer"], counters["connects"]) == (1, 0, 1)


def test_longer_datagrams_are_dropped_with_one_warning(caplog):
    with (
        caplog.at_level(logging.WARNING),
        serve(table(), PLACE, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        for n_bytes in (513, 600, 9000, 23, 0):
            stranger.sendto(bytes(n_bytes), ("127.0.0.1", server.endpoint.port))
        assert link.call("rpc_increment", b"a", 5.0).result == b"b"
        counters = server.counters()
    assert (counters["oversized"], counters["truncated"]) == (3, 2)
    warnings = [record for record in caplog.records if "512 bytes" in record.getMessage()]
    assert len(warnings) == 1


def test_datagrams_have_the_full_stride():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5.0)
        with connect(f"udp://127.0.0.1:{server.getsockname()[1]}", options=OPTIONS) as link:
            link.submit("rpc_increment", b"a")
            datagram, _ = server.recvfrom(2000)
    assert len(datagram) == OPTIONS.slot_bytes
    assert datagram[:25] == request_frame(function_id("rpc_increment"), b"a", 0)
