"""What a player sends its calls through: a dispatcher in this process, a link, or nothing."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cudaq_target.coupler.frame import (
    HEADER_BYTES,
    MAX_U32,
    Refusal,
    Status,
    function_id,
    read_response,
    request_frame,
)
from cudaq_target.coupler.link import Missing
from cudaq_target.coupler.link_errors import LinkBusyError
from cudaq_target.coupler.payload import packed_bytes
from cudaq_target.coupler.sessions import DuplicateWindow, Session

if TYPE_CHECKING:
    from cudaq_target.coupler.dispatch import Dispatcher
    from cudaq_target.coupler.link import Link


class Reply(NamedTuple):
    """A reply to a submitted call.

    Attributes:
        request_id: From `submit`.
        status: A `frame.Status`.
        result: Result bytes.
    """

    request_id: int
    status: int
    result: bytes


class Caller(Protocol):
    """A session with the server of one decoder."""

    def submit(self, function: str, arguments: bytes) -> int:
        """Send a call without waiting for its reply.

        Args:
            function: Its name.
            arguments: Argument bytes.

        Returns:
            Its request id.
        """

    def collect(self, timeout_s: float) -> Reply | None:
        """Give one reply that has come.

        Args:
            timeout_s: How long to wait for one (s); may return earlier.
        """


class InProcess:
    """Calls a dispatcher in this process."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        """Open a session of its own."""
        self._dispatcher = dispatcher
        self._session = Session(self, DuplicateWindow(0, sequenced=False))
        self._replies: deque[Reply] = deque()
        self._next_id = 0

    def submit(self, function: str, arguments: bytes) -> int:
        """Call a function with its arguments; the reply waits for `collect`.

        Returns:
            The ticket of the call.
        """
        request_id = self._next_id
        self._next_id = (self._next_id + 1) & MAX_U32
        frame = request_frame(function_id(function), arguments, request_id)
        answer = self._dispatcher.dispatch(self._session, frame)
        if answer is not None:
            header = read_response(answer, len(answer), self._dispatcher.slot_bytes)
            if not isinstance(header, Refusal):
                self._replies.append(Reply(request_id, header.status, answer[HEADER_BYTES:]))
        return request_id

    def collect(self, timeout_s: float) -> Reply | None:  # noqa: ARG002 - nothing comes later
        """Give one reply, or None; never waits, whatever `timeout_s` says."""
        return self._replies.popleft() if self._replies else None


class Discard:
    """Discards every call and replies OK at once, with zeros: what the player itself costs."""

    def __init__(self) -> None:
        """Nothing is needed."""
        self._replies: deque[Reply] = deque()
        self._next_id = 0

    def submit(self, function: str, arguments: bytes) -> int:
        """Make up a reply to a function's arguments; it waits for `collect`.

        Returns:
            The ticket of the call.
        """
        request_id = self._next_id
        self._next_id = (self._next_id + 1) & MAX_U32
        is_read = function == "get_corrections"
        n_bytes = packed_bytes(int.from_bytes(arguments[8:16], "little")) if is_read else 0
        self._replies.append(Reply(request_id, Status.OK, bytes(n_bytes)))
        return request_id

    def collect(self, timeout_s: float) -> Reply | None:  # noqa: ARG002 - nothing comes later
        """Give one reply, or None; never waits, whatever `timeout_s` says."""
        return self._replies.popleft() if self._replies else None


class OverLink:
    """Calls a server over a link; one for each server, whatever the number of its decoders."""

    def __init__(self, link: Link, timeout_s: float = 0.2) -> None:
        """Take the link for this player alone.

        Args:
            link: To the server.
            timeout_s: How long a call waits for its answer, or for room on the link (s).
        """
        self._link = link
        self._timeout_s = timeout_s
        self._replies: deque[Reply] = deque()

    def submit(self, function: str, arguments: bytes) -> int:
        """Send a function's arguments; where the link is full, wait for room.

        Returns:
            The ticket of the call.

        Raises:
            LinkBusyError: There was no room in time.
        """
        until_s = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._link.submit(function, arguments, self._timeout_s)
            except LinkBusyError:
                if time.monotonic() > until_s:
                    raise
                self._store(0.001)

    def collect(self, timeout_s: float) -> Reply | None:
        """Give one reply that comes within `timeout_s` (s), else None.

        A call that was lost has status INTERNAL_ERROR.
        """
        if not self._replies:
            self._store(timeout_s)
        return self._replies.popleft() if self._replies else None

    def _store(self, timeout_s: float) -> None:
        outcome = self._link.collect(timeout_s)
        if outcome is None:
            return
        if isinstance(outcome, Missing):
            self._replies.append(Reply(outcome.request_id, Status.INTERNAL_ERROR, b""))
        else:
            self._replies.append(Reply(outcome.request_id, outcome.status, outcome.result))
