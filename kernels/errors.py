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
