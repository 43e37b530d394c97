"""Run a Pulser sequence on emu-sv or pulser-simulation and print the times as JSON.

`PYTHON -m`-less on purpose: the interpreter that holds the peer needs nothing of this project.
`PYTHON benchmarks/emu_peer.py PEER SEQUENCE.json OUT.npy DT_NS REPEATS`. The probabilities go to
OUT.npy, indexed with atom 0 as the most significant bit and r = 1.
"""

import json
import logging
import os
import sys
import warnings
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

PEERS = {"emu-sv": ("emu-sv", "torch"), "pulser-simulation": ("pulser-simulation", "qutip")}


def emu_sv(sequence: Any, dt_ns: int) -> Any:  # noqa: ANN401 - the peer's own classes
    from emu_sv import StateResult, SVBackend, SVConfig  # noqa: PLC0415

    config = SVConfig(
        dt=dt_ns,
        gpu=False,
        observables=[StateResult(evaluation_times=[1.0])],
        log_level=logging.ERROR,
    )
    return SVBackend(sequence, config=config)


def pulser_simulation(sequence: Any, dt_ns: int) -> Any:  # noqa: ANN401
    from pulser.backend import StateResult  # noqa: PLC0415
    from pulser_simulation import QutipBackendV2, QutipConfig  # noqa: PLC0415

    del dt_ns  # it chooses its steps itself
    config = QutipConfig(observables=[StateResult(evaluation_times=[1.0])])
    return QutipBackendV2(sequence, config=config)


def probabilities(peer: str, state: Any) -> np.ndarray:  # noqa: ANN401
    if peer == "emu-sv":
        return np.abs(state.data.numpy()) ** 2
    # (r, g) per atom: the index is reversed.
    return np.abs(state.to_qobj().full().reshape(-1)[::-1]) ** 2


def short_program() -> Any:  # noqa: ANN401
    """Loads what the first run of a process loads."""
    import pulser  # noqa: PLC0415

    register = pulser.Register.rectangle(1, 4, 6.0, prefix="q")
    sequence = pulser.Sequence(register, pulser.MockDevice)
    sequence.declare_channel("global", "rydberg_global")
    sequence.add(pulser.Pulse.ConstantPulse(100, 6.0, 0.0, 0.0), "global")
    return sequence


def main(peer: str, sequence_file: str, out_file: str, dt_ns: str, repeats: str) -> None:
    import pulser  # noqa: PLC0415

    warnings.simplefilter("ignore")
    make = {"emu-sv": emu_sv, "pulser-simulation": pulser_simulation}[peer]
    make(short_program(), int(dt_ns)).run()
    sequence = pulser.Sequence.from_abstract_repr(Path(sequence_file).read_text())
    seconds = []
    for _ in range(int(repeats)):
        backend = make(sequence, int(dt_ns))
        start = perf_counter()
        results = backend.run()
        seconds.append(perf_counter() - start)
    np.save(out_file, probabilities(peer, results.state[-1]))
    versions = {name: metadata.version(name) for name in PEERS[peer]}
    print(json.dumps({"seconds": seconds, "versions": versions, "cpus": os.cpu_count()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
