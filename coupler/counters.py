"""One counter per thing that can go wrong on the link, and per thing that went right."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counters:
    """Counts since the start; every drop, refusal and stall shows up in exactly one of them.

    Attributes:
        received: Frames that arrived, of any kind.
        dispatched: Requests whose handler was called.
        answered: Answers sent, whatever their status.
        truncated: Frames shorter than a header; dropped, as there is no id to answer.
        bad_magic: Frames that start with anything but the magic of a request.
        bad_length: Frames whose length disagrees with their header, or with the slot.
        unknown_function: Requests for a function that nobody registered.
        bad_request: Requests whose arguments disagree with the schema of their function.
        handler_failures: Handlers that raised, or whose result could not be sent.
        duplicates: Requests answered again from the window without another call.
        reused_ids: Requests with the id of an earlier, different request; they are handled.
        stale: Requests or answers of an earlier generation.
        unmatched: Answers to no request of ours.
        deadline_misses: Requests answered DEADLINE.
        late_results: Results that came after their deadline; discarded.
        cancelled: Requests answered CANCELLED at shutdown.
        busy: Requests refused because a queue was full.
        backpressure_stalls: Times that a sender had to wait for room.
    """

    received: int = 0
    dispatched: int = 0
    answered: int = 0
    truncated: int = 0
    bad_magic: int = 0
    bad_length: int = 0
    unknown_function: int = 0
    bad_request: int = 0
    handler_failures: int = 0
    duplicates: int = 0
    reused_ids: int = 0
    stale: int = 0
    unmatched: int = 0
    deadline_misses: int = 0
    late_results: int = 0
    cancelled: int = 0
    busy: int = 0
    backpressure_stalls: int = 0

    def count(self, name: str) -> None:
        """Raise the counter called `name` by one."""
        setattr(self, name, getattr(self, name) + 1)

    def as_dict(self) -> dict[str, int]:
        """All counters by name."""
        return asdict(self)
