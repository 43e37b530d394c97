from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cudaq_target.site.config import HookError, Settings, load_resources, load_settings
from cudaq_target.site.pack import EXAMPLES, example

CANARY = "canary-3f9a"
CLOUD = {
    "name": "EMU_FREE",
    "type": "pasqal-cloud",
    "environment": {"QRMI_PASQAL_CLOUD_AUTH_TOKEN": CANARY},
}
LOCAL = {
    "name": "fresnel1",
    "type": "pasqal-local",
    "environment": {"QRMI_WARDEN_URL": "http://127.0.0.1:8006"},
}


def written(path: Path, content: object, mode: int = 0o640) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(mode)
    return path


def test_resources_keep_the_order_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "c.json", {"resources": [LOCAL, CLOUD]})
    resources = load_resources(path)
    assert list(resources) == ["fresnel1", "EMU_FREE"]
    assert resources["fresnel1"].environment == LOCAL["environment"]


def test_secrets_show_neither_in_repr_nor_in_masked_texts(tmp_path: Path) -> None:
    resource = load_resources(written(tmp_path / "c.json", {"resources": [CLOUD]}))["EMU_FREE"]
    assert CANARY not in repr(resource)
    assert resource.mask(f"refused {CANARY} here") == "refused *** here"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not JSON"),
        ([], "not an object"),
        ({}, "'resources' is not a list"),
        ({"resources": [], "resource": 1}, "unknown key 'resource'; known: resources"),
        ({"resources": [3]}, "resource 0: not an object"),
        ({"resources": [LOCAL | {"uri": "x"}]}, "unknown key 'uri'"),
        ({"resources": [LOCAL | {"name": "a b"}]}, "'a b' is no name"),
        ({"resources": [LOCAL | {"name": "a\nX=1"}]}, "is no name"),
        ({"resources": [LOCAL | {"type": "pasqal"}]}, "known: pasqal-cloud, pasqal-local"),
        ({"resources": [LOCAL, LOCAL]}, "two resources have the name fresnel1"),
        ({"resources": [CLOUD | {"name": "EMU_SV"}]}, "EMU_SV is no device of pasqal-cloud"),
        (
            {"resources": [LOCAL | {"environment": {"QRMI_WARDEN_UTL": "x"}}]},
            "unknown key 'QRMI_WARDEN_UTL'; known: QRMI_WARDEN_URL",
        ),
        (
            {"resources": [LOCAL | {"environment": {"QRMI_WARDEN_URL": "x\nLD_PRELOAD=y"}}]},
            "QRMI_WARDEN_URL is not a text of one line",
        ),
        ({"resources": [LOCAL | {"environment": {"A B": "x"}}]}, "no name of a variable"),
        ({"resources": [LOCAL | {"environment": [1]}]}, "'environment' is not an object"),
    ],
)
def test_what_a_configuration_cannot_say(tmp_path: Path, content: Any, reason: str) -> None:
    path = written(tmp_path / "c.json", content)
    with pytest.raises(HookError) as caught:
        load_resources(path)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


def test_secrets_that_everybody_may_read_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "c.json", {"resources": [CLOUD]}, 0o644)
    with pytest.raises(HookError, match="holds secrets and everybody may read it: chmod 0640"):
        load_resources(path)
    assert load_resources(written(tmp_path / "d.json", {"resources": [LOCAL]}, 0o644))


@pytest.mark.parametrize("mode", [0o660, 0o602])
def test_files_that_others_may_change_are_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "c.json", {"resources": []}, mode)
    with pytest.raises(HookError, match="may be changed by others than root"):
        load_resources(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_of_a_user_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "c.json", {"resources": []})
    os.chown(path, 65534, -1)
    with pytest.raises(HookError, match="may be changed by others than root"):
        load_resources(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HookError, match=r"c\.json: No such file"):
        load_resources(tmp_path / "c.json")


def test_settings_are_optional_and_lie_beside_the_hook(tmp_path: Path) -> None:
    assert load_settings(tmp_path) == Settings(config=tmp_path / "qrmi_config.json")
    written(tmp_path / "qpu_hook.json", {"timeout_s": 3, "state_dir": "/shared/qpu"}, 0o644)
    settings = load_settings(tmp_path)
    assert (settings.timeout_s, settings.state_dir) == (3, Path("/shared/qpu"))
    assert settings.config == tmp_path / "qrmi_config.json"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"timeout": 3}, "unknown key 'timeout'; known: timeout_s"),
        ({"timeout_s": "3"}, "timeout_s cannot be '3'"),
        ({"comment": 1}, "comment cannot be 1"),
        ({"environment": {"A": 1}}, "A is not a text of one line"),
    ],
)
def test_what_settings_cannot_say(tmp_path: Path, content: Any, reason: str) -> None:
    written(tmp_path / "qpu_hook.json", content, 0o644)
    with pytest.raises(HookError, match=reason):
        load_settings(tmp_path)


def test_the_examples_can_be_read(tmp_path: Path) -> None:
    for name in EXAMPLES:
        written(tmp_path / name, example(name))
    assert list(load_resources(load_settings(tmp_path).config)) == ["fresnel1", "EMU_FREE"]
