"""Closed-form propagators against matrix exponentials and textbook formulas."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.linalg import expm

from cudaq_target.emulator.clusters import cluster_propagator
from cudaq_target.emulator.propagators import time_ordered, two_level
from cudaq_target.emulator.windows import Drive

drives = st.tuples(
    st.floats(0, 80), st.floats(-120, 120), st.floats(0, 2 * np.pi), st.floats(0, 2000)
)


def exponential(rabi, detuning, phase, duration_ns):
    hop = rabi / 2 * np.exp(-1j * phase)
    hamiltonian = np.array([[0, hop], [np.conj(hop), -detuning]])
    return expm(-1e-3j * duration_ns * hamiltonian)


@given(drive=drives)
def test_closed_form_is_the_exponential(drive):
    np.testing.assert_allclose(two_level(*drive), exponential(*drive), atol=1e-11)


@given(drive=drives, decay=st.floats(0, 5))
@example(drive=(0.0, 0.0, 0.0, 2.2e-311), decay=1.0)
def test_imaginary_detuning_is_decay_of_the_upper_level(drive, decay):
    rabi, detuning, phase, duration = drive
    propagator = two_level(rabi, detuning + 0.5j * decay, phase, duration)
    np.testing.assert_allclose(
        propagator, exponential(rabi, detuning + 0.5j * decay, phase, duration), atol=1e-11
    )
    assert np.linalg.norm(propagator, 2) <= 1 + 1e-12


def test_resonant_half_turn_carries_the_phase_of_its_beam():
    """From the lower level a π/2 pulse gives -i e^{iφ}/√2 on the upper one."""
    phase = 0.7
    amplitude = two_level(np.pi / 2, 0.0, phase, 1000.0)[1, 0]
    assert amplitude == pytest.approx(-1j * np.exp(1j * phase) / np.sqrt(2), abs=1e-15)


def test_no_drive_for_no_time_is_the_identity():
    np.testing.assert_array_equal(two_level(0.0, 0.0, 0.0, 0.0), np.eye(2))


@pytest.mark.parametrize("n_pieces", [1, 2, 3, 7, 8])
def test_pieces_are_multiplied_in_time_order(n_pieces):
    rng = np.random.default_rng(n_pieces)
    pieces = rng.normal(size=(n_pieces, 4, 2, 2)) + 0j
    expected = pieces[0]
    for piece in pieces[1:]:
        expected = piece @ expected
    np.testing.assert_allclose(time_ordered(pieces), expected, rtol=1e-12)


def test_blockaded_pair_oscillates_faster():
    """Two atoms driven together under strong blockade: Rabi frequency Ω√2, one excitation."""
    rabi, duration_ns = 5.0, 300.0
    drive = [
        Drive(k, np.array([duration_ns]), np.array([rabi]), np.array([0.0]), 0.0) for k in (0, 1)
    ]
    coupling = np.array([[0.0, 1e6], [1e6, 0.0]])
    propagator = cluster_propagator(drive, coupling, np.zeros((1, 2)))[0]
    ground = abs(propagator[0, 0]) ** 2
    expected = np.cos(np.sqrt(2) * rabi * duration_ns * 1e-3 / 2) ** 2
    assert ground == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(propagator @ propagator.conj().T, np.eye(9), atol=1e-8)
