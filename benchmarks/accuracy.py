"""Errors of lowered kernels: against the ideal kernel, and against pulser-simulation.

The error of a state is 1 - |<ideal|ψ>|², leakage included. Kernels are compared from |0…0>, where a
kernel starts; the circuits of the compile benchmark also on random product states, which no rule of
the compiler can foresee.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import circuits, kernels, qiskit_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from qiskit import QuantumCircuit

    from cudaq_target.circuit import Circuit, Gate
    from cudaq_target.program import Program

    State = NDArray[np.complex128]

# Tight enough that the integrator's error is below what is compared.
QUTIP_RTOL, QUTIP_ATOL = 1e-10, 1e-12


@dataclass(frozen=True, slots=True)
class Error:
    """1 - F of one case."""

    case: str
    infidelity: float


def infidelity(ideal: State, state: State) -> float:
    """Return |1 - |<ideal|state>|²|; the ideal state is normalised."""
    return float(abs(1.0 - abs(np.vdot(ideal, state)) ** 2))


def compiled_state(
    circuit: Circuit, sites: Sequence[tuple[float, float]] | None = None
) -> tuple[Program, State]:
    """Lower a circuit for the default device, on sites (µm) if any, and emulate its pulses."""
    from cudaq_target.machines.local import LocalMachine  # noqa: PLC0415
    from cudaq_target.program import compile_circuit  # noqa: PLC0415

    program = compile_circuit(circuit, layout=sites)
    return program, LocalMachine().state(program.timeline)


def corpus_errors(limit: int | None = None) -> Iterator[Error]:
    """Compare the test corpus's kernels with CUDA-Q's qpp-cpu.

    Kernels that measure have no state in CUDA-Q; they are compared with the product of their traced
    gates' matrices.

    Args:
        limit: Number of cases, spread over the corpus; None for all.
    """
    import cudaq  # noqa: PLC0415

    from cudaq_target.launch.kernels import bind  # noqa: PLC0415
    from cudaq_target.target import Pasqal, Session  # noqa: PLC0415
    from tests.target.corpus import CASES  # noqa: PLC0415
    from tests.target.simulate import cudaq_order, state_of  # noqa: PLC0415

    cudaq.set_target("qpp-cpu")
    session = Session(Pasqal())
    step = 1 if limit is None else max(1, len(CASES) // limit)
    for case in CASES[::step]:
        arguments = case.make_args()
        bound = bind(session, case.kernel, arguments)
        if case.measured or case.returns:
            ideal = state_of(bound.circuit)
        else:
            ideal = cudaq_order(np.array(cudaq.get_state(case.kernel, *arguments)))
        yield Error(case.name, infidelity(ideal, bound.state()))


def input_errors(names: tuple[str, ...], n_inputs: int) -> Iterator[Error]:
    """Compare benchmark circuits on random product states with Qiskit's state vector."""
    for name in names:
        circuit = circuits.circuit(circuits.case(name))
        ours = qiskit_input.from_qiskit(circuit)
        for seed in range(n_inputs):
            full = kernels.generic_input(ours, seed)
            head = full.gates[: ours.n_qubits]
            state = compiled_state(full)[1]
            yield Error(f"{name}, input {seed}", infidelity(qiskit_state(circuit, head), state))


def large_errors(quick: bool) -> Iterator[Error]:
    """Compare a large random circuit with one NumPy contraction per gate."""
    from tests.target.simulate import state_of  # noqa: PLC0415

    circuit = kernels.random_layers(12 if quick else 20, 10)
    yield Error(circuit.kernel, infidelity(state_of(circuit), compiled_state(circuit)[1]))


def qiskit_state(circuit: QuantumCircuit, head: Sequence[Gate]) -> State:
    """Return Qiskit's state of one-qubit gates followed by a circuit, qubit 0 most significant."""
    from qiskit.quantum_info import Statevector  # noqa: PLC0415

    vector: State = Statevector(on_input(circuit, head)).reverse_qargs().data
    return vector


def on_input(circuit: QuantumCircuit, head: Sequence[Gate]) -> QuantumCircuit:
    """Return a Qiskit circuit of u3 gates followed by a circuit."""
    from qiskit import QuantumCircuit  # noqa: PLC0415

    whole = QuantumCircuit(circuit.num_qubits)
    for gate in head:
        whole.u(*gate.params, gate.targets[0])
    whole.compose(circuit, inplace=True)
    return whole


def qutip_circuits(quick: bool) -> list[Circuit]:
    """Return circuits small enough for pulser-simulation (3^n levels)."""
    rng = np.random.default_rng(kernels.SEED)
    small = [kernels.ghz(2), kernels.ghz(3), kernels.random_layers(3, 4)]
    if quick:
        return small
    angles = rng.uniform(-np.pi, np.pi, 8).tolist()
    more = [kernels.ghz(4), kernels.ghz(5), kernels.random_layers(4, 10), kernels.ring(4, angles)]
    grover = qiskit_input.from_qiskit(circuits.circuit(circuits.case("grover-4")))
    return [*small, *more, kernels.generic_input(grover)]


def qutip_errors(quick: bool) -> Iterator[Error]:
    """Compare the embedded emulator with pulser-simulation on the same pulses."""
    from cudaq_target.machines.qutip import QutipMachine  # noqa: PLC0415

    oracle = QutipMachine(rtol=QUTIP_RTOL, atol=QUTIP_ATOL)
    for circuit in qutip_circuits(quick):
        program, state = compiled_state(circuit)
        expected = oracle.state(program.timeline)
        error = infidelity(expected / np.linalg.norm(expected), state)
        yield Error(circuit.kernel, error)
