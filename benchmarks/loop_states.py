"""Shots of a few qubits from their exact state: what a noiseless machine measures, without pulses.

A sweep of a baseline runs ten thousand loops. Here a point costs microseconds; that the embedded
emulator gives the same probabilities is a row of the benchmark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.loops.hamiltonians import matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.circuit import Circuit, Gate
    from cudaq_target.coupler.loops.interface import Point
    from cudaq_target.loops.program import Observed

    State = NDArray[np.complex128]

_ONE = np.eye(2, dtype=np.complex128)
_H = np.array([[1.0, 1.0], [1.0, -1.0]], dtype=np.complex128) / np.sqrt(2.0)
# Columns of these rows are the eigenstates: X, Y and Z measured as bits.
_BASES = {"X": _H, "Y": np.array([[1.0, -1.0j], [1.0, 1.0j]]) / np.sqrt(2.0)}
_PLAIN = {"x": matrix({"X": 1.0}), "h": _H}


class ExactShots:
    """Measures an observed kernel on its exact state.

    Attributes:
        keys: Packed shot of each outcome, shape (2^n_qubits,); bit k = qubit k.
    """

    def __init__(self, observed: Observed) -> None:
        """Prepare.

        Args:
            observed: Its kernel may hold x, h, cx and exp_pauli.
        """
        self._circuit = observed.circuit
        self._turns = [_turn(group.basis) for group in observed.groups]
        n_qubits = observed.program.n_bits
        self.keys: NDArray[np.uint64] = np.array(
            [int(f"{index:0{n_qubits}b}"[::-1], 2) for index in range(2**n_qubits)], dtype=np.uint64
        )
        self._operators: dict[tuple[object, ...], State] = {}
        self._known: dict[Point, list[NDArray[np.float64]]] = {}

    def probabilities(self, point: Point) -> list[NDArray[np.float64]]:
        """Of each outcome in each setting, shape (2^n_qubits,), qubit 0 most significant."""
        found = self._known.get(point)
        if found is None:
            state = self.state(point)
            found = [np.abs(turn @ state) ** 2 for turn in self._turns]
            self._known = {point: found}  # settings of one point come one after the other
        return found

    def state(self, point: Point) -> State:
        """The kernel's final state, shape (2^n_qubits,), qubit 0 most significant."""
        circuit = self._circuit(point)
        state = np.zeros(len(self.keys), dtype=np.complex128)
        state[0] = 1.0
        for gate in circuit.gates:
            operator = self._operator(circuit, gate)
            if gate.name == "exp_pauli":
                (angle,) = gate.params
                state = np.cos(angle) * state + 1j * np.sin(angle) * (operator @ state)
            else:
                state = operator @ state
        return state

    def rows(
        self, point: Point, setting: int, n_shots: int, rng: np.random.Generator
    ) -> NDArray[np.uint64]:
        """Draw shots.

        Returns:
            Packed shots, shape (n_shots, 1), bit k = qubit k.
        """
        steps = np.cumsum(self.probabilities(point)[setting])
        places = np.searchsorted(steps, rng.random(n_shots) * steps[-1], side="right")
        rows: NDArray[np.uint64] = self.keys[places][:, None]
        return rows

    def _operator(self, circuit: Circuit, gate: Gate) -> State:
        key = (gate.name, gate.targets, gate.controls, gate.pauli)
        if key not in self._operators:
            self._operators[key] = _operator(gate, circuit.n_qubits)
        return self._operators[key]


def _operator(gate: Gate, n_qubits: int) -> State:
    """The gate's matrix; the Pauli word itself for `exp_pauli`."""
    if gate.name == "exp_pauli":
        letters = dict(zip(gate.targets, gate.pauli, strict=True))
        return matrix({"".join(letters.get(qubit, "I") for qubit in range(n_qubits)): 1.0})
    (target,) = gate.targets
    plain = _on(n_qubits, {target: _PLAIN[gate.name]})
    if not gate.controls:
        return plain
    (control,) = gate.controls
    is_one = _on(n_qubits, {control: np.diag([0.0, 1.0]).astype(np.complex128)})
    return np.asarray(np.eye(2**n_qubits) + is_one @ (plain - np.eye(2**n_qubits)))


def _on(n_qubits: int, factors: dict[int, State]) -> State:
    return _product([factors.get(qubit, _ONE) for qubit in range(n_qubits)])


def _turn(basis: Sequence[str]) -> State:
    return _product([_BASES.get(letter, _ONE) for letter in basis])


def _product(factors: Sequence[State]) -> State:
    total = np.ones((1, 1), dtype=np.complex128)
    for factor in factors:
        total = np.kron(total, factor).astype(np.complex128)
    return total
