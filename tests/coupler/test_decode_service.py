"""Decoders at one endpoint or one each, and the lines of cudaq-qec's decoding server."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from cudaq_target.coupler.decode_server import (
    enqueue_arguments,
    get_corrections_arguments,
    reset_arguments,
)
from cudaq_target.coupler.decode_service import DecodeService
from cudaq_target.coupler.decoder_config import read_decoders
from cudaq_target.coupler.errors import DecoderEndpointsError
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.link_errors import AddressInUseError
from tests.coupler.decoders_yaml import decoders_yaml
from tests.coupler.ends import TRANSPORTS, endpoint_of

LIMIT_S = 20.0


def decoded(link, decoder_id, bits):
    """Reset, enqueue, get: three calls."""
    calls = [
        ("reset_decoder", reset_arguments(decoder_id)),
        ("enqueue_syndromes", enqueue_arguments(decoder_id, 0, np.array(bits, dtype=np.uint8))),
        ("get_corrections", get_corrections_arguments(decoder_id, len(bits), reset=True)),
    ]
    answers = [link.call(name, arguments, LIMIT_S) for name, arguments in calls]
    assert [answer.status for answer in answers] == [0, 0, 0]
    return answers[-1].result


def test_each_decoder_has_a_port_of_its_own_by_default():
    service = DecodeService(read_decoders(decoders_yaml(2)))
    with service:
        first, second = (place.port for place in service.endpoints)
        assert first != second
        assert service.ready_line() == (
            f"QEC_DECODING_SERVER_READY port={first} transport=udp ring0={first} ring1={second} "
            f"endpoint0=udp://127.0.0.1:{first} endpoint1=udp://127.0.0.1:{second}"
        )
        for decoder_id, place in enumerate(service.endpoints):
            with connect(place) as link:
                assert decoded(link, decoder_id, (0, 1, 0)) == bytes([0b010])
        with connect(service.endpoints[1]) as link:
            decoded(link, 1, (1, 0, 0))
        assert service.is_running
    assert not service.is_running
    assert service.final_lines() == [
        "QEC_DECODING_SERVER_RING decoder=0 dispatched=3",
        "QEC_DECODING_SERVER_RING decoder=1 dispatched=6",
        "QEC_DECODING_SERVER_DISPATCHED count=9",
    ]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_one_endpoint_for_all_decoders(transport, tmp_path):
    decoders = read_decoders(decoders_yaml(3))
    with DecodeService(decoders, [endpoint_of(transport, tmp_path)]) as service:
        (place,) = set(service.endpoints)
        port = place.port if transport in {"tcp", "udp"} else 0
        assert service.ready_line().startswith(
            f"QEC_DECODING_SERVER_READY port={port} transport={transport} "
            f"ring0={port} ring1={port} ring2={port} endpoint0={place} "
        )
        with connect(place) as link:
            for decoder_id in (2, 0):
                assert decoded(link, decoder_id, (1, 1, 0)) == bytes([0b011])
    assert service.final_lines()[0].endswith("decoder=0 dispatched=3")
    assert service.final_lines()[1].endswith("decoder=1 dispatched=0")
    assert service.final_lines()[3] == "QEC_DECODING_SERVER_DISPATCHED count=6"


def test_a_decoder_may_be_called_at_every_endpoint_at_once(tmp_path):
    """Two threads of servers share one decoder: every round counts once, none is torn."""
    n_shots = 200
    places = [endpoint_of("ipc", tmp_path), "tcp://127.0.0.1:0"]
    with DecodeService(read_decoders(decoders_yaml(2)), places) as service:

        def enqueue(place):
            bits = np.array([0, 1, 0], dtype=np.uint8)
            with connect(place) as link:
                for _ in range(n_shots):
                    link.call("enqueue_syndromes", enqueue_arguments(0, 0, bits), LIMIT_S)

        threads = [threading.Thread(target=enqueue, args=(one,)) for one in service.endpoints]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with connect(service.endpoints[1]) as link:
            arguments = get_corrections_arguments(0, 3, reset=True)
            assert link.call("get_corrections", arguments, LIMIT_S).result == b"\0"
    assert service.final_lines()[0].endswith(f"dispatched={2 * n_shots + 1}")


@pytest.mark.parametrize(("n_decoders", "n_endpoints"), [(3, 2), (1, 2), (0, 0)])
def test_endpoints_that_do_not_fit(n_decoders, n_endpoints):
    decoders = read_decoders(decoders_yaml(3))[:n_decoders]
    with pytest.raises(DecoderEndpointsError, match=f"{n_endpoints} endpoints for {n_decoders}"):
        DecodeService(decoders, ["udp://127.0.0.1:0"] * n_endpoints)


def test_nothing_is_left_where_one_endpoint_is_taken(tmp_path):
    decoders = read_decoders(decoders_yaml(2))
    places = [f"ipc://{tmp_path}/a", f"ipc://{tmp_path}/b"]
    tmp_path.chmod(0o700)
    with DecodeService(decoders[:1], places[1:]), pytest.raises(AddressInUseError):
        DecodeService(decoders, places)
    with DecodeService(decoders, places) as service:
        assert service.is_running


@pytest.mark.parametrize("kind", ["union_find", "pymatching"])
def test_decoders_of_graphs_are_served_by_name(kind):
    line = "[ 0, -1, 1, -1, 2, -1 ]"
    chain = "[ 0, 1, -1, 1, 2, -1, 2, 3, -1 ]"
    text = (
        f"decoders:\n  - id: 0\n    type: {kind}\n    block_size: 4\n    syndrome_size: 3\n"
        f"    H_sparse: {chain}\n    O_sparse: {line}\n    D_sparse: {line}\n"
        "    decoder_custom_args:\n      error_rate_vec: [ 0.01, 0.01, 0.01, 0.01 ]\n"
    )
    with (
        DecodeService(read_decoders(text), ["udp://127.0.0.1:0"]) as service,
        connect(service.endpoints[0]) as link,
    ):
        assert decoded(link, 0, (1, 1, 0)) == bytes([0b010])
        assert decoded(link, 0, (1, 0, 0)) == bytes([0b001])
        assert decoded(link, 0, (0, 0, 1)) == bytes([0b000])
