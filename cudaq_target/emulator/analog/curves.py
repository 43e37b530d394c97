"""Drive curves: piecewise cubics in time, with exact integrals and the moments of their kinks.

A splitting method keeps its order only where the curves are smooth, so a curve says where it is
not, and the integrator ends its steps there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Reals = NDArray[np.float64]

US_PER_NS = 1e-3

_SPIKE = 8.0
"""How far a second difference of samples must stand out from its neighbours' to be a kink."""

_NEIGHBOURS = 6

_LEVEL = 0.1
"""Slopes before and after a jump may differ by this share of it."""

_MISSED = 2e-3
"""How far the mean of a curve over a sample may be from it, as a share of the largest sample."""

_APART_NS = 1.5
"""Distance to a neighbour from which a point of a smooth curve is a kink (ns)."""

_ROUNDING = 1e-9
"""Second differences below this, relative to the largest sample, are rounding noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A function of time, or one per atom, in pieces of third order.

    At a jump it takes the value to the right. Make one with `constant`, `step`, `linear`, `smooth`
    or `of_samples`.

    Attributes:
        edges_ns: Start of every piece, and the end of the last one (ns), shape (n_pieces + 1,).
        coefficients: Of the powers 0 … 3 of the time since the start of the piece in ns, shape
            (n_pieces, 4) or (n_pieces, 4, n_atoms).
        kinks_ns: Edges at which the curve is not smooth (ns).
        _before: Integral up to the start of every piece, in the curve's unit times ns.
    """

    edges_ns: Reals
    coefficients: Reals
    kinks_ns: tuple[float, ...] = ()
    _before: Reals = field(init=False, repr=False)

    def __post_init__(self) -> None:
        widths = np.diff(self.edges_ns)[:-1]
        if self.coefficients.ndim == 3:
            widths = widths[:, None]
        before = np.zeros_like(self.coefficients[:, 0])
        np.cumsum(_primitive(self.coefficients[:-1], widths), axis=0, out=before[1:])
        object.__setattr__(self, "_before", before)

    @property
    def end_ns(self) -> float:
        """The end of the last piece (ns); infinite for a constant."""
        return float(self.edges_ns[-1])

    @property
    def n_atoms(self) -> int | None:
        """Number of atoms that have a curve of their own, or None for one that all share."""
        return self.coefficients.shape[2] if self.coefficients.ndim == 3 else None

    def at(self, times_ns: ArrayLike) -> Reals:
        """Evaluate.

        Args:
            times_ns: Moments (ns), shape (n,).

        Returns:
            Values, shape (n,) or (n, n_atoms).
        """
        times = np.asarray(times_ns, dtype=np.float64)
        piece, since = self._locate(times)
        return _value(self.coefficients[piece], since)

    def antiderivative(self, times_ns: ArrayLike) -> Reals:
        """Integrate from 0.

        Args:
            times_ns: Ends of the integrals (ns), shape (n,).

        Returns:
            Integrals, in the curve's unit times µs, shape (n,) or (n, n_atoms).
        """
        times = np.asarray(times_ns, dtype=np.float64)
        piece, since = self._locate(times)
        return US_PER_NS * (self._before[piece] + _primitive(self.coefficients[piece], since))

    def integral(self, start_ns: float, end_ns: float) -> Reals:
        """Integrate between two moments (ns); shape () or (n_atoms,)."""
        values = self.antiderivative(np.array([start_ns, end_ns]))
        return np.asarray(values[1] - values[0])

    def times(self, factors: ArrayLike) -> Curve:
        """Multiply by a number, or give every atom a multiple of its own.

        Args:
            factors: Shape () or (n_atoms,).
        """
        by = np.asarray(factors, dtype=np.float64)
        own = self.coefficients
        if by.ndim and own.ndim == 2:
            own = own[:, :, None]
        return Curve(self.edges_ns, own * by, self.kinks_ns)

    def largest(self) -> float:
        """Largest absolute value at the ends and middles of the pieces."""
        widths = np.minimum(np.diff(self.edges_ns), 1e9)
        if self.coefficients.ndim == 3:
            widths = widths[:, None]
        probes = [_value(self.coefficients, share * widths) for share in (0.0, 0.5, 1.0)]
        return max(float(np.abs(probe).max()) for probe in probes)

    def _locate(self, times: Reals) -> tuple[NDArray[np.int64], Reals]:
        last = len(self.edges_ns) - 2
        piece = np.clip(np.searchsorted(self.edges_ns, times, side="right") - 1, 0, last)
        since = times - self.edges_ns[piece]
        return piece, since[:, None] if self.coefficients.ndim == 3 else since

    @classmethod
    def constant(cls, values: ArrayLike) -> Curve:
        """Return a curve that never changes; shape () or (n_atoms,).

        >>> Curve.constant(2.0).integral(0.0, 500.0).tolist()
        1.0
        """
        level = np.asarray(values, dtype=np.float64)
        coefficients = np.zeros((1, 4, *level.shape))
        coefficients[0, 0] = level
        return cls(np.array([0.0, np.inf]), coefficients)

    @classmethod
    def step(cls, times_ns: ArrayLike, values: ArrayLike) -> Curve:
        """Hold each value from its moment to the next one.

        Args:
            times_ns: Moments from 0 on, ascending (ns), shape (k,).
            values: Values, shape (k,) or (k, n_atoms); the last one counts at the end alone.
        """
        times, levels = _knots(times_ns, values)
        coefficients = np.zeros((len(times) - 1, 4, *levels.shape[1:]))
        coefficients[:, 0] = levels[:-1]
        changes = _for_any_atom(levels[:-2] != levels[1:-1])
        return cls(times, coefficients, tuple(times[1:-1][changes].tolist()))

    @classmethod
    def linear(cls, times_ns: ArrayLike, values: ArrayLike) -> Curve:
        """Join points with straight lines.

        Args:
            times_ns: Moments from 0 on, ascending (ns), shape (k,).
            values: Values, shape (k,) or (k, n_atoms).

        >>> Curve.linear([0, 1000], [0.0, 2.0]).integral(0.0, 1000.0).tolist()
        1.0
        """
        times, levels = _knots(times_ns, values)
        widths = np.diff(times).reshape(-1, *(1,) * (levels.ndim - 1))
        slopes = np.diff(levels, axis=0) / widths
        coefficients = np.zeros((len(times) - 1, 4, *levels.shape[1:]))
        coefficients[:, 0], coefficients[:, 1] = levels[:-1], slopes
        change = np.abs(np.diff(slopes, axis=0)) * widths[1:]
        bends = _for_any_atom(change > _ROUNDING * max(1e-300, float(np.abs(levels).max())))
        return cls(times, coefficients, tuple(times[1:-1][bends].tolist()))

    @classmethod
    def smooth(cls, times_ns: ArrayLike, values: ArrayLike) -> Curve:
        """Join points with monotone cubics (PCHIP, Fritsch and Butland, SIAM J. Sci. Stat. 5, 300).

        Args:
            times_ns: Moments from 0 on, ascending (ns), shape (k,).
            values: Values, shape (k,) or (k, n_atoms).
        """
        times, levels = _knots(times_ns, values)
        gaps = np.diff(times)
        # Second derivatives jump at every point; among points of every ns they hardly matter.
        apart = np.maximum(gaps[1:], gaps[:-1]) >= _APART_NS
        return cls(times, _pchip(times, levels), tuple(times[1:-1][apart].tolist()))

    @classmethod
    def of_steps(cls, samples: ArrayLike, step_ns: float = 1.0) -> Curve:
        """Read samples of which each holds for one step, as `step` does.

        >>> Curve.of_steps([1.0, 1.0, 3.0]).kinks_ns
        (2.0,)
        """
        levels = np.asarray(samples, dtype=np.float64)
        starts = np.append(True, _for_any_atom(levels[1:] != levels[:-1])).nonzero()[0]
        moments = np.append(starts, len(levels)) * step_ns
        return cls.step(moments, np.concatenate([levels[starts], levels[-1:]]))

    @classmethod
    def of_samples(cls, samples: ArrayLike, step_ns: float = 1.0) -> Curve:
        """Read samples that a device plays one after the other.

        Sample k stands for the time from k to k + 1 steps, so the curve goes through its middle.
        Jumps and bends that stand out from the samples around them stay sharp; between them the
        curve is smooth. Areas agree with the played steps to second order in `step_ns`; a sample
        whose mean would be off by more than 2e-3 of the largest one is played as a step.

        Args:
            samples: Values, shape (n_samples,) or (n_samples, n_atoms).
            step_ns: Time per sample (ns).

        >>> Curve.of_samples([1.0] * 20 + [3.0] * 20).kinks_ns
        (20.0,)
        >>> Curve.of_samples([2.0, 1.0] + [0.0] * 20).kinks_ns  # a pulse of 1.5 ns
        (2.0, 3.0)
        """
        levels = np.asarray(samples, dtype=np.float64)
        jumps, bends = _kinks(levels)
        curve = _read(levels, jumps, bends)
        while missed := _missed(curve, levels):
            jumps |= {k for m in missed for k in (m - 1, m) if 0 <= k < len(levels) - 1}
            curve = _read(levels, jumps, bends)
        if step_ns == 1.0:
            return curve
        scale = step_ns ** -np.arange(4.0).reshape(1, 4, *(1,) * (levels.ndim - 1))
        kinks = tuple(step_ns * kink for kink in curve.kinks_ns)
        return cls(curve.edges_ns * step_ns, curve.coefficients * scale, kinks)


