"""The part that all stand-ins share: a loopback HTTP server with a log and faults."""

from __future__ import annotations

import datetime
import gzip
import json
import logging
import re
import threading
import time
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from cudaq_target.errors import OptionError
from cudaq_target.fakes import faults as kinds
from cudaq_target.fakes.faults import Fault, Faults, Planned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from cudaq_target.fakes.server import LoopbackServer

_LOG = logging.getLogger(__name__)
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived.

    Attributes:
        method: HTTP method.
        path: Path without the query.
        query: Values by name, as often as they were given.
        headers: By name in lower case.
        body: After decompression.
        arrival_ns: When its head was complete, `time.monotonic_ns`.
        captured: Parts of the path that the route names.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    arrival_ns: int = 0
    captured: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:  # noqa: ANN401 - JSON
        """Read the body.

        Raises:
            Refusal: It is no JSON, or not called so.
        """
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal(422, f"Content-Type is {kind or 'missing'}, not application/json")
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Refusal(422, f"JSON decode error: {error}") from error


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        status: HTTP status.
        body: What follows the head.
        headers: More headers than Content-Type and Content-Length.
        sent: "all"; "half" of the body; or "nothing", where the connection is closed instead.
    """

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: str = "all"

    @staticmethod
    def of(status: int, content: object) -> Reply:
        """Make a reply of JSON."""
        return Reply(status, json.dumps(content).encode())


class Refusal(Exception):  # noqa: N818 - an answer of the service, raised where it is decided
    """The service answers with an error.

    Attributes:
        status: HTTP status.
        description: What is wrong.
        headers: Headers of the answer.
        code: The service's own number of the error, or None.
    """

    def __init__(
        self,
        status: int,
        description: str,
        *,
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(f"{status}: {description}")
        self.status = status
        self.description = description
        self.headers = headers or {}
        self.code = code


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and how it was answered; an entry of the log.

    Attributes:
        endpoint: Name of the endpoint, or "" where there is none.
        method: HTTP method.
        path: Path without the query.
        query: Values by name.
        headers: By name in lower case, credentials included, which `repr` leaves out.
        body: After decompression.
        status: HTTP status of the reply, None where none was sent.
        arrival_ns: When the request arrived, `time.monotonic_ns`.
    """

    endpoint: str
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status: int | None
    arrival_ns: int

    def json(self) -> Any:  # noqa: ANN401 - JSON
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint.

    Attributes:
        name: What faults and the log call it.
        method: HTTP method.
        pattern: Path with `{name}` for parts that vary.
        handler: Answers, or raises `Refusal`.
    """

    name: str
    method: str
    pattern: str
    handler: Callable[[Request], Reply]

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the parts of a path that vary, or None where it is another endpoint's."""
        expression = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.pattern))
        found = re.fullmatch(expression, path)
        return None if found is None else found.groupdict()


