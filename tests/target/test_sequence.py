import dataclasses
import math

import numpy as np
import pulser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulser import sampler
from pulser.channels import Raman, Rydberg
from pulser.devices import DigitalAnalogDevice, VirtualDevice
from pulser.register.special_layouts import TriangularLatticeLayout

from cudaq_target.device import resolve
from cudaq_target.errors import DeviceLimitError, SequenceError
from cudaq_target.sequence import register, to_pulser, to_sequence
from cudaq_target.timeline import Pulse, PulseProgram, Slot
from tests.target import programs

DAD = resolve("DigitalAnalogDevice")
MOCK = resolve("MockDevice")
SLOW_BEAMS = resolve(
    VirtualDevice(
        name="SlowBeams",
        dimensions=2,
        rydberg_level=70,
        channel_objects=(
            Rydberg.Local(
                125.0,
                60.0,
                max_targets=1,
                min_retarget_interval=150,
                fixed_retarget_t=30,
                clock_period=2,
                min_duration=10,
            ),
            Raman.Local(
                125.0,
                30.0,
                max_targets=1,
                min_retarget_interval=100,
                fixed_retarget_t=20,
                clock_period=5,
                min_duration=25,
            ),
        ),
    )
)
PATIENCE_NS = 240
NARROW_BEAMS = resolve(
    VirtualDevice(
        name="NarrowBeams",
        dimensions=2,
        rydberg_level=70,
        channel_objects=(
            Rydberg.Local(
                125.0,
                62.0,
                max_targets=1,
                min_retarget_interval=220,
                clock_period=4,
                min_duration=16,
                max_duration=PATIENCE_NS,
                min_avg_amp=2 * math.pi * 4,
            ),
            Raman.Local(
                125.0,
                30.0,
                max_targets=1,
                min_retarget_interval=100,
                clock_period=5,
                min_duration=50,
                max_duration=1003,
                min_avg_amp=2 * math.pi,
            ),
        ),
    )
)
PROGRAMS = {
    "single": programs.single,
    "bell": programs.bell,
    "ghz": lambda rules: programs.ghz(rules, 5),
    "fan_out": programs.fan_out,
    "permuted": programs.permuted,
    "ccz": programs.ccz,
}


def changed(program, **changes):
    fields = {name: getattr(program, name) for name in PulseProgram.__slots__}
    return PulseProgram(**(fields | changes))


def drive_of(program, beam):
    """Ω, δ and φ of every atom and ns, straight from the slots; shape (3, n_atoms, duration)."""
    drive = np.zeros((3, len(program.coordinates_um), program.duration_ns))
    for slot in program.slots:
        if slot.beam == beam:
            at, pulse = slice(slot.start_ns, slot.end_ns), slot.pulse
            drive[0, slot.atom, at] = np.repeat(pulse.rabi_rad_per_us, pulse.durations_ns)
            drive[1, slot.atom, at] = np.repeat(pulse.detuning_rad_per_us, pulse.durations_ns)
            drive[2, slot.atom, at] = pulse.phase_rad
    return drive


def assert_same_samples(program, sequence):
    samples = sampler.sample(sequence).to_nested_dict(all_local=True)["Local"]
    for beam, basis in (("rydberg", "ground-rydberg"), ("raman", "digital")):
        expected = drive_of(program, beam)
        for atom in range(len(program.coordinates_um)):
            found = samples[basis].get(f"q{atom}")
            if found is None:
                assert not expected[:, atom].any()
                continue
            rabi, detuning, phase = (np.asarray(found[name]) for name in ("amp", "det", "phase"))
            on = expected[0, atom] > 0
            assert np.array_equal(rabi[: program.duration_ns], expected[0, atom])
            assert np.array_equal(detuning[: program.duration_ns], expected[1, atom])
            assert np.array_equal(phase[: program.duration_ns][on], expected[2, atom][on])


