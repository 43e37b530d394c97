"""Recordings: every crash leaves a readable beginning and an exact report of the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cudaq_target.coupler.dispatch import PENDING, RPC_INCREMENT, Function
from cudaq_target.coupler.errors import RecordingError
from cudaq_target.coupler.frame import function_id, request_frame
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.link_errors import LinkTimeoutError
from cudaq_target.coupler.record import (
    ANSWERS,
    REQUESTS,
    Damage,
    Durability,
    RecordedFrame,
    Recorder,
    read_recording,
    recorded,
    replay,
    resend,
)
from cudaq_target.coupler.server import serve

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


def as_recorded(frames):
    return [RecordedFrame(stamp_ns, channel, frame) for frame, channel, stamp_ns in frames]


any_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_file
@given(FRAMES, st.sampled_from([Durability.BUFFERED, Durability.PROCESS]))
def test_frames_come_back(path, frames, durability):
    write(path, frames, durability=durability)
    assert list(read_recording(path)) == as_recorded(frames)


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
        assert items[:n_whole] == as_recorded(frames[:n_whole])
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
    assert intact == [frame for frame in as_recorded(frames) if frame in intact]
    is_length = (position // 8 - 24) % 27 < 4
    assert is_length or len(intact) == 4


def test_recording_goes_on_after_a_crash(path):
    write(path, [(b"one", 0, 1), (b"two", 0, 2)])
    path.write_bytes(path.read_bytes()[:-1])
    with Recorder(path, resume=True) as recorder:
        recorder.write(b"three", 0, 3)
    assert list(read_recording(path)) == as_recorded([(b"one", 0, 1), (b"three", 0, 3)])


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


def test_calls_are_recorded_and_made_again(path, tmp_path):
    """A recording of a server's calls, replayed against another server: the same answers."""
    functions = [RPC_INCREMENT, Function("fail", fail), Function("later", later, may_pend=True)]
    tmp_path.chmod(0o700)
    calls = [("rpc_increment", b"\x01\xff"), ("fail", b"x"), ("rpc_increment", b"")]
    with Recorder(path) as recorder:
        table = recorded(functions, recorder)
        with serve(table, f"ipc://{tmp_path}/s") as server, connect(server.endpoint) as link:
            answers = [link.call(*one, 20.0, timestamp_ns=7) for one in calls]
            with pytest.raises(LinkTimeoutError):
                link.call("later", b"y", 0.5)
    frames = list(read_recording(path))
    requests = [one.frame for one in frames if one.channel == REQUESTS]
    expected = [request_frame(function_id(name), arguments) for name, arguments in calls]
    assert [frame[24:] for frame in requests[:3]] == [frame[24:] for frame in expected]
    assert [frame[:12] for frame in requests[:3]] == [frame[:12] for frame in expected]
    assert {frame[16:24] for frame in requests[:3]} == {(7).to_bytes(8, "little")}
    assert [one.frame[24:] for one in frames if one.channel == ANSWERS] == [b"\x02\x00", b""]
    again = []
    with serve(functions, f"ipc://{tmp_path}/s") as server, connect(server.endpoint) as link:
        send = resend(link, 20.0)
        assert replay(frames[:-1], lambda one: again.append(send(one))) == len(frames) - 1
    made = [(one.status, one.result, one.timestamp_ns) for one in again if one is not None]
    assert made == [(one.status, one.result, one.timestamp_ns) for one in answers]


def fail(_):
    raise ValueError("on purpose")


def later(_):
    return PENDING
