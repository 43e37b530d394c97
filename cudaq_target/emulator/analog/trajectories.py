"""Noisy shots and mean values of analog programs by quantum trajectories.

A run draws its Hamiltonian (`noise`), Pauli operators at random times (a Poisson process) and a
threshold for relaxation: without a jump r decays and the state loses norm, and an atom falls to g
at the moment at which the squared norm meets the threshold (Dalibard, Castin, Mølmer, PRL 68, 580
(1992)). Runs that are alike share one evolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.emulator.analog import noise as nz
from cudaq_target.emulator.analog.integrate import Evolution, evolve_rydberg, norm_squared
from cudaq_target.emulator.analog.observables import occupations
from cudaq_target.emulator.analog.shots import flip_packed, sample_packed
from cudaq_target.emulator.analog.stages import BM4, Known, Pace
from cudaq_target.kernels.backends import array_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from cudaq_target.emulator.analog.integrate import RydbergResult
    from cudaq_target.emulator.analog.problem import RydbergProblem
    from cudaq_target.kernels.backends import Backend

    State = NDArray[np.complexfloating]
    Words = NDArray[np.uint64]
    Reals = NDArray[np.float64]

DEFAULT_TOLERANCE = 1e-4
"""Of one trajectory; far below what a finite number of them can show."""

_SMALL_ATOMS = 10
"""Up to here a state lies in the cache, and half of its bytes are no faster."""

_JUMP_TIME_NS = 1e-3
_STRETCH_NS = 200.0
"""How often the norm is looked at; a stretch in which a jump happens is run again."""

_PAULIS = (
    np.array([[0, 1], [1, 0]], dtype=np.complex128),
    np.array([[0, -1j], [1j, 0]], dtype=np.complex128),
    np.array([[1, 0], [0, -1]], dtype=np.complex128),
)
_FALL = np.array([[0, 1], [0, 0]], dtype=np.complex128)


@dataclass(frozen=True, slots=True)
class Kick:
    """A Pauli operator on one atom.

    Attributes:
        moment_ns: When it happens (ns).
        atom: The atom, counted among those present.
        pauli: 0, 1, 2 for X, Y, Z.
    """

    moment_ns: float
    atom: int
    pauli: int


@dataclass(frozen=True, slots=True)
class Way:
    """How all runs of a program are computed.

    Attributes:
        pace: Their steps.
        threads: Most threads to use.
        backend: Where.
        known: Drives that the runs share, or None where each has curves of its own.
    """

    pace: Pace
    threads: int | None
    backend: Backend
    known: Known | None

    def begin(self, problem: RydbergProblem) -> Evolution:
        """Put all atoms in g."""
        return Evolution(
            problem,
            BM4,
            dtype=np.complex64 if problem.n_atoms > _SMALL_ATOMS else np.complex128,
            threads=self.threads,
            backend=self.backend,
            known=self.known,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One trajectory before it runs.

    Attributes:
        shots: Positions of its shots in the result.
        drawn: What it draws at its start.
        kicks: In the order of time.
        threshold: Squared norm at which its first jump happens; 0 without relaxation.
        seed: Seeds what it draws later on.
    """

    shots: NDArray[np.int64]
    drawn: nz.AnalogDraw
    kicks: tuple[Kick, ...]
    threshold: float
    seed: int


