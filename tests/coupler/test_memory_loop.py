"""Memory experiments against a decode server in another process: correct, counted, repeatable."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import stim

from cudaq_target.coupler.decoder_config import read_decoders
from cudaq_target.coupler.errors import (
    CouplerError,
    MemoryExperimentError,
    RecordingError,
    RemoteCallError,
)
from cudaq_target.coupler.link_errors import LinkError
from cudaq_target.coupler.loops.decoder_process import (
    DecoderProcess,
    DecoderProcessError,
    DecoderSettings,
)
from cudaq_target.coupler.loops.events import read_events
from cudaq_target.coupler.loops.memory import Server, memory_experiment
from cudaq_target.coupler.loops.memory_code import (
    CODES,
    DECODERS,
    logical_bits,
    memory_code,
    sample_shots,
)
from cudaq_target.coupler.loops.memory_record import replay_memory
from cudaq_target.coupler.loops.memory_result import (
    LOST,
    NEVER,
    Durations,
    MemoryTrace,
    decoded_offline,
    judged,
)
from cudaq_target.coupler.loops.pacing import Cadence, undisturbed, wait_until
from cudaq_target.coupler.record import Durability, RecordedFrame, Recorder, read_recording
from tests.coupler.ends import endpoint_of

SHM = Path("/dev/shm")


def segments() -> set[str]:
    return {path.name for path in SHM.glob(f"cudaq-target-memory-{os.getpid()}-*")}


@pytest.fixture(autouse=True)
def _leaves_nothing():
    yield
    assert not segments()


@pytest.mark.parametrize("name", CODES)
def test_the_circuit_is_taken_apart_as_stim_takes_it(name):
    code = memory_code(name, 3, 4, 0.02)
    bits = sample_shots(code, 500, 3)
    noise = dict.fromkeys(
        (
            "after_clifford_depolarization",
            "before_round_data_depolarization",
            "before_measure_flip_probability",
            "after_reset_flip_probability",
        ),
        0.02,
    )
    circuit = stim.Circuit.generated(CODES[name], distance=3, rounds=4, **noise)
    converter = circuit.compile_m2d_converter()
    events, flips = converter.convert(measurements=bits.astype(bool), separate_observables=True)
    (decoder,) = read_decoders(code.config)
    np.testing.assert_array_equal(logical_bits(code, bits), flips[:, 0])
    odd = bits @ np.unpackbits(decoder.masks.view(np.uint8), axis=1, bitorder="little")[
        :, : code.n_bits
    ].T.astype(int)
    np.testing.assert_array_equal(odd % 2, events)
    assert sum(code.bits_per_round) == circuit.num_measurements


@pytest.mark.parametrize("name", CODES)
def test_a_larger_code_keeps_the_bit_better(name):
    """Below the threshold; 20,000 shots make the difference many standard errors."""
    rates = []
    for distance in (3, 5):
        code = memory_code(name, distance, 3, 0.003)
        bits = sample_shots(code, 20_000, 5)
        rates.append(float((logical_bits(code, bits) ^ decoded_offline(code.config, bits)).mean()))
    assert rates[1] < 0.7 * rates[0]


@pytest.mark.parametrize(
    ("name", "decoder", "is_native"),
    [
        ("surface", "union_find", True),
        ("surface", "pymatching", None),
        ("repetition", "lookup", False),
    ],
)
def test_online_is_offline_and_a_replay_is_the_run(tmp_path, name, decoder, is_native):
    server = Server(is_native=is_native, timeout_s=30.0)
    path, events = tmp_path / "run.rec", tmp_path / "events.jsonl"
    result = memory_experiment(
        name, 3, 2, 0.02, 150, 5e-4, decoder, seed=7, server=server, record=path, events=events
    )
    assert result.n_shots == 150
    assert result.n_lost == result.n_disagreements == 0
    assert result.n_rounds == 150 * 3 == result.rtt_ns.n_values
    assert result.n_logical_errors == result.n_offline_errors <= result.n_raw_errors
    assert result.interval.low <= result.logical_error_rate <= result.interval.high
    assert result.counters["server_dispatched"] >= 150 * 4
    if decoder == "pymatching":
        assert result.n_matching_errors == result.n_logical_errors
    assert replay_memory(path) == result
    found = list(read_events(events))
    assert [found[0]["event"], found[-1]["event"]] == ["start", "end"]
    assert found[-1]["status"] == "done"
    assert found[-1]["value"] == result.logical_error_rate
    assert found[-1]["deadline_misses"] == result.n_deadline_misses
    assert "logical errors per shot" in result.text()
    assert json.loads(json.dumps(result.as_data()))["n_shots"] == 150


def trace_of(sent_ns, done_ns, corrections=(0, 0)) -> MemoryTrace:
    code = memory_code("repetition", 3, 2, 0.01)
    return MemoryTrace(
        code=code,
        seed=0,
        cadence_ns=1000,
        deadline_ns=800,
        start_ns=50,
        bits=np.zeros((2, code.n_bits), dtype=np.uint8),
        corrections=np.array(corrections, dtype=np.uint8),
        sent_ns=np.array(sent_ns, dtype=np.int64),
        done_ns=np.array(done_ns, dtype=np.int64),
    )


def test_misses_are_counted_from_when_a_round_was_due():
    sent = [[50, 1050, 2750], [3050, 4050, 5050]]
    done = [[60, 1851, 2900], [3850, 4060, 5060]]
    result = judged(trace_of(sent, done))
    # The second round took 801 ns; the third took 150 ns, but left 700 ns late.
    assert (result.n_deadline_misses, result.n_misses_of_pacing) == (2, 1)
    assert result.n_late_shots == 1
    assert [(one.shot, one.number, one.lateness_ns, one.rtt_ns) for one in result.late_rounds] == [
        (0, 1, 0, 801),
        (0, 2, 700, 150),
    ]
    assert result.lateness_ns == Durations(6, 0, 700, 700, 700, 700)
    assert result.response_ns.maximum == 850


def test_rounds_without_an_answer_are_misses():
    sent = [[50, NEVER, NEVER], [3050, 4050, 5050]]
    done = [[60, NEVER, NEVER], [3060, 4060, 5060]]
    result = judged(trace_of(sent, done, (LOST, 0)))
    assert (result.n_shots, result.n_lost, result.n_deadline_misses) == (1, 1, 2)
    assert (result.n_misses_of_pacing, result.n_late_shots) == (0, 0)
    assert [one.rtt_ns for one in result.late_rounds] == [NEVER, NEVER]


def test_a_wrong_correction_is_seen():
    times = np.arange(50, 6050, 1000).reshape(2, 3)
    result = judged(trace_of(times, times + 5, (0, 1)))
    assert (result.n_disagreements, result.n_logical_errors, result.n_offline_errors) == (1, 1, 0)
    assert "1 OTHERS" in result.text()


def test_durations_of_nothing():
    assert Durations.of(np.zeros(0, dtype=np.int64)).n_values == 0


def test_no_tick_comes_early_and_late_ones_do_not_move_the_others():
    cadence = Cadence(time.monotonic_ns() + 1_000_000, 500_000)
    for tick in (0, 1, 2):
        assert wait_until(cadence.due_ns(tick)) >= cadence.due_ns(tick)
    assert cadence.due_ns(1000) == cadence.start_ns + 500_000_000
    assert wait_until(0) > 0


def test_a_core_and_what_else_was_taken_are_given_back():
    before = os.sched_getaffinity(0), os.sched_getscheduler(0)
    core = min(before[0])
    assert gc.isenabled()
    with undisturbed(core, None):
        assert os.sched_getaffinity(0) == {core}
        assert not gc.isenabled()
    assert (os.sched_getaffinity(0), os.sched_getscheduler(0)) == before
    for asked, words in (((10**5, None), "cores: 100000"), ((None, 1000), "priority: 1000")):
        with pytest.raises(MemoryExperimentError, match=words), undisturbed(*asked):
            pass
    assert gc.isenabled()
    assert (os.sched_getaffinity(0), os.sched_getscheduler(0)) == before


class OnFirstBatch:
    """Events, and something that is done in a thread of its own once rounds are under way."""

    def __init__(self, action) -> None:
        self.events: list[dict] = []
        self.thread = threading.Thread(target=action)

    def __call__(self, event: dict) -> None:
        if event["event"] == "batch" and not any(one["event"] == "batch" for one in self.events):
            self.thread.start()
        self.events.append(event)

    def faults(self) -> list[dict]:
        return [one for one in self.events if one["event"] == "fault"]


def test_a_frozen_server_is_late_and_loses_nothing():
    """200 ms without an answer: the rounds due meanwhile miss their deadlines, all are decoded."""
    code = memory_code("repetition", 3, 2, 0.02)
    endpoint = f"shm://test-memory-{os.getpid()}"
    with DecoderProcess(DecoderSettings(code.config, endpoint, is_native=False)) as process:

        def freeze() -> None:
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(0.2)
            os.kill(process.pid, signal.SIGCONT)

        server = Server(endpoint=process.endpoint, timeout_s=30.0)
        frozen = OnFirstBatch(freeze)
        result = memory_experiment(code, shots=200, cadence_s=1e-3, server=server, events=frozen)
        frozen.thread.join()
    assert result.n_shots == 200
    assert result.n_disagreements == 0
    assert result.n_deadline_misses > 100
    assert result.n_misses_of_pacing > 100  # all but the one that waited
    assert result.response_ns.maximum > 150_000_000


def test_a_server_that_is_killed_and_restarted_costs_the_shots_meanwhile(tmp_path):
    code = memory_code("repetition", 3, 2, 0.02)
    tmp_path.chmod(0o700)
    settings = DecoderSettings(code.config, endpoint_of("ipc", tmp_path), is_native=False)
    path = tmp_path / "run.rec"
    first = DecoderProcess(settings)
    second: list[DecoderProcess] = []

    def restart() -> None:
        os.kill(first.pid, signal.SIGKILL)
        first.close()
        second.append(DecoderProcess(settings))

    restarted = OnFirstBatch(restart)
    try:
        result = memory_experiment(
            code,
            shots=300,
            cadence_s=1e-3,
            server=Server(endpoint=first.endpoint, timeout_s=5.0, patience_s=60.0),
            record=path,
            events=restarted,
        )
        restarted.thread.join()
    finally:
        for process in second:
            process.close()
    assert 1 <= result.n_lost <= 4
    assert result.n_shots + result.n_lost == 300
    assert result.n_disagreements == 0
    assert result.corrections.count(LOST) == result.n_lost
    assert result.n_deadline_misses > 0
    assert len(restarted.faults()) == result.n_lost
    assert all(one["recovered"] for one in restarted.faults())
    assert replay_memory(path) == result


def test_a_server_that_stays_away_ends_the_run_with_an_error(tmp_path):
    code = memory_code("repetition", 3, 2, 0.02)
    tmp_path.chmod(0o700)
    settings = DecoderSettings(code.config, endpoint_of("ipc", tmp_path), is_native=False)
    with DecoderProcess(settings) as process:
        killed = OnFirstBatch(lambda: os.kill(process.pid, signal.SIGKILL))
        server = Server(endpoint=process.endpoint, timeout_s=2.0, patience_s=0.2)
        with pytest.raises(LinkError):
            memory_experiment(code, shots=100_000, cadence_s=1e-3, server=server, events=killed)
        killed.thread.join()
    end = killed.events[-1]
    assert (end["event"], end["status"]) == ("end", "failed")
    assert end["n_measured"] == end["n_used"] + end["n_lost"]
    assert killed.faults()[-1]["recovered"] is False


def test_a_decoder_of_another_code_is_refused_by_the_server():
    other = memory_code("surface", 3, 2, 0.02)
    code = memory_code("repetition", 3, 2, 0.02)
    endpoint = f"shm://test-memory-{os.getpid()}-other"
    with (
        DecoderProcess(DecoderSettings(other.config, endpoint, is_native=False)) as process,
        pytest.raises(RemoteCallError, match="get_corrections was answered with status 4: NOT_RE"),
    ):
        memory_experiment(code, shots=10, endpoint=process.endpoint)


def test_ctrl_c_ends_the_server_too(tmp_path):
    places = f"events={str(tmp_path / 'events')!r}, record={str(tmp_path / 'rec')!r}"
    script = (
        "from cudaq_target.coupler.loops.memory import Server, memory_experiment\n"
        "server = Server(is_native=False)\n"
        f"memory_experiment('repetition', shots=1000000, server=server, {places})\n"
    )
    # Ctrl-C reaches the whole group of processes.
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until_s = time.monotonic() + 60.0
    while not any(one["event"] == "batch" for one in events_of(tmp_path / "events")):
        assert time.monotonic() < until_s
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert events_of(tmp_path / "events")[-1]["status"] == "interrupted"
    assert not list(SHM.glob(f"cudaq-target-memory-{process.pid}-*"))
    n_done = events_of(tmp_path / "events")[-1]["n_used"]
    assert replay_memory(tmp_path / "rec").n_shots == n_done > 0


def events_of(path: Path) -> list[dict]:
    return list(read_events(path)) if path.exists() else []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"code": "steane"}, "code: 'steane' is unknown. Use repetition, surface"),
        ({"decoder": "guess"}, "decoder: 'guess' is unknown. Use union_find, lookup, pymatching"),
        ({"distance": 4}, "distance: 4. Use an odd number of at least 3"),
        ({"rounds": 1}, "rounds: 1. Use at least 2"),
        ({"p": 0.5}, "p: 0.5. Use a probability above 0"),
        ({"p": float("nan")}, "p: nan"),
        ({"shots": 0}, "shots: 0. Use 1 to 10000000"),
        ({"seed": -1}, "seed: -1"),
        ({"cadence_s": 0.0}, "cadence_s: 0 s. Use 1e-6 to 3600 s"),
        ({"deadline_s": float("inf")}, "deadline_s: inf s"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(change, words):
    with pytest.raises(MemoryExperimentError) as caught:
        memory_experiment(**{"code": "repetition"} | change)
    assert words in str(caught.value)


def test_a_native_server_for_what_runs_in_python_alone_is_refused_by_name():
    server = Server(is_native=True)
    with pytest.raises(DecoderProcessError, match="is a PyMatchingDecoder, which runs in Python"):
        memory_experiment("repetition", decoder="pymatching", server=server)


def test_records_of_something_else_are_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"something else")
    with pytest.raises(RecordingError):
        replay_memory(tmp_path / "x")
    with pytest.raises(RecordingError, match="it exists"):
        memory_experiment("repetition", shots=1, record=tmp_path / "x")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run and its record."""
    path = tmp_path_factory.mktemp("record") / "run.rec"
    server = Server(is_native=False, timeout_s=30.0)
    return memory_experiment("repetition", p=0.05, shots=100, server=server, record=path), path


