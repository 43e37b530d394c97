"""Read CUDA-Q kernels: from MLIR and Python arguments to plain data."""

from cudaq_target.interpret.form import KernelForm
from cudaq_target.quake.kernels import arguments, read
from cudaq_target.quake.reader import read_module

__all__ = ["KernelForm", "arguments", "read", "read_module"]
