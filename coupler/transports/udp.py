"""UDP as CUDA-Q Realtime uses it: every datagram is one full slot, and nothing is repeated here.

Unlike upstream, whose last sender owns the link, a server keeps the first peer that sends a
well-formed request until it has been silent for a while.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
import time
from typing import TYPE_CHECKING, Final

from cudaq_target.coupler.endpoint import Endpoint, Scheme
from cudaq_target.coupler.errors import FrameTooLongError
from cudaq_target.coupler.frame import Refusal, read_request
from cudaq_target.coupler.link_errors import (
    AddressInUseError,
    EndpointError,
    LinkBusyError,
    LinkLostError,
)
from cudaq_target.coupler.security import check_bind
from cudaq_target.coupler.transports.interface import (
    OneClientWake,
    TransportCounters,
    TransportOptions,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_LOG = logging.getLogger(__name__)
MAX_DATAGRAM_BYTES: Final = 65507
RESEND_AFTER_S: Final = 0.05
_TIMEVAL: Final = struct.Struct("@ll")
_NO_ROOM: Final = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM}


class _Receiver:
    """Datagrams into a slot, with a limit in time; longer ones than the slot are dropped."""

    def __init__(
        self, endpoint: Endpoint, options: TransportOptions, counters: TransportCounters
    ) -> None:
        if options.slot_bytes > MAX_DATAGRAM_BYTES:
            raise FrameTooLongError(options.slot_bytes, MAX_DATAGRAM_BYTES)
        is_v6 = ":" in endpoint.address()
        self.socket = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, options.receive_buffer_bytes)
        self._endpoint = endpoint
        self._counters = counters
        self._timeout_us = 0

    def into(self, slot: memoryview, timeout_s: float) -> tuple[int, object] | None:
        """Length of a datagram (bytes) and its sender; None where none came in time."""
        flags = 0 if timeout_s > 0.0 else socket.MSG_DONTWAIT
        timeout_us = max(1, int(1e6 * timeout_s))
        if flags == 0 and timeout_us != self._timeout_us:
            timeval = _TIMEVAL.pack(timeout_us // 1_000_000, timeout_us % 1_000_000)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
            self._timeout_us = timeout_us
        try:
            n_bytes, _, found, peer = self.socket.recvmsg_into([slot], 0, flags)
        except BlockingIOError:
            return None
        if found & socket.MSG_TRUNC:
            if self._counters.oversized == 0:
                _LOG.warning(
                    "%s: a datagram longer than %d bytes was dropped; both ends need the same "
                    "slot_bytes. Further ones are counted only",
                    self._endpoint,
                    len(slot),
                )
            self._counters.oversized += 1
            return None
        return n_bytes, peer


class UdpWire:
    """A connected socket: datagrams of other senders do not arrive."""

    exact: Final = False
    core: Final = None
    resend_after_s: Final = RESEND_AFTER_S

    def __init__(self, endpoint: Endpoint, options: TransportOptions) -> None:
        """Choose a port of our own; whether a server listens shows at the first call.

        Raises:
            FrameTooLongError: `slot_bytes` is longer than a datagram.
        """
        self.endpoint = endpoint
        self.slot_bytes = options.slot_bytes
        self.counters = TransportCounters()
        self._receiver = _Receiver(endpoint, options, self.counters)
        self._socket = self._receiver.socket
        self._socket.connect((endpoint.address(), endpoint.port))

    def send(self, slot: memoryview, n_bytes: int) -> None:  # noqa: ARG002 - a slot is sent whole
        """Send one slot without waiting; see `Wire.send`."""
        try:
            self._socket.send(slot, socket.MSG_DONTWAIT)
        except ConnectionRefusedError:
            raise self._lost() from None
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise LinkBusyError(str(self.endpoint), "its socket buffer is full") from None

    def receive_into(self, slot: memoryview, timeout_s: float) -> int | None:
        """Receive one slot; see `Wire.receive_into`."""
        try:
            found = self._receiver.into(slot, timeout_s)
        except ConnectionRefusedError:
            raise self._lost() from None
        return None if found is None else found[0]

    def close(self) -> None:
        """Give the socket back; see `Wire.close`."""
        self._socket.close()

    def _lost(self) -> LinkLostError:
        self.counters.disconnects += 1
        return LinkLostError(str(self.endpoint), 0, "nobody listens there")


class UdpPort:
    """A bound socket with at most one peer at a time."""

    exact: Final = False

    def __init__(self, endpoint: Endpoint, options: TransportOptions) -> None:
        """Bind.

        Raises:
            InsecureEndpointError: Other machines could send.
            AddressInUseError: Another server listens there.
            EndpointError: The address is not of this machine.
            FrameTooLongError: `slot_bytes` is longer than a datagram.
        """
        check_bind(endpoint, None)
        self.slot_bytes = options.slot_bytes
        self.counters = TransportCounters()
        self._wake = OneClientWake()
        self._pin_s = options.pin_s
        self._peer: object = None
        self._heard_s = 0.0
        self._receiver = _Receiver(endpoint, options, self.counters)
        self._socket = self._receiver.socket
        try:
            self._socket.bind((endpoint.address(), endpoint.port))
        except OSError as error:
            self._socket.close()
            if error.errno == errno.EADDRINUSE:
                raise AddressInUseError(str(endpoint)) from None
            reason = f"no server can listen there ({error.strerror})"
            raise EndpointError(str(endpoint), reason, "Give an address of this machine") from error
        self.endpoint = Endpoint(Scheme.UDP, endpoint.place, self._socket.getsockname()[1])

    def receive_into(self, slot: memoryview, timeout_s: float) -> tuple[Hashable, int] | None:
        """Receive one slot of the peer; see `Port.receive_into`."""
        found = self._receiver.into(slot, timeout_s)
        if found is None:
            return None
        n_bytes, peer = found
        now_s = time.monotonic()
        if peer != self._peer:
            if self._peer is not None and now_s - self._heard_s < self._pin_s:
                self.counters.foreign_peer += 1
                return None
            # Only who speaks the protocol becomes the peer.
            header = read_request(slot, n_bytes, self.slot_bytes, exact=False)
            if isinstance(header, Refusal):
                return peer, n_bytes
            self._peer = peer
            self.counters.connects += 1
        self._heard_s = now_s
        return peer, n_bytes

    def waker(self) -> Callable[[], None]:
        """See `Port.waker`."""
        return self._wake.waker()

    def receive_or_wake(self, slot: memoryview, timeout_s: float) -> tuple[Hashable, int] | None:
        """See `Port.receive_or_wake`."""
        return self._wake.receive(self.receive_into, slot, timeout_s)

    def send(self, peer: Hashable, slot: memoryview, n_bytes: int) -> None:  # noqa: ARG002
        """Send one whole slot; see `Port.send`."""
        try:
            self._socket.sendto(slot, peer)  # type: ignore[call-overload] # an address, from above
        except ConnectionError:
            self.counters.dropped_answers += 1
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self.counters.dropped_answers += 1

    def skip(self, peer: Hashable) -> None:
        """Say that a request gets no answer; its sender asks again."""

    def tend(self) -> None:
        """Nothing is due besides datagrams."""

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
