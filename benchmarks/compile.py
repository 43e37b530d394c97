"""How good and how fast is the lowering: gate counts, sequence durations, compile times.

Run it with `python -m benchmarks.run compile [--quick] [--json] [--output FILE]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import circuits, kernels, qiskit_input, qiskit_peer, qmap_peer
from benchmarks.report import Goal, Row, progress
from benchmarks.timing import ProbeError, cold_probe, empty_folder, in_turns, probe, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.qiskit_peer import Transpiled
    from benchmarks.timing import Pair
    from cudaq_target.program import Program

DURATION_GOALS_US = {"qft-6": 8.0, "qft-8": 14.0, "qft-10": 24.0}
TIMED_CIRCUIT = "qft-10"
COLD_GOAL_MS, WARM_GOAL_MS, BIND_GOAL_MS = 2000.0, 300.0, 10.0
BIND_QUBITS, BIND_LAYERS = 10, 5
RADII = (1.0, 1.5)
_SEED = 11


def rows(quick: bool = False) -> Iterator[Row]:
    """Measure everything, one row at a time."""
    for case in circuits.CASES:
        if not quick or case.name in circuits.QUICK:
            progress(f"{case.name}: counts and durations")
            yield from circuit_rows(case, n_seeds=2 if quick else None)
    yield from compile_time_rows(TIMED_CIRCUIT, repeats=2 if quick else 7)
    if not quick:
        yield first_compile_row(TIMED_CIRCUIT)
    yield from bind_rows(BIND_QUBITS, BIND_LAYERS, repeats=20 if quick else 200)


def circuit_rows(case: circuits.Case, n_seeds: int | None = None) -> Iterator[Row]:
    """Compare count and duration of one circuit with the columns of Qiskit and mqt.qmap."""
    circuit = circuits.circuit(case)
    program = compile_case(case)
    columns = [qiskit_peer.best(circuit, column, n_seeds) for column in qiskit_peer.COLUMNS]
    yield count_row(case, program, columns)
    if qmap_peer.is_installed():
        yield qmap_row(case, program)
    yield from duration_rows(case, program, columns)


def compile_case(case: circuits.Case, *, from_zero: bool = False) -> Program:
    """Lower a benchmark circuit for `DigitalAnalogDevice`.

    Args:
        case: The circuit.
        from_zero: Lower it as a kernel is: on |0…0>, where the compiler drops what acts on a known
            state (a QFT becomes a layer of H). Otherwise a random u3 on every qubit comes first,
            so that the whole unitary has to be played, as Qiskit does it.
    """
    from cudaq_target.program import compile_circuit  # noqa: PLC0415

    circuit = qiskit_input.from_qiskit(circuits.circuit(case))
    return compile_circuit(circuit if from_zero else kernels.generic_input(circuit))


def count_row(case: circuits.Case, program: Program, columns: Sequence[Transpiled]) -> Row:
    """Entangling blocks against the fewest CZ of any Qiskit column."""
    ours = program.stats.n_entangling
    from_zero = compile_case(case, from_zero=True)
    fewest = min(columns, key=lambda one: one.n_cz)
    goal = Goal(fewest.n_cz, of="best Qiskit column")
    every = ", ".join(f"{one.column.name} {one.n_cz}" for one in columns)
    return Row(
        name=f"entangling gates {case.name}",
        value=ours,
        unit="gates",
        peer=f"Qiskit level 3, {fewest.column.name}: {fewest.n_cz}",
        ratio=fewest.n_cz / ours,
        reach=str(goal),
        holds=goal.met_by(ours),
        note=(
            f"CZ per Qiskit column: {every}. Ours: CPhase and CCZ, of these {n_ccz(program)} CCZ, "
            f"SWAPs included; as a kernel on |0…0> {from_zero.stats.n_entangling}."
        ),
    )


def n_ccz(program: Program) -> int:
    """Count three-atom gates."""
    from cudaq_target.native_ops import CCZ  # noqa: PLC0415

    assert program.lowered is not None
    return sum(isinstance(op, CCZ) for op in program.lowered.native.ops)


def qmap_row(case: circuits.Case, program: Program) -> Row:
    """Entangling blocks against the hybrid mapper's CZ + 3·SWAP; informs only."""
    counts = {r: qmap_peer.fewest_cz(circuits.circuit(case), r) for r in RADII}
    radius = min(RADII, key=lambda r: counts[r])
    ours = program.stats.n_entangling
    return Row(
        name=f"entangling gates {case.name}, mqt.qmap",
        value=ours,
        unit="gates",
        peer=f"mqt.qmap hybrid mapper, r={radius:g}: {counts[radius]}",
        ratio=counts[radius] / ours,
        note="; ".join(f"r={r:g}: {n}" for r, n in counts.items()),
    )


