"""Reads files of events while they are written: whole lines, checked field by field."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.errors import EventFileError
from cudaq_target.watch.fields import wrong_field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cudaq_target.coupler.loops.events import Event

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
            event: Any = _parsed(line)
        except ValueError as error:
            raise EventFileError(str(self.path), self._line, "is no event") from error
        if wrong := wrong_field(event):
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
        return json.loads(line, parse_constant=_refuse)
    except ValueError:
        # A text within an event cannot hold this: its quotes have backslashes.
        start = line.rfind(_HEAD)
        if start <= 0:
            raise
        return json.loads(line[start:], parse_constant=_refuse)


def _refuse(name: str) -> None:
    """JSON has no NaN and no infinity, though Python reads them."""
    raise ValueError(name)


def _may_begin(half: bytes) -> bool:
    """Whether half a line may become the first event of a file."""
    n_bytes = min(len(half), len(_HEAD))
    return half[:n_bytes] == _HEAD[:n_bytes]
