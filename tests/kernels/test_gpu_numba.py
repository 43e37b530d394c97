"""The dispatcher in Numba: its rules under the simulator, its instructions as compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda")

HEAD = """
import json, struct, sys, threading, time
import numpy as np
from numba import cuda
from cudaq_target.kernels import persistent_numba as device
from cudaq_target.coupler.frame import function_id, request_frame, response_frame

N_SLOTS, STRIDE, N_THREADS = 2, 256, 4
"""
SERVE = (
    HEAD
    + """
rx_flags, tx_flags = (cuda.mapped_array(N_SLOTS, dtype=np.uint64) for _ in range(2))
rx, tx = (cuda.mapped_array((N_SLOTS, STRIDE), dtype=np.uint8) for _ in range(2))
n_answered, command = (cuda.mapped_array(1, dtype=np.uint64) for _ in range(2))
for array in (rx_flags, tx_flags, rx, tx, n_answered, command):
    array[:] = 0
arguments = (rx_flags, tx_flags, rx, tx, n_answered, command)
thread = threading.Thread(target=lambda: device.dispatch[1, N_THREADS](*arguments), daemon=True)
thread.start()

def call(number, frame):
    slot = number % N_SLOTS
    rx[slot, : len(frame)] = np.frombuffer(frame, dtype=np.uint8)
    rx_flags[slot] = number + 1
    until = time.monotonic() + 60
    while tx_flags[slot] != number + 1 or rx_flags[slot] != 0:
        assert time.monotonic() < until and thread.is_alive()
        time.sleep(0.001)
    tx_flags[slot] = 0
    return bytes(tx[slot])

for name in ("rpc_increment", "echo", "occupation"):
    assert function_id(name) in (device.INCREMENT, device.ECHO, device.OCCUPATION), name
rng = np.random.default_rng(1)
bits = rng.integers(0, 2, size=(5, 64), dtype=np.uint8)
bits[:, 50:] = 0
rows = np.packbits(bits, axis=1, bitorder="little").tobytes()
batch = struct.pack("<QQII", 1, 2, 5, 50) + rows
counts = bits[:, :50].sum(axis=0, dtype=np.uint32).tobytes()
ids = {name: function_id(name) for name in ("rpc_increment", "echo", "occupation")}
bad_magic = b"\\0" + request_frame(ids["echo"], b"", 7, 8)[1:]
too_long = bytearray(request_frame(ids["echo"], b"", 7, 8))
too_long[8:12] = struct.pack("<I", STRIDE)
cases = [
    (
        request_frame(ids["rpc_increment"], bytes([0, 1, 255]), 7, 8),
        response_frame(0, bytes([1, 2, 0]), 7, 8),
    ),
    (request_frame(ids["occupation"], batch, 7, 8), response_frame(0, counts, 7, 8)),
    (request_frame(ids["occupation"], batch[:-1], 7, 8), response_frame(2, b"", 7, 8)),
    (bad_magic, response_frame(-3, b"", 7, 8)),
    (bytes(too_long), response_frame(-2, b"", 7, 8)),
    (request_frame(1234, b"", 7, 8), response_frame(-1, b"", 7, 8)),
    (request_frame(ids["echo"], b"on we go", 7, 8), response_frame(0, b"on we go", 7, 8)),
]
wrong = []
for number, (frame, expected) in enumerate(cases):
    ours = call(number, frame)
    if ours[: len(expected)] != expected:
        wrong.append([number, ours[:40].hex(), expected[:40].hex()])
command[0] = 1
thread.join(60)
print(json.dumps({"wrong": wrong, "answered": int(n_answered[0]), "alive": thread.is_alive()}))
"""
)
COMPILE = (
    HEAD
    + """
from types import SimpleNamespace
from numba import types
from numba.cuda import dispatcher
# Functions that a kernel calls are compiled for the current device, which there is none of.
words, slots = types.uint64[::1], types.uint8[:, ::1]
signature = types.void(words, words, slots, slots, words, words)
for cc in ((8, 0), (9, 0)):
    dispatcher.get_current_device = lambda cc=cc: SimpleNamespace(compute_capability=cc)
    ptx, _ = cuda.compile(device.dispatch.py_func, signature, cc=cc, device=False, abi="numba")
print(json.dumps({"ptx": ptx}))
"""
)


def run(script: str, *, simulated: bool) -> dict:
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": str(int(simulated))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=environment, check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_simulator_answers_right_and_wrong_requests() -> None:
    assert run(SERVE, simulated=True) == {"wrong": [], "answered": 7, "alive": False}


def test_flags_are_acquired_and_released_at_system_scope() -> None:
    ptx = run(COMPILE, simulated=False)["ptx"]
    assert ptx.count("ld.acquire.sys.global.u64") >= 2
    assert ptx.count("st.release.sys.global.u64") >= 2
    assert "membar.sys" in ptx or "fence.sc.sys" in ptx or "fence.acq_rel.sys" in ptx
