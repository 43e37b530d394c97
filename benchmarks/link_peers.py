"""Echo servers and callers of the peers: bare pyzmq, iceoryx2 and zenoh, as their packages come.

Servers are `start(address, n_bytes)` and give what ends them; callers are `call(address, n_bytes)`
and give one round trip and what ends it.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Close = Callable[[], object]
    Echo = Callable[[bytes], bytes]

_SETTLE_S, _CONNECT_S = 0.3, 10.0


class PeerError(Exception):
    """A contender could not be started."""


def address_of(peer: str, folder: str) -> str:
    """A place for the server of a peer."""
    return {
        "pyzmq": f"ipc://{folder}/s",
        "iceoryx2": f"bench-{os.getpid()}-{time.monotonic_ns()}",
        "zenoh": f"unixsock-stream/{folder}/s",
    }[peer]


def serve_pyzmq(address: str, _: int) -> Close:
    import zmq  # noqa: PLC0415 - this contender alone

    router = zmq.Context.instance().socket(zmq.ROUTER)
    router.bind(address)

    def run() -> None:
        while True:
            router.send_multipart(router.recv_multipart())

    threading.Thread(target=run, daemon=True).start()
    return lambda: os._exit(0)  # the thread waits in `recv`


def call_pyzmq(address: str, _: int) -> tuple[Echo, Close]:
    import zmq  # noqa: PLC0415 - this contender alone

    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.connect(address)
    send, receive = dealer.send, dealer.recv

    def call(payload: bytes) -> bytes:
        send(payload)
        return receive()

    return call, lambda: context.destroy(0)


def bytes_type(n_bytes: int) -> Any:  # noqa: ANN401 - a class made for this length
    fields = {"_fields_": [("content", ctypes.c_uint8 * n_bytes)]}
    return type(f"Bytes{n_bytes}", (ctypes.Structure,), fields)


def iceoryx2_builder(address: str) -> Any:  # noqa: ANN401 - typed where iceoryx2 is
    """Builder of a service between processes, and its node, which must outlive it."""
    import iceoryx2  # noqa: PLC0415 - this contender alone

    iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
    node = iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)
    return node.service_builder(iceoryx2.ServiceName.new(address))


def _iceoryx2_service(address: str, n_bytes: int) -> tuple[Any, Any]:
    payload = bytes_type(n_bytes)
    builder = iceoryx2_builder(f"{address}-{n_bytes}")
    return builder.request_response(payload, payload).open_or_create(), payload


def serve_iceoryx2(address: str, n_bytes: int) -> Close:
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


def call_iceoryx2(address: str, n_bytes: int) -> tuple[Echo, Close]:
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


def zenoh_session(address: str, role: str) -> Any:  # noqa: ANN401 - typed where zenoh is
    """A session between two processes of this machine, which looks for no others."""
    import zenoh  # noqa: PLC0415 - this contender alone

    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("listen/endpoints", f'["{address}"]' if role == "listen" else "[]")
    config.insert_json5("connect/endpoints", f'["{address}"]' if role == "connect" else "[]")
    return zenoh.open(config)


def wait_until_matched(publisher: Any) -> None:  # noqa: ANN401 - typed where zenoh is
    """Wait until a subscriber is known.

    Raises:
        PeerError: None came.
    """
    until_s = time.monotonic() + _CONNECT_S
    while not publisher.matching_status:
        if time.monotonic() > until_s:
            raise PeerError("zenoh: the two ends did not find each other")
        time.sleep(0.01)
    time.sleep(_SETTLE_S)  # the other direction is declared by then


def zenoh_publisher(session: Any, key: str, *, express: bool) -> Any:  # noqa: ANN401
    """A publisher that waits where its queue is full; by default it drops what does not fit."""
    import zenoh  # noqa: PLC0415 - this contender alone

    block = zenoh.CongestionControl.BLOCK
    return session.declare_publisher(key, express=express, congestion_control=block)


def serve_zenoh(address: str, _: int) -> Close:
    session = zenoh_session(address, "listen")
    back = zenoh_publisher(session, "rtt/back", express=True)
    session.declare_subscriber("rtt/forth", lambda sample: back.put(sample.payload))
    return session.close


def call_zenoh(address: str, _: int) -> tuple[Echo, Close]:
    session = zenoh_session(address, "connect")
    forth = zenoh_publisher(session, "rtt/forth", express=True)
    back = session.declare_subscriber("rtt/back")
    try:
        wait_until_matched(forth)
    except PeerError:
        session.close()
        raise

    def call(payload: bytes) -> bytes:
        forth.put(payload)
        return back.recv().payload.to_bytes()

    return call, session.close


SERVERS: dict[str, Callable[[str, int], Close]] = {
    "pyzmq": serve_pyzmq,
    "iceoryx2": serve_iceoryx2,
    "zenoh": serve_zenoh,
}
CALLERS: dict[str, Callable[[str, int], tuple[Echo, Close]]] = {
    "pyzmq": call_pyzmq,
    "iceoryx2": call_iceoryx2,
    "zenoh": call_zenoh,
}
