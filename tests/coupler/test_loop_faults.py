"""Loops and controllers in processes of their own: killed, frozen, restarted, interrupted."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from cudaq_target.coupler.errors import StreamLostError
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.link_errors import LinkError
from cudaq_target.coupler.loops.estimators import FrequencyEstimator
from cudaq_target.coupler.loops.loop import FeedbackLoop, replay_loop
from cudaq_target.coupler.loops.policies import Sample
from cudaq_target.coupler.loops.program import LoopProgram
from cudaq_target.coupler.loops.shot_plans import EarlyStop, FixedShots
from tests.coupler.ends import ROOT, endpoint_of, freeze

PATIENCE_S = 60.0
SLOW = LoopProgram((json.dumps({"n_bits": 1, "bias": 0.5, "delay_s": 0.002}),), 1)


class Controller:
    """`loop_machine.py` in a process of its own."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.coupler.loop_machine", self.endpoint],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert json.loads(self.process.stdout.readline())["endpoint"] == self.endpoint

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def restart(self):
        self.kill()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        try:
            self.process.communicate(timeout=10.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        if self.endpoint.startswith("shm://"):
            name = self.endpoint.removeprefix("shm://")
            Path(f"/dev/shm/cudaq-target-{name}").unlink(missing_ok=True)


BOTH = pytest.mark.parametrize("controller", ["shm", "ipc"], indirect=True)
RING = pytest.mark.parametrize("controller", ["shm"], indirect=True)
SOCKET = pytest.mark.parametrize("controller", ["ipc"], indirect=True)


@pytest.fixture
def controller(request, tmp_path):
    with Controller(endpoint_of(request.param, tmp_path)) as one:
        yield one


def after_some_shots(loop_events, act):
    """Act in another thread once shots have come; gives the thread."""
    seen = threading.Event()

    def on_event(event):
        loop_events.append(event)
        if event["event"] == "batch":
            seen.set()

    def wait():
        assert seen.wait(PATIENCE_S)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return on_event, thread


def fixed(n_shots):
    """A run of a known number of shots that is looked at all the time."""

    class Looking(FixedShots):
        def next(self, estimate):
            share = super().next(estimate)
            return share and share._replace(block=8)

    return Sample(Looking(n_shots))


@contextmanager
def disturbed(controller, act, n_shots, **given):
    """A loop of slow shots in the midst of which a controller is acted upon; and its events."""
    events = []
    on_event, thread = after_some_shots(events, act)
    with connect(controller.endpoint) as link:
        given = {"patience_s": PATIENCE_S} | given
        estimator = FrequencyEstimator(1)
        yield FeedbackLoop(link, SLOW, estimator, fixed(n_shots), events=on_event, **given), events
    thread.join()


def accounts_hold(result):
    return result.n_used + result.n_discarded + result.n_lost == result.n_measured


@BOTH
def test_a_controller_that_is_killed_and_restarted_delays_the_loop(controller, tmp_path):
    record = tmp_path / "record"
    restarts = disturbed(controller, controller.restart, 200, record=record, timeout_s=0.5)
    with restarts as (loop, events):
        result = loop.run()
    assert result.status == "done"
    assert result.n_used == result.estimate.n_shots == 200
    assert accounts_hold(result)
    assert result.counters["retried_runs"] == 1
    assert result.n_faults >= 1
    faults = [event for event in events if event["event"] == "fault"]
    assert len(faults) == result.n_faults
    assert all(event["recovered"] for event in faults)
    assert "StreamLostError" in {event["error"] for event in faults}
    again = replay_loop(record, FrequencyEstimator(1), fixed(200))
    assert dataclasses.replace(again, rtt_ns=None) == dataclasses.replace(result, rtt_ns=None)


@RING
def test_a_controller_that_stays_away_ends_the_loop(controller):
    stays_away = disturbed(controller, controller.kill, 3000, timeout_s=0.2, patience_s=1.0)
    with stays_away as (loop, events), pytest.raises(LinkError):
        loop.run()
    result = loop.result
    assert result.status == "failed"
    assert 0 < result.n_used < 3000
    assert accounts_hold(result)
    assert [event["recovered"] for event in events if event["event"] == "fault"][-1] is False
    assert events[-1]["event"] == "end"


@SOCKET
def test_a_run_is_not_repeated_for_ever(controller):
    restarts = disturbed(controller, controller.restart, 3000, timeout_s=0.5, max_retries=0)
    with restarts as (loop, _), pytest.raises(StreamLostError):
        loop.run()
    assert accounts_hold(loop.result)


@SOCKET
def test_a_frozen_controller_delays_the_loop(controller):
    def pause():
        freeze(controller.process.pid)
        time.sleep(0.6)
        controller.process.send_signal(signal.SIGCONT)

    with disturbed(controller, pause, 200, timeout_s=0.2) as (loop, _):
        result = loop.run()
    assert result.status == "done"
    assert result.n_used == 200
    assert accounts_hold(result)
    assert result.n_faults >= 1


@pytest.mark.parametrize(
    ("controller", "decide"), [("shm", False), ("ipc", True)], indirect=["controller"]
)
def test_ctrl_c_leaves_nothing_behind(controller, tmp_path, decide):
    place = f"shm://test-decide-{os.getpid()}-{int(controller.endpoint.startswith('shm'))}"
    arguments = [controller.endpoint, str(tmp_path), "0.002", *([place] if decide else [])]
    loop = subprocess.Popen(
        [sys.executable, "-m", "tests.coupler.loop_process", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        while json.loads(line := loop.stdout.readline())["event"] != "batch":
            assert line
        loop.send_signal(signal.SIGINT)
        said = [json.loads(line) for line in loop.communicate(timeout=PATIENCE_S)[0].splitlines()]
    finally:
        loop.kill()
        loop.wait()
    assert said[-1] == {"event": "interrupt", "status": "interrupted"}
    assert said[-2]["status"] == "interrupted"
    assert said[-2]["n_used"] > 0
    assert loop.returncode == 0
    name = place.removeprefix("shm://")
    assert not Path(f"/dev/shm/cudaq-target-{name}").exists()
    # The run is stopped: the machine is free for the next loop, at once.
    with connect(controller.endpoint) as link:
        policy = Sample(FixedShots(20))
        result = FeedbackLoop(link, SLOW, FrequencyEstimator(1), policy).run()
    assert result.n_measured == result.n_used == 20
    # What was recorded before the interrupt is repeated.
    policy = Sample(EarlyStop(half_width=1e-3, max_shots=100_000))
    again = replay_loop(tmp_path / "record", FrequencyEstimator(1), policy)
    assert again.status == "interrupted"
