"""The machine behind a controller: what it loads, what it refuses, what its shots depend on."""

from __future__ import annotations

import json

import numpy as np
import pulser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.analog import ahs
from cudaq_target.analog.ansatz import Shape, analog_ansatz
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.controller import controller
from cudaq_target.controller.machine import Settings
from cudaq_target.coupler import ControlClient, connect, serve
from cudaq_target.coupler.errors import ProgramRefusedError, RemoteCallError
from cudaq_target.errors import OptionError, Source
from cudaq_target.machines.local import LocalMachine
from cudaq_target.program import compile_circuit
from cudaq_target.template import CircuitTemplate

HERE = Source("pair")
ANGLES = np.array([1.1, 0.4])


def pair(angles=ANGLES) -> Circuit:
    gates = (
        Gate("ry", (0,), HERE, params=(float(angles[0]),)),
        Gate("x", (1,), HERE, controls=(0,)),
        Gate("ry", (1,), HERE, params=(float(angles[1]),)),
    )
    return Circuit("pair", 2, gates)


def spec(peak_rad_per_us=5.0) -> AnalogSpec:
    drive = Waveform([0.0, 100.0, 400.0, 500.0], [0.0, peak_rad_per_us, peak_rad_per_us, 0.0])
    return AnalogSpec.of([(0.0, 0.0), (0.0, 5.0)], drive, name="blockade")


def family():
    return analog_ansatz(
        [(0.0, 0.0), (0.0, 7.0)],
        500,
        amplitude=Shape(5, first=0.0, last=0.0),
        detuning=Shape(3, "linear"),
    )


def texts():
    program, analog = compile_circuit(pair()), build(spec())
    return {
        "program": (program.to_json(), []),
        "analog": (analog.to_json(), []),
        "pulser": (analog.sequence.to_abstract_repr(), []),
        "ahs": (ahs.dumps(spec()), []),
        "template": (CircuitTemplate.of(pair())[0].to_json(), ANGLES),
    }


def drawn(machine, text, values=(), n_shots=2000, seed=1, sizes=(7, 100, 1, 4096)):
    """Measure in pieces of various sizes."""
    run = machine.begin(machine.load(text), np.array(values, dtype=np.float64), n_shots, seed)
    run.prepare()
    rows, k = [], 0
    while (left := n_shots - sum(map(len, rows))) > 0:
        rows.append(run.measure(min(left, sizes[k % len(sizes)])))
        k += 1
    run.close()
    return np.concatenate(rows)[:, 0]


def frequencies(rows, n_bits=2):
    return np.bincount(rows.astype(np.int64), minlength=1 << n_bits) / len(rows)


def expected_gates():
    """Probabilities by packed outcome: bit k is qubit k."""
    state = LocalMachine().state(compile_circuit(pair()).timeline, threads=1)
    probabilities = np.abs(state) ** 2
    return probabilities.reshape(2, 2).T.reshape(-1)  # qubit 0 is most significant in the state


@pytest.mark.parametrize("kind", ["program", "analog", "pulser", "ahs", "template"])
def test_texts_of_every_kind_give_their_shots(kind):
    text, values = texts()[kind]
    machine = controller()
    rows = drawn(machine, text, values)
    assert rows.dtype == np.uint64
    found = frequencies(rows)
    if kind in {"program", "template"}:
        assert np.abs(found - expected_gates()).max() < 0.05
    else:
        # Two atoms in the blockade: one excitation at most, and as often left as right.
        assert found[3] < 0.02
        assert abs(found[1] - found[2]) < 0.06
        assert found[1] > 0.1


def test_a_family_of_analog_programs_takes_parameters():
    members = family()
    values = members.values(lambda share: 30.0 * share * (1.0 - share), lambda share: 4.0 * share)
    machine = controller()
    rows = drawn(machine, members.to_json(), values)
    fixed = drawn(machine, members.bind(values).to_json())
    assert np.abs(frequencies(rows) - frequencies(fixed)).max() < 0.06


