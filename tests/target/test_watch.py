"""What is known of a loop from its events, while they are written; the command that shows it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target import cli
from cudaq_target.coupler import serve
from cudaq_target.coupler.decode_service import DecodeService
from cudaq_target.coupler.decoder_config import read_decoders
from cudaq_target.coupler.interrupts import interruptible
from cudaq_target.coupler.loops.memory_code import memory_code
from cudaq_target.errors import EventFileError
from cudaq_target.watch.fields import wrong_field
from cudaq_target.watch.reader import EventReader, read_file
from cudaq_target.watch.state import RUNNING, WAITING, LoopState, Thinned, state_of
from cudaq_target.watch.terminal import plot_rows
from cudaq_target.watch.words import facts, saving, verdict
from tests.coupler.loop_machine import CoinMachine
from tests.target.loop_events import minimum

WATCH = [sys.executable, "-m", "cudaq_target", "watch"]
START = {
    "event": "start", "t": 1.0, "loop": "test", "unit": "Ha", "policy": "none", "reference": -1.0,
    "machine": {"name": "coins"},
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A loop's file of events, and its own result."""
    path = tmp_path_factory.mktemp("watch") / "events.jsonl"
    return path, minimum(path, name="coins", unit="Ha", reference=-0.5)


def estimate(value=None, n_shots=8, error=None, low=None, high=None):
    return {
        "value": value, "standard_error": error, "low": low, "high": high, "confidence": 0.95,
        "n_shots": n_shots, "n_shots_by_setting": [n_shots],
    }  # fmt: skip


def step(number, n_measured, n_saved=0):
    return {
        "event": "step", "t": 2.0, "step": number, "point": [0.5], "estimate": estimate(0.1),
        "n_used": n_measured, "n_measured": n_measured, "n_saved": n_saved,
    }  # fmt: skip


def written(path: Path, *events) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def test_the_state_at_the_end_says_what_the_loop_found(found) -> None:
    path, result = found
    state = state_of(read_file(path))
    assert state.status == result.status == "done"
    assert state.reading.value == result.estimate.value
    assert (state.reading.low, state.reading.high) == (result.estimate.low, result.estimate.high)
    assert (state.n_measured, state.n_used) == (result.n_measured, result.n_used)
    assert state.n_saved == result.n_saved > 0
    assert state.n_closed == result.n_measured
    assert len(state.steps) == len(result.steps)
    assert state.steps.last.point == result.steps[-1].point
    assert state.percentiles_ns["max"] == result.rtt_ns.maximum
    assert sum(count for *_, count in state.end["rtt_histogram"]) == result.rtt_ns.n_values
    assert state.start["command"]
    assert "python" in state.start["versions"]
    assert state.n_faults == 0


def test_shots_rise_and_no_half_of_a_file_is_a_mistake(found) -> None:
    path, _ = found
    state, had = LoopState(), 0
    for event in read_file(path):
        state.take(event)
        assert state.n_measured >= had
        had = state.n_measured
        assert facts(state)
        assert state.has_ended == (event["event"] == "end")


@given(cuts=st.lists(st.integers(0, 4000), max_size=12))
def test_a_file_that_grows_anyhow_gives_the_same_events(found, tmp_path_factory, cuts) -> None:
    whole = found[0].read_bytes()
    path = tmp_path_factory.mktemp("cut") / "events.jsonl"
    reader, events, had = EventReader(path), [], 0
    for cut in [*sorted(cuts), len(whole)]:
        with path.open("ab") as file:
            file.write(whole[had:cut])
        had = max(had, cut)
        events += reader.read()
    assert events == list(read_file(found[0]))


def test_half_a_line_of_a_killed_process_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "events", START, step(0, 10))
    with path.open("a") as file:
        file.write('{"event":"step","t":3.0,"ste')
    assert state_of(read_file(path)).n_measured == 10
    with path.open("a") as file:
        file.write(json.dumps(START | {"loop": "next"}, separators=(",", ":")) + "\n")
    state = state_of(read_file(path))
    assert (state.status, state.start["loop"], state.n_measured) == (RUNNING, "next", 0)


