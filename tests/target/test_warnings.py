"""Programs of users run where every warning is an error, in the processes they start as well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# CUDA-Q's own, on every import of it.
FILTERS = "error,ignore:The CUDA-Q:FutureWarning"
KERNELS = """
import cudaq
from cudaq import spin

@cudaq.kernel
def pair(angle: float):
    q = cudaq.qvector(2)
    ry(angle, q[0])
    x.ctrl(q[0], q[1])

@cudaq.kernel
def flag() -> bool:
    q = cudaq.qubit()
    x(q)
    return mz(q)

"""
HERE = """
import numpy as np
from cudaq.dynamics import Schedule
from cudaq.operators import RydbergHamiltonian, ScalarOperator
cudaq.set_target("pasqal", seed=1)
cudaq.sample(pair, 1.2, shots_count=10)
cudaq.sample_async(pair, 1.2, shots_count=10).get()
cudaq.observe(pair, spin.z(0), 1.2)
cudaq.run(flag, shots_count=4)
cudaq.get_state(pair, 1.2)
zero, drive = ScalarOperator.const(0.0), ScalarOperator(lambda t: 6e6 * (0 < t.real < 9e-7))
atoms = RydbergHamiltonian(
    atom_sites=[(0, 0), (7e-6, 0)], amplitude=drive, phase=zero, delta_global=zero
)
cudaq.evolve(atoms, schedule=Schedule(np.linspace(0, 1e-6, 21), ["t"]), shots_count=10)
"""
THERE = """
from cudaq_target import cli
from cudaq_target.loops.controller_process import controller_process
with controller_process(seed=1) as endpoint:
    cudaq.set_target("pasqal", machine=endpoint)
    cudaq.sample(pair, 1.2, shots_count=10)
    cudaq.set_target("qpp-cpu")
assert cli.main(["loop", "vqe", "--qubits", "2", "--error", "0.1"]) == 0
assert cli.main(["loop", "memory", "--shots", "5"]) == 0
"""


@pytest.mark.parametrize("code", [HERE, THERE], ids=["here", "there"])
def test_no_warning(code: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(KERNELS + code)
    environment = os.environ | {"PYTHONWARNINGS": FILTERS}
    done = subprocess.run(
        [sys.executable, script], env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
