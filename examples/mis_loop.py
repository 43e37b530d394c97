"""Largest independent sets of unit-disk graphs, by a loop that shapes pulses from streamed shots.

Run it: `python examples/mis_loop.py`. A controller is started in a process of its own; the loop
sends it the family of pulses once and a few numbers per point, and stops each run as soon as the
point is known well enough. On a machine that measures five shots per second, every shot that is not
measured is a fifth of a second.
"""

from __future__ import annotations

import sys

from cudaq_target.loops.controller_process import controller_process
from cudaq_target.loops.graphs import named_graph
from cudaq_target.loops.mis import MisResult, MisSettings, find_mis

SHOTS_PER_S = 5.0


def main(n_points: int = 30, seed: int = 1) -> dict[str, MisResult]:
    """Shape the pulses of three graphs, and say what streaming saved."""
    results = {}
    with controller_process(device="AnalogDevice", seed=seed) as endpoint:
        for name in ("ring", "ladder", "square"):
            settings = MisSettings(duration_ns=1500, n_points=n_points, seed=seed)
            found = results[name] = find_mis(named_graph(name), settings, endpoint=endpoint)
            saved_min = found.loop.n_saved / SHOTS_PER_S / 60.0
            print(found.text())
            print(f"saved: {saved_min:.0f} minutes of a machine with 5 shots per second\n")
    return results


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
