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
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.loop_latency import OVERHEAD_GOALS_MS, busy_ns, process
from benchmarks.report import Goal, Row, aligned, cells, progress
from benchmarks.timing import in_turns
from cudaq_target.coupler.transports.shared_memory import remove_abandoned

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

N_QUBITS = 5
N_SHOTS = (128, 1000)
N_AGREEMENT, AGREEMENT = 20_000, 0.06


def rows(quick: bool = False) -> list[Row]:
    """Measure over shared memory and over a socket file."""
    return list(_rows(quick))


def _rows(quick: bool) -> Iterator[Row]:
    n_blocks, n_samples = (2, 20) if quick else (10, 100)
    for transport in ("shm",) if quick else OVERHEAD_GOALS_MS:
        goal_ms = OVERHEAD_GOALS_MS[transport]
        with sampler(transport) as calls:
            for n_shots in N_SHOTS[: 1 if quick else None]:
                progress(f"cudaq.sample over {transport}, {n_shots} shots")
                pair = in_turns(
                    partial(calls.taken_ms, True, n_shots, n_samples),
                    partial(calls.taken_ms, False, n_shots, n_samples),
                    n_blocks,
                    warm_ups=1,
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
            yield agreement_row(transport, calls)


def agreement_row(transport: str, calls: Calls) -> Row:
    """How far counts over a transport are from those of the machine in this process."""
    remote, local = (calls.counts(is_remote, N_AGREEMENT) for is_remote in (True, False))
    names = remote.keys() | local.keys()
    distance = sum(abs(remote.get(name, 0) - local.get(name, 0)) for name in names)
    value = distance / (2 * N_AGREEMENT)
    has_all = {sum(remote.values()), sum(local.values())} == {N_AGREEMENT}
    return Row(
        name=f"counts of cudaq.sample over {transport} against machine='local', total variation",
        value=value,
        unit="1",
        reach=str(Goal(AGREEMENT)),
        holds=has_all and Goal(AGREEMENT).met_by(value),
        note=f"{N_AGREEMENT} shots of {N_QUBITS} qubits each; shot noise alone gives 0.02",
        is_correctness=True,
    )


class Calls:
    """Calls of `cudaq.sample`, on a controller and in this process."""

    def __init__(self, place: str, server: subprocess.Popen[str]) -> None:
        self._place = place
        self._server = server
        self._rng = np.random.default_rng(1)

    def taken_ms(self, is_remote: bool, n_shots: int, n_samples: int) -> float:
        """Time of a call beyond the controller's own, the mean of so many (ms)."""
        self._aim(is_remote)
        busy_ns(self._server)
        begin_ns = time.perf_counter_ns()
        for angles in self._rng.uniform(0.2, 3.0, (n_samples, N_QUBITS)).tolist():
            self._sample(angles, n_shots)
        wall_ns = time.perf_counter_ns() - begin_ns
        return 1e-6 * (wall_ns - busy_ns(self._server)) / n_samples

    def counts(self, is_remote: bool, n_shots: int) -> dict[str, int]:
        """How often each outcome came, for angles that are always the same."""
        self._aim(is_remote)
        angles = np.random.default_rng(2).uniform(0.2, 3.0, N_QUBITS).tolist()
        return dict(self._sample(angles, n_shots).items())

    def _aim(self, is_remote: bool) -> None:
        import cudaq  # noqa: PLC0415

        cudaq.set_target("pasqal", machine=self._place if is_remote else "local")

    @staticmethod
    def _sample(angles: list[float], n_shots: int) -> Any:  # noqa: ANN401 - CUDA-Q has no types
        import cudaq  # noqa: PLC0415

        from benchmarks.cudaq_kernels import ring  # noqa: PLC0415

        return cudaq.sample(ring, N_QUBITS, 1, angles, shots_count=n_shots)


@contextmanager
def sampler(transport: str) -> Iterator[Calls]:
    """Start a controller, and leave it."""
    import cudaq  # noqa: PLC0415

    remove_abandoned("loop-target-")
    with tempfile.TemporaryDirectory(prefix="loop-") as folder:
        name = f"loop-target-{os.getpid()}-{time.monotonic_ns()}"
        place = f"shm://{name}" if transport == "shm" else f"ipc://{folder}/s"
        with process("emulator", place) as server:
            try:
                yield Calls(place, server)
            finally:
                cudaq.set_target("qpp-cpu")


if __name__ == "__main__":
    found = rows("--quick" in sys.argv)
    sys.stdout.write(aligned([cells(row.public()) for row in found]) + "\n")
