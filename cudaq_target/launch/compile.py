"""`cudaq_target.compile`: look before you run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cudaq_target import host, quake
from cudaq_target.errors import OptionError
from cudaq_target.options import nearest
from cudaq_target.target import Pasqal, Session, active
from cudaq_target.trace import trace

if TYPE_CHECKING:
    from cudaq_target.circuit import Circuit
    from cudaq_target.program import Program


_OPTIONS = ("device", "layout", "route")


def compile(  # noqa: A001 - named for what the user calls, `cudaq_target.compile`
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel
    *args: object,
    device: object = None,
    layout: object = None,
    route: str | None = None,
    **unknown: object,
) -> Program:
    """Lower a kernel to pulses, keeping every stage; runs nothing.

    What is not given here is as for a launch: the target in force decides, or, where that is
    another one, environment and settings files.

    Args:
        kernel: A decorated or built kernel.
        *args: Its arguments.
        device: As for `Pasqal`.
        layout: As for `Pasqal`.
        route: As for `Pasqal`.
        **unknown: Refused by name.

    Returns:
        The program; `Program.bind` applies other arguments to it.

    Raises:
        HostError: CUDA-Q is missing or of an unsupported version.
        OptionError: An option is unknown or not allowed.
        TargetError: The kernel cannot run on the device; says what would work.
    """
    for name in unknown:
        raise OptionError(f"option {name!r} of compile", "unknown option", nearest(name, _OPTIONS))
    host.require()
    from cudaq_target.launch import kernels  # noqa: PLC0415

    session = _session({"device": device, "layout": layout, "route": route})
    bound = kernels.bind(session, kernel, args)

    def traced(*values: object) -> Circuit:
        return trace(quake.read(kernel), quake.arguments(kernel, values))

    return replace(kernels.compile_for(session, bound.circuit), trace=traced)


def _session(given: dict[str, Any]) -> Session:
    session = active()
    wanted = {name: value for name, value in given.items() if value is not None}
    if session is None:
        return Session(Pasqal(**wanted))
    return Session(replace(session.target, **wanted)) if wanted else session
