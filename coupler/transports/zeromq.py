"""ZeroMQ over `ipc` and `tcp`: DEALER clients, a ROUTER server, one part per message.

Nothing is dropped silently: ROUTER_MANDATORY turns a full or missing peer into an error, IMMEDIATE
a missing server, and heartbeats a frozen one.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from cudaq_target.coupler.closing import closed_on_failure
from cudaq_target.coupler.link_errors import (
    LinkBusyError,
    LinkLostError,
    LinkRefusedError,
    LinkTimeoutError,
)
from cudaq_target.coupler.security import check_bind
from cudaq_target.coupler.sessions import Answer
from cudaq_target.coupler.transports.interface import TransportCounters, TransportOptions
from cudaq_target.coupler.transports.zap import AllowList, is_readable
from cudaq_target.coupler.transports.zmq_alarm import Alarm
from cudaq_target.coupler.transports.zmq_ends import (
    LOOK_AROUND_MS,
    DealerEnd,
    PythonDealer,
    PythonRouter,
    RouterEnd,
)
from cudaq_target.coupler.transports.zmq_native import library_for
from cudaq_target.coupler.transports.zmq_sockets import (
    FAILED_HANDSHAKE,
    SocketFile,
    bind,
    demand_keys,
    set_client,
    set_common,
    show_keys,
    text_for_zmq,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from cudaq_target.coupler._zmq import Library, Service
    from cudaq_target.coupler.endpoint import Endpoint
    from cudaq_target.coupler.security import ClientSecurity, ServerSecurity
    from cudaq_target.coupler.shm import Dispatcher, LinkCore

_IDENTITY_BYTES: Final = 16
_RETRY_S: Final = 0.001


def _dealer_end(
    library: Library | None,
    socket: zmq.Socket[bytes],
    monitor: zmq.Socket[bytes],
    options: TransportOptions,
) -> tuple[DealerEnd, LinkCore | None]:
    """What moves frames, and what needs one call for a request and its answer."""
    if library is None:
        return PythonDealer(socket), None
    from cudaq_target.coupler._zmq import Dealer  # noqa: PLC0415 - compiled
    from cudaq_target.coupler.shm import LinkCore  # noqa: PLC0415 - compiled

    slot_bytes = options.slot_bytes
    end = Dealer(library, socket.underlying, monitor.underlying, slot_bytes=slot_bytes)
    core = LinkCore(options.n_slots, slot_bytes, Answer, exact=True)
    core.attach(end)
    return end, core


def _router_end(socket: zmq.Socket[bytes], library: Library | None) -> RouterEnd:
    if library is None:
        return PythonRouter(socket)
    from cudaq_target.coupler._zmq import Router  # noqa: PLC0415 - compiled

    return Router(library, socket.underlying)


class ZmqWire:
    """A DEALER that reconnects on its own and says when it lost its server."""

    exact: Final = True
    resend_after_s: Final = None

    def __init__(
        self,
        endpoint: Endpoint,
        options: TransportOptions,
        security: ClientSecurity | None,
        timeout_s: float,
    ) -> None:
        """Connect, and wait until the server has accepted.

        Raises:
            LinkTimeoutError: No server came within `timeout_s`.
            LinkRefusedError: The server refused the keys.
            EndpointError: `options.zeromq` is unknown.
        """
        self.endpoint = endpoint
        self.slot_bytes = options.slot_bytes
        self._counters = TransportCounters()
        self._is_connected = False
        library = library_for(options)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        set_client(self._socket, options)
        # A name of its own keeps the session through a reconnect; as long as a key, so that
        # nobody guesses it. A leading 0 is ZeroMQ's.
        self._socket.setsockopt(zmq.ROUTING_ID, b"\1" + os.urandom(_IDENTITY_BYTES))
        if security is not None:
            show_keys(self._socket, options, security)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | FAILED_HANDSHAKE
        )
        self._end, self.core = _dealer_end(library, self._socket, self._monitor, options)
        with closed_on_failure(self.close):
            self._socket.connect(text_for_zmq(endpoint))
            self._await_server(timeout_s)

    @property
    def counters(self) -> TransportCounters:
        """What happened so far."""
        self._counters.multipart = self._end.n_multipart
        return self._counters

    def send(self, slot: memoryview, n_bytes: int) -> None:
        """Send one frame without waiting; see `Wire.send`."""
        if not self._end.send(slot, n_bytes):
            self._look_around()
            reason = "its queue is full" if self._is_connected else "it is not connected"
            raise LinkBusyError(str(self.endpoint), reason)

    def receive_into(self, slot: memoryview, timeout_s: float) -> int | None:
        """Receive one frame; see `Wire.receive_into`."""
        n_bytes = self._end.receive_into(slot, timeout_s)
        if n_bytes is not None:
            return n_bytes
        until = time.monotonic() + timeout_s - LOOK_AROUND_MS / 1000
        while n_bytes is None:
            self._look_around()
            timeout_s = until - time.monotonic()
            if timeout_s <= 0.0:
                return None
            n_bytes = self._end.receive_into(slot, timeout_s)
        return n_bytes

    def close(self) -> None:
        """Give everything back; see `Wire.close`."""
        if self.core is not None:
            self.core.detach()
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
        self._context.term()

    def _await_server(self, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        was_refused = False
        while not self._is_connected:
            left_ms = int(1000 * (until - time.monotonic()))
            if left_ms <= 0 or not self._monitor.poll(left_ms):
                if was_refused:
                    raise LinkRefusedError(str(self.endpoint), "wrong or missing keys")
                raise LinkTimeoutError(str(self.endpoint), "the connection", timeout_s, 1)
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                raise LinkRefusedError(str(self.endpoint), "it does not know this client's key")
            self._is_connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            was_refused = was_refused or not self._is_connected
        self._counters.connects += 1

    def _look_around(self) -> None:
        """Take note of the connection's state.

        Raises:
            LinkLostError: It was lost since the last look.
        """
        was_lost = False
        while is_readable(self._monitor):
            event = recv_monitor_message(self._monitor)["event"]
            self._is_connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            if event == zmq.EVENT_DISCONNECTED:
                self._counters.disconnects += 1
                was_lost = True
            elif self._is_connected:
                self._counters.connects += 1
            else:
                self._counters.refused_handshakes += 1
        if was_lost:
            raise LinkLostError(str(self.endpoint), 0, "it closed, or went silent")


class ZmqPort:
    """A ROUTER; each client is a peer by the name that it gave itself."""

    exact: Final = True

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
        self.slot_bytes = options.slot_bytes
        self._counters = TransportCounters()
        self._n_dropped_answers = 0
        self._drain_ms = options.drain_ms
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._max_waiting = 4 * options.n_slots
        self._library = library_for(options)
        self._context = zmq.Context()
        self._zap = None if security is None else AllowList(self._context, security.allowed)
        self._socket = self._context.socket(zmq.ROUTER)
        set_common(self._socket, options)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a client that reconnects is the same
        if security is not None:
            demand_keys(self._socket, options, security)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | FAILED_HANDSHAKE
        )
        self._end = _router_end(self._socket, self._library)
        self._alarm: Alarm | None = None
        self._file: SocketFile | None = None
        with closed_on_failure(self._give_back):
            self.endpoint = bind(self._socket, endpoint)
            self._file = SocketFile.of(self.endpoint)

    @property
    def counters(self) -> TransportCounters:
        """What happened so far."""
        self._counters.multipart = self._end.n_multipart
        self._counters.dropped_answers = self._n_dropped_answers + self._end.n_unreachable
        return self._counters

    def service(self, dispatcher: Dispatcher, max_sessions: int) -> Service | None:
        """The loop that serves this port natively; None where it cannot.

        Args:
            dispatcher: Serves this port alone.
            max_sessions: Clients to remember at most.
        """
        if self._library is None:
            return None
        from cudaq_target.coupler._zmq import Service  # noqa: PLC0415 - compiled

        watched = [self._monitor.underlying]
        if self._zap is not None:
            watched.append(self._zap.underlying)
        return Service(
            self._library,
            self._socket.underlying,
            watched,
            dispatcher,
            slot_bytes=self.slot_bytes,
            max_waiting=self._max_waiting,
            max_sessions=max_sessions,
        )

    def receive_into(self, slot: memoryview, timeout_s: float) -> tuple[Hashable, int] | None:
        """Receive one frame; see `Port.receive_into`."""
        if self._waiting:
            self._send_waiting()
            timeout_s = min(timeout_s, _RETRY_S)
        found = self._end.receive_into(slot, timeout_s)
        if found is None or self._alarm is None or found[0] != self._alarm.name:
            return found
        self._alarm.heard()
        return None

    def waker(self) -> Callable[[], None]:
        """See `Port.waker`."""
        self._alarm = Alarm(self._context, self._socket)
        return self._alarm.ring

    def receive_or_wake(self, slot: memoryview, timeout_s: float) -> tuple[Hashable, int] | None:
        """See `Port.receive_or_wake`: a wake comes like a frame, so that every wait ends."""
        return self.receive_into(slot, timeout_s)

    def send(self, peer: Hashable, slot: memoryview, n_bytes: int) -> None:
        """Send one answer; see `Port.send`."""
        assert isinstance(peer, bytes)
        if self._waiting or not self._end.send(peer, slot, n_bytes):
            self._counters.delayed_answers += 1
            self._waiting.append((peer, bytes(slot[:n_bytes])))
            if len(self._waiting) > self._max_waiting:
                self._waiting.popleft()
                self._n_dropped_answers += 1

    def skip(self, peer: Hashable) -> None:
        """Say that a request gets no answer; on ZeroMQ nobody waits for its place."""

    def tend(self) -> None:
        """Handshakes, events and waiting answers; see `Port.tend`."""
        if self._zap is not None:
            self._zap.serve()
        while is_readable(self._monitor):
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._counters.connects += 1
            elif event == zmq.EVENT_DISCONNECTED:
                self._counters.disconnects += 1
            else:
                self._counters.refused_handshakes += 1

    def close(self) -> None:
        """Let queued answers leave, then give everything back; see `Port.close`."""
        until = time.monotonic() + self._drain_ms / 1000
        while self._waiting and time.monotonic() < until:
            self._send_waiting()
            time.sleep(_RETRY_S)
        self._n_dropped_answers += len(self._waiting)
        self._socket.setsockopt(zmq.LINGER, self._drain_ms)
        self._give_back()

    def _send_waiting(self) -> None:
        """Try again; answers to one peer stay in order, a slow peer does not hold up others."""
        full: set[bytes] = set()
        for _ in range(len(self._waiting)):
            peer, frame = self._waiting.popleft()
            if peer in full or not self._end.send(peer, frame, len(frame)):
                full.add(peer)
                self._waiting.append((peer, frame))

    def _give_back(self) -> None:
        if self._alarm is not None:
            self._alarm.close()
        self._socket.disable_monitor()
        self._monitor.close(0)
        if self._file is not None:
            self._file.remove()
        self._socket.close()
        if self._zap is not None:
            self._zap.close()
        self._context.term()
