"""Observables of `cudaq.evolve`: operators of CUDA-Q's on two-level atoms, as Pauli sums.

g is |0> and r is |1>, so that n = |r><r| = (1 - Z)/2.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cudaq
import numpy as np

from cudaq_target.errors import OptionError
from cudaq_target.launch.observe import canonical_operators
from cudaq_target.launch.operators import exact_values, read_operator

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from cudaq_target.launch.operators import PauliString, PauliSum
    from cudaq_target.shots import Shots

_PAULIS = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}
_MOST_DEGREES = 6
# Of a product's matrix: what rounding leaves of Pauli strings that do not occur.
_ABSENT = 1e-14


@dataclass(frozen=True, slots=True)
class Observables:
    """Operators in the order given.

    Attributes:
        operators: As canonical `cudaq.SpinOperator`s.
        sums: The same in plain data.
    """

    operators: tuple[Any, ...]
    sums: tuple[PauliSum, ...]

    @property
    def strings(self) -> list[PauliString]:
        """All Pauli strings that occur, each once, the identity left out."""
        return sorted(
            {string for each in self.sums for string in each.strings if string.qubits},
            key=lambda string: string.term_id,
        )

    def exact(self, state: NDArray[np.complex128]) -> dict[str, float]:
        """Return the value of each string in a state with atom 0 most significant."""
        return exact_values(state, self.strings) if self.strings else {}

    def sampled(self, shots: Shots) -> dict[str, float]:
        """Estimate the value of each string, all of Z alone, from measured atoms."""
        odd = {string.term_id: shots.marginal(string.qubits) for string in self.strings}
        return {
            name: float(1.0 - 2.0 * (part.bits().sum(axis=1) & 1).mean())
            for name, part in odd.items()
        }

    def require_diagonal(self) -> None:
        """Refuse operators that shots say nothing about.

        Raises:
            OptionError: One holds X or Y.
        """
        for string in self.strings:
            if set(string.letters) != {"Z"}:
                raise OptionError(
                    f"observable term {string.term_id}",
                    "shots of an analog program tell g from r, which is Z, and nothing else",
                    "Leave shots_count and noise out for exact values, or observe Z alone",
                )


def read_observables(given: Any, n_atoms: int) -> Observables:  # noqa: ANN401
    """Read the operators of a call.

    Args:
        given: A list of `cudaq.SpinOperator`s or of operators built from `cudaq.operators`.
        n_atoms: Atoms of the program.

    Returns:
        The operators; none for an empty list.

    Raises:
        OptionError: One is no operator on these atoms, not Hermitian, or depends on parameters.
    """
    if not isinstance(given, list | tuple):
        raise OptionError("observables", "they are no list", "Write observables=[...]")
    spins = [_as_spin(operator, position) for position, operator in enumerate(given)]
    operators = canonical_operators(spins)
    for position, operator in enumerate(operators):
        _check_atoms(operator, position, n_atoms)
    sums = tuple(read_operator(operator, "evolve", n_atoms) for operator in operators)
    return Observables(tuple(operators), sums)


def _check_atoms(operator: cudaq.SpinOperator, position: int, n_atoms: int) -> None:
    last = max(operator.degrees, default=0)
    if last >= n_atoms:
        atoms = "1 atom" if n_atoms == 1 else f"{n_atoms} atoms"
        raise OptionError(
            f"observable {position}",
            f"it acts on atom {last}, the program has {atoms}",
            "Count atoms from 0, without the empty sites",
        )


def _as_spin(operator: Any, position: int) -> Any:  # noqa: ANN401
    known = (cudaq.SpinOperator, cudaq.SpinOperatorTerm)
    matrices = (cudaq.operators.MatrixOperator, cudaq.operators.MatrixOperatorTerm)
    if not isinstance(operator, (*known, *matrices)):
        raise OptionError(
            f"observable {position}",
            f"{type(operator).__name__} is no operator on atoms",
            "Build it from cudaq.spin, or from cudaq.operators, for example number(0)",
        )
    parameters = ", ".join(map(repr, operator.parameters))
    if parameters:
        raise OptionError(
            f"observable {position}",
            f"it depends on {parameters}",
            "Observe its parts, which do not, and combine their values",
        )
    if isinstance(operator, known):
        return operator
    terms = [operator] if isinstance(operator, cudaq.operators.MatrixOperatorTerm) else operator
    total = cudaq.SpinOperator.empty()
    for term in terms:
        for spin_term in _pauli_terms(term, position):
            total += spin_term
    return total


def _pauli_terms(term: Any, position: int) -> Iterable[Any]:  # noqa: ANN401
    degrees = sorted(term.degrees)
    if len(degrees) > _MOST_DEGREES:
        raise OptionError(
            f"observable {position}",
            f"a product acts on {len(degrees)} atoms, at most {_MOST_DEGREES} are taken apart",
            "Build the operator from cudaq.spin, which has no such limit",
        )
    try:
        matrix = np.array(term.to_matrix(dict.fromkeys(degrees, 2), invert_order=True))
    except (RuntimeError, TypeError) as error:
        raise OptionError(
            f"observable {position}",
            f"it has no matrix on atoms with two levels ({error})",
            "Build it from operators of two levels, for example cudaq.operators.number(0)",
        ) from error
    for letters in itertools.product("IXYZ", repeat=len(degrees)):
        weight = complex(np.trace(_kron(letters) @ matrix)) / len(matrix)
        if abs(weight) > _ABSENT * max(1.0, float(np.abs(matrix).max())):
            yield weight * _spin_product(letters, degrees)


def _kron(letters: Sequence[str]) -> NDArray[np.complex128]:
    product = np.eye(1, dtype=np.complex128)
    for letter in letters:
        product = np.kron(product, _PAULIS[letter])
    return product


def _spin_product(letters: Sequence[str], degrees: Sequence[int]) -> Any:  # noqa: ANN401
    product = cudaq.spin.identity()
    for letter, degree in zip(letters, degrees, strict=True):
        if letter != "I":
            product *= getattr(cudaq.spin, letter.lower())(degree)
    return product
