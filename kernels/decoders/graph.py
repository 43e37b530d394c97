"""Decoding graphs: each error flips one detector, then it ends at the boundary, or two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.arguments import host_array
from cudaq_target.kernels.decoders.sparse import check_matrix
from cudaq_target.kernels.errors import KernelInputError
from cudaq_target.kernels.packed import word_count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class GraphError:
    """An error that a graph can hold.

    Attributes:
        detectors: Those that it flips, one or two, ascending.
        observables: Those that it flips, ascending.
        rate: Its probability, in (0, 0.5).
    """

    detectors: tuple[int, ...]
    observables: tuple[int, ...]
    rate: float


GRAPH_MAKERS = "graph_from_checks and graph_from_dem make one"


@dataclass(frozen=True, slots=True)
class DecodingGraph:
    """Detectors as vertices, errors as edges, and one vertex more: the boundary.

    Attributes:
        n_detectors: Vertices; the boundary is vertex `n_detectors`.
        n_observables: Bits of a correction.
        ends: Of each edge, ascending and without repeats, shape (n_edges, 2).
        error_rates: Probability of each edge, in (0, 0.5), shape (n_edges,).
        flips: Packed observables of each edge, shape (n_edges, ceil(n_observables / 64)).
    """

    n_detectors: int
    n_observables: int
    ends: NDArray[np.int32]
    error_rates: NDArray[np.float64]
    flips: NDArray[np.uint64]

    def __repr__(self) -> str:
        return (
            f"<DecodingGraph: {len(self.ends)} errors, {self.n_detectors} detectors, "
            f"{self.n_observables} observables>"
        )

    @property
    def weights(self) -> NDArray[np.float64]:
        """Logarithms of the odds against each edge, ln((1 - p) / p), shape (n_edges,)."""
        weights: NDArray[np.float64] = np.log1p(-self.error_rates) - np.log(self.error_rates)
        return weights


def graph_from_checks(
    checks: NDArray[np.generic],
    observables: NDArray[np.generic],
    error_rates: NDArray[np.float64] | float,
) -> DecodingGraph:
    """Build the graph of a check matrix.

    Errors that never occur are left out; parallel ones are merged as in `merged_graph`.

    Args:
        checks: H, which error flips which detector, zeros and ones, shape (n_detectors, n_errors).
        observables: Which error flips which observable, shape (n_observables, n_errors).
        error_rates: Probability of each error, in [0, 0.5), shape (n_errors,); or one for all.

    Returns:
        The graph.

    Raises:
        KernelInputError: A matrix is not binary or empty, shapes contradict each other, an error
            flips no detector or more than two, or a rate is no probability below 0.5.

    >>> graph = graph_from_checks(np.array([[1, 1, 0], [0, 1, 1]]), np.array([[1, 0, 0]]), 0.1)
    >>> graph.ends.tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    checks = check_matrix(checks, "checks")
    observables = check_matrix(observables, "observables")
    n_errors = checks.shape[1]
    if observables.shape[1] != n_errors:
        found = f"have {observables.shape[1]} columns"
        raise KernelInputError("observables", found, f"the checks have {n_errors} errors")
    rates = _check_rates(error_rates, n_errors)
    _check_weights(checks)
    errors = (
        GraphError(
            tuple(np.flatnonzero(checks[:, k]).tolist()),
            tuple(np.flatnonzero(observables[:, k]).tolist()),
            float(rates[k]),
        )
        for k in np.flatnonzero(rates)
    )
    return merged_graph(errors, checks.shape[0], observables.shape[0])


def merged_graph(
    errors: Iterable[GraphError], n_detectors: int, n_observables: int
) -> DecodingGraph:
    """Make each pair of ends one edge.

    Errors that flip the same detectors and observables become one, which occurs when an odd number
    of them does. Of those that flip the same detectors and other observables, the likelier one is
    kept: a correction of least weight never holds another.

    Args:
        errors: In any order.
        n_detectors: Vertices.
        n_observables: Bits of a correction.

    Returns:
        The graph.

    Raises:
        KernelInputError: There are no errors.
    """
    rates: dict[tuple[tuple[int, int], tuple[int, ...]], float] = {}
    for error in errors:
        first, last = error.detectors[0], error.detectors[-1]
        ends = (first, n_detectors if len(error.detectors) == 1 else last)
        key = (ends, error.observables)
        before = rates.get(key, 0.0)
        rates[key] = before * (1.0 - error.rate) + error.rate * (1.0 - before)
    likeliest: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {}
    for (ends, observables), rate in sorted(rates.items()):
        if ends not in likeliest or rate > likeliest[ends][0]:
            likeliest[ends] = (rate, observables)
    if not likeliest:
        raise KernelInputError("errors", "are none that can occur", "give one at least")
    flips = np.zeros((len(likeliest), word_count(n_observables)), dtype=np.uint64)
    for edge, (_, observables) in enumerate(likeliest.values()):
        for k in observables:
            flips[edge, k // 64] |= np.uint64(1) << np.uint64(k % 64)
    return DecodingGraph(
        n_detectors=n_detectors,
        n_observables=n_observables,
        ends=np.array(list(likeliest), dtype=np.int32),
        error_rates=np.array([rate for rate, _ in likeliest.values()], dtype=np.float64),
        flips=flips,
    )


def _check_rates(error_rates: NDArray[np.float64] | float, n_errors: int) -> NDArray[np.float64]:
    rates = host_array(error_rates, "error_rates")
    if not np.issubdtype(rates.dtype, np.floating):
        raise KernelInputError("error_rates", f"have dtype {rates.dtype}", "give floats")
    if rates.shape not in {(), (n_errors,)}:
        found = f"have shape {rates.shape}"
        raise KernelInputError("error_rates", found, f"give one for each of {n_errors} errors")
    rates = np.broadcast_to(rates, (n_errors,)).astype(np.float64)
    wrong = np.flatnonzero(~((rates >= 0.0) & (rates < 0.5)))
    if len(wrong):
        found = f"hold {rates[wrong[0]]} for error {wrong[0]}"
        raise KernelInputError("error_rates", found, "rates lie in [0, 0.5)")
    return rates


def _check_weights(checks: NDArray[np.uint8]) -> None:
    flipped = checks.sum(axis=0, dtype=np.int64)
    empty, hyper = np.flatnonzero(flipped == 0), np.flatnonzero(flipped > 2)
    if len(empty):
        found = f"have no one in column {empty[0]}"
        raise KernelInputError("checks", found, "an error that flips no detector is never seen")
    if len(hyper):
        found = f"have {flipped[hyper[0]]} ones in column {hyper[0]}"
        expected = (
            "a graph takes errors that flip one or two detectors; decompose it, or look it up"
        )
        raise KernelInputError("checks", found, expected)
