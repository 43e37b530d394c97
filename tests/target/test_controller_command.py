"""`cudaq-target serve` in processes of its own: faults, ends, clients, leftovers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from cudaq_target import cli
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.controller import controller as local
from cudaq_target.coupler import (
    ControlClient,
    RunState,
    client_security,
    connect,
    make_keys,
)
from cudaq_target.coupler.errors import CouplerError, RemoteCallError, StreamLostError
from cudaq_target.coupler.link_errors import LinkError
from cudaq_target.errors import Source
from cudaq_target.template import CircuitTemplate
from tests.target.controllers import ControllerProcess

HERE = Source("pair")
GATES = (Gate("ry", (0,), HERE, params=(1.1,)), Gate("x", (1,), HERE, controls=(0,)))
TEMPLATE, ANGLES = CircuitTemplate.of(Circuit("pair", 2, GATES))
TEXT = TEMPLATE.to_json()


@pytest.fixture
def started(tmp_path):
    """Starts controllers that end with the test, whatever happens to them in between."""
    made: list[ControllerProcess] = []

    def start(*options, scheme="ipc"):
        name = f"controller-{tmp_path.name}-{len(made)}"[-60:]
        place = f"ipc://{tmp_path}/{len(made)}" if scheme == "ipc" else f"shm://{name}"
        made.append(ControllerProcess(place, *options))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGCONT)
            one.end()
        one.process.stdout.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One controller for all tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("controller")
    process = ControllerProcess(
        f"ipc://{folder}/c", "--cadence-hz", "400", "--seed", "3", "--lease-s", "2"
    )
    yield process
    process.process.send_signal(signal.SIGCONT)
    process.end()
    assert process.process.returncode == 0
    assert not left_behind(process)


def client_of(link, timeout_s=30.0):
    return ControlClient(link.caller(timeout_s), slot_bytes=link.slot_bytes)


def taken(batches):
    return [int(row[0]) for batch in batches for row in batch.rows]


def left_behind(controller):
    """Files that its endpoint may have left."""
    scheme, _, place = controller.endpoint.partition("://")
    path = Path(place) if scheme == "ipc" else Path("/dev/shm") / f"cudaq-target-{place}"
    return path.exists()


@pytest.mark.parametrize(("scheme", "by"), [("ipc", signal.SIGTERM), ("shm", signal.SIGINT)])
def test_it_serves_and_ends_cleanly_in_mid_run(started, scheme, by):
    controller = started(scheme=scheme)
    assert left_behind(controller)
    with connect(controller.endpoint) as link:
        client = client_of(link, 5.0)
        program = client.load_program(TEXT)
        run = client.run(program, 300, ANGLES, seed=4)
        shots = taken(run.batches())
        assert len(shots) == run.n_measured == 300
        assert set(shots) == {0, 3}
        specs = json.loads(client.specs())
        assert (specs["name"], specs["granularity"], specs["cadence_hz"]) == ("local", "shot", None)
        assert specs["device"]["name"] == "DigitalAnalogDevice"
        assert specs["counters"]["measured_shots"] == 300
        batches = client.run(program, 10**9, ANGLES).batches()
        next(batches)
        threading.Timer(0.1, controller.process.send_signal, [by]).start()
        with pytest.raises(CouplerError):
            taken(batches)
    assert controller.process.wait(60) == 0
    assert not left_behind(controller)


def test_ready_line_summary_and_keys(tmp_path):
    keys = tmp_path / "keys"
    for name in ("machine", "host", "stranger"):
        make_keys(keys, name)
    command = [sys.executable, "-m", "cudaq_target", "serve", "--bind", "tcp://127.0.0.1:0"]
    command += ["--secret", str(keys / "machine.key_secret"), "--allow", str(keys / "host.key")]
    with subprocess.Popen(
        [*command, "--cadence-hz", "500"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        ready = process.stdout.readline()
        endpoint = ready.split()[2].rstrip(":")
        assert ready == f"ready at {endpoint}: local, 500 shots/s\n"
        known = client_security(keys / "host.key_secret", server=keys / "machine.key")
        with connect(endpoint, security=known) as link:
            client = client_of(link)
            run = client.run(client.load_program(TEXT), 10, ANGLES)
            assert len(taken(run.batches())) == 10
        unknown = client_security(keys / "stranger.key_secret", server=keys / "machine.key")
        with pytest.raises(LinkError):
            connect(endpoint, security=unknown, timeout_s=3.0)
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said.startswith("cudaq-target: 1 programs, 1 runs (1 done), 10 shots measured")


def test_a_second_controller_is_refused(shared, capsys):
    assert cli.main(["serve", "--bind", shared.endpoint]) == 1
    assert "another server" in capsys.readouterr().err.lower()
    with connect(shared.endpoint) as link:
        assert client_of(link).specs()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--machine", "abacus"], "abacus"),
        (["--device", "abacus"], "abacus"),
        (["--noise", "nowhere.json"], "cannot be read"),
        (["--cadence-hz", "0"], "positive number"),
        (["--secret", "x"], "its secret and the public keys"),
        (["--bind", "tcp://0.0.0.0:0"], "refusing"),
        (["--bind", "carrier://pigeon"], "no known transport"),
    ],
)
def test_bad_input(tmp_path, capsys, words, message):
    bind = [] if "--bind" in words else ["--bind", f"ipc://{tmp_path}/c"]
    assert cli.main(["serve", *bind, *words]) == 2
    assert message in capsys.readouterr().err


def test_killed_and_restarted(started):
    controller = started("--cadence-hz", "200", scheme="shm")
    with connect(controller.endpoint) as link:
        client = client_of(link, 5.0)
        run = client.run(client.load_program(TEXT), 10_000, ANGLES)
        batches = run.batches()
        next(batches)
        controller.kill()
        with pytest.raises(LinkError):
            taken(batches)
        controller.start()
        with pytest.raises(StreamLostError):
            until_answered(lambda: taken(run.batches()))
        receiver = run.receiver
        assert receiver.n_delivered + receiver.n_missing == 10_000
        with pytest.raises(RemoteCallError, match="is not loaded"):
            client.run(1, 10)
        again = client.run(client.load_program(TEXT), 20, ANGLES)
        assert len(taken(again.batches())) == 20
    controller.end()
    assert controller.process.returncode == 0
    assert not left_behind(controller)


def until_answered(work):
    """Repeat what the link refuses while it finds the server again."""
    limit = time.monotonic() + 30.0
    while True:
        try:
            return work()
        except LinkError:
            assert time.monotonic() < limit
            time.sleep(0.05)


def test_frozen_and_thawed(shared):
    with connect(shared.endpoint) as link:
        client = client_of(link, 0.3)
        run = client.run(client.load_program(TEXT), 300, ANGLES, seed=8)
        shots = taken([next(run.batches(wait_ns=50_000_000))])
        shared.process.send_signal(signal.SIGSTOP)
        with pytest.raises(LinkError):
            pulled_until_lost(run)
        shared.process.send_signal(signal.SIGCONT)
        shots += until_answered(lambda: taken(run.batches(wait_ns=50_000_000)))
        assert len(shots) == run.receiver.n_delivered == 300
        assert run.receiver.n_missing == 0
        assert shots == alone(300, seed=8)


def pulled_until_lost(run):
    while True:
        run.pull(50_000_000)


def alone(n_shots, seed):
    """What a machine of that seed measures where nobody disturbs it, and without a clock."""
    machine = local(seed=3)
    run = machine.begin(machine.load(TEXT), ANGLES, n_shots, seed)
    rows = [row for _ in range(n_shots) for row in run.measure(1)]
    return [int(row[0]) for row in rows]


CLIENT = """
    import sys, time
    from cudaq_target.coupler import ControlClient, connect
    endpoint, text, n_shots, seed, seconds = sys.argv[1:]
    with connect(endpoint, timeout_s=30.0) as link:
        client = ControlClient(link.caller(30.0))
        run = client.run(client.load_program(text), int(n_shots), [1.1], seed=int(seed))
        print("runs", flush=True)
        until, shots = time.monotonic() + float(seconds), []
        for batch in run.batches(wait_ns=20_000_000):
            shots += [str(int(row[0])) for row in batch.rows]
            if time.monotonic() > until:
                run.stop()
        print(",".join(shots), flush=True)
