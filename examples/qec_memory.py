"""A logical bit kept in real time: syndromes every millisecond, corrected by another process.

Run it: `python examples/qec_memory.py`. This process plays the controller: it sends the measured
rounds of a surface code on a fixed cadence and asks for the correction with the last one. A decode
server in a process of its own decodes in machine code. Late answers are counted, whoever is late;
afterwards the same shots are decoded offline, which must give the same corrections, and by
PyMatching.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from cudaq_target.coupler.loops.memory import memory_experiment
from cudaq_target.coupler.loops.memory_record import replay_memory
from cudaq_target.coupler.loops.memory_result import MemoryResult


def main(n_shots: int = 2000, error_rate: float = 0.003) -> list[MemoryResult]:
    """Keep the bit in two codes, and replay the second run from its record."""
    results = [memory_experiment("repetition", 3, p=error_rate, shots=n_shots)]
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "run.rec"
        kept = memory_experiment("surface", 3, p=error_rate, shots=n_shots, record=record)
        assert replay_memory(record) == kept
    results.append(kept)
    for result in results:
        print(result.text(), end="\n\n")
    return results


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
