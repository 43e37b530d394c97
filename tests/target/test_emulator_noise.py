"""Noise of the embedded emulator: Lindblad equations, closed forms, Pulser's own draws."""

import dataclasses

import numpy as np
import pulser
import pytest
from pulser._hamiltonian_data.hamiltonian_data import HamiltonianData
from pulser.noise_model import _doppler_sigma, _register_sigma_xy_z
from scipy.stats import chi2

from cudaq_target import device
from cudaq_target.emulator import noise as nz
from cudaq_target.emulator.run import couplings_of, emulate
from cudaq_target.emulator.trajectories import sample_noisy
from cudaq_target.errors import MemoryLimitError, OptionError
from cudaq_target.machines.local import LocalMachine
from cudaq_target.sequence import to_sequence
from cudaq_target.timeline import Pulse, PulseProgram, Slot
from tests.target import emulator_oracle as oracle
from tests.target import programs

RULES = device.rules(pulser.DigitalAnalogDevice)

ALL_STATIC = {
    "state_prep_error": 0.3,
    "temperature": 40.0,
    "amp_sigma": 0.1,
    "detuning_sigma": 0.8,
    "detuning_hf_psd": (0.1, 0.2, 0.3),
    "detuning_hf_omegas": (1.0, 5.0, 40.0),
    "trap_waist": 1.0,
    "trap_depth": 150.0,
}


def counts_of(bits):
    n = bits.shape[1]
    return np.bincount(bits @ (1 << np.arange(n)[::-1]), minlength=2**n)


def assert_drawn_from(bits, probabilities):
    """Pearson's chi-square test at the level of five sigma."""
    counts = counts_of(bits)
    expected = len(bits) * probabilities
    seen = expected > 1e-3
    assert counts[~seen].sum() == 0
    statistic = ((counts - expected)[seen] ** 2 / expected[seen]).sum()
    assert chi2.sf(statistic, seen.sum() - 1) > 6e-7


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "rates",
    [
        {"relaxation": 2.0},
        {"dephasing": 3.0},
        {"hyperfine": 3.0},
        {"relaxation": 1.5, "dephasing": 1.0, "hyperfine": 2.0},
    ],
)
def test_trajectories_average_to_the_lindblad_equation(seed, rates):
    """Arbitrary leaky pulses: jumps fall inside Rydberg windows, gaps and Raman pulses."""
    rng = np.random.default_rng(seed)
    program = oracle.random_program(RULES, rng, 2, 6)
    model = pulser.NoiseModel(
        relaxation_rate=rates.get("relaxation", 0.0),
        dephasing_rate=rates.get("dephasing", 0.0),
        hyperfine_dephasing_rate=rates.get("hyperfine", 0.0),
    )
    bits = LocalMachine().sample(program, 800, noise=model, rng=rng)
    assert_drawn_from(bits, oracle.bit_probabilities(program, **rates))


def test_relaxation_is_exponential():
    """g to r, wait, back, then g to h: 1 is read when nothing decayed."""
    rate, hold_ns = 0.8, 1000
    fast = Pulse(np.array([1]), np.array([np.pi * 1e3]), np.array([0.0]), 0.0)
    slots = (
        Slot("rydberg", 0, 0, fast),
        Slot("rydberg", 0, hold_ns, fast),
        Slot("raman", 0, hold_ns + 1, fast),
    )
    program = PulseProgram(RULES, np.zeros((1, 2)), slots, hold_ns + 2, np.zeros(1), (0,))
    model = pulser.NoiseModel(relaxation_rate=rate)
    bits = LocalMachine().sample(program, 6000, noise=model, rng=np.random.default_rng(1))
    survival = np.exp(-rate * hold_ns * 1e-3)
    assert_drawn_from(bits, np.array([1 - survival, survival]))


@pytest.mark.parametrize(("beam", "field"), [("raman", "hyperfine_dephasing_rate")])
def test_ramsey_contrast_decays_at_the_dephasing_rate(beam, field):
    """Two π/2 pulses a time t apart: P(1) = (1 + e^{-γt})/2."""
    rate, wait_ns = 0.9, 800
    half = Pulse(np.array([1]), np.array([np.pi / 2 * 1e3]), np.array([0.0]), 0.0)
    slots = (Slot(beam, 0, 0, half), Slot(beam, 0, wait_ns, half))
    program = PulseProgram(RULES, np.zeros((1, 2)), slots, wait_ns + 1, np.zeros(1), (0,))
    model = pulser.NoiseModel(**{field: rate})
    bits = LocalMachine().sample(program, 6000, noise=model, rng=np.random.default_rng(2))
    one = (1 + np.exp(-rate * wait_ns * 1e-3)) / 2
    assert_drawn_from(bits, np.array([1 - one, one]))


