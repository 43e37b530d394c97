"""Every kernel of the corpus, through CUDA-Q, on the pulse target and on `qpp-cpu`."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import cudaq
import numpy as np
import pytest
from cudaq import spin
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.target.corpus import RETURNING, SAMPLED, UNITARY
from tests.target.corpus_case import Case

if TYPE_CHECKING:
    from collections.abc import Callable

N_SHOTS = 2000
# `qpp-cpu` simulates the whole kernel for each shot of a run.
N_RUNS = 200
N_SIGMA = 5.0
# Each pulse is solved to some 1e-8; 5e-8 is the largest deviation of a kernel of the corpus.
AMPLITUDE_ERROR = 2e-7

pytestmark = pytest.mark.usefixtures("stock_target")


def on_both(run: Callable[[], Any]) -> tuple[Any, Any]:
    """Result on `qpp-cpu`, then on the pulse target."""
    cudaq.set_target("qpp-cpu")
    ideal = run()
    cudaq.set_target("pasqal", seed=5)
    return ideal, run()


def assert_same_distribution(first: dict[Any, int], second: dict[Any, int]) -> None:
    """Two samples of the same distribution: every outcome within 5 σ of the difference."""
    assert sum(first.values()) == sum(second.values())
    for outcome in first.keys() | second.keys():
        a, b = first.get(outcome, 0), second.get(outcome, 0)
        # Poisson bound for rare outcomes, where the normal approximation fails.
        sigma = math.sqrt(max(a + b, 4.0))
        assert abs(a - b) <= N_SIGMA * sigma, (outcome, a, b)


def random_operator(n_qubits: int, rng: np.random.Generator) -> Any:
    paulis = (spin.i, spin.x, spin.y, spin.z)
    operator = 0.0
    for _ in range(4):
        term = rng.normal()
        for qubit in range(n_qubits):
            term *= paulis[rng.integers(4)](qubit)
        operator += term
    return operator


def assert_same_state(ideal: Any, pulsed: Any) -> None:
    """Equal amplitudes, global phase included, and hence equal fidelity."""
    assert ideal.shape == pulsed.shape
    assert np.abs(pulsed - ideal).max() <= AMPLITUDE_ERROR
    assert 1.0 - abs(np.vdot(ideal, pulsed)) ** 2 <= 1e-9


@pytest.mark.parametrize("case", UNITARY, ids=str)
def test_states_agree(case: Case) -> None:
    assert_same_state(*on_both(lambda: np.array(cudaq.get_state(case.kernel, *case.make_args()))))


@pytest.mark.parametrize("case", UNITARY, ids=str)
def test_expectations_agree(case: Case) -> None:
    cudaq.set_target("qpp-cpu")
    n_qubits = int(math.log2(len(np.array(cudaq.get_state(case.kernel, *case.make_args())))))
    operator = random_operator(n_qubits, np.random.default_rng(n_qubits))
    ideal, pulsed = on_both(
        lambda: cudaq.observe(case.kernel, operator, *case.make_args()).expectation()
    )
    assert pulsed == pytest.approx(ideal, abs=1e-6)


@pytest.mark.parametrize("case", SAMPLED, ids=str)
def test_counts_agree(case: Case) -> None:
    def sample() -> dict[str, dict[str, int]]:
        cudaq.set_random_seed(11)
        result = cudaq.sample(case.kernel, *case.make_args(), shots_count=N_SHOTS)
        names = result.register_names
        return {name: dict(result.get_register_counts(name).items()) for name in names}

    ideal, pulsed = on_both(sample)
    assert ideal.keys() == pulsed.keys()
    for register, counts in ideal.items():
        assert_same_distribution(counts, pulsed[register])


@pytest.mark.parametrize("case", RETURNING, ids=str)
def test_returned_values_agree(case: Case) -> None:
    def run() -> dict[str, int]:
        values = cudaq.run(case.kernel, *case.make_args(), shots_count=N_RUNS)
        return dict(Counter(repr(value) for value in values))

    assert_same_distribution(*on_both(run))


def random_kernel(n_qubits: int, n_gates: int, rng: np.random.Generator) -> Any:
    """A builder kernel of random gates with random controls."""
    kernel = cudaq.make_kernel()
    qubits = kernel.qalloc(n_qubits)
    for _ in range(n_gates):
        order = [qubits[int(q)] for q in rng.permutation(n_qubits)]
        angle = float(rng.choice([0.0, math.pi / 2, math.pi, rng.normal()]))
        n_controls = int(rng.integers(0, min(3, n_qubits)))
        match rng.integers(6):
            case 0:
                name = str(rng.choice(["h", "x", "y", "z", "s", "t"]))
                if n_controls:
                    getattr(kernel, f"c{name}")(order[1 : 1 + n_controls], order[0])
                else:
                    getattr(kernel, name)(order[0])
            case 1 | 2:
                name = str(rng.choice(["rx", "ry", "rz", "r1"]))
                if n_controls:
                    getattr(kernel, f"c{name}")(angle, order[1 : 1 + n_controls], order[0])
                else:
                    getattr(kernel, name)(angle, order[0])
            case 3 if n_qubits > 1:
                kernel.swap(order[0], order[1])
            case 4:
                word = "".join(rng.choice(list("IXYZ"), size=n_qubits))
                if word.strip("I"):  # see `test_the_phase_of_exp_pauli_without_letters`
                    kernel.exp_pauli(angle, qubits, word)
            case _:
                kernel.u3(angle, float(rng.normal()), float(rng.normal()), order[0])
    return kernel


@given(st.integers(1, 5), st.integers(0, 25), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_random_kernels_agree(n_qubits: int, n_gates: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = random_kernel(n_qubits, n_gates, rng)
    assert_same_state(*on_both(lambda: np.array(cudaq.get_state(kernel))))
    operator = random_operator(n_qubits, rng)
    ideal_value, pulsed_value = on_both(lambda: cudaq.observe(kernel, operator).expectation())
    assert pulsed_value == pytest.approx(ideal_value, abs=1e-6)


def test_the_phase_of_exp_pauli_without_letters() -> None:
    """exp(iθ·1) is a phase, which CUDA-Q 0.16 leaves out."""
    kernel = cudaq.make_kernel()
    qubits = kernel.qalloc(2)
    kernel.h(qubits[0])
    kernel.exp_pauli(0.3, qubits, "II")
    ideal, pulsed = on_both(lambda: np.array(cudaq.get_state(kernel)))
    assert_same_state(np.exp(0.3j) * ideal, pulsed)
