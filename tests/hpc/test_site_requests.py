from __future__ import annotations

import os
import pwd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.site.config import HookError, Resource
from cudaq_target.site.requests import (
    NO_LIMIT_S,
    Request,
    sge_request,
    slurm_request,
    slurm_seconds,
)
from cudaq_target.site.state import Grant

USER = pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    ("gres", "names"),
    [
        ("gres:qpu:fresnel1:1", ("fresnel1",)),
        ("gres/qpu:fresnel1=1", ("fresnel1",)),
        ("gres:qpu:fresnel1", ("fresnel1",)),
        ("gres:gpu:a100:2,qpu:EMU_FREE:1,qpu:fresnel1:1", ("EMU_FREE", "fresnel1")),
        ("gres/qpu:a=1,gres/qpu:b=1,gres/qpu:a=1", ("a", "b")),
        ("gres:gpu:2", ()),
        ("N/A", ()),
        ("", ()),
    ],
)
def test_gres_of_old_and_new_versions(gres: str, names: tuple[str, ...]) -> None:
    assert slurm_request(f"7|5:00|{gres}|(null)\n", "7", 1000).names == names


def test_comments_ask_where_the_operator_lets_them() -> None:
    record = "7|5:00|gres:qpu:a:1|run 3 | qpu=b,a,c please\n"
    assert slurm_request(record, "7", 1000).names == ("a", "b", "c")
    assert slurm_request(record, "7", 1000, comment=False).names == ("a",)
    assert slurm_request("7|5:00|N/A|noqpu=b", "7", 1000).names == ()


def test_only_the_job_s_own_line_counts() -> None:
    record = "8|1:00|gres:qpu:other:1|\n7|UNLIMITED|gres:qpu:own:1|\n"
    assert slurm_request(record, "7", 5) == Request("7", 5, ("own",), NO_LIMIT_S)


def test_a_qpu_without_name_and_an_unknown_job_are_refused() -> None:
    with pytest.raises(HookError, match="--gres=qpu:NAME"):
        slurm_request("7|5:00|gres:qpu:1|\n", "7", 1000)
    with pytest.raises(HookError, match="does not know job 7"):
        slurm_request("8|5:00|gres:qpu:a:1|\n", "7", 1000)


@given(st.integers(0, 40), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_time_limits(days: int, hours: int, minutes: int, seconds: int) -> None:
    total = ((24 * days + hours) * 60 + minutes) * 60 + seconds
    assert slurm_seconds(f"{days}-{hours:02}:{minutes:02}:{seconds:02}") == total
    if not days:
        assert slurm_seconds(f"{hours}:{minutes:02}:{seconds:02}") == total
        if not hours:
            assert slurm_seconds(f"{minutes}:{seconds:02}") == total


@pytest.mark.parametrize("limit", ["UNLIMITED", "INVALID", "NOT_SET", ""])
def test_no_time_limit(limit: str) -> None:
    assert slurm_seconds(limit) == NO_LIMIT_S


def qstat(**asked: str) -> str:
    entries = "".join(
        f"<qstat_l_requests><CE_name>{name}</CE_name><CE_stringval>{value}</CE_stringval>"
        "</qstat_l_requests>"
        for name, value in asked.items()
    )
    return (
        "<?xml version='1.0'?><detailed_job_info><djob_info><element><JB_env_list>x</JB_env_list>"
        f"<JB_hard_resource_list>{entries}</JB_hard_resource_list></element></djob_info>"
        "</detailed_job_info>"
    )


def test_requests_of_grid_engine() -> None:
    config = f"job_owner={USER}\nqueue=all.q\n"
    record = qstat(qpu="fresnel1", qpu_slots="1", h_rt="3600")
    assert sge_request(config, "12.3", record) == Request("12.3", os.getuid(), ("fresnel1",), 3600)
    assert sge_request(config, "1", qstat(h_rt="1:0:0")) == Request("1", os.getuid(), (), 3600)
    assert sge_request(config, "1", qstat(qpu="a+b")) == Request("1", os.getuid(), ("a", "b"))
    with pytest.raises(HookError, match="qstat: "):
        sge_request(config, "1", "no such job")


RESOURCES = {
    "fresnel1": Resource("fresnel1", "pasqal-local", {"QRMI_WARDEN_URL": "http://w"}),
    "EMU_FREE": Resource("EMU_FREE", "pasqal-cloud", {"QRMI_PASQAL_CLOUD_AUTH_TOKEN": "s"}),
}


def test_a_grant_names_both_families_and_lists_of_one_length() -> None:
    request = Request("7", 1000, ("EMU_FREE", "fresnel1"), 300)
    seen = Grant.of(request, RESOURCES, {"fresnel1": "session"}).seen_from({})
    assert seen == {
        "QRMI_JOB_QPU_RESOURCES": "EMU_FREE,fresnel1",
        "QRMI_JOB_QPU_TYPES": "pasqal-cloud,pasqal-local",
        "SLURM_JOB_QPU_RESOURCES": "EMU_FREE,fresnel1",
        "SLURM_JOB_QPU_TYPES": "pasqal-cloud,pasqal-local",
        "QRMI_LIST_DELIMITER": ",",
        "QRMI_JOB_ID": "7",
        "QRMI_JOB_UID": "1000",
        "EMU_FREE_QRMI_JOB_TIMEOUT_SECONDS": "300",
        "EMU_FREE_QRMI_PASQAL_CLOUD_AUTH_TOKEN": "s",
        "fresnel1_QRMI_JOB_TIMEOUT_SECONDS": "300",
        "fresnel1_QRMI_JOB_ACQUISITION_TOKEN": "session",
        "fresnel1_QRMI_WARDEN_URL": "http://w",
    }


def test_the_user_s_settings_win_and_lists_and_tokens_do_not() -> None:
    request = Request("7", 1000, ("fresnel1",), 300)
    own = {
        "fresnel1_QRMI_WARDEN_URL": "http://mine",
        "fresnel1_QRMI_JOB_ACQUISITION_TOKEN": "stale",
        "QRMI_JOB_QPU_RESOURCES": "other",
        "QRMI_LIST_DELIMITER": ";",
    }
    seen = Grant.of(request, RESOURCES, {"fresnel1": "session"}).seen_from(own)
    assert "fresnel1_QRMI_WARDEN_URL" not in seen
    assert seen["fresnel1_QRMI_JOB_ACQUISITION_TOKEN"] == "session"
    assert seen["QRMI_JOB_QPU_RESOURCES"] == "fresnel1"
    assert seen["QRMI_LIST_DELIMITER"] == ","
