"""The native dispatcher: exactly one right answer to every frame, over the ring and on its own."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
import threading
import time
from itertools import count

import numpy as np
import pytest

from cudaq_target.coupler.errors import (
    CallTimeoutError,
    FrameTooLongError,
    HandlerStuckError,
    PeerGoneError,
)
from cudaq_target.coupler.frame import (
    REQUEST_MAGIC,
    Status,
    function_id,
    request_frame,
    response_frame,
)
from cudaq_target.coupler.ring import slots_of, stamp_of_request
from cudaq_target.coupler.shm import Client, Dispatcher, SlotRing

INCREMENT = function_id("rpc_increment")
ECHO = function_id("echo")
STRIDE = 256
_numbers = count()


def handle(dispatcher: Dispatcher, frame: bytes, *, exact: bool = True, session=None) -> bytes:
    session = dispatcher.session(STRIDE) if session is None else session
    response = bytearray(STRIDE)
    return bytes(response[: dispatcher.handle(session, frame, response, exact=exact)])


@pytest.fixture
def dispatcher() -> Dispatcher:
    made = Dispatcher()
    made.add_builtin("rpc_increment")
    made.add_builtin("echo")
    return made


@pytest.fixture
def ring() -> SlotRing:
    return SlotRing.create(f"test-{os.getpid()}-dispatch-{next(_numbers)}", 4, STRIDE)


def test_an_answer_echoes_id_and_stamp(dispatcher: Dispatcher) -> None:
    frame = request_frame(INCREMENT, b"\x00\xff", 7, 0x1122334455667788)
    assert handle(dispatcher, frame) == response_frame(0, b"\x01\x00", 7, 0x1122334455667788)


@pytest.mark.parametrize("n_bytes", range(24))
def test_truncated_frames_are_dropped_and_counted(dispatcher: Dispatcher, n_bytes: int) -> None:
    assert handle(dispatcher, request_frame(ECHO)[:n_bytes]) == b""
    assert dispatcher.counters()["truncated"] == 1


def header(magic=REQUEST_MAGIC, function=ECHO, arg_len=0) -> bytes:
    return struct.pack("<IIIIQ", magic, function, arg_len, 9, 8)


@pytest.mark.parametrize(
    ("frame", "exact", "status", "counter"),
    [
        (header(magic=0), True, Status.BAD_FRAME, "bad_magic"),
        (header()[3::-1] + header()[4:], True, Status.BAD_FRAME, "bad_magic"),
        (header(magic=0x43555153), True, Status.BAD_FRAME, "bad_magic"),
        (header(arg_len=1), True, Status.BAD_LENGTH, "bad_length"),
        (header(arg_len=1), False, Status.BAD_LENGTH, "bad_length"),
        (header(arg_len=0xFFFF_FFFF) + b"x", False, Status.BAD_LENGTH, "bad_length"),
        (header() + b"x", True, Status.BAD_LENGTH, "bad_length"),
        (header(function=1), True, Status.UNKNOWN_FUNCTION, "unknown_function"),
        (header(function=0), True, Status.UNKNOWN_FUNCTION, "unknown_function"),
        (header() + b"x", False, Status.OK, "dispatched"),
    ],
)
def test_bad_frames_are_answered_and_counted(dispatcher, frame, exact, status, counter) -> None:
    assert handle(dispatcher, frame, exact=exact) == response_frame(status, b"", 9, 8)
    counters = dispatcher.counters()
    assert counters["received"] == counters["answered"] == counters[counter] == 1
    assert counters["dispatched"] == (status == Status.OK)


def test_results_beyond_the_response_are_refused(dispatcher: Dispatcher) -> None:
    response = bytearray(24 + 3)
    session = dispatcher.session(64)
    n_bytes = dispatcher.handle(session, request_frame(ECHO, b"four", 1), response)
    assert response[:n_bytes] == response_frame(Status.BAD_REQUEST, b"", 1)
    with pytest.raises(ValueError, match="24 bytes"):
        dispatcher.handle(session, request_frame(ECHO), bytearray(23))


def test_a_table_grows_and_refuses_what_it_has(dispatcher: Dispatcher) -> None:
    with pytest.raises(ValueError, match="'echo' is registered"):
        dispatcher.add_builtin("echo")
    with pytest.raises(ValueError, match="built-in functions are"):
        dispatcher.add_builtin("nothing")
    with pytest.raises(ValueError, match="address is 0"):
        dispatcher.add_address("f", 0)
    table = np.arange(4, dtype=np.uint8).reshape(4, 1)
    for i in range(100):
        dispatcher.add_look_up(f"table {i}", np.roll(table, i), 2)
    for i in range(100):
        answer = handle(dispatcher, request_frame(function_id(f"table {i}"), b"\x03"))
        assert answer == response_frame(0, bytes([(3 - i) % 4]))


@pytest.mark.parametrize("n_frames", [100_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_fuzzed_frames_never_reach_a_handler(dispatcher: Dispatcher, n_frames: int) -> None:
    """Random bytes, and good frames with random damage; each is dropped or answered once."""
    rng = np.random.default_rng(20)
    good = np.frombuffer(request_frame(ECHO, bytes(40), 5), dtype=np.uint8)
    noise = rng.integers(0, 256, size=(1000, 64), dtype=np.uint8)
    session, response = dispatcher.session(STRIDE), bytearray(STRIDE)
    n_answered = 0
    for i in range(n_frames):
        frame = noise[i % 1000].copy()
        frame[i % 61] ^= i // 1000 % 251
        if i % 2:
            frame[12:] = good[12:]  # damage in magic, function or length alone
            frame[i % 3 * 4 : i % 3 * 4 + 4] = good[i % 3 * 4 : i % 3 * 4 + 4]
        n_bytes = dispatcher.handle(session, frame[: i % 65].data, response, exact=i % 4 < 2)
        assert n_bytes in {0, 24}
        n_answered += n_bytes == 24
        if n_bytes:
            assert struct.unpack_from("<i", response, 4)[0] < 0
    counters = dispatcher.counters()
    assert counters["dispatched"] == 0
    assert counters["received"] == n_frames
    assert counters["answered"] == n_answered
    assert n_frames - n_answered == counters["truncated"]


def test_fuzzed_slots_never_stop_the_ring(dispatcher: Dispatcher, ring: SlotRing) -> None:
    rng = np.random.default_rng(21)
    dispatcher.start(ring)
    client = Client(ring)
    for i in range(3000):
        frame = rng.integers(0, 256, size=STRIDE, dtype=np.uint8)
        if i % 2:
            frame[:8] = np.frombuffer(request_frame(ECHO)[:8], dtype=np.uint8)
            frame[8:12] = 255
        assert client.send_raw(frame.data, timeout_ns=10**10)
        answer = client.receive(10**10)
        assert answer is not None
        assert answer[1] < 0
    assert client.call(ECHO, b"still here", 10**10) == (0, b"still here")
    client.close()
    dispatcher.stop()
    assert dispatcher.counters()["dispatched"] == 1


def counting(window: int) -> Dispatcher:
    made = Dispatcher(window=window)
    made.add_builtin("rpc_increment")
    made.add_builtin("echo")
    return made


def test_a_repeated_request_is_executed_once() -> None:
    dispatcher = counting(window=4)
    session = dispatcher.session(STRIDE)
    first = handle(dispatcher, request_frame(INCREMENT, b"a", 1, 5), session=session)
    for i in range(2, 5):
        handle(dispatcher, request_frame(INCREMENT, bytes([i]), i), session=session)
    again = handle(dispatcher, request_frame(INCREMENT, b"a", 1, 6), session=session)
    assert (first, again) == (response_frame(0, b"b", 1, 5), response_frame(0, b"b", 1, 6))
    counters = dispatcher.counters()
    assert (counters["dispatched"], counters["duplicates"], counters["answered"]) == (4, 1, 5)
    # Another function or other arguments: a new request, though the id is known.
    for frame in (request_frame(ECHO, b"a", 1), request_frame(INCREMENT, b"z", 1)):
        handle(dispatcher, frame, session=session)
    assert dispatcher.counters()["reused_ids"] == 2
    # Out of the window by now, or of another session: executed.
    for _ in range(3):
        handle(dispatcher, request_frame(ECHO, b"", 77), session=dispatcher.session(STRIDE))
    assert dispatcher.counters()["duplicates"] == 1
    session.reset()
    handle(dispatcher, request_frame(INCREMENT, b"z", 1), session=session)
    assert dispatcher.counters()["duplicates"] == 1


def test_the_window_forgets_the_oldest() -> None:
    dispatcher = counting(window=2)
    session = dispatcher.session(STRIDE)
    for number in (1, 2, 3, 1, 1):
        handle(dispatcher, request_frame(ECHO, b"x", number), session=session)
    counters = dispatcher.counters()
    assert (counters["dispatched"], counters["duplicates"]) == (4, 1)


def test_a_new_client_does_not_meet_the_answers_of_the_last(ring: SlotRing) -> None:
    dispatcher = counting(window=8)
    dispatcher.start(ring)
    frame = request_frame(ECHO, b"same", 1)
    for _ in range(3):
        client = Client(ring)
        client.send_raw(frame, timeout_ns=10**10)
        while client.receive(10**10) is None:
            pass
        client.close()
    dispatcher.stop()
    assert dispatcher.counters()["duplicates"] == 0


@pytest.mark.parametrize("drain", [True, False])
def test_shutdown_answers_what_waits(dispatcher: Dispatcher, ring: SlotRing, drain: bool) -> None:
    client = Client(ring)
    for i in range(4):
        assert client.send(INCREMENT, bytes([i])) == i
    with pytest.raises(PeerGoneError):
        client.send(INCREMENT, b"")  # the ring is full, and nobody serves it
    dispatcher.start(ring)
    dispatcher.stop(drain=drain)
    assert not dispatcher.is_running
    answers = [client.receive() for _ in range(4)]
    for i, answer in enumerate(answers):
        done, cancelled = (i, 0, bytes([i + 1])), (i, Status.CANCELLED, b"")
        assert answer == done or (answer == cancelled and not drain)
    counters = dispatcher.counters()
    assert counters["received"] == counters["answered"] == 4
    assert counters["dispatched"] + counters["cancelled"] == 4
    assert client.receive() is None
    client.close()


def test_a_full_ring_overwrites_nothing(dispatcher: Dispatcher, ring: SlotRing) -> None:
    ring.claim("consumer")
    client = Client(ring)
    sent = [bytes([i]) * 200 for i in range(4)]
    for frame in sent:
        assert client.send(ECHO, frame) is not None
    before = ring.memory.copy()
    assert client.send(ECHO, b"more", timeout_ns=10**6) is None
    assert (ring.memory == before).all()
    assert client.counters()["backpressure_stalls"] == client.counters()["busy"] == 1
    with pytest.raises(ValueError, match="receive"):
        client.call(ECHO)
    ring.release("consumer")
    dispatcher.start(ring)
    assert [client.receive(10**10) for _ in sent] == [(i, 0, f) for i, f in enumerate(sent)]
    dispatcher.stop()
    client.close()


def test_a_call_that_nobody_answers_ends(ring: SlotRing, dispatcher: Dispatcher) -> None:
    client = Client(ring)
    with pytest.raises(PeerGoneError) as gone:
        client.call(ECHO, b"", 10**10)
    assert str(gone.value) == (
        f"shared memory {ring.name!r} has no live consumer; attach again when the other end runs"
    )
    ring.claim("consumer")
    with pytest.raises(CallTimeoutError) as late:
        client.call(ECHO, b"first", 10**6)
    assert str(late.value) == (
        f"no answer from {ring.name!r} to function 0x{ECHO:08x} within 1000000 ns; "
        f"raise timeout_ns or look at the server's counters"
    )
    ring.release("consumer")
    dispatcher.start(ring)
    assert client.call(ECHO, b"second", 10**10) == (0, b"second")
    assert client.counters()["late_results"] == 2
    assert client.n_pending == 0
    with pytest.raises(FrameTooLongError):
        client.call(ECHO, bytes(STRIDE))
    dispatcher.stop()
    client.close()


def test_a_request_of_an_earlier_generation_is_counted(dispatcher, ring: SlotRing) -> None:
    ring.claim("consumer")
    client = Client(ring)
    assert client.send(ECHO, b"x") == 0
    slots = slots_of(ring.memory, 4, STRIDE, STRIDE)
    slots.rx_flags[0] = stamp_of_request(1, 2**40)
    ring.release("consumer")
    dispatcher.start(ring)
    assert client.receive(10**7) is None
    dispatcher.stop()
    assert dispatcher.counters()["stale"] == dispatcher.counters()["answered"] == 1
    client.close()


_DEVICE_CALL = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_uint32,
    ctypes.POINTER(ctypes.c_uint32),
)


def test_a_function_that_does_not_return_is_named(dispatcher, ring: SlotRing) -> None:
    is_over = threading.Event()

    def hang(*_: object) -> int:
        is_over.wait(60)
        return 0

    call = _DEVICE_CALL(hang)
    address = ctypes.cast(call, ctypes.c_void_p).value
    assert address is not None
    dispatcher.add_address("hang", address, keep_alive=call)
    dispatcher.start(ring)
    client = Client(ring)
    with pytest.raises(CallTimeoutError):
        client.call(function_id("hang"), b"", 10**7)
    with pytest.raises(HandlerStuckError) as stuck:
        dispatcher.stop(timeout_s=0.01)
    assert str(stuck.value) == (
        "function 'hang' has not returned for 0.01 s, so that its server cannot stop; "
        "try again, or end the process"
    )
    assert dispatcher.is_running
    is_over.set()
    dispatcher.stop(timeout_s=60)
    assert not dispatcher.is_running
    client.close()


def test_a_process_ends_though_a_function_does_not(ring: SlotRing) -> None:
    code = (
        "import ctypes\nfrom cudaq_target.coupler.errors import CallTimeoutError\n"
        "from cudaq_target.coupler.frame import function_id\n"
        "from cudaq_target.coupler.shm import Client, Dispatcher, SlotRing\n"
        f"ring = SlotRing.create({ring.name + 'stuck'!r}, 4, 256)\ndispatcher = Dispatcher()\n"
        "pause = ctypes.cast(ctypes.CDLL(None).pause, ctypes.c_void_p).value\n"
        "dispatcher.add_address('hang', pause)\ndispatcher.start(ring)\n"
        "try:\n    Client(ring).call(function_id('hang'), b'', 10**7)\n"
        "except CallTimeoutError:\n    ring.unlink()\n"
        "    del dispatcher, ring\n    print('ended')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, timeout=120
    )
    assert done.stdout == b"ended\n"


@pytest.mark.parametrize("wait", ["busy", "yield", "adaptive", "block"])
def test_every_wait_strategy_makes_progress(dispatcher, ring: SlotRing, wait: str) -> None:
    dispatcher.start(ring, wait=wait)
    client = Client(ring, wait=wait)
    for i in range(100):
        assert client.call(INCREMENT, bytes([i]), 10**10) == (0, bytes([i + 1]))
        if i % 50 == 0:
            time.sleep(0.05)  # long enough for both ends to fall asleep
    dispatcher.stop()
    client.close()


def test_unknown_strategies_are_refused(dispatcher: Dispatcher, ring: SlotRing) -> None:
    with pytest.raises(ValueError, match="'busy', 'yield', 'adaptive' or 'block'"):
        dispatcher.start(ring, wait="sleepy")
    with pytest.raises(ValueError, match="'busy', 'yield', 'adaptive' or 'block'"):
        Client(ring, wait="sleepy")
    assert not dispatcher.is_running


def test_a_running_dispatcher_is_left_alone(dispatcher: Dispatcher, ring: SlotRing) -> None:
    session = dispatcher.session(STRIDE)
    dispatcher.start(ring)
    for use in (
        lambda: dispatcher.start(ring),
        lambda: dispatcher.add_builtin("occupation"),
        lambda: dispatcher.handle(session, b"", bytearray(24)),
    ):
        with pytest.raises(ValueError, match="stop"):
            use()
    dispatcher.stop()
    dispatcher.stop()
    dispatcher.start(ring)
    dispatcher.stop()
    dispatcher.serve(ring, timeout_s=0.01)
    assert not dispatcher.is_running
