"""Analog programs and devices that several tests use."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pulser
from hypothesis import strategies as st
from pulser.channels import Rydberg
from pulser.channels.eom import RydbergBeam, RydbergEOM
from pulser.devices import Device
from pulser.register.special_layouts import SquareLatticeLayout

from cudaq_target.analog.model import AnalogSpec, Waveform

TWO_PI = 2.0 * math.pi
CALIBRATED = SquareLatticeLayout(7, 7, 6.0)


def calibrated_device() -> Device:
    """A device that takes atoms on the traps of one layout only."""
    return dataclasses.replace(
        pulser.AnalogDevice,
        name="Calibrated",
        accepts_new_layouts=False,
        pre_calibrated_layouts=(CALIBRATED,),
    )


def fresnel_like() -> Device:
    """A device with the limits of a published specification of a machine."""
    channel = Rydberg.Global(
        TWO_PI * 10.0,
        TWO_PI * 2.0,
        clock_period=4,
        min_duration=16,
        max_duration=6000,
        mod_bandwidth=8.0,
        min_avg_amp=TWO_PI * 0.09,
        custom_phase_jump_time=0,
        eom_config=RydbergEOM(
            mod_bandwidth=40.0,
            limiting_beam=RydbergBeam.RED,
            max_limiting_amp=TWO_PI * 32.0,
            intermediate_detuning=TWO_PI * 450.0,
            controlled_beams=(RydbergBeam.BLUE,),
        ),
    )
    return Device(
        name="FresnelLike",
        dimensions=2,
        rydberg_level=60,
        min_atom_distance=5,
        max_atom_num=100,
        max_radial_distance=50,
        max_layout_filling=0.5,
        min_layout_filling=0.35,
        min_layout_traps=60,
        max_layout_traps=200,
        max_sequence_duration=6000,
        max_runs=500,
        requires_layout=True,
        channel_ids=("rydberg_global",),
        channel_objects=(channel,),
    )


def sweep(n_columns=3, n_rows=2, spacing_um=6.0, duration_ns=1000.0) -> AnalogSpec:
    """An adiabatic sweep on a square patch."""
    x, y = np.meshgrid(np.arange(n_columns), np.arange(n_rows))
    times = [0.0, 0.2 * duration_ns, 0.8 * duration_ns, duration_ns]
    return AnalogSpec.of(
        spacing_um * np.column_stack([x.ravel(), y.ravel()]),
        Waveform(times, [0.0, 9.0, 9.0, 0.0], name="amplitude"),
        Waveform(times, [-18.0, -18.0, 18.0, 18.0], name="detuning"),
        name="sweep",
    )


@st.composite
def waveforms(draw, duration_ns=200, low=-20.0, high=20.0, whole=None):
    """Waveforms of any kind, with points on whole ns or anywhere."""
    whole = draw(st.booleans()) if whole is None else whole
    if whole:
        times = st.integers(1, int(duration_ns) - 1).map(float)
    else:
        times = st.floats(0.01, duration_ns - 0.01).map(lambda time: round(time, 3))
    inner = sorted(draw(st.sets(times, max_size=6)))
    values = st.floats(low, high, allow_nan=False).map(lambda value: round(value, 6))
    points = draw(st.lists(values, min_size=len(inner) + 2, max_size=len(inner) + 2))
    kind = draw(st.sampled_from(["linear", "step"]))
    return Waveform([0.0, *inner, float(duration_ns)], points, kind)
