"""The decode-server calls in machine code, against those in Python, call by call."""

from __future__ import annotations

import struct
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.coupler.decode_server import (
    DecodeServer,
    enqueue_arguments,
    get_corrections_arguments,
    reset_arguments,
)
from cudaq_target.coupler.errors import DecoderCountError
from cudaq_target.coupler.frame import Status, function_id, read_response, request_frame
from cudaq_target.coupler.native_decode import NativeDecoderError, NativeDecoders
from cudaq_target.coupler.native_server import python_table
from cudaq_target.coupler.shm import Dispatcher
from cudaq_target.kernels import PyMatchingDecoder, UnionFindDecoder, graph_from_checks
from cudaq_target.kernels.decoders.measured import MeasurementDecoder, lookup_decoder

ROOM = 1 << 12
IDENTITY = (0, -1, 1, -1, 2, -1)


def union_find_of(n_bits: int) -> MeasurementDecoder:
    """A ring without a boundary: an odd number of lit detectors cannot be explained."""
    errors = np.arange(n_bits)
    checks = np.zeros((n_bits, n_bits), dtype=np.uint8)
    checks[errors, errors] = checks[(errors + 1) % n_bits, errors] = 1
    graph = graph_from_checks(checks, np.eye(n_bits, dtype=np.uint8), 0.1)
    return MeasurementDecoder(np.eye(n_bits, dtype=np.uint8), UnionFindDecoder(graph))


@cache
def decoders() -> tuple[MeasurementDecoder, ...]:
    """A look-up one with one observable per bit, and a union-find one of three words."""
    return lookup_decoder(IDENTITY, IDENTITY, IDENTITY, 3), union_find_of(130)


N_BITS = (3, 130)


class Server:
    """Answers calls; the same frames for both kinds."""

    def __init__(self, dispatcher: Dispatcher, served: NativeDecoders | None = None) -> None:
        self.dispatcher = dispatcher
        self.served = served
        self.session = dispatcher.session(ROOM)

    def ask(self, name: str, arguments: bytes) -> tuple[int, bytes]:
        answer = bytearray(ROOM)
        frame = request_frame(function_id(name), arguments, 7)
        n_bytes = self.dispatcher.handle(self.session, frame, answer)
        return read_response(answer, n_bytes, ROOM).status, bytes(answer[24:n_bytes])


@cache
def native() -> Server:
    dispatcher, served = Dispatcher(), NativeDecoders(decoders())
    served.add_to(dispatcher)
    return Server(dispatcher, served)


def in_python() -> Server:
    return Server(python_table(DecodeServer(decoders()).functions()))


@st.composite
def calls(draw):
    """A call, most of them sensible: the decoder, a round, a read or a reset."""
    number = draw(st.sampled_from([0, 0, 0, 1, 1, 1, -1, 2]))
    kind = draw(st.sampled_from(["round"] * 5 + ["get"] * 3 + ["reset", "strange"]))
    n_bits = N_BITS[number] if number in (0, 1) else 3
    if kind == "reset":
        return "reset_decoder", reset_arguments(number)
    if kind == "get":
        wanted = draw(st.sampled_from([n_bits] * 8 + [0, -1, n_bits + 1]))
        return "get_corrections", get_corrections_arguments(
            number, wanted, reset=draw(st.booleans())
        )
    counter = draw(st.integers(0, 6))
    if kind == "strange":
        mapping, stated = draw(st.tuples(st.integers(0, 1), st.sampled_from([-1, 0, 3, 9, 2**40])))
        return "enqueue_syndromes", struct.pack("<qqqq", number, counter, mapping, stated) + b"\5"
    size = draw(st.sampled_from([n_bits, n_bits, 1, 2, n_bits - 1]))
    bits = np.array(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)), np.uint8)
    return "enqueue_syndromes", enqueue_arguments(number, counter, bits)


@settings(max_examples=80)
@given(st.lists(calls(), min_size=1, max_size=25))
def test_both_kinds_give_the_same_answers(asked):
    ours, reference = native(), in_python()
    for number in (0, 1):
        ours.ask("reset_decoder", reset_arguments(number))
    for name, arguments in asked:
        assert ours.ask(name, arguments) == reference.ask(name, arguments)


def test_memory_of_counters_is_bounded_as_in_python():
    for server in (native(), in_python()):
        server.ask("reset_decoder", reset_arguments(0))
        bits = np.array([1, 0, 0], dtype=np.uint8)
        for counter in [*range(1, 4200), 4199, 1]:  # 4199 is known, 1 so old that it counts as new
            assert server.ask("enqueue_syndromes", enqueue_arguments(0, counter, bits))[0] == 0
        # 4200 flips cancel; one less would not
        assert server.ask("get_corrections", get_corrections_arguments(0, 3, reset=True)) == (
            Status.OK,
            b"\0",
        )


def test_calls_are_counted_and_wrong_lengths_are_not():
    server = native()
    served = server.served
    before = [served.n_calls(k) for k in range(served.n_decoders)]
    server.ask("reset_decoder", reset_arguments(1))
    server.ask("reset_decoder", b"\0")
    server.ask("get_corrections", b"\0" * 18)
    server.ask("enqueue_syndromes", b"\0" * 31)
    assert [served.n_calls(k) - before[k] for k in range(served.n_decoders)] == [0, 1]


def test_what_has_no_native_form_is_refused_by_name():
    graph = graph_from_checks(np.array([[1, 1]]), np.array([[1, 0]]), 0.1)
    slow = MeasurementDecoder(np.ones((1, 1), dtype=np.uint8), PyMatchingDecoder(graph))
    with pytest.raises(NativeDecoderError, match="decoder 1 is a PyMatchingDecoder"):
        NativeDecoders([decoders()[0], slow])
    for n_decoders in (0, 33):
        with pytest.raises(DecoderCountError):
            NativeDecoders([decoders()[0]] * n_decoders)
