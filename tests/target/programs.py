"""Hand-timed pulse programs with known ideal states, shared by the tests of every machine.

The timing here is naive (one gate after the other) and follows Pulser's channel rules by itself, so
that machines can be tested without placement, routing and scheduling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from cudaq_target.ccz import ccz_pulses
from cudaq_target.device import interaction_rad_per_us
from cudaq_target.pulses import cphase_pulse, pi_pulse, raman_pulse
from cudaq_target.sequence import register
from cudaq_target.timeline import PulseProgram, Slot

PADDING_NS = 16


@dataclass
class _Channel:
    free_ns: int = 0
    targeted_ns: int = 0
    atom: int | None = None


@dataclass
class Builder:
    """Appends gates at the earliest time that the device's channel rules allow."""

    rules: object
    coordinates_um: np.ndarray
    slots: list = field(default_factory=list)
    global_phase_rad: float = 0.0

    def __post_init__(self):
        self.coordinates_um = register(self.rules, np.asarray(self.coordinates_um, float))[1]
        n_atoms = len(self.coordinates_um)
        self.frames_rad = np.zeros(n_atoms)
        self.ready_ns = np.full(n_atoms, PADDING_NS)
        self.channels = {"rydberg": _Channel(), "raman": _Channel()}

    def _append(self, beam, atom, pulse):
        limits, channel = getattr(self.rules, beam), self.channels[beam]
        clock_ns = limits.clock_ns
        if channel.atom not in (None, atom):
            since_ns = channel.free_ns - channel.targeted_ns
            wait_ns = max(limits.min_retarget_ns - since_ns, limits.fixed_retarget_ns, 0)
            if wait_ns:
                wait_ns = math.ceil(max(wait_ns, limits.min_duration_ns) / clock_ns) * clock_ns
            channel.free_ns = channel.targeted_ns = channel.free_ns + wait_ns
        channel.atom = atom
        wait_ns = int(self.ready_ns[atom]) - channel.free_ns
        if wait_ns > 0:
            channel.free_ns += math.ceil(max(wait_ns, limits.min_duration_ns) / clock_ns) * clock_ns
        self.slots.append(Slot(beam, atom, channel.free_ns, pulse))
        channel.free_ns += pulse.duration_ns
        self.ready_ns[atom] = channel.free_ns

    def u3(self, atom, theta, phi, lam):
        """Rz(phi) Ry(theta) Rz(lam)."""
        self.frames_rad[atom] += lam
        phase_rad = (-math.pi / 2 + self.frames_rad[atom]) % (2 * math.pi)
        self._append("raman", atom, raman_pulse(self.rules, theta, phase_rad))
        self.frames_rad[atom] += phi

    def h(self, atom):
        self.u3(atom, math.pi / 2, 0.0, math.pi)
        self.global_phase_rad += math.pi / 2

    def cphases(self, control, gates):
        """CPhase(θ) on (control, target) for each (target, θ), one fan-out."""
        pulses = []
        self._append("rydberg", control, pi_pulse(self.rules))
        for target, theta in gates:
            distance_um = np.linalg.norm(self.coordinates_um[control] - self.coordinates_um[target])
            interaction = interaction_rad_per_us(self.rules, distance_um)
            pulses.append(cphase_pulse(self.rules, interaction, theta))
            self._append("rydberg", target, pulses[-1].pulse)
            self.frames_rad[target] += pulses[-1].target_shift_rad
        self._append("rydberg", control, pi_pulse(self.rules))
        self.frames_rad[control] += math.pi + sum(pulse.theta_rad for pulse in pulses)
        self.global_phase_rad -= math.pi / 2 + sum(pulse.global_phase_rad for pulse in pulses)

    def ccz(self, a, b, c):
        """CCZ on three atoms at equal distances."""
        atoms = self.coordinates_um[[a, b, c]]
        distances_um = [np.linalg.norm(atoms[i] - atoms[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
        interactions = tuple(interaction_rad_per_us(self.rules, d) for d in distances_um)
        found = ccz_pulses(self.rules, interactions)
        for atom, pulse in zip((a, b, c, b, a), found.pulses, strict=True):
            self._append("rydberg", atom, pulse)
        self.frames_rad[[a, b, c]] += found.corrections_rad
        self.global_phase_rad -= found.global_phase_rad

    def cx(self, control, target):
        self.h(target)
        self.cphases(control, [(target, math.pi)])
        self.h(target)

    def program(self, atom_of_qubit=None):
        clock_ns = math.lcm(self.rules.rydberg.clock_ns, self.rules.raman.clock_ns)
        end_ns = max(slot.end_ns for slot in self.slots) + PADDING_NS
        return PulseProgram(
            device=self.rules,
            coordinates_um=self.coordinates_um,
            slots=tuple(sorted(self.slots, key=lambda slot: slot.start_ns)),
            duration_ns=-(-end_ns // clock_ns) * clock_ns,
            frames_rad=self.frames_rad.copy(),
            atom_of_qubit=tuple(atom_of_qubit or range(len(self.coordinates_um))),
            global_phase_rad=self.global_phase_rad,
        )


def line_um(n_atoms, spacing_um=5.0):
    """Atoms on a line, centred on the origin, shape (n_atoms, 2)."""
    x_um = spacing_um * (np.arange(n_atoms) - (n_atoms - 1) / 2)
    return np.stack([x_um, np.zeros(n_atoms)], axis=1)


def triangle_um(spacing_um):
    """Three atoms, each at this distance from the other two, shape (3, 2)."""
    height_um = spacing_um * math.sqrt(3) / 2
    x_um = [-spacing_um / 2, spacing_um / 2, 0.0]
    return np.stack([x_um, [-height_um / 3, -height_um / 3, 2 * height_um / 3]], axis=1)


def bell(rules, spacing_um=5.0):
    """(|00> + |11>)/√2."""
    builder = Builder(rules, line_um(2, spacing_um))
    builder.h(0)
    builder.cx(0, 1)
    return builder.program()


def bell_state():
    return np.array([1, 0, 0, 1], dtype=complex) / math.sqrt(2)


def ghz(rules, n, spacing_um=5.0):
    """(|0…0> + |1…1>)/√2 on a line of n atoms."""
    builder = Builder(rules, line_um(n, spacing_um))
    builder.h(0)
    for k in range(n - 1):
        builder.cx(k, k + 1)
    return builder.program()


def ghz_state(n):
    state = np.zeros(2**n, dtype=complex)
    state[0] = state[-1] = 1 / math.sqrt(2)
    return state


FAN_OUT_GATES = ((1, math.pi / 2), (2, -math.pi / 4))
FAN_OUT_ROTATIONS = ((1.1, 0.3, -0.4), (0.7, -1.2, 2.0), (2.3, 0.1, 0.9))


def fan_out(rules, spacing_um=4.5):
    """Generic rotations, CPhase(π/2) on 0-1 and CPhase(-π/4) on 0-2 in one excitation, again."""
    builder = Builder(rules, triangle_um(spacing_um))
    for atom, angles in enumerate(FAN_OUT_ROTATIONS):
        builder.u3(atom, *angles)
    builder.cphases(0, list(FAN_OUT_GATES))
    for atom, angles in enumerate(FAN_OUT_ROTATIONS):
        builder.u3(atom, *angles)
    return builder.program()


def fan_out_state():
    rotation = kron(*(u3(*angles) for angles in FAN_OUT_ROTATIONS))
    state = rotation[:, 0]
    for target, theta in FAN_OUT_GATES:
        state = cphase(3, 0, target, theta) * state
    return rotation @ state


PERMUTATION = (2, 0, 1)


def permuted(rules, spacing_um=4.5):
    """The fan-out program with kernel qubit k held by atom PERMUTATION[k]."""
    plain = fan_out(rules, spacing_um)
    fields = {name: getattr(plain, name) for name in PulseProgram.__slots__}
    return PulseProgram(**(fields | {"atom_of_qubit": PERMUTATION}))


def permuted_state():
    return fan_out_state().reshape(2, 2, 2).transpose(PERMUTATION).ravel()


def ccz(rules, spacing_um=5.0):
    """Generic rotations, CCZ on a triangle, the same rotations again."""
    builder = Builder(rules, triangle_um(spacing_um))
    for atom, angles in enumerate(FAN_OUT_ROTATIONS):
        builder.u3(atom, *angles)
    builder.ccz(0, 1, 2)
    for atom, angles in enumerate(FAN_OUT_ROTATIONS):
        builder.u3(atom, *angles)
    return builder.program()


def ccz_state():
    rotation = kron(*(u3(*angles) for angles in FAN_OUT_ROTATIONS))
    state = rotation[:, 0].copy()
    state[-1] *= -1
    return rotation @ state


def single(rules, theta=1.1, phi=0.4, lam=-0.7):
    """One atom, one Raman pulse, no Rydberg pulse."""
    builder = Builder(rules, np.zeros((1, 2)))
    builder.u3(0, theta, phi, lam)
    return builder.program()


def single_state(theta=1.1, phi=0.4, lam=-0.7):
    return u3(theta, phi, lam)[:, 0]


def u3(theta, phi, lam):
    """Rz(phi) Ry(theta) Rz(lam)."""
    cosine, sine = math.cos(theta / 2), math.sin(theta / 2)
    rotation = np.array([[cosine, -sine], [sine, cosine]], dtype=complex)
    return rz(phi)[:, None] * rotation * rz(lam)[None, :]


def rz(angle):
    return np.exp([-0.5j * angle, 0.5j * angle])


def cphase(n, a, b, theta):
    """Diagonal of CPhase(θ) on qubits a and b of n, qubit 0 most significant."""
    index = np.arange(2**n)
    both = (index >> (n - 1 - a)) & (index >> (n - 1 - b)) & 1
    return np.exp(1j * theta * both)


def kron(*factors):
    product = np.ones((1, 1), dtype=complex)
    for factor in factors:
        product = np.kron(product, factor)
    return product
