"""Feedback loops against a controller over real links: decisions, accounts, records, errors."""

from __future__ import annotations

import dataclasses
import json
import os
import threading

import numpy as np
import pytest

from cudaq_target.coupler.control_client import ControlClient, over_link
from cudaq_target.coupler.errors import RecordingError, RemoteCallError
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.loops.errors import (
    ExperimentError,
    LoopRecordError,
    LoopUsedError,
    MachineFailedError,
    ProgramWidthError,
    ReplayError,
    UndecidableError,
)
from cudaq_target.coupler.loops.estimators import (
    CostEstimator,
    EnergyEstimator,
    FrequencyEstimator,
)
from cudaq_target.coupler.loops.events import read_events
from cudaq_target.coupler.loops.interface import Experiment
from cudaq_target.coupler.loops.loop import FeedbackLoop, replay_loop
from cudaq_target.coupler.loops.policies import Minimise, Sample
from cudaq_target.coupler.loops.program import LoopProgram
from cudaq_target.coupler.loops.shot_functions import ising_values
from cudaq_target.coupler.loops.shot_plans import Allocation, EarlyStop, FixedShots
from cudaq_target.coupler.loops.tail import TailEstimator
from cudaq_target.coupler.server import serve
from tests.coupler.loop_machine import CoinMachine

N_BITS = 3


def text(n_bits=N_BITS, **settings):
    return json.dumps({"n_bits": n_bits, **settings})


def two_settings():
    """Two programs of coins, with an angle of their own each."""
    return LoopProgram((text(bias=0.1), text(bias=0.7)), N_BITS, names=("t",))


def energy(interval="anytime"):
    terms = {"ZII": 0.5, "IZZ": 0.2, "XII": 1.0}
    return EnergyEstimator(terms, interval=interval)


class Ladder:
    """An optimiser that climbs down fixed points and wants to know each one better."""

    def __init__(self, points):
        self._points = [(float(p),) for p in points]
        self._next = 0
        self.told = []

    def ask(self):
        if self._next == len(self._points):
            return None
        self._next += 1
        return self._points[self._next - 1]

    def tell(self, point, estimate):
        self.told.append((point, estimate))

    def target_error(self, point):
        assert point == self._points[self._next - 1]
        return 0.2 / self._next

    @property
    def best(self):
        return min(self.told, key=lambda one: one[1].value) if self.told else None


