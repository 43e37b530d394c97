"""The way through CUDA-Q's own launch functions gives what the direct way gives."""
# ruff: noqa: F821 - gates are names of the kernel language

from __future__ import annotations

from collections.abc import Callable

import cudaq
import pytest
from cudaq import spin

from cudaq_target import target
from cudaq_target.endpoint import Endpoint
from cudaq_target.errors import OptionError, UnsupportedKernelError
from cudaq_target.launch import redirect

pytestmark = pytest.mark.usefixtures("stock_target")

STOCK_SAMPLE = getattr(cudaq.sample, redirect._MARK)
STOCK_OBSERVE = getattr(cudaq.observe, redirect._MARK)


@cudaq.kernel
def turn(q: cudaq.qview, angle: float):
    ry(angle, q[0])
    x.ctrl(q[0], q[1])


@cudaq.kernel
def caller(block: Callable[[cudaq.qview, float], None], angles: list[float]):
    q = cudaq.qvector(3)
    a = cudaq.qubit()
    x(a)
    block(q, angles[0])
    cudaq.control(turn, a, q, angles[1])
    cudaq.adjoint(turn, q, angles[1])


ARGUMENTS = (turn, [0.7, 0.4])


class Module:
    """What an endpoint uses of a module."""

    name = "alone..0x1"


def test_sample_gives_the_same_counts():
    cudaq.set_target("pasqal", seed=5)
    direct = cudaq.sample(caller, *ARGUMENTS)
    cudaq.set_target("pasqal", seed=5)
    through = STOCK_SAMPLE(caller, *ARGUMENTS)
    assert dict(through.items()) == dict(direct.items())
    assert through.annotations["machine"] == "local"


def test_observe_gives_the_same_value():
    cudaq.set_target("pasqal", seed=5)
    operator = spin.z(0) + 2 * spin.x(1) * spin.z(3)
    direct = cudaq.observe(caller, operator, *ARGUMENTS).expectation()
    assert STOCK_OBSERVE(caller, operator, *ARGUMENTS).expectation() == direct


def test_builder_kernels_come_through():
    cudaq.set_target("pasqal", seed=5)
    kernel, n_qubits = cudaq.make_kernel(int)
    q = kernel.qalloc(n_qubits)
    kernel.x(q[0])
    assert dict(STOCK_SAMPLE(kernel, 2).items()) == {"10": 1000}


def test_our_errors_come_through():
    cudaq.set_target("pasqal")
    with pytest.raises(OptionError, match="measures nothing"):
        STOCK_SAMPLE(caller, *ARGUMENTS, explicit_measurements=True)


def test_a_module_alone_is_refused():
    cudaq.set_target("pasqal")
    with pytest.raises(UnsupportedKernelError, match="alone: a module launched without its kernel"):
        Endpoint().sample(Module(), None, shots_count=1)


def test_an_endpoint_left_behind_is_refused():
    assert target.active() is None
    with pytest.raises(OptionError, match="this endpoint is no longer in force"):
        Endpoint().sample(Module(), None, shots_count=1)


def test_unknown_launch_options_are_refused():
    cudaq.set_target("pasqal")
    with pytest.raises(OptionError, match="novelty: not supported here"):
        Endpoint().sample(Module(), None, shots_count=1, novelty=True)
