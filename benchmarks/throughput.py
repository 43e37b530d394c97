"""Frames one way through the ring in shared memory, against a minimal queue of one writer.

Run it with `python -m benchmarks.run throughput [--quick] [--json] [--output FILE]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.report import Row, progress
from benchmarks.timing import in_turns
from cudaq_target.coupler import _bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RATE_GOAL = 0.8
GOAL_BYTES = 64


def rows(quick: bool = False) -> Iterator[Row]:
    """Measure everything, one row at a time."""
    n_frames, repeats = (200_000, 3) if quick else (1_000_000, 15)
    for n_bytes in (GOAL_BYTES, 1024):
        yield from stream_rows(n_bytes, n_frames, repeats)


def stream_rows(n_bytes: int, n_frames: int, repeats: int) -> Iterator[Row]:
    """One size, and whether every frame arrived as it was sent."""
    progress(f"frame ring, {n_bytes} B")
    n_wrong = 0

    def timed(stream: Callable[[int, int], tuple[int, int]]) -> float:
        nonlocal n_wrong
        taken_ns, wrong = stream(n_frames, n_bytes)
        n_wrong += wrong
        return taken_ns / n_frames

    pair = in_turns(
        lambda: timed(_bench.ring_stream),
        lambda: timed(_bench.minimal_stream),
        repeats,
        warm_ups=1,
    )
    has_goal = n_bytes == GOAL_BYTES
    yield Row(
        name=f"frame ring, one way, native, {n_bytes} B",
        value=pair.ours,
        unit="ns/frame",
        peer=f"minimal queue: {pair.peer:.3g} ns/frame",
        ratio=pair.ratio,
        reach=f">= {RATE_GOAL:g} (ratio)" if has_goal else None,
        holds=pair.ratio >= RATE_GOAL if has_goal else None,
        samples=pair.ours_s,
        note=f"Two processes, {n_frames} frames per repeat, each compared with what was sent.",
    )
    yield Row(
        name=f"frame ring, wrong frames, {n_bytes} B",
        value=n_wrong,
        unit="frames",
        reach="<= 0",
        holds=n_wrong == 0,
        is_correctness=True,
    )
