"""The decode-server calls: their states, their refusals, and published shots end to end."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from cudaq_target.coupler.decode_server import (
    DecoderState,
    DecodeServer,
    enqueue_arguments,
    get_corrections_arguments,
    reset_arguments,
)
from cudaq_target.coupler.dispatch import Dispatcher
from cudaq_target.coupler.errors import DecoderCountError
from cudaq_target.coupler.frame import (
    HEADER_BYTES,
    ResponseHeader,
    Status,
    function_id,
    read_response,
    request_frame,
)
from cudaq_target.coupler.sessions import DuplicateWindow, Session
from cudaq_target.kernels.decoders.measured import lookup_decoder
from tests.coupler.golden import ENQUEUE, GET_CORRECTIONS, RESET
from tests.coupler.published_shots import published_decoder, published_shots

IDENTITY = [0, -1, 1, -1, 2, -1]
FLIP_1 = np.array([0, 1, 0], dtype=np.uint8)


def identity_decoder(n_bits=3):
    sparse = [index for k in range(n_bits) for index in (k, -1)]
    return lookup_decoder(sparse, sparse, sparse, n_bits)


class Client:
    """A server with two decoders in this process, and a session with it."""

    def __init__(self, *decoders):
        self.decoders = DecodeServer(decoders or (identity_decoder(), identity_decoder()))
        self.dispatcher = Dispatcher(self.decoders.functions())
        self.session = Session("client", DuplicateWindow(64, sequenced=True))
        self.next_id = 0

    def ask(self, name, arguments):
        self.next_id += 1
        frame = request_frame(function_id(name), arguments, self.next_id)
        answer = self.dispatcher.dispatch(self.session, frame)
        header = read_response(answer, len(answer), 4096)
        assert isinstance(header, ResponseHeader)
        return Status(header.status), answer[HEADER_BYTES:]

    def enqueue(self, bits, decoder_id=0, counter=0):
        return self.ask("enqueue_syndromes", enqueue_arguments(decoder_id, counter, bits))[0]

    def get(self, decoder_id=0, n_bits=3, *, reset=False):
        arguments = get_corrections_arguments(decoder_id, n_bits, reset=reset)
        return self.ask("get_corrections", arguments)

    def reset(self, decoder_id=0):
        return self.ask("reset_decoder", reset_arguments(decoder_id))[0]


def test_golden_frames_are_served():
    decoders = DecodeServer([identity_decoder(9), identity_decoder()])
    dispatcher, session = Dispatcher(decoders.functions()), Session("client")
    acknowledged = dispatcher.dispatch(session, ENQUEUE)
    assert acknowledged.hex() == "5351554300000000000000000700000088776655443322" + "11"
    assert decoders.state(0) is DecoderState.RESULT_READY
    wrong_size = dispatcher.dispatch(session, GET_CORRECTIONS)
    assert struct.unpack_from("<i", wrong_size, 4) == (Status.BAD_REQUEST,)
    assert dispatcher.dispatch(session, RESET).hex() == (
        "535155430000000000000000090000000000000000000000"
    )
    assert decoders.state(0) is DecoderState.COLLECTING


def test_smoke_test():
    client = Client()
    assert client.enqueue(FLIP_1) == Status.OK
    assert client.get(reset=True) == (Status.OK, bytes([0b010]))
    assert client.get() == (Status.NOT_READY, b"")


def test_published_shots_round_by_round():
    client = Client(published_decoder())
    shots, expected = published_shots()
    corrections = []
    for shot, bits in enumerate(shots):
        for number, measured in enumerate(bits.reshape(6, 24)):
            counter = (shot << 16 | number) + 1
            assert client.enqueue(measured, counter=counter) == Status.OK
        status, packed = client.get(n_bits=1, reset=True)
        assert status == Status.OK
        corrections.append(packed[0])
    np.testing.assert_array_equal(corrections, expected)


def test_corrections_add_up_until_they_are_cleared():
    client = Client()
    client.enqueue(FLIP_1)
    client.enqueue(np.array([1, 0, 0], dtype=np.uint8))
    assert client.get() == (Status.OK, bytes([0b011]))
    client.enqueue(FLIP_1)
    assert client.get(reset=True) == (Status.OK, bytes([0b001]))
    client.enqueue(FLIP_1)
    assert client.get() == (Status.OK, bytes([0b010]))


@pytest.mark.parametrize("n_bits", [0, -1, 2**20 + 1, 2**63 - 1])
def test_row_6_number_of_syndromes(n_bits):
    client = Client()
    arguments = struct.pack("<qqqq", 0, 1, 0, n_bits) + b"\0"
    assert client.ask("enqueue_syndromes", arguments)[0] == Status.BAD_REQUEST
    assert client.decoders.state(0) is DecoderState.FAILED
    assert client.decoders.state(1) is DecoderState.COLLECTING
    assert client.enqueue(FLIP_1, decoder_id=1) == Status.OK
    assert client.get(decoder_id=1) == (Status.OK, bytes([0b010]))


def test_row_7_mapping():
    client = Client()
    arguments = struct.pack("<qqqq", 0, 1, 1, 3) + b"\0"
    assert client.ask("enqueue_syndromes", arguments)[0] == Status.BAD_REQUEST
    assert client.decoders.state(0) is DecoderState.COLLECTING


@pytest.mark.parametrize("decoder_id", [-1, 2, 32, 2**63 - 1, -(2**63)])  # the last is 2^63
def test_row_8_decoder_that_is_none(decoder_id):
    client = Client()
    assert client.enqueue(FLIP_1, decoder_id) == Status.INVALID_DECODER
    assert client.get(decoder_id)[0] == Status.INVALID_DECODER
    assert client.reset(decoder_id) == Status.INVALID_DECODER


@pytest.mark.parametrize("n_bits", [-1, 0, 2, 4, 2**63 - 1])
def test_row_9_size_of_the_correction(n_bits):
    client = Client()
    assert client.get()[0] == Status.NOT_READY
    client.enqueue(FLIP_1)
    assert client.get(n_bits=n_bits)[0] == Status.BAD_REQUEST
    assert client.get()[0] == Status.OK


def test_row_9_unused_bits_are_ignored():
    client = Client()
    arguments = struct.pack("<qqqq", 0, 1, 0, 3) + bytes([0b11111010])
    assert client.ask("enqueue_syndromes", arguments)[0] == Status.OK
    assert client.get() == (Status.OK, bytes([0b010]))


@pytest.mark.parametrize("extra", [b"", b"\0\0"])
def test_bits_that_disagree_with_their_number(extra):
    client = Client()
    arguments = struct.pack("<qqqq", 0, 1, 0, 3) + extra
    assert client.ask("enqueue_syndromes", arguments)[0] == Status.BAD_REQUEST


def test_row_10_too_many_syndromes_stay_failed_until_reset():
    client = Client()
    assert client.enqueue(np.ones(4, dtype=np.uint8)) == Status.OK
    for _ in range(2):
        assert client.enqueue(FLIP_1) == Status.OK
        assert client.get(reset=True)[0] == Status.INTERNAL_ERROR
    assert client.reset() == Status.OK
    assert client.enqueue(FLIP_1) == Status.OK
    assert client.get() == (Status.OK, bytes([0b010]))


class BrokenDecoder:
    n_measurements = 3
    n_observables = 3

    def decode(self, measurements):  # noqa: ARG002
        raise ZeroDivisionError


def test_row_11_decoder_that_raises_fails_alone():
    client = Client(BrokenDecoder(), identity_decoder())
    assert client.enqueue(FLIP_1) == Status.OK
    assert client.get()[0] == Status.INTERNAL_ERROR
    assert client.enqueue(FLIP_1, decoder_id=1) == Status.OK
    assert client.get(decoder_id=1)[0] == Status.OK


def test_row_15_round_that_comes_twice_counts_once():
    client = Client(identity_decoder(6))
    for _ in range(3):
        assert client.enqueue(FLIP_1, counter=(4 << 16) | 1) == Status.OK
    assert client.get(n_bits=6)[0] == Status.NOT_READY
    client.enqueue(np.zeros(3, dtype=np.uint8), counter=(4 << 16) | 2)
    assert client.get(n_bits=6) == (Status.OK, bytes([0b010]))


def test_memory_of_counters_is_bounded():
    client = Client(identity_decoder(1))
    bit = np.ones(1, dtype=np.uint8)
    for counter in range(1, 4200):
        client.enqueue(bit, counter=counter)
    client.enqueue(bit, counter=4199)
    assert client.get(n_bits=1) == (Status.OK, bytes([1]))  # 4199 flips, not 4200
    client.enqueue(bit, counter=1)
    assert client.get(n_bits=1) == (Status.OK, bytes([0]))  # so old that it counts as new


def test_thirty_two_decoders_at_most():
    DecodeServer([identity_decoder()] * 32)
    with pytest.raises(DecoderCountError, match="33 decoders"):
        DecodeServer([identity_decoder()] * 33)
