"""Open loops: requests leave on a fixed cadence, and are timed from when they were due.

A request that had to wait because an earlier one was slow counts its wait (no coordinated
omission), and each answer is held against the deadline of its own schedule.
"""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.closed_loop import difference, payloads_of
from benchmarks.latency import Case, Counts, Distribution, rounded
from benchmarks.link_ends import contender
from benchmarks.link_spec import Spec
from benchmarks.report import progress
from cudaq_target.coupler.frame import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from benchmarks.link_ends import LinkCaller, RingCaller

_LEAD_NS = 5_000_000
_SPIN_NS = 100_000  # a sleep ends late by less than this on an idle machine
_GIVE_UP_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """A cadence.

    Attributes:
        spec: What is called.
        period_ns: From one request to the next (ns).
        deadline_ns: From the scheduled time to the answer (ns).
        n_requests: How many.
    """

    spec: Spec
    period_ns: int
    deadline_ns: int
    n_requests: int

    def due_ns(self, start_ns: int, k: int) -> int:
        """When request `k` is to leave (ns)."""
        return start_ns + k * self.period_ns

    def case(self) -> Case:
        who = "shm.Client" if self.spec.caller == "ring" else self.spec.transport
        name = f"{who}, every {self.period_ns / 1e3:g} µs"
        return Case(name, self.spec.transport, self.spec.n_bytes, self.spec.waits)


def plans(quick: bool) -> tuple[Plan, ...]:
    """Cadences near what each transport carries; whole runs add the 1 ms cycle of atoms."""
    many, some = (1_000, 400) if quick else (100_000, 20_000)
    ring = Spec("shm", caller="ring", wait="busy")
    fast = [
        Plan(ring, 10_000, 10_000, many),
        Plan(Spec("shm", wait="busy"), 50_000, 50_000, many),
        Plan(Spec("ipc"), 250_000, 250_000, some if quick else many),
        Plan(Spec("tcp"), 250_000, 250_000, some),
        Plan(Spec("udp"), 250_000, 250_000, some),
    ]
    cycle = [Plan(plan.spec, 1_000_000, 1_000_000, 2_000) for plan in fast]
    return tuple(fast if quick else fast + cycle)


def run(plan: Plan, caller: RingCaller | LinkCaller) -> tuple[NDArray[np.int64], Counts]:
    """Follow a plan.

    Returns:
        From the scheduled time to the answer (ns), shape (n_answered,), and what became of all.
    """
    payloads = payloads_of(plan.spec.n_bytes)
    clock, n_payloads = perf_counter_ns, len(payloads)
    in_flight: dict[int, int] = {}
    taken_ns: list[int] = []
    counts, before = Counts(), caller.counts()
    newest = -1
    stalled = False
    start_ns = clock() + _LEAD_NS
    until_ns = plan.due_ns(start_ns, plan.n_requests) + _GIVE_UP_NS
    due_ns = start_ns
    while counts.submitted < plan.n_requests or in_flight:
        now_ns = clock()
        if now_ns > until_ns:
            break
        if counts.submitted < plan.n_requests and now_ns >= due_ns:
            number = caller.submit(payloads[counts.submitted % n_payloads])
            if number is not None:
                in_flight[number] = counts.submitted
                counts.submitted += 1
                due_ns = plan.due_ns(start_ns, counts.submitted)
                stalled = False
                continue
            counts.backpressure_stalls += not stalled
            stalled = True
        outcome = caller.collect(0.0)
        if outcome is None:
            _pause(due_ns - now_ns if not in_flight else 0)
            continue
        arrived_ns = clock()
        number, status, result = outcome
        k = in_flight.pop(number)
        counts.out_of_order += k < newest
        newest = max(newest, k)
        _judge(counts, status, is_right=result == payloads[k % n_payloads])
        if status == Status.OK:
            taken_ns.append(arrived_ns - plan.due_ns(start_ns, k))
    found = np.array(taken_ns, dtype=np.int64)
    in_time = int((found <= plan.deadline_ns).sum())
    counts.deadline_misses = plan.n_requests - in_time
    counts.duplicates = difference(caller.counts(), before).duplicates
    return found, counts


def _pause(left_ns: int) -> None:
    """Let others run; sockets would wait for whole milliseconds, so nothing waits in them."""
    if left_ns > _SPIN_NS:
        time.sleep(1e-9 * (left_ns - _SPIN_NS))
    else:
        os.sched_yield()


def _judge(counts: Counts, status: int, *, is_right: bool) -> None:
    """Count one outcome; a request that was given up is neither complete nor wrong."""
    if status == Status.DEADLINE:
        return
    counts.completed += 1
    if status != Status.OK:
        counts.header_errors += 1
    elif is_right:
        counts.matched += 1
    else:
        counts.payload_errors += 1


def records(quick: bool) -> Iterator[tuple[Case, dict[str, Any], NDArray[np.int64], Counts]]:
    """Run all plans.

    Yields:
        Case, figures, times (ns) and counts of each.
    """
    for plan in plans(quick):
        case = plan.case()
        progress(f"open loop, {case.name}")
        with contender(plan.spec) as end:
            end.wake()
            for _ in range(50):
                end.call(payloads_of(plan.spec.n_bytes)[0])
            gc.disable()
            try:
                times_ns, counts = run(plan, end.caller)
            finally:
                gc.enable()
        found = {
            "period": plan.period_ns / 1e3,
            "deadline": plan.deadline_ns / 1e3,
            "deadline_misses": counts.deadline_misses,
            "miss_share": rounded(counts.deadline_misses / plan.n_requests),
        }
        figures = Distribution.of(times_ns).record() if len(times_ns) else {"n": 0}
        yield case, case.record() | found | figures, times_ns, counts
