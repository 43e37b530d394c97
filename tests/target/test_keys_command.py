"""`cudaq-target keys`: a pair that links take, secrets kept off the screen."""

from __future__ import annotations

import json

from cudaq_target import cli
from cudaq_target.coupler.security import load_keys, load_public_key


def test_keys_are_made_once_and_their_secret_is_not_shown(tmp_path, capsys):
    words = ["keys", "controller", "--directory", str(tmp_path / "keys"), "--json"]
    assert cli.main(words) == 0
    paths = json.loads(capsys.readouterr().out)
    secret = tmp_path / "keys" / "controller.key_secret"
    assert paths == {"public": str(secret.with_suffix(".key")), "secret": str(secret)}
    pair = load_keys(secret)
    assert load_public_key(secret.with_suffix(".key")) == pair.public
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert "it exists" in said.err
    assert pair.secret not in said.out + said.err


def test_keys_are_text_without_json(tmp_path, capsys):
    assert cli.main(["keys", "host", "-d", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(str(tmp_path / "host.key "))
    assert lines[1].startswith(str(tmp_path / "host.key_secret"))
    assert load_keys(tmp_path / "host.key_secret").secret not in "".join(lines)


def test_a_name_that_is_a_path_is_bad_input(tmp_path, capsys):
    assert cli.main(["keys", "../host", "-d", str(tmp_path / "keys")]) == 2
    assert "no name of a key" in capsys.readouterr().err
