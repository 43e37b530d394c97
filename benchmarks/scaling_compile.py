"""Time to compile over gates and over qubits, warm and cold, beside Qiskit's transpiler.

Run it with `python -m benchmarks.run scaling-compile [--quick] [--json] [--output FILE]`.

Random circuits: each gate is, evenly, a random u3 on a random qubit or a CX on a random pair; over
qubits, layers of a u3 on every qubit and CZ on disjoint pairs. Warm is a process that has compiled
such circuits before, never this one; cold is the first program of a fresh process with an empty
pulse cache, imports not included. Qiskit makes {cz, u3} for a triangular lattice with coupling up
to two lattice constants, at its levels 1 and 3; ours also solves pulses and makes a timeline.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import kernels, qiskit_peer
from benchmarks.latency import rounded
from benchmarks.report import Goal, Measurement, Row, progress
from benchmarks.scaling_fit import exponent, spread_ms
from benchmarks.timing import ProbeError, cold_probe, seconds
from cudaq_target.circuit import Circuit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qiskit import QuantumCircuit

    from benchmarks.report import Section
    from cudaq_target.circuit import Gate

QUBITS, DEPTH = 10, 10
SIZES = (10, 30, 100, 300, 1000, 3000, 10_000)
LEVELS = (1, 3)
CHECKED_QUBITS, CHECKED_GATES, ERROR_GOAL = 8, 1000, 1e-9
COLD_SIZES = (10, 100, 1000, 10_000)
_LAW_FROM = 300  # below this the parts that do not grow with the circuit decide
_SEED = 3
GATES_ALONE = "The ratio is that against level 3, which makes gates, no pulses and no timeline."


def measured(quick: bool = False) -> Measurement:
    """Measure everything."""
    rng = np.random.default_rng(_SEED)
    gates = list(gate_lines((30, 300) if quick else SIZES, 2 if quick else 5, rng))
    qubits = list(qubit_lines((4, 8) if quick else (4, 8, 12, 16, 20, 24, 32, 40), 2, rng))
    cold = list(cold_lines((100,) if quick else COLD_SIZES, 1 if quick else 3))
    rows = [size_row(gates), cold_row(cold), qubits_row(qubits), error_row()]
    if not quick:
        rows[1:1] = law_rows(gates)
    sections = {"compile_gates": gates, "compile_qubits": qubits, "compile_cold": cold}
    return Measurement(tuple(rows), sections)


def random_gates(n_qubits: int, n_gates: int, rng: np.random.Generator) -> Circuit:
    """Evenly a random u3 on a random qubit, or a CX on a random pair."""
    gates: list[Gate] = []
    for is_pair in rng.random(n_gates) < 0.5:
        control, target = rng.choice(n_qubits, 2, replace=False).tolist()
        angles = rng.uniform(-math.pi, math.pi, 3).tolist()
        gates.append(kernels.cx(control, target) if is_pair else kernels.u3(target, *angles))
    return Circuit(f"random-{n_gates}", n_qubits, tuple(gates))


def to_qiskit(circuit: Circuit) -> QuantumCircuit:
    """The same gates: u3, cx and cz."""
    from qiskit import QuantumCircuit  # noqa: PLC0415

    made = QuantumCircuit(circuit.n_qubits)
    for gate in circuit.gates:
        if gate.controls:
            getattr(made, f"c{gate.name}")(gate.controls[0], gate.targets[0])
        else:
            made.u(*gate.params, gate.targets[0])
    return made


def compile_s(circuit: Circuit) -> tuple[float, int]:
    """Seconds to compile, and entangling gates of the program."""
    from cudaq_target.program import compile_circuit  # noqa: PLC0415

    found: list[int] = []
    taken = seconds(lambda: found.append(compile_circuit(circuit).stats.n_entangling))
    return taken, found[0]


def turns(circuits: Sequence[Circuit]) -> dict[str, Any]:
    """Compile circuits, and let Qiskit's levels, where it is installed, transpile each in turns."""
    ours: list[float] = []
    n_entangling: list[int] = []
    peers: dict[int, list[float]] = {level: [] for level in installed_levels()}
    for circuit in circuits:
        taken, n_pulsed = compile_s(circuit)
        ours.append(taken)
        n_entangling.append(n_pulsed)
        for level, their_s in peers.items():
            their_s.append(transpile_s(circuit, level))
    medians = {f"qiskit_{level}_ms": rounded(1e3 * median(peers[level])) for level in peers}
    return spread_ms(ours) | medians | {"entangling": int(median(n_entangling))}


def installed_levels() -> tuple[int, ...]:
    """Levels of the peer; none where it is not installed."""
    return LEVELS if find_spec("qiskit") else ()


def transpile_s(circuit: Circuit, level: int) -> float:
    """Seconds of the peer for the same gates."""
    import qiskit  # noqa: PLC0415
    from qiskit.transpiler import CouplingMap  # noqa: PLC0415

    given = to_qiskit(circuit)
    pairs = CouplingMap(qiskit_peer.edges(qiskit_peer.COLUMNS[-1], circuit.n_qubits))
    return seconds(
        lambda: qiskit.transpile(
            given,
            basis_gates=["cz", "u3"],
            optimization_level=level,
            seed_transpiler=_SEED,
            coupling_map=pairs,
        )
    )


