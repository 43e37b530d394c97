"""Runs of a loop on a machine: started, followed, stopped, repeated where a machine was lost."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from cudaq_target.coupler.control_client import ControlClient, RemoteRun
from cudaq_target.coupler.control_messages import RUN, RunState
from cudaq_target.coupler.errors import CouplerError, RemoteCallError, StreamLostError
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.histogram import Histogram
from cudaq_target.coupler.loops.errors import (
    ExperimentError,
    MachineFailedError,
    ProgramWidthError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.intake import Intake
    from cudaq_target.coupler.loops.interface import Experiment
    from cudaq_target.coupler.loops.program import LoopProgram
    from cudaq_target.coupler.loops.steady_link import SteadyCaller

WAIT_NS: Final = 100_000_000
"""How long a call waits for shots at the other end (ns); then the loop looks around."""

FIRST_WAIT_NS: Final = 20_000_000
"""How long the request of a run waits for its first shots (ns), which saves a call."""

UNJUDGED_WINDOW: Final = 1024
_BUSY_PAUSE_S = 0.01
_FAREWELL_S = 1.0
_RTT_CHUNK = 256


class Decider(Protocol):
    """Answers the machine in the place of the loop; `decide.DecisionServer`."""

    endpoint: str

    def arm(self, session: int, experiment: Experiment, block: int, intake: Intake) -> None:
        """Prepare for a run."""
        ...


@dataclass(slots=True)
class Measured:
    """What runs cost; `n_measured == n_delivered + n_lost`.

    Attributes:
        n_measured: Shots that the machine measured, as far as it could still be asked.
        n_delivered: Of these, arrived.
        n_lost: Of these, never arrived.
        seconds: From the requests to the ends (s).
        machine_seconds: That the machine measured, by its own account; in calls of the link,
            where it gives none (s).
    """

    n_measured: int = 0
    n_delivered: int = 0
    n_lost: int = 0
    seconds: float = 0.0
    machine_seconds: float = 0.0

    def add(self, other: Measured) -> None:
        """Add what other runs cost."""
        self.n_measured += other.n_measured
        self.n_delivered += other.n_delivered
        self.n_lost += other.n_lost
        self.seconds += other.seconds
        self.machine_seconds += other.machine_seconds

    def since(self, before: Measured) -> Measured:
        """What came after `before`."""
        return Measured(
            self.n_measured - before.n_measured,
            self.n_delivered - before.n_delivered,
            self.n_lost - before.n_lost,
            self.seconds - before.seconds,
            self.machine_seconds - before.machine_seconds,
        )


class MachineRuns:
    """Measures experiments, one after the other.

    Attributes:
        counters: Of runs that were repeated, deadlines that ended them, and busy machines.
        total: What all runs cost, those that failed included.
        decider: Asked by the machine after each block; None: the machine asks nobody.
    """

    def __init__(
        self,
        caller: SteadyCaller,
        slot_bytes: int,
        program: LoopProgram,
        *,
        seed: int,
        ahead: int | None = None,
        max_retries: int,
        on_fault: Callable[[BaseException], object],
    ) -> None:
        """Wait for experiments.

        Args:
            caller: To the controller.
            slot_bytes: Longest frame of the link (bytes).
            program: Its texts are loaded when first run.
            seed: Of the loop; every run gets a seed made from it and its number.
            ahead: Shots that the machine may measure while a decision is pending; None for a block.
            max_retries: How often the rest of one run is begun again after the machine lost it.
            on_fault: Told of every run that the machine lost.
        """
        self._rtt_ns = Histogram()
        self.counters: Counter[str] = Counter(retried_runs=0, deadline_misses=0, busy=0)
        self.total = Measured()
        self._caller = caller
        self._client = ControlClient(caller, slot_bytes=slot_bytes)
        self._program = program
        self._seed = seed
        self._max_retries = max_retries
        self._ahead = ahead
        self._on_fault = on_fault
        self.decider: Decider | None = None
        self._ids: dict[str, int] = {}
        self._rtts = np.empty(_RTT_CHUNK, dtype=np.int64)
        self._n_rtts = 0
        self._busy_ns = 0

    @property
    def rtt_ns(self) -> Histogram:
        """Durations of the calls that fetched shots (ns)."""
        self._flush_rtts()
        return self._rtt_ns

    def specs(self) -> str:
        """Ask the machine what it is, as JSON."""
        return self._client.specs()

    def measure(
        self,
        experiment: Experiment,
        number: int,
        block: int,
        intake: Intake,
        is_stopping: Callable[[], bool],
    ) -> Measured:
        """Measure an experiment.

        Args:
            experiment: What.
            number: Of the run in its loop.
            block: Shots between two decisions.
            intake: Takes the shots; what it says ends the run.
            is_stopping: Whether to end the run in any case.

        Raises:
            ExperimentError: The program has no such setting, or a parameter is not finite.
            ProgramWidthError: The machine measures another number of bits.
            RemoteCallError: The machine refuses the program or the parameters, and says why.
            MachineFailedError: The machine broke the run off.
            StreamLostError: It was lost more often than `max_retries` allows.
            LinkError: No call came through within the caller's patience.
        """
        before = replace(self.total)
        begin_ns = time.monotonic_ns()
        try:
            self._measure(experiment, number, block, intake, is_stopping)
        finally:
            self.total.seconds += 1e-9 * (time.monotonic_ns() - begin_ns)
        return self.total.since(before)

    def _measure(
        self,
        experiment: Experiment,
        number: int,
        block: int,
        intake: Intake,
        is_stopping: Callable[[], bool],
    ) -> None:
        parameters = self._parameters(experiment)
        n_left = experiment.max_shots
        for attempt in range(self._max_retries + 1):
            given = experiment.seed if attempt == 0 else 0
            seed = given or self._seed_of(number, attempt)
            run = self._start(experiment, parameters, n_left, block, seed, intake)
            self._follow(run, number, intake, is_stopping)
            n_left -= run.receiver.n_delivered
            is_late = run.ended is not None and run.ended.state is RunState.DEADLINE
            if n_left <= 0 or is_late or intake.stopped or is_stopping():
                return
            if attempt == self._max_retries:
                raise StreamLostError(run.run_id, run.receiver.n_delivered, n_left)
            self.counters["retried_runs"] += 1

    def _parameters(self, experiment: Experiment) -> NDArray[np.float64]:
        n_settings = self._program.n_settings
        if not 0 <= experiment.setting < n_settings:
            expected = f"the program has settings 0 to {n_settings - 1}"
            raise ExperimentError("setting", f"is {experiment.setting}", expected)
        if experiment.max_shots < 1:
            raise ExperimentError("max_shots", f"is {experiment.max_shots}", "use 1 or more")
        made = self._program.parameters(experiment.setting, experiment.point)
        parameters = np.asarray(made, dtype=np.float64).reshape(-1)
        if not np.isfinite(parameters).all():
            found = f"makes the parameters {parameters.tolist()}"
            raise ExperimentError("point", found, "a machine takes finite numbers")
        return parameters

    def _seed_of(self, number: int, attempt: int) -> int:
        """Make the seed of a run; equal loops get equal seeds, and no two runs of one loop do."""
        text = f"{self._seed}/{number}/{attempt}".encode()
        return int.from_bytes(blake2b(text, digest_size=8).digest(), "little") | 1

    def _start(
        self,
        experiment: Experiment,
        parameters: NDArray[np.float64],
        n_shots: int,
        block: int,
        seed: int,
        intake: Intake,
    ) -> RemoteRun:
        self._busy_ns = self._caller.busy_ns
        text = self._program.texts[experiment.setting]
        is_judged = block < experiment.max_shots
        decider = self.decider if is_judged else None
        # A window of one block makes the machine wait for the decision; see `docs/loops.md`.
        window = block if is_judged and decider is None else max(UNJUDGED_WINDOW, 2 * block)
        # No further than a block beyond the decision; 0 leaves it to the machine.
        ahead = (self._ahead if self._ahead and decider is None else block) if is_judged else 0
        until_s = time.monotonic() + self._caller.patience_s
        is_new = text not in self._ids
        while True:
            if is_new or text not in self._ids:
                self._ids[text] = self._client.load_program(text)
            run_id = secrets.randbits(64)
            if decider is not None:
                decider.arm(run_id, experiment, block, intake)
            try:
                run = self._client.run(
                    self._ids[text],
                    n_shots,
                    parameters,
                    deadline_ns=experiment.deadline_ns,
                    window=window,
                    seed=seed,
                    block=ahead,
                    decide=None if decider is None else decider.endpoint,
                    run_id=run_id,
                    wait_ns=FIRST_WAIT_NS,
                )
            except RemoteCallError as error:
                if error.status == Status.BUSY and time.monotonic() < until_s:
                    self.counters["busy"] += 1
                    time.sleep(_BUSY_PAUSE_S)
                elif error.status == Status.BAD_REQUEST and not is_new:
                    # A machine that was restarted has forgotten the program: load it once more.
                    is_new = True
                else:
                    raise
            except BaseException:  # Ctrl-C on the way, too: the machine may have begun
                self._leave(RemoteRun(self._caller, run_id, n_shots, self._program.n_bits))
                raise
            else:
                if run.receiver.n_delivered:
                    self._note_rtt(self._caller.last_ns)
                return self._checked(run, experiment.setting)

    def _checked(self, run: RemoteRun, setting: int) -> RemoteRun:
        """Refuse a run of another width."""
        n_bits = run.receiver.n_qubits
        if n_bits != self._program.n_bits:
            self._leave(run)
            raise ProgramWidthError(setting, n_bits, self._program.n_bits)
        return run

    def _follow(
        self, run: RemoteRun, number: int, intake: Intake, is_stopping: Callable[[], bool]
    ) -> None:
        """Take the shots of a run until it ends, or the machine has forgotten it."""
        seen = 0
        try:
            stops = self._take(run, intake, is_stopping)  # what the answer to the request brought
            is_told = False
            while not run.receiver.is_complete:
                if stops and not is_told:
                    run.stop()
                    is_told = True
                seen = run.receiver.credit().seen_shot_id
                run.pull(WAIT_NS)
                self._note_rtt(self._caller.last_ns)
                stops = self._take(run, intake, is_stopping)
            run.pull(0)  # the machine may forget the run
            seen = run.receiver.next_shot_id
        except StreamLostError as error:
            self._on_fault(error)
        except BaseException:  # Ctrl-C, too, must not leave it measuring
            self._leave(run)
            seen = run.receiver.next_shot_id
            raise
        finally:
            self._count(run, seen)
        self._check(run, number)

    def _take(self, run: RemoteRun, intake: Intake, is_stopping: Callable[[], bool]) -> bool:
        """Hand over what has come; gives whether the run is to stop."""
        for batch in run.receiver.take():
            intake.take(batch.rows)
        if is_stopping():
            intake.close()
            return True
        return intake.stopped

    def _count(self, run: RemoteRun, seen: int) -> None:
        """Add a run to the total; `seen` shots of it are known to have been measured."""
        n_delivered = run.receiver.n_delivered
        n_measured = max(n_delivered, seen, run.n_measured or 0)
        self.total.n_measured += n_measured
        self.total.n_delivered += n_delivered
        self.total.n_lost += n_measured - n_delivered
        own_ns = 0 if run.ended is None else run.ended.machine_ns
        self.total.machine_seconds += 1e-9 * (own_ns or self._caller.busy_ns - self._busy_ns)

    def _check(self, run: RemoteRun, number: int) -> None:
        ended = run.ended
        if ended is None:
            return
        if ended.state is RunState.REFUSED:
            raise RemoteCallError(RUN, Status.BAD_REQUEST, ended.reason)
        if ended.state is RunState.FAILED:
            n_shots = run.receiver.n_delivered
            raise MachineFailedError(number, n_shots, run.n_shots, ended.reason)
        self.counters["deadline_misses"] += ended.state is RunState.DEADLINE

    def _leave(self, run: RemoteRun) -> None:
        """End a run whose shots nobody wants, so that the machine is free; for a short time."""
        patience_s, self._caller.patience_s = self._caller.patience_s, 0.0
        until_s = time.monotonic() + _FAREWELL_S
        try:
            with contextlib.suppress(CouplerError):
                run.stop()
                while not run.receiver.is_complete and time.monotonic() < until_s:
                    run.pull(WAIT_NS)
                    run.receiver.take()
                run.pull(0)
        finally:
            self._caller.patience_s = patience_s

    def _note_rtt(self, duration_ns: int) -> None:
        self._rtts[self._n_rtts] = duration_ns
        self._n_rtts += 1
        if self._n_rtts == _RTT_CHUNK:
            self._flush_rtts()

    def _flush_rtts(self) -> None:
        self._rtt_ns.record(self._rtts[: self._n_rtts])
        self._n_rtts = 0
