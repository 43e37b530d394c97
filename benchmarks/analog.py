"""How fast and how exact is the embedded analog emulator: an adiabatic sweep against its peers.

Run it with `python -m benchmarks.run analog [--quick] [--json] [--output FILE]`. emu-sv runs under
an interpreter of its own, because torch and CUDA-Q want different CUDA packages: name it with
`--peer-python PATH` or CUDAQ_TARGET_PEER_PYTHON (`pip install emu-sv` there is all it needs).

The program: n atoms on a square patch of 6 µm, AnalogDevice; 3 µs, Ω = 1.5 MHz · 2π with ramps of
500 ns, δ from -3 to 3 MHz · 2π in between. Errors are the largest of all |ΔP| against a run of
order 4 with steps of 2 ns, which itself is checked against a dense integrator.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.report import ROOT, Goal, Row, at_most, progress
from benchmarks.timing import Pair, in_turns, last_line, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.emulator.analog.problem import RydbergProblem

    Probabilities = NDArray[np.float64]

PEER_VARIABLE = "CUDAQ_TARGET_PEER_PYTHON"
DT_NS = 10  # emu-sv's default
EMU_GOALS = {10: 50.0, 14: 30.0, 18: 25.0}
QUTIP_GOALS = {10: 5.0, 14: 15.0}
# Of the state (2-norm). emu-sv reaches about 5e-4 with its default, pulser-simulation 1e-5.
TOLERANCE = {"emu-sv": 5e-4, "pulser-simulation": 1e-6}
LOOP_ATOMS, LOOP_NS, LOOP_SHOTS = 9, 1320, 200
LARGE_ATOMS, LARGE_LIMIT_S, LARGE_ERROR = 20, 30.0, 1e-5
SHOT_ATOMS, N_SHOTS, SHOT_LIMIT_S = 18, 100_000, 0.2
REFERENCE_STEP_NS, DENSE_ATOMS, DENSE_ERROR = 2.0, 6, 1e-8
QUICK_DENSE_ATOMS = 4
_PEER_TIMEOUT_S = 1800
_TWO_PI = 2.0 * math.pi


class PeerError(Exception):
    """A peer could not run; carries the reason."""


@dataclass(frozen=True, slots=True)
class PeerRun:
    """What a peer gave: its time (s) and its probabilities."""

    seconds: float
    probabilities: Probabilities


def rows(quick: bool = False, peer_python: Path | None = None) -> Iterator[Row]:
    """Measure everything, one row at a time."""
    yield reference_row(QUICK_DENSE_ATOMS if quick else DENSE_ATOMS)
    _compile_kernels()
    for n_atoms in (10,) if quick else QUTIP_GOALS:
        yield peer_row("pulser-simulation", n_atoms, Path(sys.executable), 1 if quick else 3)
    emu_python = peer_python or os.environ.get(PEER_VARIABLE)
    for n_atoms in (10,) if quick else EMU_GOALS:
        repeats = 1 if quick else 3
        yield peer_row("emu-sv", n_atoms, Path(emu_python) if emu_python else None, repeats)
    yield loop_row(3 if quick else 40)
    yield large_row(14 if quick else LARGE_ATOMS)
    yield shots_row(14 if quick else SHOT_ATOMS)


def sweep_sequence(n_atoms: int) -> Any:  # noqa: ANN401 - a `pulser.Sequence`
    """Return the sweep as a Pulser sequence."""
    import pulser  # noqa: PLC0415
    from pulser.waveforms import CompositeWaveform, ConstantWaveform, RampWaveform  # noqa: PLC0415

    columns = math.isqrt(n_atoms - 1) + 1
    sites = np.array([divmod(k, columns) for k in range(n_atoms)], dtype=float) * 6.0
    register = pulser.Register.from_coordinates(sites, center=True, prefix="q")
    device = pulser.AnalogDevice
    rabi, reach = 1.5 * _TWO_PI, 3.0 * _TWO_PI
    amplitude = CompositeWaveform(
        RampWaveform(500, 0.0, rabi), ConstantWaveform(2000, rabi), RampWaveform(500, rabi, 0.0)
    )
    detuning = CompositeWaveform(
        ConstantWaveform(500, -reach),
        RampWaveform(2000, -reach, reach),
        ConstantWaveform(500, reach),
    )
    sequence = pulser.Sequence(register.with_automatic_layout(device), device)
    sequence.declare_channel("global", "rydberg_global")
    sequence.add(pulser.Pulse(amplitude, detuning, 0.0), "global")
    return sequence


@cache
def sweep(n_atoms: int) -> RydbergProblem:
    """Return the sweep as the emulator takes it: the sequence's samples and positions."""
    from pulser.sampler import sample  # noqa: PLC0415

    from cudaq_target.emulator.analog.problem import RydbergProblem  # noqa: PLC0415

    sequence = sweep_sequence(n_atoms)
    played = sample(sequence).channel_samples["global"]
    atoms = np.array([np.asarray(p.as_array()) for p in sequence.register.qubits.values()])
    c6 = sequence.device.interaction_coeff
    return RydbergProblem.of_samples(
        atoms, c6, np.asarray(played.amp.as_array()), np.asarray(played.det.as_array())
    )


