"""Handlers: built-in ones against NumPy, compiled ones against the promises of the dispatcher."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cudaq_target.coupler.frame import Status, function_id, read_response, request_frame
from cudaq_target.coupler.handlers import handler, stateful_handler
from cudaq_target.coupler.payload import shot_batch
from cudaq_target.coupler.shm import Dispatcher

ROOM = 1 << 16


def call(dispatcher: Dispatcher, name: str, arguments: bytes = b"", session=None):
    session = dispatcher.session(ROOM) if session is None else session
    response = bytearray(ROOM)
    request = request_frame(function_id(name), arguments, 3)
    n_bytes = dispatcher.handle(session, request, response)
    head = read_response(response, n_bytes, ROOM)
    return head.status, bytes(response[24:n_bytes])


@settings(max_examples=60)
@given(n_shots=st.integers(0, 700), n_qubits=st.integers(1, 200), seed=st.integers(0, 99))
@example(n_shots=0, n_qubits=193, seed=0)  # no rows, each of which would exceed the header
def test_occupation_counts_ones(n_shots: int, n_qubits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, size=(n_shots, n_qubits), dtype=np.uint8)
    n_words = -(-n_qubits // 64)
    padded = np.zeros((n_shots, 64 * n_words), dtype=np.uint8)
    padded[:, :n_qubits] = bits
    rows = np.packbits(padded, axis=1, bitorder="little").view("<u8").reshape(n_shots, n_words)
    dispatcher = Dispatcher()
    dispatcher.add_builtin("occupation")
    status, result = call(dispatcher, "occupation", shot_batch(1, 0, n_qubits, rows).to_bytes())
    assert status == Status.OK
    assert np.array_equal(np.frombuffer(result, dtype="<u4"), bits.sum(axis=0))


@pytest.mark.parametrize(
    ("n_shots", "n_qubits", "n_bytes"),
    [(1, 1, 0), (2, 1, 8), (1, 65, 8), (1, 0, 0), (2**32 - 1, 2**32 - 1, 8), (1, 2**31, 8)],
)
def test_occupation_refuses_wrong_lengths(n_shots: int, n_qubits: int, n_bytes: int) -> None:
    dispatcher = Dispatcher()
    dispatcher.add_builtin("occupation")
    batch = np.array([0, 0], dtype="<u8").tobytes()
    batch += np.array([n_shots, n_qubits], dtype="<u4").tobytes() + bytes(n_bytes)
    assert call(dispatcher, "occupation", batch) == (Status.BAD_REQUEST, b"")
    assert call(dispatcher, "occupation", batch[:23]) == (Status.BAD_REQUEST, b"")


@settings(max_examples=30)
@given(syndrome_bits=st.integers(1, 12), width=st.integers(1, 3), seed=st.integers(0, 99))
def test_look_up_decodes_every_syndrome(syndrome_bits: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, size=(2**syndrome_bits, width), dtype=np.uint8)
    dispatcher = Dispatcher()
    dispatcher.add_look_up("lut", table, syndrome_bits)
    row_bytes = -(-syndrome_bits // 8)
    asked = rng.permutation(2**syndrome_bits)[:100]
    arguments = b"".join(int(s).to_bytes(row_bytes, "little") for s in asked)
    assert call(dispatcher, "lut", arguments) == (Status.OK, table[asked].tobytes())
    if syndrome_bits % 8:
        beyond = (1 << syndrome_bits).to_bytes(row_bytes, "little")
        assert call(dispatcher, "lut", beyond) == (Status.BAD_REQUEST, b"")


def test_look_up_tables_have_one_row_per_syndrome() -> None:
    with pytest.raises(ValueError, match="shape"):
        Dispatcher().add_look_up("lut", np.zeros((3, 1), dtype=np.uint8), 2)
    with pytest.raises(ValueError, match="1 to 24"):
        Dispatcher().add_look_up("lut", np.zeros((1, 1), dtype=np.uint8), 0)


def add_pairs(arguments, result):
    pairs = arguments.view(np.int64)
    sums = result[: len(arguments) // 2].view(np.int64)
    for i in range(len(sums)):
        sums[i] = pairs[2 * i] + pairs[2 * i + 1]
    return len(arguments) // 2


def fail(arguments, result):  # noqa: ARG001
    if len(arguments) == 0:
        raise ValueError
    return 0


def refuse(arguments, result):  # noqa: ARG001
    return -5


def claim_too_much(arguments, result):  # noqa: ARG001
    return len(result) + 1


def not_a_number(arguments, result):
    result[:8].view(np.float64)[0] = math.nan if len(arguments) else 1.5
    return 8


def count_calls(arguments, result, state):  # noqa: ARG001
    state.view(np.int64)[0] += 1
    result[:8] = state[:8]
    return 8


def test_a_compiled_function_answers() -> None:
    dispatcher = Dispatcher()
    handler(add_pairs).add_to(dispatcher, "add_pairs", min_arg_bytes=16, max_arg_bytes=160)
    numbers = np.arange(10, dtype="<i8")
    expected = numbers.reshape(5, 2).sum(axis=1).tobytes()
    assert call(dispatcher, "add_pairs", numbers.tobytes()) == (Status.OK, expected)
    for n_bytes in (8, 168):
        assert call(dispatcher, "add_pairs", bytes(n_bytes)) == (Status.BAD_REQUEST, b"")
    assert dispatcher.counters()["bad_request"] == 2


@pytest.mark.parametrize(
    ("function", "status"),
    [
        (fail, Status.INTERNAL_ERROR),
        (refuse, Status.BUSY),
        (claim_too_much, Status.INTERNAL_ERROR),
    ],
)
def test_failures_become_statuses(function, status: Status, capfd) -> None:
    dispatcher = Dispatcher()
    handler(function).add_to(dispatcher, "f")
    dispatcher.add_builtin("echo")
    assert call(dispatcher, "f") == (status, b"")
    assert call(dispatcher, "echo", b"fine") == (Status.OK, b"fine")
    assert capfd.readouterr().err == ""


def test_results_that_are_not_finite_are_failures() -> None:
    dispatcher = Dispatcher()
    handler(not_a_number).add_to(dispatcher, "f", float64_result=True)
    assert call(dispatcher, "f") == (Status.OK, np.float64(1.5).tobytes())
    assert call(dispatcher, "f", b"x") == (Status.INTERNAL_ERROR, b"")
    assert dispatcher.counters()["handler_failures"] == 1


def test_state_is_the_session_s_or_the_handler_s() -> None:
    counter = stateful_handler(count_calls, 8)
    dispatcher = Dispatcher(session_bytes=8)
    counter.add_to(dispatcher, "per session")
    own = np.zeros(8, dtype=np.uint8)
    counter.add_to(dispatcher, "for all", state=own)
    sessions = [dispatcher.session(ROOM) for _ in range(2)]
    for i in range(1, 4):
        for session in sessions:
            status, result = call(dispatcher, "per session", session=session)
            assert (status, int.from_bytes(result, "little")) == (Status.OK, i)
            call(dispatcher, "for all", session=session)
    assert own.view(np.int64)[0] == 6
    sessions[0].reset()
    assert call(dispatcher, "per session", session=sessions[0])[1][0] == 1
    with pytest.raises(ValueError, match="needs 8 bytes of state; it gets 0"):
        counter.add_to(Dispatcher(), "f")
    with pytest.raises(ValueError, match="at least 1"):
        stateful_handler(count_calls, 0)


def test_late_results_are_discarded() -> None:
    def spin(arguments, result):
        total = 0.0
        for i in range(20_000_000 * len(arguments)):
            total += math.sqrt(i)
        result[0] = 1 if total >= 0 else 0
        return 1

    dispatcher = Dispatcher()
    handler(spin).add_to(dispatcher, "spin", deadline_ns=1_000_000)
    assert call(dispatcher, "spin", b"x") == (Status.DEADLINE, b"")
    assert dispatcher.counters()["deadline_misses"] == 1
    dispatcher.stop(timeout_s=60.0)
    assert dispatcher.counters()["late_results"] == 1
    patient = Dispatcher()
    handler(spin).add_to(patient, "spin", deadline_ns=10**12)
    assert call(patient, "spin", b"") == (Status.OK, b"\x01")


def test_a_clock_that_steps_back_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines run on the monotonic clock of the system, which nothing in Python can move."""
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    dispatcher = Dispatcher()
    dispatcher.add_builtin("echo", deadline_ns=10**12)
    assert call(dispatcher, "echo", b"x") == (Status.OK, b"x")


def test_guard_bytes_catch_a_handler_that_writes_too_far() -> None:
    from ctypes import CFUNCTYPE, POINTER, c_int, c_uint32, c_void_p, cast, memset

    signature = CFUNCTYPE(c_int, c_void_p, c_void_p, c_uint32, c_uint32, POINTER(c_uint32))

    @signature
    def write_too_far(_source, target, _arg_len, max_len, result_len):
        memset(target, 1, max_len + 1)
        result_len[0] = 4
        return 0

    dispatcher = Dispatcher(guard=True)
    address = cast(write_too_far, c_void_p).value
    dispatcher.add_address("f", address, keep_alive=write_too_far)
    dispatcher.add_builtin("echo")
    assert call(dispatcher, "f") == (Status.INTERNAL_ERROR, b"")
    assert call(dispatcher, "echo", b"fine") == (Status.OK, b"fine")
