"""A bell for the thread that waits at a ROUTER: a client of its own, inside the process."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

import zmq

if TYPE_CHECKING:
    from typing import Any

_NAME_BYTES: Final = 16


class Alarm:
    """Sends an empty message to a ROUTER, so that one wait serves requests and wakes alike."""

    def __init__(self, context: zmq.Context[Any], router: zmq.Socket[bytes]) -> None:
        """Connect.

        Args:
            context: Of the ROUTER.
            router: Not used by another thread yet.
        """
        # Random, as names of clients are: nobody who guesses it could take its place.
        self.name: Final = b"\1" + os.urandom(_NAME_BYTES)
        place = f"inproc://wake-{self.name[1:].hex()}"
        router.bind(place)
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.ROUTING_ID, self.name)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(place)
        self._lock = threading.Lock()
        self._is_rung = False

    def ring(self) -> None:
        """Wake the thread; from any thread, and without effect after `close`."""
        with self._lock:
            if self._is_rung or self._socket.closed:
                return
            self._is_rung = True
            self._socket.send(b"", zmq.NOBLOCK)  # the only message on its way, so there is room

    def heard(self) -> None:
        """The message came; the next one will be sent again."""
        with self._lock:
            self._is_rung = False

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            self._socket.close(0)