@pytest.mark.parametrize("noise", [None, pulser.NoiseModel(p_false_pos=0.05, p_false_neg=0.02)])
@pytest.mark.parametrize("kind", ["template", "analog"])
def test_shots_depend_on_seed_program_and_parameters_alone(kind, noise):
    text, values = texts()[kind]
    one, other = controller(noise=noise), controller(noise=noise, threads=1)
    rows = drawn(one, text, values, 300, seed=5)
    drawn(other, texts()["program"][0], (), 50, seed=5)
    drawn(other, text, values, 50, seed=6)
    assert drawn(other, text, values, 300, seed=5, sizes=(1, 64)).tolist() == rows.tolist()
    assert drawn(other, text, values, 200, seed=5).tolist() == rows[:200].tolist()
    assert drawn(other, text, values, 300, seed=6).tolist() != rows.tolist()
    assert (
        drawn(controller(noise=noise, seed=1), text, values, 300, seed=5).tolist() != rows.tolist()
    )
    assert (
        drawn(controller(noise=noise, seed=0), text, values, 300, seed=5).tolist() == rows.tolist()
    )


def test_runs_without_a_seed():
    text, values = texts()["template"]
    first, again = controller(seed=3), controller(seed=3)
    loaded = [machine.load(text) for machine in (first, again)]
    rows = [
        [machine.begin(program, values, 100, 0).measure(100).tolist() for _ in range(3)]
        for machine, program in zip((first, again), loaded, strict=True)
    ]
    assert rows[0] == rows[1]
    assert rows[0][0] != rows[0][1]
    free = controller()
    assert (
        drawn(free, text, values, 200, seed=0).tolist()
        != drawn(free, text, values, 200, seed=0).tolist()
    )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 600), min_size=1, max_size=6), st.integers(1, 2**64 - 1))
def test_pieces_make_no_difference(sizes, seed):
    text, values = texts_once()
    whole = drawn(MACHINE, text, values, 700, seed=seed, sizes=(700,))
    assert drawn(MACHINE, text, values, 700, seed=seed, sizes=sizes).tolist() == whole.tolist()


MACHINE = controller(seed=11)


def texts_once():
    return CircuitTemplate.of(pair())[0].to_json(), ANGLES


