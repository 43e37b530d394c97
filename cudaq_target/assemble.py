"""Gates, their pulses and their times, put together: the pulse program with its frames.

Virtual Z rotations never become pulses. Each atom carries a frame; a Raman pulse takes the frame as
its phase, since P(φ)·Rz(f) = Rz(f)·P(φ+f), and what is left at the end belongs to the read-out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target import schedule_search as rows
from cudaq_target.native_ops import CCZ, U3, CPhase, Rz
from cudaq_target.timeline import PulseProgram, Slot
from cudaq_target.units import TWO_PI

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.ccz import CczPulses
    from cudaq_target.device import DeviceRules
    from cudaq_target.native_ops import NativeCircuit
    from cudaq_target.place import Placement
    from cudaq_target.pulses import TargetPulse
    from cudaq_target.schedule import Schedule
    from cudaq_target.timeline import Pulse

    GatePulses = TargetPulse | CczPulses


class _Frames:
    """Virtual rotations of each atom by interval, and the global phase they leave behind."""

    def __init__(self, native: NativeCircuit) -> None:
        self.global_phase = native.global_phase
        self.rotations: list[list[U3]] = [[] for _ in range(native.n_qubits)]
        self.gates: list[CPhase | CCZ] = []
        self.intervals: list[tuple[int, ...]] = []
        virtual: list[tuple[int, int, float]] = []
        for op in native.ops:
            if isinstance(op, U3):
                self.rotations[op.qubit].append(op)
            elif isinstance(op, Rz):
                virtual.append((op.qubit, len(self.rotations[op.qubit]), op.angle))
            else:
                atoms = (op.a, op.b) if isinstance(op, CPhase) else (op.a, op.b, op.c)
                self.gates.append(op)
                self.intervals.append(tuple(len(self.rotations[atom]) for atom in atoms))
        self.virtual = [[0.0] * (len(r) + 1) for r in self.rotations]
        for atom, interval, angle in virtual:
            self.virtual[atom][interval] += angle

    def add(self, gate: int, atom: int, angle: float) -> None:
        """Rotate `atom` virtually in the interval in which gate number `gate` lies."""
        op = self.gates[gate]
        atoms = (op.a, op.b) if isinstance(op, CPhase) else (op.a, op.b, op.c)
        self.virtual[atom][self.intervals[gate][atoms.index(atom)]] += angle


def assemble(
    native: NativeCircuit,
    placement: Placement,
    schedule: Schedule,
    rotation_pulses: Sequence[Sequence[Pulse]],
    gate_pulses: Sequence[GatePulses],
    pi_pulse: Pulse,
    rules: DeviceRules,
) -> PulseProgram:
    """Turn a timed circuit into a pulse program.

    Args:
        native: Circuit on atoms.
        placement: Where the atoms stand.
        schedule: Timed actions for this circuit.
        rotation_pulses: Raman pulse of each U3 of each atom, with phase 0.
        gate_pulses: Pulses of each entangling gate, in the order of the circuit.
        pi_pulse: The Rydberg pulse that opens and closes a control.
        rules: The device.

    Returns:
        The program; its frames and global phase make its state equal to the circuit's.
    """
    frames = _Frames(native)
    slots: list[Slot] = []
    control, fresh = -1, False
    for _, role, op, atom, start_ns, _ in schedule.actions.tolist():
        if role == rows.ROTATE:
            continue
        if role in (rows.OPEN, rows.CLOSE):
            control = atom if role == rows.OPEN else -1
            fresh = role == rows.OPEN
            slots.append(Slot("rydberg", atom, start_ns, pi_pulse))
        elif role == rows.TARGET:
            pulses = gate_pulses[op]
            slots.append(Slot("rydberg", atom, start_ns, pulses.pulse))
            _correct_cphase(frames, op, control, atom, pulses, opens=fresh)
            fresh = False
        else:
            part = role - rows.CCZ_PART
            slots.append(Slot("rydberg", atom, start_ns, gate_pulses[op].pulses[part]))
            if part == 0:
                _correct_ccz(frames, op, gate_pulses[op])
    frames_rad = _add_rotations(frames, schedule, rotation_pulses, slots)
    return PulseProgram(
        device=rules,
        coordinates_um=placement.coordinates_um,
        slots=tuple(sorted(slots, key=lambda slot: (slot.start_ns, slot.beam))),
        duration_ns=schedule.duration_ns,
        frames_rad=frames_rad,
        atom_of_qubit=native.wire_of_qubit,
        global_phase_rad=frames.global_phase,
        traps=placement.traps,
    )


def _correct_cphase(
    frames: _Frames, gate: int, control: int, target: int, pulses: TargetPulse, *, opens: bool
) -> None:
    """Virtual rotations after one target pulse of a fan-out.

    Rz(target, α + θ) and Rz(control, θ) for each target, Rz(control, π) once per fan-out (see
    `pulses`).
    """
    frames.add(gate, target, pulses.target_shift_rad)
    frames.add(gate, control, pulses.theta_rad + (math.pi if opens else 0.0))
    frames.global_phase -= pulses.global_phase_rad + (math.pi / 2.0 if opens else 0.0)


def _correct_ccz(frames: _Frames, gate: int, pulses: CczPulses) -> None:
    op = frames.gates[gate]
    assert isinstance(op, CCZ)
    for atom, angle in zip((op.a, op.b, op.c), pulses.corrections_rad, strict=True):
        frames.add(gate, atom, angle)
    frames.global_phase -= pulses.global_phase_rad


def _add_rotations(
    frames: _Frames,
    schedule: Schedule,
    rotation_pulses: Sequence[Sequence[Pulse]],
    slots: list[Slot],
) -> np.ndarray:
    """Append the Raman slots with their phases; return the final frame of each atom (rad)."""
    phases: list[list[float]] = []
    final = np.zeros(len(frames.rotations))
    for atom, rotations in enumerate(frames.rotations):
        frame = frames.virtual[atom][0]
        of_atom: list[float] = []
        for k, rotation in enumerate(rotations):
            frame += rotation.lam
            of_atom.append(frame - math.pi / 2.0)
            frame += rotation.phi + frames.virtual[atom][k + 1]
        phases.append(of_atom)
        final[atom] = frame
    for _, role, k, atom, start_ns, _ in schedule.actions.tolist():
        if role == rows.ROTATE:
            pulse = rotation_pulses[atom][k]
            turned = pulse.with_phase((pulse.phase_rad + phases[atom][k]) % TWO_PI)
            slots.append(Slot("raman", atom, start_ns, turned))
    return final