class FakeService(ABC):
    """A service on 127.0.0.1, from `start` or `with` to `close`.

    Attributes:
        requests: What was asked and answered, in the order of the answers.
        clock_skew_s: How far the service's clock is ahead of this machine's (s).
    """

    name = "service"

    def __init__(self, *, port: int = 0, clock_skew_s: float = 0.0) -> None:
        self.requests: list[Exchange] = []
        self.clock_skew_s = clock_skew_s
        self._given_port = port
        self._routes = tuple(self._make_routes())
        self._faults = Faults(frozenset(route.name for route in self._routes))
        self._server: LoopbackServer | None = None
        self._closing = threading.Event()

    def start(self) -> Self:
        """Listen; requests are answered by threads of their own.

        Raises:
            OSError: The port is taken.
        """
        from cudaq_target.fakes.server import LoopbackServer  # noqa: PLC0415 - http.server

        if self._server is None:
            self._closing.clear()
            self._prepare()
            self._server = LoopbackServer(HOST, self._given_port, self._answer, self.now)
        return self

    def close(self) -> None:
        """Close all connections, end what runs, and wait for the threads."""
        server, self._server = self._server, None
        if server is None:
            return
        self._closing.set()
        self._end()
        server.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port it listens at.

        Raises:
            OptionError: It does not listen.
        """
        if self._server is None:
            raise OptionError(f"stand-in of {self.name}", "not started", "Use `with`, or start()")
        return self._server.port

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Names of the endpoints, for faults and for the log."""
        return tuple(route.name for route in self._routes)

    def fault(
        self,
        where: str,
        kind: int | str,
        *,
        times: int | None = 1,
        after: int = 0,
        seconds: float = 1.0,
        retry_after_s: int | None = None,
        text: str | None = None,
    ) -> Planned:
        """Plan a fault.

        Requests: an HTTP status (`503`); "slow" (the reply is `seconds` late); "drop" (the
        connection is closed, nothing was done); "lost" (it was done, the connection is closed
        before the reply); "half" (half of the reply); "garbage" (no JSON); "expire" (every token
        that was handed out so far has expired by now).

        Jobs (`where="job"`): a state. In "PENDING", "RUNNING", "PAUSED" and "CANCELING" the job
        stays until it is cancelled or `release` is called; with "ERROR", "CANCELED" and
        "TIMED_OUT" it ends. "done-at-cancel": it runs until somebody cancels, and is done just
        before. "no-result", "bad-result" (no JSON), "few-shots" (one less than asked for).

        Args:
            where: Name of an endpoint, a pattern (`"jobs.*"`, `"*"`), or `"job"`.
            kind: What happens.
            times: How often; None for always.
            after: How many requests or jobs pass before.
            seconds: How late a slow reply comes (s).
            retry_after_s: Header Retry-After of an HTTP status (s), or None.
            text: What the error says.

        Returns:
            The plan; its `happened` counts.

        Raises:
            OptionError: No such place or kind.
        """
        fault = Fault(where, kind, seconds, retry_after_s, text)
        return self._faults.add(fault, times=times, after=after)

    def clear_faults(self) -> None:
        """Forget the faults that have not happened yet."""
        self._faults.clear()

    def asked(self, endpoint: str) -> list[Exchange]:
        """Return the exchanges of one endpoint."""
        return [exchange for exchange in list(self.requests) if exchange.endpoint == endpoint]

    def now(self) -> float:
        """The service's own clock: seconds since 1970."""
        return time.time() + self.clock_skew_s

    @abstractmethod
    def _make_routes(self) -> Sequence[Route]:
        """Return the endpoints; called once, before anything else of the service is there."""

    @abstractmethod
    def _error(self, refusal: Refusal, endpoint: str) -> Reply:
        """Write an error as the service does at this endpoint ("" where there is none)."""

    @abstractmethod
    def _prepare(self) -> None:
        """Do what comes before the first request."""

    @abstractmethod
    def _end(self) -> None:
        """End what runs."""

    @abstractmethod
    def _expire(self) -> None:
        """Let credentials expire, or refuse a request as if they had."""

    def _answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, arrival_ns: int
    ) -> Reply:
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True)
        request = Request(method, parts.path, query, headers, body, arrival_ns)
        endpoint = ""
        try:
            request = _decompressed(request)
            route, captured = self._route(request)
            endpoint = route.name
            request = _with(request, captured)
            reply = self._carried_out(route, request)
        except Refusal as refusal:
            reply = self._error(refusal, endpoint)
        except Exception as error:  # noqa: BLE001 - a bug must not look like a dropped line
            _LOG.exception("%s: %s %s", self.name, method, parts.path)
            reply = self._error(Refusal(500, f"{type(error).__name__}: {error}"), endpoint)
        self.requests.append(
            Exchange(
                endpoint,
                method,
                request.path,
                query,
                headers,
                request.body,
                None if reply.sent == "nothing" else reply.status,
                arrival_ns,
            )
        )
        return reply

    def _route(self, request: Request) -> tuple[Route, Mapping[str, str]]:
        known = [
            (route, captured)
            for route in self._routes
            if (captured := route.match(request.path)) is not None
        ]
        for route, captured in known:
            if route.method == request.method:
                return route, captured
        if known:
            raise Refusal(405, "Method Not Allowed", headers={"Allow": known[0][0].method})
        raise Refusal(404, "Not Found")

    def _carried_out(self, route: Route, request: Request) -> Reply:
        planned = self._faults.take(route.name)
        for fault in planned:
            if fault.kind == kinds.SLOW:
                self._closing.wait(fault.seconds)
            elif fault.kind == kinds.DROP:
                return Reply(0, b"", sent="nothing")
            elif fault.kind == kinds.EXPIRE:
                self._expire()
            elif isinstance(fault.kind, int):
                after = fault.retry_after_s
                raise Refusal(
                    fault.kind,
                    fault.text or "planned fault",
                    headers={} if after is None else {"Retry-After": str(after)},
                )
        reply = route.handler(request)
        for fault in planned:
            if fault.kind == kinds.LOST:
                return Reply(reply.status, b"", sent="nothing")
            if fault.kind == kinds.HALF:
                return Reply(reply.status, reply.body, reply.headers, sent="half")
            if fault.kind == kinds.GARBAGE:
                return Reply(reply.status, (fault.text or "<html>not JSON</html>").encode())
        return reply


def iso(moment_s: float | None) -> str | None:
    """Write a moment (s since 1970) in ISO 8601, UTC."""
    if moment_s is None:
        return None
    return datetime.datetime.fromtimestamp(moment_s, datetime.UTC).isoformat()


def jsend(content: object) -> Reply:
    """Wrap what went well as Pasqal's services do."""
    return Reply.of(200, {"status": "success", "code": "200", "message": "OK.", "data": content})


def jsend_error(refusal: Refusal) -> Reply:
    """Write an error as Pasqal's services do."""
    status = refusal.status
    content: dict[str, Any] = {
        "status": "fail" if status < 500 else "error",
        "code": refusal.code or str(status),
        "message": f"{_phrase(status)}.",
        "data": {"description": refusal.description},
    }
    return Reply(status, json.dumps(content).encode(), refusal.headers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _decompressed(request: Request) -> Request:
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "identity":
        return request
    if encoding != "gzip":
        raise Refusal(415, f"Content-Encoding {encoding} is not known")
    try:
        body = gzip.decompress(request.body)
    except (OSError, EOFError, zlib.error) as error:
        raise Refusal(400, f"the body is no gzip ({error})") from error
    return Request(
        request.method, request.path, request.query, request.headers, body, request.arrival_ns
    )


def _with(request: Request, captured: Mapping[str, str]) -> Request:
    return Request(
        request.method,
        request.path,
        request.query,
        request.headers,
        request.body,
        request.arrival_ns,
        captured,
    )
