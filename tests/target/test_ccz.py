"""CCZ pulses against dense exponentials of the three-level Hamiltonian."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from cudaq_target import ccz, palindrome
from cudaq_target.ccz import ccz_pulses, ccz_serves
from cudaq_target.device import interaction_rad_per_us, resolve
from cudaq_target.machines.qutip import kernel_state
from cudaq_target.pulse_cache import PulseCache
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


@pytest.mark.parametrize("distance_um", [4.0, 4.001, 4.5, 5.001, 6.0])
def test_the_block_is_ccz(distance_um):
    interactions = triangle(DAD, distance_um, distance_um, distance_um)
    found = ccz_pulses(DAD, interactions)
    ideal = np.diag([1.0] * 7 + [-1.0]) * np.exp(1j * found.global_phase_rad)
    matrix = process(found, interactions)
    fidelity = abs(np.trace(ideal.conj().T @ matrix)) ** 2 / 64
    assert 1 - fidelity <= 1e-12
    assert 1 - fidelity == pytest.approx(found.residual_infidelity, abs=1e-13)
    assert np.abs(matrix - ideal).max() < 5e-6


@pytest.mark.parametrize(
    ("distance_um", "offset_um"), [(4.0, 1e-6), (4.0, 1e-5), (5.0, 1e-6), (6.0, 1e-6)]
)
def test_rounded_coordinates_make_triangles_slightly_uneven(distance_um, offset_um):
    interactions = triangle(DAD, distance_um, distance_um + offset_um, distance_um - offset_um)
    found = ccz_pulses(DAD, interactions)
    ideal = np.diag([1.0] * 7 + [-1.0]) * np.exp(1j * found.global_phase_rad)
    fidelity = abs(np.trace(ideal.conj().T @ process(found, interactions))) ** 2 / 64
    assert 1 - fidelity <= 1e-12


@pytest.mark.parametrize("rules", [DAD, MOCK], ids=["digital", "mock"])
def test_every_equilateral_triangle_has_pulses(rules):
    for interaction in (803.0, 974.0, 1167.0, 1296.0, *np.geomspace(95.0, 1364.0, 25)):
        assert ccz_serves(rules, interaction)
        # The worst that rounding of coordinates to 1e-6 µm does.
        found = ccz_pulses(rules, tuple(interaction * (1 + s * 1.5e-6) for s in (0, 1, -1)))
        assert found.residual_infidelity <= 1e-12
        assert found.residual_infidelity < found.infidelity < 1e-2


def with_rydberg(**changes):
    return dataclasses.replace(MOCK, rydberg=dataclasses.replace(MOCK.rydberg, **changes))


@pytest.mark.parametrize(
    ("rules", "lengths_ns"),
    [
        (DAD, (52, 152, 220)),  # the retarget rule leaves this time free
        (MOCK, (52, 120, 180)),
        (with_rydberg(max_rabi_rad_per_us=45.0), (100, 152, 220)),
        (with_rydberg(min_duration_ns=60), (100, 152, 220)),
        (with_rydberg(min_average_rabi_rad_per_us=24.0), (52, 120, 180)),
    ],
)
def test_pulses_keep_the_limits(rules, lengths_ns):
    found = ccz_pulses(rules, triangle(rules, 4.0, 4.0, 4.0))
    first, second, third = lengths_ns
    assert [pulse.duration_ns for pulse in found.pulses] == [first, second, third, second, first]
    for pulse in found.pulses:
        mean = (pulse.rabi_rad_per_us * pulse.durations_ns).sum() / pulse.duration_ns
        assert mean >= rules.rydberg.min_average_rabi_rad_per_us
    for pulse in found.pulses:
        assert pulse.rabi_rad_per_us.min() >= 0
        assert pulse.rabi_rad_per_us.max() <= rules.rydberg.max_rabi_rad_per_us
        assert np.abs(pulse.detuning_rad_per_us).max() <= rules.rydberg.max_detuning_rad_per_us
        assert 0 <= pulse.phase_rad < 2 * math.pi


@pytest.mark.parametrize(
    "distances_um",
    [
        (4.0, 4.0, 8.0),
        (4.0, 5.0, 4.0),
        (3.0, 3.0, 3.0),
        (9.0, 9.0, 9.0),
        (5.0, 5.0, 5.00002),  # 1 - F would be 1e-12 to 1e-11
        (5.0, 5.0001, 4.9999),
    ],
)
def test_other_triangles_have_none(distances_um):
    assert ccz_pulses(DAD, triangle(DAD, *distances_um)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"max_rabi_rad_per_us": 20.0},
        {"min_average_rabi_rad_per_us": 40.0},
        {"max_duration_ns": 150},
        {"clock_ns": 5},
    ],
    ids=str,
)
def test_unsuitable_beams_have_none(changes):
    rules = with_rydberg(**changes)
    assert ccz_pulses(rules, triangle(rules, 4.5, 4.5, 4.5)) is None


@pytest.fixture
def without_cache(monkeypatch):
    monkeypatch.setattr(ccz, "default_cache", lambda: PulseCache(None))
    ccz._solved.cache_clear()
    yield
    ccz._solved.cache_clear()
    ccz._found.cache_clear()


@pytest.mark.usefixtures("without_cache")
def test_triangles_that_differ_by_rounding_share_a_solution(monkeypatch):
    solved = []
    search = ccz._search
    monkeypatch.setattr(
        ccz, "_search", lambda *request: solved.append(request[-1]) or search(*request)
    )
    rng = np.random.default_rng(3)
    for _ in range(6):
        found = ccz_pulses(DAD, triangle(DAD, *(4.987 + rng.uniform(-5e-7, 5e-7, 3))))
        assert found.residual_infidelity <= 1e-12
    assert len(solved) <= 2
    assert all(np.ptp(interactions) == 0.0 for interactions in solved)


@pytest.mark.usefixtures("without_cache")
def test_the_infidelity_is_that_of_spreads_of_interactions_and_of_shaped_pulses(monkeypatch):
    changes, sigma = (-0.1, 0.1), 0.01
    monkeypatch.setattr(palindrome, "LN_INTERACTION_SAMPLES", changes)
    monkeypatch.setattr(palindrome, "SIGMA_LN_RABI", sigma)
    interactions = triangle(DAD, 5.4321, 5.4321, 5.4321)
    found = ccz_pulses(DAD, interactions)
    ideal = np.diag([1.0] * 7 + [-1.0])

    def infidelity(pulses, moved):
        matrix = process(dataclasses.replace(found, pulses=pulses), moved)
        return 1 - abs(np.trace(ideal @ matrix)) ** 2 / 64

    expected = 0.0
    for pair in range(3):
        for change in changes:
            moved = [v * math.exp(change * (k == pair)) for k, v in enumerate(interactions)]
            expected += infidelity(found.pulses, moved) / 2
    for factor in (1 - sigma, 1 + sigma):
        first, second, third, again, last = found.pulses
        shaped = (
            dataclasses.replace(pulse, rabi_rad_per_us=pulse.rabi_rad_per_us * factor)
            for pulse in (second, third, again)
        )
        expected += infidelity((first, *shaped, last), interactions) / 2
    assert found.infidelity == pytest.approx(expected, rel=1e-3)


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
    assert np.abs(logical - programs.ccz_state()).max() < 5e-6
    assert 1 - abs(np.vdot(programs.ccz_state(), logical)) ** 2 < 1e-11


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
