"""The standard workload: a playback schedule, replayed in process and over every transport."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.latency import Counts, Distribution, rounded
from benchmarks.link_ends import contender
from benchmarks.link_servers import LOOK_UP_BITS, decode_functions
from benchmarks.link_spec import OURS, Spec
from benchmarks.report import progress
from cudaq_target.coupler.dispatch import Dispatcher
from cudaq_target.coupler.playback import play
from cudaq_target.coupler.playback_callers import InProcess, OverLink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cudaq_target.coupler.playback import PlaybackResult
    from cudaq_target.coupler.playback_callers import Caller

_ROUND_US = 100
_SEED = 7


def workload(n_shots: int) -> tuple[str, list[NDArray[np.uint8]]]:
    """Shots of eight rounds of one bit, 100 µs apart, each followed by a read of its correction.

    Returns:
        The schedule, and its source of rounds.
    """
    rng = np.random.default_rng(_SEED)
    shots = rng.integers(0, 2, (n_shots, LOOK_UP_BITS), dtype=np.uint8)
    lines = ["0 reset"]
    for bits in shots:
        # "-" is a tick after the previous line has finished sending.
        lines.append(f"+{_ROUND_US} stream source=0 rounds={LOOK_UP_BITS} every={_ROUND_US}")
        lines.append(f"- get_corrections {''.join(str(bit) for bit in bits)}")
    return "\n".join(lines), [shots.reshape(-1, 1)[k] for k in range(shots.size)]


@contextmanager
def _caller(place: str) -> Iterator[Caller]:
    if place == "in process":
        yield InProcess(Dispatcher(decode_functions(LOOK_UP_BITS)))
        return
    with contender(Spec(place, handler="decode")) as end:
        end.wake()
        yield OverLink(end.caller.link)


def records(
    quick: bool, transports: tuple[str, ...] = OURS
) -> Iterator[tuple[dict[str, Any], Counts]]:
    """Replay it in process and over transports.

    Yields:
        Figures by place (µs), and counts.
    """
    n_shots = 20 if quick else 500
    for place in ("in process", *transports):
        progress(f"replay of a schedule, {place}")
        schedule, source = workload(n_shots)
        with _caller(place) as caller:
            result = play(schedule, {0: caller}, {0: source})
        yield figures(place, n_shots, result)


def figures(place: str, n_shots: int, result: PlaybackResult) -> tuple[dict[str, Any], Counts]:
    """What a replay took: replies, how late lines began, and how many corrections were wrong."""
    requests = [one for record in result.records for one in record.requests]
    replies = [one.return_ns - one.dispatch_ns for one in requests if one.return_ns]
    late = [record.call_ns - record.deadline_ns for record in result.records if record.dispatched]
    n_wrong = sum(record.correction_mismatch for record in result.records)
    n_right = sum(
        record.correction_bits == record.event.expected
        for record in result.records
        if record.event.expected
    )
    reply, lateness = Distribution.of(np.array(replies)), Distribution.of(np.array(late))
    counts = Counts(
        submitted=len(requests),
        completed=len(replies),
        matched=len(replies) - n_wrong,
        payload_errors=n_wrong,
        deadline_misses=len(requests) - len(replies),
    )
    found = {
        "place": place,
        "shots": n_shots,
        "right": n_right,
        "requests": len(requests),
        "reply_p50": rounded(reply.p50),
        "reply_p99": rounded(reply.p99),
        "reply_max": rounded(reply.max),
        "late_p50": rounded(lateness.p50),
        "late_p99": rounded(lateness.p99),
        "late_max": rounded(lateness.max),
    }
    return found, counts
