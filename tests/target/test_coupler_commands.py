"""`cudaq-target decode-server` and `playback`: real processes, real signals, exit codes."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cudaq_target import cli
from tests.coupler.decoders_yaml import decoders_yaml

SCHEDULE = """\
0 reset
- stream source=0 rounds=1
- get_corrections 010
- enqueue source=0b110 session=1
- get_corrections 011 session=1
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    (tmp_path / "config.yml").write_text(decoders_yaml(2))
    (tmp_path / "schedule.txt").write_text(SCHEDULE.replace("011", "110"))
    (tmp_path / "rounds.txt").write_text("010\n")
    return tmp_path


class ServerCommand:
    """The command in a process of its own; ended at the latest when the test ends."""

    def __init__(self, *words: object) -> None:
        command = [sys.executable, "-m", "cudaq_target", "decode-server", *map(str, words)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline().strip()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, list[str]]:
        """Exit code and last lines."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        assert err == ""
        return self.process.returncode, out.splitlines()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def play(files: Path, *words: object) -> int:
    out = ["--source", f"0:{files}/rounds.txt", "--out", f"{files}/out.csv"]
    return cli.main(["playback", f"{files}/schedule.txt", *out, *map(str, words)])


def rows(files: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((files / "out.csv").read_text().splitlines()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_schedule_against_a_server_with_a_port_for_each_decoder(files, number):
    with ServerCommand("--config", files / "config.yml", "--timeout", "300s") as server:
        ports = re.findall(r" ring\d=(\d+)", server.ready)
        assert server.ready.startswith(f"QEC_DECODING_SERVER_READY port={ports[0]} transport=udp ")
        servers = [f"--server={k}=udp://127.0.0.1:{port}" for k, port in enumerate(ports)]
        assert play(files, *servers, "--timeout", "30s") == 0
        assert server.end(number) == (
            0,
            [
                "QEC_DECODING_SERVER_RING decoder=0 dispatched=3",
                "QEC_DECODING_SERVER_RING decoder=1 dispatched=2",
                "QEC_DECODING_SERVER_DISPATCHED count=5",
            ],
        )
    assert [row["status"] for row in rows(files)] == ["0", "100", "0", "100", "0"]
    assert [row["correction_bits"] for row in rows(files)] == ["", "", "010", "", "110"]


@pytest.mark.parametrize("scheme", ["shm", "ipc", "tcp"])
def test_a_schedule_against_one_endpoint_for_all_decoders(files, scheme):
    place = {
        "shm": f"shm://test-command-{os.getpid()}",
        "ipc": f"ipc://{files}/s",
        "tcp": "tcp://127.0.0.1:0",
    }[scheme]
    geometry = ["--slot-bytes", "256", "--slots", "8"]
    with ServerCommand("--config", files / "config.yml", "--bind", place, *geometry) as server:
        place = re.findall(r" endpoint1=(\S+)", server.ready)[0]
        assert play(files, "--server", place, "--timeout", "30s", *geometry) == 0
        code, lines = server.end()
    assert (code, lines[-1]) == (0, "QEC_DECODING_SERVER_DISPATCHED count=5")
    assert rows(files)[2]["correction_mismatch"] == "0"


def test_two_hosts_with_keys(files):
    """What a server on one host and a player on another need, with nothing but commands."""
    for name in ("server", "player"):
        assert cli.main(["keys", name, "-d", str(files / name)]) == 0
    server_keys = ["--secret", files / "server/server.key_secret"]
    server_keys += ["--allow", files / "player/player.key"]
    config = ["--config", files / "config.yml", "--bind", "tcp://0.0.0.0:0"]
    with ServerCommand(*config, *server_keys) as server:
        port = re.findall(r" port=(\d+)", server.ready)[0]
        player_keys = ["--secret", files / "player/player.key_secret"]
        player_keys += ["--server-key", files / "server/server.key"]
        place = f"tcp://127.0.0.1:{port}"
        assert play(files, "--server", place, *player_keys, "--timeout", "30s") == 0
        assert server.end()[0] == 0


def test_a_server_ends_by_itself_when_told_so(files):
    with ServerCommand("--config", files / "config.yml", "--timeout", "1ms") as server:
        assert server.process.wait(timeout=60) == 0


def test_decoders_in_this_process(files, capsys):
    assert play(files, "--config", files / "config.yml", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["status"] for row in answer] == [0, 100, 0, 100, 0]
    assert [str(row["call_ns"]) for row in answer] == [row["call_ns"] for row in rows(files)]


def test_nothing_at_the_other_end(files):
    (files / "schedule.txt").write_text("0 stream source=0\n- reset session=7\n")
    assert play(files, "--null", "--tick", "1ms", "--lead-in", "0ms") == 0
    assert [row["status"] for row in rows(files)] == ["100", "0"]


def test_csv_goes_to_standard_output_and_stim_is_a_source(files, capsys):
    pytest.importorskip("stim")
    schedule = files / "schedule.txt"
    schedule.write_text("0 stream source=3 rounds=3\n- enqueue_data source=3\n")
    circuit = "3:code=repetition_code,task=memory,distance=3,seed=4"
    noise = "before_measure_flip_probability=0.1"
    words = ["playback", str(schedule), "--null", "--stim-source", f"{circuit},{noise}"]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert cli.main(words) == 0
    again = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    read = list(csv.DictReader(out.splitlines()))
    assert [len(row["syndrome_bits"]) for row in read] == [6, 3]
    assert [row["syndrome_bits"] for row in again] == [row["syndrome_bits"] for row in read]


def test_wrong_corrections_and_errors_fail(files, capsys):
    (files / "schedule.txt").write_text("0 enqueue source=0b010\n- get_corrections 111\n")
    assert play(files, "--config", files / "config.yml") == 1
    assert "1 corrections are not those of the schedule" in capsys.readouterr().err
    (files / "schedule.txt").write_text(
        "0 enqueue source=0b0101\n- get_corrections 111\n+1000 reset"
    )
    assert play(files, "--config", files / "config.yml") == 1
    assert "line 2 was answered with status 3; the run stopped" in capsys.readouterr().err
    assert [row["dispatched"] for row in rows(files)] == ["1", "1", "0"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "config.yml", "--bind", "http://x"], "no known transport"),
        (["--config", "config.yml", "--bind", "tcp://0.0.0.0:0"], "refusing tcp://0.0.0.0:0"),
        (["--config", "nowhere.yml"], "cannot be read"),
        (["--config", "rounds.txt"], "decoder configuration, line 1"),
        (["--config", "config.yml", *(3 * ["--bind", "udp://127.0.0.1:0"])], "3 endpoints for 2"),
        (["--config", "config.yml", "--secret", "x"], "needs its secret and the public keys"),
        (["--config", "config.yml", "--timeout", "60"], "for example 200ms"),
        (["--config", "config.yml", "--slot-bytes", "1"], "--slot-bytes"),
    ],
)
def test_servers_that_cannot_be(files, monkeypatch, capsys, words, message):
    monkeypatch.chdir(files)
    assert cli.main(["decode-server", *words]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give exactly one"),
        (["--null", "--config", "config.yml"], "Give exactly one"),
        (["--config", "nowhere.yml"], "cannot be read"),
        (["--server", "3"], "no known transport"),
        (
            ["--server", "0=udp://127.0.0.1:9", "--secret", "x"],
            "own secret and the server's public",
        ),
        (["--server", "1=udp://127.0.0.1:9"], "line 1 calls decoder 0, which is not given"),
        (["--null", "--source", "rounds.txt"], "the number of the source is missing"),
        (["--null", "--source", "0:config.yml"], "syndromes, line 1"),
        (["--null", "--source", "1:rounds.txt"], "line 2 names source 0, which is not given"),
        (["--null", "--stim-source", "0:code=surface_code"], "0:code=surface_code"),
        (["--null", "--stim-source", "0:distance=three"], "three"),
        (["--null", "--tick", "1"], "no duration"),
        (["--null", "--tick", "0us"], "must be positive"),
    ],
)
def test_schedules_that_cannot_be_played(files, monkeypatch, capsys, words, message):
    monkeypatch.chdir(files)
    needed = [] if "--source" in words or "--stim-source" in words else ["--source=0:rounds.txt"]
    assert cli.main(["playback", "schedule.txt", *needed, *words]) == 2
    assert message in capsys.readouterr().err


def test_lines_that_make_no_sense_are_named(files, capsys):
    (files / "schedule.txt").write_text("0 reset\n\n0 frobnicate\n")
    assert play(files, "--null") == 2
    assert "schedule, line 3: operation 'frobnicate' is none of" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_a_failure(files, capsys):
    assert play(files, "--server", f"udp://127.0.0.1:{unused_port()}", "--timeout", "50ms") == 1
    assert "the run stopped" in capsys.readouterr().err
    assert rows(files)[0]["status"] == "3"


def unused_port() -> int:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
