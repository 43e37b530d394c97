"""The slot and flag ring against a deque: native client and reference, in every order of steps."""

from __future__ import annotations

import os
import struct
from collections import deque
from itertools import count

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cudaq_target.coupler.errors import FrameTooLongError, RingFormatError
from cudaq_target.coupler.frame import Status, read_request, request_frame, response_frame
from cudaq_target.coupler.ring import (
    ERROR_TAG,
    IN_FLIGHT,
    SESSION_SHIFT,
    RingClient,
    RingServer,
    private_slots,
    slots_of,
    stamp_of_request,
)
from cudaq_target.coupler.shm import Client, SlotRing

STRIDE = 128
ROOM = STRIDE - 24
FUNCTION = 7
_numbers = count()


def unique(name: str) -> str:
    return f"test-{os.getpid()}-{name}-{next(_numbers)}"


def answer_to(request: memoryview) -> bytes:
    """What a server answers: the arguments, reversed."""
    header = read_request(request, len(request), len(request), exact=False)
    body = bytes(request[24 : 24 + header.arg_len])[::-1]
    return response_frame(Status.OK, body, header.request_id, header.timestamp_ns)


class NativeClient:
    """The native client, with the face of the reference."""

    def __init__(self, ring: SlotRing) -> None:
        self.client = Client(ring, wait="yield")

    def send(self, function: int, arguments: bytes) -> int | None:
        return self.client.send(function, arguments)

    def receive(self) -> tuple[int, bytes] | None:
        answer = self.client.receive()
        return None if answer is None else (answer[0], answer[2])

    @property
    def n_stale(self) -> int:
        return self.client.counters()["stale"]


class ReferenceClient(RingClient):
    """The reference, with the result cut out of the slot."""

    def receive(self) -> tuple[int, bytes] | None:
        answer = super().receive()
        if answer is None:
            return None
        number, frame = answer
        (n_bytes,) = struct.unpack_from("<I", frame, 8)
        return number, frame[24 : 24 + n_bytes]


class SlotRingAgainstDeque(RuleBasedStateMachine):
    """Every order of operations gives what a bounded deque gives."""

    @initialize(n_slots=st.integers(1, 9), is_native=st.booleans())
    def start(self, n_slots, is_native):
        self.ring = None
        if is_native:
            self.ring = SlotRing.create(unique("deque"), n_slots, STRIDE)
            self.ring.claim("consumer")
            self.slots = slots_of(self.ring.memory, n_slots, STRIDE, STRIDE)
            self.client = NativeClient(self.ring)
        else:
            self.slots = private_slots(n_slots, STRIDE)
            self.client = ReferenceClient(self.slots)
        self.server = RingServer(self.slots)
        self.asked: deque[tuple[int, bytes]] = deque()
        self.answered: deque[tuple[int, bytes]] = deque()
        self.n_sent = self.n_stale = 0

    def teardown(self):
        if getattr(self, "ring", None) is not None:
            self.client.client.close()
            self.ring.unlink()

    @rule(arguments=st.binary(max_size=ROOM + 8))
    def send(self, arguments):
        if len(arguments) > ROOM:
            with pytest.raises(FrameTooLongError):
                self.client.send(FUNCTION, arguments)
            return
        has_room = len(self.asked) + len(self.answered) < self.slots.n_slots
        assert self.client.send(FUNCTION, arguments) == (self.n_sent if has_room else None)
        if has_room:
            self.asked.append((self.n_sent, arguments))
            self.n_sent += 1

    @rule()
    def serve(self):
        request = self.server.request()
        assert (request is not None) == bool(self.asked)
        if request is not None:
            self.server.answer(answer_to(request))
            number, arguments = self.asked.popleft()
            self.answered.append((number, arguments[::-1]))

    @rule()
    def receive(self):
        assert self.client.receive() == (self.answered.popleft() if self.answered else None)

    @precondition(lambda self: self.asked and not self.answered)
    @rule(age=st.integers(1, 3))
    def a_stale_answer_shows_up_in_the_slot(self, age):
        number = self.asked[0][0] - age * self.slots.n_slots
        if number < 0:
            return
        self.slots.tx_flags[self.asked[0][0] % self.slots.n_slots] = stamp_of_request(1, number)
        assert self.client.receive() is None
        self.n_stale += 1

    @invariant()
    def flags_say_what_waits(self):
        assert np.count_nonzero(self.slots.rx_flags) == len(self.asked)
        assert np.count_nonzero(self.slots.tx_flags) == len(self.answered)
        assert self.client.n_stale == self.n_stale