def duration_rows(
    case: circuits.Case, program: Program, columns: Sequence[Transpiled]
) -> Iterator[Row]:
    """Sequence duration against the shortest Qiskit column, and against the absolute goal."""
    ours_us = program.stats.duration_ns / 1000.0
    from_zero = compile_case(case, from_zero=True)
    played = {one.column.name: one for one in columns if one.duration_ns is not None}
    by_rule = {name: float(one.duration_ns or 0) / 1000.0 for name, one in played.items()}
    shortest = {name: float(one.shortest_ns or 0) / 1000.0 for name, one in played.items()}
    every = ", ".join(f"{name} {by_rule[name]:.2f} ({shortest[name]:.2f})" for name in played)
    note = (
        f"µs per Qiskit column (shortest of all seeds and control choices): {every}. Ours as a "
        f"kernel on |0…0>: {from_zero.stats.duration_ns / 1000.0:.2f} µs."
    )
    for label, figures in (("", by_rule), (", best schedule", shortest)):
        name = min(figures, key=lambda key: figures[key])
        goal = Goal(figures[name], strict=True, of="best Qiskit column")
        yield Row(
            name=f"duration {case.name}{label}",
            value=ours_us,
            unit="µs",
            peer=f"Qiskit level 3, {name}: {figures[name]:.2f} µs",
            ratio=figures[name] / ours_us,
            reach=str(goal),
            holds=goal.met_by(ours_us),
            note=note,
        )
    if case.name in DURATION_GOALS_US:
        limit = Goal(DURATION_GOALS_US[case.name])
        yield Row(
            name=f"duration {case.name}, absolute",
            value=ours_us,
            unit="µs",
            reach=str(limit),
            holds=limit.met_by(ours_us),
            note="Padding of 16 ns at both ends is included.",
        )


def compile_time_rows(name: str, repeats: int) -> Iterator[Row]:
    """Compile time in fresh processes: empty pulse cache, then a filled one."""
    progress(f"{name}: compile time, {repeats} fresh processes of each kind")
    imports: list[float] = []

    def measured(probed: dict[str, float]) -> float:
        imports.append(probed["import_s"])
        return float(probed["seconds"])

    def qiskit() -> float:
        return float(probe("compile_qiskit", name)["seconds"])

    try:
        with empty_folder() as folder:
            # Fills the cache; also compiles what Numba has not yet compiled on this machine.
            probe("compile_ours", name, cache_dir=folder)
            cold = in_turns(lambda: measured(cold_probe("compile_ours", name)), qiskit, repeats)
            warm = in_turns(
                lambda: measured(probe("compile_ours", name, cache_dir=folder)), qiskit, repeats
            )
    except ProbeError as error:
        for state, goal_ms in (("cold", COLD_GOAL_MS), ("warm", WARM_GOAL_MS)):
            yield could_not_run(f"compile time {name}, {state} pulse cache", "ms", goal_ms, error)
        return
    import_ms = 1000.0 * float(np.median(imports))
    numba_ms = [1000.0 * float(probe("start_numba")["seconds"]) for _ in range(repeats)]
    for state, pair, limit_ms in (("cold", cold, COLD_GOAL_MS), ("warm", warm, WARM_GOAL_MS)):
        goal = Goal(limit_ms)
        yield Row(
            name=f"compile time {name}, {state} pulse cache",
            value=1000.0 * pair.ours,
            unit="ms",
            peer=f"Qiskit level-3 transpile, triangular r=2.0: {1000.0 * pair.peer:.0f} ms",
            ratio=pair.ratio,
            reach=str(goal),
            holds=goal.met_by(1000.0 * pair.ours),
            samples=tuple(1000.0 * taken for taken in pair.ours_s),
            note=(
                f"Fresh process each; imports ({import_ms:.0f} ms) not included; Numba code from "
                "disk. Qiskit makes gates; ours also solves pulses and makes a timeline."
            ),
        )
    yield Row(
        name="Numba's start alone, once per process",
        value=float(np.median(numba_ms)),
        unit="ms",
        samples=tuple(numba_ms),
        note="Reading its own registries at the first call of compiled code.",
    )


