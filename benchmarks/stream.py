"""Shot frames from a controller to a host, two processes, over each transport.

Run it with `python -m benchmarks.run stream [--quick] [--frames N] [--json] [--output FILE]`. Every
shot travels in a frame of its own, through the library's shot streams; each is compared with what
was sent, and delivered + reported missing = sent must hold. ZeroMQ carries them in bulk; a tenth
of them also goes as calls, each with its answer, as over shared memory and UDP.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.latency import rounded
from benchmarks.one_way_ends import one_way
from benchmarks.report import ROOT, Measurement, Row, progress
from benchmarks.stream_ends import to_json
from benchmarks.timing import repeated
from cudaq_target.coupler.frame import HEADER_BYTES
from cudaq_target.coupler.payload import BATCH_HEADER_BYTES
from cudaq_target.coupler.transports.interface import TransportOptions
from cudaq_target.coupler.transports.shared_memory import remove_abandoned

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAMES, QUICK_FRAMES = 10_000_000, 50_000
OPTIONS = TransportOptions(slot_bytes=512, n_slots=256)
# Transport and way of each stream, and what share of the frames it carries.
WAYS = {
    ("shm", "link"): 1,
    ("ipc", "bulk"): 1,
    ("tcp", "bulk"): 1,
    ("udp", "link"): 1,
    ("ipc", "link"): 10,
    ("tcp", "link"): 10,
}
FRAME_BYTES = HEADER_BYTES + BATCH_HEADER_BYTES + 8  # one shot of 64 qubits
_MIB = 2**20
_RATE_FLOOR = 2_000  # slower than this a run is given up (frames/s)


class StreamError(Exception):
    """An end of the stream failed; carries its last words."""


def measured(quick: bool = False, frames: int | None = None) -> Measurement:
    """Stream over all transports.

    Args:
        quick: Fewer frames.
        frames: How many over each transport; None for 10^7, or 5·10^4 of the quick form.
    """
    n_frames = frames or (QUICK_FRAMES if quick else FRAMES)
    peer_rate = pyzmq_rate(20_000 if quick else 200_000)
    records = []
    for (transport, way), share in WAYS.items():
        n_shots = max(1, n_frames // share)
        progress(f"{n_shots} shot frames over {transport}, {way}")
        records.append(stream(transport, n_shots, way))
    return Measurement(
        tuple(row for record in records for row in rows_of(record, peer_rate)),
        {"transports": records},
    )


def pyzmq_rate(n_frames: int, repeats: int = 3) -> float:
    """Frames of the same length per second through bare PUSH and PULL from Python, the median."""
    progress("the same frames through bare pyzmq PUSH/PULL")
    with one_way("pyzmq", FRAME_BYTES) as end:
        taken = repeated(lambda: n_frames / end.run(n_frames)[0], repeats, warm_ups=1)
    return statistics.median(taken)


def rows_of(record: dict[str, Any], peer_rate: float | None = None) -> tuple[Row, Row]:
    """The rate, and whether every shot is accounted for and right.

    Args:
        record: From `stream`.
        peer_rate: Of pyzmq (frames/s), for what goes in bulk over a Unix socket, as it did.
    """
    has_peer = peer_rate is not None and (record["transport"], record["way"]) == ("ipc", "bulk")
    peer = f"bare pyzmq PUSH/PULL, {FRAME_BYTES} B: {peer_rate:.4g} frames/s" if has_peer else None
    ratio = record["frames_per_s"] / peer_rate if peer_rate is not None and has_peer else None
    name = f"{record['transport']}, {record['way']}, {record['frames']} sent"
    n_lost = record["unaccounted"] + record["wrong"]
    note = (
        f"{record['sent']} sent, {record['delivered']} delivered, {record['missing']} reported "
        f"missing, {record['duplicates']} duplicates, {record['retries']} retries."
    )
    return (
        Row(f"shot frames over {name}", record["frames_per_s"], "frames/s", peer, ratio, note=note),
        Row(
            f"shots neither delivered nor reported missing, or wrong, {name}",
            n_lost,
            "shots",
            reach="<= 0",
            holds=n_lost == 0,
            note=note,
            is_correctness=True,
        ),
    )


def stream(transport: str, n_frames: int, way: str = "link") -> dict[str, Any]:
    """Run both ends.

    Args:
        transport: "shm", "ipc", "tcp" or "udp".
        n_frames: Shots, one per frame.
        way: "link", or "bulk" over ZeroMQ.

    Raises:
        StreamError: An end failed.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stream-"))
        host = stack.enter_context(_end("host", way, _address(transport, folder)))
        address = _line(host)["address"]
        sender = stack.enter_context(_end("controller", way, address, str(n_frames)))
        limit_s = 60.0 + n_frames / _RATE_FLOOR
        try:
            said, complaint = sender.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            message = f"{transport}: not done after {limit_s:g} s"
            raise StreamError(message) from None
        if sender.returncode != 0:
            raise StreamError(f"{transport}: {_last_line(complaint)}")
        assert host.stdin is not None
        host.stdin.write("\n")
        host.stdin.flush()
        where = {"transport": transport, "way": way, "frames": n_frames}
        return _record(where, json.loads(said), _line(host))


def _record(where: dict[str, Any], sent: dict[str, Any], got: dict[str, Any]) -> dict[str, Any]:
    taken_s = 1e-9 * (got["last_ns"] - sent["start_ns"])  # one clock for all of a machine
    return where | {
        "seconds": rounded(taken_s),
        "frames_per_s": rounded(where["frames"] / taken_s) if taken_s > 0 else None,
        "sent": sent["sent"],
        "delivered": got["delivered"],
        "missing": got["missing"],
        "duplicates": got["duplicates"],
        "unaccounted": abs(sent["sent"] - got["delivered"] - got["missing"]),
        "wrong": got["wrong"],
        "retries": sent["retries"],
        "losses": sent["losses"],
        "stalls": sent["stalls"],
        "controller_start_mib": rounded(sent["start_rss_bytes"] / _MIB),
        "controller_peak_mib": rounded(sent["peak_rss_bytes"] / _MIB),
        "host_end_mib": rounded(got["rss_bytes"] / _MIB),
        "host_peak_mib": rounded(got["peak_rss_bytes"] / _MIB),
    }


@contextmanager
def _end(role: str, way: str, address: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is over when its block is: its input ends, and at last it is killed."""
    command = [sys.executable, "-m", "benchmarks.stream_ends", role, way, address]
    process = subprocess.Popen(
        [*command, to_json(OPTIONS), *more],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        try:
            if process.poll() is None:
                process.communicate(timeout=5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise StreamError(f"the host ended: {_last_line(process.communicate()[1])}")
    found: dict[str, Any] = json.loads(line)
    return found


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it says nothing"


def _address(transport: str, folder: str) -> str:
    Path(folder).chmod(0o700)
    remove_abandoned("stream-")
    return {
        "shm": f"shm://stream-{os.getpid()}-{time.monotonic_ns()}",
        "ipc": f"ipc://{folder}/s",
        "tcp": "tcp://127.0.0.1:0",
        "udp": "udp://127.0.0.1:0",
    }[transport]
