"""The loop of quantum error correction: rounds every millisecond, deadlines kept, and by whom not.

Run it with `python -m benchmarks.loop_memory [--quick]`, or as rows of the benchmark `loop`. The
memory experiment is the library's own (`coupler.loops.memory`): this process sends the rounds of a
distance-3 surface code, a decode server in another process corrects. Beside it a witness on each
core notes when the machine gave it no core (`stall_witness`). A miss belongs to the machine where
the round would have kept its deadline without the stalls that the witness saw during it; every
other miss is ours.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.report import Row, aligned, cells, progress
from benchmarks.stall_witness import Stall, Witness
from cudaq_target.coupler.errors import MemoryExperimentError
from cudaq_target.coupler.loops.memory import Server, memory_experiment
from cudaq_target.coupler.loops.memory_result import NEVER, LateRound, MemoryResult
from cudaq_target.coupler.loops.pacing import undisturbed

if TYPE_CHECKING:
    from collections.abc import Sequence

DISTANCE, N_CHECK_ROUNDS, ERROR_RATE = 3, 3, 0.005
CADENCE_S = 1e-3
N_ROUNDS, QUICK_ROUNDS = 100_000, 1_000
PRIORITY = 50
_NAME = "QEC loop, surface code of distance 3, 1 ms cadence"


@dataclass(frozen=True, slots=True)
class Run:
    """An experiment and what the witness saw meanwhile.

    Attributes:
        result: Of the experiment.
        stalls: Of the machine, while rounds were due.
        n_of_machine: Missed rounds that these explain.
        conditions: How it ran, in words.
        stolen_s: Time that the hypervisor took from the cores (s), None where it is not told.
    """

    result: MemoryResult
    stalls: tuple[Stall, ...]
    n_of_machine: int
    conditions: str
    stolen_s: float | None


def is_of_machine(
    late: LateRound, stalls: Sequence[Stall], start_ns: int, deadline_ns: int
) -> bool:
    """Whether a round would have kept its deadline without the stalls during it."""
    if late.rtt_ns == NEVER:
        return False
    due_ns = start_ns + late.due_ns
    response_ns = late.lateness_ns + late.rtt_ns
    done_ns = due_ns + response_ns
    stalled_ns, covered_ns = 0, due_ns
    for stall in sorted(stalls, key=lambda one: one.start_ns):  # those of two cores may overlap
        begin_ns, end_ns = max(stall.start_ns, covered_ns), min(stall.end_ns, done_ns)
        stalled_ns += max(0, end_ns - begin_ns)
        covered_ns = max(covered_ns, end_ns)
    return response_ns - stalled_ns <= deadline_ns


def run(n_rounds: int, server: Server, conditions: str) -> Run:
    """Keep the cadence for so many rounds, with a witness on each core that is used."""
    cores = sorted(set(server.cores or os.sched_getaffinity(0)))
    with Witness(cores) as witness:
        result = memory_experiment(
            "surface",
            DISTANCE,
            N_CHECK_ROUNDS,
            ERROR_RATE,
            n_rounds // (N_CHECK_ROUNDS + 1),
            CADENCE_S,
            seed=1,
            server=server,
        )
    end_ns = result.start_ns + round(1e9 * CADENCE_S * result.n_rounds)
    stalls = tuple(one for one in witness.stalls if one.overlap_ns(result.start_ns, end_ns))
    n_of_machine = sum(
        is_of_machine(late, stalls, result.start_ns, round(1e9 * CADENCE_S))
        for late in result.late_rounds
    )
    if not witness.is_real_time:
        conditions += "; the witness itself is scheduled in turns"
    return Run(result, stalls, n_of_machine, conditions, witness.stolen_s)


def best_server() -> tuple[Server, str]:
    """The strongest conditions that this machine allows.

    With real-time priority both ends share a core and wait asleep: a wake-up on the same core is
    the shortest, and a stall of any other core does no harm. Without it each has its own.
    """
    cores = sorted(os.sched_getaffinity(0))
    try:
        with undisturbed(None, PRIORITY):
            pass
    except MemoryExperimentError:
        pair = (cores[0], cores[-1])
        return Server(cores=pair), "pinned, no real-time priority"
    pair = (cores[0], cores[0])
    return Server(cores=pair, priority=PRIORITY, wait="block"), "real-time priority on one core"


def rows(quick: bool) -> list[Row]:
    """Run the experiment, and judge its misses."""
    n_rounds = QUICK_ROUNDS if quick else N_ROUNDS
    server, conditions = best_server()
    progress(f"{_NAME}, {n_rounds} rounds")
    return rows_of(run(n_rounds, server, conditions))


def rows_of(found: Run) -> list[Row]:
    result = found.result
    n_rounds, n_misses = result.n_rounds, result.n_deadline_misses
    n_of_ours = n_misses - found.n_of_machine
    stalled_ms = sum(one.duration_ns for one in found.stalls) / 1e6
    longest_ms = max((one.duration_ns for one in found.stalls), default=0) / 1e6
    note = (
        f"{n_rounds} rounds, {found.conditions}; {result.n_misses_of_pacing} were sent late; the "
        f"witness saw {len(found.stalls)} stalls of the machine, {stalled_ms:.0f} ms together, up "
        f"to {longest_ms:.1f} ms"
    )
    if found.stolen_s is not None:
        note += f"; the hypervisor had taken {1e3 * found.stolen_s:.0f} ms in the same time"
    errors = (
        f"{result.n_logical_errors} logical errors in {result.n_shots} shots, PyMatching "
        f"{result.n_matching_errors}; confidence {result.confidence:g}"
    )
    times = {
        "round trip": result.rtt_ns,
        "lateness of our pacing": result.lateness_ns,
        "from due to corrected": result.response_ns,
    }
    made = [
        Row(
            f"{_NAME}, deadline misses in {n_rounds} rounds",
            n_misses,
            "rounds",
            reach="0 on a quiet machine",
            holds=n_misses == 0,
            note=note,
        ),
        Row(
            f"{_NAME}, misses that no stall of the machine explains",
            n_of_ours,
            "rounds",
        ),
        Row(f"{_NAME}, stalls of the machine above 0.2 ms", len(found.stalls), "stalls"),
        Row(
            f"{_NAME}, corrections other than offline",
            result.n_disagreements + result.n_lost,
            "shots",
            reach="0",
            holds=result.n_disagreements + result.n_lost == 0,
            is_correctness=True,
        ),
        Row(f"{_NAME}, logical errors per shot", result.logical_error_rate, "1", note=errors),
    ]
    for name, durations in times.items():
        parts = {"p50": durations.p50, "p99": durations.p99}
        if durations.n_values >= N_ROUNDS:
            parts["p99.9"] = durations.p99_9
        parts["max"] = durations.maximum
        made += [Row(f"{_NAME}, {name}, {part}", ns / 1e3, "µs") for part, ns in parts.items()]
    return made


if __name__ == "__main__":
    lines = [cells(row.public()) for row in rows("--quick" in sys.argv[1:])]
    print(aligned(lines))
