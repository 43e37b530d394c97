"""Headers against golden frames and against every kind of malformed frame."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.coupler.errors import FrameTooLongError
from cudaq_target.coupler.frame import (
    HEADER_BYTES,
    Refusal,
    RequestHeader,
    ResponseHeader,
    Status,
    function_id,
    read_request,
    read_response,
    request_frame,
    response_frame,
    write_request_header,
    write_response_header,
)
from tests.coupler.golden import ENQUEUE, FUNCTION_IDS, GET_CORRECTIONS, RESET

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
SLOT = 256


@pytest.mark.parametrize(("name", "expected"), FUNCTION_IDS.items())
def test_function_ids(name, expected):
    assert function_id(name) == expected


def test_golden_requests():
    arguments = struct.pack("<qqqq", 0, 5, 0, 9) + bytes([0b10, 1])
    stamp_ns = 0x1122334455667788
    enqueue = request_frame(function_id("enqueue_syndromes"), arguments, 7, stamp_ns)
    assert enqueue == ENQUEUE
    get = request_frame(function_id("get_corrections"), struct.pack("<qqB", 0, 1, 1), 8)
    assert get == GET_CORRECTIONS
    assert request_frame(function_id("reset_decoder"), struct.pack("<q", 0), 9) == RESET


def test_golden_response():
    frame = bytes.fromhex("53515543 00000000 01000000 07000000 0000000000000000 03")
    assert response_frame(Status.OK, b"\x03", 7) == frame
    assert read_response(frame, len(frame), SLOT) == ResponseHeader(0, 1, 7, 0)


@given(U32, st.binary(max_size=100), U32, U64)
def test_requests_come_back(function, arguments, request_id, stamp_ns):
    frame = request_frame(function, arguments, request_id, stamp_ns)
    header = read_request(frame, len(frame), SLOT)
    assert header == RequestHeader(function, len(arguments), request_id, stamp_ns)
    slot = bytearray(SLOT)
    write_request_header(slot, function, len(arguments), request_id, stamp_ns)
    assert slot[:HEADER_BYTES] == frame[:HEADER_BYTES]
    assert read_request(slot, SLOT, SLOT, exact=False) == header


@given(st.integers(-(2**31), 2**31 - 1), st.binary(max_size=100), U32, U64)
def test_answers_come_back(status, result, request_id, stamp_ns):
    frame = response_frame(status, result, request_id, stamp_ns)
    header = read_response(frame, len(frame), SLOT)
    assert header == ResponseHeader(status, len(result), request_id, stamp_ns)
    slot = bytearray(SLOT)
    write_response_header(slot, status, len(result), request_id, stamp_ns)
    assert slot[:HEADER_BYTES] == frame[:HEADER_BYTES]


@pytest.mark.parametrize("n_bytes", range(HEADER_BYTES))
def test_truncated_header_has_no_answer(n_bytes):
    assert read_request(ENQUEUE, n_bytes, SLOT) == Refusal(None, "truncated", 0, 0)
    assert read_response(ENQUEUE, n_bytes, SLOT) == Refusal(None, "truncated", 0, 0)


def test_wrong_magic_and_swapped_bytes():
    swapped = struct.pack(">IIIIQ", 0x43555152, 1, 0, 7, 9)
    found = read_request(swapped, len(swapped), SLOT)
    assert isinstance(found, Refusal)
    assert (found.status, found.counter) == (Status.BAD_FRAME, "bad_magic")
    answer = response_frame(0, b"", 7, 9)
    assert read_request(answer, 24, SLOT) == Refusal(Status.BAD_FRAME, "bad_magic", 7, 9)
    assert read_response(RESET, len(RESET), SLOT) == Refusal(Status.BAD_FRAME, "bad_magic", 9, 0)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("arg_len", [SLOT - 24 + 1, 9, 0xFFFFFFFF])
def test_lengths_that_do_not_fit(arg_len, exact):
    frame = bytearray(RESET)
    struct.pack_into("<I", frame, 8, arg_len)
    refusal = Refusal(Status.BAD_LENGTH, "bad_length", 9, 0)
    assert read_request(frame, len(frame), SLOT, exact=exact) == refusal


def test_shorter_arguments_are_refused_in_messages_only():
    frame = bytearray(RESET)
    struct.pack_into("<I", frame, 8, 7)
    assert isinstance(read_request(frame, len(frame), SLOT), Refusal)
    assert isinstance(read_request(frame, len(frame), SLOT, exact=False), RequestHeader)


@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_give_a_header_or_a_refusal(frame, exact):
    found = read_request(frame, len(frame), SLOT, exact=exact)
    if isinstance(found, RequestHeader):
        assert HEADER_BYTES + found.arg_len <= len(frame)


def test_too_long_a_body_says_so():
    class Long(bytes):
        __slots__ = ()

        def __len__(self):
            return 2**32

        def __bytes__(self):
            return self

    with pytest.raises(FrameTooLongError):
        request_frame(0, Long())
