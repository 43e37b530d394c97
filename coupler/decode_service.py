"""Decoders served at one endpoint or at one each, and the lines by which their callers find them.

The lines are those of cudaq-qec's decoding server, so that scripts written for it work here:
`ready_line` once callers can connect, `final_lines` when the service has ended. Nothing is printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cudaq_target.coupler.closing import Closing, closed_on_failure
from cudaq_target.coupler.decode_server import Decoder, DecodeServer
from cudaq_target.coupler.endpoint import Endpoint, Scheme, parse_endpoint
from cudaq_target.coupler.errors import DecoderEndpointsError
from cudaq_target.coupler.server import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.coupler.native_server import NativeServer
    from cudaq_target.coupler.security import ServerSecurity
    from cudaq_target.coupler.server import Server
    from cudaq_target.coupler.transports.interface import TransportOptions

DEFAULT_ENDPOINT = "udp://127.0.0.1:0"


class DecodeService(Closing):
    """Serves decoders until it is closed; a context manager."""

    def __init__(
        self,
        decoders: Sequence[Decoder],
        endpoints: Sequence[str | Endpoint] = (),
        *,
        security: ServerSecurity | None = None,
        options: TransportOptions | None = None,
    ) -> None:
        """Start to serve.

        Args:
            decoders: Numbered from 0, at most 32.
            endpoints: One for all of them, or one for each; by default UDP on this machine, a free
                port for each. Whatever the endpoint, every decoder can be called there: the number
                in the arguments decides.
            security: As for `serve`.
            options: Geometry, the same at both ends.

        Raises:
            DecoderCountError: There are too many decoders.
            DecoderEndpointsError: The number of endpoints fits neither.
            CouplerError: As for `serve`; nothing is left running.
        """
        self._table = DecodeServer(decoders)
        texts = list(endpoints) or [DEFAULT_ENDPOINT] * len(decoders)
        if not decoders or len(texts) not in {1, len(decoders)}:
            raise DecoderEndpointsError(len(texts), len(decoders))
        places = [parse_endpoint(one) if isinstance(one, str) else one for one in texts]
        self._servers: list[Server | NativeServer] = []
        with closed_on_failure(self.close):
            for place in places:
                server = serve(self._table.functions(), place, security=security, options=options)
                self._servers.append(server)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where each decoder is called, with the ports that were chosen."""
        places = [server.endpoint for server in self._servers]
        return places * self._table.n_decoders if len(places) == 1 else places

    @property
    def is_running(self) -> bool:
        """Whether every endpoint is served."""
        return all(server.is_running for server in self._servers)

    def ready_line(self) -> str:
        """What callers wait for: the port of decoder 0, then the port of each; 0 without ports."""
        places = self.endpoints
        ports = [one.port if one.scheme in {Scheme.TCP, Scheme.UDP} else 0 for one in places]
        words = [f"port={ports[0]} transport={places[0].scheme}"]
        words += [f"ring{number}={port}" for number, port in enumerate(ports)]
        words += [f"endpoint{number}={place}" for number, place in enumerate(places)]
        return f"QEC_DECODING_SERVER_READY {' '.join(words)}"

    def final_lines(self) -> list[str]:
        """How many calls each decoder got, and how many were dispatched in total."""
        lines = [
            f"QEC_DECODING_SERVER_RING decoder={number} dispatched={self._table.n_calls(number)}"
            for number in range(self._table.n_decoders)
        ]
        n_dispatched = self.counters()["dispatched"]
        return [*lines, f"QEC_DECODING_SERVER_DISPATCHED count={n_dispatched}"]

    def counters(self) -> dict[str, int]:
        """What all endpoints met so far, by name."""
        each = [server.counters() for server in self._servers]
        return {name: sum(one[name] for one in each) for name in each[0]}

    def close(self) -> None:
        """Answer what is pending and stop every endpoint.

        Raises:
            ServerFailedError: An endpoint had stopped with an error before.
        """
        failures = []
        for server in self._servers:
            try:
                server.close()
            except Exception as error:  # noqa: BLE001 - the other endpoints are closed, too
                failures.append(error)
        if failures:
            raise failures[0]
