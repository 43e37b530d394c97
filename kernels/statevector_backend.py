"""Which implementation of the state-vector kernels runs, and on how many threads."""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from types import ModuleType

Backend = Literal["numpy", "cpu", "gpu"]
"""`gpu` takes states on the device, and works on them there; only where it is asked for."""

COMPILED_FROM_SIZE = 1 << 15
"""Amplitudes from which the compiled kernels win over NumPy, loading them included."""

PARALLEL_FROM_SIZE = 1 << 14
"""Amplitudes from which several threads win over one."""


@cache
def numba_compiles() -> bool:
    """Tell whether the `cpu` back end exists here.

    Returns:
        False where Numba is not installed or its compiler is switched off (NUMBA_DISABLE_JIT=1):
        interpreted loops would be far slower than NumPy.
    """
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in {"", "0"}:
        return False
    return importlib.util.find_spec("numba") is not None


def choose_backend(backend: Backend | None, size: int) -> Literal["numpy", "cpu"]:
    """Resolve a back end for a state of `size` amplitudes on the host.

    Args:
        backend: What the caller asked for; None lets the size decide.
        size: Number of amplitudes.

    Returns:
        The back end to use.

    Raises:
        ValueError: The name is unknown.
        ModuleNotFoundError: `cpu` was asked for where Numba cannot compile.

    >>> choose_backend(None, 8)
    'numpy'
    """
    if backend is None:
        return "cpu" if size >= COMPILED_FROM_SIZE and numba_compiles() else "numpy"
    if backend not in ("numpy", "cpu"):
        raise ValueError(f"backend {backend!r} is unknown; use 'numpy', 'cpu' or 'gpu'")
    if backend == "cpu" and not numba_compiles():
        raise ModuleNotFoundError(
            "backend 'cpu' needs Numba with its compiler switched on (NUMBA_DISABLE_JIT unset); "
            "use backend='numpy'"
        )
    return backend


def compiled() -> ModuleType:
    """Import the compiled kernels, which loads Numba."""
    from cudaq_target.kernels.cpu import statevector  # noqa: PLC0415

    return statevector


def count_tasks(size: int, threads: int | None) -> int:
    """Return the number of equal pieces of work; 1 keeps the serial kernel."""
    if size < PARALLEL_FROM_SIZE or threads == 1 or _threads_are_lost:
        return 1
    import numba  # noqa: PLC0415

    n_threads = numba.get_num_threads() if threads is None else threads
    return 1 if n_threads <= 1 else int(n_threads) * 4


_threads_are_lost = False


def _after_fork() -> None:
    """Keep to serial kernels where the parent has used GNU OpenMP, which a fork does not survive.

    Numba ends a forked process that starts a parallel kernel then; its other threading layers
    start threads of their own in the child.
    """
    global _threads_are_lost  # noqa: PLW0603 - a fact about the process
    numba = sys.modules.get("numba")
    if numba is None or _threads_are_lost:
        return
    try:
        _threads_are_lost = numba.threading_layer() == "omp"
    except ValueError:  # no parallel kernel has run yet
        return


os.register_at_fork(after_in_child=_after_fork)
