"""Decoders in the native dispatcher, without Python, against the decoders in Python."""

from __future__ import annotations

import numpy as np
import pytest

from cudaq_target.coupler import decode_handlers
from cudaq_target.coupler.frame import Status, function_id, read_response, request_frame
from cudaq_target.coupler.shm import Dispatcher
from cudaq_target.kernels import (
    LookupDecoder,
    UnionFindDecoder,
    build_table,
    graph_from_checks,
    graph_from_dem,
)
from tests.kernels.backends import pack
from tests.kernels.surface_codes import error_model, sampled

ROOM = 1 << 16


def call(dispatcher: Dispatcher, arguments: bytes, room: int = ROOM):
    response = bytearray(room)
    request = request_frame(function_id("decode"), arguments, 3)
    n_bytes = dispatcher.handle(dispatcher.session(room), request, response)
    return read_response(response, n_bytes, room).status, bytes(response[24:n_bytes])


def assert_answers(dispatcher, decoder, syndromes) -> None:
    for rows in (syndromes, syndromes[:1], syndromes[::-1].copy()):
        status, result = call(dispatcher, rows.tobytes())
        assert status == Status.OK
        assert result == decoder.decode(rows).tobytes()


def wide_checks() -> tuple[np.ndarray, np.ndarray]:
    """A ring of 130 detectors with 130 errors, which are observables, too."""
    errors = np.arange(130)
    checks = np.zeros((130, 130), dtype=np.uint8)
    checks[errors, errors] = checks[(errors + 1) % 130, errors] = 1
    return checks, np.eye(130, dtype=np.uint8)


def ring_dispatcher(kind: str) -> Dispatcher:
    dispatcher = Dispatcher()
    checks, observables = wide_checks()
    if kind == "union find":
        graph = graph_from_checks(checks, observables, 0.1)
        decode_handlers.add_union_find(dispatcher, "decode", graph)
    else:
        decode_handlers.add_look_up(dispatcher, "decode", build_table(checks, observables, 1))
    return dispatcher


@pytest.mark.parametrize("distance", [3, 5])
def test_union_find_of_surface_codes(distance: int) -> None:
    graph = graph_from_dem(error_model(distance, 0.01))
    syndromes, _ = sampled(distance, 0.01, 500)
    dispatcher = Dispatcher()
    decode_handlers.add_union_find(dispatcher, "decode", graph)
    for backend in ("cpu", "numpy"):
        some = syndromes if backend == "cpu" else syndromes[:100]
        assert_answers(dispatcher, UnionFindDecoder(graph, backend=backend), some)


@pytest.mark.parametrize("kind", ["union find", "look-up"])
def test_many_words(kind: str) -> None:
    checks, observables = wide_checks()
    rng = np.random.default_rng(4)
    errors = (rng.random((200, 130)) < 0.05).astype(int)
    decoder = (
        UnionFindDecoder(graph_from_checks(checks, observables, 0.1))
        if kind == "union find"
        else LookupDecoder(build_table(checks, observables, 1))
    )
    syndromes = pack((errors @ checks.T % 2).astype(np.uint8))
    assert_answers(ring_dispatcher(kind), decoder, syndromes)


@pytest.mark.parametrize("kind", ["union find", "look-up"])
def test_what_is_no_syndrome_is_refused(kind: str) -> None:
    dispatcher = ring_dispatcher(kind)
    good, stray = np.zeros(3, dtype=np.uint64), np.array([0, 0, 4], dtype=np.uint64)
    bad = [b"", bytes(8), bytes(23), bytes(25), stray.tobytes(), good.tobytes() + stray.tobytes()]
    for arguments in bad:
        assert call(dispatcher, arguments) == (Status.BAD_REQUEST, b"")
    assert call(dispatcher, bytes(48), room=24 + 40) == (Status.BAD_REQUEST, b"")
    assert call(dispatcher, bytes(48)) == (Status.OK, bytes(48))


def test_syndromes_that_cannot_be_leave_no_trace() -> None:
    dispatcher = ring_dispatcher("union find")
    pair = np.array([0b11, 0, 0], dtype=np.uint64).tobytes()
    expected = call(dispatcher, pair)
    assert expected == (Status.OK, np.array([1, 0, 0], dtype=np.uint64).tobytes())
    for _ in range(3):
        odd = np.array([1, 1 << 40, 1], dtype=np.uint64).tobytes()
        assert call(dispatcher, odd) == (Status.BAD_REQUEST, b"")
        assert call(dispatcher, pair) == expected


def test_names_are_taken_once() -> None:
    dispatcher = ring_dispatcher("look-up")
    with pytest.raises(ValueError, match="decode"):
        decode_handlers.add_look_up(dispatcher, "decode", build_table(*wide_checks(), 0))
