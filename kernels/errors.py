"""Everything the kernels raise on purpose."""

from __future__ import annotations

from dataclasses import dataclass


class KernelError(Exception):
    """Root of all errors that the kernels raise on purpose."""


@dataclass
class KernelInputError(KernelError, ValueError):
    """An argument that no back end takes; nothing was computed.

    Attributes:
        argument: Its name in the call, for example "shots".
        found: What is wrong with it, in words with the number.
        expected: What is allowed, or what would work.
    """

    argument: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.argument} {self.found}; {self.expected}"


@dataclass
class BackendUnavailableError(KernelError):
    """The back end that was asked for does not run on this machine.

    Attributes:
        backend: What was asked for.
        missing: What it lacks.
        remedy: What would work.
    """

    backend: str
    missing: str
    remedy: str

    def __str__(self) -> str:
        return f"backend {self.backend!r} needs {self.missing}; {self.remedy}"


@dataclass
class DispatcherFaultError(KernelError):
    """A persistent dispatcher ended without being told to: its kernel trapped, or CUDA failed.

    Attributes:
        reason: What CUDA says.
        remedy: What would work.
    """

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"the dispatcher on the GPU is gone: {self.reason}; {self.remedy}"


@dataclass
class DispatcherTimeoutError(KernelError):
    """A persistent dispatcher did not start or stop in time.

    Attributes:
        action: "start" or "stop".
        timeout_s: How long was waited (s).
        likely: What usually is the reason.
    """

    action: str
    timeout_s: float
    likely: str

    def __str__(self) -> str:
        return (
            f"the dispatcher on the GPU did not {self.action} within {self.timeout_s:g} s; "
            f"{self.likely}"
        )


@dataclass
class ConvergenceError(KernelError):
    """An iteration did not reach the accuracy that was asked for.

    Attributes:
        what: What was being solved.
        residual: Relative residual that was reached.
        tolerance: Relative residual that was asked for.
        remedy: What would work.
    """

    what: str
    residual: float
    tolerance: float
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.what}: relative residual {self.residual:.1e} after the last iteration, "
            f"{self.tolerance:.1e} asked for; {self.remedy}"
        )
