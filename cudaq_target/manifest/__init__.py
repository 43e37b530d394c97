"""Manifests: what ran, where, with which versions, and what came out, as one JSON file.

A manifest holds the program itself, so that `rerun` gives the same numbers with the same seed, and
names what has changed since. It holds no secrets. `cudaq-target report` turns it into a text, a
page, the fields of the quantum-advantage tracker, or a use-case card of openQSE.

>>> from cudaq_target import manifest
>>> from cudaq_target.analog.model import AnalogSpec, Waveform
>>> from cudaq_target.analog.program import build
>>> program = build(AnalogSpec.of([(0, 0)], Waveform.constant(500, 6.283185307)))
>>> shots, found = manifest.run(program, 20, machine="local", seed=1)
>>> manifest.rerun(found).agreement
'identical'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cudaq_target.manifest.again import Rerun, rerun
    from cudaq_target.manifest.model import About, Manifest, Result, loads, read, write
    from cudaq_target.manifest.openqse import card
    from cudaq_target.manifest.runs import run
    from cudaq_target.manifest.tracker import submission

__all__ = [
    "About",
    "Manifest",
    "Rerun",
    "Result",
    "card",
    "loads",
    "read",
    "rerun",
    "run",
    "submission",
    "write",
]

_MODULES = {
    "About": "model",
    "Manifest": "model",
    "Rerun": "again",
    "Result": "model",
    "card": "openqse",
    "loads": "model",
    "read": "model",
    "rerun": "again",
    "run": "runs",
    "submission": "tracker",
    "write": "model",
}


if not TYPE_CHECKING:  # or type checkers would take any name, submodules too, for an `object`

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value
