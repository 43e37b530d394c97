"""Playback schedules: NVIDIA's text format for scripted calls of decoders.

One line is `<trigger> <operation> [key=value ...]`, `#` begins a comment. The format is that of
the playback emulator of cudaq-qec 0.9, so that one file replays against both.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NoReturn

from cudaq_target.coupler.errors import ScheduleError

DEFAULT_MAX_ROUNDS: Final = 1000
_U32: Final = (1 << 32) - 1
_U64: Final = (1 << 64) - 1


class Operation(StrEnum):
    """What a line does; `enqueue` is a stream of one round."""

    RESET = "reset"
    STREAM = "stream"
    ENQUEUE_DATA = "enqueue_data"
    GET_CORRECTIONS = "get_corrections"


@dataclass(frozen=True, slots=True)
class Event:
    """A line of a schedule.

    Attributes:
        line: Its number in the text, from 1.
        operation: What it does.
        decoder_id: The decoder that it calls.
        ticks: When: from the start of the run, or after the previous line finished sending.
        is_relative: Which of the two.
        source_id: Where the bits come from; None for `bits`, and where none are sent.
        bits: One round of bits, given in the line.
        every: Ticks between two rounds; 0 sends as fast as possible.
        min_rounds: Rounds to send before `until` can end the stream.
        max_rounds: Rounds to send at most.
        until: Signal that ends the stream.
        expected: Bits of the correction that should come; empty for any.
        return_size: Bits of the correction.
        signal: Signal to raise once all replies of this line are there.
        after: Signal to wait for.
    """

    line: int
    operation: Operation
    decoder_id: int
    ticks: int
    is_relative: bool
    source_id: int | None = None
    bits: tuple[int, ...] = ()
    every: int = 1
    min_rounds: int = 1
    max_rounds: int = 1
    until: str | None = None
    expected: tuple[int, ...] = ()
    return_size: int = 0
    signal: str | None = None
    after: str | None = None


class _Operands:
    """The words of one line behind its operation; each is used once, by one reader."""

    def __init__(self, words: list[str], fail: Callable[[str], NoReturn]) -> None:
        self.fail = fail
        self._named: dict[str, str] = {}
        self._bare: list[str] = []
        for word in words:
            key, equals, value = word.partition("=")
            if not equals:
                self._bare.append(word)
            elif key in self._named:
                fail(f"{key}= is given twice")
            else:
                self._named[key] = value

    def name(self, key: str) -> str | None:
        value = self._named.pop(key, None)
        if value == "":
            self.fail(f"{key}= needs a value")
        return value

    def number(self, key: str, limit: int) -> int | None:
        value = self.name(key)
        if value is None:
            return None
        if not value.isascii() or not value.isdigit() or int(value) > limit:
            self.fail(f"{key}={value} is no whole number from 0 to {limit}")
        return int(value)

    def bare(self) -> str:
        if len(self._bare) > 1:
            self.fail("one word without a key is allowed")
        return self._bare.pop() if self._bare else ""

    def check_empty(self) -> None:
        left = [f"{key}=" for key in self._named] + self._bare
        if left:
            self.fail(f"{', '.join(left)} has no meaning here")

    def bits(self, text: str) -> tuple[int, ...]:
        if not re.fullmatch("[01]+", text):
            self.fail(f"{text!r} is no string of 0 and 1")
        return tuple(int(bit) for bit in text)


def parse_schedule(text: str) -> tuple[Event, ...]:
    r"""Read a schedule.

    Args:
        text: Its lines.

    Returns:
        One event per line that is not blank, in order.

    Raises:
        ScheduleError: A line makes no sense; the error names it.

    >>> [event.operation.value for event in parse_schedule("0 reset\n- get_corrections 01")]
    ['reset', 'get_corrections']
    """
    events: list[Event] = []
    raised: set[str] = set()
    for number, raw in enumerate(text.split("\n"), 1):
        words = raw.partition("#")[0].split()
        if not words:
            continue
        event = _read_line(number, raw.strip(), words, events)
        for name in (event.until, event.after):
            if name is not None and name not in raised:
                reason = f"no earlier line raises signal {name!r}"
                raise ScheduleError(number, raw.strip(), reason)
        if event.signal is not None:
            raised.add(event.signal)
        events.append(event)
    return tuple(events)


def _read_line(number: int, raw: str, words: list[str], before: list[Event]) -> Event:
    def fail(reason: str) -> NoReturn:
        raise ScheduleError(number, raw, reason)

    if len(words) < 2:
        fail("a line is '<trigger> <operation> [key=value ...]'")
    ticks, is_relative = _read_trigger(words[0], before, fail)
    operands = _Operands(words[2:], fail)
    decoder_id = operands.number("session", _U64) or 0
    signal, after = operands.name("signal"), operands.name("after")
    event = _read_operation(words[1], operands, number, decoder_id, ticks, is_relative)
    operands.check_empty()
    return replace(event, signal=signal, after=after)


def _read_trigger(
    word: str, before: list[Event], fail: Callable[[str], NoReturn]
) -> tuple[int, bool]:
    is_relative = word.startswith("+") or word == "-"
    digits = "0" if word == "-" else word.removeprefix("+")
    if not digits.isascii() or not digits.isdigit() or int(digits) > _U64:
        fail(f"trigger {word!r} is neither a tick N, nor '+N', nor '-'")
    if before and not is_relative:
        if before[-1].is_relative:
            fail("after a '+N' or '-', every later trigger must be one, too")
        if int(digits) < before[-1].ticks:
            fail(f"tick {digits} comes after tick {before[-1].ticks}")
    return int(digits), is_relative


def _read_operation(
    name: str, operands: _Operands, line: int, decoder_id: int, ticks: int, is_relative: bool
) -> Event:
    if name == "reset":
        return Event(line, Operation.RESET, decoder_id, ticks, is_relative)
    if name == "get_corrections":
        word = operands.bare()
        expected = operands.bits(word) if word else ()
        size = operands.number("return_size", _U32) or 0
        if expected and size not in {0, len(expected)}:
            operands.fail(f"return_size={size} disagrees with {len(expected)} expected bits")
        if not expected and size == 0:
            operands.fail("get_corrections needs the expected bits or return_size=")
        return Event(
            line,
            Operation.GET_CORRECTIONS,
            decoder_id,
            ticks,
            is_relative,
            expected=expected,
            return_size=size or len(expected),
        )
    if name not in {"stream", "enqueue", "enqueue_data"}:
        operands.fail(
            f"operation {name!r} is none of reset, stream, enqueue, enqueue_data, get_corrections"
        )
    source_id, bits = _read_source(name, operands)
    every, until, (min_rounds, max_rounds) = 1, None, (1, 1)
    if name == "stream":
        given = operands.number("every", _U64)
        every = 1 if given is None else given
        until = operands.name("until")
        min_rounds, max_rounds = _read_rounds(operands, is_open=until is not None)
    operation = Operation.ENQUEUE_DATA if name == "enqueue_data" else Operation.STREAM
    return Event(
        line,
        operation,
        decoder_id,
        ticks,
        is_relative,
        source_id=source_id,
        bits=bits,
        every=every,
        min_rounds=min_rounds,
        max_rounds=max_rounds,
        until=until,
    )


def _read_source(name: str, operands: _Operands) -> tuple[int | None, tuple[int, ...]]:
    value = operands.name("source")
    if value is None:
        operands.fail(f"{name} needs source=N or source=0b<bits>")
    if value.startswith("0b"):
        return None, operands.bits(value[2:])
    if not value.isascii() or not value.isdigit() or int(value) >= _U32:
        operands.fail(f"source={value} is neither a number below {_U32} nor 0b<bits>")
    return int(value), ()


def _read_rounds(operands: _Operands, *, is_open: bool) -> tuple[int, int]:
    rounds, low, high = (
        operands.number(key, _U32) for key in ("rounds", "min_rounds", "max_rounds")
    )
    if rounds is not None:
        if low is not None or high is not None:
            operands.fail("rounds= excludes min_rounds= and max_rounds=")
        low = high = rounds
    if not is_open and high is not None and low != high:
        operands.fail("without until= nothing ends the stream early: give rounds=")
    low = 1 if low is None else low
    if high is None:
        high = DEFAULT_MAX_ROUNDS if is_open else low
    if not 0 < high >= low:
        operands.fail(f"{low} to {high} rounds are not possible")
    return low, high
