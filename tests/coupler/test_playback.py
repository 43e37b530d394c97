"""Schedules in NVIDIA's format, played against decode servers in this process."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from cudaq_target.coupler.decode_server import DecodeServer
from cudaq_target.coupler.dispatch import Dispatcher
from cudaq_target.coupler.errors import PlaybackError, ScheduleError, SourceError
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.link import Missing, connect
from cudaq_target.coupler.link_errors import LinkBusyError, LinkTimeoutError
from cudaq_target.coupler.playback import play
from cudaq_target.coupler.playback_callers import Discard, InProcess, OverLink, Reply
from cudaq_target.coupler.schedule import Event, Operation, parse_schedule
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.sources import StimMemory, read_source
from cudaq_target.coupler.transports.interface import TransportOptions
from cudaq_target.kernels.decoders.measured import lookup_decoder
from tests.coupler.ends import TRANSPORTS, endpoint_of
from tests.coupler.published_shots import published_decoder, published_shots

IDENTITY = [0, -1, 1, -1, 2, -1]
LIMIT_S = 20.0
COLUMNS = (
    "event_index,decoder_id,op,deadline_ns,call_ns,return_ns,status,rounds_streamed,"
    "read_completed,syndrome_bits,correction_bits,correction_mismatch,request_ids,dispatched,"
    "request_dispatch_ns,request_return_ns,request_status"
)


class Clock:
    """Time that passes when somebody looks or sleeps."""

    def __init__(self):
        self.now_ns = 10**9

    def __call__(self):
        self.now_ns += 10
        return self.now_ns

    def sleep(self, duration_s):
        self.now_ns += max(1, round(duration_s * 1e9))


def servers(n_decoders=1, n_bits=3):
    sparse = [index for k in range(n_bits) for index in (k, -1)]
    decoders = [lookup_decoder(sparse, sparse, sparse, n_bits) for _ in range(n_decoders)]
    dispatcher = Dispatcher(DecodeServer(decoders).functions())
    return {number: InProcess(dispatcher) for number in range(n_decoders)}


def played(schedule, callers=None, sources=None, **options):
    clock = Clock()
    return play(schedule, callers or servers(), sources, clock=clock, sleep=clock.sleep, **options)


def rows_of(result):
    return list(csv.DictReader(result.write_csv().splitlines()))


def test_schedule_of_the_documentation():
    schedule = """\
