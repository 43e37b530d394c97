"""The analog emulator on a GPU against two cores: an adiabatic sweep of 3 µs on a square patch.

Part of `benchmarks.gpu`. Both sides take the same steps of 10 ns in the scheme of fourth order,
from all atoms in g. Of many atoms the CPU runs the first part of the sweep, and its time is scaled.
"""

from __future__ import annotations

import math
import statistics
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.report import Row, progress
from benchmarks.timing import seconds
from cudaq_target.emulator.analog.curves import Curve
from cudaq_target.emulator.analog.integrate import Evolution, evolve_rydberg
from cudaq_target.emulator.analog.problem import RydbergProblem
from cudaq_target.emulator.analog.stages import BM4, Pace
from cudaq_target.kernels.statevector_backend import numba_compiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ATOMS = (14, 18, 20, 24)
DTYPES = (np.complex64, np.complex128)
DURATION_NS, STEP_NS = 3000.0, 10.0
# What the CPU runs of the sweep (ns); whole minutes pass otherwise.
CPU_NS = {14: 3000.0, 18: 600.0, 20: 150.0, 24: 20.0}
AGREEMENT_ATOMS, AGREEMENT = 14, 1e-10
C6_RAD_PER_US_UM6 = 865_723.02
SPACING_UM = 6.0


def sweep(n_atoms: int) -> RydbergProblem:
    """Ω rises to 1.5 MHz · 2π and falls again in 500 ns, δ goes from -3 to 3 MHz · 2π between."""
    columns = math.isqrt(n_atoms - 1) + 1
    sites = SPACING_UM * np.array([divmod(k, columns) for k in range(n_atoms)], dtype=np.float64)
    times_ns = [0.0, 500.0, 2500.0, DURATION_NS]
    rabi, reach = 3.0 * np.pi, 6.0 * np.pi
    return RydbergProblem.of(
        sites,
        C6_RAD_PER_US_UM6,
        DURATION_NS,
        Curve.linear(times_ns, [0.0, rabi, rabi, 0.0]),
        Curve.linear(times_ns, [-reach, -reach, reach, reach]),
    )


def names() -> list[str]:
    """Names of the rows with times."""
    return [f"analog sweep n={n} {dtype.__name__}" for n in ATOMS for dtype in DTYPES]


def rows(
    seconds_of: Callable[[Callable[[], object], int], tuple[float, ...]], end: float
) -> Iterator[Row]:
    """Measure the sweeps on the GPU, then on two cores while there is time.

    Args:
        seconds_of: Times a function on the GPU, so many times.
        end: When to leave the CPU out, by `perf_counter` (s).
    """
    yield agreement_row()
    for n in ATOMS:
        for dtype in DTYPES:
            name = f"analog sweep n={n} {dtype.__name__}"
            progress(name)
            times = seconds_of(lambda n=n, dtype=dtype: on_gpu(n, dtype), 3)  # type: ignore[misc]
            yield row(name, times, cpu_s(n, dtype) if perf_counter() < end else None, CPU_NS[n])


def row(name: str, times: tuple[float, ...], cpu: float | None, cpu_ns: float) -> Row:
    """A sweep's time, and how many times longer two cores take."""
    value = statistics.median(times)
    if cpu is None:
        return Row(name, value, "s", samples=times, note="CPU not run: no Numba, or no time")
    scaled = f", scaled from the first {cpu_ns:g} ns" if cpu_ns < DURATION_NS else ""
    peer = f"2-core CPU {cpu:.3g} s{scaled}"
    return Row(name, value, "s", peer, cpu / value, samples=times)


def agreement_row() -> Row:
    """Largest difference of a probability between GPU and CPU."""
    problem = sweep(AGREEMENT_ATOMS)
    gpu, cpu = (
        evolve_rydberg(problem, step_ns=STEP_NS, backend=backend).state
        for backend in ("gpu", "auto")
    )
    host: Any = gpu
    error = float(np.abs(np.abs(host.get()) ** 2 - np.abs(cpu) ** 2).max())
    name = f"analog sweep n={AGREEMENT_ATOMS}: largest |dP|, GPU against CPU"
    reach = f"<= {AGREEMENT:g}"
    return Row(name, error, "1", reach=reach, holds=error <= AGREEMENT, is_correctness=True)


def on_gpu(n_atoms: int, dtype: type[np.complexfloating]) -> None:
    """Run the sweep; the state stays on the GPU."""
    Evolution(sweep(n_atoms), BM4, dtype=dtype, backend="gpu").advance(DURATION_NS, Pace(STEP_NS))


def cpu_s(n_atoms: int, dtype: type[np.complexfloating]) -> float | None:
    """Time of the sweep on two cores, scaled from its first part; None without Numba."""
    if not numba_compiles():
        return None
    run_ns = CPU_NS[n_atoms]

    def run(until_ns: float) -> float:
        evolution = Evolution(sweep(n_atoms), BM4, dtype=dtype, threads=2, backend="cpu")
        return seconds(lambda: evolution.advance(until_ns, Pace(STEP_NS)))

    run(STEP_NS)  # compiles
    return run(run_ns) * DURATION_NS / run_ns
