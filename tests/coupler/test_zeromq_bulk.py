"""Shots in bulk over PUSH and PULL: every shot once or reported missing, whatever breaks."""

from __future__ import annotations

import subprocess
import sys
import time
import zlib
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import zmq

from cudaq_target.coupler.dispatch import RPC_INCREMENT
from cudaq_target.coupler.endpoint import parse_endpoint
from cudaq_target.coupler.errors import RemoteCallError
from cudaq_target.coupler.frame import function_id, request_frame
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.link_errors import EndpointError, LinkError, LinkTimeoutError
from cudaq_target.coupler.payload import shot_batch
from cudaq_target.coupler.security import client_security, make_keys, server_security
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shot_bulk import BulkPublisher, BulkSink
from cudaq_target.coupler.shot_sender import ShotSender
from cudaq_target.coupler.stream import SHOT_BATCH, SHOT_END, SHOT_GAP, End, Gap
from cudaq_target.coupler.transports.zmq_bulk import BulkPort
from tests.coupler.ends import OPTIONS, ROOT, ServerProcess, endpoint_of

LOOPS = ("native", "python")
N_QUBITS = 70


@pytest.fixture(params=["ipc", "tcp"])
def place(request, tmp_path):
    return endpoint_of(request.param, tmp_path)


def rows_of(rng, n_shots):
    words = rng.integers(0, 2**63, size=(n_shots, 2), dtype=np.uint64)
    words[:, 1] &= np.uint64((1 << (N_QUBITS - 64)) - 1)
    return words


def send_all(publisher, sender, n_shots, timeout_s=60.0):
    """Offer, pump and drain; the checksum of what was offered."""
    rng, checksum = np.random.default_rng(11), 0
    until = time.monotonic() + timeout_s
    for first in range(0, n_shots, 1000):
        rows = rows_of(rng, min(1000, n_shots - first))
        checksum = zlib.crc32(rows.tobytes(), checksum)
        while len(rows):
            assert time.monotonic() < until
            rows = rows[sender.offer(rows) :]
            if sender.n_free < 1000:
                try:
                    publisher.pump(wait_s=0.05)
                except LinkError:
                    time.sleep(0.01)
    sender.finish()
    publisher.drain(timeout_s)
    return checksum


