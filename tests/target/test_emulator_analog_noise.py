"""Trajectory noise against the master equation, read-out errors, refused models."""

import numpy as np
import pulser
import pytest
from scipy.linalg import expm

from cudaq_target.emulator.analog import noise as nz
from cudaq_target.emulator.analog.curves import Curve
from cudaq_target.emulator.analog.integrate import evolve_rydberg
from cudaq_target.emulator.analog.observables import correlations, occupations, pauli_sum
from cudaq_target.emulator.analog.problem import RydbergProblem
from cudaq_target.emulator.analog.shots import flip_packed, sample_packed
from cudaq_target.emulator.analog.trajectories import average_noisy, sample_noisy
from cudaq_target.errors import OptionError
from tests.target.rydberg_oracle import bits_of, hamiltonian

C6 = 865_723.02
POSITIONS = np.array([[0.0, 0.0], [7.0, 0.0]])
X = np.array([[0, 1], [1, 0]], dtype=complex)
Y = np.array([[0, -1j], [1j, 0]], dtype=complex)
Z = np.diag([1.0, -1.0]).astype(complex)
FALL = np.array([[0, 1], [0, 0]], dtype=complex)
N_RUNS = 600
# Deviations beyond this many standard errors happen once in 10^6 tests.
SIGMAS = 5.0


def two_atoms(duration_ns=900.0):
    return RydbergProblem.of(
        POSITIONS,
        C6,
        duration_ns,
        Curve.constant(6.0),
        Curve.constant(2.0),
        Curve.constant(0.6),
    )


def placement(atoms=POSITIONS):
    return nz.Placement(np.asarray(atoms, dtype=float), C6)


def on_atom(matrix, atom, n_atoms=2):
    return np.kron(np.kron(np.eye(2**atom), matrix), np.eye(2 ** (n_atoms - 1 - atom)))


def master_equation(problem, jumps_per_us, moments_ns):
    """Density matrices of a constant Hamiltonian with collapse operators (rate, 2x2 matrix)."""
    n = problem.n_atoms
    size = 1 << n
    h, one = hamiltonian(problem, 0.0), np.eye(size)
    generator = -1j * (np.kron(h, one) - np.kron(one, h.T))
    for rate, matrix in jumps_per_us:
        for atom in range(n):
            c = np.sqrt(rate) * on_atom(matrix, atom, n)
            cc = c.conj().T @ c
            generator += np.kron(c, c.conj()) - 0.5 * (np.kron(cc, one) + np.kron(one, cc.T))
    start = np.zeros(size * size, dtype=complex)
    start[0] = 1.0
    return [(expm(1e-3 * t * generator) @ start).reshape(size, size) for t in moments_ns]


def words(state):
    return np.array([pauli_sum(state, [(1.0, word)]) for word in ("ZI", "ZZ", "XI", "YZ")])


def expected_words(rho):
    pauli = {"I": np.eye(2), "X": X, "Y": Y, "Z": Z}
    return [np.trace(np.kron(pauli[a], pauli[b]) @ rho).real for a, b in ("ZI", "ZZ", "XI", "YZ")]


@pytest.mark.parametrize(
    ("model", "jumps"),
    [
        (pulser.NoiseModel(relaxation_rate=1.5), [(1.5, FALL)]),
        (pulser.NoiseModel(dephasing_rate=0.8), [(1.6, np.diag([0.0, 1.0]))]),
        (pulser.NoiseModel(depolarizing_rate=0.9), [(0.225, X), (0.225, Y), (0.225, Z)]),
        (
            pulser.NoiseModel(relaxation_rate=0.7, dephasing_rate=0.5),
            [(0.7, FALL), (1.0, np.diag([0.0, 1.0]))],
        ),
    ],
    ids=["relaxation", "dephasing", "depolarizing", "both"],
)
def test_averages_follow_the_master_equation(model, jumps):
    problem = two_atoms()
    moments = (250.0, 900.0)
    mean, error = average_noisy(
        problem,
        placement(),
        nz.AnalogNoise.of(model),
        words,
        N_RUNS,
        np.random.default_rng(1),
        save_at_ns=moments,
    )
    expected = [expected_words(rho) for rho in master_equation(problem, jumps, moments)]
    assert (np.abs(mean - expected) < SIGMAS * error + 1e-3).all()


