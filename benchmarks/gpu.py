"""GPU kernels against the bandwidth of device memory, the dispatcher that stays, the emulators.

`python -m benchmarks.gpu [--quick] [--output FILE]` needs NumPy, CuPy, a C++ compiler and the built
native module. Without a GPU every row says why it was not run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import gpu_analog
from benchmarks.report import Report, Row, machine_facts, progress, table, write
from benchmarks.timing import seconds
from cudaq_target.kernels.backends import gpu_missing
from cudaq_target.kernels.statevector_backend import numba_compiles

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = Any

N_QUBITS, N_CHECKS, CHECK_WEIGHT = 256, 128, 4
N_STRINGS = 4096
SHARE = 0.5
AIM_US = 4.0
SPEEDUP = 20.0
BANDWIDTH_KERNELS = ("occupation", "parity", "parity of planes", "transpose", "histogram")
EMULATOR_QUBITS = (26, 28, 30)
DTYPES = ("complex64", "complex128")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    shot_bytes: int
    repeats: int
    n_rounds: int
    emulator_qubits: tuple[int, ...]
    cpu_qubits: tuple[int, ...]


FULL = Size(8 << 30, 20, 200_000, EMULATOR_QUBITS, EMULATOR_QUBITS)
FOREVER_S = 1e9
QUICK = Size(2 << 30, 10, 100_000, EMULATOR_QUBITS, (26,))


def rows(
    quick: bool, seconds: float = FOREVER_S, keep: Callable[[list[Row]], object] = list
) -> list[Row]:
    """Measure everything, or say why nothing was measured.

    Args:
        quick: Less data, fewer repeats.
        seconds: Time for all; the emulator's rows go without the CPU where it would not do.
        keep: Gets all rows so far after each part, for runs that are cut short.
    """
    if missing := gpu_missing():
        return not_run(f"not run: this machine lacks {missing}")
    size, end = QUICK if quick else FULL, perf_counter() + seconds
    found: list[Row] = []
    for part in (
        kernel_rows,
        dispatch_rows,
        lambda size: emulator_rows(size, end),
        lambda size: analog_rows(size, end),
    ):
        try:
            found += part(size)
        except Exception as error:  # noqa: BLE001 - what fails must not take the others along
            name = getattr(part, "__name__", "emulator")
            found.append(failed_row(name, error))
        keep(found)
    return found


def failed_row(name: str, error: Exception) -> Row:
    """Say what went wrong, in a row that makes the record incorrect."""
    note = f"failed: {type(error).__name__}: {error}"
    return Row(name, None, "1", holds=False, note=note[:500], is_correctness=True)


def not_run(reason: str) -> list[Row]:
    """All rows, without figures."""
    shared = {"note": reason, "holds": None}
    found = [Row("device copy", None, "GB/s", **shared)]
    goal = f"ratio >= {SHARE:g}"
    found += [
        Row(name, None, "GB/s", peer="device copy", reach=goal, **shared)
        for name in BANDWIDTH_KERNELS
    ]
    found.append(Row("dispatch round trip p50", None, "µs", reach=f"<= {AIM_US:g}", **shared))
    for n in EMULATOR_QUBITS:
        for dtype in DTYPES:
            name = f"emulator layer n={n} {dtype}"
            reach = f"ratio >= {SPEEDUP:g}"
            found.append(Row(name, None, "s", peer="2-core CPU", reach=reach, **shared))
    return found + [
        Row(name, None, "s", peer="2-core CPU", **shared) for name in gpu_analog.names()
    ]


def seconds_of(run: Callable[[], object], repeats: int) -> tuple[float, ...]:
    """Time by events on the current stream, after two unrecorded runs."""
    import cupy  # noqa: PLC0415

    for _ in range(2):
        run()
    times = []
    for _ in range(repeats):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end) / 1e3)
    return tuple(times)


def random_words(n_words: int) -> Array:
    """Words that look random, made on the device by SplitMix64 of their index."""
    import cupy  # noqa: PLC0415

    words = cupy.arange(1, n_words + 1, dtype=cupy.uint64)
    words *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)
    return words


def check_masks() -> Array:
    """Checks of four qubits each, packed, shape (n_checks, n_words)."""
    rng = np.random.default_rng(0)
    masks = np.zeros((N_CHECKS, N_QUBITS // 64), dtype=np.uint64)
    for check in range(N_CHECKS):
        for qubit in rng.choice(N_QUBITS, CHECK_WEIGHT, replace=False).tolist():
            masks[check, qubit // 64] |= np.uint64(1 << qubit % 64)
    return masks


def kernel_rows(size: Size) -> list[Row]:
    """Kernels over shots in device memory, far more of them than the L2 cache holds."""
    import cupy  # noqa: PLC0415

    from cudaq_target.kernels.gpu import decoding, layout, statistics  # noqa: PLC0415

    n_words = N_QUBITS // 64
    free = cupy.cuda.runtime.memGetInfo()[0]
    n_shots = min(size.shot_bytes, free // 6) // (8 * n_words)
    progress(f"{n_shots} shots of {N_QUBITS} qubits")
    shots = random_words(n_shots * n_words).reshape(n_shots, n_words)
    masks = check_masks()
    agreement = agreement_row(shots[:100_000], masks)
    n_bytes = shots.nbytes
    copy_gb_s = copy_rate(shots, size.repeats)
    copy = Row("device copy", copy_gb_s, "GB/s", note="bytes read and bytes written")
    l2_bytes = int(cupy.cuda.Device().attributes["L2CacheSize"])
    note = f"{n_bytes / 2**30:.2f} GiB of shots, L2 cache {l2_bytes / 2**20:.0f} MiB"

    planes = layout.transpose_bits(shots, N_QUBITS)
    out_bytes = n_bytes * N_CHECKS // N_QUBITS
    few = shots[:N_STRINGS].take(shots.view(cupy.int64)[:, 0] % N_STRINGS, axis=0)
    runs: dict[str, tuple[Callable[[], object], int]] = {
        "occupation": (lambda: statistics.occupation(shots, N_QUBITS), n_bytes),
        "parity": (lambda: decoding.parity_rows(shots, N_QUBITS, masks), n_bytes + out_bytes),
        "parity of planes": (
            lambda: decoding.parity_planes(planes, N_QUBITS, masks),
            n_bytes + out_bytes,
        ),
        "transpose": (lambda: layout.transpose_bits(shots, N_QUBITS), 2 * n_bytes),
        "histogram": (lambda: statistics.histogram(few, N_QUBITS), n_bytes),
    }
    found = [agreement, copy]
    for name, (run, moved) in runs.items():
        progress(name)
        try:
            times = seconds_of(run, size.repeats)
            found.append(bandwidth_row(name, times, moved, copy_gb_s, note))
        except Exception as error:  # noqa: BLE001 - the other kernels are measured all the same
            found.append(failed_row(name, error))
        cupy.get_default_memory_pool().free_all_blocks()
    return found


def copy_rate(words: Array, repeats: int) -> float:
    """Bytes read and written per second by a copy within device memory (GB/s)."""
    import cupy  # noqa: PLC0415

    other = cupy.empty_like(words)
    times = seconds_of(lambda: cupy.copyto(other, words), repeats)
    return float(2 * words.nbytes / statistics.median(times) / 1e9)


def bandwidth_row(
    name: str, times: tuple[float, ...], moved: int, copy_gb_s: float, note: str
) -> Row:
    """A kernel's rate, of the bytes that it must move, against a copy."""
    rates = tuple(moved / time / 1e9 for time in times)
    rate = statistics.median(rates)
    ratio = rate / copy_gb_s
    peer = f"device copy {copy_gb_s:.0f} GB/s"
    if name == "histogram":
        note += f"; {N_STRINGS} different strings, sorting them included"
    return Row(name, rate, "GB/s", peer, ratio, f"ratio >= {SHARE:g}", ratio >= SHARE, rates, note)


