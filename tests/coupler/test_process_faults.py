"""Faults between processes: killed, restarted, frozen and slow peers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import zlib

import numpy as np
import pytest

from cudaq_target.coupler.link import Missing, connect
from cudaq_target.coupler.link_errors import LinkBusyError, LinkError, LinkLostError
from cudaq_target.coupler.shot_link import ShotPublisher
from cudaq_target.coupler.shot_sender import FullPolicy, ShotSender
from tests.coupler.ends import OPTIONS, TRANSPORTS, ServerProcess, endpoint_of, freeze, rss_bytes

# A loss shows within the heartbeat's timeout, and one look around; tests never assert a time, so
# they wait as long as a slow machine may need.
PATIENCE_S = 20.0


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return request.param


def rows_from(first, n_shots):
    """Shot k says k."""
    return np.arange(first, first + n_shots, dtype=np.uint64).reshape(-1, 1)


def pump_until(publisher, condition):
    """Pump through losses until `condition` holds; gives the errors on the way."""
    errors = []
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        try:
            publisher.pump(wait_s=0.02)
        except LinkError as error:
            errors.append(error)
    return errors


def test_row_17_a_server_that_is_killed_and_restarted(tmp_path, transport):
    n_shots = 3000
    place = endpoint_of(transport, tmp_path)
    with ServerProcess(place, "sink") as server:
        place = server.endpoint  # the second server takes the port of the first
        link = connect(place, options=OPTIONS)
        sender = ShotSender(5, 64, max_batch=1, max_held=n_shots)
        publisher = ShotPublisher(link, sender, timeout_s=0.5)
        sender.offer(rows_from(0, n_shots))
        pump_until(publisher, lambda: sender.n_held < n_shots - 200)
        server.kill()
        n_before = sender.n_held
        errors = pump_until(publisher, lambda: publisher.n_losses > 0)
    acknowledged = sender.n_sent - sender.n_held
    assert errors
    assert 200 < acknowledged < n_shots
    assert n_before - sender.n_held <= OPTIONS.n_slots  # answers that were on their way
    with ServerProcess(place, "sink") as server:
        sender.finish()
        publisher.drain(PATIENCE_S)
        seen = server.ask()
    link.close()
    (stream,) = seen["streams"]
    assert stream["is_complete"]
    assert stream["n_delivered"] + stream["n_missing"] == n_shots == sender.n_sent
    # The old server had those that it acknowledged; the new one got all others, in order.
    assert stream["missing"] == [[0, acknowledged]]
    expected = zlib.crc32(rows_from(acknowledged, n_shots - acknowledged).tobytes())
    assert seen["checksum"] == expected


def test_row_17_every_request_of_a_killed_server_ends_once(tmp_path, transport):
    with (
        ServerProcess(endpoint_of(transport, tmp_path), "plain", delay_s=30.0) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        link.call("rpc_increment", b"a", 5.0)
        sent = [link.submit("slow", timeout_s=PATIENCE_S) for _ in range(8)]
        server.kill()
        outcomes = [link.collect(PATIENCE_S) for _ in sent]
        assert all(isinstance(one, Missing) for one in outcomes)
        assert [one.request_id for one in outcomes] == sent
        assert all(isinstance(one.error, LinkLostError) for one in outcomes)
        assert link.n_in_flight == 0


def client_that_hangs(endpoint, ready):
    with connect(endpoint, options=OPTIONS) as link:
        link.call("rpc_increment", b"a", 5.0)
        for _ in range(OPTIONS.n_slots):
            link.submit("rpc_increment", b"b", 60.0)
        ready.set()
        time.sleep(60.0)


@pytest.mark.parametrize("transport", ["shm", "ipc", "tcp"])
def test_row_18_a_killed_client_leaves_no_trace(tmp_path, transport):
    context = multiprocessing.get_context("spawn")
    with ServerProcess(endpoint_of(transport, tmp_path), "plain") as server:
        ready = context.Event()
        client = context.Process(target=client_that_hangs, args=(server.endpoint, ready))
        client.start()
        assert ready.wait(PATIENCE_S)
        client.kill()
        client.join()
        with connect(server.endpoint, options=OPTIONS) as link:
            for i in range(100):
                assert link.call("rpc_increment", bytes([i]), 5.0).result == bytes([i + 1])


def test_row_19_a_frozen_server_is_noticed_and_comes_back(tmp_path, transport):
    with (
        ServerProcess(endpoint_of(transport, tmp_path), "plain") as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        assert link.call("rpc_increment", b"a", 5.0).result == b"b"
        server.freeze()
        with pytest.raises(LinkError):
            link.call("rpc_increment", b"a", 1.0)
        time.sleep(1.0)
        server.thaw()
        answer = None
        until = time.monotonic() + PATIENCE_S
        while answer is None and time.monotonic() < until:
            try:
                answer = link.call("rpc_increment", b"c", 1.0)
            except LinkError:
                continue
        assert answer is not None
        assert answer.result == b"d"


def client_that_streams(endpoint, n_shots, progress, total):
    with connect(endpoint, options=OPTIONS) as link:
        sender = ShotSender(6, 64, max_batch=4, max_held=4 * n_shots)
        publisher = ShotPublisher(link, sender)
        sender.offer(rows_from(0, n_shots))
        pump_until(publisher, lambda: sender.n_held < n_shots // 2)
        progress.set()
        sender.finish()
        publisher.drain(PATIENCE_S)
        total.value = sender.n_sent


def test_row_19_a_frozen_client_goes_on_where_it_was(tmp_path, transport):
    n_shots = 20_000
    context = multiprocessing.get_context("spawn")
    with ServerProcess(endpoint_of(transport, tmp_path), "sink") as server:
        progress, total = context.Event(), context.Value("q", 0)
        client = context.Process(
            target=client_that_streams, args=(server.endpoint, n_shots, progress, total)
        )
        client.start()
        assert progress.wait(PATIENCE_S)
        freeze(client.pid)
        time.sleep(1.0)  # three times the heartbeat's timeout
        os.kill(client.pid, signal.SIGCONT)
        client.join(PATIENCE_S)
        if client.is_alive():
            client.kill()
            client.join()
        seen = server.ask()
    assert total.value == n_shots
    (stream,) = seen["streams"]
    assert (stream["n_delivered"], stream["n_missing"]) == (n_shots, 0)
    assert seen["checksum"] == zlib.crc32(rows_from(0, n_shots).tobytes())


def slow_stream(place, n_shots):
    """Offer shots much faster than the server consumes them; drop the oldest."""
    with (
        ServerProcess(place, "sink", delay_s=0.01, window=64) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        sender = ShotSender(8, 64, max_batch=8, max_held=256, policy=FullPolicy.DROP_OLDEST)
        publisher = ShotPublisher(link, sender, timeout_s=PATIENCE_S)
        publisher.pump()
        before = (rss_bytes(), rss_bytes(server.process.pid))
        for first in range(0, n_shots, 100):
            sender.offer(rows_from(first, 100))
            publisher.pump()
        sender.finish()
        publisher.drain(PATIENCE_S)
        seen = server.ask()
        after = (rss_bytes(), rss_bytes(server.process.pid))
    return sender, seen, before, after


def check_slow_stream(sender, seen, before, after, n_shots):
    (stream,) = seen["streams"]
    assert stream["n_delivered"] + stream["n_missing"] == sender.n_sent == n_shots
    assert 0 < stream["n_delivered"] < n_shots
    assert stream["n_missing"] <= sender.n_dropped  # some had left before they were dropped
    assert stream["is_complete"]
    for bytes_before, bytes_after in zip(before, after, strict=True):
        assert bytes_after - bytes_before < 32 << 20


def test_row_20_a_slow_consumer_costs_shots_and_no_memory(tmp_path, transport):
    check_slow_stream(*slow_stream(endpoint_of(transport, tmp_path), 200_000), 200_000)


@pytest.mark.soak
def test_soak_row_20_slow_consumer(tmp_path, transport):
    check_slow_stream(*slow_stream(endpoint_of(transport, tmp_path), 20_000_000), 20_000_000)


def test_row_20_a_sender_that_does_not_collect_is_refused(tmp_path, transport):
    with (
        ServerProcess(endpoint_of(transport, tmp_path), "plain", delay_s=0.01) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        before = rss_bytes()
        n_sent = n_refused = 0
        for _ in range(50_000):
            try:
                link.submit("slow", b"x" * 100, PATIENCE_S)
                n_sent += 1
            except LinkBusyError:
                n_refused += 1
        assert n_sent == OPTIONS.n_slots
        assert n_refused == link.counters.busy == 50_000 - n_sent
        assert sum(link.collect(PATIENCE_S) is not None for _ in range(n_sent)) == n_sent
        assert rss_bytes() - before < 16 << 20
