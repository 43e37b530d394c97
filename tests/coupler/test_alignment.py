"""Row 33: a payload begins 24 bytes into a buffer that may begin anywhere."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from cudaq_target.coupler.decode_server import DecodeServer
from cudaq_target.coupler.dispatch import Dispatcher
from cudaq_target.coupler.frame import function_id, request_frame
from cudaq_target.coupler.handlers import handler
from cudaq_target.coupler.payload import ShotBatch, read_shot_batch
from cudaq_target.coupler.sessions import Session
from cudaq_target.coupler.shm import Dispatcher as NativeDispatcher
from cudaq_target.kernels.decoders.measured import lookup_decoder
from tests.coupler.golden import ENQUEUE

OFFSETS = range(9)


def shifted(frame: bytes, offset: int) -> memoryview:
    """The frame at an odd place: numpy's memory begins at a multiple of 16."""
    buffer = np.zeros(len(frame) + offset, dtype=np.uint8)
    assert buffer.ctypes.data % 16 == 0
    buffer[offset:] = np.frombuffer(frame, dtype=np.uint8)
    return memoryview(buffer)[offset:]


@handler
def add_words(arguments: np.ndarray, result: np.ndarray) -> int:
    """Read two words and write their sum."""
    words = arguments.view(np.uint64)
    result[:8].view(np.uint64)[0] = words[0] + words[1]
    return 8


@pytest.mark.parametrize("offset", OFFSETS)
def test_row_33_native_and_compiled_functions_read_unaligned_payloads(offset):
    dispatcher = NativeDispatcher()
    dispatcher.add_builtin("occupation")
    add_words.add_to(dispatcher, "add_words", min_arg_bytes=16, max_arg_bytes=16)
    rows = np.array([[0b101], [0b100]], dtype=np.uint64)
    calls = {
        "occupation": (ShotBatch(1, 0, 3, rows).to_bytes(), struct.pack("<3I", 1, 0, 2)),
        "add_words": (struct.pack("<QQ", 2**40, 5), struct.pack("<Q", 2**40 + 5)),
    }
    for name, (arguments, expected) in calls.items():
        response = shifted(bytes(256), offset)
        frame = shifted(request_frame(function_id(name), arguments, 3), offset)
        n_bytes = dispatcher.handle(dispatcher.session(256), frame, response)
        assert struct.unpack_from("<i", response, 4) == (0,)
        assert bytes(response[24:n_bytes]) == expected


@pytest.mark.parametrize("offset", OFFSETS)
def test_row_33_python_reads_unaligned_payloads(offset):
    sparse = [index for k in range(9) for index in (k, -1)]
    decoders = DecodeServer([lookup_decoder(sparse, sparse, sparse, 9)])
    dispatcher = Dispatcher(decoders.functions(), slot_bytes=256)
    answer = dispatcher.dispatch(Session("client"), shifted(ENQUEUE, offset))
    assert answer is not None
    assert struct.unpack_from("<i", answer, 4) == (0,)
    batch = ShotBatch(1, 2, 70, np.array([[3, 4]], dtype=np.uint64))
    read = read_shot_batch(shifted(batch.to_bytes(), offset))
    assert read is not None
    np.testing.assert_array_equal(read.rows, batch.rows)