def sample_noisy(
    problem: RydbergProblem,
    placement: nz.Placement,
    noise: nz.AnalogNoise,
    n_shots: int,
    rng: np.random.Generator,
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    threads: int | None = None,
    backend: Backend = "auto",
) -> Words:
    """Run a program with noise and measure every atom.

    Shots are spread evenly over `noise.common.n_trajectories(n_shots)` runs; the shots of one run
    share its draws and jumps.

    Args:
        problem: The program without noise.
        placement: Where its atoms are.
        noise: The noise.
        n_shots: Number of shots.
        rng: Source of randomness.
        tolerance: Largest allowed error of the program without noise, which sets the step.
        threads: Most threads to use.
        backend: Where to compute; see `integrate.evolve_rydberg`.

    Returns:
        Packed shots, shape (n_shots, ceil(n_atoms / 64)).

    Raises:
        MemoryLimitError: The state would not fit into memory.
        OptionError: The tolerance cannot be met.
    """
    way = _way(problem, noise, tolerance, threads, backend)
    n_runs = noise.common.n_trajectories(n_shots) if noise.differs_by_run else 1
    packed = np.zeros((n_shots, -(-problem.n_atoms // 64)), dtype=np.uint64)
    alike: dict[bytes, list[Run]] = {}
    for run in _runs(problem, noise, n_shots, n_runs, rng):
        own_way = noise.disturbs or run.kicks
        key = run.seed.to_bytes(8) if own_way else run.drawn.present.tobytes()
        alike.setdefault(key, []).append(run)
    for runs in alike.values():
        if not len(runs[0].drawn.present):
            continue
        executed = nz.disturb(problem, placement, noise, runs[0].drawn)
        for shots, state in _ends(executed, runs, way):
            packed[shots] = sample_packed(
                state,
                len(shots),
                rng,
                atoms=runs[0].drawn.present.tolist(),
                n_atoms=problem.n_atoms,
            )
    common = noise.common
    return flip_packed(packed, problem.n_atoms, common.p_false_pos, common.p_false_neg, rng)


def average_noisy(
    problem: RydbergProblem,
    placement: nz.Placement,
    noise: nz.AnalogNoise,
    measure: Callable[[State], Reals],
    n_runs: int,
    rng: np.random.Generator,
    *,
    save_at_ns: Sequence[float],
    tolerance: float = DEFAULT_TOLERANCE,
    threads: int | None = None,
    backend: Backend = "auto",
) -> tuple[Reals, Reals]:
    """Average expectation values over trajectories; the read-out adds nothing to them.

    Args:
        problem: The program without noise.
        placement: Where its atoms are.
        noise: The noise.
        measure: Expectation values of a normalised state of all atoms, as an array of one shape.
        n_runs: Number of trajectories, at least 2.
        rng: Source of randomness.
        save_at_ns: Moments at which to measure (ns), ascending.
        tolerance: See `sample_noisy`.
        threads: Most threads to use.
        backend: See `sample_noisy`; `measure` gets states where they lie.

    Returns:
        Means and their standard errors, shape (n_moments, …).

    Raises:
        MemoryLimitError: The state would not fit into memory.
        OptionError: The tolerance cannot be met.
    """
    way = _way(problem, noise, tolerance, threads, backend)
    rows = []
    for run in _runs(problem, noise, n_runs, n_runs, rng):
        own = np.random.default_rng(run.seed)
        states: list[Reals] = []

        def keep(state: State, present: NDArray[np.int64] = run.drawn.present) -> None:
            whole = _with_missing(state, present, problem.n_atoms)
            states.append(np.asarray(measure(whole / np.sqrt(norm_squared(whole)))))  # noqa: B023

        if len(run.drawn.present):
            executed = nz.disturb(problem, placement, noise, run.drawn)
            _evolve(executed, run.kicks, run.threshold, own, way, save_at_ns, keep)
        else:
            for _ in save_at_ns:
                keep(np.ones(1, dtype=np.complex128))
        rows.append(np.stack(states))
    table = np.stack(rows)
    return table.mean(axis=0), table.std(axis=0, ddof=1) / np.sqrt(n_runs)


def _ends(
    problem: RydbergProblem, runs: Sequence[Run], way: Way
) -> Iterator[tuple[NDArray[np.int64], State]]:
    """Evolve runs that are alike up to their jumps; positions of shots, and the state of these."""
    quiet = _evolve_quietly(problem, runs[0].kicks, way)
    left = norm_squared(quiet)
    survivors = [run.shots for run in runs if run.threshold < left]
    if survivors:
        yield np.concatenate(survivors), quiet
    for run in runs:
        if run.threshold >= left:
            own = np.random.default_rng(run.seed)
            yield run.shots, _evolve(problem, run.kicks, run.threshold, own, way)


def _way(
    problem: RydbergProblem,
    noise: nz.AnalogNoise,
    tolerance: float,
    threads: int | None,
    backend: Backend,
) -> Way:
    checked: RydbergResult[State] = evolve_rydberg(
        problem, tolerance=tolerance, threads=threads, backend=backend
    )
    alike = noise.keeps_curves and problem.curves_are_shared
    return Way(Pace(checked.step_ns), threads, backend, {} if alike else None)


def _runs(
    problem: RydbergProblem,
    noise: nz.AnalogNoise,
    n_shots: int,
    n_runs: int,
    rng: np.random.Generator,
) -> list[Run]:
    thresholds = np.zeros(n_runs)
    if noise.common.relaxation_per_us:
        thresholds = 1.0 - rng.random(n_runs)
    seeds = rng.integers(0, 2**63, n_runs)
    runs = []
    for k, shots in enumerate(np.array_split(np.arange(n_shots), n_runs)):
        drawn = nz.draw(noise, problem.n_atoms, rng)
        kicks = _draw_kicks(noise, len(drawn.present), problem.duration_ns, rng)
        runs.append(Run(shots, drawn, kicks, float(thresholds[k]), int(seeds[k])))
    return runs


def _draw_kicks(
    noise: nz.AnalogNoise, n_atoms: int, duration_ns: float, rng: np.random.Generator
) -> tuple[Kick, ...]:
    rates = noise.kick_rates_per_us()
    total = float(rates.sum())
    if not total:
        return ()
    count = int(rng.poisson(1e-3 * total * duration_ns * n_atoms))
    moments = np.sort(rng.uniform(0.0, duration_ns, count)).tolist()
    atoms = rng.integers(0, n_atoms, count).tolist() if count else []
    paulis = rng.choice(3, count, p=rates / total).tolist()
    return tuple(map(Kick, moments, atoms, paulis))


def _evolve_quietly(problem: RydbergProblem, kicks: Sequence[Kick], way: Way) -> State:
    """Run without a jump; with relaxation the state keeps the norm that this leaves."""
    evolution = way.begin(problem)
    for kick in kicks:
        evolution.advance(kick.moment_ns, way.pace)
        evolution.apply(_PAULIS[kick.pauli], kick.atom)
    evolution.advance(problem.duration_ns, way.pace)
    return evolution.state()


def _evolve(
    problem: RydbergProblem,
    kicks: Sequence[Kick],
    threshold: float,
    rng: np.random.Generator,
    way: Way,
    save_at_ns: Sequence[float] = (),
    keep: Callable[[State], None] | None = None,
) -> State:
    """Run with jumps |g><r| wherever the squared norm meets a threshold."""
    evolution = way.begin(problem)
    stops: list[tuple[float, int, Kick | None]] = [(kick.moment_ns, 0, kick) for kick in kicks]
    stops += [(moment, 1, None) for moment in save_at_ns]
    for moment, _, kick in sorted(stops, key=lambda stop: stop[:2]):
        evolution, threshold = _advance(evolution, moment, threshold, rng, way.pace)
        if kick is not None:
            evolution.apply(_PAULIS[kick.pauli], kick.atom)
        elif keep is not None:
            keep(evolution.state())
    evolution, _ = _advance(evolution, problem.duration_ns, threshold, rng, way.pace)
    return evolution.state()


def _advance(
    evolution: Evolution, end_ns: float, threshold: float, rng: np.random.Generator, pace: Pace
) -> tuple[Evolution, float]:
    """Evolve to a moment with the jumps on the way; the threshold of the next one."""
    if not threshold:
        evolution.advance(end_ns, pace)
        return evolution, threshold
    while evolution.now_ns < end_ns:
        before = evolution.copy()
        evolution.advance(min(end_ns, evolution.now_ns + _STRETCH_NS), pace)
        if evolution.norm_squared() > threshold:
            continue
        evolution = _meet(before, evolution.now_ns, threshold, pace)
        weights = occupations(evolution.state())
        atom = int(rng.choice(len(weights), p=weights / weights.sum()))
        evolution.apply(_FALL, atom)
        evolution.scale(1.0 / np.sqrt(evolution.norm_squared()))
        threshold = 1.0 - rng.random()
    return evolution, threshold


def _meet(before: Evolution, end_ns: float, threshold: float, pace: Pace) -> Evolution:
    """Find where the squared norm meets the threshold, and the state there."""
    from scipy.optimize import brentq  # noqa: PLC0415

    def evolved(moment: float) -> Evolution:
        twin = before.copy()
        twin.advance(moment, pace)
        return twin

    def excess(moment: float) -> float:
        return evolved(moment).norm_squared() - threshold

    start = before.now_ns
    moment = end_ns
    if excess(end_ns) < 0.0 < excess(start):
        moment = float(brentq(excess, start, end_ns, xtol=_JUMP_TIME_NS))
    return evolved(moment)


def _with_missing(state: State, present: NDArray[np.int64], n_atoms: int) -> State:
    """Add missing atoms, in g."""
    if len(present) == n_atoms:
        return state
    places = tuple(slice(None) if atom in present else 0 for atom in range(n_atoms))
    whole: State = array_module(state).zeros((2,) * n_atoms, dtype=state.dtype)
    whole[places] = state.reshape((2,) * len(present))
    return whole.reshape(-1)