def test_ramsey_contrast_decays_with_a_random_detuning():
    """A Gaussian offset during one long second pulse of zero area: contrast e^{-(σt)²/2}."""
    sigma, wait_ns = 1.3, 900
    pieces = Pulse(
        np.array([1, wait_ns, 1]), np.pi / 2 * 1e3 * np.array([1.0, 0.0, 1.0]), np.zeros(3), 0.0
    )
    program = PulseProgram(
        RULES, np.zeros((1, 2)), (Slot("raman", 0, 0, pieces),), 910, np.zeros(1), (0,)
    )
    model = pulser.NoiseModel(detuning_sigma=sigma)
    bits = LocalMachine().sample(program, 4000, noise=model, rng=np.random.default_rng(3))
    one = (1 + np.exp(-((sigma * wait_ns * 1e-3) ** 2) / 2)) / 2
    assert_drawn_from(bits, np.array([1 - one, one]))


def test_amplitude_spread_averages_rabi_oscillations():
    """A pulse of area 3π with relative spread σ: P(1) = (1 - cos(3π) e^{-(3πσ)²/2})/2."""
    area, sigma = 3 * np.pi, 0.12
    pulse = Pulse(np.array([200]), np.array([area / 0.2]), np.array([0.0]), 0.0)
    program = PulseProgram(
        RULES, np.zeros((1, 2)), (Slot("raman", 0, 0, pulse),), 216, np.zeros(1), (0,)
    )
    model = pulser.NoiseModel(amp_sigma=sigma)
    bits = LocalMachine().sample(program, 4000, noise=model, rng=np.random.default_rng(4))
    one = (1 - np.cos(area) * np.exp(-((area * sigma) ** 2) / 2)) / 2
    assert_drawn_from(bits, np.array([1 - one, one]))


def test_leaky_runs_average_to_the_mean_of_exact_runs():
    """Every run has its own pulses; r is measured early, shot by shot."""
    program = programs.fan_out(RULES)
    noise = nz.Noise(amp_sigma=0.25, doppler_rad_per_us=2.0, position_um=(0.1, 0.1, 0.3))
    n = 800
    bits = sample_noisy(program, noise, n, np.random.default_rng(10))
    rng = np.random.default_rng(11)
    exact = np.zeros((n, 8))
    for k in range(n):
        result = emulate(nz.disturb(program, noise, nz.draw(noise, 3, rng)))
        assert result.leakage.sum() > 0
        tensor = abs(result.amplitudes.reshape([len(x) for x in result.levels])) ** 2
        for digits in np.ndindex(tensor.shape):
            ones = [result.levels[a][d] == 1 for a, d in enumerate(digits)]
            exact[k, ones @ np.array([4, 2, 1])] += tensor[digits]
    mean = exact.mean(axis=0)
    sigma = np.sqrt((mean * (1 - mean) + exact.var(axis=0)) / n)
    assert np.all(abs(counts_of(bits) / n - mean) < 5 * sigma)


def test_read_out_and_preparation_errors():
    """X on atom 0 of two: each bit has its own closed form."""
    builder = programs.Builder(RULES, programs.line_um(2))
    builder.u3(0, np.pi, 0.0, 0.0)
    model = pulser.NoiseModel(state_prep_error=0.2, p_false_pos=0.05, p_false_neg=0.1)
    bits = LocalMachine().sample(
        builder.program(), 20_000, noise=model, rng=np.random.default_rng(5)
    )
    first = 0.8 * 0.9 + 0.2 * 0.05
    joint = np.multiply.outer([1 - first, first], [0.95, 0.05]).reshape(-1)
    assert_drawn_from(bits, joint)


