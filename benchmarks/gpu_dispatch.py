"""Round trips from host memory through the dispatcher on the GPU, and through the native one.

`python -m benchmarks.gpu_dispatch NAME gpu|cpu` is the server: it serves the ring of that name
until its standard input ends. The client is native code that this module compiles.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.report import ROOT
from cudaq_target.coupler.gpu_server import CpuServer, GpuServer
from cudaq_target.coupler.shm import SlotRing
from cudaq_target.kernels.persistent_functions import INCREMENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCE = Path(__file__).with_name("gpu_round_trip.cpp")
FUNCTIONS = {"rpc_increment": INCREMENT}
N_SLOTS, STRIDE_BYTES = 64, 512  # the geometry of NVIDIA's validate.sh
SESSION = 1


class RoundTripError(Exception):
    """An answer did not come, or a tool is missing."""


def build_client(folder: Path) -> ctypes.CDLL:
    """Compile the client."""
    library = folder / "round_trip.so"
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    flags = ["-std=c++20", "-O3", "-shared", "-fPIC", f"-I{ROOT / 'coupler' / 'native'}"]
    command = [*compiler, *flags, str(SOURCE), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RoundTripError(f"{compiler[0]}: {done.stderr.strip()}")
    return ctypes.CDLL(str(library))


def round_trips(server: str, n_rounds: int, n_bytes: int) -> tuple[NDArray[np.int64], int]:
    """Measure calls of `rpc_increment`, closed loop, one at a time, every byte checked.

    Args:
        server: "gpu" or "cpu".
        n_rounds: Recorded calls; a tenth more warms up.
        n_bytes: Payload each way (bytes).

    Returns:
        Times (ns), shape (n_rounds,), and the number of wrong answers.
    """
    ring = SlotRing.create(f"bench-gpu-{os.getpid()}", N_SLOTS, STRIDE_BYTES)
    command = [sys.executable, "-m", "benchmarks.gpu_dispatch", ring.name, server]
    with contextlib.ExitStack() as stack:
        stack.callback(ring.unlink)
        client = build_client(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        process = stack.enter_context(
            subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        stack.callback(process.kill)  # a server that does not end must not keep us
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RoundTripError(f"the {server} server did not start")
        ring.claim("producer")
        times_ns, n_wrong = _measure(client, ring, n_rounds, n_bytes)
        ring.release("producer")
        if n_wrong < 0:
            raise RoundTripError(f"an answer of the {server} server did not come within 10 s")
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            raise RoundTripError(f"the {server} server did not end within 60 s") from None
    return times_ns, n_wrong


def _measure(
    client: ctypes.CDLL, ring: SlotRing, n_rounds: int, n_bytes: int
) -> tuple[NDArray[np.int64], int]:
    times_ns = np.zeros(n_rounds, dtype=np.int64)
    client.cqt_round_trips.restype = ctypes.c_int64
    n_wrong = client.cqt_round_trips(
        ctypes.c_void_p(ring.memory.ctypes.data),
        ctypes.c_size_t(ring.memory.nbytes),
        ctypes.c_uint32(SESSION),
        ctypes.c_int64(n_rounds // 10),
        ctypes.c_int64(n_rounds),
        ctypes.c_uint32(n_bytes),
        times_ns.ctypes.data_as(ctypes.c_void_p),
    )
    return times_ns, int(n_wrong)


def serve(name: str, server: str) -> None:
    """Serve until standard input ends."""
    ring = SlotRing.attach(name)
    with GpuServer(ring, FUNCTIONS) if server == "gpu" else CpuServer(ring, FUNCTIONS):
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
