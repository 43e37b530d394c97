"""Shot frames from a controller to a host, two processes, over each transport.

Run it with `python -m benchmarks.run stream [--quick] [--frames N] [--json] [--output FILE]`. Every
shot travels in a frame of its own, through the library's shot stream; each is compared with what
was sent, and delivered + reported missing = sent must hold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.latency import rounded
from benchmarks.link_spec import OURS
from benchmarks.report import ROOT, Measurement, Row, progress
from benchmarks.stream_ends import to_json
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAMES, QUICK_FRAMES = 10_000_000, 100_000
OPTIONS = TransportOptions(slot_bytes=512, n_slots=256)
_MIB = 2**20
_RATE_FLOOR = 2_000  # slower than this a run is given up (frames/s)


class StreamError(Exception):
    """An end of the stream failed; carries its last words."""


def measured(quick: bool = False, frames: int | None = None) -> Measurement:
    """Stream over all transports.

    Args:
        quick: Fewer frames.
        frames: How many over each transport; None for 10^7, or 10^5 of the quick form.
    """
    n_frames = frames or (QUICK_FRAMES if quick else FRAMES)
    records = []
    for transport in OURS:
        progress(f"{n_frames} shot frames over {transport}")
        records.append(stream(transport, n_frames))
    return Measurement(
        tuple(row for record in records for row in rows_of(record)), {"transports": records}
    )


def rows_of(record: dict[str, Any]) -> tuple[Row, Row]:
    """The rate, and whether every shot is accounted for and right."""
    transport, n_lost = record["transport"], record["unaccounted"] + record["wrong"]
    note = (
        f"{record['sent']} sent, {record['delivered']} delivered, {record['missing']} reported "
        f"missing, {record['duplicates']} duplicates, {record['retries']} retries."
    )
    return (
        Row(f"shot frames, {transport}", record["frames_per_s"], "frames/s", note=note),
        Row(
            f"shots neither delivered nor reported missing, or wrong, {transport}",
            n_lost,
            "shots",
            reach="<= 0",
            holds=n_lost == 0,
            note=note,
            is_correctness=True,
        ),
    )


def stream(transport: str, n_frames: int) -> dict[str, Any]:
    """Run both ends.

    Args:
        transport: One of `OURS`.
        n_frames: Shots, one per frame.

    Raises:
        StreamError: An end failed.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stream-"))
        host = stack.enter_context(_end("host", _address(transport, folder)))
        address = _line(host)["address"]
        sender = stack.enter_context(_end("controller", address, str(n_frames)))
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
        return _record(transport, n_frames, json.loads(said), _line(host))


def _record(
    transport: str, n_frames: int, sent: dict[str, Any], got: dict[str, Any]
) -> dict[str, Any]:
    return {
        "transport": transport,
        "frames": n_frames,
        "seconds": rounded(got["seconds"]),
        "frames_per_s": rounded((n_frames - 1) / got["seconds"]) if got["seconds"] else None,
        "sent": sent["sent"],
        "delivered": got["delivered"],
        "missing": got["missing"],
        "duplicates": got["duplicates"],
        "unaccounted": abs(sent["sent"] - got["delivered"] - got["missing"]),
        "wrong": got["wrong"],
        "retries": sent["retries"],
        "losses": sent["losses"],
        "stalls": sent["counters"]["backpressure_stalls"],
        "controller_start_mib": rounded(sent["start_rss_bytes"] / _MIB),
        "controller_peak_mib": rounded(sent["peak_rss_bytes"] / _MIB),
        "host_end_mib": rounded(got["rss_bytes"] / _MIB),
        "host_peak_mib": rounded(got["peak_rss_bytes"] / _MIB),
    }


@contextmanager
def _end(role: str, address: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is over when its block is: its input ends, and at last it is killed."""
    command = [sys.executable, "-m", "benchmarks.stream_ends", role, address]
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
    return {
        "shm": f"shm://stream-{os.getpid()}-{time.monotonic_ns()}",
        "ipc": f"ipc://{folder}/s",
        "tcp": "tcp://127.0.0.1:0",
        "udp": "udp://127.0.0.1:0",
    }[transport]
