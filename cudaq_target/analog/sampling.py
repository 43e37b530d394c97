"""Waveforms as samples of one ns each, and samples as few straight pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.analog.model import Waveform

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NS_PER_US = 1e3
# A change of slope from one ns to the next below this share of the largest value is rounding.
_STRAIGHT = 1e-11
# How far a piece may be from the samples it stands for, as a share of the largest value.
_SAME = 1e-12
_MAX_PIECES = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples on a straight line, both ends included."""

    n_ns: int
    first: float
    last: float


def means(waveform: Waveform, n_ns: int, *, after: float | None = None) -> NDArray[np.float64]:
    """Sample a waveform: the mean over each ns.

    Args:
        waveform: The waveform.
        n_ns: Number of samples, as many as the waveform lasts, or more.
        after: What follows its end; None holds its last value.

    Returns:
        Samples, shape (n_ns,). With `after` 0 their sum is the area of the waveform.

    >>> means(Waveform([0.0, 2.5], [0.0, 5.0]), 4, after=0.0)
    array([1.  , 3.  , 2.25, 0.  ])
    """
    edges = np.arange(n_ns + 1, dtype=np.float64)
    if waveform.kind == "linear":
        at_edges = waveform.at(edges)
        samples = 0.5 * (at_edges[:-1] + at_edges[1:])
    else:
        samples = waveform.at(edges[:-1])
    bent = np.unique(waveform.times_ns[waveform.times_ns % 1.0 != 0.0].astype(np.int64))
    samples[bent] = waveform.integral(bent, bent + 1) * _NS_PER_US
    whole = int(waveform.duration_ns)
    last = _held_last(waveform) if after is None else after
    if whole < n_ns:
        share = waveform.duration_ns - whole
        samples[whole] = waveform.integral(whole, whole + 1) * _NS_PER_US + (1.0 - share) * last
    samples[whole + 1 :] = last
    low, high = float(waveform.values.min()), float(waveform.values.max())
    return np.asarray(np.clip(samples, min(low, last), max(high, last)))


def straightened(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the samples as Pulser rounds its ramps, where they are few straight pieces."""
    pieces = pieces_of(samples)
    return samples if pieces is None else expanded(pieces)


def pieces_of(samples: NDArray[np.float64]) -> tuple[Piece, ...] | None:
    """Find straight pieces that are the samples, or None where there are too many.

    Args:
        samples: Samples, shape (n_ns,).
    """
    scale = max(float(np.abs(samples).max(initial=0.0)), 1e-300)
    bends = np.abs(np.diff(samples, 2)) > _STRAIGHT * scale
    starts = [0]
    # A bend at sample k ends a piece at k; the next one starts at k + 1 and may bend at once.
    for k in (np.flatnonzero(bends) + 1).tolist():
        if k + 1 - starts[-1] >= 2:
            starts.append(k + 1)
        if len(starts) > _MAX_PIECES:
            return None
    ends = [*starts[1:], len(samples)]
    pieces = tuple(
        Piece(end - start, float(samples[start]), float(samples[end - 1]))
        for start, end in zip(starts, ends, strict=True)
        if end > start
    )
    near = np.abs(expanded(pieces) - samples).max(initial=0.0) <= _SAME * scale
    return pieces if near else None


def expanded(pieces: tuple[Piece, ...]) -> NDArray[np.float64]:
    """Return the samples of pieces, with the arithmetic of Pulser's ramp waveform."""
    return np.concatenate([_line(piece) for piece in pieces]) if pieces else np.zeros(0)


def _line(piece: Piece) -> NDArray[np.float64]:
    if piece.first == piece.last:
        return np.full(piece.n_ns, piece.first)
    slope = (piece.last - piece.first) / (piece.n_ns - 1)
    low, high = sorted((piece.first, piece.last))
    return np.asarray(np.clip(slope * np.arange(piece.n_ns, dtype=float) + piece.first, low, high))


def deviation(waveform: Waveform, samples: NDArray[np.float64]) -> tuple[float, float]:
    """Compare samples that hold for one ns with the waveform that they stand for.

    Args:
        waveform: The waveform.
        samples: Samples (rad/µs), shape (n_ns,).

    Returns:
        Largest difference at any time within both (rad/µs), and of the areas from 0 to any whole
        ns (rad).
    """
    end_ns = min(len(samples), int(np.ceil(waveform.duration_ns)))
    # Within a ns the difference is largest at an edge of it, or beside a point of the waveform.
    edges = np.arange(end_ns, dtype=np.float64)
    low, high = _bounds(waveform, edges, np.minimum(edges + 1.0, waveform.duration_ns))
    held = samples[:end_ns]
    value = float(np.maximum(np.abs(high - held), np.abs(low - held)).max(initial=0.0))
    played = np.cumsum(held) / _NS_PER_US
    wanted = waveform.integral(0.0, edges + 1.0)
    return value, float(np.abs(played - wanted).max(initial=0.0))


def _bounds(
    waveform: Waveform, from_ns: NDArray[np.float64], to_ns: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and the highest value in each of some adjoining spans."""
    if waveform.kind == "linear":
        at_edges = waveform.at(np.append(from_ns, to_ns[-1:]))
        at_start, at_end = at_edges[:-1], at_edges[1:]
    else:
        # The value just before the end of the span: steps change at its first time.
        at_start, at_end = waveform.at(from_ns), waveform.at(to_ns - 1e-9)
    low, high = np.minimum(at_start, at_end), np.maximum(at_start, at_end)
    inside = waveform.times_ns[:-1] if waveform.kind == "step" else waveform.times_ns
    place = np.clip(np.searchsorted(from_ns, inside, side="right") - 1, 0, len(from_ns) - 1)
    values = waveform.values[: len(inside)]
    np.minimum.at(low, place, values)
    np.maximum.at(high, place, values)
    return low, high


def _held_last(waveform: Waveform) -> float:
    return float(waveform.values[-2 if waveform.kind == "step" else -1])
