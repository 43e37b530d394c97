"""Arguments and results of the calls that control a machine; layouts in `FORMAT.md`."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cudaq_target.coupler.stream import CREDIT_BYTES, Credit

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

LOAD_PROGRAM: Final = "load_program"
RUN: Final = "run"
STOP: Final = "stop"
STATUS: Final = "status"
SPECS: Final = "specs"
SHOT_PULL: Final = "shot_pull"

LOAD_HEADER: Final = struct.Struct("<QII")
LOADED: Final = struct.Struct("<I")
RUN_HEADER: Final = struct.Struct("<QQQQI")
STARTED: Final = struct.Struct("<I")
RUN_ID: Final = struct.Struct("<Q")
STATUS_HEADER: Final = struct.Struct("<IQQ")
SPECS_OFFSET: Final = struct.Struct("<I")
SPECS_HEADER: Final = struct.Struct("<I")
PULL_WAIT: Final = struct.Struct("<Q")


class RunState(IntEnum):
    """How a run is doing."""

    RUNNING = 0
    DONE = 1
    STOPPED = 2
    DEADLINE = 3
    FAILED = 4


_STATES: Final = frozenset(int(state) for state in RunState)


class ProgramChunk(NamedTuple):
    """A part of a program's text on its way to the machine.

    Attributes:
        program_id: `program_id_of` the whole text.
        n_bytes: Length of the whole text in UTF-8 (bytes).
        offset: Where this part begins.
        part: Its bytes.
    """

    program_id: int
    n_bytes: int
    offset: int
    part: bytes

    def to_bytes(self) -> bytes:
        """The arguments of `load_program`."""
        return LOAD_HEADER.pack(self.program_id, self.n_bytes, self.offset) + self.part

    @staticmethod
    def from_bytes(arguments: Buffer) -> ProgramChunk | None:
        """Read the arguments; None where they are none."""
        view = memoryview(arguments)
        if view.nbytes < LOAD_HEADER.size:
            return None
        program_id, n_bytes, offset = LOAD_HEADER.unpack_from(view)
        part = bytes(view[LOAD_HEADER.size :])
        if offset + len(part) > n_bytes or (not part and n_bytes > 0):
            return None
        return ProgramChunk(program_id, n_bytes, offset, part)


@dataclass(frozen=True, slots=True, eq=False)
class RunRequest:
    """What to measure.

    Attributes:
        run_id: Chosen by the client, at random, once; names the run and its shot stream.
        program_id: A loaded program.
        n_shots: How many shots are wanted, at least 1.
        deadline_ns: The machine stops this long after the start (ns); 0 for never.
        parameters: Values of the program's parameters, shape (n_parameters,).
    """

    run_id: int
    program_id: int
    n_shots: int
    deadline_ns: int
    parameters: NDArray[np.float64]

    def to_bytes(self) -> bytes:
        """The arguments of `run`."""
        values = self.parameters.astype("<f8", copy=False)
        head = RUN_HEADER.pack(
            self.run_id, self.program_id, self.n_shots, self.deadline_ns, len(values)
        )
        return head + values.tobytes()

    @staticmethod
    def from_bytes(arguments: Buffer) -> RunRequest | None:
        """Read the arguments; None where they are none."""
        view = memoryview(arguments)
        if view.nbytes < RUN_HEADER.size:
            return None
        run_id, program_id, n_shots, deadline_ns, n_parameters = RUN_HEADER.unpack_from(view)
        if view.nbytes != RUN_HEADER.size + 8 * n_parameters:
            return None
        values = np.frombuffer(view, dtype="<f8", offset=RUN_HEADER.size).astype(np.float64)
        return RunRequest(run_id, program_id, n_shots, deadline_ns, values)


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How far a run is.

    Attributes:
        state: How it is doing.
        n_sent: Shots that went into its stream.
        n_shots: Shots that were asked for.
        reason: Why it failed, in the machine's words; empty where it did not.
    """

    state: RunState
    n_sent: int
    n_shots: int
    reason: str = ""

    def to_bytes(self, capacity: int) -> bytes:
        """The result of `status`, with a reason cut to `capacity` bytes."""
        head = STATUS_HEADER.pack(self.state, self.n_sent, self.n_shots)
        return (head + self.reason.encode())[:capacity]

    @staticmethod
    def from_bytes(result: Buffer) -> RunStatus | None:
        """Read the result; None where it is none."""
        view = memoryview(result)
        if view.nbytes < STATUS_HEADER.size:
            return None
        state, n_sent, n_shots = STATUS_HEADER.unpack_from(view)
        if state not in _STATES:
            return None
        reason = bytes(view[STATUS_HEADER.size :]).decode(errors="ignore")
        return RunStatus(RunState(state), n_sent, n_shots, reason)


def program_id_of(program: str) -> int:
    """Number of a program: the first 8 bytes of the SHA-256 of its text, little-endian."""
    return int.from_bytes(hashlib.sha256(program.encode()).digest()[:8], "little")


def pull_arguments(credit: Credit, wait_ns: int) -> bytes:
    """Arguments of `shot_pull`.

    Args:
        credit: What the receiver has and takes.
        wait_ns: How long the machine may wait for a shot before it answers with nothing (ns).
    """
    return credit.to_bytes() + PULL_WAIT.pack(wait_ns)


def read_pull(arguments: Buffer) -> tuple[Credit, int] | None:
    """Read the arguments of `shot_pull`; None where they are none."""
    view = memoryview(arguments)
    credit = Credit.from_bytes(view[:CREDIT_BYTES])
    if credit is None or view.nbytes != CREDIT_BYTES + PULL_WAIT.size:
        return None
    return credit, PULL_WAIT.unpack_from(view, CREDIT_BYTES)[0]
