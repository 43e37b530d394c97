"""Row 21: random bytes and damaged frames, sent to servers that go on serving.

Every frame is dropped and counted, or answered once with an error; no handler is called.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest

from cudaq_target.coupler.dispatch import RPC_INCREMENT
from cudaq_target.coupler.frame import HEADER_BYTES, REQUEST_MAGIC, RESPONSE_MAGIC, request_frame
from cudaq_target.coupler.link_errors import LinkBusyError
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shm import Dispatcher as NativeDispatcher
from tests.coupler.ends import OPTIONS, TRANSPORTS, RawClient, endpoint_of

INCREMENT = 0x191B6322
SLOT_BYTES = OPTIONS.slot_bytes
LIMIT_S = 20.0


def damaged(rng, n_frames):
    """Frames of which none may reach a handler: noise, bad magic, bad length, unknown function."""
    noise = rng.integers(0, 256, size=(n_frames, SLOT_BYTES), dtype=np.uint8)
    kinds = rng.integers(0, 4, size=n_frames)
    lengths = rng.integers(HEADER_BYTES, SLOT_BYTES + 1, size=n_frames)
    for number in range(n_frames):
        frame, n_bytes = noise[number], int(lengths[number])
        function, arg_len = INCREMENT, n_bytes - HEADER_BYTES
        if kinds[number] == 1:
            arg_len = 0xFFFF_FFFF - arg_len  # longer than any slot
        if kinds[number] == 2:
            function ^= int(rng.integers(1, 1 << 32))
        if kinds[number] != 0:
            struct.pack_into("<III", frame, 0, REQUEST_MAGIC, function, arg_len)
        if kinds[number] == 3:
            frame[int(rng.integers(4))] ^= rng.integers(1, 256, dtype=np.uint8)
        yield memoryview(frame)[:n_bytes]


def storm(client, frames):
    """Send frames as fast as they are answered; give the statuses of the answers."""
    landing = memoryview(bytearray(SLOT_BYTES))
    statuses, n_sent = [], 0

    def take(timeout_s):
        n_bytes = client.wire.receive_into(landing, timeout_s)
        if n_bytes is not None:
            magic, status = struct.unpack_from("<Ii", landing)
            assert magic == RESPONSE_MAGIC
            statuses.append(status)
        return n_bytes is not None

    for frame in frames:
        n_sent += 1
        while n_sent - len(statuses) > OPTIONS.n_slots // 2:
            assert take(LIMIT_S)
        client.slot[: len(frame)] = frame
        while True:
            try:
                client.wire.send(client.slot, len(frame))
                break
            except LinkBusyError:
                take(0.01)
    while len(statuses) < n_sent:
        assert take(LIMIT_S)
    assert not take(0.0)
    return statuses


def table(kind):
    if kind == "python":
        return [RPC_INCREMENT]
    native = NativeDispatcher(window=8)
    native.add_builtin("rpc_increment")
    return native


@pytest.mark.parametrize("kind", ["python", "native"])
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("n_frames", [2000, pytest.param(125_000, marks=pytest.mark.soak)])
def test_row_21_fuzzed_frames_over_a_transport(tmp_path, transport, kind, n_frames):
    """The long form sends 10^6 frames over the four transports to both dispatchers."""
    rng = np.random.default_rng(21)
    with serve(table(kind), endpoint_of(transport, tmp_path), options=OPTIONS) as server:
        with RawClient(server.endpoint) as client:
            statuses = storm(client, damaged(rng, n_frames))
            assert set(statuses) == {-1, -2, -3}
            good = client.ask(request_frame(INCREMENT, b"abc", 7))
        assert good is not None
        assert good[HEADER_BYTES:] == b"bcd"
        counters = server.counters()
    assert counters["dispatched"] == 1
    assert counters["received"] == counters["answered"] == n_frames + 1
    refused = ("bad_magic", "bad_length", "unknown_function")
    assert sum(counters[name] for name in refused) == n_frames
    assert counters["bad_magic"] == statuses.count(-3)
    assert counters["bad_length"] == statuses.count(-2)
