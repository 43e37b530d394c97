"""Services inside and outside of an HPC centre: what our clients add to the machine's own time.

Run it with `python -m benchmarks.run hpc [--quick] [--json] [--output FILE]`. All services are the
loopback stand-ins of `cudaq_target.fakes`, in processes of their own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from benchmarks.report import progress

if TYPE_CHECKING:
    from benchmarks.report import Row

PARTS = ("cloud", "qrmi")


def rows(quick: bool = False) -> list[Row]:
    """Measure all parts, one after the other."""
    found: list[Row] = []
    for part in PARTS:
        progress(f"hpc, part {part}")
        found += import_module(f"benchmarks.hpc_{part}").rows(quick)
    return found
