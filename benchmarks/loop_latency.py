"""Latency of decisions, and what a step of a feedback loop costs beyond its machine.

Run it with `python -m benchmarks.loop_latency [--quick]`, or as rows of the benchmark `loop`.

Frame to decision: from the call that hands a block of shots to the ring until the decision is back,
in Python, over `shm.Client`; the server in another process evaluates an energy of five qubits with
its rigorous interval in compiled code and applies the rule. The peer is the bare round trip of as
many bytes, both ends native, in turns with it. Overhead of a step: wall time of a loop of many
steps, less what the machine says that it measured, per step; estimator, judgement after every
block, optimiser, controller and link are in it, loading of code is not.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from math import pi
from time import perf_counter_ns
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.closed_loop import native_block, turns
from benchmarks.latency import Counts
from benchmarks.loop_latency_ends import N_QUBITS, SESSION, TERMS
from benchmarks.report import ROOT, Goal, Row, aligned, at_most, cells, progress
from benchmarks.timing import repeated
from cudaq_target.coupler.control_messages import DECIDE, Decision
from cudaq_target.coupler.frame import Status, function_id
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.loops.estimators import EnergyEstimator
from cudaq_target.coupler.loops.loop import FeedbackLoop
from cudaq_target.coupler.loops.policies import Minimise
from cudaq_target.coupler.loops.program import LoopProgram
from cudaq_target.coupler.loops.shot_plans import EarlyStop, FixedShots
from cudaq_target.coupler.payload import BATCH_HEADER_BYTES, ShotBatch
from cudaq_target.coupler.shm import Client, SlotRing
from cudaq_target.coupler.transports.interface import TransportOptions
from cudaq_target.coupler.transports.shared_memory import remove_abandoned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from cudaq_target.coupler.loops.interface import Estimate, Point
    from cudaq_target.coupler.loops.shot_plans import ShotPlan

    Block = Callable[[int], tuple[NDArray[np.int64], Counts]]

DECISION_GOAL = 5.0
OVERHEAD_GOALS_MS = {"shm": 1.0, "ipc": 2.0}
# Transports, and how their clients wait.
_ENDS = (("shm", "adaptive"), ("shm", "yield"), ("ipc", "adaptive"))
_QUICK_ENDS = (("shm", "adaptive"), ("ipc", "adaptive"))
N_SHOTS, BLOCK = 128, 32
_WARM_UPS = 100
PLANS: dict[str, Callable[[], ShotPlan]] = {
    f"{N_SHOTS} shots": lambda: FixedShots(N_SHOTS),
    f"{N_SHOTS} shots judged every {BLOCK}": lambda: EarlyStop(
        half_width=1e-9, max_shots=N_SHOTS, min_shots=2
    ),
}


def rows(quick: bool = False) -> list[Row]:
    """Measure both."""
    sizes = (BLOCK,) if quick else (1, BLOCK)
    return [*decision_rows(quick, sizes), *overhead_rows(quick)]


def decision_rows(quick: bool, sizes: tuple[int, ...]) -> Iterator[Row]:
    """Frame to decision, for single shots and for blocks."""
    n_blocks, n_rounds = (3, 400) if quick else (10, 5_000)
    n_wrong = 0
    for n_shots in sizes:
        progress(f"frame to decision, {n_shots} shots")
        n_bytes = BATCH_HEADER_BYTES + 8 * n_shots
        with decider(n_shots) as end:
            bare = native_block(n_bytes, "busy")
            blocks = {
                "decide": (awake(end, decisions(end.call, n_shots)), n_rounds),
                "echo": (awake(end, echoes(end.call, n_bytes)), n_rounds),
                "bare": (bare, n_rounds),
            }
            found = turns(dict(blocks), n_blocks)  # type: ignore[arg-type]
        n_wrong += sum(samples.counts.n_wrong for samples in found.values())
        ours = found["decide"].distribution
        for peer, label, goal in (
            ("bare", "slot and flag ring, both ends native, same bytes", DECISION_GOAL),
            ("echo", "echo by the same client and server, same bytes", None),
        ):
            theirs = found[peer].distribution
            cost = ours.p50 / theirs.p50
            of = "" if peer == "bare" else ", against echo"
            yield Row(
                name=f"frame to decision, energy of 5 qubits, {n_shots} shots, shm{of}",
                value=ours.p50,
                unit="µs",
                peer=f"{label}: {theirs.p50:.3g} µs",
                ratio=1.0 / cost,
                reach=None if goal is None else at_most(goal),
                holds=None if goal is None else cost <= goal,
                samples=tuple((1e-3 * found["decide"].times_ns).tolist()),
                note=f"{cost:.3g} × the peer. Ours: {ours.spread()}. Peer: {theirs.spread()}.",
            )
    yield Row(
        name="frame to decision, wrong answers",
        value=n_wrong,
        unit="answers",
        reach="<= 0",
        holds=n_wrong == 0,
        is_correctness=True,
    )


class Decider:
    """A server of the estimator handler that polls; stopped while others are timed."""

    def __init__(self, process: subprocess.Popen[str], client: Client) -> None:
        self.process = process
        self.call = client.call


@contextmanager
def decider(n_shots: int) -> Iterator[Decider]:
    """Start a server that decides after every `n_shots`."""
    remove_abandoned("loop-latency-")
    name = f"loop-latency-{os.getpid()}-{time.monotonic_ns()}"
    with process("decide", name, str(n_shots)) as server:
        client = Client(SlotRing.attach(name), wait="busy")
        try:
            yield Decider(server, client)
        finally:
            client.close()


def awake(end: Decider, block: Block) -> Block:
    """Let the server run during its own blocks alone."""

    def run(n_rounds: int) -> tuple[NDArray[np.int64], Counts]:
        end.process.send_signal(signal.SIGCONT)
        gc.disable()
        try:
            return block(n_rounds)
        finally:
            gc.enable()
            end.process.send_signal(signal.SIGSTOP)

    end.process.send_signal(signal.SIGSTOP)
    return run


def decisions(call: Callable[..., tuple[int, bytes]], n_shots: int) -> Block:
    """Hand over blocks of shots one after the other."""
    rng, wanted = np.random.default_rng(n_shots), function_id(DECIDE)
    first = 0

    def run(n_rounds: int) -> tuple[NDArray[np.int64], Counts]:
        nonlocal first
        times, n_wrong = np.empty(n_rounds, dtype=np.int64), 0
        for k in range(-_WARM_UPS, n_rounds):
            shots = rng.integers(0, 1 << N_QUBITS, (n_shots, 1)).astype(np.uint64)
            payload = ShotBatch(SESSION, first, N_QUBITS, shots).to_bytes()
            first += n_shots
            start = perf_counter_ns()
            status, result = call(wanted, payload)
            stop = perf_counter_ns()
            decision = Decision.from_bytes(result)
            n_wrong += status != Status.OK or decision is None or decision.is_stop
            if k >= 0:
                times[k] = stop - start
        return times, Counts(n_rounds, n_rounds, n_rounds - n_wrong, payload_errors=n_wrong)

    return run


def echoes(call: Callable[..., tuple[int, bytes]], n_bytes: int) -> Block:
    """Get as many bytes back."""
    payload, wanted = np.random.default_rng(n_bytes).bytes(n_bytes), function_id("echo")

    def run(n_rounds: int) -> tuple[NDArray[np.int64], Counts]:
        times, n_wrong = np.empty(n_rounds, dtype=np.int64), 0
        for k in range(-_WARM_UPS, n_rounds):
            start = perf_counter_ns()
            status, result = call(wanted, payload)
            stop = perf_counter_ns()
            n_wrong += status != Status.OK or bytes(result) != payload
            if k >= 0:
                times[k] = stop - start
        return times, Counts(n_rounds, n_rounds, n_rounds - n_wrong, payload_errors=n_wrong)

    return run


class Walk:
    """Asks for one point after the other, without a search."""

    def __init__(self, n_points: int, n_parameters: int) -> None:
        self._rng = np.random.default_rng(1)
        self._n_left = n_points
        self._n_parameters = n_parameters
        self.best: tuple[Point, Estimate] | None = None

    def ask(self) -> Point | None:
        """The next point."""
        if self._n_left == 0:
            return None
        self._n_left -= 1
        return tuple(self._rng.uniform(-pi, pi, self._n_parameters).tolist())

    def tell(self, point: Point, estimate: Estimate) -> None:
        """Remember the point."""
        self.best = point, estimate


def overhead_rows(quick: bool) -> Iterator[Row]:
    """Wall time of a step, less the machine's own."""
    n_blocks, n_steps = (2, 20) if quick else (10, 100)
    for kind in ("canned",) if quick else ("canned", "emulator"):
        for transport, wait in _QUICK_ENDS if quick else _ENDS:
            goal_ms = OVERHEAD_GOALS_MS[transport]
            place = transport if wait == "adaptive" else f"{transport}, client that yields"
            progress(f"overhead of a step, {kind} machine, {place}")
            with stepper(kind, transport, wait) as overhead_ms:
                for title, make in PLANS.items():
                    overhead_ms(make(), 10)
                    taken = repeated(lambda make=make: overhead_ms(make(), n_steps), n_blocks)
                    value = float(np.median(taken))
                    yield Row(
                        name=f"loop overhead per step, 5 qubits, {title}, {kind} machine, {place}",
                        value=value,
                        unit="ms",
                        reach=str(Goal(goal_ms)),
                        holds=Goal(goal_ms).met_by(value),
                        samples=taken,
                        note="wall time less the machine's own, per step",
                    )