# <trigger> <op> [key=value...]
0 reset
1 stream source=0 rounds=3 every=2
- get_corrections return_size=1
"""
    events = parse_schedule(schedule)
    assert events == (
        Event(2, Operation.RESET, 0, 0, is_relative=False),
        Event(
            3,
            Operation.STREAM,
            0,
            1,
            is_relative=False,
            source_id=0,
            every=2,
            min_rounds=3,
            max_rounds=3,
        ),
        Event(4, Operation.GET_CORRECTIONS, 0, 0, is_relative=True, return_size=1),
    )
    decoder = lookup_decoder([0, 1, -1], [0, -1], [0, 1, 2, 3, 4, 5, -1], 2)
    caller = InProcess(Dispatcher(DecodeServer([decoder]).functions()))
    result = played(schedule, {0: caller}, {0: read_source("01\n00\n\n00\n")})
    assert result.write_csv().splitlines()[0] == COLUMNS
    rows = rows_of(result)
    assert [row["op"] for row in rows] == ["reset", "stream", "get_corrections"]
    assert [row["status"] for row in rows] == ["0", "100", "0"]
    assert (rows[1]["rounds_streamed"], rows[1]["syndrome_bits"]) == ("3", "010000")
    assert (rows[2]["read_completed"], rows[2]["correction_bits"]) == ("1", "1")
    assert result.warnings == ()
    sent_ns = [int(one) for one in rows[1]["request_dispatch_ns"].split()]
    due_ns = (1000, 3000, 5000)
    assert all(due <= sent < due + 1000 for due, sent in zip(due_ns, sent_ns, strict=True))


def test_every_request_is_in_the_log():
    result = played("0 reset\n5 enqueue source=0b010\n9 get_corrections 010")
    rows = rows_of(result)
    assert [row["request_ids"] for row in rows] == ["0", "1", "2"]
    assert [row["request_status"] for row in rows] == ["0", "0", "0"]
    for row, due_ns in zip(rows, (0, 5000, 9000), strict=True):
        times = [int(row[key]) for key in ("deadline_ns", "call_ns", "request_dispatch_ns")]
        times += [int(row["request_return_ns"]), int(row["return_ns"])]
        assert times[0] == due_ns
        assert times == sorted(times)
        assert row["dispatched"] == "1"


def test_published_shots_as_a_schedule():
    shots, expected = published_shots()
    shot = "- reset\n- stream source=0 rounds=5 every=0\n- enqueue_data source=0\n"
    schedule = "".join(f"{shot}- get_corrections {bit}\n" for bit in expected)
    rounds = shots.reshape(600, 24)
    caller = InProcess(Dispatcher(DecodeServer([published_decoder()]).functions()))
    result = played(schedule, {0: caller}, {0: rounds})
    assert len(result.records) == 400
    assert not any(record.correction_mismatch for record in result.records)
    read = [record.correction_bits for record in result.records[3::4]]
    assert read == [(bit,) for bit in expected]
    assert result.warnings == ()


def test_mismatch_is_marked_and_does_not_stop_the_run():
    result = played("0 enqueue source=0b010\n1 get_corrections 011\n2 reset")
    assert [row["correction_mismatch"] for row in rows_of(result)] == ["0", "1", "0"]
    assert rows_of(result)[2]["status"] == "0"


def test_correction_that_is_not_ready_does_not_stop_the_run():
    result = played("0 get_corrections return_size=3\n1 reset")
    assert [row["status"] for row in rows_of(result)] == ["4", "0"]
    assert rows_of(result)[0]["read_completed"] == "0"


def test_error_stops_the_run():
    result = played("0 enqueue source=0b0101\n+1 get_corrections 000\n+1 reset\n+1 reset")
    assert [row["status"] for row in rows_of(result)] == ["100", "3", "-1", "-1"]
    assert [row["dispatched"] for row in rows_of(result)] == ["1", "1", "0", "0"]
    assert result.warnings == ("line 2 was answered with status 3; the run stopped",)


def test_error_in_a_stream():
    callers = {1: servers()[0]}
    result = played("0 stream session=1 source=0b010 rounds=3", callers)
    row = rows_of(result)[0]
    assert (row["status"], row["request_status"]) == ("103", "1")
    assert row["rounds_streamed"] == "1"


def test_source_that_runs_out():
    result = played("0 stream source=4 rounds=3", sources={4: [np.zeros(3, dtype=np.uint8)]})
    assert (rows_of(result)[0]["status"], rows_of(result)[0]["rounds_streamed"]) == ("101", "1")


class SlowServer:
    """Answers each call a while after it was sent."""

    def __init__(self, clock, delay_ns):
        self.clock, self.delay_ns, self.waiting = clock, delay_ns, []

    def submit(self, function, arguments):  # noqa: ARG002
        self.waiting.append(self.clock.now_ns + self.delay_ns)
        return len(self.waiting) - 1

    def collect(self, timeout_s):
        for number, due_ns in enumerate(self.waiting):
            if due_ns is not None and due_ns <= self.clock.now_ns:
                self.waiting[number] = None
                return Reply(number, 0, bytes([0]))
        if timeout_s:
            self.clock.sleep(timeout_s)
        return None


def played_slowly(schedule, delays_ns, **options):
    clock = Clock()
    callers = {number: SlowServer(clock, delay) for number, delay in delays_ns.items()}
    return play(schedule, callers, clock=clock, sleep=clock.sleep, **options)


def test_stream_until_the_other_decoder_has_replied():
    schedule = """\
