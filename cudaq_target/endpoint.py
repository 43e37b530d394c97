"""The one file that speaks `cudaq._experimental`: our side of CUDA-Q's launch machinery.

CUDA-Q's public functions come to `cudaq_target.launch` directly. The endpoint serves the way
through CUDA-Q's own launch functions, for code that reaches them past the public names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cudaq_target import target
from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    import cudaq
    from cudaq._experimental.runtime_endpoint import CompiledModule, KernelArgs

    from cudaq_target.launch.results import PasqalObserveResult, PasqalSampleResult
    from cudaq_target.target import Session


class Endpoint:
    """Serves launches that arrive as compiled modules.

    Attributes:
        is_simulator: True: CUDA-Q then takes counts as they come.
        is_remote: False: nothing leaves the process.
        is_emulated: False.
        supports_jit: False: no machine code is needed.
    """

    is_simulator = True
    is_remote = False
    is_emulated = False
    supports_jit = False

    def sample(
        self,
        module: CompiledModule,
        _args: KernelArgs,
        *,
        shots_count: int,
        explicit_measurements: bool = False,
        **options: object,
    ) -> PasqalSampleResult:
        """Serve `cudaq.sample`."""
        from cudaq_target.launch import compiled  # noqa: PLC0415

        _refuse(options)
        return compiled.sample(
            _session(), module.name, shots_count, explicit_measurements=explicit_measurements
        )

    def observe(
        self,
        module: CompiledModule,
        _args: KernelArgs,
        *,
        spin_operator: cudaq.SpinOperator,
        shots_count: int = 0,
        **options: object,
    ) -> PasqalObserveResult:
        """Serve `cudaq.observe`."""
        from cudaq_target.launch import compiled  # noqa: PLC0415

        _refuse(options)
        return compiled.observe(_session(), module.name, spin_operator, shots_count)


def install() -> None:
    """Put the endpoint in front of the target in force; CUDA-Q removes it at the next change."""
    from cudaq._experimental import (  # noqa: PLC0415
        CompileTarget,
        set_compile_target,
        set_runtime_endpoint,
    )

    set_compile_target(CompileTarget())
    set_runtime_endpoint(Endpoint())


def _session() -> Session:
    session = target.active()
    if session is None:
        raise OptionError(
            "target", "this endpoint is no longer in force", "Call cudaq.set_target('pasqal')"
        )
    return session


def _refuse(options: dict[str, object]) -> None:
    for name, value in options.items():
        if value is not None:
            raise OptionError(name, "not supported here", "Leave the option out")
