"""Warming up leaves nothing to compile for an ordinary program."""

from __future__ import annotations

import subprocess
import sys

COUNT_COMPILATIONS = """
import numpy as np
from numba.core import event
compiled = []
class Listener(event.Listener):
    def on_start(self, happened):
        compiled.append(str(happened.data.get("dispatcher")))
    def on_end(self, happened):
        pass
from cudaq_target.warm import warm_up
warm_up()
event.register("numba:compile", Listener())
from cudaq_target.circuit import Circuit, Gate
from cudaq_target.errors import Source
from cudaq_target.machines.local import LocalMachine
from cudaq_target.program import compile_circuit
here = Source("mixed")
gates = [Gate("h", (q,), here) for q in range(17)]
gates += [Gate("r1", (q + 1,), here, controls=(q,), params=(0.3,)) for q in range(16)]
gates += [Gate("ry", (q,), here, params=(0.4,)) for q in range(17)]
program = compile_circuit(Circuit("mixed", 17, tuple(gates)), cache_dir="off")
LocalMachine().sample(program.timeline, 10, rng=np.random.default_rng(0))
from cudaq_target.emulator.analog.curves import Curve
from cudaq_target.emulator.analog.integrate import evolve_rydberg
from cudaq_target.emulator.analog.problem import RydbergProblem
for n in (2, 9, 14, 17):
    problem = RydbergProblem(np.zeros((n, n)), 30.0, Curve.linear([0, 30], [1.0, 2.0]))
    for dtype in (np.complex64, np.complex128):
        evolve_rydberg(problem, step_ns=10.0, threads=2, dtype=dtype)
assert not compiled, compiled
"""


def test_an_ordinary_program_compiles_no_loop_afterwards() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNT_COMPILATIONS],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
