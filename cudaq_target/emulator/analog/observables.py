"""Expectation values of states of atoms with two levels, diagonal ones from one table.

States have shape (2^n_atoms,), atom 0 is the most significant bit; r reads 1 and has Z = -1. They
need not be normalised: every value is divided by the squared norm. The table lies where the state
lies; values come to the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.errors import OptionError
from cudaq_target.kernels import statevector
from cudaq_target.kernels.backends import array_module, on_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Reals = NDArray[np.float64]
    State = NDArray[np.complexfloating]


def occupations(state: State, *, threads: int | None = None) -> Reals:
    """Return <n_i> of every atom, shape (n_atoms,).

    Args:
        state: Amplitudes, shape (2^n_atoms,).
        threads: Most threads to use.

    >>> occupations(np.array([0.0, 0.6, 0.8, 0.0])).round(2).tolist()
    [0.64, 0.36]
    """
    table, high, low = _table(state, threads)
    by_row, by_column = on_host(table.sum(axis=1)), on_host(table.sum(axis=0))
    return np.concatenate([by_row @ high, by_column @ low])


def correlations(state: State, *, threads: int | None = None) -> Reals:
    """Return <n_i n_j> of every pair of atoms; the diagonal holds <n_i>.

    Args:
        state: Amplitudes, shape (2^n_atoms,).
        threads: Most threads to use.

    Returns:
        Shape (n_atoms, n_atoms).

    >>> correlations(np.array([0.0, 0.0, 0.6, 0.8])).round(2).tolist()
    [[1.0, 0.64], [0.64, 0.64]]
    """
    table, high, low = _table(state, threads)
    rows = max(1, statevector.SERIAL_PRODUCT // low.size)
    there = array_module(table).asarray(low)
    starts = range(0, len(table), rows)
    mixed = high.T @ np.concatenate([on_host(table[s : s + rows] @ there) for s in starts])
    among_high = high.T @ (on_host(table.sum(axis=1))[:, None] * high)
    among_low = low.T @ (on_host(table.sum(axis=0))[:, None] * low)
    return np.block([[among_high, mixed], [mixed.T, among_low]])


def pauli_sum(
    state: State, terms: Sequence[tuple[float, str]], *, threads: int | None = None
) -> float:
    """Return the expectation value of a sum of Pauli words.

    Words of Z alone share one table of probabilities.

    Args:
        state: Amplitudes, shape (2^n_atoms,).
        terms: Coefficients and words of I, X, Y, Z, a letter per atom, atom 0 first.
        threads: Most threads to use.

    Returns:
        The value, in the unit of the coefficients.

    Raises:
        OptionError: A word has the wrong length or another letter.

    >>> pauli_sum(np.array([1.0, 0, 0, 1j]) / np.sqrt(2), [(1.0, "ZZ"), (2.0, "XY"), (4.0, "ZI")])
    3.0
    """
    n_atoms = state.size.bit_length() - 1
    weights: Reals | None = None
    norm = float(statevector.probabilities(state, threads=threads).sum())
    total = 0.0
    for coefficient, word in terms:
        if len(word) != n_atoms or not set(word) <= set("IXYZ"):
            raise OptionError(
                f"Pauli word {word!r}",
                f"does not fit {n_atoms} atoms",
                f"Give {n_atoms} letters of I, X, Y and Z",
            )
        x_mask = _mask(word, "XY")
        if x_mask:
            value = statevector.pauli_expectation(state, x_mask, _mask(word, "YZ"), threads=threads)
        else:
            if weights is None:
                weights = statevector.probabilities(state, threads=threads)
            value = _parity_sum(weights, word)
        total += coefficient * value / norm
    return total


def _mask(word: str, letters: str) -> int:
    return int("".join("1" if letter in letters else "0" for letter in word), 2)


def _parity_sum(weights: Reals, word: str) -> float:
    """Sum weights, signed by the parity of the atoms marked Z; the table halves with each atom."""
    for letter in word:
        first, second = weights.reshape(2, -1)
        weights = first - second if letter == "Z" else first + second
    return float(weights[0])


def _table(state: State, threads: int | None) -> tuple[Reals, Reals, Reals]:
    """Probabilities as (first half of the atoms, second half), and the bits of both halves."""
    n_atoms = state.size.bit_length() - 1
    n_high = n_atoms // 2
    weights = statevector.probabilities(state, threads=threads)
    table = weights.reshape(1 << n_high, -1) / weights.sum()
    return table, _bits(n_high), _bits(n_atoms - n_high)


def _bits(n: int) -> Reals:
    index = np.arange(1 << n)[:, None]
    return ((index >> np.arange(n - 1, -1, -1)) & 1).astype(np.float64)
