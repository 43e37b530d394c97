"""Short turns of machines that compute, measured in the thread of the server."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.coupler import ControlClient, ControlOptions, RunState, connect, serve
from cudaq_target.coupler.control_pace import MAX_KNOWN, Paces
from cudaq_target.coupler.errors import RemoteCallError
from tests.coupler.lazy_machine import TellingMachine, TellingRun


class ComputedRun(TellingRun):
    is_computed = True

    def measure(self, n_shots):
        machine = self.machine
        assert machine.alone.acquire(blocking=False), "two threads have the machine"
        try:
            machine.threads.append(threading.current_thread().name)
            time.sleep(machine.seconds)
            return super().measure(n_shots)
        finally:
            machine.alone.release()


class ComputedMachine(TellingMachine):
    def __init__(self, **options):
        super().__init__(**options)
        self.alone, self.threads, self.seconds = threading.Lock(), [], 0.0

    def begin(self, _program, _parameters, n_shots, seed):
        self.runs.append(ComputedRun(self, n_shots, seed))
        return self.runs[-1]


def client_of(link):
    return ControlClient(link.caller(20.0), slot_bytes=link.slot_bytes)


@pytest.fixture
def place(tmp_path):
    return f"ipc://{tmp_path}/machine"


def measured(client, program, seed, n_shots=500, **options):
    run = client.run(program, n_shots, seed=seed, **{"wait_ns": 10**9, "window": 64, **options})
    return [int(row[0]) for batch in run.batches() for row in batch.rows], run.ended


def test_a_program_that_was_quick_is_measured_by_the_server(place):
    machine = ComputedMachine()
    with serve(machine, place) as server, connect(server.endpoint) as link:
        client = client_of(link)
        program = client.load_program("p")
        for seed in range(1, 60):
            shots, ended = measured(client, program, seed)
            assert shots == [1000 * seed + k for k in range(500)]
            assert (ended.state, ended.n_measured) == (RunState.DONE, 500)
            assert machine.runs[-1].is_closed
        assert machine.threads[0] == "machine"  # nobody knew then how long it takes
        assert any(name.startswith("coupler") for name in machine.threads)


def test_a_program_that_takes_long_leaves_the_server_free(place):
    machine = ComputedMachine()
    machine.seconds = 0.02
    with serve(machine, place) as server, connect(server.endpoint) as link:
        client = client_of(link)
        program = client.load_program("p")
        for seed in (1, 2, 3):
            shots, _ = measured(client, program, seed, n_shots=64)
            assert shots == [1000 * seed + k for k in range(64)]
        assert set(machine.threads) == {"machine"}


@pytest.mark.parametrize("wait_ns", [0, 10**9])
def test_credit_is_kept_to_and_a_stop_ends_the_run(place, wait_ns):
    machine = ComputedMachine()
    with serve(machine, place) as server, connect(server.endpoint) as link:
        client = client_of(link)
        program = client.load_program("p")
        for seed in range(1, 30):
            run = client.run(program, 10**6, seed=seed, window=64, block=16, wait_ns=wait_ns)
            batches = run.batches()
            n_taken = next(batches).n_shots
            assert machine.runs[-1].n_measured <= n_taken + 64 + 16
            run.stop()
            n_taken += sum(batch.n_shots for batch in batches)
            assert run.ended.state is RunState.STOPPED
            assert run.n_measured == n_taken == machine.runs[-1].n_measured
            assert machine.runs[-1].is_closed


def test_failures_and_refusals_are_those_of_the_machines_thread(place):
    machine = ComputedMachine()
    with serve(machine, place) as server, connect(server.endpoint) as link:
        client = client_of(link)
        program = client.load_program("p")
        for seed in range(1, 30):
            measured(client, program, seed)
        machine.fails_after = 100
        for seed in (30, 31):
            shots, ended = measured(client, program, seed, window=50, block=50)
            assert shots == [1000 * seed + k for k in range(100)]
            assert (ended.state, ended.reason) == (RunState.FAILED, "OSError: laser unlocked")
        machine.refuses = True
        for seed in (32, 33):
            with pytest.raises(RemoteCallError, match="the device allows 12"):
                measured(client, program, seed)
        machine.refuses, machine.fails_after = False, None
        assert measured(client, program, 34)[0] == [34_000 + k for k in range(500)]


def test_several_clients_never_have_the_machine_at_once(place):
    machine = ComputedMachine()
    options = ControlOptions(max_clients=4, max_runs=8)
    failures = []

    def work(first):
        try:
            with connect(place, timeout_s=20.0) as link:
                client = client_of(link)
                program = client.load_program(f"p{first}")
                for seed in range(first, first + 40):
                    shots, ended = measured(client, program, seed, n_shots=200)
                    assert shots == [1000 * seed + k for k in range(200)]
                    assert ended.n_measured == 200
        except BaseException as error:
            failures.append(error)
            raise

    with serve(machine, place, control_options=options):
        threads = [threading.Thread(target=work, args=(1000 * k,)) for k in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
    assert all(run.is_closed for run in machine.runs)


def test_a_cadence_and_whole_jobs_have_a_thread_of_their_own(place):
    machine = ComputedMachine(cadence_hz=2000.0)
    with serve(machine, place) as server, connect(server.endpoint) as link:
        client = client_of(link)
        program = client.load_program("p")
        for seed in (1, 2):
            assert len(measured(client, program, seed, n_shots=20)[0]) == 20
        assert set(machine.threads) == {"machine"}


def test_a_server_stops_looking_out_for_a_client_who_does_not_come(place):
    machine = ComputedMachine()
    with serve(machine, place) as server, connect(server.endpoint) as link:
        client = client_of(link)
        program = client.load_program("p")
        for seed in range(1, 12):
            run = client.run(program, 500, seed=seed, window=64, wait_ns=10**9)
            shots = [int(row[0]) for batch in run.receiver.take() for row in batch.rows]
            while not run.receiver.is_complete:
                time.sleep(0.002)  # longer than a server looks out
                run.pull(10**9)
                shots += [int(row[0]) for batch in run.receiver.take() for row in batch.rows]
            assert shots == [1000 * seed + k for k in range(500)]
        assert server._n_in_vain > 0
        for seed in range(12, 15):
            assert len(measured(client, program, seed)[0]) == 500


@given(st.lists(st.tuples(st.integers(1, 4096), st.integers(0, 10**9)), min_size=1))
@settings(max_examples=50, deadline=None)
def test_what_was_long_stays_long_for_a_while(turns):
    paces = Paces()
    for n_shots, spent_ns in turns:
        before = paces.expected_ns(1, False, n_shots) or 0
        paces.note(1, False, n_shots, spent_ns)
        expected = paces.expected_ns(1, False, n_shots)
        assert expected >= spent_ns
        assert expected <= max(spent_ns, before)
        assert paces.expected_ns(1, False, 2 * n_shots) >= expected
    assert paces.expected_ns(1, True, 1) is None
    assert paces.expected_ns(2, False, 1) is None


def test_old_programs_are_forgotten():
    paces = Paces()
    for program in range(MAX_KNOWN + 10):
        paces.note(program, True, 1, 1)
    assert paces.expected_ns(9, True, 1) is None
    assert paces.expected_ns(10, True, 1) == 1
