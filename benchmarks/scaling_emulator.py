"""Time and memory of the embedded emulator over qubits, depth and duration.

Run it with `python -m benchmarks.run scaling-emulator [--quick] [--json] [--output FILE]`.

Gates: layers of a random u3 on every qubit and CZ on random disjoint pairs, lowered to pulses
beforehand; the time is that of the emulation alone. Sweeps: those of the benchmark `analog`, 3 µs
on a square patch of 6 µm, at a verified error of 1e-6. pulser-simulation runs the same sequences in
turns, as far as it takes seconds. Peak memory is that of a fresh process during a run of 1000
shots, less what it held before, beside the emulator's own estimate, by which it refuses.
"""

from __future__ import annotations

import ctypes
import math
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import analog, kernels
from benchmarks.latency import rounded
from benchmarks.report import Measurement, Row, progress
from benchmarks.scaling_fit import exponent, growth, paired, repeated, spread_ms
from benchmarks.timing import ProbeError, in_turns, probe, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.report import Section
    from cudaq_target.emulator.analog.integrate import RydbergResult
    from cudaq_target.emulator.analog.problem import RydbergProblem
    from cudaq_target.program import Program

DEPTH = 10
DEPTH_QUBITS, DURATION_ATOMS = 14, 12
TOLERANCE = analog.TOLERANCE["pulser-simulation"]
PEER_ERROR = 1e-4
N_SHOTS = 1000
MEMORY = (
    *(("gates", n) for n in (18, 20, 22, 24, 26)),
    *(("sweep", n) for n in (18, 19, 20, 21, 22)),
)
UNCHECKED_BYTES = 64 << 20  # below this the emulator refuses nothing
_MEMORY_SWEEP_NS = 100
_MIB = 2**20
# From here on the state, not the interpreter, decides.
_GROWTH_FROM = {"gates": 18, "sweep": 14}
_PEER_LIMIT_S = 6.0  # a peer that took longer is not asked for more qubits
_TWO_PI = 2.0 * math.pi


def measured(quick: bool = False) -> Measurement:
    """Measure everything."""
    budget_s = 0.05 if quick else 1.5
    gate_sizes = (4, 12) if quick else (2, 3, 4, 5, 6, *range(8, 26, 2))
    atom_sizes = (8, 10) if quick else tuple(range(4, 22, 2))
    gates = list(gate_lines(gate_sizes, budget_s, peer_up_to=0 if quick else 6))
    sweeps = list(sweep_lines(atom_sizes, budget_s, peer_up_to=8 if quick else 12))
    depths = list(depth_lines((1, 10) if quick else (1, 2, 5, 10, 20, 50, 100, 200), budget_s))
    durations = list(
        duration_lines((500, 1000) if quick else (250, 500, 1000, 2000, 4000, 8000), budget_s)
    )
    memory = list(memory_lines((("gates", 22),) if quick else MEMORY))
    rows = [
        *size_rows("gates", gates),
        *size_rows("sweep", sweeps),
        *([] if quick else (growth_row("gates", gates), growth_row("sweep", sweeps))),
        law_row(f"emulation of gates, exponent over depth, {DEPTH_QUBITS} qubits", depths, "depth"),
        law_row(
            f"emulation of sweeps, exponent over duration, {DURATION_ATOMS} atoms",
            durations,
            "duration_ns",
        ),
        agreement_row(sweeps),
        *memory_rows(memory),
    ]
    sections = {
        "emulator_size": [*gates, *sweeps],
        "emulator_length": [*depths, *durations],
        "emulator_memory": memory,
    }
    return Measurement(tuple(rows), sections)


@cache
def program(n_qubits: int, depth: int) -> Program:
    """Random layers, lowered."""
    from cudaq_target.program import compile_circuit  # noqa: PLC0415

    return compile_circuit(kernels.random_layers(n_qubits, depth))