"""


def client_process(controller, n_shots, seed, seconds=60.0):
    words = [controller.endpoint, TEXT, str(n_shots), str(seed), str(seconds)]
    code = textwrap.dedent(CLIENT)
    return subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True)


def test_a_killed_client_leaves_the_machine_to_the_others(shared):
    with connect(shared.endpoint) as link:
        client = client_of(link)
        n_stopped = json.loads(client.specs())["counters"]["stopped"]
        with client_process(shared, 10**6, 1) as lost:
            assert lost.stdout.readline() == "runs\n"
            lost.kill()
        program = client.load_program(TEXT)
        assert len(taken(client.run(program, 50, ANGLES).batches())) == 50
        limit = time.monotonic() + 30.0
        while (specs := json.loads(client.specs()))["queue"]["n_runs"]:
            assert time.monotonic() < limit
            time.sleep(0.05)
        assert specs["counters"]["stopped"] == n_stopped + 1


def test_clients_get_equal_shares_and_their_own_shots(shared):
    seeds = (1, 2, 3)
    clients = [client_process(shared, 10**6, seed, seconds=1.0) for seed in seeds]
    for one in clients:
        assert one.stdout.readline() == "runs\n"
    shots = [list(map(int, one.communicate(timeout=60)[0].split(","))) for one in clients]
    counts = [len(one) for one in shots]
    assert max(counts) < 3 * min(counts)
    assert {one.returncode for one in clients} == {0}
    for seed, mine in zip(seeds, shots, strict=True):
        assert mine == alone(len(mine), seed)


def test_a_stop_saves_shots(shared):
    with connect(shared.endpoint) as link:
        client = client_of(link)
        run = client.run(client.load_program(TEXT), 10_000, ANGLES, window=8, block=4)
        batches = run.batches()
        shots = taken([next(batches)])
        run.stop()
        shots += taken(batches)
        assert run.ended.state is RunState.STOPPED
        assert run.n_measured == len(shots) <= 8 + 8 + 4
        assert run.ended.machine_ns >= run.n_measured * 2_500_000


def test_the_cadence_is_not_exceeded(shared):
    with connect(shared.endpoint) as link:
        client = client_of(link)
        program = client.load_program(TEXT)
        begin_s = time.monotonic()
        assert len(taken(client.run(program, 100, ANGLES).batches())) == 100
        # How much slower it is, is the business of a loaded machine.
        assert time.monotonic() - begin_s >= 98 / 400


def test_pulls_are_answered_while_the_machine_emulates(shared):
    n_qubits = 20
    gates = tuple(Gate("h", (q,), HERE) for q in range(n_qubits))
    gates += tuple(Gate("x", (q + 1,), HERE, controls=(q,)) for q in range(n_qubits - 1))
    large, _ = CircuitTemplate.of(Circuit("large", n_qubits, gates))
    with connect(shared.endpoint) as one, connect(shared.endpoint) as two:
        slow, quick = client_of(one), client_of(two)
        program = quick.load_program(TEXT)
        run = slow.run(slow.load_program(large.to_json()), 10)
        waiting = quick.run(program, 10, ANGLES)
        n_answers = 0
        while waiting.receiver.n_delivered == 0 and run.status().n_measured == 0:
            waiting.pull(1_000_000)
            n_answers += 1
        assert n_answers >= 3
        assert len(taken(run.batches())) == 10
        assert len(taken(waiting.batches())) == 10


def test_it_ends_with_its_parent(tmp_path):
    code = f"""
        import subprocess, sys, os
        process = subprocess.Popen(
            [sys.executable, "-m", "cudaq_target", "serve", "--bind", "ipc://{tmp_path}/c",
             "--json", "--parent", str(os.getpid())], stdout=subprocess.PIPE)
        print(process.stdout.readline().decode(), end="", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        pid = json.loads(parent.stdout.readline())["pid"]
        handle = os.pidfd_open(pid)
        parent.kill()
    limit = time.monotonic() + 30.0
    while True:
        try:
            signal.pidfd_send_signal(handle, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < limit
        time.sleep(0.02)
    os.close(handle)
    assert not (tmp_path / "c").exists()
