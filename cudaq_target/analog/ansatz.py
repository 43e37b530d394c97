"""Analog programs with free points in their waveforms, for variational loops at pulse level.

A loop over `bind` builds no Pulser sequence and checks no geometry: the register is placed once.
Curves between free points are monotone (PCHIP) or straight, so they never exceed the points, and
points within `bounds` are within the limits of the device.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from cudaq_target.analog import limits
from cudaq_target.analog.layout import LAYOUT_TOLERANCE_UM
from cudaq_target.analog.lower import lower
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import AnalogProgram
from cudaq_target.analog.rules import DEFAULT_ANALOG_DEVICE, analog_rules
from cudaq_target.analog.sampling import deviation, means, straightened
from cudaq_target.emulator.analog.curves import even_pchip
from cudaq_target.errors import AnalogLimitError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray
    from pulser.register.register_layout import RegisterLayout

    from cudaq_target.analog.rules import AnalogRules
    from cudaq_target.analog.timeline import AnalogTimeline

# A PCHIP curve is kept as straight lines between times this far apart (ns).
_GRID_NS = 1
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Shape:
    """A curve through points at equal distances in time.

    Attributes:
        n_points: Number of points, both ends included.
        kind: "pchip": a smooth curve without overshoot. "linear": straight lines.
        first: Value at the start (rad/µs), or None where it is free.
        last: Value at the end (rad/µs), or None where it is free.
    """

    n_points: int
    kind: Literal["pchip", "linear"] = "pchip"
    first: float | None = None
    last: float | None = None

    def __post_init__(self) -> None:
        if self.n_points < 2 or self.kind not in ("pchip", "linear"):
            raise OptionError(
                "Shape",
                f"{self.n_points} points of kind {self.kind!r}",
                'Give at least 2 points, and "pchip" or "linear"',
            )

    @property
    def free(self) -> slice:
        """Which points are free."""
        return slice(int(self.first is not None), self.n_points - int(self.last is not None))

    @property
    def n_free(self) -> int:
        """Number of free points."""
        return len(range(self.n_points)[self.free])

    def points(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return all points (rad/µs) for values of the free ones, shape (n_free,)."""
        points = np.empty(self.n_points)
        points[0], points[-1] = self.first or 0.0, self.last or 0.0
        points[self.free] = values
        return points


@dataclass(frozen=True, slots=True, eq=False)
class AnalogAnsatz:
    """A family of analog programs; parameters are the free points, amplitude first (rad/µs).

    Attributes:
        amplitude: Shape of the Rabi frequency.
        detuning: Shape of the global detuning.
        base: A timeline with the register of all members.
        bounds: Lowest and highest valid value of each parameter (rad/µs), shape
            (n_parameters, 2); infinite where the device has no limit. As `scipy.optimize` takes it.
    """

    amplitude: Shape
    detuning: Shape
    base: AnalogTimeline
    bounds: NDArray[np.float64]

    @property
    def n_parameters(self) -> int:
        """Number of free points."""
        return self.amplitude.n_free + self.detuning.n_free

    def values(
        self, amplitude: Callable[[float], float], detuning: Callable[[float], float]
    ) -> NDArray[np.float64]:
        """Read parameters from functions, for a loop to start with.

        Args:
            amplitude: Rabi frequency (rad/µs) at a share of the duration in [0, 1].
            detuning: Detuning (rad/µs) at a share of the duration in [0, 1].

        Returns:
            Parameters (rad/µs), shape (n_parameters,).
        """
        found: list[float] = []
        for shape, function in ((self.amplitude, amplitude), (self.detuning, detuning)):
            shares = np.linspace(0.0, 1.0, shape.n_points)[shape.free]
            found += [float(function(share)) for share in shares.tolist()]
        return np.array(found)

    def bind(self, values: ArrayLike) -> AnalogProgram:
        """Make the program of some parameters.

        Args:
            values: Parameters (rad/µs), shape (n_parameters,).

        Returns:
            A program, whose `bind` takes other parameters.

        Raises:
            OptionError: Another number of parameters, or values that are not finite.
            AnalogLimitError: A parameter is out of bounds, or the mean amplitude is too small.
        """
        parameters = self._checked(values)
        base = self.base
        cut = self.amplitude.n_free
        curves = []
        for shape, part, name in (
            (self.amplitude, parameters[:cut], "amplitude"),
            (self.detuning, parameters[cut:], "detuning"),
        ):
            wave = _curve(shape, shape.points(part), base.spec.duration_ns, name)
            after = 0.0 if name == "amplitude" else None
            samples = means(wave, base.duration_ns, after=after)
            if shape.kind == "linear":
                samples = straightened(samples)
            curves.append((wave, samples, *deviation(wave, samples)))
        drive, shift = curves
        limits.check_average(base.device, drive[1], base.spans)
        return AnalogProgram(
            dataclasses.replace(
                base,
                spec=base.spec.with_waveforms(drive[0], shift[0]),
                amplitude=drive[1],
                detuning=shift[1],
                error=dataclasses.replace(
                    base.error,
                    amplitude_rad_per_us=drive[2],
                    amplitude_area_rad=drive[3],
                    detuning_rad_per_us=shift[2],
                    detuning_area_rad=shift[3],
                ),
            ),
            binder=self.bind,
        )

    def to_json(self) -> str:
        """Serialise, so that a machine elsewhere makes the members from parameters alone."""
        from cudaq_target.analog.ansatz_json import dumps  # noqa: PLC0415

        return dumps(self)

    @staticmethod
    def from_json(text: str) -> AnalogAnsatz:
        """Read what `to_json` wrote.

        Raises:
            OptionError: The text is no such ansatz, or of an unknown version.
        """
        from cudaq_target.analog.ansatz_json import loads  # noqa: PLC0415

        return loads(text)

    def _checked(self, values: ArrayLike) -> NDArray[np.float64]:
        parameters = np.asarray(values, dtype=np.float64)
        if parameters.shape != (self.n_parameters,) or not np.isfinite(parameters).all():
            raise OptionError(
                "parameters of the ansatz",
                f"shape {parameters.shape}, or values that are not finite",
                f"Give {self.n_parameters} finite values: {self.amplitude.n_free} of the "
                f"amplitude, then {self.detuning.n_free} of the detuning (rad/µs)",
            )
        low, high = self.bounds.T
        inside = np.clip(parameters, low, high)
        room = _ROUNDING * np.where(np.isfinite(high), np.abs(high), 1.0)
        outside = np.flatnonzero(np.abs(inside - parameters) > room)
        if outside.size:
            at = int(outside[0])
            what = "amplitude" if at < self.amplitude.n_free else "detuning"
            raise AnalogLimitError(
                subject=f"parameter {at} (a point of the {what}), {parameters[at]:.6g} rad/µs",
                limit=f"{low[at]:.6g} to {high[at]:.6g} rad/µs",
                device=self.base.device.name,
                remedy=f"Nearest valid value: {inside[at]:.9g} rad/µs; give the optimiser `bounds`",
                value=float(parameters[at]),
                nearest=float(inside[at]),
            )
        return inside


