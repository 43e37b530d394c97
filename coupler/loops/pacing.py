"""An absolute cadence: each tick is due at its own time, however late the one before was."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

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
