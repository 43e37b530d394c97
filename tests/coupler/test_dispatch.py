"""The dispatcher under bad input and faults; "row n" is a row of the list of faults."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.coupler.dispatch import (
    PENDING,
    RPC_INCREMENT,
    Dispatcher,
    Function,
    Reply,
)
from cudaq_target.coupler.errors import FunctionTableError
from cudaq_target.coupler.frame import (
    HEADER_BYTES,
    ResponseHeader,
    Status,
    function_id,
    read_response,
    request_frame,
)
from cudaq_target.coupler.native_server import python_table
from cudaq_target.coupler.payload import PayloadType
from cudaq_target.coupler.sessions import DuplicateWindow, Match, RequestWindow, Session
from tests.coupler.golden import RESET

SLOT = 256
INCREMENT = function_id("rpc_increment")


class Clock:
    def __init__(self):
        self.now_ns = 1000

    def __call__(self):
        return self.now_ns


def session():
    return Session("peer", DuplicateWindow(8, sequenced=True))


def reference(*functions, **options):
    return Dispatcher([RPC_INCREMENT, *functions], slot_bytes=SLOT, **options)


class NativeTable:
    """Functions in Python behind the native checks, in the place of the reference."""

    def __init__(self, *functions):
        self._dispatcher = python_table([RPC_INCREMENT, *functions], window=8)
        self._sessions = {}

    @property
    def counters(self):
        return SimpleNamespace(**self._dispatcher.counters())

    def dispatch(self, client, frame):
        answer = bytearray(SLOT)
        n_bytes = self.dispatch_into(client, memoryview(frame), len(frame), memoryview(answer))
        return bytes(answer[:n_bytes]) if n_bytes else None

    def dispatch_into(self, client, frame, n_bytes, answer):
        key = id(client)  # `client` is kept, so that no other one gets its id
        if key not in self._sessions:
            self._sessions[key] = (client, self._dispatcher.session(SLOT))
        session = self._sessions[key][1]
        return self._dispatcher.handle(session, frame[:n_bytes], answer[:SLOT])


@pytest.fixture(params=[reference, NativeTable])
def server(request):
    return request.param


def status_of(frame):
    header = read_response(frame, len(frame), SLOT)
    assert isinstance(header, ResponseHeader)
    return header.status


def ask(dispatcher, client, name, arguments=b"", request_id=1):
    frame = request_frame(function_id(name), arguments, request_id)
    return status_of(dispatcher.dispatch(client, frame))


def test_increment(server):
    frame = request_frame(INCREMENT, bytes([0, 1, 255]), 7, 9)
    answer = server().dispatch(session(), frame)
    assert answer is not None
    assert read_response(answer, len(answer), SLOT) == ResponseHeader(0, 3, 7, 9)
    assert answer[HEADER_BYTES:] == bytes([1, 2, 0])


def test_row_1_truncated_headers(server):
    dispatcher = server()
    assert all(dispatcher.dispatch(session(), RESET[:n]) is None for n in range(HEADER_BYTES))
    assert dispatcher.counters.truncated == HEADER_BYTES
    assert ask(dispatcher, session(), "rpc_increment") == Status.OK


def test_row_2_wrong_magic(server):
    dispatcher = server()
    swapped = struct.pack(">IIIIQ", 0x43555152, INCREMENT, 0, 7, 9)
    assert status_of(dispatcher.dispatch(session(), swapped)) == Status.BAD_FRAME
    assert ask(dispatcher, session(), "rpc_increment") == Status.OK
    assert dispatcher.counters.bad_magic == 1


def test_row_3_unknown_function(server):
    dispatcher = server()
    assert ask(dispatcher, session(), "nobody") == Status.UNKNOWN_FUNCTION
    assert dispatcher.counters.unknown_function == 1


@pytest.mark.parametrize("arg_len", [SLOT - 23, 3, 5, 0xFFFFFFFF])
def test_row_4_wrong_length(server, arg_len):
    dispatcher = server()
    frame = bytearray(request_frame(INCREMENT, b"1234", 7))
    struct.pack_into("<I", frame, 8, arg_len)
    assert status_of(dispatcher.dispatch(session(), frame)) == Status.BAD_LENGTH
    assert dispatcher.counters.dispatched == 0


@pytest.mark.parametrize("n_bytes", [0, 3, 5])
def test_row_5_arguments_disagree_with_the_schema(server, n_bytes):
    four = Function("four", lambda _: Reply(Status.OK), 4, 4)
    dispatcher = server(four)
    assert ask(dispatcher, session(), "four", bytes(n_bytes)) == Status.BAD_REQUEST
    assert dispatcher.counters.dispatched == 0
    assert ask(dispatcher, session(), "four", bytes(4)) == Status.OK


def raises(_):
    message = "no"
    raise KeyError(message)


def writes_too_far(call):
    call.result[:] = bytes(len(call.result) + 1)
    return Reply(Status.OK, len(call.result) + 1)


BAD_HANDLERS = {
    "raises": raises,
    "writes too far": writes_too_far,
    "claims too much": lambda call: Reply(Status.OK, len(call.result) + 1),
    "negative length": lambda _: Reply(Status.OK, -2),
    "status is no integer": lambda _: Reply(float("nan")),
    "status is too large": lambda _: Reply(2**31),
    "no reply": lambda _: None,
    "pends without saying so": lambda _: PENDING,
}


@pytest.mark.parametrize("name", BAD_HANDLERS)
def test_row_11_handler_fails(server, name):
    dispatcher = server(Function("bad", BAD_HANDLERS[name]))
    answer = bytearray(b"\xa5" * (SLOT + 64))
    frame = memoryview(request_frame(function_id("bad"), b"", 1))
    n_bytes = dispatcher.dispatch_into(session(), frame, 24, memoryview(answer))
    assert status_of(answer[:n_bytes]) == Status.INTERNAL_ERROR
    assert answer[SLOT:] == b"\xa5" * 64
    assert dispatcher.counters.handler_failures == 1
    assert ask(dispatcher, session(), "rpc_increment") == Status.OK


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_row_11_result_is_not_finite(server, value):
    def handler(call):
        call.result[:8] = struct.pack("<d", value)
        return Reply(Status.OK, 8)

    dispatcher = server(Function("mean", handler, result_type=PayloadType.FLOAT64))
    assert ask(dispatcher, session(), "mean") == Status.INTERNAL_ERROR


def test_row_12_slow_handler_in_place():
    clock = Clock()

    def slow(_):
        clock.now_ns += 101
        return Reply(Status.OK)

    dispatcher = reference(Function("slow", slow, deadline_ns=100), clock=clock)
    assert ask(dispatcher, session(), "slow") == Status.DEADLINE
    assert dispatcher.counters.deadline_misses == dispatcher.counters.late_results == 1


def pending_server(clock, **options):
    tickets = []

    def later(call):
        tickets.append(call.ticket)
        return PENDING

    function = Function("later", later, deadline_ns=100, may_pend=True)
    return reference(function, clock=clock, **options), tickets


def test_row_12_late_result_never_meets_another_request():
    clock, client = Clock(), session()
    dispatcher, tickets = pending_server(clock)
    assert dispatcher.dispatch(client, request_frame(function_id("later"), b"", 1)) is None
    assert dispatcher.expire() == []
    clock.now_ns += 101
    [(who, answer)] = dispatcher.expire()
    assert (who, status_of(answer)) == (client, Status.DEADLINE)
    assert dispatcher.dispatch(client, request_frame(function_id("later"), b"", 2)) is None
    assert dispatcher.finish(tickets[0], Status.OK, b"old") is None
    answer = dispatcher.finish(tickets[1], Status.OK, b"new")
    assert answer is not None
    assert answer[HEADER_BYTES:] == b"new"
    assert dispatcher.counters.late_results == 1
    assert dispatcher.n_pending == 0


def test_row_12_result_between_deadline_and_its_check():
    clock = Clock()
    dispatcher, tickets = pending_server(clock)
    dispatcher.dispatch(session(), request_frame(function_id("later"), b"", 1))
    clock.now_ns += 101
    assert status_of(dispatcher.finish(tickets[0], Status.OK)) == Status.DEADLINE
    assert dispatcher.expire() == []


def test_row_13_full_queue_is_busy_and_can_be_tried_again():
    client = session()
    dispatcher, tickets = pending_server(Clock(), max_pending=1)
    frames = [request_frame(function_id("later"), b"", k) for k in range(2)]
    assert dispatcher.dispatch(client, frames[0]) is None
    assert status_of(dispatcher.dispatch(client, frames[1])) == Status.BUSY
    assert ask(dispatcher, client, "rpc_increment", request_id=5) == Status.OK
    assert status_of(dispatcher.finish(tickets[0], Status.OK)) == Status.OK
    assert dispatcher.dispatch(client, frames[1]) is None
    assert len(tickets) == 2


def test_row_14_answer_of_an_earlier_generation():
    client = RequestWindow(1)
    old = client.open(deadline_ns=1)
    client.expired(1)
    new = client.open(deadline_ns=9)
    assert client.close(old) is Match.STALE
    assert client.close(new) is Match.OURS


def counting():
    calls = []

    def handler(call):
        calls.append(bytes(call.arguments))
        call.result[0] = len(calls)
        return Reply(Status.OK, 1)

    return Function("count", handler), calls


def test_row_15_duplicates_are_executed_once(server):
    function, calls = counting()
    dispatcher, client = server(function), session()
    frame = request_frame(function_id("count"), b"a", 3)
    first = dispatcher.dispatch(client, frame)
    assert dispatcher.dispatch(client, frame) == first
    assert calls == [b"a"]
    assert dispatcher.counters.duplicates == 1
    other_session = dispatcher.dispatch(session(), frame)
    assert other_session != first


def test_row_15_repeat_echoes_its_own_stamp(server):
    function, _ = counting()
    dispatcher, client = server(function), session()
    dispatcher.dispatch(client, request_frame(function_id("count"), b"a", 3, 111))
    again = dispatcher.dispatch(client, request_frame(function_id("count"), b"a", 3, 222))
    assert read_response(again, len(again), SLOT) == ResponseHeader(0, 1, 3, 222)


def test_row_15_repeat_of_a_pending_request_is_not_executed():
    dispatcher, tickets = pending_server(Clock())
    client, frame = session(), request_frame(function_id("later"), b"", 1)
    assert dispatcher.dispatch(client, frame) is None
    assert dispatcher.dispatch(client, frame) is None
    assert len(tickets) == 1
    answer = dispatcher.finish(tickets[0], Status.OK, b"x")
    assert dispatcher.dispatch(client, frame) == answer


def test_row_15_repeats_from_before_the_window_are_dropped():
    function, calls = counting()
    dispatcher, client = reference(function), session()
    for k in range(20):
        assert ask(dispatcher, client, "count", b"a", k) == Status.OK
    assert dispatcher.dispatch(client, request_frame(function_id("count"), b"a", 2)) is None
    assert len(calls) == 20
    assert dispatcher.counters.stale == 1


def test_row_21_random_frames_in_short(server):
    function, calls = counting()
    dispatcher, client = server(function), session()
    rng = np.random.default_rng(7)
    for _ in range(20_000):
        size = int(rng.integers(0, SLOT + 40))
        frame = bytearray(rng.bytes(size))
        if size >= 4 and rng.random() < 0.5:
            frame[:4] = RESET[:4]
        dispatcher.dispatch(client, bytes(frame))
    counts = dispatcher.counters
    assert calls == []
    assert counts.received == counts.truncated + counts.answered == 20_000
    refused = counts.bad_magic + counts.bad_length + counts.unknown_function
    assert counts.answered == refused


def test_row_29_shutdown_answers_everything():
    clock, client = Clock(), session()
    dispatcher, tickets = pending_server(clock)
    for k in range(5):
        dispatcher.dispatch(client, request_frame(function_id("later"), b"", k))
    answers = dispatcher.shutdown()
    assert [status_of(answer) for _, answer in answers] == [Status.CANCELLED] * 5
    assert dispatcher.finish(tickets[0], Status.OK) is None
    assert ask(dispatcher, client, "rpc_increment", request_id=9) == Status.CANCELLED
    assert dispatcher.counters.cancelled == 6
    assert dispatcher.shutdown() == []


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["rpc_increment", "later", "nobody"]),
            st.integers(0, 5),
            st.sampled_from(["finish", "expire", "nothing"]),
        ),
        max_size=30,
    )
)
def test_exactly_one_answer_per_new_request(steps):
    clock, client = Clock(), Session("peer", DuplicateWindow(64, sequenced=False))
    dispatcher, tickets = pending_server(clock)
    asked, answers = set(), []
    for name, request_id, then in steps:
        frame = request_frame(function_id(name), b"", request_id)
        if (name, request_id) in asked:
            continue
        asked.add((name, request_id))
        answers.append(dispatcher.dispatch(client, frame))
        if then == "finish" and tickets:
            answers.append(dispatcher.finish(tickets.pop(0), Status.OK))
        if then == "expire":
            clock.now_ns += 101
            answers.extend(answer for _, answer in dispatcher.expire())
    answers.extend(answer for _, answer in dispatcher.shutdown())
    assert sum(answer is not None for answer in answers) == len(asked)


def test_two_functions_with_one_id():
    with pytest.raises(FunctionTableError, match="'rpc_increment' is registered twice"):
        reference(Function("rpc_increment", lambda _: Reply(Status.OK)))
    costly, liquid = (Function(name, lambda _: Reply(0)) for name in ("costarring", "liquid"))
    with pytest.raises(FunctionTableError, match="rename one of them"):
        Dispatcher([costly, liquid])


def test_result_too_long_for_a_slot():
    dispatcher, tickets = pending_server(Clock())
    dispatcher.dispatch(session(), request_frame(function_id("later"), b"", 1))
    answer = dispatcher.finish(tickets[0], Status.OK, bytes(SLOT))
    assert status_of(answer) == Status.INTERNAL_ERROR
