"""The other ends of `loop_latency`, in processes of their own.

`python -m benchmarks.loop_latency_ends decide NAME N_SHOTS` serves `echo` in a ring, and the
estimator handler, which decides after every N_SHOTS; `... canned ENDPOINT` serves a machine whose
shots are drawn beforehand, `... emulator ENDPOINT` the local emulator. Each says on a line that it
is there, and serves until its input ends. The machines say on each line of input how long they
measured (ns) since the line before.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cudaq_target.coupler.loops.decide import DecisionState, decision_handler
from cudaq_target.coupler.loops.estimators import EnergyEstimator
from cudaq_target.coupler.loops.intake import Intake
from cudaq_target.coupler.loops.interface import Experiment
from cudaq_target.coupler.loops.policies import Sample
from cudaq_target.coupler.loops.shot_plans import FixedShots
from cudaq_target.coupler.loops.tallies import Rule
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shm import Dispatcher
from cudaq_target.coupler.transports.interface import TransportOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cudaq_target.coupler.machine import LazyMachine, LazyRun

N_QUBITS = 5
TERMS = {"ZZIII": 0.5, "IZZII": 0.2, "IIZZI": 0.3, "IIIZZ": 0.1, "ZIIII": 0.1}
SESSION = 7
MAX_ROWS = 64


class CannedRun:
    """The first shots of a run, every time."""

    n_qubits = N_QUBITS
    is_computed = True

    def __init__(self, shots: NDArray[np.uint64]) -> None:
        self._shots = shots

    def measure(self, n_shots: int) -> NDArray[np.uint64]:
        return self._shots[:n_shots]

    def close(self) -> None:
        """Nothing to give back."""


class CannedMachine:
    """Measures in no time."""

    granularity: Literal["shot", "job"] = "shot"
    cadence_hz: float | None = None

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self._shots = rng.integers(0, 1 << N_QUBITS, (4096, 1)).astype(np.uint64)

    def specs(self) -> str:
        return json.dumps({"name": "canned"})

    def load(self, program: str) -> object:
        return program

    def begin(self, _: object, __: NDArray[np.float64], ___: int, ____: int) -> CannedRun:
        return CannedRun(self._shots)


class TimedMachine:
    """A machine that notes how long it takes to begin and to measure."""

    def __init__(self, machine: LazyMachine) -> None:
        self._machine = machine
        self.granularity = machine.granularity
        self.cadence_hz = machine.cadence_hz
        self.specs, self.load = machine.specs, machine.load
        self.busy_ns = 0

    def begin(
        self, program: object, parameters: NDArray[np.float64], n_shots: int, seed: int
    ) -> TimedRun:
        start_ns = perf_counter_ns()
        run = self._machine.begin(program, parameters, n_shots, seed)
        self.busy_ns += perf_counter_ns() - start_ns
        return TimedRun(self, run)


class TimedRun:
    """A run whose machine notes its time."""

    def __init__(self, machine: TimedMachine, run: LazyRun) -> None:
        self._machine = machine
        self._run = run
        self.close = run.close
        self.is_computed = getattr(run, "is_computed", False)

    @property
    def n_qubits(self) -> int:
        return self._run.n_qubits

    def measure(self, n_shots: int) -> NDArray[np.uint64]:
        start_ns = perf_counter_ns()
        rows = self._run.measure(n_shots)
        self._machine.busy_ns += perf_counter_ns() - start_ns
        return rows


def decide(name: str, n_shots: int) -> None:
    """Serve the handler; its rule is never met, so that every block is worked on in full."""
    estimator = EnergyEstimator(TERMS)
    state = DecisionState(estimator, N_QUBITS, MAX_ROWS)
    intake = Intake(estimator, Sample(FixedShots(1)), 1)
    rule = Rule(target_error=1e-12, half_width=1e-12)
    state.arm(SESSION, Experiment((), max_shots=1 << 60), n_shots, rule, intake)
    dispatcher = Dispatcher()
    dispatcher.add_builtin("echo")
    decision_handler().add_to(dispatcher, "decide", state=state.words.view(np.uint8))
    with serve(dispatcher, f"shm://{name}", options=TransportOptions(wait="busy")):
        say({"ready": True})
        sys.stdin.read()


def machine(kind: str, endpoint: str) -> None:
    """Serve a machine."""
    what: Any = CannedMachine()
    if kind == "emulator":
        from cudaq_target.controller import controller  # noqa: PLC0415 - CUDA-Q is slow to load

        what = controller("local", seed=1)
    timed = TimedMachine(what)
    with serve(timed, endpoint):
        say({"ready": True})
        for _ in sys.stdin:
            say({"busy_ns": timed.busy_ns})
            timed.busy_ns = 0


def say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "decide":
        decide(sys.argv[2], int(sys.argv[3]))
    else:
        machine(*sys.argv[1:])
