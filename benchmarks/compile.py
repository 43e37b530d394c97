"""How good and how fast is the lowering: gate counts, sequence durations, compile times.

Run it with `python -m benchmarks.run compile [--quick] [--json] [--output FILE]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import accuracy, circuits, kernels, qiskit_input, qiskit_peer, qmap_peer
from benchmarks.report import Goal, Row, progress
from benchmarks.timing import ProbeError, cold_probe, empty_folder, in_turns, probe, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qiskit import QuantumCircuit

    from benchmarks.qiskit_peer import Transpiled
    from benchmarks.timing import Pair
    from cudaq_target.circuit import Circuit
    from cudaq_target.program import Program

DURATION_GOALS_US = {"qft-6": 8.0, "qft-8": 14.0, "qft-10": 24.0}
TIMED_CIRCUIT = "qft-10"
COLD_GOAL_MS, WARM_GOAL_MS, BIND_GOAL_MS = 2000.0, 300.0, 10.0
BIND_QUBITS, BIND_LAYERS = 10, 5
RADII = (1.0, 1.5)
ERROR_GOAL = 1e-9
# What ours has, the peer, and how the names of the rows begin and end.
TALLIES = (
    ("fewer entangling gates", "best Qiskit column", "entangling gates ", ""),
    ("fewer entangling gates than mqt.qmap", "mqt.qmap", "entangling gates ", "mqt.qmap"),
    ("the shorter sequence", "best Qiskit column", "duration ", ""),
    (
        "the shorter sequence, best schedule",
        "best schedule of Qiskit",
        "duration ",
        "best schedule",
    ),
)
_SEED = 11


def rows(quick: bool = False) -> Iterator[Row]:
    """Measure everything, one row at a time."""
    names = (*circuits.QUICK, *circuits.QUICK_MORE) if quick else ()
    found: list[Row] = []
    for case in (*circuits.CASES, *circuits.MORE):
        if not names or case.name in names:
            progress(f"{case.name}: counts and durations")
            found += circuit_rows(case, n_seeds=1 if quick else None)
    yield from found
    yield from tally_rows(found)
    yield from compile_time_rows(TIMED_CIRCUIT, repeats=1 if quick else 7, warm_too=not quick)
    if not quick:
        yield first_compile_row(TIMED_CIRCUIT)
    yield from bind_rows(BIND_QUBITS, BIND_LAYERS, repeats=5 if quick else 200)


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """One benchmark circuit as the compiler lowers it for `DigitalAnalogDevice`.

    Attributes:
        case: The circuit's name and size.
        plain: The circuit.
        given: What is lowered: a random u3 on every qubit, then the circuit, so that the whole
            unitary has to be played, as Qiskit does it.
        program: The program of `given`.
        from_zero: The program of a kernel, which starts in |0…0>: the compiler drops what acts on
            a known state, and a QFT becomes a layer of H.
    """

    case: circuits.Case
    plain: QuantumCircuit
    given: Circuit
    program: Program
    from_zero: Program

    @property
    def has_goal(self) -> bool:
        """Whether the project set goals for this circuit."""
        return self.case not in circuits.MORE


def lowered(case: circuits.Case) -> Lowered:
    """Lower a benchmark circuit in both ways."""
    from cudaq_target.program import compile_circuit  # noqa: PLC0415

    plain = circuits.circuit(case)
    ours = qiskit_input.from_qiskit(plain)
    given = kernels.generic_input(ours)
    return Lowered(case, plain, given, compile_circuit(given), compile_circuit(ours))


def circuit_rows(case: circuits.Case, n_seeds: int | None = None) -> Iterator[Row]:
    """Compare count and duration of one circuit with the columns of Qiskit and mqt.qmap."""
    one = lowered(case)
    columns = [qiskit_peer.best(one.plain, column, n_seeds) for column in qiskit_peer.COLUMNS]
    yield count_row(one, columns)
    if qmap_peer.is_installed():
        yield qmap_row(one)
    yield from duration_rows(one, columns)
    if min(shortest_us(columns).values()) <= one.program.stats.duration_ns / 1000.0:
        yield same_input_row(one, n_seeds)
    yield state_row(one)


def count_row(one: Lowered, columns: Sequence[Transpiled]) -> Row:
    """Entangling blocks against the fewest CZ of any Qiskit column."""
    ours = one.program.stats.n_entangling
    fewest = min(columns, key=lambda made: made.n_cz)
    goal = Goal(fewest.n_cz, of="best Qiskit column") if one.has_goal else None
    every = ", ".join(f"{made.column.name} {made.n_cz}" for made in columns)
    peer = f"Qiskit level 3, {fewest.column.name}: {fewest.n_cz}"
    return Row(
        name=f"entangling gates {one.case.name}",
        value=ours,
        unit="gates",
        peer=f"{peer} ({winner(ours, fewest.n_cz)})",
        ratio=fewest.n_cz / ours,
        reach=str(goal) if goal else None,
        holds=goal.met_by(ours) if goal else None,
        note=(
            f"CZ per Qiskit column: {every}. Ours: CPhase and CCZ, of these {n_ccz(one.program)} "
            f"CCZ, SWAPs included; as a kernel on |0…0> {one.from_zero.stats.n_entangling}."
        ),
    )


def winner(ours: float, peer: float) -> str:
    """Say who needs less."""
    if ours == peer:
        return "a tie"
    return "ours wins" if ours < peer else "the peer wins"


def n_ccz(program: Program) -> int:
    """Count three-atom gates."""
    from cudaq_target.native_ops import CCZ  # noqa: PLC0415

    assert program.lowered is not None
    return sum(isinstance(op, CCZ) for op in program.lowered.native.ops)


def qmap_row(one: Lowered) -> Row:
    """Entangling blocks against the hybrid mapper's CZ + 3·SWAP; informs only."""
    counts = {r: qmap_peer.fewest_cz(one.plain, r) for r in RADII}
    radius = min(RADII, key=lambda r: counts[r])
    ours = one.program.stats.n_entangling
    peer = f"mqt.qmap hybrid mapper, r={radius:g}: {counts[radius]}"
    return Row(
        name=f"entangling gates {one.case.name}, mqt.qmap",
        value=ours,
        unit="gates",
        peer=f"{peer} ({winner(ours, counts[radius])})",
        ratio=counts[radius] / ours,
        note="; ".join(f"r={r:g}: {n}" for r, n in counts.items()),
    )


