"""The slot and flag ring in plain Python: the reference that the native one is tested against.

The layout is that of `native/slot_ring.hpp`. Plain stores of Python are ordered strongly enough
where the ring is private to one process, or on x86-64; elsewhere use the native ring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.errors import FrameTooLongError, RingFormatError
from cudaq_target.coupler.frame import HEADER_BYTES, RequestHeader, write_request_header

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

LINE_BYTES: Final = 128
CONTROL_BYTES: Final = 4096
SESSION_SHIFT: Final = 48
IN_FLIGHT: Final = 0xEEEE_EEEE_EEEE_EEEE
ERROR_TAG: Final = 0xDEAD


def stamp_of_request(session: int, number: int) -> int:
    """Value of a flag: never 0 and no sentinel, and another one for each use of a slot.

    Args:
        session: 1 to 4095.
        number: Of the request, from 0.

    >>> hex(stamp_of_request(1, 0))
    '0x1000000000001'
    """
    return session << SESSION_SHIFT | (number + 1) & ((1 << SESSION_SHIFT) - 1)


@dataclass(frozen=True, slots=True)
class Slots:
    """Flags and slots of a ring.

    Attributes:
        rx_flags: Stamps of requests, shape (n_slots,), 0 where there is none.
        tx_flags: Stamps of answers, shape (n_slots,).
        rx_data: Requests, shape (n_slots, rx_stride_bytes).
        tx_data: Answers, shape (n_slots, tx_stride_bytes).
    """

    rx_flags: NDArray[np.uint64]
    tx_flags: NDArray[np.uint64]
    rx_data: NDArray[np.uint8]
    tx_data: NDArray[np.uint8]

    @property
    def n_slots(self) -> int:
        """Number of slots."""
        return len(self.rx_flags)


def private_slots(n_slots: int, stride_bytes: int) -> Slots:
    """Make an empty ring in private memory.

    Args:
        n_slots: Any number from 1 on.
        stride_bytes: A multiple of 128.

    Raises:
        RingFormatError: The geometry is out of range.
    """
    if n_slots < 1:
        raise RingFormatError("n_slots", n_slots, "at least 1")
    if stride_bytes < LINE_BYTES or stride_bytes % LINE_BYTES:
        raise RingFormatError("stride (bytes)", stride_bytes, "a multiple of 128")
    flags = np.zeros((2, n_slots), dtype=np.uint64)
    data = np.zeros((2, n_slots, stride_bytes), dtype=np.uint8)
    return Slots(flags[0], flags[1], data[0], data[1])


def slots_of(
    memory: NDArray[np.uint8], n_slots: int, rx_stride_bytes: int, tx_stride_bytes: int
) -> Slots:
    """View the ring inside a shared segment.

    Args:
        memory: The whole segment, shape (n_bytes,).
        n_slots: As the segment was made.
        rx_stride_bytes: The same.
        tx_stride_bytes: The same.
    """
    flag_bytes = -(-8 * n_slots // LINE_BYTES) * LINE_BYTES
    rx_at = CONTROL_BYTES + 2 * flag_bytes
    tx_at = rx_at + n_slots * rx_stride_bytes
    flags = memory[CONTROL_BYTES:rx_at].view(np.uint64).reshape(2, -1)[:, :n_slots]
    rx_data = memory[rx_at:tx_at].reshape(n_slots, rx_stride_bytes)
    tx_data = memory[tx_at:].reshape(n_slots, tx_stride_bytes)
    return Slots(flags[0], flags[1], rx_data, tx_data)


class RingClient:
    """The requesting side; none of its methods waits."""

    def __init__(self, slots: Slots, session: int = 1) -> None:
        """Start a session on an empty ring.

        Args:
            slots: The ring.
            session: 1 to 4095.
        """
        self._slots = slots
        self._session = session
        self._next = 0
        self._oldest = 0
        self.n_stale = 0

    def send(self, function: int, arguments: Buffer, timestamp_ns: int = 0) -> int | None:
        """Send a request.

        Args:
            function: The `function_id`.
            arguments: Argument bytes.
            timestamp_ns: Echoed in the answer (ns).

        Returns:
            The number of the request; None when its slot is in use.

        Raises:
            FrameTooLongError: The arguments do not fit into a slot.
        """
        body = bytes(arguments)
        k = self._next % self._slots.n_slots
        slot = self._slots.rx_data[k]
        if HEADER_BYTES + len(body) > len(slot):
            raise FrameTooLongError(HEADER_BYTES + len(body), len(slot))
        if self._next - self._oldest == self._slots.n_slots or self._slots.rx_flags[k]:
            return None
        number = self._next
        slot[HEADER_BYTES : HEADER_BYTES + len(body)] = np.frombuffer(body, dtype=np.uint8)
        header = RequestHeader(function, len(body), number & 0xFFFF_FFFF, timestamp_ns)
        write_request_header(memoryview(slot), *header)
        self._slots.rx_flags[k] = stamp_of_request(self._session, number)
        self._next += 1
        return number

    def receive(self) -> tuple[int, bytes] | None:
        """Take the answer to the oldest request.

        Returns:
            Its number, and the whole answer slot; None when there is no answer yet. An answer of
            an earlier generation is dropped and counted.
        """
        if self._next == self._oldest:
            return None
        number = self._oldest
        k = number % self._slots.n_slots
        flag = int(self._slots.tx_flags[k])
        if flag in {0, IN_FLIGHT}:
            return None
        if flag != stamp_of_request(self._session, number) and flag >> SESSION_SHIFT != ERROR_TAG:
            self.n_stale += 1
            self._slots.tx_flags[k] = 0
            return None
        answer = self._slots.tx_data[k].tobytes()
        self._slots.tx_flags[k] = 0
        self._oldest += 1
        return number, answer


class RingServer:
    """The answering side; none of its methods waits."""

    def __init__(self, slots: Slots) -> None:
        """Start at the first slot of an empty ring.

        Args:
            slots: The ring.
        """
        self._slots = slots
        self._next = 0

    def request(self) -> memoryview | None:
        """The oldest request slot; None when there is none."""
        k = self._next % self._slots.n_slots
        return memoryview(self._slots.rx_data[k]) if self._slots.rx_flags[k] else None

    def answer(self, response: Buffer) -> None:
        """Answer the oldest request, which `request` has shown, and free its slot.

        Args:
            response: The whole answer frame.

        Raises:
            FrameTooLongError: It does not fit into a slot.
        """
        k = self._next % self._slots.n_slots
        frame = np.frombuffer(memoryview(response), dtype=np.uint8)
        slot = self._slots.tx_data[k]
        if len(frame) > len(slot):
            raise FrameTooLongError(len(frame), len(slot))
        slot[4 : len(frame)] = frame[4:]
        slot[:4] = frame[:4]  # the magic last
        self._slots.tx_flags[k] = self._slots.rx_flags[k]
        self._slots.rx_flags[k] = 0  # after the answer shows, or the slot would look free too early
        self._next += 1
