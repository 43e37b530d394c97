"""Variational loop over a controller: the ground state of a small system from streamed shots.

The search walks down the gradient, which the parameter-shift rule reads off energies. Two ways to
spend shots are offered on the same search. *Streaming*: every point has a standard error that is
good enough for the step at hand, coarse at first; shots go to the measurement basis that lowers the
error most, as their variances are seen; the run stops at that error. *Fixed*: so many shots of each
basis at each point, which is what a loop does that sees results of whole jobs.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cudaq_target import machines, telemetry
from cudaq_target.coupler.control_client import ControlClient
from cudaq_target.coupler.interrupts import interruptible
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.loops.estimators import EnergyEstimator
from cudaq_target.coupler.loops.events import percentiles
from cudaq_target.coupler.loops.loop import FeedbackLoop, replay_loop
from cudaq_target.coupler.loops.policies import Minimise, Minimum
from cudaq_target.coupler.loops.shot_plans import Allocation, FixedShots
from cudaq_target.errors import OptionError
from cudaq_target.kernels.pauli_groups import group_pauli_terms
from cudaq_target.launch.compile import compile as compile_kernel
from cudaq_target.loops.controller_process import controller_process
from cudaq_target.loops.hamiltonians import matrix
from cudaq_target.loops.program import observed
from cudaq_target.loops.searches import MIN_SHOTS, PRIOR_SHOTS, errors_for, search

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cudaq_target.coupler.link import Link
    from cudaq_target.coupler.loops.events import Sink
    from cudaq_target.coupler.loops.interface import (
        Estimate,
        LoopResult,
        LoopStep,
        Optimiser,
        Point,
    )
    from cudaq_target.coupler.loops.shot_plans import ShotPlan
    from cudaq_target.loops.systems import System
    from cudaq_target.program import Program

MAX_SHOTS = 10_000_000
"""Of the energy at the end."""
_CONNECT_S = 10.0
_CALL_S = 5.0
_FINAL_BLOCK = 64  # where thousands of shots are needed, few are lost behind a stop


@dataclass(frozen=True, slots=True, eq=False)
class VqeResult:
    """What a variational loop found.

    Attributes:
        problem: What was solved.
        bases: What each setting measures, a letter per qubit.
        point: The parameters at the end (rad).
        estimate: Energy there, from shots of its own.
        n_search: Shots that the machine measured for the search.
        n_final: Shots that it measured for the energy at the end.
        loop: How the loop went.
        machine: What the controller says it is; empty in a replay.
    """

    problem: System
    bases: tuple[str, ...]
    point: Point
    estimate: Estimate
    n_search: int
    n_final: int
    loop: LoopResult
    machine: dict[str, Any]

    @property
    def error(self) -> float:
        """Energy minus exact energy."""
        return self.estimate.value - self.problem.exact

    def as_data(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        loop = self.loop
        return {
            "system": self.problem.name,
            "unit": self.problem.unit,
            "n_qubits": self.problem.n_qubits,
            "status": loop.status,
            "energy": self.estimate.value,
            "standard_error": self.estimate.standard_error,
            "interval": [self.estimate.low, self.estimate.high],
            "confidence": self.estimate.confidence,
            "exact": self.problem.exact,
            "error": self.error,
            "point": dict(zip(self.problem.names, self.point, strict=True)),
            "n_points": len(loop.steps),
            "n_runs": loop.n_runs,
            "n_search": self.n_search,
            "n_final": self.n_final,
            "n_shots": loop.n_measured,
            "n_discarded": loop.n_discarded,
            "n_lost": loop.n_lost,
            "rtt_ns": percentiles(loop.rtt_ns),
            "seconds": loop.seconds,
            "machine_seconds": loop.machine_seconds,
        }

    def text(self) -> str:
        """Describe the result in a few lines."""
        estimate, loop, unit = self.estimate, self.loop, self.problem.unit
        verdict = f", exact {self.problem.exact:.5f} {unit}, error {self.error:+.5f} {unit}"
        point = zip(self.problem.names, self.point, strict=True)
        rtt = percentiles(loop.rtt_ns)
        times = [f"{name} {1e-3 * ns:.0f} µs" for name, ns in rtt.items() if ns is not None]
        return "\n".join(
            (
                f"{self.problem.title}, machine {self.machine.get('name', 'unknown')}",
                f"  energy  {estimate.value:.5f} ± {estimate.standard_error:.5f} {unit}{verdict}",
                f"  point   {', '.join(f'{name} {value:.4f} rad' for name, value in point)}",
                f"  shots   {self.n_search:,} to search, {self.n_final:,} for the energy; "
                f"{loop.n_discarded:,} behind a stop, {loop.n_lost:,} lost",
                f"  loop    {len(loop.steps)} points, {loop.n_runs} runs, {loop.seconds:.1f} s; "
                f"round trip {', '.join(times) or 'none'}",
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a loop spends shots. None leaves the choice to the problem.

    Attributes:
        optimiser: One of `searches.OPTIMISERS`.
        n_steps: As for `searches.search`.
        accuracy: How far the energy of the state may be above that of the ground state.
        final_error: Standard error of the energy at the end; the accuracy by default.
        fixed_shots: Shots of each basis at each point of the search, instead of streaming.
        final_shots: Shots of each basis at the end, instead of streaming.
        block: The loop decides after so many shots.
        seed: Makes the result reproducible on an emulator.
    """

    optimiser: str = "gradient"
    n_steps: int | None = None
    accuracy: float | None = None
    final_error: float | None = None
    fixed_shots: int | None = None
    final_shots: int | None = None
    block: int = MIN_SHOTS
    seed: int = 1

    def policy(self, problem: System, optimiser: Optimiser | None = None) -> Minimise:
        """Make the policy of a loop.

        Args:
            problem: What is to be solved.
            optimiser: In the place of the one that is named.

        Raises:
            OptionError: The accuracy is no number above 0, or the optimiser is unknown.
        """
        aim = problem.accuracy if self.accuracy is None else self.accuracy
        if not 0.0 < aim < inf:
            raise OptionError(f"accuracy {aim:g}", "no error of an energy", "Give one above 0")
        if optimiser is None:
            errors = errors_for(problem, aim) if self.fixed_shots is None else None
            optimiser = search(
                problem, self.optimiser, n_steps=self.n_steps, errors=errors, seed=self.seed
            )
        error = aim if self.final_error is None else self.final_error
        plan: ShotPlan = FixedShots(self.fixed_shots or 1)
        if self.fixed_shots is None:
            # What a fixed loop of this accuracy takes is the budget that savings are counted from.
            most = fixed_point_shots(problem) * max(1.0, problem.accuracy / aim) ** 2
            plan = _allocation(None, self.block, ceil(most))
        final: ShotPlan = FixedShots(self.final_shots or 1)
        if self.final_shots is None:
            final = _allocation(error, max(_FINAL_BLOCK, self.block), MAX_SHOTS)
        return Minimise(optimiser, plan, final=final)


