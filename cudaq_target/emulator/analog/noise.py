"""Noise of a Pulser `NoiseModel` in analog programs, with Pulser's definitions.

What one run draws at its start (`cudaq_target.emulator.noise` has the common part):

- `state_prep_error`: an atom is missing: no laser drives it, nothing interacts with it, it reads 0.
- `temperature`: a Doppler shift per atom, added to the detuning throughout the program. Pulser adds
  it within pulses only; the two differ where a program waits without a pulse.
- `amp_sigma`: one factor on all amplitudes. `laser_waist`: exp(-(d/waist)²) on the amplitude of an
  atom at a distance d from the optical axis.
- `detuning_sigma`: one offset of the detuning. `detuning_hf_psd`: a random waveform on top.
- `trap_waist`, `trap_depth`, `temperature`: displacements of the atoms in x, y and z.
- `dmm_sigma`: one factor on the local detunings.

What happens during a run: relaxation (√Γ |g><r|) as quantum jumps; dephasing (coherences decay at
γ) and depolarizing (X, Y and Z at a rate of p/4 each) as Pauli operators at random times, which
gives exactly the same average. The read-out adds `p_false_pos` and `p_false_neg`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.emulator.analog.curves import Curve
from cudaq_target.emulator.noise import Noise
from cudaq_target.emulator.run import couplings_of
from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pulser import NoiseModel

    from cudaq_target.emulator.analog.problem import RydbergProblem

    Reals = NDArray[np.float64]

_REFUSED = {
    "leakage": (
        "with_leakage",
        "a level besides g and r is not emulated in analog programs",
        "Leave it out, or run on machine='emu-mps'",
    ),
    "eff_noise": (
        "eff_noise_opers",
        "free collapse operators are not emulated",
        "Use relaxation_rate, dephasing_rate and depolarizing_rate, or machine='qutip'",
    ),
    "dmm_crosstalk": (
        "detuning_map_spot_waist",
        "light of one spot of the detuning map on other atoms is not emulated",
        "Leave it out, or run on machine='qutip'",
    ),
}

_OURS = frozenset({"depolarizing", "dmm_sigma"})


@dataclass(frozen=True, slots=True)
class AnalogNoise:
    """A noise model in the emulator's terms.

    Attributes:
        common: What gate programs know as well.
        laser_waist_um: Waist of the global beam (µm), or None for a plane wave.
        dmm_sigma: Relative standard deviation of the local detunings.
        depolarizing_per_us: Rate p (1/µs).
    """

    common: Noise = dataclasses.field(default_factory=Noise)
    laser_waist_um: float | None = None
    dmm_sigma: float = 0.0
    depolarizing_per_us: float = 0.0

    @classmethod
    def of(cls, model: NoiseModel) -> AnalogNoise:
        """Translate a `pulser.NoiseModel`.

        Args:
            model: The model.

        Returns:
            The same noise in the emulator's terms.

        Raises:
            OptionError: The model holds something that is not emulated, named with the reason.
        """
        types = set(getattr(model, "noise_types", ()))
        for noise_type, reasons in _REFUSED.items():
            if noise_type in types:
                raise OptionError(*reasons)
        common = Noise.of(model, besides=_OURS)
        return cls(
            common,
            model.laser_waist if "amplitude" in types else None,
            model.dmm_sigma,
            model.depolarizing_rate,
        )

    @property
    def disturbs(self) -> bool:
        """Whether every run has a Hamiltonian of its own."""
        return self.common.disturbs_pulses or bool(self.dmm_sigma)

    @property
    def differs_by_run(self) -> bool:
        """Whether runs differ at all before the read-out."""
        common = self.common
        random_times = common.relaxation_per_us or self.kick_rates_per_us().any()
        return bool(self.disturbs or common.state_prep_error or random_times)

    @property
    def keeps_curves(self) -> bool:
        """Whether all runs have the same curves, up to factors and offsets."""
        return not (self.dmm_sigma or self.common.hf_omegas_rad_per_us)

    def kick_rates_per_us(self) -> Reals:
        """Rates of X, Y and Z on every atom (1/µs), shape (3,)."""
        each = 0.25 * self.depolarizing_per_us
        return np.array([each, each, each + 0.5 * self.common.dephasing_per_us])


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where the atoms of a problem are, for noise that depends on it.

    Attributes:
        atoms_um: Positions (µm), shape (n_atoms, 2 or 3).
        c6_rad_per_us_um6: Interaction coefficient (rad/µs·µm⁶).
        axis: Direction of the global beam through the origin.
    """

    atoms_um: Reals
    c6_rad_per_us_um6: float
    axis: tuple[float, float, float] = (0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class AnalogDraw:
    """What one run draws at its start.

    Attributes:
        present: Atoms that were prepared, shape (k,), ascending.
        displacement_um: Displacements (µm), shape (n_atoms, 3).
        amplitude: Factor on the amplitudes.
        detuning_rad_per_us: Offset of every atom's detuning (rad/µs), shape (n_atoms,).
        local: Factor on the local detunings.
        hf_phases_rad: Phases of the fast noise (rad).
    """

    present: NDArray[np.int64]
    displacement_um: Reals
    amplitude: float
    detuning_rad_per_us: Reals
    local: float
    hf_phases_rad: Reals


def draw(noise: AnalogNoise, n_atoms: int, rng: np.random.Generator) -> AnalogDraw:
    """Draw the start of one run; numbers are taken only for noise that is present.

    Args:
        noise: The noise.
        n_atoms: Number of atoms.
        rng: Source of randomness.
    """
    common = noise.common
    present = np.arange(n_atoms)
    if common.state_prep_error:
        present = np.flatnonzero(rng.random(n_atoms) >= common.state_prep_error)
    displacement = np.zeros((n_atoms, 3))
    if any(common.position_um):
        displacement = rng.normal(0.0, 1.0, (n_atoms, 3)) * common.position_um
    detuning = np.zeros(n_atoms)
    if common.doppler_rad_per_us:
        detuning = rng.normal(0.0, common.doppler_rad_per_us, n_atoms)
    if common.detuning_rad_per_us:
        detuning = detuning + rng.normal(0.0, common.detuning_rad_per_us)
    amplitude = max(0.0, float(rng.normal(1.0, common.amp_sigma))) if common.amp_sigma else 1.0
    local = max(0.0, float(rng.normal(1.0, noise.dmm_sigma))) if noise.dmm_sigma else 1.0
    phases = rng.uniform(0.0, 2.0 * np.pi, len(common.hf_omegas_rad_per_us))
    return AnalogDraw(present, displacement, amplitude, detuning, local, phases)


def disturb(
    problem: RydbergProblem, placement: Placement, noise: AnalogNoise, drawn: AnalogDraw
) -> RydbergProblem:
    """Return the problem as one run really has it, of the atoms that are there.

    Args:
        problem: The problem as it was written.
        placement: Where its atoms are.
        noise: The noise.
        drawn: The start of the run.
    """
    common, present = noise.common, drawn.present
    positions = np.zeros((problem.n_atoms, 3))
    positions[:, : placement.atoms_um.shape[1]] = placement.atoms_um
    positions += drawn.displacement_um
    interactions = problem.interactions_rad_per_us
    if any(common.position_um):
        interactions = couplings_of(positions, placement.c6_rad_per_us_um6)
    factors = None
    if noise.laser_waist_um is not None:
        factors = drawn.amplitude * _beam(positions, placement.axis, noise.laser_waist_um)[present]
    elif common.amp_sigma:
        factors = np.array(drawn.amplitude)
    offsets = drawn.detuning_rad_per_us[present]
    factor = drawn.local
    local = [(curve.times(factor), weights[present]) for curve, weights in problem.local]
    if common.hf_omegas_rad_per_us:
        wave = _fast_noise(common, drawn.hf_phases_rad, problem.duration_ns)
        local.append((wave, np.ones(len(present))))
    return dataclasses.replace(
        problem,
        interactions_rad_per_us=interactions[np.ix_(present, present)],
        amplitude=_of_atoms(problem.amplitude, present),
        detuning=_of_atoms(problem.detuning, present),
        phase=_of_atoms(problem.phase, present),
        local=tuple(local),
        decay_per_us=common.relaxation_per_us,
        amplitude_factors=factors,
        detuning_offsets=offsets if offsets.any() else None,
    )


def _of_atoms(curve: Curve, atoms: NDArray[np.int64]) -> Curve:
    if curve.n_atoms is None:
        return curve
    return Curve(curve.edges_ns, curve.coefficients[:, :, atoms], curve.kinks_ns)


def _beam(positions: Reals, axis: tuple[float, float, float], waist_um: float) -> Reals:
    """Amplitude of a Gaussian beam along `axis` at every atom; its Rayleigh length is infinite."""
    along = np.asarray(axis) / np.linalg.norm(axis)
    across = positions - np.outer(positions @ along, along)
    return np.asarray(np.exp(-np.einsum("ij,ij->i", across, across) / waist_um**2))


def _fast_noise(noise: Noise, phases: Reals, duration_ns: float) -> Curve:
    times = np.arange(np.ceil(duration_ns) + 1.0)
    angles = np.multiply.outer(1e-3 * times, noise.hf_omegas_rad_per_us) + phases
    return Curve.smooth(times, np.cos(angles) @ np.asarray(noise.hf_amplitudes_rad_per_us))
