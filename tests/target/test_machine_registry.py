"""Every machine that can be named exists, takes the same arguments and gives the same counts."""
# ruff: noqa: F821 - gates are names of the kernel language

from __future__ import annotations

import inspect
import math

import cudaq
import numpy as np
import pytest

from cudaq_target import compile, machines  # noqa: A004
from cudaq_target.errors import OptionError
from cudaq_target.options import MACHINES
from cudaq_target.shots import Shots


@cudaq.kernel
def asymmetric():
    q = cudaq.qvector(3)
    x(q[0])
    ry(0.9, q[1])
    x.ctrl(q[1], q[2])
    ry(0.4, q[2])


FOR_GATES = [name for name in MACHINES if not name.startswith("emu-")]


@pytest.mark.parametrize("name", FOR_GATES)
def test_machines_follow_the_protocol(name):
    for method in ("sample", "state"):
        wanted = set(inspect.signature(getattr(machines.Machine, method)).parameters) - {"self"}
        assert set(inspect.signature(getattr(machines.get(name), method)).parameters) == wanted


@pytest.mark.parametrize("name", FOR_GATES)
def test_qubit_0_is_leftmost_on_every_machine(name):
    n_shots = 2000
    program = compile(asymmetric)
    machine = machines.get(name)
    state = machine.state(program.timeline, threads=1)
    bits = machine.sample(
        program.timeline, n_shots, noise=None, rng=np.random.default_rng(6), threads=1
    )
    counts = Shots.from_bits(bits).counts()
    assert all(string.startswith("1") for string in counts)
    for index, probability in enumerate(np.abs(state) ** 2):
        deviation = math.sqrt(n_shots * probability * (1 - min(probability, 1.0))) + 1.0
        assert abs(counts.get(f"{index:03b}", 0) - n_shots * probability) < 5 * deviation


@pytest.mark.parametrize("name", ["emu-sv", "emu-mps"])
def test_emulators_of_analog_programs_refuse_gate_kernels(name):
    cudaq.set_target("pasqal", machine=name)
    with pytest.raises(OptionError, match="it emulates the Rydberg levels alone"):
        cudaq.sample(asymmetric)
    cudaq.set_target("qpp-cpu")


def test_unknown_machines_are_refused():
    with pytest.raises(OptionError, match="machine 'loca': no such machine in this version"):
        machines.get("loca")
