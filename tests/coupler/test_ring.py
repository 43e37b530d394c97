"""The slot ring against a deque, between two processes, and against malformed buffers."""

from __future__ import annotations

import inspect
import mmap
import struct
import subprocess
import sys
import threading
import zlib
from collections import deque
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cudaq_target.coupler import _ring as ring
from cudaq_target.coupler.errors import CouplerError, FrameTooLongError, RingFormatError

MAGIC_AT, VERSION_AT, N_SLOTS_AT, SLOT_BYTES_AT, STRIDE_AT = 0, 8, 12, 16, 20
HEAD_AT, TAIL_AT, SLOTS_AT = 128, 256, 384
N_FRAMES = 100_000


def formatted(n_slots: int = 4, slot_bytes: int = 24) -> bytearray:
    buffer = bytearray(ring.required_bytes(n_slots, slot_bytes))
    ring.format(buffer, n_slots, slot_bytes)
    return buffer


class RingAgainstDeque(RuleBasedStateMachine):
    """Every order of operations gives what a bounded deque gives."""

    @initialize(log2_slots=st.integers(0, 4), slot_bytes=st.integers(1, 300))
    def start(self, log2_slots, slot_bytes):
        self.buffer = formatted(2**log2_slots, slot_bytes)
        self.producer = ring.Producer(self.buffer)
        self.consumer = ring.Consumer(self.buffer)
        self.waiting: deque[bytes] = deque()

    @rule(frame=st.binary(max_size=300))
    def push(self, frame):
        if len(frame) > self.producer.slot_bytes:
            with pytest.raises(FrameTooLongError):
                self.producer.push(frame)
            return
        has_room = len(self.waiting) < self.producer.n_slots
        assert self.producer.push(frame) is has_room
        if has_room:
            self.waiting.append(frame)

    @rule()
    def pop(self):
        expected = self.waiting.popleft() if self.waiting else None
        assert self.consumer.pop() == expected

    @rule()
    def peek(self):
        view = self.consumer.peek()
        if view is None:
            assert not self.waiting
        else:
            assert view.tobytes() == self.waiting[0]
            assert not view.flags.writeable

    @precondition(lambda self: self.waiting)
    @rule()
    def release(self):
        self.consumer.release()
        self.waiting.popleft()

    @rule(side=st.sampled_from(["producer", "consumer"]))
    def attach_again(self, side):
        role = {"producer": ring.Producer, "consumer": ring.Consumer}[side]
        setattr(self, side, role(self.buffer))

    @invariant()
    def both_sides_count_alike(self):
        assert self.producer.n_waiting == self.consumer.n_waiting == len(self.waiting)


TestRingAgainstDeque = RingAgainstDeque.TestCase
TestRingAgainstDeque.settings = settings(max_examples=60, deadline=None)


def frame_number(i: int) -> bytes:
    """Frame `i` of the stream: its number, then a tail whose length varies with it."""
    return i.to_bytes(8, "little") + bytes([i % 251]) * (i % 17)


def shared(path: str) -> mmap.mmap:
    with Path(path).open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def send_stream(path: str, n_frames: int) -> None:
    """What the other process runs."""
    producer = ring.Producer(shared(path))
    for i in range(n_frames):
        if not producer.push(frame_number(i), timeout_s=60):
            raise TimeoutError(i)


def start_sender(path: str) -> subprocess.Popen[bytes]:
    imports = (
        "import mmap\nfrom pathlib import Path\nfrom cudaq_target.coupler import _ring as ring\n"
    )
    functions = map(inspect.getsource, (frame_number, shared, send_stream))
    code = f"{imports}{''.join(functions)}send_stream({path!r}, {N_FRAMES})"
    return subprocess.Popen([sys.executable, "-c", code])


def test_two_processes_exchange_every_frame_in_order(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    path.write_bytes(formatted(n_slots=64, slot_bytes=24))
    consumer = ring.Consumer(shared(str(path)))
    received = sent = 0
    with start_sender(str(path)) as sender:
        for i in range(N_FRAMES):
            frame = consumer.pop(timeout_s=60)
            assert frame is not None, f"frame {i} never came"
            received = zlib.crc32(frame, received)
            sent = zlib.crc32(frame_number(i), sent)
    assert sender.returncode == 0
    assert received == sent
    assert consumer.pop() is None


def test_waiting_lets_other_threads_run_and_wakes_on_a_frame() -> None:
    buffer = formatted()
    producer, consumer = ring.Producer(buffer), ring.Consumer(buffer)
    timer = threading.Timer(0.05, producer.push, args=(b"late",))
    timer.start()
    assert consumer.pop(timeout_s=60) == b"late"
    timer.join()


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), 0.01])
def test_a_wait_that_ends_empty_handed_says_so(timeout_s: float) -> None:
    buffer = formatted(n_slots=1)
    producer, consumer = ring.Producer(buffer), ring.Consumer(buffer)
    assert consumer.pop(timeout_s=timeout_s) is None
    assert consumer.peek(timeout_s=timeout_s) is None
    assert producer.push(b"a", timeout_s=timeout_s)
    assert not producer.push(b"b", timeout_s=timeout_s)
    assert consumer.pop(timeout_s=float("inf")) == b"a"


