"""Algebra of 2x2 unitaries as plain tuples.

A compiler multiplies thousands of 2x2 matrices; on tuples of Python's complex numbers a product
takes about 0.4 µs, on NumPy arrays ten times as long.
"""

from __future__ import annotations

import cmath
import math
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from cudaq_target.gates import one_qubit_rows
from cudaq_target.units import TWO_PI, wrap_rad

if TYPE_CHECKING:
    from cudaq_target.circuit import Gate

Matrix2 = tuple[complex, complex, complex, complex]
"""Row by row: (m00, m01, m10, m11)."""

IDENTITY: Final[Matrix2] = (1.0, 0.0, 0.0, 1.0)

ZERO_TOLERANCE: Final = 1e-13
"""Matrix elements below this count as zero.

Rounding leaves about 1e-15 in an element that is zero by structure, whatever the angles; the limit
is far above that, so that the same gates come out for any angles, and far below the 1e-10 that a
lowered circuit may be wrong by.
"""


class Shape(Enum):
    """What a 2x2 unitary does to the basis states."""

    DIAGONAL = 0
    ANTIDIAGONAL = 1
    GENERAL = 2


class EulerAngles(NamedTuple):
    """e^{i·phase}·Rz(phi)·Ry(theta)·Rz(lam), angles in rad, theta in [0, π]."""

    theta: float
    phi: float
    lam: float
    phase: float


class Spectrum(NamedTuple):
    """A unitary as V·diag(e^{i·first}, e^{i·(first + gap)})·V†, angles in rad.

    Attributes:
        first: Phase of the first eigenvalue.
        gap: Phase from the first eigenvalue to the second, in (-π, π].
        vectors: V, whose columns are the eigenvectors; the one nearest to |0> comes first, so
            that V is the identity for a diagonal matrix.
    """

    first: float
    gap: float
    vectors: Matrix2


def multiply(left: Matrix2, right: Matrix2) -> Matrix2:
    """Return the product left·right; `right` acts first.

    >>> multiply((0, 1, 1, 0), (1, 0, 0, -1))
    (0, -1, 1, 0)
    """
    a, b, c, d = left
    e, f, g, h = right
    return (a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h)


def dagger(matrix: Matrix2) -> Matrix2:
    """Return the Hermitian conjugate."""
    a, b, c, d = matrix
    return (a.conjugate(), c.conjugate(), b.conjugate(), d.conjugate())


def phase_gate(angle_rad: float) -> Matrix2:
    """Return diag(1, e^{iα}).

    Args:
        angle_rad: α (rad).
    """
    return (1.0, 0.0, 0.0, cmath.exp(1j * angle_rad))


def rz(angle_rad: float) -> Matrix2:
    """Return diag(e^{-iα/2}, e^{iα/2}).

    Args:
        angle_rad: α (rad).
    """
    return (cmath.exp(-0.5j * angle_rad), 0.0, 0.0, cmath.exp(0.5j * angle_rad))


def ry(angle_rad: float) -> Matrix2:
    """Return exp(-i·α/2·Y).

    Args:
        angle_rad: α (rad).
    """
    cos, sin = math.cos(angle_rad / 2), math.sin(angle_rad / 2)
    return (cos, -sin, sin, cos)


def named(gate: Gate) -> Matrix2:
    """Return the matrix on the target of a one-qubit gate, controls left out.

    Args:
        gate: Any gate with one target except `exp_pauli`, `unitary` and `prepare`.
    """
    (a, b), (c, d) = one_qubit_rows(gate.name, gate.params)
    return dagger((a, b, c, d)) if gate.adjoint else (a, b, c, d)


def shape(matrix: Matrix2) -> Shape:
    """Tell diagonal and antidiagonal unitaries from the others, within `ZERO_TOLERANCE`."""
    if abs(matrix[1]) < ZERO_TOLERANCE:
        return Shape.DIAGONAL
    return Shape.ANTIDIAGONAL if abs(matrix[0]) < ZERO_TOLERANCE else Shape.GENERAL


def euler_angles(matrix: Matrix2) -> EulerAngles:
    """Write a unitary as one Raman pulse between two virtual rotations.

    Args:
        matrix: Unitary, any global phase.

    Returns:
        Angles with theta in [0, π], phi and lam in (-π, π]. A diagonal matrix has theta = phi = 0,
        an antidiagonal one has lam = 0.
    """
    a, b, c, d = matrix
    match shape(matrix):
        case Shape.DIAGONAL:
            theta, phi, lam = 0.0, 0.0, cmath.phase(d) - cmath.phase(a)
            phase = cmath.phase(a) + lam / 2
        case Shape.ANTIDIAGONAL:
            theta, phi, lam = math.pi, cmath.phase(c) - cmath.phase(-b), 0.0
            phase = cmath.phase(-b) + phi / 2
        case Shape.GENERAL:
            theta = 2 * math.atan2(abs(c), abs(a))
            # The larger elements fix the phase: the smaller may be little more than rounding.
            if abs(a) >= abs(c):
                half_sum = (cmath.phase(d) - cmath.phase(a)) / 2
                phase = cmath.phase(a) + half_sum
                half_difference = cmath.phase(c) - phase
            else:
                half_difference = (cmath.phase(c) - cmath.phase(-b)) / 2
                phase = cmath.phase(-b) + half_difference
                half_sum = cmath.phase(d) - phase
            phi, lam = half_sum + half_difference, half_sum - half_difference
    wrapped_phi, wrapped_lam = wrap_rad(phi), wrap_rad(lam)
    # Rz(x + 2π) = -Rz(x): what wrapping takes from the angles goes into the phase.
    phase += (phi - wrapped_phi + lam - wrapped_lam) / 2
    return EulerAngles(theta, wrapped_phi, wrapped_lam, wrap_rad(phase))


def spectrum(matrix: Matrix2) -> Spectrum:
    """Diagonalise a unitary without iteration.

    Up to a phase, it turns by 2ω about an axis n: e^{iδ}(cos ω - i·sin ω·n·σ).

    Args:
        matrix: Unitary, any global phase.
    """
    a, b, c, d = matrix
    delta = cmath.phase(a * d - b * c) / 2
    unphase = cmath.exp(-1j * delta)
    a, b, c, d = a * unphase, b * unphase, c * unphase, d * unphase
    x, y, z = -(b + c).imag / 2, (c - b).real / 2, (d - a).imag / 2
    sine = math.sqrt(x * x + y * y + z * z)
    omega = math.atan2(sine, (a + d).real / 2)
    if sine < ZERO_TOLERANCE:
        return Spectrum(delta - omega, 0.0, IDENTITY)
    if z < 0:
        x, y, z, omega = -x, -y, -z, -omega
    gap = wrap_rad(2 * omega)
    planar = math.hypot(x, y)
    if planar < ZERO_TOLERANCE * sine:
        return Spectrum(delta - omega, gap, IDENTITY)
    polar = math.atan2(planar, z) / 2
    turn = complex(x, y) / planar
    cos, sin = math.cos(polar), math.sin(polar)
    return Spectrum(delta - omega, gap, (cos, -sin * turn.conjugate(), sin * turn, cos))


def is_zero_angle(angle_rad: float, tolerance_rad: float = 1e-12) -> bool:
    """Tell whether an angle is a multiple of 2π.

    Args:
        angle_rad: Angle (rad).
        tolerance_rad: How far it may be off (rad).
    """
    return abs(math.remainder(angle_rad, TWO_PI)) < tolerance_rad
