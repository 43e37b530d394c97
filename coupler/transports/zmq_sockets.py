"""What every ZeroMQ socket here has in common: options, keys, addresses.

Every option that decides what happens under faults is set here and nowhere left to a default;
`coupler.md` measured why.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM
from socket import socket as plain_socket
from typing import TYPE_CHECKING, Final

import zmq

from cudaq_target.coupler.endpoint import Endpoint, Scheme, parse_endpoint
from cudaq_target.coupler.link_errors import AddressInUseError, EndpointError
from cudaq_target.coupler.security import private_directory
from cudaq_target.coupler.transports.zap import ZAP_DOMAIN
from cudaq_target.coupler.transports.zmq_ends import LOOK_AROUND_MS

if TYPE_CHECKING:
    from cudaq_target.coupler.security import ClientSecurity, ServerSecurity
    from cudaq_target.coupler.transports.interface import TransportOptions

RECONNECT_FIRST_MS, RECONNECT_LAST_MS = 20, 320
HANDSHAKE_MS: Final = 2000
TCP_BUFFER_BYTES: Final = 1 << 20
FAILED_HANDSHAKE: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_LONGEST_HANDSHAKE_BYTES: Final = 1024
# Of a CURVE message: its name (8), a nonce (8), the authenticator (16), flags (1); RFC 26.
_ENVELOPE_BYTES: Final = 33


def _high_water_mark(options: TransportOptions) -> int:
    """Messages per queue: a backstop, as windows rule among well-behaved ends.

    ZeroMQ looks once per millisecond whether a full queue was emptied, and says so when half of it
    was; a mark near the window would refuse what fits. A reader whose queue is full hears no
    heartbeats either, and would be taken for dead.
    """
    return 4 * options.n_slots + 256


def set_common(socket: zmq.Socket[bytes], options: TransportOptions) -> None:
    """Set what both ends of every socket here have in common."""
    socket.setsockopt(zmq.SNDHWM, _high_water_mark(options))
    socket.setsockopt(zmq.RCVHWM, _high_water_mark(options))
    socket.setsockopt(zmq.MAXMSGSIZE, options.slot_bytes)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.HEARTBEAT_IVL, options.heartbeat_interval_ms)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, options.heartbeat_timeout_ms)
    socket.setsockopt(zmq.HEARTBEAT_TTL, options.heartbeat_timeout_ms)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.SNDBUF, TCP_BUFFER_BYTES)
    socket.setsockopt(zmq.RCVBUF, TCP_BUFFER_BYTES)
    socket.setsockopt(zmq.RCVTIMEO, LOOK_AROUND_MS)
    socket.setsockopt(zmq.IPV6, 1)


def _admit_handshake(socket: zmq.Socket[bytes], options: TransportOptions) -> None:
    """Let what CURVE adds pass: to each frame its envelope, and the commands of its handshake.

    libzmq applies its limit of message lengths to both. A frame that is longer than a slot is
    then cut on receipt, and refused because its length disagrees with its header.
    """
    sealed_bytes = options.slot_bytes + _ENVELOPE_BYTES
    socket.setsockopt(zmq.MAXMSGSIZE, max(sealed_bytes, _LONGEST_HANDSHAKE_BYTES))


def set_client(socket: zmq.Socket[bytes], options: TransportOptions) -> None:
    """Set what those that connect have in common; nothing is queued for a missing server."""
    set_common(socket, options)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_FIRST_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_LAST_MS)


def show_keys(
    socket: zmq.Socket[bytes], options: TransportOptions, security: ClientSecurity
) -> None:
    """Make a socket a client with keys."""
    _admit_handshake(socket, options)
    socket.setsockopt(zmq.CURVE_SERVERKEY, security.server_public.encode())
    socket.setsockopt(zmq.CURVE_PUBLICKEY, security.keys.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, security.keys.secret.encode())


def demand_keys(
    socket: zmq.Socket[bytes], options: TransportOptions, security: ServerSecurity
) -> None:
    """Make a socket a server that asks the `AllowList` of its context about each client."""
    _admit_handshake(socket, options)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, security.keys.secret.encode())
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def bind(socket: zmq.Socket[bytes], endpoint: Endpoint) -> Endpoint:
    """Bind a socket; the endpoint with the port that was chosen.

    Raises:
        AddressInUseError: Another server listens there.
        EndpointError: The place does not exist on this machine.
    """
    if endpoint.scheme is Scheme.IPC:
        _remove_stale(endpoint)
    try:
        socket.bind(text_for_zmq(endpoint))
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise AddressInUseError(str(endpoint)) from None
        reason = f"no server can listen there ({error.strerror})"
        raise EndpointError(str(endpoint), reason, "Give an address of this machine") from error
    if endpoint.scheme is Scheme.IPC:
        return endpoint
    bound = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(bound, bytes)
    return Endpoint(
        endpoint.scheme, endpoint.place, parse_endpoint(bound.decode().rstrip("\0")).port
    )


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file of a server at `ipc`, which ZeroMQ leaves behind.

    Attributes:
        path: Where it is.
        number: The file's own, so that nobody removes that of the next server.
    """

    path: Path
    number: int

    @staticmethod
    def of(endpoint: Endpoint) -> SocketFile | None:
        """The file of a server that listens; None on other transports."""
        if endpoint.scheme is not Scheme.IPC:
            return None
        path = Path(endpoint.place)
        return SocketFile(path, path.stat().st_ino)

    def remove(self) -> None:
        """Remove it, where it is still there."""
        with suppress(OSError):
            if self.path.stat().st_ino == self.number:
                self.path.unlink()


def _remove_stale(endpoint: Endpoint) -> None:
    """Remove the socket file of a dead server; ZeroMQ would take it from a live one, too."""
    path = Path(endpoint.place)
    if not path.exists():
        return
    if not path.is_socket():
        raise EndpointError(str(endpoint), "another file is there", "Choose another path")
    with plain_socket(AF_UNIX, SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(endpoint.place)
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                path.unlink()
            return
        except OSError as error:
            reason = f"the socket there cannot be reached ({error.strerror or error})"
            raise EndpointError(str(endpoint), reason, "Choose another path") from error
    raise AddressInUseError(str(endpoint))


def text_for_zmq(endpoint: Endpoint) -> str:
    """An endpoint in ZeroMQ's words; makes the folder of a socket file."""
    if endpoint.scheme is Scheme.IPC:
        private_directory(endpoint)
        return str(endpoint)
    address = endpoint.address()
    host = f"[{address}]" if ":" in address else address
    return f"tcp://{host}:{endpoint.port or '*'}"
