"""CUDA-Q's target `pasqal`, completed: gate kernels run as neutral-atom pulses.

>>> import cudaq_target
>>> cudaq_target.Pasqal(machine="local")
Pasqal(machine='local')

Importing this package loads the standard library only; a name loads its module when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.errors import TargetError
    from cudaq_target.jobs import Job, submit
    from cudaq_target.launch.compile import compile  # noqa: A004
    from cudaq_target.launch.rydberg import RydbergHamiltonian
    from cudaq_target.program import Program
    from cudaq_target.shots import Shots, shots_of
    from cudaq_target.target import Pasqal

__all__ = [
    "AnalogProgram",
    "Job",
    "Pasqal",
    "Program",
    "RydbergHamiltonian",
    "Shots",
    "TargetError",
    "compile",
    "shots_of",
    "submit",
]

_MODULES = {
    "AnalogProgram": "analog.program",
    "Job": "jobs",
    "Pasqal": "target",
    "Program": "program",
    "RydbergHamiltonian": "launch.rydberg",
    "Shots": "shots",
    "TargetError": "errors",
    "compile": "launch.compile",
    "shots_of": "shots",
    "submit": "jobs",
}


if not TYPE_CHECKING:  # or type checkers would take any name, submodules too, for an `object`

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
