"""Which implementation runs, and what is said where one cannot."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from cudaq_target.kernels import BackendUnavailableError, KernelError, KernelInputError, occupation
from cudaq_target.kernels import backends as chooser
from cudaq_target.kernels.backends import choose_backend, implementation, is_on_device

SHOTS = np.array([[1], [3]], dtype=np.uint64)


class DeviceArray:
    """What every array on a GPU has."""

    def __init__(self) -> None:
        self.__cuda_array_interface__: dict[str, object] = {}


def test_auto_is_compiled_code_on_the_host_and_the_gpu_on_the_device() -> None:
    assert choose_backend("auto", SHOTS, None) == "cpu"
    assert choose_backend("auto", SHOTS, DeviceArray()) == "gpu"
    assert is_on_device(DeviceArray())
    assert not is_on_device(SHOTS)


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_the_host_reads_no_device_memory(backend) -> None:
    with pytest.raises(KernelInputError, match=f"backend is '{backend}', but an array lies on the"):
        choose_backend(backend, DeviceArray())


def test_unknown_back_ends_are_refused() -> None:
    with pytest.raises(KernelInputError, match="backend is 'fpga'; use 'auto', 'numpy', 'cpu' or"):
        occupation(SHOTS, 2, backend="fpga")


def test_a_missing_gpu_is_an_error_that_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chooser, "gpu_missing", lambda: "a CUDA device")
    with pytest.raises(BackendUnavailableError, match="needs a CUDA device; use backend='auto'"):
        occupation(SHOTS, 2, backend="gpu")
    assert issubclass(BackendUnavailableError, KernelError)


def test_what_a_gpu_lacks_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chooser.importlib.util, "find_spec", lambda _name: None)
    assert "cupy" in chooser.gpu_missing.__wrapped__()


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
@pytest.mark.parametrize("family", ["layout", "statistics", "decoding"])
def test_implementations_have_the_names_of_each_other(backend, family: str) -> None:
    reference = implementation(family, "numpy", SHOTS)
    names = {
        name
        for name, value in vars(reference).items()
        if getattr(value, "__module__", "") == reference.__name__
    }
    assert names <= set(dir(implementation(family, backend, SHOTS)))


def test_without_a_compiler_auto_is_numpy_and_cpu_is_an_error() -> None:
    code = """
import sys
import numpy as np
from cudaq_target.kernels import BackendUnavailableError, occupation
shots = np.array([[1], [3]], dtype=np.uint64)
assert occupation(shots, 2).tolist() == [2, 1]
try:
    occupation(shots, 2, backend="cpu")
except BackendUnavailableError as error:
    assert "NUMBA_DISABLE_JIT" in str(error)
else:
    raise AssertionError
assert "numba" not in sys.modules
"""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