# The tabulated CCZ needs stronger beams than the slow ones.
CASES = [
    pytest.param(rules, name, id=f"{rules.name}-{name}")
    for rules in (DAD, MOCK, SLOW_BEAMS, NARROW_BEAMS)
    for name in PROGRAMS
    if (rules, name) != (SLOW_BEAMS, "ccz")
]


@pytest.mark.parametrize(("rules", "name"), CASES)
def test_pulser_plays_every_pulse_at_its_time(rules, name):
    program = PROGRAMS[name](rules)
    sequence = to_sequence(program)
    assert sequence.get_duration() == program.duration_ns
    assert sequence.register.qubit_ids == tuple(f"q{k}" for k in range(len(program.frames_rad)))
    assert sequence.get_measurement_basis() == "digital"
    assert_same_samples(program, sequence)
    for atom, frame in enumerate(program.frames_rad):
        found = float(sequence.current_phase_ref(f"q{atom}", "digital"))
        assert math.cos(found - frame) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_abstract_representation_round_trips(name):
    program = PROGRAMS[name](DAD)
    sequence = to_sequence(program)
    text = sequence.to_abstract_repr()
    again = pulser.Sequence.from_abstract_repr(text)
    assert again.to_abstract_repr() == text
    assert_same_samples(program, again)
    assert again.device == DigitalAnalogDevice


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_random_programs_are_played_as_written(data):
    rules = data.draw(st.sampled_from([DAD, MOCK, SLOW_BEAMS, NARROW_BEAMS]))
    n_atoms = data.draw(st.integers(2, 4))
    builder = programs.Builder(rules, programs.line_um(n_atoms, 4.5))
    for _ in range(data.draw(st.integers(1, 8))):
        atoms = data.draw(st.permutations(range(n_atoms)))
        builder.ready_ns[atoms[0]] += data.draw(st.sampled_from([0, 0, 1, 7, 100, 1000, 10_000]))
        if data.draw(st.booleans()):
            builder.u3(atoms[0], data.draw(st.floats(0.01, math.pi)), 0.3, -0.2)
        else:
            near = [a for a in range(n_atoms) if abs(a - atoms[0]) == 1]
            theta = data.draw(st.sampled_from([math.pi, 1.0, -0.4]))
            builder.cphases(atoms[0], [(a, theta) for a in near])
    program = builder.program()
    assert_same_samples(program, to_sequence(program))


@pytest.mark.parametrize("wait_ns", [240, 244, 252, 256, 260, 480, 484, 496, 10_000])
def test_waits_longer_than_the_longest_instruction_are_split(wait_ns):
    program = programs.bell(NARROW_BEAMS)
    gap_ns = 20 * wait_ns
    later = [Slot(s.beam, s.atom, s.start_ns + gap_ns, s.pulse) for s in program.slots]
    slots = (*program.slots, *later)
    twice = changed(program, slots=slots, duration_ns=program.duration_ns + gap_ns)
    assert_same_samples(twice, to_sequence(twice))
    idle = changed(program, slots=(), duration_ns=wait_ns)
    assert to_sequence(idle).get_duration() == wait_ns


def test_layouts_round_coordinates_before_pulses_are_solved():
    wanted = programs.triangle_um(4.123456789)
    made, rounded = register(DAD, wanted)
    assert made.layout is not None
    assert 0 < np.abs(rounded - wanted).max() < 1e-6
    _, again = register(DAD, rounded)
    assert np.array_equal(again, rounded)


def test_no_layout_where_none_is_required():
    wanted = programs.triangle_um(4.123456789)
    made, coordinates = register(MOCK, wanted)
    assert made.layout is None
    assert np.array_equal(coordinates, wanted)
    flat = np.concatenate([wanted, np.ones((3, 1))], axis=1)
    made, coordinates = register(MOCK, flat)
    assert made.dimensionality == 3
    assert np.array_equal(coordinates, flat)


def test_a_given_layout_is_used():
    layout = TriangularLatticeLayout(61, 5.0)
    sites = np.asarray(layout.coords)[[20, 30, 31]]
    made, coordinates = register(DAD, sites, layout)
    assert made.layout is layout
    builder = programs.Builder(DAD, coordinates)
    builder.h(0)
    sequence = to_sequence(changed(builder.program(), traps=layout))
    assert sequence.register.layout is layout


