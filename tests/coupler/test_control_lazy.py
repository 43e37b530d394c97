"""Controllers of lazy machines over every transport: credit, turns, decisions, leases."""

from __future__ import annotations

import json
import threading
import time

import pytest

from cudaq_target.coupler import (
    ControlClient,
    ControlOptions,
    Decision,
    Function,
    Reply,
    RunState,
    connect,
    serve,
)
from cudaq_target.coupler.control_decide import Deciders
from cudaq_target.coupler.control_messages import DECIDE, DECISION
from cudaq_target.coupler.errors import DecisionError, RemoteCallError
from cudaq_target.coupler.payload import read_shot_batch
from tests.coupler.lazy_machine import TellingMachine

SCHEMES = ["shm", "ipc", "tcp", "udp"]
GO_ON = Decision(is_stop=False, mean=0.5, low=0.25, high=0.75)
STOP = Decision(is_stop=True, mean=0.5, low=0.5, high=0.5)


@pytest.fixture
def place(request, tmp_path):
    name = f"control-{tmp_path.name}-{time.monotonic_ns() % 10**6}"[-60:]
    return {
        "shm": f"shm://{name}",
        "ipc": f"ipc://{tmp_path}/machine",
        "tcp": "tcp://127.0.0.1:0",
        "udp": "udp://127.0.0.1:0",
    }[getattr(request, "param", "ipc")]


def client_of(link):
    return ControlClient(link.caller(20.0), slot_bytes=link.slot_bytes)


def taken(batches):
    return [int(row[0]) for batch in batches for row in batch.rows]


def until(condition):
    limit = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.002)


@pytest.mark.parametrize("place", SCHEMES, indirect=True)
@pytest.mark.parametrize("wait_ns", [0, 10**9])
def test_shots_come_in_order_and_stop_saves_the_others(place, wait_ns):
    machine = TellingMachine()
    with serve(machine, place) as server, connect(server.endpoint) as link:
        client = client_of(link)
        program = client.load_program("p")
        run = client.run(program, 500, [0.5], seed=7, wait_ns=wait_ns)
        assert taken(run.batches()) == [7000 + k for k in range(500)]
        assert run.ended.state is RunState.DONE
        assert run.n_measured == 500
        assert run.ended.machine_ns > 0
        run = client.run(program, 10**6, seed=3, window=64, block=16, wait_ns=wait_ns)
        batches = run.batches()
        shots = taken([next(batches)])
        run.stop()
        shots += taken(batches)
        assert shots == [3000 + k for k in range(len(shots))]
        assert run.ended.state is RunState.STOPPED
        assert run.n_measured == len(shots) <= 64 + 64 + 16
        assert machine.runs[-1].n_measured == run.n_measured


@pytest.mark.parametrize("place", ["ipc", "tcp"], indirect=True)
def test_clients_take_turns(place):
    machine = TellingMachine(cadence_hz=400.0)
    options = ControlOptions(max_clients=2, max_runs=3)
    with serve(machine, place, control_options=options) as server:
        links = [connect(server.endpoint) for _ in range(3)]
        clients = [client_of(link) for link in links]
        program = clients[0].load_program("p")
        runs = [client.run(program, 10_000, seed=k) for k, client in enumerate(clients[:2], 1)]
        queued = clients[0].run(program, 10, seed=9)
        with pytest.raises(RemoteCallError, match="status 5: 3 runs are under way or wait"):
            clients[1].run(program, 10)
        for run in runs:
            run.pull(0)  # gives credit
        until(lambda: len(machine.turns) >= 60)
        assert queued.status().n_ahead >= 1
        assert queued.status().n_measured == 0
        specs = json.loads(clients[2].specs())
        assert specs["queue"] == {
            "n_runs": 3,
            "n_clients": 2,
            "most_runs": 3,
            "most_clients": 2,
        }
        assert (specs["name"], specs["cadence_hz"]) == ("telling machine", 400.0)
        assert (specs["granularity"], specs["counters"]["busy_runs"]) == ("shot", 1)
        for run in [queued, *runs]:
            run.stop()
        # The machine's own thread ends them, and their places are free from then on.
        until(lambda: json.loads(clients[2].specs())["queue"]["n_runs"] == 0)
        n_ones, n_twos = (sum(turn[0] == k for turn in machine.turns) for k in (1, 2))
        assert abs(n_ones - n_twos) <= 40  # one had the machine alone until the other gave credit
        machine.gate.clear()
        for client in clients[:2]:
            client.run(program, 10)
        with pytest.raises(RemoteCallError, match="status 5: 2 clients have runs"):
            clients[2].run(program, 10)
        machine.gate.set()
        for link in links:
            link.close()


