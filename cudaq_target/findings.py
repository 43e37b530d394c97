"""What `cudaq-target doctor` says about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cudaq_target.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

Status = Literal["ok", "off", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        status: `ok`, `off` (absent, and not needed for gate kernels on the embedded emulator) or
            `problem`.
        found: What was found.
        remedy: What to do about it; empty where there is nothing to do.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""


def guarded(name: str, look: Callable[[], Finding]) -> Finding:
    """Turn what prevents a look into a finding."""
    try:
        return look()
    except TargetError as error:
        return Finding(name, "problem", str(error), "Correct it where the message says")
    except ImportError as error:
        return Finding(name, "problem", str(error), "pip install cudaq-target")
