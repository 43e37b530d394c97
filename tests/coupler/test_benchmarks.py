"""Benchmarks of the coupler keep their output contract, count right and notice wrong answers."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import (
    histograms,
    link_peers,
    open_loop,
    pictures,
    replay,
    rtt,
    run,
    stages,
    stream,
    table,
    throughput,
    zeromq_loops,
)
from benchmarks.closed_loop import Effort, round_trips, turns
from benchmarks.latency import (
    TAIL_SAMPLES,
    Case,
    Counts,
    Distribution,
    Samples,
    histogram_lines,
    latency_record,
)
from benchmarks.link_ends import Contender, PeerError, contender
from benchmarks.link_spec import Spec
from benchmarks.report import Report, Row, columns, machine_facts, summary, write_csv

TINY = Effort(blocks=2, native=20, fast=20, sockets=20)
KEYS = ["name", "value", "unit", "peer", "ratio", "reach", "holds"]
CASE = Case("echo", "shm", 64, "busy")
TIMES_NS = st.lists(st.integers(1, 10**12), min_size=1, max_size=300)


def check(row):
    public = json.loads(json.dumps(row.public()))
    assert list(public) == KEYS
    assert public["value"] >= 0
    assert public["holds"] in (True, False, None)
    assert public["reach"] is not None or public["holds"] is None


@given(TIMES_NS)
def test_percentiles_are_those_of_numpy(times_ns):
    found = Distribution.of(np.array(times_ns))
    times_us = np.array(times_ns) / 1e3
    for share in (50, 90, 95, 99):
        expected = np.percentile(times_us, share, method="inverted_cdf")
        assert getattr(found, f"p{share}") == pytest.approx(expected)
    assert found.mean == pytest.approx(times_us.mean())
    assert found.std == pytest.approx(times_us.std(), abs=1e-6 * times_us.max())
    assert found.n == len(times_ns)
    assert (found.min, found.max) == pytest.approx((times_us.min(), times_us.max()))


@given(TIMES_NS)
def test_histograms_hold_every_sample_in_its_bucket(times_ns):
    values = np.array(times_ns)
    lines = histogram_lines(CASE, values)
    for line in lines:
        inside = (values >= line["low_ns"]) & (values <= line["high_ns"])
        assert inside.sum() == line["count"] > 0
        assert line["high_ns"] - line["low_ns"] <= line["low_ns"] / 127
    assert sum(line["count"] for line in lines) == len(values)


def test_the_far_tail_is_left_out_where_it_rests_on_few_samples():
    rng = np.random.default_rng(3)
    times_ns = rng.integers(100, 10_000, TAIL_SAMPLES)
    exact = np.percentile(times_ns / 1e3, 99.9, method="inverted_cdf")
    assert Distribution.of(times_ns).p999 == pytest.approx(exact)
    assert Distribution.of(times_ns[1:]).p999 is None
    assert summary(tuple(times_ns.tolist()))["p99.9"] is not None
    assert summary((1.0, 2.0))["p99.9"] is None


def test_repetitions_show_their_median_and_the_least_contended_one():
    samples = Samples()
    for level in (3000, 1000, 2000):
        samples.take(np.full(10, level), Counts(submitted=10, completed=10, matched=10))
    record = latency_record(CASE, samples, floor_us=0.5)
    assert (record["n"], record["repetitions"]) == (30, 3)
    assert (record["median_p50"], record["best_p50"]) == (2.0, 1.0)
    assert record["floor_ratio"] == 4.0
    assert samples.counts == Counts(submitted=30, completed=30, matched=30)


def test_wrong_answers_are_every_answer_that_is_not_ours():
    assert Counts(submitted=3, completed=2, matched=2).n_wrong == 0
    assert Counts(completed=2, matched=1, payload_errors=1).n_wrong > 0
    assert Counts(completed=1, matched=1, header_errors=1).n_wrong == 1


@pytest.mark.parametrize(
    "group", [rtt.native_rows, rtt.python_rows, rtt.socket_rows, rtt.curve_rows]
)
def test_rows(group):
    book = rtt.Book()
    rows = group(64, TINY, book)
    for row in rows:
        check(row)
        assert len(row.samples) in {20, 40}
        assert row.reach.startswith("ratio >= ")
        assert row.holds == (row.ratio >= float(row.reach.split()[2]) * 0.999) or row.holds
    assert book.n_wrong == 0
    assert all(line["n"] in {20, 40} for line in book.latency())
    assert all(line["matched"] == line["submitted"] in {20, 40} for line in book.counts)


@pytest.mark.parametrize("group", [rtt.mode_cases, rtt.wait_cases, rtt.pinned_cases])
def test_cases_without_a_row(group):
    book = rtt.Book()
    group(TINY, book)
    assert book.n_wrong == 0
    assert all(samples.distribution.n in {20, 40} for _, samples in book.cases)
    if group is rtt.mode_cases:
        assert sum("forward" in case.name for case, _ in book.cases) == 4


def test_every_ratio_says_how_many_times_better_we_are():
    fast, slow = Samples([np.full(4, 1000)]), Samples([np.full(4, 4000)])
    row = rtt.row_of("a", fast, slow, "peer", 1.15)
    assert (row.value, row.ratio, row.holds) == (1.0, 4.0, True)
    row = rtt.row_of("a", slow, fast, "peer", 1.15)
    assert (row.ratio, row.holds, row.reach) == (0.25, False, "ratio >= 0.87 (<= 1.15 × the peer)")


def test_rows_of_the_frame_ring():
    row, wrong = throughput.stream_rows(64, 1000, 2)
    check(row)
    check(wrong)
    assert wrong.holds


def test_frames_one_way_against_peers(monkeypatch):
    monkeypatch.setattr(throughput, "PEERS", {"pyzmq": "pyzmq", "iceoryx2": "iceoryx2"})
    rows, records = throughput.python_rows(64, 200, 1)
    assert len(rows) == 2
    assert records[0]["wrong"] == 0
    assert records[0]["repetitions"] == 1


def test_calls_in_flight_are_all_answered(monkeypatch):
    monkeypatch.setattr(throughput, "SIZES", (64,))
    records = list(throughput.call_records(100, 1))
    assert {record["transport"] for record in records} == {"shm", "ipc", "tcp", "udp"}
    assert all(record["wrong"] == 0 for record in records)


def absent(*_):
    raise PeerError("no module")


def test_a_peer_that_is_not_installed_has_no_verdict(monkeypatch):
    for peer in ("zenoh", "iceoryx2"):
        monkeypatch.setitem(link_peers.CALLERS, peer, absent)
    rows = rtt.peer_rows(64, TINY, rtt.Book())
    assert [(row.value, row.holds) for row in rows] == [(None, None)] * 4
    assert all(row.reach and "no module" in row.note.lower() for row in rows)


class Silent:
    """A caller without a link."""

    def __init__(self, call):
        self.call = call

    def counts(self):
        return Counts()


def test_answers_that_differ_are_counted_and_fail_the_run():
    right = Contender(None, Silent(lambda sent: sent), polls=False)
    times_ns, counts = round_trips(right, 3, 64)
    assert (len(times_ns), counts.n_wrong, counts.matched) == (3, 0, 3)
    wrong = Contender(None, Silent(bytes.swapcase), polls=False)
    _, counts = round_trips(wrong, 3, 64)
    assert counts.payload_errors > 0
    samples = turns({"a": (lambda n: round_trips(wrong, n, 64), 3)}, 2)["a"]
    assert samples.counts.n_wrong > 0
    assert not Report("rtt", (rtt.wrong_row(n_wrong=1),), "command").is_correct
    assert Report("rtt", (rtt.wrong_row(n_wrong=0),), "command").is_correct


def test_no_server_process_is_left(monkeypatch):
    started = []
    start = subprocess.Popen

    def note(*arguments, **options):
        started.append(start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr("benchmarks.link_ends.subprocess.Popen", note)
    monkeypatch.setattr("benchmarks.link_ends.open_caller", absent)
    with pytest.raises(PeerError, match="no module"), contender(Spec("shm")):
        pass
    assert started[0].poll() is not None


def test_open_loops_count_from_the_schedule():
    """Answers that take longer than a period are late, and so is everything behind them."""
    plan = open_loop.Plan(Spec("shm", caller="ring"), 1_000_000, 1_000_000_000, 20)
    with contender(plan.spec) as end:
        end.wake()
        times_ns, counts = open_loop.run(plan, end.caller)
        assert counts.submitted == counts.completed == counts.matched == 20
        assert (counts.out_of_order, counts.deadline_misses) == (0, 0)
        assert (times_ns > 0).all()
        # Two requests are due every nanosecond: each leaves later than the one before.
        hurried = replace(plan, period_ns=1, n_requests=500)
        times_ns, counts = open_loop.run(hurried, end.caller)
        assert counts.matched == 500
        assert times_ns[-1] - times_ns[0] > 500 - 1
        missed = replace(plan, deadline_ns=0, n_requests=5)
        assert open_loop.run(missed, end.caller)[1].deadline_misses == 5


def test_open_loops_over_links():
    for transport in ("ipc", "udp"):
        plan = open_loop.Plan(Spec(transport), 2_000_000, 10**9, 10)
        with contender(plan.spec) as end:
            _, counts = open_loop.run(plan, end.caller)
        assert (counts.matched, counts.payload_errors, counts.header_errors) == (10, 0, 0)


def test_stages_of_every_transport():
    records = list(stages.stage_records(quick=True))
    names = {(one["transport"], one["stage"]) for one in records}
    assert len(names) == len(records) == 16
    assert all(one["n"] == 200 for one in records)


def test_shots_wait_for_their_correction(monkeypatch):
    monkeypatch.setattr(stages, "PERIODS_NS", (50_000, 1_000_000))
    records = list(stages.sifl_records(quick=True))
    assert len(records) == 4
    assert all(one["shots"] == 20 and one["added_p50"] >= 0 for one in records)
    wrong = ((("look_up", b"\x01"),), b"\x02")
    with (
        contender(Spec("shm", caller="ring")) as end,
        pytest.raises(stages.WrongCorrectionError, match="01 instead of 02"),
    ):
        stages.play_shot(end.caller, *wrong, 1000, 1)


def test_a_schedule_replays_everywhere_with_right_corrections():
    found = list(replay.records(quick=True, transports=("shm", "udp")))
    assert [record["place"] for record, _ in found] == ["in process", "shm", "udp"]
    for record, counts in found:
        assert record["right"] + counts.deadline_misses >= record["shots"]
        assert counts.payload_errors == 0


@pytest.mark.parametrize(("transport", "way"), stream.WAYS)
def test_streams_account_for_every_shot(transport, way):
    record = stream.stream(transport, 2000, way)
    assert record["delivered"] + record["missing"] == record["sent"] == 2000
    assert (record["unaccounted"], record["wrong"]) == (0, 0)
    rate, identity = stream.rows_of(record)
    check(rate)
    assert identity.holds
    assert identity.is_correctness
    lost = stream.rows_of(record | {"unaccounted": 1})[1]
    assert lost.holds is False


def test_sections_in_text_json_csv_and_a_picture(tmp_path, capsys, monkeypatch):
    """The quick form in small: every output of one run, with a real case in it."""
    book = rtt.Book()
    rows = rtt.native_rows(64, TINY, book)
    case = replace(CASE, name="shm, every 10 µs")
    book.keep("open", case, np.array([900, 1100, 5000]))
    sections = {"latency": book.latency(), "counts": book.counts, "histograms": book.histograms}
    found = rtt.Measurement(tuple(rows), sections, {"histogram": book.lines})
    monkeypatch.setattr(rtt, "measured", lambda _: found)
    output = tmp_path / "record.json"
    assert run.main("rtt", json=True, output=output, out=tmp_path / "out") == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ["machine", "rows", *sections]
    assert printed["machine"]["kernel"]
    assert run.main("rtt") == 0
    assert "latency, times in µs" in capsys.readouterr().out
    files = {path.name for path in (tmp_path / "out").iterdir()}
    expected = {"rtt.csv", "rtt-latency.csv", "rtt-counts.csv", "rtt-histogram.csv", "rtt.png"}
    assert files == expected
    record = json.loads(output.read_text())
    assert record["histograms"] == sections["histograms"]
    assert "### rtt" in (text := table.markdown(record))
    assert "floor_ratio" in text
    pictures.main(str(output), str(tmp_path / "again.png"))
    assert (tmp_path / "again.png").read_bytes().startswith(b"\x89PNG")


def test_tails_of_histograms():
    record = histograms.encoded([1.0] * 5 + [2.0] * 4 + [4.0])
    times_us, above = pictures.tail_of(record)
    assert times_us == pytest.approx([1.0, 2.0, 4.0], rel=0.01)
    assert above.tolist() == pytest.approx([0.5, 0.1, 0.05])


def test_csv_has_every_field_that_is_no_list(tmp_path):
    lines = [{"a": 1, "b": [1, 2]}, {"a": 2, "c": None}]
    assert columns(lines) == ["a", "c"]
    write_csv(lines, tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "a,c\n1,\n2,\n"


def test_the_receive_loops_are_compared(monkeypatch):
    times = {name: np.full(3, 2.0) for name in zeromq_loops.CONTENDERS}
    monkeypatch.setattr(zeromq_loops, "compare", lambda *_: times)
    rows = list(rtt.loop_rows(quick=True))
    assert [row.ratio for row in rows] == [1.0] * 4


def test_machine_facts_and_rows_without_samples():
    assert {"kernel", "cores", "load_1min", "versions"} <= set(machine_facts())
    check(Row("x", 1.0, "µs"))
