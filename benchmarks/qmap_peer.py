"""A second peer for gate counts: the hybrid mapper of mqt.qmap (arXiv:2311.14164), gates only."""

from __future__ import annotations

import json
import math
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.qiskit_peer import SPACING_UM, n_cz, transpile

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

N_SEEDS = 5
CZ_PER_SWAP = 3


def is_installed() -> bool:
    """Whether mqt.qmap can be imported."""
    return find_spec("mqt") is not None and find_spec("mqt.qmap") is not None


def architecture(n: int, radius: float) -> dict[str, object]:
    """Describe a square grid of n atoms to the mapper; radius in lattice constants."""
    n_columns = math.ceil(math.sqrt(n))
    return {
        "name": "grid",
        "properties": {
            "nRows": math.ceil(n / n_columns),
            "nColumns": n_columns,
            "nAods": 1,
            "nAodCoordinates": 4,
            "interQubitDistance": SPACING_UM,
            "minimalAodDistance": 0.1,
            "interactionRadius": radius,
            "blockingFactor": 1,
            "nAodIntermediateLevels": 4,
        },
        "parameters": {
            "nQubits": n,
            "gateTimes": {"none": 0.1, "u3": 0.1, "u": 0.1, "cz": 0.54},
            "gateAverageFidelities": {"none": 1, "u3": 1, "cz": 0.995},
            "decoherenceTimes": {"t1": 1e8, "t2": 1.5e6},
            "shuttlingTimes": {
                "move": 0.55,
                "aod_move": 0.55,
                "aod_activate": 20,
                "aod_deactivate": 20,
            },
            "shuttlingAverageFidelities": {
                "move": 1,
                "aod_move": 1,
                "aod_activate": 1,
                "aod_deactivate": 1,
            },
        },
    }


def fewest_cz(circuit: QuantumCircuit, radius: float) -> int:
    """Return CZ + 3·SWAP of the best seed.

    The input is what Qiskit makes of the circuit with all-to-all connections.
    """
    from mqt.core.plugins.qiskit import qiskit_to_mqt  # noqa: PLC0415
    from mqt.qmap.hybrid_mapper import (  # noqa: PLC0415
        HybridNAMapper,
        InitialCircuitMapping,
        MapperParameters,
        NeutralAtomHybridArchitecture,
    )

    flat = transpile(circuit, None, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.json"
        path.write_text(json.dumps(architecture(circuit.num_qubits, radius)))
        grid = NeutralAtomHybridArchitecture(str(path))
    swaps = []
    for seed in range(N_SEEDS):
        choices = MapperParameters()
        choices.seed = seed
        choices.shuttling_weight, choices.gate_weight = 0.0, 1.0
        choices.lookahead_depth, choices.max_bridge_distance = 1, 0
        mapper = HybridNAMapper(grid, choices)
        graph = seed % 2 == 1
        mapper.map(
            qiskit_to_mqt(flat),
            InitialCircuitMapping.graph if graph else InitialCircuitMapping.identity,
        )
        swaps.append(int(mapper.get_stats()["nSwaps"]))
    return n_cz(flat) + CZ_PER_SWAP * min(swaps)