def agreement_row(shots: Array, masks: Array) -> Row:
    """GPU and NumPy on 10^5 random shots."""
    from cudaq_target.kernels.gpu import decoding, layout, statistics  # noqa: PLC0415
    from cudaq_target.kernels.reference import layout as plain_layout  # noqa: PLC0415
    from cudaq_target.kernels.reference import statistics as plain  # noqa: PLC0415

    host = shots.get()
    odd = np.stack([np.bitwise_count(host & mask).sum(axis=1) & 1 for mask in masks], axis=1)
    pairs = [
        (statistics.occupation(host, N_QUBITS), plain.occupation(host, N_QUBITS)),
        (layout.transpose_bits(host, N_QUBITS), plain_layout.transpose_bits(host, N_QUBITS)),
        (
            decoding.parity_rows(host, N_QUBITS, masks),
            plain_layout.pack_bits(odd.astype(np.uint8)),
        ),
        *zip(statistics.histogram(host, N_QUBITS), plain.histogram(host, N_QUBITS), strict=True),
    ]
    n_wrong = sum(not np.array_equal(ours, expected) for ours, expected in pairs)
    note = f"{len(host)} random shots of {N_QUBITS} qubits"
    name = "kernels that disagree with NumPy"
    return Row(name, n_wrong, "1", reach="0", holds=not n_wrong, note=note, is_correctness=True)


