"""When to ask again: soon for what is quick, seldom for what takes hours."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

SHORTEST_S: Final = 0.02
LONGEST_S: Final = 2.0
# So that a tenth of the time that something takes is lost at most, up to the longest pause.
_SHARE: Final = 0.1


@dataclass(slots=True)
class Pace:
    """Pauses between questions, from 20 ms up to 2 s as time goes by.

    Attributes:
        began_s: When the waiting began, `time.monotonic` (s).
    """

    began_s: float = field(default_factory=time.monotonic)

    @property
    def waited_s(self) -> float:
        """Time since the beginning (s)."""
        return time.monotonic() - self.began_s

    def pause(self, most_s: float = LONGEST_S) -> None:
        """Wait until the next question.

        Args:
            most_s: Not longer than this (s).
        """
        time.sleep(max(0.0, min(pause_s(self.waited_s), most_s)))


def pause_s(waited_s: float) -> float:
    """Return the next pause (s) after having waited (s).

    >>> [pause_s(waited_s) for waited_s in (0.0, 1.0, 60.0)]
    [0.02, 0.1, 2.0]
    """
    return min(max(SHORTEST_S, _SHARE * waited_s), LONGEST_S)
