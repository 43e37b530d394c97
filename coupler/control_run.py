"""One run on the server's side: shots from the machine into their stream, and how it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from cudaq_target.coupler.control_messages import STATUS, STATUS_HEADER, RunState, RunStatus
from cudaq_target.coupler.dispatch import Completion
from cudaq_target.coupler.frame import Status, function_id
from cudaq_target.coupler.payload import BATCH_HEADER_BYTES, row_words
from cudaq_target.coupler.shot_sender import kind_of
from cudaq_target.coupler.stream import PART_HEADER_BYTES, End, join_parts

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    from cudaq_target.coupler.control_worker import Job, Worker
    from cudaq_target.coupler.dispatch import Ticket
    from cudaq_target.coupler.machine import MachineRun
    from cudaq_target.coupler.shot_sender import ShotSender

    Rows = NDArray[np.uint64]

_MANY: Final = 1 << 20
_STATUS_ID: Final = function_id(STATUS)


class Measuring(Protocol):
    """A run as the server sees it, however its machine measures."""

    @property
    def n_measured(self) -> int:
        """Shots so far."""

    @property
    def n_ahead(self) -> int:
        """Runs whose turn comes before its next one."""

    @property
    def machine_ns(self) -> int:
        """Time that the machine spent on it (ns); 0 where nobody knows."""

    @property
    def is_done(self) -> bool:
        """Whether no shot follows those that `poll` has given."""

    @property
    def ending(self) -> tuple[RunState | None, str]:
        """How it ended by itself, and why; None where it did as it was told."""

    def poll(self, max_shots: int) -> Rows:
        """Give shots measured since the last call, at most so many, without waiting."""

    def allow(self, limit: int) -> None:
        """Let it measure up to the shot with this number, and one block."""

    def stop(self) -> None:
        """Measure no further shot; those measured still come."""


class Polled:
    """A run of a machine that measures on its own."""

    n_ahead: Final = 0
    machine_ns: Final = 0

    def __init__(self, run: MachineRun) -> None:
        """Watch a run."""
        self._run = run
        self.n_measured = 0

    @property
    def is_done(self) -> bool:
        """See `Measuring.is_done`."""
        return self._run.is_done

    @property
    def ending(self) -> tuple[RunState | None, str]:
        """See `Measuring.ending`."""
        failure = self._run.failure
        return (None, "") if failure is None else (RunState.FAILED, failure)

    def poll(self, max_shots: int) -> Rows:
        """See `Measuring.poll`."""
        rows = self._run.poll(max_shots)
        self.n_measured += len(rows)
        return rows

    def allow(self, limit: int) -> None:
        """It does not ask."""

    def stop(self) -> None:
        """See `Measuring.stop`."""
        self._run.stop()


class Queued:
    """A run of the machine's thread."""

    def __init__(self, job: Job, worker: Worker, *, is_awaited: bool = False) -> None:
        """Put it into the queue; see `Worker.add`."""
        self._job = job
        self._worker = worker
        self._left: Rows = np.zeros((0, row_words(job.source.n_qubits)), dtype=np.uint64)
        worker.add(job, is_awaited=is_awaited)

    @property
    def n_measured(self) -> int:
        """See `Measuring.n_measured`."""
        return self._job.n_measured

    @property
    def n_ahead(self) -> int:
        """See `Measuring.n_ahead`."""
        return self._worker.n_ahead(self._job)

    @property
    def machine_ns(self) -> int:
        """See `Measuring.machine_ns`."""
        return self._job.machine_ns

    @property
    def is_done(self) -> bool:
        """See `Measuring.is_done`."""
        # The order matters: what the machine's thread gives before the end is seen after it.
        return self._job.is_over and not self._job.rows and len(self._left) == 0

    @property
    def ending(self) -> tuple[RunState | None, str]:
        """See `Measuring.ending`."""
        job = self._job
        if job.refusal is not None:
            return RunState.REFUSED, job.refusal
        if job.failure is not None:
            return RunState.FAILED, job.failure
        return (RunState.STOPPED if job.has_decided else None), ""

    def poll(self, max_shots: int) -> Rows:
        """See `Measuring.poll`."""
        waiting = self._job.rows
        if not waiting:
            rows = self._left
        else:
            parts = [self._left] if len(self._left) else []
            n_shots = len(self._left)
            while waiting and n_shots < max_shots:
                parts.append(waiting.popleft())
                n_shots += len(parts[-1])
            rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self._left = rows[max_shots:]
        return rows[:max_shots]

    def allow(self, limit: int) -> None:
        """See `Measuring.allow`."""
        self._worker.allow(self._job, limit)

    def stop(self) -> None:
        """See `Measuring.stop`."""
        self._worker.stop(self._job)


@dataclass(slots=True)
class Pull:
    """A request for shots that waits for one.

    Attributes:
        ticket: The request.
        capacity: Room for messages (bytes).
        expires_ns: When it is answered without any (ns).
        head: What the answer begins with; not empty where the request is the one that starts.
    """

    ticket: Ticket
    capacity: int
    expires_ns: int
    head: bytes = b""


