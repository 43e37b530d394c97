"""Reads the Rydberg pulses of a program back: which one opens a control, serves a target, closes.

A pulse program says only which atom is driven when. What a pulse does follows from the drive
itself: a target pulse returns its atom to the ground state, a control pulse leaves it in the
Rydberg state. So reports and pictures show what is played, also for a program read from a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cudaq_target.device import interaction_rad_per_us
from cudaq_target.emulator.propagators import time_ordered, two_level
from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.timeline import Pulse, PulseProgram, Slot

Role = Literal["open", "target", "close"]

# Target pulses leave less than 1e-9 in the Rydberg state, control pulses a sizeable part of 1.
_LEFT_IN_RYDBERG = 1e-4
# A CZ is CPhase(π), also where rounding makes it CPhase(-π + 1e-15).
_SAME_ANGLE_RAD = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Excitation:
    """One Rydberg pulse with its part in an entangling gate.

    Attributes:
        slot: The pulse and its place in time.
        role: `open` takes the atom to the Rydberg state, `close` brings it back, `target` drives
            it there and back while the controls wait.
        controls: Atoms that wait in the Rydberg state (if their qubit is 0) during the pulse, in
            the order in which they were opened.
    """

    slot: Slot
    role: Role
    controls: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlayedGate:
    """An entangling gate as it is played.

    Attributes:
        atoms: Controls, then the target: two for a CPhase, three for a CCZ.
        distance_um: Largest distance between two of them (µm).
        duration_ns: Length of the target pulse (ns).
        theta_rad: Phase θ of a CPhase (rad, in (-π, π]), computed from pulse and distance; π for
            a CCZ.
        residual: Largest amplitude that a CPhase pulse leaves in the Rydberg state, with or
            without blockade; 0 for a CCZ, whose pulses return only together.
    """

    atoms: tuple[int, ...]
    distance_um: float
    duration_ns: int
    theta_rad: float
    residual: float


def excitations(program: PulseProgram) -> tuple[Excitation, ...]:
    """Find the role of every Rydberg pulse.

    Args:
        program: A pulse program whose Rydberg pulses do not overlap.

    Returns:
        One entry per Rydberg slot, in order of time.
    """
    slots = sorted(
        (slot for slot in program.slots if slot.beam == "rydberg"), key=lambda slot: slot.start_ns
    )
    found: list[Excitation] = []
    waiting: list[int] = []
    for slot in slots:
        if slot.atom in waiting:
            waiting.remove(slot.atom)
            found.append(Excitation(slot, "close", tuple(waiting)))
        elif waiting and abs(_ground_row(slot.pulse, 0.0)[1]) < _LEFT_IN_RYDBERG:
            found.append(Excitation(slot, "target", tuple(waiting)))
        elif len(waiting) > 1:
            # The target of a CCZ returns only together with its controls.
            found.append(Excitation(slot, "target", tuple(waiting)))
        else:
            found.append(Excitation(slot, "open", tuple(waiting)))
            waiting.append(slot.atom)
    return tuple(found)


def played_gates(
    program: PulseProgram, played: Sequence[Excitation] | None = None
) -> tuple[PlayedGate, ...]:
    """List the entangling gates that a program plays.

    Args:
        program: The program.
        played: Its `excitations`, where they are known already.

    Returns:
        One entry per target pulse, in order of time.
    """
    found = excitations(program) if played is None else played
    return tuple(_gate(program, entry) for entry in found if entry.role == "target")


def fan_outs(played: Sequence[Excitation]) -> tuple[int, ...]:
    """Return how many CPhases each excitation of a single control serves, in order of time.

    A CCZ, whose two controls wait together, counts as none.
    """
    counts: list[int] = []
    n_targets = 0
    for entry in played:
        if entry.role == "target" and len(entry.controls) == 1:
            n_targets += 1
        elif entry.role == "close" and not entry.controls:
            if n_targets:
                counts.append(n_targets)
            n_targets = 0
    return tuple(counts)


def _gate(program: PulseProgram, entry: Excitation) -> PlayedGate:
    atoms = (*entry.controls, entry.slot.atom)
    sites = program.coordinates_um[list(atoms)]
    distances_um = np.linalg.norm(sites[:, None] - sites[None], axis=-1)
    distance_um = float(distances_um.max())
    pulse = entry.slot.pulse
    theta_rad, residual = math.pi, 0.0
    if len(atoms) == 2:
        shift = interaction_rad_per_us(program.device, distance_um)
        free, blocked = _ground_row(pulse, 0.0), _ground_row(pulse, shift)
        theta_rad = float(np.angle(blocked[0] * np.conj(free[0])))
        if theta_rad < -math.pi + _SAME_ANGLE_RAD:
            theta_rad += TWO_PI
        residual = float(max(abs(free[1]), abs(blocked[1])))
    return PlayedGate(atoms, distance_um, pulse.duration_ns, theta_rad, residual)


def _ground_row(pulse: Pulse, shift_rad_per_us: float) -> tuple[complex, complex]:
    """Amplitudes in g and r after the pulse on an atom in g whose r level is shifted up."""
    pieces = two_level(
        pulse.rabi_rad_per_us,
        pulse.detuning_rad_per_us - shift_rad_per_us,
        pulse.phase_rad,
        pulse.durations_ns,
    )
    after = time_ordered(pieces)[:, 0]
    return complex(after[0]), complex(after[1])
