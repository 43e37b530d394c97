"""Servers of the contenders, in processes of their own.

`python -m benchmarks.link_servers SPEC ADDRESS [KEY_FOLDER]` says where it listens, prints what it
has counted on each line of input, and serves until its input ends.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import link_peers
from benchmarks.link_spec import OURS, Spec, on_core
from cudaq_target.coupler.clock import StageTimes
from cudaq_target.coupler.decode_server import DecodeServer
from cudaq_target.coupler.dispatch import Call, Dispatcher, Function, Reply
from cudaq_target.coupler.endpoint import Endpoint, Scheme, parse_endpoint
from cudaq_target.coupler.frame import HEADER_BYTES, Status
from cudaq_target.coupler.security import ServerSecurity, server_security
from cudaq_target.coupler.server import Server, serve
from cudaq_target.coupler.shm import Dispatcher as NativeDispatcher
from cudaq_target.kernels.decoders.measured import lookup_decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from cudaq_target.coupler.transports.interface import Port, TransportOptions

    Report = Callable[[], dict[str, Any]]

LOOK_UP_BITS = 8
_IDLE_S = 0.02
_RESPONSE_MAGIC = bytes.fromhex("53515543")  # little-endian 0x43555153, CUDA-Q Realtime
_STAGES = ("parse", "decode", "respond")


def echo(call: Call) -> Reply:
    n_bytes = len(call.arguments)
    call.result[:n_bytes] = call.arguments
    return Reply(Status.OK, n_bytes)


def decode_functions(n_bits: int) -> tuple[Function, ...]:
    """A decode server: as many observables as measurements, identity matrices."""
    identity = [index for k in range(n_bits) for index in (k, -1)]
    decoder = lookup_decoder(identity, identity, identity, n_bits, max_errors=n_bits)
    return DecodeServer([decoder]).functions()


def native_dispatcher() -> NativeDispatcher:
    """Compiled functions: `echo`, and a table with its own index as correction."""
    import numpy as np  # noqa: PLC0415 - this server alone

    dispatcher = NativeDispatcher()
    dispatcher.add_builtin("echo")
    table = np.arange(1 << LOOK_UP_BITS, dtype=np.uint8).reshape(-1, 1)
    dispatcher.add_look_up("look_up", table, LOOK_UP_BITS)
    return dispatcher


def open_port(place: Endpoint, options: TransportOptions, security: ServerSecurity | None) -> Port:
    """The server's end of a transport, without a server."""
    if place.scheme is Scheme.UDP:
        from cudaq_target.coupler.transports.udp import UdpPort  # noqa: PLC0415 - one transport

        return UdpPort(place, options)
    if place.scheme is Scheme.SHM:
        from cudaq_target.coupler.transports.shared_memory import ShmPort  # noqa: PLC0415

        return ShmPort(place, options)
    from cudaq_target.coupler.transports.zeromq import ZmqPort  # noqa: PLC0415

    return ZmqPort(place, options, security)


class Forwarder:
    """Hands every frame back as an answer, unread: the transport without a dispatcher."""

    def __init__(self, port: Port) -> None:
        self.endpoint = port.endpoint
        self._port = port
        self._is_over = threading.Event()
        self._n_forwarded = 0
        self._thread = threading.Thread(target=self._run, name="forwarder")
        self._thread.start()

    def counters(self) -> dict[str, int]:
        return self._port.counters.as_dict() | {"answered": self._n_forwarded}

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()
        self._port.close()

    def _run(self) -> None:
        slot = memoryview(bytearray(self._port.slot_bytes))
        while not self._is_over.is_set():
            arrived = self._port.receive_into(slot, _IDLE_S)
            if arrived is None:
                self._port.tend()
                continue
            peer, n_bytes = arrived
            slot[:8] = _RESPONSE_MAGIC + bytes(4)  # status OK where the function id was
            used = HEADER_BYTES + int.from_bytes(slot[8:12], "little")
            self._port.send(peer, slot, min(used, n_bytes))
            self._n_forwarded += 1


