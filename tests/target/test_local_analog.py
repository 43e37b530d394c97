"""The embedded emulator as a machine: how exact the states are that it takes shots of."""

from __future__ import annotations

import numpy as np
import pytest

from cudaq_target.analog.ansatz import Shape, analog_ansatz
from cudaq_target.emulator.analog.integrate import distance, evolve_rydberg
from cudaq_target.machines import local_analog
from cudaq_target.machines.local_analog import LocalAnalogMachine, problem_of, sampling_tolerance

# Steps of a stretch are whole numbers, which an estimate of their error knows roughly.
SLACK = 1.3


def members(kind, duration_ns, n_members):
    sites = [(5.6 * (k % 3), 5.6 * (k // 3)) for k in range(6)]
    ansatz = analog_ansatz(sites, duration_ns, Shape(4, kind, first=0.0, last=0.0), Shape(5, kind))
    low, high = ansatz.bounds.T
    rng = np.random.default_rng(duration_ns)
    for k in range(n_members):
        share = 0.5 + rng.uniform(-0.5, 0.5, ansatz.n_parameters) / (1 + k)
        yield ansatz.bind(low + share * (high - low))


@pytest.mark.parametrize("kind", ["pchip", "linear"])
@pytest.mark.parametrize("duration_ns", [400, 1320, 4000])
def test_states_that_shots_are_taken_of_are_within_the_stated_tolerance(
    kind, duration_ns, monkeypatch
):
    found = []
    real = local_analog.evolve_rydberg

    def kept(*args, **options):
        found.append(real(*args, **options))
        return found[-1]

    monkeypatch.setattr(local_analog, "evolve_rydberg", kept)
    options = {"noise": None, "threads": 1, "modulation": False, "initial_state": None}
    for program in members(kind, duration_ns, 4):
        exact = evolve_rydberg(problem_of(program), tolerance=1e-9).state
        for n_shots in (100, 200, 10_000, 1_000_000):
            LocalAnalogMachine().sample_analog(
                program, n_shots, rng=np.random.default_rng(1), **options
            )
            tolerance = sampling_tolerance(n_shots)
            result = found.pop()
            assert result.error_estimate <= tolerance
            assert distance(result.state, exact) <= SLACK * tolerance
            errors = np.abs(np.abs(result.state) ** 2 - np.abs(exact) ** 2)
            assert errors.max() <= tolerance
            # What the best test of all shots could notice.
            assert 0.5 * errors.sum() * np.sqrt(n_shots) <= 0.01


def test_the_tolerance_is_a_hundredth_of_what_shots_show():
    assert sampling_tolerance(1) == 1e-3
    assert sampling_tolerance(10_000) == pytest.approx(1e-4)
    assert sampling_tolerance(10**8) == pytest.approx(1e-6)
