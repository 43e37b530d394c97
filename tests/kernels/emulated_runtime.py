"""A `Runtime` without a GPU: the persistent kernel runs on a thread, by `simt.hpp`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from tests.kernels.emulated_device import run

if TYPE_CHECKING:
    import ctypes


class EmulatedRuntime:
    """One per dispatcher; one dispatcher at a time per library."""

    most_shared_bytes = 227 << 10

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._kept: list[np.ndarray] = []
        self._thread: threading.Thread | None = None
        self.is_closed = False
        self.fault: str | None = None

    def allocate(self, n_words: int) -> tuple[np.ndarray, int]:
        words = np.zeros(n_words, dtype=np.uint64)
        self._kept.append(words)
        return words, words.ctypes.data

    def register(self, memory: np.ndarray) -> int:
        self._kept.append(memory)
        return int(memory.ctypes.data)

    def upload(self, array: np.ndarray) -> int:
        copy = array.copy()
        self._kept.append(copy)
        return int(copy.ctypes.data)

    def launch(self, n_blocks: int, arguments: tuple[int, ...], shared_bytes: int) -> None:
        assert n_blocks == 1, "blocks run one after the other here"
        assert shared_bytes <= self.most_shared_bytes
        self._thread = threading.Thread(
            target=run, args=(self._library, "dispatch", n_blocks, arguments), daemon=True
        )
        self._thread.start()

    def failure(self) -> str | None:
        if self.fault is not None:
            return self.fault
        assert self._thread is not None
        return None if self._thread.is_alive() else ""

    def close(self) -> None:
        self.is_closed = True
