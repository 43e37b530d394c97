"""Frames on ZeroMQ sockets by pyzmq's own calls: what `native/bind_zmq.cpp` does natively."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import zmq

from cudaq_target.coupler.transports.zap import is_readable

if TYPE_CHECKING:
    from typing_extensions import Buffer

# A blocked `recv` is left this often to look at the connection: a loss shows within this time.
LOOK_AROUND_MS: Final = 20
_MAX_NAME_BYTES: Final = 255


class DealerEnd(Protocol):
    """A client's frames; errors of the socket are `OSError`s."""

    @property
    def n_multipart(self) -> int:
        """Messages of several parts, which were dropped."""

    def send(self, frame: Buffer, n_bytes: int) -> bool:
        """Send without waiting; False where there is no room or no connection."""

    def receive_into(self, slot: Buffer, timeout_s: float) -> int | None:
        """Receive one frame, cut to the slot; waits for at most `LOOK_AROUND_MS`."""


class RouterEnd(Protocol):
    """A server's frames; errors of the socket are `OSError`s."""

    @property
    def n_multipart(self) -> int:
        """Messages of several parts, which were dropped."""

    @property
    def n_unreachable(self) -> int:
        """Answers to clients that left, which were dropped."""

    def send(self, peer: bytes, frame: Buffer, n_bytes: int) -> bool:
        """Send without waiting; False where the client's queue is full."""

    def receive_into(self, slot: Buffer, timeout_s: float) -> tuple[bytes, int] | None:
        """Receive one frame, cut to the slot; waits for at most `LOOK_AROUND_MS`."""


class _TimedReceiver:
    """`recv_into` with a limit in time, without a poll in front of every message."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._timeout_ms = LOOK_AROUND_MS

    def into(self, buffer: memoryview, timeout_s: float) -> int | None:
        """Length of the next part (bytes); None where none came within `LOOK_AROUND_MS`."""
        if timeout_s <= 0.0 and not is_readable(self._socket):
            return None
        timeout_ms = min(LOOK_AROUND_MS, max(1, int(1000 * timeout_s)))
        if timeout_ms != self._timeout_ms:
            self._socket.setsockopt(zmq.RCVTIMEO, timeout_ms)
            self._timeout_ms = timeout_ms
        try:
            return self._socket.recv_into(buffer)
        except zmq.Again:
            return None

    def drop_rest(self) -> bool:
        """Discard further parts of the message; whether there were any."""
        found = False
        while self._socket.getsockopt(zmq.RCVMORE):
            self._socket.recv_into(bytearray(1))
            found = True
        return found


class PythonDealer:
    """A DEALER; see `DealerEnd`."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        """Use a socket whose RCVTIMEO is `LOOK_AROUND_MS`."""
        self._socket = socket
        self._receiver = _TimedReceiver(socket)
        self.n_multipart = 0

    def send(self, frame: Buffer, n_bytes: int) -> bool:
        """Send without waiting; see `DealerEnd.send`."""
        try:
            self._socket.send(memoryview(frame)[:n_bytes], zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def receive_into(self, slot: Buffer, timeout_s: float) -> int | None:
        """Receive one frame; see `DealerEnd.receive_into`."""
        landing = memoryview(slot)
        n_bytes = self._receiver.into(landing, timeout_s)
        if n_bytes is None:
            return None
        if self._receiver.drop_rest():
            self.n_multipart += 1
            return None
        return min(n_bytes, len(landing))


class PythonRouter:
    """A ROUTER; see `RouterEnd`."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        """Use a socket whose RCVTIMEO is `LOOK_AROUND_MS`."""
        self._socket = socket
        self._receiver = _TimedReceiver(socket)
        self._name = memoryview(bytearray(_MAX_NAME_BYTES))
        self.n_multipart = 0
        self.n_unreachable = 0

    def send(self, peer: bytes, frame: Buffer, n_bytes: int) -> bool:
        """Send without waiting; see `RouterEnd.send`."""
        try:
            self._socket.send(peer, zmq.SNDMORE | zmq.NOBLOCK)
            self._socket.send(memoryview(frame)[:n_bytes], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self.n_unreachable += 1
        return True

    def receive_into(self, slot: Buffer, timeout_s: float) -> tuple[bytes, int] | None:
        """Receive one frame; see `RouterEnd.receive_into`."""
        n_name = self._receiver.into(self._name, timeout_s)
        if n_name is None:
            return None
        landing = memoryview(slot)
        n_bytes = self._socket.recv_into(landing)
        if self._receiver.drop_rest():
            self.n_multipart += 1
            return None
        return bytes(self._name[:n_name]), min(n_bytes, len(landing))
