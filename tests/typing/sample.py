"""A user's program, as an editor sees it; mypy and pyright say that it is right (never run)."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

from cudaq_target import AnalogProgram, Job, Pasqal, Program, Shots, compile, shots_of, submit  # noqa: A004
from cudaq_target.analog.ansatz import AnalogAnsatz, Shape, analog_ansatz
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.controller import controller
from cudaq_target.coupler import (
    Allocation,
    Answer,
    ControlClient,
    EnergyEstimator,
    FeedbackLoop,
    Histogram,
    Link,
    LoopResult,
    NativeDispatcher,
    Sample,
    Server,
    ShotBatch,
    TransportOptions,
    connect,
    handler,
    serve,
)
from cudaq_target.kernels import (
    DecodingGraph,
    Interval,
    StreamingMean,
    UnionFindDecoder,
    graph_from_checks,
    ising_energies,
    occupation,
    pack_bits,
)
from cudaq_target.loops.controller_process import controller_process
from cudaq_target.loops.drift import DriftResult, track_drift
from cudaq_target.loops.graphs import named_graph
from cudaq_target.loops.mis import MisResult, MisSettings, find_mis
from cudaq_target.loops.program import observed
from cudaq_target.loops.systems import hydrogen
from cudaq_target.loops.vqe import Settings, VqeResult, vqe


def target(kernel: object) -> None:
    """Compile, look inside, keep, and run as a job."""
    with Pasqal(device="MockDevice", seed=7, layout=[[0, 0], [5, 0]]) as chosen:
        assert_type(chosen, Pasqal)
    program = compile(kernel, 4)
    assert isinstance(program, Program)
    assert_type(program.report(), str)
    assert_type(program.bind(5), Program)
    assert_type(Program.from_json(program.to_json()), Program)
    assert_type(program.stats.n_qubits, int)
    program.draw(Path("ghz.png"))
    job = submit(program, 100, machine="local")
    assert_type(job, Job)
    assert_type(Job.load(job.id).result(timeout_s=60.0), Shots)
    assert_type(job.status(), str)


def shots(result: object) -> None:
    """Read shots."""
    kept = shots_of(result)
    assert_type(kept, Shots)
    assert_type(kept.bits(), NDArray[np.uint8])
    assert_type(kept.packed, NDArray[np.uint64])
    assert_type(kept.marginal([1, 0]).counts(), dict[str, int])
    assert_type(kept.n_shots, int)
    mean = StreamingMean(-3.0, 3.0)
    mean.update(ising_energies(kept.packed, kept.n_bits, [(0, 1)], np.ones(1)))
    assert_type(mean.mean, float)
    assert_type(mean.interval(), Interval)
    occupation(kept.packed, kept.n_bits)
    pack_bits(kept.bits())


def analog() -> None:
    """Build an analog program, and a family of them."""
    program = build(AnalogSpec.of([(0, 0), (6, 0)], Waveform([0, 500], [3.0, 3.0])))
    assert_type(program, AnalogProgram)
    assert_type(program.to_json(), str)
    family = analog_ansatz([(0, 0), (6, 0)], 1000, Shape(4), Shape(2))
    assert_type(family, AnalogAnsatz)
    family.bind(np.zeros(len(family.bounds)))


@handler
def parity(bits: NDArray[np.uint8], result: NDArray[np.uint8]) -> int:
    """Answer with the parity of the bits."""
    result[0] = bits.sum() & 1
    return 1


def coupler() -> None:
    """Serve, call, and stream."""
    dispatcher = NativeDispatcher(window=64)
    parity.add_to(dispatcher, "parity", min_arg_bytes=1)
    options = TransportOptions(slot_bytes=256, n_slots=8)
    with serve(dispatcher, "shm://sample", options=options) as server:
        with connect("shm://sample", timeout_s=1.0, options=options) as link:
            assert_type(link, Link)
            answer = link.call("parity", b"\x01", timeout_s=1.0)
            assert_type(answer, Answer)
            assert_type(answer.result, bytes)
        assert_type(server.counters(), dict[str, int])
    times = Histogram()
    times.record([1, 2, 3])
    assert_type(times.percentile(99.0), int)


def on_a_controller(template: str, angles: NDArray[np.float64]) -> int:
    """Load once, then send angles alone."""
    n_shots = 0
    with (
        serve(controller("local", seed=1), "tcp://127.0.0.1:0") as server,
        connect(server.endpoint) as link,
    ):
        assert_type(server, Server)
        client = ControlClient(link.caller(timeout_s=10.0))
        run = client.run(client.load_program(template), 1000, angles, window=64, block=16)
        for batch in run.batches():
            assert_type(batch, ShotBatch)
            n_shots += batch.n_shots
            run.stop()
    return n_shots


def loops(kernel: object) -> None:
    """Run loops that are there, and one of one's own."""
    with controller_process(seed=1) as endpoint:
        assert_type(endpoint, str)
        found = vqe(hydrogen(2), Settings(seed=1), endpoint=endpoint)
        assert_type(found, VqeResult)
        assert_type(found.text(), str)
        sets = find_mis(named_graph("ring"), MisSettings(n_points=5), endpoint=endpoint)
        assert_type(sets, MisResult)
        what = observed(kernel, {"ZZ": 0.5, "XX": 0.25}, [0.6])
        with connect(endpoint) as link:
            estimator = EnergyEstimator(what.groups, what.constant)
            policy = Sample(Allocation(0.01), (0.6,))
            result = FeedbackLoop(link, what.program, estimator, policy).run()
        assert_type(result, LoopResult)
    family = analog_ansatz([(0, 0)], 1000, Shape(2), Shape(2))
    assert_type(track_drift(family), DriftResult)


def decoding(checks: NDArray[np.uint8], observables: NDArray[np.uint8]) -> None:
    """Decode syndromes."""
    graph = graph_from_checks(checks, observables, 0.01)
    assert_type(graph, DecodingGraph)
    UnionFindDecoder(graph)
