"""ZeroMQ's receive loop, native against a Python thread: round trips in turns, one server each.

For the round-trip benchmark: `compare(transport, n_bytes, n_calls)` gives the times of every
contender of `CONTENDERS`, taken in turns in one run; a row per handler is
`native loop / Python loop`, and "pyzmq" is the bare DEALER/ROUTER echo that both are measured by.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.report import ROOT
from benchmarks.timing import turns
from cudaq_target.coupler.dispatch import Call, Function, Reply
from cudaq_target.coupler.frame import HEADER_BYTES, Status
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shm import Dispatcher
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Handler, and how both ends move frames.
CONTENDERS: Final = {
    "native handler, native loop": ("native", "native"),
    "native handler, Python loop": ("native", "python"),
    "Python handler, native loop": ("python", "native"),
    "Python handler, Python loop": ("python", "python"),
}
PYZMQ: Final = "pyzmq"
_BLOCK: Final = 200


def compare(transport: str, n_bytes: int, n_calls: int) -> dict[str, NDArray[np.float64]]:
    """Round trips of each contender, in turns of 200 calls, payloads verified.

    Args:
        transport: "ipc" or "tcp".
        n_bytes: Length of the payload (bytes).
        n_calls: Timed calls per contender, rounded up to whole turns.

    Returns:
        Times of all calls by contender (us), shape (n_calls,); one turn of each is warm-up.
    """
    payload = bytes(i % 251 for i in range(n_bytes))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        process = _start(stack, {"transport": transport, "folder": folder, "n_bytes": n_bytes})
        assert process.stdout is not None
        places: dict[str, str] = json.loads(process.stdout.readline())
        calls = {name: _caller(stack, name, place, n_bytes) for name, place in places.items()}
        blocks = {name: partial(_turn, call, payload) for name, call in calls.items()}
        times = turns(blocks, -(-n_calls // _BLOCK), warm_ups=1)
        return {name: np.concatenate(taken) for name, taken in times.items()}


def _turn(call: Callable[[bytes], bytes], payload: bytes) -> NDArray[np.float64]:
    taken = np.empty(_BLOCK)
    gc.disable()
    try:
        for i in range(_BLOCK):
            start_ns = perf_counter_ns()
            answer = call(payload)
            taken[i] = (perf_counter_ns() - start_ns) / 1000
            if answer != payload:
                message = f"{len(answer)} bytes came back for {len(payload)}, or other ones"
                raise ValueError(message)
    finally:
        gc.enable()
    return taken


def _options(loop: str, n_bytes: int) -> TransportOptions:
    return TransportOptions(slot_bytes=max(512, HEADER_BYTES + n_bytes), n_slots=16, zeromq=loop)


def _caller(stack: ExitStack, name: str, place: str, n_bytes: int) -> Callable[[bytes], bytes]:
    if name == PYZMQ:
        return _bare_caller(stack, place)
    link = stack.enter_context(connect(place, options=_options(CONTENDERS[name][1], n_bytes)))
    return lambda payload: link.call("echo", payload, 5.0).result


def _bare_caller(stack: ExitStack, place: str) -> Callable[[bytes], bytes]:
    import zmq  # noqa: PLC0415 - this contender alone

    context = stack.enter_context(zmq.Context())
    dealer = stack.enter_context(context.socket(zmq.DEALER))
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.connect(place)

    def call(payload: bytes) -> bytes:
        dealer.send(payload)
        return bytes(dealer.recv())

    return call


def _start(stack: ExitStack, settings: dict[str, object]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.zeromq_loops", json.dumps(settings)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stack.callback(process.communicate)  # the end of its input ends it
    return process


def _echo(call: Call) -> Reply:
    n_bytes = len(call.arguments)
    call.result[:n_bytes] = call.arguments
    return Reply(Status.OK, n_bytes)


def _serve(stack: ExitStack, name: str, place: str, n_bytes: int) -> str:
    handler, loop = CONTENDERS[name]
    options = _options(loop, n_bytes)
    if handler == "python":
        table = [Function("echo", _echo)]
        return str(stack.enter_context(serve(table, place, options=options)).endpoint)
    dispatcher = Dispatcher(window=64)
    dispatcher.add_builtin("echo")
    return str(stack.enter_context(serve(dispatcher, place, options=options)).endpoint)


def _serve_bare(place: str) -> str:
    import zmq  # noqa: PLC0415 - this contender alone

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(place)

    def run() -> None:
        while True:
            router.send_multipart(router.recv_multipart())

    threading.Thread(target=run, daemon=True).start()
    return place


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(settings: dict[str, str | int]) -> None:
    """Serve every contender until the standard input ends."""
    folder, n_bytes = Path(str(settings["folder"])), int(settings["n_bytes"])
    is_ipc = settings["transport"] == "ipc"
    places = {
        name: f"ipc://{folder}/{i}" if is_ipc else f"tcp://127.0.0.1:{_free_port()}"
        for i, name in enumerate([*CONTENDERS, PYZMQ])
    }
    with ExitStack() as stack:
        for name in CONTENDERS:
            places[name] = _serve(stack, name, places[name], n_bytes)
        _serve_bare(places[PYZMQ])
        sys.stdout.write(json.dumps(places) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    os._exit(0)  # the bare echo waits in `recv`


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
