"""The allow-list of a CURVE server; ZeroMQ alone lets every client with any key in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import zmq
from zmq.utils import z85

if TYPE_CHECKING:
    from collections.abc import Iterable

ZAP_DOMAIN: Final = b"coupler"
_VERSION: Final = b"1.0"
_N_PARTS_CURVE: Final = 7


def is_readable(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message waits; a third of the price of a poll."""
    events = socket.getsockopt(zmq.EVENTS)
    return isinstance(events, int) and bool(events & zmq.POLLIN)


class AllowList:
    """Answers ZeroMQ's question about each new connection (ZAP, 27/ZAP in ZeroMQ's RFCs)."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], allowed: Iterable[str]) -> None:
        """Listen inside `context`, before its server binds.

        Args:
            context: The server's own.
            allowed: Public keys, 40 characters of Z85 each.
        """
        self._allowed = frozenset(z85.decode(key) for key in allowed)
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind("inproc://zeromq.zap.01")

    @property
    def underlying(self) -> int:
        """Address of the socket, for those who wait for its questions."""
        return int(self._socket.underlying)

    def serve(self) -> None:
        """Answer the questions that wait."""
        while is_readable(self._socket):
            parts = self._socket.recv_multipart()
            request_id = parts[1] if len(parts) > 1 else b""
            code, text = (b"200", b"OK") if self._accepts(parts) else (b"400", b"unknown key")
            self._socket.send_multipart([_VERSION, request_id, code, text, b"", b""])

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def _accepts(self, parts: list[bytes]) -> bool:
        # version, request id, domain, address, identity, mechanism, credentials
        if len(parts) != _N_PARTS_CURVE or parts[0] != _VERSION or parts[2] != ZAP_DOMAIN:
            return False
        return parts[5] == b"CURVE" and parts[6] in self._allowed
