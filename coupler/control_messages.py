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
DECIDE: Final = "decide"

LOAD_HEADER: Final = struct.Struct("<QII")
LOADED: Final = struct.Struct("<I")
RUN_HEADER: Final = struct.Struct("<QQQQQQQIII")
STARTED: Final = struct.Struct("<I")
RUN_ID: Final = struct.Struct("<Q")
STATUS_HEADER: Final = struct.Struct("<IIQQQQ")
SPECS_OFFSET: Final = struct.Struct("<I")
SPECS_HEADER: Final = struct.Struct("<I")
PULL_WAIT: Final = struct.Struct("<Q")
DECISION: Final = struct.Struct("<Iddd")
MAX_DECIDE_BYTES: Final = 256


class RunState(IntEnum):
    """How a run is doing.

    `RUNNING` covers the time in the queue. `STOPPED` was asked for, by a client or a decision, or
    the client was silent for too long. `FAILED` broke off after it had begun; `REFUSED` never
    began, because the machine cannot do it with these parameters.
    """

    RUNNING = 0
    DONE = 1
    STOPPED = 2
    DEADLINE = 3
    FAILED = 4
    REFUSED = 5


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
        deadline_ns: The machine stops this long after it took the request (ns); 0 for never.
        parameters: Values of the program's parameters, shape (n_parameters,).
        seed: Of an emulated machine; 0 leaves it to the machine.
        block: The machine measures no more than so many shots beyond the receiver's credit, and
            hands so many at once to `decide`; 0 leaves it to the machine.
        decide: Endpoint on the machine's own host that is asked after every block whether to go
            on; empty for none.
        limit: Credit: the number of the first shot that the receiver would discard.
        wait_ns: How long the answer may wait for shots, which it then brings along (ns); 0 for an
            answer at once.
    """

    run_id: int
    program_id: int
    n_shots: int
    deadline_ns: int
    parameters: NDArray[np.float64]
    seed: int = 0
    block: int = 0
    decide: str = ""
    limit: int = 0
    wait_ns: int = 0

    def to_bytes(self) -> bytes:
        """The arguments of `run`."""
        values = self.parameters.astype("<f8", copy=False)
        decide = self.decide.encode()
        head = RUN_HEADER.pack(
            self.run_id,
            self.program_id,
            self.n_shots,
            self.deadline_ns,
            self.seed,
            self.limit,
            self.wait_ns,
            len(values),
            self.block,
            len(decide),
        )
        return head + values.tobytes() + decide

    @staticmethod
    def from_bytes(arguments: Buffer) -> RunRequest | None:
        """Read the arguments; None where they are none."""
        view = memoryview(arguments)
        if view.nbytes < RUN_HEADER.size:
            return None
        head = RUN_HEADER.unpack_from(view)
        run_id, program_id, n_shots, deadline_ns, seed, limit, wait_ns = head[:7]
        n_parameters, block, n_decide = head[7:]
        end = RUN_HEADER.size + 8 * n_parameters
        if view.nbytes != end + n_decide or n_decide > MAX_DECIDE_BYTES:
            return None
        values = np.frombuffer(view[RUN_HEADER.size : end], dtype="<f8").astype(np.float64)
        try:
            decide = bytes(view[end:]).decode()
        except UnicodeDecodeError:
            return None
        return RunRequest(
            run_id,
            program_id,
            n_shots,
            deadline_ns,
            values,
            seed=seed,
            block=block,
            decide=decide,
            limit=limit,
            wait_ns=wait_ns,
        )


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How far a run is.

    Attributes:
        state: How it is doing.
        n_sent: Shots that went into its stream.
        n_shots: Shots that were asked for.
        reason: Why it failed or was refused, in the machine's words; empty where it was not.
        n_measured: Shots that the machine measured.
        n_ahead: Runs whose turn comes before the next turn of this one.
        machine_ns: Time that the machine spent on measuring these shots (ns); at a cadence, one
            period for each shot at least. Lowering the program is not part of it.
    """

    state: RunState
    n_sent: int
    n_shots: int
    reason: str = ""
    n_measured: int = 0
    n_ahead: int = 0
    machine_ns: int = 0

    def to_bytes(self, capacity: int) -> bytes:
        """The result of `status`, with a reason cut to `capacity` bytes."""
        head = STATUS_HEADER.pack(
            self.state,
            self.n_ahead,
            self.n_measured,
            self.n_sent,
            self.n_shots,
            self.machine_ns,
        )
        return (head + self.reason.encode())[:capacity]

    @staticmethod
    def from_bytes(result: Buffer) -> RunStatus | None:
        """Read the result; None where it is none."""
        view = memoryview(result)
        if view.nbytes < STATUS_HEADER.size:
            return None
        state, n_ahead, n_measured, n_sent, n_shots, machine_ns = STATUS_HEADER.unpack_from(view)
        if state not in _STATES:
            return None
        reason = bytes(view[STATUS_HEADER.size :]).decode(errors="ignore")
        return RunStatus(RunState(state), n_sent, n_shots, reason, n_measured, n_ahead, machine_ns)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the end that decides says to a block of shots.

    Attributes:
        is_stop: Whether the machine measures no further shot.
        mean: Of what it estimates; NaN where it estimates nothing.
        low: Lower end of its interval.
        high: Upper end.
    """

    is_stop: bool
    mean: float
    low: float
    high: float

    def to_bytes(self) -> bytes:
        """The result of `decide`."""
        return DECISION.pack(self.is_stop, self.mean, self.low, self.high)

    @staticmethod
    def from_bytes(result: Buffer) -> Decision | None:
        """Read the result; None where it is none."""
        view = memoryview(result)
        if view.nbytes != DECISION.size:
            return None
        decision, mean, low, high = DECISION.unpack_from(view)
        return Decision(bool(decision), mean, low, high) if decision in {0, 1} else None


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
