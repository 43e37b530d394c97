"""Analog programs on the GPU back end: run on this processor, and on a GPU where there is one.

The tests marked `gpu` need NumPy, pytest and CuPy alone; `python -m benchmarks.gpu_node` runs them.
"""

from __future__ import annotations

import numpy as np
import pytest

from cudaq_target.emulator.analog import devices
from cudaq_target.emulator.analog.curves import Curve
from cudaq_target.emulator.analog.integrate import Evolution, evolve_rydberg
from cudaq_target.emulator.analog.noise import AnalogNoise, Placement
from cudaq_target.emulator.analog.observables import correlations, occupations, pauli_sum
from cudaq_target.emulator.analog.problem import RydbergProblem
from cudaq_target.emulator.analog.shots import sample_packed
from cudaq_target.emulator.analog.stages import BM4, Pace
from cudaq_target.emulator.analog.trajectories import sample_noisy
from cudaq_target.errors import MemoryLimitError
from cudaq_target.kernels.backends import gpu_missing, is_on_device
from cudaq_target.kernels.gpu import device
from tests.kernels.emulated_device import emulated_gpu  # noqa: F401 - a fixture

C6 = 865_723.02
emulated = pytest.mark.usefixtures("emulated_gpu")


def sites(n_atoms: int) -> np.ndarray:
    return 6.0 * np.array([(k // 3, k % 3) for k in range(n_atoms)], dtype=np.float64)


def program(n_atoms: int, duration_ns: float = 300.0) -> RydbergProblem:
    """Own amplitude, detuning and phase for every atom, a jump of the phase, a detuning map."""
    times = np.linspace(0.0, duration_ns, 4)
    share = 1.0 + 0.1 * np.arange(n_atoms)
    return RydbergProblem.of(
        sites(n_atoms),
        C6,
        duration_ns,
        Curve.linear(times, np.outer([0.0, 9.0, 8.0, 2.0], share)),
        Curve.linear(times, np.outer([-20.0, -5.0, 5.0, 20.0], share[::-1])),
        Curve.step([0.0, duration_ns / 2, duration_ns], np.outer([0.0, 0.7, 0.7], share)),
        [(Curve.linear(times, [0.0, -4.0, -6.0, 0.0]), np.arange(n_atoms) % 2)],
    )


def assert_one_answer(n_atoms: int, order: int, dtype: type) -> None:
    settings = {"order": order, "step_ns": 10.0, "dtype": dtype, "save_at_ns": (120.0, 300.0)}
    ours = evolve_rydberg(program(n_atoms), **settings, backend="gpu", measure=occupations)
    expected = evolve_rydberg(program(n_atoms), **settings, measure=occupations)
    atol = 1e-13 if dtype is np.complex128 else 2e-6
    assert ours.state.dtype == dtype
    final = ours.state.get() if is_on_device(ours.state) else ours.state
    np.testing.assert_allclose(final, expected.state, rtol=0, atol=atol)
    np.testing.assert_allclose(ours.saved, expected.saved, rtol=0, atol=10 * atol)
    assert ours.n_steps == expected.n_steps


@emulated
@pytest.mark.parametrize("n_atoms", [1, 9, 13])
@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_the_gpu_gives_what_the_host_gives(n_atoms: int, order: int, dtype: type) -> None:
    assert_one_answer(n_atoms, order, dtype)


@emulated
def test_steps_are_controlled_as_on_the_host() -> None:
    ours, expected = (
        evolve_rydberg(program(7), tolerance=1e-6, backend=backend) for backend in ("gpu", "cpu")
    )
    assert (ours.step_ns, ours.n_passes) == (expected.step_ns, expected.n_passes)
    assert ours.error_estimate == pytest.approx(expected.error_estimate, rel=1e-3)


@emulated
def test_operators_between_two_stretches() -> None:
    fall = np.array([[0.3, 1.0j], [0.2, -1.0]])
    found = []
    for backend in ("gpu", "cpu"):
        evolution = Evolution(program(8), BM4, backend=backend)
        evolution.advance(160.0, Pace(10.0))
        evolution.apply(fall, 3)
        evolution.scale(1.0 / np.sqrt(evolution.norm_squared()))
        twin = evolution.copy()
        evolution.advance(300.0, Pace(10.0))
        found.append((evolution.state(), twin.state()))
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-13)


@emulated
def test_noisy_shots_are_those_of_the_host() -> None:
    pulser = pytest.importorskip("pulser", reason="bare GPU nodes lack it")
    model = pulser.NoiseModel(relaxation_rate=2.0, dephasing_rate=1.0, p_false_pos=0.02)
    own = AnalogNoise.of(model)
    placement = Placement(sites(5), C6, (0.0, 1.0, 0.0))
    ours, expected = (
        sample_noisy(
            program(5), placement, own, 60, np.random.default_rng(4), tolerance=1e-3, backend=name
        )
        for name in ("gpu", "cpu")
    )
    np.testing.assert_array_equal(ours, expected)


def test_exact_values_of_a_state_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass over the state per string, with the masks that the host needs not."""
    pytest.importorskip("cudaq", reason="bare GPU nodes lack it")
    from cudaq_target.launch import operators

    state = evolve_rydberg(program(4), step_ns=10.0).state
    strings = [
        operators.PauliString(name, (0, 1, 3), letters)
        for name, letters in (("a", "ZXY"), ("b", "YYZ"), ("c", "ZZZ"))
    ]
    expected = operators.exact_values(state, strings)
    monkeypatch.setattr(operators, "is_on_device", lambda _: True)
    assert operators.exact_values(state, strings) == pytest.approx(expected, abs=1e-13)


@emulated
def test_what_does_not_fit_on_the_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "free_bytes", lambda: 1 << 10)
    with pytest.raises(MemoryLimitError, match="GPU's memory: use backend='cpu'"):
        evolve_rydberg(program(9), backend="gpu")


@emulated
def test_many_atoms_go_to_a_gpu_that_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu_missing", lambda: "")
    monkeypatch.setattr(device, "free_bytes", lambda: 80 << 30)
    assert [devices.backend_for(n) for n in (15, 16, 29, 30)] == ["auto", "gpu", "gpu", "auto"]
    assert devices.backend_for(30, itemsize=8) == "gpu"
    monkeypatch.setattr(devices, "gpu_missing", lambda: "a CUDA device")
    assert devices.backend_for(16) == "auto"


@pytest.mark.gpu
@pytest.mark.skipif(bool(gpu_missing()), reason=gpu_missing())
@pytest.mark.parametrize("n_atoms", [5, 13, 18])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_states_live_on_the_gpu(n_atoms: int, dtype: type) -> None:
    assert_one_answer(n_atoms, 4, dtype)
    there = evolve_rydberg(program(n_atoms), dtype=dtype, tolerance=1e-4, backend="gpu").state
    assert is_on_device(there)
    host = there.get()
    atol = 1e-12 if dtype is np.complex128 else 1e-5
    for measure in (occupations, correlations):
        np.testing.assert_allclose(measure(there), measure(host), rtol=0, atol=atol)
    terms = [(1.0, "Z" * n_atoms), (0.5, "XY" + "I" * (n_atoms - 2))]
    assert pauli_sum(there, terms) == pytest.approx(pauli_sum(host, terms), abs=atol)
    shots = [sample_packed(state, 500, np.random.default_rng(2)) for state in (there, host)]
    assert np.mean(shots[0] == shots[1]) > 0.99
    again = evolve_rydberg(program(n_atoms), initial_state=there, step_ns=10.0, dtype=dtype).state
    assert is_on_device(again)
