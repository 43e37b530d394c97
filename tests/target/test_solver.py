"""The solver against propagators that share no code with it."""

import dataclasses
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from cudaq_target import palindrome, solver
from cudaq_target.device import interaction_rad_per_us, resolve
from cudaq_target.pulses import gate_time_ns

RULES = resolve("DigitalAnalogDevice")
BEAM = RULES.rydberg
distances_um = st.floats(4.0, 9.0)
angles_rad = st.floats(-math.pi, math.pi).filter(lambda a: abs(a) > 1e-3)


def interaction(distance_um):
    return interaction_rad_per_us(RULES, distance_um)


def column(pieces, shift):
    """Amplitudes of g and r after pieces of (Ω, δ, ns), from g; H straight from the model."""
    state = np.array([1, 0], dtype=complex)
    for rabi, detuning, duration_ns in pieces:
        hamiltonian = np.array([[0, rabi / 2], [rabi / 2, shift - detuning]])
        state = expm(-1j * hamiltonian * duration_ns * 1e-3) @ state
    return state


def pieces_of(segments, rabi_factor=1.0):
    edge_ns, middle_ns = segments.edge_ns, segments.duration_ns - 2 * segments.edge_ns
    (r1, r2), (d1, d2) = segments.rabi_rad_per_us, segments.detuning_rad_per_us
    edge = (rabi_factor * r1, d1, edge_ns)
    return [edge, (rabi_factor * r2, d2, middle_ns), edge]


def block_infidelity(segments, v, theta, v_factor=1.0, rabi_factor=1.0):
    """1 - F of the block with perfect π pulses and the corrections of the unperturbed pulse."""
    pieces = pieces_of(segments, rabi_factor)
    a = column(pieces, 0.0)[0] * np.exp(-1j * segments.phase_free_rad)
    b = column(pieces, v * v_factor)[0] * np.exp(-1j * (segments.phase_free_rad + theta))
    return 1 - abs(2 + a + b) ** 2 / 16


@settings(deadline=None, max_examples=60)
@given(distances_um, angles_rad)
def test_pulses_are_exact_and_within_limits(distance_um, theta):
    v = interaction(distance_um)
    duration_ns = gate_time_ns(RULES, v, theta)
    found = solver.solve(v, theta, duration_ns, BEAM)
    assert found is not None
    a, r0 = column(pieces_of(found), 0.0)
    b, r1 = column(pieces_of(found), v)
    assert max(abs(r0), abs(r1)) <= 1e-10
    assert abs(np.angle(b / a * np.exp(-1j * theta))) <= 1e-10
    assert abs(np.angle(a * np.exp(-1j * found.phase_free_rad))) <= 1e-10
    assert abs(np.angle(b * np.exp(-1j * found.phase_blocked_rad))) <= 1e-10
    assert min(found.rabi_rad_per_us) >= 0
    assert max(found.rabi_rad_per_us) <= BEAM.max_rabi_rad_per_us
    assert max(map(abs, found.detuning_rad_per_us)) <= BEAM.max_detuning_rad_per_us
    assert found.duration_ns == duration_ns
    assert found.edge_ns % BEAM.clock_ns == 0


@pytest.mark.parametrize("theta", [math.pi, -math.pi / 2, math.pi / 4])
@pytest.mark.parametrize("distance_um", [4.0, 5.0, 6.0, 6.93])
def test_residuals_reach_the_last_digits(distance_um, theta):
    v = interaction(distance_um)
    found = solver.solve(v, theta, 220, BEAM)
    x = np.array([*found.rabi_rad_per_us, *found.detuning_rad_per_us])
    middle_us = (found.duration_ns - 2 * found.edge_ns) * 1e-3
    problem = np.array([v, theta, found.edge_ns * 1e-3, middle_us, 1.0, 1.0, 0.0])
    linear = np.empty((3, 5))
    palindrome.linearise(x, problem, np.empty((16, 3)), linear)
    assert np.abs(linear[:2, 4]).max() <= 1e-12
    assert abs(2 * linear[2, 4]) <= 1e-11


@pytest.mark.parametrize("turns", [1, 2, 5])
def test_the_closed_form_cz_is_a_solution(turns):
    """V T = 2πm, δ = V/2m², Ω = (2π/T)·sqrt(1 - 1/4m²): one segment cut into three."""
    duration_us = 0.2
    v = 2 * math.pi * turns / duration_us
    detuning = v / (2 * turns**2)
    rabi = 2 * math.pi / duration_us * math.sqrt(1 - 1 / (4 * turns**2))
    problem = np.array([v, math.pi, 0.05, 0.1, 1e3, 1e3, 0.0])
    linear = np.empty((3, 5))
    x = np.array([rabi, rabi, detuning, detuning])
    palindrome.linearise(x, problem, np.empty((16, 3)), linear)
    assert np.abs(linear[:, 4]).max() < 1e-12


