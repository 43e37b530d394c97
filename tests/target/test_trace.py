"""Traced circuits against CUDA-Q's own simulator, for every kernel of the corpus."""

from __future__ import annotations

import math
from collections import Counter

import cudaq
import numpy as np
import pytest
from hypothesis import given, settings

from cudaq_target import quake
from cudaq_target.readout import GLOBAL_REGISTER, readout_order
from cudaq_target.trace import evaluate_returns, trace
from tests.target.corpus import CASES, RETURNING, SAMPLED, UNITARY
from tests.target.random_kernels import random_kernels
from tests.target.simulate import cudaq_order, probabilities, state_of

N_SHOTS = 2000
SIGMAS = 5.0
MEASURED = [case for case in SAMPLED if case.measured]
# Their exact states are compared; the order of bits needs one with helper qubits and one without.
UNMEASURED = [case for case in SAMPLED if case.name in ("helper_qubits", "untouched_qubits")]


@pytest.fixture(autouse=True, scope="module")
def stock_simulator():
    cudaq.set_target("qpp-cpu")
    cudaq.set_random_seed(7)


def circuit_of(case):
    return trace(quake.read(case.kernel), quake.arguments(case.kernel, case.make_args()))


def assert_same_distribution(counts, expected, n_shots):
    for outcome in {*counts, *expected}:
        chance = expected.get(outcome, 0.0)
        spread = math.sqrt(max(chance * (1.0 - chance), 1e-9) / n_shots)
        assert abs(counts.get(outcome, 0) / n_shots - chance) <= SIGMAS * spread, outcome


def test_corpus_is_large_and_small():
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)
    assert max(circuit_of(case).n_qubits for case in CASES) <= 10


@pytest.mark.parametrize("case", UNITARY, ids=str)
def test_state_is_that_of_cudaq(case):
    circuit = circuit_of(case)
    expected = np.array(cudaq.get_state(case.kernel, *case.make_args()))
    assert not circuit.measurements
    np.testing.assert_allclose(cudaq_order(state_of(circuit)), expected, atol=1e-9)


@pytest.mark.parametrize("case", [*MEASURED, *UNMEASURED], ids=str)
def test_counts_are_those_of_cudaq(case):
    circuit = circuit_of(case)
    result = cudaq.sample(case.kernel, *case.make_args(), shots_count=N_SHOTS)
    for register, qubits in readout_order(circuit).items():
        counts = dict(result.get_register_counts(register).items())
        assert_same_distribution(counts, probabilities(circuit, qubits), N_SHOTS)


@pytest.mark.parametrize(
    "case", [case for case in MEASURED if case.name != "measured_twice"], ids=str
)
def test_explicit_measurements_are_those_of_cudaq(case):
    circuit = circuit_of(case)
    result = cudaq.sample(
        case.kernel, *case.make_args(), shots_count=N_SHOTS, explicit_measurements=True
    )
    qubits = readout_order(circuit, explicit=True)[GLOBAL_REGISTER]
    assert_same_distribution(dict(result.items()), probabilities(circuit, qubits), N_SHOTS)


def test_a_qubit_measured_twice_gives_one_bit_twice():
    """CUDA-Q's qpp-cpu draws the two bits independently; an atom has one state."""
    (case,) = (case for case in MEASURED if case.name == "measured_twice")
    circuit = circuit_of(case)
    order = readout_order(circuit, explicit=True)[GLOBAL_REGISTER]
    assert order == (0, 0, 1)
    chances = {word: chance for word, chance in probabilities(circuit, order).items() if chance}
    assert chances == pytest.approx({"001": 0.5, "111": 0.5})


@pytest.mark.parametrize("case", RETURNING, ids=str)
def test_returned_values_are_those_of_cudaq(case):
    form = quake.read(case.kernel)
    circuit = circuit_of(case)
    expected: Counter[str] = Counter()
    qubits = tuple(event.qubit for event in circuit.measurements)
    for word, chance in probabilities(circuit, qubits).items():
        if chance > 1e-12:
            arguments = quake.arguments(case.kernel, case.make_args())
            expected[repr(evaluate_returns(form, arguments, [int(bit) for bit in word]))] += chance
    found = Counter(map(repr, cudaq.run(case.kernel, *case.make_args(), shots_count=N_SHOTS // 4)))
    assert_same_distribution(found, expected, N_SHOTS // 4)


@settings(max_examples=12, deadline=None)
@given(random_kernels())
def test_random_kernels(random_kernel):
    kernel = random_kernel.build()
    circuit = trace(quake.read(kernel), quake.arguments(kernel, ()))
    expected = np.array(cudaq.get_state(kernel))
    np.testing.assert_allclose(cudaq_order(state_of(circuit)), expected, atol=1e-9)
