"""One-way bulk over ZeroMQ: PUSH at the sender, PULL at the receiver, frames without answers.

A full queue and a missing receiver stall the sender, which is told and counts it. What a broken
connection loses shows by the numbers of the frames and of the shots in them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Protocol

import zmq

from cudaq_target.coupler.closing import closed_on_failure
from cudaq_target.coupler.frame import (
    HEADER_BYTES,
    Refusal,
    function_id,
    read_request,
    write_request_header,
)
from cudaq_target.coupler.link_errors import LinkTimeoutError
from cudaq_target.coupler.payload import ShotBatch, read_shot_batch
from cudaq_target.coupler.security import check_bind
from cudaq_target.coupler.stream import SHOT_BATCH
from cudaq_target.coupler.transports.zap import AllowList, is_readable
from cudaq_target.coupler.transports.zmq_native import library_for
from cudaq_target.coupler.transports.zmq_sockets import (
    bind,
    demand_keys,
    set_client,
    set_common,
    show_keys,
    text_for_zmq,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from cudaq_target.coupler.endpoint import Endpoint
    from cudaq_target.coupler.security import ClientSecurity, ServerSecurity
    from cudaq_target.coupler.transports.interface import TransportOptions

# Short frames are joined up to this many bytes of rows: then the interpreter costs next to nothing.
_JOINED_WORDS: Final = 32_768
_BATCH_ID: Final = function_id(SHOT_BATCH)
_SESSION: Final = struct.Struct("<Q")
Received = tuple[int, int, int, "NDArray[np.uint64]"] | tuple[int, bytes]


class PushEnd(Protocol):
    """Sends batches; `native/zmq_bulk.hpp` or pyzmq's calls."""

    def send_rows(
        self,
        session: int,
        first_shot_id: int,
        n_qubits: int,
        rows: NDArray[np.uint64],
        max_batch: int,
    ) -> int:
        """Send rows in frames of at most `max_batch` shots; how many shots found room."""

    def send(self, function_id: int, payload: Buffer) -> bool:
        """Send another message; False where there is no room."""

    def counters(self) -> dict[str, int]:
        """Frames that were sent, and stalls."""


class PullEnd(Protocol):
    """Receives batches."""

    def receive(self, timeout_s: float) -> Received | None:
        """Consecutive shots, or function id and payload of another message."""

    def counters(self) -> dict[str, int]:
        """Frames that came, numbers that were skipped, and what was dropped."""


class PythonPush:
    """As `_zmq.Push`, a frame per call of pyzmq."""

    def __init__(self, socket: zmq.Socket[bytes], slot_bytes: int) -> None:
        """Use a connected PUSH."""
        self._socket = socket
        self._frame = memoryview(bytearray(slot_bytes))
        self._n_frames = 0
        self._n_stalls = 0

    def send_rows(
        self,
        session: int,
        first_shot_id: int,
        n_qubits: int,
        rows: NDArray[np.uint64],
        max_batch: int,
    ) -> int:
        """Send rows in frames; see `PushEnd.send_rows`."""
        for at in range(0, max(1, len(rows)), max_batch):
            some = rows[at : at + max_batch]
            batch = ShotBatch(session, first_shot_id + at, n_qubits, some)
            if not self.send(_BATCH_ID, batch.to_bytes()):
                return at
        return len(rows)

    def send(self, function_id: int, payload: Buffer) -> bool:
        """Send another message; see `PushEnd.send`."""
        body = memoryview(payload)
        n_bytes = HEADER_BYTES + body.nbytes
        number = self._n_frames & 0xFFFF_FFFF
        write_request_header(self._frame, function_id, body.nbytes, number, 0)
        self._frame[HEADER_BYTES:n_bytes] = body
        try:
            self._socket.send(self._frame[:n_bytes], zmq.NOBLOCK)
        except zmq.Again:
            self._n_stalls += 1
            return False
        self._n_frames += 1
        return True

    def counters(self) -> dict[str, int]:
        """Counts by the names of `_zmq.Push`."""
        return {
            "frames": self._n_frames,
            "backpressure_stalls": self._n_stalls,
            "lost_frames": 0,
            "bad_frames": 0,
        }


