"""Programs from JSON files, of gates or analog, told apart by what they hold, and run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cudaq_target.errors import OptionError
from cudaq_target.options import remote_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.analog.program import AnalogProgram
    from cudaq_target.program import Program
    from cudaq_target.shots import Shots
    from cudaq_target.target import Session

_ANALOG_FORMAT = "cudaq-target analog program"


def read(
    source: str,
    values: Sequence[str],
    *,
    device: str | None = None,
    layout: str | None = None,
    route: str | None = None,
) -> Program | AnalogProgram:
    """Read a program; one in the AHS schema is lowered for the device.

    Args:
        source: Path of a file written by `cudaq-target compile --output`, an AHS program as CUDA-Q
            writes it, or a sequence in Pulser's abstract representation.
        values: Arguments, which no such file takes.
        device: Device for an AHS program, by default `AnalogDevice`.
        layout: Trap layout for an AHS program.
        route: Refused: for kernels.

    Raises:
        OptionError: The file cannot be read, or is compiled already and options are given.
        TargetError: The program breaks a limit of the device.
    """
    if values:
        raise OptionError(
            f"argument {values[0]!r}",
            f"{source} holds a kernel with its arguments applied",
            "Leave the arguments out, or give the kernel",
        )
    try:
        text = Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"program {source!r}",
            f"the file cannot be read ({error})",
            "Give a file written by cudaq-target compile --output, an AHS program of CUDA-Q's, or "
            "a sequence in Pulser's abstract representation",
        ) from error
    content = _keys(text)
    given = {"device": device, "layout": layout, "route": route}
    if "setup" in content and "hamiltonian" in content:
        return _from_ahs(text, source, given)
    _refuse(given, f"{source} is compiled already", "Leave it out, or give the kernel")
    if "operations" in content and "channels" in content:
        from cudaq_target.analog.program import from_abstract_repr  # noqa: PLC0415

        return from_abstract_repr(text, Path(source).stem)
    if content.get("format") == _ANALOG_FORMAT:
        from cudaq_target.analog.program import AnalogProgram  # noqa: PLC0415

        return AnalogProgram.from_json(text)
    from cudaq_target.program import Program  # noqa: PLC0415 - doctor must start without Numba

    return Program.from_json(text)


def counts(
    program: Program | AnalogProgram, session: Session, n_shots: int
) -> tuple[dict[str, int], str]:
    """Run a program without CUDA-Q.

    Args:
        program: The program.
        session: Machine, noise and seed.
        n_shots: Number of shots.

    Returns:
        Shots by bit string, qubit or atom 0 leftmost, and the machine that ran it.

    Raises:
        OptionError: The number of shots is negative, or the machine does not run this program.
    """
    if n_shots < 0:
        raise OptionError(f"shots {n_shots}", "not allowed", "Give a whole number, 0 or more")
    options = session.options
    if remote_form(options.machine) is not None:
        from cudaq_target.launch.remote import program_shots  # noqa: PLC0415

        return counted(program, program_shots(session, program, n_shots)), options.machine
    from cudaq_target.machines.here import measured_here  # noqa: PLC0415

    shots, name = measured_here(program, n_shots, options, session.generator())
    return counted(program, shots), name


def counted(program: Program | AnalogProgram, shots: Shots) -> dict[str, int]:
    """Count the bits that are measured, which are all where no measurement is written.

    Args:
        program: The program.
        shots: What came out of it.
    """
    from cudaq_target.analog.program import AnalogProgram  # noqa: PLC0415

    if isinstance(program, AnalogProgram):
        return shots.counts()
    measured = sorted({entry.qubit for entry in program.circuit.measurements})
    return shots.marginal(measured or range(program.stats.n_qubits)).counts()


def _from_ahs(text: str, source: str, given: dict[str, str | None]) -> AnalogProgram:
    from cudaq_target.analog import ahs  # noqa: PLC0415
    from cudaq_target.launch.analog import lowered  # noqa: PLC0415
    from cudaq_target.target import Pasqal, Session  # noqa: PLC0415

    _refuse({"route": given["route"]}, "it is for kernels", "Leave it out")
    session = Session(Pasqal(device=given["device"], layout=given["layout"]))
    return lowered(session, ahs.loads(text, Path(source).stem))


def _keys(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _refuse(given: dict[str, str | None], reason: str, remedy: str) -> None:
    for option, value in given.items():
        if value is not None:
            raise OptionError(f"--{option}", reason, remedy)