def _allocation(standard_error: float | None, block: int, max_shots: int) -> Allocation:
    few = max(MIN_SHOTS, block)
    return Allocation(standard_error, max_shots=max_shots, min_shots=few, block=block)


def vqe(
    problem: System,
    settings: Settings | None = None,
    *,
    endpoint: str | None = None,
    machine: str = "local",
    device: str | None = None,
    noise: str | None = None,
    cadence_hz: float | None = None,
    optimiser: Optimiser | None = None,
    events: Path | str | Sink | None = None,
    record: Path | str | None = None,
) -> VqeResult:
    """Find the ground-state energy of a system on the machine behind a controller.

    Args:
        problem: From `systems`, or your own.
        settings: How shots are spent; streaming by default.
        endpoint: A controller that runs; None starts one, and ends it afterwards.
        machine: Of the controller that is started, as are the next three.
        device: As for `cudaq-target serve`.
        noise: As for `cudaq-target serve`.
        cadence_hz: Shots per second.
        optimiser: Your own, in the place of the one that `settings` name.
        events: Where the loop reports, see `coupler.loops.events`.
        record: A new file for shots and decisions, for `replay_vqe`.

    Returns:
        The energy and how it was found.

    Raises:
        OptionError: An argument makes no sense.
        ControllerStartError: The controller did not come up.
        CouplerError: Link or machine failed for good.
    """
    chosen = settings or Settings()
    prepared = observed(problem.kernel, problem.terms, problem.start, names=problem.names)
    estimator = EnergyEstimator(prepared.groups, prepared.constant, prior_shots=PRIOR_SHOTS)
    policy = chosen.policy(problem, optimiser)
    with interruptible(), ExitStack() as stack:
        if endpoint is None:
            process = controller_process(
                machine, device=device, noise=noise, seed=chosen.seed, cadence_hz=cadence_hz
            )
            endpoint = stack.enter_context(process)
        link = stack.enter_context(connect(endpoint, timeout_s=_CONNECT_S))
        specs = _specs(link)
        done = FeedbackLoop(
            link,
            prepared.program,
            estimator,
            policy,
            block=chosen.block,
            seed=chosen.seed,
            events=events,
            record=record,
            **_labels(problem),
        ).run()
        telemetry.round_trips(str(link.endpoint), done.rtt_ns)
        return _result(problem, estimator.bases, done, specs)