def _read(levels: Reals, jumps: set[int], bends: set[int]) -> Curve:
    """Join samples of one ns: jumps after some of them, bends in the middle of others."""
    n = len(levels)
    # A piece: its first and last sample, and the moments between which it counts.
    cuts = [(k + 1.0, k, k + 1) for k in jumps]
    cuts += [(k + 0.5, k, k) for k in bends if k not in jumps and k - 1 not in jumps]
    cuts.sort()
    starts = [(0.0, 0), *((moment, right) for moment, _, right in cuts)]
    ends = [*((moment, left) for moment, left, _ in cuts), (float(n), n - 1)]
    edges: list[Reals] = []
    parts: list[Reals] = []
    for (start, first), (end, last) in zip(starts, ends, strict=True):
        if end <= start:
            continue
        own_edges, own = _piece(levels[first : last + 1], first, start)
        edges.append(own_edges)
        parts.append(own)
    kinks = tuple(moment for moment, _, _ in cuts)
    return Curve(np.append(np.concatenate(edges), float(n)), np.concatenate(parts), kinks)


def _missed(curve: Curve, levels: Reals) -> list[int]:
    """Find the samples whose areas a curve misses."""
    means = np.diff(curve.antiderivative(np.arange(len(levels) + 1.0)), axis=0) / US_PER_NS
    off = np.abs(means - levels) > _MISSED * np.abs(levels).max(axis=0)
    return _for_any_atom(off).nonzero()[0].tolist()


