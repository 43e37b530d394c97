"""What only a GPU can show of the dispatcher that stays on it: real memory, streams and faults.

Imports NumPy, pytest, CuPy and the built native module alone, so that a bare GPU node runs it;
`python -m benchmarks.gpu_node` does, in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cudaq_target.coupler.frame import function_id
from cudaq_target.coupler.gpu_server import GpuServer, cpu_dispatcher
from cudaq_target.coupler.shm import Client, SlotRing
from cudaq_target.kernels.backends import gpu_missing
from tests.kernels import test_gpu_dispatch as dispatch

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(gpu_missing()), reason=gpu_missing())]

ring = dispatch.ring


@pytest.fixture
def server(ring):
    with GpuServer(ring, dispatch.functions()) as made:
        yield made


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
