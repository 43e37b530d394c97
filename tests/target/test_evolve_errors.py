"""Bad input of `cudaq.evolve`: typed errors that name operator, step, time and what would work."""

from __future__ import annotations

import cudaq
import numpy as np
import pytest
from cudaq import ScalarOperator, Schedule

from cudaq_target import RydbergHamiltonian
from cudaq_target.errors import (
    AnalogLimitError,
    MemoryLimitError,
    OptionError,
    RegisterError,
    TargetError,
    UnsupportedKernelError,
    WaveformError,
)
from tests.target.test_launch_evolve import MHZ, const, hamiltonian, times

pytestmark = pytest.mark.usefixtures("stock_target")


@pytest.fixture(autouse=True)
def _target():
    cudaq.set_target("pasqal")


def refusal(kind, program=None, schedule=None, **options) -> str:
    with pytest.raises(TargetError) as caught:
        cudaq.evolve(
            hamiltonian() if program is None else program,
            schedule=times(300e-9) if schedule is None else schedule,
            **options,
        )
    assert type(caught.value) is kind
    return str(caught.value)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], "schedule: no steps, which is no span of time"),
        ([0.0], "schedule: 1 step, which is no span of time"),
        ([1e-6, 2e-6], "schedule at 1000 ns: it starts at 1e-06 s. Let the first step be 0 s"),
        ([0.0, 2e-7, 2e-7], "step 2 (2e-07 s) is not after step 1 (2e-07 s)"),
        ([0.0, 2e-7, 1e-7], "step 2 (1e-07 s) is not after step 1 (2e-07 s)"),
        ([0.0, float("nan")], "step 1 is nan"),
        ([0.0, 1e-7 + 1e-7j], "finite, real times"),
        ([0.0, "later"], "step 1 is 'later', which is no time"),
        ([0.0, None], "step 1 is None, which is no time"),
    ],
)
def test_schedules(steps, words):
    assert words in refusal(WaveformError, schedule=Schedule(steps, ["t"]))


def test_errors_of_the_users_own_functions_stay_theirs():
    def raises(_name, _step):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        cudaq.evolve(hamiltonian(), schedule=Schedule([0.0, 1e-7], ["t"], raises))
    with pytest.raises(ZeroDivisionError):
        cudaq.evolve(
            hamiltonian(amplitude=ScalarOperator(lambda t: t.real / 0)), schedule=times(1e-7)
        )


@pytest.mark.parametrize(
    ("operator", "words"),
    [
        (ScalarOperator(lambda time: time), "depends on 'time', which the schedule does not give"),
        (ScalarOperator(lambda t: MHZ * (1 + 1j * t.real * 1e6)), "amplitude at 300 ns: its value"),
        (ScalarOperator(lambda t: float("inf") if t.real else 0.0), "amplitude at 300 ns"),
        (ScalarOperator(lambda t: f"{t}"), "amplitude at 0 ns: its operator gives no number"),
        (ScalarOperator(lambda t: -MHZ - t), "is negative"),
    ],
)
def test_operators(operator, words):
    assert words in refusal(WaveformError, hamiltonian(amplitude=operator))


def test_no_operators():
    program = hamiltonian()
    program.amplitude = 3.0
    assert refusal(OptionError, program).startswith("amplitude: float is no operator of time")
    assert "does not act on Rydberg atoms" in refusal(OptionError, cudaq.spin.x(0))


def test_registers():
    assert "sites 0 and 1 are at one place" in refusal(
        RegisterError, hamiltonian([(0.0, 0.0), (0.0, 0.0)])
    )
    assert "(x, y)" in refusal(RegisterError, hamiltonian([(0.0, 0.0, 0.0)]))
    assert "not finite" in refusal(RegisterError, hamiltonian([(np.inf, 0.0)]))
    assert "no sites" in refusal(RegisterError, hamiltonian([]))
    assert "all sites are empty" in refusal(RegisterError, hamiltonian(atom_filling=[0]))
    assert "atom_filling of site 0 is 2" in refusal(RegisterError, hamiltonian(atom_filling=[2]))
    with pytest.raises(RegisterError, match="2 entries for 1 sites"):
        RydbergHamiltonian([(0.0, 0.0)], const(1.0), const(0.0), const(0.0), [1, 1])


