"""Endpoints: what is read, what is refused, and what strangers can reach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.coupler.endpoint import MAX_IPC_PATH_BYTES, Endpoint, Scheme, parse_endpoint
from cudaq_target.coupler.link_errors import EndpointError


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("shm://ring-0", Endpoint(Scheme.SHM, "ring-0")),
        ("ipc:///run/me/qpu", Endpoint(Scheme.IPC, "/run/me/qpu")),
        ("tcp://127.0.0.1:5555", Endpoint(Scheme.TCP, "127.0.0.1", 5555)),
        ("udp://localhost:0", Endpoint(Scheme.UDP, "localhost", 0)),
        ("tcp://[::1]:65535", Endpoint(Scheme.TCP, "::1", 65535)),
    ],
)
def test_endpoints_come_back(text, endpoint):
    assert parse_endpoint(text) == endpoint
    assert str(endpoint) == text


def test_relative_paths_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert parse_endpoint("ipc://qpu").place == str(tmp_path / "qpu")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp",
        "tcp:127.0.0.1:1",
        "http://localhost:1",
        "shm://",
        "shm://a/b",
        "shm://.hidden",
        "shm://" + "a" * 129,
        "ipc://",
        "ipc://@abstract",
        "ipc:///" + "a" * MAX_IPC_PATH_BYTES,
        "tcp://localhost",
        "tcp://:5555",
        "tcp://*:5555",
        "tcp://localhost:65536",
        "tcp://localhost:-1",
        "tcp://localhost:+1",
        "tcp://::1:5555",
        "udp://a b:1",
    ],
)
def test_other_texts_are_refused_with_a_remedy(text):
    with pytest.raises(EndpointError) as caught:
        parse_endpoint(text)
    assert repr(text) in str(caught.value)
    assert caught.value.remedy


@given(st.text(max_size=40), st.sampled_from(["", *Scheme]))
def test_any_text_is_an_endpoint_or_a_typed_error(text, scheme):
    whole = f"{scheme}://{text}" if scheme else text
    try:
        endpoint = parse_endpoint(whole)
    except EndpointError:
        return
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shm://a", True),
        ("ipc:///a", True),
        ("tcp://127.0.0.1:1", True),
        ("tcp://127.8.8.8:1", True),
        ("udp://[::1]:1", True),
        ("tcp://localhost:1", True),
        ("tcp://0.0.0.0:1", False),
        ("udp://[::]:1", False),
        ("tcp://192.0.2.1:1", False),
    ],
)
def test_loopback(text, expected):
    assert parse_endpoint(text).is_loopback() is expected


def test_an_unknown_host_says_so():
    with pytest.raises(EndpointError, match="unknown"):
        parse_endpoint("tcp://no.such.host.invalid:1").address()
