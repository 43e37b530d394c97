"""What an analog program asks for: sites, and waveforms over time. No device, no host library.

The Hamiltonian, ħ = 1, with n = |r><r| and atom 0 as the most significant bit (1 means r):

    H = Σ_i Ω/2 (e^{+iφ}|r><g| + e^{-iφ}|g><r|)_i - Σ_i (δ + w_i δ_local) n_i
        + Σ_{i<j} C6/R_ij⁶ n_i n_j

These are Pulser's signs. Programs in the AHS schema count the phase the other way (`analog.ahs`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from cudaq_target.errors import RegisterError, WaveformError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Kind: TypeAlias = Literal["linear", "step"]

_NS_PER_US = 1e3
# Times come from seconds as floats; a µs has 1e3 ns, so this is far below any clock.
_SAME_TIME_NS = 1e-6
_SAME_PLACE_UM = 1e-6
_SITES_REMEDY = "Give one finite (x, y) in µm per site"


@dataclass(init=False, frozen=True, slots=True, eq=False)
class Waveform:
    """A real function of time, given by points.

    Attributes:
        times_ns: Times of the points (ns), shape (k,), strictly increasing from 0.
        values: Values there (rad/µs, or rad for a phase), shape (k,).
        kind: "linear": straight lines between the points. "step": each value holds until the next
            point; the last one at the last time alone.
        name: What to call it in an error.

    Raises:
        WaveformError: The points are no function of time, or not finite.

    >>> ramp = Waveform([0.0, 1000.0], [0.0, 4.0])
    >>> float(ramp.at(250.0)), float(ramp.integral(0.0, 1000.0))
    (1.0, 2.0)
    """

    times_ns: NDArray[np.float64]
    values: NDArray[np.float64]
    kind: Kind = "linear"
    name: str = "waveform"
    _area: NDArray[np.float64] = field(init=False, repr=False)

    def __init__(
        self, times_ns: ArrayLike, values: ArrayLike, kind: Kind = "linear", name: str = "waveform"
    ) -> None:
        times = _reals(times_ns, f"times of the {name}")
        points = _reals(values, name)
        _check_points(times, points, kind, name)
        area = np.concatenate([[0.0], np.cumsum(_pieces(times, points, kind))])
        for array in (times, points, area):
            array.flags.writeable = False
        for attribute, value in (
            ("times_ns", times), ("values", points), ("kind", kind), ("name", name), ("_area", area)
        ):  # fmt: skip
            object.__setattr__(self, attribute, value)

    @classmethod
    def constant(cls, duration_ns: float, value: float, name: str = "waveform") -> Waveform:
        """One value from 0 to the end."""
        return cls([0.0, duration_ns], [value, value], "linear", name)

    @property
    def duration_ns(self) -> float:
        """Time of the last point (ns)."""
        return float(self.times_ns[-1])

    @property
    def is_constant(self) -> bool:
        """Whether all points have one value, the last of steps apart, which holds for no time."""
        held = self.values[:-1] if self.kind == "step" else self.values
        return bool((held == held[0]).all())

    def at(self, times_ns: ArrayLike) -> NDArray[np.float64]:
        """Evaluate; before the first and after the last point the nearest value.

        Args:
            times_ns: Times (ns), any shape.

        Returns:
            Values, same shape.
        """
        times = np.asarray(times_ns, dtype=np.float64)
        if self.kind == "linear":
            return np.asarray(np.interp(times, self.times_ns, self.values))
        place = np.searchsorted(self.times_ns, times, side="right") - 1
        return np.asarray(self.values[np.clip(place, 0, len(self.values) - 1)])

    def integral(self, from_ns: ArrayLike, to_ns: ArrayLike) -> NDArray[np.float64]:
        """Integrate exactly; nothing is added before the first and after the last point.

        Args:
            from_ns: Lower bounds (ns).
            to_ns: Upper bounds (ns), of a shape that goes with the lower ones.

        Returns:
            Value times µs, so rad for values in rad/µs.
        """
        return np.asarray(self._area_until(to_ns) - self._area_until(from_ns))

    def _area_until(self, times_ns: ArrayLike) -> NDArray[np.float64]:
        times = np.clip(np.asarray(times_ns, dtype=np.float64), 0.0, self.times_ns[-1])
        place = np.clip(
            np.searchsorted(self.times_ns, times, side="right") - 1, 0, len(self.times_ns) - 2
        )
        since = times - self.times_ns[place]
        mean = self.values[place]
        if self.kind == "linear":
            mean = 0.5 * (mean + self.at(times))
        return np.asarray(self._area[place] + mean * since / _NS_PER_US)

    def on_whole_ns(self) -> Waveform:
        """Return the same waveform without what is left of rounding when times come from seconds.

        Times within 1e-6 ns of a whole ns go there.
        """
        whole = np.rint(self.times_ns)
        times = np.where(np.abs(whole - self.times_ns) < _SAME_TIME_NS, whole, self.times_ns)
        if (times == self.times_ns).all() or (np.diff(times) <= 0.0).any():
            return self
        return Waveform(times, self.values, self.kind, self.name)

    def scaled(self, factor: float, name: str | None = None) -> Waveform:
        """Multiply all values by a factor."""
        return Waveform(self.times_ns, factor * self.values, self.kind, name or self.name)


@dataclass(frozen=True, slots=True, eq=False)
class LocalDetuning:
    """A detuning that every atom feels with its own weight.

    Attributes:
        waveform: The detuning (rad/µs) at weight 1, with the sign of the global one.
        weights: Weight of each atom, shape (n_atoms,), in [0, 1].

    Raises:
        WaveformError: A weight is outside.
    """

    waveform: Waveform
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        weights = _reals(self.weights, "weights of the local detuning")
        outside = np.flatnonzero((weights < 0.0) | (weights > 1.0) | ~np.isfinite(weights))
        if weights.ndim != 1 or outside.size:
            at = f"atom {outside[0]} has {weights[outside[0]]:g}" if outside.size else "not a list"
            raise WaveformError(
                waveform="weights of the local detuning",
                reason=f"{at}; each is a share between 0 and 1",
                remedy="Scale the waveform and keep the largest weight at 1",
                atoms=tuple(outside[:1].tolist()),
            )
        weights.flags.writeable = False
        object.__setattr__(self, "weights", weights)


@dataclass(frozen=True, slots=True, eq=False)
class AnalogSpec:
    """An analog program as its author wrote it.

    Attributes:
        name: What to call it.
        sites_um: Positions of the traps that the program names (µm), shape (n_sites, 2).
        filling: Which of them hold an atom, shape (n_sites,).
        amplitude: Rabi frequency Ω (rad/µs), never negative.
        detuning: Global detuning δ (rad/µs).
        phase: Laser phase φ (rad).
        local: Detuning with weights per atom, or None.

    Raises:
        RegisterError: No atom, two at one place, or positions that are no finite pairs.
        WaveformError: A negative amplitude, or waveforms of different lengths.

    >>> AnalogSpec.of([(0, 0), (6, 0)], Waveform.constant(500, 6.28)).n_atoms
    2
    """

    name: str
    sites_um: NDArray[np.float64]
    filling: NDArray[np.bool_]
    amplitude: Waveform
    detuning: Waveform
    phase: Waveform
    local: LocalDetuning | None = None

    def __post_init__(self) -> None:
        sites, filling = _checked_sites(self.sites_um, self.filling)
        object.__setattr__(self, "sites_um", sites)
        object.__setattr__(self, "filling", filling)
        self._check_waveforms()

    @classmethod
    def of(
        cls,
        sites_um: ArrayLike,
        amplitude: Waveform,
        detuning: Waveform | float = 0.0,
        phase: Waveform | float = 0.0,
        *,
        filling: ArrayLike | None = None,
        local: LocalDetuning | None = None,
        name: str = "analog",
    ) -> AnalogSpec:
        """Make a specification; numbers stand for constant waveforms, and all sites are filled."""
        length_ns = amplitude.duration_ns
        sites = _site_table(sites_um)
        return cls(
            name=name,
            sites_um=sites,
            filling=np.ones(len(sites), dtype=np.bool_) if filling is None else np.asarray(filling),
            amplitude=amplitude,
            detuning=_waveform(detuning, length_ns, "detuning"),
            phase=_waveform(phase, length_ns, "phase"),
            local=local,
        )

    @property
    def atoms_um(self) -> NDArray[np.float64]:
        """Positions of the atoms (µm), shape (n_atoms, 2)."""
        return np.asarray(self.sites_um[self.filling])

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(np.count_nonzero(self.filling))

    @property
    def duration_ns(self) -> float:
        """Length of the waveforms (ns)."""
        return self.amplitude.duration_ns

    def with_waveforms(self, amplitude: Waveform, detuning: Waveform) -> AnalogSpec:
        """Return the same program with other waveforms, the sites not checked again."""
        fresh = copy.copy(self)
        object.__setattr__(fresh, "amplitude", amplitude)
        object.__setattr__(fresh, "detuning", detuning)
        fresh._check_waveforms()
        return fresh

    def _check_waveforms(self) -> None:
        named = [("detuning", self.detuning), ("phase", self.phase)]
        if self.local is not None:
            named.append(("local detuning", self.local.waveform))
            if len(self.local.weights) != self.n_atoms:
                raise WaveformError(
                    waveform="weights of the local detuning",
                    reason=f"{len(self.local.weights)} of them for {self.n_atoms} atoms",
                    remedy="Give one weight per atom, none for empty sites",
                )
        for name, waveform in named:
            if abs(waveform.duration_ns - self.duration_ns) > _SAME_TIME_NS:
                raise WaveformError(
                    waveform=name,
                    reason=(
                        f"it lasts {waveform.duration_ns:g} ns, "
                        f"the amplitude {self.duration_ns:g} ns"
                    ),
                    remedy="Let all waveforms end at the same time",
                    time_ns=waveform.duration_ns,
                )
        lowest = int(np.argmin(self.amplitude.values))
        if self.amplitude.values[lowest] < 0.0:
            raise WaveformError(
                waveform="amplitude",
                reason=f"{self.amplitude.values[lowest]:g} rad/µs is negative",
                remedy="Use 0 or more; a negative sign is a phase of π",
                time_ns=float(self.amplitude.times_ns[lowest]),
            )


def _waveform(value: Waveform | float, duration_ns: float, name: str) -> Waveform:
    return value if isinstance(value, Waveform) else Waveform.constant(duration_ns, value, name)


def _reals(table: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(table)
    if np.iscomplexobj(array):
        raise WaveformError(name, "complex values", "Give real numbers")
    try:
        return np.array(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise WaveformError(name, "no numbers", "Give a list of real numbers") from error


def _check_points(
    times: NDArray[np.float64], values: NDArray[np.float64], kind: str, name: str
) -> None:
    if kind not in ("linear", "step"):
        raise WaveformError(name, f"unknown kind {kind!r}", 'Known: "linear", "step"')
    if times.ndim != 1 or times.shape != values.shape:
        raise WaveformError(
            name, f"times of shape {times.shape} for values of shape {values.shape}",
            "Give one time per value",
        )  # fmt: skip
    if len(times) < 2:
        found = "no points" if len(times) == 0 else "a single point"
        raise WaveformError(name, f"{found}, which is no span of time", "Give at least two points")
    for array, word in ((times, "time"), (values, "value")):
        bad = np.flatnonzero(~np.isfinite(array))
        if bad.size:
            at = int(bad[0])
            raise WaveformError(
                name,
                f"the {word} of point {at} is {array[at]}",
                "Give finite numbers",
                time_ns=None if word == "time" else float(times[at]),
            )
    if times[0] != 0.0:
        raise WaveformError(
            name, f"the first time is {times[0]:g} ns", "Start at 0", time_ns=float(times[0])
        )
    back = np.flatnonzero(np.diff(times) <= 0.0)
    if back.size:
        at = int(back[0]) + 1
        raise WaveformError(
            name,
            f"the time of point {at} is not after {times[at - 1]:g} ns, that of point {at - 1}",
            "Give increasing times",
            time_ns=float(times[at]),
        )


def _pieces(
    times: NDArray[np.float64], values: NDArray[np.float64], kind: str
) -> NDArray[np.float64]:
    mean = 0.5 * (values[1:] + values[:-1]) if kind == "linear" else values[:-1]
    return np.asarray(mean * np.diff(times) / _NS_PER_US)


def _site_table(sites_um: ArrayLike) -> NDArray[np.float64]:
    try:
        sites = np.array(sites_um, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RegisterError("the sites are no table of numbers", _SITES_REMEDY) from error
    if sites.size == 0:
        raise RegisterError("no sites", _SITES_REMEDY)
    if sites.ndim != 2 or sites.shape[1] != 2:
        raise RegisterError(f"sites of shape {sites.shape}", _SITES_REMEDY)
    return sites


def _checked_sites(
    sites_um: ArrayLike, filling: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    sites = _site_table(sites_um)
    bad = np.flatnonzero(~np.isfinite(sites).all(axis=1))
    if bad.size:
        raise RegisterError(f"the position of site {bad[0]} is not finite", _SITES_REMEDY)
    raw = np.asarray(filling)
    if raw.shape != (len(sites),) or not np.isin(raw, (0, 1)).all():
        raise RegisterError(
            f"filling of shape {raw.shape} for {len(sites)} sites, or other values than 0 and 1",
            "Give 1 (an atom) or 0 (an empty trap) per site",
        )
    filled = raw.astype(np.bool_)
    if not filled.any():
        raise RegisterError("all sites are empty", "Fill at least one")
    # Through the sites in order of x, so that 10^4 of them need no table of all pairs.
    order = np.lexsort((sites[:, 1], sites[:, 0]))
    near = np.flatnonzero(np.linalg.norm(np.diff(sites[order], axis=0), axis=1) < _SAME_PLACE_UM)
    if near.size:
        a, b = sorted(order[near[0] : near[0] + 2].tolist())
        raise RegisterError(f"sites {a} and {b} are at one place", "Move one of them", (a, b))
    sites.flags.writeable = filled.flags.writeable = False
    return sites, filled