class StampedPort:
    """A port that notes when a request is there and when its answer is away."""

    def __init__(self, port: Port, times: StageTimes, clock: Callable[[], int]) -> None:
        self._port = port
        self._times = times
        self._clock = clock
        self.arrived_ns = 0
        self.handled_ns = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - everything else is the port's
        return getattr(self._port, name)

    def receive_into(self, slot: memoryview, timeout_s: float) -> tuple[Hashable, int] | None:
        arrived = self._port.receive_into(slot, timeout_s)
        self.arrived_ns = self._clock()
        return arrived

    def send(self, peer: Hashable, slot: memoryview, n_bytes: int) -> None:
        self._port.send(peer, slot, n_bytes)
        if self.handled_ns:
            self._times.add(2, self._clock() - self.handled_ns)
            self.handled_ns = 0

    def stamped(self, function: Function) -> Function:
        """The function, with a stamp at either end of its handler."""

        def handler(call: Call) -> Reply:
            begun_ns = self._clock()
            reply = function.handler(call)
            self.handled_ns = self._clock()
            self._times.add(0, begun_ns - self.arrived_ns)
            self._times.add(1, self.handled_ns - begun_ns)
            return reply

        return Function(function.name, handler, function.min_arg_bytes, function.max_arg_bytes)


def start_staged(port: Port, options: TransportOptions) -> tuple[Server, Report]:
    """A decode server whose first function, which decodes, is stamped."""
    from time import perf_counter_ns  # noqa: PLC0415 - this server alone

    times = StageTimes(_STAGES, capacity=1 << 20)
    stamps = StampedPort(port, times, perf_counter_ns)
    enqueue, *others = decode_functions(LOOK_UP_BITS)
    functions = [stamps.stamped(enqueue), *others]
    dispatcher = Dispatcher(functions, slot_bytes=options.slot_bytes)
    server = Server(dispatcher, stamps, options.n_slots)  # type: ignore[arg-type]

    def report() -> dict[str, Any]:
        return {
            stage: {
                "n": found.n_values,
                "mean": 1e-3 * found.mean,
                **{f"p{p:g}": 1e-3 * found.percentile(p) for p in (50, 90, 99)},
                "max": 1e-3 * (found.maximum or 0),
            }
            for stage, found in times.harvest().items()
            if found.n_values
        }

    return server, report


def start(spec: Spec, address: str, keys: str | None) -> tuple[str, Report, Callable[[], object]]:
    """Start a server of ours.

    Returns:
        Where it listens, what it has counted, and what ends it.
    """
    security = None
    if keys is not None:
        security = server_security(Path(keys, "server.key_secret"), [Path(keys, "client.key")])
    options = spec.options()
    stages: Report = dict
    if spec.handler in {"forward", "stages"}:
        port = open_port(parse_endpoint(address), options, security)
        if spec.handler == "forward":
            server: Any = Forwarder(port)
        else:
            server, stages = start_staged(port, options)
    else:
        what: Any = native_dispatcher()
        if spec.handler == "python":
            what = [Function("echo", echo)]
        elif spec.handler == "decode":
            what = decode_functions(LOOK_UP_BITS)
        server = serve(what, address, options=options, security=security)
    return (
        str(server.endpoint),
        lambda: {"counters": server.counters(), "stages": stages()},
        server.close,
    )


def main(text: str, address: str, keys: str | None = None) -> None:
    """Serve until the input ends."""
    spec = Spec.from_json(text)
    with on_core(spec.core):
        if spec.transport in OURS:
            place, report, close = start(spec, address, keys)
        else:
            place, report = address, dict
            close = link_peers.SERVERS[spec.transport](address, spec.n_bytes)
    print(json.dumps({"address": place}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(report()), flush=True)
    close()


if __name__ == "__main__":
    main(*sys.argv[1:])
