"""Small programs for services."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build

if TYPE_CHECKING:
    from cudaq_target.analog.program import AnalogProgram


@cache
def waiting() -> AnalogProgram:
    """Two atoms that are left alone."""
    return build(AnalogSpec.of([(0, 0), (8, 0)], Waveform([0, 500], [0, 0]), name="waiting"))


@cache
def inverted() -> AnalogProgram:
    """Atom 0 far from a pair: it is inverted, the pair answers as blockaded atoms do."""
    sites = [(-20.0, 0.0), (10.0, 0.0), (15.0, 0.0)]
    return build(AnalogSpec.of(sites, Waveform([0, 1000], [3.1416, 3.1416]), name="inverted"))
