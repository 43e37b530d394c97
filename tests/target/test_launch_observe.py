"""`cudaq.observe` on the target: against CUDA-Q's own simulator."""
# ruff: noqa: F821 - gates are names of the kernel language

from __future__ import annotations

import math

import cudaq
import numpy as np
import pulser
import pytest
from cudaq import spin

from cudaq_target import Pasqal
from cudaq_target.emulator import memory
from cudaq_target.errors import MemoryLimitError, OptionError, UnsupportedKernelError
from cudaq_target.launch import redirect

pytestmark = pytest.mark.usefixtures("stock_target")

STOCK_OBSERVE = getattr(cudaq.observe, redirect._MARK)

H = (
    0.5 * spin.z(0) * spin.z(2)
    - 1.25 * spin.x(1) * spin.y(2)
    + 2.0 * spin.y(0)
    + 0.75 * spin.x(0) * spin.x(1) * spin.x(2)
    + 0.3
)
OTHER = spin.z(1) + 0.5 * spin.x(2)


@cudaq.kernel
def ansatz(a: float, b: float):
    q = cudaq.qvector(3)
    ry(a, q[0])
    h(q[1])
    x.ctrl(q[0], q[1])
    rx(b, q[2])
    x.ctrl(q[1], q[2])
    rz(a, q[1])
    h(q[0])


@cudaq.kernel
def vector_ansatz(angles: list[float]):
    q = cudaq.qvector(2)
    ry(angles[0], q[0])
    ry(angles[1], q[1])
    x.ctrl(q[0], q[1])


def both(call):
    """Return the values of a call on this target and on CUDA-Q's simulator."""
    results = []
    for name in ("pasqal", "qpp-cpu"):
        cudaq.set_target(name)
        results.append(call())
    return results


def test_exact_values_and_terms():
    ours, stock = both(lambda: cudaq.observe(ansatz, H, 0.7, 1.1))
    assert ours.expectation() == pytest.approx(stock.expectation(), abs=1e-6)
    for term in H:
        if not term.is_identity():
            assert ours.expectation(term) == pytest.approx(stock.expectation(term), abs=1e-6)
    assert sorted(ours.counts().register_names) == sorted(stock.counts().register_names)


def test_operator_arguments_are_left_as_they_were():
    cudaq.set_target("pasqal")
    operator = spin.x(1) * spin.z(0) + spin.z(0) * spin.x(1) + spin.i(2)
    before = str(operator)
    cudaq.observe(ansatz, operator, 0.7, 1.1)
    assert str(operator) == before


def test_one_term_and_the_identity():
    term = 2.0 * spin.x(1) * spin.z(0)
    ours, stock = both(lambda: cudaq.observe(ansatz, term, 0.7, 1.1).expectation())
    assert ours == pytest.approx(stock, abs=1e-6)
    cudaq.set_target("pasqal")
    assert cudaq.observe(ansatz, 3.0 * spin.i(0), 0.7, 1.1).expectation() == 3.0
    assert cudaq.observe(ansatz, 3.0 * spin.i(0), 0.7, 1.1, shots_count=5).expectation() == 3.0


def test_a_list_of_operators():
    operators = [H, OTHER, spin.z(0)]
    cudaq.set_target("pasqal")
    ours = [result.expectation() for result in cudaq.observe(ansatz, operators, 0.7, 1.1)]
    # One by one: given a list, CUDA-Q 0.16 forgets the coefficients (see the contract tests).
    cudaq.set_target("qpp-cpu")
    stock = [cudaq.observe(ansatz, each, 0.7, 1.1).expectation() for each in operators]
    np.testing.assert_allclose(ours, stock, atol=1e-6)


def test_broadcasting():
    a, b = [0.1, 0.7, -0.4], [1.0, 1.1, 0.2]

    def values():
        return [result.expectation() for result in cudaq.observe(ansatz, H, a, b)]

    ours, stock = both(values)
    np.testing.assert_allclose(ours, stock, atol=1e-6)


def test_broadcasting_over_rows_of_a_matrix():
    rows = np.array([[0.1, 0.2], [0.3, 0.4], [1.0, 2.0]])

    def values():
        operator = spin.z(0) + spin.x(0) * spin.x(1)
        return [result.expectation() for result in cudaq.observe(vector_ansatz, operator, rows)]

    ours, stock = both(values)
    np.testing.assert_allclose(ours, stock, atol=1e-6)


def test_broadcasting_over_arguments_and_operators():
    def values():
        results = cudaq.observe(ansatz, [spin.z(1), spin.x(2)], [0.1, 0.7], [1.0, 1.1])
        return [[result.expectation() for result in row] for row in results]

    ours, stock = both(values)
    assert np.shape(ours) == (2, 2)
    np.testing.assert_allclose(ours, stock, atol=1e-6)


def test_sampled_values_agree_within_their_error():
    n_shots = 4000
    cudaq.set_target("pasqal", seed=8)
    exact = cudaq.observe(ansatz, H, 0.7, 1.1)
    sampled = cudaq.observe(ansatz, H, 0.7, 1.1, shots_count=n_shots)
    weights = 0.0
    for term in H:
        if term.is_identity():
            continue
        deviation = math.sqrt((1 - exact.expectation(term) ** 2) / n_shots) + 1e-9
        weights += abs(term.evaluate_coefficient().real) * deviation
        assert abs(sampled.expectation(term) - exact.expectation(term)) < 5 * deviation
        counts = sampled.counts(term)
        assert counts.get_total_shots() == n_shots
        assert counts.expectation() == pytest.approx(sampled.expectation(term))
    assert abs(sampled.expectation() - exact.expectation()) < 5 * weights


