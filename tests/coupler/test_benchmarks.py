"""Round-trip benchmarks keep their output contract and notice wrong answers."""

from __future__ import annotations

import json

import pytest

from benchmarks import rtt, throughput
from benchmarks.link_ends import CALLERS, Contender, PeerError, contender
from benchmarks.report import Report

TINY = rtt.Effort(blocks=2, native=20, shm=20, sockets=20)
KEYS = ["name", "value", "unit", "peer", "ratio", "reach", "holds"]


def check(row):
    public = json.loads(json.dumps(row.public()))
    assert list(public) == KEYS
    assert public["value"] >= 0
    assert public["holds"] in (True, False, None)
    assert public["reach"] is not None or public["holds"] is None


@pytest.mark.parametrize(
    "group", [rtt.native_rows, rtt.python_rows, rtt.zeromq_rows, rtt.curve_rows]
)
def test_rows(group):
    rows, n_wrong = group(64, TINY)
    assert n_wrong == 0
    for row in rows:
        check(row)
        assert len(row.samples) == 40
        assert "p99.9" in row.note


def test_rows_of_the_frame_ring():
    row, wrong = throughput.stream_rows(64, 1000, 2)
    check(row)
    check(wrong)
    assert wrong.holds


def test_a_peer_that_is_not_installed_has_no_verdict(monkeypatch):
    def absent(*_):
        raise PeerError("no module")

    monkeypatch.setattr(rtt, "contender", absent)
    rows, _ = rtt.peer_rows(64, "zenoh", TINY)
    assert [(row.value, row.holds) for row in rows] == [(None, None)] * 2
    assert all(row.reach and "no module" in row.note for row in rows)


class Idle:
    def send_signal(self, _):
        raise AssertionError("nobody polls here")


def test_wrong_answers_are_counted_and_fail_the_run():
    answers = iter([b"right"] * 3)
    end = Contender(Idle(), lambda _: next(answers), polls=False)
    times, n_wrong = rtt.round_trips(Contender(Idle(), lambda sent: sent, polls=False), 3, 8)
    assert (len(times), n_wrong) == (3, 0)
    assert rtt.round_trips(Contender(Idle(), bytes.upper, polls=False), 3, 8)[1] > 0
    assert end.call(b"") == b"right"
    assert not Report("rtt", (rtt.wrong_row(n_wrong=1),), "command").is_correct
    assert Report("rtt", (rtt.wrong_row(n_wrong=0),), "command").is_correct


def test_no_server_process_is_left(monkeypatch):
    def refuse(*_):
        raise OSError("no way there")

    monkeypatch.setitem(CALLERS, "shm-native", refuse)
    with pytest.raises(OSError, match="no way"), contender("shm-native", 64):
        pass
