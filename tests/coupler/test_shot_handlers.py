"""Compiled handlers of shot batches in the native dispatcher, against the NumPy kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cudaq_target.coupler import shot_handlers
from cudaq_target.coupler.frame import Status, function_id, read_response, request_frame
from cudaq_target.coupler.handlers import handler, stateful_handler
from cudaq_target.coupler.payload import shot_batch
from cudaq_target.coupler.shm import Dispatcher
from cudaq_target.kernels import persistent_functions
from cudaq_target.kernels.cpu.estimation import posterior_update_
from cudaq_target.kernels.cpu.lookup import hash_table, look_up_
from cudaq_target.kernels.cpu.observables import pair_counts_, weigh_
from cudaq_target.kernels.decoders.lookup import LookupDecoder, build_table
from cudaq_target.kernels.estimation import posterior_update
from cudaq_target.kernels.observables import ising_energies, mis_costs
from cudaq_target.kernels.packed import word_count
from cudaq_target.kernels.statistics import occupation
from tests.kernels.backends import pack, random_shots

ROOM = 1 << 16
N_QUBITS = 70


def call(dispatcher: Dispatcher, name: str, arguments: bytes, session=None, request_id: int = 3):
    session = dispatcher.session(ROOM) if session is None else session
    response = bytearray(ROOM)
    request = request_frame(function_id(name), arguments, request_id)
    n_bytes = dispatcher.handle(session, request, response)
    return read_response(response, n_bytes, ROOM).status, bytes(response[24:n_bytes])


def batch_of(shots: np.ndarray, n_qubits: int) -> bytes:
    return shot_batch(1, 0, n_qubits, shots).to_bytes()


def counting_dispatcher() -> Dispatcher:
    dispatcher = Dispatcher()
    dispatcher.add_builtin("occupation")
    shot_handlers.occupation().add_to(dispatcher, "compiled")
    return dispatcher


@given(n_shots=st.integers(0, 500), n_qubits=st.integers(1, 300), seed=st.integers(0, 99))
@example(n_shots=0, n_qubits=193, seed=0)
@example(n_shots=500, n_qubits=256, seed=0)
@example(n_shots=1, n_qubits=64, seed=0)
@settings(max_examples=60)
def test_occupation_is_the_builtin_s_and_the_kernel_s(
    n_shots: int, n_qubits: int, seed: int
) -> None:
    shots = random_shots(np.random.default_rng(seed), n_shots, n_qubits)
    dispatcher = counting_dispatcher()
    status, result = call(dispatcher, "compiled", batch_of(shots, n_qubits))
    assert (status, result) == call(dispatcher, "occupation", batch_of(shots, n_qubits))
    counts = np.frombuffer(result, dtype="<u4")
    if n_shots:
        assert np.array_equal(counts, occupation(shots, n_qubits, backend="numpy"))
    else:
        assert not counts.any()


@pytest.mark.parametrize(
    ("n_shots", "n_qubits", "n_bytes"),
    [
        (1, 1, 0),
        (2, 1, 8),
        (1, 65, 8),
        (1, 0, 0),
        (0, 1, 8),
        (1, 1, 9),
        (2**32 - 1, 2**32 - 1, 8),
        (1, 2**31, 8),
    ],
)
def test_batches_of_wrong_lengths_are_refused(n_shots: int, n_qubits: int, n_bytes: int) -> None:
    head = np.array([0, 0], dtype="<u8").tobytes()
    head += np.array([n_shots, n_qubits], dtype="<u4").tobytes()
    dispatcher = counting_dispatcher()
    functions = persistent_functions.parities(np.ones((1, 1), dtype=np.uint64), 1)
    shot_handlers.add_function(dispatcher, "parities", functions)
    shot_handlers.running_occupation(N_QUBITS).add_to(
        dispatcher, "running", state=np.zeros(16 + 8 * N_QUBITS, dtype=np.uint8)
    )
    for name in ("compiled", "parities", "running"):
        for arguments in (head + bytes(n_bytes), head[:23], b""):
            assert call(dispatcher, name, arguments) == (Status.BAD_REQUEST, b""), name


def test_sessions_count_on_their_own() -> None:
    rng = np.random.default_rng(5)
    state_bytes = shot_handlers.running_state_bytes(N_QUBITS)
    dispatcher = Dispatcher(session_bytes=state_bytes, window=16)
    shot_handlers.running_occupation(N_QUBITS).add_to(dispatcher, "running")
    sessions = [dispatcher.session(ROOM) for _ in range(2)]
    ones = np.zeros((2, N_QUBITS), dtype=np.int64)
    n_seen = [0, 0]
    for request_id in range(1, 9):
        for k, session in enumerate(sessions):
            shots = random_shots(rng, int(rng.integers(1, 100)), N_QUBITS)
            ones[k] += occupation(shots, N_QUBITS, backend="numpy")
            n_seen[k] += len(shots)
            for _ in range(2):  # the second is a repeat, answered and not counted again
                status, result = call(
                    dispatcher, "running", batch_of(shots, N_QUBITS), session, request_id
                )
                assert status == Status.OK
                assert np.frombuffer(result, dtype="<u8").tolist() == [n_seen[k], *ones[k]]
    asked = batch_of(np.zeros((0, 2), dtype=np.uint64), N_QUBITS)
    _, result = call(dispatcher, "running", asked, sessions[0], 100)
    assert np.frombuffer(result, dtype="<u8").tolist() == [n_seen[0], *ones[0]]


def test_a_session_keeps_its_width() -> None:
    dispatcher = Dispatcher(session_bytes=shot_handlers.running_state_bytes(N_QUBITS))
    shot_handlers.running_occupation(N_QUBITS).add_to(dispatcher, "running")
    session = dispatcher.session(ROOM)
    one = np.ones((1, 1), dtype=np.uint64)
    assert call(dispatcher, "running", batch_of(one, 3), session)[0] == Status.OK
    for n_qubits in (2, N_QUBITS + 1):
        wrong = batch_of(np.ones((1, word_count(n_qubits)), dtype=np.uint64), n_qubits)
        assert call(dispatcher, "running", wrong, session) == (Status.BAD_REQUEST, b"")
    _, result = call(dispatcher, "running", batch_of(one, 3), session)
    assert np.frombuffer(result, dtype="<u8").tolist() == [2, 2, 0, 0]
    with pytest.raises(ValueError, match="max_qubits is 0"):
        shot_handlers.running_occupation(0)


def test_handlers_without_enough_state_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 576 bytes of state"):
        shot_handlers.running_occupation(N_QUBITS).add_to(Dispatcher(session_bytes=16), "running")


@settings(max_examples=8)
@given(n_shots=st.integers(1, 300), seed=st.integers(0, 99))
def test_parities_are_sums_of_bits(n_shots: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    checks = (rng.random((67, N_QUBITS)) < 0.1).astype(np.uint8)
    bits = rng.integers(0, 2, size=(n_shots, N_QUBITS), dtype=np.uint8)
    dispatcher = Dispatcher()
    function = persistent_functions.parities(pack(checks), N_QUBITS)
    shot_handlers.add_function(dispatcher, "parities", function)
    status, result = call(dispatcher, "parities", batch_of(pack(bits), N_QUBITS))
    assert status == Status.OK
    expected = pack((bits @ checks.T % 2).astype(np.uint8))
    assert np.array_equal(np.frombuffer(result, dtype="<u8").reshape(n_shots, 2), expected)


@settings(max_examples=8)
@given(n_shots=st.integers(1, 300), seed=st.integers(0, 99))
def test_mean_energies_are_those_of_the_kernel(n_shots: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shots = random_shots(rng, n_shots, N_QUBITS)
    edges = [tuple(rng.choice(N_QUBITS, size=2, replace=False).tolist()) for _ in range(90)]
    weights, fields = rng.normal(size=len(edges)), rng.normal(size=N_QUBITS)
    dispatcher = Dispatcher()
    function = persistent_functions.ising_mean(
        N_QUBITS, edges, weights.tolist(), fields.tolist(), constant=0.5
    )
    shot_handlers.add_function(dispatcher, "ising", function)
    status, result = call(dispatcher, "ising", batch_of(shots, N_QUBITS))
    assert status == Status.OK
    energies = ising_energies(shots, N_QUBITS, edges, weights, fields, 0.5, backend="numpy")
    assert np.frombuffer(result, dtype="<f8")[0] == pytest.approx(energies.mean(), abs=1e-11)


def test_names_are_taken_once() -> None:
    dispatcher = counting_dispatcher()
    with pytest.raises(ValueError, match="compiled"):
        shot_handlers.occupation().add_to(dispatcher, "compiled")
    assert function_id("occupation") == 0x9CBD40FA


def test_costs_corrections_and_posteriors_come_without_python() -> None:
    """The allocation-free cores of three more families, called from compiled handlers."""
    rng = np.random.default_rng(17)
    n_qubits, n_shots = 7, 700
    edges = np.stack([np.arange(6), np.arange(1, 7)], axis=1)
    table = build_table(np.eye(7, dtype=np.uint8), rng.integers(0, 2, (3, 7)), max_errors=2)
    keys, corrections, slots = table.keys, table.corrections, hash_table(table.keys)
    likely = rng.uniform(0.01, 0.99, 1024)

    @handler
    def mis(arguments: np.ndarray, result: np.ndarray) -> int:
        rows = arguments.view(np.uint64).reshape(-1, 1)
        costs = result[: 16 * len(rows)].view(np.int64).reshape(2, len(rows))
        planes, tile = np.empty((7, 8), np.uint64), np.empty(512, np.uint64)
        weigh_(rows, costs[0])
        pair_counts_(rows, edges, costs[1], planes, tile)
        return 16 * len(rows)

    @handler
    def decode(arguments: np.ndarray, result: np.ndarray) -> int:
        rows = arguments.view(np.uint64).reshape(-1, 1)
        look_up_(
            keys, corrections, slots, rows, result[: 8 * len(rows)].view(np.uint64).reshape(-1, 1)
        )
        return 8 * len(rows)

    def learn(arguments: np.ndarray, result: np.ndarray, state: np.ndarray) -> int:
        counts, weights = arguments.view(np.int64), state.view(np.float64)
        posterior_update_(weights, likely, counts[0], counts[1])
        result[: 8 * 1024].view(np.float64)[:] = weights
        return 8 * 1024

    dispatcher = Dispatcher()
    mis.add_to(dispatcher, "mis")
    decode.add_to(dispatcher, "decode")
    prior = np.full(1024, -np.log(1024.0))
    stateful_handler(learn, prior.nbytes).add_to(
        dispatcher, "learn", state=prior.copy().view(np.uint8)
    )
    shots = random_shots(rng, n_shots, n_qubits)
    _, result = call(dispatcher, "mis", shots.tobytes())
    expected = mis_costs(shots, n_qubits, edges, backend="numpy")
    assert np.array_equal(np.frombuffer(result, "<i8").reshape(2, -1), np.stack(expected))
    _, result = call(dispatcher, "decode", shots.tobytes())
    decoder = LookupDecoder(table, backend="numpy")
    assert np.array_equal(np.frombuffer(result, "<u8")[:, None], decoder.decode(shots))
    _, result = call(dispatcher, "learn", np.array([30, 100], "<i8").tobytes())
    posterior = posterior_update(prior, likely, 30, 100, backend="numpy")
    assert np.frombuffer(result, "<f8") == pytest.approx(posterior, abs=1e-9)
