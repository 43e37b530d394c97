"""Frames one way, and calls in flight: how many per second, against queues and libraries of peers.

Run it with `python -m benchmarks.run throughput [--quick] [--json] [--output FILE]`.
"""

from __future__ import annotations

import gc
import statistics
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.latency import rounded
from benchmarks.link_ends import contender
from benchmarks.link_peers import PeerError
from benchmarks.link_spec import OURS, Spec
from benchmarks.one_way_ends import n_slots_of, one_way
from benchmarks.report import Measurement, Row, progress
from benchmarks.timing import in_turns, turns
from cudaq_target.coupler import _bench
from cudaq_target.coupler.frame import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.link_ends import LinkCaller, RingCaller
    from benchmarks.one_way_ends import OneWay

RATE_GOAL = 0.8
GOAL_BYTES = 64
SIZES = (64, 1024, 65_536, 1 << 20)
QUICK_SIZES = (64, 65_536)
UDP_SIZES = (64, 1024)
PEERS = {
    "pyzmq": "pyzmq PUSH/PULL, Unix socket",
    "iceoryx2": "iceoryx2 publish-subscribe, without overflow",
    "zenoh": "zenoh put, blocking, Unix socket",
}
_SHARES = {64: 1.0, 1024: 0.5, 65_536: 0.04, 1 << 20: 0.004}
_TIMEOUT_S = 5.0


def measured(quick: bool = False) -> Measurement:
    """Measure everything."""
    n_native, n_python, repeats = (200_000, 5_000, 2) if quick else (1_000_000, 50_000, 7)
    rows: list[Row] = []
    one_way_records: list[dict[str, Any]] = []
    sizes = QUICK_SIZES if quick else SIZES
    for n_bytes in sizes:
        n_frames = int(n_native * _SHARES[n_bytes])
        rows += stream_rows(n_bytes, n_frames, repeats + 8 * (not quick))
    for n_bytes in sizes:
        n_frames = max(20, int(n_python * _SHARES[n_bytes]))
        found, records = python_rows(n_bytes, n_frames, repeats)
        rows += found
        one_way_records += records
    in_flight = list(call_records(n_python, repeats, sizes))
    n_wrong = sum(record["wrong"] for record in (*one_way_records, *in_flight))
    rows.append(wrong_row("frames and answers from Python, wrong, all cases", n_wrong))
    return Measurement(tuple(rows), {"one_way": one_way_records, "in_flight": in_flight})


def wrong_row(name: str, n_wrong: int) -> Row:
    """What arrives is compared with what was sent; a difference fails the run."""
    return Row(name, n_wrong, "frames", reach="<= 0", holds=n_wrong == 0, is_correctness=True)


def stream_rows(n_bytes: int, n_frames: int, repeats: int) -> Iterator[Row]:
    """One size, both ends native, and whether every frame arrived as it was sent."""
    progress(f"frame ring, native, {n_bytes} B")
    n_wrong = 0

    def timed(stream: Callable[..., tuple[int, int]]) -> float:
        nonlocal n_wrong
        taken_ns, wrong = stream(n_frames, n_bytes, n_slots=n_slots_of(n_bytes))
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
        reach=f"ratio >= {RATE_GOAL:g}" if has_goal else None,
        holds=pair.ratio >= RATE_GOAL if has_goal else None,
        samples=pair.ours_s,
        note=f"Two processes, {n_frames} frames per repeat, each compared with what was sent.",
    )
    yield wrong_row(f"frame ring, wrong frames, {n_bytes} B", n_wrong)


