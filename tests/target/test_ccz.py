"""CCZ pulses against dense exponentials of the three-level Hamiltonian."""

import itertools
import math

import numpy as np
import pytest

from cudaq_target.ccz import ccz_pulses
from cudaq_target.device import interaction_rad_per_us, resolve
from cudaq_target.machines.qutip import kernel_state
from cudaq_target.timeline import PulseProgram
from tests.target import programs
from tests.target.emulator_oracle import ket_bra

DAD = resolve("DigitalAnalogDevice")
MOCK = resolve("MockDevice")


def triangle(rules, *distances_um):
    return tuple(interaction_rad_per_us(rules, d) for d in distances_um)


def process(found, interactions):
    """Diagonal of the block on the eight basis states in the 27-dimensional model, Rz applied.

    Pieces are exponentiated in the (g, r) space of the driven atom for each configuration of the
    other two, which is exact as those stand still.
    """
    v_ab, v_ac, v_bc = interactions
    pair = {(0, 1): v_ab, (0, 2): v_ac, (1, 2): v_bc}
    energy = np.zeros((3, 3, 3))
    for levels in itertools.product(range(3), repeat=3):
        energy[levels] = sum(v for (i, j), v in pair.items() if levels[i] == 2 and levels[j] == 2)
    columns = []
    for bits in itertools.product((0, 1), repeat=3):
        state = np.zeros((3, 3, 3), dtype=complex)
        state[bits] = 1
        for atom, pulse in zip((0, 1, 2, 1, 0), found.pulses, strict=True):
            state = drive(state, atom, pulse, energy)
        columns.append(state[:2, :2, :2].ravel())
    matrix = np.array(columns).T
    shift = programs.kron(*(programs.rz(a)[:, None] for a in found.corrections_rad)).ravel()
    return shift[:, None] * matrix


def drive(state, atom, pulse, energy):
    state, energy = np.moveaxis(state, atom, -1), np.moveaxis(energy, atom, -1)
    hop = np.exp(1j * pulse.phase_rad) * ket_bra(2, 0)
    for duration_ns, rabi, detuning in zip(
        pulse.durations_ns, pulse.rabi_rad_per_us, pulse.detuning_rad_per_us, strict=True
    ):
        local = rabi / 2 * (hop + hop.conj().T) - detuning * ket_bra(2, 2)
        full = local + energy[..., None] * np.eye(3)
        values, vectors = np.linalg.eigh(full)
        turns = np.exp(-1j * values * duration_ns * 1e-3)
        step = (vectors * turns[..., None, :]) @ vectors.conj().swapaxes(-1, -2)
        state = (step @ state[..., None])[..., 0]
    return np.moveaxis(state, -1, atom)


@pytest.mark.parametrize("distance_um", [4.0, 4.001, 4.2, 4.5, 5.0, 5.001, 5.5, 6.0])
def test_the_block_is_ccz(distance_um):
    interactions = triangle(DAD, distance_um, distance_um, distance_um)
    found = ccz_pulses(DAD, interactions)
    ideal = np.diag([1.0] * 7 + [-1.0]) * np.exp(1j * found.global_phase_rad)
    matrix = process(found, interactions)
    fidelity = abs(np.trace(ideal.conj().T @ matrix)) ** 2 / 64
    assert 1 - fidelity <= 1e-10
    assert 1 - fidelity == pytest.approx(found.infidelity, abs=1e-12)
    assert np.abs(matrix - ideal).max() < 2e-5


@pytest.mark.parametrize("offset_um", [1e-6, 1e-5])
@pytest.mark.parametrize("distance_um", [4.0, 5.0])
def test_rounded_coordinates_make_triangles_slightly_uneven(distance_um, offset_um):
    interactions = triangle(DAD, distance_um, distance_um + offset_um, distance_um - offset_um)
    found = ccz_pulses(DAD, interactions)
    ideal = np.diag([1.0] * 7 + [-1.0]) * np.exp(1j * found.global_phase_rad)
    fidelity = abs(np.trace(ideal.conj().T @ process(found, interactions))) ** 2 / 64
    assert 1 - fidelity <= 1e-10


@pytest.mark.parametrize("rules", [DAD, MOCK], ids=["digital", "mock"])
def test_pulses_keep_the_limits(rules):
    found = ccz_pulses(rules, triangle(rules, 4.0, 4.0, 4.0))
    assert [pulse.duration_ns for pulse in found.pulses] == [52, 100, 152, 100, 52]
    for pulse in found.pulses:
        assert pulse.rabi_rad_per_us.min() >= 0
        assert pulse.rabi_rad_per_us.max() <= rules.rydberg.max_rabi_rad_per_us
        assert np.abs(pulse.detuning_rad_per_us).max() <= rules.rydberg.max_detuning_rad_per_us
        assert 0 <= pulse.phase_rad < 2 * math.pi


@pytest.mark.parametrize(
    "distances_um", [(4.0, 4.0, 8.0), (4.0, 5.0, 4.0), (3.0, 3.0, 3.0), (9.0, 9.0, 9.0)]
)
def test_other_triangles_have_none(distances_um):
    assert ccz_pulses(DAD, triangle(DAD, *distances_um)) is None


def test_the_same_triangle_is_solved_once():
    interactions = triangle(DAD, 5.0, 5.0, 5.0)
    assert ccz_pulses(DAD, interactions) is ccz_pulses(DAD, interactions)


@pytest.mark.parametrize("spacing_um", [4.001, 5.0])
def test_a_program_with_ccz_makes_the_ideal_state(spacing_um):
    """27 dimensions, each distinct piece exponentiated once."""
    program = programs.ccz(DAD, spacing_um)
    state = np.zeros((3, 3, 3), dtype=complex)
    state[0, 0, 0] = 1
    for slot in program.slots:
        state = play(state, slot, program)
    logical = kernel_state(program, state[:2, :2, :2])
    assert np.abs(logical - programs.ccz_state()).max() < 1e-5
    assert 1 - abs(np.vdot(programs.ccz_state(), logical)) ** 2 < 1e-10


def play(state, slot, program: PulseProgram):
    """One slot; the naive timing never drives two atoms with Rydberg light at once."""
    rules, at = program.device, program.coordinates_um
    energy = np.zeros((3, 3, 3))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        v = interaction_rad_per_us(rules, np.linalg.norm(at[i] - at[j]))
        both = np.zeros((3, 3, 3))
        both[tuple(2 if k in (i, j) else slice(None) for k in range(3))] = v
        energy += both
    if slot.beam == "rydberg":
        return drive(state, slot.atom, slot.pulse, energy)
    turned = np.moveaxis(state, slot.atom, 0)
    area = float((slot.pulse.rabi_rad_per_us * slot.pulse.durations_ns).sum()) * 1e-3
    cosine, sine = math.cos(area / 2), math.sin(area / 2)
    hop = -1j * sine * np.exp(1j * slot.pulse.phase_rad)
    matrix = np.array([[cosine, hop, 0], [-hop.conjugate(), cosine, 0], [0, 0, 1]])
    return np.moveaxis(np.tensordot(matrix, turned, axes=1), 0, slot.atom)
