"""Plays a schedule against decode servers, on time, and writes what happened as CSV.

One thread sends each line when it is due and takes replies while it waits; nothing waits for a
reply unless the schedule says so. The columns are those of cudaq-qec's playback emulator.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from cudaq_target.coupler.decode_server import (
    enqueue_arguments,
    get_corrections_arguments,
    reset_arguments,
)
from cudaq_target.coupler.errors import PlaybackError
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.link_errors import LinkError
from cudaq_target.coupler.payload import packed_bytes, unpack_bits
from cudaq_target.coupler.playback_callers import Caller, Reply
from cudaq_target.coupler.schedule import Event, Operation, parse_schedule
from cudaq_target.coupler.sources import MemorySource

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPIN_NS: Final = 200_000  # a sleep ends late by less than this on an idle machine
_MAX_SLEEP_NS: Final = 1_000_000
_UNPACED_NS: Final = 50_000


class Outcome(IntEnum):
    """Status of a line beyond those of `frame.Status`."""

    NEVER_RAN = -1
    STREAM_OK = 100
    SOURCE_EXHAUSTED = 101
    ROUNDS_EXHAUSTED = 102
    STREAM_ERROR = 103


@dataclass(slots=True)
class Request:
    """One call of a line.

    Attributes:
        request_id: As in its frame.
        dispatch_ns: When it was sent (ns from tick 0).
        return_ns: When its reply was taken (ns from tick 0), 0 for never.
        status: Of its reply, -1 for none.
    """

    request_id: int
    dispatch_ns: int
    return_ns: int = 0
    status: int = -1


@dataclass(slots=True)
class Record:
    """What became of a line; times in ns from tick 0.

    Attributes:
        event: The line.
        deadline_ns: When it was due.
        call_ns: When it began to send.
        return_ns: When its last reply was taken.
        stream_status: How its stream ended; None for other lines.
        dispatched: Whether it ran.
        syndrome_bits: Bits sent.
        correction_bits: Bits received; None where no correction came.
        requests: Its calls, in order.
    """

    event: Event
    deadline_ns: int = 0
    call_ns: int = 0
    return_ns: int = 0
    stream_status: Outcome | None = None
    dispatched: bool = False
    syndrome_bits: list[int] = field(default_factory=list)
    correction_bits: tuple[int, ...] | None = None
    requests: list[Request] = field(default_factory=list)

    @property
    def status(self) -> int:
        """As in the CSV."""
        if not self.dispatched:
            return Outcome.NEVER_RAN
        if self.stream_status is not None:
            failed = any(one.status not in _HARMLESS for one in self.requests)
            return Outcome.STREAM_ERROR if failed else self.stream_status
        return self.requests[-1].status if self.requests else Outcome.NEVER_RAN

    @property
    def correction_mismatch(self) -> bool:
        """Whether another correction came than the schedule expects."""
        expected = self.event.expected
        return bool(expected) and self.correction_bits not in {None, expected}

    def row(self, index: int) -> dict[str, str | int]:
        """The line of the CSV."""
        event, requests = self.event, self.requests
        is_stream = event.operation in {Operation.STREAM, Operation.ENQUEUE_DATA}
        return {
            "event_index": index,
            "decoder_id": event.decoder_id,
            "op": event.operation.value,
            "deadline_ns": self.deadline_ns,
            "call_ns": self.call_ns,
            "return_ns": self.return_ns,
            "status": int(self.status),
            "rounds_streamed": len(requests) if is_stream else 0,
            "read_completed": int(self.correction_bits is not None),
            "syndrome_bits": _text(self.syndrome_bits),
            "correction_bits": _text(self.correction_bits or ()),
            "correction_mismatch": int(self.correction_mismatch),
            "request_ids": _joined(one.request_id for one in requests),
            "dispatched": int(self.dispatched),
            "request_dispatch_ns": _joined(one.dispatch_ns for one in requests),
            "request_return_ns": _joined(one.return_ns for one in requests),
            "request_status": _joined(one.status for one in requests),
        }


_HARMLESS: Final = frozenset({Status.OK, Status.NOT_READY})


@dataclass(frozen=True, slots=True)
class PlaybackResult:
    """What became of a schedule.

    Attributes:
        records: One per line, in order.
        warnings: Why the run stopped early, and what else was odd.
    """

    records: tuple[Record, ...]
    warnings: tuple[str, ...]

    def rows(self) -> list[dict[str, str | int]]:
        """The lines of the CSV."""
        return [record.row(index) for index, record in enumerate(self.records)]

    def write_csv(self) -> str:
        """The CSV, with its header."""
        text = io.StringIO()
        names = list(Record(_ANY_EVENT).row(0))
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows())
        return text.getvalue()


_ANY_EVENT: Final = Event(0, Operation.RESET, 0, 0, is_relative=False)


def play(
    schedule: str | Sequence[Event],
    callers: Mapping[int, Caller],
    sources: Mapping[int, Iterable[NDArray[np.uint8]]] | None = None,
    *,
    tick_ns: int = 1000,
    lead_in_ns: int = 20_000_000,
    timeout_ns: int = 200_000_000,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], object] = time.sleep,
) -> PlaybackResult:
    """Play a schedule.

    Args:
        schedule: Its text, or its events.
        callers: Sessions by decoder; several decoders may share one.
        sources: Rounds of bits by source id, each of shape (n_bits,); see `sources`.
        tick_ns: Length of a tick (ns).
        lead_in_ns: From the call to tick 0 (ns).
        timeout_ns: How long a call waits for its reply (ns).
        clock: Monotonic (ns).
        sleep: Waits (s).

    Returns:
        What each line did, when, and whether corrections were those expected.

    Raises:
        ScheduleError: A line makes no sense.
        PlaybackError: A line names a decoder or source that is not given, or a time is not
            positive.
    """
    events = parse_schedule(schedule) if isinstance(schedule, str) else tuple(schedule)
    rounds = {
        key: source if isinstance(source, MemorySource) else iter(source)
        for key, source in (sources or {}).items()
    }
    for event in events:
        if event.decoder_id not in callers:
            what = f"line {event.line} calls decoder {event.decoder_id}, which is not given"
            raise PlaybackError(f"{what}; {_given('decoders', callers)}")
        if event.source_id is not None and event.source_id not in rounds:
            what = f"line {event.line} names source {event.source_id}, which is not given"
            raise PlaybackError(f"{what}; {_given('sources', rounds)}")
    if min(tick_ns, timeout_ns) <= 0:
        reason = f"a tick of {tick_ns} ns and a timeout of {timeout_ns} ns must be positive"
        raise PlaybackError(reason)
    player = _Player(callers, rounds, tick_ns, timeout_ns, clock, sleep)
    return player.play(events, lead_in_ns)


def _given(what: str, ids: Iterable[int]) -> str:
    return f"given {what}: {', '.join(str(one) for one in sorted(ids)) or 'none'}"


class _Player:
    """One run of a schedule."""

    def __init__(
        self,
        callers: Mapping[int, Caller],
        rounds: Mapping[int, Iterator[NDArray[np.uint8]]],
        tick_ns: int,
        timeout_ns: int,
        clock: Callable[[], int],
        sleep: Callable[[float], object],
    ) -> None:
        self._callers = callers
        self._rounds = rounds
        self._tick_ns = tick_ns
        self._timeout_ns = timeout_ns
        self._clock = clock
        self._sleep = sleep
        self._start_ns = 0
        self._open: dict[tuple[Caller, int], tuple[Record, Request]] = {}
        self._unsent: set[int] = set()
        self._raised: set[str] = set()
        self._warnings: list[str] = []
        self._is_aborted = False

    def play(self, events: Sequence[Event], lead_in_ns: int) -> PlaybackResult:
        records = tuple(Record(event) for event in events)
        self._start_ns = self._clock() + lead_in_ns
        self._wait_until(0)
        finished_ns = 0
        for record in records:
            if self._is_aborted:
                break
            due_ns = record.event.ticks * self._tick_ns
            record.deadline_ns = due_ns + (finished_ns if record.event.is_relative else 0)
            self._wait_until(record.deadline_ns)
            self._wait_for(record.event.after)
            if not self._is_aborted:
                self._run(record)
                finished_ns = self._now_ns()
        while self._open:
            self._take_replies(self._now_ns() + _MAX_SLEEP_NS)
        return PlaybackResult(records, tuple(self._warnings))

    def _now_ns(self) -> int:
        return self._clock() - self._start_ns

    def _wait_until(self, due_ns: int) -> None:
        """Take replies until `due_ns`; the last stretch is not slept through."""
        while (now_ns := self._now_ns()) < due_ns:
            self._take_replies(min(due_ns - _SPIN_NS, now_ns + _MAX_SLEEP_NS))

    def _wait_for(self, signal: str | None) -> None:
        while signal is not None and signal not in self._raised and not self._is_aborted:
            self._take_replies(self._now_ns() + _SPIN_NS)

    def _run(self, record: Record) -> None:
        record.dispatched = True
        record.call_ns = self._now_ns()
        event = record.event
        self._unsent.add(id(record))
        if event.operation is Operation.RESET:
            self._send(record, "reset_decoder", reset_arguments(event.decoder_id))
        elif event.operation is Operation.GET_CORRECTIONS:
            # A playback read consumes the shot that it reports on.
            arguments = get_corrections_arguments(event.decoder_id, event.return_size, reset=True)
            self._send(record, "get_corrections", arguments)
        else:
            record.stream_status = self._stream(record)
        self._unsent.discard(id(record))
        self._settle(record)

    def _stream(self, record: Record) -> Outcome:
        event, next_ns = record.event, record.deadline_ns
        n_rounds = 0
        while n_rounds < event.max_rounds:
            self._wait_until(next_ns)
            if self._is_aborted:
                return Outcome.STREAM_ERROR
            bits = self._draw(event)
            if bits is None:
                return Outcome.SOURCE_EXHAUSTED
            next_ns += event.every * self._tick_ns
            # Counter 0, as NVIDIA's player sends: the server executes each of these.
            self._send(record, "enqueue_syndromes", enqueue_arguments(event.decoder_id, 0, bits))
            record.syndrome_bits.extend(int(bit) for bit in bits)
            n_rounds += 1
            if n_rounds >= event.min_rounds:
                if event.until is None or event.until in self._raised:
                    return Outcome.STREAM_OK
                self._take_replies(self._now_ns() + (_UNPACED_NS if event.every == 0 else 0))
        return Outcome.ROUNDS_EXHAUSTED

    def _draw(self, event: Event) -> NDArray[np.uint8] | None:
        if event.source_id is None:
            return np.array(event.bits, dtype=np.uint8)
        source = self._rounds[event.source_id]
        if event.operation is Operation.ENQUEUE_DATA and isinstance(source, MemorySource):
            return source.final_readout()
        return next(source, None)

    def _send(self, record: Record, function: str, arguments: bytes) -> None:
        caller = self._callers[record.event.decoder_id]
        sent_ns = self._now_ns()
        try:
            request = Request(caller.submit(function, arguments), sent_ns)
        except LinkError as error:
            record.requests.append(Request(0, sent_ns, status=Status.INTERNAL_ERROR))
            self._abort(f"line {record.event.line} could not be sent ({error})")
            return
        record.requests.append(request)
        self._open[caller, request.request_id] = (record, request)

    def _take_replies(self, until_ns: int) -> None:
        """Take what is there; wait until `until_ns` for more where nothing is."""
        waiting = {caller for caller, _ in self._open}
        wait_s = max(0, until_ns - self._now_ns()) / 1e9
        share_s = wait_s / len(waiting) if waiting else 0.0
        is_idle = True
        for caller in waiting:
            reply = caller.collect(share_s)
            while reply is not None:
                is_idle = False
                self._take(caller, reply)
                reply = caller.collect(0.0)
        self._give_up()
        left_s = (until_ns - self._now_ns()) / 1e9
        if is_idle and left_s > 0:
            self._sleep(left_s)

    def _take(self, caller: Caller, reply: Reply) -> None:
        record, request = self._open.pop((caller, reply.request_id), (None, None))
        if record is None or request is None:
            self._warnings.append(f"reply {reply.request_id} answers no request of ours")
            return
        request.return_ns = record.return_ns = self._now_ns()
        request.status = reply.status
        if record.event.operation is Operation.GET_CORRECTIONS and reply.status == Status.OK:
            n_bits = record.event.return_size
            if len(reply.result) < packed_bytes(n_bits):
                request.status = Status.INTERNAL_ERROR  # a short reply is not a zero correction
            else:
                bits = unpack_bits(reply.result, n_bits)
                record.correction_bits = tuple(int(bit) for bit in bits)
        if request.status not in _HARMLESS:
            self._abort(f"line {record.event.line} was answered with status {request.status}")
        self._settle(record)

    def _settle(self, record: Record) -> None:
        """Raise the signal of a line that has sent everything and has every reply."""
        is_answered = all(one.status != -1 for one in record.requests)
        if record.event.signal and is_answered and id(record) not in self._unsent:
            self._raised.add(record.event.signal)

    def _give_up(self) -> None:
        now_ns = self._now_ns()
        for key, (record, request) in list(self._open.items()):
            if now_ns - request.dispatch_ns >= self._timeout_ns:
                del self._open[key]
                request.status = Status.INTERNAL_ERROR
                self._abort(f"line {record.event.line} got no reply in {self._timeout_ns} ns")

    def _abort(self, reason: str) -> None:
        if not self._is_aborted:
            self._is_aborted = True
            self._warnings.append(f"{reason}; the run stopped")


def _text(bits: Iterable[int]) -> str:
    return "".join(str(bit) for bit in bits)


def _joined(numbers: Iterable[int]) -> str:
    return " ".join(str(int(number)) for number in numbers)
