"""Qiskit circuits as input of the lowering, to compare with Qiskit's compiler on equal terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.circuit import Circuit, Gate
from cudaq_target.errors import Source

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

# name in Qiskit: (our name, number of controls, adjoint)
_NAMES: Final[dict[str, tuple[str, int, bool]]] = {
    "h": ("h", 0, False),
    "x": ("x", 0, False),
    "y": ("y", 0, False),
    "z": ("z", 0, False),
    "s": ("s", 0, False),
    "sdg": ("s", 0, True),
    "t": ("t", 0, False),
    "tdg": ("t", 0, True),
    "p": ("r1", 0, False),
    "rx": ("rx", 0, False),
    "ry": ("ry", 0, False),
    "rz": ("rz", 0, False),
    "u": ("u3", 0, False),
    "swap": ("swap", 0, False),
    "cx": ("x", 1, False),
    "cy": ("y", 1, False),
    "cz": ("z", 1, False),
    "ch": ("h", 1, False),
    "cp": ("r1", 1, False),
    "crx": ("rx", 1, False),
    "cry": ("ry", 1, False),
    "crz": ("rz", 1, False),
    "ccx": ("x", 2, False),
    "ccz": ("z", 2, False),
    "cswap": ("swap", 1, False),
    "mcphase": ("r1", -1, False),
    "mcx": ("x", -1, False),
}

_PAULIS: Final = {"rxx": "XX", "ryy": "YY", "rzz": "ZZ"}


def from_qiskit(circuit: QuantumCircuit) -> Circuit:
    """Convert a circuit without measurements; gates without a name here are decomposed.

    Args:
        circuit: Qubit 0 becomes our qubit 0 (the most significant one).

    Returns:
        The same unitary, up to a global phase and the order of qubits.
    """
    gates: list[Gate] = []
    _append(circuit, tuple(range(circuit.num_qubits)), gates, Source(circuit.name))
    return Circuit(circuit.name, circuit.num_qubits, tuple(gates))


def _append(
    circuit: QuantumCircuit, qubits: tuple[int, ...], gates: list[Gate], source: Source
) -> None:
    for instruction in circuit.data:
        operation = instruction.operation
        on = tuple(qubits[circuit.find_bit(bit).index] for bit in instruction.qubits)
        open_controls = getattr(operation, "ctrl_state", None)
        all_ones = open_controls is None or open_controls == 2**operation.num_ctrl_qubits - 1
        params = tuple(float(p) for p in operation.params if np.isscalar(p))
        if operation.name == "barrier":
            continue
        if operation.name in _NAMES and all_ones:
            name, n_controls, adjoint = _NAMES[operation.name]
            n_controls = len(on) - 1 if n_controls < 0 else n_controls
            gates.append(
                Gate(
                    name,
                    on[n_controls:],
                    source,
                    controls=on[:n_controls],
                    params=params,
                    adjoint=adjoint,
                )
            )
        elif operation.name in _PAULIS:
            pauli = _PAULIS[operation.name]
            gates.append(Gate("exp_pauli", on, source, params=(-params[0] / 2,), pauli=pauli))
        else:
            _append(operation.definition, on, gates, source)