def curve_of(waveform: Any) -> Curve:  # noqa: ANN401 - a waveform of `cudaq_target.analog`
    """Read a waveform with `times_ns`, `values` and `kind` "linear", "step" or "smooth"."""
    make = {"linear": Curve.linear, "step": Curve.step, "smooth": Curve.smooth}[waveform.kind]
    return make(waveform.times_ns, waveform.values)


def even_pchip(levels: Reals) -> Reals:
    """Join evenly spaced points with monotone cubics (see `Curve.smooth`).

    Loops over members of an ansatz notice that SciPy takes ten times as long.

    Args:
        levels: Values, shape (k,) or (k, n_atoms); k is at least 3.

    Returns:
        Coefficients, ascending powers of the distance from the left point in spacings, shape
        (k - 1, 4) or (k - 1, 4, n_atoms).
    """
    rise = np.diff(levels, axis=0)
    before, after = rise[:-1], rise[1:]
    product = before * after
    slopes = np.zeros_like(levels)
    np.divide(2.0 * product, before + after, out=slopes[1:-1], where=product > 0.0)
    slopes[0], slopes[-1] = _end_slope(rise[0], rise[1]), _end_slope(rise[-1], rise[-2])
    left, right = slopes[:-1], slopes[1:]
    coefficients = np.empty((len(rise), 4, *levels.shape[1:]))
    coefficients[:, 0], coefficients[:, 1] = levels[:-1], left
    coefficients[:, 2] = 3.0 * rise - 2.0 * left - right
    coefficients[:, 3] = left + right - 2.0 * rise
    return coefficients


def _end_slope(rise: Reals, neighbour: Reals) -> Reals:
    """Slope of a parabola through three points at the first one, kept from overshooting."""
    slope = 1.5 * rise - 0.5 * neighbour
    limit = np.where(rise * neighbour > 0.0, np.inf, 3.0 * np.abs(rise))
    slope = np.clip(slope, -limit, limit)
    return np.asarray(np.where(slope * rise > 0.0, slope, 0.0))


def _knots(times_ns: ArrayLike, values: ArrayLike) -> tuple[Reals, Reals]:
    times = np.asarray(times_ns, dtype=np.float64)
    levels = np.asarray(values, dtype=np.float64)
    if len(times) < 2 or len(times) != len(levels) or (np.diff(times) <= 0.0).any():
        raise ValueError(
            f"{len(times)} times and {len(levels)} values: a curve needs as many of both, at least "
            "two, at ascending times"
        )
    return times, levels


def _value(c: Reals, x: Reals) -> Reals:
    return np.asarray(((c[:, 3] * x + c[:, 2]) * x + c[:, 1]) * x + c[:, 0])


