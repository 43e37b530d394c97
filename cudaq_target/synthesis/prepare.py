"""States given as amplitudes, written in native gates on wires in state 0."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.synthesis.one_qubit import ry
from cudaq_target.synthesis.synth import write_unitary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.synthesis.multi_control import MultiControl

    _Array = NDArray[np.complex128]

Wires = tuple[int, ...]

_ZERO: Final = 1e-13
"""Schmidt coefficients below this are zero; rounding leaves 1e-15."""


def write_state(writer: MultiControl, wires: Wires, amplitudes: _Array) -> None:
    """Turn wires in state 0 into a given state.

    A product is prepared factor by factor. A state that is little entangled along the chain of
    wires (at most two Schmidt coefficients at every cut, as GHZ and W states) needs a gate per
    neighbouring pair. Else: prepare the Schmidt coefficients on one half, copy their basis states
    to the other half, rotate both halves (arXiv:1003.5760).

    Args:
        writer: Takes the gates.
        wires: k wires, the first one most significant.
        amplitudes: Normalised, shape (2^k,).
    """
    if len(wires) == 1:
        alpha, beta = amplitudes.tolist()
        writer.merger.local(wires[0], (alpha, -beta.conjugate(), beta, alpha.conjugate()))
        return
    n_left = len(wires) // 2
    left, right = wires[:n_left], wires[n_left:]
    vectors, schmidt, duals = np.linalg.svd(amplitudes.reshape(2**n_left, -1))
    if schmidt[1] < _ZERO:
        write_state(writer, left, vectors[:, 0])
        write_state(writer, right, duals[0])
        return
    tensors = _chain_of_two(amplitudes) if len(wires) > 3 else None
    if tensors is not None:
        _write_chain(writer, wires, tensors)
        return
    if n_left == 1:
        writer.merger.local(left[0], ry(2 * math.atan2(schmidt[1], schmidt[0])))
    else:
        write_state(writer, left, schmidt.astype(np.complex128))
    for source, copy in zip(left, right[len(right) - n_left :], strict=True):
        writer.cnot(source, copy)
    write_unitary(writer, left, vectors)
    write_unitary(writer, right, duals.T)


def _chain_of_two(amplitudes: _Array) -> list[_Array] | None:
    """Return a matrix product state whose bonds have two values, or None if there is none.

    Args:
        amplitudes: Shape (2^k,).

    Returns:
        k tensors, indices (left bond, bit, right bond), shapes (1, 2, 2), (2, 2, 2), …, (2, 2, 1).
        For every left bond but the first, its slices are orthonormal.
    """
    tensors: list[_Array] = []
    rest = amplitudes.reshape(-1, 1)
    for _ in range(int(math.log2(amplitudes.size)) - 1):
        n_right = rest.shape[1]
        left, schmidt, right = np.linalg.svd(rest.reshape(-1, 2 * n_right), full_matrices=False)
        if schmidt.size > 2 and schmidt[2] >= _ZERO:
            return None
        tensors.append(right[:2].reshape(2, 2, n_right))
        rest = left[:, :2] * schmidt[:2]
    tensors.append(rest.reshape(1, 2, 2))
    return tensors[::-1]


def _write_chain(writer: MultiControl, wires: Wires, tensors: list[_Array]) -> None:
    """Write a matrix product state, each wire handing its bond to the next (quant-ph/0501096)."""
    for index, tensor in enumerate(tensors[:-1]):
        # Columns |bond, 0> of the unitary on this wire and the next; the others never act.
        columns = tensor.reshape(tensor.shape[0], 4).T
        unitary = np.zeros((4, 4), dtype=np.complex128)
        kept = [0, 2][: columns.shape[1]]
        unitary[:, kept] = columns
        unitary[:, [i for i in range(4) if i not in kept]] = _complement(columns)
        write_unitary(writer, wires[index : index + 2], unitary)
    last = tensors[-1].reshape(2, 2).T
    write_unitary(writer, wires[-1:], np.ascontiguousarray(last))


def _complement(columns: _Array) -> _Array:
    """Complete orthonormal columns, shape (d, m), to a basis; return the others, (d, d - m).

    Each is what is left of one basis state, so that sparse columns have a sparse complement and
    need few gates.
    """
    dim = columns.shape[0]
    basis = [columns[:, i] for i in range(columns.shape[1])]
    while len(basis) < dim:
        rest = np.eye(dim, dtype=np.complex128)
        for _ in range(2):  # the second round removes what rounding left in the first
            for other in basis:
                rest = rest - np.outer(other, other.conj() @ rest)
        norms = np.linalg.norm(rest, axis=0)
        # The first of those that are equal within rounding.
        best = int(np.argmax(norms > norms.max() - 1e-9))
        basis.append(rest[:, best] / norms[best])
    return np.stack(basis[columns.shape[1] :], axis=1)
