"""A GPU of one thread at a time: device code built as C++, launched from the GPU back end.

`simt.hpp` runs the kernels; NumPy stands in for CuPy's arrays. So the wrappers of `kernels/gpu` and
every line of their kernels run where there is no GPU. What it cannot show: memory ordering between
threads, speed, and whatever CuPy does differently from NumPy.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cudaq_target.kernels import backends
from cudaq_target.kernels.gpu import device

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIM = Path(__file__).parent / "simt.hpp"
COMPILER = shlex.split(os.environ.get("CXX", "c++"))
# The fibers leave their stacks by longjmp, which a fortified C library takes for an accident.
FLAGS = ("-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas",
         "-U_FORTIFY_SOURCE", "-shared", "-fPIC")  # fmt: skip
N_INTEGERS, N_NUMBERS = 16, 4


def build(name: str, folder: Path) -> ctypes.CDLL:
    """Build one text of device code as a library for this processor."""
    source, library = folder / f"{name}.cpp", folder / f"{name}.so"
    source.write_text(device.source_text(name))
    command = [*COMPILER, *FLAGS, "-include", str(SHIM), str(source), "-o", str(library)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library))


def run(library: ctypes.CDLL, kernel: str, n_blocks: int, arguments: tuple[object, ...]) -> None:
    """Launch a kernel as `device.launch` does."""
    integers = (ctypes.c_uint64 * N_INTEGERS)()
    numbers = (ctypes.c_double * N_NUMBERS)()
    n_integers = n_numbers = 0
    for argument in arguments:
        if isinstance(argument, float):
            numbers[n_numbers] = argument
            n_numbers += 1
            continue
        if isinstance(argument, np.ndarray):
            assert argument.flags.c_contiguous, f"{kernel}: an array has gaps"
            word = argument.ctypes.data
        else:  # CuPy would pass another type with another size
            assert type(argument) is int, f"{kernel}: an argument is a {type(argument)}"
            word = argument
        integers[n_integers] = word & (2**64 - 1)
        n_integers += 1
    address = ctypes.cast(getattr(library, kernel), ctypes.c_void_p)
    library.simt_launch(address, n_blocks, device.N_THREADS, integers, numbers)


@pytest.fixture(scope="module")
def emulated_gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let `backend="gpu"` run on this processor."""
    if sys.platform != "linux":
        pytest.skip("the emulated device is built for Linux")
    folder = tmp_path_factory.mktemp("device")
    library = cache(lambda name: build(name, folder))

    def launch(family, kernel, n_blocks, arguments, *, shared_bytes=0) -> None:
        assert shared_bytes <= 227 << 10
        run(library(family), kernel, n_blocks, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "gpu_missing", lambda: "")
        patch.setattr(device, "arrays", lambda: np)
        patch.setattr(device, "to_host", lambda array: array)
        patch.setattr(device, "multiprocessors", lambda: 1)
        patch.setattr(device, "device_id", lambda: -1)
        patch.setattr(device, "free_bytes", lambda: 1 << 30)
        patch.setattr(device, "launch", launch)
        yield