def test_a_record_that_was_cut_short_replays_its_whole_shots(recorded, tmp_path):
    result, path = recorded
    (tmp_path / "cut").write_bytes(path.read_bytes()[:-3])
    again = replay_memory(tmp_path / "cut")
    assert again.n_shots == 99
    assert again.corrections == result.corrections[:99]


def rewritten(path: Path, target: Path, **changes: object) -> Path:
    """A record with other settings."""
    frames = [item for item in read_recording(path) if isinstance(item, RecordedFrame)]
    settings = json.loads(frames[0].frame)
    first = RecordedFrame(0, frames[0].channel, json.dumps(settings | changes).encode())
    with Recorder(target, durability=Durability.BUFFERED) as recorder:
        for item in (first, *frames[1:]):
            recorder.write(item.frame, item.channel, item.stamp_ns)
    return target


def test_a_record_that_this_version_decodes_otherwise_is_refused(recorded, tmp_path):
    result, path = recorded
    code = asdict(result.code)
    code["config"] = code["config"].replace("O_sparse: [", "O_sparse: [ 0,", 1)
    with pytest.raises(MemoryExperimentError, match="corrections are others today"):
        replay_memory(rewritten(path, tmp_path / "other", code=code))
    with pytest.raises(RecordingError, match="its format is 'x'"):
        replay_memory(rewritten(path, tmp_path / "format", format="x"))


def test_every_decoder_has_a_configuration_that_the_server_reads():
    for decoder in DECODERS:
        for name in CODES:
            code = memory_code(name, 3, 2, 0.01, decoder)
            (made,) = read_decoders(code.config)
            assert (made.n_measurements, made.n_observables) == (code.n_bits, 1)
            assert str(code) in repr(code) or code.name in repr(code)
    assert issubclass(DecoderProcessError, CouplerError)
