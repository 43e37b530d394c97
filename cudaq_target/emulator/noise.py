"""Noise of a Pulser `NoiseModel`, with Pulser's definitions, as random changes of a program.

What a run draws once, and what it means here (Pulser 1.9, `pulser._hamiltonian_data`):

- `state_prep_error`: an atom is missing with this probability: no laser drives it, nothing
  interacts with it, it reads 0.
- `temperature`: a Doppler shift per atom, N(0, k √(k_B T/m)), added to the detuning of all pulses
  on that atom, whichever the beam. `disable_doppler` switches it off.
- `amp_sigma`: a factor per beam, max(0, N(1, σ)), on all its amplitudes.
- `laser_waist`: acts on global channels only; gate programs have none, so it changes nothing.
- `detuning_sigma`: an offset per beam, N(0, σ), on the detuning of all its pulses.
- `detuning_hf_psd`, `detuning_hf_omegas`: a random waveform per beam, constant over each ns.
- `trap_waist`, `trap_depth`, `temperature`: Gaussian displacements of the atoms in x, y and z.

What happens during a run:

- `relaxation_rate` Γ: collapse operator √Γ |g><r|.
- `dephasing_rate` γ: √(2γ) |r><r|, and `hyperfine_dephasing_rate`: √(2γ) |h><h|. Coherences decay
  at rate γ. Exactly the same average follows from flips 1 - 2|r><r| at random times of rate γ/2.

What the read-out adds: `p_false_pos` (0 reads 1) and `p_false_neg` (1 reads 0).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.errors import OptionError
from cudaq_target.timeline import Pulse, PulseProgram, Slot

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pulser import NoiseModel

    from cudaq_target.timeline import Beam

_REFUSED = {
    "depolarizing": (
        "depolarizing_rate",
        "depolarizing noise is not defined for three-level atoms (Pulser refuses it as well)",
        "Use dephasing_rate and relaxation_rate instead",
    ),
    "leakage": (
        "with_leakage",
        "an error state outside g, h and r is not emulated",
        "Leave it out; leakage into r is always emulated",
    ),
    "eff_noise": (
        "eff_noise_opers",
        "free collapse operators are not emulated",
        "Use relaxation_rate, dephasing_rate and hyperfine_dephasing_rate",
    ),
    "dmm_sigma": (
        "dmm_sigma",
        "it acts on a detuning-map modulator, which gate programs do not use",
        "Leave it out",
    ),
    "dmm_crosstalk": (
        "detuning_map_spot_waist",
        "it acts on a detuning-map modulator, which gate programs do not use",
        "Leave it out",
    ),
}

_KNOWN = {"doppler", "register", "amplitude", "detuning", "SPAM", "dephasing", "relaxation"}

BEAMS: tuple[Beam, Beam] = ("rydberg", "raman")


@dataclass(frozen=True, slots=True)
class Noise:
    """A noise model in the emulator's terms.

    Attributes:
        state_prep_error: Probability that an atom is missing.
        p_false_pos: Probability that a 0 reads 1.
        p_false_neg: Probability that a 1 reads 0.
        doppler_rad_per_us: Standard deviation of the Doppler shift (rad/µs).
        amp_sigma: Relative standard deviation of a beam's amplitude.
        detuning_rad_per_us: Standard deviation of a beam's detuning offset (rad/µs).
        hf_amplitudes_rad_per_us: Amplitudes of the fast detuning noise (rad/µs).
        hf_omegas_rad_per_us: Their angular frequencies (rad/µs).
        position_um: Standard deviations of a position in x, y, z (µm).
        relaxation_per_us: Rate of r to g (1/µs).
        dephasing_per_us: Decay rate of coherences with r (1/µs).
        hyperfine_dephasing_per_us: Decay rate of coherences with h (1/µs).
        n_runs: Trajectories asked for (`NoiseModel.runs`), or None.
        shots_per_run: Shots taken from one trajectory when `n_runs` is None.
    """

    state_prep_error: float = 0.0
    p_false_pos: float = 0.0
    p_false_neg: float = 0.0
    doppler_rad_per_us: float = 0.0
    amp_sigma: float = 0.0
    detuning_rad_per_us: float = 0.0
    hf_amplitudes_rad_per_us: tuple[float, ...] = ()
    hf_omegas_rad_per_us: tuple[float, ...] = ()
    position_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    relaxation_per_us: float = 0.0
    dephasing_per_us: float = 0.0
    hyperfine_dephasing_per_us: float = 0.0
    n_runs: int | None = None
    shots_per_run: int = 1

    @classmethod
    def of(cls, model: NoiseModel, *, besides: frozenset[str] = frozenset()) -> Noise:
        """Translate a `pulser.NoiseModel`.

        Args:
            model: The model.
            besides: Noise types that the caller looks after; they are left out here.

        Returns:
            The same noise in the emulator's terms.

        Raises:
            OptionError: The model holds something that is not emulated, named with the reason.
        """
        if not hasattr(model, "noise_types"):
            raise OptionError(
                f"noise={model!r}", "is not a pulser.NoiseModel", "Pass pulser.NoiseModel(...)"
            )
        types = set(model.noise_types) - besides
        for noise_type, reasons in _REFUSED.items():
            if noise_type in types:
                raise OptionError(*reasons)
        if unknown := types - _KNOWN:
            raise OptionError(
                f"noise type {sorted(unknown)[0]!r}",
                "is not emulated here",
                f"Known are {', '.join(sorted(_KNOWN))}",
            )
        return cls(
            state_prep_error=model.state_prep_error,
            p_false_pos=model.p_false_pos,
            p_false_neg=model.p_false_neg,
            doppler_rad_per_us=_doppler(model) if "doppler" in types else 0.0,
            amp_sigma=model.amp_sigma,
            detuning_rad_per_us=model.detuning_sigma,
            hf_amplitudes_rad_per_us=_hf_amplitudes(model),
            hf_omegas_rad_per_us=tuple(model.detuning_hf_omegas[1:]),
            position_um=_position(model) if "register" in types else (0.0, 0.0, 0.0),
            relaxation_per_us=model.relaxation_rate,
            dephasing_per_us=model.dephasing_rate,
            hyperfine_dephasing_per_us=model.hyperfine_dephasing_rate,
            n_runs=model.runs,
            shots_per_run=model.samples_per_run,
        )

    @property
    def disturbs_pulses(self) -> bool:
        """Whether every run has pulses or positions of its own."""
        return bool(
            self.doppler_rad_per_us
            or self.amp_sigma
            or self.detuning_rad_per_us
            or self.hf_amplitudes_rad_per_us
            or any(self.position_um)
        )

    def n_trajectories(self, n_shots: int) -> int:
        """Number of runs that serve `n_shots` shots.

        `NoiseModel.runs` when it is given (at most one per shot), else one run per
        `samples_per_run` shots, which is one per shot by default.
        """
        if self.n_runs is not None:
            return max(1, min(self.n_runs, n_shots))
        return max(1, -(-n_shots // self.shots_per_run))


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """What one run draws at its start.

    Attributes:
        missing: Atoms that were not prepared, shape (n_atoms,), bool.
        doppler_rad_per_us: Detuning shift of each atom (rad/µs), shape (n_atoms,).
        displacement_um: Displacement of each atom (µm), shape (n_atoms, 3).
        amplitude: Factor on the amplitudes of each beam.
        detuning_rad_per_us: Offset of each beam (rad/µs).
        hf_phases_rad: Phases of the fast noise of each beam (rad).
    """

    missing: NDArray[np.bool_]
    doppler_rad_per_us: NDArray[np.float64]
    displacement_um: NDArray[np.float64]
    amplitude: dict[Beam, float]
    detuning_rad_per_us: dict[Beam, float]
    hf_phases_rad: dict[Beam, NDArray[np.float64]]


def draw(noise: Noise, n_atoms: int, rng: np.random.Generator) -> Draw:
    """Draw the start of one run; numbers are taken only for noise that is present.

    Args:
        noise: The noise.
        n_atoms: Number of atoms.
        rng: Source of randomness.

    Returns:
        The draw.
    """
    missing = np.zeros(n_atoms, dtype=np.bool_)
    if noise.state_prep_error:
        missing = rng.random(n_atoms) < noise.state_prep_error
    doppler = np.zeros(n_atoms)
    if noise.doppler_rad_per_us:
        doppler = rng.normal(0.0, noise.doppler_rad_per_us, n_atoms)
    displacement = np.zeros((n_atoms, 3))
    if any(noise.position_um):
        displacement = rng.normal(0.0, 1.0, (n_atoms, 3)) * noise.position_um
    amplitude: dict[Beam, float] = dict.fromkeys(BEAMS, 1.0)
    detuning: dict[Beam, float] = dict.fromkeys(BEAMS, 0.0)
    hf_phases: dict[Beam, NDArray[np.float64]] = {}
    for beam in BEAMS:
        if noise.amp_sigma:
            amplitude[beam] = max(0.0, float(rng.normal(1.0, noise.amp_sigma)))
        if noise.detuning_rad_per_us:
            detuning[beam] = float(rng.normal(0.0, noise.detuning_rad_per_us))
        n_waves = len(noise.hf_omegas_rad_per_us)
        hf_phases[beam] = rng.uniform(0.0, 2.0 * np.pi, n_waves) if n_waves else np.zeros(0)
    return Draw(missing, doppler, displacement, amplitude, detuning, hf_phases)


def disturb(program: PulseProgram, noise: Noise, drawn: Draw) -> PulseProgram:
    """Return the program as one run really executes it.

    Args:
        program: The program as it was written.
        noise: The noise.
        drawn: The start of the run.

    Returns:
        A program with pulses of missing atoms left out, and amplitudes, detunings and positions
        (three columns when they are displaced) as drawn.
    """
    slots = [slot for slot in program.slots if not drawn.missing[slot.atom]]
    if noise.disturbs_pulses:
        slots = [_disturb_slot(slot, noise, drawn) for slot in slots]
    coordinates = program.coordinates_um
    if any(noise.position_um):
        flat = np.zeros((len(coordinates), 3))
        flat[:, : coordinates.shape[1]] = coordinates
        coordinates = flat + drawn.displacement_um
    return dataclasses.replace(program, slots=tuple(slots), coordinates_um=coordinates)


def _disturb_slot(slot: Slot, noise: Noise, drawn: Draw) -> Slot:
    pulse = slot.pulse
    durations, rabi = pulse.durations_ns, pulse.rabi_rad_per_us
    detuning = pulse.detuning_rad_per_us
    if noise.hf_amplitudes_rad_per_us:
        rabi, detuning = np.repeat(rabi, durations), np.repeat(detuning, durations)
        durations = np.ones(len(rabi), dtype=np.int64)
        times_us = 1e-3 * (slot.start_ns + np.arange(len(rabi)))
        angle = np.multiply.outer(times_us, noise.hf_omegas_rad_per_us)
        angle = angle + drawn.hf_phases_rad[slot.beam]
        detuning = detuning + np.cos(angle) @ np.asarray(noise.hf_amplitudes_rad_per_us)
    shift = drawn.doppler_rad_per_us[slot.atom] + drawn.detuning_rad_per_us[slot.beam]
    disturbed = Pulse(
        durations, rabi * drawn.amplitude[slot.beam], detuning + shift, pulse.phase_rad
    )
    return Slot(slot.beam, slot.atom, slot.start_ns, disturbed)


def flip_readout(
    bits: NDArray[np.uint8], noise: Noise, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Apply read-out errors.

    Args:
        bits: What the atoms held, shape (n_shots, n_qubits).
        noise: The noise.
        rng: Source of randomness.

    Returns:
        What the camera reports, same shape.
    """
    if not (noise.p_false_pos or noise.p_false_neg):
        return bits
    threshold = np.where(bits == 1, noise.p_false_neg, noise.p_false_pos)
    return bits ^ (rng.random(bits.shape) < threshold).astype(np.uint8)


def _doppler(model: NoiseModel) -> float:
    from pulser.constants import KB, KEFF, MASS  # noqa: PLC0415

    return float(KEFF * np.sqrt(KB * model.temperature * 1e-6 / MASS))


def _position(model: NoiseModel) -> tuple[float, float, float]:
    """Spread of a position: σ_xy = √(T w²/4U), σ_z = (π/λ) √2 w σ_xy (Pulser's definition)."""
    from pulser.constants import TRAP_WAVELENGTH  # noqa: PLC0415

    plane = float(np.sqrt(model.temperature * model.trap_waist**2 / (4.0 * model.trap_depth)))
    axial = float(np.pi / TRAP_WAVELENGTH * np.sqrt(2.0) * model.trap_waist * plane)
    return plane, plane, axial


def _hf_amplitudes(model: NoiseModel) -> tuple[float, ...]:
    """Amplitudes √(2 Δω_k PSD_k) of the fast detuning noise (Pulser's definition)."""
    if not model.detuning_hf_psd:
        return ()
    widths = np.diff(model.detuning_hf_omegas)
    psd = np.asarray(model.detuning_hf_psd[1:])
    return tuple(np.sqrt(2.0 * widths * psd).tolist())
