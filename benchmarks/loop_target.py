"""What `cudaq.sample` costs over the coupler, beyond the machine at the other end.

Run it with `python -m benchmarks.loop_target [--quick]`, or as rows of the benchmark `loop`.

Wall time of samples of a kernel of five qubits with other angles each time, less the time in which
the machine says that it bound, emulated and measured, per sample. So tracing the kernel, the link,
the controller and CUDA-Q's results are in it. The peer is the whole time of the same call on
`machine="local"`, in which the emulator works, too.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.loop_latency import OVERHEAD_GOALS_MS, busy_ns, process
from benchmarks.report import Goal, Row, aligned, cells, progress
from benchmarks.timing import in_turns
from cudaq_target.coupler.transports.shared_memory import remove_abandoned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

N_QUBITS = 5
N_SHOTS = (128, 1000)


def rows(quick: bool = False) -> list[Row]:
    """Measure over shared memory and over a socket file."""
    return list(_rows(quick))


def _rows(quick: bool) -> Iterator[Row]:
    n_blocks, n_samples = (2, 20) if quick else (10, 100)
    for transport, goal_ms in OVERHEAD_GOALS_MS.items():
        with sampler(transport) as taken_ms:
            for n_shots in N_SHOTS[: 1 if quick else None]:
                progress(f"cudaq.sample over {transport}, {n_shots} shots")
                taken_ms(True, n_shots, 20)
                taken_ms(False, n_shots, 20)
                pair = in_turns(
                    partial(taken_ms, True, n_shots, n_samples),
                    partial(taken_ms, False, n_shots, n_samples),
                    n_blocks,
                )
                yield Row(
                    name=f"cudaq.sample beyond the machine, 5 qubits, {n_shots} shots, {transport}",
                    value=pair.ours,
                    unit="ms",
                    peer=f"the whole call on machine='local': {pair.peer:.3g} ms",
                    reach=str(Goal(goal_ms)),
                    holds=Goal(goal_ms).met_by(pair.ours),
                    samples=pair.ours_s,
                    note="wall time less the machine's own, per call",
                )


@contextmanager
def sampler(transport: str) -> Iterator[Callable[[bool, int, int], float]]:
    """Start a controller; gives what measures calls (ms per call) on it, or in this process."""
    import cudaq  # noqa: PLC0415

    from benchmarks.cudaq_kernels import ring  # noqa: PLC0415

    remove_abandoned("loop-target-")
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(prefix="loop-") as folder:
        name = f"loop-target-{os.getpid()}-{time.monotonic_ns()}"
        place = f"shm://{name}" if transport == "shm" else f"ipc://{folder}/s"
        with process("emulator", place) as server:

            def taken_ms(is_remote: bool, n_shots: int, n_samples: int) -> float:
                cudaq.set_target("pasqal", machine=place if is_remote else "local")
                busy_ns(server)
                begin_ns = time.perf_counter_ns()
                for angles in rng.uniform(0.2, 3.0, (n_samples, N_QUBITS)).tolist():
                    cudaq.sample(ring, N_QUBITS, 1, angles, shots_count=n_shots)
                wall_ns = time.perf_counter_ns() - begin_ns
                return 1e-6 * (wall_ns - busy_ns(server)) / n_samples

            try:
                yield taken_ms
            finally:
                cudaq.set_target("qpp-cpu")


if __name__ == "__main__":
    found = rows("--quick" in sys.argv)
    sys.stdout.write(aligned([cells(row.public()) for row in found]) + "\n")
