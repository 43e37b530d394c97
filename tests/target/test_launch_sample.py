"""`cudaq.sample` on the target: against CUDA-Q's own simulator, register by register."""
# ruff: noqa: F821, F841 - gates are names of the kernel language, variables name registers

from __future__ import annotations

import math
import os
import signal
import threading

import cudaq
import pulser
import pytest

from cudaq_target import Pasqal
from cudaq_target.errors import OptionError, TargetError, UnsupportedKernelError
from cudaq_target.shots import shots_of

pytestmark = pytest.mark.usefixtures("stock_target")

N_SHOTS = 2000


@cudaq.kernel
def tilted(angles: list[float]):
    q = cudaq.qvector(3)
    x(q[0])
    ry(angles[0], q[1])
    x.ctrl(q[1], q[2])
    ry(angles[1], q[2])


@cudaq.kernel
def partial(angle: float):
    q = cudaq.qvector(4)
    x(q[0])
    ry(angle, q[2])
    x.ctrl(q[2], q[3])
    mz(q[3])
    mz(q[0])


@cudaq.kernel
def registers(angle: float):
    q = cudaq.qvector(3)
    r = cudaq.qubit()
    x(q[0])
    ry(angle, r)
    first = mz(q[1])
    both = mz(q[0:2])
    first = mz(r)


@cudaq.kernel
def bases():
    q = cudaq.qvector(3)
    h(q[0])
    h(q[1])
    s(q[1])
    x(q[2])
    mx(q[0])
    my(q[1])
    mz(q[2])


@cudaq.kernel
def empty(n: int):
    m = n + 1


def on(name, call):
    cudaq.set_target(name)
    return call()


def same_distribution(ours, stock):
    """Compare counts of two samples of equal size within 5 standard deviations."""
    strings = {*ours, *stock}
    for string in strings:
        a, b = ours.get(string, 0), stock.get(string, 0)
        assert abs(a - b) <= 5 * math.sqrt(a + b + 1), (string, ours, stock)


def compare(kernel, *args, n_shots=N_SHOTS, **options):
    def call():
        cudaq.set_random_seed(13)
        return cudaq.sample(kernel, *args, shots_count=n_shots, **options)

    ours, stock = on("pasqal", call), on("qpp-cpu", call)
    assert sorted(ours.register_names) == sorted(stock.register_names)
    for name in stock.register_names:
        a, b = ours.get_register_counts(name), stock.get_register_counts(name)
        same_distribution(dict(a.items()), dict(b.items()))
    same_distribution(dict(ours.items()), dict(stock.items()))
    assert ours.get_total_shots() == stock.get_total_shots() == n_shots
    return ours


def test_asymmetric_kernel():
    counts = compare(tilted, [0.7, 0.4])
    assert all(string[0] == "1" for string, _ in counts.items())


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize(("kernel", "args"), [(partial, (0.9,)), (registers, (0.9,)), (bases, ())])
def test_measured_qubits_and_registers(kernel, args, explicit):
    # With explicit measurements CUDA-Q's simulator starts anew for each shot.
    n_shots = 200 if explicit else N_SHOTS
    compare(kernel, *args, n_shots=n_shots, explicit_measurements=explicit)


def test_builder_kernels_may_grow_between_calls():
    cudaq.set_target("pasqal")
    kernel, angle = cudaq.make_kernel(float)
    q = kernel.qalloc(2)
    kernel.rx(angle, q[0])
    assert dict(cudaq.sample(kernel, math.pi).items()) == {"10": 1000}
    kernel.cx(q[0], q[1])
    assert dict(cudaq.sample(kernel, math.pi).items()) == {"11": 1000}


def test_broadcasting_over_lists_and_matrices():
    import numpy as np

    cudaq.set_target("pasqal")
    angles = np.array([[0.0, 0.0], [math.pi, 0.0]])
    results = cudaq.sample(tilted, angles, shots_count=50)
    assert [dict(result.items()) for result in results] == [{"100": 50}, {"111": 50}]
    one = cudaq.sample(partial, [0.0], shots_count=5)
    assert [dict(result.items()) for result in one] == [{"10": 5}]


def test_arguments_are_told_apart_by_value():
    cudaq.set_target("pasqal")
    angles = [0.0, 0.0]
    assert dict(cudaq.sample(tilted, angles).items()) == {"100": 1000}
    angles[0] = math.pi
    assert dict(cudaq.sample(tilted, angles).items()) == {"111": 1000}


def test_captured_variables_are_read_at_each_call():
    cudaq.set_target("pasqal")
    turned = 0.0

    @cudaq.kernel
    def captured():
        q = cudaq.qvector(1)
        rx(turned, q[0])

    assert dict(cudaq.sample(captured).items()) == {"0": 1000}
    turned = math.pi
    assert dict(cudaq.sample(captured).items()) == {"1": 1000}


