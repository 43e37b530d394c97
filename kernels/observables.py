"""Observables that are functions of the measured bits: one value per shot, or their mean.

A qubit measured as 0 has Z = +1, as 1 has Z = -1. Costs are made to be minimised. Terms (edges,
weights, masks, matrices) lie on the host; results lie where the shots lie. For a stream, see
`kernels.streams`; every value lies within the bounds given by the `..._bounds` functions, which is
what intervals need.

Sums of real weights agree between back ends to `n_terms * 2^-52 * (|constant| + sum |weights|)`:
they add the same terms in different orders. Counts are exact. All of the work is proportional to
n_shots times the number of qubits in all terms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cudaq_target.kernels.arguments import (
    check_integer,
    check_number,
    check_pairs,
    check_reals,
    check_vector,
    host_array,
)
from cudaq_target.kernels.backends import Backend, implementation
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.packed import check_shots, check_terms

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Words = NDArray[np.uint64]
    Counts = NDArray[np.int64]
    Reals = NDArray[np.float64]


class MisCosts(NamedTuple):
    """How far shots are from independent sets.

    Attributes:
        sizes: Ones, shape (n_shots,).
        violations: Edges of which both ends are 1, shape (n_shots,).
    """

    sizes: NDArray[np.int64]
    violations: NDArray[np.int64]

    def costs(self, penalty: float) -> NDArray[np.float64]:
        """Return `penalty * violations - sizes`, shape (n_shots,).

        For penalty > 1 the minimum is a maximum independent set.

        Raises:
            KernelInputError: The penalty is not finite.
        """
        weight = check_number(penalty, "penalty")
        return np.asarray(weight * self.violations - self.sizes, dtype=np.float64)


def ising_energies(
    shots: Words,
    n_bits: int,
    edges: ArrayLike,
    weights: ArrayLike,
    fields: ArrayLike | None = None,
    constant: float = 0.0,
    *,
    backend: Backend = "auto",
) -> Reals:
    """Compute constant + sum_e weights[e] Z_i Z_j + sum_k fields[k] Z_k of each shot.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Qubits per shot.
        edges: Pairs (i, j) of different qubits; repeated ones add up; shape (n_edges, 2).
        weights: Energy of each edge, any unit, shape (n_edges,).
        fields: Energy of each qubit, same unit, shape (n_bits,); none when left out.
        constant: Same unit.
        backend: Where to compute.

    Returns:
        Energies in that unit, shape (n_shots,).

    Raises:
        KernelInputError: No shots, an edge to a missing qubit or to itself, a number that is not
            finite, shapes that do not fit.
        BackendUnavailableError: The back end does not run here.

    >>> ising_energies(np.array([[0], [1]], dtype=np.uint64), 2, [(0, 1)], [2.0], [0.5, 0.0])
    array([ 2.5, -2.5])
    """
    check_shots(shots, n_bits)
    pairs = check_pairs(edges, n_bits, "edges")
    couplings = check_reals(weights, (len(pairs),), "weights")
    local = np.zeros(n_bits) if fields is None else check_reals(fields, (n_bits,), "fields")
    start = check_number(constant, "constant")
    kernels = implementation("observables", backend, shots)
    energies: Reals = kernels.ising_energies(shots, n_bits, pairs, couplings, local, start)
    return energies


def pauli_z_values(
    shots: Words,
    n_bits: int,
    masks: Words,
    weights: ArrayLike,
    constant: float = 0.0,
    *,
    backend: Backend = "auto",
) -> Reals:
    """Compute constant + sum_t weights[t] prod_{k in masks[t]} Z_k of each shot.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Qubits per shot.
        masks: The qubits of each term, packed as shots are, shape (n_terms, ceil(n_bits / 64));
            an empty mask is the identity.
        weights: Of each term, any unit, shape (n_terms,).
        constant: Same unit.
        backend: Where to compute.

    Returns:
        Values in that unit, shape (n_shots,).

    Raises:
        KernelInputError: No shots, a term on a missing qubit, a number that is not finite, shapes
            that do not fit.
        BackendUnavailableError: The back end does not run here.

    >>> shots = np.array([[0b011], [0b001]], dtype=np.uint64)
    >>> pauli_z_values(shots, 3, np.array([[0b111], [0b010]], dtype=np.uint64), [1.0, 0.25])
    array([ 0.75, -0.75])
    """
    check_shots(shots, n_bits)
    check_masks(masks, n_bits)
    real = check_reals(weights, (len(masks),), "weights")
    start = check_number(constant, "constant")
    kernels = implementation("observables", backend, shots)
    values: Reals = kernels.pauli_z_values(shots, n_bits, masks, real, start)
    return values


def pauli_z_expectation(
    shots: Words, n_bits: int, masks: Words, *, backend: Backend = "auto"
) -> Reals:
    """Average each product of Z over the shots; exact, as counts are.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Qubits per shot.
        masks: The qubits of each term, shape (n_terms, ceil(n_bits / 64)).
        backend: Where to compute.

    Returns:
        Means in [-1, 1], shape (n_terms,).

    Raises:
        KernelInputError: No shots, or a term on a missing qubit.
        BackendUnavailableError: The back end does not run here.

    >>> shots = np.array([[0b11], [0b01], [0b00], [0b11]], dtype=np.uint64)
    >>> pauli_z_expectation(shots, 2, np.array([[0b11], [0b01]], dtype=np.uint64))
    array([ 0.5, -0.5])
    """
    check_shots(shots, n_bits)
    check_masks(masks, n_bits)
    kernels = implementation("observables", backend, shots)
    means: Reals = kernels.pauli_z_expectation(shots, n_bits, masks)
    return means


def violation_counts(
    shots: Words, n_bits: int, pairs: ArrayLike, *, backend: Backend = "auto"
) -> Counts:
    """Count the pairs of qubits that are both 1 although they must not be.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Qubits per shot.
        pairs: Pairs of different qubits, shape (n_pairs, 2).
        backend: Where to compute.

    Returns:
        Counts, shape (n_shots,).

    Raises:
        KernelInputError: No shots, a pair with a missing qubit or of one qubit.
        BackendUnavailableError: The back end does not run here.

    >>> violation_counts(np.array([[0b11], [0b01]], dtype=np.uint64), 2, [(0, 1)])
    array([1, 0])
    """
    check_shots(shots, n_bits)
    checked = check_pairs(pairs, n_bits, "pairs")
    kernels = implementation("observables", backend, shots)
    counts: Counts = kernels.violation_counts(shots, n_bits, checked)
    return counts


def mis_costs(
    shots: Words, n_bits: int, edges: ArrayLike, *, backend: Backend = "auto"
) -> MisCosts:
    """Measure shots as independent sets of a graph: size, and edges inside.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Qubits per shot, one per vertex.
        edges: Of the graph, shape (n_edges, 2).
        backend: Where to compute.

    Returns:
        Sizes and violations; their `costs` weighs one against the other.

    Raises:
        KernelInputError: No shots, an edge to a missing qubit or to itself.
        BackendUnavailableError: The back end does not run here.

    >>> mis_costs(np.array([[0b111], [0b101]], dtype=np.uint64), 3, [(0, 1), (1, 2)]).costs(2.0)
    array([ 1., -2.])
    """
    check_shots(shots, n_bits)
    pairs = check_pairs(edges, n_bits, "edges")
    return MisCosts(*implementation("observables", backend, shots).mis_costs(shots, n_bits, pairs))


def maxcut_costs(
    shots: Words,
    n_bits: int,
    edges: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    backend: Backend = "auto",
) -> Reals:
    """Compute minus the weight of the edges that each shot cuts; no shot violates anything.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)).
        n_bits: Qubits per shot, one per vertex.
        edges: Of the graph, shape (n_edges, 2).
        weights: Of the edges, any unit, shape (n_edges,); 1 each when left out.
        backend: Where to compute.

    Returns:
        Costs in that unit, shape (n_shots,).

    Raises:
        KernelInputError: No shots, an edge to a missing qubit or to itself, a weight that is not
            finite.
        BackendUnavailableError: The back end does not run here.

    >>> maxcut_costs(np.array([[0b010], [0b001]], dtype=np.uint64), 3, [(0, 1), (1, 2)])
    array([-2., -1.])
    """
    check_shots(shots, n_bits)
    pairs = check_pairs(edges, n_bits, "edges")
    ones = np.ones(len(pairs))
    real = ones if weights is None else check_reals(weights, (len(pairs),), "weights")
    costs: Reals = implementation("observables", backend, shots).maxcut_costs(
        shots, n_bits, pairs, real
    )
    return costs


def qubo_costs(
    shots: Words,
    n_bits: int,
    matrix: ArrayLike,
    constant: float = 0.0,
    *,
    backend: Backend = "auto",
) -> Reals:
    """Compute constant + x^T Q x of each shot; `violation_counts` says what it violates.

    Args:
        shots: Packed shots, shape (n_shots, ceil(n_bits / 64)); x is a row of bits.
        n_bits: Qubits per shot.
        matrix: Q, symmetric, triangular or any, shape (n_bits, n_bits); zeros cost no time.
        constant: In the unit of Q.
        backend: Where to compute.

    Returns:
        Costs in the unit of Q, shape (n_shots,).

    Raises:
        KernelInputError: No shots, a matrix of another shape, a number that is not finite.
        BackendUnavailableError: The back end does not run here.

    >>> qubo_costs(np.array([[0b11], [0b10]], dtype=np.uint64), 2, [[-1.0, 3.0], [0.0, -2.0]])
    array([ 0., -2.])
    """
    check_shots(shots, n_bits)
    square = check_reals(matrix, (n_bits, n_bits), "matrix")
    start = check_number(constant, "constant")
    kernels = implementation("observables", backend, shots)
    costs: Reals = kernels.qubo_costs(shots, n_bits, square, start)
    return costs


def ising_bounds(
    weights: ArrayLike, fields: ArrayLike = (), constant: float = 0.0
) -> tuple[float, float]:
    """Bound the energy of any shot.

    Args:
        weights: Energies of the edges, shape (n_edges,).
        fields: Energies of the qubits, shape (n_bits,).
        constant: In the same unit.

    Returns:
        Lower and upper bound, not always reached.

    Raises:
        KernelInputError: A number is not finite, or shapes do not fit.

    >>> ising_bounds([1.0, -2.0], [0.5])
    (-3.5, 3.5)
    """
    start = check_number(constant, "constant")
    parts = check_vector(weights, "weights"), check_vector(fields, "fields")
    reach = float(sum(np.abs(part).sum() for part in parts))
    return start - reach, start + reach


def pauli_z_bounds(masks: Words, weights: ArrayLike, constant: float = 0.0) -> tuple[float, float]:
    """Bound the value of any shot; terms on no qubit are constant.

    Args:
        masks: Shape (n_terms, ceil(n_bits / 64)).
        weights: Shape (n_terms,).
        constant: In the unit of the weights.

    Returns:
        Lower and upper bound, not always reached.

    Raises:
        KernelInputError: `masks` are not packed, or as in `ising_bounds`.

    >>> pauli_z_bounds(np.array([[0], [3]], dtype=np.uint64), [1.0, -0.5])
    (0.5, 1.5)
    """
    n_words = host_array(masks, "masks").shape[-1:]
    check_masks(masks, 64 * n_words[0] if n_words else 0)
    real = check_reals(weights, (len(masks),), "weights")
    start = check_number(constant, "constant")
    acts = masks.any(axis=1)
    center, reach = start + float(real[~acts].sum()), float(np.abs(real[acts]).sum())
    return center - reach, center + reach


def mis_bounds(n_bits: int, n_edges: int, penalty: float) -> tuple[float, float]:
    """Bound `MisCosts.costs(penalty)` of any shot.

    Args:
        n_bits: Vertices.
        n_edges: Edges.
        penalty: Of an edge both of whose ends are chosen, at least 0.

    Returns:
        Bounds from below and above; no shot need reach either.

    Raises:
        KernelInputError: No qubits, a negative number, or one that is not finite.
    """
    check_integer(n_bits, "n_bits", at_least=1)
    weight = check_number(penalty, "penalty")
    if weight < 0.0:
        raise KernelInputError("penalty", f"is {penalty}", "use 0 or more")
    return -float(n_bits), weight * check_integer(n_edges, "n_edges")


def maxcut_bounds(weights: ArrayLike) -> tuple[float, float]:
    """Bound the MaxCut cost of any shot.

    Args:
        weights: Of the edges, shape (n_edges,).

    Returns:
        Bounds from below and above; no shot need reach either.

    Raises:
        KernelInputError: A weight is not finite, or the shape another one.
    """
    real = check_vector(weights, "weights")
    return -float(real.clip(0.0).sum()), -float(real.clip(None, 0.0).sum())


def qubo_bounds(matrix: ArrayLike, constant: float = 0.0) -> tuple[float, float]:
    """Bound the QUBO cost of any shot.

    Args:
        matrix: Q, shape (n_bits, n_bits).
        constant: Added to every cost.

    Returns:
        Bounds from below and above; no shot need reach either.

    Raises:
        KernelInputError: The matrix is not square, or a number is not finite.
    """
    n_bits = len(np.atleast_1d(host_array(matrix, "matrix")))
    square = check_reals(matrix, (n_bits, n_bits), "matrix")
    start = check_number(constant, "constant")
    both = np.triu(square) + np.tril(square, -1).T
    return start + float(both.clip(None, 0.0).sum()), start + float(both.clip(0.0).sum())


def check_masks(masks: Words, n_bits: int) -> None:
    """Refuse what are not masks of terms on the host, shape (n_terms, ceil(n_bits / 64)).

    Raises:
        KernelInputError: See above, or a term on a missing qubit.
    """
    host_array(masks, "masks")
    check_terms(masks, n_bits)