def shortest_us(columns: Sequence[Transpiled]) -> dict[str, float]:
    """Shortest duration of each column with sites, over seeds and choices of the control (µs)."""
    return {
        made.column.name: made.shortest_ns / 1000.0
        for made in columns
        if made.shortest_ns is not None
    }


def duration_rows(one: Lowered, columns: Sequence[Transpiled]) -> Iterator[Row]:
    """Sequence duration against the shortest Qiskit column, and against the absolute goal."""
    ours_us = one.program.stats.duration_ns / 1000.0
    shortest = shortest_us(columns)
    by_rule = {
        made.column.name: made.duration_ns / 1000.0
        for made in columns
        if made.duration_ns is not None
    }
    every = ", ".join(f"{name} {by_rule[name]:.2f} ({shortest[name]:.2f})" for name in by_rule)
    note = (
        f"µs per Qiskit column (shortest of all seeds and control choices): {every}. Ours as a "
        f"kernel on |0…0>: {one.from_zero.stats.duration_ns / 1000.0:.2f} µs."
    )
    for label, figures in (("", by_rule), (", best schedule", shortest)):
        name = min(figures, key=lambda key: figures[key])
        goal = Goal(figures[name], strict=True, of="best Qiskit column") if one.has_goal else None
        peer = f"Qiskit level 3, {name}: {figures[name]:.2f} µs"
        yield Row(
            name=f"duration {one.case.name}{label}",
            value=ours_us,
            unit="µs",
            peer=f"{peer} ({winner(ours_us, figures[name])})",
            ratio=figures[name] / ours_us,
            reach=str(goal) if goal else None,
            holds=goal.met_by(ours_us) if goal else None,
            note=note,
        )
    if one.case.name in DURATION_GOALS_US:
        limit = Goal(DURATION_GOALS_US[one.case.name])
        yield Row(
            name=f"duration {one.case.name}, absolute",
            value=ours_us,
            unit="µs",
            reach=str(limit),
            holds=limit.met_by(ours_us),
            note="Padding of 16 ns at both ends is included.",
        )


