"""Analog programs: atoms at chosen sites under global waveforms, from specification to pulses.

>>> from cudaq_target import analog
>>> ramp = analog.Waveform([0, 250, 750, 1000], [0, 9, 9, 0])
>>> analog.build(analog.AnalogSpec.of([(0, 0), (7, 0)], ramp, name="pair"), "AnalogDevice")
<AnalogProgram: pair on AnalogDevice, 2 atoms, 1.000 µs>

A name loads its module when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cudaq_target.analog.ansatz import AnalogAnsatz, Shape, analog_ansatz
    from cudaq_target.analog.draw import draw_analog, draw_counts, draw_populations
    from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
    from cudaq_target.analog.program import AnalogProgram, build, read_sequence
    from cudaq_target.analog.rules import AnalogRules, analog_rules

__all__ = [
    "AnalogAnsatz",
    "AnalogProgram",
    "AnalogRules",
    "AnalogSpec",
    "LocalDetuning",
    "Shape",
    "Waveform",
    "analog_ansatz",
    "analog_rules",
    "build",
    "draw_analog",
    "draw_counts",
    "draw_populations",
    "read_sequence",
]

_MODULES = {
    "AnalogAnsatz": "ansatz",
    "AnalogProgram": "program",
    "AnalogRules": "rules",
    "AnalogSpec": "model",
    "LocalDetuning": "model",
    "Shape": "ansatz",
    "Waveform": "model",
    "analog_ansatz": "ansatz",
    "analog_rules": "rules",
    "build": "program",
    "draw_analog": "draw",
    "draw_counts": "draw",
    "draw_populations": "draw",
    "read_sequence": "program",
}


if not TYPE_CHECKING:  # or type checkers would take any name, submodules too, for an `object`

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value
