"""The benchmark of single gates: its textbook gate, and that it sees a wrong gate."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

from benchmarks import gates
from benchmarks.kernels import cz


def test_the_textbook_gate_is_exact_under_a_strong_blockade_and_wrong_by_its_phase_else() -> None:
    assert gates.textbook(1e7, 220) == pytest.approx(np.ones(4), abs=1e-5)
    rabi = 2e3 * math.pi / 220
    blocked = gates.textbook(40 * rabi, 220)
    # To first order in Ω/V the wrong phase is πΩ/2V; a quarter of it is on each basis state.
    assert 4 * cmath.phase(blocked[0]) == pytest.approx(math.pi / 80, rel=1e-2)
    assert abs(blocked[0]) <= 1.0


def test_products_of_six_eigenstates_see_a_missing_phase() -> None:
    inputs = [(gates.AXES[2], gates.AXES[4])]
    sites = [(0.0, 0.0), (5.0, 0.0)]
    right, wrong = np.array([1, 1, 1, -1 + 0j]), np.array([1, 1, 1, cmath.exp(0.9j * math.pi)])
    assert gates.emulated_errors(cz(0, 1), right, sites, inputs)[0] < 1e-12
    assert gates.emulated_errors(cz(0, 1), wrong, sites, inputs)[0] > 1e-3


def test_the_states_are_those_of_six_axes() -> None:
    states = np.array([gates.qubit(*axis) for axis in gates.AXES])
    overlaps = np.abs(states.conj() @ states.T) ** 2
    assert np.sort(overlaps, axis=1) == pytest.approx(np.tile([0, 0.5, 0.5, 0.5, 0.5, 1], (6, 1)))
