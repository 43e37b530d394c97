"""Wrong use of every command: exit code 2 and one sentence that names it, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from cudaq_target import cli
from cudaq_target.coupler.errors import RemoteCallError
from cudaq_target.coupler.frame import Status

FILES = {"text.json": b"not json", "other.json": b'{"a": 1}', "bytes.json": b"\xff\xfe\x00"}
ENDPOINT = "ipc://{place}/qpu"


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_bytes(content)
    Path("folder").mkdir()
    tmp_path.chmod(0o700)
    return tmp_path


def said(words: str, place: Path, capfd) -> str:
    """What a refused command says, on one line."""
    code = cli.main(words.replace("{place}", str(place)).split())
    out, err = capfd.readouterr()
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    return " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("vqe --machine nope --qubits 2", "cudaq-target: machine 'nope': no such machine"),
        ("vqe --machine ftp://qpu", "endpoint 'ftp://qpu': no known transport"),
        ("vqe --accuracy -1", "accuracy -1: no error of an energy"),
        ("vqe --replay text.json", "recording text.json: it does not begin like one"),
        ("mis square --radius 2", "radius 2: square has its edges. Leave it out"),
        ("mis square --size 0", "Invalid value for '--size'"),
        ("mis bytes.json", "graph 'bytes.json': no list of x and y pairs"),
        ("drift bytes.json", "payload 'bytes.json': the file cannot be read"),
        ("drift --machine nope", "endpoint 'nope': no known transport"),
        ("drift --rabi-error nan", "rabi_error nan: no error to keep"),
        ("drift --detuning-error 0", "detuning_error 0: no error to keep"),
        ("drift --record text.json", "recording text.json: it exists"),
        ("drift --manifest folder", "manifest 'folder': the file cannot be written"),
        ("drift --manifest none/m.json", "the file cannot be written (No such file or"),
        ("memory --distance 99", "makes 980000 checks. Use at most 10000 checks"),
        ("memory --wait nope", "wait: 'nope' is unknown. Use busy, yield, adaptive, block"),
        ("memory --cores 0,99999", "cores: 99999: Invalid argument. Use one of ["),
        ("memory --priority 1000", "priority: 1000: Invalid argument. Use 1 to 99"),
        ("memory --server nope", "endpoint 'nope': no known transport"),
        ("report bytes.json", "bytes.json, line 1 is no event"),
    ],
)
def test_loops(words: str, sentence: str, place: Path, capfd) -> None:
    assert sentence in said(f"loop {words}", place, capfd)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--machine nope", "machine 'nope': no such machine"),
        ("--device bytes.json", "device 'bytes.json': the file cannot be read"),
        ("--noise other.json", "noise 'other.json': the file holds no noise model"),
        ("--cadence-hz 1e-320", "Give a positive number, 1e-6 to 1e9"),
        ("--lease-s inf", "Invalid value for '--lease-s'"),
        ("--slot-bytes 100000000000000", "Invalid value for '--slot-bytes'"),
        ("--slots 100000000000000", "Invalid value for '--slots'"),
        ("--secret other.json", "Give both, or neither"),
        ("--metrics-file x.txt", "Call it NAME.prom"),
    ],
)
def test_serve(words: str, sentence: str, place: Path, capfd) -> None:
    assert sentence in said(f"serve --bind {ENDPOINT} {words}", place, capfd)


@pytest.mark.parametrize("endpoint", ["nope", "ftp://x", "tcp://127.0.0.1:99999", "shm://a/b"])
def test_endpoints(endpoint: str, place: Path, capfd) -> None:
    assert "endpoint" in said(f"serve --bind {endpoint}", place, capfd)
    if "://" in endpoint:
        assert "endpoint" in said(f"watch {endpoint} --once", place, capfd)
        assert "machine" in said(f"run kernels.py:k --machine {endpoint}", place, capfd)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("watch nope --once", "nope cannot be read"),
        ("watch folder", "folder cannot be read (Is a directory)"),
        ("watch bytes.json", "line 1 is no event"),
        ("watch other.json --interval-s inf", "Invalid value for '--interval-s'"),
        ("watch nope --secret other.json", "Give both, or neither"),
        ("run bytes.json", "program 'bytes.json': the file cannot be read"),
        ("run other.json", "JSON of another kind"),
        ("run k.py:k --machine nope", "machine 'nope': no such machine"),
        ("run k.py:k --device bytes.json", "device 'bytes.json': the file cannot be read"),
        ("run k.py:k --noise folder", "noise 'folder': the file cannot be read"),
        ("run k.py:k --seed -1", "seed -1: not allowed"),
        ("run k.py:k --route up", "route 'up': no such way to route"),
        ("rerun bytes.json", "manifest 'bytes.json': unreadable"),
        ("status other.json", "no record of a job"),
        ("fetch nope", "no such job is recorded"),
        ("decode-server --config bytes.json", "the file cannot be read"),
        ("playback text.json --null", "schedule, line 1"),
        ("demo --endpoint nope", "endpoint 'nope': no known transport"),
        ("demo --manifest none/m.json", "the file cannot be written"),
        ("site show nope", "example 'nope': there is none"),
    ],
)
def test_others(words: str, sentence: str, place: Path, capfd) -> None:
    assert sentence in said(words, place, capfd)


def test_what_a_controller_refuses_is_wrong_use_and_what_breaks_is_not(
    place: Path, capfd, monkeypatch
) -> None:
    assert "AnalogDevice cannot run gate kernels" in said(
        "loop vqe --device AnalogDevice", place, capfd
    )

    def breaks(*_: object) -> None:
        raise RemoteCallError("run", Status.INTERNAL_ERROR, "the laser is off")

    monkeypatch.setattr("cudaq_target.commands.run", breaks)
    assert cli.main(["loop", "vqe"]) == 1
    assert "the laser is off" in capfd.readouterr().err
