"""Programs, runs and shot streams between a client and a machine in one process."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cudaq_target.coupler.control import MAX_ENDED_RUNS, MAX_PROGRAMS, ControlServer
from cudaq_target.coupler.control_client import ControlClient, RemoteRun, over_link
from cudaq_target.coupler.control_messages import (
    RUN,
    SHOT_PULL,
    ProgramChunk,
    RunRequest,
    RunState,
    RunStatus,
    program_id_of,
    pull_arguments,
)
from cudaq_target.coupler.control_options import ControlOptions
from cudaq_target.coupler.dispatch import Dispatcher
from cudaq_target.coupler.errors import ProgramRefusedError, RemoteCallError, StreamLostError
from cudaq_target.coupler.frame import (
    HEADER_BYTES,
    Status,
    function_id,
    read_response,
    request_frame,
)
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.machine import ThreadedRun
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.sessions import DuplicateWindow, Session

N_QUBITS = 70
SPECS = json.dumps({"name": "counting machine", "levels": list(range(200))})


def numbered(first, n_shots):
    ids = np.arange(first, first + n_shots, dtype=np.uint64)
    return np.stack([ids, ids % np.uint64(64)], axis=1)


class CountingRun:
    """Measures when it is told to; shot k says k."""

    n_qubits = N_QUBITS

    def __init__(self, n_shots):
        self.n_shots, self.n_measured, self.n_given = n_shots, 0, 0
        self.failure = None

    @property
    def is_done(self):
        return self.n_given == self.n_measured and self.n_measured >= self.n_shots

    def measure(self, n_shots):
        self.n_measured = min(self.n_shots, self.n_measured + n_shots)

    def poll(self, max_shots):
        n_shots = min(max_shots, self.n_measured - self.n_given)
        self.n_given += n_shots
        return numbered(self.n_given - n_shots, n_shots)

    def stop(self):
        self.n_shots = self.n_measured


class CountingMachine:
    def __init__(self):
        self.runs, self.parameters, self.loaded = [], None, []

    def specs(self):
        return SPECS

    def load(self, program):
        if program == "bad":
            message = "line 1: no such gate"
            raise ProgramRefusedError(message)
        self.loaded.append(program)
        return program

    def start(self, program, parameters, n_shots):
        if len(parameters) > 3:
            message = f"{program} takes 3 parameters"
            raise ProgramRefusedError(message)
        self.parameters = parameters
        self.runs.append(CountingRun(n_shots))
        return self.runs[-1]


class Setup:
    """A machine, its server and a client, with a clock that the test moves."""

    def __init__(self, *, slot_bytes=512, before_poll=None, **options):
        self.now_ns = 0
        self.machine = CountingMachine()
        self.slot_bytes, self.options = slot_bytes, options
        self.before_poll = before_poll
        self.restart()
        self.client = ControlClient(self.call, slot_bytes=slot_bytes)
        self.next_id = 0

    def restart(self):
        options = ControlOptions(**self.options)
        self.server = ControlServer(self.machine, clock=lambda: self.now_ns, options=options)
        self.dispatcher = Dispatcher(
            self.server.functions(),
            background=[self.server.advance],
            slot_bytes=self.slot_bytes,
            clock=lambda: self.now_ns,
        )
        self.session = Session("client", DuplicateWindow(16, sequenced=True))

    def call(self, name, arguments):
        self.next_id += 1
        frame = request_frame(function_id(name), arguments, self.next_id)
        answer = self.dispatcher.dispatch(self.session, frame)
        while answer is None:
            self.now_ns += 1_000_000
            if self.before_poll is not None:
                self.before_poll(self)
            answer = next((one for _, one in self.dispatcher.tend()), None)
        header = read_response(answer, len(answer), self.slot_bytes)
        return header.status, answer[HEADER_BYTES:]

    def start(self, n_shots=100, **options):
        program_id = self.client.load_program("p")
        return self.client.run(program_id, n_shots, **options)


def taken(batches):
    return [int(row[0]) for batch in batches for row in batch.rows]


def measure_ten(setup):
    setup.machine.runs[-1].measure(10)


def test_shots_arrive_as_they_are_measured():
    setup = Setup(before_poll=measure_ten)
    run = setup.start(100, parameters=[0.5, 1.5])
    sizes = []
    shots = []
    for batch in run.batches():
        sizes.append(batch.n_shots)
        shots.extend(taken([batch]))
    assert shots == list(range(100))
    assert max(sizes) <= 10
    assert setup.machine.parameters.tolist() == [0.5, 1.5]
    assert run.status() == RunStatus(RunState.DONE, 100, 100, n_measured=100)
    assert setup.server._runs[run.run_id].is_told


def test_long_texts_travel_in_parts():
    setup = Setup(slot_bytes=128)
    assert json.loads(setup.client.specs()).items() >= json.loads(SPECS).items()
    program = "é" * 1000
    assert setup.client.load_program(program) == program_id_of(program)
    assert setup.machine.loaded == [program]
    n_calls = setup.next_id
    setup.client.load_program(program)
    assert setup.next_id == n_calls + 1


def test_empty_program():
    setup = Setup()
    setup.client.load_program("")
    assert setup.machine.loaded == [""]


def test_part_that_comes_twice_counts_once():
    setup = Setup()
    text = b"abcdef"
    number = program_id_of("abcdef")
    parts = [(0, b"abc"), (0, b"abc"), (3, b"def"), (3, b"def")]
    for offset, part in parts:
        setup.call("load_program", ProgramChunk(number, len(text), offset, part).to_bytes())
    assert setup.machine.loaded == ["abcdef"]


def test_machine_says_why_it_refuses():
    setup = Setup()
    with pytest.raises(RemoteCallError, match="status 2: line 1: no such gate"):
        setup.client.load_program("bad")
    with pytest.raises(RemoteCallError, match="p takes 3 parameters"):
        setup.start(parameters=[1, 2, 3, 4])
    with pytest.raises(RemoteCallError, match="finite parameters"):
        setup.start(parameters=[float("nan")])
    with pytest.raises(RemoteCallError, match="at least 1 shot"):
        setup.start(0)
    with pytest.raises(RemoteCallError, match="not loaded"):
        setup.client.run(5, 1)
    assert not setup.server.is_running


def test_the_program_that_was_not_used_for_longest_is_forgotten():
    setup = Setup()
    first = setup.client.load_program("p")
    second = setup.client.load_program("q")
    for k in range(MAX_PROGRAMS - 2):
        setup.client.load_program(str(k))
    setup.client.run(first, 1)
    setup.machine.runs[-1].measure(1)
    setup.dispatcher.tend()
    setup.client.load_program("one more")
    with pytest.raises(RemoteCallError, match="not loaded"):
        setup.client.run(second, 1)
    setup.client.run(first, 1)


def test_wrong_program_number_is_found():
    setup = Setup()
    status, reason = setup.call("load_program", ProgramChunk(5, 3, 0, b"abc").to_bytes())
    assert (status, b"does not match" in reason) == (Status.BAD_REQUEST, True)


def test_program_that_is_too_long_is_refused_at_once():
    setup = Setup()
    status, reason = setup.call("load_program", ProgramChunk(5, 2**31, 0, b"abc").to_bytes())
    assert (status, b"16777216 fit" in reason) == (Status.BAD_REQUEST, True)


def test_shots_too_wide_for_the_slots(monkeypatch):
    monkeypatch.setattr(CountingRun, "n_qubits", 600)
    setup = Setup(slot_bytes=100)
    with pytest.raises(RemoteCallError, match="do not fit"):
        setup.start()
    assert not setup.server.is_running


def test_one_run_at_a_time():
    setup = Setup()
    setup.start(10)
    with pytest.raises(RemoteCallError, match=f"status {Status.BUSY.value}"):
        setup.start(10)


def test_run_is_started_once_however_often_it_is_asked_for():
    setup = Setup()
    program_id = setup.client.load_program("p")
    request = RunRequest(77, program_id, 5, 0, np.zeros(0)).to_bytes()
    assert setup.call(RUN, request) == setup.call(RUN, request)
    assert len(setup.machine.runs) == 1
    other = RunRequest(77, program_id, 6, 0, np.zeros(0)).to_bytes()
    status, reason = setup.call(RUN, other)
    assert (status, b"choose a new id" in reason) == (Status.BAD_REQUEST, True)


def test_stop_keeps_the_shots_that_were_measured():
    setup = Setup(before_poll=measure_ten)
    run = setup.start(100)
    batches = run.batches()
    shots = taken([next(batches)])
    setup.machine.runs[-1].measure(5)
    assert run.stop() == len(shots) + 5
    shots += taken(batches)
    assert shots == list(range(len(shots)))
    assert len(shots) < 100
    assert run.receiver.n_missing == 0
    assert run.status().state is RunState.STOPPED
    assert run.stop() == len(shots)


def test_deadline_stops_the_machine():
    setup = Setup(before_poll=lambda one: one.machine.runs[-1].measure(1))
    run = setup.start(10_000, deadline_ns=50_000_000)
    shots = taken(run.batches())
    assert 40 <= len(shots) <= 51
    assert run.status() == RunStatus(RunState.DEADLINE, len(shots), 10_000, n_measured=len(shots))


def test_failure_on_the_machine_is_reported():
    setup = Setup()
    run = setup.start(100)
    measuring = setup.machine.runs[-1]
    measuring.measure(3)
    measuring.failure = "laser unlocked"
    measuring.stop()
    assert taken(run.batches()) == [0, 1, 2]
    assert run.status() == RunStatus(RunState.FAILED, 3, 100, "laser unlocked", 3)
    assert run.ended == run.status()


def test_pull_without_shots_is_answered_in_time():
    setup = Setup()
    run = setup.start(100)
    arguments = pull_arguments(run.receiver.credit(), 7_000_000)
    before_ns = setup.now_ns
    assert setup.call(SHOT_PULL, arguments) == (Status.OK, b"")
    assert setup.now_ns - before_ns == 7_000_000


def test_newer_pull_takes_the_place_of_an_older_one():
    setup = Setup()
    run = setup.start(100)
    arguments = pull_arguments(run.receiver.credit(), 10**9)
    frames = [request_frame(function_id(SHOT_PULL), arguments, 100 + k) for k in range(2)]
    assert [setup.dispatcher.dispatch(setup.session, frame) for frame in frames] == [None, None]
    [(_, answer)] = setup.dispatcher.tend()
    assert read_response(answer, len(answer), 512) == (Status.OK, 0, 100, 0)
    setup.machine.runs[-1].measure(1)
    [(_, answer)] = setup.dispatcher.tend()
    assert read_response(answer, len(answer), 512).request_id == 101


def test_machine_behind_a_socket(tmp_path):
    machine = ThreadedMachine()
    server = ControlServer(machine)
    dispatcher = Dispatcher(server.functions(), background=[server.advance])
    place = f"ipc://{tmp_path}/machine"
    with serve(dispatcher, place), connect(place) as link:
        client = ControlClient(over_link(link), slot_bytes=link.slot_bytes)
        assert json.loads(client.specs()).items() >= json.loads(SPECS).items()
        run = client.run(client.load_program("p"), 500, [0.5])
        assert taken(run.batches()) == list(range(500))
        assert run.status() == RunStatus(RunState.DONE, 500, 500, n_measured=500)


class ThreadedMachine(CountingMachine):
    def start(self, program, parameters, n_shots):  # noqa: ARG002
        return ThreadedRun(N_QUBITS, (numbered(first, 10) for first in range(0, n_shots, 10)))


def test_link_that_loses_answers_loses_no_shots():
    setup = Setup(before_poll=measure_ten)
    rng = np.random.default_rng(5)

    def lossy(name, arguments):
        if rng.random() < 0.2:
            raise TimeoutError
        answer = setup.call(name, arguments)
        if rng.random() < 0.2:
            raise TimeoutError
        return answer

    run = setup.start(2000, window=64)
    run.reconnect(lossy)
    shots, n_losses = [], 0
    while len(shots) < 2000:
        try:
            for batch in run.batches():
                shots.extend(taken([batch]))
        except TimeoutError:
            n_losses += 1
            setup.now_ns += 200_000_000
    assert shots == list(range(2000))
    assert n_losses > 3


def test_iteration_that_ended_with_an_error_goes_on():
    setup = Setup(before_poll=measure_ten)
    run = setup.start(50)
    shots = taken([next(run.batches())])

    def broken(*_):
        raise ConnectionError

    run.reconnect(broken)
    with pytest.raises(ConnectionError):
        taken(run.batches())
    run.reconnect(setup.call)
    shots += taken(run.batches())
    assert shots == list(range(50))


def test_row_17_restarted_machine_leaves_an_exact_account():
    setup = Setup(before_poll=measure_ten)
    run = setup.start(100)
    batches = run.batches()
    n_taken = len(taken([next(batches)]))
    setup.restart()
    with pytest.raises(StreamLostError, match=f"{n_taken} shots came, {100 - n_taken} are missing"):
        taken(batches)
    assert run.receiver.n_delivered + run.receiver.n_missing == 100


def test_client_that_never_pulls_does_not_block_the_machine():
    setup = Setup(max_held=8)
    lost = setup.start(100)
    setup.machine.runs[0].measure(50)
    setup.dispatcher.tend()
    assert setup.server.is_running
    setup.now_ns += 61_000_000_000  # the server was frozen, not its client
    setup.dispatcher.tend()
    assert setup.server.is_running
    for _ in range(80):
        setup.now_ns += 400_000_000
        setup.dispatcher.tend()
    assert not setup.server.is_running
    status = lost.status()
    assert (status.state, status.n_sent, status.n_measured) == (RunState.STOPPED, 8, 50)
    assert status.reason == "its client was silent for 30 s"
    again = setup.start(3)
    setup.machine.runs[1].measure(3)
    assert taken(again.batches()) == [0, 1, 2]
    assert taken(lost.batches()) == list(range(8))


def test_ended_runs_are_forgotten_those_first_that_were_told_everything():
    setup = Setup(before_poll=measure_ten)
    untold = setup.start(1)
    setup.machine.runs[-1].measure(1)
    setup.dispatcher.tend()
    told = []
    for _ in range(MAX_ENDED_RUNS):
        told.append(setup.start(1))
        assert taken(told[-1].batches()) == [0]
    with pytest.raises(RemoteCallError, match="no such run"):
        told[0].status()
    with pytest.raises(RemoteCallError, match="no such run"):
        told[0].stop()
    assert told[-1].status().state is RunState.DONE
    assert taken(untold.batches()) == [0]
    assert len(setup.server._runs) <= MAX_ENDED_RUNS + 1


def test_shots_come_with_the_answer_that_starts_their_run():
    setup = Setup(before_poll=measure_ten)
    n_calls = setup.next_id
    run = setup.start(10, wait_ns=10**9)
    assert setup.next_id == n_calls + 2
    assert run.ended == RunStatus(RunState.DONE, 10, 10, n_measured=10)
    assert taken(run.batches()) == list(range(10))
    assert setup.next_id == n_calls + 2
    late = setup.start(100, wait_ns=3_000_000)
    assert taken(late.batches()) == list(range(100))


def test_lost_answer_to_a_start_loses_no_shots():
    setup = Setup(before_poll=measure_ten)
    program_id = setup.client.load_program("p")

    def broken(name, arguments):
        setup.call(name, arguments)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        ControlClient(broken).run(program_id, 20, run_id=7, wait_ns=10**9)
    run = setup.client.run(program_id, 20, run_id=7, wait_ns=10**9)
    setup.now_ns += 200_000_000
    assert taken(run.batches()) == list(range(20))
    assert len(setup.machine.runs) == 1


@pytest.mark.parametrize("name", ["load_program", "run", "stop", "status", "specs", "shot_pull"])
@pytest.mark.parametrize("n_bytes", [0, 1, 7, 16, 37, 48, 61])
def test_arguments_that_are_none(name, n_bytes):
    setup = Setup()
    status, _ = setup.call(name, b"\xff" * n_bytes)
    assert status == Status.BAD_REQUEST


def test_foreign_answers_are_errors():
    run = RemoteRun(lambda *_: (Status.OK, b""), 1, 1, 1)
    with pytest.raises(RemoteCallError, match="no status of a run"):
        run.status()
    busy = RemoteRun(lambda *_: (Status.BUSY, b""), 1, 1, 1)
    with pytest.raises(RemoteCallError, match="shot_pull was answered with status 5"):
        taken(busy.batches())
