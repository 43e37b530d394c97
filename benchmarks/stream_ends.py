"""Both ends of a stream of shots, in processes of their own.

`python -m benchmarks.stream_ends host ADDRESS OPTIONS` receives, and prints what it has on each
line of input; `python -m benchmarks.stream_ends controller ADDRESS OPTIONS N_FRAMES` sends.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.coupler.link import connect
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shot_link import ShotPublisher, ShotSink
from cudaq_target.coupler.shot_sender import ShotSender
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.coupler.payload import ShotBatch

N_QUBITS = 64
SESSION = 1
_FACTOR = 0x9E3779B97F4A7C15  # odd, so that every shot has bits of its own
_MASK = (1 << 64) - 1
_OFFER = 1024
_TIMEOUT_S, _DRAIN_S = 2.0, 120.0


def rows_of(first: int, end: int) -> NDArray[np.uint64]:
    """Bits of shots, a function of their number; shape (end - first, 1)."""
    numbers = np.arange(first + 1, end + 1, dtype=np.uint64)
    return (numbers * np.uint64(_FACTOR))[:, None]


class Checked:
    """Compares what arrives with what was sent; times from the first shot to the last."""

    def __init__(self) -> None:
        self.n_wrong = 0
        self.n_batches = 0
        self.first_ns = 0
        self.last_ns = 0

    def consume(self, batch: ShotBatch) -> None:
        self.last_ns = time.monotonic_ns()
        self.first_ns = self.first_ns or self.last_ns
        self.n_batches += 1
        first, end = batch.first_shot_id, batch.first_shot_id + batch.n_shots
        if batch.n_shots == 1:  # the usual case, without arrays
            self.n_wrong += int(batch.rows[0, 0]) != (first + 1) * _FACTOR & _MASK
        else:
            self.n_wrong += int((batch.rows != rows_of(first, end)).sum())


def memory_bytes() -> dict[str, int]:
    """Memory of this process: now, and the most that it ever had (bytes)."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - no path is built
        pages = int(file.read().split()[1])
    return {
        "rss_bytes": pages * resource.getpagesize(),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def host(address: str, options: TransportOptions) -> None:
    """Receive until the input ends."""
    seen = Checked()
    sink = ShotSink(seen.consume)
    with serve(sink.functions(), address, options=options) as server:
        say({"address": str(server.endpoint)} | memory_bytes())
        for _ in sys.stdin:
            receiver = sink.receivers.get(SESSION)
            found = {
                "delivered": 0 if receiver is None else receiver.n_delivered,
                "missing": 0 if receiver is None else receiver.n_missing,
                "duplicates": 0 if receiver is None else receiver.n_repeated,
                "is_complete": receiver is not None and receiver.is_complete,
                "wrong": seen.n_wrong,
                "seconds": 1e-9 * (seen.last_ns - seen.first_ns),
                "counters": server.counters(),
            }
            say(found | memory_bytes())


def controller(address: str, options: TransportOptions, n_frames: int) -> None:
    """Send shots, one per frame, and print what became of them at this end."""
    sender = ShotSender(SESSION, N_QUBITS, max_batch=1)
    n_offered = 0
    with connect(address, options=options) as link:
        publisher = ShotPublisher(link, sender, timeout_s=_TIMEOUT_S)
        before = memory_bytes()
        while n_offered < n_frames:
            n_wanted = min(_OFFER, n_frames - n_offered, sender.n_free)
            if n_wanted:
                n_offered += sender.offer(rows_of(n_offered, n_offered + n_wanted))
            publisher.pump(0.01)
        sender.finish()
        publisher.drain(_DRAIN_S)
        say(
            {
                "sent": sender.n_sent,
                "retries": sender.n_retries,
                "losses": publisher.n_losses,
                "counters": link.counters.as_dict(),
                "start_rss_bytes": before["rss_bytes"],
            }
            | memory_bytes()
        )


def say(content: dict[str, Any]) -> None:
    """Write a line for the process that started this one."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def to_json(options: TransportOptions) -> str:
    return json.dumps(asdict(options))


def main(role: str, address: str, options: str, n_frames: str = "0") -> None:
    chosen = TransportOptions(**json.loads(options))
    if role == "host":
        host(address, chosen)
    else:
        controller(address, chosen, int(n_frames))


if __name__ == "__main__":
    main(*sys.argv[1:])
