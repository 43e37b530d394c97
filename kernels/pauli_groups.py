"""Sums of Pauli terms measured in several bases, with the covariance of terms measured together.

A term is a string over I, X, Y, Z; character k acts on qubit k. Terms that nowhere ask for two
different bases of one qubit commute qubit by qubit and are measured by the same shots. Of each shot
the *sum* of its group's terms is taken, so that the variance holds all covariances within a group;
groups have shots of their own and are independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

from cudaq_target.kernels.arguments import check_integer, check_number
from cudaq_target.kernels.backends import Backend, is_on_device
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.intervals import Interval, check_confidence
from cudaq_target.kernels.observables import pauli_z_bounds, pauli_z_values
from cudaq_target.kernels.packed import check_shots, word_count
from cudaq_target.kernels.streams import Method, StreamingMean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

Combination = Literal["union", "rounds"]


@dataclass(frozen=True, slots=True, eq=False)
class PauliGroup:
    """Terms that one set of shots measures.

    Attributes:
        basis: What to measure each qubit in, "X", "Y" or "Z"; "I" where it does not matter.
        masks: The qubits of each term, shape (n_terms, ceil(n_bits / 64)).
        weights: Of each term, shape (n_terms,).
    """

    basis: str
    masks: NDArray[np.uint64]
    weights: NDArray[np.float64]

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which the value of each shot lies."""
        return pauli_z_bounds(self.masks, self.weights)

    def values(self, shots: Words, *, backend: Backend = "auto") -> NDArray[np.float64]:
        """Sum the terms in each shot.

        Args:
            shots: Packed shots measured in `basis`, shape (n_shots, ceil(n_bits / 64)).
            backend: Where to compute.

        Returns:
            Values, shape (n_shots,).

        Raises:
            KernelInputError: No shots, or not packed shots of len(basis) bits.
            BackendUnavailableError: The back end does not run here.
        """
        return pauli_z_values(shots, len(self.basis), self.masks, self.weights, backend=backend)


def group_pauli_terms(terms: Mapping[str, float]) -> tuple[float, tuple[PauliGroup, ...]]:
    """Sort terms into groups that commute qubit by qubit.

    Greedily: by falling |weight| (then by name), each term joins the first group that it fits.

    Args:
        terms: Weight of each term, any unit; all of one length, the number of qubits.

    Returns:
        The weight of the identity, and the groups, of at least one term each.

    Raises:
        KernelInputError: No terms, terms of different lengths, a letter other than I, X, Y, Z, or
            a weight that is not finite.

    >>> constant, groups = group_pauli_terms({"II": 0.5, "ZZ": 1.0, "ZI": 0.25, "XX": -0.5})
    >>> constant, [group.basis for group in groups]
    (0.5, ['ZZ', 'XX'])
    """
    n_bits = _check_terms(terms)
    identity = "I" * n_bits
    constant = float(terms.get(identity, 0.0))
    bases: list[str] = []
    members: list[list[str]] = []
    for term in sorted(terms, key=lambda name: (-abs(terms[name]), name)):
        if term == identity:
            continue
        fits = (k for k, basis in enumerate(bases) if _commute(term, basis))
        k = next(fits, len(bases))
        if k == len(bases):
            bases.append(identity)
            members.append([])
        bases[k] = "".join(b if a == "I" else a for a, b in zip(term, bases[k], strict=True))
        members[k].append(term)
    groups = tuple(
        PauliGroup(basis, _masks(names, n_bits), np.array([float(terms[name]) for name in names]))
        for basis, names in zip(bases, members, strict=True)
    )
    return constant, groups


def _commute(term: str, basis: str) -> bool:
    return all("I" in (a, b) or a == b for a, b in zip(term, basis, strict=True))