def test_silent_clients_lose_their_runs(place):
    options = ControlOptions(lease_ns=200_000_000)
    with serve(TellingMachine(), place, control_options=options) as server:
        with connect(server.endpoint) as link:
            client = client_of(link)
            run = client.run(client.load_program("p"), 10_000)
            until(lambda: run.status().state is RunState.STOPPED)
            assert run.status().reason == "its client was silent for 0.2 s"
            assert run.status().n_measured == 32
            assert taken(run.batches()) == list(range(32))
        assert (server.counters()["stopped"], server.counters()["expired"]) == (1, 1)


def test_deadlines_count_the_time_in_the_queue(place):
    machine = TellingMachine()
    machine.gate.clear()
    with serve(machine, place) as server, connect(server.endpoint) as link:
        client = client_of(link)
        program = client.load_program("p")
        first = client.run(program, 10)
        second = client.run(program, 10, deadline_ns=20_000_000)
        until(lambda: second.status().state is RunState.DEADLINE)
        machine.gate.set()
        assert taken(first.batches()) == list(range(10))
        assert taken(second.batches()) == []
        assert second.ended.state is RunState.DEADLINE


@pytest.mark.parametrize("wait_ns", [0, 10**10])
def test_late_refusals_are_refusals(place, wait_ns):
    machine = TellingMachine(refuses=True)
    with serve(machine, place) as server, connect(server.endpoint) as link:
        client = client_of(link)
        program = client.load_program("p")
        with pytest.raises(RemoteCallError, match="status 2: the amplitude is 20 rad/µs"):
            taken(client.run(program, 10, wait_ns=wait_ns).batches())
        with pytest.raises(RemoteCallError, match="p takes 1 parameter"):
            client.run(program, 10, [1.0, 2.0])
        machine.refuses = False
        assert len(taken(client.run(program, 10).batches())) == 10
        assert server.counters()["refused"] == 2


def test_failures_in_mid_stream_keep_the_shots(place):
    machine = TellingMachine(fails_after=96)
    with serve(machine, place) as server, connect(server.endpoint) as link:
        client = client_of(link)
        program = client.load_program("p")
        run = client.run(program, 10_000, window=64, block=32)
        assert taken(run.batches()) == list(range(run.n_measured))
        assert run.ended.state is RunState.FAILED
        assert run.ended.reason == "OSError: laser unlocked"
        assert 96 <= run.n_measured <= 96 + 32
        machine.fails_after = None
        assert len(taken(client.run(program, 50).batches())) == 50


class Judge:
    """Decides after a number of shots, and keeps what it saw."""

    def __init__(self, n_shots, answer=STOP):
        self.n_shots, self.answer, self.batches = n_shots, answer, []

    def functions(self):
        return [Function(DECIDE, self.decide)]

    def decide(self, call):
        batch = read_shot_batch(bytes(call.arguments))
        self.batches.append((batch.session, batch.first_shot_id, batch.n_shots))
        is_enough = batch.end_shot_id >= self.n_shots
        answer = (self.answer if is_enough else GO_ON).to_bytes()
        call.result[: len(answer)] = answer
        return Reply(0, len(answer))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("cadence_hz", [None, 2000.0])
