"""Compiling the loops for this machine ahead of the first program."""

from __future__ import annotations

import time

import numpy as np

from cudaq_target.circuit import Circuit, Gate
from cudaq_target.device import resolve
from cudaq_target.emulator.analog.curves import Curve
from cudaq_target.emulator.analog.integrate import evolve_rydberg
from cudaq_target.emulator.analog.observables import occupations
from cudaq_target.emulator.analog.problem import RydbergProblem
from cudaq_target.emulator.analog.shots import sample_packed
from cudaq_target.errors import Source
from cudaq_target.machines.local import LocalMachine
from cudaq_target.program import compile_circuit

# Enough amplitudes for the parallel loops of the emulators.
_N_QUBITS = 16
_ANALOG_ATOMS = (4, 14)  # without and with them


def _warm_up_analog(n_atoms: int) -> None:
    """Run a short pulse on a chain, in both precisions."""
    chain = [[7.0 * k, 0.0] for k in range(n_atoms)]
    problem = RydbergProblem.of(chain, 865_723.02, 20.0, Curve.constant(1.0))
    for dtype in (np.complex128, np.complex64):
        state = evolve_rydberg(
            problem, step_ns=10.0, dtype=dtype, threads=2, measure=occupations
        ).state
        occupations(state)
        sample_packed(state, 1, np.random.default_rng(0))


def warm_up() -> float:
    """Compile every loop that programs of gates and analog ones use, and keep it on disk.

    The first program on a machine does the same, and takes that much longer.

    Returns:
        How long it took (s): about 30 at first, below 1 when everything was there.
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
    for n_atoms in _ANALOG_ATOMS:
        _warm_up_analog(n_atoms)
    return time.perf_counter() - start