def same_input_row(one: Lowered, n_seeds: int | None = None) -> Row:
    """Where Qiskit's sequence is not longer: what it is on our random input, which costs pulses."""
    with_input = accuracy.on_input(one.plain, one.given.gates[: one.case.n_qubits])
    placed = [column for column in qiskit_peer.COLUMNS if column.radius is not None]
    figures = shortest_us([qiskit_peer.best(with_input, column, n_seeds) for column in placed])
    name = min(figures, key=lambda key: figures[key])
    ours_us = one.program.stats.duration_ns / 1000.0
    peer = f"Qiskit level 3, {name}: {figures[name]:.2f} µs"
    return Row(
        name=f"duration {one.case.name}, both on the random input",
        value=ours_us,
        unit="µs",
        peer=f"{peer} ({winner(ours_us, figures[name])})",
        ratio=figures[name] / ours_us,
        note="Elsewhere the peer gets the bare circuit. Shortest of seeds and control choices.",
    )


def state_row(one: Lowered) -> Row:
    """Emulate the pulses of both programs; a state other than Qiskit's is a wrong result."""
    from cudaq_target.machines.local import LocalMachine  # noqa: PLC0415

    machine, goal = LocalMachine(), Goal(ERROR_GOAL)
    head = one.given.gates[: one.case.n_qubits]
    errors = [
        accuracy.infidelity(
            accuracy.qiskit_state(one.plain, ahead), machine.state(program.timeline)
        )
        for ahead, program in ((head, one.program), ((), one.from_zero))
    ]
    return Row(
        name=f"state error {one.case.name}",
        value=max(errors),
        unit="1 - F",
        peer="Qiskit Statevector",
        reach=str(goal),
        holds=goal.met_by(max(errors)),
        note=f"Emulated pulses: on the random input {errors[0]:.1e}, on |0…0> {errors[1]:.1e}.",
        is_correctness=True,
    )


def tally_rows(found: Sequence[Row]) -> Iterator[Row]:
    """Count the circuits on which ours wins, ties and loses, by what is compared."""
    for what, peer, begins, ends in TALLIES:
        ratios = [
            row.ratio
            for row in found
            if row.ratio is not None and row.name.startswith(begins) and ends == _ending(row.name)
        ]
        wins, ties = sum(r > 1.0 for r in ratios), ratios.count(1.0)
        if ratios:
            yield Row(
                name=f"circuits on which ours has {what}",
                value=wins,
                unit=f"of {len(ratios)}",
                peer=f"{peer}: {len(ratios) - wins - ties}, a tie on {ties}",
            )


def _ending(name: str) -> str:
    return name.partition(", ")[2]


def compile_time_rows(name: str, repeats: int, *, warm_too: bool = True) -> Iterator[Row]:
    """Compile time in fresh processes: empty pulse cache, then a filled one."""
    progress(f"{name}: compile time, {repeats} fresh processes of each kind")
    limits_ms = {"cold": COLD_GOAL_MS} | ({"warm": WARM_GOAL_MS} if warm_too else {})
    imports: list[float] = []

    def measured(probed: dict[str, float]) -> float:
        imports.append(probed["import_s"])
        return float(probed["seconds"])

    def qiskit() -> float:
        return float(probe("compile_qiskit", name)["seconds"])

    try:
        with empty_folder() as folder:
            if warm_too:
                # Fills the cache; also compiles what Numba has not yet compiled on this machine.
                probe("compile_ours", name, cache_dir=folder)
            ways = {
                "cold": lambda: measured(cold_probe("compile_ours", name)),
                "warm": lambda: measured(probe("compile_ours", name, cache_dir=folder)),
            }
            pairs = {state: in_turns(ways[state], qiskit, repeats) for state in limits_ms}
    except ProbeError as error:
        for state, goal_ms in limits_ms.items():
            yield could_not_run(f"compile time {name}, {state} pulse cache", "ms", goal_ms, error)
        return
    import_ms = 1000.0 * float(np.median(imports))
    for state, pair in pairs.items():
        goal = Goal(limits_ms[state])
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
    if warm_too:
        yield numba_row(repeats)


def numba_row(repeats: int) -> Row:
    """What Numba's own start is of the time of every first program."""
    numba_ms = [1000.0 * float(probe("start_numba")["seconds"]) for _ in range(repeats)]
    return Row(
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
