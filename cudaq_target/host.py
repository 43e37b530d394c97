"""CUDA-Q as the host of this plug-in: is it there, and is it a version we were tested with?"""

from __future__ import annotations

import re
from importlib import metadata
from importlib.util import find_spec

from cudaq_target.errors import HostError

SUPPORTED = ((0, 16), (0, 17))
REQUIREMENT = ">=0.16,<0.17"
# The first flavour is the one to recommend where none is installed.
FLAVOURS = ("cuda-quantum-cu12", "cuda-quantum-cu13")


def require() -> None:
    """Check that CUDA-Q can serve as host.

    Raises:
        HostError: CUDA-Q is missing or outside the supported range; names the command that helps.
    """
    problem = find_problem()
    if problem is not None:
        raise problem


def find_problem() -> HostError | None:
    """Return what is wrong with the installed CUDA-Q, or None."""
    flavour, version = installed()
    command = f"pip install '{flavour or FLAVOURS[0]}{REQUIREMENT}'"
    if version is None:
        return HostError("CUDA-Q is not installed", f"Install it: {command}")
    if not is_supported(version):
        return HostError(
            f"CUDA-Q {version} is installed, cudaq-target works with {REQUIREMENT}",
            f"Install a supported version: {command}",
        )
    return None


def installed() -> tuple[str | None, str | None]:
    """Find the installed CUDA-Q.

    Returns:
        Distribution name (None for a build from source) and version (None if there is none).
    """
    for flavour in FLAVOURS:
        try:
            return flavour, metadata.version(flavour)
        except metadata.PackageNotFoundError:
            continue
    return None, _version_of_source_build() if find_spec("cudaq") else None


def is_supported(version: str) -> bool:
    """Whether a version lies in the supported range; pre-releases of the end do not.

    >>> is_supported("0.16.0.post1"), is_supported("0.17.0rc1"), is_supported("0.9")
    (True, False, False)
    """
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None:
        return False
    release = (int(numbers[1]), int(numbers[2]))
    return SUPPORTED[0] <= release < SUPPORTED[1]


def _version_of_source_build() -> str:
    from cudaq.mlir._mlir_libs._quakeDialects import cudaq_runtime  # noqa: PLC0415

    numbers = re.search(r"\d+(\.\d+)+\S*", str(cudaq_runtime.__version__))
    return numbers[0] if numbers else "of unknown version"
