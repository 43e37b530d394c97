"""The command `cudaq-target`: exit code 0 for success, 2 for bad input, 1 for failure."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cudaq_target.cloud.errors import CredentialsError, JobEnvironmentError
from cudaq_target.coupler.errors import (
    CouplerError,
    DecoderConfigError,
    DecoderCountError,
    DecoderEndpointsError,
    MemoryExperimentError,
    PlaybackError,
    ProgramRefusedError,
    RecordingError,
    RemoteCallError,
    ScheduleError,
    SourceError,
)
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.link_errors import EndpointError, InsecureEndpointError, KeyFileError
from cudaq_target.coupler.loops.errors import (
    CalibrationError,
    ExperimentError,
    LoopRecordError,
    OptimiserError,
)
from cudaq_target.errors import (
    DeviceLimitError,
    EventFileError,
    MachineRefusedError,
    MemoryLimitError,
    OptionError,
    RegisterError,
    TargetError,
    UnsuitableDeviceError,
    UnsupportedKernelError,
    UnsupportedProgramError,
    WaveformError,
)
from cudaq_target.kernels.errors import KernelError, KernelInputError
from cudaq_target.loops.controller_process import ControllerOptionsError

BAD_INPUT, FAILURE = 2, 1
_INPUT_ERRORS = (
    CalibrationError,
    ControllerOptionsError,
    CredentialsError,
    DecoderConfigError,
    DecoderCountError,
    DecoderEndpointsError,
    DeviceLimitError,
    EndpointError,
    EventFileError,
    ExperimentError,
    InsecureEndpointError,
    JobEnvironmentError,
    KernelInputError,
    KeyFileError,
    LoopRecordError,
    MachineRefusedError,
    MemoryExperimentError,
    MemoryLimitError,
    OptimiserError,
    OptionError,
    PlaybackError,
    ProgramRefusedError,
    RecordingError,
    RegisterError,
    ScheduleError,
    SourceError,
    UnsuitableDeviceError,
    UnsupportedKernelError,
    UnsupportedProgramError,
    WaveformError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the command's name; None takes those of the process.

    Returns:
        The exit code. Results go to standard output, everything else to standard error.
    """
    try:
        from cudaq_target import commands  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        _say(f"{error.name} is not installed. Install it: pip install 'cudaq-target[cli]'")
        return FAILURE
    try:
        return commands.run(list(sys.argv[1:] if arguments is None else arguments))
    except (CouplerError, KernelError, TargetError) as error:
        _say(str(error))
        return BAD_INPUT if _is_bad_input(error) else FAILURE
    except OSError as error:
        if error.filename is None:
            raise
        _say(f"{error.filename}: {error.strerror}")
        return BAD_INPUT


def _is_bad_input(error: Exception) -> bool:
    """Whether other words on the command line would help."""
    if isinstance(error, RemoteCallError):
        return error.status == Status.BAD_REQUEST
    return isinstance(error, _INPUT_ERRORS)


def _say(sentence: str) -> None:
    sys.stderr.write(f"cudaq-target: {sentence}\n")
