"""A sweep as a job array, on Slurm or Grid Engine: each task takes its share of the points.

Run it in an array with `examples/sweep_array.sh`, or here with `python examples/sweep_array.py`;
then `python examples/sweep_array.py collect` puts the parts together. A point has the same seed in
every task, so that the result does not depend on how many tasks there are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cudaq_target import submit
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.sweep import array_share

DISTANCES_UM = [5.0, 6.0, 7.0, 8.0, 10.0, 12.0]
PARTS = Path("sweep-parts")


def excited_together(distance_um: float, seed: int, n_shots: int = 200) -> float:
    """Share of shots in which a pulse of area pi excites both atoms."""
    pulse = Waveform([0, 1000], [3.1416, 3.1416])
    program = build(AnalogSpec.of([(0, 0), (distance_um, 0)], pulse, name="pair"))
    counts = submit(program, n_shots, machine="local", seed=seed).result().counts()
    return counts.get("11", 0) / n_shots


def main(seed: int = 1) -> None:
    """Measure this task's points, and write each to a file of its own."""
    PARTS.mkdir(exist_ok=True)
    for index, distance_um, point_seed in array_share(DISTANCES_UM, seed):
        share = excited_together(distance_um, point_seed)
        row = {"index": index, "distance_um": distance_um, "excited_together": share}
        (PARTS / f"{index}.json").write_text(json.dumps(row))


def collect() -> list[dict[str, float]]:
    """Put the parts together, and name the points that are missing."""
    rows = [json.loads(path.read_text()) for path in PARTS.glob("*.json")]
    missing = sorted(set(range(len(DISTANCES_UM))) - {row["index"] for row in rows})
    if missing:
        sys.exit(f"points {missing} are missing; run their tasks again")
    return sorted(rows, key=lambda row: row["index"])


if __name__ == "__main__":
    if sys.argv[1:] == ["collect"]:
        for row in collect():
            print(f"{row['distance_um']:5.1f} µm  {row['excited_together']:.3f}")
    else:
        main()
