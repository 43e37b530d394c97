"""A plain simulation of circuits, the oracle for what a circuit means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target import gates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.circuit import Circuit


def state_of(circuit: Circuit) -> NDArray[np.complex128]:
    """Return the state before any measurement.

    Args:
        circuit: Any circuit; a `prepare` gate acts on qubits in state 0.

    Returns:
        Complex, shape (2^n,), qubit 0 most significant.
    """
    n_qubits = circuit.n_qubits
    state = np.zeros((2,) * n_qubits, dtype=np.complex128)
    state.flat[0] = 1.0
    for gate in circuit.gates:
        qubits = gate.controls + gate.targets
        if gate.name == "prepare":
            matrix = np.zeros((gate.amplitudes.size,) * 2, dtype=np.complex128)
            matrix[:, 0] = gate.amplitudes
        else:
            matrix = gates.unitary(gate)
        axes = (2,) * len(qubits)
        tensor = matrix.reshape(axes + axes)
        state = np.tensordot(tensor, state, axes=(range(len(qubits), 2 * len(qubits)), qubits))
        state = np.moveaxis(state, range(len(qubits)), qubits)
    return state.reshape(-1)


def cudaq_order(state: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return a state with qubit 0 least significant, as `cudaq.get_state` has it."""
    n_qubits = state.size.bit_length() - 1
    return state.reshape((2,) * n_qubits).transpose().reshape(-1)


def probabilities(circuit: Circuit, qubits: tuple[int, ...]) -> dict[str, float]:
    """Return the probability of each outcome of some qubits, first qubit leftmost."""
    weights = np.abs(state_of(circuit).reshape((2,) * circuit.n_qubits)) ** 2
    found: dict[str, float] = {}
    for outcome in np.ndindex(weights.shape):
        word = "".join(str(outcome[qubit]) for qubit in qubits)
        found[word] = found.get(word, 0.0) + float(weights[outcome])
    return found
