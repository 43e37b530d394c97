"""A server in a process of its own: says where it listens, and on each line what it has seen."""

from __future__ import annotations

import json
import sys
import time
import zlib
from contextlib import ExitStack

from cudaq_target.coupler.dispatch import RPC_INCREMENT, Call, Function, Reply
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shot_bulk import BulkSink
from cudaq_target.coupler.shot_link import ShotSink
from tests.coupler.ends import OPTIONS, rss_bytes


class Seen:
    """Shots in order, as a checksum; a delay stands for work."""

    def __init__(self, delay_s: float) -> None:
        self.checksum = 0
        self.delay_s = delay_s

    def consume(self, batch) -> None:
        self.checksum = zlib.crc32(batch.rows.tobytes(), self.checksum)
        if self.delay_s:
            time.sleep(self.delay_s)


def say(content: dict) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def slow_increment(delay_s: float) -> Function:
    def handler(_: Call) -> Reply:
        time.sleep(delay_s)
        return Reply(Status.OK)

    return Function("slow", handler)


def main(endpoint: str, kind: str, settings: dict[str, float]) -> None:
    delay_s = settings.get("delay_s", 0.0)
    seen = Seen(delay_s)
    window = int(settings.get("window", 1024))
    sink: ShotSink | BulkSink = ShotSink(seen.consume, window=window)
    functions = [RPC_INCREMENT, slow_increment(delay_s)]
    with ExitStack() as stack:
        if kind == "bulk":
            place = "tcp://127.0.0.1:0" if "tcp" in endpoint else f"{endpoint}.bulk"
            sink = stack.enter_context(
                BulkSink(seen.consume, place, options=OPTIONS, window=window)
            )
        if kind in {"sink", "bulk"}:
            functions += sink.functions()
        server = stack.enter_context(serve(functions, endpoint, options=OPTIONS))
        say({"endpoint": str(server.endpoint)})
        for _ in sys.stdin:
            streams = [
                {
                    "next": one.next_shot_id,
                    "n_delivered": one.n_delivered,
                    "n_missing": one.n_missing,
                    "missing": one.missing,
                    "is_complete": one.is_complete,
                }
                for one in sink.receivers.values()
            ]
            report = {
                "counters": server.counters(),
                "streams": streams,
                "checksum": seen.checksum,
                "rss_bytes": rss_bytes(),
                "bulk": sink.counters() if isinstance(sink, BulkSink) else {},
            }
            say(report)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