def gate_lines(
    sizes: Sequence[int], repeats: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Random circuits over the number of gates."""
    warm_up(QUBITS, rng)
    for n_gates in sizes:
        progress(f"compile, {QUBITS} qubits, {n_gates} gates")
        n = repeats if n_gates < 3000 else 2
        circuits = [random_gates(QUBITS, n_gates, rng) for _ in range(n)]
        yield {"n": QUBITS, "gates": n_gates} | turns(circuits)


def qubit_lines(
    sizes: Sequence[int], repeats: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Layers over the number of qubits."""
    for n in sizes:
        progress(f"compile, {n} qubits, depth {DEPTH}")
        # From here on the peer takes seconds.
        seeds = rng.integers(1 << 30, size=repeats if n < 16 else 1).tolist()
        circuits = [kernels.random_layers(n, DEPTH, seed) for seed in seeds]
        yield {"n": n, "gates": len(circuits[0].gates)} | turns(circuits)


def warm_up(n_qubits: int, rng: np.random.Generator) -> None:
    """Load compiled code, and solve the pulses that such circuits share."""
    for n_gates in (30, 300):
        turns([random_gates(n_qubits, n_gates, rng)])


def cold_lines(sizes: Sequence[int], repeats: int) -> Iterator[dict[str, Any]]:
    """The first program of a process, with an empty pulse cache."""
    for n_gates in sizes:
        progress(f"compile, cold, {n_gates} gates")
        line: dict[str, Any] = {"n": QUBITS, "gates": n_gates}
        try:
            taken = [
                cold_probe("compile_random", str(QUBITS), str(n_gates))["seconds"]
                for _ in range(repeats)
            ]
        except ProbeError as error:
            yield line | {"failure": str(error)}
            continue
        yield line | spread_ms(taken)


def size_row(lines: Section) -> Row:
    """The largest circuit."""
    last = lines[-1]
    note = f"{last['entangling']} entangling gates are left of about {last['gates'] // 2}."
    return Row(
        name=f"compile time, {last['gates']} random gates on {last['n']} qubits, warm",
        value=last["median_ms"],
        unit="ms",
        note=f"{note} {GATES_ALONE}",
        **against_qiskit(last),
    )


def against_qiskit(line: dict[str, Any]) -> dict[str, Any]:
    """Peer and ratio of a row, where Qiskit is installed."""
    levels = installed_levels()
    if not levels:
        return {}
    each = ", ".join(f"level {k} {line[f'qiskit_{k}_ms']:.4g} ms" for k in levels)
    ratio = line[f"qiskit_{levels[-1]}_ms"] / line["median_ms"]
    return {"peer": f"Qiskit transpile, gates alone: {each}", "ratio": ratio}


def law_rows(lines: Section) -> list[Row]:
    """Exponents of ours and the peer's over the number of gates."""
    large = [line for line in lines if line["gates"] >= _LAW_FROM]
    sizes = [line["gates"] for line in large]

    def law(key: str) -> float:
        return exponent(sizes, [line[key] for line in large])

    peers = [f"level {level} {law(f'qiskit_{level}_ms'):.2f}" for level in installed_levels()]
    return [
        Row(
            name=f"compile time, exponent over gates, {sizes[0]} to {sizes[-1]}",
            value=law("median_ms"),
            unit="1",
            peer=f"Qiskit transpile: {', '.join(peers)}" if peers else None,
            note="Of the power law that fits best; 1 is time in proportion to the gates.",
        )
    ]


def cold_row(lines: Section) -> Row:
    """The largest circuit as the first one of a process."""
    last = lines[-1]
    name = f"compile time, {last['gates']} random gates on {last['n']} qubits, cold"
    if "failure" in last:
        return Row(name, None, "ms", note=f"could not run: {last['failure']}")
    each = ", ".join(f"{line['gates']}: {line.get('median_ms', math.nan):.4g} ms" for line in lines)
    note = f"First program of a process, empty pulse cache, Numba code from disk. By gates: {each}."
    return Row(name, last["median_ms"], "ms", note=note)


def qubits_row(lines: Section) -> Row:
    """The most qubits, and the exponent over them."""
    last = lines[-1]
    growth = exponent([line["n"] for line in lines], [line["median_ms"] for line in lines])
    return Row(
        name=f"compile time, {last['n']} qubits, depth {DEPTH}, warm",
        value=last["median_ms"],
        unit="ms",
        note=(
            f"{last['gates']} gates; time grows as n^{growth:.2f} from {lines[0]['n']} qubits on, "
            f"where the gates themselves grow as n. {GATES_ALONE}"
        ),
        **against_qiskit(last),
    )


def error_row(n_gates: int = CHECKED_GATES) -> Row:
    """A long program still is the circuit: its emulated pulses against NumPy's ideal gates."""
    from cudaq_target.machines.local import LocalMachine  # noqa: PLC0415
    from cudaq_target.program import compile_circuit  # noqa: PLC0415
    from tests.target.simulate import state_of  # noqa: PLC0415

    circuit = random_gates(CHECKED_QUBITS, n_gates, np.random.default_rng(_SEED))
    found = LocalMachine().state(compile_circuit(circuit).timeline)
    error = abs(1.0 - abs(np.vdot(state_of(circuit), found)) ** 2)
    goal = Goal(ERROR_GOAL)
    return Row(
        name=f"state error after {n_gates} random gates on {CHECKED_QUBITS} qubits",
        value=float(error),
        unit="1 - F",
        peer="NumPy, ideal gates",
        reach=str(goal),
        holds=goal.met_by(float(error)),
        is_correctness=True,
    )
