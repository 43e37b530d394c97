"""What a step of a loop costs beyond its machine, over qubits, Pauli terms and settings.

Run it with `python -m benchmarks.run scaling-loop [--quick] [--json] [--output FILE]`.

As in `loop_latency`: wall time of a loop, less what the machine says that it measured, per step.
The machine has its shots drawn beforehand; it is another process over `shm` and `ipc`, and a thread
of the loop's own process, over `shm`, where the case is called `inproc`. A step takes 128 shots of
every setting. Over qubits the observable is a chain of n - 1 terms ZZ; over terms it is so many
products of Z on ten qubits, all in one setting; over settings it is one term in each of so many
bases, each a run of its own. The energy of every step is compared with that of the shots.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.latency import rounded
from benchmarks.loop_latency import Walk, busy_ns
from benchmarks.loop_latency_ends import CannedMachine, TimedMachine, say
from benchmarks.report import Measurement, Row, progress
from benchmarks.scaling_coupler import hear, process
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.loops.estimators import EnergyEstimator
from cudaq_target.coupler.loops.loop import FeedbackLoop
from cudaq_target.coupler.loops.policies import Minimise
from cudaq_target.coupler.loops.program import LoopProgram
from cudaq_target.coupler.loops.shot_plans import FixedShots
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.transports.shared_memory import remove_abandoned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from benchmarks.report import Section
    from cudaq_target.coupler.link import Link

    Busy = Callable[[], int]

PLACES = ("inproc", "shm", "ipc")
QUBITS = (2, 4, 6, 8, 10, 12, 14, 16)
TERMS_QUBITS = 10
TERMS = (1, 4, 16, 64, 256, 1023)
SETTINGS = (1, 2, 4, 8, 16)
N_SHOTS = 128
ERROR_GOAL = 1e-12
_PREFIX = "scaling-loop-"
_SEED = 5


def measured(quick: bool = False) -> Measurement:
    """Measure everything."""
    n_blocks, n_steps = (2, 10) if quick else (7, 60)
    every = cases(QUBITS[::7], TERMS[::5], SETTINGS[:2]) if quick else cases()
    lines = [line for place in PLACES for line in place_lines(place, every, n_blocks, n_steps)]
    rows = [row for over in ("qubits", "terms", "settings") for row in figure_rows(over, lines)]
    return Measurement((*rows, error_row(lines)), {"loop_steps": lines})


def cases(
    qubits: Sequence[int] = QUBITS,
    terms: Sequence[int] = TERMS,
    settings: Sequence[int] = SETTINGS,
) -> list[tuple[str, int, dict[str, float]]]:
    """What varies, its value, and the observable."""
    return [
        *(("qubits", n, chain(n)) for n in qubits),
        *(("terms", n, products_of_z(n)) for n in terms),
        *(("settings", n, bases(n)) for n in settings),
    ]


def chain(n_qubits: int) -> dict[str, float]:
    """ZZ on every pair of neighbours."""
    pairs = range(n_qubits - 1)
    return {"I" * k + "ZZ" + "I" * (n_qubits - k - 2): 0.5 + 0.01 * k for k in pairs}


def products_of_z(n_terms: int) -> dict[str, float]:
    """Distinct products of Z on ten qubits, in any order."""
    rng = np.random.default_rng(_SEED)
    numbers = 1 + rng.permutation((1 << TERMS_QUBITS) - 1)[:n_terms]
    weights = rng.uniform(-1.0, 1.0, n_terms).tolist()
    strings = [f"{number:0{TERMS_QUBITS}b}" for number in numbers.tolist()]
    return {
        text.replace("0", "I").replace("1", "Z"): weight
        for text, weight in zip(strings, weights, strict=True)
    }


def bases(n_settings: int) -> dict[str, float]:
    """Strings of ten letters X, Y or Z, no two of which are measured together."""
    rng = np.random.default_rng(_SEED)
    found: dict[str, float] = {}
    while len(found) < n_settings:
        found["".join(rng.choice(list("XYZ"), TERMS_QUBITS))] = float(rng.uniform(-1.0, 1.0))
    return found


def drawn(n_qubits: int) -> NDArray[np.uint64]:
    """The shots of every run, shape (N_SHOTS, 1); bit k of a word is qubit k."""
    rng = np.random.default_rng(n_qubits)
    return rng.integers(0, 1 << n_qubits, (N_SHOTS, 1)).astype(np.uint64)


def exact(terms: dict[str, float]) -> float:
    """Mean of an observable over the shots that the machine gives in every setting."""
    n_qubits = len(next(iter(terms)))
    bits = drawn(n_qubits) >> np.arange(n_qubits, dtype=np.uint64) & np.uint64(1)
    signs = 1.0 - 2.0 * bits
    supports = {text: [k for k, letter in enumerate(text) if letter != "I"] for text in terms}
    return sum(w * float(signs[:, supports[text]].prod(axis=1).mean()) for text, w in terms.items())


class ShotsRun:
    """Shots drawn beforehand, one after the other."""

    is_computed = True

    def __init__(self, n_qubits: int, shots: NDArray[np.uint64]) -> None:
        self.n_qubits = n_qubits
        self._shots = shots
        self._n_given = 0

    def measure(self, n_shots: int) -> NDArray[np.uint64]:
        self._n_given += n_shots
        return self._shots[self._n_given - n_shots : self._n_given]

    def close(self) -> None:
        """Nothing to give back."""


class ShotsMachine(CannedMachine):
    """Measures in no time as many qubits as the program's text says."""

    def load(self, program: str) -> object:
        n_qubits = int(program)
        return n_qubits, drawn(n_qubits)

    def begin(self, program: Any, _: object, __: int, ___: int) -> ShotsRun:  # type: ignore[override]  # noqa: ANN401
        return ShotsRun(*program)


