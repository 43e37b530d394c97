"""Compiling the loops for this machine ahead of the first program."""

from __future__ import annotations

import time

import numpy as np

from cudaq_target.circuit import Circuit, Gate
from cudaq_target.device import resolve
from cudaq_target.errors import Source
from cudaq_target.machines.local import LocalMachine
from cudaq_target.program import compile_circuit

# Enough amplitudes for the parallel loops of the emulator.
_N_QUBITS = 16


def warm_up() -> float:
    """Compile every loop that a noise-free program uses, and keep it on disk.

    The first program on a machine does the same, and takes that much longer.

    Returns:
        How long it took (s): about 10 at first, below 1 when everything was there.
    """
    start = time.perf_counter()
    here = Source("warm_up")
    gates = [Gate("h", (0,), here)]
    gates += [Gate("x", (q + 1,), here, controls=(q,)) for q in range(_N_QUBITS - 1)]
    chain = Circuit("warm_up", _N_QUBITS, tuple(gates))
    # Without the cache of pulses, so that the solver runs too.
    program = compile_circuit(chain, resolve(), cache_dir="off")
    program = compile_circuit(chain, resolve(), cache_dir="off", plans=program.plans)
    machine = LocalMachine()
    machine.sample(program.timeline, 10, rng=np.random.default_rng(0))
    machine.state(program.timeline)
    return time.perf_counter() - start