@pytest.fixture(scope="module", params=["shm", "ipc"])
def place(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("loop")
    folder.chmod(0o700)
    name = f"shm://test-loop-{os.getpid()}" if request.param == "shm" else f"ipc://{folder}/s"
    with serve(CoinMachine(), name):
        yield name


@pytest.fixture
def link(place):
    with connect(place) as one:
        yield one


def minimise():
    return Minimise(Ladder([0.3, 1.0, 2.0, 3.1]), Allocation(), final=Allocation(0.02))


def same(one, other):
    """Compare all of two results but times, and shots measured behind a stop."""

    def strip(result):
        steps = [
            dataclasses.replace(s, n_measured=0, n_saved=0, seconds=0, machine_seconds=0)
            for s in result.steps
        ]
        return (
            result.status,
            result.result,
            result.estimate,
            steps,
            result.n_runs,
            result.n_used,
            result.n_lost,
        )

    return strip(one) == strip(other)


def test_equal_seeds_give_equal_loops_and_others_do_not(link):
    first, second, other = (
        FeedbackLoop(link, two_settings(), energy(), minimise(), seed=seed, block=16).run()
        for seed in (5, 5, 6)
    )
    assert first.steps[0].estimate.value != other.steps[0].estimate.value
    assert first.n_used == second.n_used
    assert [s.estimate for s in first.steps] == [s.estimate for s in second.steps]
    assert first.result == second.result


def test_every_shot_is_used_discarded_or_lost(link, tmp_path):
    events = tmp_path / "events"
    loop = FeedbackLoop(link, two_settings(), energy(), minimise(), block=16, events=events)
    steps = list(loop)
    result = loop.result
    assert result.status == "done"
    assert result.n_used + result.n_discarded + result.n_lost == result.n_measured
    assert result.n_used == sum(step.n_used for step in steps)
    assert result.n_measured == sum(step.n_measured for step in steps)
    assert result.n_used == sum(step.estimate.n_shots for step in steps)
    assert len(steps) == 5  # four points, and the best one again
    assert result.result.n_points == 4
    assert result.estimate == steps[-1].estimate
    assert result.result.estimate == steps[-1].estimate
    written = list(read_events(events))
    assert [one["event"] for one in written if one["event"] != "batch"] == [
        "start",
        *["step"] * 5,
        "end",
    ]
    blocks = sum(one["n_shots"] for one in written if one["event"] == "batch")
    assert blocks <= result.n_used
    assert written[0]["machine"]["name"] == "coins"
    assert written[0]["policy"] == "Minimise(Ladder, Allocation)"
    assert written[-1]["status"] == "done"
    assert written[-1]["value"] == result.estimate.value


def test_targets_tighten_from_point_to_point(link):
    result = FeedbackLoop(link, two_settings(), energy(), minimise(), block=8).run()
    for step, target in zip(result.steps, (0.2, 0.1, 0.2 / 3, 0.05, 0.02), strict=True):
        pairs = zip(step.estimate.deviations, step.estimate.n_shots_by_setting, strict=True)
        assert sum(d * d / n for d, n in pairs) <= target**2
    n_shots = [step.n_used for step in result.steps]
    assert n_shots[0] < n_shots[3] < n_shots[4]


def test_the_estimate_is_that_of_the_machine(link):
    angle = 1.2
    policy = Sample(Allocation(0.01), (angle,))
    result = FeedbackLoop(link, two_settings(), energy("normal"), policy).run()
    # Greedily XII (largest weight) takes IZZ along, ZII is alone.
    first, second = np.cos(angle + 0.2), np.cos(angle + 1.4)
    exact = first + 0.2 * first**2 + 0.5 * second
    assert abs(result.estimate.value - exact) < 5 * result.estimate.standard_error
    assert result.estimate.standard_error < 0.0105


@pytest.mark.parametrize("block", [1, 7, 32])
def test_decisions_come_after_exactly_every_block(link, block):
    seen = []

    class Watching(Sample):
        def judge(self, estimate):
            seen.append(estimate.n_shots)
            return estimate.n_shots >= 3 * block

    program = LoopProgram((text(1, bias=0.6),), 1)
    plan = EarlyStop(half_width=1e-3, min_shots=2, max_shots=500)
    estimator = FrequencyEstimator(1)
    policy = Watching(plan)
    loop = FeedbackLoop(link, program, estimator, policy, block=block)
    step = next(iter(loop))
    assert seen[:3] == [block, 2 * block, 3 * block]
    assert all(n % block == 0 for n in seen)  # each run begins with a whole block
    assert step.n_measured >= step.n_used == step.estimate.n_shots


def test_a_stop_saves_the_shots_behind_it(link):
    program = LoopProgram((text(1, bias=0.6),), 1)
    policy = Sample(EarlyStop(half_width=0.2, max_shots=50_000))
    result = FeedbackLoop(link, program, FrequencyEstimator(1), policy, block=32).run()
    assert result.n_used < 1000
    assert result.n_measured <= result.n_used + 2 * 32
    assert result.n_saved == 50_000 - result.n_measured


@pytest.mark.parametrize("kind", ["energy", "cost", "tail", "frequency"])
def test_a_replay_is_bit_identical(link, tmp_path, kind):
    def parts():
        if kind == "energy":
            return energy(), minimise(), two_settings()
        cost = ising_values(N_BITS, [(0, 1), (1, 2)], [1.0, -0.5], [0.1, 0.0, 0.3])
        estimator = {
            "cost": lambda: CostEstimator(cost),
            "tail": lambda: TailEstimator(cost, 0.25),
            "frequency": lambda: FrequencyEstimator(N_BITS, [0, 2]),
        }[kind]()
        policy = Sample(EarlyStop(half_width=0.3, max_shots=3000), (0.8,))
        return estimator, policy, LoopProgram((text(),), N_BITS)

    estimator, policy, program = parts()
    path = tmp_path / "record"
    result = FeedbackLoop(link, program, estimator, policy, block=16, record=path).run()
    estimator, policy, _ = parts()
    steps = []
    again = replay_loop(path, estimator, policy, on_step=steps.append)
    assert dataclasses.replace(again, rtt_ns=None) == dataclasses.replace(result, rtt_ns=None)
    assert tuple(steps) == result.steps


def test_a_replay_with_other_parts_says_what_differs(link, tmp_path):
    path = tmp_path / "record"
    program = LoopProgram((text(1),), 1)
    policy = Sample(EarlyStop(half_width=0.2, max_shots=3000), (0.8,))
    FeedbackLoop(link, program, FrequencyEstimator(1), policy, record=path).run()
    with pytest.raises(ReplayError, match="decisions"):
        replay_loop(
            path, FrequencyEstimator(1), Sample(EarlyStop(half_width=0.1, max_shots=3000), (0.8,))
        )
    with pytest.raises(ReplayError, match="experiment"):
        replay_loop(path, FrequencyEstimator(1), Sample(FixedShots(7), (0.8,)))
    estimator = FrequencyEstimator(1, confidence=0.9)
    with pytest.raises(ReplayError):
        replay_loop(path, estimator, Sample(EarlyStop(half_width=0.2, max_shots=3000), (0.8,)))
    with pytest.raises(RecordingError):
        FeedbackLoop(link, program, FrequencyEstimator(1), Sample(FixedShots(1)), record=path).run()
    (tmp_path / "text").write_text("no record")
    with pytest.raises(RecordingError):
        replay_loop(tmp_path / "text", FrequencyEstimator(1), Sample(FixedShots(1)))


def test_a_record_that_was_cut_is_replayed_as_far_as_it_goes(link, tmp_path):
    path, cut = tmp_path / "record", tmp_path / "cut"
    program = two_settings()
    whole = FeedbackLoop(link, program, energy(), minimise(), block=16, record=path).run()
    content = path.read_bytes()
    cut.write_bytes(content[: len(content) * 2 // 3])
    part = replay_loop(cut, energy(), minimise())
    assert part.status == "cut"
    assert 0 < part.n_runs < whole.n_runs
    assert part.steps[:-1] == whole.steps[: len(part.steps) - 1]
    cut.write_bytes(content[:24])
    with pytest.raises(LoopRecordError):
        replay_loop(cut, energy(), minimise())


def test_stop_from_another_thread_ends_the_loop(link, tmp_path):
    program = LoopProgram((text(1, delay_s=0.002),), 1)
    policy = Sample(EarlyStop(half_width=1e-3))
    path = tmp_path / "record"
    seen = threading.Event()
    loop = FeedbackLoop(
        link,
        program,
        FrequencyEstimator(1),
        policy,
        block=4,
        record=path,
        events=lambda event: seen.set() if event["event"] == "batch" else None,
    )
    stopper = threading.Thread(target=lambda: (seen.wait(30.0), loop.stop()))
    stopper.start()
    result = loop.run()
    stopper.join()
    assert result.status == "stopped"
    assert 0 < result.n_used < 1000
    assert result.n_used + result.n_discarded == result.n_measured
    again = replay_loop(path, FrequencyEstimator(1), Sample(EarlyStop(half_width=1e-3)))
    assert dataclasses.replace(again, rtt_ns=None) == dataclasses.replace(result, rtt_ns=None)
    # The machine is free at once.
    after = Sample(FixedShots(10))
    assert FeedbackLoop(link, program, FrequencyEstimator(1), after).run().n_used == 10


def test_leaving_the_iteration_ends_the_loop(link):
    loop = FeedbackLoop(link, two_settings(), energy(), minimise())
    for _ in loop:
        break
    assert loop.result.status == "stopped"
    assert len(loop.result.steps) == 1
    with pytest.raises(LoopUsedError):
        loop.run()


def test_two_loops_share_a_controller(place, link):
    if place.startswith("shm"):
        pytest.skip("a ring serves one client")
    results = {}

    def second():
        with connect(place) as other:
            loop = FeedbackLoop(other, two_settings(), energy(), minimise(), seed=2)
            results[2] = loop.run()

    thread = threading.Thread(target=second)
    thread.start()
    results[1] = FeedbackLoop(link, two_settings(), energy(), minimise(), seed=1).run()
    thread.join()
    for seed, result in results.items():
        alone = FeedbackLoop(link, two_settings(), energy(), minimise(), seed=seed).run()
        assert same(alone, result)


def test_a_client_is_a_link_too(link):
    client = ControlClient(over_link(link), slot_bytes=link.slot_bytes)
    policy = Sample(FixedShots(700), (np.pi,))
    result = FeedbackLoop(client, LoopProgram((text(1),), 1), FrequencyEstimator(1), policy).run()
    assert result.estimate.value == 1.0
    assert result.n_used == result.n_measured == 700


def test_experiments_that_make_no_sense_are_refused_before_anything_is_sent(link):
    program = LoopProgram((text(1),), 1)

    class Asking:
        def __init__(self, experiment):
            self.experiment = experiment

        def ask(self):
            return self.experiment

        def judge(self, _):
            return False

        def tell(self, _):
            self.experiment = None

        def result(self):
            return None

    cases = [
        (Experiment((float("nan"),), max_shots=1), "parameters"),
        (Experiment((), max_shots=1, setting=1), "settings 0 to 0"),
        (Experiment((), max_shots=0), "max_shots is 0"),
        (Experiment((), max_shots=1, begins=False), "point"),
    ]
    for experiment, expected in cases:
        loop = FeedbackLoop(link, program, FrequencyEstimator(1), Asking(experiment))
        with pytest.raises(ExperimentError, match=expected):
            loop.run()
        assert loop.result.status == "failed"
        assert loop.result.n_measured == 0
    with pytest.raises(ExperimentError, match="settings"):
        FeedbackLoop(link, program, energy(), Sample(FixedShots(1)))
    with pytest.raises(ExperimentError, match="block"):
        FeedbackLoop(link, program, FrequencyEstimator(1), Sample(FixedShots(1)), block=0)


def test_refusals_and_failures_end_the_loop_with_their_error(link):
    def loop_of(program, n_bits=1, point=(0.5,)):
        plan = EarlyStop(half_width=1e-3)
        loop = LoopProgram((program,), n_bits)
        return FeedbackLoop(link, loop, FrequencyEstimator(n_bits), Sample(plan, point))

    with pytest.raises(RemoteCallError, match="no program of coins"):
        loop_of("{").run()
    with pytest.raises(RemoteCallError, match="2 are needed"):
        loop_of(text(1, n_parameters=2)).run()
    with pytest.raises(ProgramWidthError, match="2 bits per shot"):
        loop_of(text(2)).run()
    broken = loop_of(text(1, fail_after=100))
    with pytest.raises(MachineFailedError, match="the laser went out"):
        broken.run()
    result = broken.result
    assert result.status == "failed"
    assert result.n_used + result.n_discarded + result.n_lost == result.n_measured >= 100
    # The machine goes on with the next loop.
    assert loop_of(text(1), point=(0.1,)) is not None
    policy = Sample(FixedShots(5))
    after = FeedbackLoop(link, LoopProgram((text(1),), 1), FrequencyEstimator(1), policy)
    assert after.run().n_used == 5


def test_an_error_of_the_policy_stops_the_run(link):
    class Failing(Sample):
        def judge(self, _):
            raise ZeroDivisionError("on purpose")

    program = LoopProgram((text(1, delay_s=0.001),), 1)
    loop = FeedbackLoop(link, program, FrequencyEstimator(1), Failing(EarlyStop(half_width=0.01)))
    with pytest.raises(ZeroDivisionError):
        loop.run()
    assert loop.result.status == "failed"
    assert loop.result.n_used + loop.result.n_discarded == loop.result.n_measured
    policy = Sample(FixedShots(5))
    assert FeedbackLoop(link, program, FrequencyEstimator(1), policy).run().n_used == 5


@pytest.mark.parametrize("transport", ["shm", "ipc"])
@pytest.mark.parametrize("interval", ["anytime", "normal"])
def test_decisions_without_python_are_those_of_python(link, tmp_path, transport, interval):
    tmp_path.chmod(0o700)
    where = f"shm://test-decide-{os.getpid()}" if transport == "shm" else f"ipc://{tmp_path}/d"
    there = FeedbackLoop(
        link, two_settings(), energy(interval), minimise(), block=16, decide=where
    ).run()
    here = FeedbackLoop(link, two_settings(), energy(interval), minimise(), block=16).run()
    assert same(there, here)
    assert there.n_discarded == there.n_lost == 0  # the machine asks before it measures on


def test_what_compiled_code_cannot_decide_is_refused(link):
    program = LoopProgram((text(1),), 1)
    tail = TailEstimator(ising_values(1, [], [], [1.0]), 0.5)
    with pytest.raises(UndecidableError, match="estimator"):
        FeedbackLoop(link, program, tail, Sample(FixedShots(1)), decide="shm://test-no")

    class Own(Sample):
        def judge(self, _):
            return False

    with pytest.raises(UndecidableError, match="policy"):
        FeedbackLoop(link, program, FrequencyEstimator(1), Own(FixedShots(1)), decide="shm://no")
