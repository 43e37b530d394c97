"""Unitaries given as arrays, written in native gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.synthesis import weyl

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cudaq_target.synthesis.multi_control import MultiControl
    from cudaq_target.synthesis.one_qubit import Matrix2

    _Array = NDArray[np.complex128]

Wires = tuple[int, ...]

_ZERO: Final = 1e-13
"""Matrix elements below this are zero; rounding leaves 1e-15."""


def is_diagonal(unitary: _Array) -> bool:
    """Tell whether a matrix, shape (d, d), has nothing off its diagonal."""
    return bool(np.abs(unitary - np.diag(np.diag(unitary))).max() < _ZERO)


def write_unitary(writer: MultiControl, wires: Wires, unitary: _Array) -> None:
    """Write a unitary given as a matrix.

    One wire: one gate. Two: at most three CPhases. More: quantum Shannon decomposition
    (arXiv:quant-ph/0406176) by Qiskit.

    Args:
        writer: Takes the gates.
        wires: k wires, the first one most significant.
        unitary: Shape (2^k, 2^k).
    """
    if is_diagonal(unitary):
        write_diagonal(writer, (), wires, np.angle(np.diag(unitary)))
    elif len(wires) == 1:
        writer.merger.local(wires[0], entries(unitary))
    elif len(wires) == 2:
        ops, phase = weyl.decompose(unitary, *wires)
        writer.merger.phase += phase
        for op in ops:
            writer.merger.add(op)
    else:
        _write_shannon(writer, wires, unitary)


def _write_shannon(writer: MultiControl, wires: Wires, unitary: _Array) -> None:
    # Only here: the import takes about 0.2 s, and most circuits never come here. The synthesis
    # takes 3 / 8 / 30 ms for 3 / 4 / 5 qubits.
    from qiskit.quantum_info import Operator  # noqa: PLC0415
    from qiskit.synthesis import qs_decomposition  # noqa: PLC0415

    circuit = qs_decomposition(unitary)
    writer.merger.phase += float(circuit.global_phase)
    for instruction in circuit.data:
        # Qiskit counts qubits from the least significant one.
        on = [wires[-1 - circuit.find_bit(qubit).index] for qubit in instruction.qubits]
        if instruction.operation.name == "cx":
            writer.cnot(on[0], on[1])
        else:
            matrix = np.asarray(Operator(instruction.operation).data)
            write_unitary(writer, tuple(reversed(on)), matrix)


def write_controlled_unitary(
    writer: MultiControl, controls: Wires, wires: Wires, unitary: _Array
) -> None:
    """Write a unitary that acts where all controls are 1.

    With U = W·D·W†, D diagonal, only D needs the controls.

    Args:
        writer: Takes the gates.
        controls: Any number of wires.
        wires: k wires, the first one most significant.
        unitary: Shape (2^k, 2^k).
    """
    if not controls:
        write_unitary(writer, wires, unitary)
        return
    if len(wires) == 1:
        writer.gate(controls, wires[0], entries(unitary))
        return
    if is_diagonal(unitary):
        write_diagonal(writer, controls, wires, np.angle(np.diag(unitary)))
        return
    from scipy.linalg import schur  # noqa: PLC0415

    # The Schur form of a normal matrix is diagonal, with orthonormal vectors also where
    # eigenvalues coincide.
    triangular, vectors = schur(unitary, output="complex")
    write_unitary(writer, wires, vectors.conj().T)
    write_diagonal(writer, controls, wires, np.angle(np.diag(triangular)))
    write_unitary(writer, wires, vectors)


def write_diagonal(
    writer: MultiControl, controls: Wires, wires: Wires, phases: NDArray[np.float64]
) -> None:
    """Write diag(e^{iφ}), where all controls are 1.

    A phase function is a sum of parities. The parities that contain a wire are formed on it, in
    the order of a Gray code; with no controls the last wire serves as one, so that each parity is
    one CPhase.

    Args:
        writer: Takes the gates.
        controls: Any number of wires.
        wires: k wires, the first one most significant.
        phases: φ (rad), shape (2^k,).
    """
    writer.phase(controls, float(phases[0]))
    relative = np.asarray(phases - phases[0])
    if controls or len(wires) == 1:
        _walk_parities(
            writer, wires, relative, lambda wire, angle: writer.phase((*controls, wire), angle)
        )
        return
    low, high = relative[0::2], relative[1::2]
    target = wires[-1]
    writer.phase((target,), float(high[0] - low[0]))
    _walk_parities(
        writer,
        wires[:-1],
        (high - low) - (high[0] - low[0]),
        lambda wire, angle: writer.phase((wire, target), angle),
    )
    write_diagonal(writer, (), wires[:-1], low)


def _walk_parities(
    writer: MultiControl,
    wires: Wires,
    values: NDArray[np.float64],
    add: Callable[[int, float], None],
) -> None:
    """Call add(wire, angle) with every parity on a wire in turn, so that the angles sum to values.

    f(x) = Σ_s a_s·(s·x mod 2) with a_s = -2^{1-k}·Σ_x f(x)·(-1)^{s·x}, for f(0) = 0.
    """
    n_wires = len(wires)
    angles = -(2.0 ** (1 - n_wires)) * _walsh(values)
    for top, wire in enumerate(wires):
        # Parities whose last wire is this one, the earlier wires as in a Gray code.
        previous = 0
        for step in range(2**top):
            code = step ^ (step >> 1)
            _toggle(writer, wires, previous ^ code, wire)
            previous = code
            mask = sum(1 << (n_wires - 1 - i) for i in range(top) if code >> i & 1)
            add(wire, float(angles[mask | 1 << (n_wires - 1 - top)]))
        _toggle(writer, wires, previous, wire)


def _toggle(writer: MultiControl, wires: Wires, bits: int, target: int) -> None:
    for index, wire in enumerate(wires):
        if bits >> index & 1:
            writer.cnot(wire, target)


def _walsh(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Σ_x f(x)·(-1)^{s·x} for all s, shape (2^k,)."""
    result = np.array(values, dtype=np.float64)
    stride = 1
    while stride < result.size:
        pairs = result.reshape(-1, 2, stride)
        result = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).ravel()
        stride *= 2
    return result


def entries(unitary: _Array) -> Matrix2:
    """Return a 2x2 array as a tuple."""
    a, b, c, d = unitary.ravel().tolist()
    return (a, b, c, d)