0 get_corrections session=1 return_size=1 signal=done
+0 stream source=0b01 until=done min_rounds=2
+0 reset after=done
"""
    result = played_slowly(schedule, {0: 100, 1: 50_000})
    stream = rows_of(result)[1]
    assert stream["status"] == "100"
    assert 45 <= int(stream["rounds_streamed"]) <= 55
    assert int(rows_of(result)[2]["call_ns"]) >= int(rows_of(result)[0]["return_ns"])
    assert result.warnings == ()


def test_line_that_waits_for_a_signal():
    schedule = "0 reset session=1 signal=done\n0 reset after=done"
    first, second = rows_of(played_slowly(schedule, {0: 100, 1: 700_000}))
    assert int(second["call_ns"]) >= int(first["return_ns"]) >= 700_000


def test_stream_that_the_signal_does_not_end():
    schedule = "0 reset session=1 signal=late\n0 stream source=0b01 until=late max_rounds=5 every=0"
    stream = rows_of(played_slowly(schedule, {0: 100, 1: 10_000_000}))[1]
    assert (stream["status"], stream["rounds_streamed"]) == ("102", "5")


def test_reply_that_never_comes():
    result = played_slowly("0 reset\n1000 reset\n2000000 reset", {0: 10**12}, timeout_ns=10**6)
    assert [row["status"] for row in rows_of(result)] == ["3", "3", "-1"]
    assert result.warnings == ("line 1 got no reply in 1000000 ns; the run stopped",)
    assert rows_of(result)[0]["return_ns"] == "0"


def test_short_reply_is_no_zero_correction():
    result = played_slowly("0 get_corrections return_size=9", {0: 10})
    assert (rows_of(result)[0]["status"], rows_of(result)[0]["read_completed"]) == ("3", "0")


def test_over_a_link_with_few_slots(tmp_path):
    sparse = [0, -1, 1, -1, 2, -1]
    functions = DecodeServer([lookup_decoder(sparse, sparse, sparse, 3)]).functions()
    place, options = f"ipc://{tmp_path}/decoder", TransportOptions(n_slots=2)
    schedule = "0 stream source=0b010 rounds=7 every=0\n- get_corrections 010\n- reset"
    with serve(functions, place, options=options), connect(place, options=options) as link:
        result = play(schedule, {0: OverLink(link, 10.0)}, timeout_ns=10**10)
    assert result.warnings == ()
    assert [row["status"] for row in rows_of(result)] == ["100", "0", "0"]
    assert not result.records[1].correction_mismatch


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_published_shots_against_a_server_of_each_transport(transport, tmp_path):
    """One schedule in NVIDIA's format: 100 shots, 600 rounds, each with its expected correction."""
    shots, expected = published_shots()
    shot = "- reset\n- stream source=0 rounds=5 every=0\n- enqueue_data source=0\n"
    schedule = "".join(f"{shot}- get_corrections {bit}\n" for bit in expected)
    functions = DecodeServer([published_decoder()]).functions()
    with (
        serve(functions, endpoint_of(transport, tmp_path)) as server,
        connect(server.endpoint) as link,
    ):
        caller = OverLink(link, LIMIT_S)
        rounds = shots.reshape(600, 24)
        result = play(schedule, {0: caller}, {0: rounds}, timeout_ns=int(1e9 * LIMIT_S))
        n_dispatched = server.counters()["dispatched"]
    assert result.warnings == ()
    read = [record.correction_bits for record in result.records[3::4]]
    assert read == [(bit,) for bit in expected]
    assert n_dispatched == 100 * (1 + 6 + 1)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_two_decoders_behind_one_link(transport, tmp_path):
    """Decoder 0 streams until decoder 1 has replied, over one link to one server."""
    decoders = [lookup_decoder(IDENTITY, IDENTITY, IDENTITY, 3) for _ in range(2)]
    schedule = """\
0 enqueue session=1 source=0b011
0 get_corrections 011 session=1 signal=done
+0 stream source=0b100 until=done min_rounds=2 max_rounds=4294967295 every=1000
- get_corrections return_size=3 after=done
- reset session=1
"""
    functions = DecodeServer(decoders).functions()
    with (
        serve(functions, endpoint_of(transport, tmp_path)) as server,
        connect(server.endpoint) as link,
    ):
        callers = dict.fromkeys((0, 1), OverLink(link, LIMIT_S))
        result = play(schedule, callers, timeout_ns=int(1e9 * LIMIT_S))
    assert result.warnings == ()
    assert [row["status"] for row in rows_of(result)] == ["100", "0", "100", "0", "0"]
    n_rounds = int(rows_of(result)[2]["rounds_streamed"])
    assert n_rounds >= 2
    assert rows_of(result)[3]["correction_bits"] == ("100" if n_rounds % 2 else "000")