def test_shots_follow_the_master_equation():
    problem = two_atoms()
    model = pulser.NoiseModel(
        relaxation_rate=1.5, dephasing_rate=0.5, p_false_pos=0.05, p_false_neg=0.1
    )
    n_shots = 1000
    shots = sample_noisy(
        problem, placement(), nz.AnalogNoise.of(model), n_shots, np.random.default_rng(2)
    )
    jumps = [(1.5, FALL), (1.0, np.diag([0.0, 1.0]))]
    rho = master_equation(problem, jumps, [900.0])[0]
    read = np.array([[0.95, 0.1], [0.05, 0.9]])
    expected = np.kron(read, read) @ np.diag(rho).real
    # Atom 0 is bit 0 of a packed shot and the most significant bit of the basis state.
    found = np.bincount(shots[:, 0].astype(int), minlength=4)[[0, 2, 1, 3]] / n_shots
    assert (np.abs(found - expected) < SIGMAS * np.sqrt(expected / n_shots)).all()


def test_relaxation_without_a_drive_is_exponential():
    rabi = 40.0
    pulse = 1e3 * np.pi / rabi
    duration = 1000.0
    amplitude = Curve.step([0, pulse, duration], [rabi, 0.0, 0.0])
    problem = RydbergProblem(np.zeros((1, 1)), duration, amplitude)
    noise = nz.AnalogNoise.of(pulser.NoiseModel(relaxation_rate=1.0))
    shots = sample_noisy(problem, placement([[0, 0]]), noise, 800, np.random.default_rng(0))
    # During the pulse the atom is in r half of the time.
    expected = np.exp(-1e-3 * (duration - 0.5 * pulse))
    assert abs(shots.mean() - expected) < SIGMAS * np.sqrt(expected * (1 - expected) / 800)


def test_missing_atoms_read_0_and_leave_the_others_alone():
    rabi = 8.0
    near = np.array([[0.0, 0.0], [4.0, 0.0]])
    problem = RydbergProblem.of(near, C6, 1e3 * np.pi / rabi, Curve.constant(rabi))
    noise = nz.AnalogNoise.of(pulser.NoiseModel(state_prep_error=0.5))
    shots = sample_noisy(problem, placement(near), noise, 4000, np.random.default_rng(3))
    counts = np.bincount(shots[:, 0].astype(int), minlength=4) / 4000
    # Both there: blockade, sin²(√2 π/2) of one excitation; one there: a π pulse.
    both = np.sin(np.pi / np.sqrt(2.0)) ** 2
    expected = [0.25 + 0.25 * (1 - both), 0.25 + 0.125 * both, 0.25 + 0.125 * both, 0.0]
    np.testing.assert_allclose(counts, expected, atol=0.04)


def test_spam_alone_needs_one_evolution(monkeypatch):
    from cudaq_target.emulator.analog import trajectories

    calls = []
    real = trajectories._evolve_quietly
    monkeypatch.setattr(
        trajectories, "_evolve_quietly", lambda *args: calls.append(1) or real(*args)
    )
    noise = nz.AnalogNoise.of(pulser.NoiseModel(p_false_pos=0.01, p_false_neg=0.02))
    sample_noisy(two_atoms(), placement(), noise, 500, np.random.default_rng(0))
    assert len(calls) == 1


# What one run draws --------------------------------------------------------------------------


def drawn(model, seed=0, n_atoms=2):
    noise = nz.AnalogNoise.of(model)
    return noise, nz.draw(noise, n_atoms, np.random.default_rng(seed))