def _masks(terms: Sequence[str], n_bits: int) -> Words:
    masks = np.zeros((len(terms), word_count(n_bits)), dtype=np.uint64)
    for row, term in zip(masks, terms, strict=True):
        for qubit, letter in enumerate(term):
            if letter != "I":
                row[qubit // 64] |= np.uint64(1 << qubit % 64)
    return masks


def _check_terms(terms: Mapping[str, float]) -> int:
    if not isinstance(terms, Mapping):
        raise KernelInputError("terms", f"are a {type(terms).__name__}", "map terms to weights")
    if not terms:
        raise KernelInputError("terms", "are none", "give at least one")
    n_bits = len(next(iter(terms)))
    if n_bits == 0:
        raise KernelInputError("terms", "act on no qubits", "give one letter per qubit")
    for term, weight in terms.items():
        if len(term) != n_bits:
            found = f"hold {term!r} of {len(term)} qubits"
            raise KernelInputError("terms", found, f"others act on {n_bits}; all need one length")
        if set(term) - set("IXYZ"):
            raise KernelInputError("terms", f"hold {term!r}", "its letters are I, X, Y and Z")
        check_number(weight, f"weight of {term!r}")
    return n_bits


@dataclass(slots=True)
class PauliStream:
    """Expectation of a sum of Pauli terms from frames of shots in several bases.

    Attributes:
        groups: From `group_pauli_terms`, at least one.
        constant: The weight of the identity.
        confidence: That all intervals that are ever looked at contain the expectation.
        combine: "union" gives each of G groups an interval of error probability
            (1 - confidence) / G and adds the intervals up (Boole's inequality): any numbers of
            shots, widths add. "rounds" takes the k-th values of all groups together as one value of
            the whole sum: variances add, which is narrower by up to sqrt(G), and values of a group
            ahead of the others wait.
        method: "mixture" (`MixtureBernstein`), "bernstein" (`EmpiricalBernstein`) or "betting"
            (`HedgedBetting`); which to take is said in `kernels.intervals`.

    Raises:
        KernelInputError: No groups, or another argument makes no sense.

    >>> constant, groups = group_pauli_terms({"ZZ": 1.0, "XX": 1.0})
    >>> stream = PauliStream(groups, constant)
    >>> bell = np.zeros((1000, 1), dtype=np.uint64)
    >>> stream.update(0, bell)
    >>> stream.update(1, bell)
    >>> stream.mean, stream.standard_error, stream.interval().width < 0.1
    (2.0, 0.0, True)
    """

    groups: tuple[PauliGroup, ...]
    constant: float = 0.0
    confidence: float = 0.95
    combine: Combination = "union"
    method: Method = "mixture"
    _means: list[StreamingMean] = field(init=False, repr=False)
    _rounds: StreamingMean = field(init=False, repr=False)
    _waiting: list[NDArray[np.float64]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.groups:
            raise KernelInputError("groups", "are none", "give at least one")
        strange = [group for group in self.groups if not isinstance(group, PauliGroup)]
        if strange:
            expected = "group_pauli_terms gives the constant first, then the groups"
            raise KernelInputError("groups", f"hold {strange[0]!r}", expected)
        if self.combine not in ("union", "rounds"):
            raise KernelInputError("combine", f"is {self.combine!r}", "use 'union' or 'rounds'")
        check_confidence(self.confidence)
        share = 1.0 - (1.0 - self.confidence) / len(self.groups)
        bounds = [group.bounds for group in self.groups]
        self._means = [StreamingMean(*pair, share, self.method) for pair in bounds]
        low, high = (sum(ends) for ends in zip(*bounds, strict=True))
        self._rounds = StreamingMean(low, high, self.confidence, self.method)
        self._waiting = [np.zeros(0) for _ in self.groups]

    @property
    def n_shots(self) -> tuple[int, ...]:
        """Shots of each group."""
        return tuple(mean.n_values for mean in self._means)

    @property
    def mean(self) -> float:
        """Of the whole sum; raises `KernelInputError` while a group has no shots."""
        return self.constant + sum(mean.mean for mean in self._means)

    @property
    def standard_error(self) -> float:
        """Of `mean`; raises `KernelInputError` while a group has fewer than two shots."""
        return sqrt(sum(mean.standard_error**2 for mean in self._means))

    def update(self, group: int, shots: Words, *, backend: Backend = "auto") -> None:
        """Take in a frame of shots that were measured in the basis of one group.

        Args:
            group: Its number.
            shots: Packed shots, shape (n_shots, ceil(n_bits / 64)); none are fine.
            backend: Where to compute.

        Raises:
            KernelInputError: There is no such group, or these are not packed shots of its qubits.
            BackendUnavailableError: The back end does not run here.
        """
        if check_integer(group, "group") >= len(self.groups):
            expected = f"there are groups 0 to {len(self.groups) - 1}"
            raise KernelInputError("group", f"is {group}", expected)
        check_shots(shots, len(self.groups[group].basis), allow_empty=True)
        if len(shots) == 0:
            return
        values = self.groups[group].values(shots, backend=backend)
        host = values.get() if is_on_device(values) else values  # type: ignore[attr-defined]
        self._means[group].update(host)
        if self.combine == "rounds":
            self._waiting[group] = np.concatenate([self._waiting[group], host])
            n_rounds = min(map(len, self._waiting))
            whole = np.sum([values[:n_rounds] for values in self._waiting], axis=0)
            self._rounds.update(whole)
            self._waiting = [values[n_rounds:] for values in self._waiting]

    def interval(self) -> Interval:
        """Return where the expectation is: all intervals ever returned hold at once."""
        if self.combine == "rounds":
            return self._rounds.interval() + Interval(self.constant, self.constant)
        ends = [mean.interval() for mean in self._means]
        return sum(ends, start=Interval(self.constant, self.constant))

    def next_group(self) -> int:
        """Return the group whose next shot lowers the variance of `mean` most.

        With variance v of n shots that is the largest v / (n (n + 1)). The variance counts as if
        one value at either bound had come before, or a few equal shots would end a group for good.
        """
        return int(np.argmax([_gain(mean) for mean in self._means]))


def _gain(mean: StreamingMean) -> float:
    n_values = mean.n_values
    squares = mean.variance * (n_values - 1) if n_values > 1 else 0.0
    variance = (squares + (mean.high - mean.low) ** 2 / 4) / (n_values + 1)
    return variance / (max(n_values, 0.5) * (n_values + 1))
