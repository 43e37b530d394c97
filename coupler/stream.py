"""Messages of a shot stream: what its two ends tell each other, whatever carries it.

The sender numbers shots from 0. A shot it can no longer send is reported as a gap; the receiver
answers each message with a `Credit`. Delivered and reported missing shots add up to those sent.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

SHOT_BATCH: Final = "shot_batch"
SHOT_GAP: Final = "shot_gap"
SHOT_END: Final = "shot_end"
SHOT_CREDIT: Final = "shot_credit"
BULK_ENDPOINT: Final = "bulk_endpoint"
BULK_CREDIT: Final = "bulk_credit"

_GAP: Final = struct.Struct("<QQQ")
_END: Final = struct.Struct("<QQ")
_CREDIT: Final = struct.Struct("<QQQQII")
_PART: Final = struct.Struct("<II")
CREDIT_BYTES: Final = _CREDIT.size
PART_HEADER_BYTES: Final = _PART.size


class StreamMessage(NamedTuple):
    """A message to the receiver.

    Attributes:
        function: `SHOT_BATCH`, `SHOT_GAP` or `SHOT_END`.
        payload: Its bytes.
    """

    function: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """Shots that will never come.

    Attributes:
        session: The stream.
        first_shot_id: The first of them.
        end_shot_id: The number after the last.
    """

    session: int
    first_shot_id: int
    end_shot_id: int

    def to_bytes(self) -> bytes:
        """The wire form."""
        return _GAP.pack(self.session, self.first_shot_id, self.end_shot_id)

    @staticmethod
    def from_bytes(payload: Buffer) -> Gap | None:
        """Read the wire form; None where it is none."""
        if memoryview(payload).nbytes != _GAP.size:
            return None
        session, first, end = _GAP.unpack_from(payload)
        return Gap(session, first, end) if first <= end else None


@dataclass(frozen=True, slots=True)
class End:
    """No more shots.

    Attributes:
        session: The stream.
        n_shots: How many were sent in total, with those reported as gaps.
    """

    session: int
    n_shots: int

    def to_bytes(self) -> bytes:
        """The wire form."""
        return _END.pack(self.session, self.n_shots)

    @staticmethod
    def from_bytes(payload: Buffer) -> End | None:
        """Read the wire form; None where it is none."""
        if memoryview(payload).nbytes != _END.size:
            return None
        return End(*_END.unpack_from(payload))


@dataclass(frozen=True, slots=True)
class Credit:
    """What the receiver has, and how much more it takes.

    Attributes:
        session: The stream.
        next_shot_id: Every shot before this one is delivered or known to be missing.
        limit_shot_id: Shots from this one on would be discarded.
        seen_shot_id: The number after the last shot that arrived; above `next_shot_id` where
            shots between were lost or are late.
        is_complete: Whether the end is known and reached.
    """

    session: int
    next_shot_id: int
    limit_shot_id: int
    seen_shot_id: int
    is_complete: bool

    def to_bytes(self) -> bytes:
        """The wire form."""
        return _CREDIT.pack(
            self.session,
            self.next_shot_id,
            self.limit_shot_id,
            self.seen_shot_id,
            self.is_complete,
            0,
        )

    @staticmethod
    def from_bytes(payload: Buffer) -> Credit | None:
        """Read the wire form; None where it is none."""
        if memoryview(payload).nbytes != _CREDIT.size:
            return None
        session, following, limit, seen, is_complete, _ = _CREDIT.unpack_from(payload)
        if not following <= limit or not following <= seen:
            return None
        return Credit(session, following, limit, seen, bool(is_complete))


def join_parts(messages: list[tuple[int, bytes]]) -> bytes:
    """Put several messages into one result.

    Args:
        messages: Function id and payload of each.
    """
    return b"".join(_PART.pack(kind, len(payload)) + payload for kind, payload in messages)


def split_parts(joined: Buffer) -> Iterator[tuple[int, memoryview]]:
    """Undo `join_parts`; stops where the bytes are no message.

    Args:
        joined: From `join_parts`.

    Yields:
        Function id and payload of each message.
    """
    rest = memoryview(joined)
    while len(rest) >= PART_HEADER_BYTES:
        kind, n_bytes = _PART.unpack_from(rest)
        if PART_HEADER_BYTES + n_bytes > len(rest):
            return
        yield kind, rest[PART_HEADER_BYTES : PART_HEADER_BYTES + n_bytes]
        rest = rest[PART_HEADER_BYTES + n_bytes :]