def ours(n_atoms: int, **options: Any) -> Probabilities:  # noqa: ANN401
    """Run the sweep; the options are those of `evolve_rydberg`."""
    from cudaq_target.emulator.analog.integrate import evolve_rydberg  # noqa: PLC0415

    state = evolve_rydberg(sweep(n_atoms), **options).state
    return np.asarray(np.abs(state) ** 2)


@cache
def reference(n_atoms: int) -> Probabilities:
    """The converged run."""
    progress(f"{n_atoms} atoms: reference")
    return ours(n_atoms, step_ns=REFERENCE_STEP_NS)


def error_of(found: Probabilities, n_atoms: int) -> float:
    return float(np.abs(found - reference(n_atoms)).max())


def reference_row(n_atoms: int = DENSE_ATOMS) -> Row:
    """Check the reference against an integrator that shares nothing with it."""
    progress(f"{n_atoms} atoms: dense integrator")
    from tests.target.rydberg_oracle import solve  # noqa: PLC0415

    exact = np.abs(solve(sweep(n_atoms))) ** 2
    error = error_of(exact, n_atoms)
    goal = Goal(DENSE_ERROR)
    return Row(
        name=f"{n_atoms} atoms, the reference against a dense integrator",
        value=error,
        unit="max |ΔP|",
        peer="SciPy DOP853, rtol 1e-12",
        reach=str(goal),
        holds=goal.met_by(error),
        note="The same Hamiltonian, written element by element.",
        is_correctness=True,
    )


def peer_row(peer: str, n_atoms: int, python: Path | None, repeats: int) -> Row:
    """Take turns with a peer on the same sequence."""
    progress(f"{n_atoms} atoms against {peer}")
    goal = (EMU_GOALS if peer == "emu-sv" else QUTIP_GOALS)[n_atoms]
    title = f"{n_atoms} atoms, 3 µs sweep, against {peer}"
    reach = f"ratio >= {goal:g}, error <= the peer's"
    tolerance = TOLERANCE[peer]
    if python is None:
        taken = [seconds(lambda: ours(n_atoms, tolerance=tolerance)) for _ in range(repeats)]
        why = f"name an interpreter with emu-sv by --peer-python or {PEER_VARIABLE}"
        return Row(title, statistics.median(taken), "s", reach=reach, note=f"no peer: {why}")
    last: list[PeerRun] = []

    def theirs() -> float:
        last[:] = [run_peer(peer, n_atoms, python)]
        return last[0].seconds

    def mine() -> float:
        return seconds(lambda: ours(n_atoms, tolerance=tolerance))

    try:
        mine()
        pair = in_turns(mine, theirs, repeats)
    except PeerError as error:
        return Row(title, None, "s", reach=reach, note=f"could not run: {error}")
    return _pair_row(title, reach, goal, pair, last[0], n_atoms, peer)