@dataclass(slots=True)
class Run:
    """A run and its stream; used from the server's thread.

    Attributes:
        request: What asked for it, as it came.
        client: Who asked for it.
        n_shots: Shots that are wanted.
        measuring: The machine's part.
        sender: The stream.
        deadline_ns: When it is stopped (ns); None for never.
        pulled_ns: When its client was last heard of (ns).
        state: How it is doing.
        reason: Why it failed or was refused.
        pull: Waits for shots.
        is_abandoned: Whether its client is gone, and what is measured is thrown away.
        is_told: Whether its end was sent, behind all shots.
        is_expired: Whether it was stopped because its client was silent.
    """

    request: bytes
    client: Hashable
    n_shots: int
    measuring: Measuring
    sender: ShotSender
    deadline_ns: int | None
    pulled_ns: int
    state: RunState = RunState.RUNNING
    reason: str = ""
    pull: Pull | None = None
    is_abandoned: bool = False
    is_told: bool = False
    is_expired: bool = False

    @property
    def is_active(self) -> bool:
        """Whether the machine may still measure for it, or holds shots of it."""
        return self.is_abandoned or not self.sender.is_finished

    def advance(self, now_ns: int, lease_ns: int) -> None:
        """Move measured shots into the stream; end it when the machine has no more."""
        if not self.is_active:
            return
        if self.deadline_ns is not None and now_ns >= self.deadline_ns:
            self.stop(RunState.DEADLINE)
        if self.is_abandoned:
            self.measuring.poll(_MANY)
            self.is_abandoned = not self.measuring.is_done
            return
        while self.sender.n_free > 0 and len(rows := self.measuring.poll(self.sender.n_free)):
            self.sender.offer(rows)
        if self.measuring.is_done:
            self._finish()
        elif now_ns - self.pulled_ns > lease_ns:
            self.is_expired = self.is_expired or self.state is RunState.RUNNING
            self.stop(RunState.STOPPED, f"its client was silent for {lease_ns / 1e9:g} s")
            if self.sender.n_free == 0:  # what has no place goes, so that the machine is free
                self.is_abandoned = True
                self.sender.finish()

    def _finish(self) -> None:
        self.sender.finish()
        ending, reason = self.measuring.ending
        if ending in {RunState.FAILED, RunState.REFUSED}:
            self.state, self.reason = ending, reason
        elif self.state is RunState.RUNNING:
            self.state = ending or RunState.DONE

    def stop(self, state: RunState, reason: str = "") -> None:
        """Measure no further shot."""
        if self.state is RunState.RUNNING:
            self.state, self.reason = state, reason
            self.measuring.stop()

    def status(self) -> RunStatus:
        """How far it is."""
        n_ahead = 0 if self.sender.is_finished else self.measuring.n_ahead
        n_measured = max(self.measuring.n_measured, self.sender.n_sent)
        return RunStatus(
            self.state,
            self.sender.n_sent,
            self.n_shots,
            self.reason,
            n_measured,
            n_ahead,
            self.measuring.machine_ns,
        )

    def parts(self, capacity: int, now_ns: int) -> bytes:
        """What the stream has to say, at most `capacity` bytes; behind its end, the status."""
        row_bytes = 8 * row_words(self.sender.n_qubits)
        messages: list[tuple[int, bytes]] = []
        while (room := capacity - PART_HEADER_BYTES - BATCH_HEADER_BYTES) >= row_bytes:
            if messages and self.sender.is_finished and capacity < self._end_bytes():
                break
            said = self.sender.poll_run(now_ns, min(self.sender.max_batch, room // row_bytes))
            if said is None:
                break
            payload = said.to_bytes()
            messages.append((function_id(kind_of(said)), payload))
            capacity -= PART_HEADER_BYTES + len(payload)
            if isinstance(said, End):
                self.is_told = True
                status = self.status().to_bytes(max(0, capacity - PART_HEADER_BYTES))
                messages.append((_STATUS_ID, status))
                break
        return join_parts(messages)

    def answer(self, now_ns: int) -> Completion | None:
        """What to say to the pull that waits; None where it waits on."""
        pull = self.pull
        if pull is None:
            return None
        if pull.head and self.state is RunState.REFUSED and not self.is_active:
            reason = self.reason.encode()[: pull.capacity]
            return Completion(pull.ticket, Status.BAD_REQUEST, reason)
        parts = self.parts(pull.capacity, now_ns)
        if not parts and now_ns < pull.expires_ns:
            return None
        return Completion(pull.ticket, Status.OK, pull.head + parts)

    def _end_bytes(self) -> int:
        """Room that the end of the stream and the status take (bytes)."""
        said = len(End(0, 0).to_bytes()) + STATUS_HEADER.size + len(self.reason.encode())
        return 2 * PART_HEADER_BYTES + said
