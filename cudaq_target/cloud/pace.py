"""When to ask again: soon for what is quick, seldom for what takes hours."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Final

SHORTEST_S: Final = 0.02
LONGEST_S: Final = 2.0
# So that a tenth of the time that something takes is lost at most, up to the longest pause.
_SHARE: Final = 0.1


@dataclass(slots=True)
class Pace:
    """Pauses between questions, from 20 ms up to 2 s as time goes by, unless set otherwise.

    Attributes:
        began_s: When the waiting began, `time.monotonic` (s).
        shortest_s: The first pause (s).
        fixed_s: All pauses (s), or None to let them grow.
    """

    began_s: float = field(default_factory=time.monotonic)
    shortest_s: float = SHORTEST_S
    fixed_s: float | None = None

    @property
    def waited_s(self) -> float:
        """Time since the beginning (s)."""
        return time.monotonic() - self.began_s

    def pause(self, most_s: float = math.inf) -> None:
        """Wait until the next question.

        Args:
            most_s: Not longer than this (s).
        """
        wanted_s = pause_s(self.waited_s, self.shortest_s) if self.fixed_s is None else self.fixed_s
        time.sleep(max(0.0, min(wanted_s, most_s)))


def pause_s(waited_s: float, shortest_s: float = SHORTEST_S) -> float:
    """Return the next pause (s) after having waited (s).

    >>> [pause_s(waited_s) for waited_s in (0.0, 1.0, 60.0)]
    [0.02, 0.1, 2.0]
    """
    return min(max(shortest_s, _SHARE * waited_s), LONGEST_S)