def sweep_of(n_atoms: int, duration_ns: int) -> RydbergProblem:
    """A sweep of any duration; ramps of a tenth of it at both ends."""
    from cudaq_target.emulator.analog.problem import RydbergProblem  # noqa: PLC0415

    given = analog.sweep_sequence(n_atoms)
    atoms = np.array([np.asarray(p.as_array()) for p in given.register.qubits.values()])
    share = (np.arange(duration_ns) + 0.5) / duration_ns
    amplitude = 1.5 * _TWO_PI * np.clip(np.minimum(share, 1.0 - share) / 0.1, 0.0, 1.0)
    detuning = 3.0 * _TWO_PI * (2.0 * share - 1.0)
    return RydbergProblem.of_samples(atoms, given.device.interaction_coeff, amplitude, detuning)


def gate_lines(sizes: Sequence[int], budget_s: float, peer_up_to: int) -> Iterator[dict[str, Any]]:
    """Layers of gates over the number of qubits, the peer beside where it takes seconds."""
    peer_ms = 0.0
    for n in sizes:
        progress(f"gates, {n} qubits, depth {DEPTH}")
        is_paired = n <= peer_up_to and peer_ms < 1e3 * _PEER_LIMIT_S
        line = gate_line(n, DEPTH, budget_s, is_paired=is_paired)
        peer_ms = line.get("peer_ms", peer_ms)
        yield line


def gate_line(
    n_qubits: int, depth: int, budget_s: float, *, is_paired: bool = False
) -> dict[str, Any]:
    """Layers of gates, by themselves or in turns with the peer."""
    from cudaq_target.emulator.run import emulate  # noqa: PLC0415

    made = program(n_qubits, depth)
    line = {"kind": "gates", "n": n_qubits, "depth": depth}

    def ours() -> object:
        return emulate(made.timeline)

    if not is_paired:
        return line | spread_ms(repeated(ours, budget_s=budget_s))
    ours()
    pair = paired(ours, qutip_run(made), budget_s=budget_s)
    return line | spread_ms(pair.ours_s) | {"peer_ms": rounded(1e3 * pair.peer)}


def qutip_run(made: Program) -> Callable[[], object]:
    """The same sequence on QutipBackendV2, which keeps all three levels of every atom."""
    from pulser.backend import BitStrings  # noqa: PLC0415
    from pulser_simulation import QutipBackendV2, QutipConfig  # noqa: PLC0415

    shots = BitStrings(evaluation_times=[1.0], num_shots=1, one_state="h")
    sequence, config = made.sequence, QutipConfig(observables=[shots])
    return lambda: QutipBackendV2(sequence, config=config).run()


def sweep_lines(sizes: Sequence[int], budget_s: float, peer_up_to: int) -> Iterator[dict[str, Any]]:
    """Sweeps over the number of atoms, the peer beside up to some size, and how far apart."""
    analog.ours(4, step_ns=1000.0)  # loads compiled code
    for n in sizes:
        progress(f"sweep, {n} atoms")
        line = {"kind": "sweep", "n": n, "duration_ns": 3000}
        yield line | sweep_line(n, budget_s, is_paired=n <= peer_up_to)


def sweep_line(n_atoms: int, budget_s: float, *, is_paired: bool) -> dict[str, Any]:
    """A sweep, by itself or in turns with the peer."""
    last: list[analog.PeerRun] = []

    def ours() -> analog.Probabilities:
        return analog.ours(n_atoms, tolerance=TOLERANCE)

    def theirs() -> float:
        last[:] = [analog.run_peer("pulser-simulation", n_atoms, Path(sys.executable))]
        return last[0].seconds

    analog.sweep(n_atoms)
    if not is_paired:
        return spread_ms(repeated(ours, budget_s=budget_s))
    found = ours()
    try:
        pair = in_turns(lambda: seconds(ours), theirs, 3 if budget_s > 1.0 else 1)
    except analog.PeerError as error:
        return spread_ms([seconds(ours)]) | {"failure": str(error)}
    apart = float(np.abs(found - last[0].probabilities).max())
    peer = {"peer_ms": rounded(1e3 * pair.peer), "apart": rounded(apart)}
    return spread_ms(pair.ours_s) | peer


