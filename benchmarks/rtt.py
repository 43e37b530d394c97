"""Round trips of the coupler against floors and peers that were measured in turns with them.

Run it with `python -m benchmarks.run rtt [--quick] [--json] [--output FILE]`.
"""

from __future__ import annotations

import gc
import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import throughput
from benchmarks.link_ends import Contender, PeerError, contender
from benchmarks.report import Row, progress, summary
from cudaq_target.coupler import _bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Block = Callable[[int], tuple[Sequence[float], int]]

SIZES = (64, 1024)
PEER_SIZES = (64, 1024, 65_536)
FLOOR_GOAL, PYTHON_GOAL, ZMQ_GOAL, CURVE_GOAL, PEER_GOAL = 1.2, 5.0, 1.15, 1.1, 1.0
FLOOR = "two flags and two buffers, native"
_N_PAYLOADS = 61
_WARM_UPS = 200


@dataclass(frozen=True, slots=True)
class Effort:
    """Blocks that contenders take in turns, and round trips per block."""

    blocks: int
    native: int
    shm: int
    sockets: int


FULL = Effort(blocks=20, native=10_000, shm=5_000, sockets=1_500)
QUICK = Effort(blocks=4, native=2_000, shm=1_000, sockets=150)


@dataclass(slots=True)
class Times:
    """Round trips of one contender.

    Attributes:
        times_us: All of them, in order (µs).
        n_wrong: Answers that differ from what was sent.
    """

    times_us: list[float] = field(default_factory=list)
    n_wrong: int = 0

    @property
    def p50(self) -> float:
        return statistics.median(self.times_us)

    def take(self, block: tuple[Sequence[float], int]) -> None:
        self.times_us.extend(block[0])
        self.n_wrong += block[1]

    def spread(self) -> str:
        found = summary(self.times_us)
        assert found is not None
        names = ("p50", "p90", "p99", "p99.9", "max")
        return ", ".join(f"{name} {found[name]:.3g}" for name in names) + f" µs, n {found['n']}"


def rows(quick: bool = False) -> Iterator[Row]:
    """Measure everything, one row at a time."""
    effort = QUICK if quick else FULL
    n_wrong = 0
    groups = [
        *(lambda n=n: native_rows(n, effort) for n in SIZES),
        *(lambda n=n: python_rows(n, effort) for n in SIZES),
        *(lambda n=n: zeromq_rows(n, effort) for n in SIZES),
        lambda: curve_rows(SIZES[0], effort),
        *(lambda n=n, p=p: peer_rows(n, p, effort) for n in PEER_SIZES for p in PEERS),
    ]
    for group in groups:
        found, wrong = group()
        n_wrong += wrong
        yield from found
    yield wrong_row(n_wrong)
    yield from throughput.rows(quick)


def wrong_row(n_wrong: int) -> Row:
    """Every answer is compared with what was sent; one that differs fails the run."""
    return Row(
        name="wrong answers, all contenders",
        value=n_wrong,
        unit="answers",
        reach="<= 0",
        holds=n_wrong == 0,
        is_correctness=True,
    )


def native_rows(n_bytes: int, effort: Effort) -> tuple[list[Row], int]:
    """Both ends in machine code."""
    progress(f"shm, native, {n_bytes} B")
    blocks = {
        "busy": lambda n: _native(_bench.rpc(n, n_bytes, wait="busy")),
        "adaptive": lambda n: _native(_bench.rpc(n, n_bytes, wait="adaptive")),
        "floor": lambda n: _native(_bench.ping_pong(n, n_bytes)),
    }
    times = turns(blocks, dict.fromkeys(blocks, effort.native), effort.blocks)
    found = [
        row_of(
            f"shm RPC, both ends native, {n_bytes} B, {wait}",
            times[wait],
            times["floor"],
            FLOOR,
            FLOOR_GOAL,
        )
        for wait in ("busy", "adaptive")
    ]
    return found, wrong_of(times)


def python_rows(n_bytes: int, effort: Effort) -> tuple[list[Row], int]:
    """The client in Python, the handler in machine code."""
    titles = {
        "shm-ring": "shm RPC from Python, native handler, shm.Client, busy",
        "shm-native": "shm RPC from Python, native handler, connect(), busy",
        "shm-ring-adaptive": "shm RPC from Python, native handler, shm.Client, adaptive",
    }
    floor = {"floor": lambda n: _native(_bench.ping_pong(n, n_bytes))}
    times = against(list(titles), n_bytes, effort, floor)
    found = [
        row_of(f"{title}, {n_bytes} B", times[kind], times["floor"], FLOOR, PYTHON_GOAL)
        for kind, title in titles.items()
    ]
    return found, wrong_of(times)


