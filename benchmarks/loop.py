"""Real-time loops: shots saved, deadlines kept, time added.

Run it with `python -m benchmarks.run loop [--quick] [--json] [--output FILE]`, or each part by
itself: `loop-vqe`, `loop-drift`, `loop-memory`, `loop-latency`, `loop-target`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from benchmarks.report import Measurement, progress

if TYPE_CHECKING:
    from benchmarks.report import Row, Section

PARTS = ("vqe", "drift", "memory", "latency", "target")


def measured(quick: bool = False) -> Measurement:
    """Measure all parts, one after the other."""
    rows: list[Row] = []
    sections: dict[str, Section] = {}
    files: dict[str, Section] = {}
    for part in PARTS:
        progress(f"loop, part {part}")
        module = import_module(f"benchmarks.loop_{part}")
        if hasattr(module, "measured"):
            found = module.measured(quick)
        else:
            found = Measurement(tuple(module.rows(quick)))
        rows += found.rows
        sections |= found.sections
        files |= found.files
    return Measurement(tuple(rows), sections, files)