@contextmanager
def stepper(
    kind: str, transport: str, wait: str = "adaptive"
) -> Iterator[Callable[[ShotPlan, int], float]]:
    """Start a machine; gives what measures the overhead of a step (ms) in a loop of so many."""
    remove_abandoned("loop-latency-")
    text, n_parameters = program_of(kind)
    program = LoopProgram((text,), N_QUBITS)
    with tempfile.TemporaryDirectory(prefix="loop-") as folder:
        name = f"loop-latency-{os.getpid()}-{time.monotonic_ns()}"
        place = f"shm://{name}" if transport == "shm" else f"ipc://{folder}/s"
        options = TransportOptions(wait=wait)
        with process(kind, place) as server, connect(place, options=options) as link:

            def overhead_ms(plan: ShotPlan, n_steps: int) -> float:
                busy_ns(server)
                policy = Minimise(Walk(n_steps, n_parameters), plan)
                loop = FeedbackLoop(
                    link, program, EnergyEstimator(TERMS), policy, block=BLOCK, timeout_s=30.0
                )
                result = loop.run()
                assert len(result.steps) == n_steps
                return (1e3 * result.seconds - 1e-6 * busy_ns(server)) / n_steps

            yield overhead_ms


def program_of(kind: str) -> tuple[str, int]:
    """A program of five qubits, and the number of its parameters."""
    if kind == "canned":
        return "canned", N_QUBITS
    from cudaq_target.circuit import Circuit, Gate  # noqa: PLC0415 - not for the other machine
    from cudaq_target.errors import Source  # noqa: PLC0415
    from cudaq_target.template import CircuitTemplate  # noqa: PLC0415

    source = Source("ansatz")
    turns_of = [Gate("ry", (k,), source, params=(0.5,)) for k in range(N_QUBITS)]
    links = [Gate("x", (k + 1,), source, controls=(k,)) for k in range(N_QUBITS - 1)]
    template, angles = CircuitTemplate.of(Circuit("ansatz", N_QUBITS, (*turns_of, *links)))
    return template.to_json(), len(angles)


def busy_ns(server: subprocess.Popen[str]) -> int:
    """How long the machine measured since it was asked last (ns)."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("\n")
    server.stdin.flush()
    return int(json.loads(server.stdout.readline())["busy_ns"])


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start one of `loop_latency_ends`, and end it."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.loop_latency_ends", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline(), "the other end did not start"
        yield server
    finally:
        server.send_signal(signal.SIGCONT)
        try:
            server.communicate(timeout=5.0)
        except subprocess.TimeoutExpired:
            server.kill()
            server.communicate()


if __name__ == "__main__":
    found = rows("--quick" in sys.argv)
    sys.stdout.write(aligned([cells(row.public()) for row in found]) + "\n")
