"""Union-find decoding: grow clusters around lit detectors, then explain each within itself.

N. Delfosse and N. H. Nickerson, arXiv:1709.06218, with edges as long as the logarithm of their
odds; close to the correction of least weight, in a time almost linear in the number of errors.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.backends import Backend, choose_backend
from cudaq_target.kernels.decoders.graph import GRAPH_MAKERS, DecodingGraph
from cudaq_target.kernels.decoders.interface import CheckedDecoder, check_kind, unexplained
from cudaq_target.kernels.errors import BackendUnavailableError
from cudaq_target.kernels.packed import word_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

LARGEST_WEIGHT = 255
"""Weights are rounded to 1 ... 255; finer ones change the logical error rate by about 1 %."""


class UnionFindDecoder(CheckedDecoder):
    """Decodes on a graph; threads that call it work side by side, each in an own room.

    Every back end gives the same bits. Compiled code allocates nothing per shot.
    """

    def __init__(self, graph: DecodingGraph, *, backend: Backend = "auto") -> None:
        r"""Prepare a graph.

        Args:
            graph: From `graph_from_checks` or `graph_from_dem`.
            backend: "numpy" is the reference in Python; there is none for GPUs.

        Raises:
            KernelInputError: This is no graph, or the back end is unknown.
            BackendUnavailableError: It does not run here.

        >>> from cudaq_target.kernels.decoders.error_model import graph_from_dem
        >>> decoder = UnionFindDecoder(graph_from_dem("error(0.1) D0 L0\nerror(0.1) D0 D1"))
        >>> decoder.decode_one(np.array([0b11], dtype=np.uint64)).tolist()
        [0]
        """
        check_kind(graph, DecodingGraph, "graph", GRAPH_MAKERS)
        super().__init__(graph.n_detectors, graph.n_observables)
        self.graph = graph
        self._weights = rounded_weights(graph)
        self._is_compiled = _choose(backend) == "cpu"
        self._own = threading.local()
        if self._is_compiled:
            from cudaq_target.kernels.cpu.union_find import make_graph  # noqa: PLC0415 - Numba

            arrays = (graph.ends, self._weights, graph.flips)
            self._compiled_graph = make_graph(*arrays, graph.n_detectors)

    def _decode(self, syndromes: Words) -> Words:
        n_words = word_count(self.n_observables)
        corrections = np.empty((len(syndromes), n_words), dtype=np.uint64)
        decode = self._decode_compiled if self._is_compiled else self._decode_reference
        shot = decode(syndromes, corrections)
        if shot >= 0:
            raise unexplained(shot)
        return corrections

    def _decode_compiled(self, syndromes: Words, corrections: Words) -> int:
        from cudaq_target.kernels.cpu.union_find import (  # noqa: PLC0415 - Numba
            decode_rows_,
            make_room,
        )

        if not hasattr(self._own, "room"):
            self._own.room = make_room(self.n_detectors, len(self._weights))
        return decode_rows_(self._compiled_graph, self._own.room, syndromes, corrections)

    def _decode_reference(self, syndromes: Words, corrections: Words) -> int:
        from cudaq_target.kernels.reference.union_find import decode_row  # noqa: PLC0415

        graph = self.graph
        for shot, syndrome in enumerate(syndromes):
            correction = decode_row(
                graph.n_detectors, graph.ends, self._weights, graph.flips, syndrome
            )
            if correction is None:
                return shot
            corrections[shot] = correction
        return -1


def rounded_weights(graph: DecodingGraph) -> NDArray[np.int32]:
    """Scale the weights of a graph to whole numbers.

    Args:
        graph: From `graph_from_checks` or `graph_from_dem`.

    Returns:
        In 1 ... `LARGEST_WEIGHT`, shape (n_edges,).
    """
    # Many parallel errors can add up to 0.5, that is to a weight of 0.
    largest = max(float(graph.weights.max()), float(np.finfo(np.float64).tiny))
    weights = graph.weights / largest * LARGEST_WEIGHT
    return np.maximum(1, np.rint(weights)).astype(np.int32)


def _choose(backend: Backend) -> str:
    chosen = choose_backend(backend)
    if chosen == "gpu":
        missing = "a union-find decoder in device code, which does not exist"
        raise BackendUnavailableError("gpu", missing, "use backend='cpu', which gives the same")
    return chosen
