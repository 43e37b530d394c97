"""The time-dependent Hamiltonian of driven Rydberg atoms, as numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.emulator.analog.curves import Curve
from cudaq_target.emulator.run import couplings_of
from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Reals = NDArray[np.float64]

_COVERED_NS = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class RydbergProblem:
    """Atoms with levels g (0) and r (1) under a laser; ħ = 1.

    H(t) = Σ_i Ω_i/2 (e^{+iφ_i} |r><g| + h.c.) - Σ_i δ_i n_i + Σ_{i<j} V_ij n_i n_j, n = |r><r|.

    Atom 0 is the most significant bit of a basis state and the leftmost character of a bit string.

    Attributes:
        interactions_rad_per_us: V (rad/µs), shape (n_atoms, n_atoms), symmetric, zero diagonal.
        duration_ns: Length of the program (ns).
        amplitude: Ω(t) (rad/µs), shared or one per atom.
        detuning: δ(t) (rad/µs), shared or one per atom.
        phase: φ(t) (rad), shared or one per atom.
        local: Further detunings (curve in rad/µs, weight of each atom, shape (n_atoms,)), added
            to δ: a detuning map.
        decay_per_us: Rate Γ at which r loses its norm (1/µs), for evolution without a jump.
        amplitude_factors: What noise makes of Ω: factors on it, shape () or (n_atoms,), or None.
        detuning_offsets: What it adds to δ (rad/µs), shape (n_atoms,), or None.
    """

    interactions_rad_per_us: Reals
    duration_ns: float
    amplitude: Curve
    detuning: Curve = field(default_factory=lambda: Curve.constant(0.0))
    phase: Curve = field(default_factory=lambda: Curve.constant(0.0))
    local: tuple[tuple[Curve, Reals], ...] = ()
    decay_per_us: float = 0.0
    amplitude_factors: Reals | None = None
    detuning_offsets: Reals | None = None

    def __post_init__(self) -> None:
        shape = self.interactions_rad_per_us.shape
        if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
            raise OptionError(
                "interactions_rad_per_us", f"has shape {shape}", "Give one row and column per atom"
            )
        if not np.isfinite(self.interactions_rad_per_us).all():
            pair = np.argwhere(~np.isfinite(self.interactions_rad_per_us))[0].tolist()
            raise OptionError(
                "interactions_rad_per_us",
                f"atoms {pair[0]} and {pair[1]} have no finite interaction",
                "Place atoms apart from each other",
            )
        if not 0.0 < self.duration_ns < np.inf:
            raise OptionError(
                "duration_ns", f"is {self.duration_ns}", "Give a positive, finite time in ns"
            )
        for name, curve in self._curves():
            self._check(name, curve)

    def _curves(self) -> list[tuple[str, Curve]]:
        named = [("amplitude", self.amplitude), ("detuning", self.detuning), ("phase", self.phase)]
        return named + [(f"local detuning {k}", curve) for k, (curve, _) in enumerate(self.local)]

    def _check(self, name: str, curve: Curve) -> None:
        if curve.end_ns < self.duration_ns - _COVERED_NS:
            raise OptionError(
                name,
                f"ends at {curve.end_ns:g} ns, the program at {self.duration_ns:g} ns",
                "Define it up to the end",
            )
        if curve.n_atoms not in (None, self.n_atoms):
            raise OptionError(
                name, f"is given for {curve.n_atoms} atoms", f"There are {self.n_atoms}"
            )
        if not np.isfinite(curve.coefficients).all():
            piece = np.argwhere(~np.isfinite(curve.coefficients))[0, 0]
            raise OptionError(
                name, f"is not finite at {curve.edges_ns[piece]:g} ns", "Give finite values"
            )

    @classmethod
    def of(
        cls,
        atoms_um: ArrayLike,
        c6_rad_per_us_um6: float,
        duration_ns: float,
        amplitude: Curve,
        detuning: Curve | None = None,
        phase: Curve | None = None,
        local: Sequence[tuple[Curve, ArrayLike]] = (),
    ) -> RydbergProblem:
        """Place atoms that repel each other with V_ij = C6/R_ij^6.

        Args:
            atoms_um: Positions (µm), shape (n_atoms, 2 or 3).
            c6_rad_per_us_um6: Interaction coefficient (rad/µs·µm⁶).
            duration_ns: Length of the program (ns).
            amplitude: Ω(t) (rad/µs).
            detuning: δ(t) (rad/µs); 0 when left out.
            phase: φ(t) (rad); 0 when left out.
            local: See the class.

        Returns:
            The problem.

        Raises:
            OptionError: Atoms coincide, a curve ends too early or is not finite.
        """
        positions = np.atleast_2d(np.asarray(atoms_um, dtype=np.float64))
        with np.errstate(divide="ignore"):
            interactions = couplings_of(positions, c6_rad_per_us_um6)
        zero = Curve.constant(0.0)
        return cls(
            interactions,
            float(duration_ns),
            amplitude,
            zero if detuning is None else detuning,
            zero if phase is None else phase,
            tuple((curve, np.asarray(weights, dtype=np.float64)) for curve, weights in local),
        )

    @classmethod
    def of_samples(
        cls,
        atoms_um: ArrayLike,
        c6_rad_per_us_um6: float,
        amplitude: ArrayLike,
        detuning: ArrayLike,
        phase: ArrayLike | None = None,
        local: Sequence[tuple[ArrayLike, ArrayLike]] = (),
    ) -> RydbergProblem:
        """Read the samples that a device plays, one per ns.

        Amplitudes and detunings are read with `Curve.of_samples`, phases hold for their ns.

        Args:
            atoms_um: Positions (µm), shape (n_atoms, 2 or 3).
            c6_rad_per_us_um6: Interaction coefficient (rad/µs·µm⁶).
            amplitude: Ω (rad/µs), shape (duration_ns,) or (duration_ns, n_atoms).
            detuning: δ (rad/µs), same shapes.
            phase: φ (rad), same shapes; 0 when left out.
            local: Further detunings (samples in rad/µs, shape (duration_ns,); weight of each atom).

        Returns:
            The problem.

        Raises:
            OptionError: Atoms coincide, samples are too few or not finite.
        """
        return cls.of(
            atoms_um,
            c6_rad_per_us_um6,
            float(len(np.asarray(amplitude))),
            Curve.of_samples(amplitude),
            Curve.of_samples(detuning),
            None if phase is None else Curve.of_steps(phase),
            [(Curve.of_samples(samples), weights) for samples, weights in local],
        )

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.interactions_rad_per_us)

    @property
    def curves_are_shared(self) -> bool:
        """Whether no atom has a curve of its own."""
        return not self.local and all(curve.n_atoms is None for _, curve in self._curves())

    @property
    def kinks_ns(self) -> list[float]:
        """Moments inside the program at which a curve is not smooth (ns), ascending."""
        found = {kink for _, curve in self._curves() for kink in curve.kinks_ns}
        return sorted(kink for kink in found if 0.0 < kink < self.duration_ns)

    def light_shift(self, times_ns: Reals) -> Reals:
        """Integrate every atom's detuning from 0, local ones included.

        Args:
            times_ns: Ends of the integrals (ns), shape (n,).

        Returns:
            ∫δ_i dt (rad) without offsets, shape (n, 1) where all atoms agree, else (n, n_atoms).
        """
        total = _per_atom(self.detuning.antiderivative(times_ns))
        for curve, weights in self.local:
            total = total + _per_atom(curve.antiderivative(times_ns)) * weights
        return total

    def disturbed(self, shifts: Reals, angles: Reals, waits: Reals) -> tuple[Reals, Reals]:
        """Apply what noise makes of the drive, which curves do not hold.

        Args:
            shifts: Integrals of the detunings over some waits (rad), shape (n, n_atoms).
            angles: Integrals of the amplitudes over some turns (rad), same shape.
            waits: The waits (µs), shape (n,).

        Returns:
            Both, disturbed.
        """
        if self.detuning_offsets is not None:
            shifts = shifts + np.multiply.outer(waits, self.detuning_offsets)
        if self.amplitude_factors is not None:
            angles = angles * self.amplitude_factors
        return shifts, angles

    def drive(self, times_ns: Reals) -> tuple[Reals, Reals]:
        """Return Ω (rad/µs, without factors) and φ (rad), shapes (n, 1) or (n, n_atoms)."""
        return _per_atom(self.amplitude.at(times_ns)), _per_atom(self.phase.at(times_ns))

    def fastest_rad_per_us(self) -> float:
        """Largest pair interaction or amplitude (rad/µs), which limits the step."""
        factor = 1.0 if self.amplitude_factors is None else float(self.amplitude_factors.max())
        return max(float(self.interactions_rad_per_us.max()), factor * self.amplitude.largest())


def _per_atom(values: Reals) -> Reals:
    return values[:, None] if values.ndim == 1 else values
