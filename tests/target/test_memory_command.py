"""`cudaq-target loop memory`: a run, its record, a server of the user's, bad input."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cudaq_target import cli, manifest
from cudaq_target.coupler.decode_service import DecodeService
from cudaq_target.coupler.decoder_config import read_decoders

SHORT = ("loop", "memory", "--code", "repetition", "--shots", "40", "--python")


def test_a_run_and_its_replay_say_the_same(tmp_path: Path, capsys) -> None:
    record, written = str(tmp_path / "run.rec"), tmp_path / "manifest.json"
    words = [*SHORT, "--record", record, "--manifest", str(written), "--json"]
    assert cli.main(words) == 0
    first = json.loads(capsys.readouterr().out)
    found = manifest.read(written)
    assert found.result.value == first["logical_error_rate"]
    assert list(found.result.interval) == first["interval"]
    assert manifest.rerun(found).agreement == "identical"
    assert cli.main(["loop", "memory", "--replay", record, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    for one in (first, again):
        del one["server"], one["counters"]
    assert first == again
    assert first["n_shots"] == 40
    assert first["n_rounds"] == 160
    assert first["code"]["name"] == "repetition"


def test_a_server_of_the_users(tmp_path: Path, capsys) -> None:
    tmp_path.chmod(0o700)
    config = tmp_path / "repetition.yml"
    assert cli.main([*SHORT, "--config-out", str(config)]) == 0
    place = f"ipc://{tmp_path}/decoder"
    with DecodeService(read_decoders(config.read_text()), [place]):
        assert cli.main([*SHORT, "--server", place, "--deadline-us", "30000000"]) == 0
    said = capsys.readouterr().out
    assert f"given server at {place}" in said
    assert "0 of 160 rounds missed their deadline" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--distance", "4"], "distance: 4. Use an odd number"),
        (["--cadence-us", "0"], "cadence_s: 0 s"),
        (["--cores", "1"], "Give two cores, for example 0,1"),
        (["--cores", f"0,{os.cpu_count() + 4096}"], "cores: "),
        (["--priority", "1000"], "Use 1 to 99"),
    ],
)
def test_bad_input_ends_with_a_sentence(words, reason, capsys) -> None:
    assert cli.main([*SHORT, *words]) in {1, 2}
    assert reason in capsys.readouterr().err