def depth_lines(depths: Sequence[int], budget_s: float) -> Iterator[dict[str, Any]]:
    """Layers of gates over their number."""
    for depth in depths:
        progress(f"gates, {DEPTH_QUBITS} qubits, depth {depth}")
        yield gate_line(DEPTH_QUBITS, depth, budget_s)


def duration_lines(durations_ns: Sequence[int], budget_s: float) -> Iterator[dict[str, Any]]:
    """Sweeps over their duration."""
    for duration_ns in durations_ns:
        progress(f"sweep, {DURATION_ATOMS} atoms, {duration_ns} ns")
        line = {"kind": "sweep", "n": DURATION_ATOMS, "duration_ns": duration_ns}
        yield line | duration_line(duration_ns, budget_s)


def duration_line(duration_ns: int, budget_s: float) -> dict[str, Any]:
    """One sweep, and how many steps its last pass took."""
    from cudaq_target.emulator.analog.integrate import evolve_rydberg  # noqa: PLC0415

    problem = sweep_of(DURATION_ATOMS, duration_ns)
    n_steps = 0

    def run() -> None:
        nonlocal n_steps
        found: RydbergResult[object] = evolve_rydberg(problem, tolerance=TOLERANCE)
        n_steps = found.n_steps

    return spread_ms(repeated(run, budget_s=budget_s)) | {"steps": n_steps}


def memory_lines(cases: Sequence[tuple[str, int]]) -> Iterator[dict[str, Any]]:
    """Peak memory and estimate, in a fresh process each."""
    for kind, n in cases:
        progress(f"peak memory, {kind}, {n} atoms")
        line: dict[str, Any] = {"kind": kind, "n": n}
        try:
            found = probe("peak_memory", kind, str(n))
        except ProbeError as error:
            yield line | {"failure": str(error)}
            continue
        bytes_of = {name: found[name] for name in ("peak", "estimate", "state")}
        yield line | {f"{name}_mib": rounded(size / _MIB) for name, size in bytes_of.items()}


def peak_memory(kind: str, n: int) -> dict[str, float]:
    """Measure what a run takes at most, in this process (bytes); Linux alone tells.

    Returns:
        `peak`, the emulator's own `estimate`, the size of the `state`, and the run's `seconds`.
    """
    from cudaq_target.emulator.memory import state_bytes  # noqa: PLC0415
    from cudaq_target.machines.local_analog import LocalAnalogMachine  # noqa: PLC0415

    estimate = state_bytes(n) if kind == "gates" else LocalAnalogMachine().needed_bytes(n)
    run = _gates_run(n) if kind == "gates" else _sweep_run(n)
    ctypes.CDLL(None).malloc_trim(0)  # what is free already would hide what the run takes
    before = _status_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    taken = seconds(run)
    peak = _status_bytes("VmHWM") - before
    return {"seconds": taken, "peak": peak, "estimate": estimate, "state": 16 << n}


def _gates_run(n: int) -> Callable[[], object]:
    from cudaq_target.machines.local import LocalMachine  # noqa: PLC0415

    rng, machine = np.random.default_rng(1), LocalMachine()
    # As large as needs both back ends of the state vector, and threads.
    for small in (6, 15):
        machine.sample(program(small, 2).timeline, N_SHOTS, rng=rng)
    made = program(n, DEPTH)
    return lambda: machine.sample(made.timeline, N_SHOTS, rng=rng)


def _sweep_run(n: int) -> Callable[[], object]:
    from cudaq_target.emulator.analog.integrate import evolve_rydberg  # noqa: PLC0415
    from cudaq_target.emulator.analog.shots import sample_packed  # noqa: PLC0415

    rng = np.random.default_rng(1)

    def run(n_atoms: int) -> object:
        problem = sweep_of(n_atoms, _MEMORY_SWEEP_NS)
        found: RydbergResult[object] = evolve_rydberg(problem, tolerance=TOLERANCE)
        return sample_packed(found.state, N_SHOTS, rng)

    for small in (6, 15):
        run(small)
    return lambda: run(n)


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))


