"""Where atoms stand: as given, on new layouts of the right size, or on calibrated traps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pulser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulser.register.register_layout import RegisterLayout

from cudaq_target.analog.layout import matched, place, register
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.rules import analog_rules
from cudaq_target.errors import AnalogLimitError, DeviceLimitError, RegisterError
from tests.target.analog_specs import CALIBRATED, calibrated_device, fresnel_like

RAMP = Waveform.constant(400.0, 1.0)


def spec(sites, filling=None):
    return AnalogSpec.of(sites, RAMP, filling=filling)


def distances(atoms):
    return np.linalg.norm(np.subtract(np.asarray(atoms)[:, None], np.asarray(atoms)[None]), axis=-1)


def patch(n_columns, n_rows, spacing=5.0):
    x, y = np.meshgrid(np.arange(n_columns), np.arange(n_rows))
    return spacing * np.column_stack([x.ravel(), y.ravel()]).astype(float)


def moved(atoms, angle, shift):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(atoms) @ turn.T + shift


def test_no_layout_where_none_is_required():
    placement = place(analog_rules("MockDevice"), spec([(0.1234567, 3.0), (7.0, 1.0)]))
    assert placement.traps is None
    assert placement.atoms_um.tolist() == [[0.1234567, 3.0], [7.0, 1.0]]


def test_a_new_layout_has_the_optimal_filling():
    rules = analog_rules("AnalogDevice")
    placement = place(rules, spec(patch(3, 3)))
    assert placement.traps.number_of_traps == round(9 / 0.45)
    assert placement.atoms_um.tolist() == patch(3, 3).tolist()
    made = register(rules, placement.atoms_um, placement.traps)
    assert list(made.qubits) == [f"q{k}" for k in range(9)]


def test_where_the_optimal_number_of_traps_has_no_room_fewer_are_made():
    sites = [(6.0 * (x - 4), 6.0 * (y - 3.5)) for x in range(9) for y in range(8)]
    placement = place(analog_rules("AnalogDevice"), spec(sites))
    assert placement.traps.number_of_traps == 144


def test_empty_sites_become_empty_traps():
    sites = patch(4, 2)
    filling = [1, 0, 1, 0, 0, 1, 0, 1]
    placement = place(analog_rules("AnalogDevice"), spec(sites, filling))
    traps = {tuple(trap) for trap in np.round(placement.traps.sorted_coords, 6)}
    assert {tuple(site) for site in sites} <= traps
    assert len(placement.atoms_um) == 4


@pytest.mark.parametrize(("n_atoms", "n_traps"), [(10, 60), (21, 60), (25, 60), (36, 72)])
def test_layouts_within_a_smallest_number_of_traps_and_a_smallest_filling(n_atoms, n_traps):
    atoms = patch(6, 6, 7.0)[:n_atoms]
    placement = place(analog_rules(fresnel_like()), spec(atoms))
    found = placement.traps.number_of_traps
    assert found == n_traps
    assert found == 60 or 0.35 <= n_atoms / found <= 0.5


def test_sites_that_leave_too_few_of_the_traps_filled():
    sites = patch(9, 9)
    filling = np.zeros(81, dtype=int)
    filling[:21] = 1
    with pytest.raises(DeviceLimitError, match=r"needs 81 traps.* 60 to 200 traps, 35 to 50 %"):
        place(analog_rules(fresnel_like()), spec(sites, filling))


def test_atoms_outside_the_radius_are_moved_together():
    sites = patch(3, 2) + np.array([100.0, -40.0])
    placement = place(analog_rules("AnalogDevice"), spec(sites))
    assert np.linalg.norm(placement.atoms_um, axis=1).max() < 38.0
    assert distances(placement.atoms_um) == pytest.approx(distances(sites), abs=3e-6)


def test_registers_that_are_too_wide():
    with pytest.raises(
        AnalogLimitError, match=r"atom 0, 60 µm from the centre.*at most 38"
    ) as caught:
        place(analog_rules("AnalogDevice"), spec([(-60.0, 0.0), (0.0, 0.0), (60.0, 0.0)]))
    assert caught.value.atoms == (0,)
    assert caught.value.nearest == 38.0
    assert "Multiply all coordinates by 0.6333" in str(caught.value)


def test_atoms_too_close():
    with pytest.raises(
        AnalogLimitError, match=r"atoms 1 and 2, 4\.5 µm apart.*at least 5 µm"
    ) as caught:
        place(analog_rules("AnalogDevice"), spec([(0, 0), (20, 0), (20, 4.5)]))
    assert caught.value.atoms == (1, 2)
    assert caught.value.nearest == 5.0
    assert "multiply all coordinates by 1.1112" in str(caught.value)


def test_empty_sites_may_not_be_too_close_either():
    with pytest.raises(DeviceLimitError, match="Pulser says"):
        place(analog_rules("AnalogDevice"), spec([(0, 0), (20, 0), (20, 2)], [1, 1, 0]))


def test_too_many_atoms():
    with pytest.raises(
        AnalogLimitError, match="register of 81 atoms: AnalogDevice allows at most 80"
    ):
        place(analog_rules("AnalogDevice"), spec(patch(9, 9)))


def test_a_calibrated_layout_is_taken_where_the_atoms_stand_on_it():
    rules = analog_rules("AnalogDevice")
    layout = rules.layout.calibrated[0]
    placement = place(rules, spec(layout.sorted_coords[[3, 17, 40]]))
    assert placement.traps is layout
    assert placement.error_um == 0.0


@settings(max_examples=25, deadline=None)
@given(
    st.sets(st.integers(0, 48), min_size=1, max_size=20),
    st.floats(-np.pi, np.pi),
    st.tuples(st.floats(-5.0, 5.0), st.floats(-5.0, 5.0)),
)
def test_turned_and_moved_patterns_find_their_traps(traps, angle, shift):
    atoms = moved(CALIBRATED.sorted_coords[sorted(traps)], angle, shift)
    placement = place(analog_rules(calibrated_device()), spec(atoms))
    assert placement.traps is CALIBRATED
    assert placement.error_um < 1e-5
    assert distances(placement.atoms_um) == pytest.approx(distances(atoms), abs=1e-5)


def test_small_errors_are_accepted_and_stated():
    rng = np.random.default_rng(5)
    atoms = CALIBRATED.sorted_coords[[0, 8, 9, 17, 30, 44]]
    off = moved(atoms + rng.uniform(-0.02, 0.02, atoms.shape), 0.3, (1.0, 2.0))
    placement = place(analog_rules(calibrated_device()), spec(off))
    assert 1e-4 < placement.error_um < 0.05
    assert distances(placement.atoms_um) == pytest.approx(distances(atoms), abs=1e-5)


def test_atoms_off_the_traps():
    with pytest.raises(AnalogLimitError, match="even after moving all atoms together") as caught:
        place(analog_rules(calibrated_device()), spec([(0, 0), (6.5, 0), (13.0, 0)]))
    error = caught.value
    assert 0.05 < error.value < 0.6
    assert error.nearest == 0.05
    assert "Nearest trap:" in str(error)
    wide = place(
        analog_rules(calibrated_device()), spec([(0, 0), (6.5, 0), (13.0, 0)]), tolerance_um=1.0
    )
    assert wide.error_um == pytest.approx(error.value)


def test_two_atoms_at_one_trap():
    device = dataclasses.replace(calibrated_device(), min_atom_distance=1)
    with pytest.raises(AnalogLimitError, match="a trap that another atom holds"):
        place(analog_rules(device), spec([(0, 0), (1.0, 0), (0.0, 1.0)]))


def test_more_atoms_than_calibrated_traps():
    traps = RegisterLayout([(0, 0), (6, 0), (12, 0), (18, 0)])
    device = dataclasses.replace(calibrated_device(), pre_calibrated_layouts=(traps,))
    with pytest.raises(RegisterError, match=r"5 atoms fit on no layout of Calibrated.*\[4\] traps"):
        place(analog_rules(device), spec([(6 * k, 0) for k in range(5)]))


def test_calibrated_layouts_have_a_largest_filling():
    with pytest.raises(DeviceLimitError, match="Pulser says"):
        place(analog_rules(calibrated_device()), spec(patch(6, 5, 6.0)))


def test_a_layout_of_the_users():
    traps = RegisterLayout(patch(4, 4, 8.0))
    placement = place(analog_rules("AnalogDevice"), spec([(0, 0), (0, 8), (8, 8)]), traps=traps)
    assert placement.traps is traps


def test_virtual_devices_that_require_a_layout():
    device = pulser.AnalogDevice.to_virtual()
    with pytest.raises(DeviceLimitError, match="layouts are not made for virtual devices"):
        place(analog_rules(device), spec([(0, 0), (7, 0)]))
    traps = RegisterLayout([(0, 0), (7, 0), (14, 0), (0, 7)])
    assert place(analog_rules(device), spec([(0, 0), (7, 0)]), traps=traps).traps is traps


def test_one_atom_goes_to_the_nearest_trap():
    traps, error, _ = matched(CALIBRATED.sorted_coords, np.array([[1.0, 0.5]]))
    assert CALIBRATED.sorted_coords[traps[0]].tolist() == [0.0, 0.0]
    assert error == 0.0
