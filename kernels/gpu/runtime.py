"""What a persistent kernel needs of CUDA: mapped memory of the host, a stream of its own, a launch.

Nothing here may be called while such a kernel runs but `failure`: allocating, freeing and loading
code can wait for a kernel that never ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cudaq_target.kernels.backends import gpu_missing
from cudaq_target.kernels.errors import BackendUnavailableError
from cudaq_target.kernels.gpu.device import N_THREADS, OPTIONS, arrays, source_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAPPED_PORTABLE = 0x03  # cudaHostAllocPortable | cudaHostAllocMapped; the same for registering
_REGISTERED_MAPPED_PORTABLE = 0x03
_NOT_READY = 600  # cudaErrorNotReady


class Runtime(Protocol):
    """What `PersistentDispatcher` asks of a device."""

    @property
    def most_shared_bytes(self) -> int:
        """Shared memory that a block may have (bytes)."""

    def allocate(self, n_words: int) -> tuple[NDArray[np.uint64], int]:
        """Take zeroed words of the host; returns them, and their address on the device."""

    def register(self, memory: NDArray[np.uint8]) -> int:
        """Let the device see memory of the host; returns its address there."""

    def upload(self, array: NDArray[np.generic]) -> int:
        """Copy an array to the device; returns its address there."""

    def launch(self, n_blocks: int, arguments: tuple[int, ...], shared_bytes: int) -> None:
        """Start the kernel and return."""

    def failure(self) -> str | None:
        """Say why the kernel is gone; None while it runs. Empty where it ended by itself."""

    def close(self) -> None:
        """Give everything back; the kernel has ended."""


class CudaRuntime:
    """`Runtime` on the current CUDA device."""

    def __init__(self) -> None:
        """Compile and load the kernel.

        Raises:
            BackendUnavailableError: There is no CUDA device, or it cannot map memory of the host.
        """
        # Code that is loaded at its first use waits for the kernel that never ends. It helps where
        # CUDA has not started yet; our own kernel is loaded below in any case.
        os.environ.setdefault("CUDA_MODULE_LOADING", "EAGER")
        if missing := gpu_missing():
            raise BackendUnavailableError("gpu", missing, "serve with a dispatcher of the CPU")
        self._cupy: Any = arrays()
        self._cuda: Any = self._cupy.cuda.runtime
        self._device = self._cupy.cuda.Device()
        if not self._attribute("CanMapHostMemory"):
            raise BackendUnavailableError(
                "gpu", "a device that maps memory of the host", "serve with the CPU"
            )
        self._kernel = self._cupy.RawModule(
            code=source_text("dispatch"), options=OPTIONS
        ).get_function("dispatch")
        _ = self._kernel.num_regs  # loads it
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._pinned: list[int] = []
        self._registered: list[int] = []
        self._kept: list[object] = []

    def _attribute(self, name: str) -> int:
        return int(self._device.attributes[name])

    @property
    def most_shared_bytes(self) -> int:
        """Shared memory that a block may have (bytes)."""
        return self._attribute("MaxSharedMemoryPerBlockOptin")

    def allocate(self, n_words: int) -> tuple[NDArray[np.uint64], int]:
        """Take zeroed words of the host; returns them, and their address on the device."""
        n_bytes = 8 * n_words
        with self._device:
            address = self._cuda.hostAlloc(n_bytes, _MAPPED_PORTABLE)
        self._pinned.append(address)
        ctypes.memset(address, 0, n_bytes)
        words = np.ctypeslib.as_array((ctypes.c_uint64 * n_words).from_address(address))
        return words, self._device_address(address)

    def register(self, memory: NDArray[np.uint8]) -> int:
        """Let the device see memory of the host; returns its address there."""
        address = memory.ctypes.data
        with self._device:
            try:
                self._cuda.hostRegister(address, memory.nbytes, _REGISTERED_MAPPED_PORTABLE)
            except self._cuda.CUDARuntimeError as error:
                missing = f"to map {memory.nbytes} bytes of shared memory, but CUDA says: {error}"
                remedy = "serve each ring once per process, allow locked memory, or use the CPU"
                raise BackendUnavailableError("gpu", missing, remedy) from error
        self._registered.append(address)
        self._kept.append(memory)
        return self._device_address(address)

    def _device_address(self, address: int) -> int:
        with self._device:
            return int(self._cuda.pointerGetAttributes(address).devicePointer)

    def upload(self, array: NDArray[np.generic]) -> int:
        """Copy an array to the device; returns its address there."""
        if not array.nbytes:
            return 0
        with self._device:
            copy = self._cupy.asarray(array.view(np.uint8).reshape(-1))
            self._cupy.cuda.get_current_stream().synchronize()
        self._kept.append(copy)
        return int(copy.data.ptr)

    def launch(self, n_blocks: int, arguments: tuple[int, ...], shared_bytes: int) -> None:
        """Start the kernel and return."""
        with self._device, self._stream:
            self._kernel.max_dynamic_shared_size_bytes = shared_bytes
            self._kernel((n_blocks,), (N_THREADS,), arguments, shared_mem=shared_bytes)

    def failure(self) -> str | None:
        """Say why the kernel is gone; None while it runs. Empty where it ended by itself."""
        code = self._cuda.streamQuery(self._stream.ptr)
        if code == _NOT_READY:
            return None
        return str(self._cuda.CUDARuntimeError(code)) if code else ""

    def close(self) -> None:
        """Give everything back; the kernel has ended. After a fault CUDA takes nothing back."""
        for address in self._registered:
            with contextlib.suppress(self._cuda.CUDARuntimeError):
                self._cuda.hostUnregister(address)
        for address in self._pinned:
            with contextlib.suppress(self._cuda.CUDARuntimeError):
                self._cuda.freeHost(address)
        self._registered.clear()
        self._pinned.clear()
        self._kept.clear()
