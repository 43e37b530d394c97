"""What must be measured in a process of its own: cold caches, other CUDA-Q targets.

    python -m benchmarks.probes NAME [ARGUMENT …]

prints one line of JSON. `import_s` is what imports cost before the clock starts, `seconds` what was
measured.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from cudaq_target.circuit import Circuit

SHOTS = 1000
SEED = 7


def compile_ours(name: str) -> dict[str, Any]:
    """Lower one benchmark circuit, pulses solved or read from the cache."""
    start = perf_counter()
    from cudaq_target import compiler, device, program  # noqa: PLC0415, F401

    rules = device.resolve()
    imported = perf_counter() - start
    circuit = _mqt_circuit(name)
    start = perf_counter()
    made = program.compile_circuit(circuit, rules)
    took = perf_counter() - start
    return {"import_s": imported, "seconds": took, "duration_ns": made.stats.duration_ns}


def start_numba() -> dict[str, Any]:
    """Let Numba read its registries, which it does once per process, at the first compiled call."""
    start = perf_counter()
    from numba.core.registry import cpu_target  # noqa: PLC0415

    imported = perf_counter() - start
    start = perf_counter()
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
    return {"import_s": imported, "seconds": perf_counter() - start}


def compile_qiskit(name: str) -> dict[str, Any]:
    """Transpile the same circuit with Qiskit level 3 for the triangular lattice, r = 2.0."""
    start = perf_counter()
    import qiskit.transpiler  # noqa: PLC0415, F401

    imported = perf_counter() - start
    from benchmarks import circuits, qiskit_peer  # noqa: PLC0415

    entry = circuits.case(name)
    circuit = circuits.circuit(entry)
    pairs = qiskit_peer.edges(qiskit_peer.COLUMNS[-1], entry.n_qubits)
    start = perf_counter()
    qiskit_peer.transpile(circuit, pairs, 0)
    return {"import_s": imported, "seconds": perf_counter() - start}


def run_ours(name: str) -> dict[str, Any]:
    """Lower a digital circuit, emulate it and take shots."""
    start = perf_counter()
    import numpy as np  # noqa: PLC0415

    from cudaq_target import device, program  # noqa: PLC0415
    from cudaq_target.machines.local import LocalMachine  # noqa: PLC0415

    rules, machine = device.resolve(), LocalMachine()
    rng = np.random.default_rng(SEED)
    imported = perf_counter() - start
    circuit = digital_circuit(name)
    start = perf_counter()
    made = program.compile_circuit(circuit, rules)
    compiled = perf_counter() - start
    machine.sample(made.timeline, SHOTS, noise=None, rng=rng)
    took = perf_counter() - start
    return {"import_s": imported, "seconds": took, "compile_s": compiled}


def run_qutip(name: str) -> dict[str, Any]:
    """Run the Sequence of the same program through QutipBackendV2 with default tolerances."""
    start = perf_counter()
    from pulser.backend import BitStrings  # noqa: PLC0415
    from pulser_simulation import QutipBackendV2, QutipConfig  # noqa: PLC0415

    from cudaq_target import device, program  # noqa: PLC0415

    imported = perf_counter() - start
    # The default observables fail on sequences with Raman and Rydberg pulses.
    shots = BitStrings(evaluation_times=[1.0], num_shots=SHOTS, one_state="h")
    config, rules = QutipConfig(observables=[shots]), device.resolve()
    warm_up = program.compile_circuit(digital_circuit("ghz-2"), rules)
    QutipBackendV2(warm_up.sequence, config=config).run()
    sequence = program.compile_circuit(digital_circuit(name), rules).sequence
    start = perf_counter()
    QutipBackendV2(sequence, config=config).run()
    return {"import_s": imported, "seconds": perf_counter() - start}


def run_numpy(name: str) -> dict[str, Any]:
    """Apply the ideal gates by one NumPy contraction each, without taking shots."""
    start = perf_counter()
    from tests.target.simulate import state_of  # noqa: PLC0415

    imported = perf_counter() - start
    circuit = digital_circuit(name)
    start = perf_counter()
    state_of(circuit)
    return {"import_s": imported, "seconds": perf_counter() - start}


def ghz_in_process(name: str) -> dict[str, Any]:
    """Compile, solve and emulate with loaded code and empty caches.

    The warm-up, three atoms 7 µm apart, loads Numba's code from disk and shares no pulse, no plan
    and no block with what is measured.
    """
    start = perf_counter()
    import numpy as np  # noqa: PLC0415

    from benchmarks import kernels  # noqa: PLC0415
    from cudaq_target import device, program  # noqa: PLC0415
    from cudaq_target.machines.local import LocalMachine  # noqa: PLC0415

    rules, machine = device.resolve(), LocalMachine()
    rng = np.random.default_rng(SEED)
    imported = perf_counter() - start
    far = np.array([[-7.0, 0.0], [0.0, 0.0], [7.0, 0.0]])
    other = program.compile_circuit(kernels.ghz(3), rules, layout=far)
    machine.sample(other.timeline, SHOTS, noise=None, rng=rng)
    circuit = digital_circuit(name)
    start = perf_counter()
    made = program.compile_circuit(circuit, rules)
    machine.sample(made.timeline, SHOTS, noise=None, rng=rng)
    took = perf_counter() - start
    again = perf_counter()
    machine.sample(made.timeline, SHOTS, noise=None, rng=rng)
    return {"import_s": imported, "seconds": took, "emulation_warm_s": perf_counter() - again}


def run_qpp(name: str) -> dict[str, Any]:
    """Sample the ideal gates on CUDA-Q's qpp-cpu."""
    start = perf_counter()
    import cudaq  # noqa: PLC0415

    from benchmarks import kernels  # noqa: PLC0415

    cudaq.set_target("qpp-cpu")
    imported = perf_counter() - start
    kernel = kernels.to_cudaq(digital_circuit(name))
    start = perf_counter()
    cudaq.sample(kernel, shots_count=SHOTS)
    return {"import_s": imported, "seconds": perf_counter() - start}


