"""Closed-form propagators of one driven transition.

Both beams drive one transition of a three-level atom, written here from its `lower` level (which
carries no detuning) to its `upper` one:

    H = Ω/2 (e^{iφ}|upper><lower| + e^{-iφ}|lower><upper|) - δ |upper><upper|

The Rydberg beam has lower = g and upper = r. The Raman beam has lower = h and upper = g, which is
why its phase counts the other way round when seen from g.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

US_PER_NS = 1e-3
_SMALL_RAD = 1e-9  # sin(x)/x is 1 to the last bit


def two_level(
    rabi_rad_per_us: ArrayLike,
    detuning_rad_per_us: ArrayLike,
    phase_rad: ArrayLike,
    duration_ns: ArrayLike,
) -> NDArray[np.complex128]:
    """Propagate a constant drive exactly; all arguments broadcast.

    Args:
        rabi_rad_per_us: Rabi frequency Ω (rad/µs).
        detuning_rad_per_us: Detuning δ (rad/µs); an imaginary part Γ/2 lets the upper level decay
            at rate Γ.
        phase_rad: Phase φ (rad).
        duration_ns: Time (ns).

    Returns:
        Matrices over (lower, upper), shape (..., 2, 2).

    >>> import numpy as np
    >>> bool(np.allclose(two_level(np.pi, 0.0, 0.0, 1000.0), [[0, -1j], [-1j, 0]]))
    True
    """
    rabi, detuning = np.asarray(rabi_rad_per_us), np.asarray(detuning_rad_per_us)
    phase, half_us = np.asarray(phase_rad), np.asarray(duration_ns) * (0.5 * US_PER_NS)
    angle = np.sqrt(rabi**2 + detuning**2) * half_us
    turn = np.exp(1j * detuning * half_us)
    # sin(W t/2)/W, where np.sinc(x) = sin(πx)/(πx); of subnormal angles the quotient overflows.
    slope = half_us * np.sinc(np.where(np.abs(angle) < _SMALL_RAD, 0.0, angle) / np.pi)
    cosine = np.cos(angle)
    tilt = 1j * detuning * slope
    hop = -1j * rabi * slope
    shape = np.broadcast_shapes(angle.shape, phase.shape)
    result = np.empty((*shape, 2, 2), dtype=np.complex128)
    result[..., 0, 0] = turn * (cosine - tilt)
    result[..., 1, 1] = turn * (cosine + tilt)
    result[..., 0, 1] = turn * hop * np.exp(-1j * phase)
    result[..., 1, 0] = turn * hop * np.exp(1j * phase)
    return result


def time_ordered(pieces: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Multiply propagators of consecutive pieces, the first one acting first.

    Args:
        pieces: Shape (n_pieces, ..., d, d).

    Returns:
        Their product, shape (..., d, d).

    >>> import numpy as np
    >>> time_ordered(np.array([[[1, 2], [0, 1]], [[0, 1], [1, 0]]], dtype=complex)).real.tolist()
    [[0.0, 1.0], [1.0, 2.0]]
    """
    while len(pieces) > 1:
        paired = pieces[1::2] @ pieces[: len(pieces) - 1 : 2]
        pieces = paired if len(pieces) % 2 == 0 else np.concatenate([paired, pieces[-1:]])
    product: NDArray[np.complex128] = pieces[0]
    return product
