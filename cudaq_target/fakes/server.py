"""An HTTP/1.1 server on loopback: keep-alive, one write per reply, closed with its connections."""

from __future__ import annotations

import logging
import socket
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cudaq_target.fakes.service import Reply

    Answer = Callable[[str, str, Mapping[str, str], bytes, int], Reply]

_LOG = logging.getLogger(__name__)
_LARGEST_BODY_BYTES = 64 << 20
_LEAVE_S = 10.0
_POLL_S = 0.05


class LoopbackServer:
    """Serves from its construction to `close`, one thread per connection.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, host: str, port: int, answer: Answer, now: Callable[[], float]) -> None:
        """Listen and serve.

        Args:
            host: Address to bind.
            port: Port, or 0 for a free one.
            answer: Answers method, target, headers (names in lower case), body and time of
                arrival (`time.monotonic_ns`).
            now: The service's clock, for the header Date.

        Raises:
            OSError: The port is taken.
        """
        self._http = _Server((host, port), _handler(answer, now))
        self.port = int(self._http.server_address[1])
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(_POLL_S,), name="fake-accept", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening, cut connections, and wait for their threads."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self._http.cut()


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the resolver for a name.
        socket.socket.bind(self.socket, self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="fake-connection",
            daemon=True,
        )
        with self._lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        super().shutdown_request(request)
        with self._lock:
            self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        _LOG.debug("connection of %s broke", client_address, exc_info=True)

    def cut(self) -> None:
        """End the connections that are left."""
        with self._lock:
            left = list(self._open.items())
        for connection, _ in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                _LOG.debug("a connection was closed already")
        for _, thread in left:
            thread.join(_LEAVE_S)


def _handler(answer: Answer, now: Callable[[], float]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "cudaq-target-fakes"
        sys_version = ""
        # Head and body leave in one write: in two, Nagle and delayed acknowledgements cost 40 ms.
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(now() if timestamp is None else timestamp, usegmt=True)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
            _LOG.debug(format, *args)

        def _do(self) -> None:
            arrival_ns = time.monotonic_ns()
            headers = {name.lower(): value for name, value in self.headers.items()}
            length = headers.get("content-length", "0")
            if "transfer-encoding" in headers or not length.isdigit():
                return self._refuse(411, "Length Required")
            if int(length) > _LARGEST_BODY_BYTES:
                return self._refuse(413, "Content Too Large")
            body = self.rfile.read(int(length))
            return self._send(answer(self.command, self.path, headers, body, arrival_ns))

        def _refuse(self, status: int, reason: str) -> None:
            self.close_connection = True
            self.send_response(status, reason)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()

        def _send(self, reply: Reply) -> None:
            if reply.sent != "all":
                self.close_connection = True
            if reply.sent == "nothing":
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply.body)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            half = len(reply.body) // 2
            self.wfile.write(reply.body[:half] if reply.sent == "half" else reply.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815

    return Handler