class PythonPull:
    """As `_zmq.Pull`, a frame per call of pyzmq."""

    def __init__(self, socket: zmq.Socket[bytes], slot_bytes: int) -> None:
        """Use a bound PULL."""
        self._socket = socket
        self._slot_bytes = slot_bytes
        self._expected: dict[int, int] = {}
        self._counted = dict.fromkeys(
            ("frames", "backpressure_stalls", "lost_frames", "bad_frames"), 0
        )

    def receive(self, timeout_s: float) -> Received | None:
        """The next well-formed frame; see `PullEnd.receive`."""
        if not is_readable(self._socket) and not self._socket.poll(int(1000 * timeout_s)):
            return None
        parts = self._socket.recv_multipart()
        header = read_request(parts[0], len(parts[0]), self._slot_bytes)
        if len(parts) > 1 or isinstance(header, Refusal) or header.arg_len < _SESSION.size:
            self._counted["bad_frames"] += 1
            return None
        payload = parts[0][HEADER_BYTES:]
        batch = read_shot_batch(payload) if header.function_id == _BATCH_ID else None
        if header.function_id == _BATCH_ID and (batch is None or batch.n_qubits == 0):
            self._counted["bad_frames"] += 1
            return None
        self._counted["frames"] += 1
        self._follow(_SESSION.unpack_from(payload)[0], header.request_id)
        if batch is None:
            return header.function_id, payload
        return batch.session, batch.first_shot_id, batch.n_qubits, batch.rows

    def counters(self) -> dict[str, int]:
        """Counts by the names of `_zmq.Pull`."""
        return dict(self._counted)

    def _follow(self, session: int, number: int) -> None:
        n_ahead = (number - self._expected.get(session, number)) & 0xFFFF_FFFF
        if n_ahead < 1 << 31:  # else its sender started anew, and counts from 0
            self._counted["lost_frames"] += n_ahead
        self._expected.pop(session, None)
        self._expected[session] = (number + 1) & 0xFFFF_FFFF
        if len(self._expected) > 64:
            del self._expected[next(iter(self._expected))]


class BulkWire:
    """A connected PUSH; used by one thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        options: TransportOptions,
        security: ClientSecurity | None,
        timeout_s: float,
    ) -> None:
        """Connect, and wait until the receiver has accepted.

        Raises:
            LinkTimeoutError: None came within `timeout_s`.
        """
        self.endpoint = endpoint
        self.max_frame_bytes = options.slot_bytes
        library = library_for(options)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        set_client(self._socket, options)
        if security is not None:
            show_keys(self._socket, options, security)
        self.end: PushEnd
        if library is None:
            self.end = PythonPush(self._socket, options.slot_bytes)
        else:
            from cudaq_target.coupler._zmq import Push  # noqa: PLC0415 - compiled

            self.end = Push(library, self._socket.underlying)
        with closed_on_failure(self.close):
            self._socket.connect(text_for_zmq(endpoint))
            # IMMEDIATE: there is no queue to write to before a receiver is there.
            if not self.await_room(timeout_s):
                raise LinkTimeoutError(str(endpoint), "the connection", timeout_s, 1)

    def await_room(self, timeout_s: float) -> bool:
        """Wait until a frame finds room."""
        return bool(self._socket.poll(int(1000 * timeout_s), zmq.POLLOUT))

    def close(self) -> None:
        """Give everything back; what is on its way is lost."""
        self._socket.close(0)
        self._context.term()


class BulkPort:
    """A bound PULL; used by one thread."""

    def __init__(
        self, endpoint: Endpoint, options: TransportOptions, security: ServerSecurity | None
    ) -> None:
        """Bind.

        Raises:
            InsecureEndpointError: Strangers could connect.
            AddressInUseError: Another server listens there.
            EndpointError: The place does not exist on this machine.
        """
        check_bind(endpoint, security)
        library = library_for(options)
        self._context = zmq.Context()
        self._zap = None if security is None else AllowList(self._context, security.allowed)
        self._socket = self._context.socket(zmq.PULL)
        set_common(self._socket, options)
        if security is not None:
            demand_keys(self._socket, options, security)
        self.end: PullEnd
        if library is None:
            self.end = PythonPull(self._socket, options.slot_bytes)
        else:
            from cudaq_target.coupler._zmq import Pull  # noqa: PLC0415 - compiled

            self.end = Pull(library, self._socket.underlying, _JOINED_WORDS)
        with closed_on_failure(self.close):
            self.endpoint = bind(self._socket, endpoint)

    def tend(self) -> None:
        """Answer handshakes."""
        if self._zap is not None:
            self._zap.serve()

    def close(self) -> None:
        """Give everything back."""
        self._socket.close(0)
        if self._zap is not None:
            self._zap.close()
        self._context.term()
