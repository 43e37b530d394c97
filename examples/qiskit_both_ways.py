"""One analog program in two worlds: Qiskit's and CUDA-Q's.

Run it: `python examples/qiskit_both_ways.py [shots]`. It needs the extra `qiskit`, and for the
provider's own emulator `emu`. A circuit that was written with qiskit-pasqal-provider runs on the
machines of this package; a program of ours becomes such a circuit, and runs on theirs.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pulser
from qiskit import QuantumCircuit
from qiskit_pasqal_provider.providers.gate import HamiltonianGate
from qiskit_pasqal_provider.providers.provider import PasqalProvider
from qiskit_pasqal_provider.providers.pulse_utils import InterpolatePoints
from qiskit_pasqal_provider.providers.sampler import SamplerV2
from qiskit_pasqal_provider.providers.target import PasqalTarget

from cudaq_target import AnalogProgram, manifest
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.analog.qiskit_gate import from_circuit, to_circuit

MHZ = 2.0 * np.pi  # rad/µs


def qiskit_user() -> QuantumCircuit:
    """A sweep over a lone atom and a blockaded pair, as Qiskit's users write it."""
    gate = HamiltonianGate(
        amplitude=InterpolatePoints([0.0, 1.5 * MHZ, 1.5 * MHZ, 0.0], duration=2000),
        detuning=InterpolatePoints([-3.0 * MHZ, -1.5 * MHZ, 1.5 * MHZ, 3.0 * MHZ], duration=2000),
        phase=0.3,
        coords=[(-20.0, 0.0), (10.0, 0.0), (15.0, 0.0)],
    )
    circuit = QuantumCircuit(3, name="sweep")
    circuit.append(gate, circuit.qubits)
    return circuit


def our_user() -> AnalogProgram:
    """The same physics, as straight lines between points."""
    return build(
        AnalogSpec.of(
            [(-20.0, 0.0), (10.0, 0.0), (15.0, 0.0)],
            Waveform([0, 400, 1600, 2000], [0.0, 1.5 * MHZ, 1.5 * MHZ, 0.0]),
            Waveform([0, 2000], [-3.0 * MHZ, 3.0 * MHZ]),
            name="sweep",
        )
    )


def on_theirs(circuit: QuantumCircuit, n_shots: int) -> dict[str, int]:
    """Counts by the provider's local emulator, qubit 0 leftmost."""
    target = PasqalTarget(device=pulser.AnalogDevice)
    backend = PasqalProvider().get_backend("qutip", target=target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the provider uses an old emulator
        done = SamplerV2(backend).run([circuit], shots=n_shots).result()
    return dict(sorted(done[0].data.counts.items()))


def on_ours(program: AnalogProgram, n_shots: int) -> dict[str, int]:
    """Counts by the embedded emulator, atom 0 leftmost."""
    shots, _ = manifest.run(program, n_shots, machine="local", seed=1)
    return dict(sorted(shots.counts().items()))


def main(n_shots: int = 2000) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
    """Print the counts of both programs on both sides."""
    theirs, ours = qiskit_user(), our_user()
    found = {
        "written for Qiskit": (on_theirs(theirs, n_shots), on_ours(from_circuit(theirs), n_shots)),
        "written for us": (on_theirs(to_circuit(ours), n_shots), on_ours(ours, n_shots)),
    }
    for name, (there, here) in found.items():
        print(f"{name}:\n  provider  {there}\n  embedded  {here}")
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
