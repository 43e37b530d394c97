"""Both ends of a session: which answer belongs to which request, and which request is a repeat.

A session is one ring, one ZeroMQ identity or one pinned UDP peer. Its client numbers its requests
(modulo 2^32); request i uses slot `i mod n_slots` in generation `i // n_slots`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from cudaq_target.coupler.frame import MAX_U32

if TYPE_CHECKING:
    from collections.abc import Hashable

    from typing_extensions import Buffer

_HALF_RANGE: Final = 1 << 31


class Answer(NamedTuple):
    """What a server said.

    Attributes:
        request_id: Of the request.
        status: A `frame.Status`, or another number from a foreign server.
        result: Result bytes.
        timestamp_ns: The stamp that the request carried (ns).
    """

    request_id: int
    status: int
    result: bytes
    timestamp_ns: int


class Match(Enum):
    """What an answer is to a client; the value is the name of its counter."""

    OURS = "answered"
    DUPLICATE = "duplicates"
    STALE = "stale"
    UNMATCHED = "unmatched"


class Window(Protocol):
    """Requests in flight; see `RequestWindow`."""

    @property
    def n_open(self) -> int:
        """Requests in flight."""

    @property
    def n_free(self) -> int:
        """Requests that `open` takes now."""

    def open(self, deadline_ns: int, function: str | int, timeout_s: float) -> int | None:
        """Begin the next request."""

    def close(self, request_id: int) -> Match | str:
        """Take an answer."""

    def expired(self, now_ns: int) -> list[int]:
        """Give up the requests whose deadline has passed."""

    def asked(self, request_id: int) -> tuple[str | int, float, int]:
        """Function, patience (s) and deadline (ns) of one of the last requests."""


@dataclass(slots=True)
class _Slot:
    sequence: int = -1
    is_open: bool = False
    is_answered: bool = False
    deadline_ns: int = 0
    function: str | int = ""
    timeout_s: float = 0.0


class RequestWindow:
    """A client's requests in flight, one per slot, with generations.

    The native `shm.LinkCore` does the same, and the usual path of a link besides.

    A slot is free again when its request is answered or given up. An answer of an earlier
    generation is told from the current one, however late it comes (up to 2^31 requests).
    """

    def __init__(self, n_slots: int, first_sequence: int = 0) -> None:
        """Start a session.

        Args:
            n_slots: Requests in flight at most, 1 to 2^31.
            first_sequence: Number of the first request.
        """
        if not 1 <= n_slots <= _HALF_RANGE:
            message = f"{n_slots} requests in flight are not possible; 1 to {_HALF_RANGE} are"
            raise ValueError(message)
        self._slots = [_Slot() for _ in range(n_slots)]
        self._next = self._oldest = first_sequence
        self._n_open = 0

    @property
    def n_open(self) -> int:
        """Requests in flight."""
        return self._n_open

    @property
    def n_free(self) -> int:
        """Requests that `open` takes now; the oldest one in flight holds up those behind it."""
        return len(self._slots) - (self._next - self._oldest)

    def open(
        self, deadline_ns: int = 0, function: str | int = "", timeout_s: float = 0.0
    ) -> int | None:
        """Begin the next request.

        Args:
            deadline_ns: When `expired` gives it up (ns on the caller's monotonic clock).
            function: What is called, for `asked`.
            timeout_s: The caller's patience (s), for `asked`.

        Returns:
            Its request id; None while its slot holds an unanswered request.
        """
        slot = self._slots[self._next % len(self._slots)]
        if slot.is_open:
            return None
        slot.sequence, slot.function, slot.timeout_s = self._next, function, timeout_s
        slot.is_open, slot.is_answered, slot.deadline_ns = True, False, deadline_ns
        self._next += 1
        self._n_open += 1
        return slot.sequence & MAX_U32

    def close(self, request_id: int) -> Match:
        """Take an answer.

        Args:
            request_id: As in its header.

        Returns:
            Whether the answer belongs to a request in flight; only then is it used.
        """
        newest = self._next - 1
        age = (newest - request_id) & MAX_U32
        sequence = newest - age
        if age >= _HALF_RANGE or sequence < 0:
            return Match.UNMATCHED
        slot = self._slots[sequence % len(self._slots)]
        if slot.sequence != sequence:
            return Match.STALE
        if not slot.is_open:
            return Match.DUPLICATE if slot.is_answered else Match.STALE
        slot.is_answered = True
        self._free(slot)
        return Match.OURS

    def expired(self, now_ns: int) -> list[int]:
        """Give up the requests whose deadline has passed.

        Args:
            now_ns: The caller's monotonic clock.

        Returns:
            Their request ids, oldest first; an answer that still comes is `STALE`.
        """
        late = [slot for slot in self._slots if slot.is_open and slot.deadline_ns <= now_ns]
        late.sort(key=lambda slot: slot.sequence)
        for slot in late:
            self._free(slot)
        return [slot.sequence & MAX_U32 for slot in late]

    def asked(self, request_id: int) -> tuple[str | int, float, int]:
        """Function, patience (s) and deadline (ns) of one of the last requests.

        They are as many as there are slots.
        """
        newest = self._next - 1
        sequence = newest - ((newest - request_id) & MAX_U32)
        slot = self._slots[sequence % len(self._slots)]
        return slot.function, slot.timeout_s, slot.deadline_ns

    def _free(self, slot: _Slot) -> None:
        slot.is_open = False
        self._n_open -= 1
        if slot.sequence == self._oldest:
            n_slots = len(self._slots)
            while self._oldest < self._next and not self._slots[self._oldest % n_slots].is_open:
                self._oldest += 1


class Repeat(Enum):
    """What a request is to a server."""

    NEW = "new"
    ANSWERED = "answered"
    IN_PROGRESS = "in progress"
    REUSED_ID = "reused id"
    STALE = "stale"


@dataclass(slots=True)
class _Seen:
    fingerprint: tuple[int, int, int]
    answer: bytes | None = None


def fingerprint_of(function: int, arguments: Buffer) -> tuple[int, int, int]:
    """What tells a repeated request from another one with the same id."""
    view = memoryview(arguments)
    return function, view.nbytes, zlib.crc32(view)


class DuplicateWindow:
    """The last requests of one session with their answers, so that each is executed once."""

    def __init__(self, capacity: int, *, sequenced: bool) -> None:
        """Remember the last `capacity` requests; 0 remembers none.

        Args:
            capacity: Requests to remember.
            sequenced: Whether ids count up one by one, as those of `RequestWindow` do. Then an id
                from before the window is known to be old, and is not executed again.
        """
        self._capacity = capacity
        self._sequenced = sequenced and capacity > 0
        self._seen: dict[int, _Seen] = {}
        self._newest: int | None = None

    def check(
        self, request_id: int, fingerprint: tuple[int, int, int]
    ) -> tuple[Repeat, bytes | None]:
        """Classify a request, and remember it where it is new.

        Args:
            request_id: As in its header.
            fingerprint: From `fingerprint_of`.

        Returns:
            The class, and the answer where it is `ANSWERED`.
        """
        known = self._seen.get(request_id)
        if known is not None and known.fingerprint == fingerprint:
            if known.answer is None:
                return Repeat.IN_PROGRESS, None
            return Repeat.ANSWERED, known.answer
        if known is None and self._is_old(request_id):
            return Repeat.STALE, None
        self._remember(request_id, fingerprint)
        return (Repeat.NEW if known is None else Repeat.REUSED_ID), None

    def answer(self, request_id: int, frame: bytes) -> None:
        """Keep the answer to a request that `check` found new."""
        known = self._seen.get(request_id)
        if known is not None:
            known.answer = frame

    def forget(self, request_id: int) -> None:
        """Let a request be tried again with the same id; for answers such as BUSY."""
        self._seen.pop(request_id, None)

    def _is_old(self, request_id: int) -> bool:
        if not self._sequenced or self._newest is None:
            return False
        age = (self._newest - request_id) & MAX_U32
        return self._capacity <= age < _HALF_RANGE

    def _remember(self, request_id: int, fingerprint: tuple[int, int, int]) -> None:
        if self._newest is None or (request_id - self._newest) & MAX_U32 < _HALF_RANGE:
            self._newest = request_id
        if self._capacity == 0:
            return
        self._seen.pop(request_id, None)  # the order of the dict is the order of arrival
        self._seen[request_id] = _Seen(fingerprint)
        if len(self._seen) > self._capacity:
            del self._seen[next(iter(self._seen))]


@dataclass(slots=True)
class Session:
    """One client as its server sees it.

    Attributes:
        peer: What the transport sends answers to.
        window: Its last requests.
    """

    peer: Hashable
    window: DuplicateWindow = field(default_factory=lambda: DuplicateWindow(64, sequenced=False))
