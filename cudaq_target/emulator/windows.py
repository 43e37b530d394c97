"""Cut a pulse program into spans of time that have an exact propagator.

Raman pulses act inside {g, h} of one atom and the interaction only on r, so a Raman pulse commutes
with everything that does not drive its atom and is never cut. Rydberg time is cut at the borders of
Rydberg slots, so that inside a window the same atoms are driven.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.errors import UnsupportedProgramError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from cudaq_target.timeline import Pulse, PulseProgram, Slot


@dataclass(frozen=True, slots=True, eq=False)
class Drive:
    """A piecewise constant drive of one atom by one beam.

    Attributes:
        atom: The atom.
        durations_ns: Length of each piece (ns), shape (n_pieces,).
        rabi_rad_per_us: Ω of each piece (rad/µs), shape (n_pieces,).
        detuning_rad_per_us: δ of each piece (rad/µs), shape (n_pieces,).
        phase_rad: Laser phase φ (rad).
    """

    atom: int
    durations_ns: NDArray[np.float64]
    rabi_rad_per_us: NDArray[np.float64]
    detuning_rad_per_us: NDArray[np.float64]
    phase_rad: float

    @classmethod
    def of(cls, atom: int, pulse: Pulse) -> Drive:
        """Drive `atom` with `pulse`."""
        return cls(
            atom,
            pulse.durations_ns.astype(np.float64),
            pulse.rabi_rad_per_us,
            pulse.detuning_rad_per_us,
            pulse.phase_rad,
        )

    def key(self) -> tuple[bytes, bytes, bytes, float]:
        """Everything but the atom, hashable."""
        return (
            self.durations_ns.tobytes(),
            self.rabi_rad_per_us.tobytes(),
            self.detuning_rad_per_us.tobytes(),
            self.phase_rad,
        )

    def part(self, begin_ns: float, end_ns: float) -> Drive:
        """Return the drive between two times counted from its start (ns)."""
        borders = np.concatenate([[0.0], np.cumsum(self.durations_ns)])
        durations = np.minimum(borders[1:], end_ns) - np.maximum(borders[:-1], begin_ns)
        keep = durations > 0.0
        return Drive(
            self.atom,
            durations[keep],
            self.rabi_rad_per_us[keep],
            self.detuning_rad_per_us[keep],
            self.phase_rad,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """A Raman pulse on one atom.

    Attributes:
        start_ns: First moment (ns).
        end_ns: First moment after it (ns).
        drive: The pulse.
    """

    start_ns: float
    end_ns: float
    drive: Drive

    def part(self, begin_ns: float, end_ns: float) -> Rotation:
        """Return the pulse between two moments of the program (ns)."""
        drive = self.drive.part(begin_ns - self.start_ns, end_ns - self.start_ns)
        return Rotation(begin_ns, end_ns, drive)


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A span in which the same atoms are driven by the Rydberg beam.

    Attributes:
        start_ns: First moment (ns).
        end_ns: First moment after it (ns).
        drives: One per driven atom; empty while nothing is driven.
    """

    start_ns: float
    end_ns: float
    drives: tuple[Drive, ...]

    def part(self, begin_ns: float, end_ns: float) -> Window:
        """Return the window between two moments of the program (ns)."""
        lo, hi = begin_ns - self.start_ns, end_ns - self.start_ns
        return Window(begin_ns, end_ns, tuple(drive.part(lo, hi) for drive in self.drives))


Step = Rotation | Window


def steps_of(program: PulseProgram) -> list[Step]:
    """Cut a program into rotations and windows.

    Args:
        program: The program.

    Returns:
        Steps ordered by start; windows cover the time from 0 to the end without a hole.

    Raises:
        UnsupportedProgramError: Two pulses overlap on one atom.
    """
    spans = [(slot.start_ns, slot.end_ns, slot) for slot in program.slots]
    spans.sort(key=lambda span: span[0])
    _refuse_overlap_on_one_atom(spans)
    rotations: list[Step] = [
        Rotation(start, end, Drive.of(slot.atom, slot.pulse))
        for start, end, slot in spans
        if slot.beam == "raman"
    ]
    rydberg = [
        (start, end, Drive.of(slot.atom, slot.pulse))
        for start, end, slot in spans
        if slot.beam == "rydberg"
    ]
    windows = _windows(rydberg, program.duration_ns)
    return sorted([*rotations, *windows], key=lambda step: step.start_ns)


def _windows(spans: Sequence[tuple[int, int, Drive]], duration_ns: int) -> Iterable[Window]:
    now = 0
    index = 0
    while index < len(spans):
        # One group: slots that overlap, directly or through others.
        group = [spans[index]]
        end = spans[index][1]
        index += 1
        while index < len(spans) and spans[index][0] < end:
            group.append(spans[index])
            end = max(end, spans[index][1])
            index += 1
        start = group[0][0]
        if start > now:
            yield Window(now, start, ())
        if len(group) == 1:
            yield Window(start, end, (group[0][2],))
        else:
            yield from _cut_group(group)
        now = end
    if now < duration_ns:
        yield Window(now, duration_ns, ())


def _cut_group(group: Sequence[tuple[int, int, Drive]]) -> Iterable[Window]:
    borders = sorted({time for start, end, _ in group for time in (start, end)})
    for begin, end in itertools.pairwise(borders):
        drives = tuple(
            drive.part(begin - start, end - start)
            for start, stop, drive in group
            if start < end and stop > begin
        )
        yield Window(begin, end, drives)


def _refuse_overlap_on_one_atom(spans: Iterable[tuple[int, int, Slot]]) -> None:
    busy_until: dict[int, tuple[int, str]] = {}
    for start, end, slot in spans:
        until, beam = busy_until.get(slot.atom, (0, ""))
        if start < until:
            raise UnsupportedProgramError(
                subject=f"atom {slot.atom} at {start} ns",
                reason=f"a {beam} pulse and a {slot.beam} pulse overlap on it",
                remedy="Start the second pulse when the first one has ended",
            )
        busy_until[slot.atom] = (end, slot.beam)