def first_compile_row(name: str) -> Row:
    """What the very first program costs on a machine where Numba has compiled nothing yet."""
    progress(f"{name}: first program on a machine")
    label = f"compile time {name}, Numba code not yet compiled"
    try:
        with empty_folder() as pulses, empty_folder() as code:
            first = probe("compile_ours", name, cache_dir=pulses, numba_dir=code)
    except ProbeError as error:
        return Row(label, None, "ms", note=f"could not run: {error}")
    return Row(label, 1000.0 * first["seconds"], "ms", note="Once per machine and version.")


def could_not_run(name: str, unit: str, limit: float, error: Exception) -> Row:
    """Return the row of something that failed to run."""
    return Row(name, None, unit, reach=str(Goal(limit)), note=f"could not run: {error}")


def bind_rows(n_qubits: int, n_layers: int, repeats: int) -> Iterator[Row]:
    """`Program.bind` of a CUDA-Q kernel with new angles in each call."""
    from benchmarks import cudaq_kernels  # noqa: PLC0415

    size = f"{n_qubits} qubits, {2 * n_layers * n_qubits} gates"
    fixed = "The entangling pulses are those of CX."
    moving = "Every CPhase has a new angle, so all its pulses are solved anew."
    for kernel, label, note in (
        (cudaq_kernels.ring, "ry and CX", fixed),
        (cudaq_kernels.phases, "rx and CPhase, new angles in all", moving),
    ):
        progress(f"bind: {size}, {label}")
        pair = bind_times(kernel, n_qubits, n_layers, repeats)
        goal = Goal(BIND_GOAL_MS)
        yield Row(
            name=f"bind, {size}, {label}",
            value=1000.0 * pair.ours,
            unit="ms",
            peer=f"compiling anew with the same angles: {1000.0 * pair.peer:.1f} ms",
            ratio=pair.ratio,
            reach=str(goal),
            holds=goal.met_by(1000.0 * pair.ours),
            samples=tuple(1000.0 * taken for taken in pair.ours_s),
            note=f"p50 of repeats with new random angles, kernel evaluated again. {note}",
        )


def bind_times(kernel: Any, n_qubits: int, n_layers: int, repeats: int) -> Pair:  # noqa: ANN401
    """Time binding new angles against placement, routing and scheduling for the same angles."""
    import cudaq_target  # noqa: PLC0415

    rng = np.random.default_rng(_SEED)

    def angles() -> list[float]:
        drawn: list[float] = rng.uniform(-np.pi, np.pi, n_layers * n_qubits).tolist()
        return drawn

    current = [angles()]
    program = cudaq_target.compile(kernel, n_qubits, n_layers, current[0])

    def bind() -> float:
        current[0] = angles()
        return seconds(lambda: program.bind(n_qubits, n_layers, current[0]))

    def compile_anew() -> float:
        return seconds(lambda: cudaq_target.compile(kernel, n_qubits, n_layers, current[0]))

    return in_turns(bind, compile_anew, repeats, warm_ups=3)
