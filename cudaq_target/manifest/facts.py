"""Where a run took place: versions, host, job, device."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.options import CLOUD_DEVICES, MACHINES

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a result may depend on, of what is installed.
PACKAGES: Final = (
    "cudaq-target",
    "cuda-quantum-cu12",
    "cuda-quantum-cu13",
    "emu-mps",
    "emu-sv",
    "numba",
    "numpy",
    "pasqal-cloud",
    "pulser-core",
    "pulser-simulation",
    "pymatching",
    "qiskit",
    "qiskit-pasqal-provider",
    "qrmi",
    "scipy",
    "stim",
)
# Variables that say which job of which scheduler this is; none of them is a secret.
_NO_LIMITS: Final = ("$schema", "pulser_version", "version")
_JOBS: Final = {"slurm": "SLURM_JOB_ID", "grid engine": "JOB_ID", "pbs": "PBS_JOBID"}


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def host() -> dict[str, Any]:
    """Describe this computer, without its name."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_gib": _memory_gib(),
        "os": platform.platform(),
        "architecture": platform.machine(),
    }


def job(environ: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """Name the scheduler's job that this process is a part of; None outside of one.

    >>> job({"SLURM_JOB_ID": "17"})
    {'scheduler': 'slurm', 'id': '17'}
    """
    variables = os.environ if environ is None else environ
    for scheduler, variable in _JOBS.items():
        # `JOB_ID` alone may be anybody's.
        if variables.get(variable) and (variable != "JOB_ID" or "SGE_ROOT" in variables):
            return {"scheduler": scheduler, "id": variables[variable]}
    return None


def device_facts(device: Any) -> dict[str, Any]:  # noqa: ANN401 - a pulser device
    """Name a device, with a hash over all of its limits."""
    return described(json.loads(device.to_abstract_repr()))


def described(content: Mapping[str, Any]) -> dict[str, Any]:
    """Name a device in Pulser's abstract representation, with a hash over all of its limits."""
    limits = {name: value for name, value in content.items() if name not in _NO_LIMITS}
    return {
        "name": str(content.get("name")),
        "max_atoms": content.get("max_atom_num"),
        "sha256": sha256(json.dumps(limits, sort_keys=True)),
    }


def is_emulator(machine: str) -> bool | None:
    """Whether a machine is an emulator; None where its name does not say it.

    >>> is_emulator("local"), is_emulator("FRESNEL"), is_emulator("qrmi")
    (True, False, None)
    """
    if machine in MACHINES or machine.startswith("EMU_"):
        return True
    return False if machine in CLOUD_DEVICES else None


def sha256(text: str) -> str:
    """Hash a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _cpu() -> str | None:
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    except OSError:
        return platform.processor() or None
    names = [value.strip() for name, _, value in lines if name.strip() == "model name"]
    return names[0] if names else platform.processor() or None


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
