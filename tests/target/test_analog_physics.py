"""Ordered chains and independent sets through `cudaq.evolve`, against exact diagonalisation."""

from __future__ import annotations

import itertools

import cudaq
import numpy as np
import pytest

from cudaq_target import compile as compile_program
from examples import analog_mis, analog_z2_chain
from tests.target import analog_oracle

pytestmark = pytest.mark.usefixtures("stock_target")
SAVE = cudaq.IntermediateResultSave


def probabilities(hamiltonian, schedule, n_atoms) -> np.ndarray:
    """At the end, atom 0 as the most significant bit."""
    result = cudaq.evolve(
        hamiltonian, schedule=schedule, store_intermediate_results=SAVE.EXPECTATION_VALUE
    )
    state = result.final_state()
    strings = ("".join(bits) for bits in itertools.product("01", repeat=n_atoms))
    return np.array([abs(state.amplitude(string)) ** 2 for string in strings])


def ground_state(timeline) -> int:
    """Index of the lowest energy at the end, where the drive is off."""
    n_excited = analog_oracle.occupied(timeline.n_atoms).sum(axis=1)
    c6 = timeline.device.c6_rad_per_us_um6
    energy = analog_oracle.interaction_energies(timeline.atoms_um, c6)
    energy -= timeline.detuning[-1] * n_excited
    return int(np.argmin(energy))


def test_the_chain_follows_the_exact_solution():
    cudaq.set_target("pasqal")
    call = analog_z2_chain.program(5)
    played = compile_program(*call).timeline
    exact = np.abs(analog_oracle.played(played)) ** 2
    assert probabilities(*call, 5) == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize(("n_atoms", "least"), [(5, 0.95), (7, 0.88), (9, 0.85), (11, 0.78)])
def test_the_chain_ends_in_its_ordered_ground_state(n_atoms, least):
    cudaq.set_target("pasqal")
    call = analog_z2_chain.program(n_atoms)
    ordered = int("".join("10"[k % 2] for k in range(n_atoms)), 2)
    assert ground_state(compile_program(*call).timeline) == ordered
    found = probabilities(*call, n_atoms)
    assert found[ordered] > least
    assert np.argmax(found) == ordered


@pytest.mark.parametrize("name", analog_mis.GRAPHS)
def test_the_optimum_of_each_graph_is_known(name):
    vertices, best = analog_mis.GRAPHS[name]
    pairs = analog_mis.edges(vertices)
    sets = np.array(list(itertools.product((0, 1), repeat=len(vertices))))
    independent = np.all([~(sets[:, i] & sets[:, j]).astype(bool) for i, j in pairs], axis=0)
    assert sets[independent].sum(axis=1).max() == best


@pytest.mark.parametrize(
    ("name", "least"), [*zip(analog_mis.GRAPHS, (0.95, 0.95, 0.8), strict=True)]
)
def test_the_sweep_finds_maximum_independent_sets(name, least):
    cudaq.set_target("pasqal")
    vertices, best = analog_mis.GRAPHS[name]
    n_atoms = len(vertices)
    call = analog_mis.sweep(vertices)
    assert ground_state(compile_program(*call).timeline).bit_count() == best
    found = probabilities(*call, n_atoms)
    pairs = analog_mis.edges(vertices)
    sets = np.array(list(itertools.product((0, 1), repeat=n_atoms)))
    independent = np.all([~(sets[:, i] & sets[:, j]).astype(bool) for i, j in pairs], axis=0)
    assert found[independent & (sets.sum(axis=1) == best)].sum() > least
    if n_atoms == 5:
        exact = np.abs(analog_oracle.played(compile_program(*call).timeline)) ** 2
        assert found == pytest.approx(exact, abs=1e-5)