@pytest.mark.parametrize("name", ["evolve", "evolve_async"])
def test_the_rounding_functions_underneath_are_refused(name):
    from cudaq.dynamics import evolution

    with pytest.raises(UnsupportedKernelError, match=r"rounded to 10 ns.*Call cudaq\.evolve"):
        getattr(evolution, name)(hamiltonian(), schedule=times(300e-9))


def test_metres_and_micrometres():
    metres = refusal(AnalogLimitError, hamiltonian([(0.0, 0.0), (6.0, 0.0)]))
    assert "3e+06 µm from the centre" in metres
    assert "Multiply all coordinates by 1.267e-05 or less" in metres


def test_limits_of_the_device():
    with pytest.raises(AnalogLimitError, match="atom") as caught:
        cudaq.evolve(hamiltonian([(0.0, 0.0), (3e-6, 0.0)]), schedule=times(300e-9))
    assert caught.value.atoms == (0, 1)
    with pytest.raises(AnalogLimitError) as caught:
        cudaq.evolve(hamiltonian(amplitude=3.0 * MHZ), schedule=times(300e-9))
    assert caught.value.nearest == pytest.approx(2.0 * 2.0 * np.pi)
    with pytest.raises(AnalogLimitError) as caught:
        cudaq.evolve(hamiltonian(), schedule=times(8e-6))
    assert caught.value.nearest == 6000
    local = RydbergHamiltonian(
        [(0.0, 0.0)], const(MHZ), const(0.0), const(0.0), delta_local=(const(-MHZ), [1.0])
    )
    with pytest.raises(AnalogLimitError, match="no detuning map modulator"):
        cudaq.evolve(local, schedule=times(300e-9))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (3.0, "it is no pair of an operator and a list of numbers"),
        ((const(-MHZ), [1.0, 0.5]), "2 weights for 1 sites"),
        ((const(-MHZ), [1.5]), "atom 0 has 1.5"),
        ((-MHZ, [1.0]), "delta_local: float is no operator"),
    ],
)
def test_local_detuning(given, words):
    program = hamiltonian()
    program.delta_local = given
    with pytest.raises(TargetError) as caught:
        cudaq.evolve(program, schedule=times(300e-9))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dimensions": {0: 2}}, "dimensions: every atom has the levels g and r"),
        ({"collapse_operators": [cudaq.spin.z(0)]}, "Pasqal(noise=pulser.NoiseModel("),
        ({"integrator": object()}, "integrator: each machine of this target has its own"),
        ({"max_batch_size": 3}, "max_batch_size"),
        ({"observables": cudaq.spin.z(0)}, "observables: they are no list"),
        ({"observables": [3]}, "observable 0: int is no operator on atoms"),
        (
            {"observables": [cudaq.spin.z(4)]},
            "observable 0: it acts on atom 4, the program has 1 atom",
        ),
        ({"observables": [1j * cudaq.spin.z(0)]}, "not Hermitian"),
        ({"store_intermediate_results": "all"}, "'all' says not what to keep"),
        ({"shots_count": -3}, "shots_count -3: not allowed"),
        ({"initial_state": np.ones(4) / 2.0}, "it has shape (4,), 1 atoms have 2 amplitudes"),
        ({"initial_state": np.ones(2)}, "its squared norm is 2, not 1"),
        ({"initial_state": np.array([np.nan, 1.0])}, "its squared norm is nan, not 1"),
        ({"initial_state": 3}, "int is no state of the atoms"),
        ({"initial_state": []}, "initial_state: the list is empty"),
        ({"shot_count": 3}, "option 'shot_count' of evolve: unknown option"),
    ],
)
def test_options(options, words):
    assert words in refusal(OptionError, **options)


def test_registers_beyond_memory():
    sites = [(6e-6 * (k % 7 - 3), 6e-6 * (k // 7 - 3)) for k in range(48)]
    assert "emulating 48 qubits needs" in refusal(MemoryLimitError, hamiltonian(sites))
    cudaq.set_target("pasqal", machine="qutip")
    assert "emulating 48 qubits needs" in refusal(MemoryLimitError, hamiltonian(sites))
