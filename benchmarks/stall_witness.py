"""A witness to what a machine does to every process: it sleeps, wakes and notes when it was late.

`Witness` runs `python -m benchmarks.stall_witness CORE` beside a measurement, on one core, above
everything that is scheduled in turns where the system allows it. Whatever delays it, a hypervisor
that took the core away or a long stretch of the kernel, delays a thread of the measurement, too.
What it does not see: stalls shorter than its period, and threads that were held up by others of
their own priority.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

PERIOD_NS = 250_000
STALL_NS = 200_000
PRIORITY = 60


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which a core was not to be had; monotonic clock.

    Attributes:
        core: Which.
        start_ns: When the witness should have run (ns).
        end_ns: When it did (ns).
    """

    core: int
    start_ns: int
    end_ns: int

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns

    def overlap_ns(self, start_ns: int, end_ns: int) -> int:
        """How much of it lies in an interval (ns)."""
        return max(0, min(self.end_ns, end_ns) - max(self.start_ns, start_ns))


class Witness:
    """One process per core; a context manager, `stalls` and `stolen_s` afterwards."""

    def __init__(self, cores: Sequence[int]) -> None:
        self.stalls: list[Stall] = []
        self.is_real_time = True
        self.stolen_s: float | None = None
        self._stolen_before = stolen_s()
        command = [sys.executable, "-m", "benchmarks.stall_witness"]
        self._processes = {
            core: subprocess.Popen(
                [*command, str(core)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for core in cores
        }
        for process in self._processes.values():
            assert process.stdout is not None
            self.is_real_time &= json.loads(process.stdout.readline())["is_real_time"]

    def __enter__(self) -> Witness:
        return self

    def __exit__(self, *_: object) -> None:
        for core, process in self._processes.items():
            text, _ = process.communicate(timeout=30.0)
            self.stalls += [Stall(core, *pair) for pair in json.loads(text)]
        after = stolen_s()
        if after is not None and self._stolen_before is not None:
            self.stolen_s = after - self._stolen_before


def stolen_s() -> float | None:
    """Time in which the hypervisor ran something else on our cores since the start (s).

    As the kernel accounts it, in steps of 10 ms; None where it does not.
    """
    try:
        total = Path("/proc/stat").read_text().splitlines()[0].split()
        return int(total[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None


def watch(period_ns: int = PERIOD_NS, stall_ns: int = STALL_NS) -> list[tuple[int, int]]:
    """Sleep and wake until the standard input ends; starts and ends of stalls (ns)."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    stalls = []
    due_ns = time.monotonic_ns() + period_ns
    while not ended.is_set():
        now_ns = time.monotonic_ns()
        if now_ns < due_ns:
            time.sleep(1e-9 * (due_ns - now_ns))
            now_ns = time.monotonic_ns()
        if now_ns - due_ns > stall_ns:
            stalls.append((due_ns, now_ns))
        due_ns = max(due_ns, now_ns) + period_ns
    return stalls


def main(core: int) -> None:
    os.sched_setaffinity(0, {core})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        is_real_time = True
    except OSError:
        is_real_time = False
    print(json.dumps({"is_real_time": is_real_time}), flush=True)
    print(json.dumps(watch()), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
