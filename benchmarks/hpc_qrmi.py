"""A task through QRMI to a QPU on site: what we add to the calls of QRMI itself.

The stand-in of Warden, in a process of its own, takes no time for a job and answers zeros. The peer
is the bare wheel in the same process and run, with a sequence of the same size: one `task_start`,
one `task_status` that says that the task is completed, and one `task_result`, without what passes
between them. Ours is the whole call: `measure` of an analog program, and `cudaq.sample` of a kernel
with other angles each time. So our looks at a task that is not done yet, our pauses between them,
and for kernels tracing, lowering and results are what a row shows.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.report import Row, progress
from benchmarks.timing import in_turns, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

N_SHOTS = 100
REACH_MS = 20.0
USER = 1234
RESOURCE = "bench"
_N_WARM = 3


def rows(quick: bool = False) -> list[Row]:
    """Measure a task of an analog program, and a sample of a kernel."""
    n_tasks = 10 if quick else 100
    with _site():
        progress("task through QRMI")
        task = _row("analog task through QRMI beyond its own calls", n_tasks, *_analog())
        progress("cudaq.sample through QRMI")
        name = "cudaq.sample, 5 qubits, through QRMI beyond its own calls"
        return [task, _row(name, n_tasks, *_kernel())]


def _row(name: str, n_tasks: int, run: Callable[[], object], bare: Callable[[], float]) -> Row:
    pair = in_turns(lambda: seconds(run), bare, n_tasks, warm_ups=_N_WARM)
    beyond_ms = [1e3 * (each - pair.peer) for each in pair.ours_s]
    value = statistics.median(beyond_ms)
    return Row(
        name,
        round(value, 2),
        "ms",
        peer=f"task_start + task_status + task_result of the wheel: {1e3 * pair.peer:.2f} ms",
        reach=f"<= {REACH_MS:g}",
        holds=value <= REACH_MS,
        samples=tuple(round(each, 3) for each in beyond_ms),
        note="pasqal-local, loopback stand-in in a process of its own, machine time 0 s; median",
    )


def _bare(sequence: str) -> Callable[[], float]:
    """Return what runs a task with the wheel alone; gives the time in its three calls (s)."""
    import qrmi  # noqa: PLC0415

    from cudaq_target.cloud.environment import resource  # noqa: PLC0415

    settings = dict(resource("qrmi").settings)
    qpu = qrmi.QuantumResource.from_config(RESOURCE, qrmi.ResourceType.PasqalLocal, settings)

    def run() -> float:
        payload = qrmi.Payload.PasqalCloud(sequence=sequence, job_runs=N_SHOTS)
        began_s = time.perf_counter()
        task = qpu.task_start(payload)
        spent_s = time.perf_counter() - began_s
        status = None
        while status != qrmi.TaskStatus.Completed:
            began_s = time.perf_counter()
            status = qpu.task_status(task)
            last_s = time.perf_counter() - began_s
        began_s = time.perf_counter()
        assert str(N_SHOTS) in qpu.task_result(task).value
        return spent_s + last_s + time.perf_counter() - began_s

    return run


def _analog() -> tuple[Callable[[], object], Callable[[], float]]:
    from cudaq_target.analog.model import AnalogSpec, Waveform  # noqa: PLC0415
    from cudaq_target.analog.program import build  # noqa: PLC0415
    from cudaq_target.machines.remote import Task, machine_for  # noqa: PLC0415
    from cudaq_target.options import resolve  # noqa: PLC0415

    machine = machine_for(resolve({"machine": "qrmi"}))
    assert machine is not None
    spec = AnalogSpec.of([(0, 0), (8, 0)], Waveform([0, 500], [0, 3.0]), name="bench")
    task = Task.of(build(spec, machine.device("analog")))
    return lambda: machine.measure(task, N_SHOTS, seed=0), _bare(task.to_json())


def _kernel() -> tuple[Callable[[], object], Callable[[], float]]:
    import cudaq  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    from benchmarks.cudaq_kernels import ring  # noqa: PLC0415
    from cudaq_target import compile as compiled  # noqa: PLC0415
    from cudaq_target.machines.remote import Task  # noqa: PLC0415

    cudaq.set_target("pasqal", machine="qrmi")
    rng = np.random.default_rng(1)

    def angles() -> list[float]:
        return [float(angle) for angle in rng.uniform(0.0, np.pi, 5)]

    def run() -> None:
        result = cudaq.sample(ring, 5, 1, angles(), shots_count=N_SHOTS)
        assert result.get_total_shots() == N_SHOTS

    return run, _bare(Task.of(compiled(ring, 5, 1, angles())).to_json())


@contextmanager
def _site() -> Iterator[None]:
    """Be in a job that has a QPU, and leave it."""
    import cudaq  # noqa: PLC0415

    from cudaq_target.fakes import munge  # noqa: PLC0415

    munge.load_stub()
    code = (
        "import json, sys; from cudaq_target.fakes import FakeWarden\n"
        "with FakeWarden(device='DigitalAnalogDevice', engine='zeros', credentials='stub') as w:\n"
        f"    print(json.dumps(w.qrmi_environment({RESOURCE!r}, {USER})), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    before = dict(os.environ)
    try:
        assert process.stdout is not None
        os.environ.update(json.loads(process.stdout.readline()))
        os.environ[munge.UID_VARIABLE] = str(USER)
        yield
    finally:
        cudaq.set_target("qpp-cpu")
        os.environ.clear()
        os.environ.update(before)
        process.communicate()  # closes its standard input, which ends it
