"""`cudaq_target.compile`: look before you run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cudaq_target import host, quake
from cudaq_target.errors import OptionError
from cudaq_target.options import nearest
from cudaq_target.target import Pasqal, Session, active
from cudaq_target.trace import trace

if TYPE_CHECKING:
    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.circuit import Circuit
    from cudaq_target.program import Program


_OPTIONS = ("device", "layout", "route", "schedule", "eom")


def compile(  # noqa: A001 - named for what the user calls, `cudaq_target.compile`
    kernel: Any,  # noqa: ANN401 - a decorated or built kernel, or a Hamiltonian of Rydberg atoms
    *args: object,
    device: object = None,
    layout: object = None,
    route: str | None = None,
    schedule: object = None,
    eom: bool | None = None,
    **unknown: object,
) -> Program | AnalogProgram:
    """Lower a kernel or an analog program to pulses, keeping every stage; runs nothing.

    What is not given here is as for a launch: the target in force decides, or, where that is
    another one, environment and settings files.

    Args:
        kernel: A decorated or built kernel, or a `cudaq.RydbergHamiltonian`.
        *args: Arguments of the kernel; the `cudaq.Schedule` of a Hamiltonian.
        device: As for `Pasqal`.
        layout: As for `Pasqal`.
        route: As for `Pasqal`; for kernels.
        schedule: The schedule, where it is not in `args`.
        eom: As for `Pasqal`; for Hamiltonians.
        **unknown: Refused by name.

    Returns:
        A `Program` for a kernel, an `AnalogProgram` for a Hamiltonian. `bind` applies other
        arguments: those of the kernel, or a Hamiltonian and a schedule.

    Raises:
        HostError: CUDA-Q is missing or of an unsupported version.
        OptionError: An option is unknown or not allowed.
        TargetError: The kernel cannot run on the device; says what would work.
    """
    for name in unknown:
        raise OptionError(f"option {name!r} of compile", "unknown option", nearest(name, _OPTIONS))
    host.require()
    import cudaq  # noqa: PLC0415

    from cudaq_target.launch import kernels  # noqa: PLC0415

    session = _session({"device": device, "layout": layout, "route": route, "eom": eom})
    if isinstance(kernel, cudaq.RydbergHamiltonian):
        given = args if schedule is None else (*args, schedule)
        return _analog(session, kernel, *given)
    if schedule is not None:
        raise OptionError("schedule", "kernels have none", "Leave it out, or give a Hamiltonian")
    bound = kernels.bind(session, kernel, args)

    def traced(*values: object) -> Circuit:
        return trace(quake.read(kernel), quake.arguments(kernel, values))

    return replace(kernels.compile_for(session, bound.circuit), trace=traced)


def _analog(session: Session, hamiltonian: object, *given: object) -> AnalogProgram:
    from cudaq_target.launch.analog import lowered  # noqa: PLC0415
    from cudaq_target.launch.rydberg import analog_spec, read_schedule  # noqa: PLC0415

    if len(given) != 1:
        raise OptionError(
            "schedule",
            f"{len(given)} were given",
            "Write compile(hamiltonian, schedule), with one cudaq.Schedule",
        )
    program = lowered(session, analog_spec(hamiltonian, read_schedule(given[0])))
    return replace(program, binder=partial(_analog, session))


def _session(given: dict[str, Any]) -> Session:
    session = active()
    wanted = {name: value for name, value in given.items() if value is not None}
    if "device" in wanted:
        wanted["machine"] = "local"  # a remote machine is not asked: nothing runs there
    if session is None:
        return Session(Pasqal(**wanted))
    return Session(replace(session.target, **wanted)) if wanted else session
