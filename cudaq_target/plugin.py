"""Entry point of CUDA-Q's plug-in group `cudaq.backends`.

CUDA-Q calls `register` in the middle of its own import, before `cudaq.register_set_target_callback`
and `cudaq.set_random_seed` exist, while everything else of interest does. The runtime module
underneath is complete, so both are taken there.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

from cudaq_target import host

if TYPE_CHECKING:
    import cudaq


def register() -> None:
    """Take over CUDA-Q's target `pasqal`; leaves all other targets as they are.

    With a CUDA-Q outside the supported range it warns, and selecting the target is refused.
    """
    from cudaq.mlir._mlir_libs._quakeDialects import cudaq_runtime  # noqa: PLC0415

    from cudaq_target.launch import redirect  # noqa: PLC0415

    module = sys.modules["cudaq"]
    redirect.set_target(module)
    problem = host.find_problem()
    if problem is not None:
        warnings.warn(f"cudaq-target: {problem}", RuntimeWarning, stacklevel=2)
        return
    redirect.launches(module)
    redirect.random_seed(cudaq_runtime)
    redirect.noise(cudaq_runtime)
    redirect.command_line(cudaq_runtime)
    cudaq_runtime.register_set_target_callback(_on_change, __name__)


def _on_change(chosen: cudaq.Target) -> None:
    from cudaq_target import endpoint, target  # noqa: PLC0415

    if target.on_change(chosen.name):
        endpoint.install()
