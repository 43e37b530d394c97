"""Both ends of a stream of shots, in processes of their own.

`python -m benchmarks.stream_ends host WAY ADDRESS OPTIONS` receives, and prints what it has on each
line of input; `python -m benchmarks.stream_ends controller WAY ADDRESS OPTIONS N_FRAMES` sends. The
way is `link`, where each frame is a call, or `bulk`, PUSH and PULL with credits over a link.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.coupler.link import connect
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shot_bulk import BulkPublisher, BulkSink
from cudaq_target.coupler.shot_link import ShotPublisher, ShotSink
from cudaq_target.coupler.shot_sender import ShotSender
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.coupler.link import Link
    from cudaq_target.coupler.payload import ShotBatch

N_QUBITS = 64
SESSION = 1
_FACTOR = 0x9E3779B97F4A7C15  # odd, so that every shot has bits of its own
_MASK = (1 << 64) - 1
_HELD = {"link": 4096, "bulk": 1 << 16}
_OFFER = {"link": 1024, "bulk": 1 << 14}
_TIMEOUT_S, _DRAIN_S = 2.0, 120.0


def rows_of(first: int, end: int) -> NDArray[np.uint64]:
    """Bits of shots, a function of their number; shape (end - first, 1)."""
    numbers = np.arange(first + 1, end + 1, dtype=np.uint64)
    return (numbers * np.uint64(_FACTOR))[:, None]


class Checked:
    """Compares what arrives with what was sent, and notes when the last shot was there."""

    def __init__(self) -> None:
        self.n_wrong = 0
        self.last_ns = 0

    def consume(self, batch: ShotBatch) -> None:
        first, end = batch.first_shot_id, batch.first_shot_id + batch.n_shots
        if batch.n_shots == 1:  # the usual case, without arrays
            self.n_wrong += int(batch.rows[0, 0]) != (first + 1) * _FACTOR & _MASK
        else:
            self.n_wrong += int((batch.rows != rows_of(first, end)).sum())
        self.last_ns = time.monotonic_ns()


def memory_bytes() -> dict[str, int]:
    """Memory of this process: now, and the most that it ever had (bytes)."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - no path is built
        pages = int(file.read().split()[1])
    return {
        "rss_bytes": pages * resource.getpagesize(),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def host(way: str, address: str, options: TransportOptions) -> None:
    """Receive until the input ends."""
    seen = Checked()
    with ExitStack() as stack:
        if way == "bulk":
            beside = f"{address}-bulk" if address.startswith("ipc://") else address
            sink: ShotSink | BulkSink = BulkSink(seen.consume, beside, options=options)
            stack.enter_context(sink)
        else:
            sink = ShotSink(seen.consume)
        server = stack.enter_context(serve(sink.functions(), address, options=options))
        say({"address": str(server.endpoint)} | memory_bytes())
        for _ in sys.stdin:
            receiver = sink.receivers.get(SESSION)
            found = {
                "delivered": 0 if receiver is None else receiver.n_delivered,
                "missing": 0 if receiver is None else receiver.n_missing,
                "duplicates": 0 if receiver is None else receiver.n_repeated,
                "is_complete": receiver is not None and receiver.is_complete,
                "wrong": seen.n_wrong,
                "last_ns": seen.last_ns,
                "counters": server.counters(),
            }
            say(found | memory_bytes())


def controller(way: str, address: str, options: TransportOptions, n_frames: int) -> None:
    """Send shots, one per frame, and print what became of them at this end."""
    sender = ShotSender(SESSION, N_QUBITS, max_batch=1, max_held=_HELD[way])
    n_offered = 0
    with connect(address, options=options) as link:
        if way == "bulk":
            publisher: ShotPublisher | BulkPublisher = BulkPublisher(
                link, sender, options=options, timeout_s=_TIMEOUT_S
            )
        else:
            publisher = ShotPublisher(link, sender, timeout_s=_TIMEOUT_S)
        before, start_ns = memory_bytes(), time.monotonic_ns()
        while n_offered < n_frames:
            n_wanted = min(_OFFER[way], n_frames - n_offered, sender.n_free)
            if n_wanted:
                n_offered += sender.offer(rows_of(n_offered, n_offered + n_wanted))
            publisher.pump(0.01)
        sender.finish()
        publisher.drain(_DRAIN_S)
        if isinstance(publisher, BulkPublisher):
            publisher.close()
        say(
            {
                "start_ns": start_ns,
                "sent": sender.n_sent,
                "retries": sender.n_retries,
                "losses": publisher.n_losses,
                "stalls": stalls_of(link, publisher),
                "start_rss_bytes": before["rss_bytes"],
            }
            | memory_bytes()
        )


def stalls_of(link: Link, publisher: ShotPublisher | BulkPublisher) -> int:
    """Times that there was no room."""
    counted = link.counters.as_dict()
    n_stalls = counted["backpressure_stalls"] + counted["busy"]
    if isinstance(publisher, BulkPublisher):
        n_stalls += publisher.counters().get("backpressure_stalls", 0)
    return n_stalls


def say(content: dict[str, Any]) -> None:
    """Write a line for the process that started this one."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def to_json(options: TransportOptions) -> str:
    return json.dumps(asdict(options))


def main(role: str, way: str, address: str, options: str, n_frames: str = "0") -> None:
    chosen = TransportOptions(**json.loads(options))
    if role == "host":
        host(way, address, chosen)
    else:
        controller(way, address, chosen, int(n_frames))


if __name__ == "__main__":
    main(*sys.argv[1:])
