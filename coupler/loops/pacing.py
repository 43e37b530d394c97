"""An absolute cadence: each tick is due at its own time, however late the one before was.

Threads that keep a cadence may take a core for themselves, and a priority above everything that is
scheduled in turns: a process that came first keeps a core for some milliseconds otherwise.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cudaq_target.coupler.errors import MemoryExperimentError

if TYPE_CHECKING:
    from collections.abc import Iterator

SPIN_NS: Final = 200_000  # a sleep ends late by less than this on an idle machine


@dataclass(frozen=True, slots=True)
class Cadence:
    """Ticks at equal distances.

    Attributes:
        start_ns: Tick 0, monotonic clock (ns).
        period_ns: From one tick to the next (ns).
    """

    start_ns: int
    period_ns: int

    def due_ns(self, tick: int) -> int:
        """When a tick is due, monotonic clock (ns)."""
        return self.start_ns + tick * self.period_ns


def wait_until(due_ns: int, spin_ns: int = SPIN_NS) -> int:
    """Sleep until shortly before an instant, then look at the clock until it has come.

    Args:
        due_ns: Monotonic clock (ns).
        spin_ns: The last stretch, which is not slept through (ns).

    Returns:
        The monotonic clock, at `due_ns` or later (ns); at once where it has passed.
    """
    now_ns = time.monotonic_ns()
    if due_ns - now_ns > spin_ns:
        time.sleep(1e-9 * (due_ns - now_ns - spin_ns))
    while (now_ns := time.monotonic_ns()) < due_ns:
        pass
    return now_ns


def take(core: int | None, priority: int | None) -> None:
    """Pin this thread, and have it scheduled first in, first out; its later threads inherit both.

    Args:
        core: The only core that it runs on; None for any.
        priority: 1 to 99 (SCHED_FIFO); None for the ordinary scheduler. The kernel stops such
            threads for 5 % of each second unless it was told otherwise: they must sleep that long.

    Raises:
        MemoryExperimentError: The system has no such core, or does not allow it.
    """
    if core is None and priority is None:
        return
    if sys.platform != "linux":
        reason = f"{sys.platform} pins no threads"
        raise MemoryExperimentError("cores and priority", reason, "Leave both out")
    if core is not None:
        try:
            os.sched_setaffinity(0, {core})
        except OSError as error:
            remedy = f"Use one of {sorted(os.sched_getaffinity(0))}"
            raise MemoryExperimentError("cores", f"{core}: {error.strerror}", remedy) from error
    if priority is not None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        except OSError as error:
            remedy = "Use 1 to 99, with CAP_SYS_NICE or a limit `rtprio`; or leave it out"
            reason = f"{priority}: {error.strerror}"
            raise MemoryExperimentError("priority", reason, remedy) from error


@contextmanager
def undisturbed(core: int | None, priority: int | None) -> Iterator[None]:
    """No garbage collection and, where asked for, `take`, within the block."""
    was_collecting = gc.isenabled()
    linux = sys.platform == "linux"
    before = (
        (os.sched_getaffinity(0), os.sched_getscheduler(0), os.sched_getparam(0)) if linux else None
    )
    gc.collect()
    gc.disable()
    try:
        take(core, priority)
        yield
    finally:
        if before is not None and (core is not None or priority is not None):
            os.sched_setaffinity(0, before[0])
            os.sched_setscheduler(0, before[1], before[2])
        if was_collecting:
            gc.enable()
