"""The variational loop: energies against exact ones, over a controller; its replay, its command."""
# ruff: noqa: F821

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cudaq
import numpy as np
import pytest

from cudaq_target import cli
from cudaq_target.controller import controller
from cudaq_target.coupler import serve
from cudaq_target.coupler.errors import RemoteCallError
from cudaq_target.coupler.loops.errors import ReplayError
from cudaq_target.coupler.loops.events import read_events
from cudaq_target.errors import OptionError, UnsupportedKernelError
from cudaq_target.loops.hamiltonians import heisenberg
from cudaq_target.loops.program import observed
from cudaq_target.loops.searches import OPTIMISERS, errors_for, search
from cudaq_target.loops.systems import chain, hydrogen, system
from cudaq_target.loops.vqe import (
    Settings,
    VqeResult,
    descent,
    fixed_search_shots,
    replay_vqe,
    state_energy,
    vqe,
)
from cudaq_target.template import CircuitTemplate

SYSTEMS = {"h2-2": hydrogen(2), "h2-4": hydrogen(4), "chain": chain()}


@cudaq.kernel
def measures(theta: float) -> None:
    q = cudaq.qvector(2)
    rx(theta, q[0])
    mz(q)


@cudaq.kernel
def grows(theta: float) -> None:
    q = cudaq.qvector(2)
    if theta > 1.0:
        x(q[1])
    rx(theta, q[0])


@cudaq.kernel
def rows(angles: list[float]) -> None:
    q = cudaq.qvector(2)
    for k in range(2):
        ry(angles[k], q[k])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serve(controller(seed=1), "tcp://127.0.0.1:0") as server:
        yield str(server.endpoint)


def test_the_kernels_reach_the_ground_states() -> None:
    best = {"h2-2": (-0.1130,), "h2-4": (0.1130,), "chain": (0.6069925, 1.7261208)}
    for name, problem in SYSTEMS.items():
        assert state_energy(problem, best[name]) == pytest.approx(problem.exact, abs=1e-5)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_energy_has_one_frequency_in_each_parameter(name: str) -> None:
    problem = SYSTEMS[name]
    for k, (frequency, shift) in enumerate(zip(problem.frequencies, problem.shifts, strict=True)):
        point = np.array(problem.start)

        def energy(step: float, k: int = k, point: np.ndarray = point) -> float:
            moved = point.copy()
            moved[k] += step
            return state_energy(problem, tuple(moved.tolist()))

        slope = 0.5 * frequency * (energy(shift) - energy(-shift))
        assert slope == pytest.approx((energy(1e-4) - energy(-1e-4)) / 2e-4, abs=1e-5)


def test_systems_have_names() -> None:
    assert system("h2", 2).name == "h2-2"
    assert system("chain").name == "chain"
    with pytest.raises(OptionError, match="h2, chain"):
        system("benzene")
    with pytest.raises(OptionError, match="the chain has 4"):
        system("chain", 2)


def test_one_template_for_each_basis_and_angles_alone_afterwards() -> None:
    problem = SYSTEMS["h2-4"]
    prepared = observed(problem.kernel, problem.terms, problem.start, names=problem.names)
    assert prepared.groups[0].basis == "ZZZZ"
    assert prepared.program.n_settings == len(prepared.groups) == 5
    assert prepared.program.names == ("theta",)
    for setting, text in enumerate(prepared.program.texts):
        template = CircuitTemplate.from_json(text)
        assert list(prepared.program.parameters(setting, (0.3,))) == [0.3]
        assert template.n_parameters == 1
        changes = [gate.name for gate in template.structure.gates[3:]]
        letters = prepared.groups[setting].basis
        assert changes.count("h") == letters.count("X") + letters.count("Y")
        assert changes.count("s") == letters.count("Y")


