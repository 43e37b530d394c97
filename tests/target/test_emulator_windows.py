"""Cutting programs into rotations and windows."""

import numpy as np
import pulser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target import device
from cudaq_target.emulator.trajectories import Flip, _cut
from cudaq_target.emulator.windows import Drive, Rotation, Window, steps_of
from tests.target import emulator_oracle as oracle

RULES = device.rules(pulser.DigitalAnalogDevice)


@given(seed=st.integers(0, 2**32 - 1), parallel=st.booleans())
def test_windows_cover_the_program_once(seed, parallel):
    rng = np.random.default_rng(seed)
    program = oracle.random_program(RULES, rng, 3, 8, parallel_rydberg=parallel)
    steps = steps_of(program)
    windows = [step for step in steps if isinstance(step, Window)]
    moment = 0
    for window in windows:
        assert window.start_ns == moment
        assert window.end_ns > window.start_ns
        for drive in window.drives:
            assert drive.durations_ns.sum() == pytest.approx(window.end_ns - window.start_ns)
        moment = window.end_ns
    assert moment == program.duration_ns
    driven = sum(d.durations_ns.sum() for w in windows for d in w.drives)
    slots = [slot for slot in program.slots if slot.beam == "rydberg"]
    assert driven == sum(slot.pulse.duration_ns for slot in slots)
    assert sum(isinstance(step, Rotation) for step in steps) == len(program.slots) - len(slots)


@given(cut=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_parts_of_a_drive_make_the_whole(cut, seed):
    pulse = oracle.random_pulse(np.random.default_rng(seed), 4)
    drive = Drive.of(0, pulse)
    moment = cut * pulse.duration_ns
    parts = [drive.part(0.0, moment), drive.part(moment, pulse.duration_ns)]
    assert sum(p.durations_ns.sum() for p in parts) == pytest.approx(pulse.duration_ns)
    area = sum((p.durations_ns * p.rabi_rad_per_us).sum() for p in parts)
    assert area == pytest.approx((pulse.durations_ns * pulse.rabi_rad_per_us).sum())


def test_a_flip_cuts_only_what_it_does_not_commute_with():
    rng = np.random.default_rng(0)
    rydberg, raman = (Drive.of(0, oracle.random_pulse(rng, 1)) for _ in range(2))
    window = Window(0.0, 100.0, (rydberg,))
    rotation = Rotation(10.0, 90.0, Drive(1, *(getattr(raman, f) for f in Drive.__slots__[1:])))
    steps = [window, rotation]

    def shape(flip):
        return [(type(s).__name__, s.start_ns) for s in _cut(steps, [flip])]

    assert shape(Flip(50.0, 0, 2)) == [
        ("Window", 0.0),
        ("Rotation", 10.0),
        ("Flip", 50.0),
        ("Window", 50.0),
    ]
    assert shape(Flip(50.0, 1, 1)) == [
        ("Window", 0.0),
        ("Rotation", 10.0),
        ("Flip", 50.0),
        ("Rotation", 50.0),
    ]
    assert shape(Flip(50.0, 1, 2)) == [("Window", 0.0), ("Rotation", 10.0), ("Flip", 50.0)]