def replay_vqe(
    record: Path | str,
    problem: System,
    settings: Settings | None = None,
    *,
    optimiser: Optimiser | None = None,
) -> VqeResult:
    """Repeat a recorded loop without a machine; the same shots lead to the same decisions.

    Args:
        record: Written by `vqe`.
        problem: As for `vqe`.
        settings: As for `vqe`.
        optimiser: As for `vqe`, made anew.

    Raises:
        CouplerError: The record is damaged, or the loop decides otherwise than recorded.
    """
    prepared = observed(problem.kernel, problem.terms, problem.start, names=problem.names)
    policy = (settings or Settings()).policy(problem, optimiser)
    estimator = EnergyEstimator(prepared.groups, prepared.constant, prior_shots=PRIOR_SHOTS)
    return _result(problem, estimator.bases, replay_loop(record, estimator, policy), {})


def fixed_search_shots(problem: System) -> int:
    """Shots of a search by gradient with fixed shots, all settings and points together."""
    n_points = 2 * len(problem.start) * problem.n_steps + 1
    return n_points * fixed_point_shots(problem)


def fixed_point_shots(problem: System) -> int:
    """Shots of a point of such a search, all settings together."""
    _, groups = group_pauli_terms(problem.terms)
    return len(groups) * problem.fixed_shots


def state_energy(problem: System, point: Point) -> float:
    """Compute the exact energy of the state at a point, which no machine tells.

    Args:
        problem: Of up to 12 qubits.
        point: Parameters (rad).
    """
    program = cast("Program", compile_kernel(problem.kernel, *point))
    state = machines.get("local").state(program.timeline, threads=None)
    return float(np.vdot(state, matrix(problem.terms) @ state).real)


def descent(problem: System, steps: Sequence[LoopStep]) -> list[tuple[Point, int]]:
    """Where a search by gradient stood, and the shots it had measured by then.

    Args:
        problem: What was solved.
        steps: Of the loop: two points for each parameter of each gradient, the last point of the
            search, and the same once more for the energy.

    Returns:
        The points, the start first.
    """
    n = 2 * len(problem.start)
    path: list[tuple[Point, int]] = []
    n_shots = 0
    for first in range(0, len(steps) - n, n):
        group = steps[first : first + n]
        middle = np.mean([step.point for step in group], axis=0)
        path.append((tuple(middle.tolist()), n_shots))
        n_shots += sum(step.n_measured for step in group)
    return [*path, (steps[-1].point, n_shots)]


def _labels(problem: System) -> dict[str, Any]:
    return {
        "name": problem.title,
        "unit": problem.unit,
        "reference": problem.exact,
        "baseline_shots": fixed_search_shots(problem),
    }


def _specs(link: Link) -> dict[str, Any]:
    content = json.loads(ControlClient(link.caller(_CALL_S), slot_bytes=link.slot_bytes).specs())
    return content if isinstance(content, dict) else {}


def _result(
    problem: System, bases: tuple[str, ...], loop: LoopResult, specs: dict[str, Any]
) -> VqeResult:
    found = loop.result
    assert isinstance(found, Minimum)
    last = loop.steps[-1]
    return VqeResult(
        problem=problem,
        bases=bases,
        point=found.point,
        estimate=found.estimate,
        n_search=loop.n_measured - last.n_measured,
        n_final=last.n_measured,
        loop=loop,
        machine=specs,
    )
