"""pulser-simulation against ideal states; its spline and tolerances leave about 1e-8."""

import math

import numpy as np
import pytest
from pulser import NoiseModel

from cudaq_target.device import resolve
from cudaq_target.errors import MemoryLimitError, OptionError
from cudaq_target.machines import qutip_solver
from cudaq_target.machines.qutip import QutipMachine
from cudaq_target.sequence import register
from cudaq_target.timeline import PulseProgram
from tests.target import programs

DAD = resolve("DigitalAnalogDevice")
MOCK = resolve("MockDevice")
MACHINE = QutipMachine(rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rules", [DAD, MOCK], ids=["digital", "mock"])
@pytest.mark.parametrize("name", ["single", "bell", "fan_out", "permuted", "ccz"])
def test_the_state_is_the_ideal_one(rules, name):
    program, ideal = getattr(programs, name)(rules), getattr(programs, f"{name}_state")()
    state = MACHINE.state(program)
    assert state.shape == ideal.shape
    assert abs(abs(np.vdot(ideal, state)) ** 2 - 1) < 1e-6
    assert np.abs(state - ideal).max() < 1e-3


def test_ghz():
    state = MACHINE.state(programs.ghz(DAD, 3))
    assert abs(abs(np.vdot(programs.ghz_state(3), state)) ** 2 - 1) < 1e-6


def only(rydberg, n_atoms=2):
    """A program with Rydberg pulses only, or without any pulse."""
    builder = programs.Builder(DAD, programs.line_um(n_atoms))
    if rydberg:
        builder.cphases(0, [(1, math.pi)])
        return builder.program()
    coordinates = register(DAD, programs.line_um(n_atoms))[1]
    return PulseProgram(DAD, coordinates, (), 32, np.zeros(n_atoms), tuple(range(n_atoms)))


@pytest.mark.parametrize("rydberg", [True, False])
def test_programs_without_raman_pulses_stay_in_zero(rydberg):
    state = MACHINE.state(only(rydberg))
    assert abs(state[0] - 1) < 1e-4
    assert np.abs(state[1:]).max() == 0
    assert not MACHINE.sample(only(rydberg), 20, rng=1).any()
    noisy = MACHINE.sample(only(rydberg), 4000, NoiseModel(p_false_pos=0.1), rng=1)
    assert noisy.mean() == pytest.approx(0.1, abs=0.02)


def test_shots_come_in_kernel_order():
    probabilities = np.abs(programs.permuted_state()) ** 2
    n_shots = 4000
    bits = MACHINE.sample(programs.permuted(DAD), n_shots, rng=np.random.default_rng(7))
    assert bits.shape == (n_shots, 3)
    assert bits.dtype == np.uint8
    counts = np.bincount(bits @ [4, 2, 1], minlength=8)
    sigma = np.sqrt(n_shots * probabilities * (1 - probabilities))
    assert (np.abs(counts - n_shots * probabilities) < 5 * sigma + 1).all()


def test_an_excited_qubit_is_the_right_one():
    builder = programs.Builder(DAD, programs.line_um(3))
    builder.u3(0, math.pi, 0.0, 0.0)
    assert (MACHINE.sample(builder.program(), 10, rng=1) == [1, 0, 0]).all()
    swapped = builder.program(atom_of_qubit=(1, 2, 0))
    assert (MACHINE.sample(swapped, 10, rng=1) == [0, 0, 1]).all()
    assert abs(MACHINE.state(swapped)[0b001]) == pytest.approx(1, abs=1e-6)


def test_noise_shows_and_is_reproducible():
    noise = NoiseModel(p_false_pos=0.02, p_false_neg=0.08, state_prep_error=0.01, amp_sigma=0.02)
    machine = QutipMachine(n_trajectories=8)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = machine.sample(programs.bell(DAD), 501, noise, rng=5)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert first.shape == (501, 2)
    assert np.array_equal(first, machine.sample(programs.bell(DAD), 501, noise, rng=5))
    assert not np.array_equal(first, machine.sample(programs.bell(DAD), 501, noise, rng=6))
    unequal = (first[:, 0] != first[:, 1]).mean()
    assert 0.02 < unequal < 0.25


def test_readout_errors_alone_follow_their_rates():
    builder = programs.Builder(DAD, programs.line_um(2))
    builder.u3(0, math.pi, 0.0, 0.0)
    noise = NoiseModel(p_false_pos=0.05, p_false_neg=0.2)
    bits = MACHINE.sample(builder.program(), 4000, noise, rng=3)
    assert bits.mean(axis=0) == pytest.approx([0.8, 0.05], abs=0.03)


def test_relaxation_is_simulated():
    noise = NoiseModel(relaxation_rate=2.0)
    bits = QutipMachine().sample(programs.bell(DAD), 500, noise, rng=3)
    assert (bits[:, 0] != bits[:, 1]).any()


def test_noise_that_pulser_cannot_simulate_is_refused():
    with pytest.raises(OptionError, match="pulser-simulation cannot simulate it"):
        MACHINE.sample(programs.bell(DAD), 10, NoiseModel(depolarizing_rate=0.1))


def test_a_missing_emulator_is_named_with_the_command(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(qutip_solver, "import_module", missing)
    with pytest.raises(OptionError) as caught:
        MACHINE.state(programs.single(DAD))
    assert str(caught.value) == (
        "machine 'qutip': pulser-simulation is not installed. "
        "Run: python -m pip install 'pulser-simulation>=1.9,<2'"
    )


def test_too_many_atoms_are_refused_before_the_machine_swaps():
    builder = programs.Builder(MOCK, programs.line_um(24))
    builder.h(0)
    with pytest.raises(MemoryLimitError, match="emulating 24 qubits needs"):
        MACHINE.state(builder.program())