TestSlotRingAgainstDeque = SlotRingAgainstDeque.TestCase
TestSlotRingAgainstDeque.settings = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize("session", [1, 4095])
@pytest.mark.parametrize("number", [0, 1, 2**32 - 1, 2**32, 2**48 - 2])
def test_stamps_are_never_zero_and_never_sentinels(session: int, number: int) -> None:
    stamp = stamp_of_request(session, number)
    assert 0 < stamp < 2**64
    assert stamp != IN_FLIGHT
    assert stamp >> SESSION_SHIFT != ERROR_TAG
    assert stamp >> SESSION_SHIFT == session


@pytest.mark.parametrize(("n_slots", "stride"), [(0, 128), (1, 0), (1, 100)])
def test_the_reference_refuses_impossible_geometries(n_slots: int, stride: int) -> None:
    with pytest.raises(RingFormatError):
        private_slots(n_slots, stride)


def test_an_answer_longer_than_its_slot_is_refused() -> None:
    slots = private_slots(1, STRIDE)
    client, server = RingClient(slots), RingServer(slots)
    client.send(FUNCTION, b"")
    with pytest.raises(FrameTooLongError):
        server.answer(bytes(STRIDE + 1))


def test_a_new_client_goes_on_where_a_former_one_stopped() -> None:
    ring = SlotRing.create(unique("successor"), 3, STRIDE)
    ring.claim("consumer")
    slots = slots_of(ring.memory, 3, STRIDE, STRIDE)
    assert slots.n_slots == 3
    first = Client(ring)
    first.send(FUNCTION, b"ab")
    first.close()
    with pytest.raises(ValueError, match="closed"):
        first.send(FUNCTION, b"")
    # A request without an answer stays; the native dispatcher keeps the count that a successor
    # continues, which the reference does not.
    from cudaq_target.coupler.shm import Dispatcher

    ring.release("consumer")
    dispatcher = Dispatcher()
    dispatcher.add_builtin("echo")
    dispatcher.start(ring)
    second = Client(ring)
    from cudaq_target.coupler.frame import function_id

    for i in range(7):
        assert second.call(function_id("echo"), bytes([i])) == (Status.OK, bytes([i]))
    second.close()
    dispatcher.stop()


@pytest.mark.parametrize(
    ("flag", "request_id", "status", "counter"),
    [
        (ERROR_TAG << SESSION_SHIFT | 700, 99, Status.INTERNAL_ERROR, "bad_frames"),
        (0, 99, Status.BAD_FRAME, "unmatched"),
        (0, None, Status.BAD_FRAME, "bad_frames"),
    ],
)
def test_a_broken_answer_is_one_error(
    flag: int, request_id: int | None, status: Status, counter: str
) -> None:
    ring = SlotRing.create(unique("broken"), 2, STRIDE)
    ring.claim("consumer")
    slots = slots_of(ring.memory, 2, STRIDE, STRIDE)
    client = Client(ring)
    client.send(FUNCTION, b"ab")
    frame = bytes(24) if request_id is None else response_frame(0, b"", request_id)
    slots.tx_data[0, :24] = np.frombuffer(frame, dtype=np.uint8)
    slots.tx_flags[0] = flag or slots.rx_flags[0]
    slots.rx_flags[0] = 0
    assert client.receive() == (0, status, b"")
    counters = client.counters()
    assert counters.pop(counter) == counters.pop("sent") == counters.pop("received") == 1
    assert not any(counters.values())
    client.close()


def test_in_flight_is_no_answer() -> None:
    ring = SlotRing.create(unique("flight"), 2, STRIDE)
    ring.claim("consumer")
    slots = slots_of(ring.memory, 2, STRIDE, STRIDE)
    client = Client(ring)
    client.send_raw(request_frame(FUNCTION))
    slots.tx_flags[0] = IN_FLIGHT
    assert client.receive() is None
    client.close()
