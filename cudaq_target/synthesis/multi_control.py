"""Gates with any number of controls, without extra atoms, in as few CPhases as we know.

Three constructions, each proven in its docstring, call each other on ever fewer controls. A *flip*
is an X with controls that may add phases: to the controls alone (`flip`), which cost nothing when
the flip is undone later, or to all wires (`relative_flip`), which do when everything in between is
diagonal on them. After Barenco et al. (arXiv:quant-ph/9503016), Maslov (arXiv:1508.03273) and
Vale et al. (arXiv:2302.06377); here a CPhase of any angle costs the same.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Final

from cudaq_target.synthesis.one_qubit import (
    Matrix2,
    Shape,
    dagger,
    is_zero_angle,
    multiply,
    phase_gate,
    ry,
    rz,
    shape,
    spectrum,
)
from cudaq_target.units import wrap_rad

if TYPE_CHECKING:
    from cudaq_target.synthesis.merge import Merger

_H: Final[Matrix2] = (math.sqrt(0.5), math.sqrt(0.5), math.sqrt(0.5), -math.sqrt(0.5))
_X: Final[Matrix2] = (0.0, 1.0, 1.0, 0.0)

Wires = tuple[int, ...]


@cache
def flip_cost(n_controls: int, *, ccz: bool) -> int:
    """Count the entangling gates of `MultiControl.flip`."""
    if n_controls <= 1:
        return n_controls
    return 1 if ccz and n_controls == 2 else rotation_cost(n_controls, ccz=ccz)


@cache
def rotation_cost(n_controls: int, *, ccz: bool) -> int:
    """Count the entangling gates of `MultiControl.rotation`."""
    if n_controls <= 1:
        return n_controls
    if ccz and n_controls == 2:
        return 2
    half = n_controls // 2
    return 2 * (flip_cost(half, ccz=ccz) + flip_cost(n_controls - half, ccz=ccz))


@cache
def _outer_controls(n_controls: int, *, ccz: bool) -> int:
    """Return how many controls of a relative flip go to its outer pair of flips."""

    def cost(n_outer: int) -> int:
        return 2 * flip_cost(n_outer, ccz=ccz) + flip_cost(n_controls - n_outer, ccz=ccz)

    return min(range(1, n_controls), key=cost)


@cache
def relative_cost(n_controls: int, *, ccz: bool) -> int:
    """Count the entangling gates of `MultiControl.relative_flip`."""
    if n_controls <= 1 or (ccz and n_controls == 2):
        return flip_cost(n_controls, ccz=ccz)
    n_outer = _outer_controls(n_controls, ccz=ccz)
    return 2 * flip_cost(n_outer, ccz=ccz) + flip_cost(n_controls - n_outer, ccz=ccz)


@cache
def _by_conjugation(n_wires: int, *, ccz: bool) -> bool:
    """Tell which of its two constructions `MultiControl.phase` takes."""
    conjugation = 2 + 2 * relative_cost(n_wires - 2, ccz=ccz)
    return conjugation <= rotation_cost(n_wires - 1, ccz=ccz)


class MultiControl:
    """Writes gates with controls into a merger.

    Attributes:
        merger: Takes the gates.
    """

    def __init__(self, merger: Merger, *, ccz: bool) -> None:
        """Write into `merger`.

        Args:
            merger: Takes the gates.
            ccz: CCZ is a native gate.
        """
        self.merger = merger
        self._ccz = ccz

    def cnot(self, control: int, target: int) -> None:
        """Write X on `target` where `control` is 1."""
        self.merger.local(target, _H)
        self.merger.pair(control, target, math.pi)
        self.merger.local(target, _H)

    def phase(self, wires: Wires, theta: float) -> None:
        """Write e^{iθ} where all wires are 1.

        With A the product of all bits but the last two, c and t:
        2·A·c·t = c·t - (c ⊕ A)·t + A·t, hence half-angle CPhases around two flips of c by A, whose
        relative phases cancel since only a CPhase lies between.

        Args:
            wires: Distinct wires, any number; none means a global phase.
            theta: θ (rad).
        """
        if is_zero_angle(theta):
            return
        match wires:
            case ():
                self.merger.phase += theta
            case (wire,):
                self.merger.local(wire, phase_gate(theta))
            case (first, second):
                self.merger.pair(first, second, theta)
            case (first, second, third) if self._ccz and is_zero_angle(theta - math.pi):
                self.merger.triple(first, second, third)
            case (*rest, control, target) if _by_conjugation(len(wires), ccz=self._ccz):
                self.merger.pair(control, target, theta / 2)
                self.relative_flip(tuple(rest), control)
                self.merger.pair(control, target, -theta / 2)
                self.relative_flip(tuple(rest), control, inverse=True)
                self.phase((*rest, target), theta / 2)
            case (*controls, target):
                self.rotation(tuple(controls), target, theta)
                self.phase(tuple(controls), theta / 2)

    def rotation(self, controls: Wires, target: int, angle: float) -> None:
        """Write Rz(angle) on `target` where all controls are 1.

        With F and G the flips by two halves of the controls and R = Rz(angle/4), the product
        F†·R†·G†·R·F·R†·G·R is R⁴ where both flip, since X·R†·X = R, and 1 elsewhere.

        Args:
            controls: Any number.
            target: The rotated wire.
            angle: Angle (rad); Rz(angle + 2π) = -Rz(angle) matters here.
        """
        merger = self.merger
        match controls:
            case ():
                merger.local(target, rz(angle))
            case (control,):
                merger.local(control, phase_gate(-angle / 2))
                merger.pair(control, target, angle)
            case (_, _) if self._ccz:
                for sign in (1, -1):
                    merger.local(target, rz(sign * angle / 2))
                    self.flip(controls, target, inverse=sign < 0)
            case _:
                half = len(controls) // 2
                for inverse in (False, True):
                    merger.local(target, rz(angle / 4))
                    self.flip(controls[half:], target, inverse=inverse)
                    merger.local(target, rz(-angle / 4))
                    self.flip(controls[:half], target, inverse=inverse)

    def flip(self, controls: Wires, target: int, *, inverse: bool = False) -> None:
        """Write X on `target` where all controls are 1, up to phases of the controls.

        Args:
            controls: Any number.
            target: The flipped wire.
            inverse: Write the inverse, whose phases are the opposite ones.
        """
        self.merger.local(target, _H)
        match controls:
            case ():
                self.merger.local(target, phase_gate(math.pi))
            case (control,):
                self.merger.pair(control, target, math.pi)
            case (first, second) if self._ccz:
                self.merger.triple(first, second, target)
            case _:
                self.rotation(controls, target, -math.pi if inverse else math.pi)
        self.merger.local(target, _H)

    def relative_flip(self, controls: Wires, target: int, *, inverse: bool = False) -> None:
        """Write X on `target` where all controls are 1, up to phases of the basis states.

        G·F·G† with F the flip by the inner controls and G = Ry(π/4)·F'·Ry(π/4), F' the flip by the
        outer ones: G is X where F' flips, and else turns the X of F into Z.

        Args:
            controls: Any number but zero.
            target: The flipped wire.
            inverse: Write the inverse.
        """
        n_controls = len(controls)
        if n_controls == 1 or (self._ccz and n_controls == 2):
            self.flip(controls, target, inverse=inverse)
            return
        n_outer = _outer_controls(n_controls, ccz=self._ccz)
        outer, inner = controls[:n_outer], controls[n_outer:]
        for sign in (-1, 1):
            self.merger.local(target, ry(sign * math.pi / 4))
            self.flip(outer, target, inverse=sign < 0)
            self.merger.local(target, ry(sign * math.pi / 4))
            if sign < 0:
                self.flip(inner, target, inverse=inverse)

    def gate(self, controls: Wires, target: int, matrix: Matrix2) -> None:
        """Write a one-qubit unitary on `target` where all controls are 1, phases included.

        Args:
            controls: Any number.
            target: The wire acted on.
            matrix: The unitary.
        """
        if not controls:
            self.merger.local(target, matrix)
            return
        first, gap, vectors = spectrum(matrix)
        if is_zero_angle(first + gap):
            first, gap, vectors = first + gap, -gap, multiply(vectors, _X)
        self.merger.local(target, dagger(vectors))
        if len(controls) == 1 or is_zero_angle(first):
            self._one_eigenvalue(controls, target, gap, diagonal=shape(matrix) is Shape.DIAGONAL)
            self.phase(controls, first)
        else:
            common = wrap_rad(first + gap / 2)
            turns_around = is_zero_angle(common - math.pi)
            self.rotation(controls, target, gap + 2 * math.pi * turns_around)
            self.phase(controls, 0.0 if turns_around else common)
        self.merger.local(target, vectors)

    def _one_eigenvalue(self, controls: Wires, target: int, gap: float, *, diagonal: bool) -> None:
        """Write e^{i·gap} where all are 1; for two controls, with the pulses on the target."""
        if len(controls) == 2 and not diagonal and not self._ccz:
            self.rotation(controls, target, gap)
            self.phase(controls, gap / 2)
        else:
            self.phase((*controls, target), gap)
