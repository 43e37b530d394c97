"""The machine's end of the control calls: programs, runs and the streams of their shots."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.control_messages import (
    LOAD_HEADER,
    LOAD_PROGRAM,
    LOADED,
    PULL_WAIT,
    RUN,
    RUN_HEADER,
    RUN_ID,
    SHOT_PULL,
    SPECS,
    SPECS_HEADER,
    SPECS_OFFSET,
    STARTED,
    STATUS,
    STOP,
    ProgramChunk,
    RunRequest,
    RunState,
    RunStatus,
    program_id_of,
    read_pull,
)
from cudaq_target.coupler.dispatch import (
    BAD_REQUEST,
    PENDING,
    Call,
    Completion,
    Function,
    Reply,
    Ticket,
)
from cudaq_target.coupler.errors import ProgramRefusedError
from cudaq_target.coupler.frame import HEADER_BYTES, Status, function_id
from cudaq_target.coupler.payload import BATCH_HEADER_BYTES, row_words, shots_that_fit
from cudaq_target.coupler.shot_sender import ShotSender
from cudaq_target.coupler.stream import CREDIT_BYTES, PART_HEADER_BYTES, join_parts

if TYPE_CHECKING:
    from cudaq_target.coupler.machine import Machine, MachineRun

MAX_PROGRAM_BYTES: Final = 16 << 20
MAX_UPLOADS: Final = 8
MAX_PROGRAMS: Final = 64
MAX_ENDED_RUNS: Final = 16
MAX_WAIT_NS: Final = 10_000_000_000
_MANY: Final = 1 << 20


@dataclass(slots=True)
class _Pull:
    """A request for shots that waits for one."""

    ticket: Ticket
    capacity: int
    expires_ns: int


@dataclass(slots=True)
class _Run:
    request: bytes
    n_shots: int
    machine_run: MachineRun
    sender: ShotSender
    deadline_ns: int | None
    pulled_ns: int
    state: RunState = RunState.RUNNING
    pull: _Pull | None = None
    is_abandoned: bool = False
    n_discarded: int = 0

    @property
    def is_active(self) -> bool:
        return self.is_abandoned or not self.sender.is_finished

    def advance(self, now_ns: int, lease_ns: int) -> None:
        """Move measured shots into the stream; end it when the machine has no more."""
        if not self.is_active:
            return
        if self.deadline_ns is not None and now_ns >= self.deadline_ns:
            self.stop(RunState.DEADLINE)
        if self.is_abandoned:
            self.n_discarded += len(self.machine_run.poll(_MANY))
            self.is_abandoned = not self.machine_run.is_done
            return
        while self.sender.n_free > 0 and len(rows := self.machine_run.poll(self.sender.n_free)):
            self.sender.offer(rows)
        if self.machine_run.is_done:
            self.sender.finish()
            if self.machine_run.failure is not None:
                self.state = RunState.FAILED
            elif self.state is RunState.RUNNING:
                self.state = RunState.DONE
        elif self.sender.n_free == 0 and now_ns - self.pulled_ns > lease_ns:
            self.stop(RunState.STOPPED)
            self.is_abandoned = True
            self.sender.finish()

    def stop(self, state: RunState) -> None:
        if self.state is RunState.RUNNING:
            self.state = state
            self.machine_run.stop()

    def parts(self, capacity: int, now_ns: int) -> bytes:
        """What the stream has to say, at most `capacity` bytes."""
        longest = PART_HEADER_BYTES + BATCH_HEADER_BYTES
        longest += 8 * row_words(self.sender.n_qubits) * self.sender.max_batch
        messages: list[tuple[int, bytes]] = []
        while capacity >= longest and (message := self.sender.poll(now_ns)) is not None:
            messages.append((function_id(message.function), message.payload))
            capacity -= PART_HEADER_BYTES + len(message.payload)
        return join_parts(messages)


@dataclass(slots=True)
class ControlServer:
    """A machine behind the control calls; one run at a time, used from one thread.

    Attributes:
        machine: What measures.
        max_held: Shots per run that wait for the client; a full store makes the machine wait.
        retry_ns: Silence after which a message of a stream counts as lost (ns).
        lease_ns: A full store that nobody pulls from for so long ends its run (ns); the machine is
            free again, and shots that had no place are discarded before they were sent.
        clock: Monotonic (ns).
    """

    machine: Machine
    max_held: int = 65536
    retry_ns: int = 100_000_000
    lease_ns: int = 60_000_000_000
    clock: Callable[[], int] = time.monotonic_ns
    _uploads: dict[int, bytearray] = field(default_factory=dict)
    _programs: dict[int, object] = field(default_factory=dict)
    _runs: dict[int, _Run] = field(default_factory=dict)
    _displaced: list[Completion] = field(default_factory=list)

    def functions(self) -> tuple[Function, ...]:
        """Rows of the function table."""
        pull_bytes = CREDIT_BYTES + PULL_WAIT.size
        return (
            Function(LOAD_PROGRAM, self._load, LOAD_HEADER.size),
            Function(RUN, self._run, RUN_HEADER.size),
            Function(STOP, self._stop, RUN_ID.size, RUN_ID.size),
            Function(STATUS, self._status, RUN_ID.size, RUN_ID.size),
            Function(SPECS, self._specs, SPECS_OFFSET.size, SPECS_OFFSET.size),
            Function(SHOT_PULL, self._pull, pull_bytes, pull_bytes, may_pend=True),
        )

    def advance(self) -> Iterable[Completion]:
        """Move shots, and answer the pulls that waited for them; see `Dispatcher.tend`.

        Returns:
            Answers to requests that were pending.
        """
        now_ns = self.advance_runs()
        done, self._displaced = self._displaced, []
        for run in self._runs.values():
            pull = run.pull
            if pull is None:
                continue
            parts = run.parts(pull.capacity, now_ns)
            if parts or now_ns >= pull.expires_ns:
                run.pull = None
                done.append(Completion(pull.ticket, Status.OK, parts))
        return done

    @property
    def is_running(self) -> bool:
        """Whether the machine is measuring, or holds shots that have no place yet."""
        return any(run.is_active for run in self._runs.values())

    def advance_runs(self) -> int:
        """Move shots from the machine into their streams.

        Returns:
            The time at which this happened (ns).
        """
        now_ns = self.clock()
        for run in self._runs.values():
            run.advance(now_ns, self.lease_ns)
        return now_ns

    def _load(self, call: Call) -> Reply:
        chunk = ProgramChunk.from_bytes(call.arguments)
        if chunk is None:
            return BAD_REQUEST
        if chunk.n_bytes > MAX_PROGRAM_BYTES:
            return _refuse(call, f"a program of {chunk.n_bytes} bytes; {MAX_PROGRAM_BYTES} fit")
        if chunk.program_id in self._programs:
            return _pack(call, LOADED.pack(chunk.n_bytes))
        upload = self._uploads.setdefault(chunk.program_id, bytearray())
        if chunk.offset == len(upload):
            upload += chunk.part
        if len(upload) < chunk.n_bytes:
            if len(self._uploads) > MAX_UPLOADS:
                del self._uploads[next(iter(self._uploads))]
            return _pack(call, LOADED.pack(len(upload)))
        del self._uploads[chunk.program_id]
        return self._prepare(call, chunk.program_id, upload.decode(errors="replace"))

    def _prepare(self, call: Call, program_id: int, text: str) -> Reply:
        if program_id_of(text) != program_id:
            return _refuse(call, "the program does not match its number; load it again")
        try:
            self._programs[program_id] = self.machine.load(text)
        except ProgramRefusedError as error:
            return _refuse(call, str(error))
        if len(self._programs) > MAX_PROGRAMS:
            del self._programs[next(iter(self._programs))]
        return _pack(call, LOADED.pack(len(text.encode())))

    def _run(self, call: Call) -> Reply:
        request = RunRequest.from_bytes(call.arguments)
        if request is None:
            return BAD_REQUEST
        wire = bytes(call.arguments)
        known = self._runs.get(request.run_id)
        if known is not None and known.request == wire:
            return _pack(call, STARTED.pack(known.sender.n_qubits))
        reason = self._objection(request)
        if reason is not None:
            return _refuse(call, reason)
        self.advance_runs()
        if self.is_running:
            return Reply(Status.BUSY)
        return self._start(call, request, wire)

    def _objection(self, request: RunRequest) -> str | None:
        if request.run_id in self._runs:
            return f"run {request.run_id:#x} was another one; choose a new id"
        if request.program_id not in self._programs:
            return f"program {request.program_id:#x} is not loaded; load it again"
        if request.n_shots < 1 or not np.isfinite(request.parameters).all():
            return "a run needs at least 1 shot and finite parameters"
        return None

    def _start(self, call: Call, request: RunRequest, wire: bytes) -> Reply:
        program = self._programs[request.program_id]
        try:
            measuring = self.machine.start(program, request.parameters, request.n_shots)
        except ProgramRefusedError as error:
            return _refuse(call, str(error))
        max_batch = shots_that_fit(measuring.n_qubits, len(call.result) - PART_HEADER_BYTES)
        if max_batch == 0:
            measuring.stop()
            slot_bytes = HEADER_BYTES + len(call.result)
            return _refuse(
                call, f"shots of {measuring.n_qubits} qubits do not fit slots of {slot_bytes} bytes"
            )
        sender = ShotSender(
            request.run_id,
            measuring.n_qubits,
            max_held=self.max_held,
            max_batch=min(max_batch, 4096),
            retry_ns=self.retry_ns,
        )
        now_ns = self.clock()
        limit_ns = now_ns + request.deadline_ns if request.deadline_ns else None
        self._forget_ended()
        self._runs[request.run_id] = _Run(
            wire, request.n_shots, measuring, sender, limit_ns, pulled_ns=now_ns
        )
        return _pack(call, STARTED.pack(measuring.n_qubits))

    def _forget_ended(self) -> None:
        while len(self._runs) >= MAX_ENDED_RUNS:
            del self._runs[next(iter(self._runs))]

    def _find(self, call: Call) -> _Run | None:
        return self._runs.get(RUN_ID.unpack_from(call.arguments)[0])

    def _stop(self, call: Call) -> Reply:
        run = self._find(call)
        if run is None:
            return _refuse(call, "no such run")
        if run.is_active:
            run.stop(RunState.STOPPED)
        run.advance(self.clock(), self.lease_ns)
        return _pack(call, RUN_ID.pack(run.sender.n_sent))

    def _status(self, call: Call) -> Reply:
        run = self._find(call)
        if run is None:
            return _refuse(call, "no such run")
        run.advance(self.clock(), self.lease_ns)
        reason = run.machine_run.failure or ""
        status = RunStatus(run.state, run.sender.n_sent, run.n_shots, reason)
        return _pack(call, status.to_bytes(len(call.result)))

    def _specs(self, call: Call) -> Reply:
        (offset,) = SPECS_OFFSET.unpack_from(call.arguments)
        text = self.machine.specs().encode()
        if offset > len(text):
            return BAD_REQUEST
        room = len(call.result) - SPECS_HEADER.size
        return _pack(call, SPECS_HEADER.pack(len(text)) + text[offset : offset + room])

    def _pull(self, call: Call) -> Reply:
        read = read_pull(call.arguments)
        if read is None:
            return BAD_REQUEST
        credit, wait_ns = read
        run = self._runs.get(credit.session)
        now_ns = self.clock()
        if run is None or not run.sender.on_credit(credit, now_ns):
            return _refuse(call, "no such run, or not so many shots of it")
        run.pulled_ns = now_ns
        run.advance(now_ns, self.lease_ns)
        parts = run.parts(len(call.result), now_ns)
        if run.pull is not None:  # its client has given it up, or it would not ask again
            self._displaced.append(Completion(run.pull.ticket, Status.OK))
            run.pull = None
        if parts or wait_ns == 0 or run.sender.is_done:
            return _pack(call, parts)
        expires_ns = now_ns + min(wait_ns, MAX_WAIT_NS)
        run.pull = _Pull(call.ticket, len(call.result), expires_ns)
        return PENDING


def _pack(call: Call, result: bytes) -> Reply:
    call.result[: len(result)] = result
    return Reply(Status.OK, len(result))


def _refuse(call: Call, reason: str) -> Reply:
    """BAD_REQUEST with the reason as text."""
    text = reason.encode()[: len(call.result)]
    call.result[: len(text)] = text
    return Reply(Status.BAD_REQUEST, len(text))
