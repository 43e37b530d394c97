"""The gates of a kernel, written as one-qubit gates, CPhases and CCZs on wires."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.errors import UnsupportedKernelError
from cudaq_target.gates import matrix as matrix_of
from cudaq_target.synthesis import synth
from cudaq_target.synthesis.multi_control import MultiControl
from cudaq_target.synthesis.one_qubit import Matrix2, dagger, named, phase_gate, rz
from cudaq_target.synthesis.prepare import write_state
from cudaq_target.synthesis.uncompute import Style, flip_styles
from cudaq_target.synthesis.weyl import exchange_outputs, n_entangling

if TYPE_CHECKING:
    from cudaq_target.circuit import Circuit, Gate
    from cudaq_target.synthesis.merge import Merger

_H: Final[Matrix2] = (math.sqrt(0.5), math.sqrt(0.5), math.sqrt(0.5), -math.sqrt(0.5))
_Z_AXIS_TO: Final[dict[str, Matrix2]] = {
    "X": _H,
    "Y": (_H[0], _H[1], 1j * _H[2], 1j * _H[3]),
}
"""Turns Z into the Pauli matrix of this name."""

Wires = tuple[int, ...]


class Unroller:
    """Writes gates on qubits into a merger of gates on wires.

    A SWAP without controls exchanges two names and writes nothing.

    Attributes:
        wire_of: Wire that now holds each qubit.
    """

    def __init__(self, merger: Merger, n_qubits: int, *, ccz: bool) -> None:
        """Start with every qubit on the wire of its own number.

        Args:
            merger: Takes the gates.
            n_qubits: Number of qubits.
            ccz: CCZ is a native gate.
        """
        self.wire_of = list(range(n_qubits))
        self._merger = merger
        self._writer = MultiControl(merger, ccz=ccz)

    def circuit(self, circuit: Circuit) -> None:
        """Append all gates of a circuit."""
        styles = flip_styles(circuit.gates)
        for index, gate in enumerate(circuit.gates):
            style = styles.get(index)
            if style is None:
                self.gate(gate)
            else:
                self._flip(gate, style)

    def gate(self, gate: Gate) -> None:
        """Append one gate.

        Raises:
            UnsupportedKernelError: A state preparation with controls or adjoint.
        """
        controls = tuple([self.wire_of[q] for q in gate.controls])
        targets = tuple([self.wire_of[q] for q in gate.targets])
        match gate.name:
            case "swap":
                self._swap(gate, controls, targets)
            case "exp_pauli":
                angle = -gate.params[0] if gate.adjoint else gate.params[0]
                self._exp_pauli(controls, targets, angle, gate.pauli)
            case "unitary":
                self._unitary(gate, controls, targets)
            case "prepare":
                self._prepare(gate, targets)
            case "x" if len(controls) == 1:
                self._writer.cnot(controls[0], targets[0])
            case _:
                self._writer.gate(controls, targets[0], named(gate))

    def _flip(self, gate: Gate, style: Style) -> None:
        # Sorted, so that the second of a pair undoes the first whatever order the user wrote.
        controls = tuple([self.wire_of[q] for q in sorted(gate.controls)])
        target = self.wire_of[gate.targets[0]]
        write = self._writer.relative_flip if style.relative else self._writer.flip
        write(controls, target, inverse=style.inverse)

    def _swap(self, gate: Gate, controls: Wires, targets: Wires) -> None:
        first, second = targets
        if not controls:
            a, b = gate.targets
            self.wire_of[a], self.wire_of[b] = second, first
            return
        self._writer.cnot(second, first)
        self._writer.gate((*controls, first), second, (0.0, 1.0, 1.0, 0.0))
        self._writer.cnot(second, first)

    def _exp_pauli(self, controls: Wires, targets: Wires, angle: float, pauli: str) -> None:
        """Write exp(i·angle·P): the parity of all wires but one is formed on the last one."""
        active = [(w, p) for w, p in zip(targets, pauli, strict=True) if p != "I"]
        if not active:
            self._writer.phase(controls, angle)
            return
        turned = [(wire, _Z_AXIS_TO[letter]) for wire, letter in active if letter != "Z"]
        for wire, basis in turned:
            self._merger.local(wire, dagger(basis))
        *others, last = [wire for wire, _ in active]
        partner = others.pop() if others and not controls else None
        for wire in others:
            self._writer.cnot(wire, last)
        if partner is None:
            self._writer.gate(controls, last, rz(-2 * angle))
        else:
            self._merger.phase += angle
            self._merger.pair(partner, last, 4 * angle)
            self._merger.local(partner, phase_gate(-2 * angle))
            self._merger.local(last, phase_gate(-2 * angle))
        for wire in reversed(others):
            self._writer.cnot(wire, last)
        for wire, basis in turned:
            self._merger.local(wire, basis)

    def _unitary(self, gate: Gate, controls: Wires, targets: Wires) -> None:
        # The nearest unitary: users round their matrices.
        left, _, right = np.linalg.svd(matrix_of(gate))
        unitary = left @ right
        if len(targets) == 2 and not controls:
            direct, exchanged = n_entangling(unitary)
            if exchanged < direct:
                synth.write_unitary(self._writer, targets, exchange_outputs(unitary))
                self._swap(gate, controls, targets)
                return
        synth.write_controlled_unitary(self._writer, controls, targets, unitary)

    def _prepare(self, gate: Gate, targets: Wires) -> None:
        if gate.controls or gate.adjoint or gate.amplitudes is None:
            raise UnsupportedKernelError(
                source=gate.source,
                construct="state preparation from amplitudes inside cudaq.control or cudaq.adjoint",
                reason="it is defined on qubits in state 0 only and is no unitary",
                remedy="Prepare the state outside, or register it as a unitary "
                "with cudaq.register_operation.",
            )
        amplitudes = np.asarray(gate.amplitudes, dtype=np.complex128)
        write_state(self._writer, targets, amplitudes / np.linalg.norm(amplitudes))
