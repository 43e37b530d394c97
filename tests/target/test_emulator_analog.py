"""The analog emulator: closed forms, a dense oracle, orders of convergence, error estimates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from cudaq_target.emulator.analog.curves import Curve
from cudaq_target.emulator.analog.integrate import distance, evolve_rydberg, longest_step_ns
from cudaq_target.emulator.analog.observables import occupations
from cudaq_target.emulator.analog.problem import RydbergProblem
from cudaq_target.emulator.analog.stages import Pace
from cudaq_target.errors import MemoryLimitError, OptionError
from tests.target.rydberg_oracle import hamiltonian, solve

TWO_PI = 2.0 * np.pi
C6 = 865_723.02  # rad/µs·µm⁶, AnalogDevice
EXACT = {"tolerance": 1e-10}


def single(duration_ns, amplitude, detuning=0.0, phase=0.0):
    def curve(value):
        return value if isinstance(value, Curve) else Curve.constant(value)

    parts = (curve(amplitude), curve(detuning), curve(phase))
    return RydbergProblem(np.zeros((1, 1)), duration_ns, *parts)


def random_problem(rng, n_atoms, *, per_atom=True, duration_ns=240.0):
    """Curves of every kind with kinks at different moments, phases that move and jump."""
    strength = np.triu(rng.uniform(0.0, 15.0, (n_atoms, n_atoms)), 1)
    shape = (n_atoms,) if per_atom else ()
    amplitude = Curve.linear([0, 70, 155.5, duration_ns], rng.uniform(0, 12, (4, *shape)))
    detuning = Curve.smooth([0, 60, 180, duration_ns], rng.uniform(-20, 20, (4, *shape)))
    phase = Curve.step([0, 90.25, 200, duration_ns], rng.uniform(-3, 3, (4, *shape)))
    local = (Curve.linear([0, duration_ns], [0.0, -8.0]), rng.uniform(0, 1, n_atoms))
    return RydbergProblem(strength + strength.T, duration_ns, amplitude, detuning, phase, (local,))


# Closed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("rabi", [0.5, 4.0, 60.0])
def test_rabi(rabi):
    result = evolve_rydberg(single(500.0, rabi), **EXACT)
    angle = 0.5 * rabi * 0.5
    expected = [np.cos(angle), -1j * np.sin(angle)]
    np.testing.assert_allclose(result.state, expected, atol=1e-10)


def test_detuned_rabi():
    rabi, detuning = 5.0, -3.0
    result = evolve_rydberg(single(700.0, rabi, detuning), **EXACT)
    w = np.hypot(rabi, detuning)
    c, s = np.cos(0.35 * w), np.sin(0.35 * w)
    frame = np.exp(0.35j * detuning)
    expected = [frame * (c - 1j * detuning / w * s), -1j * frame * rabi / w * s]
    np.testing.assert_allclose(result.state, expected, atol=1e-9)


@pytest.mark.parametrize("n_atoms", [2, 3, 4, 7])
def test_blockaded_atoms_share_one_excitation_at_sqrt_n_times_the_rate(n_atoms):
    rabi, blockade = 1.0, 4000.0
    everywhere = blockade * (np.ones((n_atoms, n_atoms)) - np.eye(n_atoms))
    duration = 1e3 * np.pi / (np.sqrt(n_atoms) * rabi)
    problem = RydbergProblem(everywhere, duration, Curve.constant(rabi))
    result = evolve_rydberg(problem, tolerance=1e-6)
    populations = np.abs(result.state) ** 2
    one = [1 << atom for atom in range(n_atoms)]
    # Light shift and leakage are of the order of n Ω/V.
    np.testing.assert_allclose(populations[one], 1.0 / n_atoms, atol=2e-3)
    assert populations[0] < 2e-3


@pytest.mark.parametrize("rate", [30.0, 120.0])
def test_landau_zener(rate):
    rabi, half_ns = 6.0, 8000.0
    reach = rate * 1e-3 * half_ns
    detuning = Curve.linear([0, 2 * half_ns], [-reach, reach])
    result = evolve_rydberg(single(2 * half_ns, rabi, detuning), tolerance=1e-6)
    stays = np.exp(-0.5 * np.pi * rabi**2 / rate)
    # The sweep is finite: oscillations of the order of Ω over its reach are left.
    assert abs(abs(result.state[0]) ** 2 - stays) < 2.0 * rabi / reach


@pytest.mark.parametrize("phase", [0.0, 0.7, -1.3, np.pi / 2])
def test_a_resonant_half_turn_leaves_minus_i_e_to_the_i_phi_on_r(phase):
    rabi = 4.0
    result = evolve_rydberg(single(1e3 * np.pi / 2 / rabi, rabi, phase=phase), **EXACT)
    expected = np.array([1.0, -1j * np.exp(1j * phase)]) / np.sqrt(2.0)
    np.testing.assert_allclose(result.state, expected, atol=1e-10)


@pytest.mark.parametrize("jump", [0.4, 2.0, np.pi])
def test_phase_jump_between_two_half_turns(jump):
    rabi = 4.0
    quarter = 1e3 * np.pi / 2 / rabi
    phase = Curve.step([0, quarter, 2 * quarter], [0.0, jump, jump])
    result = evolve_rydberg(single(2 * quarter, rabi, phase=phase), **EXACT)

    def half_turn(angle):
        return np.array(
            [[1.0, -1j * np.exp(-1j * angle)], [-1j * np.exp(1j * angle), 1.0]]
        ) / np.sqrt(2.0)

    np.testing.assert_allclose(result.state, half_turn(jump) @ half_turn(0.0)[:, 0], atol=1e-10)
    assert np.isclose(abs(result.state[1]) ** 2, np.cos(jump / 2) ** 2)


def test_a_phase_that_moves_is_a_detuning_of_the_opposite_sign():
    slope, duration = 5.0, 600.0
    moving = Curve.linear([0, duration], [0.0, slope * 1e-3 * duration])
    by_phase = evolve_rydberg(single(duration, 7.0, 1.0, moving), **EXACT).state
    by_detuning = evolve_rydberg(single(duration, 7.0, 1.0 - slope), **EXACT).state
    frame = np.array([1.0, np.exp(1j * slope * 1e-3 * duration)])
    np.testing.assert_allclose(by_phase, frame * by_detuning, atol=1e-9)


@pytest.mark.parametrize("detuning", [0.0, 3.0, -8.0])
def test_ramsey(detuning):
    rabi, wait = 30.0, 500.0
    pulse = 1e3 * np.pi / 2 / rabi
    times = [0, pulse, pulse + wait, 2 * pulse + wait]
    amplitude = Curve.step(times, [rabi, 0.0, rabi, 0.0])
    offset = Curve.step(times, [0.0, detuning, 0.0, 0.0])
    result = evolve_rydberg(single(times[-1], amplitude, offset), **EXACT)
    expected = np.cos(0.5e-3 * detuning * wait) ** 2
    assert np.isclose(abs(result.state[1]) ** 2, expected, atol=1e-9)


def test_atom_0_is_the_most_significant_bit():
    amplitude = Curve.constant([2.0, 0.0, 0.0])
    problem = RydbergProblem(np.zeros((3, 3)), 1e3 * np.pi / 2.0, amplitude)
    result = evolve_rydberg(problem, **EXACT)
    assert np.isclose(abs(result.state[0b100]), 1.0)
    np.testing.assert_allclose(occupations(result.state), [1.0, 0.0, 0.0], atol=1e-9)


# Dense oracle --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_atoms", [1, 2, 3, 5])
def test_random_problems_against_a_dense_integrator(n_atoms, seed):
    rng = np.random.default_rng([n_atoms, seed])
    problem = random_problem(rng, n_atoms, per_atom=bool(seed % 2))
    initial = rng.normal(size=1 << n_atoms) + 1j * rng.normal(size=1 << n_atoms)
    initial /= np.linalg.norm(initial)
    result = evolve_rydberg(problem, initial_state=initial, **EXACT)
    np.testing.assert_allclose(result.state, solve(problem, initial), atol=5e-10)


@pytest.mark.parametrize("n_atoms", [6, 8])
def test_constant_drives_against_the_matrix_exponential(n_atoms):
    rng = np.random.default_rng(n_atoms)
    positions = 6.0 * np.stack([np.arange(n_atoms), rng.uniform(0, 0.3, n_atoms)], axis=1)
    parts = (
        Curve.constant(rng.uniform(2, 9, n_atoms)),
        Curve.constant(rng.uniform(-9, 9, n_atoms)),
    )
    problem = RydbergProblem.of(
        positions, C6, 300.0, *parts, Curve.constant(rng.uniform(-3, 3, n_atoms))
    )
    expected = expm(-0.3j * hamiltonian(problem, 0.0))[:, 0]
    result = evolve_rydberg(problem, **EXACT)
    np.testing.assert_allclose(result.state, expected, atol=1e-9)
    assert result.error_estimate <= 1e-10


@pytest.mark.parametrize(("order", "longest"), [(2, 4.0), (4, 10.0)])
def test_order_of_convergence(order, longest):
    problem = random_problem(np.random.default_rng(11), 4)
    exact = solve(problem)
    errors = [
        np.linalg.norm(evolve_rydberg(problem, order=order, step_ns=step).state - exact)
        for step in (longest, longest / 2, longest / 4)
    ]
    ratios = np.array(errors[:-1]) / errors[1:]
    np.testing.assert_allclose(ratios, 2.0**order, rtol=0.15)


def test_a_kink_off_the_grid_costs_no_order():
    ramp = Curve.linear([0, 33.37, 77.1, 120], [0.0, 12.0, 12.0, 0.0])
    problem = RydbergProblem.of([[0, 0], [6, 0]], C6, 120.0, ramp, Curve.constant(5.0))
    exact = solve(problem)
    errors = [
        np.linalg.norm(evolve_rydberg(problem, step_ns=step).state - exact)
        for step in (12.0, 6.0, 3.0)
    ]
    assert errors[0] / errors[1] > 12.0
    assert errors[1] / errors[2] > 12.0


@given(seed=st.integers(0, 2**32 - 1), n_atoms=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_the_error_estimate_is_met(seed, n_atoms):
    problem = random_problem(np.random.default_rng(seed), n_atoms, duration_ns=220.0)
    result = evolve_rydberg(problem, tolerance=1e-7)
    actual = distance(result.state, solve(problem))
    assert result.error_estimate <= 1e-7
    assert actual <= 3.0 * result.error_estimate + 1e-11


def test_random_samples_are_played_ns_by_ns():
    rng = np.random.default_rng(4)
    amplitude, detuning = rng.uniform(0, 10, 40), rng.uniform(-10, 10, 40)
    problem = RydbergProblem.of(
        [[0, 0], [5.5, 0]],
        C6,
        40.0,
        Curve.of_steps(amplitude),
        Curve.of_steps(detuning),
    )
    expected = np.eye(4)[0].astype(complex)
    for ns in range(40):
        expected = expm(-1e-3j * hamiltonian(problem, ns + 0.5)) @ expected
    np.testing.assert_allclose(evolve_rydberg(problem, **EXACT).state, expected, atol=1e-9)


# What the integrator promises ----------------------------------------------------------------


def sweep(n_atoms, duration_ns=1000.0):
    positions = [[6.0 * (k % 4), 6.0 * (k // 4)] for k in range(n_atoms)]
    ramp = [0.0, 0.2 * duration_ns, 0.8 * duration_ns, duration_ns]
    rabi, reach = 1.5 * TWO_PI, 3.0 * TWO_PI
    return RydbergProblem.of(
        positions,
        C6,
        duration_ns,
        Curve.linear(ramp, [0.0, rabi, rabi, 0.0]),
        Curve.linear(ramp, [-reach, -reach, reach, reach]),
    )


def test_saved_states_are_those_of_shorter_programs():
    problem = random_problem(np.random.default_rng(3), 3)
    moments = (0.0, 31.4, 90.25, 120.0, 240.0)
    result = evolve_rydberg(problem, save_at_ns=moments, **EXACT)
    assert result.times_ns == moments
    assert np.isclose(result.saved[0][0], 1.0)
    for moment, state in zip(moments[1:], result.saved[1:], strict=True):
        np.testing.assert_allclose(state, solve(problem, end_ns=moment), atol=1e-9)
    np.testing.assert_array_equal(result.saved[-1], result.state)


def test_measured_values_replace_states():
    problem = sweep(4)
    result = evolve_rydberg(problem, save_at_ns=(500.0, 1000.0), measure=occupations)
    states = evolve_rydberg(problem, save_at_ns=(500.0, 1000.0))
    for values, state in zip(result.saved, states.saved, strict=True):
        np.testing.assert_array_equal(values, occupations(state))


@pytest.mark.parametrize("n_atoms", [12, 14])
def test_threads_and_back_ends_change_nothing(n_atoms):
    problem = sweep(n_atoms, 200.0)
    one, two = (evolve_rydberg(problem, step_ns=10.0, threads=k).state for k in (1, 2))
    np.testing.assert_array_equal(one, two)
    if n_atoms == 12:
        slow = evolve_rydberg(problem, step_ns=10.0, backend="numpy").state
        np.testing.assert_allclose(one, slow, atol=1e-13)


def test_single_precision():
    problem = sweep(11)
    double = evolve_rydberg(problem, step_ns=10.0).state
    single_precision = evolve_rydberg(problem, step_ns=10.0, dtype=np.complex64).state
    assert single_precision.dtype == np.complex64
    probabilities = np.abs(double) ** 2 - np.abs(single_precision) ** 2
    assert np.abs(probabilities).max() < 2e-6


def test_longest_step_follows_the_fastest_rate():
    assert longest_step_ns(single(100.0, 2.0)) == 20.0
    near = RydbergProblem.of([[0, 0], [4, 0]], C6, 100.0, Curve.constant(1.0))
    assert np.isclose(longest_step_ns(near), 1e3 / (C6 / 4.0**6))


def test_a_refined_pace_takes_more_steps_on_short_stretches_too():
    coarse = Pace(20.0)
    fine = coarse.refined(2.0).refined(1.25)
    assert [coarse.n_steps(length) for length in (1.0, 20.0, 50.0)] == [1, 1, 3]
    assert [fine.n_steps(length) for length in (1.0, 20.0, 50.0)] == [3, 3, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 3}, "order=3: is not implemented. Use 2 or 4"),
        ({"step_ns": 0.0}, "step_ns=0.0"),
        ({"step_ns": float("nan")}, "step_ns=nan"),
        ({"tolerance": -1.0}, "tolerance=-1.0"),
        ({"save_at_ns": (5.0, 4.0)}, "does not ascend"),
        ({"save_at_ns": (5000.0,)}, "does not ascend"),
        ({"save_at_ns": (float("nan"),)}, "does not ascend"),
        ({"initial_state": np.ones(3)}, r"initial_state: has shape \(3,\). 2 atoms have 4"),
        ({"tolerance": 1e-12, "dtype": np.complex64}, "was not met"),
    ],
)
def test_bad_options_are_named(options, message):
    problem = sweep(2)
    with pytest.raises(OptionError, match=message):
        evolve_rydberg(problem, **options)


def test_what_does_not_fit_into_memory_is_refused():
    problem = RydbergProblem(np.zeros((44, 44)), 10.0, Curve.constant(1.0))
    with pytest.raises(MemoryLimitError, match="emulating 44 qubits needs"):
        evolve_rydberg(problem)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interactions_rad_per_us": np.zeros((2, 3))}, r"has shape \(2, 3\)"),
        ({"duration_ns": 0.0}, "duration_ns: is 0.0"),
        ({"duration_ns": 101.0}, "amplitude: ends at 100 ns, the program at 101 ns"),
        ({"detuning": Curve.constant([1.0, 2.0, 3.0])}, "detuning: is given for 3 atoms"),
        ({"detuning": Curve.constant(np.inf)}, "detuning: is not finite at 0 ns"),
    ],
)
def test_bad_problems_are_named(changes, message):
    named = {
        "interactions_rad_per_us": np.zeros((2, 2)),
        "duration_ns": 100.0,
        "amplitude": Curve.linear([0, 100], [1.0, 2.0]),
    }
    with pytest.raises(OptionError, match=message):
        RydbergProblem(**(named | changes))


def test_atoms_in_one_place_are_named():
    with pytest.raises(OptionError, match="atoms 0 and 2 have no finite interaction"):
        RydbergProblem.of([[0, 0], [5, 0], [0, 0]], C6, 100.0, Curve.constant(1.0))


@pytest.mark.parametrize("close_ns", [0.6, 2.0, 4.0])
def test_smooth_curves_with_close_points_meet_the_tolerance(close_ns):
    times = [0.0, 80.0, 80.0 + close_ns, 130.0, 200.0]
    amplitude = Curve.smooth(times, [9.0, 1.0, 14.0, 12.0, 2.0])
    detuning = Curve.smooth(times, [-6.0, 12.0, -8.0, 4.0, 0.0])
    problem = single(200.0, amplitude, detuning)
    for tolerance in (1e-3, 1e-6):
        result = evolve_rydberg(problem, tolerance=tolerance)
        assert distance(solve(problem), result.state) < 1.5 * tolerance