def test_layout_is_the_documented_one() -> None:
    buffer = formatted(n_slots=4, slot_bytes=121)
    assert struct.unpack_from("<8s4I", buffer) == (b"CQTRING\x01", ring.VERSION, 4, 121, 256)
    assert ring.required_bytes(4, 121) == len(buffer) == SLOTS_AT + 4 * 256
    producer, consumer = ring.Producer(buffer), ring.Consumer(buffer)
    producer.push(b"first")
    producer.push(b"second")
    consumer.pop()
    assert struct.unpack_from("<Q", buffer, HEAD_AT) == (2,)
    assert struct.unpack_from("<Q", buffer, TAIL_AT) == (1,)
    assert struct.unpack_from("<6s", buffer, SLOTS_AT + 256) == (b"second",)
    assert struct.unpack_from("<II", buffer, SLOTS_AT + 256 + 128) == (6, 0)


@pytest.mark.parametrize(
    ("offset", "layout", "value", "field"),
    [
        (MAGIC_AT, "<Q", 0, "magic"),
        (VERSION_AT, "<I", 1, "layout version"),
        (N_SLOTS_AT, "<I", 0, "n_slots"),
        (N_SLOTS_AT, "<I", 6, "n_slots"),
        (N_SLOTS_AT, "<I", 2**31, "n_slots"),
        (N_SLOTS_AT, "<I", 8, "buffer size (bytes)"),
        (SLOT_BYTES_AT, "<I", 0, "slot_bytes"),
        (SLOT_BYTES_AT, "<I", 2**32 - 1, "slot_bytes"),
        (SLOT_BYTES_AT, "<I", 121, "stride (bytes)"),
        (STRIDE_AT, "<I", 64, "stride (bytes)"),
        (HEAD_AT, "<Q", 5, "number of waiting frames"),
        (TAIL_AT, "<Q", 1, "number of waiting frames"),
    ],
)
@pytest.mark.parametrize("role", [ring.Producer, ring.Consumer])
def test_malformed_headers_are_refused(role, offset, layout, value, field) -> None:
    buffer = formatted()
    struct.pack_into(layout, buffer, offset, value)
    with pytest.raises(RingFormatError) as caught:
        role(buffer)
    assert caught.value.field == field
    assert isinstance(caught.value, CouplerError)


@pytest.mark.parametrize("n_bytes", [0, 1, SLOTS_AT - 1, SLOTS_AT, SLOTS_AT + 4 * 128 - 1])
def test_short_buffers_are_refused(n_bytes: int) -> None:
    with pytest.raises(RingFormatError, match=r"buffer size \(bytes\)"):
        ring.format(bytearray(n_bytes), 4, 24)
    with pytest.raises(RingFormatError, match=r"buffer size \(bytes\)"):
        ring.Consumer(formatted()[:n_bytes])


def test_misaligned_and_read_only_buffers_are_refused() -> None:
    with pytest.raises(RingFormatError, match="buffer address modulo 8 is 3; expected 0"):
        ring.Producer(np.frombuffer(formatted() + bytes(8), dtype=np.uint8)[3:])
    with pytest.raises(TypeError):
        ring.Producer(bytes(formatted()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n_slots", "slot_bytes"), [(0, 8), (3, 8), (2**25, 8), (4, 0), (4, 2**29)]
)
def test_impossible_geometries_are_refused(n_slots: int, slot_bytes: int) -> None:
    with pytest.raises(RingFormatError):
        ring.required_bytes(n_slots, slot_bytes)
    with pytest.raises(RingFormatError):
        ring.format(bytearray(4096), n_slots, slot_bytes)


def test_a_stored_length_beyond_the_slot_is_reported_and_skipped() -> None:
    buffer = formatted()
    producer, consumer = ring.Producer(buffer), ring.Consumer(buffer)
    producer.push(b"bad")
    producer.push(b"good")
    struct.pack_into("<I", buffer, SLOTS_AT + 24, 25)  # the length follows the frame
    with pytest.raises(RingFormatError) as caught:
        consumer.pop()
    assert str(caught.value) == "ring stored frame length (bytes) is 25; expected at most 24"
    assert consumer.pop() == b"good"


def test_error_texts() -> None:
    producer = ring.Producer(formatted())
    with pytest.raises(FrameTooLongError) as caught:
        producer.push(bytes(40))
    assert str(caught.value) == (
        "a frame of 40 bytes does not fit into slots of 24 bytes; "
        "format the ring with a larger slot_bytes"
    )
    with pytest.raises(ValueError, match=r"no frame to release; peek\(\) returned None"):
        ring.Consumer(formatted()).release()


def test_shared_memory_cannot_be_closed_under_a_view() -> None:
    memory = SharedMemory(create=True, size=ring.required_bytes(2, 8))
    try:
        ring.format(memory.buf, 2, 8)
        ring.Producer(memory.buf).push(b"x")
        view = ring.Consumer(memory.buf).peek()
        with pytest.raises(BufferError):
            memory.close()
        assert view is not None
        assert view.tobytes() == b"x"
        del view
    finally:
        memory.close()
        memory.unlink()
