"""Reads files of events while they are written: whole lines, checked field by field."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.coupler.loops.events import BATCH, END, FAULT, START, STEP
from cudaq_target.errors import EventFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cudaq_target.coupler.loops.events import Event

_NUMBER: Final = (int, float)
_MAYBE: Final = (int, float, type(None))
_COUNTS: Final = {"n_measured": int, "n_used": int, "n_saved": int}

_FIELDS: Final[dict[str, dict[str, Any]]] = {
    START: {"loop": str, "unit": str, "reference": _MAYBE, "machine": dict, "policy": str},
    BATCH: {"step": int, "setting": int, "n_shots": int, "estimate": dict, "rtt_ns": int},
    STEP: {"step": int, "point": list, "estimate": dict, **_COUNTS},
    FAULT: {"error": str, "text": str, "recovered": bool},
    END: {"status": str, "estimate": (dict, type(None)), "rtt_ns": dict, **_COUNTS},
}
_ESTIMATE: Final = {
    "value": _MAYBE,
    "standard_error": _MAYBE,
    "low": _MAYBE,
    "high": _MAYBE,
    "confidence": _MAYBE,
    "n_shots": int,
    "n_shots_by_setting": list,
}
_HEAD: Final = b'{"event":'
_MAX_LINE_BYTES: Final = 1 << 24
_CHUNK_BYTES: Final = 1 << 20


@dataclass(slots=True)
class EventReader:
    """A file of events, as far as it was read.

    A line without its end is left for the next time. A process that was killed while it wrote
    leaves half a line, which the next one goes on behind: what follows the half is read.

    Attributes:
        path: The file.
    """

    path: Path
    _offset: int = field(default=0, init=False)
    _line: int = field(default=0, init=False)
    _rest: bytes = field(default=b"", init=False)

    def read(self) -> Iterator[Event]:
        """Read what was appended since the last time; a file that shrank is begun again.

        Yields:
            Events in order, checked: those of this version have their fields, others may be any.

        Raises:
            EventFileError: The file cannot be read, or a line is no event.
        """
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self._offset:
                    self._offset, self._line, self._rest = 0, 0, b""
                file.seek(self._offset)
                while chunk := file.read(_CHUNK_BYTES):
                    self._offset += len(chunk)
                    yield from self._lines(chunk)
        except OSError as error:
            raise EventFileError(str(self.path), 0, f"cannot be read ({error.strerror})") from error

    def _lines(self, chunk: bytes) -> Iterator[Event]:
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            self._line += 1
            yield self._event(line)
        if len(self._rest) > _MAX_LINE_BYTES or (not self._line and not _may_begin(self._rest)):
            raise EventFileError(str(self.path), self._line + 1, "is no event")

    def _event(self, line: bytes) -> Event:
        try:
            event = _parsed(line)
        except ValueError as error:
            raise EventFileError(str(self.path), self._line, "is no event") from error
        wrong = _wrong_field(event)
        if wrong:
            raise EventFileError(str(self.path), self._line, wrong)
        checked: Event = event
        return checked


def read_file(path: Path | str) -> Iterator[Event]:
    """Read the events that a file holds, and check them.

    Raises:
        EventFileError: It cannot be read, holds no event, or a line is none.
    """
    n_events = 0
    for event in EventReader(Path(path)).read():
        n_events += 1
        yield event
    if not n_events:
        raise EventFileError(str(path), 0, "holds no event")


def _parsed(line: bytes) -> object:
    """Read a line, or what begins behind the half of another one.

    Raises:
        ValueError: Neither is JSON.
    """
    try:
        return json.loads(line)
    except ValueError:
        # A text within an event cannot hold this: its quotes have backslashes.
        start = line.rfind(_HEAD)
        if start <= 0:
            raise
        return json.loads(line[start:])


def _may_begin(half: bytes) -> bool:
    """Whether half a line may become the first event of a file."""
    n_bytes = min(len(half), len(_HEAD))
    return half[:n_bytes] == _HEAD[:n_bytes]


def _wrong_field(event: object) -> str:
    """Name the first field that is missing or of another type; empty where all are as expected."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return "is no event"
    kind = event["event"]
    if not isinstance(event.get("t"), _NUMBER):
        return f"is an event {kind!r} without the field 't'"
    expected = dict(_FIELDS.get(kind, {}))
    estimate = event.get("estimate")
    if wrong := _missing(event, expected):
        return f"is an event {kind!r} whose field {wrong!r} is missing or of another type"
    if (
        kind in {BATCH, STEP, END}
        and estimate is not None
        and (wrong := _missing(estimate, _ESTIMATE))
    ):
        return f"is an event {kind!r} whose estimate has no {wrong!r}, or one of another type"
    return ""


def _missing(fields: dict[str, Any], expected: dict[str, Any]) -> str:
    return next(
        (name for name, kind in expected.items() if not isinstance(fields.get(name, _NONE), kind)),
        "",
    )


class _Nothing:
    """What no field is."""


_NONE: Final = _Nothing()
