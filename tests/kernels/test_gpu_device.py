"""What only a GPU can show: the same answers from real memory, streams, sizes and faults.

Imports NumPy, pytest, CuPy and the built native module alone, so that a bare GPU node runs it;
`python -m benchmarks.gpu_node` does.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cudaq_target.coupler.frame import function_id
from cudaq_target.coupler.gpu_server import GpuServer, cpu_dispatcher
from cudaq_target.coupler.shm import Client, SlotRing
from cudaq_target.kernels import statevector
from cudaq_target.kernels.backends import gpu_missing
from cudaq_target.kernels.gpu import decoding as gpu_decoding
from cudaq_target.kernels.gpu import layout as gpu_layout
from cudaq_target.kernels.gpu import observables as gpu_observables
from cudaq_target.kernels.gpu import statistics as gpu_statistics
from cudaq_target.kernels.reference import layout, observables, statistics
from tests.kernels import test_gpu_dispatch as dispatch
from tests.kernels import test_gpu_emulated as emulated

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(gpu_missing()), reason=gpu_missing())]

ring = dispatch.ring
SHAPES = [*emulated.SHAPES, (100_000, 256), (70_001, 190), (1_000_003, 64), (100_000, 16)]


@pytest.fixture
def server(ring):
    with GpuServer(ring, dispatch.functions()) as made:
        yield made


@pytest.mark.parametrize(("n_shots", "n_bits"), SHAPES + emulated.EMPTY)
def test_layout(n_shots: int, n_bits: int) -> None:
    emulated.test_layout(n_shots, n_bits)


@pytest.mark.parametrize(("n_shots", "n_bits"), SHAPES)
@pytest.mark.parametrize("name", ["occupation", "pair_correlations", "histogram"])
def test_statistics(name: str, n_shots: int, n_bits: int) -> None:
    emulated.test_statistics(name, n_shots, n_bits)


def test_views_that_start_between_two_pairs() -> None:
    import cupy

    shots = emulated.shots_of(5000, 190)
    for first in range(4):
        view = cupy.asarray(shots)[first:]
        ours = gpu_statistics.occupation(view, 190)
        assert isinstance(ours, cupy.ndarray)
        np.testing.assert_array_equal(ours.get(), statistics.occupation(shots[first:], 190))


@pytest.mark.parametrize(("n_shots", "n_bits"), [(1, 2), (30_000, 256), (300, 1700)])
def test_observables(n_shots: int, n_bits: int) -> None:
    emulated.test_observables(n_shots, n_bits)


@pytest.mark.parametrize("n_checks", [1, 128, 1000])
@pytest.mark.parametrize(("n_shots", "n_bits"), [(1, 1), (20_001, 256), (3000, 900)])
def test_parities(n_shots: int, n_bits: int, n_checks: int) -> None:
    emulated.test_parities(n_shots, n_bits, n_checks)


@pytest.mark.parametrize("name", ["test_look_ups", "test_diagonals", "test_rotations"])
def test_like_the_emulated_ones(name: str) -> None:
    function = getattr(emulated, name)
    if name == "test_look_ups":
        function()
        return
    for dtype in (np.complex64, np.complex128):
        function(*((22,) if name == "test_rotations" else ()), dtype)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_states_on_the_device_stay_there(dtype) -> None:
    import cupy

    n_qubits = 20
    rng = np.random.default_rng(6)
    plain = rng.normal(size=(n_qubits, 2, 2)) + 1j * rng.normal(size=(n_qubits, 2, 2))
    rotations = np.linalg.qr(plain)[0]
    host = emulated.state_of(1 << n_qubits, dtype)
    state = cupy.asarray(host)
    dims, sites = (2,) * n_qubits, (n_qubits - 1, 3)
    block = np.kron(rotations[0], rotations[1])
    for where in (state, host):
        assert statevector.rotate_qubits(where, rotations) is where
        assert statevector.apply_diagonal(where, dims, sites, np.exp(1j * np.arange(4.0))) is where
        assert statevector.apply_block(where, dims, sites, block) is where
    atol = 40 * emulated.TOLERANCE[dtype]
    np.testing.assert_allclose(state.get(), host, rtol=0, atol=atol)


def test_work_is_queued_on_the_current_stream() -> None:
    import cupy

    shots = emulated.shots_of(200_000, 256)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        ours = gpu_statistics.occupation(cupy.asarray(shots), 256)
    stream.synchronize()
    np.testing.assert_array_equal(ours.get(), statistics.occupation(shots, 256))


def test_more_elements_than_an_int_counts() -> None:
    """2^31 bits and more, unpacked, counted and transposed."""
    import cupy

    n_shots, n_bits = (1 << 23) + 100, 257
    if cupy.cuda.runtime.memGetInfo()[0] < 8 << 30:
        pytest.skip("needs 8 GiB of free device memory")
    few = emulated.shots_of(1 << 10, n_bits)
    shots = cupy.tile(cupy.asarray(few), (1 << 13, 1))
    shots = cupy.concatenate([shots, shots[:100]])
    assert n_shots * n_bits > 1 << 31
    bits = gpu_layout.unpack_bits(shots, n_bits)
    np.testing.assert_array_equal(bits[-100:].get(), layout.unpack_bits(few[:100], n_bits))
    np.testing.assert_array_equal(gpu_layout.pack_bits(bits)[-200:].get(), shots[-200:].get())
    del bits
    planes = gpu_layout.transpose_bits(shots, n_bits)
    back = gpu_layout.planes_to_shots(planes, n_shots)
    assert bool((back == shots).all())
    counts = (1 << 13) * statistics.occupation(few, n_bits) + statistics.occupation(
        few[:100], n_bits
    )
    np.testing.assert_array_equal(gpu_statistics.occupation(shots, n_bits).get(), counts)
    unique, found = gpu_statistics.histogram(shots, n_bits)
    expected = statistics.histogram(few, n_bits)[0]
    np.testing.assert_array_equal(unique.get(), expected)
    assert int(found.sum()) == n_shots


def test_host_arrays_come_home() -> None:
    shots = emulated.shots_of(1000, 70)
    edges = np.array([[0, 1], [68, 69]])
    ours = gpu_observables.violation_counts(shots, 70, edges)
    assert isinstance(ours, np.ndarray)
    np.testing.assert_array_equal(ours, observables.violation_counts(shots, 70, edges))
    masks = emulated.shots_of(3, 70, seed=1)
    assert isinstance(gpu_decoding.parity_rows(shots, 70, masks), np.ndarray)


@pytest.mark.usefixtures("server")
def test_handlers_give_what_numpy_gives(ring) -> None:
    dispatch.check_handlers(ring)


def test_the_dispatcher_answers_random_frames_as_the_native_one(server, ring) -> None:
    pytest.importorskip("numba", reason="compiles the other side")
    rng = np.random.default_rng(12)
    native = cpu_dispatcher(dispatch.functions())
    session = native.session(dispatch.STRIDE)
    slot, expected = bytearray(dispatch.STRIDE), bytearray(dispatch.STRIDE)
    client = Client(ring, wait="busy")
    for number in range(20_000):
        sent = dispatch.frame(rng, number)
        padded = sent + bytes(dispatch.STRIDE - len(sent))
        assert client.send_raw(padded, timeout_ns=dispatch.ANSWER_NS)
        assert client.receive_into(slot, timeout_ns=dispatch.ANSWER_NS), number
        n_bytes = native.handle(session, padded, expected, exact=False)
        assert slot[:n_bytes] == expected[:n_bytes], (number, sent[:24].hex())
    client.close()
    server.check()
    server.close()
    ours, theirs = server.counters(), native.counters()
    assert ours == {name: theirs[name] for name in ours}


@pytest.mark.usefixtures("server")
def test_a_hundred_thousand_shots_agree_bit_for_bit(ring) -> None:
    """Row 28."""
    pytest.importorskip("numba", reason="compiles the other side")
    client = Client(ring, wait="busy")
    dispatch.assert_shots_agree(client, 100_000)
    client.close()


@pytest.mark.usefixtures("server")
def test_clients_of_other_processes_share_the_bytes(ring) -> None:
    command = [sys.executable, "-c", dispatch.CLIENT, ring.name, "5000"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("drain", [True, False])
def test_a_stop_leaves_nothing_unanswered(ring, drain: bool) -> None:
    """Row 29: requests that came before the stop are answered, by their function or CANCELLED."""
    client = Client(ring, wait="busy")
    server = GpuServer(ring, dispatch.functions())
    for k in range(dispatch.N_SLOTS):
        assert client.send(function_id("echo"), bytes([k])) is not None
    server.close(drain=drain)
    for k in range(dispatch.N_SLOTS):
        number, status, result = client.receive(dispatch.ANSWER_NS)
        assert number == k
        assert (status, result) in ([(0, bytes([k]))] + [(-5, b"")] * (not drain))
    counters = server.counters()
    assert counters["answered"] == counters["received"] == dispatch.N_SLOTS
    assert ring.consumer_pid == 0
    client.close()


def test_two_rings_are_served_by_two_blocks(ring) -> None:
    from cudaq_target.coupler.gpu_server import ring_view
    from cudaq_target.kernels.persistent import PersistentDispatcher
    from cudaq_target.kernels.persistent_functions import ECHO

    other = SlotRing.create(f"{ring.name}-other", 4, 32768)
    for one in (ring, other):
        one.claim("consumer")
    views = [ring_view(ring), ring_view(other)]
    with PersistentDispatcher(views, [(function_id("echo"), ECHO)]) as dispatcher:
        clients = [Client(ring, wait="busy"), Client(other, wait="busy")]
        for k in range(1000):
            for client in clients:
                body = bytes([k % 256]) * (k % client.max_arg_bytes)
                ours = client.call(function_id("echo"), body, timeout_ns=dispatch.ANSWER_NS)
                assert ours == (0, body)
        long = bytes(range(256)) * 127
        assert clients[1].call(function_id("echo"), long, timeout_ns=dispatch.ANSWER_NS) == (
            0,
            long,
        )
        for client in clients:
            client.close()
    assert dispatcher.counters()["answered"] == 2001
    other.unlink()


TRAP = """
import sys
from cudaq_target.coupler.gpu_server import GpuServer
from cudaq_target.coupler.shm import SlotRing
from cudaq_target.kernels.errors import DispatcherFaultError
from cudaq_target.kernels.gpu.runtime import CudaRuntime
from cudaq_target.kernels.persistent_functions import ECHO

class Lost(CudaRuntime):
    def upload(self, array):
        super().upload(array)
        return 16  # no memory of the device

ring = SlotRing.attach(sys.argv[1])
try:
    GpuServer(ring, {"echo": ECHO}, runtime=Lost())
except DispatcherFaultError as error:
    assert ring.consumer_pid == 0
    print("fault:", error)
"""


def test_a_kernel_that_traps_is_a_typed_error(ring) -> None:
    """Row 27, in a process of its own: CUDA gives the whole context up."""
    command = [sys.executable, "-c", TRAP, ring.name]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("fault: the dispatcher on the GPU is gone"), done.stderr
    assert "start this process anew" in done.stdout
