"""The dispatcher that stays on the GPU, its device code run on this processor against real rings.

The kernel is the one that a GPU runs, on a ring in shared memory with the native client at its
other end. What only a GPU can show is in `test_gpu_device.py`.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from itertools import count

import numpy as np
import pytest

from cudaq_target.coupler.errors import RoleTakenError
from cudaq_target.coupler.frame import Status, function_id, request_frame
from cudaq_target.coupler.gpu_server import GpuServer, cpu_dispatcher, ring_view, serve_on_gpu
from cudaq_target.coupler.shm import Client, SlotRing
from cudaq_target.kernels import persistent
from cudaq_target.kernels.backends import gpu_missing
from cudaq_target.kernels.errors import (
    BackendUnavailableError,
    DispatcherFaultError,
    DispatcherTimeoutError,
    KernelInputError,
)
from cudaq_target.kernels.persistent import PersistentDispatcher, RingView
from cudaq_target.kernels.persistent_functions import (
    ECHO,
    INCREMENT,
    OCCUPATION,
    ising_mean,
    look_up,
    parities,
)
from tests.kernels.emulated_device import build
from tests.kernels.emulated_runtime import EmulatedRuntime

N_QUBITS, N_CHECKS, STRIDE, N_SLOTS = 100, 70, 2048, 8
BACK_OFF_NS = 1  # the emulated device then gives the core away between two looks
ANSWER_NS = 30_000_000_000
_numbers = count()


def functions() -> dict:
    rng = np.random.default_rng(7)
    masks = rng.integers(0, 2**63, size=(N_CHECKS, 2), dtype=np.uint64)
    masks[:, 1] &= np.uint64((1 << (N_QUBITS - 64)) - 1)
    edges = [tuple(rng.choice(N_QUBITS, 2, replace=False).tolist()) for _ in range(300)]
    return {
        "rpc_increment": INCREMENT,
        "echo": ECHO,
        "occupation": OCCUPATION,
        "decode": look_up(rng.integers(0, 256, size=(1 << 10, 3), dtype=np.uint8), 10),
        "parities": parities(masks, N_QUBITS),
        "energy": ising_mean(
            N_QUBITS, edges, rng.normal(size=300), rng.normal(size=N_QUBITS).tolist(), 0.5
        ),
    }


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory):
    return build("dispatch", tmp_path_factory.mktemp("dispatch"))


@pytest.fixture
def ring() -> SlotRing:
    return SlotRing.create(f"test-{os.getpid()}-gpu-{next(_numbers)}", N_SLOTS, STRIDE)


@pytest.fixture
def server(ring, library):
    runtime = EmulatedRuntime(library)
    with GpuServer(ring, functions(), back_off_ns=BACK_OFF_NS, runtime=runtime) as made:
        yield made
    assert runtime.is_closed


def batch(rng: np.random.Generator, n_shots: int, n_qubits: int = N_QUBITS) -> bytes:
    bits = rng.integers(0, 2, size=(n_shots, 64 * -(-n_qubits // 64)), dtype=np.uint8)
    bits[:, n_qubits:] = 0
    rows = np.packbits(bits, axis=1, bitorder="little").tobytes()
    return struct.pack("<QQII", 1, 2, n_shots, n_qubits) + rows


def arguments(rng: np.random.Generator) -> tuple[str, bytes]:
    """A call that is right, or wrong in one of many ways."""
    name = str(rng.choice(["rpc_increment", "echo", "occupation", "decode", "parities", "energy",
                           "nobody"]))  # fmt: skip
    kind = int(rng.integers(0, 8))
    if name == "decode":
        values = rng.integers(0, 1 << 10, size=int(rng.integers(0, 700)), dtype=np.uint16)
        if kind == 0 and len(values):
            values[-1] |= 1 << 12
        return name, values.tobytes() + bytes(kind == 1)
    if name in ("occupation", "parities", "energy"):
        body = batch(rng, int(rng.integers(0, 120)), 65 if kind == 0 else N_QUBITS)
        if kind == 1:
            body = body[: int(rng.integers(0, len(body)))]
        if kind == 2:
            body = body[:16] + rng.bytes(8) + body[24:]
        return name, body
    return name, rng.bytes(int(rng.integers(0, STRIDE - 23)))


def frame(rng: np.random.Generator, number: int) -> bytes:
    name, body = arguments(rng)
    whole = bytearray(request_frame(function_id(name), body[: STRIDE - 24], number, number * 7))
    kind = int(rng.integers(0, 12))
    if kind == 0:
        whole[int(rng.integers(0, 24))] ^= 1 << int(rng.integers(0, 8))
    if kind == 1:
        whole[8:12] = rng.bytes(4)
    if kind == 2:
        whole[:24] = rng.bytes(24)
    return bytes(whole)


def test_random_frames_get_the_answers_of_the_native_dispatcher(server, ring) -> None:
    """Right, wrong and damaged frames; header and result agree byte for byte (rows 2-5, 21, 28)."""
    rng = np.random.default_rng(11)
    native = cpu_dispatcher(functions())
    session = native.session(STRIDE)
    slot, expected = bytearray(STRIDE), bytearray(STRIDE)
    client = Client(ring, wait="yield")
    n_frames = 1500
    for number in range(n_frames):
        sent = frame(rng, number)
        padded = sent + bytes(STRIDE - len(sent))
        assert client.send_raw(padded, timeout_ns=ANSWER_NS)
        assert client.receive_into(slot, timeout_ns=ANSWER_NS), number
        n_bytes = native.handle(session, padded, expected, exact=False)
        assert slot[:n_bytes] == expected[:n_bytes], (number, sent[:24].hex())
    client.close()
    server.close()
    ours, theirs = server.counters(), native.counters()
    assert ours == {name: theirs[name] for name in ours}
    assert ours["answered"] == n_frames


@pytest.mark.usefixtures("server")
def test_handlers_give_what_numpy_gives(ring) -> None:
    check_handlers(ring)


def check_handlers(ring: SlotRing) -> None:
    rng = np.random.default_rng(3)
    made = functions()
    client = Client(ring, wait="yield")
    for n_shots in (1, 31, 32, 33, 100):
        body = batch(rng, n_shots)
        rows = np.frombuffer(body, dtype=np.uint64, offset=24).reshape(n_shots, 2)
        bits = np.unpackbits(rows.view(np.uint8), axis=1, bitorder="little")[:, :N_QUBITS]
        status, result = client.call(function_id("occupation"), body, timeout_ns=ANSWER_NS)
        assert (status, result) == (0, bits.sum(axis=0, dtype=np.uint32).tobytes())
        odd = np.bitwise_count(rows[:, None, :] & made["parities"].table).sum(axis=2) & 1
        packed = np.packbits(odd.astype(np.uint8), axis=1, bitorder="little")
        status, result = client.call(function_id("parities"), body, timeout_ns=ANSWER_NS)
        assert status == 0
        assert (
            np.frombuffer(result, dtype=np.uint8).reshape(n_shots, 16)[:, :9].tolist()
            == packed.tolist()
        )
        constant, *numbers = made["energy"].table
        spins = 1.0 - 2.0 * bits
        products = spins[:, made["energy"].indices[:, 0]] * spins[:, made["energy"].indices[:, 1]]
        energies = constant + np.concatenate([spins, products], axis=1) @ numbers
        status, result = client.call(function_id("energy"), body, timeout_ns=ANSWER_NS)
        bound = (len(numbers) + 2) * 2**-52 * np.abs(made["energy"].table).sum()
        assert abs(struct.unpack("<d", result)[0] - energies.mean()) <= bound
    client.close()


def answer_of(frame: bytes) -> tuple[int, bytes]:
    """Status and result, from the answer slot of one call."""
    status, n_bytes = struct.unpack_from("<iI", frame, 4)
    return status, frame[24 : 24 + n_bytes]


def assert_shots_agree(client: Client, n_shots: int) -> None:
    """Row 28: GPU against native and compiled handlers, and NumPy, bit for bit."""
    rng = np.random.default_rng(28)
    made, native = functions(), cpu_dispatcher(functions())
    session, slot = native.session(STRIDE), bytearray(STRIDE)
    totals = np.zeros((2, N_QUBITS), dtype=np.int64)
    masks = made["parities"].table
    for first in range(0, n_shots, 100):
        body = batch(rng, 100)
        rows = np.frombuffer(body, dtype=np.uint64, offset=24).reshape(100, 2)
        odd = np.bitwise_count(rows[:, None, :] & masks).sum(axis=2) & 1
        for name in ("occupation", "parities", "energy"):
            sent = request_frame(function_id(name), body, first & 0xFFFF)
            native.handle(session, sent, slot)
            ours = client.call(function_id(name), body, timeout_ns=ANSWER_NS)
            assert ours == answer_of(bytes(slot)), (name, first)
            if name == "occupation":
                totals[0] += np.frombuffer(ours[1], dtype=np.uint32)
            if name == "parities":
                bits = np.unpackbits(np.frombuffer(ours[1], np.uint8), bitorder="little")
                np.testing.assert_array_equal(bits.reshape(100, -1)[:, :N_CHECKS], odd)
        bits = np.unpackbits(rows.view(np.uint8), axis=1, bitorder="little")
        totals[1] += bits[:, :N_QUBITS].sum(axis=0, dtype=np.int64)
    np.testing.assert_array_equal(totals[0], totals[1])


@pytest.mark.usefixtures("server")
def test_a_hundred_thousand_shots_agree_bit_for_bit(ring) -> None:
    client = Client(ring, wait="yield")
    assert_shots_agree(client, 100_000)
    client.close()


CLIENT = """
import sys
from cudaq_target.coupler.shm import Client, SlotRing
from cudaq_target.coupler.frame import function_id
client = Client(SlotRing.attach(sys.argv[1]), wait="adaptive")
name, n = function_id("rpc_increment"), int(sys.argv[2])
for i in range(n):
    body = bytes([i % 256]) * (i % 900)
    answer = bytes([(i + 1) % 256]) * (i % 900)
    assert client.call(name, body, timeout_ns=30_000_000_000) == (0, answer)
