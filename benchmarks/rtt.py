"""Round trips of the coupler against floors and peers that were measured in turns with them.

Run it with `python -m benchmarks.run rtt [--quick] [--json] [--output FILE] [--out DIR]`. The rows
hold what has a goal or a peer; the sections beside them hold every figure of every case.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import open_loop, replay, stages, zeromq_loops
from benchmarks.closed_loop import FULL, QUICK, Effort, Measured, against, native_block, turns
from benchmarks.latency import (
    Case,
    Counts,
    Samples,
    histogram_lines,
    histogram_record,
    latency_record,
)
from benchmarks.link_spec import OURS, Spec, two_cores
from benchmarks.report import Measurement, Row, at_most, progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SIZES = (64, 1024, 65_536, 1 << 20)
QUICK_SIZES, QUICK_TRANSPORTS = (64, 65_536), ("shm", "tcp")
GOAL_SIZES = (64, 1024)
UDP_SIZES = (64, 1024)
PEER_GOAL_SIZES = (64, 1024, 65_536)
FLOOR_GOAL, PYTHON_GOAL, ZMQ_GOAL, CURVE_GOAL, PEER_GOAL = 1.2, 5.0, 1.15, 1.1, 1.0
FLOOR, SLOTS = "two flags and two buffers, native", "slot and flag ring, native"
WAITS = ("busy", "yield", "adaptive", "block")
PEERS = {
    "iceoryx2": "iceoryx2 request-response, both ends Python, busy",
    "zenoh": "zenoh put and echo, Unix socket, both ends Python",
}


class Book:
    """Collects what the groups measure."""

    def __init__(self) -> None:
        self.cases: list[tuple[Case, Samples]] = []
        self.counts: list[dict[str, Any]] = []
        self.histograms: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []
        self.n_wrong = 0

    def add(self, case: Case, samples: Samples) -> None:
        """Take a case of a closed loop."""
        self.cases.append((case, samples))
        self.count("closed", case, samples.counts)
        self.keep("closed", case, samples.times_ns)

    def count(self, loop: str, case: Case, counts: Counts) -> None:
        """Take the counts of a case."""
        self.counts.append({"loop": loop} | case.record() | asdict(counts))
        self.n_wrong += counts.n_wrong

    def keep(self, loop: str, case: Case, times_ns: NDArray[np.int64]) -> None:
        """Take the histogram of a case (ns)."""
        if len(times_ns):
            self.histograms.append({"loop": loop} | histogram_record(case, times_ns))
            self.lines += [{"loop": loop} | line for line in histogram_lines(case, times_ns)]

    def latency(self) -> list[dict[str, Any]]:
        """All closed loops, each beside the slot and flag ring of this run at the same size."""
        floors = {
            case.n_bytes: samples.p50_us
            for case, samples in self.cases
            if case.name == SLOTS and case.wait == "busy" and case.pinning == "none"
        }
        return [latency_record(case, one, floors.get(case.n_bytes)) for case, one in self.cases]


def measured(quick: bool = False) -> Measurement:
    """Measure everything."""
    effort = QUICK if quick else FULL
    sizes = QUICK_SIZES if quick else SIZES
    book = Book()
    found: list[Row] = []
    for n_bytes in sizes:
        found += native_rows(n_bytes, effort, book)
    for n_bytes in sizes[:1] if quick else sizes:
        found += python_rows(n_bytes, effort, book)
    for n_bytes in sizes:
        found += socket_rows(n_bytes, effort, book)
    found += curve_rows(SIZES[0], effort, book)
    for n_bytes in sizes[:1] if quick else sizes:
        found += peer_rows(n_bytes, effort, book)
    if not quick:
        mode_cases(effort, book)
        wait_cases(effort, book)
        pinned_cases(effort, book)
    sections = more_sections(quick, book)
    found += loop_rows(quick)
    found.append(wrong_row(book.n_wrong))
    sections = {"latency": book.latency()} | sections | {"counts": book.counts}
    return Measurement(
        tuple(found), sections | {"histograms": book.histograms}, {"histogram": book.lines}
    )


def more_sections(quick: bool, book: Book) -> dict[str, list[dict[str, Any]]]:
    """Open loops, stages, the loop around a decoder, and the replay of a schedule."""
    open_loops = []
    for case, record, times_ns, counts in open_loop.records(quick):
        open_loops.append(record)
        book.count("open", case, counts)
        book.keep("open", case, times_ns)
    transports = QUICK_TRANSPORTS if quick else OURS
    found = {
        "open_loop": open_loops,
        "stages": list(stages.stage_records(quick, transports)),
        "sifl": list(stages.sifl_records(quick)),
        "replay": [],
    }
    for record, counts in replay.records(quick, transports):
        found["replay"].append(record)
        book.count("replay", Case("schedule", record["place"], 1, "block"), counts)
    return found


def loop_rows(quick: bool) -> Iterator[Row]:
    """ZeroMQ's receive loop in machine code against one in a Python thread, in turns."""
    n_bytes = SIZES[0]
    for transport in ("ipc", "tcp"):
        progress(f"receive loops of ZeroMQ, native and Python, {transport}")
        times_us = zeromq_loops.compare(transport, n_bytes, 400 if quick else 20_000)
        samples = {name: Samples([_to_ns(one)]) for name, one in times_us.items()}
        for handler in ("native", "Python"):
            yield row_of(
                f"ZeroMQ receive loop, native, {handler} handler, {transport}, {n_bytes} B",
                samples[f"{handler} handler, native loop"],
                samples[f"{handler} handler, Python loop"],
                "receive loop in Python",
                None,
            )


