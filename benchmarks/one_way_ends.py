"""Frames one way, from Python to Python: receivers in processes of their own, and the senders.

`python -m benchmarks.one_way_ends KIND ADDRESS BYTES` says where it listens, then receives as many
numbered frames as each line of input says, and prints how long they took.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.link_peers import (
    PeerError,
    bytes_type,
    iceoryx2_builder,
    wait_until_matched,
    zenoh_publisher,
    zenoh_session,
)
from benchmarks.report import ROOT
from cudaq_target.coupler.shm import FrameReader, FrameSegment, FrameWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Receive = Callable[[], bytes | None]
    Send = Callable[[bytearray], object]
    Close = Callable[[], object]

_NUMBER_BYTES = 8
_LONG_BYTES = 32_768
_TIMEOUT_S = 5.0


def n_slots_of(n_bytes: int) -> int:
    """Frames that a queue holds."""
    return 16 if n_bytes >= _LONG_BYTES else 1024


def receive_shm(address: str, n_bytes: int) -> tuple[Receive, Close]:
    segment = FrameSegment.create(address, n_slots_of(n_bytes), n_bytes)
    reader = FrameReader(segment)

    def close() -> None:
        reader.close()
        segment.unlink()

    pop = reader.pop
    return lambda: pop(timeout_s=_TIMEOUT_S), close


def send_shm(address: str, _: int) -> tuple[Send, Close]:
    writer = FrameWriter(FrameSegment.attach(address))
    push = writer.push
    return lambda frame: push(frame, timeout_s=_TIMEOUT_S), writer.close


def receive_pyzmq(address: str, _: int) -> tuple[Receive, Close]:
    import zmq  # noqa: PLC0415 - this contender alone

    context = zmq.Context()
    pull = context.socket(zmq.PULL)
    pull.setsockopt(zmq.RCVTIMEO, int(1000 * _TIMEOUT_S))
    pull.bind(address)
    return pull.recv, lambda: context.destroy(0)


def send_pyzmq(address: str, _: int) -> tuple[Send, Close]:
    import zmq  # noqa: PLC0415 - this contender alone

    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    push.connect(address)
    return push.send, lambda: context.destroy(0)


def _iceoryx2_service(address: str, n_bytes: int) -> tuple[Any, Any]:
    payload = bytes_type(n_bytes)
    builder = iceoryx2_builder(f"{address}-{n_bytes}").publish_subscribe(payload)
    n_slots = n_slots_of(n_bytes)
    # Its default drops the oldest frame where a reader is slow.
    builder = builder.enable_safe_overflow(False).subscriber_max_buffer_size(n_slots)
    return builder.open_or_create(), payload


def receive_iceoryx2(address: str, n_bytes: int) -> tuple[Receive, Close]:
    service, _ = _iceoryx2_service(address, n_bytes)
    subscriber = service.subscriber_builder().create()

    def receive() -> bytes | None:
        until_s = time.monotonic() + _TIMEOUT_S
        sample = subscriber.receive()
        while sample is None:
            if time.monotonic() > until_s:
                return None
            sample = subscriber.receive()
        frame = ctypes.string_at(sample.payload_ptr, n_bytes)
        sample.delete()
        return frame

    return receive, subscriber.delete


def send_iceoryx2(address: str, n_bytes: int) -> tuple[Send, Close]:
    import iceoryx2  # noqa: PLC0415 - this contender alone

    service, payload = _iceoryx2_service(address, n_bytes)
    strategy = iceoryx2.BackpressureStrategy.RetryUntilDelivered
    publisher = service.publisher_builder().backpressure_strategy(strategy).create()
    return lambda frame: publisher.send_copy(payload.from_buffer(frame)), publisher.delete


def receive_zenoh(address: str, _: int) -> tuple[Receive, Close]:
    session = zenoh_session(address, "listen")
    subscriber = session.declare_subscriber("one-way")
    return lambda: subscriber.recv().payload.to_bytes(), session.close  # noqa: PLW0108


def send_zenoh(address: str, _: int) -> tuple[Send, Close]:
    session = zenoh_session(address, "connect")
    publisher = zenoh_publisher(session, "one-way", express=False)
    try:
        wait_until_matched(publisher)
    except PeerError:
        session.close()
        raise
    return lambda frame: publisher.put(bytes(frame)), session.close


RECEIVERS: dict[str, Callable[[str, int], tuple[Receive, Close]]] = {
    "shm": receive_shm,
    "pyzmq": receive_pyzmq,
    "iceoryx2": receive_iceoryx2,
    "zenoh": receive_zenoh,
}
SENDERS: dict[str, Callable[[str, int], tuple[Send, Close]]] = {
    "shm": send_shm,
    "pyzmq": send_pyzmq,
    "iceoryx2": send_iceoryx2,
    "zenoh": send_zenoh,
}


def take(receive: Receive, n_frames: int) -> dict[str, Any]:
    """Receive numbered frames, and say when the last one was there."""
    n_wrong = 0
    for k in range(n_frames):
        frame = receive()
        if frame is None:
            return {"end_ns": None, "wrong": n_frames - k}
        n_wrong += int.from_bytes(frame[:_NUMBER_BYTES], "little") != k
    return {"end_ns": time.monotonic_ns(), "wrong": n_wrong}


class OneWay:
    """A receiver in a process of its own, with its sender here."""

    def __init__(self, process: subprocess.Popen[str], send: Send, n_bytes: int) -> None:
        self._process = process
        self._send = send
        self._frame = bytearray(n_bytes)

    def run(self, n_frames: int) -> tuple[float, int]:
        """Send frames.

        Returns:
            Seconds from before the first was sent to the last arrival, on the clock that both
            processes share, and how many frames were wrong.

        Raises:
            PeerError: They did not arrive.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{n_frames}\n")
        self._process.stdin.flush()
        self._process.stdout.readline()  # it is ready
        frame, send = self._frame, self._send
        start_ns = time.monotonic_ns()
        for k in range(n_frames):
            frame[:_NUMBER_BYTES] = k.to_bytes(_NUMBER_BYTES, "little")
            send(frame)
        said = self._process.stdout.readline()
        found = json.loads(said) if said else {"end_ns": None}
        if found["end_ns"] is None:
            raise PeerError("frames did not arrive")
        return 1e-9 * (found["end_ns"] - start_ns), found["wrong"]


@contextmanager
def one_way(kind: str, n_bytes: int) -> Iterator[OneWay]:
    """Start both ends.

    Raises:
        PeerError: Its package is missing, or its receiver did not start.
    """
    with tempfile.TemporaryDirectory(prefix="one-way-") as folder:
        own = f"one-way-{os.getpid()}-{time.monotonic_ns()}"
        address = {"pyzmq": f"ipc://{folder}/s", "zenoh": f"unixsock-stream/{folder}/s"}
        place = address.get(kind, own)
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.one_way_ends", kind, place, str(n_bytes)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise PeerError(f"{kind}: its receiver did not start")
            send, close = SENDERS[kind](place, n_bytes)
            try:
                yield OneWay(process, send, n_bytes)
            finally:
                close()
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def main(kind: str, address: str, n_bytes: int) -> None:
    """Receive until the input ends."""
    receive, close = RECEIVERS[kind](address, n_bytes)
    print("ready", flush=True)
    for line in sys.stdin:
        print("go", flush=True)
        print(json.dumps(take(receive, int(line))), flush=True)
    close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
