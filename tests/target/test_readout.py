"""Order of bits in a sample."""
# ruff: noqa: F821, F841

from __future__ import annotations

import cudaq
import pytest

from cudaq_target import quake
from cudaq_target.circuit import Circuit, Measurement
from cudaq_target.errors import Source
from cudaq_target.readout import readout_order
from cudaq_target.trace import trace

HERE = Source("demo")
pytestmark = pytest.mark.usefixtures("stock_target")


def measured(*events: tuple[int, str]) -> Circuit:
    return Circuit("demo", 4, (), tuple(Measurement(*event, HERE) for event in events))


def test_all_qubits_where_none_is_measured():
    assert readout_order(measured()) == {"__global__": (0, 1, 2, 3)}


def test_registers_are_in_the_order_of_qubits_and_hold_each_once():
    circuit = measured((2, "a"), (0, ""), (1, "a"), (0, "b"), (2, "a"))
    assert readout_order(circuit) == {"__global__": (0, 1, 2), "a": (1, 2), "b": (0,)}


def test_explicit_measurements_are_in_the_order_of_execution():
    circuit = measured((2, "a"), (0, ""), (1, "a"), (0, "b"))
    assert readout_order(circuit, explicit=True) == {"__global__": (2, 0, 1, 0)}


@cudaq.kernel
def asymmetric():
    q = cudaq.qvector(5)
    x(q[3])
    x(q[0])
    late = mz([q[3], q[2]])
    mz(q[1])
    early = mz(q[0])


@pytest.mark.parametrize("explicit", [False, True])
def test_cudaq_agrees(explicit):
    circuit = trace(quake.read(asymmetric), ())
    order = readout_order(circuit, explicit=explicit)
    cudaq.set_target("qpp-cpu")
    result = cudaq.sample(asymmetric, shots_count=1, explicit_measurements=explicit)
    expected = {
        name: "".join("1" if qubit in (0, 3) else "0" for qubit in qubits)
        for name, qubits in order.items()
    }
    assert sorted(result.register_names) == sorted(expected)
    for name, word in expected.items():
        assert list(result.get_register_counts(name)) == [word]
