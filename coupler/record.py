"""Recordings of frames that survive a crash, and their replay.

A recording is a header and records, each with its length and a checksum. A crash can only damage
its tail: the reader gives every whole record and says where and why it stopped.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from dataclasses import replace as with_fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cudaq_target.coupler.closing import Closing
from cudaq_target.coupler.dispatch import PENDING, Call, Function, Reply
from cudaq_target.coupler.errors import RecordingError
from cudaq_target.coupler.frame import (
    HEADER_BYTES,
    RequestHeader,
    read_request,
    request_frame,
    response_frame,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from cudaq_target.coupler.link import Answer, Link

REQUESTS: Final = 0
ANSWERS: Final = 1
MAGIC: Final = b"CQTREC\x00\x01"
MAX_FRAME_BYTES: Final = 1 << 28
_FILE: Final = struct.Struct("<8sQQ")
_RECORD: Final = struct.Struct("<IIQI")
_FLUSH_BYTES: Final = 1 << 20


class Durability(Enum):
    """What a record survives once `write` has returned.

    `BUFFERED`: nothing; up to 1 MiB of records is lost with the process. `PROCESS`: the death of
    the process, as the kernel has it. `POWER`: the death of the machine, as the disk has it.
    """

    BUFFERED = "buffered"
    PROCESS = "process"
    POWER = "power"


class RecordedFrame(NamedTuple):
    """A frame as it was seen.

    Attributes:
        stamp_ns: Monotonic clock of the recorder (ns).
        channel: What the recorder called its origin, for example 0 for requests, 1 for answers.
        frame: Its bytes.
    """

    stamp_ns: int
    channel: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a recording that hold no record.

    Attributes:
        offset: Where they begin (bytes).
        n_bytes: How many there are.
        reason: What is wrong with them.
    """

    offset: int
    n_bytes: int
    reason: str

    def __str__(self) -> str:
        return f"{self.n_bytes} bytes from byte {self.offset} on hold no record: {self.reason}"


class Recorder(Closing):
    """Writes a recording; a context manager."""

    def __init__(
        self,
        path: Path | str,
        *,
        durability: Durability = Durability.PROCESS,
        resume: bool = False,
    ) -> None:
        """Begin a recording.

        Args:
            path: The file; must not exist unless `resume`.
            durability: What a record survives.
            resume: Whether to go on with a recording that exists, after cutting a damaged tail.

        Raises:
            RecordingError: The file exists, or is no recording.
        """
        self._path = Path(path)
        self._durability = durability
        self._waiting = bytearray()
        exists = self._path.exists()
        if exists and not resume:
            raise RecordingError(str(path), "it exists", "Choose another name, or resume it")
        end = _end_of_whole_records(self._path) if exists else 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if exists else os.O_EXCL)
        self._file = os.open(self._path, flags, 0o600)
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, os.SEEK_SET)
        if end == 0:
            head = _FILE.pack(MAGIC, time.time_ns(), time.monotonic_ns())
            self._put(head)
            self.flush()
            if durability is Durability.POWER:
                _sync_folder(self._path.absolute().parent)

    def write(self, frame: Buffer, channel: int = 0, stamp_ns: int | None = None) -> None:
        """Append a frame.

        Args:
            frame: Its bytes, at most `MAX_FRAME_BYTES`.
            channel: Any number below 2^32.
            stamp_ns: Monotonic clock (ns); now by default.

        Raises:
            RecordingError: The frame is too long.
            OSError: The disk is full or broken; the recording ends with its last whole record.
        """
        body = bytes(frame)
        if len(body) > MAX_FRAME_BYTES:
            reason = f"a frame of {len(body)} bytes is longer than {MAX_FRAME_BYTES}"
            raise RecordingError(str(self._path), reason, "Record shorter frames")
        stamp = time.monotonic_ns() if stamp_ns is None else stamp_ns
        self._put(_packed(body, channel, stamp))

    def flush(self) -> None:
        """Hand every record to the kernel, and to the disk under `POWER`."""
        view = memoryview(self._waiting)
        n_written = 0
        try:
            while n_written < len(view):
                n_written += os.write(self._file, view[n_written:])
        finally:
            view.release()
            del self._waiting[:n_written]
        if self._durability is Durability.POWER:
            os.fsync(self._file)

    def close(self) -> None:
        """Write what is waiting to the disk, and end the recording."""
        if self._file >= 0:
            try:
                self.flush()
                os.fsync(self._file)
            finally:
                os.close(self._file)
                self._file = -1

    def _put(self, record: bytes) -> None:
        self._waiting += record
        if self._durability is not Durability.BUFFERED or len(self._waiting) >= _FLUSH_BYTES:
            self.flush()


def read_recording(path: Path | str) -> Iterator[RecordedFrame | Damage]:
    """Read a recording from its beginning.

    Args:
        path: The file; it may still be growing, and is read as far as it goes.

    Yields:
        The whole records in order, and a `Damage` for bytes between or after them that hold none.

    Raises:
        RecordingError: The file is no recording.
    """
    for _, item in _scan(Path(path)):
        yield item


