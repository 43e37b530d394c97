"""`cudaq.get_state` on the target: the ideal kernel's amplitudes, in CUDA-Q's order."""
# ruff: noqa: F821 - gates are names of the kernel language

from __future__ import annotations

import cudaq
import numpy as np
import pulser
import pytest

from cudaq_target import Pasqal
from cudaq_target.emulator import memory
from cudaq_target.errors import MemoryLimitError, UnsupportedKernelError
from cudaq_target.launch.state import qubit_0_least_significant

pytestmark = pytest.mark.usefixtures("stock_target")


@cudaq.kernel
def asymmetric(angle: float):
    q = cudaq.qvector(3)
    x(q[0])
    ry(angle, q[1])
    s(q[1])
    x.ctrl(q[1], q[2])
    rz(0.3, q[0])
    h(q[2])


def test_amplitudes_equal_those_of_the_simulator():
    cudaq.set_target("qpp-cpu")
    stock = np.array(cudaq.get_state(asymmetric, 0.7))
    cudaq.set_target("pasqal")
    state = cudaq.get_state(asymmetric, 0.7)
    assert isinstance(state, cudaq.State)
    np.testing.assert_allclose(np.array(state), stock, atol=1e-9)
    assert state.num_qubits() == 3
    assert state.amplitude("100") == pytest.approx(stock[0b001], abs=1e-9)
    assert abs(state.overlap(state)) == pytest.approx(1.0, abs=1e-9)


def test_get_state_async():
    cudaq.set_target("pasqal")
    later = np.array(cudaq.get_state_async(asymmetric, 0.7).get())
    np.testing.assert_array_equal(later, np.array(cudaq.get_state(asymmetric, 0.7)))
    with pytest.raises(UnsupportedKernelError):
        cudaq.get_state_async(asymmetric).get()


def test_order_of_qubits():
    state = np.arange(8).astype(complex)
    turned = qubit_0_least_significant(state)
    for index in range(8):
        assert turned[index] == int(f"{index:03b}"[::-1], 2)


def test_a_noisy_program_has_no_state():
    with (
        Pasqal(noise=pulser.NoiseModel(p_false_pos=0.1)),
        pytest.raises(UnsupportedKernelError, match="a noisy program ends in no single state"),
    ):
        cudaq.get_state(asymmetric, 0.7)


def test_a_noise_model_without_noise_is_no_noise():
    with Pasqal(noise=pulser.NoiseModel()):
        assert cudaq.get_state(asymmetric, 0.7).num_qubits() == 3


@cudaq.kernel
def one_of(n: int):
    q = cudaq.qvector(n)
    h(q[0])


@pytest.mark.parametrize(("n_qubits", "needed"), [(26, "2.0 GiB"), (60, "2^35 GiB")])
def test_the_copies_of_a_state_must_fit(monkeypatch, n_qubits, needed):
    """One driven qubit costs nothing to emulate; the state of all of them does."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 30)
    cudaq.set_target("pasqal")
    with pytest.raises(MemoryLimitError) as caught:
        cudaq.get_state(one_of, n_qubits)
    assert str(caught.value) == (
        f"emulating {n_qubits} qubits needs {needed}, 1.0 GiB are available. "
        "Use at most 25 qubits, or a machine with more memory"
    )


@pytest.mark.parametrize("n_copies", [1, 2, 3])
def test_each_copy_is_looked_at_when_it_is_made(monkeypatch, n_copies):
    """The emulator's, the one in CUDA-Q's order, and CUDA-Q's own, after a look at the whole."""
    left = iter([1 << 30] * n_copies + [0])
    monkeypatch.setattr(memory, "available_bytes", lambda: next(left))
    cudaq.set_target("pasqal")
    with pytest.raises(MemoryLimitError, match=r"22 qubits needs 0\.1 GiB, 0\.0 GiB are"):
        cudaq.get_state(one_of, 22)
    assert next(left, None) is None
