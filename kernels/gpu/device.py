"""Device code: where its text comes from, how it is compiled, launched and fed.

Everything that needs CuPy goes through this module, so that the rest of the package can be read,
and its logic run, without a GPU.
"""

from __future__ import annotations

import re
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from cudaq_target.kernels.backends import is_on_device

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Parameters = ParamSpec("Parameters")
    Result = TypeVar("Result")

FAMILIES = ("layout", "statistics", "observables", "decoding", "statevector", "splitting")
"""Texts of device code whose kernels return; `dispatch` holds the one that stays."""

N_THREADS = 256
"""Threads per block of every kernel."""

OPTIONS = ("--std=c++17",)

_BLOCKS_PER_MULTIPROCESSOR = 8
_UNASKED_SHARED_BYTES = 32 << 10  # 48 KiB, less what a kernel declares by itself
_FOLDER = Path(__file__).parent
_INCLUDE = re.compile(r'^#include "([\w.]+)"\n', re.MULTILINE)


@cache
def source_text(name: str) -> str:
    """Return device code in one piece, with the headers of this package in place.

    CuPy's cache knows a kernel by its text: a header that the compiler looked up by itself could
    change without anything being compiled anew.

    Args:
        name: Of a `.cu` file, for example "layout".

    Returns:
        What NVRTC, nvcc and, with CUDA's names from elsewhere, a C++ compiler take.
    """
    return _INCLUDE.sub(lambda found: _text_of(found[1]), _text_of(f"{name}.cu"))


def _text_of(file: str) -> str:
    text = (_FOLDER / file).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: _text_of(found[1]), text) if file.endswith(".cuh") else text


def arrays() -> ModuleType:
    """Import the library of device arrays."""
    import cupy  # noqa: PLC0415 - loads CUDA

    module: ModuleType = cupy
    return module


def to_host(array: Any) -> Any:  # noqa: ANN401 - CuPy has no types
    """Copy an array to the host, after what its stream still has to do."""
    return arrays().asnumpy(array)


@cache
def _module(name: str) -> Any:  # noqa: ANN401
    return arrays().RawModule(code=source_text(name), options=OPTIONS)


@cache  # finding a kernel takes as long as launching it
def _function(family: str, kernel: str) -> Any:  # noqa: ANN401
    return _module(family).get_function(kernel)


def device_id() -> int:
    """Return the number of the current device."""
    return int(arrays().cuda.Device().id)


@cache
def _multiprocessors(device: int) -> int:
    attributes = arrays().cuda.Device(device).attributes
    return int(attributes["MultiProcessorCount"])


def multiprocessors() -> int:
    """Return how many multiprocessors the current device has."""
    return _multiprocessors(device_id())


def free_bytes() -> int:
    """Return what may still be allocated on the current device (bytes), CuPy's reserve included."""
    free, _ = arrays().cuda.runtime.memGetInfo()
    return int(free) + int(arrays().get_default_memory_pool().free_bytes())


def blocks_for(n_threads: int, *, per_multiprocessor: int = _BLOCKS_PER_MULTIPROCESSOR) -> int:
    """Blocks for `n_threads` items of work; kernels loop where there is more than fits the device.

    Args:
        n_threads: Threads that would find work, if there were so many.
        per_multiprocessor: Most blocks per multiprocessor.
    """
    return max(1, min(-(-n_threads // N_THREADS), per_multiprocessor * multiprocessors()))


def launch(
    family: str,
    kernel: str,
    n_blocks: int,
    arguments: tuple[Any, ...],
    *,
    shared_bytes: int = 0,
) -> None:
    """Queue a kernel on the current stream.

    Args:
        family: Text that holds it.
        kernel: Its name.
        n_blocks: Blocks of `N_THREADS` threads.
        arguments: Device arrays (contiguous), int for i64, float for double.
        shared_bytes: Shared memory that it takes at run time (bytes).
    """
    function = _function(family, kernel)
    if shared_bytes > _UNASKED_SHARED_BYTES:
        function.max_dynamic_shared_size_bytes = shared_bytes
    function((n_blocks,), (N_THREADS,), arguments, shared_mem=shared_bytes)


def lands_at_home(kernel: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a function over device arrays take host arrays, and return its results where they lay."""

    @wraps(kernel)
    def run(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
        is_home = not any(is_on_device(part) for arg in args for part in _parts(arg))
        result = kernel(*(_to_device(arg) for arg in args), **options)  # type: ignore[arg-type]
        return _to_host(result) if is_home else result  # type: ignore[return-value]

    return run


def _parts(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _is_array(value: object) -> bool:
    return hasattr(value, "dtype") and getattr(value, "ndim", 0) > 0


def _to_device(value: object) -> object:
    if isinstance(value, tuple | list):
        return [_to_device(part) for part in value]
    # Of CuPy's functions `asarray` alone takes what lies on the host.
    return arrays().asarray(value, order="C") if _is_array(value) else value


def _to_host(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(_to_host(part) for part in value)
    return to_host(value) if _is_array(value) else value
