"""Moves measured shots from a QPU controller into compute kernels, and decisions back.

`serve` and `connect` are the two ends of a link; a name loads its module when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cudaq_target.coupler.control_client import ControlClient
    from cudaq_target.coupler.decode_server import DecodeServer
    from cudaq_target.coupler.dispatch import RPC_INCREMENT, Call, Dispatcher, Function, Reply
    from cudaq_target.coupler.endpoint import Endpoint, parse_endpoint
    from cudaq_target.coupler.errors import CouplerError
    from cudaq_target.coupler.frame import Status
    from cudaq_target.coupler.link import Answer, Link, Missing, connect
    from cudaq_target.coupler.link_errors import LinkError
    from cudaq_target.coupler.machine import Machine, ThreadedRun
    from cudaq_target.coupler.native_server import NativeServer
    from cudaq_target.coupler.payload import ShotBatch
    from cudaq_target.coupler.record import Recorder
    from cudaq_target.coupler.security import (
        ClientSecurity,
        KeyPair,
        ServerSecurity,
        client_security,
        make_keys,
        server_security,
    )
    from cudaq_target.coupler.server import Server, serve
    from cudaq_target.coupler.shot_link import ShotPublisher, ShotSink
    from cudaq_target.coupler.shot_receiver import ShotReceiver
    from cudaq_target.coupler.shot_sender import FullPolicy, ShotSender
    from cudaq_target.coupler.transports.interface import TransportOptions

__all__ = [
    "RPC_INCREMENT",
    "Answer",
    "Call",
    "ClientSecurity",
    "ControlClient",
    "CouplerError",
    "DecodeServer",
    "Dispatcher",
    "Endpoint",
    "FullPolicy",
    "Function",
    "KeyPair",
    "Link",
    "LinkError",
    "Machine",
    "Missing",
    "NativeServer",
    "Recorder",
    "Reply",
    "Server",
    "ServerSecurity",
    "ShotBatch",
    "ShotPublisher",
    "ShotReceiver",
    "ShotSender",
    "ShotSink",
    "Status",
    "ThreadedRun",
    "TransportOptions",
    "client_security",
    "connect",
    "make_keys",
    "parse_endpoint",
    "serve",
    "server_security",
]

_MODULES = {
    "RPC_INCREMENT": "dispatch",
    "Answer": "link",
    "Call": "dispatch",
    "ClientSecurity": "security",
    "ControlClient": "control_client",
    "CouplerError": "errors",
    "DecodeServer": "decode_server",
    "Dispatcher": "dispatch",
    "Endpoint": "endpoint",
    "FullPolicy": "shot_sender",
    "Function": "dispatch",
    "KeyPair": "security",
    "Link": "link",
    "LinkError": "link_errors",
    "Machine": "machine",
    "Missing": "link",
    "NativeServer": "native_server",
    "Recorder": "record",
    "Reply": "dispatch",
    "Server": "server",
    "ServerSecurity": "security",
    "ShotBatch": "payload",
    "ShotPublisher": "shot_link",
    "ShotReceiver": "shot_receiver",
    "ShotSender": "shot_sender",
    "ShotSink": "shot_link",
    "Status": "frame",
    "ThreadedRun": "machine",
    "TransportOptions": "transports.interface",
    "client_security": "security",
    "connect": "link",
    "make_keys": "security",
    "parse_endpoint": "endpoint",
    "serve": "server",
    "server_security": "security",
}


if not TYPE_CHECKING:  # or type checkers would take any name, submodules too, for an `object`

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
