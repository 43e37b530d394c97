"""Two-qubit unitaries: how many CPhases they need, and which.

U = e^{iγ}·(K1⊗K1')·exp(i(a·XX + b·YY + c·ZZ))·(K2⊗K2'), one CPhase for each coordinate that is not
zero (arXiv:quant-ph/0011050). The decomposition is Qiskit's: `import qiskit.synthesis` takes about
0.2 s on top of NumPy, one decomposition 10 µs, so it is loaded only for unitaries that need it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.synthesis.merge import Local, Pair, WireOp
from cudaq_target.synthesis.one_qubit import Matrix2, dagger, phase_gate

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ZERO_RAD: Final = 1e-12
"""Weyl coordinates below this are zero; rounding leaves 1e-15."""

_MAGIC: Final = np.array(
    [[1, 1j, 0, 0], [0, 0, 1j, 1], [0, 0, 1j, -1], [1, -1j, 0, 0]], dtype=np.complex128
) * math.sqrt(0.5)
"""Basis in which local unitaries are real (arXiv:quant-ph/0011050, Eq. 3)."""

_SWAP: Final = np.array(
    [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.complex128
)

_H: Final[Matrix2] = (math.sqrt(0.5), math.sqrt(0.5), math.sqrt(0.5), -math.sqrt(0.5))
_H_THEN_S: Final[Matrix2] = (_H[0], _H[1], 1j * _H[2], 1j * _H[3])
_Z_AXIS_TO: Final = (_H, _H_THEN_S, phase_gate(0.0))
"""Turns Z into X, Y and Z."""


def coordinates(unitary: NDArray[np.complex128]) -> tuple[float, float, float]:
    """Return the Weyl coordinates up to order and sign, each in [0, π/4].

    Args:
        unitary: Shape (4, 4).

    Returns:
        Coordinates (rad), falling.

    >>> [round(x, 12) for x in coordinates(np.diag([1, 1, 1, -1]).astype(complex))]
    [0.785398163397, 0.0, 0.0]
    """
    in_magic = _MAGIC.conj().T @ unitary @ _MAGIC
    in_magic /= np.linalg.det(in_magic) ** 0.25
    angles = np.angle(np.linalg.eigvals(in_magic.T @ in_magic)) / 2
    angles[3] = -angles[:3].sum()
    folded = np.mod((angles[:3] + angles[3]) / 2, math.pi / 2)
    a, b, c = np.sort(np.minimum(folded, math.pi / 2 - folded))[::-1]
    return float(a), float(b), float(c)


def n_entangling(unitary: NDArray[np.complex128]) -> tuple[int, int]:
    """Count the CPhases that a unitary needs, as it is and with its outputs exchanged.

    Args:
        unitary: Shape (4, 4).

    Returns:
        Both counts, 0 to 3.
    """
    angles = coordinates(unitary)
    direct = sum(angle > _ZERO_RAD for angle in angles)
    # Exchanging the outputs adds π/4 to every coordinate.
    exchanged = sum(math.pi / 4 - angle > _ZERO_RAD for angle in angles)
    return direct, exchanged


def exchange_outputs(unitary: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return SWAP·U, shape (4, 4)."""
    return np.asarray(_SWAP @ unitary, dtype=np.complex128)


def decompose(
    unitary: NDArray[np.complex128], first: int, second: int
) -> tuple[list[WireOp], float]:
    """Write a two-qubit unitary with one CPhase per non-zero Weyl coordinate.

    Args:
        unitary: Shape (4, 4); `first` is the more significant wire.
        first: A wire.
        second: Another wire.

    Returns:
        Gates in order, and the global phase γ (rad): unitary = e^{iγ}·gates.
    """
    # Only here: the import takes about 0.2 s, and most circuits never come here.
    from qiskit.synthesis import TwoQubitWeylDecomposition  # noqa: PLC0415

    # With a fidelity Qiskit would round to special classes at 1e-9.
    weyl = TwoQubitWeylDecomposition(unitary, fidelity=None)
    ops: list[WireOp] = [Local(first, _entries(weyl.K2l)), Local(second, _entries(weyl.K2r))]
    phase = float(weyl.global_phase)
    a, b = min(first, second), max(first, second)
    for angle, from_z in zip((weyl.a, weyl.b, weyl.c), _Z_AXIS_TO, strict=True):
        if abs(angle) <= _ZERO_RAD:
            continue
        to_z = dagger(from_z)
        diagonal = phase_gate(-2 * angle)
        ops += [Local(first, to_z), Local(second, to_z), Pair(a, b, 4 * angle)]
        ops += [Local(wire, m) for wire in (first, second) for m in (diagonal, from_z)]
        phase += angle
    ops += [Local(first, _entries(weyl.K1l)), Local(second, _entries(weyl.K1r))]
    return ops, phase


def _entries(matrix: NDArray[np.complex128]) -> Matrix2:
    a, b, c, d = matrix.ravel().tolist()
    return (a, b, c, d)
