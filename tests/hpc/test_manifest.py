"""Manifests: what they hold, what they must not hold, and that they repeat a run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pulser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target import cli, manifest
from cudaq_target.admission import admission
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.circuit import Circuit, Gate, Measurement
from cudaq_target.controller import controller
from cudaq_target.coupler.server import serve
from cudaq_target.errors import OptionError, Source
from cudaq_target.fakes import devices
from cudaq_target.machines.remote import close_all
from cudaq_target.manifest import facts, words
from cudaq_target.manifest.again import same_statistics
from cudaq_target.manifest.model import find_problem, loads, read, write
from cudaq_target.manifest.page import page
from cudaq_target.manifest.redaction import is_secret_name, without_secrets
from cudaq_target.manifest.tracker import submission
from cudaq_target.program import compile_circuit

CANARY = "c4nary-7f3a9b21"
KERNEL = """
import cudaq

@cudaq.kernel
def turned(angle: float):
    q = cudaq.qvector(2)
    ry(angle, q[0])
    x.ctrl(q[0], q[1])
"""


@pytest.fixture(scope="module")
def gates():
    source = Source("halves", 7, "/somewhere/kernels.py")
    turn = (Gate("h", (0,), source), Gate("x", (1,), source))
    return compile_circuit(Circuit("halves", 2, turn, (Measurement(0, "", source),)))


@pytest.fixture(scope="module")
def analog():
    ramp = Waveform([0, 250, 750, 1000], [0.0, 9.0, 9.0, 0.0])
    return build(AnalogSpec.of([(0, 0), (7, 0)], ramp, name="blockade"))


@pytest.fixture(params=["gates", "analog"])
def program(request):
    return request.getfixturevalue(request.param)


def called(capsys, *words):
    code = cli.main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_manifest_says_what_ran_and_repeats_it(program, tmp_path: Path) -> None:
    shots, found = manifest.run(program, 300, machine="local", seed=5)
    path = tmp_path / "run.json"
    write(found, path)
    assert find_problem(json.loads(path.read_text())) is None
    back = read(path)
    assert back == found
    assert (back.n_shots, back.seed, back.machine["name"]) == (300, 5, "local")
    assert back.device["name"] == program.rules.name
    assert back.program["sha256"] == facts.sha256(program.to_json())
    assert sum(back.result.counts.values()) == 300
    assert back.versions["pulser-core"] == pulser.__version__
    assert back.seconds["run"] <= back.seconds["total"]
    again = manifest.rerun(back)
    assert again.agreement == "identical"
    assert again.differences == ()
    assert again.manifest.result.counts == back.result.counts
    assert again.manifest.rerun["of"] == facts.sha256(path.read_text())
    assert loads(again.manifest.to_json()) == again.manifest
    assert len(shots) == 300


def test_kernel_and_line_are_named(gates) -> None:
    _, found = manifest.run(gates, 10, machine="local", seed=1)
    assert found.source == {"kernel": "halves", "file": "kernels.py", "line": 7}
    assert set(found.result.counts) <= {"0", "1"}  # of the measured qubit


def test_a_seed_is_drawn_where_none_is_given(analog) -> None:
    found = [manifest.run(analog, 200, machine="local")[1] for _ in range(2)]
    assert found[0].seed != found[1].seed
    for one in found:
        assert manifest.rerun(one).agreement == "identical"


def test_noise_and_options_of_the_run_are_those_of_the_rerun(analog, monkeypatch) -> None:
    noise = pulser.NoiseModel(p_false_pos=0.3, p_false_neg=0.2)
    _, found = manifest.run(analog, 400, machine="local", seed=2, noise=noise, modulation=True)
    monkeypatch.setenv("CUDAQ_TARGET_MODULATION", "off")
    monkeypatch.setenv("CUDAQ_TARGET_THREADS", "1")
    again = manifest.rerun(loads(found.to_json()))
    assert again.agreement == "identical"
    _, quiet = manifest.run(analog, 400, machine="local", seed=2, modulation=True)
    assert quiet.result.counts != found.result.counts


def test_another_machine_is_named_and_compared_by_statistics(analog) -> None:
    pytest.importorskip("pulser_simulation")
    _, found = manifest.run(analog, 2000, machine="local", seed=2)
    again = manifest.rerun(dataclasses.replace(found, seed=3), machine="qutip")
    assert again.agreement == "statistics"
    assert again.p_value > 1e-4
    assert [str(entry) for entry in again.differences] == ["machine: local then, qutip now"]


def test_what_has_changed_is_named(analog) -> None:
    _, found = manifest.run(analog, 200, machine="local", seed=2)
    older = dataclasses.replace(
        found,
        versions={**found.versions, "pulser-core": "0.1.0", "gone": "3"},
        device={**found.device, "sha256": "0" * 64},
        result=dataclasses.replace(found.result, counts={"00": 0, "11": 200}),
    )
    again = manifest.rerun(older)
    assert again.agreement == "different"
    said = {entry.what: entry[1:] for entry in again.differences}
    assert said["pulser-core"] == ("0.1.0", found.versions["pulser-core"])
    assert said["gone"] == ("3", "none")
    assert "limits of AnalogDevice" in said
    assert "OTHER numbers" in again.text()


def test_a_controller_repeats_its_shots(gates) -> None:
    with serve(controller("local", seed=1), "tcp://127.0.0.1:0") as server:
        endpoint = str(server.endpoint)
        _, found = manifest.run(gates, 200, machine=endpoint, seed=9)
        assert manifest.rerun(found).agreement == "identical"
        close_all()
    assert found.machine == {"name": endpoint, "is_emulator": None}  # its name does not say it


def test_a_cloud_is_compared_by_statistics_and_keeps_its_secrets(account, analog) -> None:
    there = build(analog.spec, devices.device("EMU_FRESNEL"))
    _, found = manifest.run(there, 400, machine="EMU_FRESNEL", seed=1)
    assert (found.machine["is_emulator"], found.result.n_used) == (True, 400)
    again = manifest.rerun(loads(found.to_json()))
    assert again.agreement in {"identical", "statistics"}  # the service takes no seed
    for secret in (account.account.password, account.account.client_secret, account.token):
        assert secret not in found.to_json() + repr(again)


def test_the_command_line_writes_and_repeats(tmp_path: Path, capsys) -> None:
    kernels, path = tmp_path / "kernels.py", tmp_path / "m.json"
    kernels.write_text(KERNEL)
    typed = ("run", f"{kernels}:turned", 0.9, "--shots", 300, "--seed", 6, "--json")
    code, plain, _ = called(capsys, *typed)
    assert code == 0
    code, out, _ = called(capsys, *typed, "--manifest", path)
    assert (code, out) == (0, plain)  # a manifest changes nothing
    found = read(path)
    assert found.source == {"kernel": "turned", "file": "kernels.py", "line": 7}
    assert found.arguments == [0.9]
    assert set(found.seconds) == {"machine", "compile", "run", "total"}
    assert found.result.counts == json.loads(plain)["counts"]
    code, out, _ = called(capsys, "rerun", path, "--manifest", tmp_path / "m2.json")
    assert (code, out) == (0, "turned: the same numbers\n")
    assert read(tmp_path / "m2.json").rerun["agreement"] == "identical"
    code, out, _ = called(capsys, "rerun", path, "--json")
    assert json.loads(out)["agreement"] == "identical"
    code, _, err = called(capsys, *typed, "--manifest", tmp_path / "no" / "where.json")
    assert (code, "cannot be written" in err) == (2, True)


def test_a_loop_is_replayed_from_its_record_or_run_again(tmp_path: Path, capsys) -> None:
    path, record, events = (tmp_path / name for name in ("m.json", "record", "events"))
    with serve(controller("local", seed=1), "tcp://127.0.0.1:0") as server:
        typed = ["loop", "vqe", "--qubits", 2, "--steps", 1, "--error", 0.02, "--accuracy", 0.02]
        typed += ["--machine", server.endpoint, "--record", record, "--events", events]
        code, out, _ = called(capsys, *typed, "--manifest", path, "--json")
        assert code == 0
        found, data = read(path), json.loads(out)
        assert (found.kind, found.loop["name"], found.loop["record"]) == (
            "loop",
            "vqe",
            str(record),
        )
        assert (found.result.quantity, found.result.unit) == ("energy", "Ha")
        assert found.result.value == data["energy"]
        assert found.result.standard_error == data["standard_error"]
        assert list(found.result.interval) == data["interval"]
        assert (found.events, found.n_shots) == (str(events), data["n_shots"])
        assert found.device["name"] == "DigitalAnalogDevice"
        assert found.machine["is_emulator"] is True
        # The seed of the loop decides what the emulated machine measures.
        assert manifest.rerun(found, is_live=True).agreement == "identical"
    assert manifest.rerun(found).agreement == "identical"  # nobody serves any more
    with pytest.raises(OptionError, match="where its settings say"):
        manifest.rerun(found, machine="local")


def test_secrets_are_nowhere(analog, monkeypatch, tmp_path: Path) -> None:
    for name in ("PASQAL_PASSWORD", "PASQAL_AUTH_TOKEN", "PASQAL_CLIENT_SECRET", "MY_API_KEY"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("EMU_FREE_QRMI_PASQAL_CLOUD_AUTH_TOKEN", CANARY)
    monkeypatch.setattr("sys.argv", ["work.py", "--password", "hunter2", f"x={CANARY}"])
    about = manifest.About(notes=f"with {CANARY}", authors="A", institutions="B")
    named = dataclasses.replace(analog.timeline.spec, name=f"at {CANARY}")
    _, found = manifest.run(build(named), 10, machine="local", seed=1, about=about)
    options = {**found.options, "auth_token": "0123", "layout": [CANARY]}
    found = dataclasses.replace(
        found,
        options=options,
        arguments=["https://me:pw@there/x", f"Bearer {CANARY}", "eyJhbGciOi.eyJzdWIi.c2ln"],
    )
    write(found, tmp_path / "m.json")
    text = (tmp_path / "m.json").read_text()
    said = [text, repr(found), words.text(found), page(found), str(submission(found))]
    for secret in (CANARY, "hunter2", "me:pw", "eyJzdWIi"):
        assert not any(secret in one for one in said)
    back = read(tmp_path / "m.json")
    assert back.options["auth_token"] == "***"
    assert back.arguments[0] == "https://***@there/x"
    # The program held a secret: it is gone, and the manifest says that it is not what ran.
    with pytest.raises(OptionError, match="held a secret"):
        manifest.rerun(back)


def test_keys_are_withheld() -> None:
    from cudaq_target.manifest.runs import options_as_data
    from cudaq_target.options import Options

    options = Options(machine_secret="/keys/mine.key_secret", machine_server_key="/keys/theirs.key")
    content, withheld = options_as_data(options)
    assert withheld == ("machine_secret", "machine_server_key")
    assert "/keys" not in json.dumps(content)
    assert content["machine"] == "local"


@given(st.text(min_size=6, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_values_of_secret_variables_are_hidden_anywhere(secret, before, after) -> None:
    cleaned = without_secrets({"a": [before + secret + after, 1.5, None]}, {"X_TOKEN": secret})
    left = cleaned["a"][0]
    assert secret not in left or secret in "***"
    assert cleaned["a"][1:] == [1.5, None]
    assert is_secret_name("X_TOKEN")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(version=2), "format version 2"),
        (lambda m: m.update(format="other"), "no manifest"),
        (lambda m: m.update(extra=1), "extra"),
        (lambda m: m.pop("seed"), "seed"),
        (lambda m: m["result"].update(value="1"), "result/value"),
        (lambda m: m["result"]["counts"].update({"2": 1}), "result/counts"),
        (lambda m: m["seconds"].update(run=-1.0), "seconds/run"),
        (lambda m: m["program"].update(sha256="x"), "program/sha256"),
    ],
)
def test_damaged_manifests_are_refused_by_entry(analog, change, reason) -> None:
    _, found = manifest.run(analog, 5, machine="local", seed=1)
    content = json.loads(found.to_json())
    change(content)
    with pytest.raises(OptionError, match=reason):
        loads(json.dumps(content))


@pytest.mark.parametrize("text", ["", "[]", "nothing", '{"a": NaN}', "[" * 100_000])
def test_other_texts_are_no_manifests(text, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(OptionError):
        read(path)


def test_a_program_that_was_changed_is_not_run(analog) -> None:
    _, found = manifest.run(analog, 5, machine="local", seed=1)
    held = {**found.program, "text": found.program["text"].replace("9.0", "8.0")}
    with pytest.raises(OptionError, match="not the one that ran"):
        manifest.rerun(dataclasses.replace(found, program=held))


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_samples_of_one_distribution_agree(n_bits, seed) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(1 << n_bits))
    first, second = (rng.multinomial(1000, weights) for _ in range(2))
    names = [format(k, f"0{n_bits}b") for k in range(1 << n_bits)]
    counts = [dict(zip(names, row.tolist(), strict=True)) for row in (first, second)]
    assert same_statistics(*counts) > 1e-6
    assert same_statistics(*counts) == pytest.approx(same_statistics(*counts[::-1]))


def test_admission_is_shots_times_sequence_and_cycle(program) -> None:
    wanted = program.estimate(500, cycle_s=0.1)
    assert wanted.seconds == pytest.approx(500 * (1e-9 * program.stats.duration_ns + 0.1))
    assert wanted.n_atoms == program.stats.n_atoms
    assert program.estimate(0).seconds == 0.0
    for arguments in ((-1,), (True,), (1, -0.1), (1, float("nan"))):
        with pytest.raises(OptionError):
            program.estimate(*arguments)
    assert "20.001 s" in str(admission(2, 2, 100, 10_000))


def test_the_estimate_is_the_emulated_time(analog) -> None:
    """Row 18 of the checklist: shots times what the emulator plays per shot."""
    _, found = manifest.run(analog, 50, machine="local", seed=1)
    played_s = 1e-9 * found.program["duration_ns"] * found.result.n_used
    assert analog.estimate(50, cycle_s=0.0).seconds == pytest.approx(played_s)


def test_jobs_of_schedulers_are_named() -> None:
    assert facts.job({}) is None
    assert facts.job({"JOB_ID": "3"}) is None
    assert facts.job({"JOB_ID": "3", "SGE_ROOT": "/x"}) == {"scheduler": "grid engine", "id": "3"}
