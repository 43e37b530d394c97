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
    ScheduleError,
    SourceError,
)
from cudaq_target.coupler.link_errors import EndpointError, InsecureEndpointError, KeyFileError
from cudaq_target.coupler.loops.errors import CalibrationError, ExperimentError, OptimiserError
from cudaq_target.errors import (
    DeviceLimitError,
    EventFileError,
    MachineRefusedError,
    OptionError,
    RegisterError,
    TargetError,
    UnsuitableDeviceError,
    UnsupportedKernelError,
    UnsupportedProgramError,
    WaveformError,
)
from cudaq_target.kernels.errors import KernelError, KernelInputError

BAD_INPUT, FAILURE = 2, 1
_INPUT_ERRORS = (
    CalibrationError,
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
    MachineRefusedError,
    MemoryExperimentError,
    OptimiserError,
    OptionError,
    PlaybackError,
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
        return BAD_INPUT if isinstance(error, _INPUT_ERRORS) else FAILURE
    except OSError as error:
        if error.filename is None:
            raise
        _say(f"{error.filename}: {error.strerror}")
        return BAD_INPUT


def _say(sentence: str) -> None:
    sys.stderr.write(f"cudaq-target: {sentence}\n")