def exchange(place, n_shots, loop, max_batch, timeout_s=60.0):
    with (
        ServerProcess(place, "bulk", window=65_536) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        sender = ShotSender(1, N_QUBITS, max_batch=max_batch, max_held=1 << 17)
        publisher = BulkPublisher(link, sender, options=replace(OPTIONS, zeromq=loop))
        checksum = send_all(publisher, sender, n_shots, timeout_s)
        sent = publisher.counters()
        publisher.close()
        seen = server.ask()
    (stream,) = seen["streams"]
    assert (stream["n_delivered"], stream["n_missing"]) == (n_shots, 0)
    assert stream["is_complete"]
    assert seen["checksum"] == checksum
    assert seen["bulk"]["bad_frames"] == seen["bulk"]["refused"] == 0
    return sent, seen["bulk"]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("max_batch", [1, 7])
def test_shots_between_two_processes(place, loop, max_batch):
    sent, got = exchange(place, 20_000, loop, max_batch)
    assert sent["frames"] >= 20_000 // max_batch
    assert got["frames"] <= sent["frames"]


@pytest.mark.soak
def test_soak_ten_million_shot_frames(place):
    exchange(place, 10_000_000, "native", 1, timeout_s=600.0)


class Ends:
    """A sink behind a server in this process, and a link to it."""

    def __init__(self, stack, place, loop="native", options=OPTIONS, consume=None, **settings):
        self.shots = []
        self.options = replace(options, zeromq=loop)
        bulk = place if "tcp" in place else f"{place}.bulk"
        self.sink = stack.enter_context(
            BulkSink(consume or self.shots.append, bulk, options=self.options, **settings)
        )
        functions = [RPC_INCREMENT, *self.sink.functions()]
        self.server = stack.enter_context(serve(functions, place, options=OPTIONS))
        self.link = stack.enter_context(connect(self.server.endpoint, options=OPTIONS))

    def publisher(self, sender, **settings):
        return BulkPublisher(self.link, sender, options=self.options, **settings)


@pytest.mark.parametrize("loop", LOOPS)
def test_long_frames_stay_valid_after_later_ones(tmp_path, loop):
    """Frames above 256 KiB are not copied on receipt."""
    options = replace(OPTIONS, slot_bytes=1 << 20)
    max_batch = 40_000
    rng = np.random.default_rng(3)
    wanted = rows_of(rng, 5 * max_batch)
    with ExitStack() as stack:
        ends = Ends(stack, endpoint_of("ipc", tmp_path), loop, options, window=1 << 18)
        sender = ShotSender(9, N_QUBITS, max_batch=max_batch, max_held=len(wanted))
        assert sender.offer(wanted) == len(wanted)
        sender.finish()
        publisher = ends.publisher(sender)
        publisher.drain(30.0)
        publisher.close()
        got = ends.shots
    assert max(batch.n_shots for batch in got) <= max_batch
    np.testing.assert_array_equal(np.concatenate([batch.rows for batch in got]), wanted)


@pytest.mark.parametrize("loop", LOOPS)
def test_garbage_is_dropped_and_counted_and_skipped_numbers_too(tmp_path, loop):
    place = parse_endpoint(endpoint_of("ipc", tmp_path))
    batch = shot_batch(5, 0, N_QUBITS, rows_of(np.random.default_rng(1), 3)).to_bytes()
    spare = bytearray(batch)
    spare[24 + 15] = 0x80  # a bit beyond qubit 69
    good = function_id(SHOT_BATCH)
    garbage = [
        [b""],
        [b"short"],
        [b"\0" * 48],
        [request_frame(good, batch[:-1])],
        [request_frame(good, batch)[:-1]],
        [request_frame(good, bytes(spare))],
        [request_frame(good, b"x" * 24)],
        [request_frame(good, batch), b"more"],
        [request_frame(function_id(SHOT_END), b"")],
    ]
    port = BulkPort(place, replace(OPTIONS, zeromq=loop), None)
    try:
        with zmq.Context() as context, context.socket(zmq.PUSH) as push:
            push.setsockopt(zmq.LINGER, 0)
            push.connect(str(place))
            for parts in garbage:
                push.send_multipart(parts)
            end = End(5, 3).to_bytes()
            push.send(request_frame(good, batch, 0))
            push.send(request_frame(function_id(SHOT_END), end, 4))
            got = []
            until = time.monotonic() + 10.0
            while len(got) < 2 and time.monotonic() < until:
                received = port.end.receive(0.1)
                got += [] if received is None else [received]
        counted = port.end.counters()
    finally:
        port.close()
    assert got[0][:3] == (5, 0, N_QUBITS)
    assert got[0][3].tobytes() == batch[24:]
    assert got[1] == (function_id(SHOT_END), end)
    assert (counted["bad_frames"], counted["lost_frames"]) == (len(garbage), 3)


def test_consecutive_frames_are_joined_and_others_are_not(tmp_path):
    place = parse_endpoint(endpoint_of("ipc", tmp_path))
    rows = rows_of(np.random.default_rng(2), 10)
    port = BulkPort(place, OPTIONS, None)
    try:
        with zmq.Context() as context, context.socket(zmq.PUSH) as push:
            push.setsockopt(zmq.LINGER, 0)
            push.connect(str(place))
            for number, (session, first) in enumerate([(1, 0), (1, 2), (1, 5), (2, 7), (2, 9)]):
                payload = shot_batch(session, first, N_QUBITS, rows[first : first + 2]).to_bytes()
                push.send(request_frame(function_id(SHOT_BATCH), payload, number))
            runs = []
            until = time.monotonic() + 10.0
            while sum(len(run[3]) for run in runs) < 9 and time.monotonic() < until:
                run = port.end.receive(0.1)
                runs += [] if run is None else [run]
    finally:
        port.close()
    shots = {(run[0], run[1] + i): row for run in runs for i, row in enumerate(run[3])}
    wanted = [(1, 0), (1, 1), (1, 2), (1, 3), (1, 5), (1, 6), (2, 7), (2, 8), (2, 9)]
    assert sorted(shots) == wanted
    assert all((shots[key] == rows[key[1]]).all() for key in wanted)


def test_a_receiver_that_is_killed_and_comes_back(tmp_path):
    """Row 17: what the dead sink acknowledged is missing to the next, all else comes again."""
    place = endpoint_of("ipc", tmp_path)
    n_shots = 60_000
    rows = rows_of(np.random.default_rng(4), n_shots)
    sender = ShotSender(1, N_QUBITS, max_batch=1, max_held=4096)
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(place, "bulk"))
        link = stack.enter_context(connect(server.endpoint, options=OPTIONS))
        publisher = BulkPublisher(link, sender, options=OPTIONS)
        n_offered, is_killed = 0, False
        until = time.monotonic() + 60.0
        while n_offered < n_shots:
            assert time.monotonic() < until
            n_offered += sender.offer(rows[n_offered : n_offered + 512])
            if n_offered > n_shots // 2 and not is_killed:
                is_killed = True
                server.kill()
                server = stack.enter_context(ServerProcess(place, "bulk"))
            try:
                publisher.pump(wait_s=0.02)
            except LinkError:
                time.sleep(0.01)
        sender.finish()
        publisher.drain(60.0)
        publisher.close()
        (stream,) = server.ask()["streams"]
    assert publisher.n_losses >= 1
    assert sender.n_sent == n_shots == stream["n_delivered"] + stream["n_missing"]
    (first, end), *others = stream["missing"]
    assert (first, others) == (0, [])
    assert n_shots // 2 - 4096 - 512 <= end <= n_shots // 2 + 512


