"""One suite over every transport: golden frames, calls, decoding, streams, machines."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest

from cudaq_target.coupler.control_client import ControlClient
from cudaq_target.coupler.decode_server import (
    DecodeServer,
    enqueue_arguments,
    get_corrections_arguments,
)
from cudaq_target.coupler.errors import FrameTooLongError
from cudaq_target.coupler.frame import HEADER_BYTES, Status, function_id, request_frame
from cudaq_target.coupler.link import Answer, connect
from cudaq_target.coupler.machine import ThreadedRun
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shot_link import ShotPublisher
from cudaq_target.coupler.shot_sender import ShotSender
from tests.coupler.ends import (
    OPTIONS,
    TRANSPORTS,
    Parity,
    RawClient,
    ServerProcess,
    decode_functions,
    endpoint_of,
    table,
)
from tests.coupler.golden import ENQUEUE, GET_CORRECTIONS, RESET
from tests.coupler.published_shots import published_decoder, published_shots

INCREMENT = function_id("rpc_increment")
N_QUBITS = 70


@pytest.fixture(params=TRANSPORTS)
def place(request, tmp_path):
    return endpoint_of(request.param, tmp_path)


def test_golden_frames(place):
    decoder = DecodeServer([Parity(9)])
    with (
        serve(decoder.functions(), place, options=OPTIONS) as server,
        RawClient(server.endpoint) as client,
    ):
        acknowledged = client.ask(ENQUEUE)
        assert acknowledged.hex() == "535155430000000000000000070000008877665544332211"
        corrections = client.ask(GET_CORRECTIONS)
        assert corrections.hex() == "535155430000000001000000080000000000000000000000" + "00"
        done = client.ask(RESET)
        assert done.hex() == "535155430000000000000000090000000000000000000000"


def bad_frames():
    whole = request_frame(INCREMENT, b"12345678", 7, 9)
    swapped = struct.pack(">IIIIQ", 0x43555152, INCREMENT, 0, 7, 9)
    yield "wrong magic", b"\0\0\0\0" + whole[4:], Status.BAD_FRAME
    yield "swapped bytes", swapped, Status.BAD_FRAME
    yield "unknown function", request_frame(0xDEADBEEF, b"", 7, 9), Status.UNKNOWN_FUNCTION
    for n_bytes in (OPTIONS.slot_bytes - HEADER_BYTES + 1, 0xFFFFFFFF):
        lying = bytearray(whole)
        struct.pack_into("<I", lying, 8, n_bytes)
        yield f"arg_len {n_bytes}", bytes(lying), Status.BAD_LENGTH


def test_rows_2_3_4_bad_frames_are_answered_and_the_next_one_served(place):
    with (
        serve(table(), place, options=OPTIONS) as server,
        RawClient(server.endpoint) as client,
    ):
        for number, (name, frame, status) in enumerate(bad_frames()):
            answer = client.ask(frame)
            assert answer is not None, name
            assert struct.unpack_from("<Ii", answer) == (0x43555153, status), name
            good = client.ask(request_frame(INCREMENT, b"\x01\xff", number, 5))
            assert good == struct.pack("<IiIIQ", 0x43555153, 0, 2, number, 5) + b"\x02\x00", name
        counters = server.counters()
    assert (counters["bad_magic"], counters["unknown_function"], counters["bad_length"]) == (
        2,
        1,
        2,
    )
    assert counters["dispatched"] == 5


def test_increment(place):
    with (
        serve(table(), place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        for n_bytes in (0, 1, 7, 64, OPTIONS.slot_bytes - HEADER_BYTES):
            payload = bytes(i % 256 for i in range(n_bytes))
            answer = link.call("rpc_increment", payload, 5.0, timestamp_ns=n_bytes)
            assert answer.status == Status.OK
            assert answer.result == bytes((byte + 1) % 256 for byte in payload)
            assert answer.timestamp_ns == n_bytes
        with pytest.raises(FrameTooLongError):
            link.call("rpc_increment", bytes(OPTIONS.slot_bytes - HEADER_BYTES + 1))
        assert link.call(INCREMENT, np.array([1.0])).result != b""
        assert link.call("no such function").status == Status.UNKNOWN_FUNCTION
        assert link.call("fail", timeout_s=5.0).status == Status.INTERNAL_ERROR
        assert link.call("busy", timeout_s=5.0).status == Status.BUSY
        assert server.counters()["handler_failures"] == 1


def test_many_requests_in_flight_come_back_each_once(place):
    n_calls = 500
    with (
        serve(table(), place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        expected, got = {}, {}
        while len(got) < n_calls:
            while len(expected) < n_calls and link.n_free > 0:
                payload = len(expected).to_bytes(4, "little")
                request_id = link.submit("rpc_increment", payload, 10.0)
                expected[request_id] = bytes((byte + 1) % 256 for byte in payload)
            outcome = link.collect(10.0)
            assert isinstance(outcome, Answer)
            assert outcome.request_id not in got
            got[outcome.request_id] = outcome.result
        assert got == expected
        assert link.n_in_flight == 0
        assert link.collect() is None


def test_smoke_test_of_the_decode_server(place):
    with (
        serve(decode_functions(), place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        bits = np.array([0, 1, 0], dtype=np.uint8)
        assert link.call("enqueue_syndromes", enqueue_arguments(0, 1, bits), 5.0).status == 0
        answer = link.call("get_corrections", get_corrections_arguments(0, 3, reset=True), 5.0)
        assert answer.result == bytes([0b010])
        again = link.call("get_corrections", get_corrections_arguments(0, 3, reset=True), 5.0)
        assert again.status == Status.NOT_READY


def test_published_shots(place):
    decoder, (shots, expected) = published_decoder(), published_shots()
    with (
        serve(DecodeServer([decoder]).functions(), place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        corrections = []
        for shot, bits in enumerate(shots):
            for number, measured in enumerate(bits.reshape(6, 24)):
                arguments = enqueue_arguments(0, (shot << 16 | number) + 1, measured)
                assert link.call("enqueue_syndromes", arguments, 5.0).status == Status.OK
            arguments = get_corrections_arguments(0, 1, reset=True)
            corrections.append(link.call("get_corrections", arguments, 5.0).result[0])
    assert len(corrections) == 100
    np.testing.assert_array_equal(corrections, expected)


def random_rows(rng, n_shots):
    words = rng.integers(0, 2**63, size=(n_shots, 2), dtype=np.uint64)
    words[:, 1] &= np.uint64((1 << (N_QUBITS - 64)) - 1)
    return words


def exchange(place, n_shots):
    """Stream shots to another process; give what both ends have seen."""
    rng = np.random.default_rng(7)
    checksum = 0
    with (
        ServerProcess(place, "sink") as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        sender = ShotSender(1, N_QUBITS, max_batch=1)
        publisher = ShotPublisher(link, sender)
        for first in range(0, n_shots, 1000):
            rows = random_rows(rng, min(1000, n_shots - first))
            checksum = zlib.crc32(rows.tobytes(), checksum)
            while len(rows):
                rows = rows[sender.offer(rows) :]
                publisher.pump(wait_s=0.05)
        sender.finish()
        publisher.drain(60.0)
        seen = server.ask()
    return sender, checksum, seen


def check_exchange(sender, checksum, seen, n_shots):
    (stream,) = seen["streams"]
    assert sender.n_sent == n_shots
    assert stream["n_delivered"] + stream["n_missing"] == n_shots
    assert stream["n_missing"] == 0
    assert stream["is_complete"]
    assert seen["checksum"] == checksum


def test_stream_of_shots_between_two_processes(place):
    check_exchange(*exchange(place, 10_000), 10_000)


@pytest.mark.soak
def test_soak_stream_of_ten_million_shot_frames(place):
    check_exchange(*exchange(place, 10_000_000), 10_000_000)


class CountingMachine:
    """Shot k says k."""

    def specs(self):
        return '{"name": "counting machine"}'

    def load(self, program):
        return int(program)

    def start(self, program, parameters, n_shots):
        scale = int(program * parameters[0])
        ids = np.arange(n_shots, dtype=np.uint64) * np.uint64(scale)
        return ThreadedRun(64, iter(ids.reshape(-1, 10, 1)))


def test_machine_behind_a_server(place):
    with (
        serve(CountingMachine(), place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        client = ControlClient(link.caller(5.0), slot_bytes=OPTIONS.slot_bytes)
        assert json.loads(client.specs())["name"] == "counting machine"
        run = client.run(client.load_program("3"), 1000, [2.0])
        rows = np.concatenate([batch.rows for batch in run.batches()])
        np.testing.assert_array_equal(rows[:, 0], 6 * np.arange(1000))
        assert run.receiver.n_missing == 0
