"""Dispatcher: from a request frame to exactly one answer, through a table of functions.

This is the reference in plain Python. It never raises because of a frame, allocates nothing that
outlives a call except remembered answers, and is used from one thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cudaq_target.coupler.counters import Counters
from cudaq_target.coupler.errors import FunctionTableError
from cudaq_target.coupler.frame import (
    HEADER_BYTES,
    MAX_U32,
    Refusal,
    RequestHeader,
    Status,
    function_id,
    read_request,
    response_frame,
    write_response_header,
)
from cudaq_target.coupler.payload import PayloadType
from cudaq_target.coupler.sessions import Repeat, Session, fingerprint_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LOG = logging.getLogger(__name__)
_FLOATS: Final = {
    PayloadType.FLOAT32: "<f4",
    PayloadType.FLOAT64: "<f8",
    PayloadType.ARRAY_FLOAT32: "<f4",
    PayloadType.ARRAY_FLOAT64: "<f8",
}


@dataclass(frozen=True, slots=True)
class Ticket:
    """Names a request that a handler answers later.

    Attributes:
        number: Grows with each request, so that a late result never meets another request.
        session: Who asked.
        header: Header of the request.
    """

    number: int
    session: Session
    header: RequestHeader


# Named tuples and not dataclasses where one is made per frame: a tuple costs a third.
class Call(NamedTuple):
    """What a handler gets.

    Attributes:
        arguments: The argument bytes; valid during the call.
        result: Where the result goes; its length is the capacity. Valid during the call.
        session: Who asks.
        header: Header of the request.
        number: Of the ticket.
    """

    arguments: memoryview
    result: memoryview
    session: Session
    header: RequestHeader
    number: int

    @property
    def ticket(self) -> Ticket:
        """For `Dispatcher.finish`, where the handler returns `PENDING`."""
        return Ticket(self.number, self.session, self.header)


class Reply(NamedTuple):
    """What a handler returns.

    Attributes:
        status: A `Status`.
        n_bytes: Length of the result that it wrote (bytes).
    """

    status: int
    n_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer to a request whose handler returned `PENDING`.

    Attributes:
        ticket: From its `Call`.
        status: A `Status`.
        result: Result bytes.
    """

    ticket: Ticket
    status: int
    result: bytes = b""


PENDING: Final = Reply(0, -1)
OK: Final = Reply(Status.OK)
BAD_REQUEST: Final = Reply(Status.BAD_REQUEST)
Handler = Callable[[Call], Reply]
Background = Callable[[], Iterable[Completion]]


@dataclass(frozen=True, slots=True)
class Function:
    """A row of the function table.

    Attributes:
        name: Its id is the hash of this.
        handler: Called with requests that fit.
        min_arg_bytes: Shortest arguments (bytes).
        max_arg_bytes: Longest arguments (bytes); equal to `min_arg_bytes` for a fixed signature.
        deadline_ns: Time from arrival to result (ns); None for no limit.
        result_type: Type of the result; results of float types must be finite.
        may_pend: Whether the handler may return `PENDING`.
    """

    name: str
    handler: Handler
    min_arg_bytes: int = 0
    max_arg_bytes: int = MAX_U32
    deadline_ns: int | None = None
    result_type: PayloadType | None = None
    may_pend: bool = False


def table_of(functions: Iterable[Function]) -> dict[int, Function]:
    """Functions by id.

    Raises:
        FunctionTableError: Two functions have one id.
    """
    table: dict[int, Function] = {}
    for function in functions:
        known = table.setdefault(function_id(function.name), function)
        if known is not function:
            raise FunctionTableError(function.name, known.name)
    return table


@dataclass(frozen=True, slots=True)
class _Waiting:
    ticket: Ticket
    deadline_ns: int | None


