"""Ctrl-C as `KeyboardInterrupt`, also where a library has it; with SIGTERM, as a server's end."""

from __future__ import annotations

import ctypes
import signal
import threading
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# More than a `struct sigaction` has on any platform; its content is handed back as it came.
_ACTION_BYTES: Final = 512


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt` in this block, so that a run can be stopped in order.

    CUDA-Q puts a C handler of its own in place when it is imported; it ends the process at once,
    past every `except` and `finally`, while Python still believes that its handler is there. Here
    Python's is put back for a while; where the program ignores the signal, as shells have programs
    in the background do, it is ignored. Outside of the main thread nothing changes.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler is None:
        yield
        return
    libc = _libc()
    before = ctypes.create_string_buffer(_ACTION_BYTES)
    libc.sigaction(int(signal.SIGINT), None, before)
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        libc.sigaction(int(signal.SIGINT), before, None)


@contextmanager
def told_to_end() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and Ctrl-C set, for a server that waits for its end.

    The handlers of before come back with the block: a program that serves for a while can be
    interrupted afterwards. Main thread only, as `signal.signal`.
    """
    told = threading.Event()

    def tell(_number: int, _frame: FrameType | None) -> None:
        told.set()

    before = [(number, signal.signal(number, tell)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield told
    finally:
        for number, handler in before:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