def replay(
    frames: Iterable[RecordedFrame | Damage],
    send: Callable[[RecordedFrame], object],
    *,
    speed: float | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], object] = time.sleep,
) -> int:
    """Send recorded frames again.

    Args:
        frames: From `read_recording`; damage is skipped.
        send: Called with each frame.
        speed: 1 keeps the distances between the frames, 2 halves them; None does not wait.
        clock: Monotonic (ns).
        sleep: Waits (s).

    Returns:
        How many were sent.
    """
    n_sent = 0
    first: tuple[int, int] | None = None
    for item in frames:
        if isinstance(item, Damage):
            continue
        if speed is not None:
            if first is None:
                first = item.stamp_ns, clock()
            due_ns = first[1] + int((item.stamp_ns - first[0]) / speed)
            if (wait_ns := due_ns - clock()) > 0:
                sleep(wait_ns / 1e9)
        send(item)
        n_sent += 1
    return n_sent


def recorded(functions: Iterable[Function], recorder: Recorder) -> list[Function]:
    """Have every call recorded: its request on channel `REQUESTS`, its answer on `ANSWERS`.

    Args:
        functions: Of one server; what they answer later (`PENDING`) or by raising has a request in
            the recording and no answer.
        recorder: Used by nobody else.

    Returns:
        The same functions, to be served.
    """
    return [
        with_fields(function, handler=_recorded(function.handler, recorder))
        for function in functions
    ]


def resend(link: Link, timeout_s: float = 1.0) -> Callable[[RecordedFrame], Answer | None]:
    """What `replay` needs to make the recorded calls again.

    Args:
        link: To the server.
        timeout_s: How long each call waits for its answer (s).

    Returns:
        A function that makes the call of a recorded request and gives its answer; None for frames
        that are no requests.
    """

    def send(item: RecordedFrame) -> Answer | None:
        header = read_request(item.frame, len(item.frame), len(item.frame))
        if item.channel != REQUESTS or not isinstance(header, RequestHeader):
            return None
        arguments = item.frame[HEADER_BYTES:]
        stamp_ns = header.timestamp_ns
        return link.call(header.function_id, arguments, timeout_s, timestamp_ns=stamp_ns)

    return send


def _recorded(handler: Callable[[Call], Reply], recorder: Recorder) -> Callable[[Call], Reply]:
    def call_and_record(call: Call) -> Reply:
        function, _, request_id, stamp_ns = call.header
        recorder.write(request_frame(function, call.arguments, request_id, stamp_ns), REQUESTS)
        reply = handler(call)
        if reply != PENDING:
            result = call.result[: reply.n_bytes]
            recorder.write(response_frame(reply.status, result, request_id, stamp_ns), ANSWERS)
        return reply

    return call_and_record


def _packed(body: bytes, channel: int, stamp_ns: int) -> bytes:
    checked = _RECORD.pack(len(body), 0, stamp_ns, channel) + body
    return _RECORD.pack(len(body), zlib.crc32(checked), stamp_ns, channel) + body


def _scan(path: Path) -> Iterator[tuple[int, RecordedFrame | Damage]]:
    """Items with the offset after each."""
    content = path.read_bytes()
    if len(content) < _FILE.size or not content.startswith(MAGIC):
        raise RecordingError(str(path), "it does not begin like one", "Name a recording")
    offset = _FILE.size
    while offset < len(content):
        found = _record_at(content, offset)
        if isinstance(found, RecordedFrame):
            offset += _RECORD.size + len(found.frame)
            yield offset, found
            continue
        # A damaged record with a whole one behind it, as its length says, is skipped.
        following = offset + _RECORD.size + _length_at(content, offset)
        is_inside = following < len(content) and isinstance(
            _record_at(content, following), RecordedFrame
        )
        end = following if is_inside else len(content)
        yield end, Damage(offset, end - offset, found)
        offset = end


def _length_at(content: bytes, offset: int) -> int:
    rest = len(content) - offset
    return int(_RECORD.unpack_from(content, offset)[0]) if rest >= _RECORD.size else rest


def _record_at(content: bytes, offset: int) -> RecordedFrame | str:
    """The record that begins at `offset`, or why there is none."""
    if len(content) - offset < _RECORD.size:
        return "it ends within the header of a record"
    n_bytes, checksum, stamp_ns, channel = _RECORD.unpack_from(content, offset)
    begin = offset + _RECORD.size
    if n_bytes > len(content) - begin:
        return "it ends within a record"
    body = content[begin : begin + n_bytes]
    if zlib.crc32(_RECORD.pack(n_bytes, 0, stamp_ns, channel) + body) != checksum:
        return "the checksum is wrong"
    return RecordedFrame(stamp_ns, channel, body)


def _end_of_whole_records(path: Path) -> int:
    end = _FILE.size
    if path.stat().st_size == 0:
        return 0
    for offset, item in _scan(path):
        if isinstance(item, RecordedFrame):
            end = offset
    return end


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file survive, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