def _pair_row(
    title: str, reach: str, goal: float, pair: Pair, last: PeerRun, n_atoms: int, peer: str
) -> Row:
    own_error = error_of(ours(n_atoms, tolerance=TOLERANCE[peer]), n_atoms)
    peer_error = error_of(last.probabilities, n_atoms)
    setting = f"dt={DT_NS}" if peer == "emu-sv" else "default"
    return Row(
        name=f"{title}; max |ΔP| {own_error:.1e}",
        value=pair.ours,
        unit="s",
        peer=f"{peer} {setting}: {pair.peer:.3g} s, max |ΔP| {peer_error:.1e}",
        ratio=pair.ratio,
        reach=reach,
        holds=pair.ratio >= goal and own_error <= peer_error,
        samples=pair.ours_s,
        note=(
            f"tolerance={TOLERANCE[peer]:g}: ours runs the sweep at two or more steps and compares "
            "them, all of which is in its time. The peer's time is that of `run()` in a process "
            "that has run a small program before. Of a peer's error, about 5e-6 is its other "
            "reading of the samples between the ns."
        ),
    )


def run_peer(peer: str, n_atoms: int, python: Path) -> PeerRun:
    """Run the sequence once in a process of the peer's interpreter."""
    with tempfile.TemporaryDirectory(prefix="analog-") as folder:
        sequence_file, out_file = Path(folder) / "sequence.json", Path(folder) / "state.npy"
        sequence_file.write_text(sweep_sequence(n_atoms).to_abstract_repr())
        script = ROOT / "benchmarks" / "emu_peer.py"
        command = [
            str(python),
            str(script),
            peer,
            str(sequence_file),
            str(out_file),
            str(DT_NS),
            "1",
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=_PEER_TIMEOUT_S
            )
        except OSError as error:
            raise PeerError(f"{python}: {error.strerror}") from error
        if done.returncode:
            raise PeerError(last_line(done.stderr))
        measured = json.loads(done.stdout.splitlines()[-1])
        return PeerRun(float(measured["seconds"][0]), np.load(out_file))


def loop_row(n_evaluations: int) -> Row:
    """One evaluation of a loop over the shape of a sweep, against one over angles of gates."""
    progress(f"{LOOP_ATOMS} atoms: variational loops")
    title = f"{LOOP_ATOMS} atoms, one evaluation of a loop over the shape of a 1.32 µs sweep"
    try:
        gates = _gate_loop()
    except ImportError as error:
        return Row(title, None, "ms", reach=at_most(1.0), note=f"could not run: {error}")
    pulses, error_of_members, tolerance = _pulse_loop()
    pair = in_turns(lambda: seconds(pulses), lambda: seconds(gates), n_evaluations, warm_ups=3)
    worst = error_of_members()
    return Row(
        name=f"{title}; max |ΔP| {worst:.1e}",
        value=1e3 * pair.ours,
        unit="ms",
        peer=f"our gate loop, {LOOP_ATOMS} qubits, 12 CPhases: {1e3 * pair.peer:.2f} ms",
        ratio=pair.ratio,
        reach=f"{at_most(1.0)}, max |ΔP| <= {tolerance:.0e}",
        holds=pair.ratio >= 1.0 and worst <= tolerance,
        samples=tuple(1e3 * taken for taken in pair.ours_s),
        note=(
            f"New parameters, then {LOOP_SHOTS} shots: `ansatz.bind` and the machine `local` "
            "against `cudaq.sample` of one layer of QAOA on the same 3 x 3 graph, same target. "
            "Errors are those of 8 members against a converged run; no test of the shots notices "
            "them in more than 1 % of the cases."
        ),
    )


