"""Parallel compiled kernels under a cap of threads, one at a time."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_one_at_a_time = threading.Lock()


def _after_fork() -> None:
    global _one_at_a_time  # noqa: PLW0603 - whoever held it does not exist in the child
    _one_at_a_time = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def with_threads(threads: int | None, kernel: Callable[..., object], *args: object) -> None:
    """Run a parallel kernel under a cap; Numba's own setting is restored.

    Numba's fallback threading layer ends the process when two threads start parallel kernels at
    the same time, and a kernel takes all cores anyway, so callers take turns.

    Args:
        threads: Most threads to use; None takes Numba's setting.
        kernel: A function compiled with `parallel`.
        *args: Its arguments.
    """
    import numba  # noqa: PLC0415 - only where something is compiled

    with _one_at_a_time:
        before = numba.get_num_threads()
        if threads is not None:
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        try:
            kernel(*args)
        finally:
            numba.set_num_threads(before)
