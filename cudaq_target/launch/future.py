"""Results that arrive later."""

from __future__ import annotations

import os
from concurrent.futures import Future as _Future
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Generic, TypeVar

from cudaq_target.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class Future(Generic[Result]):
    """A result that arrives later, with the interface of CUDA-Q's own futures."""

    def __init__(self, pending: _Future[Result]) -> None:
        self._pending = pending
        self._pid = os.getpid()

    def get(self) -> Result:
        """Wait for the result and return it; raises what the launch raised.

        Raises:
            OptionError: The launch is not done, and it runs in the process that this one was
                forked from.
        """
        if os.getpid() != self._pid and not self._pending.done():
            raise OptionError(
                "Future.get",
                f"the launch runs in process {self._pid}, which this one was forked from",
                "Call get() there or before the fork, or launch again here",
            )
        return self._pending.result()

    def done(self) -> bool:
        """Whether `get` returns without waiting."""
        return self._pending.done()


def start(prepare: Callable[[], Callable[[], Result]]) -> Future[Result]:
    """Prepare a launch now and run it in the background.

    Args:
        prepare: Reads the kernel, in the calling thread because CUDA-Q's compiler is not
            thread-safe, and returns what is left to do.

    Returns:
        The result to come. Errors of both halves surface at `get`.
    """
    try:
        work = prepare()
    except Exception as error:  # noqa: BLE001 - handed over to whoever calls `get`
        failed: _Future[Result] = _Future()
        failed.set_exception(error)
        return Future(failed)
    return Future(_pool().submit(work))


@cache
def _pool() -> ThreadPoolExecutor:
    # One worker: an emulation uses all threads it may and most of the memory it may.
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="cudaq-target")


# The worker does not exist in the child of a fork: the next launch there starts another.
os.register_at_fork(after_in_child=_pool.cache_clear)