TITLES = {
    "gates": ("emulation of gates", f"qubits, depth {DEPTH}"),
    "sweep": ("emulation of a sweep of 3 µs", "atoms"),
}


def size_rows(kind: str, lines: Section) -> Iterator[Row]:
    """The largest size, and the largest that the peer ran, too."""
    title, of = TITLES[kind]
    for line in [line for line in lines if "peer_ms" in line][-1:]:
        yield Row(
            name=f"{title}, {line['n']} {of}",
            value=1e-3 * line["median_ms"],
            unit="s",
            peer=f"pulser-simulation, same sequence: {1e-3 * line['peer_ms']:.3g} s",
            ratio=line["peer_ms"] / line["median_ms"],
            note="Emulation alone, compiled before; in turns.",
        )
    last = lines[-1]
    yield Row(
        name=f"{title}, {last['n']} {of}",
        value=1e-3 * last["median_ms"],
        unit="s",
        note="Emulation alone, compiled before; the peer would take too long.",
    )


def growth_row(kind: str, lines: Section) -> Row:
    """By how much one more qubit multiplies the time, where the state decides."""
    title, _ = TITLES[kind]
    large = [line for line in lines if line["n"] >= _GROWTH_FROM[kind]]
    sizes = [line["n"] for line in large]
    return Row(
        name=f"{title}, time per further qubit, from {sizes[0]} on",
        value=growth(sizes, [line["median_ms"] for line in large]),
        unit="× per qubit",
        note="Fit of an exponential; twice the amplitudes make 2, further pulses the rest.",
    )


def law_row(name: str, lines: Section, over: str) -> Row:
    """The exponent of a power law."""
    sizes, costs = [line[over] for line in lines], [line["median_ms"] for line in lines]
    return Row(
        name=name,
        value=exponent(sizes, costs),
        unit="1",
        note=f"Fit over {over} {sizes[0]} to {sizes[-1]}; last point {costs[-1]:.3g} ms.",
    )


def agreement_row(lines: Section) -> Row:
    """Both emulators must give the same probabilities."""
    apart = [line["apart"] for line in lines if "apart" in line]
    failures = [line["failure"] for line in lines if "failure" in line]
    worst = max(apart) if apart else None
    return Row(
        name="sweeps, largest difference from pulser-simulation",
        value=worst,
        unit="max |ΔP|",
        reach=f"<= {PEER_ERROR:g}",
        holds=worst is not None and worst <= PEER_ERROR and not failures,
        note=f"{len(apart)} sizes. {'; '.join(failures)}".strip(),
        is_correctness=True,
    )


def memory_rows(lines: Section) -> Iterator[Row]:
    """The estimate must not be below what a run takes, at sizes where it may refuse."""
    for kind in dict.fromkeys(line["kind"] for line in lines):
        title = f"{TITLES[kind][0].removesuffix(' of 3 µs')}, peak memory"
        found = [line for line in lines if line["kind"] == kind]
        failed = [line["failure"] for line in found if "failure" in line]
        if failed:
            yield Row(title, None, "MiB", note=f"could not run: {failed[0]}")
            continue
        checked = [line for line in found if line["estimate_mib"] * _MIB >= UNCHECKED_BYTES]
        worst = min(checked, key=lambda line: line["estimate_mib"] / line["peak_mib"])
        last = found[-1]
        ratios = [line["estimate_mib"] / line["peak_mib"] for line in checked]
        yield Row(
            name=f"{title}, {last['n']} {'qubits' if kind == 'gates' else 'atoms'}",
            value=last["peak_mib"],
            unit="MiB",
            peer=f"own estimate, by which it refuses: {last['estimate_mib']:.4g} MiB",
            ratio=last["estimate_mib"] / last["peak_mib"],
            reach="estimate >= peak",
            holds=min(ratios) >= 1.0,
            note=(
                f"Fresh process, less what it held before; state of {last['state_mib']:.4g} MiB. "
                f"Tightest of {len(checked)} sizes: {worst['n']}, estimate "
                f"{min(ratios):.3g} × the peak."
            ),
            is_correctness=True,
        )