def test_amplitude_and_detuning_errors_change_the_curves():
    model = pulser.NoiseModel(amp_sigma=0.1, detuning_sigma=0.5)
    noise, draw = drawn(model)
    problem = nz.disturb(two_atoms(), placement(), noise, draw)
    assert draw.amplitude != 1.0
    np.testing.assert_allclose(problem.amplitude_factors, draw.amplitude)
    shift = draw.detuning_rad_per_us
    assert shift[0] == shift[1] != 0.0
    np.testing.assert_allclose(problem.detuning_offsets, shift)
    state = evolve_rydberg(problem, tolerance=1e-10).state
    expected = expm(-1e-3j * problem.duration_ns * hamiltonian(problem, 0.0))[:, 0]
    np.testing.assert_allclose(state, expected, atol=1e-9)


def test_spreads_are_those_of_the_model():
    model = pulser.NoiseModel(amp_sigma=0.05, detuning_sigma=0.5, temperature=50.0)
    noise = nz.AnalogNoise.of(model)
    rng = np.random.default_rng(5)
    draws = [nz.draw(noise, 2, rng) for _ in range(3000)]
    amplitudes = np.array([one.amplitude for one in draws])
    shifts = np.array([one.detuning_rad_per_us for one in draws])
    assert np.isclose(amplitudes.std(), 0.05, rtol=0.1)
    doppler = noise.common.doppler_rad_per_us
    assert doppler > 0.0
    assert np.isclose(shifts.std(), np.hypot(0.5, doppler), rtol=0.1)
    assert np.isclose((shifts[:, 0] - shifts[:, 1]).std(), np.sqrt(2.0) * doppler, rtol=0.1)


def test_the_beam_is_weaker_off_its_axis():
    model = pulser.NoiseModel(laser_waist=20.0)
    noise, draw = drawn(model)
    problem = nz.disturb(two_atoms(), placement([[0.0, 5.0], [10.0, 5.0]]), noise, draw)
    np.testing.assert_allclose(problem.amplitude_factors, np.exp([0.0, -0.25]))  # the axis is y


def test_displaced_atoms_interact_where_they_are():
    model = pulser.NoiseModel(
        temperature=20.0, trap_waist=1.0, trap_depth=150.0, disable_doppler=True
    )
    noise, draw = drawn(model)
    problem = nz.disturb(two_atoms(), placement(), noise, draw)
    moved = np.pad(POSITIONS, ((0, 0), (0, 1))) + draw.displacement_um
    distance = np.linalg.norm(moved[0] - moved[1])
    assert abs(distance - 7.0) > 1e-3
    assert np.isclose(problem.interactions_rad_per_us[0, 1], C6 / distance**6)


def test_local_detunings_have_an_error_of_their_own():
    model = pulser.NoiseModel(dmm_sigma=0.2)
    noise, draw = drawn(model)
    local = (Curve.constant(-4.0), np.array([0.5, 1.0]))
    start = RydbergProblem(np.zeros((2, 2)), 100.0, Curve.constant(1.0), local=(local,))
    problem = nz.disturb(start, placement(), noise, draw)
    assert draw.local != 1.0
    np.testing.assert_allclose(problem.local[0][0].at([5.0]), -4.0 * draw.local)


def test_fast_detuning_noise_is_a_sum_of_waves():
    model = pulser.NoiseModel(
        detuning_hf_psd=(1.0, 2.0, 3.0), detuning_hf_omegas=(1.0, 5.0, 9.0), detuning_sigma=0.1
    )
    noise, draw = drawn(model)
    problem = nz.disturb(two_atoms(), placement(), noise, draw)
    wave, weights = problem.local[0]
    np.testing.assert_array_equal(weights, [1.0, 1.0])
    amplitudes = np.sqrt(2.0 * 4.0 * np.array([2.0, 3.0]))
    times = np.array([0.0, 100.0, 333.0])
    expected = np.cos(1e-3 * np.outer(times, [5.0, 9.0]) + draw.hf_phases_rad) @ amplitudes
    np.testing.assert_allclose(wave.at(times), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            pulser.NoiseModel(eff_noise_opers=(X,), eff_noise_rates=(0.1,)),
            "eff_noise_opers: free collapse operators",
        ),
        (
            pulser.NoiseModel(
                with_leakage=True, eff_noise_opers=(np.eye(3),), eff_noise_rates=(0.1,)
            ),
            "with_leakage: a level besides g and r",
        ),
        ("hot", "is not a pulser.NoiseModel"),
    ],
)
def test_what_is_not_emulated_is_refused_with_the_reason(model, message):
    with pytest.raises(OptionError, match=message):
        nz.AnalogNoise.of(model)