def sample_calls(repeats: str) -> dict[str, Any]:
    """Time `cudaq.sample` on both targets and the emulation inside, in turns.

    Blocks of ten calls on each target: changing the target is not what is measured.
    """
    start = perf_counter()
    import cudaq  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    from benchmarks import cudaq_kernels, kernels  # noqa: PLC0415
    from cudaq_target import device, program  # noqa: PLC0415
    from cudaq_target.machines.local import LocalMachine  # noqa: PLC0415

    imported = perf_counter() - start
    rng, machine = np.random.default_rng(SEED), LocalMachine()
    n_qubits, n_layers = 5, 10
    angles: list[float] = rng.uniform(-np.pi, np.pi, n_qubits * n_layers).tolist()
    made = program.compile_circuit(kernels.ring(n_qubits, angles), device.resolve())

    def call(values: list[float]) -> None:
        cudaq.sample(cudaq_kernels.ring, n_qubits, n_layers, values, shots_count=SHOTS)

    def emulate() -> None:
        machine.sample(made.timeline, SHOTS, noise=None, rng=rng)

    def changed() -> None:
        call(rng.uniform(-np.pi, np.pi, n_qubits * n_layers).tolist())

    runs = {"same": lambda: call(angles), "changed": changed, "emulation": emulate}
    taken: dict[str, list[float]] = {name: [] for name in (*runs, "qpp")}
    for block in range(int(repeats) + 1):
        cudaq.set_target("pasqal", seed=SEED)
        for name, run in runs.items():
            run()
            taken[name] += _ten(run) if block else []
        cudaq.set_target("qpp-cpu")
        call(angles)
        taken["qpp"] += _ten(lambda: call(angles)) if block else []
    return {"import_s": imported, "seconds": float(np.median(taken["same"])), **taken}


def _ten(run: Callable[[], None]) -> list[float]:
    from benchmarks.timing import seconds  # noqa: PLC0415

    return [seconds(run) for _ in range(10)]


def accuracy(which: str, quick: str) -> dict[str, Any]:
    """Collect errors of lowered kernels: `corpus`, `inputs`, `large` or `qutip`."""
    from benchmarks import accuracy as errors  # noqa: PLC0415
    from benchmarks import circuits  # noqa: PLC0415

    is_quick = quick == "quick"
    start = perf_counter()
    if which == "corpus":
        found = errors.corpus_errors(6 if is_quick else None)
    elif which == "inputs":
        names = circuits.QUICK if is_quick else tuple(case.name for case in circuits.CASES)
        found = errors.input_errors(names, 1 if is_quick else 3)
    elif which == "large":
        found = errors.large_errors(is_quick)
    else:
        found = errors.qutip_errors(is_quick)
    errors_found = [(one.case, one.infidelity) for one in found]
    return {"import_s": 0.0, "seconds": perf_counter() - start, "errors": errors_found}


def compile_random(n_qubits: str, n_gates: str) -> dict[str, Any]:
    """Lower random gates as the first program of a process."""
    start = perf_counter()
    import numpy as np  # noqa: PLC0415

    from benchmarks import scaling_compile  # noqa: PLC0415
    from cudaq_target import compiler, device, program  # noqa: PLC0415, F401

    device.resolve()
    imported = perf_counter() - start
    rng = np.random.default_rng(SEED)
    circuit = scaling_compile.random_gates(int(n_qubits), int(n_gates), rng)
    return {"import_s": imported, "seconds": scaling_compile.compile_s(circuit)[0]}


def peak_memory(kind: str, n: str) -> dict[str, Any]:
    """Measure the memory of an emulation."""
    from benchmarks import scaling_emulator  # noqa: PLC0415

    return {"import_s": 0.0} | scaling_emulator.peak_memory(kind, int(n))


def digital_circuit(name: str) -> Circuit:
    """Build `ghz-N`, or `random-N`: ten layers on N qubits."""
    from benchmarks import kernels  # noqa: PLC0415

    kind, _, n_qubits = name.partition("-")
    n = int(n_qubits)
    return kernels.ghz(n) if kind == "ghz" else kernels.random_layers(n, 10)


def _mqt_circuit(name: str) -> Circuit:
    from benchmarks import circuits, kernels, qiskit_input  # noqa: PLC0415

    # On |0…0> a QFT is a layer of H; the random input keeps the whole circuit.
    plain = qiskit_input.from_qiskit(circuits.circuit(circuits.case(name)))
    return kernels.generic_input(plain)


PROBES: dict[str, Callable[..., dict[str, Any]]] = {
    probe.__name__: probe
    for probe in (
        accuracy,
        compile_ours,
        compile_qiskit,
        compile_random,
        ghz_in_process,
        peak_memory,
        run_ours,
        run_numpy,
        run_qpp,
        run_qutip,
        sample_calls,
        start_numba,
    )
}


def main(arguments: list[str]) -> int:
    """Run the probe that the first argument names on the rest."""
    print(json.dumps(PROBES[arguments[0]](*arguments[1:])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
