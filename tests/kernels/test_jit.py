"""Compiled functions work on every installation."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from cudaq_target.kernels import jit

COMPILE_A_PROGRAM = """
import sys
{before}
import numpy as np
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.errors import Source
from cudaq_target.machines.local import LocalMachine
from cudaq_target.program import compile_circuit
here = Source("bell")
bell = Circuit("bell", 2, (Gate("h", (0,), here), Gate("x", (1,), here, controls=(0,))))
state = LocalMachine().state(compile_circuit(bell).timeline)
assert np.allclose(state, np.array([1, 0, 0, 1]) / np.sqrt(2)), state
{after}
"""


def run(before: str, after: str, **variables: str) -> None:
    code = COMPILE_A_PROGRAM.format(before=before, after=after)
    environment = {**os.environ, "CUDAQ_TARGET_CACHE_DIR": "off", **variables}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_uniform_numbers_fill_the_interval() -> None:
    state = np.array([20260101])
    numbers = np.array([jit.next_uniform(state) for _ in range(20000)])
    assert numbers.min() > 0.0
    assert numbers.max() < 1.0
    counts, _ = np.histogram(numbers, bins=20, range=(0.0, 1.0))
    assert ((counts - 1000) ** 2 / 1000).sum() < 50.0  # χ² of 19 degrees, p about 1e-4


def test_equal_states_give_equal_numbers() -> None:
    first, second = np.array([7]), np.array([7])
    assert [jit.next_uniform(first) for _ in range(5)] == [
        jit.next_uniform(second) for _ in range(5)
    ]


def test_options_reach_the_compiler() -> None:
    @jit.compiled(contract=True)
    def scaled(values: np.ndarray) -> float:
        total = 0.0
        for value in values:
            total += 2.0 * value
        return total

    assert scaled(np.arange(4.0)) == 12.0


def test_without_a_place_for_the_cache_functions_still_compile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from numba.core import caching

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])

    @jit.compiled
    def half(x: float) -> float:
        return 0.5 * x

    assert half(3.0) == 1.5


def test_a_program_compiles_and_runs_without_numba() -> None:
    run("sys.modules['numba'] = None", "assert sys.modules['numba'] is None")


def test_a_program_compiles_and_runs_with_numba_switched_off() -> None:
    run("", "", NUMBA_DISABLE_JIT="1")


def test_compiling_leaves_the_users_generator_alone() -> None:
    code = """
import numba
@numba.njit
def draw():
    return np.random.random()
draws = [draw()]
for n in range(2):
    gates = [Gate("x", (k + 1,), here, controls=(k,)) for k in range(n + 2)]
    compile_circuit(Circuit("chain", n + 3, (Gate("h", (0,), here), *gates)))
    draws.append(draw())
assert len(set(draws)) == 3, draws
"""
    run("", code)
