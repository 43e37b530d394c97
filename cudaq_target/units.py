"""Units: µm, ns, rad/µs, rad. C6 in rad/µs·µm⁶ comes from the device, never from here."""

from __future__ import annotations

import math

TWO_PI = 2.0 * math.pi


def rad_per_us_from_mhz(frequency_mhz: float) -> float:
    """Convert an ordinary frequency into an angular one.

    Args:
        frequency_mhz: Frequency (MHz).

    Returns:
        Angular frequency (rad/µs).

    >>> round(rad_per_us_from_mhz(10.0), 4)
    62.8319
    """
    return TWO_PI * frequency_mhz


def wrap_rad(angle_rad: float) -> float:
    """Bring an angle into (-π, π].

    >>> wrap_rad(3 * math.pi) == math.pi
    True
    """
    wrapped = math.remainder(angle_rad, TWO_PI)
    return math.pi if wrapped <= -math.pi else wrapped
