"""How much memory an emulation needs, and how much memory and how many CPUs there are."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

from cudaq_target.errors import MemoryLimitError

_UNCHECKED_BYTES = 64 << 20
"""Allocations below this are not worth a look at the system's counters."""


def state_bytes(n_atoms: int, *, levels: int = 2, itemsize: int = 16, copies: float = 1.5) -> int:
    """Predict the peak of an emulation.

    Args:
        n_atoms: Atoms that are driven at all.
        levels: Levels per atom; 3 when noise leaves atoms in r.
        itemsize: Bytes per amplitude.
        copies: States held at the same time; 1.5 while the last atom joins, 2 for a reordered copy.

    Returns:
        Bytes.

    >>> state_bytes(24) == int(1.5 * 16 * 2**24)
    True
    """
    size: int = levels**n_atoms  # beyond any float where atoms idle
    return math.ceil(copies * itemsize) * size


def available_bytes() -> int:
    """Return what this process may still allocate without swapping (bytes).

    The smaller of the system's available memory and what its control group leaves.
    """
    free = _system_available()
    for limit_path, usage_path in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        limit, usage = _read_int(limit_path), _read_int(usage_path)
        if limit is not None and usage is not None:
            free = min(free, max(0, limit - usage))
    return free


def require_bytes(
    needed: int,
    n_qubits: int,
    *,
    levels: int = 2,
    noisy: bool = False,
    n_shots: int | None = None,
) -> None:
    """Refuse an allocation that would not fit.

    Args:
        needed: Bytes about to be allocated.
        n_qubits: Qubits of the program, for the message.
        levels: By how much one qubit more multiplies the need.
        noisy: Noise is emulated, which needs more than the pulses alone.
        n_shots: Shots, where it is these that need the memory.

    Raises:
        MemoryLimitError: Less than `needed` is available; names what would fit.
    """
    if needed < _UNCHECKED_BYTES:
        return
    free = available_bytes()
    if needed <= free:
        return
    if n_shots is not None:
        remedy = f"Use at most {n_shots * free // needed} shots"
        raise MemoryLimitError(needed, free, n_qubits, remedy, n_shots)
    n_fitting, smaller = n_qubits, needed
    while smaller > free and n_fitting > 0:
        n_fitting, smaller = n_fitting - 1, smaller // levels
    without = ", fewer noisy effects" if noisy else ""
    remedy = f"Use at most {n_fitting} qubits{without}, or a machine with more memory"
    raise MemoryLimitError(needed, free, n_qubits, remedy)


def require_device_bytes(needed: int, n_qubits: int) -> None:
    """Refuse an allocation that would not fit into the memory of the GPU.

    Args:
        needed: Bytes about to be allocated there.
        n_qubits: Qubits of the program, for the message.

    Raises:
        MemoryLimitError: Less than `needed` is available there.
    """
    free = device_bytes()
    if needed > free:
        remedy = "That is the GPU's memory: use backend='cpu', which takes the host's"
        raise MemoryLimitError(needed, free, n_qubits, remedy)


def device_bytes() -> int:
    """Return what may still be allocated on the current GPU (bytes)."""
    from cudaq_target.kernels.gpu.device import free_bytes  # noqa: PLC0415 - loads CUDA

    return free_bytes()


@cache
def usable_threads() -> int:
    """Return how many threads run at once: CPU affinity, capped by the control group's quota."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        cpus = os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, cpus if quota is None else min(cpus, math.ceil(quota)))


def _cpu_quota() -> float | None:
    """CPUs that the control group grants, or None where it sets no limit."""
    try:
        allowed, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if allowed == "max" else int(allowed) / int(period)
    except (OSError, ValueError):
        allowed_us = _read_int("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
        period_us = _read_int("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
        return allowed_us / period_us if allowed_us and period_us else None


def _system_available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # Not Linux: fall through to the total, an upper bound.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _read_int(path: str) -> int | None:
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
