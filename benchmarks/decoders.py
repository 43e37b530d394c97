"""Decoding of packed syndromes, in batches on one core; rows of `benchmarks.shots`.

Memory experiments on the rotated surface code in basis Z, as many rounds as the distance, error
rate 5e-3 on everything. PyMatching gets and gives packed bits, too.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.report import Row, progress
from benchmarks.timing import in_turns, seconds
from cudaq_target.kernels import (
    LookupDecoder,
    PyMatchingDecoder,
    UnionFindDecoder,
    build_table,
    graph_from_dem,
    pack_bits,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cudaq_target.kernels import Decoder, DecodingGraph

    Words = NDArray[np.uint64]

ERROR_RATE: Final = 5e-3
DISTANCES: Final = (3, 5, 7)
LOOK_UP_ERRORS: Final = 2


def decoder_rows(n_shots: int, repeats: int) -> Iterator[Row]:
    """Measure union-find against PyMatching, and look-ups against a search by halves.

    Args:
        n_shots: At distance 3; a third and a tenth of them at 5 and 7.
        repeats: Recorded repeats of each.
    """
    missing = [name for name in ("stim", "pymatching") if importlib.util.find_spec(name) is None]
    for distance, share in zip(DISTANCES, (1, 3, 10), strict=True):
        name = f"union-find decoding, distance {distance}"
        progress(name)
        if missing:
            note = f"not run: {' and '.join(missing)} not installed"
            yield Row(name=f"{name}, 1 core", value=None, unit="µs/shot", note=note)
            continue
        graph, syndromes, flipped = _experiment(distance, max(1, n_shots // share))
        ours, peer = UnionFindDecoder(graph), PyMatchingDecoder(graph)
        errors = [_n_wrong(decoder, syndromes, flipped) for decoder in (ours, peer)]
        note = f"logical errors {errors[0]} of {len(syndromes)}, PyMatching {errors[1]}"
        yield _compared(name, ours, peer, "PyMatching", syndromes, repeats, note)
        if distance == DISTANCES[0]:
            yield _look_up_row(graph, syndromes, repeats)


def _experiment(distance: int, n_shots: int) -> tuple[DecodingGraph, Words, Words]:
    """The graph, packed syndromes, and packed flips of the observable."""
    import stim  # noqa: PLC0415 - optional

    circuit = stim.Circuit.generated(
        "surface_code:rotated_memory_z",
        distance=distance,
        rounds=distance,
        after_clifford_depolarization=ERROR_RATE,
        after_reset_flip_probability=ERROR_RATE,
        before_measure_flip_probability=ERROR_RATE,
        before_round_data_depolarization=ERROR_RATE,
    )
    sampler = circuit.compile_detector_sampler(seed=20261122)
    lit, flipped = sampler.sample(n_shots, separate_observables=True)
    graph = graph_from_dem(circuit.detector_error_model(decompose_errors=True))
    return graph, pack_bits(lit.astype(np.uint8)), pack_bits(flipped.astype(np.uint8))


def _n_wrong(decoder: Decoder, syndromes: Words, flipped: Words) -> int:
    return int((decoder.decode(syndromes) != flipped).any(axis=1).sum())


def _look_up_row(graph: DecodingGraph, syndromes: Words, repeats: int) -> Row:
    name = f"look-up decoding, distance {DISTANCES[0]}"
    progress(name)
    edges = np.arange(len(graph.ends))
    checks = np.zeros((graph.n_detectors + 1, len(edges)), dtype=np.uint8)
    checks[graph.ends[:, 0], edges] = checks[graph.ends[:, 1], edges] = 1
    flips = (graph.flips.T & np.uint64(1)).astype(np.uint8)
    table = build_table(checks[:-1], flips, LOOK_UP_ERRORS)
    ours, peer = (LookupDecoder(table, backend=backend) for backend in ("cpu", "numpy"))  # type: ignore[arg-type]
    note = f"{len(table.keys)} syndromes of up to {LOOK_UP_ERRORS} errors in the table"
    label = "NumPy (search by halves)"
    return _compared(name, ours, peer, label, syndromes, repeats, note)


def _compared(
    name: str, ours: Decoder, peer: Decoder, label: str, syndromes: Words, repeats: int, note: str
) -> Row:
    pair = in_turns(
        lambda: seconds(lambda: ours.decode(syndromes)),
        lambda: seconds(lambda: peer.decode(syndromes)),
        repeats,
        warm_ups=1,
    )
    per_shot = 1e6 / len(syndromes)
    return Row(
        name=f"{name}, 1 core",
        value=per_shot * pair.ours,
        unit="µs/shot",
        peer=f"{label}: {per_shot * pair.peer:.3g} µs/shot",
        ratio=pair.ratio,
        samples=tuple(per_shot * taken for taken in pair.ours_s),
        note=f"{len(syndromes)} shots of error rate {ERROR_RATE:g}; {note}",
    )
