"""Recordings: every crash leaves a readable beginning and an exact report of the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cudaq_target.coupler.errors import RecordingError
from cudaq_target.coupler.record import (
    Damage,
    Durability,
    RecordedFrame,
    Recorder,
    read_recording,
    replay,
)

FRAMES = st.lists(
    st.tuples(st.binary(max_size=50), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)),
    max_size=6,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "link.rec"


def write(path, frames, **options):
    path.unlink(missing_ok=True)
    with Recorder(path, **options) as recorder:
        for frame, channel, stamp_ns in frames:
            recorder.write(frame, channel, stamp_ns)


def recorded(frames):
    return [RecordedFrame(stamp_ns, channel, frame) for frame, channel, stamp_ns in frames]


any_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_file
@given(FRAMES, st.sampled_from([Durability.BUFFERED, Durability.PROCESS]))
def test_frames_come_back(path, frames, durability):
    write(path, frames, durability=durability)
    assert list(read_recording(path)) == recorded(frames)


def test_disk_has_every_record(path):
    write(path, [(b"abc", 1, 2)], durability=Durability.POWER)
    assert list(read_recording(path)) == [RecordedFrame(2, 1, b"abc")]


def test_file_cut_anywhere(path):
    frames = [(bytes([k]) * k, k, 100 + k) for k in range(5)]
    write(path, frames)
    whole = path.read_bytes()
    ends = [24]
    for frame, _, _ in frames:
        ends.append(ends[-1] + 20 + len(frame))
    for size in range(24, len(whole) + 1):
        path.write_bytes(whole[:size])
        n_whole = sum(end <= size for end in ends) - 1
        items = list(read_recording(path))
        assert items[:n_whole] == recorded(frames[:n_whole])
        left = size - ends[n_whole]
        assert len(items) == n_whole + (left > 0)
        if left:
            assert isinstance(items[-1], Damage)
            assert (items[-1].offset, items[-1].n_bytes) == (ends[n_whole], left)
            assert "it ends within" in str(items[-1])


@any_file
@given(st.integers(0, 10**6))
def test_flipped_bit_is_found_and_costs_little(path, at):
    frames = [(b"frame %d" % k, k, k) for k in range(5)]
    write(path, frames)
    content = bytearray(path.read_bytes())
    position = 24 * 8 + at % ((len(content) - 24) * 8)
    content[position // 8] ^= 1 << position % 8
    path.write_bytes(content)
    items = list(read_recording(path))
    assert sum(isinstance(item, Damage) for item in items) == 1
    intact = [item for item in items if isinstance(item, RecordedFrame)]
    assert intact == [frame for frame in recorded(frames) if frame in intact]
    is_length = (position // 8 - 24) % 27 < 4
    assert is_length or len(intact) == 4


def test_recording_goes_on_after_a_crash(path):
    write(path, [(b"one", 0, 1), (b"two", 0, 2)])
    path.write_bytes(path.read_bytes()[:-1])
    with Recorder(path, resume=True) as recorder:
        recorder.write(b"three", 0, 3)
    assert list(read_recording(path)) == recorded([(b"one", 0, 1), (b"three", 0, 3)])


def test_existing_file_is_not_overwritten(path):
    write(path, [(b"one", 0, 1)])
    with pytest.raises(RecordingError, match="it exists"):
        Recorder(path)
    assert len(list(read_recording(path))) == 1


@pytest.mark.parametrize("content", [b"", b"short", b"something else" * 5])
def test_file_that_is_no_recording(path, content):
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="does not begin like one"):
        list(read_recording(path))
    if content:
        with pytest.raises(RecordingError, match="does not begin like one"):
            Recorder(path, resume=True)
        assert path.read_bytes() == content


WRITER = """
import sys
from cudaq_target.coupler.record import Recorder
recorder = Recorder(sys.argv[1])
n = 0
while True:
    recorder.write(n.to_bytes(8, "little") * 50, stamp_ns=n)
    print(n, flush=True)
    n += 1
"""


def test_killed_process_leaves_every_record_that_it_reported(path):
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = [int(process.stdout.readline()) for _ in range(200)][-1]
        os.kill(process.pid, signal.SIGKILL)
        last = max([last, *(int(line) for line in process.stdout if line.endswith("\n"))])
    items = list(read_recording(path))
    frames = [item for item in items if isinstance(item, RecordedFrame)]
    assert [frame.stamp_ns for frame in frames] == list(range(len(frames)))
    assert len(frames) > last
    assert all(item.frame == item.stamp_ns.to_bytes(8, "little") * 50 for item in frames)


def test_full_disk_is_an_error_not_a_silence(path):
    recorder = Recorder(path)
    full = os.open("/dev/full", os.O_WRONLY)
    own, recorder._file = recorder._file, full
    with pytest.raises(OSError, match="No space"):
        recorder.write(b"one")
    recorder._file = own
    os.close(full)
    recorder.close()
    assert len(list(read_recording(path))) == 1


def test_too_long_a_frame(path):
    class Long(bytes):
        __slots__ = ()

        def __len__(self):
            return 2**28 + 1

        def __bytes__(self):
            return self

    with Recorder(path) as recorder, pytest.raises(RecordingError, match="longer than"):
        recorder.write(Long())


def test_replay_keeps_distances():
    now_ns, sent = [50], []
    frames = [RecordedFrame(stamp, 0, b"") for stamp in (1000, 1100, 1600)]

    def sleep(duration_s):
        now_ns[0] += round(duration_s * 1e9)

    def send(_):
        sent.append(now_ns[0])

    items = [frames[0], Damage(0, 1, ""), *frames[1:]]
    assert replay(items, send, speed=2.0, clock=lambda: now_ns[0], sleep=sleep) == 3
    assert sent == [50, 100, 350]
    assert replay(frames, send) == 3
