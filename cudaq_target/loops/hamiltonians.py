"""Hamiltonians whose ground state is known: the hydrogen molecule and a chain of spins.

Each is a mapping from Pauli words to weights; the leftmost letter is qubit 0.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

BOND_BOHR = 1.401
NUCLEAR_REPULSION_HA = 1.0 / BOND_BOHR
# Full configuration interaction in this basis at 0.7414 Å, the value quantum chemistry codes give.
PUBLISHED_ENERGY_HA = -1.13727
CHEMICAL_ACCURACY_HA = 1.6e-3  # 1 kcal/mol

# Electronic Hamiltonian by Jordan-Wigner, arXiv:1208.5986 eq. (80), in Ha; the leftmost letter is
# qubit 0. Qubits 0 and 1 are the bonding orbital with spin up and down, 2 and 3 the antibonding.
H2_FOUR_QUBITS = {
    "IIII": -0.81261,
    "ZIII": 0.171201,
    "IZII": 0.171201,
    "IIZI": -0.2227965,
    "IIIZ": -0.2227965,
    "ZZII": 0.16862325,
    "ZIZI": 0.12054625,
    "IZZI": 0.165868,
    "ZIIZ": 0.165868,
    "IZIZ": 0.12054625,
    "IIZZ": 0.17434925,
    "YYXX": -0.04532175,
    "XYYX": 0.04532175,
    "YXXY": 0.04532175,
    "XXYY": -0.04532175,
}

# In units of the exchange J: E = -(3 + 2√3) J for Σ XX + YY + ZZ over the three bonds.
HEISENBERG_FOUR_ENERGY = -(3.0 + 2.0 * math.sqrt(3.0))

_MAX_QUBITS = 12
_LETTERS = {
    "I": np.eye(2),
    "X": np.array([[0.0, 1.0], [1.0, 0.0]]),
    "Y": np.array([[0.0, -1.0j], [1.0j, 0.0]]),
    "Z": np.diag([1.0, -1.0]),
}


def h2_two_qubits() -> dict[str, float]:
    """Reduce the electronic Hamiltonian to one electron of each spin, an exact identity.

    With one electron per spin, Z2 = -Z0 and Z3 = -Z1, and the four exchange terms become one.

    Returns:
        Pauli word to weight (Ha).
    """
    h = H2_FOUR_QUBITS
    return {
        "II": h["IIII"] - h["ZIZI"] - h["IZIZ"],
        "ZI": h["ZIII"] - h["IIZI"],
        "IZ": h["IZII"] - h["IIIZ"],
        "ZZ": h["ZZII"] + h["IIZZ"] - h["IZZI"] - h["ZIIZ"],
        "XX": h["XYYX"] + h["YXXY"] - h["YYXX"] - h["XXYY"],
    }


def h2(n_qubits: int = 4) -> dict[str, float]:
    """Hydrogen in the basis STO-3G at 0.7414 Å, nuclear repulsion included.

    Args:
        n_qubits: 4, one for each spin orbital, or 2, reduced to one electron of each spin.

    Returns:
        Pauli word to weight (Ha).

    Raises:
        OptionError: Another number of qubits.

    >>> round(exact_energy(h2(2)), 4)
    -1.1373
    """
    if n_qubits not in (2, 4):
        raise OptionError(f"qubits {n_qubits}", "not offered", "Give 2 or 4")
    electrons = H2_FOUR_QUBITS if n_qubits == 4 else h2_two_qubits()
    identity = "I" * n_qubits
    return {**electrons, identity: electrons[identity] + NUCLEAR_REPULSION_HA}


def heisenberg(n_qubits: int = 4) -> dict[str, float]:
    """Antiferromagnetic Heisenberg chain with open ends: Σ XX + YY + ZZ over its bonds.

    Args:
        n_qubits: Spins, 2 to 12.

    Returns:
        Pauli word to weight (exchange J).

    Raises:
        OptionError: Another number of spins.

    >>> sorted(heisenberg(2))
    ['XX', 'YY', 'ZZ']
    """
    if not 2 <= n_qubits <= _MAX_QUBITS:
        raise OptionError(f"qubits {n_qubits}", "not offered", f"Give 2 to {_MAX_QUBITS}")
    return {
        "I" * k + 2 * letter + "I" * (n_qubits - k - 2): 1.0
        for k in range(n_qubits - 1)
        for letter in "XYZ"
    }


def matrix(terms: Mapping[str, float]) -> NDArray[np.complex128]:
    """Write a sum of Pauli words as a matrix.

    Args:
        terms: Pauli word to weight; at most 12 letters.

    Returns:
        Hermitian, shape (2^n, 2^n), qubit 0 most significant, in the unit of the weights.

    Raises:
        OptionError: The words are too long for a dense matrix.
    """
    n_qubits = len(next(iter(terms)))
    if n_qubits > _MAX_QUBITS:
        raise OptionError(
            f"Hamiltonian on {n_qubits} qubits",
            f"dense matrices are made of up to {_MAX_QUBITS}",
            "Give the reference energy yourself, or leave it out",
        )
    total = np.zeros((2**n_qubits, 2**n_qubits), dtype=np.complex128)
    for word, weight in terms.items():
        total += weight * reduce(np.kron, (_LETTERS[letter] for letter in word))
    return total


def exact_energy(terms: Mapping[str, float]) -> float:
    """Diagonalise: the lowest eigenvalue, in the unit of the weights."""
    return float(np.linalg.eigvalsh(matrix(terms))[0])