def analog_ansatz(
    sites_um: ArrayLike,
    duration_ns: int,
    amplitude: Shape,
    detuning: Shape,
    device: object = DEFAULT_ANALOG_DEVICE,
    *,
    filling: ArrayLike | None = None,
    phase_rad: float = 0.0,
    traps: RegisterLayout | None = None,
    layout_tolerance_um: float = LAYOUT_TOLERANCE_UM,
    name: str = "ansatz",
) -> AnalogAnsatz:
    """Place a register and make a family of programs on it.

    Args:
        sites_um: Positions (µm), shape (n_sites, 2).
        duration_ns: Length of all members (ns).
        amplitude: Shape of the Rabi frequency.
        detuning: Shape of the global detuning.
        device: Name of a bundled Pulser device, path of a device file, a `pulser` device object,
            or rules that were read before.
        filling: Which sites hold an atom, shape (n_sites,); None for all.
        phase_rad: Laser phase (rad).
        traps: A `pulser` layout to place the atoms on, or None to choose.
        layout_tolerance_um: How far a trap may be from the place of an atom (µm).
        name: What to call the programs.

    Returns:
        The ansatz; `bind(values)` makes its members.

    Raises:
        TargetError: Of the kind that names the broken limit.

    >>> ansatz = analog_ansatz(
    ...     [(0, 0), (6, 0), (12, 0)], 2000, Shape(4, first=0.0, last=0.0), Shape(3)
    ... )
    >>> ansatz.n_parameters
    5
    >>> ansatz.bind([9.0, 9.0, -20.0, 0.0, 20.0]).bind([8.0, 8.0, -20.0, 5.0, 20.0])
    <AnalogProgram: ansatz on AnalogDevice, 3 atoms, 2.000 µs>
    """
    rules = analog_rules(device)
    spec = AnalogSpec.of(
        sites_um,
        Waveform.constant(float(duration_ns), 0.0, "amplitude"),
        Waveform.constant(float(duration_ns), 0.0, "detuning"),
        phase_rad,
        filling=filling,
        name=name,
    )
    base = lower(spec, rules, traps=traps, layout_tolerance_um=layout_tolerance_um)
    _check_fixed(rules, amplitude, detuning)
    peak, edge = rules.drive.max_amplitude_rad_per_us, rules.drive.max_detuning_rad_per_us
    bounds = [(0.0, peak)] * amplitude.n_free + [(-edge, edge)] * detuning.n_free
    return AnalogAnsatz(amplitude, detuning, base, np.array(bounds).reshape(-1, 2))


def _check_fixed(rules: AnalogRules, amplitude: Shape, detuning: Shape) -> None:
    """Check the points that are not free, as samples of a waveform."""
    for shape, check in (
        (amplitude, limits.checked_amplitude),
        (detuning, limits.checked_detuning),
    ):
        check(rules, shape.points(np.zeros(shape.n_free)))
    lowest = min(amplitude.first or 0.0, amplitude.last or 0.0)
    if lowest < 0.0 or not math.isfinite(lowest):
        raise OptionError("Shape of the amplitude", f"an end at {lowest:g} rad/µs", "Use 0 or more")


def _curve(shape: Shape, points: NDArray[np.float64], duration_ns: float, name: str) -> Waveform:
    if shape.kind == "linear" or shape.n_points == 2:
        return Waveform(np.linspace(0.0, duration_ns, shape.n_points), points, "linear", name)
    times_ns, piece, since = _grid(shape.n_points, duration_ns)
    c = even_pchip(points)[piece].T
    curve = ((c[3] * since + c[2]) * since + c[1]) * since + c[0]
    # Free of overshoot up to rounding, which must not make an amplitude negative.
    return Waveform(times_ns, np.clip(curve, points.min(), points.max()), "linear", name)


@lru_cache(maxsize=16)
def _grid(
    n_points: int, duration_ns: float
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Times at which a curve is kept (ns), the piece of each, and how far into it, in spacings."""
    points_ns = np.linspace(0.0, duration_ns, n_points)
    times_ns = np.union1d(np.arange(0.0, duration_ns, _GRID_NS), points_ns)
    piece = np.clip(np.searchsorted(points_ns, times_ns, side="right") - 1, 0, n_points - 2)
    return times_ns, piece, (times_ns - points_ns[piece]) * (n_points - 1) / duration_ns
