"""H2 and the chain: published coefficients, the reduction, energies in closed form."""

from __future__ import annotations

import itertools
from functools import reduce

import numpy as np
import pytest

from cudaq_target.errors import OptionError
from cudaq_target.loops.hamiltonians import (
    H2_FOUR_QUBITS,
    HEISENBERG_FOUR_ENERGY,
    NUCLEAR_REPULSION_HA,
    PUBLISHED_ENERGY_HA,
    exact_energy,
    h2,
    h2_two_qubits,
    heisenberg,
    matrix,
)

# arXiv:1208.5986 Table III (from arXiv:1001.3855): integrals at 1.401 bohr (Ha); g and u are the
# bonding and the antibonding orbital.
H_GG, H_UU = -1.252477, -0.475934
J_GG, J_UU, J_GU, K_GU = 0.674493, 0.697397, 0.663472, 0.181287


def annihilator(orbital: int) -> np.ndarray:
    """Jordan-Wigner: Z on the orbitals before; 1 is occupied."""
    lower = np.array([[0.0, 1.0], [0.0, 0.0]])
    sign = np.diag([1.0, -1.0])
    factors = [sign if k < orbital else lower if k == orbital else np.eye(2) for k in range(4)]
    return reduce(np.kron, factors)


def two_electron_integral(a: int, b: int, c: int, d: int) -> float:
    """(ab|cd) in chemists' order over the spatial orbitals g = 0 and u = 1."""
    if (a, b) == (c, d) == (0, 0):
        return J_GG
    if (a, b) == (c, d) == (1, 1):
        return J_UU
    if a == b and c == d:
        return J_GU
    return K_GU if a != b and c != d else 0.0


def second_quantised() -> np.ndarray:
    """Σ h a†a + ½ Σ (pr|qs) a†_p a†_q a_s a_r, spin orbitals g↑ g↓ u↑ u↓."""
    lower = [annihilator(k) for k in range(4)]
    raise_ = [each.T for each in lower]
    total = sum(energy * raise_[k] @ lower[k] for k, energy in enumerate((H_GG, H_GG, H_UU, H_UU)))
    for p, q, r, s in itertools.product(range(4), repeat=4):
        if p % 2 == r % 2 and q % 2 == s % 2:
            value = two_electron_integral(p // 2, r // 2, q // 2, s // 2)
            total = total + 0.5 * value * raise_[p] @ raise_[q] @ lower[s] @ lower[r]
    return total


def test_coefficients_follow_from_the_published_integrals() -> None:
    np.testing.assert_allclose(matrix(H2_FOUR_QUBITS), second_quantised(), atol=1e-10)


@pytest.mark.parametrize("n_qubits", [2, 4])
def test_lowest_eigenvalue_is_the_published_energy(n_qubits: int) -> None:
    assert exact_energy(h2(n_qubits)) == pytest.approx(PUBLISHED_ENERGY_HA, abs=1e-5)


def test_two_qubits_are_the_sector_with_one_electron_of_each_spin() -> None:
    full = second_quantised()
    # |n_g↑ n_g↓⟩ with n_u = 1 - n_g.
    places = [8 * a + 4 * b + 2 * (1 - a) + (1 - b) for a, b in itertools.product((0, 1), repeat=2)]
    block = full[np.ix_(places, places)]
    # The signs of basis states are a convention: compare what does not depend on them.
    reduced = matrix(h2_two_qubits())
    np.testing.assert_allclose(np.abs(block), np.abs(reduced), atol=1e-10)
    np.testing.assert_allclose(np.linalg.eigvalsh(block), np.linalg.eigvalsh(reduced), atol=1e-10)


def test_repulsion_is_a_constant() -> None:
    shift = matrix(h2(4)) - matrix(H2_FOUR_QUBITS)
    np.testing.assert_allclose(shift, NUCLEAR_REPULSION_HA * np.eye(16), atol=1e-12)


def test_the_chain_has_its_energy_in_closed_form() -> None:
    assert exact_energy(heisenberg(2)) == pytest.approx(-3.0, abs=1e-12)
    assert exact_energy(heisenberg(4)) == pytest.approx(HEISENBERG_FOUR_ENERGY, abs=1e-12)


@pytest.mark.parametrize("make", [lambda: h2(3), lambda: heisenberg(1), lambda: heisenberg(13)])
def test_other_sizes_are_refused(make) -> None:
    with pytest.raises(OptionError, match="qubits"):
        make()


def test_long_words_make_no_dense_matrix() -> None:
    with pytest.raises(OptionError, match="up to 12"):
        matrix({"Z" * 13: 1.0})
