"""Moves measured shots from a QPU controller into compute kernels, and decisions back.

`serve` and `connect` are the two ends of a link; a name loads its module when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cudaq_target.coupler.control import ControlServer
    from cudaq_target.coupler.control_client import ControlClient, RemoteRun
    from cudaq_target.coupler.control_messages import Decision, RunState, RunStatus
    from cudaq_target.coupler.control_options import ControlOptions
    from cudaq_target.coupler.decode_server import DecodeServer
    from cudaq_target.coupler.decode_service import DecodeService
    from cudaq_target.coupler.decoder_config import read_decoders
    from cudaq_target.coupler.dispatch import (
        PENDING,
        RPC_INCREMENT,
        Call,
        Dispatcher,
        Function,
        Reply,
    )
    from cudaq_target.coupler.endpoint import Endpoint, parse_endpoint
    from cudaq_target.coupler.errors import (
        CouplerError,
        ProgramRefusedError,
        RemoteCallError,
        StreamLostError,
    )
    from cudaq_target.coupler.frame import Status
    from cudaq_target.coupler.gpu_server import GpuServer, serve_on_gpu
    from cudaq_target.coupler.handlers import handler, stateful_handler
    from cudaq_target.coupler.histogram import Histogram
    from cudaq_target.coupler.link import Answer, Link, Missing, connect
    from cudaq_target.coupler.link_errors import LinkError
    from cudaq_target.coupler.loops.estimators import (
        CorrectionEstimator,
        CostEstimator,
        EnergyEstimator,
        FrequencyEstimator,
    )
    from cudaq_target.coupler.loops.interface import Estimate, Experiment, LoopResult, LoopStep
    from cudaq_target.coupler.loops.loop import FeedbackLoop, replay_loop
    from cudaq_target.coupler.loops.policies import DecodeAndCorrect, Minimise, Sample
    from cudaq_target.coupler.loops.program import LoopProgram
    from cudaq_target.coupler.loops.shot_plans import Allocation, EarlyStop, FixedShots
    from cudaq_target.coupler.loops.tail import TailEstimator
    from cudaq_target.coupler.machine import (
        LazyMachine,
        LazyRun,
        Machine,
        MachineRun,
        ThreadedRun,
    )
    from cudaq_target.coupler.native_server import NativeServer
    from cudaq_target.coupler.payload import ShotBatch
    from cudaq_target.coupler.playback import PlaybackResult, play
    from cudaq_target.coupler.playback_callers import Discard, InProcess, OverLink
    from cudaq_target.coupler.record import (
        Damage,
        Durability,
        RecordedFrame,
        Recorder,
        read_recording,
        recorded,
        replay,
        resend,
    )
    from cudaq_target.coupler.schedule import parse_schedule
    from cudaq_target.coupler.security import (
        ClientSecurity,
        KeyPair,
        ServerSecurity,
        client_security,
        make_keys,
        server_security,
    )
    from cudaq_target.coupler.server import Server, serve
    from cudaq_target.coupler.shm import Dispatcher as NativeDispatcher
    from cudaq_target.coupler.shm import FrameReader, FrameSegment, FrameWriter
    from cudaq_target.coupler.shot_bulk import BulkPublisher, BulkSink
    from cudaq_target.coupler.shot_link import ShotPublisher, ShotSink
    from cudaq_target.coupler.shot_receiver import ShotReceiver
    from cudaq_target.coupler.shot_sender import FullPolicy, ShotSender
    from cudaq_target.coupler.sources import StimMemory, read_source
    from cudaq_target.coupler.transports.interface import TransportOptions

__all__ = [
    "PENDING",
    "RPC_INCREMENT",
    "Allocation",
    "Answer",
    "BulkPublisher",
    "BulkSink",
    "Call",
    "ClientSecurity",
    "ControlClient",
    "ControlOptions",
    "ControlServer",
    "CorrectionEstimator",
    "CostEstimator",
    "CouplerError",
    "Damage",
    "Decision",
    "DecodeAndCorrect",
    "DecodeServer",
    "DecodeService",
    "Discard",
    "Dispatcher",
    "Durability",
    "EarlyStop",
    "Endpoint",
    "EnergyEstimator",
    "Estimate",
    "Experiment",
    "FeedbackLoop",
    "FixedShots",
    "FrameReader",
    "FrameSegment",
    "FrameWriter",
    "FrequencyEstimator",
    "FullPolicy",
    "Function",
    "GpuServer",
    "Histogram",
    "InProcess",
    "KeyPair",
    "LazyMachine",
    "LazyRun",
    "Link",
    "LinkError",
    "LoopProgram",
    "LoopResult",
    "LoopStep",
    "Machine",
    "MachineRun",
    "Minimise",
    "Missing",
    "NativeDispatcher",
    "NativeServer",
    "OverLink",
    "PlaybackResult",
    "ProgramRefusedError",
    "RecordedFrame",
    "Recorder",
    "RemoteCallError",
    "RemoteRun",
    "Reply",
    "RunState",
    "RunStatus",
    "Sample",
    "Server",
    "ServerSecurity",
    "ShotBatch",
    "ShotPublisher",
    "ShotReceiver",
    "ShotSender",
    "ShotSink",
    "Status",
    "StimMemory",
    "StreamLostError",
    "TailEstimator",
    "ThreadedRun",
    "TransportOptions",
    "client_security",
    "connect",
    "handler",
    "make_keys",
    "parse_endpoint",
    "parse_schedule",
    "play",
    "read_decoders",
    "read_recording",
    "read_source",
    "recorded",
    "replay",
    "replay_loop",
    "resend",
    "serve",
    "serve_on_gpu",
    "server_security",
    "stateful_handler",
]

_MODULES = {
    "PENDING": "dispatch",
    "RPC_INCREMENT": "dispatch",
    "Allocation": "loops.shot_plans",
    "Answer": "link",
    "BulkPublisher": "shot_bulk",
    "BulkSink": "shot_bulk",
    "Call": "dispatch",
    "ClientSecurity": "security",
    "ControlClient": "control_client",
    "ControlOptions": "control_options",
    "ControlServer": "control",
    "CorrectionEstimator": "loops.estimators",
    "CostEstimator": "loops.estimators",
    "CouplerError": "errors",
    "Damage": "record",
    "Decision": "control_messages",
    "DecodeAndCorrect": "loops.policies",
    "DecodeServer": "decode_server",
    "DecodeService": "decode_service",
    "Discard": "playback_callers",
    "Dispatcher": "dispatch",
    "Durability": "record",
    "EarlyStop": "loops.shot_plans",
    "Endpoint": "endpoint",
    "EnergyEstimator": "loops.estimators",
    "Estimate": "loops.interface",
    "Experiment": "loops.interface",
    "FeedbackLoop": "loops.loop",
    "FixedShots": "loops.shot_plans",
    "FrameReader": "shm",
    "FrameSegment": "shm",
    "FrameWriter": "shm",
    "FrequencyEstimator": "loops.estimators",
    "FullPolicy": "shot_sender",
    "Function": "dispatch",
    "GpuServer": "gpu_server",
    "Histogram": "histogram",
    "InProcess": "playback_callers",
    "KeyPair": "security",
    "LazyMachine": "machine",
    "LazyRun": "machine",
    "Link": "link",
    "LinkError": "link_errors",
    "LoopProgram": "loops.program",
    "LoopResult": "loops.interface",
    "LoopStep": "loops.interface",
    "Machine": "machine",
    "MachineRun": "machine",
    "Minimise": "loops.policies",
    "Missing": "link",
    "NativeDispatcher": "shm:Dispatcher",
    "NativeServer": "native_server",
    "OverLink": "playback_callers",
    "PlaybackResult": "playback",
    "ProgramRefusedError": "errors",
    "RecordedFrame": "record",
    "Recorder": "record",
    "RemoteCallError": "errors",
    "RemoteRun": "control_client",
    "Reply": "dispatch",
    "RunState": "control_messages",
    "RunStatus": "control_messages",
    "Sample": "loops.policies",
    "Server": "server",
    "ServerSecurity": "security",
    "ShotBatch": "payload",
    "ShotPublisher": "shot_link",
    "ShotReceiver": "shot_receiver",
    "ShotSender": "shot_sender",
    "ShotSink": "shot_link",
    "Status": "frame",
    "StimMemory": "sources",
    "StreamLostError": "errors",
    "TailEstimator": "loops.tail",
    "ThreadedRun": "machine",
    "TransportOptions": "transports.interface",
    "client_security": "security",
    "connect": "link",
    "handler": "handlers",
    "make_keys": "security",
    "parse_endpoint": "endpoint",
    "parse_schedule": "schedule",
    "play": "playback",
    "read_decoders": "decoder_config",
    "read_recording": "record",
    "read_source": "sources",
    "recorded": "record",
    "replay": "record",
    "replay_loop": "loops.loop",
    "resend": "record",
    "serve": "server",
    "serve_on_gpu": "gpu_server",
    "server_security": "security",
    "stateful_handler": "handlers",
}


if not TYPE_CHECKING:  # or type checkers would take any name, submodules too, for an `object`

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, other_name = _MODULES[name].partition(":")
        value = getattr(import_module(f"{__name__}.{module}"), other_name or name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