def _primitive(c: Reals, x: Reals) -> Reals:
    return np.asarray((((c[:, 3] / 4 * x + c[:, 2] / 3) * x + c[:, 1] / 2) * x + c[:, 0]) * x)


def _pchip(times: Reals, levels: Reals) -> Reals:
    """Coefficients of PCHIP pieces, ascending powers, shape (n_pieces, 4, …)."""
    from scipy.interpolate import PchipInterpolator  # noqa: PLC0415

    descending = PchipInterpolator(times, levels, axis=0).c
    return np.ascontiguousarray(np.moveaxis(descending[::-1], 0, 1), dtype=np.float64)


def _for_any_atom(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return flags if flags.ndim == 1 else np.asarray(flags.any(axis=1))


def _kinks(levels: Reals) -> tuple[set[int], set[int]]:
    """Find jumps (between sample k and k + 1) and bends (at sample k)."""
    if len(levels) < 3:
        return ({0} if len(levels) == 2 and (levels[0] != levels[1]).any() else set()), set()
    columns = levels.reshape(len(levels), -1)
    jumps: set[int] = set()
    bends: set[int] = set()
    for column in columns.T:
        own_jumps, own_bends = _kinks_of(column)
        jumps |= own_jumps
        bends |= own_bends
    return jumps, bends


def _kinks_of(column: Reals) -> tuple[set[int], set[int]]:
    second = np.diff(column, 2)  # second[k - 1] belongs to sample k
    size = np.abs(second)
    floor = _ROUNDING * max(1e-300, float(np.abs(column).max()))
    larger = np.pad(_SPIKE * size, _NEIGHBOURS)  # a kink at an end stays alone
    n_below = np.zeros(len(size), dtype=np.int64)
    for shift in range(2 * _NEIGHBOURS + 1):
        n_below += larger[shift : shift + len(size)] < size
    # Where there is a kink, at most four of the thirteen belong to it or to its partner.
    spikes = (size > floor) & (n_below > 2 * _NEIGHBOURS - 4)
    jumps = _jumps_within_a_sample(second, spikes)
    bends: set[int] = set()
    for k in (np.flatnonzero(spikes) + 1).tolist():
        i = k - 1
        if jumps & {k - 2, k - 1, k}:
            continue
        if k in (1, len(second)):  # the first or the last sample stands alone
            jumps.add(k - 1 if k == 1 else k)
            continue
        opposite = i + 1 < len(second) and second[i] * second[i + 1] < 0.0
        if opposite and spikes[i + 1] and abs(second[i] + second[i + 1]) < 0.5 * size[i]:
            jumps.add(k)
        elif k - 1 not in jumps:
            bends.add(k)
    return jumps, bends


def _jumps_within_a_sample(second: Reals, spikes: NDArray[np.bool_]) -> set[int]:
    """Find samples between two levels, which are pieces of their own: a jump on either side."""
    before, at, after = second[:-2], second[1:-1], second[2:]
    largest = np.maximum(np.abs(before), np.abs(after))
    between = (before * after < 0.0) & (np.abs(before + at + after) < _LEVEL * largest)
    starts = np.flatnonzero(spikes[:-2] & spikes[2:] & between) + 1
    return {*starts.tolist(), *(starts + 1).tolist()}


def _piece(levels: Reals, first: int, start: float) -> tuple[Reals, Reals]:
    """Interpolate neighbouring samples; starts of the cubics, of which the last one goes on."""
    middles = first + 0.5 + np.arange(len(levels), dtype=np.float64)
    if len(levels) < 3:
        coefficients = np.zeros((1, 4, *levels.shape[1:]))
        coefficients[0, 0] = levels[0]
        if len(levels) == 2:
            coefficients[0, 1] = levels[1] - levels[0]
            coefficients[0, 0] += (start - middles[0]) * coefficients[0, 1]
        return np.array([start]), coefficients
    coefficients = even_pchip(levels)
    edges = np.append(start, middles[1:-1])
    # Where it starts at an edge between samples, the first cubic reaches back to it.
    coefficients[:1] = _moved(coefficients[:1], start - middles[0])
    return edges, coefficients


def _moved(c: Reals, by: float) -> Reals:
    """Count the time of a piece from another moment."""
    return np.stack(
        [
            c[:, 0] + by * (c[:, 1] + by * (c[:, 2] + by * c[:, 3])),
            c[:, 1] + by * (2.0 * c[:, 2] + 3.0 * by * c[:, 3]),
            c[:, 2] + 3.0 * by * c[:, 3],
            c[:, 3],
        ],
        axis=1,
    )
