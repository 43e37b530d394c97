"""Two ends of a link for the tests of every transport: addresses, raw frames, other processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from cudaq_target.coupler.decode_server import DecodeServer
from cudaq_target.coupler.dispatch import RPC_INCREMENT, Call, Function, Reply
from cudaq_target.coupler.endpoint import parse_endpoint
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.link import open_wire
from cudaq_target.coupler.transports.interface import TransportOptions
from cudaq_target.coupler.transports.shared_memory import remove_abandoned
from cudaq_target.kernels.decoders.measured import lookup_decoder

remove_abandoned("test-")  # what killed runs left
ROOT = Path(__file__).parents[2]
TRANSPORTS = ("shm", "ipc", "tcp", "udp")
OPTIONS = TransportOptions(slot_bytes=512, n_slots=16)
IDENTITY = (0, -1, 1, -1, 2, -1)


def endpoint_of(transport: str, folder: Path) -> str:
    """A place for a server of ours alone."""
    folder.chmod(0o700)
    return {
        "shm": f"shm://test-{os.getpid()}-{abs(hash(str(folder)))}",
        "ipc": f"ipc://{folder}/s",
        "tcp": "tcp://127.0.0.1:0",
        "udp": "udp://127.0.0.1:0",
    }[transport]


def await_counter(server, name: str, value: int) -> None:
    """Wait until a counter of a server has a value; it may come a moment after an answer."""
    until_s = time.monotonic() + 30.0
    while server.counters()[name] != value:
        assert time.monotonic() < until_s, (name, server.counters())
        time.sleep(0.002)


class RawClient:
    """Sends bytes as they are, and shows what comes back."""

    def __init__(self, endpoint, options: TransportOptions = OPTIONS) -> None:
        place = parse_endpoint(str(endpoint))
        self.wire = open_wire(place, options, None, 5.0)
        self.slot = memoryview(bytearray(options.slot_bytes))

    def ask(self, frame: bytes, timeout_s: float = 2.0) -> bytes | None:
        """The answer to a frame, cut to the length that its header gives."""
        self.slot[: len(frame)] = frame
        self.wire.send(self.slot, len(frame))
        landing = memoryview(bytearray(self.wire.slot_bytes))
        n_bytes = self.wire.receive_into(landing, timeout_s)
        if n_bytes is None:
            return None
        length = 24 + int.from_bytes(landing[8:12], "little")
        assert length == n_bytes if self.wire.exact else length <= n_bytes == len(landing)
        return bytes(landing[:length])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.close()


class Parity:
    """A decoder of any number of measurements with one observable: their parity."""

    n_observables = 1

    def __init__(self, n_measurements: int) -> None:
        self.n_measurements = n_measurements

    def decode(self, measurements):
        return np.array([measurements.sum() % 2], dtype=np.uint8)


def decode_functions():
    """The smoke test of CUDA-Q's decoding server: three bits, identity matrices."""
    return DecodeServer([lookup_decoder(IDENTITY, IDENTITY, IDENTITY, 3)]).functions()


def table():
    """Functions that most tests call."""
    return [RPC_INCREMENT, Function("fail", _fail), Function("busy", _busy)]


def _fail(_: Call) -> Reply:
    raise ValueError("on purpose")


def _busy(_: Call) -> Reply:
    return Reply(Status.BUSY)


class ServerProcess:
    """`server_process.py` in a process of its own; killed at the latest when the test ends."""

    def __init__(self, endpoint: str, kind: str, **settings: float) -> None:
        command = [sys.executable, "-m", "tests.coupler.server_process", endpoint, kind]
        self.process = subprocess.Popen(
            [*command, json.dumps(settings)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.endpoint = json.loads(self._line())["endpoint"]

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server process ended early"
        return line

    def ask(self) -> dict:
        """What the server has seen so far."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self._line())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        freeze(self.process.pid)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.thaw()
        try:
            self.process.communicate(timeout=5.0)  # the end of its input ends the server
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        if self.endpoint.startswith("shm://"):  # what a killed server left
            name = self.endpoint.removeprefix("shm://")
            Path(f"/dev/shm/cudaq-target-{name}").unlink(missing_ok=True)


def freeze(pid: int) -> None:
    """Stop a process, and wait until none of its threads runs."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        states = [
            (one / "stat").read_text().rpartition(")")[2].split()[0] for one in threads.iterdir()
        ]
        if set(states) == {"T"}:
            return
        time.sleep(0.001)


def rss_bytes(pid: int | None = None) -> int:
    """Memory of a process that is in use (bytes)."""
    pages = Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