def serve_machine(endpoint: str) -> None:
    """Serve the machine until the input ends; how long it measured (ns) for each line."""
    machine = TimedMachine(ShotsMachine())
    with serve(machine, endpoint):
        say({"ready": True})
        for _ in sys.stdin:
            say({"busy_ns": machine.busy_ns})
            machine.busy_ns = 0


@contextmanager
def connected(place: str) -> Iterator[tuple[Link, Busy]]:
    """A link to a machine, and what says how long it measured since it was asked last (ns)."""
    remove_abandoned(_PREFIX)
    name = f"shm://{_PREFIX}{os.getpid()}-{time.monotonic_ns()}"
    if place == "inproc":
        machine = TimedMachine(ShotsMachine())

        def busy() -> int:
            found, machine.busy_ns = machine.busy_ns, 0
            return found

        with serve(machine, name), connect(name) as link:
            yield link, busy
        return
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        endpoint = name if place == "shm" else f"ipc://{folder}/s"
        with process(endpoint, module="scaling_loop") as server:
            hear(server)
            with connect(endpoint) as link:
                yield link, lambda: busy_ns(server)


def place_lines(
    place: str,
    every: Sequence[tuple[str, int, dict[str, float]]],
    n_blocks: int,
    n_steps: int,
) -> Iterator[dict[str, Any]]:
    """All cases over one link."""
    with connected(place) as (link, busy):
        for over, n, terms in every:
            progress(f"{place}, {n} {over}")
            run_steps(link, busy, terms, n_steps // 3)
            found = [run_steps(link, busy, terms, n_steps) for _ in range(n_blocks)]
            taken_ms = [overhead_ms for overhead_ms, _ in found]
            yield {
                "place": place,
                "over": over,
                "n": n,
                "qubits": len(next(iter(terms))),
                "terms": len(terms),
                "median_ms": rounded(median(taken_ms)),
                "min_ms": rounded(min(taken_ms)),
                "steps": n_blocks * n_steps,
                "error": max(error for _, error in found),
            }


def run_steps(link: Link, busy: Busy, terms: dict[str, float], n_steps: int) -> tuple[float, float]:
    """Overhead of a step (ms) in a loop of so many, and the largest error of their energies."""
    busy()
    estimator = EnergyEstimator(terms)
    n_qubits = len(next(iter(terms)))
    program = LoopProgram((str(n_qubits),) * estimator.n_settings, n_qubits)
    policy = Minimise(Walk(n_steps, 2), FixedShots(N_SHOTS))
    result = FeedbackLoop(link, program, estimator, policy, timeout_s=30.0).run()
    assert len(result.steps) == n_steps
    wanted = exact(terms)
    error = max(abs(step.estimate.value - wanted) for step in result.steps)
    return (1e3 * result.seconds - 1e-6 * busy()) / n_steps, error


def figure_rows(over: str, lines: Section) -> Iterator[Row]:
    """The largest case of each curve, and what one unit more costs."""
    for place in PLACES:
        mine = [line for line in lines if line["over"] == over and line["place"] == place]
        first, last = mine[0], mine[-1]
        slope, _ = np.polyfit([line["n"] for line in mine], [line["median_ms"] for line in mine], 1)
        yield Row(
            name=f"loop overhead per step, {last['n']} {over}, {place}",
            value=last["median_ms"],
            unit="ms",
            peer=f"{first['n']} {over}: {first['median_ms']:.3g} ms",
            note=f"Straight line through the curve: {1e3 * slope:.3g} µs for each of {over}.",
        )


def error_row(lines: Section) -> Row:
    """Every step gives the energy of its shots."""
    worst = max(line["error"] for line in lines)
    return Row(
        name="energies of all steps, largest error",
        value=worst,
        unit="1",
        reach=f"<= {ERROR_GOAL:g}",
        holds=worst <= ERROR_GOAL,
        note=f"Of {sum(line['steps'] for line in lines)} steps, against NumPy on the same shots.",
        is_correctness=True,
    )


if __name__ == "__main__":
    serve_machine(sys.argv[1])