assert client.counters()["stale"] == client.counters()["bad_frames"] == 0
client.close()
"""


@pytest.mark.usefixtures("server")
def test_clients_of_other_processes_follow_each_other(ring) -> None:
    """Every client takes over a session and goes on where the count of answers stands."""
    for n_calls in (1, 50, 200):
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, ring.name, str(n_calls)],
            check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert ring.consumer_pid == os.getpid()


@pytest.mark.usefixtures("server")
def test_requests_under_way_keep_their_order(ring) -> None:
    client = Client(ring, wait="yield")
    for turn in range(20):
        sent = [client.send(function_id("echo"), bytes([turn, k])) for k in range(N_SLOTS)]
        assert client.send(function_id("echo"), b"one too many") is None
        for k, number in enumerate(sent):
            assert client.receive(ANSWER_NS) == (number, 0, bytes([turn, k]))
    client.close()


@pytest.mark.parametrize(("drain", "status"), [(True, Status.OK), (False, Status.CANCELLED)])
def test_a_stop_answers_what_waits(ring, library, drain, status) -> None:
    """Row 29. The command is there before the kernel looks at the ring for the first time."""

    class Told(EmulatedRuntime):
        def allocate(self, n_words):
            words, address = super().allocate(n_words)
            words[0] = 1 if drain else 2
            return words, address

    ring.claim("consumer")
    client = Client(ring, wait="yield")
    for k in range(N_SLOTS):
        client.send(function_id("echo"), bytes([k]))
    dispatcher = PersistentDispatcher(
        [ring_view(ring)], [(function_id("echo"), ECHO)], runtime=Told(library)
    )
    dispatcher.stop(drain=drain)
    dispatcher.stop()
    for k in range(N_SLOTS):
        _, found, result = client.receive(ANSWER_NS)
        assert (found, result) == (status, bytes([k]) if drain else b"")
    counters = dispatcher.counters()
    assert counters["answered"] == counters["received"] == N_SLOTS
    assert counters["dispatched" if drain else "cancelled"] == N_SLOTS
    client.close()
    ring.release("consumer")


def test_a_second_server_is_refused_and_a_closed_one_gives_its_role_back(ring, library) -> None:
    with GpuServer(ring, functions(), back_off_ns=1, runtime=EmulatedRuntime(library)) as server:
        script = (
            "import sys; from cudaq_target.coupler.shm import SlotRing; "
            "SlotRing.attach(sys.argv[1]).claim('consumer')"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, ring.name], check=False, capture_output=True, text=True
        )
        assert RoleTakenError.__name__ in done.stderr
        assert server.is_running
    assert ring.consumer_pid == 0
    assert not server.is_running


@pytest.mark.parametrize("noticed_by", [GpuServer.check, GpuServer.close])
def test_a_kernel_that_is_gone_is_a_typed_error(ring, library, noticed_by) -> None:
    """Row 27: what a trap looks like to the host."""
    runtime = EmulatedRuntime(library)
    server = GpuServer(ring, {"echo": ECHO}, back_off_ns=1, runtime=runtime)
    server.check()
    runtime.fault = "cudaErrorLaunchFailure: unspecified launch failure"
    with pytest.raises(DispatcherFaultError, match=r"unspecified launch failure.*anew"):
        noticed_by(server)
    assert not server.is_running
    assert ring.consumer_pid == 0
    server.close()
    ring.memory[:0]  # the mapping lives on
    runtime._kept[0][0] = 2  # end the thread that only played dead
    while runtime._thread.is_alive():
        time.sleep(0.001)


def test_a_kernel_whose_end_was_not_awaited_keeps_its_ring(ring, library) -> None:
    """Ctrl-C while it ends: it may still answer, so nobody else may."""

    class Interrupted(EmulatedRuntime):
        def failure(self) -> str | None:
            raise KeyboardInterrupt

    runtime = EmulatedRuntime(library)
    server = GpuServer(ring, {"echo": ECHO}, back_off_ns=1, runtime=runtime)
    runtime.__class__ = Interrupted
    with pytest.raises(KeyboardInterrupt):
        server.close()
    assert ring.consumer_pid == os.getpid()
    runtime._thread.join()
    ring.release("consumer")


class Stuck(EmulatedRuntime):
    def launch(self, n_blocks, arguments, shared_bytes) -> None:
        del n_blocks, arguments, shared_bytes

    def failure(self) -> str | None:
        return self.fault


def test_starts_are_bounded_in_time_and_fail_by_name(ring, library) -> None:
    view, entries = ring_view(ring), [(1, ECHO)]
    with pytest.raises(DispatcherTimeoutError, match=r"did not start within 0\.01 s"):
        PersistentDispatcher([view], entries, runtime=Stuck(library), timeout_s=0.01)
    trapped = Stuck(library)
    trapped.fault = "an illegal memory access was encountered"
    with pytest.raises(DispatcherFaultError, match="illegal memory access"):
        PersistentDispatcher([view], entries, runtime=trapped)
    assert trapped.is_closed


def test_a_kernel_that_may_still_start_keeps_its_ring(ring, library, monkeypatch) -> None:
    """Nobody else may answer meanwhile, and what it would read is not freed."""
    lost: list = []
    monkeypatch.setattr(persistent, "_LOST", lost)
    original = PersistentDispatcher.__init__
    monkeypatch.setattr(
        PersistentDispatcher,
        "__init__",
        lambda self, *given, **options: original(self, *given, **options, timeout_s=0.01),
    )
    runtime = Stuck(library)
    with pytest.raises(DispatcherTimeoutError):
        GpuServer(ring, {"echo": ECHO}, runtime=runtime)
    assert ring.consumer_pid == os.getpid()
    assert runtime in lost
    assert not runtime.is_closed
    ring.release("consumer")


def test_a_ring_that_cannot_be_mapped_is_given_back(ring, library) -> None:
    class Unmapped(EmulatedRuntime):
        def register(self, memory):
            super().register(memory)
            raise BackendUnavailableError("gpu", "locked memory", "use the CPU")

    runtime = Unmapped(library)
    with pytest.raises(BackendUnavailableError):
        GpuServer(ring, {"echo": ECHO}, runtime=runtime)
    assert ring.consumer_pid == 0
    assert runtime.is_closed


def test_malformed_rings_and_tables_are_refused(ring, library) -> None:
    view, runtime = ring_view(ring), EmulatedRuntime(library)
    with pytest.raises(KernelInputError, match="functions holds 2 entries, 1 different"):
        PersistentDispatcher([view], [(1, ECHO), (1, INCREMENT)], runtime=runtime)
    with pytest.raises(KernelInputError, match="rings is empty"):
        PersistentDispatcher([], [(1, ECHO)], runtime=runtime)
    short = RingView(view.memory[:5000], *(getattr(view, name) for name in RingView.__slots__[1:]))
    with pytest.raises(KernelInputError, match="memory has 5000 bytes"):
        PersistentDispatcher([short], [(1, ECHO)], runtime=runtime)
    wide = RingView(
        np.zeros(1 << 20, dtype=np.uint8), 1, 1 << 17, 1 << 17, 0, 128, 256, 256 + (1 << 17), 64
    )
    with pytest.raises(KernelInputError, match="a block of this device has"):
        PersistentDispatcher([wide], [(1, ECHO)], runtime=runtime)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: look_up(np.zeros((4, 1), dtype=np.uint8), 25), "syndrome_bits is 25"),
        (lambda: look_up(np.zeros((4, 1), dtype=np.uint8), 3), "3 bits need 8"),
        (lambda: look_up(np.zeros((8, 1)), 3), "is float64"),
        (lambda: parities(np.zeros((1, 2), dtype=np.uint64), 3), "masks has shape"),
        (lambda: ising_mean(3, [(0, 3)], [1.0]), "edges"),
        (lambda: ising_mean(3, [(0, 1)], [np.nan]), "not all finite"),
        (lambda: ising_mean(3, [(0, 1)], []), "0 for 1 edges"),
    ],
)
def test_malformed_functions_are_refused(call, message) -> None:
    with pytest.raises(KernelInputError, match=message):
        call()


@pytest.mark.skipif(not gpu_missing(), reason="there is a GPU")
def test_without_a_gpu_it_is_an_error_or_the_cpu_with_a_warning(ring) -> None:
    """Row 27: the same answers from the host, said aloud."""
    with pytest.raises(BackendUnavailableError, match="backend 'gpu' needs"):
        serve_on_gpu(ring, functions())
    assert ring.consumer_pid == 0
    with pytest.warns(RuntimeWarning, match="from the CPU: backend 'gpu' needs"):
        server = serve_on_gpu(ring, functions(), fallback="cpu")
    with server:
        client = Client(ring)
        assert client.call(function_id("rpc_increment"), b"\x00\xff") == (0, b"\x01\x00")
        client.close()
    assert server.counters()["answered"] == 1
