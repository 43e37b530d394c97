"""Largest independent sets of unit-disk graphs: pulses shaped by what streamed shots say.

Atoms stand on the vertices; a sweep of the detuning under a drive whose blockade radius is between
edges and gaps ends near a largest set (Ebadi et al., arXiv:2202.09372). The loop varies the shape
of the pulses. What is minimised is the mean cost of the better part of the shots (CVaR,
arXiv:1907.04769), cost = 2 · violated edges - size: with that weight, only largest independent sets
have the lowest cost. Points are measured as well as the search needs it, and the loop may end as
soon as a set of a wanted size was measured.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cudaq_target import telemetry
from cudaq_target.analog.ansatz import AnalogAnsatz, Shape, analog_ansatz
from cudaq_target.analog.rules import DEFAULT_ANALOG_DEVICE, analog_rules
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.loops.events import percentiles
from cudaq_target.coupler.loops.loop import FeedbackLoop, replay_loop
from cudaq_target.coupler.loops.optimisers import Refinement, Scipy, Spsa
from cudaq_target.coupler.loops.policies import Minimum
from cudaq_target.coupler.loops.program import LoopProgram
from cudaq_target.coupler.loops.shot_plans import EarlyStop, FixedShots
from cudaq_target.errors import OptionError
from cudaq_target.kernels.intervals import Interval, bernoulli_interval
from cudaq_target.loops.controller_process import controller_process
from cudaq_target.loops.graphs import (
    UnitDiskGraph,
    independence_number,
    placement,
    repaired,
    unit_disk_graph,
)
from cudaq_target.loops.set_search import FindSet, SetEstimator

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

    from cudaq_target.coupler.link import Link
    from cudaq_target.coupler.loops.events import Sink
    from cudaq_target.coupler.loops.interface import Estimate, LoopResult, Optimiser, Point
    from cudaq_target.coupler.loops.shot_plans import ShotPlan

OPTIMISERS: Final = ("cobyla", "spsa")
_CONNECT_S: Final = 10.0
_LOWEST_DRIVE: Final = 0.1  # of the usual one; devices cannot control much less
_STEP: Final = 0.3  # first step of a search, as a part of the usual drive
_POINTS_PER_SPSA_STEP: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MisSettings:
    """How a loop shapes its pulses and spends shots.

    Attributes:
        shape: "sweep": smooth curves through few points; "layers": straight lines between
            2 · `n_layers` + 1 points, pulses of alternating strength as in QAOA.
        n_layers: Of "layers".
        duration_ns: Of the pulses (ns).
        part: Of the shots that count, the best ones; 1 for the plain mean. The search cannot tell
            points apart once largest sets are a larger part of their shots.
        optimiser: One of `OPTIMISERS`.
        n_points: Points of the search at most.
        first_error: Standard error of the first points; coarse.
        last_error: Of the last points of the search.
        max_shots: Of a point.
        fixed_shots: So many shots at each point instead, as loops do that see whole jobs.
        final_shots: At the best point, at the end.
        wanted_size: The search ends with the first shot that is an independent set of this size;
            None: with its last point.
        block: The loop decides after so many shots.
        seed: Makes the result reproducible on an emulator.
    """

    shape: str = "sweep"
    n_layers: int = 2
    duration_ns: int = 2000
    part: float = 0.9
    optimiser: str = "cobyla"
    n_points: int = 30
    first_error: float = 0.15
    last_error: float = 0.06
    max_shots: int = 400
    fixed_shots: int | None = None
    final_shots: int = 500
    wanted_size: int | None = None
    block: int = 16
    seed: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class MisResult:
    """What a loop found.

    Attributes:
        graph: What was asked.
        best: The largest independent set that was measured, edges taken out; vertices.
        optimum: Size of the largest there is; None where it is too large a graph to know.
        p_optimum: Share of the shots at the last point that are largest sets; None without optimum.
        p_optimum_first: The same at the first point of the search.
        p_interval: Where the probability at the last point is; None without optimum.
        point: Parameters of the last point (rad/µs).
        estimate: Mean cost, or CVaR, there.
        loop: How the loop went.
    """

    graph: UnitDiskGraph
    best: tuple[int, ...]
    optimum: int | None
    p_optimum: float | None
    p_optimum_first: float | None
    p_interval: Interval | None
    point: Point
    estimate: Estimate
    loop: LoopResult

    @property
    def ratio(self) -> float | None:
        """Size of the best set by that of the largest; None where that is not known."""
        return None if self.optimum is None else len(self.best) / self.optimum

    def as_data(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        loop, interval = self.loop, self.p_interval
        return {
            "graph": self.graph.name,
            "n_vertices": self.graph.n_vertices,
            "n_edges": len(self.graph.edges),
            "best": list(self.best),
            "size": len(self.best),
            "optimum": self.optimum,
            "ratio": self.ratio,
            "p_optimum": self.p_optimum,
            "p_optimum_first": self.p_optimum_first,
            "p_interval": None if interval is None else [interval.low, interval.high],
            "point": list(self.point),
            "estimate": self.estimate.as_dict(),
            "status": loop.status,
            "n_points": len(loop.steps),
            "n_shots": loop.n_measured,
            "n_used": loop.n_used,
            "n_saved": loop.n_saved,
            "rtt_ns": percentiles(loop.rtt_ns),
            "seconds": loop.seconds,
            "machine_seconds": loop.machine_seconds,
        }

    def text(self) -> str:
        """Write what a person wants to know."""
        size = f"{len(self.best)} vertices {list(self.best)}"
        known = "" if self.optimum is None else f", the largest has {self.optimum}"
        lines = [f"{self.graph.name}: independent set of {size}{known}"]
        if self.p_interval is not None:
            lines.append(
                f"largest sets: {self.p_optimum_first:.0%} of the shots at first, "
                f"{self.p_optimum:.0%} at the end ({self.p_interval.low:.0%} to "
                f"{self.p_interval.high:.0%})"
            )
        loop = self.loop
        lines.append(
            f"{loop.n_measured} shots at {len(loop.steps)} points, {loop.n_saved} saved by stopping"
        )
        return "\n".join(lines)


def find_mis(
    graph: UnitDiskGraph | ArrayLike,
    settings: MisSettings | None = None,
    *,
    radius: float = 1.0,
    endpoint: str | None = None,
    machine: str = "local",
    device: str = DEFAULT_ANALOG_DEVICE,
    noise: str | None = None,
    cadence_hz: float | None = None,
    optimiser: Optimiser | None = None,
    events: Path | str | Sink | None = None,
    record: Path | str | None = None,
) -> MisResult:
    """Look for a largest independent set on the machine behind a controller.

    Args:
        graph: From `unit_disk_graph`, or positions of vertices, shape (n_vertices, 2), any unit.
        settings: How pulses are shaped and shots are spent.
        radius: Of positions: vertices at most so far apart have an edge.
        endpoint: A controller that runs; None starts one, and ends it afterwards.
        machine: Of the controller that is started, as are the next but one and two.
        device: Whose limits the pulses keep.
        noise: As for `cudaq-target serve`.
        cadence_hz: Shots per second.
        optimiser: Your own, in the place of the one that `settings` name.
        events: Where the loop reports, see `coupler.loops.events`.
        record: A new file for shots and decisions, for `replay_mis`.

    Returns:
        The best set, and how good the pulses became.

    Raises:
        OptionError: An argument makes no sense.
        ControllerStartError: The controller did not come up.
        CouplerError: Link or machine failed for good.
    """
    chosen = settings or MisSettings()
    asked = graph if isinstance(graph, UnitDiskGraph) else unit_disk_graph(graph, radius)
    problem = _Problem.of(asked, chosen, device, optimiser)
    with ExitStack() as stack:
        if endpoint is None:
            process = controller_process(
                machine, device=device, noise=noise, seed=chosen.seed, cadence_hz=cadence_hz
            )
            endpoint = stack.enter_context(process)
        link = stack.enter_context(connect(endpoint, timeout_s=_CONNECT_S))
        done = problem.loop(link, chosen, events, record).run()
        telemetry.round_trips(str(link.endpoint), done.rtt_ns)
        return problem.result(done)


def replay_mis(
    record: Path | str,
    graph: UnitDiskGraph | ArrayLike,
    settings: MisSettings | None = None,
    *,
    radius: float = 1.0,
    device: str = DEFAULT_ANALOG_DEVICE,
    optimiser: Optimiser | None = None,
) -> MisResult:
    """Repeat a recorded loop without a machine; the same shots lead to the same decisions.

    Args:
        record: Written by `find_mis`.
        graph: As for `find_mis`, as is all that follows.
        settings: As for `find_mis`.
        radius: As for `find_mis`.
        device: As for `find_mis`.
        optimiser: As for `find_mis`, made anew.

    Raises:
        CouplerError: The record is damaged, or the loop decides otherwise than recorded.
    """
    chosen = settings or MisSettings()
    asked = graph if isinstance(graph, UnitDiskGraph) else unit_disk_graph(graph, radius)
    problem = _Problem.of(asked, chosen, device, optimiser)
    return problem.result(replay_loop(record, problem.estimator, problem.policy))


def mis_ansatz(
    graph: UnitDiskGraph, settings: MisSettings, device: str = DEFAULT_ANALOG_DEVICE
) -> tuple[AnalogAnsatz, Point]:
    """Place a graph, and make the family of pulses that a loop varies.

    Args:
        graph: Its vertices become atoms.
        settings: Shape and duration.
        device: Whose limits count.

    Returns:
        The ansatz, and the parameters (rad/µs) of a plain sweep from below resonance to above.

    Raises:
        OptionError: The shape is unknown, or the graph cannot be placed.
        TargetError: The device does not allow it.
    """
    rules = analog_rules(device)
    where = placement(graph, rules)
    rabi = where.rabi_rad_per_us
    edge = min(2.0 * rabi, rules.drive.max_detuning_rad_per_us)
    if settings.shape == "sweep":
        shapes = Shape(4, first=0.0, last=0.0), Shape(4)
    elif settings.shape == "layers" and settings.n_layers >= 1:
        n = 2 * settings.n_layers + 1
        shapes = Shape(n, "linear", first=0.0, last=0.0), Shape(n, "linear")
    else:
        what = f"shape {settings.shape!r} of {settings.n_layers} layers"
        raise OptionError(what, "unknown", 'Use "sweep", or "layers" of at least 1')
    clock = rules.drive.clock_ns
    ansatz = analog_ansatz(
        where.sites_um, settings.duration_ns // clock * clock, *shapes, rules, name=graph.name
    )
    start = ansatz.values(lambda _: rabi, lambda share: edge * (2.0 * share - 1.0))
    return ansatz, tuple(start.tolist())


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """The parts of a loop; equal arguments give equal ones."""

    graph: UnitDiskGraph
    optimum: int | None
    ansatz: AnalogAnsatz
    estimator: SetEstimator
    policy: FindSet

    @staticmethod
    def of(
        graph: UnitDiskGraph, settings: MisSettings, device: str, optimiser: Optimiser | None
    ) -> _Problem:
        ansatz, start = mis_ansatz(graph, settings, device)
        optimum = independence_number(graph)
        estimator = SetEstimator(graph, settings.part, optimum)
        plan: ShotPlan
        errors = None
        if settings.fixed_shots is not None:
            plan = FixedShots(settings.fixed_shots)
        else:
            plan = EarlyStop(max_shots=settings.max_shots, block=settings.block)
            errors = Refinement(settings.first_error, settings.last_error)
        policy = FindSet(
            optimiser or _search(settings, start, errors),
            plan,
            estimator,
            settings.wanted_size,
            max_points=settings.n_points,
            final=FixedShots(settings.final_shots),
        )
        return _Problem(graph, optimum, ansatz, estimator, policy)

    def loop(
        self,
        link: Link,
        settings: MisSettings,
        events: Path | str | Sink | None,
        record: Path | str | None,
    ) -> FeedbackLoop:
        shots = settings.fixed_shots or settings.max_shots
        return FeedbackLoop(
            link,
            _program(self.ansatz),
            self.estimator,
            self.policy,
            block=settings.block,
            seed=settings.seed,
            events=events,
            record=record,
            name=f"largest independent set of {self.graph.name}",
            unit="vertices",
            reference=None if self.optimum is None else -float(self.optimum),
            baseline_shots=settings.n_points * shots + settings.final_shots,
        )

    def result(self, loop: LoopResult) -> MisResult:
        found, sets = loop.result, self.estimator
        assert isinstance(found, Minimum)
        assert sets.best is not None
        shares = [n_largest / n if n else 0.0 for n, n_largest in sets.counts]
        n_shots, n_largest = sets.counts[-1]
        known = self.optimum is not None
        return MisResult(
            graph=self.graph,
            best=repaired(self.graph, sets.best[1]),
            optimum=self.optimum,
            p_optimum=shares[-1] if known else None,
            p_optimum_first=shares[0] if known else None,
            p_interval=bernoulli_interval(n_largest, n_shots) if known else None,
            point=found.point,
            estimate=found.estimate,
            loop=loop,
        )


def _search(settings: MisSettings, start: Point, errors: Refinement | None) -> Optimiser:
    step = _STEP * max(start)
    if settings.optimiser == "cobyla":
        options = {"rhobeg": step}
        return Scipy("COBYLA", start, max_points=settings.n_points, errors=errors, options=options)
    if settings.optimiser == "spsa":
        n_steps = max(1, settings.n_points // _POINTS_PER_SPSA_STEP)
        return Spsa(
            start, step=step, perturbation=step, n_steps=n_steps, rng=settings.seed, errors=errors
        )
    known = f"Known: {', '.join(OPTIMISERS)}"
    raise OptionError(f"optimiser {settings.optimiser!r}", "unknown optimiser", known)


def _program(ansatz: AnalogAnsatz) -> LoopProgram:
    """What the controller loads once; points outside the device's limits are moved to them."""
    low, high = ansatz.bounds.T.copy()
    n_drive = ansatz.amplitude.n_free
    finite = np.isfinite(high[:n_drive])
    low[:n_drive] = np.where(finite, _LOWEST_DRIVE * high[:n_drive], low[:n_drive])

    def parameters(setting: int, point: Point) -> list[float]:  # noqa: ARG001 - there is one
        values: list[float] = np.clip(point, low, high).tolist()
        return values

    names = [f"drive {k}" for k in range(n_drive)]
    names += [f"detuning {k}" for k in range(ansatz.detuning.n_free)]
    n_bits = len(ansatz.base.spec.sites_um)
    return LoopProgram((ansatz.to_json(),), n_bits, parameters, tuple(names))