def test_disturbed_pulses_are_the_ones_pulser_would_play():
    """Take a trajectory that Pulser drew and compare every ns of every pulse, and the couplings."""
    program = programs.fan_out(RULES)
    model = pulser.NoiseModel(**ALL_STATIC)
    data = HamiltonianData.from_sequence(to_sequence(program), noise_model=model, n_trajectories=8)
    for trajectory, samples, _ in data.noisy_samples:
        noise = nz.Noise.of(model)
        beams = {
            name: "rydberg" if channel.basis == "ground-rydberg" else "raman"
            for name, channel in data.samples._ch_objs.items()
        }
        register = trajectory.register.qubits.values()
        there = np.array([position.as_array() for position in register])
        here = np.pad(program.coordinates_um, ((0, 0), (0, 1)))
        drawn = nz.Draw(
            missing=np.array(list(trajectory.bad_atoms.values()), dtype=bool),
            doppler_rad_per_us=np.array(list(trajectory.doppler_detune.values())),
            displacement_um=there - here,
            amplitude={beams[k]: v for k, v in trajectory.amp_fluctuations.items()},
            detuning_rad_per_us={beams[k]: v for k, v in trajectory.det_fluctuations.items()},
            hf_phases_rad={beams[k]: v for k, v in trajectory.det_phases.items()},
        )
        disturbed = nz.disturb(program, noise, drawn)
        assert len(disturbed.slots) == sum(
            not trajectory.bad_atoms[f"q{slot.atom}"] for slot in program.slots
        )
        played = samples.to_nested_dict(all_local=True)["Local"]
        for slot in disturbed.slots:
            basis = "ground-rydberg" if slot.beam == "rydberg" else "digital"
            theirs = played[basis][f"q{slot.atom}"]
            span = slice(slot.start_ns, slot.end_ns)
            for ours, name in (
                (slot.pulse.rabi_rad_per_us, "amp"),
                (slot.pulse.detuning_rad_per_us, "det"),
            ):
                per_ns = np.repeat(ours, slot.pulse.durations_ns)
                np.testing.assert_allclose(per_ns, np.asarray(theirs[name])[span], atol=1e-9)
        couplings = couplings_of(disturbed.coordinates_um, RULES.c6_rad_per_us_um6)
        present = ~np.logical_or.outer(drawn.missing, drawn.missing)
        # Pulser rounds distances to 1e-6 µm.
        np.testing.assert_allclose(
            couplings[present], trajectory.interaction_matrix.as_array()[0][present], rtol=5e-6
        )


def test_draws_have_pulsers_spreads():
    noise = nz.Noise.of(pulser.NoiseModel(**ALL_STATIC))
    rng = np.random.default_rng(6)
    draws = [nz.draw(noise, 4, rng) for _ in range(2000)]
    plane, axial = _register_sigma_xy_z(40.0, 1.0, 150.0)

    def check(values, mean, sigma):
        n = values.size
        assert abs(values.mean() - mean) < 5 * sigma / np.sqrt(n)
        assert abs(values.std() / sigma - 1) < 5 / np.sqrt(2 * n)

    check(np.array([d.doppler_rad_per_us for d in draws]), 0.0, _doppler_sigma(40e-6))
    displacement = np.array([d.displacement_um for d in draws])
    check(displacement[:, :, :2], 0.0, plane)
    check(displacement[:, :, 2], 0.0, axial)
    for beam in nz.BEAMS:
        check(np.array([d.amplitude[beam] for d in draws]), 1.0, 0.1)
        check(np.array([d.detuning_rad_per_us[beam] for d in draws]), 0.0, 0.8)
    missing = np.array([d.missing for d in draws])
    check(missing, 0.3, np.sqrt(0.3 * 0.7))


@pytest.mark.filterwarnings("ignore:QutipEmulator is deprecated")
def test_bell_counts_agree_with_pulser_simulation():
    from pulser_simulation import QutipEmulator

    program = programs.bell(RULES)
    model = pulser.NoiseModel(relaxation_rate=0.6, dephasing_rate=0.5, hyperfine_dephasing_rate=0.4)
    emulator = QutipEmulator.from_sequence(to_sequence(program), noise_model=model)
    final = emulator.run(rtol=1e-8, atol=1e-10, nsteps=100_000, max_step=2).get_final_state()
    population = final.full().diagonal().real.reshape(3, 3)  # Pulser's order is (r, g, h)
    merge = np.array([[1, 1, 0], [0, 0, 1]])
    expected = (merge @ population @ merge.T).reshape(-1)
    bits = LocalMachine().sample(program, 3000, noise=model, rng=np.random.default_rng(8))
    assert_drawn_from(bits, expected)


