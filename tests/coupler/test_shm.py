"""Named segments: who may make, attach and reclaim them, and what is refused."""

from __future__ import annotations

import multiprocessing
import os
import signal
import struct
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from cudaq_target.coupler.errors import (
    CouplerError,
    RingFormatError,
    RoleTakenError,
    SegmentFormatError,
    SegmentInUseError,
    SegmentMissingError,
    SegmentStaleError,
    SegmentSystemError,
)
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.link_errors import LinkTimeoutError
from cudaq_target.coupler.shm import (
    Client,
    Dispatcher,
    FrameReader,
    FrameSegment,
    FrameWriter,
    SlotRing,
    segment_name,
)
from cudaq_target.coupler.transports.shared_memory import remove_abandoned

_numbers = count()
pytestmark = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="segments are files on Linux")


@pytest.fixture
def name() -> str:
    return f"test-{os.getpid()}-shm-{next(_numbers)}"


def file_of(name: str) -> Path:
    return Path("/dev/shm") / f"cudaq-target-{name}"


def dead_owner(name: str) -> int:
    """Let another process make a segment and die without a chance to clean up."""
    code = (
        "import os, signal\nfrom cudaq_target.coupler.shm import SlotRing\n"
        f"ring = SlotRing.create({name!r}, 4, 256)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert file_of(name).exists()
    return done.returncode


def test_a_segment_is_private_and_goes_with_its_owner(name: str) -> None:
    ring = SlotRing.create(name, 3, 256, 384)
    assert file_of(name).stat().st_mode & 0o777 == 0o600
    attached = SlotRing.attach(name)
    assert (attached.n_slots, attached.rx_stride_bytes, attached.tx_stride_bytes) == (3, 256, 384)
    assert attached.owner_pid == os.getpid()
    assert (attached.producer_pid, attached.consumer_pid) == (0, 0)
    del attached
    assert file_of(name).exists()
    del ring
    assert not file_of(name).exists()


def test_the_layout_is_the_documented_one(name: str) -> None:
    ring = SlotRing.create(name, 3, 256, 384)
    head = struct.unpack_from("<8s6I", ring.memory)
    assert head == (b"CQTSHM\x00\x01", 2, 1, 3, 256, 384, 0)
    assert struct.unpack_from("<QI", ring.memory, 32) == (len(ring.memory), os.getpid())
    assert len(ring.memory) == 4096 + 2 * 128 + 3 * (256 + 384)


def test_what_nobody_asks_for_again_can_be_swept(name: str) -> None:
    dead_owner(name)
    kept = SlotRing.create(f"{name}-live", 4, 256)
    assert remove_abandoned(name) == [name]
    assert not file_of(name).exists()
    assert file_of(kept.name).exists()
    assert remove_abandoned(name) == []


def test_a_name_has_one_live_owner(name: str) -> None:
    ring = SlotRing.create(name, 4, 256)
    with pytest.raises(SegmentInUseError) as caught:
        SlotRing.create(name, 4, 256)
    assert str(caught.value) == (
        f"shared memory {name!r} belongs to process {os.getpid()}, which runs; "
        f"stop it or choose another name"
    )
    assert ring.unlink()
    again = SlotRing.create(name, 4, 256)
    assert not ring.unlink(), "the name means another segment by now"
    assert again.unlink()


def test_what_a_dead_process_left_is_refused_and_reclaimed(name: str) -> None:
    dead_owner(name)
    with pytest.raises(SegmentStaleError):
        SlotRing.attach(name)
    ring = SlotRing.create(name, 8, 128)
    assert SlotRing.attach(name).n_slots == 8
    assert ring.unlink()


def test_a_segment_whose_maker_died_half_way_is_reclaimed(name: str) -> None:
    file_of(name).write_bytes(b"")
    file_of(name).chmod(0o600)
    with pytest.raises(SegmentFormatError, match="size"):
        SlotRing.attach(name)
    SlotRing.create(name, 8, 128)


@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_a_role_has_one_holder(name: str, role: str) -> None:
    ring = SlotRing.create(name, 4, 256)
    ring.claim(role)
    with pytest.raises(RoleTakenError) as caught:
        SlotRing.attach(name).claim(role)
    assert (caught.value.role, caught.value.pid) == (role, os.getpid())
    ring.release(role)
    ring.claim(role)
    with pytest.raises(ValueError, match="producer"):
        ring.claim("owner")


def test_a_second_client_and_a_second_dispatcher_are_refused(name: str) -> None:
    ring = SlotRing.create(name, 4, 256)
    first = Client(ring)
    with pytest.raises(RoleTakenError, match="one producer"):
        Client(ring)
    server = Dispatcher()
    server.start(ring)
    with pytest.raises(RoleTakenError, match="one consumer"):
        Dispatcher().start(ring)
    server.stop()
    first.close()
    Client(ring).close()


@pytest.mark.parametrize(
    ("offset", "layout", "value", "field"),
    [
        (0, "<Q", 1, "magic"),
        (8, "<I", 1, "layout version"),
        (12, "<I", 2, "kind of ring"),
        (16, "<I", 0, "n_slots"),
        (16, "<I", 2**31, "n_slots"),
        (16, "<I", 5, r"size \(bytes\)"),
        (20, "<I", 100, "rx_stride_bytes"),
        (24, "<I", 0, "tx_stride_bytes"),
        (32, "<Q", 8, r"size \(bytes\)"),
    ],
)
def test_malformed_segments_are_refused(name: str, offset, layout, value, field) -> None:
    ring = SlotRing.create(name, 4, 256)
    struct.pack_into(layout, ring.memory, offset, value)
    with pytest.raises(SegmentFormatError, match=field):
        SlotRing.attach(name)


def test_a_foreign_file_is_never_removed(name: str) -> None:
    file_of(name).write_bytes(b"something else entirely".ljust(8192))
    file_of(name).chmod(0o600)
    try:
        with pytest.raises(SegmentFormatError, match="magic"):
            SlotRing.create(name, 4, 256)
    finally:
        file_of(name).unlink()


def test_truncated_files_are_refused(name: str) -> None:
    ring = SlotRing.create(name, 4, 256)
    os.truncate(file_of(name), file_of(name).stat().st_size - 128)
    with pytest.raises(SegmentFormatError, match="size"):
        SlotRing.attach(name)
    del ring


def test_open_permissions_are_refused(name: str) -> None:
    ring = SlotRing.create(name, 4, 256)
    file_of(name).chmod(0o644)
    with pytest.raises(SegmentFormatError) as caught:
        SlotRing.attach(name)
    assert str(caught.value) == (
        f"shared memory {name!r}: permissions is 0o644; "
        f"expected 0o600: read and write for the owner alone"
    )
    assert isinstance(caught.value, CouplerError)
    del ring


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_other_users_are_refused(name: str) -> None:
    ring = SlotRing.create(name, 4, 256)
    os.chown(file_of(name), 12345, -1)
    for use in (SlotRing.attach, lambda n: SlotRing.create(n, 4, 256)):
        with pytest.raises(SegmentFormatError, match="owner"):
            use(name)
    del ring


@pytest.mark.parametrize("bad", ["", "a/b", "../x", "ü", "a" * 129, "a b"])
def test_odd_names_are_refused(bad: str) -> None:
    with pytest.raises(SegmentFormatError, match="name"):
        SlotRing.create(bad, 4, 256)
    with pytest.raises(SegmentFormatError, match="name"):
        SlotRing.attach(bad)


def test_missing_segments_are_named(name: str) -> None:
    with pytest.raises(SegmentMissingError, match=f"no shared memory '{name}'"):
        SlotRing.attach(name)


@pytest.mark.parametrize(
    ("n_slots", "rx", "tx"), [(0, 128, 128), (2**25, 128, 128), (4, 100, 128), (4, 128, 1)]
)
def test_impossible_geometries_are_refused(name: str, n_slots: int, rx: int, tx: int) -> None:
    with pytest.raises(SegmentFormatError):
        SlotRing.create(name, n_slots, rx, tx)
    assert not file_of(name).exists()


def test_want_of_memory_is_an_error_and_no_crash(name: str) -> None:
    free = os.statvfs("/dev/shm")
    slot = 2**28
    n_slots = free.f_bavail * free.f_frsize // slot + 8
    if n_slots * slot > 2**40:
        pytest.skip("this machine's shared memory has no end")
    with pytest.raises(SegmentSystemError, match="No space"):
        SlotRing.create(name, n_slots, slot)
    assert not file_of(name).exists()


def test_endpoints() -> None:
    assert segment_name("shm://decoder-0") == "decoder-0"
    with pytest.raises(ValueError, match="write shm://NAME"):
        segment_name("tcp://localhost:1")


def test_frames_cross_one_way(name: str) -> None:
    segment = FrameSegment.create(name, 4, 64)
    writer, reader = FrameWriter(segment), FrameReader(FrameSegment.attach(name))
    assert writer.has_reader
    assert reader.has_writer
    for i in range(4):
        assert writer.push(bytes([i]) * i)
    assert not writer.push(b"full")
    assert writer.n_waiting == reader.n_waiting == 4
    view = reader.peek()
    assert view is not None
    assert view.tobytes() == b""
    reader.release()
    assert [reader.pop() for _ in range(4)] == [b"\1", b"\2\2", b"\3\3\3", None]
    with pytest.raises(RoleTakenError):
        FrameWriter(segment)
    with reader:
        pass
    assert not writer.has_reader
    with pytest.raises(ValueError, match="closed"):
        reader.segment  # noqa: B018
    with pytest.raises(SegmentFormatError, match="kind"):
        SlotRing.attach(name)


def test_a_closed_end_touches_the_ring_no_more(name: str) -> None:
    segment = FrameSegment.create(name, 1, 8)
    writer, reader = FrameWriter(segment), FrameReader(segment)
    assert writer.push(b"a")
    assert not writer.push(b"b")
    assert reader.pop() == b"a"
    assert writer.counters() == {"sent": 1, "busy": 1, "backpressure_stalls": 1}
    assert reader.counters() == {"received": 1, "bad_frames": 0}
    writer.close()
    reader.close()
    reader.close()
    for use in (
        lambda: writer.push(b"late"),
        lambda: writer.n_waiting,
        reader.pop,
        reader.peek,
        reader.release,
        lambda: reader.n_waiting,
    ):
        with pytest.raises(ValueError, match="this end of the ring is closed"):
            use()
    assert FrameReader(segment).pop() is None


def test_an_impossible_length_is_dropped_and_counted(name: str) -> None:
    segment = FrameSegment.create(name, 2, 8)
    writer, reader = FrameWriter(segment), FrameReader(segment)
    memory = segment.memory
    for take in (reader.pop, reader.peek):
        assert writer.push(b"\xaa" * 8)
        at = bytes(memory).index(b"\xaa" * 8)
        memory[at + 8 : at + 12] = 0xFF  # the length, after the frame
        with pytest.raises(RingFormatError, match="length"):
            take()
        memory[at : at + 8] = 0
    assert reader.counters() == {"received": 0, "bad_frames": 2}
    assert writer.push(b"good")
    assert reader.pop() == b"good"


def _stream_until_killed(name: str) -> None:
    writer = FrameWriter(FrameSegment.attach(name))
    for i in count():
        writer.push(struct.pack("<Q", i), timeout_s=60)


def test_a_killed_writer_loses_nothing_that_it_wrote(name: str) -> None:
    """Delivered plus lost is sent: nothing is lost, whatever the instant of death."""
    reader = FrameReader(FrameSegment.create(name, 16, 8))
    context = multiprocessing.get_context("spawn")
    for _ in range(2):
        process = context.Process(target=_stream_until_killed, args=(name,))
        process.start()
        got = []
        while len(got) < 1000:
            frame = reader.pop(timeout_s=60)
            assert frame is not None
            got.append(struct.unpack("<Q", frame)[0])
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert not reader.has_writer
        while (frame := reader.pop()) is not None:
            got.append(struct.unpack("<Q", frame)[0])
        assert got == list(range(len(got)))


@pytest.mark.parametrize("n_bytes", [0, 8192])
def test_a_segment_that_is_being_made_is_waited_for(n_bytes, name):
    path = Path(f"/dev/shm/cudaq-target-{name}")
    path.touch(mode=0o600)
    path.write_bytes(bytes(n_bytes))
    try:
        with pytest.raises(LinkTimeoutError):
            connect(f"shm://{name}", timeout_s=0.05)
    finally:
        path.unlink()
