"""
ZeroMQ without the interpreter, on sockets that pyzmq made; see `native/zmq_*.hpp`.
"""

from collections.abc import Sequence

import numpy
import numpy.typing
from typing_extensions import Buffer

import cudaq_target.coupler._native


class Library:
    """libzmq's functions, as this process has them already."""

    def __init__(self, path: str) -> None:
        """
        Find them.

        Args:
            path: A loaded library that is libzmq or links it.

        Raises:
            ValueError: It is not loaded, or shows no function of libzmq.
        """

    @property
    def version(self) -> tuple[int, int, int]:
        """Of libzmq."""

class Dealer(cudaq_target.coupler._native.FrameWire):
    """Frames of a client, on a DEALER that pyzmq made."""

    def __init__(self, library: Library, address: int, monitor: int, *, slot_bytes: int) -> None:
        """
        Use a socket.

        Args:
            library: libzmq.
            address: `zmq.Socket.underlying`.
            monitor: That of the socket's monitor; a message there ends a wait of `LinkCore`.
            slot_bytes: Longest frame (bytes).
        """

    def send(self, frame: Buffer, n_bytes: int) -> bool:
        """
        Send the first `n_bytes` without waiting.

        Returns:
            False where there is no room, or no connection.

        Raises:
            OSError: The socket is closed.
        """

    def receive_into(self, slot: Buffer, timeout_s: float) -> int | None:
        """
        Receive one frame, cut to the slot; messages of several parts are dropped and counted.

        Args:
            slot: Writable.
            timeout_s: How long to wait (s), 20 ms at most.

        Returns:
            Its length (bytes); None where none came.

        Raises:
            OSError: The socket is closed.
        """

    @property
    def n_multipart(self) -> int:
        """Messages of several parts."""

class Router:
    """Frames of a server, on a ROUTER that pyzmq made."""

    def __init__(self, library: Library, address: int) -> None:
        """
        Use a socket.

        Args:
            library: libzmq.
            address: `zmq.Socket.underlying`.
        """

    def receive_into(self, slot: Buffer, timeout_s: float) -> tuple[bytes, int] | None:
        """
        Receive one frame, cut to the slot; messages of several parts are dropped and counted.

        Args:
            slot: Writable.
            timeout_s: How long to wait (s), 20 ms at most.

        Returns:
            Name of the client and length (bytes); None where none came.

        Raises:
            OSError: The socket is closed.
        """

    def send(self, peer: bytes, frame: Buffer, n_bytes: int) -> bool:
        """
        Send the first `n_bytes` without waiting; an answer to a client that left is dropped and counted.

        Returns:
            False where its queue is full.

        Raises:
            OSError: The socket is closed.
        """

    @property
    def n_multipart(self) -> int:
        """Messages of several parts."""

    @property
    def n_unreachable(self) -> int:
        """Answers to clients that left."""

class Service:
    """Serves a ROUTER without the interpreter lock."""

    def __init__(self, library: Library, router: int, watched: Sequence[int], dispatcher: cudaq_target.coupler._native.Dispatcher, *, slot_bytes: int, max_waiting: int, max_sessions: int) -> None:
        """
        Take over a socket; the thread that calls `run` uses it alone from then on.

        Args:
            library: libzmq.
            router: `zmq.Socket.underlying` of the ROUTER.
            watched: Those of sockets whose messages make `run` return.
            dispatcher: Serves this socket alone.
            slot_bytes: Longest frame (bytes).
            max_waiting: Answers to slow clients.
            max_sessions: Clients to remember.
        """

    def run(self) -> bool:
        """
        Serve until `stop`, or until a watched socket has a message.

        Returns:
            Whether one has; False after `stop`.

        Raises:
            OSError: The socket is closed.
        """

    def stop(self) -> None:
        """Make `run` return within 20 ms; from any thread."""

    def finish(self, *, drain: bool, drain_s: float) -> None:
        """
        Answer what has arrived; after `run` returned.

        Args:
            drain: Whether by their functions; else with CANCELLED.
            drain_s: How long answers to slow clients may take to leave (s).
        """

    def counters(self) -> dict[str, int]:
        """
        Counts since construction, by the names of `interface.TransportCounters`.
        """

class Push:
    """Sends batches of shots, on a PUSH that pyzmq made."""

    def __init__(self, library: Library, address: int) -> None:
        """
        Use a socket.

        Args:
            library: libzmq.
            address: `zmq.Socket.underlying`.
        """

    def send_rows(self, session: int, first_shot_id: int, n_qubits: int, rows: numpy.typing.NDArray[numpy.uint64], max_batch: int) -> int:
        """
        Send shots in frames of at most `max_batch`, as many as there is room for.

        Args:
            session: The stream.
            first_shot_id: Number of the first row.
            n_qubits: Measured bits per shot.
            rows: Packed shots, shape (n_shots, ceil(n_qubits / 64)).
            max_batch: Shots per frame.

        Returns:
            How many shots libzmq took.

        Raises:
            OSError: The socket is closed.
        """

    def send(self, function_id: int, payload: Buffer) -> bool:
        """Send another message of the stream; False where there is no room."""

    def counters(self) -> dict[str, int]:
        """Frames that were sent, and times that there was no room."""

class Pull:
    """Receives batches of shots, on a PULL that pyzmq made."""

    def __init__(self, library: Library, address: int, max_words: int) -> None:
        """
        Use a socket.

        Args:
            library: libzmq.
            address: `zmq.Socket.underlying`.
            max_words: Consecutive frames are joined up to so many 64-bit words.
        """

    def receive(self, timeout_s: float) -> tuple[int, int, int, numpy.typing.NDArray[numpy.uint64]] | tuple[int, bytes] | None:
        """
        Receive consecutive shots of one stream, from one frame or from many.

        Args:
            timeout_s: How long to wait for the first frame (s).

        Returns:
            Stream, number of the first shot, qubits and rows of shape (n_shots, ceil(n_qubits / 64)); or function id and payload of another message; or None.

        Raises:
            OSError: The socket is closed.
        """

    def counters(self) -> dict[str, int]:
        """Frames that came, numbers that were skipped, and what was dropped."""
