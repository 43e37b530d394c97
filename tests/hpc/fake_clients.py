"""Clients of the loopback stand-ins, and programs to send them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import pulser

from cudaq_target.fakes import devices
from cudaq_target.fakes.cloud import FakeCloud
from cudaq_target.fakes.service import FakeService

LIMIT_S = 60.0
CORE = "/core-fast/api"
# Of a pair under strong blockade after a pulse that inverts a single atom: cos²(π/√2).
PAIR_IN_G = math.cos(math.pi / math.sqrt(2.0)) ** 2


def until(fulfilled: Callable[[], object]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not fulfilled():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def ask(
    service: FakeService,
    method: str,
    path: str,
    content: object = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> tuple[int, Any]:
    """Send one request on a connection of its own; returns status and JSON."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=LIMIT_S)
    try:
        sent = dict(headers or {})
        if content is not None:
            body = json.dumps(content).encode()
            sent.setdefault("Content-Type", "application/json")
        connection.request(method, path, body, sent)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def bearer(cloud: FakeCloud) -> dict[str, str]:
    return {"Authorization": f"Bearer {cloud.token}"}


def asymmetric(device_type: str = "EMU_FREE") -> pulser.Sequence:
    """Atom 0 alone, atoms 1 and 2 under blockade; the pulse inverts a single atom."""
    device = devices.device(device_type)
    register: Any = pulser.Register({"q0": (-30, 0), "q1": (5, 0), "q2": (10, 0)})
    if device.requires_layout:
        register = register.with_automatic_layout(device)
    sequence = pulser.Sequence(register, device)
    sequence.declare_channel("drive", "rydberg_global")
    sequence.add(pulser.Pulse.ConstantPulse(500, 2.0 * math.pi, 0.0, 0.0), "drive")
    return sequence


def parametrised() -> pulser.Sequence:
    """One atom, driven for `duration` ns."""
    sequence = pulser.Sequence(pulser.Register({"q0": (0, 0)}), devices.device("EMU_FREE"))
    sequence.declare_channel("drive", "rydberg_global")
    duration = sequence.declare_variable("duration", dtype=int)
    sequence.add(pulser.Pulse.ConstantPulse(duration, 2.0 * math.pi, 0.0, 0.0), "drive")
    return sequence


def batch_of(cloud: FakeCloud, **changed: object) -> dict[str, object]:
    """A request for a batch, with fields changed; a value of `...` leaves the field out."""
    request: dict[str, object] = {
        "sequence_builder": asymmetric().to_abstract_repr(),
        "jobs": [{"runs": 20}],
        "device_type": "EMU_FREE",
        "project_id": cloud.project_id,
        **changed,
    }
    return {name: value for name, value in request.items() if value is not ...}


@contextmanager
def sdk(cloud: FakeCloud, **given: Any) -> Iterator[Any]:
    """A client of pasqal-cloud that logs in with a password."""
    from pasqal_cloud.pasqal_cloud_client import PasqalCloudClient

    client = PasqalCloudClient(**(sdk_options(cloud) | given))
    try:
        yield client
    finally:
        client._client.session.close()


def sdk_options(cloud: FakeCloud) -> dict[str, Any]:
    from pasqal_cloud.endpoints import (
        AUTH0_TOKEN_PROVIDER_GRANT_TYPE,
        Endpoints,
        TokenProviderConf,
    )

    return {
        "username": cloud.account.username,
        "password": cloud.account.password,
        "project_id": cloud.project_id,
        "endpoints": Endpoints(core=cloud.core_url, account=cloud.account_url),
        "auth_config": TokenProviderConf(
            token_endpoint=cloud.token_url,
            public_client_id="public",
            audience="everybody",
            realm="pcs-users",
            grant_type=AUTH0_TOKEN_PROVIDER_GRANT_TYPE,
        ),
    }