# Shots and observables -----------------------------------------------------------------------


def random_state(n_atoms, seed=0, dtype=np.complex128):
    rng = np.random.default_rng(seed)
    state = rng.normal(size=1 << n_atoms) + 1j * rng.normal(size=1 << n_atoms)
    return (state / np.linalg.norm(state)).astype(dtype)


@pytest.mark.parametrize("n_atoms", [1, 2, 5, 8])
def test_diagonal_observables(n_atoms):
    state = 1.7 * random_state(n_atoms)  # need not be normalised
    weights = np.abs(state) ** 2 / np.vdot(state, state).real
    bits = bits_of(n_atoms)
    np.testing.assert_allclose(occupations(state), weights @ bits)
    expected = np.einsum("s,si,sj->ij", weights, bits, bits)
    np.testing.assert_allclose(correlations(state), expected)
    parity = weights @ (1 - 2 * (bits.sum(axis=1) % 2))
    assert np.isclose(pauli_sum(state, [(1.0, "Z" * n_atoms)]), parity)


def test_pauli_sums_are_matrices():
    state = random_state(3, 4)
    pauli = {"I": np.eye(2), "X": X, "Y": Y, "Z": Z}
    terms = [(0.5, "XYZ"), (-1.5, "ZIZ"), (2.0, "III"), (0.25, "IYI"), (1.0, "ZZZ")]
    dense = sum(c * np.kron(np.kron(pauli[w[0]], pauli[w[1]]), pauli[w[2]]) for c, w in terms)
    assert np.isclose(pauli_sum(state, terms), np.vdot(state, dense @ state).real)


@pytest.mark.parametrize("word", ["ZZ", "ZZZZ", "ZQZ", "zzz"])
def test_words_that_do_not_fit(word):
    with pytest.raises(OptionError, match="does not fit 3 atoms"):
        pauli_sum(random_state(3), [(1.0, word)])


def test_shots_have_the_state_s_distribution_and_bit_order():
    state = random_state(4, 1)
    n_shots = 40_000
    shots = sample_packed(state, n_shots, np.random.default_rng(0))[:, 0].astype(int)
    bits = (shots[:, None] >> np.arange(4)) & 1  # column k is atom k
    index = bits @ [8, 4, 2, 1]
    found = np.bincount(index, minlength=16) / n_shots
    expected = np.abs(state) ** 2
    assert (np.abs(found - expected) < SIGMAS * np.sqrt(expected / n_shots)).all()


def test_shots_of_some_atoms_among_more_than_64():
    one = np.array([0.0, 1.0])
    shots = sample_packed(np.kron(one, one), 3, np.random.default_rng(0), atoms=[2, 69], n_atoms=70)
    np.testing.assert_array_equal(shots, [[4, 32]] * 3)


def test_readout_errors_by_rate():
    rng = np.random.default_rng(8)
    shots = np.full((20_000, 2), (1 << 63) - 1, dtype=np.uint64)
    shots[:, 1] = 0b01
    read = flip_packed(shots, 66, 0.2, 0.1, rng)
    ones = [((read[:, k // 64] >> np.uint64(k % 64)) & np.uint64(1)).mean() for k in range(66)]
    held = [k < 63 or k == 64 for k in range(66)]
    np.testing.assert_allclose(ones, np.where(held, 0.9, 0.2), atol=0.015)
    assert not (read[:, 1] >> np.uint64(2)).any()
    assert flip_packed(shots, 66, 0.0, 0.0, rng) is shots
