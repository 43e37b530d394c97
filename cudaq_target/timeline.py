"""A pulse program: which laser does what to which atom, when.

This is the project's own pulse list. The embedded emulator runs it directly; `sequence.py` turns
it into a `pulser.Sequence` for everything else. Times are integers in ns, drive in rad/µs, phases
in rad with Pulser's sign conventions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pulser.register.register_layout import RegisterLayout

    from cudaq_target.device import DeviceRules

Beam = Literal["rydberg", "raman"]


@dataclass(frozen=True, slots=True, eq=False)
class Pulse:
    """A piecewise constant drive of one atom.

    Attributes:
        durations_ns: Length of each piece (ns), int64, shape (n_pieces,).
        rabi_rad_per_us: Rabi frequency Ω >= 0 of each piece (rad/µs), shape (n_pieces,).
        detuning_rad_per_us: Detuning δ of each piece (rad/µs), shape (n_pieces,).
        phase_rad: One laser phase φ for the whole pulse (rad, in [0, 2π)).
    """

    durations_ns: NDArray[np.int64]
    rabi_rad_per_us: NDArray[np.float64]
    detuning_rad_per_us: NDArray[np.float64]
    phase_rad: float

    @property
    def duration_ns(self) -> int:
        """Total length of the pulse (ns)."""
        return int(self.durations_ns.sum())

    def with_phase(self, phase_rad: float) -> Pulse:
        """The same pulse with another laser phase (rad)."""
        return Pulse(self.durations_ns, self.rabi_rad_per_us, self.detuning_rad_per_us, phase_rad)


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One pulse at its place in time. `end_ns - start_ns == pulse.duration_ns`."""

    beam: Beam
    atom: int
    start_ns: int
    pulse: Pulse

    @property
    def end_ns(self) -> int:
        """First ns after the pulse."""
        return self.start_ns + self.pulse.duration_ns


@dataclass(frozen=True, slots=True, eq=False)
class PulseProgram:
    """A complete digital program for one device.

    Attributes:
        device: The device's rules, with the Pulser device inside.
        coordinates_um: Atom positions (µm), shape (n_atoms, 2 or 3); row k is atom k.
        slots: All pulses, ordered by start time; Rydberg slots never overlap each other, and no
            Raman slot overlaps a time in which its atom may be in the Rydberg state.
        duration_ns: End of the program, padding included (ns).
        frames_rad: Accumulated virtual-Z frame f of each atom (rad), shape (n_atoms,): the
            kernel's state is diag(e^{-if/2}, e^{if/2}) applied to each atom of the raw state.
            Counts do not depend on it.
        atom_of_qubit: Which atom holds kernel qubit k at the end, shape (n_qubits,).
        global_phase_rad: The kernel's state is e^{iγ} times the framed state (rad).
        traps: The `pulser` trap layout on whose traps the atoms stand; None leaves it to the
            device.
    """

    device: DeviceRules
    coordinates_um: NDArray[np.float64]
    slots: tuple[Slot, ...]
    duration_ns: int
    frames_rad: NDArray[np.float64]
    atom_of_qubit: tuple[int, ...]
    global_phase_rad: float = 0.0
    traps: RegisterLayout | None = None
