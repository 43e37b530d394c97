"""The same program on a laptop, on a controller, and in a job of Slurm or Grid Engine.

    python examples/laptop_to_slurm.py                                   # in this process
    CUDAQ_TARGET_MACHINE=ipc:///tmp/me/qpu.sock python examples/laptop_to_slurm.py  # a controller
    sbatch --gres=qpu:NAME examples/laptop_to_slurm.sh                   # the QPU of the job

No line of it says where it runs. What `CUDAQ_TARGET_MACHINE` names is used, else the QPU that the
job was given, and without either the emulator in this process. A controller is started with
`cudaq-target serve --bind ipc:///tmp/me/qpu.sock`.
"""

from __future__ import annotations

import os
import sys

import cudaq
from cudaq import spin


@cudaq.kernel
def tilted(angle: float) -> None:
    """Prepare cos(angle/2)|00⟩ + sin(angle/2)|11⟩."""
    q = cudaq.qvector(2)
    ry(angle, q[0])
    x.ctrl(q[0], q[1])


def job_of_scheduler() -> str:
    """Name the scheduler's job that this process belongs to."""
    if "SLURM_JOB_ID" in os.environ:
        return f"Slurm's job {os.environ['SLURM_JOB_ID']}"
    if "SGE_ROOT" in os.environ and "JOB_ID" in os.environ:
        return f"Grid Engine's job {os.environ['JOB_ID']}"
    return "no job of a scheduler"


def main(n_shots: int = 400, angle: float = 1.2) -> tuple[str, float]:
    """Sample and observe; return the machine that did it, and the energy."""
    cudaq.set_target("pasqal", seed=7)
    counts = cudaq.sample(tilted, angle, shots_count=n_shots)
    cost = spin.z(0) * spin.z(1) + 0.5 * spin.x(0) * spin.x(1)
    energy = cudaq.observe(tilted, cost, angle, shots_count=n_shots).expectation()
    machine = dict(counts.annotations).get("machine", "local")
    print(f"in {job_of_scheduler()}, on {machine}: {dict(counts.items())}, energy {energy:.3f}")
    return machine, energy


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