def _to_ns(times_us: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(1e3 * times_us).astype(np.int64)


def wrong_row(n_wrong: int) -> Row:
    """Every answer is compared with what was sent; one that differs fails the run."""
    return Row(
        name="wrong answers, all cases",
        value=n_wrong,
        unit="answers",
        reach="<= 0",
        holds=n_wrong == 0,
        is_correctness=True,
    )


def native_rows(n_bytes: int, effort: Effort, book: Book) -> list[Row]:
    """Both ends in machine code; the waits that sleep are cases without a goal."""
    waits = WAITS if n_bytes == SIZES[0] else ("busy", "adaptive")
    n_rounds = effort.native_rounds(n_bytes)
    blocks = {wait: (native_block(n_bytes, wait), n_rounds) for wait in waits}
    samples = turns(blocks | {FLOOR: (native_block(n_bytes, None), n_rounds)}, effort.blocks)
    book.add(Case(FLOOR, "shm", n_bytes, "busy"), samples[FLOOR])
    for wait in waits:
        book.add(Case(SLOTS, "shm", n_bytes, wait), samples[wait])
    return [
        row_of(
            f"shm RPC, both ends native, {n_bytes} B, {wait}",
            samples[wait],
            samples[FLOOR],
            FLOOR,
            FLOOR_GOAL if n_bytes in GOAL_SIZES else None,
        )
        for wait in ("busy", "adaptive")
    ]


def python_rows(n_bytes: int, effort: Effort, book: Book) -> list[Row]:
    """The client in Python, the handler in machine code."""
    specs = {
        "shm.Client, busy": Spec("shm", n_bytes, caller="ring", wait="busy"),
        "connect(), busy": Spec("shm", n_bytes, wait="busy"),
        "shm.Client, adaptive": Spec("shm", n_bytes, caller="ring"),
    }
    floor = {FLOOR: (native_block(n_bytes, None), effort.native_rounds(n_bytes))}
    found = against(list(specs.values()), effort, floor)
    _file(found, book)
    return [
        row_of(
            f"shm RPC from Python, native handler, {title}, {n_bytes} B",
            found.samples[spec],
            found.samples[FLOOR],
            FLOOR,
            PYTHON_GOAL if n_bytes in GOAL_SIZES else None,
        )
        for title, spec in specs.items()
    ]


def socket_rows(n_bytes: int, effort: Effort, book: Book) -> list[Row]:
    """Sockets from Python, against a bare DEALER and ROUTER."""
    kinds = {
        "ipc, native handler": Spec("ipc", n_bytes),
        "ipc, Python handler": Spec("ipc", n_bytes, handler="python"),
    }
    others = [Spec(one, n_bytes) for one in ("tcp", "udp") if one != "udp" or n_bytes in UDP_SIZES]
    peer = Spec("pyzmq", n_bytes)
    found = against([*kinds.values(), *others, peer], effort)
    _file(found, book)
    goal = ZMQ_GOAL if n_bytes in GOAL_SIZES else None
    label = "bare pyzmq DEALER/ROUTER echo"
    return [
        row_of(
            f"ZeroMQ RPC from Python, {title}, {n_bytes} B",
            found.samples[spec],
            found.samples[peer],
            label,
            goal,
        )
        for title, spec in kinds.items()
    ]


def curve_rows(n_bytes: int, effort: Effort, book: Book) -> list[Row]:
    """What encryption costs."""
    plain, curve = Spec("tcp", n_bytes), Spec("tcp", n_bytes, is_encrypted=True)
    found = against([curve, plain], effort.shorter(3))
    _file(found, book, only=curve)
    title = f"ZeroMQ RPC from Python, tcp loopback, CURVE on, {n_bytes} B"
    ours, peer = found.samples[curve], found.samples[plain]
    return [row_of(title, ours, peer, "CURVE off", CURVE_GOAL)]


def peer_rows(n_bytes: int, effort: Effort, book: Book) -> list[Row]:
    """Shared memory against what PyPI offers."""
    kinds = {
        "native handler": Spec("shm", n_bytes, caller="ring", wait="busy"),
        "Python handler": Spec("shm", n_bytes, handler="python", wait="busy"),
    }
    peers = {name: Spec(name, n_bytes) for name in PEERS}
    found = against([*kinds.values(), *peers.values()], effort)
    for spec in (kinds["Python handler"], *peers.values()):
        _file(found, book, only=spec)
    goal = PEER_GOAL if n_bytes in PEER_GOAL_SIZES else None
    rows = []
    for peer, label in PEERS.items():
        for title, spec in kinds.items():
            name = f"shm RPC from Python, {title}, {n_bytes} B, against {peer}"
            if peers[peer] in found.failures:
                note = f"could not run: {found.failures[peers[peer]]}"
                reach = None if goal is None else at_most(goal)
                rows.append(Row(name, None, "µs", reach=reach, note=note))
            else:
                ours, theirs = found.samples[spec], found.samples[peers[peer]]
                rows.append(row_of(name, ours, theirs, label, goal))
    return rows


def mode_cases(effort: Effort, book: Book) -> None:
    """Frames handed back unread, and echo in Python: what is left of a round trip without both."""
    specs = [
        Spec(transport, handler=handler) for transport in OURS for handler in ("forward", "python")
    ]
    specs.remove(Spec("ipc", handler="python"))  # measured beside pyzmq
    _file(against(specs, effort.shorter(5)), book)


def wait_cases(effort: Effort, book: Book) -> None:
    """Each way to wait, from Python."""
    waits = [wait for wait in WAITS if wait not in {"busy", "adaptive"}]
    _file(against([Spec("shm", caller="ring", wait=wait) for wait in waits], effort), book)


def pinned_cases(effort: Effort, book: Book) -> None:
    """Client and server on a core each, the threads of ZeroMQ with them."""
    cores = two_cores()
    if cores is None:
        return
    client, server = cores
    n_bytes = SIZES[0]
    n_rounds = effort.native_rounds(n_bytes)
    specs = [
        Spec("shm", n_bytes, caller="ring", wait="busy", core=server),
        *(Spec(one, n_bytes, core=server) for one in (*OURS, "pyzmq")),
    ]
    more = {
        FLOOR: (native_block(n_bytes, None, client, server), n_rounds),
        SLOTS: (native_block(n_bytes, "busy", client, server), n_rounds),
    }
    found = against(specs, effort.shorter(2), more, client_core=client)
    pinning = f"cores {client} and {server}"
    for name in more:
        book.add(Case(name, "shm", n_bytes, "busy", pinning), found.samples[name])
    _file(found, book, pinning=pinning)


def _file(found: Measured, book: Book, *, only: Spec | None = None, pinning: str = "none") -> None:
    for spec, samples in found.samples.items():
        if isinstance(spec, Spec) and only in {None, spec}:
            book.add(
                Case(case_name(spec), spec.transport, spec.n_bytes, spec.waits, pinning), samples
            )


def case_name(spec: Spec) -> str:
    """What a contender is, without transport, size and wait."""
    if spec.transport not in OURS:
        return "pyzmq DEALER/ROUTER" if spec.transport == "pyzmq" else PEERS[spec.transport]
    handler = {"native": "native echo", "python": "Python echo"}.get(spec.handler, spec.handler)
    caller = "shm.Client" if spec.caller == "ring" else "connect()"
    return f"{caller}, {handler}{', CURVE' if spec.is_encrypted else ''}"


def row_of(title: str, ours: Samples, peer: Samples, label: str, goal: float | None) -> Row:
    """Compare two medians.

    Args:
        title: Of the row.
        ours: Our times.
        peer: The peer's.
        label: What the peer is.
        goal: Our median may be so many times the peer's; None for a row that only informs.
    """
    mine, theirs = ours.distribution, peer.distribution
    cost = mine.p50 / theirs.p50
    return Row(
        name=title,
        value=mine.p50,
        unit="µs",
        peer=f"{label}: {theirs.p50:.3g} µs",
        ratio=1.0 / cost,
        reach=None if goal is None else at_most(goal),
        holds=None if goal is None else cost <= goal,
        samples=tuple((1e-3 * ours.times_ns).tolist()),
        note=f"{cost:.3g} × the peer. Ours: {mine.spread()}. Peer: {theirs.spread()}.",
    )
