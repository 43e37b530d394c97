"""Two processes at a slot ring, and what becomes of one when the other dies, freezes or returns."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cudaq_target.coupler.errors import CallTimeoutError, PeerGoneError
from cudaq_target.coupler.frame import function_id
from cudaq_target.coupler.shm import Client, Dispatcher, SlotRing

if TYPE_CHECKING:
    from collections.abc import Iterator

SPAWN = multiprocessing.get_context("spawn")
INCREMENT = function_id("rpc_increment")
LONG_NS = 60 * 10**9
_numbers = count()


@pytest.fixture
def name() -> Iterator[str]:
    """A free name; what a killed server leaves goes with the test."""
    name = f"test-{os.getpid()}-processes-{next(_numbers)}"
    yield name
    (Path("/dev/shm") / f"cudaq-target-{name}").unlink(missing_ok=True)


def serve(name: str, wait: str) -> None:
    """What the server process runs."""
    ring = SlotRing.create(name, 4, 256)
    dispatcher = Dispatcher()
    dispatcher.add_builtin("rpc_increment")
    dispatcher.serve(ring, wait=wait)


def ask_for_ever(name: str) -> None:
    """What a client process runs until it is killed: always several requests under way."""
    client = Client(SlotRing.attach(name))
    for i in count():
        while client.send(INCREMENT, i.to_bytes(8, "little")) is None:
            client.receive(LONG_NS)


def start_server(name: str, wait: str = "adaptive") -> tuple[multiprocessing.Process, SlotRing]:
    process = SPAWN.Process(target=serve, args=(name, wait), daemon=True)
    process.start()
    for _ in range(6000):
        try:
            ring = SlotRing.attach(name)
        except Exception:  # noqa: BLE001 - not there yet, or still the segment of the dead server
            time.sleep(0.01)
            continue
        if ring.consumer_pid == process.pid:
            return process, ring
        time.sleep(0.01)
    raise TimeoutError(name)


def kill(process: multiprocessing.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_two_processes_exchange_requests(name: str) -> None:
    process, ring = start_server(name)
    client = Client(ring)
    for i in range(20_000):
        status, result = client.call(INCREMENT, (i % 251).to_bytes(1, "little") * 16, LONG_NS)
        assert (status, result) == (0, bytes([i % 251 + 1]) * 16)
    counters = client.counters()
    assert counters["sent"] == counters["received"] == 20_000
    client.close()
    kill(process)


def test_a_killed_server_is_noticed_and_its_successor_found(name: str) -> None:
    """Answered plus reported is sent, through three lives of the server."""
    n_sent = n_answered = n_reported = 0
    for life in range(3):
        process, ring = start_server(name)
        client = Client(ring)
        timer = threading.Timer(0.05 * (life + 1), os.kill, (process.pid, signal.SIGKILL))
        timer.start()
        is_alive = True
        while is_alive:
            n_sent += 1
            try:
                client.call(INCREMENT, b"a", LONG_NS)
                n_answered += 1
            except PeerGoneError:
                n_reported += 1
                is_alive = False
        process.join()
        timer.join()
        client.close()
    assert n_answered + n_reported == n_sent


def test_a_killed_client_makes_room_for_the_next(name: str) -> None:
    process, ring = start_server(name)
    for _ in range(3):
        client_process = SPAWN.Process(target=ask_for_ever, args=(name,), daemon=True)
        client_process.start()
        while ring.producer_pid != client_process.pid:
            time.sleep(0.01)
        time.sleep(0.05)
        kill(client_process)
        client = Client(ring, takeover_timeout_s=60)
        for i in range(20):
            assert client.call(INCREMENT, bytes([i]), LONG_NS) == (0, bytes([i + 1]))
        assert client.counters()["stale"] == 0
        client.close()
    kill(process)


def test_a_frozen_server_times_out_and_recovers(name: str) -> None:
    process, ring = start_server(name)
    client = Client(ring)
    assert client.call(INCREMENT, b"a", LONG_NS) == (0, b"b")
    os.kill(process.pid, signal.SIGSTOP)
    for _ in range(2):
        with pytest.raises(CallTimeoutError):
            client.call(INCREMENT, b"lost", 20_000_000)
    os.kill(process.pid, signal.SIGCONT)
    for i in range(20):
        assert client.call(INCREMENT, bytes([i]), LONG_NS) == (0, bytes([i + 1]))
    assert client.counters()["late_results"] == 2
    client.close()
    kill(process)


def test_a_frozen_client_delays_nobody_but_itself(name: str) -> None:
    process, ring = start_server(name)
    client_process = SPAWN.Process(target=ask_for_ever, args=(name,), daemon=True)
    client_process.start()
    while ring.producer_pid != client_process.pid:
        time.sleep(0.01)
    os.kill(client_process.pid, signal.SIGSTOP)
    time.sleep(0.2)
    assert ring.consumer_pid == process.pid
    os.kill(client_process.pid, signal.SIGCONT)
    time.sleep(0.05)
    assert client_process.is_alive()
    kill(client_process)
    kill(process)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux chooses the cores")
@pytest.mark.parametrize("wait", ["yield", "adaptive", "block"])
def test_one_core_is_enough(name: str, wait: str) -> None:
    """Both ends on one core: whoever waits lets the other run."""
    core = min(os.sched_getaffinity(0))
    code = (
        f"import os\nos.sched_setaffinity(0, {{{core}}})\n"
        "from cudaq_target.coupler.frame import function_id\n"
        "from cudaq_target.coupler.shm import Client, Dispatcher, SlotRing\n"
        f"ring = SlotRing.create({name!r}, 4, 256)\n"
        "dispatcher = Dispatcher()\ndispatcher.add_builtin('echo')\n"
        f"dispatcher.start(ring, wait={wait!r})\nclient = Client(ring, wait={wait!r})\n"
        "for i in range(2000):\n"
        "    assert client.call(function_id('echo'), b'x', 60 * 10**9) == (0, b'x')\n"
        "client.close()\ndispatcher.stop()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_ctrl_c_ends_a_wait(name: str) -> None:
    code = (
        "from cudaq_target.coupler.shm import Client, SlotRing\n"
        f"ring = SlotRing.create({name!r}, 4, 256)\nring.claim('consumer')\n"
        "print('waiting', flush=True)\n"
        "Client(ring).call(1, b'', 600 * 10**9)\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert b"KeyboardInterrupt" in errors


def test_a_fork_while_serving_blocks_nobody(name: str) -> None:
    """The child has no serving thread; it must neither wait for it nor remove the segment."""
    code = (
        "import os\nfrom cudaq_target.coupler.frame import function_id\n"
        "from cudaq_target.coupler.shm import Client, Dispatcher, SlotRing\n"
        f"ring = SlotRing.create({name!r}, 4, 256)\n"
        "dispatcher = Dispatcher()\ndispatcher.add_builtin('echo')\ndispatcher.start(ring)\n"
        "client = Client(ring)\nchild = os.fork()\n"
        "if child == 0:\n    del client, dispatcher, ring\n    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert client.call(function_id('echo'), b'x', 60 * 10**9) == (0, b'x')\n"
        "dispatcher.stop()\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
    assert not (Path("/dev/shm") / f"cudaq-target-{name}").exists()
