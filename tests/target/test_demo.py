"""H2: the published coefficients, the reduction, and the loop on the target."""

from __future__ import annotations

import itertools
import json
from functools import reduce
from pathlib import Path

import numpy as np
import pytest

from cudaq_target import cli
from cudaq_target import demo as h2
from cudaq_target.launch.operators import group, read_operator

# arXiv:1208.5986 Table III (from arXiv:1001.3855): integrals at 1.401 bohr (Ha); g and u are the
# bonding and the antibonding orbital.
H_GG, H_UU = -1.252477, -0.475934
J_GG, J_UU, J_GU, K_GU = 0.674493, 0.697397, 0.663472, 0.181287

LETTERS = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


def matrix(terms: dict[str, float]) -> np.ndarray:
    return sum(
        value * reduce(np.kron, (LETTERS[letter] for letter in word))
        for word, value in terms.items()
    )


def annihilator(orbital: int) -> np.ndarray:
    """Jordan-Wigner: Z on the orbitals before; 1 is occupied."""
    lower = np.array([[0.0, 1.0], [0.0, 0.0]])
    factors = [
        LETTERS["Z"] if k < orbital else lower if k == orbital else LETTERS["I"] for k in range(4)
    ]
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
    np.testing.assert_allclose(matrix(h2.H2_FOUR_QUBITS), second_quantised(), atol=1e-10)


@pytest.mark.parametrize("terms", [h2.H2_FOUR_QUBITS, h2.two_qubit_terms()], ids=["4", "2"])
def test_lowest_eigenvalue_is_the_published_energy(terms: dict[str, float]) -> None:
    lowest = np.linalg.eigvalsh(matrix(terms))[0] + h2.NUCLEAR_REPULSION_HA
    assert lowest == pytest.approx(h2.PUBLISHED_ENERGY_HA, abs=1e-5)
    assert h2.exact_energy_ha(terms) == pytest.approx(lowest, abs=1e-12)


def test_two_qubits_are_the_sector_with_one_electron_of_each_spin() -> None:
    full = second_quantised()
    # |n_g↑ n_g↓⟩ with n_u = 1 - n_g.
    places = [8 * a + 4 * b + 2 * (1 - a) + (1 - b) for a, b in itertools.product((0, 1), repeat=2)]
    block = full[np.ix_(places, places)]
    # The signs of basis states are a convention: compare what does not depend on them.
    reduced = matrix(h2.two_qubit_terms())
    np.testing.assert_allclose(np.abs(block), np.abs(reduced), atol=1e-10)
    np.testing.assert_allclose(np.linalg.eigvalsh(block), np.linalg.eigvalsh(reduced), atol=1e-10)


@pytest.mark.parametrize("terms", [h2.H2_FOUR_QUBITS, h2.two_qubit_terms()], ids=["4", "2"])
def test_settings_are_those_that_observe_measures(terms: dict[str, float]) -> None:
    operator = h2.spin_operator(terms)
    operator.canonicalize()
    total = read_operator(operator, "kernel", len(next(iter(terms))))
    assert len(group(total.strings)) == h2.n_settings(terms)


@pytest.mark.parametrize("n_qubits", [2, 4])
def test_the_loop_finds_the_ground_state(n_qubits: int, tmp_path: Path) -> None:
    result = h2.run(n_qubits, n_shots=2000, seed=3, picture=tmp_path / "loop.png", progress=False)
    assert result.is_within_tolerance
    assert abs(result.error_ha) <= 5.0 * result.final.sigma_ha + 1e-3
    assert result.steps[0].energy_ha > result.exact_ha + 0.5
    assert (tmp_path / "loop.png").stat().st_size > 10_000
    assert result.program.stats.n_qubits == n_qubits
    assert f"{n_qubits} qubits on DigitalAnalogDevice" in result.text()


def test_the_loop_is_reproducible(tmp_path: Path) -> None:
    first, second = (
        h2.run(2, n_shots=100, seed=9, picture=tmp_path / "a.png", progress=False).as_data()
        for _ in range(2)
    )
    assert first["energies_ha"] == second["energies_ha"]


def test_command(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["demo", "--qubits", "2", "--shots", "1000", "--seed", "2", "--json"]
    assert cli.main([*words, "--no-progress"]) == 0
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert captured.err == ""
    assert content["is_within_tolerance"]
    assert Path(content["picture"]).is_file()
    assert cli.main([*words, "--progress"]) == 0
    assert "energy of H2" in capsys.readouterr().err


def test_a_wrong_energy_fails(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(h2, "_N_STEPS", 1)
    assert cli.main(["demo", "--qubits", "2", "-o", str(tmp_path / "x.png")]) == 1