def test_a_slow_consumer_stalls_its_sender_and_loses_nothing(tmp_path):
    """Row 20: bounded memory, stalls counted, every shot delivered in the end."""
    place = endpoint_of("ipc", tmp_path)
    with (
        ServerProcess(place, "bulk", delay_s=0.02, window=512) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        sender = ShotSender(1, N_QUBITS, max_batch=1, max_held=2048)
        publisher = BulkPublisher(link, sender, options=OPTIONS, timeout_s=5.0)
        before = server.ask()["rss_bytes"]
        checksum = send_all(publisher, sender, 10_000)
        publisher.close()
        seen = server.ask()
    (stream,) = seen["streams"]
    assert (stream["n_delivered"], stream["n_missing"]) == (10_000, 0)
    assert seen["checksum"] == checksum
    assert sender.n_stalls > 0
    assert seen["rss_bytes"] - before < 64 << 20


def test_a_full_queue_is_counted(tmp_path):
    with ExitStack() as stack:
        ends = Ends(
            stack,
            endpoint_of("tcp", tmp_path),
            consume=lambda _: time.sleep(0.3),
            options=replace(OPTIONS, slot_bytes=65_536, heartbeat_timeout_ms=60_000),
            window=1 << 18,
        )
        sender = ShotSender(1, 64, max_batch=8000, max_held=1 << 18, retry_ns=10**12)
        publisher = ends.publisher(sender, timeout_s=5.0)
        until = time.monotonic() + 30.0
        rows = np.zeros((1000, 1), dtype=np.uint64)
        sender.max_batch = 1  # many frames: their number fills the queue
        while publisher.counters().get("backpressure_stalls", 0) == 0:
            assert time.monotonic() < until
            sender.offer(rows)
            publisher.pump()
        sender.finish()
        publisher.drain(60.0)
        publisher.close()
        (receiver,) = ends.sink.receivers.values()
    assert (receiver.n_delivered, receiver.n_missing) == (sender.n_sent, 0)


KILLED_SENDER = """
import sys, time
import numpy as np
from cudaq_target.coupler import BulkPublisher, ShotSender, TransportOptions, connect
options = TransportOptions(slot_bytes=512, n_slots=16)
sender = ShotSender(77, 64, max_batch=1)
publisher = BulkPublisher(connect(sys.argv[1], options=options), sender, options=options)
while True:
    sender.offer(np.zeros((64, 1), dtype=np.uint64))
    publisher.pump(0.01)
    print(sender.n_sent, flush=True)
"""


def test_a_sender_that_is_killed_and_one_that_follows(tmp_path):
    with ExitStack() as stack:
        ends = Ends(stack, endpoint_of("ipc", tmp_path))
        command = [sys.executable, "-c", KILLED_SENDER, str(ends.server.endpoint)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            n_sent = 0
            while n_sent < 5_000:
                n_sent = int(process.stdout.readline())
            process.kill()
        sender = ShotSender(78, N_QUBITS, max_batch=1)
        publisher = ends.publisher(sender)
        send_all(publisher, sender, 3_000)
        publisher.close()
        dead, alive = ends.sink.receivers[77], ends.sink.receivers[78]
        assert (alive.n_delivered, alive.n_missing, alive.is_complete) == (3_000, 0, True)
        assert not dead.is_complete
        dead.abandon(n_sent)
        n_total = max(n_sent, dead.next_shot_id)
        assert dead.is_complete
        assert dead.n_delivered + dead.n_missing == n_total


def test_a_consumer_that_fails_is_reported_and_misses_nothing_else(tmp_path):
    seen = []

    def consume(batch):
        seen.append(batch)
        if len(seen) == 1:
            raise ValueError("on purpose")

    with ExitStack() as stack:
        ends = Ends(stack, endpoint_of("ipc", tmp_path), consume=consume)
        sender = ShotSender(1, 64, max_batch=4)
        publisher = ends.publisher(sender)
        sender.offer(np.zeros((100, 1), dtype=np.uint64))
        sender.finish()
        with pytest.raises(RemoteCallError, match="consumer"):
            publisher.drain(20.0)
        publisher.drain(20.0)
        publisher.close()
        assert sum(batch.n_shots for batch in seen) == 100
        assert ends.sink.counters()["consumer_failures"] == 1


def test_a_server_without_bulk_says_so(tmp_path):
    with (
        serve([RPC_INCREMENT], endpoint_of("ipc", tmp_path), options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
        pytest.raises(RemoteCallError, match="BulkSink"),
    ):
        BulkPublisher(link, ShotSender(1, 64, max_batch=1), options=OPTIONS).pump()


def test_gaps_and_unknown_streams(tmp_path):
    with ExitStack() as stack:
        ends = Ends(stack, endpoint_of("ipc", tmp_path))
        with zmq.Context() as context, context.socket(zmq.PUSH) as push:
            push.setsockopt(zmq.LINGER, 0)
            push.connect(str(ends.sink.endpoint))
            for payload, kind in [
                (Gap(4, 0, 2).to_bytes(), SHOT_GAP),  # of a stream that has not begun
                (shot_batch(3, 2, 64, np.ones((1, 1), dtype=np.uint64)).to_bytes(), SHOT_BATCH),
                (Gap(3, 0, 2).to_bytes(), SHOT_GAP),
                (End(3, 3).to_bytes(), SHOT_END),
            ]:
                push.send(request_frame(function_id(kind), payload))
            until = time.monotonic() + 10.0
            while not any(one.is_complete for one in ends.sink.receivers.values()):
                assert time.monotonic() < until
                time.sleep(0.01)
        receiver = ends.sink.receivers[3]
        assert (receiver.n_delivered, receiver.missing) == (1, [(0, 2)])
        assert ends.sink.counters()["refused"] == 1


def test_keys_guard_the_bulk_too(tmp_path):
    folder = tmp_path / "keys"
    keys = {name: make_keys(folder, name) for name in ("server", "friend", "stranger")}
    security = server_security(keys["server"][1], [keys["friend"][0]])
    place = endpoint_of("tcp", tmp_path)
    with ExitStack() as stack:
        ends = Ends(stack, place, security=security)
        friend = client_security(keys["friend"][1], keys["server"][0])
        stranger = client_security(keys["stranger"][1], keys["server"][0])
        for who in (stranger, None):
            sender = ShotSender(2, 64, max_batch=1)
            with pytest.raises(LinkTimeoutError):
                ends.publisher(sender, security=who, timeout_s=0.3).pump()
        sender = ShotSender(1, N_QUBITS, max_batch=1)
        publisher = ends.publisher(sender, security=friend, timeout_s=5.0)
        send_all(publisher, sender, 100)
        publisher.close()
        assert list(ends.sink.receivers) == [1]


def test_what_cannot_be_bulk():
    with pytest.raises(EndpointError, match="no bulk"):
        BulkSink(print, "udp://127.0.0.1:0")
    with pytest.raises(ValueError, match="do not fit"):
        BulkPublisher(None, ShotSender(1, 64, max_batch=256), options=OPTIONS)