class Dispatcher:
    """Serves requests of any number of sessions, one at a time."""

    def __init__(
        self,
        functions: Iterable[Function],
        *,
        background: Iterable[Background] = (),
        slot_bytes: int = 4096,
        max_pending: int = 64,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Build the table.

        Args:
            functions: What clients can call.
            background: Called by `tend`; each gives the answers that have become ready.
            slot_bytes: Longest request and longest answer (bytes).
            max_pending: Requests that handlers may answer later, at a time; more are refused BUSY.
            clock: Monotonic (ns).

        Raises:
            FunctionTableError: Two functions have one id.
        """
        self._table = table_of(functions)
        self.slot_bytes = slot_bytes
        self.counters = Counters()
        self._background = tuple(background)
        self._max_pending = max_pending
        self._clock = clock
        self._pending: dict[int, _Waiting] = {}
        self._n_tickets = 0
        self._is_shut = False
        self.running: str | None = None  # the function that runs, for other threads
        self._reported: set[int] = set()

    @property
    def n_pending(self) -> int:
        """Requests whose handlers answer later."""
        return len(self._pending)

    def dispatch(self, session: Session, frame: Buffer, *, exact: bool = True) -> bytes | None:
        """Serve one frame; as `dispatch_into`, with an answer of its own.

        Args:
            session: The client's.
            frame: The request.
            exact: The frame ends where its header says; else it may be a whole slot.

        Returns:
            The answer; None where there is none (yet).
        """
        answer = bytearray(self.slot_bytes)
        view = memoryview(frame)
        n_bytes = self.dispatch_into(session, view, view.nbytes, memoryview(answer), exact=exact)
        return bytes(answer[:n_bytes]) if n_bytes else None

    def dispatch_into(
        self,
        session: Session,
        frame: memoryview,
        n_bytes: int,
        answer: memoryview,
        *,
        exact: bool = True,
    ) -> int:
        """Serve one frame.

        Args:
            session: Who sent it.
            frame: Bytes, from the first byte of the frame on.
            n_bytes: Bytes that arrived.
            answer: Writable, `slot_bytes` long.
            exact: As for `frame.read_request`.

        Returns:
            Length of the answer (bytes); 0 where there is none: the frame has no request id, its
            answer comes later, or it repeats a request whose answer comes later.
        """
        arrived_ns = self._clock()
        self.counters.received += 1
        # The header is copied out of the slot here, once: what is checked is what is used.
        header = read_request(frame, n_bytes, self.slot_bytes, exact=exact)
        if isinstance(header, Refusal):
            self.counters.count(header.counter)
            return 0 if header.status is None else self._write(answer, header.status, 0, header)
        function = self._table.get(header.function_id)
        if function is None:
            self.counters.unknown_function += 1
            return self._write(answer, Status.UNKNOWN_FUNCTION, 0, header)
        if not function.min_arg_bytes <= header.arg_len <= function.max_arg_bytes:
            self.counters.bad_request += 1
            return self._write(answer, Status.BAD_REQUEST, 0, header)
        if self._is_shut:
            self.counters.cancelled += 1
            return self._write(answer, Status.CANCELLED, 0, header)
        arguments = frame[HEADER_BYTES : HEADER_BYTES + header.arg_len]
        again = self._repeat(session, header, arguments, answer)
        if again is not None:
            return again
        return self._call(function, session, header, arguments, answer, arrived_ns)

    def finish(self, ticket: Ticket, status: int, result: Buffer = b"") -> bytes | None:
        """Answer a request whose handler returned `PENDING`.

        Args:
            ticket: From its `Call`.
            status: A `Status`.
            result: Result bytes.

        Returns:
            The answer, for `ticket.session`; None where the request was answered DEADLINE or
            CANCELLED before, and the result is discarded.
        """
        waiting = self._pending.pop(ticket.number, None)
        if waiting is None:
            self.counters.late_results += 1
            return None
        if waiting.deadline_ns is not None and self._clock() > waiting.deadline_ns:
            self.counters.late_results += 1
            return self._late(waiting)
        body = bytes(result)
        if HEADER_BYTES + len(body) > self.slot_bytes:
            self.counters.handler_failures += 1
            status, body = Status.INTERNAL_ERROR, b""
        return self._answer_later(ticket, status, body)

    def tend(self) -> list[tuple[Session, bytes]]:
        """Do what is due besides requests; called between frames, also when none come.

        Returns:
            Answers to earlier requests and who gets them.
        """
        answers = self.expire()
        for work in self._background:
            for done in work():
                answer = self.finish(done.ticket, done.status, done.result)
                if answer is not None:
                    answers.append((done.ticket.session, answer))
        return answers

    def expire(self) -> list[tuple[Session, bytes]]:
        """Answer DEADLINE to every pending request whose time is over.

        Returns:
            The answers and who gets them.
        """
        now_ns = self._clock()
        late = [
            waiting
            for waiting in self._pending.values()
            if waiting.deadline_ns is not None and now_ns > waiting.deadline_ns
        ]
        for waiting in late:
            del self._pending[waiting.ticket.number]
        return [(waiting.ticket.session, self._late(waiting)) for waiting in late]

    def shutdown(self) -> list[tuple[Session, bytes]]:
        """Stop: every pending request and every later one is answered CANCELLED.

        Returns:
            The answers to the pending requests and who gets them.
        """
        self._is_shut = True
        waiting, self._pending = list(self._pending.values()), {}
        self.counters.cancelled += len(waiting)
        return [
            (one.ticket.session, self._answer_later(one.ticket, Status.CANCELLED, b""))
            for one in waiting
        ]

    def end(self, timeout_s: float) -> None:
        """Nothing runs beside the caller's thread, so that there is no `timeout_s` to wait."""

    def _repeat(
        self, session: Session, header: RequestHeader, arguments: memoryview, answer: memoryview
    ) -> int | None:
        """Length of the answer to a repeated request; None where it is to be executed."""
        mark = fingerprint_of(header.function_id, arguments)
        repeat, remembered = session.window.check(header.request_id, mark)
        if repeat is Repeat.NEW:
            return None
        if repeat is Repeat.REUSED_ID:
            self.counters.reused_ids += 1
            return None
        if repeat is Repeat.STALE:
            self.counters.stale += 1
            return 0
        self.counters.duplicates += 1
        if remembered is None:
            return 0
        answer[: len(remembered)] = remembered
        # The repeat may carry a stamp of its own, and it is the one to echo.
        answer[16:HEADER_BYTES] = header.timestamp_ns.to_bytes(8, "little")
        self.counters.answered += 1
        return len(remembered)

    def _call(
        self,
        function: Function,
        session: Session,
        header: RequestHeader,
        arguments: memoryview,
        answer: memoryview,
        arrived_ns: int,
    ) -> int:
        if function.may_pend and len(self._pending) >= self._max_pending:
            session.window.forget(header.request_id)
            self.counters.busy += 1
            return self._write(answer, Status.BUSY, 0, header)
        self._n_tickets += 1
        result = answer[HEADER_BYTES : self.slot_bytes]
        call = Call(arguments, result, session, header, self._n_tickets)
        deadline_ns = None if function.deadline_ns is None else arrived_ns + function.deadline_ns
        self.counters.dispatched += 1
        reply = self._guarded(function, call)
        if reply is PENDING:
            self._pending[call.number] = _Waiting(call.ticket, deadline_ns)
            return 0
        status, n_result = reply
        if deadline_ns is not None and self._clock() > deadline_ns:
            self.counters.deadline_misses += 1
            self.counters.late_results += 1
            status, n_result = Status.DEADLINE, 0
        n_bytes = self._write(answer, status, n_result, header)
        if status == Status.BUSY:
            session.window.forget(header.request_id)
        else:
            session.window.answer(header.request_id, bytes(answer[:n_bytes]))
        return n_bytes

    def _guarded(self, function: Function, call: Call) -> Reply:
        """The handler's reply; INTERNAL_ERROR where it raised or cannot be sent."""
        self.running = function.name
        try:
            reply = function.handler(call)
        except Exception:  # noqa: BLE001 - foreign code: what it raises stays in its request
            self._report(function)
        else:
            if reply is PENDING and function.may_pend:
                return reply
            if _is_sendable(reply, call.result, function.result_type):
                return reply
        finally:
            self.running = None
        self.counters.handler_failures += 1
        return Reply(Status.INTERNAL_ERROR)

    def _report(self, function: Function) -> None:
        """Log the first failure of each function; the counter has the others."""
        if id(function) not in self._reported:
            self._reported.add(id(function))
            _LOG.exception("%s failed; further failures are counted only", function.name)

    def _write(
        self, answer: memoryview, status: int, n_result: int, header: RequestHeader | Refusal
    ) -> int:
        self.counters.answered += 1
        write_response_header(answer, status, n_result, header.request_id, header.timestamp_ns)
        return HEADER_BYTES + n_result

    def _late(self, waiting: _Waiting) -> bytes:
        self.counters.deadline_misses += 1
        return self._answer_later(waiting.ticket, Status.DEADLINE, b"")

    def _answer_later(self, ticket: Ticket, status: int, body: bytes) -> bytes:
        header = ticket.header
        frame = response_frame(status, body, header.request_id, header.timestamp_ns)
        ticket.session.window.answer(header.request_id, frame)
        self.counters.answered += 1
        return frame


def _is_sendable(reply: object, result: memoryview, kind: PayloadType | None) -> bool:
    if not isinstance(reply, Reply):
        return False
    if not isinstance(reply.status, int) or not isinstance(reply.n_bytes, int):
        return False
    if not (-(2**31) <= reply.status < 2**31 and 0 <= reply.n_bytes <= len(result)):
        return False
    if kind not in _FLOATS or reply.n_bytes == 0:
        return True
    layout = np.dtype(_FLOATS[kind])
    if reply.n_bytes % layout.itemsize:
        return False
    return bool(np.isfinite(np.frombuffer(result[: reply.n_bytes], dtype=layout)).all())


_PLUS_ONE: Final = bytes((byte + 1) % 256 for byte in range(256))


def _increment(call: Call) -> Reply:
    if len(call.arguments) > len(call.result):
        return BAD_REQUEST
    call.result[: len(call.arguments)] = bytes(call.arguments).translate(_PLUS_ONE)
    return Reply(Status.OK, len(call.arguments))


RPC_INCREMENT: Final = Function("rpc_increment", _increment)