@pytest.mark.parametrize(
    "model",
    [
        pulser.NoiseModel(**ALL_STATIC, relaxation_rate=0.3, dephasing_rate=0.3),
        pulser.NoiseModel(p_false_neg=0.1, hyperfine_dephasing_rate=0.3),
    ],
)
def test_the_same_seed_gives_the_same_shots(model):
    program = programs.bell(RULES)
    first, second, other = (
        LocalMachine().sample(program, 60, noise=model, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_shots_of_one_run_share_its_draws():
    """With one run and a missing atom 0 in it, atom 0 reads 0 in every shot."""
    builder = programs.Builder(RULES, programs.line_um(2))
    builder.u3(0, np.pi, 0.0, 0.0)
    noise = nz.Noise(state_prep_error=0.5, n_runs=1)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        bits = sample_noisy(builder.program(), noise, 20, rng)
        assert len(np.unique(bits[:, 0])) == 1
    assert noise.n_trajectories(20) == 1
    assert nz.Noise().n_trajectories(20) == 20
    assert nz.Noise(shots_per_run=7).n_trajectories(20) == 3
    assert nz.Noise().n_trajectories(0) == 1
    assert nz.Noise(n_runs=50).n_trajectories(20) == 20


def test_runs_of_the_model_are_honoured():
    with pytest.warns(DeprecationWarning, match=r"NoiseModel\.runs"):
        model = pulser.NoiseModel(amp_sigma=0.1, runs=3)
    assert nz.Noise.of(model).n_trajectories(100) == 3


def test_laser_waist_changes_nothing_without_global_channels():
    program = programs.single(RULES)
    model = pulser.NoiseModel(laser_waist=100.0)
    bits = LocalMachine().sample(program, 4000, noise=model, rng=np.random.default_rng(0))
    assert_drawn_from(bits, abs(programs.single_state()) ** 2)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"depolarizing_rate": 0.1},
            "depolarizing_rate: depolarizing noise is not defined for three-level atoms "
            "(Pulser refuses it as well). Use dephasing_rate and relaxation_rate instead",
        ),
        (
            {"eff_noise_rates": (0.1,), "eff_noise_opers": (np.eye(2),)},
            "eff_noise_opers: free collapse operators are not emulated. "
            "Use relaxation_rate, dephasing_rate and hyperfine_dephasing_rate",
        ),
        (
            {"dmm_sigma": 0.1},
            "dmm_sigma: it acts on a detuning-map modulator, which gate programs do not use. "
            "Leave it out",
        ),
        (
            {
                "with_leakage": True,
                "eff_noise_rates": (0.1,),
                "eff_noise_opers": (np.eye(3),),
            },
            "with_leakage: an error state outside g, h and r is not emulated. "
            "Leave it out; leakage into r is always emulated",
        ),
    ],
)
def test_noise_that_is_not_emulated_is_refused_by_name(fields, text):
    program = programs.single(RULES)
    with pytest.raises(OptionError) as caught:
        LocalMachine().sample(
            program, 1, noise=pulser.NoiseModel(**fields), rng=np.random.default_rng(0)
        )
    assert str(caught.value) == text


def test_something_else_than_a_noise_model_is_refused():
    with pytest.raises(OptionError, match=r"is not a pulser\.NoiseModel"):
        nz.Noise.of({"amp_sigma": 0.1})


def test_memory_of_three_level_atoms_is_predicted():
    pulse = Pulse(np.array([16]), np.array([1.0]), np.array([0.0]), 0.0)
    n = 30
    slots = tuple(Slot("raman", k, 0, pulse) for k in range(n))
    program = PulseProgram(RULES, programs.line_um(n), slots, 16, np.zeros(n), tuple(range(n)))
    with pytest.raises(MemoryLimitError) as caught:
        sample_noisy(program, nz.Noise(amp_sigma=0.1), 1, np.random.default_rng(0))
    assert caught.value.needed_bytes == int(1.5 * 16 * 3**30)
    assert dataclasses.is_dataclass(caught.value)
