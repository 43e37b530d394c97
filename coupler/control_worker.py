"""The machine's thread: it measures what the runs may measure, in turn, at its cadence.

Short turns of machines that only compute are measured in the thread that asks, where nobody else
wants one: two threads that wake each other take longer than a small program.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from cudaq_target.coupler.control_pace import SHORT_NS, Paces
from cudaq_target.coupler.control_turns import Turns
from cudaq_target.coupler.errors import CouplerError, ProgramRefusedError
from cudaq_target.coupler.machine import Preparing
from cudaq_target.coupler.payload import row_words, shot_batch

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    from cudaq_target.coupler.control_messages import Decision
    from cudaq_target.coupler.machine import LazyRun

    Rows = NDArray[np.uint64]

_LOG = logging.getLogger(__name__)
DEFAULT_BLOCK: Final = 32
# Shots of a turn where somebody else waits; large enough that turns cost little.
TURN_SHOTS: Final = 256
# Shots of a turn where nobody does; small enough that a stop is seen soon.
LONG_TURN_SHOTS: Final = 4096


class Decider(Protocol):
    """Asks ends that decide."""

    @property
    def slot_bytes(self) -> int:
        """Longest frame (bytes)."""

    def objection(self, endpoint: str) -> str | None:
        """Why this end cannot be asked; None where it can, as far as its name says."""

    def ask(self, endpoint: str, frame: bytes, *, begins: bool) -> Decision:
        """Send a batch of shots and wait for the decision; `begins` with the first of a run.

        Raises:
            CouplerError: There is none.
        """

    def close(self) -> None:
        """Give the links back."""


@dataclass(slots=True, eq=False)
class Job:
    """A run in the machine's hands.

    Who measures writes all but `limit` and `is_stopped`, which the server's thread writes. Each is
    one assignment, and `rows` is a deque, so that neither waits for the other.

    Attributes:
        run_id: The run.
        client: Whose turn it uses.
        source: Measures.
        n_shots: Shots that are wanted.
        block: Shots beyond the credit, and shots of a decision.
        decide: Endpoint that decides; empty for none.
        program_id: The program.
        limit: Credit of the receiver: the number of the first shot that it would discard.
        is_stopped: Whether no further shot is wanted.
        rows: Measured, and not taken by the server yet.
        n_measured: Shots so far.
        has_decided: Whether it was stopped by a decision.
        failure: Why it broke off; None where it did not.
        refusal: Why it never began; None where it did.
        is_over: Whether nothing more comes into `rows`.
        machine_ns: Time spent on measuring (ns).
        is_prepared: Whether the source was told to prepare.
        undecided: Measured, and not part of a whole block yet.
        n_decided: Shots that were decided about.
    """

    run_id: int
    client: Hashable
    source: LazyRun
    n_shots: int
    block: int = DEFAULT_BLOCK
    decide: str = ""
    program_id: int = 0
    limit: int = 0
    is_stopped: bool = False
    rows: deque[Rows] = field(default_factory=deque)
    n_measured: int = 0
    has_decided: bool = False
    failure: str | None = None
    refusal: str | None = None
    is_over: bool = False
    machine_ns: int = 0
    is_prepared: bool = False
    undecided: list[Rows] = field(default_factory=list)
    n_decided: int = 0

    @property
    def n_allowed(self) -> int:
        """Shots that may be measured now."""
        return min(self.n_shots, self.limit + self.block) - self.n_measured

    @property
    def is_computed(self) -> bool:
        """Whether measuring waits for nothing; see `machine.Computed`."""
        return getattr(self.source, "is_computed", False) is True

    @property
    def is_ready(self) -> bool:
        """Whether a turn is of use: to measure, or to end."""
        return self.is_stopped or self.n_allowed > 0


class ShotClock:
    """Moments at which shots may begin; a shot that finds the machine free begins at once."""

    def __init__(self, cadence_hz: float | None, clock: Callable[[], int]) -> None:
        """Start with a free machine.

        Args:
            cadence_hz: Shots per second at most; None for no limit.
            clock: Monotonic (ns).

        Raises:
            ValueError: The cadence is not positive, or not finite.
        """
        if cadence_hz is not None and not 0.0 < cadence_hz < float("inf"):
            message = f"a cadence of {cadence_hz} Hz; give a positive number, or None"
            raise ValueError(message)
        self.period_ns = 0 if cadence_hz is None else round(1e9 / cadence_hz)
        self.n_missed = 0
        self._clock = clock
        self._next_ns = 0
        self._is_wanted = False

    def wait_ns(self) -> int:
        """How long until a shot may begin (ns); 0 for now."""
        return max(0, self._next_ns - self._clock()) if self.period_ns else 0

    def begin(self) -> None:
        """A shot begins."""
        if not self.period_ns:
            return
        now_ns = self._clock()
        late_ns = now_ns - self._next_ns
        if self._is_wanted and 2 * late_ns < self.period_ns:
            self._next_ns += self.period_ns  # a little late: the beat stays
        else:
            self.n_missed += late_ns // self.period_ns if self._is_wanted else 0
            self._next_ns = now_ns + self.period_ns
        self._is_wanted = True

    def idle(self) -> None:
        """Nobody wants a shot."""
        self._is_wanted = False


class Worker:
    """Measures for all runs, in a thread of its own that starts with the first.

    One thread at a time has the machine, from `_claim` or `_next` to `_release`.
    """

    def __init__(
        self,
        *,
        cadence_hz: float | None = None,
        whole_jobs: bool = False,
        max_runs: int = 32,
        max_clients: int = 16,
        decider: Decider | None = None,
        on_news: Callable[[], None] = lambda: None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Wait for the first run.

        Args:
            cadence_hz: Shots per second at most, of all runs together; None for no limit.
            whole_jobs: The machine measures all shots of a run at once.
            max_runs: Runs under way and waiting at most.
            max_clients: Clients with runs at most.
            decider: Asks ends that decide; None where no run names one.
            on_news: Called in the machine's thread when a run has shots, or ends; not for what
                `add`, `allow` and `stop` have done themselves.
            clock: Monotonic (ns).
        """
        self.on_news = on_news
        self.n_measured = 0
        self.n_decisions = 0
        self._whole_jobs = whole_jobs
        self._decider = decider
        self._clock = ShotClock(cadence_hz, clock)
        self._turns: Turns[Job] = Turns(max_runs, max_clients)
        self._paces = Paces()
        self._changed = threading.Condition()
        self._is_taken = False
        self._is_closing = False
        self._thread: threading.Thread | None = None

    @property
    def n_missed(self) -> int:
        """Ticks of the shot clock that passed although a run waited for one."""
        return self._clock.n_missed

    @property
    def is_idle(self) -> bool:
        """Whether nothing is measured, and nothing may be."""
        with self._changed:
            return not self._is_taken and not any(job.is_ready for job in self._turns)

    def objection(self, client: Hashable) -> str | None:
        """Why a run of this client has no place now; None where it has."""
        with self._changed:
            return self._turns.objection(client)

    def n_ahead(self, job: Job) -> int:
        """Runs whose turn comes before the next one of this run."""
        with self._changed:
            return self._turns.n_ahead(job)

    def add(self, job: Job, *, is_awaited: bool = False) -> None:
        """Take on a run.

        Args:
            job: The run.
            is_awaited: The caller has nothing else to do, so that a short turn is his.
        """
        with self._changed:
            self._turns.add(job.client, job)
            is_here = self._claim(job, is_awaited=is_awaited)
        if is_here:
            self._measure_here(job)

    def allow(self, job: Job, limit: int) -> None:
        """Give a run credit up to the shot with this number."""
        if limit <= job.limit:
            return
        with self._changed:
            job.limit = limit
            is_here = self._claim(job)
        if is_here:
            self._measure_here(job)

    def stop(self, job: Job) -> None:
        """Measure no further shot of a run."""
        with self._changed:
            job.is_stopped = True
            is_here = self._claim(job)
        if is_here:
            self._measure_here(job)

    def close(self, timeout_s: float) -> bool:
        """End the thread; runs that are not over fail.

        Args:
            timeout_s: How long to wait for it (s).

        Returns:
            Whether it has ended; a machine that measures may hold it.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _claim(self, job: Job, *, is_awaited: bool = True) -> bool:
        """Take the machine for a short turn of this run, or let the machine's thread see to it."""
        is_free = len(self._turns) == 1 and not (self._is_taken or self._is_closing)
        is_mine = is_awaited and is_free and job.is_computed and job.is_ready
        if is_mine and self._is_short(job):
            self._is_taken = True
            return True
        self._wake()
        return False

    def _is_short(self, job: Job) -> bool:
        if self._clock.period_ns or self._whole_jobs or job.decide:
            return False
        if job.is_stopped:
            return True
        expected_ns = self._paces.expected_ns(
            job.program_id, job.n_measured == 0, self._n_shots(job)
        )
        return expected_ns is not None and expected_ns <= SHORT_NS

    def _measure_here(self, job: Job) -> None:
        """Measure in the caller's thread what the run may measure, as long as that is short."""
        until_ns = time.monotonic_ns() + SHORT_NS
        try:
            self._turn(job)
            while (
                not job.is_over
                and job.is_ready
                and self._is_short(job)
                and time.monotonic_ns() < until_ns
            ):
                self._turn(job)
        finally:
            self._release()

    def _release(self) -> None:
        with self._changed:
            self._is_taken = False
            if any(job.is_ready for job in self._turns):
                self._wake()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="machine", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            self._turn(job)
            with self._changed:
                self._is_taken = False
            self.on_news()
        with self._changed:
            left = list(self._turns)
        for job in left:
            job.failure = "the controller was closed"
            self._end(job)
        if self._decider is not None:
            self._decider.close()

    def _next(self) -> Job | None:
        """Wait for a run that can use a turn, and for its time; None at the end."""
        with self._changed:
            while not self._is_closing:
                if self._is_taken or not any(job.is_ready for job in self._turns):
                    self._clock.idle()
                    self._changed.wait()
                    continue
                stopped = next((job for job in self._turns if job.is_stopped), None)
                wait_ns = 0 if stopped is not None else self._clock.wait_ns()
                if wait_ns == 0:
                    self._is_taken = True
                    return stopped or self._turns.next(lambda job: job.is_ready)
                self._changed.wait(wait_ns / 1e9)
        return None

    def _turn(self, job: Job) -> None:
        if not job.is_stopped:
            self._clock.begin()
            self._measure(job, self._n_shots(job))
        if job.is_stopped or job.failure or job.refusal or job.n_measured >= job.n_shots:
            self._end(job)

    def _n_shots(self, job: Job) -> int:
        if self._whole_jobs:
            return job.n_shots - job.n_measured
        if self._clock.period_ns:
            return 1
        n_shots = TURN_SHOTS if len(self._turns) > 1 else LONG_TURN_SHOTS
        if job.decide:
            n_shots = job.block - sum(map(len, job.undecided))
        return min(n_shots, job.n_allowed)

    def _measure(self, job: Job, n_shots: int) -> None:
        is_first, start_ns = job.n_measured == 0, time.monotonic_ns()
        try:
            if not job.is_prepared:
                job.is_prepared = True
                if isinstance(job.source, Preparing):
                    job.source.prepare()
            begin_ns = time.monotonic_ns()
            rows = _checked(job.source.measure(n_shots), n_shots, job.source.n_qubits)
            end_ns = time.monotonic_ns()
        except ProgramRefusedError as error:
            if job.n_measured == 0:
                job.refusal = str(error)
            else:
                job.failure = str(error)
            return
        except Exception as error:  # noqa: BLE001 - foreign code; `status` reports it to the client
            _LOG.exception("run %#x failed on the machine", job.run_id)
            job.failure = f"{type(error).__name__}: {error}"
            return
        self._paces.note(job.program_id, is_first, len(rows), end_ns - start_ns)
        job.machine_ns += max(end_ns - begin_ns, len(rows) * self._clock.period_ns)
        job.rows.append(rows)
        job.n_measured += len(rows)
        self.n_measured += len(rows)
        if job.decide:
            job.undecided.append(rows)
            self._decide(job)

    def _decide(self, job: Job) -> None:
        """Have each full block decided, and what is left of the last one."""
        rows = np.concatenate(job.undecided)
        is_last = job.n_measured >= job.n_shots
        while len(rows) >= job.block or (is_last and len(rows)):
            begins = job.n_decided == 0
            batch = shot_batch(job.run_id, job.n_decided, job.source.n_qubits, rows[: job.block])
            rows = rows[job.block :]
            job.n_decided += batch.n_shots
            self.on_news()  # the shots leave while the decision is made
            try:
                assert self._decider is not None  # the server takes no such run without one
                decision = self._decider.ask(job.decide, batch.to_bytes(), begins=begins)
            except CouplerError as error:
                job.failure = f"decide: {error}"
                return
            self.n_decisions += 1
            if decision.is_stop:
                job.has_decided = job.n_measured < job.n_shots or len(rows) > 0
                job.is_stopped = True
                return
        job.undecided = [rows]

    def _end(self, job: Job) -> None:
        try:
            job.source.close()
        except Exception:  # noqa: BLE001 - foreign code; the run has all it will get
            _LOG.exception("the machine did not end run %#x cleanly", job.run_id)
        with self._changed:
            self._turns.remove(job.client, job)
        job.is_over = True  # last: who sees it sees all the rest


def _checked(rows: Rows, n_shots: int, n_qubits: int) -> Rows:
    """What a machine gave, where it is what was asked for."""
    shape = (len(rows), row_words(n_qubits))
    if rows.dtype != np.uint64 or rows.shape != shape or not 0 < len(rows) <= n_shots:
        message = (
            f"the machine gave {rows.dtype} of shape {rows.shape} for up to {n_shots} shots of "
            f"{n_qubits} qubits"
        )
        raise ValueError(message)
    return rows
