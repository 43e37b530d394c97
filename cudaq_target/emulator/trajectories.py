"""Noisy shots by quantum trajectories.

A run draws its pulses and positions (`noise`), the moments of its dephasing flips (a Poisson
process) and a threshold for relaxation. Flips are unitary, so they only cut the time axis. Without
a jump the state follows exact propagators with a decaying r and loses norm; a jump |g><r| happens
at the very moment at which the squared norm meets the threshold (Dalibard, Castin, Mølmer, PRL 68,
580 (1992)), found by root search inside the window. Runs that are alike share one emulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.emulator import levels as lv
from cudaq_target.emulator import noise as nz
from cudaq_target.emulator.interactions import Interactions
from cudaq_target.emulator.memory import require_bytes, state_bytes, usable_threads
from cudaq_target.emulator.run import couplings_of, finish, rotations_of
from cudaq_target.emulator.state import LevelState
from cudaq_target.emulator.windows import Rotation, Window, steps_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.emulator.run import EmulatorResult
    from cudaq_target.emulator.windows import Step
    from cudaq_target.timeline import PulseProgram

EMPTY_POPULATION = 1e-10
"""r population below which a noisy run forgets that an atom was excited (per event)."""

_JUMP_TIME_NS = 1e-6
"""Accuracy of the moment of a jump (ns)."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A dephasing flip 1 - 2|level><level| of one atom.

    Attributes:
        start_ns: Its moment (ns).
        atom: The atom.
        level: r or h.
    """

    start_ns: float
    atom: int
    level: int


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One trajectory before it runs.

    Attributes:
        shots: Positions of its shots in the result.
        drawn: What it draws at its start.
        flips: Its dephasing flips, only those that can change a measurement.
        threshold: Squared norm at which its first jump happens; 0 without relaxation.
        seed: Seeds what it draws later on (jumps, measurements of r).
    """

    shots: NDArray[np.int64]
    drawn: nz.Draw
    flips: tuple[Flip, ...]
    threshold: float
    seed: int