def test_session_that_discards_everything():
    schedule = "0 reset\n- stream source=0b01 rounds=5 every=0\n- get_corrections return_size=9"
    result = play(schedule, {0: Discard()}, lead_in_ns=0)
    assert result.warnings == ()
    assert [row["status"] for row in rows_of(result)] == ["0", "100", "0"]
    assert rows_of(result)[2]["correction_bits"] == 9 * "0"


@pytest.mark.parametrize(
    "code_task",
    [
        "surface_code:rotated_memory_z",
        "surface_code:unrotated_memory_x",
        "repetition_code:memory",
        "color_code:memory_xyz",
    ],
)
@pytest.mark.parametrize("n_rounds", [3, 4, 5, 9])
def test_stim_measures_what_its_circuit_does(code_task, n_rounds):
    """Without noise every detector and observable of the whole circuit is silent."""
    stim = pytest.importorskip("stim")
    source = StimMemory(code_task, distance=3, seed=5)
    circuit = stim.Circuit.generated(code_task, distance=3, rounds=n_rounds)
    for _ in range(3):
        rounds = [next(source) for _ in range(n_rounds)]
        bits = np.concatenate([*rounds, source.final_readout()])
        assert len(bits) == circuit.num_measurements
        assert len(rounds[0]) == source.n_bits_per_round
        events = circuit.compile_m2d_converter().convert(
            measurements=bits[np.newaxis].astype(bool), append_observables=True
        )
        assert not events.any()


def test_noise_of_stim_is_that_of_its_circuit():
    """Detectors fire as often as in Stim's own sampler, and the seed decides when."""
    stim = pytest.importorskip("stim")
    settings = {"distance": 3, "before_measure_flip_probability": 0.1}
    circuit = stim.Circuit.generated("repetition_code:memory", rounds=3, **settings)
    source = StimMemory("repetition_code:memory", **settings, seed=5)
    again = StimMemory("repetition_code:memory", **settings, seed=5)
    n_shots, rows = 2000, []
    for _ in range(n_shots):
        rows.append(np.concatenate([*(next(source) for _ in range(3)), source.final_readout()]))
        same = [*(next(again) for _ in range(3)), again.final_readout()]
        np.testing.assert_array_equal(rows[-1], np.concatenate(same))
    events = circuit.compile_m2d_converter().convert(
        measurements=np.array(rows, dtype=bool), append_observables=False
    )
    ours = events.mean(axis=0)
    theirs = circuit.compile_detector_sampler(seed=1).sample(100_000).mean(axis=0)
    np.testing.assert_allclose(ours, theirs, atol=6 * np.sqrt(0.25 / n_shots))


def test_stim_plays_a_schedule():
    pytest.importorskip("stim")
    source = StimMemory("surface_code:rotated_memory_z", distance=3)
    shot = "- stream source=0 rounds=4\n- enqueue_data source=0\n"
    result = play(2 * shot, {0: Discard()}, {0: source}, lead_in_ns=0)
    assert [len(row["syndrome_bits"]) for row in rows_of(result)] == [32, 9, 32, 9]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StimMemory("surface_code:no_task", distance=3), "no_task"),
        (lambda: StimMemory("repetition_code:memory", distance=3, rounds=2), "give 3 or more"),
        (lambda: StimMemory("repetition_code:memory", distance=3, nose=0.1), "nose"),
        (lambda: read_source("01\n\n02"), "syndromes, line 3: '02' is no round"),
    ],
)
def test_sources_that_cannot_be(make, message):
    pytest.importorskip("stim")
    with pytest.raises(SourceError, match=message):
        make()


def test_colour_code_needs_its_first_rounds():
    pytest.importorskip("stim")
    source = StimMemory("color_code:memory_xyz", distance=3)
    next(source)
    with pytest.raises(SourceError, match="1 rounds must come before the final readout"):
        source.final_readout()


