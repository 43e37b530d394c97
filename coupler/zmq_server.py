"""Compiled functions behind ZeroMQ: a thread that leaves the interpreter to all others."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from cudaq_target.coupler.native_server import NativeTable
from cudaq_target.coupler.server import Server

if TYPE_CHECKING:
    from cudaq_target.coupler._zmq import Service
    from cudaq_target.coupler.shm import Dispatcher
    from cudaq_target.coupler.transports.interface import TransportOptions
    from cudaq_target.coupler.transports.zeromq import ZmqPort


class ZmqServer(Server):
    """Receives, dispatches and answers natively; Python sees to handshakes and events alone."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        port: ZmqPort,
        service: Service,
        options: TransportOptions,
        *,
        drains: bool = True,
    ) -> None:
        """Start the thread.

        Args:
            dispatcher: Serves this port alone.
            port: Bound; closed by `close`.
            service: Of `port` and `dispatcher`.
            options: Those of `port`.
            drains: Whether `close` answers what arrived by its functions, or with CANCELLED.
        """
        self._drains = drains
        self._service = service
        self._drain_s = options.drain_ms / 1000
        super().__init__(NativeTable(dispatcher, options.slot_bytes), port, options.n_slots)

    def counters(self) -> dict[str, int]:
        """What dispatcher and transport met so far, by name."""
        counted = super().counters()
        for name, n_times in self._service.counters().items():
            counted[name] += n_times
        return counted

    def _serve(self) -> None:
        while self._service.run():
            self._port.tend()

    def _cancel(self) -> None:
        with suppress(InterruptedError):
            self._port.tend()
        self._service.finish(drain=self._drains, drain_s=self._drain_s)

    def _end(self, timeout_s: float | None = None) -> bool:
        self._service.stop()
        return super()._end(timeout_s)