def python_rows(
    n_bytes: int, n_frames: int, repeats: int
) -> tuple[list[Row], list[dict[str, Any]]]:
    """One size, both ends Python: the ring against each peer; all take turns."""
    progress(f"one way, Python, {n_bytes} B")
    failures: dict[str, str] = {}
    n_wrong: dict[str, int] = {}

    def rate(kind: str, end: OneWay) -> float | None:
        if kind in failures:
            return None
        try:
            taken_s, wrong = _timed(end, n_frames)
        except PeerError as error:
            failures[kind] = str(error)
            return None
        n_wrong[kind] = n_wrong.get(kind, 0) + wrong
        return n_frames / taken_s

    with ExitStack() as stack:
        ends = {}
        for kind in ("shm", *PEERS):
            try:
                ends[kind] = partial(rate, kind, stack.enter_context(one_way(kind, n_bytes)))
            except (ImportError, OSError, PeerError) as error:
                failures[kind] = str(error)
        found = turns(ends, repeats, warm_ups=1)
    if "shm" in failures:
        raise PeerError(f"shm: {failures['shm']}")
    rates = {
        kind: [one for one in taken if one is not None]
        for kind, taken in found.items()
        if kind not in failures
    }
    rows = [_rate_row(n_bytes, peer, rates, failures, n_frames) for peer in PEERS]
    records = [
        {
            "kind": PEERS.get(kind, "shm frame ring"),
            "bytes": n_bytes,
            "frames": n_frames,
            "repetitions": len(found),
            "median_frames_per_s": rounded(statistics.median(found)),
            "best_frames_per_s": rounded(max(found)),
            "median_mb_per_s": rounded(1e-6 * n_bytes * statistics.median(found)),
            "wrong": n_wrong[kind],
        }
        for kind, found in rates.items()
    ]
    return rows, records


def _timed(end: OneWay, n_frames: int) -> tuple[float, int]:
    """One repetition, without the garbage collector."""
    gc.disable()
    try:
        return end.run(n_frames)
    finally:
        gc.enable()


def _rate_row(
    n_bytes: int,
    peer: str,
    rates: dict[str, list[float]],
    failures: dict[str, str],
    n_frames: int,
) -> Row:
    name = f"frame ring, one way, from Python, {n_bytes} B, against {peer}"
    ours = statistics.median(rates["shm"])
    if peer in failures:
        return Row(name, ours, "frames/s", note=f"the peer could not run: {failures[peer]}")
    theirs = statistics.median(rates[peer])
    return Row(
        name=name,
        value=ours,
        unit="frames/s",
        peer=f"{PEERS[peer]}: {theirs:.4g} frames/s",
        ratio=ours / theirs,
        samples=tuple(rates["shm"]),
        note=f"{n_frames} numbered frames per repeat, copied out at the receiver.",
    )


def call_records(
    n_calls: int, repeats: int, sizes: tuple[int, ...] = SIZES
) -> Iterator[dict[str, Any]]:
    """Calls with as many in flight as a link takes, by transport and size: each has an answer."""
    for n_bytes in sizes:
        specs = [Spec("shm", n_bytes, caller="ring", wait="busy")]
        specs += [Spec(one, n_bytes) for one in OURS if one != "udp" or n_bytes in UDP_SIZES]
        for spec in specs:
            caller = "shm.Client" if spec.caller == "ring" else "connect()"
            progress(f"calls in flight, {spec.transport}, {caller}, {n_bytes} B")
            n = max(20, int(n_calls * _SHARES[n_bytes] * (1.0 if spec.is_fast else 0.4)))
            with contender(spec) as end:
                end.wake()
                block = partial(_in_flight, end.caller, n, n_bytes)
                runs = turns({"": block}, repeats, warm_ups=1)[""]
            rates = [n / taken_s for taken_s, _ in runs]
            yield {
                "transport": spec.transport,
                "caller": caller,
                "bytes": n_bytes,
                "calls": n,
                "slots": spec.options().n_slots,
                "median_calls_per_s": rounded(statistics.median(rates)),
                "best_calls_per_s": rounded(max(rates)),
                "wrong": sum(wrong for _, wrong in runs),
            }


def _in_flight(caller: RingCaller | LinkCaller, n_calls: int, n_bytes: int) -> tuple[float, int]:
    """Seconds for calls that do not wait for each other, and how many answers were wrong."""
    payload = bytes(range(256)) * (n_bytes // 256) or bytes(range(n_bytes))
    n_sent = n_done = n_wrong = 0
    begun_s = heard_s = time.perf_counter()
    while n_done < n_calls:
        while n_sent < n_calls and caller.submit(payload) is not None:
            n_sent += 1
        outcome = caller.collect(0.01)
        while outcome is not None:
            n_wrong += outcome[1] != Status.OK or outcome[2] != payload
            n_done += 1
            outcome = caller.collect(0.0)
            heard_s = time.perf_counter()
        if time.perf_counter() - heard_s > _TIMEOUT_S:
            return time.perf_counter() - begun_s, n_wrong + n_calls - n_done
    return time.perf_counter() - begun_s, n_wrong
