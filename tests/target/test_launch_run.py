"""`cudaq.run` and direct calls: return values computed from terminal measurements."""
# ruff: noqa: F821, F841 - gates are names of the kernel language; a measurement may be unused
# CUDA-Q needs the fields of a dataclass as types, hence no postponed annotations.

import math
from dataclasses import dataclass

import cudaq
import pytest

from cudaq_target import Pasqal
from cudaq_target.errors import OptionError, UnsupportedKernelError

pytestmark = pytest.mark.usefixtures("stock_target")


@cudaq.kernel
def count_ones(n: int, angle: float) -> int:
    q = cudaq.qvector(n)
    ry(angle, q[0])
    for k in range(1, n):
        x.ctrl(q[k - 1], q[k])
    total = 0
    for bit in mz(q):
        if bit:
            total += 1
    return total


@cudaq.kernel
def second_then_first() -> list[bool]:
    q = cudaq.qvector(3)
    x(q[1])
    return [mz(q[1]), mz(q[0])]


@cudaq.kernel
def shifted(values: list[int]) -> int:
    q = cudaq.qvector(2)
    h(q)
    values[0] = values[0] + 1
    bit = mz(q[0])
    values[0] = values[0] + 1
    return values[0]


@dataclass(slots=True)
class Reading:
    first: bool
    weight: float


@cudaq.kernel
def structured() -> Reading:
    q = cudaq.qvector(2)
    x(q[0])
    return Reading(mz(q[0]), 0.5)


@cudaq.kernel
def void():
    q = cudaq.qvector(2)
    h(q)


def test_values_and_their_order():
    cudaq.set_target("pasqal")
    assert cudaq.run(second_then_first, shots_count=3) == [[True, False]] * 3
    values = cudaq.run(structured, shots_count=2)
    assert [(value.first, value.weight) for value in values] == [(True, 0.5)] * 2


def test_distribution():
    n_shots, angle = 2000, 0.8
    cudaq.set_target("pasqal", seed=2)
    values = cudaq.run(count_ones, 3, angle, shots_count=n_shots)
    assert set(values) == {0, 3}
    probability = math.sin(angle / 2) ** 2
    deviation = math.sqrt(n_shots * probability * (1 - probability))
    assert abs(values.count(3) - n_shots * probability) < 5 * deviation


def test_number_of_shots():
    cudaq.set_target("pasqal")
    assert len(cudaq.run(count_ones, 2, 0.3)) == 100
    assert len(cudaq.run(count_ones, 2, 0.3, shots_count=7)) == 7
    with Pasqal(shots=9):
        assert len(cudaq.run(count_ones, 2, 0.3)) == 9


def test_a_kernel_may_write_to_its_arguments():
    cudaq.set_target("pasqal")
    values = [5, 6]
    assert cudaq.run(shifted, values, shots_count=10) == [7] * 10
    assert cudaq.run(shifted, values, shots_count=10) == [7] * 10
    assert values == [5, 6]


def test_run_async_equals_run():
    cudaq.set_target("pasqal", seed=3)
    future = cudaq.run_async(count_ones, 3, 0.8)
    cudaq.set_target("pasqal", seed=3)
    assert future.get() == cudaq.run(count_ones, 3, 0.8)


def test_direct_calls_return_the_value_of_one_shot():
    cudaq.set_target("pasqal", seed=3)
    assert second_then_first() == [True, False]
    assert {count_ones(2, 1.5) for _ in range(20)} == {0, 2}
    assert void() is None
    builder = cudaq.make_kernel()
    builder.h(builder.qalloc(1))
    assert builder() is None


def test_kernels_without_return_value_are_refused():
    cudaq.set_target("pasqal")
    with pytest.raises(UnsupportedKernelError) as caught:
        cudaq.run(void)
    assert str(caught.value) == (
        "void: `run` of a kernel that returns nothing cannot run here: "
        "the results of a run are what the kernel returns in each shot. "
        "Return the measured bits, or use cudaq.sample"
    )
    with pytest.raises(UnsupportedKernelError):
        cudaq.run_async(void).get()


def test_options_that_cannot_be_honoured_are_refused():
    cudaq.set_target("pasqal")
    with pytest.raises(OptionError, match="noise_model"):
        cudaq.run(count_ones, 2, 0.3, noise_model=cudaq.NoiseModel())
    with pytest.raises(OptionError, match="qpu_id"):
        cudaq.run(count_ones, 2, 0.3, qpu_id=1)
