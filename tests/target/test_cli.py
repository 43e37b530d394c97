"""The command line: results on standard output, all else on standard error, exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cudaq_target import cli, commands
from cudaq_target.errors import HostError, OptionError
from cudaq_target.program import Program

KERNELS = """
import cudaq

print("printed by the user's file")


@cudaq.kernel
def ghz(n: int):
    q = cudaq.qvector(n)
    h(q[0])
    for i in range(n - 1):
        x.ctrl(q[i], q[i + 1])
    mz(q)


@cudaq.kernel
def turned(angle: float):
    q = cudaq.qvector(2)
    ry(angle, q[0])
    mz(q[0])


@cudaq.kernel
def feeds_forward():
    q = cudaq.qvector(2)
    h(q[0])
    if mz(q[0]):
        x(q[1])


value = 3
"""


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    path = tmp_path / "kernels.py"
    path.write_text(KERNELS)
    return path


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    code = cli.main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_compile_prints_the_report_alone(kernels: Path, capsys) -> None:
    code, out, err = called(capsys, "compile", f"{kernels}:ghz", 4)
    assert code == 0
    assert out.startswith("ghz on DigitalAnalogDevice: 4 qubits")
    assert "printed by the user's file" in err
    assert "printed" not in out


def test_compile_report_draw_and_run_a_program_file(kernels: Path, tmp_path: Path, capsys) -> None:
    program, picture = tmp_path / "ghz.json", tmp_path / "ghz.png"
    code, out, _ = called(capsys, "compile", f"{kernels}:ghz", 3, "--output", program, "--json")
    assert code == 0
    assert json.loads(out)["stats"]["n_entangling"] == 2
    assert json.loads(out)["output"] == str(program)
    code, out, _ = called(capsys, "report", program)
    assert (code, out.strip()) == (0, Program.from_json(program.read_text()).report())
    code, out, _ = called(capsys, "draw", program, "-o", picture)
    assert (code, out.strip()) == (0, str(picture))
    assert picture.stat().st_size > 1000
    code, out, _ = called(capsys, "run", program, "--shots", 200, "--seed", 5, "--json")
    content = json.loads(out)
    assert code == 0
    assert content["device"] == "DigitalAnalogDevice"
    assert sum(content["counts"].values()) == content["n_shots"] == 200
    assert set(content["counts"]) == {"000", "111"}


def test_a_program_file_gives_the_counts_of_its_kernel(
    kernels: Path, tmp_path: Path, capsys
) -> None:
    program = tmp_path / "turned.json"
    called(capsys, "compile", f"{kernels}:turned", -0.9, "-o", program)
    words = ("--shots", 500, "--seed", 11)
    _, from_kernel, _ = called(capsys, "run", f"{kernels}:turned", -0.9, *words)
    _, from_program, _ = called(capsys, "run", program, *words)
    assert from_kernel == from_program
    ones = dict(line.split() for line in from_kernel.splitlines())["1"]
    assert int(ones) == pytest.approx(500 * np.sin(0.45) ** 2, abs=5 * np.sqrt(500) / 2)


def test_run_is_reproducible_and_takes_machine_and_device(kernels: Path, capsys) -> None:
    words = ("run", f"{kernels}:ghz", 2, "--shots", 100, "--seed", 3, "--json")
    _, first, _ = called(capsys, *words)
    _, second, _ = called(capsys, *words)
    assert first == second
    code, out, _ = called(capsys, *words, "--machine", "qutip", "--device", "MockDevice")
    assert code == 0
    assert (json.loads(out)["machine"], json.loads(out)["device"]) == ("qutip", "MockDevice")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compile", "{file}:ghy", 4), r"no kernel 'ghy'\. Did you mean 'ghz'\?"),
        (("compile", "{file}", 4), r"has 3 kernels\. Give one of them: .*kernels\.py:ghz"),
        (("compile", "nowhere.py:ghz"), "no such Python file"),
        (("compile", "{file}:ghz", "four"), "argument 'four': it is no JSON value"),
        (("compile", "{file}:ghz"), r"a call with 0 arguments cannot run here: .* takes 1"),
        (("compile", "{file}:ghz", 4, "--device", "Foo"), "device 'Foo': no such device"),
        (("compile", "{file}:ghz", 4, "--device", "AnalogDevice"), "no local Rydberg channel"),
        (("compile", "{file}:ghz", 101), "at most 100 atoms"),
        (("compile", "{file}:ghz", 3, "--route", "fly"), "route 'fly': no such way to route"),
        (("run", "{file}:feeds_forward"), "feeds_forward, line 28: .*no mid-circuit measurement"),
        (("run", "{file}:ghz", 3, "--machine", "fresnel"), "machine 'fresnel': no such machine"),
        (("run", "{file}:ghz", "[2, 3]"), "Give one set of arguments"),
        (("run", "{file}:ghz", 3, "--shots", -1), "shots_count -1: not allowed"),
        (("run", "{file}:ghz", 3, "--shots", "x"), "valid integer"),
        (("report", "nothing.json"), r"program 'nothing\.json': the file cannot be read"),
        (("draw", "{file}:ghz", 2, "-o", "x.bmp"), r"ends in \.png, \.pdf or \.svg"),
        (("draw", "{file}:ghz", 2, "-o", "/no/such/place.png"), "cannot be written"),
        (("bench", "no-such-benchmark"), "no-such-benchmark"),
        (("demo", "--qubits", "3"), r"qubits 3: not offered\. Give 2 or 4"),
        (("fly",), "No such command 'fly'"),
    ],
    ids=lambda value: " ".join(map(str, value[:3])) if isinstance(value, tuple) else "",
)
def test_bad_input_is_named_and_ends_with_2(
    words: tuple[object, ...], message: str, kernels: Path, capfd
) -> None:
    code, out, err = called(capfd, *(str(word).replace("{file}", str(kernels)) for word in words))
    assert code == 2
    assert re.search(message, " ".join(err.replace("│", " ").split()))
    assert out == ""


@pytest.mark.parametrize("command", ["compile", "run"])
def test_an_argument_that_does_not_fit_is_bad_input(kernels: Path, capsys, command) -> None:
    code, out, err = called(capsys, command, f"{kernels}:ghz", '"a"')
    assert (code, out) == (2, "")
    assert err.endswith(
        "cudaq-target: ghz: a call with 'a' for argument 1 (n) cannot run here: it must be an int. "
        "Pass such a value.\n"
    )


def test_a_file_that_fails_is_bad_input(tmp_path: Path, capsys) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import cudaq\n1 / 0\n")
    code, _, err = called(capsys, "compile", path)
    assert code == 2
    assert "ZeroDivisionError: division by zero" in err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--device", "MockDevice"), "--device: .* is compiled already"),
        (("4",), "argument '4': .* holds a kernel with its arguments applied"),
    ],
)
def test_options_of_compilation_do_not_fit_a_program(
    extra: tuple[str, ...], message: str, kernels: Path, tmp_path: Path, capsys
) -> None:
    program = tmp_path / "p.json"
    called(capsys, "compile", f"{kernels}:ghz", 2, "-o", program)
    code, _, err = called(capsys, "run", program, *extra)
    assert code == 2
    assert re.search(message, err)


def test_devices_say_which_run_gate_kernels(capsys) -> None:
    code, out, _ = called(capsys, "devices", "--json")
    verdicts = {row["name"]: (row["runs_gate_kernels"], row["reason"]) for row in json.loads(out)}
    assert code == 0
    assert verdicts["DigitalAnalogDevice"] == (True, None)
    assert verdicts["MockDevice"] == (True, None)
    assert "no local Rydberg channel" in verdicts["AnalogDevice"][1]
    _, text, _ = called(capsys, "devices")
    assert "gate kernels: no: it has no local Rydberg channel" in text


def test_doctor(capsys) -> None:
    code, out, _ = called(capsys, "doctor", "--json")
    content = json.loads(out)
    assert code == (0 if content["healthy"] else 1)
    assert {"CUDA-Q", "plug-in", "pulser-core", "pulse cache"} <= {
        finding["name"] for finding in content["findings"]
    }
    code, out, _ = called(capsys, "doctor")
    assert re.search(r"^ok +CUDA-Q +0\.16", out, re.MULTILINE)


def test_failures_that_are_no_bad_input_end_with_1(capsys, monkeypatch) -> None:
    def fail(_: object) -> int:
        raise HostError("CUDA-Q is not installed", "Install it")

    monkeypatch.setattr(commands, "run", fail)
    assert called(capsys, "doctor") == (
        1,
        "",
        "cudaq-target: CUDA-Q is not installed. Install it\n",
    )


def test_without_typer_the_command_to_install_it_is_named(capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "cudaq_target.commands")
    monkeypatch.delattr("cudaq_target.commands")
    code, out, err = called(capsys, "doctor")
    assert (code, out) == (1, "")
    assert (
        err == "cudaq-target: typer is not installed. Install it: pip install 'cudaq-target[cli]'\n"
    )


def test_bench_outside_a_checkout_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(commands, "__file__", "/somewhere/site-packages/cudaq_target/commands.py")
    with pytest.raises(OptionError, match="not part of the installed package"):
        commands.bench("compile")


def test_no_command_shows_help_and_version_is_known(capsys) -> None:
    code, out, err = called(capsys)
    assert code == 2
    assert "doctor" in out + err
    code, out, _ = called(capsys, "--version")
    assert (code, bool(re.fullmatch(r"\d+\.\d+\.\d+\S*\n", out))) == (0, True)


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cudaq_target", "devices", "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert len(json.loads(done.stdout)) >= 4


def analog_program():
    """Atom 0 alone, and a pair that blockades itself."""
    from cudaq_target.analog.model import AnalogSpec, Waveform
    from cudaq_target.analog.program import build

    pulse = Waveform.constant(500, 2.0 * np.pi, "amplitude")
    sites = [(-30.0, 0.0), (5.0, 0.0), (10.0, 0.0)]
    return build(AnalogSpec.of(sites, pulse, name="pair"))


def test_analog_programs_of_every_format(tmp_path, capsys):
    from cudaq_target.analog import ahs

    program = analog_program()
    files = {"ahs": ahs.dumps(program.spec), "own": program.to_json()}
    files["pulser"] = program.sequence.to_abstract_repr()
    seen = set()
    for name, text in files.items():
        path = tmp_path / f"{name}.json"
        path.write_text(text)
        code, out, err = called(capsys, "run", path, "--shots", 300, "--seed", 4, "--json")
        assert (code, err) == (0, "")
        result = json.loads(out)
        assert (result["machine"], result["device"]) == ("local", "AnalogDevice")
        assert sum(result["counts"].values()) == 300
        assert all(string.startswith("1") for string in result["counts"])
        seen.add(json.dumps(result["counts"]))
        picture = tmp_path / f"{name}.png"
        assert called(capsys, "draw", path, "-o", picture)[0] == 0
        assert picture.stat().st_size > 10_000
        assert "3 atoms" in called(capsys, "report", path)[1]
    assert len(seen) == 1  # the same atoms, pulses and seed


def test_an_ahs_program_is_compiled_for_a_device(tmp_path, capsys):
    from cudaq_target.analog import ahs

    source, compiled = tmp_path / "ahs.json", tmp_path / "program.json"
    source.write_text(ahs.dumps(analog_program().spec))
    code, out, _ = called(capsys, "compile", source, "--device", "MockDevice", "-o", compiled)
    assert code == 0
    assert "MockDevice" in out
    code, out, _ = called(capsys, "run", compiled, "--machine", "auto-emulator", "--json")
    assert (code, json.loads(out)["device"]) == (0, "MockDevice")
    code, _, err = called(capsys, "run", compiled, "--device", "AnalogDevice")
    assert (code, "is compiled already" in err) == (2, True)
    code, _, err = called(capsys, "compile", source, "--route", "swap")
    assert (code, "it is for kernels" in err) == (2, True)
    close = json.loads(source.read_text())
    close["setup"]["ahs_register"]["sites"][1] = ["-0.000029", "0"]
    source.write_text(json.dumps(close))
    code, _, err = called(capsys, "run", source)
    assert (code, "AnalogDevice" in err) == (2, True)
    assert called(capsys, "run", compiled, "--shots", -1)[0] == 2


def test_broken_pulser_sequences(tmp_path, capsys):
    path = tmp_path / "sequence.json"
    path.write_text('{"operations": [], "channels": {}}')
    code, _, err = called(capsys, "run", path)
    assert (code, "Pulser cannot read it" in err) == (2, True)