def test_a_file_that_is_written_anew_is_begun_again(tmp_path: Path) -> None:
    path = written(tmp_path / "events", START, step(0, 10), step(1, 20))
    reader = EventReader(path)
    assert len(list(reader.read())) == 3
    written(path, START | {"loop": "anew"})
    assert [event["loop"] for event in reader.read()] == ["anew"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"root:x:0:0\nmore\n", "line 1 is no event"),
        (b"no line end at all", "line 1 is no event"),
        (b"\x7fELF\x00\xff\n", "line 1 is no event"),
        (b"", "holds no event"),
        (b"[1, 2]\n", "line 1 is no event"),
        (b'{"event":"start","t":NaN}\n', "line 1 is no event"),
        (b'{"event":"start"}\n', "line 1 is an event 'start' whose field 't' is missing"),
        (json.dumps(START).encode() + b"\nnothing\n", "line 2 is no event"),
        (json.dumps(step(0, -3)).encode() + b"\n", "whose field 'n_measured' is missing or of"),
    ],
)
def test_other_files_are_refused_by_line(tmp_path: Path, content, reason) -> None:
    path = tmp_path / "events"
    path.write_bytes(content)
    with pytest.raises(EventFileError) as caught:
        state_of(read_file(path))
    assert f"{path}" in str(caught.value)
    assert reason in str(caught.value)
    with pytest.raises(EventFileError, match="Is a directory"):
        state_of(read_file(tmp_path))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=5,
    ),
    st.sampled_from(("estimate", "point", "n_measured", "t", "event", "known")),
)
def test_no_value_of_a_field_breaks_the_state(value, name) -> None:
    event = step(0, 5) | {name: value}
    if not wrong_field(event):
        assert facts(state_of([START, event]))


def test_events_of_later_versions_change_nothing() -> None:
    state = state_of([START, {"event": "weather", "t": 9.0}, step(0, 10)])
    assert (state.n_measured, state.now_s) == (10, 2.0)
    assert state_of([step(0, 10)]).start["loop"] == "loop"
    assert state_of([]).status == WAITING


def test_shots_are_compared_point_by_point() -> None:
    steps = [step(0, 100), step(1, 40, 60), step(2, 20, 80), step(3, 5000)]
    state = state_of([START, *steps])
    assert (state.budget.n_points, state.budget.n_measured) == (3, 160)
    assert state.budget.n_baseline == 300
    assert "160 shots at 3 points where 100 fixed ones each take 300: 1.9 times fewer" in saving(
        state
    )
    assert "5,000 more" in saving(state)
    assert saving(state_of([START, step(0, 100)])) == ""


def test_the_verdict_waits_for_the_end() -> None:
    batch = {
        "event": "batch", "t": 2.0, "step": 1, "setting": 0, "n_shots": 8, "rtt_ns": 5000,
        "queued": 3, "estimate": estimate(-0.5, 8, 0.01, -0.6, -0.4),
    }  # fmt: skip
    end = step(0, 8) | {"event": "end", "status": "done", "rtt_ns": {}, **{"t": 3.0}}
    end["estimate"] = batch["estimate"]
    on_the_way = state_of([START, step(0, 8), batch])
    assert on_the_way.n_queued == 3
    assert "OUTSIDE" not in verdict(on_the_way).text
    judged = verdict(state_of([START, step(0, 8), batch, end]))
    assert judged.is_bad
    assert judged.text.startswith("+0.500 Ha, 50.0 standard errors")


def test_a_failed_loop_says_which_fault(tmp_path: Path) -> None:
    path = tmp_path / "events"
    minimum(path, fails_after=20)
    state = state_of(read_file(path))
    assert (state.status, state.n_faults) == ("failed", 1)
    assert not state.faults[0].recovered
    told = {fact.name: fact for fact in facts(state)}["faults"]
    assert told.is_bad
    assert "MachineFailedError" in told.text
    assert "the laser went out" in told.text


