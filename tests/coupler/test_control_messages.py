"""Bytes of the control calls."""

from __future__ import annotations

import numpy as np

from cudaq_target.coupler.control_messages import (
    Decision,
    ProgramChunk,
    RunRequest,
    RunState,
    RunStatus,
    pull_arguments,
    read_pull,
)
from cudaq_target.coupler.stream import Credit

STOP = Decision(is_stop=True, mean=0.5, low=0.5, high=0.5)


def test_messages_come_back():
    chunk = ProgramChunk(1, 10, 3, b"abc")
    assert ProgramChunk.from_bytes(chunk.to_bytes()) == chunk
    request = RunRequest(1, 2, 3, 4, np.array([0.25, -1.0]))
    again = RunRequest.from_bytes(request.to_bytes())
    assert again is not None
    assert again.to_bytes() == request.to_bytes()
    status = RunStatus(RunState.FAILED, 1, 2, "né")
    assert RunStatus.from_bytes(status.to_bytes(1000)) == status
    assert RunStatus.from_bytes(status.to_bytes(42)) == RunStatus(RunState.FAILED, 1, 2, "n")
    assert RunStatus.from_bytes(b"\xff" * 40) is None
    assert RunStatus.from_bytes(b"") is None
    credit = Credit(1, 2, 3, 4, is_complete=True)
    assert read_pull(pull_arguments(credit, 5)) == (credit, 5)


def test_golden_bytes_of_a_run():
    request = RunRequest(1, 2, 3, 4, np.array([1.5]), 5, 6, "shm://x", 8, 9)
    numbers = [1, 2, 3, 4, 5, 8, 9]
    wire = b"".join(number.to_bytes(8, "little") for number in numbers)
    wire += b"".join(number.to_bytes(4, "little") for number in (1, 6, 7))
    wire += bytes.fromhex("000000000000f83f") + b"shm://x"
    assert request.to_bytes() == wire
    again = RunRequest.from_bytes(wire)
    assert again is not None
    assert (again.seed, again.block, again.decide, again.limit, again.wait_ns) == (
        (5, 6, "shm://x", 8, 9)
    )
    assert RunRequest.from_bytes(wire[:-1]) is None
    assert RunRequest.from_bytes(wire[:-7] + b"\xff" * 7) is None
    assert STOP.to_bytes() == bytes.fromhex("01000000" + 3 * "000000000000e03f")
    assert Decision.from_bytes(STOP.to_bytes()) == STOP
    assert Decision.from_bytes(b"") is None
