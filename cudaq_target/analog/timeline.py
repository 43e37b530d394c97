"""What a device plays for an analog program, ns by ns, and how far this is from what was asked.

A sample holds for one ns and is the mean of the waveform over it, so every pulse area is exact up
to rounding, wherever the points of the waveforms lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from pulser.register.register_layout import RegisterLayout

    from cudaq_target.analog.model import AnalogSpec
    from cudaq_target.analog.rules import AnalogRules


@dataclass(frozen=True, slots=True)
class PlayError:
    """How far the samples are from the waveforms of the specification.

    Attributes:
        amplitude_rad_per_us: Largest difference at any time (rad/µs).
        detuning_rad_per_us: Largest difference at any time (rad/µs).
        amplitude_area_rad: Largest difference of the areas from 0 to any whole ns (rad).
        detuning_area_rad: Largest difference of the areas from 0 to any whole ns (rad).
        phase_step_ns: Largest shift of a step of the phase, which goes to the clock (ns).
        padding_ns: Time without drive that was added at the end (ns).
        position_um: Largest distance of an atom from its site, after one common motion (µm).
    """

    amplitude_rad_per_us: float = 0.0
    detuning_rad_per_us: float = 0.0
    amplitude_area_rad: float = 0.0
    detuning_area_rad: float = 0.0
    phase_step_ns: float = 0.0
    padding_ns: float = 0.0
    position_um: float = 0.0


@dataclass(frozen=True, slots=True)
class PulseSpan:
    """One pulse: all samples from start to end, with one laser phase.

    Attributes:
        start_ns: First ns.
        end_ns: First ns after it.
        phase_rad: The phase (rad, in [0, 2π)), or None for a delay: no drive, constant detuning.
    """

    start_ns: int
    end_ns: int
    phase_rad: float | None


@dataclass(frozen=True, slots=True, eq=False)
class LocalSamples:
    """Local detuning as a detuning map modulator plays it.

    Attributes:
        samples: Detuning at weight 1, zero or negative (rad/µs), shape (duration_ns,).
        weights: Weight of each atom in [0, 1], shape (n_atoms,).
    """

    samples: NDArray[np.float64]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class AnalogTimeline:
    """An analog program for one device.

    The samples are the input of the device. Where its bandwidth is finite, the atoms see
    `analog.sequence.modulated(timeline)`.

    Attributes:
        device: The device's rules, with the Pulser device inside.
        spec: What was asked for.
        atoms_um: Positions of the atoms (µm), shape (n_atoms, 2), as the device holds them.
        traps: The `pulser` trap layout they stand on, or None.
        duration_ns: Length, a multiple of the clock (ns).
        amplitude: Samples of Ω (rad/µs), shape (duration_ns,).
        detuning: Samples of δ (rad/µs), shape (duration_ns,). A phase that varies smoothly is in
            here, as -dφ/dt.
        phase: Samples of φ (rad), shape (duration_ns,), constant within each pulse.
        spans: The pulses.
        local: Local detuning, or None.
        error: How far this is from what was asked for.
        eom: The pulses are played in the mode of the electro-optic modulator.
        is_modulated: These are not the samples to play, but what the atoms see of them.
    """

    device: AnalogRules
    spec: AnalogSpec
    atoms_um: NDArray[np.float64]
    traps: RegisterLayout | None
    duration_ns: int
    amplitude: NDArray[np.float64]
    detuning: NDArray[np.float64]
    phase: NDArray[np.float64]
    spans: tuple[PulseSpan, ...]
    local: LocalSamples | None
    error: PlayError
    eom: bool = False
    is_modulated: bool = False

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.atoms_um)

    def frame_rad(self, times_ns: ArrayLike) -> NDArray[np.float64]:
        """Return the angle between the played frame and that of the specification.

        What is played may have another detuning while the drive has another phase for it: a phase
        that varies smoothly, or the mode of the electro-optic modulator. The amplitudes of the
        specification are those of the samples times e^{i angle} per atom in r. Probabilities do
        not depend on it.

        Args:
            times_ns: Times (ns), any shape.

        Returns:
            Angles (rad), same shape.
        """
        times = np.asarray(times_ns, dtype=np.float64)
        spec, played = self.spec, self.detuning
        wanted = spec.detuning.integral(0.0, times)
        if self.is_modulated:
            # What modulation does to the detuning is physics, no choice of frame.
            smooth = spec.phase if spec.phase.kind == "linear" else spec.phase.scaled(0.0)
            return np.asarray(smooth.at(times) - smooth.values[0])
        if spec.local is not None:
            wanted = wanted + spec.local.weights[0] * spec.local.waveform.integral(0.0, times)
        if self.local is not None:
            played = played + self.local.weights[0] * self.local.samples
        edges = np.arange(len(played) + 1, dtype=np.float64)
        area = np.concatenate([[0.0], np.cumsum(played)]) * 1e-3
        return np.asarray(wanted - np.interp(times, edges, area))