def test_the_jacobian_matches_differences():
    rng = np.random.default_rng(1)
    problem = np.array([300.0, 1.0, 0.048, 0.124, 1.0, 1.0, 0.0])
    x = np.array([30.0, 50.0, -20.0, 35.0])
    linear, shifted, work = np.empty((3, 5)), np.empty((3, 5)), np.empty((16, 3))
    for _ in range(20):
        x = x + rng.normal(0, 5, 4)
        palindrome.linearise(x, problem, work, linear)
        for k in range(4):
            step = 1e-6 * np.eye(4)[k]
            palindrome.linearise(x + step, problem, work, shifted)
            upper = shifted[:, 4].copy()
            palindrome.linearise(x - step, problem, work, shifted)
            slope = (upper - shifted[:, 4]) / 2e-6
            assert np.allclose(slope, linear[:, k], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("theta", [math.pi, -1.0])
@pytest.mark.parametrize("distance_um", [4.5, 6.0, 7.0])
def test_sensitivities_predict_the_infidelity(distance_um, theta):
    v = interaction(distance_um)
    found = solver.solve(v, theta, 220, BEAM)
    assert block_infidelity(found, v, theta) < 1e-13
    step = 1e-5
    upper, lower = (column(pieces_of(found), v * (1 + s)) for s in (step, -step))
    slope = np.angle(upper[0] / lower[0]) / (2 * step)
    assert slope == pytest.approx(found.dphase_dlnv_rad, rel=1e-4, abs=1e-6)
    assert abs(upper[1] - lower[1]) / (2 * step) == pytest.approx(
        found.dreturn_dlnv, rel=1e-4, abs=1e-6
    )
    by_v = [
        block_infidelity(found, v, theta, v_factor=math.exp(change))
        for change in palindrome.LN_INTERACTION_SAMPLES
    ]
    by_rabi = [  # the average of both signs cancels the third order
        block_infidelity(found, v, theta, rabi_factor=1 + sign * palindrome.SIGMA_LN_RABI)
        for sign in (-1, 1)
    ]
    assert np.mean(by_v) + np.mean(by_rabi) == pytest.approx(found.infidelity, rel=2e-2)


def test_the_same_question_has_the_same_answer():
    first, second = (solver.solve(interaction(5.5), 2.0, 220, BEAM) for _ in range(2))
    assert first == second


def test_too_short_a_pulse_has_no_solution():
    """At 10 µm V is 5.4 rad/µs: 220 ns cannot make a phase of π."""
    assert solver.solve(interaction(10.0), math.pi, 220, BEAM) is None


@pytest.mark.parametrize("mean_mhz", [1.0, 3.0, 5.0])
@pytest.mark.parametrize("theta", [math.pi, 1.0, -1.5])
@pytest.mark.parametrize("distance_um", [4.0, 6.0, 8.0, 10.0])
def test_the_mean_rabi_frequency_is_at_least_the_smallest(distance_um, theta, mean_mhz):
    mean = 2 * math.pi * mean_mhz
    beam = dataclasses.replace(BEAM, min_average_rabi_rad_per_us=mean)
    rules = dataclasses.replace(RULES, rydberg=beam)
    v = interaction(distance_um)
    first_ns = gate_time_ns(rules, v, theta)
    tries = (solver.solve(v, theta, first_ns + 4 * k, beam) for k in range(64))
    found = next(segments for segments in tries if segments is not None)
    pieces = pieces_of(found)
    assert sum(rabi * t for rabi, _, t in pieces) / found.duration_ns >= mean
    a, r0 = column(pieces, 0.0)
    b, r1 = column(pieces, v)
    assert max(abs(r0), abs(r1)) <= 1e-10
    assert abs(np.angle(b / a * np.exp(-1j * theta))) <= 1e-10
    assert max(found.rabi_rad_per_us) <= beam.max_rabi_rad_per_us


def test_without_a_smallest_mean_the_edges_are_pi_pulses():
    assert solver.edge_lengths_ns(1000, BEAM)[0] == (48,)
    beam = dataclasses.replace(BEAM, min_average_rabi_rad_per_us=2 * math.pi * 2.9)
    assert solver.edge_lengths_ns(1000, beam)[0] == (148,)  # 3π each: 3 turns in 1 µs


def test_without_numba_the_same_code_gives_the_same_pulse():
    code = (
        "from cudaq_target import solver; from cudaq_target.device import resolve; "
        f"s = solver.solve({interaction(5.0)!r}, 1.0, 220, resolve().rydberg); "
        "print(s.edge_ns, *s.rabi_rad_per_us, *s.detuning_rad_per_us)"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    plain = [float(word) for word in done.stdout.split()]
    found = solver.solve(interaction(5.0), 1.0, 220, BEAM)
    compiled = [found.edge_ns, *found.rabi_rad_per_us, *found.detuning_rad_per_us]
    assert np.allclose(plain, compiled, rtol=1e-6, atol=1e-6)