def test_operators_and_arguments_come_in_several_forms() -> None:
    spin = cudaq.spin
    operator = 0.5 * spin.z(0) * spin.z(1) + 0.25 * spin.x(1) - 2.0
    prepared = observed(rows, operator, (0.1, 0.2), arguments=lambda point: (list(point),))
    assert prepared.constant == -2.0
    assert [group.basis for group in prepared.groups] == ["ZZ", "IX"]
    assert list(prepared.program.parameters(0, (0.3, 0.4))) == [0.3, 0.4]
    assert prepared.program.names == ("p0", "p1")


def test_what_no_loop_can_use_is_refused() -> None:
    with pytest.raises(UnsupportedKernelError, match="the operator says what is measured"):
        observed(measures, {"ZZ": 1.0}, (0.1,))
    with pytest.raises(OptionError, match="3 letters, kernel grows has 2 qubits"):
        observed(grows, {"ZZZ": 1.0}, (0.1,))
    with pytest.raises(OptionError, match="nothing to measure"):
        observed(grows, {"II": 1.0}, (0.1,))
    prepared = observed(grows, {"ZZ": 1.0}, (0.1,))
    with pytest.raises(OptionError, match="differ from those at the start"):
        prepared.program.parameters(0, (1.5,))


def test_errors_fall_to_what_the_accuracy_needs() -> None:
    problem = SYSTEMS["h2-4"]
    errors = errors_for(problem)
    slope_error = problem.frequencies[0] / math.sqrt(2.0) * errors.last
    assert (2.25 * slope_error) ** 2 / (2.0 * problem.curvature) == pytest.approx(problem.accuracy)
    assert errors_for(problem, 4.0 * problem.accuracy).last == pytest.approx(2.0 * errors.last)
    assert errors.first == pytest.approx(problem.coarseness * errors.last)


def test_unknown_optimisers_are_refused() -> None:
    with pytest.raises(OptionError, match=", ".join(OPTIMISERS)):
        search(SYSTEMS["chain"], "newton")


def check(result: VqeResult) -> None:
    """Every shot is accounted for, and the energy is that of the state."""
    loop = result.loop
    assert loop.status == "done"
    assert loop.n_used + loop.n_discarded + loop.n_lost == loop.n_measured
    assert result.n_search + result.n_final == loop.n_measured
    exact = state_energy(result.problem, result.point)
    assert result.estimate.low <= exact <= result.estimate.high
    # Not 0, where all shots were alike.
    spread = math.hypot(result.estimate.standard_error, 1e-3 * abs(exact))
    assert abs(result.estimate.value - exact) <= 5.0 * spread


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_loop_finds_the_ground_state(name: str, endpoint: str) -> None:
    problem = SYSTEMS[name]
    result = vqe(problem, Settings(seed=5, final_error=2.0 * problem.accuracy), endpoint=endpoint)
    check(result)
    assert result.machine["name"] == "local"
    assert state_energy(problem, result.point) - problem.exact <= 3.0 * problem.accuracy
    path = descent(problem, result.loop.steps)
    assert path[0] == (pytest.approx(problem.start), 0)
    assert path[-1][0] == result.point
    assert len(path) == problem.n_steps + 1
    # The right comparison takes many seeds and is a benchmark; this one holds by far.
    assert result.n_search < fixed_search_shots(problem)


def test_the_loop_with_fixed_shots_takes_what_it_says(endpoint: str) -> None:
    problem = SYSTEMS["h2-2"]
    result = vqe(problem, Settings(seed=2, fixed_shots=300, final_shots=500), endpoint=endpoint)
    check(result)
    assert result.n_search == 300 * 2 * 7
    assert result.n_final == 500 * 2
    assert result.loop.n_discarded == 0


@pytest.mark.parametrize("optimiser", ["rotosolve", "spsa", "cobyla"])
def test_other_searches_find_it_too(optimiser: str, endpoint: str) -> None:
    problem = SYSTEMS["h2-2"]
    settings = Settings(optimiser=optimiser, seed=1, accuracy=0.005, final_error=0.02)
    result = vqe(problem, settings, endpoint=endpoint)
    check(result)
    assert state_energy(problem, result.point) - problem.exact <= 0.15


