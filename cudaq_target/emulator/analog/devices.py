"""Where the embedded emulator keeps the state of an analog program: on the host, or on a GPU."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cudaq_target.emulator.memory import device_bytes, state_bytes
from cudaq_target.kernels.backends import gpu_missing

if TYPE_CHECKING:
    from cudaq_target.kernels.backends import Backend

_LOG = logging.getLogger(__name__)

GPU_FROM_ATOMS = 16
"""Fewer atoms are done on two cores before CUDA has started and compiled its kernels."""

GPU_COPIES = 5.7
"""States that a verified evolution with observables holds on a GPU at the same time."""


def backend_for(n_atoms: int, *, itemsize: int = 16) -> Backend:
    """Choose where a program runs whose caller does not say it.

    Args:
        n_atoms: Atoms that are there.
        itemsize: Bytes per amplitude.

    Returns:
        "gpu" from `GPU_FROM_ATOMS` atoms on, where there is a GPU and the states fit into its
        memory, else "auto", which is the host. Both give the same up to rounding.

    >>> backend_for(3)
    'auto'
    """
    if n_atoms < GPU_FROM_ATOMS or gpu_missing():
        return "auto"
    needed, free = state_bytes(n_atoms, itemsize=itemsize, copies=GPU_COPIES), device_bytes()
    if needed > free:
        _LOG.info("%d atoms on the host: %d of %d bytes on the GPU", n_atoms, needed, free)
        return "auto"
    _LOG.info("%d atoms on the GPU", n_atoms)
    return "gpu"