def _pulse_loop() -> tuple[Callable[[], object], Callable[[], float], float]:
    """One evaluation; the largest error of some members; the tolerance that holds for them."""
    from cudaq_target.analog.ansatz import Shape, analog_ansatz  # noqa: PLC0415
    from cudaq_target.emulator.analog.integrate import evolve_rydberg  # noqa: PLC0415
    from cudaq_target.machines import local_analog  # noqa: PLC0415

    sites = [(6.0 * (k % 3), 6.0 * (k // 3)) for k in range(LOOP_ATOMS)]
    ansatz = analog_ansatz(sites, LOOP_NS, Shape(4, first=0.0, last=0.0), Shape(4))
    start = ansatz.values(
        lambda _: 1.5 * _TWO_PI, lambda share: 3.0 * _TWO_PI * (2.0 * share - 1.0)
    )
    low, high = ansatz.bounds.T
    rng = np.random.default_rng(1)
    machine = local_analog.LocalAnalogMachine()
    tolerance = local_analog.sampling_tolerance(LOOP_SHOTS)

    def bound() -> AnalogProgram:
        return ansatz.bind(np.clip(start + rng.normal(0.0, 2.0, ansatz.n_parameters), low, high))

    def error() -> float:
        found = 0.0
        for _ in range(8):
            problem = local_analog.problem_of(bound())
            states = [evolve_rydberg(problem, tolerance=t).state for t in (tolerance, 1e-9)]
            ours, exact = (np.abs(state) ** 2 for state in states)
            found = max(found, float(np.abs(ours - exact).max()))
        return found

    return lambda: machine.sample_analog(bound(), LOOP_SHOTS, rng=rng), error, tolerance


def _gate_loop() -> Callable[[], object]:
    """One evaluation of a layer of QAOA on the square patch, through `cudaq.sample`."""
    import cudaq  # noqa: PLC0415

    from benchmarks.cudaq_kernels import graph_layer  # noqa: PLC0415

    pairs = [(k, k + 1) for k in range(9) if k % 3 < 2] + [(k, k + 3) for k in range(6)]
    left, right = ([pair[end] for pair in pairs] for end in (0, 1))
    rng = np.random.default_rng(1)
    cudaq.set_target("pasqal", seed=1)

    def evaluation() -> object:
        phase, angle = rng.uniform(0.2, 1.2, 2).tolist()
        arguments = (LOOP_ATOMS, left, right, phase, angle)
        return cudaq.sample(graph_layer, *arguments, shots_count=LOOP_SHOTS)

    return evaluation


def large_row(n_atoms: int) -> Row:
    """The largest sweep, on all cores."""
    progress(f"{n_atoms} atoms")
    found: list[Probabilities] = []
    taken = seconds(lambda: found.append(ours(n_atoms, tolerance=LARGE_ERROR)))
    error = error_of(found[0], n_atoms)
    goal = Goal(LARGE_LIMIT_S)
    return Row(
        name=f"{n_atoms} atoms, 3 µs sweep; max |ΔP| {error:.1e}",
        value=taken,
        unit="s",
        reach=f"{goal}, max |ΔP| <= {LARGE_ERROR:g}",
        holds=goal.met_by(taken) and error <= LARGE_ERROR,
        samples=(taken,),
        note=f"tolerance={LARGE_ERROR:g}, its passes at other steps included; complex128.",
        is_correctness=error > LARGE_ERROR,
    )


def shots_row(n_atoms: int) -> Row:
    """Shots of the state at the end of the sweep."""
    from cudaq_target.emulator.analog.integrate import evolve_rydberg  # noqa: PLC0415
    from cudaq_target.emulator.analog.shots import sample_packed  # noqa: PLC0415

    progress(f"{N_SHOTS} shots of {n_atoms} atoms")
    state = evolve_rydberg(sweep(n_atoms), step_ns=20.0).state
    rng = np.random.default_rng(0)
    weights = np.abs(state) ** 2
    weights /= weights.sum()
    pair = in_turns(
        lambda: seconds(lambda: sample_packed(state, N_SHOTS, rng)),
        lambda: seconds(lambda: rng.choice(len(weights), N_SHOTS, p=weights)),
        5,
        warm_ups=1,
    )
    goal = Goal(SHOT_LIMIT_S)
    return Row(
        name=f"{N_SHOTS} packed shots of {n_atoms} atoms",
        value=pair.ours,
        unit="s",
        peer=f"NumPy choice, probabilities given, not packed: {pair.peer:.3g} s",
        ratio=pair.ratio,
        reach=str(goal),
        holds=goal.met_by(pair.ours),
        samples=pair.ours_s,
        note="From amplitudes to packed words; max |ΔP| does not apply.",
    )


def _compile_kernels() -> None:
    """Compile, where needed, what the timed calls read from disk."""
    ours(14, step_ns=1000.0)
    ours(4, step_ns=1000.0)