def zeromq_rows(n_bytes: int, effort: Effort) -> tuple[list[Row], int]:
    """ZeroMQ over ipc, against the same sockets without anything around them."""
    kinds = {"ipc-native": "native handler", "ipc-python": "Python handler"}
    times = against([*kinds, "pyzmq"], n_bytes, effort)
    found = [
        row_of(
            f"ZeroMQ RPC from Python, ipc, {title}, {n_bytes} B",
            times[kind],
            times["pyzmq"],
            "bare pyzmq DEALER/ROUTER echo",
            ZMQ_GOAL,
        )
        for kind, title in kinds.items()
    ]
    return found, wrong_of(times)


def curve_rows(n_bytes: int, effort: Effort) -> tuple[list[Row], int]:
    """What encryption costs."""
    times = against(["tcp-curve", "tcp-plain"], n_bytes, effort)
    title = f"ZeroMQ RPC from Python, tcp loopback, CURVE on, {n_bytes} B"
    row = row_of(title, times["tcp-curve"], times["tcp-plain"], "CURVE off", CURVE_GOAL)
    return [row], wrong_of(times)


PEERS = {
    "iceoryx2": "iceoryx2 request-response, both ends Python, busy",
    "zenoh": "zenoh put and echo, Unix socket, both ends Python",
}


def peer_rows(n_bytes: int, peer: str, effort: Effort) -> tuple[list[Row], int]:
    """Shared memory against what PyPI offers."""
    titles = {
        "shm-ring": f"shm RPC from Python, native handler, {n_bytes} B, against {peer}",
        "shm-python": f"shm RPC from Python, Python handler, {n_bytes} B, against {peer}",
    }
    try:
        times = against([*titles, peer], n_bytes, effort)
    except (ImportError, OSError, PeerError) as error:
        reach, note = _reach(PEER_GOAL), f"could not run: {error}"
        return [Row(title, None, "µs", reach=reach, note=note) for title in titles.values()], 0
    found = [
        row_of(title, times[kind], times[peer], PEERS[peer], PEER_GOAL)
        for kind, title in titles.items()
    ]
    return found, wrong_of(times)


def against(
    kinds: Sequence[str], n_bytes: int, effort: Effort, more: dict[str, Block] | None = None
) -> dict[str, Times]:
    """Start the contenders, and time them in turns."""
    progress(f"{', '.join(kinds)}, {n_bytes} B")
    with ExitStack() as stack:
        blocks: dict[str, Block] = {}
        counts: dict[str, int] = {}
        for kind in kinds:
            end = stack.enter_context(contender(kind, n_bytes))
            blocks[kind] = lambda n, end=end: round_trips(end, n, n_bytes)
            is_fast = kind.startswith("shm") or kind == "iceoryx2"
            counts[kind] = effort.shm if is_fast else effort.sockets
        for name, block in (more or {}).items():
            blocks[name], counts[name] = block, effort.native
        return turns(blocks, counts, effort.blocks)


def turns(blocks: dict[str, Block], counts: dict[str, int], n_blocks: int) -> dict[str, Times]:
    """Time blocks of round trips, A B C A B C …, so that changes of speed meet all alike."""
    times = {name: Times() for name in blocks}
    for _ in range(n_blocks):
        for name, block in blocks.items():
            times[name].take(block(counts[name]))
    return times


def round_trips(end: Contender, n_rounds: int, n_bytes: int) -> tuple[list[float], int]:
    """Time calls one by one; answers are compared outside of the times.

    Returns:
        Times (µs), shape (n_rounds,), and the number of wrong answers.
    """
    rng = np.random.default_rng(n_bytes)
    payloads = [rng.bytes(n_bytes) for _ in range(_N_PAYLOADS)]  # so that no answer fits twice
    call, clock = end.call, perf_counter_ns
    taken_ns, n_wrong = [], 0
    end.wake()
    gc.disable()
    try:
        for k in range(-min(_WARM_UPS, n_rounds), n_rounds):
            payload = payloads[k % _N_PAYLOADS]
            start = clock()
            answer = call(payload)
            stop = clock()
            n_wrong += answer != payload
            if k >= 0:
                taken_ns.append(stop - start)
    finally:
        gc.enable()
        end.rest()
    return [1e-3 * one for one in taken_ns], n_wrong


def row_of(title: str, ours: Times, peer: Times, label: str, goal: float) -> Row:
    """Compare two medians."""
    cost = ours.p50 / peer.p50
    return Row(
        name=title,
        value=ours.p50,
        unit="µs",
        peer=f"{label}: {peer.p50:.3g} µs",
        ratio=1.0 / cost,
        reach=_reach(goal),
        holds=cost <= goal,
        samples=tuple(ours.times_us),
        note=f"{cost:.3g} × the peer. Ours: {ours.spread()}. Peer: {peer.spread()}.",
    )


def _reach(goal: float) -> str:
    return f"<= {goal:g} × the peer"


def wrong_of(times: dict[str, Times]) -> int:
    return sum(one.n_wrong for one in times.values())


def _native(measured: tuple[np.ndarray, int]) -> tuple[list[float], int]:
    times_ns, n_wrong = measured
    return (1e-3 * times_ns).tolist(), n_wrong