def test_states_are_kept_and_forgotten():
    machine = controller()
    text, _ = texts()["template"]
    program = machine.load(text)
    for k in range(30):
        machine.begin(program, ANGLES + 0.01 * k, 1, 1).measure(1)
    assert len(program.kept) == 16
    assert (ANGLES + 0.01 * 29).tobytes() in program.kept
    assert ANGLES.tobytes() not in program.kept


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON"),
        ("[1, 2]", "JSON of a list"),
        ("{}", "no kind of program that a controller knows"),
        ('{"format": "cudaq-target symphony"}', "programs of format 'cudaq-target symphony'"),
        ('{"format": "cudaq-target program", "version": 99}', "version 99"),
        ('{"format": "cudaq-target template", "version": 1}', "the JSON is damaged"),
        ('{"operations": [], "channels": {}}', "Pulser cannot read it"),
        ('{"setup": {}, "hamiltonian": {}}', "AHS"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_texts_that_are_no_programs(text, reason):
    with pytest.raises(ProgramRefusedError, match=reason):
        controller().load(text)


def test_parameters_that_do_not_fit():
    machine = controller()
    program = machine.load(texts()["template"][0])
    for values in (np.zeros(0), np.zeros(3)):
        with pytest.raises(ProgramRefusedError, match="pair takes 2 parameters"):
            machine.begin(program, values, 1, 1)
    analog = machine.load(texts()["analog"][0])
    with pytest.raises(ProgramRefusedError, match="blockade takes 0 parameters, 1 were given"):
        machine.begin(analog, np.zeros(1), 1, 1)


def test_programs_that_the_device_refuses():
    machine = controller()
    members = family()
    values = members.bounds[:, 1] + np.where(np.isfinite(members.bounds[:, 1]), 100.0, 0.0)
    run = machine.begin(machine.load(members.to_json()), np.nan_to_num(values, posinf=1.0), 10, 1)
    with pytest.raises(ProgramRefusedError, match="rad/µs"):
        run.prepare()
    too_fast = ahs.dumps(spec(peak_rad_per_us=100.0))
    with pytest.raises(ProgramRefusedError, match="rad/µs"):
        machine.load(too_fast)
    wide = Circuit("wide", 120, tuple(Gate("h", (q,), HERE) for q in range(120)))
    run = machine.begin(machine.load(CircuitTemplate.of(wide)[0].to_json()), np.zeros(0), 10, 1)
    with pytest.raises(ProgramRefusedError, match="atoms"):
        run.prepare()


def test_programs_that_do_not_fit_into_memory():
    gates = tuple(Gate("h", (q,), HERE) for q in range(45))
    machine = controller()
    loaded = machine.load(CircuitTemplate.of(Circuit("large", 45, gates))[0].to_json())
    run = machine.begin(loaded, np.zeros(0), 10, 1)
    run.prepare()
    with pytest.raises(ProgramRefusedError, match="memory"):
        run.measure(1)


def test_a_given_device_is_the_only_one():
    program, analog = texts()["program"][0], texts()["analog"][0]
    machine = controller(device="AnalogDevice")
    with pytest.raises(ProgramRefusedError, match="Rydberg"):
        machine.load(program)
    assert drawn(machine, analog, n_shots=10).size == 10
    specs = json.loads(machine.specs())
    assert (specs["device"], specs["analog_device"]["name"]) == (None, "AnalogDevice")
    digital = controller(device="DigitalAnalogDevice")
    with pytest.raises(ProgramRefusedError, match="it is for AnalogDevice"):
        digital.load(analog)
    assert json.loads(digital.specs())["device"]["name"] == "DigitalAnalogDevice"


def test_machines_that_run_analog_programs_alone():
    pytest.importorskip("emu_mps")
    machine = controller("emu-mps")
    assert json.loads(machine.specs())["device"] is None
    with pytest.raises(ProgramRefusedError, match="gate kernels need the qubit levels"):
        machine.load(texts()["template"][0])


def test_other_emulators_draw_whole_blocks():
    pytest.importorskip("pulser_simulation")
    machine = controller("qutip")
    rows = drawn(machine, texts()["analog"][0], n_shots=1500)
    assert frequencies(rows)[3] < 0.02
    assert json.loads(machine.specs())["name"] == "qutip"


@pytest.mark.parametrize(
    "given",
    [
        {"machine": "abacus"},
        {"device": "abacus"},
        {"seed": -1},
        {"noise": "nowhere.json"},
        {"threads": 0},
        {"cadence_hz": 0.0},
        {"cadence_hz": float("nan")},
    ],
)
def test_settings_that_make_no_sense(given):
    with pytest.raises(OptionError):
        controller(**given)


def test_noise_that_does_nothing_is_none():
    assert Settings.of(noise=pulser.NoiseModel()).noise is None
    assert Settings.of(noise=pulser.NoiseModel(p_false_pos=0.1)).noise is not None


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ({}, ["gate", "gate", "analog"]),
        ({"device": "AnalogDevice"}, ["analog"]),
        ({"machine": "qutip"}, []),
    ],
)
def test_warming_up_measures_a_program_of_each_kind(monkeypatch, given, kinds):
    begun = []

    def begin(self, loaded, *how):
        begun.append(loaded.family.kind)
        return measure(self, loaded, *how)

    machine = controller(**given)
    measure = type(machine).begin
    monkeypatch.setattr(type(machine), "begin", begin)
    machine.warm_up()
    assert begun == kinds


def test_a_machine_elsewhere_runs_jobs(tmp_path):
    text, values = texts()["template"]
    first, second = f"ipc://{tmp_path}/first", f"ipc://{tmp_path}/second"
    with (
        serve(controller(seed=2), first),
        serve(controller(first), second),
        connect(first) as near,
        connect(second) as far,
    ):
        clients = [ControlClient(link.caller(20.0)) for link in (near, far)]
        specs = json.loads(clients[1].specs())
        assert (specs["granularity"], specs["kind"]) == ("job", "jobs")
        assert specs["device"]["name"] == "DigitalAnalogDevice"
        for client in clients:
            run = client.run(client.load_program(text), 500, values, seed=9)
            assert sum(batch.n_shots for batch in run.batches()) == 500
            assert run.n_measured == 500
        with pytest.raises(RemoteCallError, match="pair takes 2 parameters"):
            clients[1].run(clients[1].load_program(text), 500)
    with pytest.raises(OptionError, match="whole jobs"):
        controller(first, cadence_hz=5.0)
