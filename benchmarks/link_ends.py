"""Echo servers in processes of their own, and the calls that reach them: ours and the peers'.

`python -m benchmarks.link_ends KIND ADDRESS BYTES [KEY_FOLDER]` serves until its input ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import ROOT
from cudaq_target.coupler.dispatch import Call, Function, Reply
from cudaq_target.coupler.frame import HEADER_BYTES, Status, function_id
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.security import client_security, make_keys, server_security
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shm import Client, Dispatcher, SlotRing
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Echo = Callable[[bytes], bytes]

_READY = "ready"
_STEP_BYTES = 128
_POLLING = ("shm-ring", "shm-native", "shm-python", "iceoryx2")
_SETTLE_S, _CONNECT_S = 0.3, 10.0


class PeerError(Exception):
    """A contender could not be started."""


def options(kind: str, n_bytes: int) -> TransportOptions:
    """Defaults, with longer slots for long payloads; both ends poll where the peer polls."""
    plain = TransportOptions(wait="busy" if kind in _POLLING else "adaptive")
    needed = -(-(n_bytes + HEADER_BYTES) // _STEP_BYTES) * _STEP_BYTES
    return replace(plain, slot_bytes=max(plain.slot_bytes, needed))


class Contender:
    """A server process with its caller; a server that polls is stopped while others are timed."""

    def __init__(self, process: subprocess.Popen[str], call: Echo, *, polls: bool) -> None:
        self._process = process
        self._polls = polls
        self.call = call
        self.rest()

    def wake(self) -> None:
        if self._polls:
            self._process.send_signal(signal.SIGCONT)

    def rest(self) -> None:
        if self._polls:
            self._process.send_signal(signal.SIGSTOP)


@contextmanager
def contender(kind: str, n_bytes: int) -> Iterator[Contender]:
    """Start a server and connect to it.

    Args:
        kind: A key of `CALLERS`.
        n_bytes: Payload each way.

    Raises:
        PeerError: Its package is missing, or its server did not start.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rtt-"))
        address = _address(kind, folder)
        keys = _keys(folder) if kind == "tcp-curve" else ()
        command = [sys.executable, "-m", "benchmarks.link_ends", kind, address, str(n_bytes)]
        process = subprocess.Popen(
            [*command, *keys[:1]],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(_end, process)
        assert process.stdout is not None
        if process.stdout.readline().strip() != _READY:
            raise PeerError(f"{kind}: {_last_words(process)}")
        call, close = CALLERS[kind](address, kind, n_bytes, *keys[1:])
        stack.callback(close)
        yield Contender(process, call, polls=kind in _POLLING)


def _end(process: subprocess.Popen[str]) -> None:
    """The end of its input ends a server."""
    process.send_signal(signal.SIGCONT)
    try:
        process.communicate(timeout=5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _last_words(process: subprocess.Popen[str]) -> str:
    try:
        lines = process.communicate(timeout=5.0)[1].strip().splitlines()
    except subprocess.TimeoutExpired:
        return "it says nothing"
    return lines[-1] if lines else f"exit code {process.returncode}"


def _address(kind: str, folder: str) -> str:
    own = f"rtt-{os.getpid()}-{kind}"
    if kind.startswith("shm"):
        return f"shm://{own}"
    if kind.startswith("tcp"):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    return {
        "pyzmq": f"ipc://{folder}/s",
        "iceoryx2": own,
        "zenoh": f"unixsock-stream/{folder}/s",
    }.get(kind, f"ipc://{folder}/s")


def _keys(folder: str) -> tuple[str, str]:
    names = ("server", "client")
    for name in names:
        make_keys(Path(folder), name)
    return folder, folder


# Servers: `start(address, n_bytes, keys)` gives what ends them.


def _dispatcher() -> Dispatcher:
    dispatcher = Dispatcher()
    dispatcher.add_builtin("echo")
    return dispatcher


def _echo(call: Call) -> Reply:
    n_bytes = len(call.arguments)
    call.result[:n_bytes] = call.arguments
    return Reply(Status.OK, n_bytes)


def _serve_ours(kind: str, address: str, n_bytes: int, keys: str | None) -> Callable[[], None]:
    security = None
    if keys is not None:
        security = server_security(Path(keys, "server.key_secret"), [Path(keys, "client.key")])
    chosen = options(kind, n_bytes)
    if kind.endswith("python"):
        return serve([Function("echo", _echo)], address, options=chosen, security=security).close
    return serve(_dispatcher(), address, options=chosen, security=security).close


def _serve_pyzmq(address: str) -> Callable[[], None]:
    import zmq  # noqa: PLC0415 - this contender alone

    router = zmq.Context.instance().socket(zmq.ROUTER)
    router.bind(address)

    def run() -> None:
        while True:
            router.send_multipart(router.recv_multipart())

    threading.Thread(target=run, daemon=True).start()
    return lambda: os._exit(0)  # the thread waits in `recv`


def _payload_type(n_bytes: int) -> Any:  # noqa: ANN401 - a class made for this length
    fields = {"_fields_": [("content", ctypes.c_uint8 * n_bytes)]}
    return type(f"Bytes{n_bytes}", (ctypes.Structure,), fields)


def _iceoryx2_service(address: str, n_bytes: int) -> tuple[Any, Any]:
    import iceoryx2  # noqa: PLC0415 - this contender alone

    iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
    node = iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)
    payload = _payload_type(n_bytes)
    name = iceoryx2.ServiceName.new(f"{address}-{n_bytes}")
    service = node.service_builder(name).request_response(payload, payload).open_or_create()
    return service, payload


def _serve_iceoryx2(address: str, n_bytes: int) -> Callable[[], None]:
    service, _ = _iceoryx2_service(address, n_bytes)
    server = service.server_builder().create()
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            request = server.receive()
            if request is not None:
                request.send_copy(request.payload().contents)
                request.delete()

    thread = threading.Thread(target=run)
    thread.start()

    def close() -> None:
        is_over.set()
        thread.join()
        server.delete()

    return close


def _zenoh_session(address: str, role: str) -> Any:  # noqa: ANN401 - typed where zenoh is
    import zenoh  # noqa: PLC0415 - this contender alone

    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("listen/endpoints", f'["{address}"]' if role == "listen" else "[]")
    config.insert_json5("connect/endpoints", f'["{address}"]' if role == "connect" else "[]")
    return zenoh.open(config)


def _serve_zenoh(address: str) -> Callable[[], None]:
    session = _zenoh_session(address, "listen")
    back = session.declare_publisher("rtt/back", express=True)
    session.declare_subscriber("rtt/forth", lambda sample: back.put(sample.payload))
    return session.close


# Callers: `(address, kind, n_bytes, …)` to a call and what closes it.


def _call_ring(address: str, kind: str, _: int) -> tuple[Echo, Callable[[], None]]:
    wait = options(kind, 0).wait
    client = Client(SlotRing.attach(address.removeprefix("shm://")), wait=wait)
    call, echo = client.call, function_id("echo")
    return (lambda payload: call(echo, payload)[1]), client.close


def _call_link(
    address: str, kind: str, n_bytes: int, keys: str | None = None
) -> tuple[Echo, Callable[[], None]]:
    security = None
    if keys is not None:
        security = client_security(Path(keys, "client.key_secret"), Path(keys, "server.key"))
    link = connect(address, options=options(kind, n_bytes), security=security)
    call = link.call
    return (lambda payload: call("echo", payload).result), link.close


def _call_pyzmq(address: str, *_: object) -> tuple[Echo, Callable[[], None]]:
    import zmq  # noqa: PLC0415 - this contender alone

    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.connect(address)
    send, receive = dealer.send, dealer.recv

    def call(payload: bytes) -> bytes:
        send(payload)
        return receive()

    return call, lambda: context.destroy(0)


def _call_iceoryx2(address: str, _: str, n_bytes: int) -> tuple[Echo, Callable[[], None]]:
    service, payload_type = _iceoryx2_service(address, n_bytes)
    client = service.client_builder().create()
    make, read = payload_type.from_buffer_copy, ctypes.string_at

    def call(payload: bytes) -> bytes:
        pending = client.send_copy(make(payload))
        response = pending.receive()
        while response is None:
            response = pending.receive()
        result = read(response.payload_ptr, n_bytes)
        response.delete()
        pending.delete()
        return result

    return call, client.delete


def _call_zenoh(address: str, *_: object) -> tuple[Echo, Callable[[], None]]:
    session = _zenoh_session(address, "connect")
    forth = session.declare_publisher("rtt/forth", express=True)
    back = session.declare_subscriber("rtt/back")
    until_s = time.monotonic() + _CONNECT_S
    while not forth.matching_status:
        if time.monotonic() > until_s:
            session.close()
            raise PeerError("zenoh: the two ends did not find each other")
        time.sleep(0.01)
    time.sleep(_SETTLE_S)  # the other direction is declared by then

    def call(payload: bytes) -> bytes:
        forth.put(payload)
        return back.recv().payload.to_bytes()

    return call, session.close


CALLERS: dict[str, Callable[..., tuple[Echo, Callable[[], None]]]] = {
    "shm-ring": _call_ring,
    "shm-ring-adaptive": _call_ring,
    "shm-native": _call_link,
    "shm-python": _call_link,
    "ipc-native": _call_link,
    "ipc-python": _call_link,
    "tcp-plain": _call_link,
    "tcp-curve": _call_link,
    "pyzmq": _call_pyzmq,
    "iceoryx2": _call_iceoryx2,
    "zenoh": _call_zenoh,
}


def main(kind: str, address: str, n_bytes: int, keys: str | None = None) -> None:
    """Serve until the input ends."""
    if kind == "pyzmq":
        close = _serve_pyzmq(address)
    elif kind == "iceoryx2":
        close = _serve_iceoryx2(address, n_bytes)
    elif kind == "zenoh":
        close = _serve_zenoh(address)
    else:
        close = _serve_ours(kind, address, n_bytes, keys)
    print(_READY, flush=True)
    sys.stdin.read()
    close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
