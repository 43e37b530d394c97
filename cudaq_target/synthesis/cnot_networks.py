"""Networks of CNOTs, written with fewer of them where we find a shorter one.

A network of CNOTs adds bits to bits: a matrix over GF(2), one row per qubit. Many networks that
people write hide a short one; the all-to-all layer of a hardware-efficient ansatz, n(n-1)/2 CNOTs,
is a chain of n-1. A permutation that is left over costs nothing here, since SWAPs are relabelled.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from cudaq_target.circuit import Gate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.errors import Source

Cnot = tuple[int, int]
"""(control, target)"""


def with_shorter_networks(gates: Sequence[Gate]) -> tuple[Gate, ...] | None:
    """Replace networks of CNOTs that can be shorter.

    Args:
        gates: In program order.

    Returns:
        Gates that do the same, SWAPs among them; None if nothing gets shorter.
    """
    if sum(map(_is_cnot, gates)) < 3:
        return None
    all_qubits = {q for gate in gates for q in (*gate.controls, *gate.targets)}
    result: list[Gate] = []
    shortened = False
    rest = list(gates)
    while rest:
        network, front, rest = _split_off(rest, all_qubits)
        shorter = _shorter(network)
        shortened = shortened or shorter is not None
        result += front
        result += network if shorter is None else shorter
    return tuple(result) if shortened else None


def _split_off(
    gates: list[Gate], all_qubits: set[int]
) -> tuple[list[Gate], list[Gate], list[Gate]]:
    """Return the first network, what comes before it and what comes behind it.

    A gate that shares qubits with nothing that comes behind may still join the network (CNOT,
    SWAP), or go before it if it shares none with the network either.
    """
    network: list[Gate] = []
    front: list[Gate] = []
    behind: list[Gate] = []
    inside: set[int] = set()
    blocked: set[int] = set()
    for position, gate in enumerate(gates):
        if blocked == all_qubits:
            behind += gates[position:]
            break
        qubits = {*gate.controls, *gate.targets}
        joins = _is_cnot(gate) or (gate.name == "swap" and not gate.controls)
        if not blocked.isdisjoint(qubits) or not (joins or inside.isdisjoint(qubits)):
            behind.append(gate)
            blocked |= qubits
        elif joins:
            network.append(gate)
            inside |= qubits
        else:
            front.append(gate)
    return network, front, behind


def _is_cnot(gate: Gate) -> bool:
    return gate.name == "x" and len(gate.controls) == 1


def _shorter(network: Sequence[Gate]) -> list[Gate] | None:
    """Return gates that do the same as a network with fewer CNOTs, if we find them."""
    n_before = sum(map(_is_cnot, network))
    if n_before < 3:
        return None
    qubits = sorted({q for gate in network for q in (*gate.controls, *gate.targets)})
    index = {qubit: i for i, qubit in enumerate(qubits)}
    rows = [1 << i for i in range(len(qubits))]
    for gate in network:
        if gate.name == "swap":
            a, b = (index[q] for q in gate.targets)
            rows[a], rows[b] = rows[b], rows[a]
        else:
            rows[index[gate.targets[0]]] ^= rows[index[gate.controls[0]]]
    reduced = _reduced(tuple(rows))
    if reduced is None or len(reduced[0]) >= n_before:
        return None
    cnots, source_of = reduced
    where = network[0].source
    # The reduction undoes the network, so the network is the permutation, then the CNOTs reversed.
    gates = _permutation(source_of, qubits, where)
    gates += [Gate("x", (qubits[t],), where, controls=(qubits[c],)) for c, t in reversed(cnots)]
    return gates


def reduce_to_permutation(rows: Sequence[int]) -> tuple[list[Cnot], list[int]] | None:
    """Find CNOTs that turn a matrix over GF(2) into a permutation, greedily.

    Each step takes the row addition after which the matrix and its inverse have the fewest ones
    (as arXiv:2201.06508 does).

    Args:
        rows: Invertible; bit j of row i is set where input j adds to output i.

    Returns:
        CNOTs in the order in which they act on the matrix, and for each row the input that is
        left in it; None if greed gets stuck.

    >>> reduce_to_permutation([0b001, 0b011, 0b111])
    ([(1, 2), (0, 1)], [0, 1, 2])
    """
    n_rows = len(rows)
    matrix, inverse = list(rows), _inverse_transposed(rows)
    cnots: list[Cnot] = []
    while any(row.bit_count() > 1 for row in matrix):
        best, chosen = 0, (-1, -1)
        for control in range(n_rows):
            for target in range(n_rows):
                if control == target:
                    continue
                gain = (
                    matrix[target].bit_count()
                    - (matrix[target] ^ matrix[control]).bit_count()
                    + inverse[control].bit_count()
                    - (inverse[control] ^ inverse[target]).bit_count()
                )
                if gain > best:
                    best, chosen = gain, (control, target)
        if best == 0:
            return None
        control, target = chosen
        matrix[target] ^= matrix[control]
        inverse[control] ^= inverse[target]
        cnots.append(chosen)
    return cnots, [row.bit_length() - 1 for row in matrix]


# A loop that binds new angles to a kernel meets the same networks again and again.
_reduced = lru_cache(maxsize=1024)(reduce_to_permutation)


def _inverse_transposed(rows: Sequence[int]) -> list[int]:
    """Return the rows of the transposed inverse of an invertible matrix over GF(2)."""
    n_rows = len(rows)
    left, right = list(rows), [1 << i for i in range(n_rows)]
    for column in range(n_rows):
        pivot = next(r for r in range(column, n_rows) if left[r] >> column & 1)
        left[column], left[pivot] = left[pivot], left[column]
        right[column], right[pivot] = right[pivot], right[column]
        for row in range(n_rows):
            if row != column and left[row] >> column & 1:
                left[row] ^= left[column]
                right[row] ^= right[column]
    return [sum((right[i] >> j & 1) << i for i in range(n_rows)) for j in range(n_rows)]


def _permutation(source_of: list[int], qubits: list[int], where: Source) -> list[Gate]:
    """Return SWAPs after which qubit i holds what qubit source_of[i] held."""
    gates: list[Gate] = []
    held = list(range(len(source_of)))
    for position, source in enumerate(source_of):
        other = held.index(source)
        if other != position:
            held[position], held[other] = held[other], held[position]
            gates.append(Gate("swap", (qubits[position], qubits[other]), where))
    return gates
