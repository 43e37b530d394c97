"""Minimum-weight perfect matching by PyMatching, behind the interface of all decoders."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from cudaq_target.kernels.decoders.graph import GRAPH_MAKERS, DecodingGraph
from cudaq_target.kernels.decoders.interface import CheckedDecoder, check_kind
from cudaq_target.kernels.errors import BackendUnavailableError, KernelInputError
from cudaq_target.kernels.packed import word_count
from cudaq_target.kernels.reference.layout import unpack_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]


class PyMatchingDecoder(CheckedDecoder):
    """Finds a correction of least weight; threads that call it take turns."""

    def __init__(self, graph: DecodingGraph) -> None:
        """Hand a graph to PyMatching.

        Args:
            graph: From `graph_from_checks` or `graph_from_dem`.

        Raises:
            KernelInputError: This is no graph.
            BackendUnavailableError: The package pymatching is not installed.
        """
        check_kind(graph, DecodingGraph, "graph", GRAPH_MAKERS)
        super().__init__(graph.n_detectors, graph.n_observables)
        self._matching = _matching(graph)
        self._lock = threading.Lock()

    def _decode(self, syndromes: Words) -> Words:
        n_bytes = (self.n_detectors + 7) // 8
        shots = np.ascontiguousarray(
            syndromes.astype("<u8", copy=False).view(np.uint8)[:, :n_bytes]
        )
        try:
            with self._lock:
                packed = self._matching.decode_batch(
                    shots, bit_packed_shots=True, bit_packed_predictions=True
                )
        except ValueError as error:
            found = "hold one that cannot come from the errors of the graph"
            raise KernelInputError("syndromes", found, f"PyMatching says: {error}") from error
        padded = np.zeros((len(syndromes), 8 * word_count(self.n_observables)), dtype=np.uint8)
        padded[:, : packed.shape[1]] = packed
        return padded.view("<u8").astype(np.uint64, copy=False)


def _matching(graph: DecodingGraph) -> Any:  # noqa: ANN401 - a class of a package that may be absent
    try:
        import pymatching  # noqa: PLC0415
    except ImportError as error:
        remedy = "install cudaq-target[decode], or use the union-find decoder"
        raise BackendUnavailableError("pymatching", "the package pymatching", remedy) from error
    from scipy.sparse import csc_matrix  # noqa: PLC0415

    edges = np.arange(len(graph.ends))
    is_inner = graph.ends[:, 1] < graph.n_detectors
    rows = np.concatenate([graph.ends[:, 0], graph.ends[is_inner, 1]])
    columns = np.concatenate([edges, edges[is_inner]])
    ones = np.ones(len(rows), dtype=np.uint8)
    checks = csc_matrix((ones, (rows, columns)), shape=(graph.n_detectors, len(edges)))
    faults = unpack_bits(graph.flips, graph.n_observables).T
    return pymatching.Matching.from_check_matrix(
        checks, weights=graph.weights, faults_matrix=csc_matrix(faults)
    )