def test_an_end_that_decides_sees_every_block_and_stops(place, tmp_path, scheme, cadence_hz):
    judge, machine = Judge(30), TellingMachine(cadence_hz)
    where = {
        "shm": f"shm://judge-{time.monotonic_ns() % 10**8}",
        "ipc": f"ipc://{tmp_path}/judge",
        "tcp": "tcp://127.0.0.1:0",
        "udp": "udp://127.0.0.1:0",
    }[scheme]
    with (
        serve(judge.functions(), where) as deciding,
        serve(machine, place) as server,
        connect(server.endpoint) as link,
    ):
        client = client_of(link)
        program = client.load_program("p")
        decide = str(deciding.endpoint)
        for _ in range(2):
            run = client.run(program, 1000, decide=decide, block=8)
            assert taken(run.batches()) == list(range(32))
            assert run.ended.state is RunState.STOPPED
            assert run.n_measured == 32
            assert judge.batches == [(run.run_id, 8 * k, 8) for k in range(4)]
            judge.batches.clear()
        run = client.run(program, 20, decide=decide, block=8)
        assert len(taken(run.batches())) == 20
        assert run.ended.state is RunState.DONE
        assert [size for *_, size in judge.batches] == [8, 8, 4]
        assert server.counters()["decisions"] == 11


def test_another_end_may_decide_at_the_same_place(place):
    where = f"shm://judge-{time.monotonic_ns() % 10**8}"
    with serve(TellingMachine(), place) as server, connect(server.endpoint) as link:
        client = client_of(link)
        program = client.load_program("p")
        for _ in range(3):
            with serve(Judge(16).functions(), where):
                run = client.run(program, 100, decide=where, block=16)
                assert len(taken(run.batches())) == 16


@pytest.mark.parametrize(
    ("decide", "reason"),
    [
        ("tcp://10.0.0.1:5555", "not on the machine's own host"),
        ("udp://example.org:5555", "not on the machine's own host"),
        ("http://127.0.0.1", "no known transport"),
        ("shm://../x", "no name of a shared segment"),
    ],
)
def test_ends_that_may_not_decide(place, decide, reason):
    with serve(TellingMachine(), place) as server, connect(server.endpoint) as link:
        client = client_of(link)
        program = client.load_program("p")
        with pytest.raises(RemoteCallError, match=reason):
            client.run(program, 10, decide=decide)
        with pytest.raises(RemoteCallError, match="506 fit a frame"):
            client.run(program, 10, decide="shm://judge", block=600)


def wrong_answer(call):
    call.result[:3] = b"abc"
    return Reply(0, 3)


def no_decision(call):
    call.result[: DECISION.size] = DECISION.pack(2, 0.0, 0.0, 0.0)
    return Reply(0, DECISION.size)


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (wrong_answer, "an answer of 3 bytes that is none"),
        (no_decision, "an answer of 28 bytes that is none"),
        (lambda _: Reply(3), "status 3"),
        (lambda _: 1 / 0, "status 3"),
        (None, "gave no decision"),
    ],
)
def test_ends_that_fail_to_decide_fail_the_run(place, tmp_path, handler, reason):
    where = f"ipc://{tmp_path}/judge"
    functions = [] if handler is None else [Function(DECIDE, handler)]
    with (
        serve([*functions, Function("other", wrong_answer)], where),
        serve(TellingMachine(), place) as server,
        connect(server.endpoint) as link,
    ):
        client = client_of(link)
        run = client.run(client.load_program("p"), 100, decide=where, block=8)
        assert taken(run.batches()) == list(range(8))
        assert run.ended.state is RunState.FAILED
        assert reason in run.ended.reason
        assert run.n_measured == 8


def test_an_end_that_is_slow_or_absent_fails_the_run_in_time(place, tmp_path):
    del place
    enough = threading.Event()

    def slow(_):
        enough.wait(10.0)
        return Reply(0)

    deciders = Deciders(timeout_s=0.1)
    with serve([Function(DECIDE, slow)], f"ipc://{tmp_path}/judge") as server:
        with pytest.raises(DecisionError, match="gave no decision"):
            deciders.ask(str(server.endpoint), b"", begins=True)
        enough.set()
        with pytest.raises(DecisionError, match="gave no decision"):
            deciders.ask(f"ipc://{tmp_path}/nobody", b"", begins=True)
    deciders.close()
