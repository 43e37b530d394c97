"""The variables that schedulers set in jobs, and what lacks or contradicts itself in them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.cloud.environment import names, resource
from cudaq_target.cloud.errors import CredentialsError, JobEnvironmentError
from cudaq_target.errors import MachineError

CANARY = "canary-4711"
CLOUD = "EMU_FREE_QRMI_PASQAL_CLOUD_"
LISTED = {"QRMI_JOB_QPU_RESOURCES": "EMU_FREE", "QRMI_JOB_QPU_TYPES": "pasqal-cloud"}
PROJECT = {f"{CLOUD}PROJECT_ID": "demo"}
LOCAL = {
    "QRMI_JOB_QPU_RESOURCES": "fresnel1",
    "QRMI_JOB_QPU_TYPES": "pasqal-local",
    "fresnel1_QRMI_WARDEN_URL": "http://127.0.0.1:8006",
}


def refusal(
    kind: type[MachineError], environ: Mapping[str, str], machine: str = "qrmi"
) -> MachineError:
    with pytest.raises(kind) as caught:
        resource(machine, environ)
    assert CANARY not in f"{caught.value} {caught.value!r}"
    return caught.value


@pytest.mark.parametrize("family", ["QRMI", "SLURM"])
def test_either_family_names_resources(family: str) -> None:
    environ = {key.replace("QRMI_JOB", f"{family}_JOB"): value for key, value in LOCAL.items()}
    assert names(environ) == ("fresnel1",)
    assert resource("qrmi", environ).machine == "qrmi:fresnel1"


def test_qrmi_own_family_wins() -> None:
    environ = LOCAL | {"SLURM_JOB_QPU_RESOURCES": "old", "SLURM_JOB_QPU_TYPES": "pasqal-local"}
    assert names(environ) == ("fresnel1",)
    assert names({"QRMI_JOB_QPU_RESOURCES": "", "QRMI_JOB_QPU_TYPES": ""}) == names({}) == ()


@given(st.lists(st.from_regex(r"[a-z][a-z0-9_.-]{0,9}", fullmatch=True), min_size=1, max_size=4))
def test_lists_are_read_as_qrmi_reads_them(found: list[str]) -> None:
    qrmi = pytest.importorskip("qrmi")
    environ = {
        "QRMI_LIST_DELIMITER": ":",
        "QRMI_JOB_QPU_RESOURCES": ":".join(found),
        "QRMI_JOB_QPU_TYPES": ":".join(["pasqal-local"] * len(found)),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        assert qrmi.get_job_qpu_resources_and_types()[0] == list(names())


def test_several_resources_are_chosen_by_name() -> None:
    environ = (
        LOCAL
        | PROJECT
        | {
            "QRMI_JOB_QPU_RESOURCES": "fresnel1, EMU_FREE",
            "QRMI_JOB_QPU_TYPES": "pasqal-local,pasqal-cloud",
            f"{CLOUD}AUTH_TOKEN": CANARY,
        }
    )
    assert resource("qrmi", environ).name == "fresnel1"
    chosen = resource("qrmi:EMU_FREE", environ)
    assert (chosen.type, chosen.secrets) == ("pasqal-cloud", (CANARY,))
    assert CANARY not in repr(chosen)
    error = refusal(JobEnvironmentError, environ, "qrmi:fresnel2")
    assert str(error).endswith("no resource 'fresnel2'. It has: qrmi:fresnel1, qrmi:EMU_FREE")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "this process was given no QPU. Ask the scheduler"),
        (LISTED | {"QRMI_JOB_QPU_TYPES": ""}, r"lists 1 resources .*QRMI_JOB_QPU_TYPES lists 0"),
        (LISTED | {"QRMI_JOB_QPU_RESOURCES": "a,b"}, r"2 resources \(a, b\).* 1 types \(pasqal-c"),
        (LISTED | {"QRMI_JOB_QPU_RESOURCES": "a,,b"}, "has an empty entry"),
        (LISTED | {"QRMI_LIST_DELIMITER": ""}, "QRMI_LIST_DELIMITER: it is empty"),
        (LISTED | {"QRMI_JOB_QPU_RESOURCES": "EMU_SV"}, "QRMI knows no device 'EMU_SV'"),
        (LISTED | {"QRMI_JOB_QPU_TYPES": "ibm-quantum-system"}, "type 'ibm-quantum-system', which"),
        (LISTED | {"QRMI_JOB_QPU_TYPES": "iqm-server"}, "Use a resource of type pasqal-cloud or"),
        (
            {key: LOCAL[key] for key in LOCAL if "URL" not in key},
            "fresnel1_QRMI_WARDEN_URL: it is not set",
        ),
        (LOCAL | {"QRMI_JOB_UID": "me"}, "QRMI_JOB_UID: 'me' is no user"),
    ],
)
def test_variables_that_describe_no_qpu(environ: dict[str, str], words: str) -> None:
    assert re.search(words, str(refusal(JobEnvironmentError, environ)))


def test_what_the_hook_says_is_shown_and_secrets_in_it_are_not() -> None:
    said = f"QPU fresnel1 is not accessible (token {CANARY})"
    environ = LOCAL | {"QRMI_PLUGIN_ERROR": said, "x_QRMI_PASQAL_CLOUD_AUTH_TOKEN": CANARY}
    error = refusal(JobEnvironmentError, environ)
    assert "could not give this job its QPU: QPU fresnel1 is not accessible (token ***)" in str(
        error
    )


def test_a_local_resource_has_its_session_and_its_user() -> None:
    session = {"fresnel1_QRMI_JOB_ACQUISITION_TOKEN": CANARY, "QRMI_JOB_UID": "12"}
    found = resource("qrmi:fresnel1", LOCAL | session | {"QRMI_JOB_ID": "7"})
    assert found.settings == {
        "QRMI_WARDEN_URL": "http://127.0.0.1:8006",
        "QRMI_JOB_UID": "12",
        "QRMI_JOB_ID": "7",
        "QRMI_JOB_ACQUISITION_TOKEN": CANARY,
    }
    assert CANARY not in repr(found)
    bare = resource("qrmi", LOCAL | {"JOB_ID": "8"})
    assert bare.session is None
    assert bare.settings["QRMI_JOB_UID"] == str(os.getuid())
    assert bare.settings["QRMI_JOB_ID"] == "8"


def test_an_old_name_of_the_address_does() -> None:
    environ = {key.replace("WARDEN_URL", "URL"): value for key, value in LOCAL.items()}
    assert resource("qrmi", environ).service == "http://127.0.0.1:8006"
    hidden = {"fresnel1_QRMI_WARDEN_URL": f"http://me:{CANARY}@host:8006/"}
    assert resource("qrmi", LOCAL | hidden).service == "http://host:8006"


@pytest.mark.parametrize(
    "login",
    [
        {f"{CLOUD}AUTH_TOKEN": CANARY},
        {f"{CLOUD}CLIENT_ID": "me", f"{CLOUD}CLIENT_SECRET": CANARY},
        {"PASQAL_USERNAME": "me", "PASQAL_PASSWORD": CANARY},
    ],
)
def test_each_way_to_log_in(login: dict[str, str]) -> None:
    found = resource("qrmi", LISTED | PROJECT | login)
    assert set(login.values()) <= set(found.settings.values())
    assert found.secrets == (CANARY,)
    assert found.renews_tokens == (len(login) == 2)
    assert found.service == "https://apis.pasqal.cloud"


@pytest.mark.parametrize(
    ("login", "words"),
    [
        ({}, "no credentials for resource 'EMU_FREE' are set"),
        ({f"{CLOUD}AUTH_TOKEN": "  "}, "no credentials"),
        ({"EMU_FREE_PASQAL_PASSWORD": CANARY}, "no credentials"),
        ({f"{CLOUD}CLIENT_SECRET": CANARY}, f"{CLOUD}CLIENT_ID is not set, its partner is"),
        ({"PASQAL_PASSWORD": CANARY}, "PASQAL_USERNAME is not set"),
    ],
)
def test_logins_that_are_none(login: dict[str, str], words: str) -> None:
    assert words in str(refusal(CredentialsError, LISTED | PROJECT | login))


def test_the_project_must_be_known() -> None:
    error = refusal(CredentialsError, LISTED | {f"{CLOUD}AUTH_TOKEN": CANARY})
    assert f"{CLOUD}PROJECT_ID is not set" in str(error)


def written(root: Path, text: str, mode: int = 0o600) -> str:
    path = root / ".pasqal" / "config"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(mode)
    return str(root)


def test_files_fill_in_what_variables_leave_out(tmp_path: Path) -> None:
    text = f'; ours\nusername=me\npassword = "{CANARY}"\nproject_id=filed\n'
    root = written(tmp_path / "root", text)
    own = written(tmp_path / "own", f"token={CANARY}2\nproject_id=own\n")
    home = written(tmp_path / "home", f"token={CANARY}3\nproject_id=home\n")
    places = {"PASQAL_CONFIG_ROOT": root, "EMU_FREE_PASQAL_CONFIG_ROOT": own, "HOME": home}
    projects = []
    for _ in range(3):
        found = resource("qrmi", LISTED | places)
        projects.append(found.settings["QRMI_PASQAL_CLOUD_PROJECT_ID"])
        places.pop(next(iter(places)))
    assert projects == ["filed", "own", "home"]
    found = resource("qrmi", LISTED | PROJECT | {"PASQAL_CONFIG_ROOT": root})
    assert found.settings["QRMI_PASQAL_CLOUD_PROJECT_ID"] == "demo"
    assert found.secrets == (CANARY,)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (f"token={CANARY}\nproject_id=demo\n", 0o644, "others may read it"),
        (f"token={CANARY}\nproject_id=demo\npasword={CANARY}\n", 0o600, "line 3 of"),
        (f"token={CANARY}\nproject_id=demo\nregion=sa\n", 0o600, "region 'sa'"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, mode: int, words: str) -> None:
    root = written(tmp_path, text, mode)
    error = refusal(CredentialsError, LISTED | {"PASQAL_CONFIG_ROOT": root})
    assert words in str(error)
