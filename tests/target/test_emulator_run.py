"""The embedded emulator against brute force and against ideal states."""

import os
import subprocess
import sys

import numpy as np
import pulser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target import device
from cudaq_target.emulator.levels import DROPPED_POPULATION
from cudaq_target.emulator.run import couplings_of, emulate
from cudaq_target.errors import MemoryLimitError, UnsupportedProgramError
from cudaq_target.machines.local import LocalMachine
from cudaq_target.timeline import Pulse, PulseProgram, Slot
from tests.target import emulator_oracle as oracle
from tests.target import programs

RULES = device.rules(pulser.DigitalAnalogDevice)


def spread(result):
    """All 3^n amplitudes of a result."""
    n = len(result.levels)
    full = np.zeros((3,) * n, dtype=complex)
    full[np.ix_(*result.levels)] = result.amplitudes.reshape([len(x) for x in result.levels])
    return full.reshape(-1)


@given(
    n_atoms=st.integers(1, 3),
    n_slots=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
    parallel=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_any_pulses_agree_with_brute_force(n_atoms, n_slots, seed, parallel):
    rng = np.random.default_rng(seed)
    program = oracle.random_program(RULES, rng, n_atoms, n_slots, parallel_rydberg=parallel)
    result = emulate(program)
    np.testing.assert_allclose(spread(result), oracle.final_state(program), atol=2e-12)
    expected = oracle.framed_state(program)
    tensor = abs(expected.reshape((3,) * n_atoms)) ** 2
    leakage = [tensor.take(2, axis=k).sum() for k in range(n_atoms)]
    np.testing.assert_allclose(result.leakage, leakage, atol=1e-12)
    logical = expected.reshape((3,) * n_atoms)[np.ix_(*[(0, 1)] * n_atoms)]
    np.testing.assert_allclose(
        result.state(), logical.transpose(program.atom_of_qubit).reshape(-1), atol=2e-12
    )


def test_many_leaky_atoms_agree_with_brute_force():
    """Five atoms that keep a part in r while the others are driven."""
    rng = np.random.default_rng(8)
    program = oracle.random_program(RULES, rng, 5, 10, rydberg_share=0.8)
    expected = oracle.final_state(program)
    for backend in ("numpy", "cpu"):
        result = emulate(program, backend=backend)
        assert (result.leakage > 1e-4).sum() >= 4
        np.testing.assert_allclose(spread(result), expected, atol=5e-12)


@pytest.mark.parametrize("max_block_atoms", [1, 2, 3, 4])
@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_fusion_and_back_end_do_not_change_the_state(max_block_atoms, backend):
    program = oracle.random_program(RULES, np.random.default_rng(4), 3, 20)
    result = emulate(program, max_block_atoms=max_block_atoms, backend=backend)
    np.testing.assert_allclose(spread(result), oracle.final_state(program), atol=2e-12)


@pytest.mark.parametrize(
    ("build", "ideal"),
    [
        (programs.single, programs.single_state),
        (programs.bell, programs.bell_state),
        (programs.fan_out, programs.fan_out_state),
        (programs.permuted, programs.permuted_state),
    ],
)
def test_gates_are_exact_phase_included(build, ideal):
    np.testing.assert_allclose(LocalMachine().state(build(RULES)), ideal(), atol=1e-9)


@pytest.mark.parametrize("n", [3, 8, 15])
def test_ghz_states_are_exact(n):
    result = emulate(programs.ghz(RULES, n))
    np.testing.assert_allclose(result.state(), programs.ghz_state(n), atol=1e-9)
    assert result.leakage.sum() == 0


def test_half_precision_keeps_six_digits():
    result = emulate(programs.ghz(RULES, 6), dtype=np.complex64)
    assert result.amplitudes.dtype == np.complex64
    np.testing.assert_allclose(result.state(), programs.ghz_state(6), atol=1e-5)


def test_control_in_excitation_costs_no_third_level():
    """Cut the program while the control is parked in r: it holds h and r, nothing else."""
    program = programs.bell(RULES)
    first_rydberg = next(slot for slot in program.slots if slot.beam == "rydberg")
    fields = {name: getattr(program, name) for name in PulseProgram.__slots__}
    kept = tuple(slot for slot in program.slots if slot.start_ns <= first_rydberg.start_ns)
    result = emulate(PulseProgram(**(fields | {"slots": kept})))
    assert result.levels[first_rydberg.atom] == (1, 2)
    assert result.leakage[first_rydberg.atom] == pytest.approx(0.5, abs=1e-12)


def test_long_fan_out_never_opens_more_than_one_atom():
    """One control, seven targets: the largest state is that of two-level atoms."""
    angles = 2 * np.pi * np.arange(7) / 7
    ring = 5.6 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    builder = programs.Builder(RULES, np.vstack([[0.0, 0.0], ring]))
    gates = [(k, -np.pi / (k + 1)) for k in range(1, 8)]
    for atom in range(8):
        builder.u3(atom, 0.4 + 0.2 * atom, 0.1 * atom, -0.3)
    builder.cphases(0, gates)
    result = emulate(builder.program())
    columns = [programs.u3(0.4 + 0.2 * a, 0.1 * a, -0.3)[:, :1] for a in range(8)]
    expected = programs.kron(*columns)[:, 0]
    for target, theta in gates:
        expected = programs.cphase(8, 0, target, theta) * expected
    np.testing.assert_allclose(result.state(), expected, atol=1e-9)
    assert result.amplitudes.size == 2**8


def test_interaction_of_two_parked_atoms_is_exact():
    """Both atoms of a pair go to r, wait, and come back: |00> gathers -V t."""
    rabi = 2 * np.pi * 10
    pi = Pulse(np.array([50]), np.array([rabi]), np.array([0.0]), 0.0)
    slots = (Slot("rydberg", 0, 0, pi), Slot("rydberg", 1, 400, pi), Slot("rydberg", 0, 900, pi))
    coordinates = np.array([[0.0, 0.0], [14.0, 0.0]])
    program = PulseProgram(RULES, coordinates, slots, 960, np.zeros(2), (0, 1))
    np.testing.assert_allclose(spread(emulate(program)), oracle.final_state(program), atol=1e-12)


def test_program_without_pulses_stays_in_zero():
    program = PulseProgram(RULES, programs.line_um(2), (), 16, np.array([0.4, -0.4]), (1, 0), 0.3)
    state = LocalMachine().state(program)
    np.testing.assert_allclose(state, [np.exp(0.3j), 0, 0, 0], atol=1e-15)
    assert LocalMachine().sample(program, 3, rng=np.random.default_rng(0)).sum() == 0


def test_atom_without_a_qubit_is_left_out():
    builder = programs.Builder(RULES, programs.line_um(3))
    builder.u3(0, 1.1, 0.2, 0.3)
    builder.u3(2, 0.7, -0.2, 0.1)
    state = LocalMachine().state(builder.program(atom_of_qubit=(2, 0)))
    expected = programs.kron(programs.u3(0.7, -0.2, 0.1)[:, :1], programs.u3(1.1, 0.2, 0.3)[:, :1])
    np.testing.assert_allclose(state, expected[:, 0], atol=1e-12)


def test_samples_follow_qubit_order():
    builder = programs.Builder(RULES, programs.line_um(3))
    builder.u3(2, np.pi, 0.0, 0.0)
    program = builder.program(atom_of_qubit=(2, 0, 1))
    bits = LocalMachine().sample(program, 5, rng=np.random.default_rng(0))
    assert bits.dtype == np.uint8
    np.testing.assert_array_equal(bits, [[1, 0, 0]] * 5)


def test_samples_are_reproducible_and_follow_the_state():
    program = programs.fan_out(RULES)
    first, second = (
        LocalMachine().sample(program, 20_000, rng=np.random.default_rng(3)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    probability = abs(programs.fan_out_state()) ** 2
    counts = np.bincount(first @ np.array([4, 2, 1]), minlength=8)
    sigma = np.sqrt(20_000 * probability * (1 - probability))
    assert np.all(abs(counts - 20_000 * probability) < 5 * sigma)


def test_rydberg_population_reads_zero():
    """A π pulse parks g in r; Pulser's digital measurement reads r as 0."""
    pi = Pulse(np.array([50]), np.array([2 * np.pi * 10]), np.array([0.0]), 0.0)
    program = PulseProgram(
        RULES, np.zeros((1, 2)), (Slot("rydberg", 0, 0, pi),), 66, np.zeros(1), (0,)
    )
    result = emulate(program)
    assert result.leakage[0] == pytest.approx(1.0, abs=1e-12)
    assert result.sample(10, np.random.default_rng(0)).sum() == 0
    assert np.linalg.norm(result.state()) == 0


def test_overlapping_pulses_on_one_atom_are_refused():
    pulse = Pulse(np.array([100]), np.array([1.0]), np.array([0.0]), 0.0)
    slots = (Slot("raman", 0, 0, pulse), Slot("rydberg", 0, 52, pulse))
    program = PulseProgram(RULES, np.zeros((1, 2)), slots, 200, np.zeros(1), (0,))
    with pytest.raises(UnsupportedProgramError) as caught:
        emulate(program)
    assert str(caught.value) == (
        "atom 0 at 52 ns cannot be emulated: a raman pulse and a rydberg pulse overlap on it. "
        "Start the second pulse when the first one has ended"
    )


def test_too_many_driven_atoms_are_refused():
    pulse = Pulse(np.array([100]), np.array([1.0]), np.array([0.0]), 0.0)
    slots = tuple(Slot("rydberg", k, 0, pulse) for k in range(4))
    program = PulseProgram(RULES, programs.line_um(4), slots, 200, np.zeros(4), (0, 1, 2, 3))
    with pytest.raises(UnsupportedProgramError, match="4 atoms are driven while 0 others"):
        emulate(program)


def test_too_little_memory_is_refused_before_anything_runs():
    pulse = Pulse(np.array([16]), np.array([1.0]), np.array([0.0]), 0.0)
    n = 45
    slots = tuple(Slot("raman", k, 0, pulse) for k in range(n))
    program = PulseProgram(RULES, programs.line_um(n), slots, 16, np.zeros(n), tuple(range(n)))
    with pytest.raises(MemoryLimitError) as caught:
        emulate(program)
    assert caught.value.needed_bytes == int(1.5 * 16 * 2**45)
    assert "emulating 45 qubits needs 786432.0 GiB" in str(caught.value)


def test_couplings_fall_with_the_sixth_power():
    couplings = couplings_of(np.array([[0.0, 0.0], [5.0, 0.0], [10.0, 0.0]]), 1.0)
    assert couplings[0, 1] / couplings[0, 2] == pytest.approx(64)
    assert DROPPED_POPULATION <= 1e-18


def test_numpy_alone_is_enough():
    code = (
        "import numpy as np, pulser, sys\n"
        "from cudaq_target import device\n"
        "from cudaq_target.machines.local import LocalMachine\n"
        "from tests.target import programs\n"
        "rules = device.rules(pulser.DigitalAnalogDevice)\n"
        "state = LocalMachine().state(programs.ghz(rules, 15))\n"
        "assert abs(state - programs.ghz_state(15)).max() < 1e-9\n"
        "assert 'cudaq_target.kernels.cpu.statevector' not in sys.modules\n"
    )
    env = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