@given(st.integers(1, 9000))
def test_a_thinned_history_is_short_and_ends_with_the_last(n: int) -> None:
    history: Thinned[int] = Thinned()
    for k in range(n):
        history.add(k)
    kept = list(history)
    assert (len(history), kept[0], kept[-1]) == (n, 0, n - 1)
    assert len(kept) <= 2049
    assert kept == sorted(set(kept))


@given(
    st.lists(st.floats(-1e9, 1e9), max_size=300),
    st.none() | st.floats(-1e9, 1e9),
    st.integers(16, 120),
)
def test_the_small_plot_fits_its_width(values, reference, width) -> None:
    rows = plot_rows(values, reference, width)
    assert len(rows) == (9 if len(values) > 1 else 0)
    assert all(len(row) <= max(width, 30) for row in rows)
    assert len(values) < 2 or any("•" in row for row in rows)


def test_the_command_prints_the_end(found, capsys) -> None:
    path, result = found
    assert cli.main(["watch", str(path), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["n_measured"] == result.n_measured
    assert content["value"] == result.estimate.value
    assert cli.main(["watch", str(path)]) == 0
    said = capsys.readouterr()
    assert "coins, done" in said.out
    assert f"{result.n_measured:,} measured" in said.out
    assert said.err == ""


def test_bad_input_ends_with_a_sentence(tmp_path: Path, capsys) -> None:
    assert cli.main(["watch", str(tmp_path / "none"), "--once"]) == 2
    assert "No such file" in capsys.readouterr().err
    assert cli.main(["watch", str(tmp_path / "no" / "where")]) == 2
    assert cli.main(["watch", str(written(tmp_path / "e", START)), "--secret", "x"]) == 2
    assert "--secret and --server-key" in capsys.readouterr().err


def test_a_loop_is_followed_to_its_end(found, tmp_path: Path) -> None:
    """The file appears after the command has begun, and grows in pieces that end within lines."""
    path = tmp_path / "events"
    process = subprocess.Popen(
        [*WATCH, str(path), "--interval-s", "0.05"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "waiting" in process.stderr.readline()
    whole = found[0].read_bytes()
    with path.open("ab", buffering=0) as file:
        for start in range(0, len(whole), 1 + len(whole) // 5):
            file.write(whole[start : start + 1 + len(whole) // 5])
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "coins, done" in out


def test_ctrl_c_shows_what_is_known(tmp_path: Path) -> None:
    path = written(tmp_path / "events", START, step(0, 1234))
    process = subprocess.Popen(
        [*WATCH, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert "test, running" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "1,234 measured" in out
    assert "Traceback" not in err


def test_a_terminal_shows_the_view_and_gets_its_cursor_back(found) -> None:
    leader, follower = pty.openpty()
    environment = os.environ | {"COLUMNS": "110", "TERM": "xterm"}
    process = subprocess.Popen(
        [*WATCH, str(found[0])], stdout=subprocess.PIPE, stderr=follower, env=environment
    )
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65536):
            shown += chunk
    except OSError:  # the other end was closed
        pass
    os.close(leader)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert b"coins, done" in shown
    assert "•".encode() in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert b"coins, done" in out


def test_a_controller_is_asked(capsys) -> None:
    with serve(CoinMachine(), "tcp://127.0.0.1:0") as server:
        place = str(server.endpoint)
        assert cli.main(["watch", place, "--once", "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert content["name"] == "coins"
        assert content["counters"]["runs"] == 0
        assert cli.main(["watch", place, "--once"]) == 0
        assert "as fast as it can" in capsys.readouterr().out
        with interruptible():
            threading.Timer(0.6, os.kill, (os.getpid(), signal.SIGINT)).start()
            assert cli.main(["watch", place, "--interval-s", "0.05"]) == 0
        said = capsys.readouterr()
        assert "0 shots/s now" in said.out
        assert "0 of 32 runs" in said.err


def test_a_server_of_another_kind_is_named(capsys) -> None:
    decoders = read_decoders(memory_code("repetition", 3, 3, 0.01, "union_find").config)
    with DecodeService(decoders, ["tcp://127.0.0.1:0"]) as service:
        (place,) = service.endpoints
        assert cli.main(["watch", str(place), "--once"]) == 2
    assert "no controller" in capsys.readouterr().err
