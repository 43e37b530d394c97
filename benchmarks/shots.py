"""Kernels on packed shots against NumPy and the bandwidth of a copy, on one core.

Run it with `python -m benchmarks.run kernels [--quick] [--json] [--output FILE]`. The contenders
run in a process of their own that holds one core and lets NumPy's BLAS use one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.decoders import decoder_rows
from benchmarks.report import ROOT, Row, progress
from benchmarks.timing import Pair, ProbeError, in_turns, last_line, seconds
from cudaq_target import kernels
from cudaq_target.kernels.observables import ising_energies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Work = Callable[[], object]

N_BITS = 256
N_SHOTS, QUICK_SHOTS = 200_000, 20_000
N_EDGES, N_CHECKS, CHECK_WEIGHT = 480, 128, 4
FEW_SHOTS = (1, 100, 500)
_BLOCK_SHOTS = 1 << 14  # as the NumPy reference of the kernels takes them
_L2_SHOTS = 1 << 10
LARGE = 16  # times the shots: more than the caches hold
_TIMEOUT_S = 600
_SINGLE = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_WHERE = "1 core"


@dataclass(frozen=True, slots=True)
class Contest:
    """A kernel against another way to the same result.

    Attributes:
        name: What is computed.
        ours: Computes it with the compiled kernel.
        peer: Computes it with NumPy.
        label: How the peer does it.
        goal: Smallest ratio of the rates, or None.
        repeats: Recorded repeats of each.
    """

    name: str
    ours: Work
    peer: Work
    label: str
    goal: float | None = None
    repeats: int = 9


def rows(quick: bool = False) -> list[Row]:
    """Measure in a process of one thread, on one core."""
    command = [sys.executable, "-m", "benchmarks.shots", *(["--quick"] if quick else [])]
    environment = os.environ | dict.fromkeys(_SINGLE, "1")
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise ProbeError(f"{' '.join(command)}: {last_line(done.stdout)}, see above")
    return [_row_of(line) for line in json.loads(done.stdout.splitlines()[-1])]


def _row_of(line: dict[str, object]) -> Row:
    samples = line.pop("samples")
    assert isinstance(samples, list)
    return Row(**line, samples=tuple(samples))  # type: ignore[arg-type]


def measured_rows(n_shots: int, repeats: int) -> Iterator[Row]:
    """Measure everything in this process, one row at a time."""
    rng = np.random.default_rng(20261122)
    shots = rng.integers(0, 2**64 - 1, size=(n_shots, N_BITS // 64), dtype=np.uint64, endpoint=True)
    results: list[bool] = []
    for contest in [*statistics(shots), *layouts(shots), *sums(shots, rng)]:
        progress(contest.name)
        same = equal(contest.ours(), contest.peer())  # warms both up, too
        results.append(same)
        yield compared(contest, n_shots, min(repeats, contest.repeats))
    yield copy_row(shots, repeats)
    yield copy_row(np.tile(shots, (LARGE, 1)), repeats)
    yield from small_rows(shots, 100 * repeats)
    yield from decoder_rows(n_shots, repeats)
    yield Row(
        name="results that differ from NumPy's",
        value=results.count(False),
        unit="kernels",
        reach="<= 0",
        holds=all(results),
        is_correctness=True,
    )
    yield from device_rows()


def statistics(shots: NDArray[np.uint64]) -> list[Contest]:
    """Occupation, correlations, histograms."""
    few = shots[:, :1] & np.uint64(0xFFFF)
    repeated = shots[np.random.default_rng(1).integers(0, min(1000, len(shots)), len(shots))]
    return [
        Contest(
            "occupation",
            lambda: kernels.occupation(shots, N_BITS, backend="cpu"),
            lambda: kernels.occupation(shots, N_BITS, backend="numpy"),
            "unpackbits, sum",
            30.0,
        ),
        Contest(
            "pair correlations",
            lambda: kernels.pair_correlations(shots, N_BITS, backend="cpu"),
            lambda: kernels.pair_correlations(shots, N_BITS, backend="numpy"),
            "unpackbits, float32 GEMM",
            12.0,
            repeats=5,
        ),
        Contest(
            "histogram, 16 qubits",
            lambda: kernels.histogram(few, 16, backend="cpu"),
            lambda: np.unique(few, return_counts=True),
            "unique",
        ),
        Contest(
            "histogram, 256 qubits, 1000 bit strings",
            lambda: kernels.histogram(repeated, N_BITS, backend="cpu"),
            lambda: kernels.histogram(repeated, N_BITS, backend="numpy"),
            "unique of rows",
            repeats=3,
        ),
    ]


def layouts(shots: NDArray[np.uint64]) -> list[Contest]:
    """Transposition and its like."""
    outcomes = {0: 1, 100: 0}
    qubits = np.random.default_rng(2).permutation(N_BITS)[:64].tolist()
    return [
        Contest(
            "bit transpose",
            lambda: kernels.transpose_bits(shots, N_BITS, backend="cpu"),
            lambda: kernels.transpose_bits(shots, N_BITS, backend="numpy"),
            "unpackbits, transpose, packbits",
            10.0,
            repeats=5,
        ),
        Contest(
            "unpack to bytes",
            lambda: kernels.unpack_bits(shots, N_BITS, backend="cpu"),
            lambda: kernels.unpack_bits(shots, N_BITS, backend="numpy"),
            "unpackbits",
        ),
        Contest(
            "post-selection on 2 qubits",
            lambda: kernels.post_select(shots, N_BITS, outcomes, backend="cpu"),
            lambda: kernels.post_select(shots, N_BITS, outcomes, backend="numpy"),
            "masked comparison",
        ),
        Contest(
            "marginal of 64 scattered qubits",
            lambda: kernels.marginal_bits(shots, N_BITS, qubits, backend="cpu"),
            lambda: kernels.marginal_bits(shots, N_BITS, qubits, backend="numpy"),
            "unpackbits, columns, packbits",
            repeats=5,
        ),
    ]


def sums(shots: NDArray[np.uint64], rng: np.random.Generator) -> list[Contest]:
    """Energies and parities."""
    edges = np.array([rng.choice(N_BITS, size=2, replace=False) for _ in range(N_EDGES)])
    weights = rng.normal(size=N_EDGES)
    members = np.zeros((N_CHECKS, N_BITS), dtype=np.uint8)
    for row in members:
        row[rng.choice(N_BITS, size=CHECK_WEIGHT, replace=False)] = 1
    checks = kernels.pack_bits(members)
    return [
        Contest(
            f"Ising energies, {N_EDGES} edges",
            lambda: ising_energies(shots, N_BITS, edges, weights, backend="cpu"),
            lambda: ising_energies(shots, N_BITS, edges, weights, backend="numpy"),
            "unpackbits, products of columns, dot",
            10.0,
            repeats=3,
        ),
        Contest(
            f"parities, {N_CHECKS} checks of weight {CHECK_WEIGHT}, transposes included",
            lambda: kernels.parities(shots, N_BITS, checks, backend="cpu"),
            lambda: kernels.parities(shots, N_BITS, checks, backend="numpy"),
            "unpackbits, float32 GEMM modulo 2, packbits",
            repeats=3,
        ),
        Contest(
            f"parities, {N_CHECKS} checks of weight {CHECK_WEIGHT}, against XORs of bytes",
            lambda: kernels.parities(shots, N_BITS, checks, backend="cpu"),
            lambda: xor_parities(shots, members, _BLOCK_SHOTS),
            f"unpackbits, transpose, XOR, packbits, {_BLOCK_SHOTS} shots at a time",
            25.0,
            repeats=3,
        ),
        Contest(
            f"parities, {N_CHECKS} checks of weight {CHECK_WEIGHT}, against XORs in the L2 cache",
            lambda: kernels.parities(shots, N_BITS, checks, backend="cpu"),
            lambda: xor_parities(shots, members, _L2_SHOTS),
            f"the same, {_L2_SHOTS} shots at a time: NumPy tuned to this cache",
            repeats=3,
        ),
    ]


def xor_parities(
    shots: NDArray[np.uint64], members: NDArray[np.uint8], block_shots: int
) -> NDArray[np.uint64]:
    """Take parities with the NumPy that is fastest for checks of one small weight."""
    qubits = np.nonzero(members)[1].reshape(len(members), -1)
    parts = []
    for first in range(0, len(shots), block_shots):
        bits = kernels.unpack_bits(shots[first : first + block_shots], N_BITS, backend="numpy")
        sums = np.bitwise_xor.reduce(np.ascontiguousarray(bits.T)[qubits], axis=1)
        parts.append(kernels.pack_bits(np.ascontiguousarray(sums.T), backend="numpy"))
    return np.concatenate(parts)


def equal(ours: object, peer: object) -> bool:
    """Compare integers exactly, reals to the bound that the kernels state."""
    if isinstance(ours, tuple) and isinstance(peer, tuple):
        return all(equal(a, b) for a, b in zip(ours, peer, strict=True))
    a, b = np.asarray(ours), np.asarray(peer)
    if a.dtype == np.float64:
        return bool(np.allclose(a, b, rtol=0.0, atol=1e-11))
    return bool(np.array_equal(a.ravel(), b.ravel()))


def compared(contest: Contest, n_shots: int, repeats: int) -> Row:
    """Take both in turns, and compare rates."""
    pair = in_turns(lambda: seconds(contest.ours), lambda: seconds(contest.peer), repeats)
    rates = tuple(1e-6 * n_shots / taken for taken in pair.ours_s)
    return Row(
        name=f"{contest.name}, {_WHERE}",
        value=1e-6 * n_shots / pair.ours,
        unit="Mshots/s",
        peer=f"NumPy ({contest.label}): {1e-6 * n_shots / pair.peer:.3g} Mshots/s",
        ratio=pair.ratio,
        reach=None if contest.goal is None else f"ratio >= {contest.goal:g}",
        holds=None if contest.goal is None else pair.ratio >= contest.goal,
        samples=rates,
        note=f"{n_shots} shots of {N_BITS} qubits; {_spread(pair)}",
    )


def copy_row(shots: NDArray[np.uint64], repeats: int) -> Row:
    """Compare the bytes that occupation reads per second with those that a copy copies."""
    megabytes = f"{1e-6 * shots.nbytes:.3g} MB"
    progress(f"copy bandwidth, {megabytes}")
    target = np.empty_like(shots)
    pair = in_turns(
        lambda: seconds(lambda: kernels.occupation(shots, N_BITS, backend="cpu")),
        lambda: seconds(lambda: np.copyto(target, shots)),
        5 * repeats,
        warm_ups=3,
    )
    rates = tuple(1e-9 * shots.nbytes / taken for taken in pair.ours_s)
    return Row(
        name=f"occupation, bytes read of {megabytes}, {_WHERE}",
        value=1e-9 * shots.nbytes / pair.ours,
        unit="GB/s",
        peer=f"copy of the same array: {1e-9 * shots.nbytes / pair.peer:.3g} GB/s",
        ratio=pair.ratio,
        reach="ratio >= 0.4",
        holds=pair.ratio >= 0.4,
        samples=rates,
        note=(
            "bytes of the array per second on both sides: of occupation those that it reads, of a "
            "copy those that it copies, as copy bandwidth is quoted; a copy moves each twice, so "
            f"that per byte moved the ratio is {0.5 * pair.ratio:.2g}; {_spread(pair)}"
        ),
    )


def small_rows(shots: NDArray[np.uint64], repeats: int) -> Iterator[Row]:
    """What a call costs with the shots of one frame."""
    for n_shots in FEW_SHOTS:
        progress(f"occupation of {n_shots} shots")
        few = np.ascontiguousarray(shots[:n_shots])
        pair = in_turns(
            lambda few=few: seconds(lambda: kernels.occupation(few, N_BITS, backend="cpu")),
            lambda few=few: seconds(lambda: kernels.occupation(few, N_BITS, backend="numpy")),
            repeats,
            warm_ups=20,
        )
        yield Row(
            name=f"occupation of a frame of {n_shots} shots, one call from Python",
            value=1e6 * pair.ours,
            unit="µs",
            peer=f"NumPy: {1e6 * pair.peer:.3g} µs",
            ratio=pair.ratio,
            samples=tuple(1e6 * taken for taken in pair.ours_s),
            note="checks of the input included on both sides",
        )


def device_rows() -> Iterator[Row]:
    """What a GPU is asked for; measured by `cudaq-target bench gpu` on a machine that has one."""
    asked = {
        **dict.fromkeys(
            ("occupation", "parity", "bit transpose", "histogram"),
            ("1", "ratio >= 0.5 (of the device memory bandwidth, data larger than L2)"),
        ),
        "persistent dispatch, round trip from host memory": ("µs", "p50 < 4 µs"),
        "emulator, n = 26 to 30": ("1", "ratio >= 20 (of the 2-core CPU version)"),
    }
    for name, (unit, reach) in asked.items():
        note = "not run: `python -m benchmarks.run gpu` measures it where there is a GPU"
        yield Row(name=f"GPU: {name}", value=None, unit=unit, reach=reach, note=note)


def _spread(pair: Pair) -> str:
    ours, peer = (
        f"{1e3 * min(times):.3g} to {1e3 * max(times):.3g} ms"
        for times in (pair.ours_s, pair.peer_s)
    )
    return f"ours {ours}, the peer {peer}, {len(pair.ours_s)} turns each"


def _hold_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


if __name__ == "__main__":
    is_quick = "--quick" in sys.argv[1:]
    _hold_one_core()
    found = measured_rows(QUICK_SHOTS if is_quick else N_SHOTS, 3 if is_quick else 9)
    print(json.dumps([asdict(row) for row in found]))
