"""Cores that a measurement is kept on: asked for with `--pin`, never by default."""

from __future__ import annotations

import os
import re
from pathlib import Path

_TASKS = Path("/proc/self/task")
_LIST = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*", re.ASCII)


class PinError(ValueError):
    """The cores that were asked for cannot be had; says which can."""


def cores_of(text: str) -> tuple[int, ...]:
    """Read a list of cores.

    Args:
        text: Numbers and ranges: "0,1", "0-3,8".

    Returns:
        The cores in rising order.

    Raises:
        PinError: It is no such list, or names a core that this process may not use.
    """
    if not _LIST.fullmatch(text):
        raise PinError(f"{text!r} is no list of cores such as 0,1 or 0-3")
    mine = os.sched_getaffinity(0)
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        # One beyond the last core is enough to be refused.
        found.update(range(int(first), min(int(last or first), max(mine) + 1) + 1) or [-1])
    if not found <= mine:
        usable = ", ".join(map(str, sorted(mine)))
        raise PinError(f"cores {text} cannot be used; this process may use {usable}")
    return tuple(sorted(found))


def pin_to(cores: tuple[int, ...]) -> None:
    """Keep this process on cores: all its threads, and what they start from now on."""
    for task in _TASKS.iterdir():
        os.sched_setaffinity(int(task.name), cores)


def pinning(asked_for: tuple[int, ...] = ()) -> str:
    """Say which cores this process is on, for the record.

    Args:
        asked_for: Cores given with `--pin`; an affinity set from outside is noticed, too.
    """
    mine = tuple(sorted(os.sched_getaffinity(0)))
    if not asked_for and len(mine) == os.cpu_count():
        return "none"
    return f"core{'s' * (len(mine) > 1)} {', '.join(map(str, mine))}"
