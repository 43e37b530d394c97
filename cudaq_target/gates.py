"""Matrices of the gates of a circuit, in CUDA-Q's conventions.

The first target is the most significant bit of a row or column index. Formulas are those of
CUDA-Q's Quake dialect (operation descriptions of `u2`, `u3`, `phased_rx`, `r1`), phases included:
`rz(a)` is diag(exp(-ia/2), exp(ia/2)), `r1(a)` is diag(1, exp(ia)) and `exp_pauli(a, P)` is
exp(+iaP). A controlled gate controls exactly this matrix, so that these phases are observable.
States then agree with `cudaq.get_state`, global phase included, with one exception: CUDA-Q's
simulators drop the phase of an `exp_pauli` whose word has only the letter I.
"""

from __future__ import annotations

import cmath
import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from cudaq_target.circuit import Gate

    _Matrix = NDArray[np.complex128]

_SQRT_HALF: Final = math.sqrt(0.5)

_FIXED: Final[Mapping[str, tuple[tuple[complex, ...], ...]]] = {
    "h": ((_SQRT_HALF, _SQRT_HALF), (_SQRT_HALF, -_SQRT_HALF)),
    "x": ((0, 1), (1, 0)),
    "y": ((0, -1j), (1j, 0)),
    "z": ((1, 0), (0, -1)),
    "s": ((1, 0), (0, 1j)),
    "t": ((1, 0), (0, cmath.exp(0.25j * math.pi))),
    "swap": ((1, 0, 0, 0), (0, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, 1)),
}

_PAULI: Final[Mapping[str, tuple[tuple[complex, ...], ...]]] = {
    "I": ((1, 0), (0, 1)),
    "X": _FIXED["x"],
    "Y": _FIXED["y"],
    "Z": _FIXED["z"],
}


def _u3(theta_rad: float, phi_rad: float, lambda_rad: float) -> list[list[complex]]:
    cos, sin = math.cos(theta_rad / 2), math.sin(theta_rad / 2)
    return [
        [cos, -cmath.exp(1j * lambda_rad) * sin],
        [cmath.exp(1j * phi_rad) * sin, cmath.exp(1j * (lambda_rad + phi_rad)) * cos],
    ]


def _phased_rx(theta_rad: float, phi_rad: float) -> list[list[complex]]:
    cos, sin = math.cos(theta_rad / 2), math.sin(theta_rad / 2)
    return [
        [cos, -1j * cmath.exp(-1j * phi_rad) * sin],
        [-1j * cmath.exp(1j * phi_rad) * sin, cos],
    ]


def _rx(angle_rad: float) -> list[list[complex]]:
    cos, sin = math.cos(angle_rad / 2), math.sin(angle_rad / 2)
    return [[cos, -1j * sin], [-1j * sin, cos]]


def _ry(angle_rad: float) -> list[list[complex]]:
    cos, sin = math.cos(angle_rad / 2), math.sin(angle_rad / 2)
    return [[cos, -sin], [sin, cos]]


_ROTATIONS: Final[Mapping[str, Callable[..., list[list[complex]]]]] = {
    "r1": lambda angle: [[1, 0], [0, cmath.exp(1j * angle)]],
    "rx": _rx,
    "ry": _ry,
    "rz": lambda angle: [[cmath.exp(-0.5j * angle), 0], [0, cmath.exp(0.5j * angle)]],
    "u2": lambda phi, lam: _u3(math.pi / 2, phi, lam),
    "u3": _u3,
    "phased_rx": _phased_rx,
}

GATE_NAMES: Final = frozenset(_FIXED) | frozenset(_ROTATIONS) | {"exp_pauli", "unitary"}
"""Names for which `matrix` has an answer."""


def pauli_product(letters: str) -> _Matrix:
    """Return the tensor product of Pauli matrices.

    Args:
        letters: Letters `IXYZ`, the first one for the most significant qubit.

    Returns:
        Complex array, shape (2^len(letters), 2^len(letters)).

    >>> pauli_product("ZX").real.astype(int).tolist()
    [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, -1, 0]]
    """
    product: _Matrix = np.eye(1, dtype=np.complex128)
    for letter in letters:
        factor = np.array(_PAULI[letter], dtype=np.complex128)
        product = np.kron(product, factor).astype(np.complex128, copy=False)
    return product


def _exp_pauli(angle_rad: float, letters: str) -> _Matrix:
    identity = np.eye(2 ** len(letters), dtype=np.complex128)
    rotated = math.cos(angle_rad) * identity + 1j * math.sin(angle_rad) * pauli_product(letters)
    return np.asarray(rotated, dtype=np.complex128)


def one_qubit_rows(name: str, params: tuple[float, ...]) -> Sequence[Sequence[complex]]:
    """Return the two rows of a named one-qubit gate without building an array.

    Args:
        name: A name of `GATE_NAMES` with one target, other than `exp_pauli` and `unitary`.
        params: Its angles (rad).

    Raises:
        KeyError: There is no such gate.
    """
    return _FIXED[name] if name in _FIXED else _ROTATIONS[name](*params)


def matrix(gate: Gate) -> _Matrix:
    """Return what a gate does to its targets when every control is 1.

    Args:
        gate: Any gate but `prepare`, which is no unitary.

    Returns:
        Complex array, shape (2^k, 2^k), k targets, the first one most significant.

    Raises:
        KeyError: `gate.name` is not in `GATE_NAMES`.

    >>> from cudaq_target.circuit import Gate
    >>> from cudaq_target.errors import Source
    >>> matrix(Gate("s", (0,), Source("demo"), adjoint=True))[1, 1] == -1j
    np.True_
    """
    if gate.name == "exp_pauli":
        result = _exp_pauli(gate.params[0], gate.pauli)
    elif gate.name == "unitary" and gate.matrix is not None:
        result = np.asarray(gate.matrix, dtype=np.complex128)
    elif gate.name in _FIXED:
        result = np.array(_FIXED[gate.name], dtype=np.complex128)
    else:
        result = np.array(_ROTATIONS[gate.name](*gate.params), dtype=np.complex128)
    return result.conj().T.copy() if gate.adjoint else result


def controlled(unitary_on_targets: _Matrix, n_controls: int) -> _Matrix:
    """Add control qubits, which become the most significant ones.

    Args:
        unitary_on_targets: Complex array, shape (d, d).
        n_controls: How many qubits must be 1 for the unitary to act.

    Returns:
        Complex array, shape (d·2^n_controls, d·2^n_controls).

    >>> controlled(np.array([[0, 1], [1, 0]], dtype=complex), 1).real[2:, 2:].tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    dim = unitary_on_targets.shape[0]
    result = np.eye(dim * 2**n_controls, dtype=np.complex128)
    result[-dim:, -dim:] = unitary_on_targets
    return result


def unitary(gate: Gate) -> _Matrix:
    """Return what a gate does to its controls and targets, in this order.

    Args:
        gate: Any gate but `prepare`.

    Returns:
        Complex array, shape (2^(c+k), 2^(c+k)), c controls, k targets; the first control is
        most significant.

    Raises:
        KeyError: `gate.name` is not in `GATE_NAMES`.
    """
    return controlled(matrix(gate), len(gate.controls))
