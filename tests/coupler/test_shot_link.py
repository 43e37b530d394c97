"""Sink and publisher without a network: streams that begin, end, and come to the wrong server."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cudaq_target.coupler.dispatch import Dispatcher
from cudaq_target.coupler.errors import RemoteCallError
from cudaq_target.coupler.frame import HEADER_BYTES, Status, function_id, request_frame
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.link_errors import LinkTimeoutError
from cudaq_target.coupler.payload import shot_batch
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.sessions import DuplicateWindow, Session
from cudaq_target.coupler.shot_link import MAX_STREAMS, ShotPublisher, ShotSink
from cudaq_target.coupler.shot_sender import ShotSender
from cudaq_target.coupler.stream import SHOT_BATCH, SHOT_END, SHOT_GAP, Credit, End, Gap
from tests.coupler.ends import OPTIONS, ROOT, TRANSPORTS, endpoint_of, table


class Host:
    """A sink behind a dispatcher."""

    def __init__(self):
        self.shots = []
        self.sink = ShotSink(lambda batch: self.shots.extend(batch.rows[:, 0].tolist()))
        self.dispatcher = Dispatcher(self.sink.functions())
        self.session = Session("client", DuplicateWindow(0, sequenced=False))

    def ask(self, function, payload):
        frame = request_frame(function_id(function), payload)
        answer = self.dispatcher.dispatch(self.session, frame)
        status = int.from_bytes(answer[4:8], "little", signed=True)
        return status, Credit.from_bytes(answer[HEADER_BYTES:])

    def batch(self, stream, first, n_shots):
        rows = np.arange(first, first + n_shots, dtype=np.uint64).reshape(-1, 1)
        return self.ask(SHOT_BATCH, shot_batch(stream, first, 64, rows).to_bytes())


def test_a_stream_from_its_first_shot_to_its_end():
    host = Host()
    status, credit = host.batch(9, 0, 0)
    assert (status, credit.next_shot_id) == (Status.OK, 0)
    assert host.batch(9, 0, 3)[1].next_shot_id == 3
    assert host.ask(SHOT_GAP, Gap(9, 3, 5).to_bytes())[1].next_shot_id == 5
    status, credit = host.ask(SHOT_END, End(9, 5).to_bytes())
    assert (status, credit.is_complete) == (Status.OK, True)
    assert host.shots == [0, 1, 2]
    assert host.sink.receivers[9].n_missing == 2


@pytest.mark.parametrize(
    ("function", "payload", "status"),
    [
        (SHOT_GAP, Gap(1, 0, 2).to_bytes(), Status.NOT_READY),
        (SHOT_END, End(1, 2).to_bytes(), Status.NOT_READY),
        (SHOT_BATCH, bytes(24), Status.BAD_REQUEST),
        (SHOT_BATCH, bytes(23), Status.BAD_REQUEST),
        (SHOT_BATCH, bytes(24) + b"x", Status.BAD_REQUEST),
        (SHOT_GAP, bytes(25), Status.BAD_REQUEST),
    ],
)
def test_messages_of_no_stream_change_nothing(function, payload, status):
    host = Host()
    assert host.ask(function, payload)[0] == status
    assert host.sink.receivers == {}


def test_streams_are_bounded_and_only_those_that_ended_are_forgotten():
    host = Host()
    for stream in range(MAX_STREAMS):
        assert host.batch(stream, 0, 1)[0] == Status.OK
    assert host.batch(MAX_STREAMS, 0, 1)[0] == Status.BUSY
    assert host.ask(SHOT_END, End(3, 1).to_bytes())[0] == Status.OK
    assert host.batch(MAX_STREAMS, 0, 1)[0] == Status.OK
    assert 3 not in host.sink.receivers
    assert len(host.sink.receivers) == MAX_STREAMS


def test_a_server_that_takes_no_shots_is_no_success(tmp_path):
    with (
        serve(table(), endpoint_of("ipc", tmp_path), options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        sender = ShotSender(1, 64)
        sender.offer(np.zeros((1, 1), dtype=np.uint64))
        sender.finish()
        with pytest.raises(RemoteCallError, match="status -1: the server takes no shots"):
            ShotPublisher(link, sender).drain(20.0)
        assert sender.n_held == 1


def test_a_consumer_that_is_slow_or_gone_leaves_shots(tmp_path):
    with (
        serve(ShotSink(lambda _: None).functions(), endpoint_of("ipc", tmp_path)) as server,
        connect(server.endpoint) as link,
    ):
        sender = ShotSender(1, 64)
        sender.offer(np.zeros((1, 1), dtype=np.uint64))
        with pytest.raises(LinkTimeoutError, match="stream 0x1"):
            ShotPublisher(link, sender).drain(0.3)  # nobody said that no shot follows


def test_a_consumer_that_fails_is_reported_and_gets_all_that_follows(tmp_path):
    seen = []

    def consume(batch):
        seen.extend(batch.rows[:, 0].tolist())
        if 3 in seen and len(seen) < 8:
            raise ZeroDivisionError

    with (
        serve(ShotSink(consume).functions(), endpoint_of("ipc", tmp_path)) as server,
        connect(server.endpoint) as link,
    ):
        sender = ShotSender(1, 64, max_batch=4)
        publisher = ShotPublisher(link, sender)
        sender.offer(np.arange(40, dtype=np.uint64).reshape(-1, 1))
        sender.finish()
        with pytest.raises(RemoteCallError, match="the consumer at the other end failed"):
            publisher.drain(20.0)
        publisher.drain(20.0)
    assert seen == list(range(40))


FORGETFUL = """
import sys
from cudaq_target.coupler import RPC_INCREMENT, connect, serve
server = serve([RPC_INCREMENT], sys.argv[1])
link = connect(server.endpoint)
assert link.call("rpc_increment", b"a", 5.0).result == b"b"
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_program_that_closes_nothing_ends(tmp_path, transport):
    place = endpoint_of(transport, tmp_path)
    subprocess.run([sys.executable, "-c", FORGETFUL, place], check=True, cwd=ROOT, timeout=30)
