"""`cudaq_target.compile`: the program a launch would run."""
# ruff: noqa: F821 - gates are names of the kernel language

from __future__ import annotations

import cudaq
import numpy as np
import pytest

from cudaq_target import Pasqal, Program, compile, host, machines  # noqa: A004
from cudaq_target.errors import HostError, OptionError
from cudaq_target.launch.state import qubit_0_least_significant

pytestmark = pytest.mark.usefixtures("stock_target")


@cudaq.kernel
def pair(angles: list[float]):
    q = cudaq.qvector(2)
    ry(angles[0], q[0])
    x.ctrl(q[0], q[1])
    rz(angles[1], q[1])
    h(q[1])


def state_of(program):
    amplitudes = machines.get("local").state(program.timeline, threads=1)
    return qubit_0_least_significant(amplitudes)


def stock_state(angles):
    return np.array(cudaq.get_state(pair, angles))


def test_program_does_what_the_kernel_does():
    program = compile(pair, [0.4, 0.9])
    assert isinstance(program, Program)
    assert program.kernel == "pair"
    np.testing.assert_allclose(state_of(program), stock_state([0.4, 0.9]), atol=1e-9)


def test_bind_applies_other_arguments():
    program = compile(pair, [0.4, 0.9])
    other = program.bind([1.4, -0.2]).bind([1.4, -0.3])
    np.testing.assert_allclose(state_of(other), stock_state([1.4, -0.3]), atol=1e-9)


def test_options_are_those_of_the_target_unless_given():
    assert compile(pair, [0.4, 0.9]).rules.name == "DigitalAnalogDevice"
    assert compile(pair, [0.4, 0.9], device="MockDevice").rules.name == "MockDevice"
    sites = [[-4.0, 1.0], [4.0, -1.0]]
    with Pasqal(device="MockDevice"):
        program = compile(pair, [0.4, 0.9], layout=sites)
    assert program.rules.name == "MockDevice"
    np.testing.assert_allclose(program.timeline.coordinates_um, sites, atol=1e-6)


def test_unusable_options_and_hosts_are_refused(monkeypatch):
    with pytest.raises(OptionError, match="device 'Foo': no such device"):
        compile(pair, [0.4, 0.9], device="Foo")
    monkeypatch.setattr(host, "installed", lambda: (None, None))
    with pytest.raises(HostError, match="CUDA-Q is not installed"):
        compile(pair, [0.4, 0.9])
