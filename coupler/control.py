"""The machine's end of the control calls: programs, runs and the streams of their shots."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Final, cast

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
    program_id_of,
    read_pull,
)
from cudaq_target.coupler.control_options import ControlCounters, ControlOptions, describe
from cudaq_target.coupler.control_run import Polled, Pull, Queued, Run
from cudaq_target.coupler.control_worker import DEFAULT_BLOCK, Job, Worker
from cudaq_target.coupler.dispatch import (
    BAD_REQUEST,
    PENDING,
    Call,
    Completion,
    Function,
    Reply,
)
from cudaq_target.coupler.errors import HandlerStuckError, ProgramRefusedError
from cudaq_target.coupler.frame import HEADER_BYTES, Status
from cudaq_target.coupler.payload import shots_that_fit
from cudaq_target.coupler.shot_sender import ShotSender
from cudaq_target.coupler.stream import CREDIT_BYTES, PART_HEADER_BYTES, Credit

if TYPE_CHECKING:
    from cudaq_target.coupler.control_run import Measuring
    from cudaq_target.coupler.control_worker import Decider
    from cudaq_target.coupler.machine import LazyMachine, Machine

MAX_PROGRAM_BYTES: Final = 16 << 20
MAX_UPLOADS: Final = 8
MAX_PROGRAMS: Final = 64
MAX_ENDED_RUNS: Final = 64
MAX_DESCRIBED: Final = 64
MAX_WAIT_NS: Final = 10_000_000_000
# The server looks around far more often, unless its process is stopped.
_ASLEEP_NS: Final = 500_000_000


class ControlServer:
    """A machine behind the control calls; used from one thread, like its dispatcher."""

    def __init__(
        self,
        machine: Machine | LazyMachine,
        *,
        options: ControlOptions | None = None,
        decider: Decider | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Take over a machine.

        Args:
            machine: What measures.
            options: Limits; those of `ControlOptions` by default.
            decider: Asks ends that decide about runs; None refuses runs that name one.
            clock: Monotonic (ns).
        """
        self._machine = machine
        self._lazy = cast("LazyMachine", machine) if hasattr(machine, "begin") else None
        self.options = options or ControlOptions()
        self._decider = decider
        self._clock = clock
        self._uploads: dict[int, bytearray] = {}
        self._programs: dict[int, object] = {}
        self._runs: dict[int, Run] = {}
        self._active: dict[int, Run] = {}
        self._awaited: dict[int, Run] = {}  # with a pull that waits
        self._asked: Run | None = None  # whose client was heard of last
        self._displaced: list[Completion] = []
        self._described: dict[Hashable, bytes] = {}
        self._counters = ControlCounters()
        self._looked_ns = clock()
        self._wake: Callable[[], None] | None = None
        self._worker = None if self._lazy is None else self._make_worker(self._lazy)

    def _make_worker(self, machine: LazyMachine) -> Worker:
        return Worker(
            cadence_hz=machine.cadence_hz,
            whole_jobs=machine.granularity == "job",
            max_runs=self.options.max_runs,
            max_clients=self.options.max_clients,
            decider=self._decider,
            on_news=self._on_news,
        )

    def functions(self) -> tuple[Function, ...]:
        """Rows of the function table."""
        pull_bytes = CREDIT_BYTES + PULL_WAIT.size
        return (
            Function(LOAD_PROGRAM, self._load, LOAD_HEADER.size),
            Function(RUN, self._run, RUN_HEADER.size, may_pend=True),
            Function(STOP, self._stop, RUN_ID.size, RUN_ID.size),
            Function(STATUS, self._status, RUN_ID.size, RUN_ID.size),
            Function(SPECS, self._specs, SPECS_OFFSET.size, SPECS_OFFSET.size),
            Function(SHOT_PULL, self._pull, pull_bytes, pull_bytes, may_pend=True),
        )

    @property
    def wakes(self) -> bool:
        """Whether `wake_by` is of use; a machine that measures on its own is looked at instead."""
        return self._worker is not None

    def wake_by(self, wake: Callable[[], None]) -> None:
        """Have something called, from another thread, when `advance` has answers to give.

        Args:
            wake: Must return at once.
        """
        self._wake = wake

    def _on_news(self) -> None:
        # A pull enters `_awaited` before it looks for shots: one of the two sees the other.
        if self._awaited and self._wake is not None:
            self._wake()

    def advance(self) -> Iterable[Completion]:
        """Move shots, and answer the pulls that waited for them; see `Dispatcher.tend`.

        Returns:
            Answers to requests that were pending.
        """
        now_ns = self.advance_runs()
        done, self._displaced = self._displaced, []
        for run_id, run in list(self._awaited.items()):
            answer = run.answer(now_ns)
            if answer is not None:
                run.pull = None
                del self._awaited[run_id]
                done.append(answer)
        return done

    @property
    def is_running(self) -> bool:
        """Whether the machine is measuring, or holds shots that have no place yet."""
        return bool(self._active)

    @property
    def is_followed(self) -> bool:
        """Whether who asked last is about to ask for more, and the machine is idle meanwhile."""
        run = self._asked
        if run is None or self._worker is None or run.is_told or run.pull is not None:
            return False
        return self._worker.is_idle

    def advance_runs(self) -> int:
        """Move shots from the machine into their streams.

        Returns:
            The time at which this happened (ns).
        """
        now_ns = self._clock()
        asleep_ns = now_ns - self._looked_ns
        self._looked_ns = now_ns
        for run_id in list(self._active):
            if asleep_ns > _ASLEEP_NS:  # frozen: clients could not have been heard
                self._active[run_id].pulled_ns += asleep_ns
            self._advance(run_id, now_ns)
        return now_ns

    def counters(self) -> dict[str, int]:
        """What happened so far, by name."""
        found = self._counters.as_dict()
        if self._worker is not None:
            found["measured_shots"] = self._worker.n_measured
            found["decisions"] = self._worker.n_decisions
            found["missed_ticks"] = self._worker.n_missed
        return found

    def close(self, timeout_s: float) -> None:
        """End the machine's thread; runs that are not over fail.

        Args:
            timeout_s: How long to wait for the machine (s).

        Raises:
            HandlerStuckError: The machine does not return from measuring.
        """
        if self._worker is not None and not self._worker.close(timeout_s):
            raise HandlerStuckError("measure", timeout_s)

    def _advance(self, run_id: int, now_ns: int) -> None:
        run = self._active.get(run_id)
        if run is None:
            return
        run.advance(now_ns, self.options.lease_ns)
        if not run.is_active:
            del self._active[run_id]
            self._counters.count(run.state)
            self._counters.expired += run.is_expired

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
            self._programs[program_id] = self._machine.load(text)
        except ProgramRefusedError as error:
            self._counters.refused_programs += 1
            return _refuse(call, str(error))
        self._counters.programs += 1
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
        reason = self._no_place(call.session.peer)
        if reason is not None:
            self._counters.busy_runs += 1
            return _refuse(call, reason, Status.BUSY)
        try:
            return self._start(call, request, wire)
        except ProgramRefusedError as error:
            self._counters.refused += 1
            return _refuse(call, str(error))

    def _objection(self, request: RunRequest) -> str | None:
        if request.run_id in self._runs:
            return f"run {request.run_id:#x} was another one; choose a new id"
        if request.program_id not in self._programs:
            return f"program {request.program_id:#x} is not loaded; load it again"
        if request.n_shots < 1 or not np.isfinite(request.parameters).all():
            return "a run needs at least 1 shot and finite parameters"
        if not request.decide:
            return None
        if self._decider is None or self._worker is None:
            return "decide: this machine asks nobody"
        return self._decider.objection(request.decide)

    def _no_place(self, client: Hashable) -> str | None:
        self.advance_runs()
        if self._worker is not None:
            return self._worker.objection(client)
        return "this machine does one run at a time; try again later" if self._active else None

    def _start(self, call: Call, request: RunRequest, wire: bytes) -> Reply:
        """Put a run into the machine's hands.

        Raises:
            ProgramRefusedError: The machine, or the geometry of the link, has no place for it.
        """
        measuring, n_qubits = self._measuring(call, request)
        max_batch = shots_that_fit(n_qubits, len(call.result) - PART_HEADER_BYTES)
        sender = ShotSender(
            request.run_id,
            n_qubits,
            max_held=min(self.options.max_held, request.n_shots),
            max_batch=min(max_batch, 4096),
            retry_ns=self.options.retry_ns,
        )
        now_ns = self._clock()
        limit_ns = now_ns + request.deadline_ns if request.deadline_ns else None
        self._forget_ended()
        client = call.session.peer
        run = Run(wire, client, request.n_shots, measuring, sender, limit_ns, pulled_ns=now_ns)
        self._runs[request.run_id] = self._active[request.run_id] = self._asked = run
        self._counters.runs += 1
        head = STARTED.pack(n_qubits)
        if not request.wait_ns:
            return _pack(call, head)
        expires_ns = now_ns + min(request.wait_ns, MAX_WAIT_NS)
        run.pull = Pull(call.ticket, len(call.result) - len(head), expires_ns, head)
        self._awaited[request.run_id] = run
        sender.on_credit(Credit(request.run_id, 0, request.limit, 0, is_complete=False), now_ns)
        measuring.allow(min(request.limit, self.options.max_held))
        return self._answer_now(call, run)

    def _answer_now(self, call: Call, run: Run) -> Reply:
        """Answer a pull at once where there are shots, as after a short turn."""
        now_ns = self._clock()
        self._advance(run.sender.session, now_ns)
        answer = run.answer(now_ns)
        if answer is None:
            return PENDING
        run.pull = None
        del self._awaited[run.sender.session]
        return _pack(call, answer.result, answer.status)

    def _measuring(self, call: Call, request: RunRequest) -> tuple[Measuring, int]:
        """The machine's part of a run, and its measured bits per shot."""
        program, values = self._programs.pop(request.program_id), request.parameters
        self._programs[request.program_id] = program  # the last one used is forgotten last
        room = len(call.result) - PART_HEADER_BYTES
        if self._lazy is None or self._worker is None:
            polled = cast("Machine", self._machine).start(program, values, request.n_shots)
            if shots_that_fit(polled.n_qubits, room) == 0:
                polled.stop()
                raise ProgramRefusedError(_too_wide(polled.n_qubits, room))
            return Polled(polled), polled.n_qubits
        source = self._lazy.begin(program, values, request.n_shots, request.seed)
        n_qubits = source.n_qubits
        try:
            block = self._block(request, n_qubits, room)
        except ProgramRefusedError:
            source.close()
            raise
        client, decide = call.session.peer, request.decide
        job = Job(
            request.run_id,
            client,
            source,
            request.n_shots,
            block,
            decide,
            program_id=request.program_id,
            limit=min(request.limit, self.options.max_held) if request.wait_ns else 0,
        )
        return Queued(job, self._worker, is_awaited=request.wait_ns > 0), n_qubits

    def _block(self, request: RunRequest, n_qubits: int, room: int) -> int:
        """Shots that are measured at once, and decided at once.

        Raises:
            ProgramRefusedError: One shot, or one block, does not fit into its frame.
        """
        if shots_that_fit(n_qubits, room) == 0:
            raise ProgramRefusedError(_too_wide(n_qubits, room))
        block = request.block or DEFAULT_BLOCK
        if not request.decide or self._decider is None:
            return block
        n_fit = shots_that_fit(n_qubits, self._decider.slot_bytes - HEADER_BYTES)
        if n_fit == 0 or request.block > n_fit:
            reason = f"decide: blocks of {block} shots of {n_qubits} qubits; {n_fit} fit a frame"
            raise ProgramRefusedError(reason)
        return min(block, n_fit)

    def _forget_ended(self) -> None:
        """Forget runs that have ended, many at once, first those that were told everything."""
        if len(self._runs) - len(self._active) < MAX_ENDED_RUNS:
            return
        ended = [run_id for run_id in self._runs if run_id not in self._active]
        ended.sort(key=lambda run_id: not self._runs[run_id].is_told)
        for run_id in ended[: MAX_ENDED_RUNS // 4]:
            if run_id not in self._awaited:
                del self._runs[run_id]

    def _find(self, call: Call) -> Run | None:
        run_id = RUN_ID.unpack_from(call.arguments)[0]
        self._advance(run_id, self._clock())
        return self._runs.get(run_id)

    def _stop(self, call: Call) -> Reply:
        run = self._find(call)
        if run is None:
            return _refuse(call, "no such run")
        if run.is_active:
            run.stop(RunState.STOPPED)
        run = self._find(call)
        assert run is not None  # an ended run is remembered
        return _pack(call, RUN_ID.pack(run.sender.n_sent))

    def _status(self, call: Call) -> Reply:
        run = self._find(call)
        if run is None:
            return _refuse(call, "no such run")
        return _pack(call, run.status().to_bytes(len(call.result)))

    def _specs(self, call: Call) -> Reply:
        (offset,) = SPECS_OFFSET.unpack_from(call.arguments)
        peer = call.session.peer
        if offset == 0:  # the parts that follow are of this text, although the counters go on
            self._described.pop(peer, None)
            self._described[peer] = self._description().encode()
            if len(self._described) > MAX_DESCRIBED:
                del self._described[next(iter(self._described))]
        text = self._described.get(peer, b"")
        if offset > len(text):
            return BAD_REQUEST
        room = len(call.result) - SPECS_HEADER.size
        return _pack(call, SPECS_HEADER.pack(len(text)) + text[offset : offset + room])

    def _description(self) -> str:
        lazy, worker, options = self._lazy, self._worker, self.options
        self.advance_runs()
        queue = {
            "n_runs": len(self._active),
            "n_clients": len({run.client for run in self._active.values()}),
            "most_runs": 1 if worker is None else options.max_runs,
            "most_clients": 1 if worker is None else options.max_clients,
        }
        controller = {
            "granularity": "shot" if lazy is None else lazy.granularity,
            "cadence_hz": None if lazy is None else lazy.cadence_hz,
            "queue": queue,
            "counters": self.counters(),
        }
        return describe(self._machine.specs(), controller)

    def _pull(self, call: Call) -> Reply:
        read = read_pull(call.arguments)
        if read is None:
            return BAD_REQUEST
        credit, wait_ns = read
        run_id, now_ns = credit.session, self._clock()
        run = self._runs.get(run_id)
        if run is None or not run.sender.on_credit(credit, now_ns):
            return _refuse(call, "no such run, or not so many shots of it")
        run.pulled_ns = now_ns
        self._asked = run
        if run.pull is not None:  # its client has given it up, or it would not ask again
            self._displaced.append(Completion(run.pull.ticket, Status.OK))
            run.pull = None
        self._awaited[run_id] = run
        run.measuring.allow(min(credit.limit_shot_id, credit.next_shot_id + self.options.max_held))
        self._advance(run_id, now_ns)
        parts = run.parts(len(call.result), now_ns)
        if parts or wait_ns == 0 or run.sender.is_done:
            del self._awaited[run_id]
            return _pack(call, parts)
        run.pull = Pull(call.ticket, len(call.result), now_ns + min(wait_ns, MAX_WAIT_NS))
        return PENDING


def _too_wide(n_qubits: int, room: int) -> str:
    slot_bytes = HEADER_BYTES + PART_HEADER_BYTES + room
    return f"shots of {n_qubits} qubits do not fit slots of {slot_bytes} bytes"


def _pack(call: Call, result: bytes, status: int = Status.OK) -> Reply:
    call.result[: len(result)] = result
    return Reply(status, len(result))


def _refuse(call: Call, reason: str, status: Status = Status.BAD_REQUEST) -> Reply:
    """A status with the reason as text."""
    text = reason.encode()[: len(call.result)]
    call.result[: len(text)] = text
    return Reply(status, len(text))
