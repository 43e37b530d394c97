"""Counts of measured atoms, as services give them, turned into shots.

A counter says how often each outcome occurred and not when: the shots come ordered by bit string,
atom 0 leftmost and first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.cloud.errors import UnreadableResultError
from cudaq_target.errors import RunFailedError
from cudaq_target.shots import Shots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cudaq_target.machines.jobs import JobNote


def counter_of(text: str | bytes, note: JobNote) -> dict[str, int]:
    """Read a result `{"counter": {"0101": n, …}}`.

    Args:
        text: JSON.
        note: The job.

    Raises:
        UnreadableResultError: It is no such text.
    """
    try:
        content: Any = json.loads(text)
    except ValueError as error:
        raise _unreadable(note, "it is no JSON") from error
    counter = content.get("counter") if isinstance(content, Mapping) else None
    if not isinstance(counter, Mapping):
        raise _unreadable(note, "it has no counter")
    for outcome, number in counter.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise _unreadable(note, f"outcome {outcome[:80]!r} occurred {str(number)[:20]!r} times")
    return dict(counter)


def shots_of_counter(counter: Mapping[str, int], note: JobNote) -> NDArray[np.uint64]:
    """Expand counts of atoms into shots of a job.

    Args:
        counter: Bit string, atom 0 leftmost, to number of shots.
        note: The job; its columns say which atom is which bit.

    Returns:
        Packed shots, ordered by bit string of the atoms, shape (n_shots, ceil(n_bits / 64)).

    Raises:
        UnreadableResultError: The bit strings are none, or of other atoms.
        RunFailedError: There are less shots than were asked for, or more.
    """
    n_atoms = _n_atoms(counter, note)
    outside = [atom for atom in note.columns if atom >= n_atoms]
    if outside:
        raise _unreadable(note, f"it has {n_atoms} atoms, the program has {max(outside) + 1}")
    n_shots = sum(counter.values())
    if n_shots != note.n_shots:
        raise RunFailedError(
            note.machine,
            note.place.get("job", note.id),
            f"the result has {n_shots} shots",
            min(n_shots, note.n_shots),
            note.n_shots,
        )
    return _reordered(Shots.from_counts(counter), note.columns)


def _n_atoms(counter: Mapping[str, int], note: JobNote) -> int:
    for outcome in counter:
        if set(outcome) - {"0", "1"}:
            raise _unreadable(note, f"outcome {outcome[:80]!r} is no bit string")
    lengths = {len(outcome) for outcome in counter}
    if len(lengths) > 1:
        raise _unreadable(note, f"its bit strings have {min(lengths)} to {max(lengths)} bits")
    return lengths.pop() if lengths else 0


def _reordered(atoms: Shots, columns: Sequence[int]) -> NDArray[np.uint64]:
    return atoms.marginal(columns).packed


def _unreadable(note: JobNote, reason: str) -> UnreadableResultError:
    return UnreadableResultError(note.machine, note.place.get("job", note.id), reason)