def test_shots_of_a_call_of_the_target_or_of_cudaq():
    cudaq.set_target("pasqal")
    assert cudaq.sample(partial, 0.3).get_total_shots() == 1000
    cudaq.set_target(Pasqal(shots=20))
    assert cudaq.sample(partial, 0.3).get_total_shots() == 20
    assert cudaq.sample(partial, 0.3, shots_count=30).get_total_shots() == 30
    assert len(cudaq.sample(partial, 0.3, shots_count=0)) == 0
    for refused in (-1, 10.0, True, "10"):
        with pytest.raises(OptionError, match=r"shots_count .*Give a whole number, 0 or more"):
            cudaq.sample(partial, 0.3, shots_count=refused)


def test_results_say_where_they_come_from_and_keep_every_shot():
    cudaq.set_target("pasqal")
    result = cudaq.sample(partial, 1.2, shots_count=40)
    other = cudaq.sample(partial, 1.2, shots_count=40)
    assert result.annotations["machine"] == "local"
    assert result.annotations["device"] == "DigitalAnalogDevice"
    assert result.annotations["job_id"] != other.annotations["job_id"]
    shots = shots_of(result)
    assert shots.n_bits == 4
    assert shots.marginal([0, 3]).counts() == dict(result.items())
    assert result.get_sequential_data() == shots.marginal([0, 3]).strings()


def test_sample_async_equals_sample():
    cudaq.set_target("pasqal", seed=3)
    now = [cudaq.sample(tilted, [0.7, 0.4]) for _ in range(3)]
    cudaq.set_target("pasqal", seed=3)
    futures = [cudaq.sample_async(tilted, [0.7, 0.4]) for _ in range(3)]
    assert [dict(f.get().items()) for f in futures] == [dict(r.items()) for r in now]
    assert all(f.done() for f in futures)


def test_errors_of_sample_async_surface_at_get():
    cudaq.set_target("pasqal")
    future = cudaq.sample_async(partial)
    with pytest.raises(UnsupportedKernelError, match="a call with 0 arguments"):
        future.get()
    with pytest.raises(OptionError, match="this target has one QPU"):
        cudaq.sample_async(partial, 0.3, qpu_id=1).get()


def test_a_kernel_without_qubits_gives_no_counts():
    cudaq.set_target("pasqal")
    assert dict(cudaq.sample(empty, 2).items()) == {}


def test_noise_models_of_cudaq_are_refused():
    cudaq.set_target("pasqal")
    with pytest.raises(OptionError) as caught:
        cudaq.sample(partial, 0.3, noise_model=cudaq.NoiseModel())
    assert str(caught.value) == (
        "noise_model: CUDA-Q's noise models act on gates of the kernel, which become pulses on "
        "atoms here. Give the noise of the atoms: "
        "cudaq.set_target(Pasqal(noise=pulser.NoiseModel(...)))"
    )
    with pytest.raises(OptionError):
        cudaq.cudaq_runtime.set_noise(cudaq.NoiseModel())


def test_noise_of_the_atoms_reaches_the_machine():
    with Pasqal(noise=pulser.NoiseModel(p_false_pos=0.5), seed=5):
        counts = dict(cudaq.sample(partial, 0.0, shots_count=400).items())
    assert 100 < counts["11"] < 300


def test_explicit_measurements_need_a_measurement():
    cudaq.set_target("pasqal")
    with pytest.raises(OptionError, match="kernel tilted measures nothing"):
        cudaq.sample(tilted, [0.1, 0.2], explicit_measurements=True)


def test_kernels_that_return_a_value_are_told_what_cudaq_tells():
    @cudaq.kernel
    def returning() -> bool:
        q = cudaq.qubit()
        return mz(q)

    def message():
        with pytest.raises(RuntimeError, match="Consider using `run`") as caught:
            cudaq.sample(returning)
        return str(caught.value)

    assert on("pasqal", message) == on("qpp-cpu", message)


def test_feed_forward_is_refused_with_the_line():
    @cudaq.kernel
    def feeding():
        q = cudaq.qvector(2)
        h(q[0])
        if mz(q[0]):
            x(q[1])

    cudaq.set_target("pasqal")
    with pytest.raises(TargetError, match="feeding, line"):
        cudaq.sample(feeding)


def test_what_is_no_kernel_is_refused():
    cudaq.set_target("pasqal")
    with pytest.raises(OptionError, match=r"Decorate the function with @cudaq\.kernel"):
        cudaq.sample(lambda: None)


def test_ctrl_c_in_a_long_call_is_an_exception():
    """CUDA-Q's own handler of the signal would end the process here, past every `finally`."""
    cudaq.set_target("pasqal", seed=1)
    cudaq.sample(partial, 0.5, shots_count=10)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        cudaq.sample(partial, [0.1 * k for k in range(1_000_000)], shots_count=10)
    timer.join()
    assert cudaq.sample(partial, 0.5, shots_count=10).get_total_shots() == 10