def test_counts_of_a_term_have_its_lowest_qubit_leftmost():
    @cudaq.kernel
    def asymmetric():
        q = cudaq.qvector(3)
        x(q[2])

    cudaq.set_target("pasqal")
    result = cudaq.observe(asymmetric, spin.z(2) * spin.z(0), shots_count=10)
    assert dict(result.counts(spin.z(0) * spin.z(2)).items()) == {"01": 10}
    assert result.expectation() == -1.0


def test_observe_async_equals_observe():
    cudaq.set_target("pasqal", seed=3)
    exact = cudaq.observe_async(ansatz, H, 0.7, 1.1).get().expectation()
    assert exact == cudaq.observe(ansatz, H, 0.7, 1.1).expectation()
    cudaq.set_target("pasqal", seed=3)
    later = cudaq.observe_async(ansatz, H, 0.7, 1.1, shots_count=100).get().expectation()
    cudaq.set_target("pasqal", seed=3)
    assert later == cudaq.observe(ansatz, H, 0.7, 1.1, shots_count=100).expectation()


def test_errors_of_observe_async_surface_at_get():
    cudaq.set_target("pasqal")
    future = cudaq.observe_async(ansatz, spin.z(9), 0.7, 1.1)
    with pytest.raises(OptionError, match="it acts on qubit 9, kernel ansatz has 3 qubits"):
        future.get()


def test_noise_turns_exact_values_into_estimates():
    @cudaq.kernel
    def ground():
        q = cudaq.qvector(1)
        x(q[0])
        x(q[0])

    with Pasqal(noise=pulser.NoiseModel(p_false_pos=0.25), seed=4, shots=4000):
        result = cudaq.observe(ground, spin.z(0))
        assert result.counts(spin.z(0)).get_total_shots() == 4000
        assert result.expectation() == pytest.approx(0.5, abs=5 * math.sqrt(0.75 / 4000))


def test_kernels_that_measure_are_refused():
    @cudaq.kernel
    def measuring():
        q = cudaq.qvector(1)
        mz(q)

    cudaq.set_target("pasqal")
    with pytest.raises(UnsupportedKernelError, match="a measurement in a kernel for `observe`"):
        cudaq.observe(measuring, spin.z(0))


@pytest.mark.parametrize(
    "options",
    [
        {"noise_model": cudaq.NoiseModel()},
        {"num_trajectories": 5},
        {"execution": cudaq.parallel.thread},
        {"qpu_id": 1},
    ],
)
def test_options_that_cannot_be_honoured_are_refused(options):
    cudaq.set_target("pasqal")
    with pytest.raises(OptionError, match=next(iter(options))):
        cudaq.observe(ansatz, H, 0.7, 1.1, **options)


def test_shots_are_whole_numbers_and_none_means_exact():
    cudaq.set_target("pasqal", shots=10)
    exact = cudaq.observe(ansatz, H, 0.7, 1.1).expectation()
    assert cudaq.observe(ansatz, H, 0.7, 1.1, shots_count=None).expectation() == exact
    assert cudaq.observe(ansatz, H, 0.7, 1.1, shots_count=0).expectation() == exact
    for refused in (1.5, "10", True):
        with pytest.raises(OptionError, match="Give a whole number"):
            cudaq.observe(ansatz, H, 0.7, 1.1, shots_count=refused)


def test_what_is_no_operator_is_refused():
    cudaq.set_target("pasqal")
    with pytest.raises(OptionError, match=r"Build one from cudaq\.spin"):
        cudaq.observe(ansatz, "Z0", 0.7, 1.1)


def test_through_the_launch_functions_of_cudaq():
    cudaq.set_target("pasqal", seed=1)
    exact = cudaq.observe(ansatz, H, 0.7, 1.1).expectation()
    assert STOCK_OBSERVE(ansatz, H, 0.7, 1.1).expectation() == pytest.approx(exact, abs=1e-12)
    sampled = STOCK_OBSERVE(ansatz, H, 0.7, 1.1, shots_count=4000)
    assert sampled.expectation() == pytest.approx(exact, abs=0.25)
    assert sampled.counts(spin.y(0)).get_total_shots() == 4000


@cudaq.kernel
def one_of(n: int):
    q = cudaq.qvector(n)
    h(q[0])


def test_exact_values_must_fit_into_memory(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 30)
    cudaq.set_target("pasqal")
    with pytest.raises(MemoryLimitError) as caught:
        cudaq.observe(one_of, spin.x(0), 25)
    assert str(caught.value) == (
        "emulating 25 qubits needs 1.5 GiB, 1.0 GiB are available. "
        "Use at most 24 qubits, or a machine with more memory"
    )


def test_the_arrays_of_exact_values_are_looked_at_when_they_are_made(monkeypatch):
    left = iter([1 << 30, 1 << 30, 0])
    monkeypatch.setattr(memory, "available_bytes", lambda: next(left))
    cudaq.set_target("pasqal")
    with pytest.raises(MemoryLimitError, match=r"22 qubits needs 0\.1 GiB, 0\.0 GiB are"):
        cudaq.observe(one_of, spin.x(0), 22)
