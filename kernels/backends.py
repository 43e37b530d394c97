"""Which implementation of a kernel runs: by name, or by where the data lies.

Every kernel is one public function in a module of `kernels/`, and up to three implementations of
the same name: in `kernels/reference/` (NumPy, defines the result), `kernels/cpu/` (Numba) and
`kernels/gpu/` (CuPy). Results lie where the input lay: host arrays give host arrays, also from the
GPU; device arrays give device arrays.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from cudaq_target.kernels.errors import BackendUnavailableError, KernelInputError
from cudaq_target.kernels.statevector_backend import numba_compiles

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)
Backend = Literal["auto", "numpy", "cpu", "gpu"]
"""`auto` is the GPU for device arrays, else compiled code, else NumPy; never another answer."""

_PACKAGES = {"numpy": "reference", "cpu": "cpu", "gpu": "gpu"}


@cache
def gpu_missing() -> str:
    """Say what the `gpu` back end lacks here.

    Returns:
        What is missing, in words; empty where a CUDA device can be used.
    """
    if importlib.util.find_spec("cupy") is None:
        return "the package cupy-cuda12x or cupy-cuda13x"
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:  # found in a moment; CuPy takes a second to load
            return "a CUDA driver and device (there is no libcuda.so.1)"
    import cupy  # noqa: PLC0415 - takes a while to load, and only this back end wants it

    try:
        n_devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"a CUDA driver and device (CUDA says: {error})"
    return "" if n_devices else "a CUDA device (CUDA finds none)"


def is_on_device(array: object) -> bool:
    """Tell whether an array lies in the memory of a GPU."""
    return hasattr(array, "__cuda_array_interface__")


def array_module(*arrays: object) -> ModuleType:
    """Return the library whose functions take these arrays.

    Args:
        arrays: Arrays that lie on one side.

    Returns:
        CuPy where one lies on a GPU, else NumPy.

    >>> array_module(None).__name__
    'numpy'
    """
    if not any(is_on_device(array) for array in arrays):
        return np
    from cudaq_target.kernels.gpu.device import arrays as device_arrays  # noqa: PLC0415

    return device_arrays()


def arrays_of(backend: Backend, *arrays: object) -> ModuleType:
    """Return the library for new arrays that a back end works on without copies.

    Args:
        backend: What the caller asked for.
        arrays: The arrays there are already; None is ignored.

    Returns:
        CuPy for the GPU, else NumPy.

    Raises:
        KernelInputError: See `choose_backend`.
        BackendUnavailableError: See `choose_backend`.
    """
    if choose_backend(backend, *arrays) != "gpu":
        return np
    from cudaq_target.kernels.gpu.device import arrays as device_arrays  # noqa: PLC0415

    return device_arrays()


def on_host(array: NDArray[Number]) -> NDArray[Number]:
    """Copy an array to the host, where it does not lie there.

    >>> on_host(np.ones(2)).tolist()
    [1.0, 1.0]
    """
    if not is_on_device(array):
        return array
    from cudaq_target.kernels.gpu.device import to_host  # noqa: PLC0415

    copy: NDArray[Number] = to_host(array)
    return copy


def choose_backend(backend: Backend, *arrays: object) -> Literal["numpy", "cpu", "gpu"]:
    """Resolve a back end.

    Args:
        backend: What the caller asked for.
        arrays: The arrays that the kernel reads; None is ignored.

    Returns:
        The back end to use.

    Raises:
        KernelInputError: The name is unknown, or the arrays lie where it cannot read them.
        BackendUnavailableError: It does not run on this machine.

    >>> choose_backend("numpy")
    'numpy'
    """
    if backend not in ("auto", *_PACKAGES):
        raise KernelInputError("backend", f"is {backend!r}", "use 'auto', 'numpy', 'cpu' or 'gpu'")
    if any(is_on_device(array) for array in arrays):
        if backend in ("numpy", "cpu"):
            raise KernelInputError(
                "backend",
                f"is {backend!r}, but an array lies on the GPU",
                "use 'gpu' or 'auto', or bring it to the host with cupy.asnumpy",
            )
        return "gpu"
    if backend == "gpu" and (missing := gpu_missing()):
        raise BackendUnavailableError("gpu", missing, "use backend='auto', which gives the same")
    if backend == "cpu" and not numba_compiles():
        raise BackendUnavailableError(
            "cpu",
            "Numba with its compiler switched on (NUMBA_DISABLE_JIT unset)",
            "use backend='auto', which gives the same",
        )
    if backend == "auto":
        return "cpu" if numba_compiles() else "numpy"
    return backend


def implementation(family: str, backend: Backend, *arrays: object) -> ModuleType:
    """Import the module that holds a family of kernels for a back end.

    Args:
        family: Name of the public module, for example "layout".
        backend: What the caller asked for.
        arrays: The arrays that the kernel reads; None is ignored.

    Returns:
        The module; its functions have the names and results of the public ones.

    Raises:
        KernelInputError: See `choose_backend`.
        BackendUnavailableError: See `choose_backend`.
    """
    return _module(_PACKAGES[choose_backend(backend, *arrays)], family)


@cache  # `import_module` takes as long as counting the ones of a shot
def _module(package: str, family: str) -> ModuleType:
    return importlib.import_module(f"cudaq_target.kernels.{package}.{family}")
