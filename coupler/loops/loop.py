"""The feedback loop: shots stream from a machine, and what they say decides what comes next."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cudaq_target.coupler.control_client import ControlClient
from cudaq_target.coupler.interrupts import interruptible
from cudaq_target.coupler.loops.engine import Engine, LoopCost
from cudaq_target.coupler.loops.errors import ExperimentError, LoopUsedError
from cudaq_target.coupler.loops.events import EventFile, Reporter
from cudaq_target.coupler.loops.intake import Intake
from cudaq_target.coupler.loops.interface import Knowing
from cudaq_target.coupler.loops.machine_runs import MachineRuns, Measured
from cudaq_target.coupler.loops.record import LoopRecord, LoopRecorder, cost_fields
from cudaq_target.coupler.loops.steady_link import SteadyCaller
from cudaq_target.coupler.payload import row_words
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from cudaq_target.coupler.link import Link
    from cudaq_target.coupler.loops.events import Sink
    from cudaq_target.coupler.loops.interface import (
        Estimate,
        Estimator,
        Experiment,
        LoopResult,
        LoopStep,
        Outcome,
        Policy,
    )
    from cudaq_target.coupler.loops.program import LoopProgram

    Words = NDArray[np.uint64]


class FeedbackLoop:
    """Measures what a policy asks for until it has nothing more to ask; iterable, runs once.

    Shots arrive as they are measured. After exactly every `block` shots of a run the policy judges
    whether the run goes on, so that its decisions depend on the shots and not on time: equal seeds
    give equal loops on an emulated machine, faults apart.

    Every shot is accounted for: `n_used + n_discarded + n_lost == n_measured`, for each run and for
    the loop. Used: the estimator took it. Discarded: it came, and the run had been told to stop.
    Lost: it was measured and never came. Of a controller that died only those shots count that it
    is known to have measured.

    Faults. A call without an answer is repeated for `patience_s`, so that a controller that is
    frozen or restarted delays the loop. What a restarted controller has forgotten of a run is
    measured again, with another seed, up to `max_retries` times a run; shots that came before stay
    in the estimate. A refusal, a failure of the machine and an error of estimator or policy end the
    loop with their error, Ctrl-C with KeyboardInterrupt; in each case the run on the controller is
    stopped first, and `result` says what had been measured.

    Args:
        link: To a controller, used by nobody else meanwhile; or a client over one, whose calls
            are then repeated in the same way.
        program: What runs.
        estimator: Reduces the shots; one text of the program per setting.
        policy: Decides.
        block: Shots between two decisions of a run, where an experiment names none.
        ahead: Shots that the machine may measure while a decision is pending, at least 1; they
            are lost to a stop. A block by default, which keeps machine and link busy.
        seed: Of the emulated machine's shots; machines that are not emulated ignore it.
        events: A file to append events to, or a function that takes them; see `events`.
        record: A new file for all shots and decisions, for `replay_loop`.
        notes: What else a replay needs to know, kept at the head of the record; plain data.
        decide: An endpoint on the controller's own host, for example "shm://decide": this loop
            then serves the decisions there from compiled code (`decide`), and the machine asks
            after every block before it measures on. No shot is measured behind a decision.
        name: In events, for people.
        unit: Of the estimate.
        reference: The exact value, where it is known.
        baseline_shots: What a loop of fixed shots takes, where it is known.
        timeout_s: Of a single call (s).
        patience_s: How long calls are repeated (s).
        max_retries: How often the rest of one run is measured again.

    >>> from cudaq_target.coupler.loops.estimators import FrequencyEstimator
    >>> from cudaq_target.coupler.loops.policies import Sample
    >>> from cudaq_target.coupler.loops.shot_plans import EarlyStop
    >>> def estimate(link, program):
    ...     policy = Sample(EarlyStop(half_width=0.05))
    ...     return FeedbackLoop(link, program, FrequencyEstimator(1), policy).run().estimate
    """

    def __init__(
        self,
        link: Link | ControlClient,
        program: LoopProgram,
        estimator: Estimator,
        policy: Policy,
        *,
        block: int = 32,
        ahead: int | None = None,
        seed: int = 0,
        events: Path | str | Sink | None = None,
        record: Path | str | None = None,
        notes: Mapping[str, object] | None = None,
        decide: str | None = None,
        name: str = "loop",
        unit: str = "",
        reference: float | None = None,
        baseline_shots: int | None = None,
        timeout_s: float = 1.0,
        patience_s: float = 30.0,
        max_retries: int = 3,
    ) -> None:
        """Prepare; nothing is sent before the first step.

        Raises:
            ExperimentError: Estimator and program have different numbers of settings, or `block`
                or `ahead` is below 1.
            UndecidableError: Compiled code cannot take this loop's decisions, see `decide`.
        """
        _check(estimator, program, block, ahead)
        self.result: LoopResult | None = None
        self._settings = LoopSettings(
            link,
            program,
            estimator,
            policy,
            block,
            ahead,
            seed,
            events,
            record,
            notes,
            decide,
            name,
            unit,
            reference,
            baseline_shots,
            timeout_s,
            patience_s,
            max_retries,
        )
        self._is_used = False
        self._is_stopping = False
        if decide is not None:
            from cudaq_target.coupler.loops.decide import check_decidable  # noqa: PLC0415 - Numba

            check_decidable(estimator, policy)

    def __iter__(self) -> Iterator[LoopStep]:
        """Run; gives each point once it is measured. Leaving the iteration ends the loop.

        Raises:
            LoopUsedError: The loop has run already.
            CouplerError: See the class.
        """
        if self._is_used:
            raise LoopUsedError(self._settings.name)
        self._is_used = True
        return self._steps()

    def run(self) -> LoopResult:
        """Run to the end.

        Raises:
            LoopUsedError: The loop has run already.
            CouplerError: See the class.
        """
        for _ in self:
            pass
        assert self.result is not None
        return self.result

    def stop(self) -> None:
        """End the loop after the shots that have come; from any thread, or a signal handler."""
        self._is_stopping = True

    def _steps(self) -> Iterator[LoopStep]:
        running = _Running(self._settings, lambda: self._is_stopping)
        with interruptible():
            try:
                yield from running.steps()
            finally:
                self.result = running.result


def _check(estimator: Estimator, program: LoopProgram, block: int, ahead: int | None) -> None:
    """Refuse what does not fit together."""
    if estimator.n_settings != program.n_settings:
        found = f"are {program.n_settings} in the program"
        raise ExperimentError("settings", found, f"the estimator has {estimator.n_settings}")
    if block < 1:
        raise ExperimentError("block", f"is {block}", "use 1 or more")
    if ahead is not None and ahead < 1:
        raise ExperimentError("ahead", f"is {ahead}", "use 1 or more")


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """The arguments of `FeedbackLoop`."""

    link: Link | ControlClient
    program: LoopProgram
    estimator: Estimator
    policy: Policy
    block: int
    ahead: int | None
    seed: int
    events: Path | str | Sink | None
    record: Path | str | None
    notes: Mapping[str, object] | None
    decide: str | None
    name: str
    unit: str
    reference: float | None
    baseline_shots: int | None
    timeout_s: float
    patience_s: float
    max_retries: int


class _Running:
    """A loop that runs: its parts, and what they report."""

    def __init__(self, settings: LoopSettings, is_stopping: Callable[[], bool]) -> None:
        self.result: LoopResult | None = None
        self._settings = settings
        self._is_stopping = is_stopping
        self._stack = ExitStack()
        self._reporter = Reporter(None)
        self._recorder: LoopRecorder | None = None
        self._n_faults = 0
        self._begin_s = time.monotonic()
        self._had_steps: list[LoopStep] = []
        link = settings.link
        call = (
            link.call_once if isinstance(link, ControlClient) else link.caller(settings.timeout_s)
        )
        self._caller = SteadyCaller(call, settings.patience_s, self._on_fault)
        self._runs = MachineRuns(
            self._caller,
            link.slot_bytes,
            settings.program,
            seed=settings.seed,
            ahead=settings.ahead,
            max_retries=settings.max_retries,
            on_fault=self._on_fault,
        )
        is_watched = settings.events is not None or settings.record is not None
        self._intake = Intake(
            settings.estimator,
            settings.policy,
            row_words(settings.program.n_bits),
            self if is_watched else None,
        )
        self._engine = Engine(
            settings.estimator,
            settings.policy,
            self._intake,
            self._measure,
            block=settings.block,
            on_outcome=self._on_outcome,
            is_stopping=is_stopping,
        )

    def steps(self) -> Iterator[LoopStep]:
        """Run; whatever happens, say how it went."""
        status = "failed"
        try:
            self._open()
            for step in self._engine.steps():
                self._had_steps.append(step)
                self._reporter.step(step, self._known())
                yield step
            status = "stopped" if self._is_stopping() else "done"
        except GeneratorExit:
            status = "stopped"
            raise
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except BaseException as error:  # whoever watches is told of any end
            self._reporter.fault(error, recovered=False)
            raise
        finally:
            self._end(status)

    def _open(self) -> None:
        settings = self._settings
        sink = settings.events
        if isinstance(sink, str | Path):
            sink = self._stack.enter_context(EventFile(sink))
        self._reporter = Reporter(sink)
        if settings.record is not None:
            program = settings.program
            recorder = LoopRecorder(
                settings.record,
                program.n_bits,
                program.n_settings,
                settings.block,
                settings.seed,
                settings.name,
                settings.notes,
            )
            self._recorder = self._stack.enter_context(recorder)
        if settings.decide is not None:
            self._serve_decisions(settings.decide)
        if sink is not None:
            self._reporter.start(
                loop=settings.name,
                unit=settings.unit,
                parameters=list(settings.program.names),
                settings=list(getattr(settings.estimator, "bases", ())),
                reference=settings.reference,
                machine=_short(self._runs.specs()),
                seed=settings.seed,
                policy=describe(settings.policy),
                baseline_shots=settings.baseline_shots,
            )

    def _known(self) -> Mapping[str, tuple[float, float]] | None:
        policy = self._settings.policy
        return policy.known if isinstance(policy, Knowing) else None

    def _serve_decisions(self, endpoint: str) -> None:
        from cudaq_target.coupler.loops.decide import DecisionServer  # noqa: PLC0415 - Numba

        settings = self._settings
        options = TransportOptions(slot_bytes=settings.link.slot_bytes)
        server = DecisionServer(settings.estimator, settings.policy, endpoint, options)
        self._runs.decider = self._stack.enter_context(server)

    def _measure(self, experiment: Experiment, number: int, block: int) -> Measured:
        if self._recorder is not None:
            self._recorder.begin(number, experiment)
        return self._runs.measure(experiment, number, block, self._intake, self._is_stopping)

    def shots(self, rows: Words) -> None:
        """See shots that arrive; as `intake.Watcher`."""
        if self._recorder is not None:
            self._recorder.shots(rows)

    def block(
        self, intake: Intake, n_shots: int, estimate: Estimate, *, stops: bool | None
    ) -> None:
        """See a block and its decision; as `intake.Watcher`."""
        if self._recorder is not None and stops is not None:
            self._recorder.decision(intake.n_used, stops=stops)
        self._reporter.batch(
            self._engine.step,
            intake.setting,
            n_shots,
            estimate,
            self._caller.last_ns,
            intake.n_held,
            stops=bool(stops),
        )

    def _on_outcome(self, number: int, outcome: Outcome) -> None:
        if self._recorder is not None:
            self._recorder.outcome(number, outcome)

    def _on_fault(self, error: BaseException) -> None:
        self._n_faults += 1
        self._reporter.fault(error, recovered=True)

    def _end(self, status: str) -> None:
        counters = dict(self._runs.counters) | {"repeated_calls": self._caller.n_faults}
        cost = LoopCost(
            self._runs.total,
            self._n_faults,
            time.monotonic() - self._begin_s,
            self._runs.rtt_ns,
            counters,
        )
        found = self._settings.policy.result()
        self.result = self._engine.result(status, found, self._had_steps, cost)
        try:
            if self._recorder is not None:
                self._recorder.end(
                    {"status": status, "n_told": self._engine.n_told, **cost_fields(cost)}
                )
            self._reporter.end(self.result)
        finally:
            self._stack.close()


def replay_loop(
    path: Path | str,
    estimator: Estimator,
    policy: Policy,
    *,
    on_step: Callable[[LoopStep], object] | None = None,
) -> LoopResult:
    """Repeat a recorded loop without a machine: the same shots, decisions and numbers.

    Every experiment, decision, estimate and count is compared with the record, bit for bit.

    Args:
        path: From `FeedbackLoop(record=...)`; also of a loop that was interrupted or died, which is
            repeated as far as its last whole run.
        estimator: Made as the recorded loop's was.
        policy: Made as the recorded loop's was, with the same seed.
        on_step: Told of each point.

    Returns:
        The result; equal to that of the loop but for `rtt_ns`, which is empty.

    Raises:
        RecordingError: The file is no recording.
        LoopRecordError: It is no record of a loop.
        ReplayError: Estimator or policy ask, decide or estimate otherwise.
    """
    record = LoopRecord(path)
    intake = Intake(estimator, policy, row_words(record.head["n_bits"]), record)
    total = Measured()

    def measure(experiment: Experiment, number: int, block: int) -> Measured:  # noqa: ARG001
        cost = record.measure(experiment, number, intake)
        total.add(cost)
        return cost

    def is_stopping() -> bool:
        is_over = not record.has_run and engine.n_told >= record.n_told
        return is_over and record.end.get("status") != "done"

    engine = Engine(
        estimator,
        policy,
        intake,
        measure,
        block=record.head["block"],
        on_outcome=lambda number, outcome: record.check_estimate(number, outcome.estimate),
        is_stopping=is_stopping,
    )
    steps: list[LoopStep] = []
    for step in engine.steps():
        steps.append(step)
        if on_step is not None:
            on_step(step)
    return engine.result(record.status, policy.result(), steps, record.cost(total))


def describe(policy: Policy) -> str:
    """Name a policy for people: its class, and those of its optimiser and plan."""
    parts = (getattr(policy, name, None) for name in ("optimiser", "plan"))
    names = [type(part).__name__ for part in parts if part is not None]
    name = type(policy).__name__
    return f"{name}({', '.join(names)})" if names else name


def _short(specs: str) -> dict[str, object]:
    """What fits a line: no descriptions of devices."""
    try:
        fields = json.loads(specs)
    except ValueError:
        return {}
    if not isinstance(fields, dict):
        return {}
    named = {
        name: value["name"]
        for name, value in fields.items()
        if isinstance(value, dict) and isinstance(value.get("name"), str)
    }
    return named | {
        name: value
        for name, value in fields.items()
        if isinstance(value, int | float | bool | None)
        or (isinstance(value, str) and len(value) < 80)
    }