def test_seeds_decide(endpoint: str) -> None:
    problem = SYSTEMS["h2-2"]
    first, second, other = (
        vqe(problem, Settings(seed=seed, final_error=0.05), endpoint=endpoint) for seed in (7, 7, 8)
    )
    assert first.point == second.point
    assert first.estimate == second.estimate
    assert other.point != first.point


def test_a_replay_is_the_same_to_the_last_bit(endpoint: str, tmp_path: Path) -> None:
    problem = SYSTEMS["chain"]
    settings = Settings(seed=3, n_steps=3, final_error=0.2)
    record, events = tmp_path / "loop.rec", tmp_path / "loop.jsonl"
    live = vqe(problem, settings, endpoint=endpoint, record=record, events=events)
    again = replay_vqe(record, problem, settings)
    assert again.point == live.point
    assert again.estimate == live.estimate
    assert [step.n_used for step in again.loop.steps] == [step.n_used for step in live.loop.steps]
    with pytest.raises(ReplayError):
        replay_vqe(record, problem, replace(settings, final_error=0.1))
    told = list(read_events(events))
    assert told[0]["reference"] == problem.exact
    assert told[0]["baseline_shots"] == fixed_search_shots(problem)
    assert told[-1]["status"] == "done"
    assert sum(event["event"] == "step" for event in told) == len(live.loop.steps)


def test_a_kernel_that_the_machine_refuses_says_why() -> None:
    machine = controller(device="AnalogDevice")
    refused = pytest.raises(RemoteCallError, match="AnalogDevice")
    with serve(machine, "tcp://127.0.0.1:0") as server, refused:
        vqe(SYSTEMS["h2-2"], endpoint=str(server.endpoint))


def test_a_system_of_your_own(endpoint: str) -> None:
    terms = heisenberg(2)
    pair = replace(
        chain(),
        name="pair",
        terms=terms,
        exact=-3.0,
        kernel=pair_of_spins,
        names=("a",),
        start=(0.5,),
        frequencies=(1.0,),
        curvature=2.0,
        n_steps=6,
    )
    assert state_energy(pair, (math.pi / 2,)) == pytest.approx(-3.0, abs=1e-9)
    result = vqe(pair, Settings(seed=1), endpoint=endpoint)
    check(result)
    assert state_energy(pair, result.point) <= -3.0 + 2.0 * pair.accuracy


@cudaq.kernel
def pair_of_spins(angle: float) -> None:
    q = cudaq.qvector(2)
    x(q[0])
    exp_pauli(0.5 * angle, q, "XY")


def test_command(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["loop", "vqe", "--qubits", "2", "--error", "0.02", "--seed", "2"]
    assert cli.main([*words, "--json", "--record", "loop.rec", "--events", "loop.jsonl"]) == 0
    live = json.loads(capsys.readouterr().out)
    assert live["n_lost"] == 0
    assert live["system"] == "h2-2"
    assert cli.main([*words, "--json", "--replay", "loop.rec"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert [again[key] for key in ("energy", "interval", "point", "n_search")] == [
        live[key] for key in ("energy", "interval", "point", "n_search")
    ]
    assert cli.main([*words, "--replay", "loop.rec"]) == 0
    assert "H2 in STO-3G at 0.7414 Å, 2 qubits" in capsys.readouterr().out


def test_bad_input_of_the_command(capsys) -> None:
    assert cli.main(["loop", "vqe", "--system", "benzene"]) == 2
    assert "h2, chain" in capsys.readouterr().err
    assert cli.main(["loop", "vqe", "--optimiser", "newton"]) == 2
    assert "gradient, rotosolve" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("vqe", "--error", "nan"), "standard_error is nan"),
        (("vqe", "--accuracy", "nan"), "accuracy nan: no error of an energy"),
        (("vqe", "--replay", "nothing.rec"), "nothing.rec: No such file"),
        (("mis", "square", "--part", "nan"), "part holds nan"),
    ],
)
def test_wrong_numbers_and_files_end_with_2(words: tuple[str, ...], said: str, capsys) -> None:
    assert cli.main(["loop", *words]) == 2
    assert said in capsys.readouterr().err
