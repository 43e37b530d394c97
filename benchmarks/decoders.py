"""Decoding of packed syndromes, in batches on one core; rows of `benchmarks.shots`.

Memory experiments on the rotated surface code in basis Z, as many rounds as the distance, error
rate 5e-3 on everything. PyMatching gets and gives packed bits, too; CUDA-Q QEC lists of floats.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks import cudaq_qec_peer
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
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from benchmarks.timing import Pair
    from cudaq_target.kernels import Decoder, DecodingGraph

    Words = NDArray[np.uint64]

ERROR_RATE: Final = 5e-3
NOT_INSTALLED: Final = "cudaq-qec is not installed; `make bench` installs it on Linux"
LISTS: Final = "its time is that of decode_batch alone, on lists of floats made before"
DISTANCES: Final = (3, 5, 7)
LOOK_UP_ERRORS: Final = 2


def decoder_rows(n_shots: int, repeats: int) -> Iterator[Row]:
    """Measure union-find and look-ups against PyMatching, CUDA-Q QEC and a search by halves.

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
        experiment = _experiment(distance, max(1, n_shots // share))
        yield from union_find_rows(name, experiment, repeats)
        if distance == DISTANCES[0]:
            yield from look_up_rows(experiment, repeats)


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """Shots of a memory experiment.

    Attributes:
        model: Stim's error model, flattened.
        graph: The same as a graph.
        syndromes: Packed detectors, one row per shot.
        flipped: Packed flips of the observable.
    """

    model: object
    graph: DecodingGraph
    syndromes: Words
    flipped: Words

    def n_wrong(self, flips: NDArray[np.unsignedinteger]) -> int:
        """Count the shots with a logical error; flips have shape (n_shots, 1)."""
        return int((flips != self.flipped).any(axis=1).sum())


def _experiment(distance: int, n_shots: int) -> Experiment:
    """Sample the rotated surface code."""
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
    model = circuit.detector_error_model(decompose_errors=True).flattened()
    syndromes, flips = (pack_bits(bits.astype(np.uint8)) for bits in (lit, flipped))
    return Experiment(model, graph_from_dem(model), syndromes, flips)


def union_find_rows(name: str, made: Experiment, repeats: int) -> Iterator[Row]:
    """Compare union-find with two ways to match."""
    ours, peer = UnionFindDecoder(made.graph), PyMatchingDecoder(made.graph)
    errors = [made.n_wrong(decoder.decode(made.syndromes)) for decoder in (ours, peer)]
    note = f"logical errors {errors[0]} of {len(made.syndromes)}, PyMatching {errors[1]}"
    times = _in_turns(ours, lambda: peer.decode(made.syndromes), made, repeats)
    yield _compared(name, times, "PyMatching", made, note)
    name = f"{name}, against cudaq-qec"
    if not cudaq_qec_peer.is_installed():
        yield _not_run(name, NOT_INSTALLED)
        return
    other = cudaq_qec_peer.matching(made.model, made.syndromes, made.graph.n_detectors)
    note = f"logical errors {errors[0]}, cudaq-qec {made.n_wrong(other.flips())}; {LISTS}"
    times = _in_turns(ours, other.decode, made, repeats)
    yield _compared(name, times, f"cudaq-qec {other.name}", made, note)


def look_up_rows(made: Experiment, repeats: int) -> Iterator[Row]:
    """Compare tables: with a search in NumPy, and with those of CUDA-Q QEC."""
    name = f"look-up decoding, distance {DISTANCES[0]}"
    progress(name)
    checks, flips = _matrices(made.graph)
    table = build_table(checks, flips, LOOK_UP_ERRORS)
    ours, numpy = LookupDecoder(table, backend="cpu"), LookupDecoder(table, backend="numpy")
    note = f"{len(table.keys)} syndromes of up to {LOOK_UP_ERRORS} errors in the table"
    times = _in_turns(ours, lambda: numpy.decode(made.syndromes), made, repeats)
    yield _compared(name, times, "NumPy (search by halves)", made, note)
    name = f"{name}, against cudaq-qec"
    belief = "belief propagation, distance 3, cudaq-qec"
    if not cudaq_qec_peer.is_installed():
        yield from (_not_run(name, NOT_INSTALLED), _not_run(belief, NOT_INSTALLED))
        return
    other = cudaq_qec_peer.look_up(checks, flips, LOOK_UP_ERRORS, made.syndromes)
    found, theirs = ours.decode(made.syndromes), other.flips()
    note = f"logical errors {made.n_wrong(found)}, cudaq-qec {made.n_wrong(theirs)}; {LISTS}"
    times = _in_turns(ours, other.decode, made, repeats)
    yield _compared(name, times, f"cudaq-qec {other.name}", made, note)
    yield same_corrections_row(found, theirs)
    why = cudaq_qec_peer.why_no_belief(checks) or "no decoder of ours propagates beliefs"
    yield _not_run(belief, f"{cudaq_qec_peer.BELIEF}: {why}")


def same_corrections_row(ours: Words, theirs: NDArray[np.uint8]) -> Row:
    """Both tables hold the fewest errors of each syndrome, and must give the same corrections."""
    differ = int((ours != theirs).any(axis=1).sum())
    return Row(
        name="look-up corrections that differ from those of cudaq-qec",
        value=differ,
        unit=f"of {len(ours)} shots",
        reach="<= 0",
        holds=differ == 0,
        is_correctness=True,
    )


def _matrices(graph: DecodingGraph) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Which edge flips which detector, and which observable."""
    edges = np.arange(len(graph.ends))
    checks = np.zeros((graph.n_detectors + 1, len(edges)), dtype=np.uint8)
    checks[graph.ends[:, 0], edges] = checks[graph.ends[:, 1], edges] = 1
    return checks[:-1], (graph.flips.T & np.uint64(1)).astype(np.uint8)


def _in_turns(ours: Decoder, peer: Callable[[], object], made: Experiment, repeats: int) -> Pair:
    return in_turns(
        lambda: seconds(lambda: ours.decode(made.syndromes)),
        lambda: seconds(peer),
        repeats,
        warm_ups=1,
    )


def _compared(name: str, pair: Pair, label: str, made: Experiment, note: str) -> Row:
    n_shots = len(made.syndromes)
    per_shot = 1e6 / n_shots
    return Row(
        name=f"{name}, 1 core",
        value=per_shot * pair.ours,
        unit="µs/shot",
        peer=f"{label}: {per_shot * pair.peer:.3g} µs/shot",
        ratio=pair.ratio,
        samples=tuple(per_shot * taken for taken in pair.ours_s),
        note=f"{n_shots} shots of error rate {ERROR_RATE:g}; {note}",
    )


def _not_run(name: str, why: str) -> Row:
    return Row(name=f"{name}, 1 core", value=None, unit="µs/shot", note=f"not run: {why}")