def test_calls_that_are_lost():
    caller = OverLink(SilentLink(), 0.01)
    assert caller.collect(0.0) == Reply(3, Status.INTERNAL_ERROR, b"")
    assert caller.collect(0.0) is None
    with pytest.raises(LinkBusyError):
        caller.submit("reset_decoder", b"")


def test_line_that_cannot_be_sent_stops_the_run():
    callers = {0: OverLink(SilentLink(), 0.001)}
    result = play("0 stream source=0b1 rounds=2\n- reset", callers, lead_in_ns=0)
    assert [row["status"] for row in rows_of(result)] == ["103", "-1"]
    assert "line 1 could not be sent (here: full" in result.warnings[-1]


class SilentLink:
    """Has no room, and has lost one request."""

    def __init__(self):
        self.lost = [Missing(3, LinkTimeoutError("here", "reset_decoder", 1.0, 1))]

    def submit(self, *_):
        raise LinkBusyError("here", "full")

    def collect(self, _):
        return self.lost.pop() if self.lost else None


def test_real_time():
    result = play("0 enqueue source=0b010\n2000 get_corrections 010", servers(), lead_in_ns=1000)
    for record in result.records:
        assert record.deadline_ns <= record.call_ns <= record.return_ns


BAD_LINES = [
    ("0", "a line is"),
    ("0 frobnicate", "is none of"),
    ("+ reset", "trigger '+'"),
    ("later reset", "trigger 'later'"),
    ("-1 reset", "trigger '-1'"),
    ("0 reset extra", "extra has no meaning"),
    ("0 reset bogus=1", "bogus= has no meaning"),
    ("0 reset session=x", "session=x is no whole number"),
    ("0 reset session=", "session= needs a value"),
    ("0 reset session=1 session=2", "session= is given twice"),
    ("0 enqueue", "needs source="),
    ("0 enqueue source=0b", "no string of 0 and 1"),
    ("0 enqueue source=0b012", "no string of 0 and 1"),
    ("0 enqueue source=4294967296", "neither a number"),
    ("0 enqueue source=1 rounds=2", "rounds= has no meaning"),
    ("0 stream source=1 rounds=0", "0 to 0 rounds"),
    ("0 stream source=1 rounds=2 max_rounds=2", "excludes"),
    ("0 stream source=1 max_rounds=8", "without until="),
    ("0 stream source=1 min_rounds=1 max_rounds=8", "without until="),
    ("0 stream source=1 every=-1", "every=-1 is no whole number"),
    ("0 stream source=1 until=nobody", "no earlier line raises signal 'nobody'"),
    ("0 reset after=nobody", "no earlier line raises signal 'nobody'"),
    ("0 reset signal=me after=me", "no earlier line raises signal 'me'"),
    ("0 get_corrections", "needs the expected bits"),
    ("0 get_corrections 01 10", "one word"),
    ("0 get_corrections 01 return_size=3", "disagrees with 2 expected bits"),
    ("0 get_corrections 02", "no string of 0 and 1"),
    ("0 reset\n\n# ok\n5 reset\n4 reset", "tick 4 comes after tick 5"),
    ("0 reset\n+1 reset\n4 reset", "every later trigger"),
]


@pytest.mark.parametrize(("text", "message"), BAD_LINES)
def test_lines_that_make_no_sense(text, message):
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(text)
    assert message in str(caught.value)
    assert caught.value.line == text.count("\n") + 1


def test_comments_and_spaces():
    text = "\n  # only this\n0\treset   # why\r\n1 enqueue source=0b010#111\n"
    events = parse_schedule(text)
    assert [event.line for event in events] == [3, 4]
    assert events[1].bits == (0, 1, 0)
    assert parse_schedule("") == ()
    assert play("", {}).write_csv() == COLUMNS + "\n"


@pytest.mark.parametrize(
    ("schedule", "options", "message"),
    [
        ("0 reset session=7", {}, "line 1 calls decoder 7"),
        ("0 enqueue source=3", {}, "line 1 names source 3"),
        ("0 reset", {"tick_ns": 0}, "must be positive"),
    ],
)
def test_what_a_schedule_needs_must_be_given(schedule, options, message):
    with pytest.raises(PlaybackError, match=message):
        played(schedule, **options)
