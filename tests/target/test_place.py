"""Placement: compact, inside the rules, near where gates are."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from pulser.register.special_layouts import TriangularLatticeLayout

from cudaq_target.device import resolve
from cudaq_target.errors import DeviceLimitError, OptionError
from cudaq_target.native_ops import CCZ, CPhase, NativeCircuit
from cudaq_target.place import lattice_spacing_um, place, triangular_patch
from cudaq_target.sites import read_sites
from tests.target.circuits_on_atoms import ghz

DAD = resolve("DigitalAnalogDevice")


@pytest.mark.parametrize("n", [1, 2, 3, 7, 19, 61])
def test_patch_is_a_compact_triangular_lattice(n: int) -> None:
    sites = triangular_patch(n, 4.0)
    assert sites.shape == (n, 2)
    np.testing.assert_allclose(sites.mean(axis=0), 0.0, atol=1e-9)
    if n > 1:
        gaps = np.linalg.norm(sites[:, None] - sites[None], axis=-1)[np.triu_indices(n, 1)]
        assert gaps.min() == pytest.approx(4.0)
    # The hexagonal numbers fill whole hexagons: the radius is a number of rings.
    rings = {1: 0, 7: 1, 19: 2, 61: 4}
    if n in rings:
        assert np.linalg.norm(sites, axis=1).max() == pytest.approx(4.0 * rings[n])


def test_seven_qubits_are_all_within_two_lattice_constants() -> None:
    assert place(ghz(7), DAD).distances_um.max() <= 2 * lattice_spacing_um(DAD) + 1e-5


@pytest.mark.parametrize("n", [4, 8, 12, 24])
def test_a_chain_becomes_a_chain_of_neighbours(n: int) -> None:
    placement = place(ghz(n), DAD)
    steps = [placement.distances_um[q, q + 1] for q in range(n - 1)]
    assert max(steps) < 2 * lattice_spacing_um(DAD) + 1e-5
    assert np.median(steps) == pytest.approx(lattice_spacing_um(DAD), abs=1e-5)


def test_interactions_follow_from_the_rounded_coordinates() -> None:
    placement = place(ghz(5), DAD)
    np.testing.assert_array_equal(placement.coordinates_um, np.round(placement.coordinates_um, 6))
    off = ~np.eye(5, dtype=bool)
    expected = DAD.c6_rad_per_us_um6 / placement.distances_um[off] ** 6
    np.testing.assert_allclose(placement.interactions_rad_per_us[off], expected, rtol=1e-14)


def test_one_site_per_qubit_is_taken_as_given() -> None:
    layout = np.array([[0.0, 0.0], [30.0, 0.0], [5.0, 0.0]])
    placement = place(ghz(3), DAD, read_sites(layout))
    np.testing.assert_allclose(placement.coordinates_um, layout)


def test_spare_sites_are_chosen_among() -> None:
    layout = np.array([[0.0, 0.0], [30.0, 0.0], [5.0, 0.0], [10.0, 0.0]])
    native = NativeCircuit(2, (CPhase(0, 1, math.pi),), (0, 1))
    assert place(native, DAD, read_sites(layout)).distances_um[0, 1] == pytest.approx(5.0)


def test_equal_input_gives_equal_places() -> None:
    first, second = place(ghz(11), DAD), place(ghz(11), DAD)
    np.testing.assert_array_equal(first.coordinates_um, second.coordinates_um)


def test_too_many_qubits_names_the_number_and_the_limit() -> None:
    with pytest.raises(DeviceLimitError) as caught:
        place(ghz(101), DAD)
    assert str(caught.value) == (
        "a kernel of 101 qubits: DigitalAnalogDevice allows at most 100 atoms. "
        "Use fewer qubits or a larger device (Pasqal(device=...))."
    )


def test_sites_too_close_name_the_pair() -> None:
    layout = np.array([[0.0, 0.0], [9.0, 0.0], [11.5, 0.0]])
    with pytest.raises(DeviceLimitError, match=r"qubits 1 and 2 are 2\.500 µm apart.*4 µm"):
        place(ghz(3), DAD, read_sites(layout))


def test_sites_too_far_out_name_the_qubit() -> None:
    layout = np.array([[0.0, 0.0], [60.0, 0.0]])
    with pytest.raises(DeviceLimitError, match=r"qubit 1 is 60\.0 µm from the centre.*50 µm"):
        place(ghz(2), DAD, read_sites(layout))


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        (np.zeros((3,)), "shape"),
        (np.zeros((3, 4)), "shape"),
        (np.array([[0.0, np.nan], [5.0, 0.0]]), "not usable"),
        (np.array([[0.0, 0.0]]), "1 sites for 2 qubits"),
    ],
)
def test_unusable_layouts_are_refused(layout: np.ndarray, reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        place(ghz(2), DAD, read_sites(layout))


def test_no_qubits_at_all() -> None:
    assert place(NativeCircuit(0, (), ()), DAD).coordinates_um.shape == (0, 2)


def toffoli_chain(n: int) -> NativeCircuit:
    return NativeCircuit(n, tuple(CCZ(k, k + 1, k + 2) for k in range(n - 2)), tuple(range(n)))


@pytest.mark.parametrize("n", [3, 5, 6, 7, 8, 10])
def test_a_chain_of_ccz_becomes_a_strip_of_triangles(n: int) -> None:
    distances = place(toffoli_chain(n), DAD).distances_um
    for k in range(n - 2):
        of_gate = distances[[k, k, k + 1], [k + 1, k + 2, k + 2]]
        np.testing.assert_allclose(of_gate, lattice_spacing_um(DAD), atol=1e-5)


@pytest.mark.parametrize("n", [4, 9, 20])
def test_traps_near_each_other_are_chosen(n: int) -> None:
    layout = read_sites(TriangularLatticeLayout(180, 5.0))
    chosen = place(ghz(n), DAD, layout)
    steps = [chosen.distances_um[q, q + 1] for q in range(n - 1)]
    assert np.median(steps) == pytest.approx(5.0, abs=1e-5)
    assert chosen.distances_um.max() <= 5.0 * math.sqrt(n) * 2.5


def test_irregular_sites_are_chosen_among_as_well() -> None:
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(np.arange(10), np.arange(10)), axis=-1).reshape(-1, 2) * 6.0 - 27.0
    layout = read_sites(grid + rng.uniform(-0.9, 0.9, grid.shape))
    chosen = place(ghz(8), DAD, layout)
    assert max(chosen.distances_um[q, q + 1] for q in range(7)) < 9.0


def test_spare_sites_too_close_to_others_are_left_empty() -> None:
    layout = read_sites([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [5.0, 0.0], [0.5, 0.5], [5.0, 6.0]])
    assert place(ghz(3), DAD, layout).distances_um[np.triu_indices(3, 1)].min() >= 4.0


def test_placing_leaves_the_generator_of_compiled_code_alone() -> None:
    @numba.njit
    def draw() -> float:
        return np.random.random()  # noqa: NPY002

    @numba.njit
    def seed() -> None:
        np.random.seed(7)  # noqa: NPY002

    seed()
    expected = [draw(), draw()]
    seed()
    first = draw()
    place(ghz(6), DAD)
    assert [first, draw()] == expected