def sample_noisy(
    program: PulseProgram,
    noise: nz.Noise,
    n_shots: int,
    rng: np.random.Generator,
    *,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """Run a program with noise and measure every qubit.

    Shots are spread evenly over `noise.n_trajectories(n_shots)` runs; the shots of one run share
    its draws and jumps.

    Args:
        program: The program.
        noise: The noise.
        n_shots: Number of shots.
        rng: Source of randomness.
        threads: Most threads to use.

    Returns:
        Bits, shape (n_shots, n_qubits), in the kernel's qubit order.

    Raises:
        MemoryLimitError: The state, with three levels per atom where noise opens them, would not
            fit into memory.
        UnsupportedProgramError: Pulses overlap in a way that has no exact propagator.
    """
    threads = usable_threads() if threads is None else threads
    n_driven = len({slot.atom for slot in program.slots})
    n_levels = 3 if noise.disturbs_pulses or noise.relaxation_per_us else 2
    needed = state_bytes(n_driven, levels=n_levels)
    require_bytes(needed, len(program.atom_of_qubit), levels=n_levels, noisy=True)
    bits = np.empty((n_shots, len(program.atom_of_qubit)), dtype=np.uint8)
    quiet: dict[bytes, list[Run]] = {}
    for run in _runs(program, noise, n_shots, rng):
        if noise.disturbs_pulses or run.flips:
            bits[run.shots] = _sample_run(program, noise, run, threads)
        else:
            quiet.setdefault(run.drawn.missing.tobytes(), []).append(run)
    for alike in quiet.values():
        _sample_alike(program, noise, alike, rng, threads, bits)
    return nz.flip_readout(bits, noise, rng)


def _runs(
    program: PulseProgram, noise: nz.Noise, n_shots: int, rng: np.random.Generator
) -> list[Run]:
    n_runs = noise.n_trajectories(n_shots)
    shots = np.array_split(np.arange(n_shots), n_runs)
    n_atoms = len(program.coordinates_um)
    spans = {
        lv.R: _spans(program, "rydberg", noise.dephasing_per_us),
        lv.H: _spans(program, "raman", noise.hyperfine_dephasing_per_us),
    }
    thresholds = 1.0 - rng.random(n_runs) if noise.relaxation_per_us else np.zeros(n_runs)
    seeds = rng.integers(0, 2**63, n_runs)
    return [
        Run(
            shots[k],
            nz.draw(noise, n_atoms, rng),
            tuple(
                flip
                for level, of_level in spans.items()
                for flip in _draw_flips(level, of_level, rng)
            ),
            float(thresholds[k]),
            int(seeds[k]),
        )
        for k in range(n_runs)
    ]


def _spans(
    program: PulseProgram, beam: str, decay_per_us: float
) -> list[tuple[int, int, int, float]]:
    """Per atom: first and last moment at which a flip can matter, mean number of flips between.

    Before its first pulse an atom has nothing in the level; after its last one the flip commutes
    with everything up to the measurement.
    """
    if not decay_per_us:
        return []
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for slot in program.slots:
        if slot.beam == beam:
            first[slot.atom] = min(first.get(slot.atom, slot.start_ns), slot.start_ns)
            last[slot.atom] = max(last.get(slot.atom, 0), slot.end_ns)
    return [
        (atom, first[atom], last[atom], 0.5e-3 * decay_per_us * (last[atom] - first[atom]))
        for atom in sorted(first)
    ]


def _draw_flips(
    level: int, spans: Sequence[tuple[int, int, int, float]], rng: np.random.Generator
) -> list[Flip]:
    if not spans:
        return []
    counts = rng.poisson([mean for *_, mean in spans])
    return [
        Flip(float(moment), atom, level)
        for count, (atom, begin, end, _) in zip(counts, spans, strict=True)
        if count
        for moment in rng.uniform(begin, end, count)
    ]


def _sample_alike(
    program: PulseProgram,
    noise: nz.Noise,
    runs: Sequence[Run],
    rng: np.random.Generator,
    threads: int,
    bits: NDArray[np.uint8],
) -> None:
    """Serve runs without flips and with the same atoms missing from one emulation."""
    executed = nz.disturb(program, noise, runs[0].drawn)
    trajectory = _Trajectory(executed, noise, (), threads)
    result = trajectory.run_quietly()
    left = result.norm_squared
    survivors = [run.shots for run in runs if run.threshold < left]
    if survivors:
        shots = np.concatenate(survivors)
        bits[shots] = result.sample(len(shots), rng, threads=threads)
    for run in runs:
        if run.threshold >= left:
            bits[run.shots] = _sample_run(program, noise, run, threads, surely_jumps=True)


def _sample_run(
    program: PulseProgram,
    noise: nz.Noise,
    run: Run,
    threads: int,
    *,
    surely_jumps: bool = False,
) -> NDArray[np.uint8]:
    """Emulate one run on its own."""
    rng = np.random.default_rng(run.seed)
    executed = nz.disturb(program, noise, run.drawn)
    flips = tuple(flip for flip in run.flips if not run.drawn.missing[flip.atom])
    trajectory = _Trajectory(executed, noise, flips, threads)
    # Whether a jump comes was decided without early measurements where it is sure to come.
    if len(run.shots) == 1 and not surely_jumps:
        trajectory.measure_early(rng)
    # Most runs see no jump; only those that do pay for looking where it happens.
    result = None if surely_jumps else trajectory.run_quietly()
    if result is None or run.threshold >= result.norm_squared:
        result = trajectory.run_with_jumps(run.threshold, rng)
    return result.sample(len(run.shots), rng, threads=threads)


class _Trajectory:
    """Evolution of one run: steps cut at its flips, with or without jumps."""

    def __init__(
        self, program: PulseProgram, noise: nz.Noise, flips: tuple[Flip, ...], threads: int
    ) -> None:
        self._program = program
        self._interactions = Interactions(
            couplings_of(program.coordinates_um, program.device.c6_rad_per_us_um6),
            noise.relaxation_per_us,
        )
        self._steps = _cut(steps_of(program), flips)
        self._threads = threads
        self._measurements: dict[int, tuple[float, float]] = {}

    def measure_early(self, rng: np.random.Generator) -> None:
        """Measure r of every atom right after its last Rydberg pulse.

        Nothing later moves population into or out of r but a decay, so the shot is drawn from the
        same distribution, and what a noisy pulse leaves behind no longer costs a third level. For
        runs of one shot only: several shots would share the outcome.
        """
        for slot in self._program.slots:
            if slot.beam == "rydberg":
                end, uniform = self._measurements.get(slot.atom, (0.0, rng.random()))
                self._measurements[slot.atom] = (max(end, slot.end_ns), uniform)

    def _measure(self, state: LevelState, interactions: Interactions, step: Step | Flip) -> None:
        if isinstance(step, Window) and self._measurements:
            for drive in step.drives:
                end, uniform = self._measurements[drive.atom]
                if step.end_ns >= end:
                    # Losses of other atoms weigh the outcomes, so they cannot wait any longer.
                    interactions.settle_losses(state)
                    state.measure_r(drive.atom, uniform)

    def _start(self) -> LevelState:
        return LevelState(
            len(self._program.coordinates_um),
            threads=self._threads,
            empty_population=EMPTY_POPULATION,
        )

    def run_quietly(self) -> EmulatorResult:
        """Run without a jump; with relaxation the result's norm is what that leaves."""
        state = self._start()
        interactions = self._interactions.copy()
        rotations = iter(rotations_of([s for s in self._steps if isinstance(s, Rotation)]))
        for step in self._steps:
            state.close_empty()
            if isinstance(step, Rotation):
                atom = step.drive.atom
                state.apply(lv.rotation_operator(atom, state.levels[atom], next(rotations)))
            else:
                _apply(state, interactions, step)
                self._measure(state, interactions, step)
        interactions.settle_losses(state)
        return finish(state, self._program)

    def run_with_jumps(self, threshold: float, rng: np.random.Generator) -> EmulatorResult:
        """Run with jumps |g><r| wherever the squared norm meets a threshold.

        Args:
            threshold: Squared norm at which the first jump happens.
            rng: Draws which atom jumps, and the later thresholds.

        Returns:
            The end of the run, normalised up to what relaxation left since the last jump.
        """
        state = self._start()
        interactions = self._interactions.copy()
        queue = list(reversed(self._steps))
        done: list[Rotation] = []
        while queue:
            step = queue.pop()
            state.close_empty()
            if not isinstance(step, Window):
                _apply(state, interactions, step)
                if isinstance(step, Rotation):
                    done.append(step)
                continue
            if not (step.drives or state.open_atoms):
                continue  # Nothing is in r, so nothing happens.
            before = state.copy(), interactions.copy()
            _apply(state, interactions, step)
            interactions.settle_losses(state)
            if state.norm_squared() > threshold:
                self._measure(state, interactions, step)
                continue
            (state, interactions), moment = _meet(before, step, threshold)
            atom = _fall(state, interactions, rng)
            threshold = 1.0 - rng.random()
            queue = _after_jump(queue, done, atom, moment)
            if step.end_ns - moment > _JUMP_TIME_NS:
                queue.append(step.part(moment, step.end_ns))
        return finish(state, self._program)


def _apply(state: LevelState, interactions: Interactions, step: Step | Flip) -> None:
    if isinstance(step, Window):
        interactions.advance(state, step)
    elif isinstance(step, Rotation):
        atom = step.drive.atom
        state.apply(lv.rotation_operator(atom, state.levels[atom], rotations_of([step])[0]))
    else:
        state.apply(lv.level_phase(step.atom, state.levels[step.atom], step.level, -1.0))


def _meet(
    before: tuple[LevelState, Interactions], window: Window, threshold: float
) -> tuple[tuple[LevelState, Interactions], float]:
    """Find where in the window the squared norm meets the threshold, and the state there."""
    from scipy.optimize import brentq  # noqa: PLC0415

    def evolved(moment: float) -> tuple[LevelState, Interactions]:
        state, interactions = before[0].copy(), before[1].copy()
        if moment > window.start_ns:
            interactions.advance(state, window.part(window.start_ns, moment))
            interactions.settle_losses(state)
        return state, interactions

    def excess(moment: float) -> float:
        return evolved(moment)[0].norm_squared() - threshold

    moment = window.end_ns
    if excess(window.end_ns) < 0.0 < excess(window.start_ns):
        moment = float(brentq(excess, window.start_ns, window.end_ns, xtol=_JUMP_TIME_NS))
    return evolved(moment), moment


def _fall(state: LevelState, interactions: Interactions, rng: np.random.Generator) -> int:
    """Let one atom fall from r to g, chosen by its population; normalise."""
    atoms = state.open_atoms
    weights = np.array([state.populations(atom)[lv.R] for atom in atoms])
    atom = atoms[int(rng.choice(len(atoms), p=weights / weights.sum()))]
    interactions.jump(state, atom)
    state.scale(1.0 / np.sqrt(state.norm_squared()))
    return atom


def _cut(steps: Sequence[Step], flips: Sequence[Flip]) -> list[Step | Flip]:
    """Insert flips, cutting the pulse of the flipped atom that does not commute with it."""
    result: list[Step | Flip] = list(steps)
    for flip in flips:
        moment = flip.start_ns
        for k, step in enumerate(result):
            if isinstance(step, Flip) or not step.start_ns < moment < step.end_ns:
                continue
            if isinstance(step, Rotation):
                affected = flip.level == lv.H and step.drive.atom == flip.atom
            else:
                driven = any(drive.atom == flip.atom for drive in step.drives)
                affected = flip.level == lv.R and driven
            if affected:
                result[k : k + 1] = [
                    step.part(step.start_ns, moment),
                    step.part(moment, step.end_ns),
                ]
                break
    result += flips
    # At one moment the flip comes first: a step that starts there comes after it.
    return sorted(result, key=lambda step: (step.start_ns, not isinstance(step, Flip)))


def _after_jump(
    queue: Sequence[Step | Flip], done: Sequence[Rotation], atom: int, moment: float
) -> list[Step | Flip]:
    """Steps still to come (last one first) for an atom that fell from r to g at `moment`.

    Until then the Raman beam found the atom in r and did nothing: of a pulse around the jump only
    the rest acts, even if the pulse was applied as a whole before. Flips before the jump only
    changed the sign of what fell.
    """
    rest: list[Step | Flip] = []
    for step in queue:
        earlier = step.start_ns < moment
        if isinstance(step, Rotation) and step.drive.atom == atom and earlier:
            if step.end_ns > moment:
                rest.append(step.part(moment, step.end_ns))
        elif not (isinstance(step, Flip) and step.atom == atom and earlier):
            rest.append(step)
    rest += [
        step.part(moment, step.end_ns)
        for step in done
        if step.drive.atom == atom and step.start_ns < moment < step.end_ns
    ]
    return rest