def dispatch_rows(size: Size) -> list[Row]:
    """Round trips of `rpc_increment` with 32 bytes, from host memory to the GPU and back."""
    from benchmarks.gpu_dispatch import RoundTripError, round_trips  # noqa: PLC0415

    progress("dispatch")
    name = "dispatch round trip"
    try:
        host_ns, _ = round_trips("cpu", size.n_rounds, 32)
        times_ns, n_wrong = round_trips("gpu", size.n_rounds, 32)
    except RoundTripError as error:
        return [Row(f"{name} p50", None, "µs", reach=f"<= {AIM_US:g}", note=f"not run: {error}")]
    times_us = times_ns / 1e3
    peer = f"native CPU dispatcher p50 {np.median(host_ns) / 1e3:.2f} µs, same client"
    shares = {"p50": 50, "p99": 99, "p99.9": 99.9}
    figures = {"min": times_us.min(), "mean": times_us.mean()}
    figures |= {key: np.percentile(times_us, share) for key, share in shares.items()}
    figures["max"] = times_us.max()
    note = f"{len(times_us)} calls after {len(times_us) // 10} of warm-up, 32 bytes, all verified"
    wrong = Row(f"{name}, wrong answers", n_wrong, "1", reach="0", holds=not n_wrong, note=note,
                is_correctness=True)  # fmt: skip
    found = [wrong]
    for key, value in figures.items():
        is_goal = key == "p50"
        ratio = float(np.median(host_ns) / 1e3 / value) if is_goal else None
        reach, holds = (f"<= {AIM_US:g}", bool(value <= AIM_US)) if is_goal else (None, None)
        found.append(
            Row(f"{name} {key}", float(value), "µs", peer if is_goal else None, ratio, reach,
                holds, note=note)
        )  # fmt: skip
    return found


