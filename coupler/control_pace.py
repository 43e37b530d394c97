"""How long turns on the machine take: which are shorter than waking a thread for them is worth."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

SHORT_NS: Final = 5_000_000
"""A turn expected to be over by then may be measured in the thread of the server (ns).

Two wake-ups cost 0.1 to 0.2 ms of it on sleeping cores; no other request is answered meanwhile.
"""

MAX_KNOWN: Final = 256


class Paces:
    """Expects of each program what its turns took before; used by one thread at a time.

    >>> paces = Paces()
    >>> paces.expected_ns(7, True, 100) is None
    True
    >>> paces.note(7, True, 100, 4_000)
    >>> paces.expected_ns(7, True, 50), paces.expected_ns(7, True, 200)
    (4000, 8000)
    """

    def __init__(self) -> None:
        """Know no program."""
        self._known: OrderedDict[tuple[int, bool], tuple[int, int]] = OrderedDict()

    def note(self, program_id: int, is_first: bool, n_shots: int, spent_ns: int) -> None:
        """Remember a turn; a longer one than before counts at once, shorter ones little by little.

        Args:
            program_id: The program.
            is_first: Whether it was the first turn of its run, in which the machine prepares.
            n_shots: Shots of the turn.
            spent_ns: How long it took (ns).
        """
        key = (program_id, is_first)
        _, before_ns = self._known.pop(key, (n_shots, 0))
        self._known[key] = n_shots, max(spent_ns, 3 * before_ns // 4)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def expected_ns(self, program_id: int, is_first: bool, n_shots: int) -> int | None:
        """How long a turn takes at most, as far as earlier ones tell (ns); None where none do."""
        known = self._known.get((program_id, is_first))
        if known is None:
            return None
        n_before, spent_ns = known
        return spent_ns if n_shots <= n_before else spent_ns * n_shots // max(1, n_before)