def test_registers_outside_the_rules_are_refused():
    with pytest.raises(DeviceLimitError) as caught:
        register(DAD, programs.line_um(2, 3.0))
    text = str(caught.value)
    assert text.startswith(
        "register of 2 atoms: DigitalAnalogDevice allows at most 100 atoms at least 4 µm apart "
        "within 50 µm of the centre. Pulser says: "
    )
    with pytest.raises(DeviceLimitError):
        register(DAD, programs.line_um(2, 120.0))
    with pytest.raises(DeviceLimitError, match="not a part of the RegisterLayout"):
        register(DAD, programs.line_um(2), TriangularLatticeLayout(61, 5.0))


def test_a_virtual_device_that_wants_a_layout_is_explained():
    device = dataclasses.replace(SLOW_BEAMS.pulser_device, requires_layout=True)
    with pytest.raises(
        DeviceLimitError, match=r"Give a pulser RegisterLayout .* or set requires_layout=False"
    ):
        register(resolve(device), programs.line_um(2))


def test_coordinates_that_were_not_rounded_are_refused():
    program = changed(programs.bell(DAD), coordinates_um=programs.line_um(2) + 1e-7)
    with pytest.raises(SequenceError, match="the trap layout moves the atoms"):
        to_sequence(program)


def moved(program, index, by_ns):
    slots = list(program.slots)
    slot = slots[index]
    slots[index] = Slot(slot.beam, slot.atom, slot.start_ns + by_ns, slot.pulse)
    return changed(program, slots=tuple(slots))


@pytest.mark.parametrize(
    ("index", "by_ns", "words"),
    [
        (0, -4, "clock|stretch|16|would end it"),  # less than the shortest wait
        (-2, -4, "would end it at"),  # before the retarget is over
        (1, 1, "clock|multiple"),
    ],
)
def test_times_that_pulser_would_move_are_refused(index, by_ns, words):
    with pytest.raises(SequenceError, match=words) as caught:
        to_sequence(moved(programs.bell(DAD), index, by_ns))
    assert "on DigitalAnalogDevice" in str(caught.value)


def test_pulses_outside_the_limits_are_refused():
    program = programs.single(DAD)
    strong = Pulse(np.array([16]), np.array([70.0]), np.zeros(1), 0.0)
    with pytest.raises(SequenceError, match="amplitude goes over the maximum"):
        to_sequence(changed(program, slots=(Slot("raman", 0, 16, strong),)))


def test_a_program_too_short_for_its_padding_is_refused():
    program = programs.single(DAD)
    with pytest.raises(SequenceError, match="end of the program"):
        to_sequence(changed(program, duration_ns=program.duration_ns + 1))


def test_a_program_without_pulses_is_a_delay():
    coordinates = register(DAD, programs.line_um(2))[1]
    program = PulseProgram(DAD, coordinates, (), 32, np.zeros(2), (0, 1))
    sequence = to_sequence(program, measured=False)
    assert sequence.get_duration() == 32
    assert not sequence.is_measured()
    assert not any(drive.any() for drive in drive_of(program, "rydberg"))


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.floats(0, 60), st.floats(-100, 100)),
        min_size=1,
        max_size=12,
    ),
    st.floats(0, 6.28),
)
def test_pulses_keep_every_sample(pieces, phase):
    durations, rabi, detuning = (np.array(column) for column in zip(*pieces, strict=True))
    pulse = Pulse(durations.astype(np.int64), rabi.astype(float), detuning.astype(float), phase)
    found = to_pulser(pulse)
    assert np.array_equal(found.amplitude.samples.as_array(), np.repeat(rabi, durations))
    assert np.array_equal(found.detuning.samples.as_array(), np.repeat(detuning, durations))
    assert float(found.phase) == phase


def test_rules_of_a_device_are_hashable():
    assert {DAD: 1}[dataclasses.replace(DAD)] == 1