def layer(state: Array, n_qubits: int, rotations: Array, backend: str | None) -> None:
    """One layer of a circuit: a rotation per qubit, a phase of two, a block of two."""
    from cudaq_target.kernels.statevector import (  # noqa: PLC0415
        apply_block,
        apply_diagonal,
        rotate_qubits,
    )

    dims = (2,) * n_qubits
    options: dict[str, Any] = {"backend": backend}
    if backend == "cpu":
        options["threads"] = 2
    rotate_qubits(state, rotations, **options)
    apply_diagonal(state, dims, (0, n_qubits - 1), np.exp(1j * np.arange(4.0)), **options)
    matrix = np.kron(rotations[0], rotations[1])
    apply_block(state, dims, (n_qubits // 2, n_qubits - 1), matrix, **options)


def random_rotations(n_qubits: int) -> Array:
    rng = np.random.default_rng(1)
    plain = rng.normal(size=(n_qubits, 2, 2)) + 1j * rng.normal(size=(n_qubits, 2, 2))
    return np.linalg.qr(plain)[0]


def emulator_rows(size: Size, end: float) -> list[Row]:
    """A layer of a state-vector emulator on the GPU, then on two cores while there is time."""
    import cupy  # noqa: PLC0415

    times: dict[tuple[int, str], tuple[float, ...]] = {}
    for n in size.emulator_qubits:
        rotations = random_rotations(n)
        for dtype in DTYPES:
            progress(f"emulator n={n} {dtype}")
            if cupy.cuda.runtime.memGetInfo()[0] < 1.5 * np.dtype(dtype).itemsize * 2**n:
                times[n, dtype] = ()
                continue
            state = cupy.full(1 << n, 2.0 ** (-n / 2), dtype=dtype)
            times[n, dtype] = seconds_of(lambda s=state, r=rotations, n=n: layer(s, n, r, None), 5)
            del state
            cupy.get_default_memory_pool().free_all_blocks()
    found, likely_s = [], 0.0
    for (n, dtype), samples in times.items():
        name = f"emulator layer n={n} {dtype}"
        if not samples:
            found.append(Row(name, None, "s", note="not run: too little device memory"))
            continue
        cpu_s = None
        if n in size.cpu_qubits and perf_counter() + likely_s < end:
            progress(f"{name} on two cores")
            cpu_s = cpu_layer_s(n, dtype, random_rotations(n))
            likely_s = 3.0 * (cpu_s or 0.0)
        found.append(emulator_row(name, samples, cpu_s))
    return found


def emulator_row(name: str, times: tuple[float, ...], cpu_s: float | None) -> Row:
    """A layer's time, and how many times longer the CPU takes."""
    value = statistics.median(times)
    reach = f"ratio >= {SPEEDUP:g}"
    if cpu_s is None:
        return Row(
            name,
            value,
            "s",
            reach=reach,
            samples=times,
            note="CPU not run: no Numba, no time, or --quick",
        )
    ratio = cpu_s / value
    peer = f"2-core CPU {cpu_s:.3g} s"
    return Row(name, value, "s", peer, ratio, reach, ratio >= SPEEDUP, times)


def cpu_layer_s(n_qubits: int, dtype: str, rotations: Array) -> float | None:
    """Time of a layer on two cores; None without Numba."""
    if not numba_compiles():
        return None
    small = np.full(1 << 16, 2.0**-8, dtype=dtype)
    layer(small, 16, rotations[:16], "cpu")  # compiles
    state = np.full(1 << n_qubits, 2.0 ** (-n_qubits / 2), dtype=dtype)
    return seconds(lambda: layer(state, n_qubits, rotations, "cpu"))


def analog_rows(_size: Size, end: float) -> list[Row]:
    """Sweeps of the analog emulator, which are short enough for every run."""
    return list(gpu_analog.rows(seconds_of, end))


def device_facts() -> dict[str, object]:
    """Describe the GPU, where there is one."""
    if gpu_missing():
        return {"gpu": None}
    import cupy  # noqa: PLC0415

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "gpu": properties["name"].decode(),
        "gpu_memory_gib": round(properties["totalGlobalMem"] / 2**30, 1),
        "multiprocessors": properties["multiProcessorCount"],
        "cuda_driver": cupy.cuda.runtime.driverGetVersion(),
        "cuda_runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less data, fewer repeats")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--output", type=Path, help="write the full record to this file")
    parser.add_argument("--seconds", type=float, default=FOREVER_S, help="time for all (s)")
    chosen = parser.parse_args(arguments)
    facts = machine_facts() | device_facts()
    command = " ".join(["python -m benchmarks.gpu", *(["--quick"] if chosen.quick else [])])

    def keep(found: list[Row]) -> Report:
        report = Report("gpu", tuple(found), command, facts)
        if chosen.output is not None:
            write(report, chosen.output)
        return report

    report = keep(rows(chosen.quick, chosen.seconds, keep))
    print(json.dumps(report.public(), ensure_ascii=False) if chosen.json else table(report))
    return 0 if report.is_correct else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
