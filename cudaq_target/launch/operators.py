"""Spin operators as plain Pauli strings, their measurement groups, and their exact values."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.circuit import Gate
from cudaq_target.emulator.memory import require_bytes
from cudaq_target.errors import OptionError
from cudaq_target.kernels import statevector
from cudaq_target.kernels.backends import is_on_device

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from cudaq_target.errors import Source

# Relative to the coefficient: what rounding in an operator's arithmetic may leave behind.
_IMAGINARY_TOLERANCE = 1e-9

EXACT_COPIES = 2
"""Arrays of the size of the state that `exact_values` makes: products, and sums over halves."""


@dataclass(frozen=True, slots=True)
class PauliString:
    """A product of Pauli operators, without its coefficient.

    Attributes:
        term_id: CUDA-Q's name for it, for example `X0Z3`; "" for the identity.
        qubits: Qubits acted on, ascending.
        letters: `X`, `Y` or `Z` for each of them.
    """

    term_id: str
    qubits: tuple[int, ...]
    letters: str


@dataclass(frozen=True, slots=True)
class PauliSum:
    """A Hermitian operator: real coefficients and Pauli strings."""

    coefficients: tuple[float, ...]
    strings: tuple[PauliString, ...]

    def value(self, string_values: Mapping[str, float]) -> float:
        """Sum up.

        Args:
            string_values: Expectation value of each Pauli string by term id; the identity's is 1.
        """
        return math.fsum(
            coefficient * (string_values[string.term_id] if string.qubits else 1.0)
            for coefficient, string in zip(self.coefficients, self.strings, strict=True)
        )


def read_operator(operator: Any, kernel: str, n_qubits: int) -> PauliSum:  # noqa: ANN401
    """Read a canonical CUDA-Q spin operator.

    Args:
        operator: A `cudaq.SpinOperator`; iterating it gives its terms.
        kernel: Name of the observed kernel, for messages.
        n_qubits: Number of its qubits.

    Returns:
        The same operator in plain data.

    Raises:
        OptionError: A coefficient is not real or not finite, or a term acts on a qubit that the
            kernel lacks.
    """
    coefficients, strings = [], []
    for term in operator:
        string = PauliString(
            str(term.term_id), tuple(term.degrees), str(term.get_pauli_word()).replace("I", "")
        )
        outside = [qubit for qubit in string.qubits if qubit >= n_qubits]
        if outside:
            raise OptionError(
                f"operator term {string.term_id}",
                f"it acts on qubit {outside[0]}, kernel {kernel} has {n_qubits} qubits",
                _allocate_more(n_qubits),
            )
        coefficient = complex(term.evaluate_coefficient())
        if not cmath.isfinite(coefficient):
            raise OptionError(
                f"operator term {string.term_id or 'I'}",
                f"its coefficient {coefficient:.6g} is no finite number",
                "Check the numbers that the operator is built from",
            )
        if abs(coefficient.imag) > _IMAGINARY_TOLERANCE * abs(coefficient):
            raise OptionError(
                f"operator term {string.term_id or 'I'}",
                f"its coefficient {coefficient:.6g} is not real, so the operator is not Hermitian",
                "Observe the Hermitian and the anti-Hermitian part separately",
            )
        coefficients.append(coefficient.real)
        strings.append(string)
    return PauliSum(tuple(coefficients), tuple(strings))


def _allocate_more(n_qubits: int) -> str:
    if not n_qubits:
        return "Allocate qubits in the kernel"
    return f"Use qubits 0 to {n_qubits - 1}, or allocate more in the kernel"


@dataclass(frozen=True, slots=True)
class Setting:
    """Pauli strings that one choice of measurement bases serves.

    Attributes:
        bases: Letter to measure for each qubit that is measured.
        strings: The strings.
    """

    bases: Mapping[int, str]
    strings: tuple[PauliString, ...]


def group(strings: Iterable[PauliString]) -> list[Setting]:
    """Put strings that agree on every shared qubit into one setting, longest strings first.

    The greedy rule is not optimal but cheap, and one setting is one run of the kernel.

    >>> a, b, c = (PauliString("Z0", (0,), "Z"), PauliString("Z0Z1", (0, 1), "ZZ"),
    ...            PauliString("X1", (1,), "X"))
    >>> [[s.term_id for s in setting.strings] for setting in group([a, b, c])]
    [['Z0Z1', 'Z0'], ['X1']]
    """
    open_settings: list[tuple[dict[int, str], list[PauliString]]] = []
    for string in sorted(set(strings), key=lambda s: (-len(s.qubits), s.term_id)):
        if not string.qubits:
            continue
        wanted = dict(zip(string.qubits, string.letters, strict=True))
        for bases, members in open_settings:
            if all(bases.get(qubit, letter) == letter for qubit, letter in wanted.items()):
                bases.update(wanted)
                members.append(string)
                break
        else:
            open_settings.append((wanted, [string]))
    return [Setting(bases, tuple(members)) for bases, members in open_settings]


def basis_change(setting: Setting, source: Source) -> tuple[Gate, ...]:
    """Return gates after which a measurement in z reads the setting's letters.

    Args:
        setting: Bases to measure in.
        source: What the gates are to be attributed to in messages.
    """
    gates = []
    for qubit, letter in sorted(setting.bases.items()):
        if letter == "Y":
            gates.append(Gate("s", (qubit,), source, adjoint=True))
        if letter in "XY":
            gates.append(Gate("h", (qubit,), source))
    return tuple(gates)


def exact_values(state: NDArray[np.complex128], strings: Iterable[PauliString]) -> dict[str, float]:
    """Compute expectation values of Pauli strings.

    With Y = i·X·Z, a string is i^(number of Y) · X on the qubits in a set x · Z on those in a set
    z. For one x, all strings need the same products conj(ψ[j ⊕ x])·ψ[j], summed with the signs of
    z, which is a Walsh-Hadamard transform of which only some outputs are wanted.

    Args:
        state: State vector, complex, shape (2^n,), qubit 0 most significant.
        strings: Any number of Pauli strings.

    Returns:
        Value by term id, the identity left out.

    Raises:
        MemoryLimitError: The products and their sums would not fit into memory.
    """
    n_qubits = state.size.bit_length() - 1
    if is_on_device(state):
        return {
            string.term_id: _device_value(state, string) for string in set(strings) if string.qubits
        }
    require_bytes(EXACT_COPIES * state.nbytes, n_qubits)
    by_flips: dict[frozenset[int], list[PauliString]] = {}
    for string in set(strings):
        if string.qubits:
            flips = frozenset(_qubits_with(string, "XY"))
            by_flips.setdefault(flips, []).append(string)
    tensor = state.reshape((2,) * n_qubits)
    values: dict[str, float] = {}
    for flips, members in by_flips.items():
        products = np.flip(tensor, axis=tuple(flips)).conj()
        products *= tensor
        signs = [(string, _qubits_with(string, "YZ")) for string in members]
        sums = _signed_sums(products.reshape(-1), signs)
        for string in members:
            value = 1j ** string.letters.count("Y") * sums[string.term_id]
            values[string.term_id] = float(value.real)
    return values


def _device_value(state: NDArray[np.complex128], string: PauliString) -> float:
    """Return a value from one pass over a state on a GPU, without another array of its size."""
    masks = [
        sum(state.size >> qubit + 1 for qubit in _qubits_with(string, letters))
        for letters in ("XY", "YZ")
    ]
    return statevector.pauli_expectation(state, *masks)


def _signed_sums(
    vector: NDArray[np.complex128], wanted: Sequence[tuple[PauliString, frozenset[int]]]
) -> dict[str, complex]:
    """Sum a vector with the signs of Z on sets of qubits, sharing what the sets have in common."""
    sums: dict[str, complex] = {}

    def descend(
        part: NDArray[np.complex128],
        qubit: int,
        members: Sequence[tuple[PauliString, frozenset[int]]],
    ) -> None:
        if part.size == 1:
            sums.update({string.term_id: complex(part[0]) for string, _ in members})
            return
        upper, lower = part.reshape(2, -1)
        plain = [member for member in members if qubit not in member[1]]
        signed = [member for member in members if qubit in member[1]]
        if plain:
            descend(upper + lower, qubit + 1, plain)
        if signed:
            descend(upper - lower, qubit + 1, signed)

    descend(vector, 0, wanted)
    return sums


def _qubits_with(string: PauliString, letters: str) -> frozenset[int]:
    pairs = zip(string.qubits, string.letters, strict=True)
    return frozenset(qubit for qubit, letter in pairs if letter in letters)
